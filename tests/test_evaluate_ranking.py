"""Measures of rankings: by hand, and equal to trec_eval's own code wherever that has a say."""

import math
import random

import numpy as np
import pytest
import pytrec_eval

from instructsearch.evaluate.ranking import mean, measure, ndcg, order

NAMES = {
    "nDCG": "ndcg",
    "nDCG@3": "ndcg_cut_3",
    "nDCG@10": "ndcg_cut_10",
    "R@3": "recall_3",
    "R@10": "recall_10",
    "P@3": "P_3",
    "P@10": "P_10",
    "RR": "recip_rank",
    "AP": "map",
    "AP@10": "map_cut_10",
    "Success@3": "success_3",
}


def reference(run, qrels):
    return pytrec_eval.RelevanceEvaluator(qrels, set(NAMES.values())).evaluate(run)


def generated(seed, *, queries=25, grades=(-1, 3), digits=1):
    """Return a run and judgements with ties, near ties, unjudged, negative and missing ones."""
    source = np.random.default_rng(seed)
    qrels, run = {}, {}
    for n in range(queries):
        documents = [f"d{m}" for m in source.permutation(40)] + ["é", "zß", "D1"]
        judged = source.choice(documents, int(source.integers(1, 25)), replace=False).tolist()
        qrels[f"q{n}"] = {document: int(source.integers(*grades, endpoint=True)) for document in judged}
        if n % 6 == 0:
            qrels[f"q{n}"] = dict.fromkeys(judged, 0)
        found = source.choice(documents, int(source.integers(1, 43)), replace=False).tolist()
        if n % 5:
            run[f"q{n}"] = {
                document: float(np.round(source.normal(), digits) + source.choice([0, 1e-9, 1e-12]))
                for document in found
            }
    run["unjudged"] = {"d1": 1.0}
    return run, qrels


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("grades", [(0, 1), (-1, 3), (0, 9)], ids=["binary", "graded and negative", "many grades"])
def test_every_measure_equals_trec_evals(seed, grades):
    run, qrels = generated(seed, grades=grades)
    expected = reference(run, qrels)
    found = measure(run, qrels, list(NAMES))
    for name, theirs in NAMES.items():
        assert found[name].keys() == qrels.keys()
        for query, value in found[name].items():
            wanted = expected[query][theirs] if query in expected else 0.0
            assert value == pytest.approx(wanted, abs=1e-9), (name, query)


def test_ties_are_broken_as_trec_eval_does_even_where_only_single_precision_ties():
    scores = {"a": 1.0, "b": 1.0 + 1e-12, "c": 1.0, "d": 2.0}
    assert order(scores) == ["d", "c", "b", "a"]
    for relevant in "abcd":
        expected = reference({"q": scores}, {"q": {relevant: 1}})["q"]["recip_rank"]
        assert measure({"q": scores}, {"q": {relevant: 1}}, ["RR"])["RR"]["q"] == expected


def test_by_hand():
    run = {"q": {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}}
    qrels = {"q": {"a": 0, "b": 3, "d": 1, "e": 2}}
    found = {name: values["q"] for name, values in measure(run, qrels, ["nDCG@4", "R@2", "P@5", "RR", "AP"]).items()}
    gain = 3 / math.log2(3) + 1 / math.log2(5)
    ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert found["nDCG@4"] == pytest.approx(gain / ideal)
    assert found["R@2"] == pytest.approx(1 / 3)
    assert found["P@5"] == pytest.approx(2 / 5)
    assert found["RR"] == 0.5
    assert found["AP"] == pytest.approx((1 / 2 + 2 / 4) / 3)


def test_a_cut_off_reciprocal_rank_sees_no_further():
    run, qrels = {"q": {"a": 2.0, "b": 1.0}}, {"q": {"b": 1}}
    found = measure(run, qrels, ["RR@1", "RR@2", "RR"])
    assert [found[name]["q"] for name in ("RR@1", "RR@2", "RR")] == [0.0, 0.5, 0.5]


def test_a_query_that_was_not_answered_counts_zero():
    found = measure({"q1": {"a": 1.0}}, {"q1": {"a": 1}, "q2": {"a": 1}}, ["nDCG@10"])["nDCG@10"]
    assert found == {"q1": 1.0, "q2": 0.0}
    assert mean(found) == 0.5


def test_queries_without_judgements_are_left_aside():
    assert measure({"q1": {"a": 1.0}, "q2": {"a": 1.0}}, {"q1": {"a": 1}}, ["RR"])["RR"] == {"q1": 1.0}


@pytest.mark.parametrize("seed", range(30))
def test_moving_a_better_document_up_never_lowers_ndcg(seed):
    source = random.Random(seed)
    grades = [source.randint(0, 3) for _ in range(12)]
    at = source.randrange(11)
    if grades[at + 1] > grades[at]:
        better = [*grades[:at], grades[at + 1], grades[at], *grades[at + 2 :]]
        assert ndcg(better, grades, 10) >= ndcg(grades, grades, 10)
    assert ndcg(sorted(grades, reverse=True), grades, 10) == pytest.approx(1.0 if any(grades) else 0.0)


@pytest.mark.parametrize("name", ["ndcg@10", "R", "P", "nDCG@0", "nDCG@", "MRR", "AP@-1", "nDCG@10 "])
def test_an_unknown_measure_is_refused(name):
    with pytest.raises(ValueError, match="no measure"):
        measure({}, {"q": {"a": 1}}, [name])


def test_no_query_has_no_mean():
    with pytest.raises(ValueError, match="no query"):
        mean({})
