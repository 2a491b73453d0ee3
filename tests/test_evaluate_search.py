"""Judging a search engine: a fake one whose answers are known, so that every number can be worked out."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from instructsearch.evaluate.ranking import measure
from instructsearch.evaluate.search import System, judge

QUERIES = {"q1": "one", "q2": "two", "q3": "three"}
QRELS = {"q1": {"a": 1, "b": 0}, "q2": {"b": 2, "c": 1}, "q3": {"c": 1}, "not asked": {"a": 1}}
ANSWERS = {
    ("one", None): "abc",
    ("two", None): "bca",
    ("three", None): "abc",
    ("one", ""): "bac",
    ("two", ""): "acb",
    ("three", ""): "ab",
    ("one", "other words"): "abc",
    ("two", "other words"): "cba",
    ("three", "other words"): "cab",
}


class Engine:
    """Answers by text and instruction; in other modes than dense, backwards."""

    def __init__(self):
        self.asked = []

    def search(self, queries):
        self.asked += queries
        for query in queries:
            documents = ANSWERS[query.text, query.instruction]
            documents = documents if query.mode == "dense" else documents[::-1]
            # equal scores: what is judged must be the order shown
            yield [SimpleNamespace(document=one, rank=rank, score=0.5) for rank, one in enumerate(documents, 1)]


def judged(**options):
    engine = Engine()
    chosen = {"views": ["v"], "modes": ["dense", "hybrid", "bm25"], **options}
    return judge(engine.search, QUERIES, QRELS, **chosen), engine


def expected(instruction=None, *, backwards=False, name="nDCG@10"):
    run = {}
    for query, text in QUERIES.items():
        documents = ANSWERS[text, instruction][:: -1 if backwards else 1]
        run[query] = {one: -rank for rank, one in enumerate(documents)}
    return measure(run, {query: QRELS[query] for query in QUERIES}, [name])[name]


def test_every_view_and_mode_is_measured_on_the_queries_asked():
    trial, _ = judged()
    assert [str(result.system) for result in trial.results] == ["v dense", "v hybrid", "bm25"]
    assert list(trial.results[0].measures) == ["nDCG@10", "R@10", "R@100", "RR", "AP@100"]
    for result, backwards in zip(trial.results, [False, True, True], strict=True):
        assert result.values == pytest.approx(expected(backwards=backwards))
        for name, value in result.measures.items():
            by_hand = expected(backwards=backwards, name=name)
            assert value.value == pytest.approx(np.mean(list(by_hand.values())))
            assert value.low <= value.value <= value.high
            assert value.n == 3


def test_the_depth_of_a_measure_is_the_one_asked_for():
    trial, engine = judged(k=1)
    assert list(trial.results[0].measures) == ["nDCG@1", "R@1", "R@100", "RR", "AP@100"]
    assert trial.results[0].measures["nDCG@1"].value == pytest.approx(np.mean(list(expected(name="nDCG@1").values())))
    assert {(query.k, query.by_document) for query in engine.asked} == {(100, True)}
    assert {query.k for query in judged(k=300)[1].asked} == {300}


def test_instructions_are_varied_in_every_mode_that_has_vectors():
    trial, engine = judged(paraphrases=["other words"])
    assert [str(each.system) for each in trial.sensitivities] == ["v dense", "v hybrid"]
    dense = trial.sensitivities[0]
    assert [result.system.said for result in dense.results] == ["the view's", "none", "other words"]
    own, none, other = (np.mean(list(expected(said).values())) for said in (None, "", "other words"))
    assert [result.measures["nDCG@10"].value for result in dense.results] == pytest.approx([own, none, other])
    assert (dense.spread.worst, dense.spread.best, dense.spread.n) == pytest.approx(
        (min(own, other), max(own, other), 2)
    )
    assert dense.against_none.difference == pytest.approx(own - none)
    assert {query.instruction for query in engine.asked if query.mode == "bm25"} == {None}


def test_the_better_of_a_pair_comes_first():
    trial, _ = judged()
    assert {(str(one), str(other)) for one, other, _ in trial.comparisons} == {
        ("v dense", "v hybrid"), ("v dense", "bm25"), ("v hybrid", "bm25"),
    }  # fmt: skip
    for one, other, pair in trial.comparisons:
        assert pair.difference >= 0
        values = {result.system: result.values for result in trial.results}
        gaps = [values[one][query] - values[other][query] for query in QUERIES]
        assert pair.difference == pytest.approx(np.mean(gaps))
        assert pair.better + pair.worse + pair.same == 3


def test_several_views_are_also_asked_together():
    trial, engine = judged(views=["v", "w", "v"], modes=["dense"])
    assert [str(result.system) for result in trial.results] == ["v dense", "w dense", "v+w dense"]
    assert ("v", "w") in {query.views for query in engine.asked}
    assert len(trial.comparisons) == 3


def test_bm25_is_asked_once_whatever_the_views():
    trial, engine = judged(views=["v", "w"], modes=["bm25"])
    assert [str(result.system) for result in trial.results] == ["bm25"]
    assert trial.results[0].system.view == "-"
    assert len(engine.asked) == 3
    assert trial.sensitivities == ()


def test_what_an_index_loses_is_measured_for_each_view():
    def scan(view, texts):
        assert texts == list(QUERIES.values())
        exact = np.tile([1, 2], (3, 1)), np.tile([0.9, 0.8], (3, 1))
        found = exact if view == "v" else (np.tile([1, 7], (3, 1)), np.tile([0.9, 0.1], (3, 1)))
        return found, exact

    trial, _ = judged(views=["v", "w"], modes=["dense"], scan=scan)
    assert {view: value.value for view, value in trial.pools.items()} == {"v": 1.0, "w": 0.5}


def test_a_whole_search_is_held_against_the_same_over_exact_scans():
    asked = []

    def exact(queries):
        asked.extend(queries)
        for query in queries:
            # of "abc", "bca" and "abc", in hybrid backwards
            shown = "abz" if query.mode == "dense" else ""
            yield [SimpleNamespace(document=one, rank=rank, score=0.5) for rank, one in enumerate(shown, 1)]

    for k, recall in ((1, 2 / 3), (2, 5 / 6), (3, 2 / 3)):
        trial, _ = judged(exact=exact, k=k)
        shares = {str(system): value.value for system, value in trial.pipelines.items()}
        assert shares == {"v dense": pytest.approx(recall), "v hybrid": 1}
    assert {query.instruction for query in asked} == {None}
    told = [row for row in trial.rows() if "recall_of_exact_pipeline" in row]
    assert told[0]["recall_of_exact_pipeline"] == {"view": "v", "mode": "dense"}
    assert told[0]["value"] == pytest.approx(2 / 3)


def test_documents_that_are_judged_are_counted():
    assert judged(modes=["dense"])[0].found > 0
    trial = judge(Engine().search, QUERIES, {query: {"z": 1} for query in QUERIES}, views=["v"], modes=["dense"])
    assert trial.found == 0
    assert trial.results[0].measures["nDCG@10"].value == 0


def test_everything_is_json():
    trial, _ = judged(paraphrases=["other words"])
    rows = [json.loads(json.dumps(row, allow_nan=False)) for row in trial.rows()]
    assert [row["mode"] for row in rows if "mode" in row] == ["dense", "hybrid", "bm25"]
    assert [each["instruction"] for row in rows if "sensitivity" in row for each in row["instructions"]] == [
        *(None, "", "other words"),
        *(None, "", "other words"),
    ]
    assert sum("compared" in row for row in rows) == 3


def test_progress_is_told_by_system():
    heard = []
    judged(modes=["dense"], heard=lambda stage, done, total: heard.append((stage, done, total)))
    assert heard == [("v dense", n, 3) for n in (1, 2, 3)] * 2


def test_a_system_reads_well():
    assert str(System(("a", "b"), "hybrid")) == "a+b hybrid"
    assert System(("a",), "dense", "").said == "none"
    assert System(("a",), "dense", "tone").said == "tone"


@pytest.mark.parametrize("options", [{"views": []}, {"modes": []}])
def test_nothing_to_judge_is_refused(options):
    with pytest.raises(ValueError, match="needs queries, views and modes"):
        judged(**options)
