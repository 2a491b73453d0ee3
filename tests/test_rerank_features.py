"""Each feature of a list of candidates against the same worked out by hand or by plain loops."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from instructsearch.rerank import features as made
from instructsearch.rerank.evidence import Evidence
from instructsearch.rerank.features import NAMES, bm25, features, standard
from instructsearch.rerank.lexicon import read, sought

QUERY = "red ships sailing north"
TEXTS = [
    "A red ship was sailing north in the wind, and the crew sang.",
    "The red car. " + "Nothing else is said about it here. " * 6 + "A ship!",
    "Ships sail. Red ships, blue ships.",
    "The crew sang in the wind.",
    "A harbour in the wind where the crew of the ship rests",
    "trains",
]


def unit(*shape, seed=3):
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def evidence(words=None):
    given = np.linspace(3, 1, len(TEXTS)) if words is None else np.asarray(words, float)
    return Evidence(given, unit(4, seed=1), unit(len(TEXTS), 4))


def z(values):
    values = np.asarray(values, float)
    return (values - values.mean()) / values.std()


def base(given):
    return z(given.vectors @ given.query) + z(given.words)


def test_every_feature_is_there_and_standardised():
    found = features(QUERY, TEXTS, evidence())
    assert tuple(found) == NAMES
    for values in found.values():
        assert values.dtype == np.float64
        assert values.mean() == pytest.approx(0, abs=1e-9)
        assert values.std() == pytest.approx(1)


def test_cosines_and_bm25_are_the_first_stages():
    given = evidence()
    found = features(QUERY, TEXTS, given)
    assert found["dense"] == pytest.approx(z([float(row @ given.query) for row in given.vectors]), abs=1e-5)
    assert found["words"] == pytest.approx(z(given.words))


def test_bm25_below_the_end_of_its_list_is_the_least_in_it():
    found = features(QUERY, TEXTS, evidence(words=[5, np.nan, 4, 2, np.nan, 3]))
    assert found["words"] == pytest.approx(z([5, 2, 4, 2, 2, 3]))


def test_feedback_is_the_cosine_with_the_best_candidates_weighted_by_rank():
    given = evidence()
    order = np.argsort(-base(given))[:3]
    shares = np.array([1 / math.log2(rank + 1) for rank in (1, 2, 3)])
    centre = (shares / shares.sum()) @ given.vectors[order]
    found = features(QUERY, TEXTS, given)
    assert found["feedback"] == pytest.approx(z(given.vectors @ centre), abs=1e-5)
    assert found["best"] == pytest.approx(z(given.vectors @ given.vectors[order[0]]), abs=1e-5)


def test_neighbours_pass_on_what_they_score(monkeypatch):
    monkeypatch.setattr(made, "NEIGHBOURS", 2)
    given = evidence()
    expected = []
    for at, row in enumerate(given.vectors):
        near = {other: float(row @ given.vectors[other]) for other in range(len(TEXTS)) if other != at}
        closest = sorted(near, key=lambda other: -near[other])[:2]
        expected.append(sum(max(0, near[other]) * base(given)[other] for other in closest) / 2)
    assert features(QUERY, TEXTS, given)["neighbours"] == pytest.approx(z(expected), abs=1e-5)


def test_terms_are_those_of_the_best_that_others_hold_too(monkeypatch):
    monkeypatch.setattr(made, "RELEVANT", 2)
    given = evidence()
    passages = [read(text) for text in TEXTS]
    top = np.argsort(-base(given))[:2]
    odds = np.exp(base(given)[top] - base(given)[top].max())
    held = Counter(itertools.chain.from_iterable(passage.telling for passage in passages))
    rare = Counter()
    for at, share in zip(top, odds / odds.sum(), strict=True):
        for term, times in passages[at].telling.items():
            if held[term] > 1:
                rare[term] += share * times / passages[at].length * math.log(7 / (held[term] + 0.5))
    mean = np.mean([passage.length for passage in passages])
    expected = [
        sum(
            value * times / (times + 1.2 * (0.25 + 0.75 * passage.length / mean))
            for term, value in rare.items()
            if (times := passage.telling.get(term, 0))
        )
        for passage in passages
    ]
    assert set(rare) & {"wind", "crew", "ship"}
    assert features(QUERY, TEXTS, given)["terms"] == pytest.approx(z(expected))


def test_words_of_the_query_are_weighed_by_how_few_candidates_hold_them():
    held = {"red": 3, "ship": 4, "sail": 2, "north": 1}
    rare = {stem: math.log(1 + (6 - count + 0.5) / (count + 0.5)) for stem, count in held.items()}
    assert sought(QUERY, [read(text) for text in TEXTS]).rarity == pytest.approx(rare)
    found = features(QUERY, TEXTS, evidence())
    total = sum(rare.values())
    cover = [total, rare["red"] + rare["ship"], total - rare["north"], 0, rare["ship"], 0]
    assert found["cover"] == pytest.approx(z(cover))
    # the red car and the ship of the second text stand more than 30 words apart
    window = [total, max(rare["red"], rare["ship"]), total - rare["north"], 0, rare["ship"], 0]
    assert found["window"] == pytest.approx(z(window))


def test_phrases_are_neighbours_of_the_query_side_by_side_and_near_is_less_the_farther():
    held = {"red": 3, "ship": 4, "sail": 2, "north": 1}
    rare = {stem: math.log(1 + (6 - count + 0.5) / (count + 0.5)) for stem, count in held.items()}
    red_ship, ship_sail, sail_north = (
        rare[one] + rare[other] for one, other in itertools.pairwise(("red", "ship", "sail", "north"))
    )
    found = features(QUERY, TEXTS, evidence())
    assert found["phrases"] == pytest.approx(z([red_ship + sail_north, 0, red_ship + ship_sail, 0, 0, 0]))
    first = red_ship / 2 + ship_sail / 3 + sail_north / 2
    third = red_ship / 2 + ship_sail / 2
    assert found["near"] == pytest.approx(z([first, 0, third, 0, 0, 0]))


def test_length_is_the_logarithm_of_the_number_of_words():
    assert features(QUERY, TEXTS, evidence())["length"] == pytest.approx(z(np.log([13, 47, 6, 6, 12, 1])))


def test_bm25_among_a_few_texts_knows_rarity_from_them_alone():
    scores = bm25("red ship", ["red ship", "red car", "a tree", ""])
    assert scores[0] > scores[1] > scores[2] == scores[3] == 0


def test_a_query_of_common_words_alone_looks_for_those():
    assert set(sought("to be or not", [read("to be")]).rarity) == {"to", "be", "or", "not"}


def test_without_vectors_what_comes_of_them_is_nothing():
    bare = Evidence(np.linspace(3, 1, 6), np.zeros(0, np.float32), np.zeros((6, 0), np.float32))
    found = features(QUERY, TEXTS, bare)
    for name in ("dense", "best", "feedback", "neighbours"):
        assert not found[name].any()
    assert found["terms"].any()


def test_without_bm25_vectors_say_which_are_best():
    given = Evidence(np.full(6, np.nan), unit(4, seed=1), unit(6, 4))
    found = features(QUERY, TEXTS, given)
    assert not found["words"].any()
    first = int(np.argmax(given.vectors @ given.query))
    assert found["best"] == pytest.approx(z(given.vectors @ given.vectors[first]), abs=1e-5)


@pytest.mark.parametrize("texts", [["red ship"], ["", ""], ["same", "same", "same"]])
def test_candidates_that_nothing_tells_apart_have_features_of_zero(texts):
    given = Evidence(np.ones(len(texts)), unit(4), np.repeat(unit(1, 4), len(texts), 0))
    assert not any(values.any() for values in features("red", texts, given).values())


def test_equal_values_are_equal_though_they_differ_by_rounding():
    assert not standard(np.array([0.1 + 0.2, 0.3, 0.3])).any()
