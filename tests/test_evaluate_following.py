"""Following: triplets that only an instruction can settle, gaps, spreads, p-MRR, robustness, and an index's recall."""

import random

import numpy as np
import pytest

from instructsearch import embed
from instructsearch.errors import BadVector
from instructsearch.evaluate.encoding import Memory, encoded, unit
from instructsearch.evaluate.following import gap, p_mrr, robustness, spread
from instructsearch.evaluate.pool import recall
from instructsearch.evaluate.triplets import aspects, build, harmonic_mean, labelled, score, successes

COLOURS, SHAPES = ["red", "blue", "green"], ["car", "ship", "plane"]
TEXTS = [f"a {colour} {shape} number{n}" for n in range(6) for colour in COLOURS for shape in SHAPES]
FIRST = [text.split()[1] for text in TEXTS]
SECOND = [text.split()[2] for text in TEXTS]
hashed = embed.load("hash")


@pytest.mark.parametrize("seed", range(5))
def test_every_triplet_shares_one_label_with_each_of_its_two(seed):
    source = random.Random(seed)
    first = [source.choice([*"abc", None]) for _ in range(80)]
    second = [source.choice([*"xyz", None]) for _ in range(80)]
    drawn = build(first, second, 300, seed=seed)
    assert drawn.shape == (300, 3)
    assert len({tuple(row) for row in drawn.tolist()}) == 300
    for anchor, one, other in drawn.tolist():
        assert None not in (first[anchor], second[anchor], first[one], second[one], first[other], second[other])
        assert first[one] == first[anchor] != first[other]
        assert second[other] == second[anchor] != second[one]
        assert anchor not in (one, other)
    np.testing.assert_array_equal(drawn, build(first, second, 300, seed=seed))
    assert (drawn != build(first, second, 300, seed=seed + 1)).any()


def test_labels_that_do_not_cross_give_no_triplet():
    assert build(["a", "a", "b"], ["x", "x", "y"], 10).shape == (0, 3)
    assert build([None, None], ["x", "y"], 10).shape == (0, 3)
    assert build([], [], 10).shape == (0, 3)
    with pytest.raises(ValueError, match="do not cross"):
        score(np.eye(3), np.eye(3), build(["a"] * 3, ["x"] * 3, 5))
    with pytest.raises(ValueError, match="second ones"):
        build(["a"], [], 1)


def test_where_there_are_few_all_of_them_are_found():
    # one of each of four: each text has one partner a side
    drawn = build(["a", "a", "b", "b"], ["x", "y", "x", "y"], 100)
    assert sorted(map(tuple, drawn.tolist())) == [(0, 1, 2), (1, 0, 3), (2, 3, 0), (3, 2, 1)]


@pytest.mark.parametrize("seed", range(10))
def test_who_ignores_instructions_scores_x_and_one_less_x(seed):
    vectors = np.random.default_rng(seed).normal(size=(len(TEXTS), 4)).round(0) + 0.5
    found = score(vectors, vectors, build(FIRST, SECOND, 200, seed=seed))
    assert found.first + found.second == pytest.approx(1)
    assert found.harmonic.value == pytest.approx(harmonic_mean(found.first, found.second))
    assert found.harmonic.value <= 0.5


def test_who_follows_settles_both():
    drawn = build(FIRST, SECOND, 200)
    said = (" ".join(COLOURS), " ".join(SHAPES))
    right = aspects(hashed.encode, TEXTS, drawn, said)
    swapped = aspects(hashed.encode, TEXTS, drawn, said[::-1])
    none = aspects(hashed.encode, TEXTS, drawn, ("", ""))
    assert right.first > 0.95
    assert right.second > 0.95
    assert right.harmonic.low > 0.9
    assert swapped.harmonic.value < 0.1
    assert none.first + none.second == pytest.approx(1)


def test_only_texts_of_the_triplets_are_encoded():
    seen = []

    def encode(texts, instruction, role):
        seen.append((tuple(texts), instruction, role))
        return hashed.encode(texts, instruction, role)

    drawn = build(FIRST, SECOND, 3)
    aspects(encode, TEXTS, drawn, ("one", "two"), "document")
    used = tuple(TEXTS[place] for place in sorted(set(drawn.ravel().tolist())))
    assert seen == [(used, "one", "document"), (used, "two", "document")]


def test_a_tie_is_half_a_success():
    anchors = np.array([[1.0, 0], [1, 0], [1, 0]])
    near, far = np.array([[2.0, 0], [0, 1], [1, 1]]), np.array([[0, 1.0], [5, 0], [2, 2]])
    assert successes(anchors, near, far).tolist() == [1.0, 0.0, 0.5]


def test_rows_with_labels_by_name_make_triplets():
    rows = [{"topic": first, "place": second} for first, second in zip(FIRST, SECOND, strict=True)] + [{"topic": "red"}]
    np.testing.assert_array_equal(labelled(rows, "topic", "place", 50), build(FIRST, SECOND, 50))


@pytest.mark.parametrize(("one", "other", "value"), [(0.9, 0.1, 0.18), (0.5, 0.5, 0.5), (1, 0, 0), (1, 1, 1)])
def test_the_harmonic_mean_by_hand(one, other, value):
    assert harmonic_mean(one, other) == pytest.approx(value)


def test_a_spread_and_a_gap_by_hand():
    found = spread([0.5, 0.7, 0.6])
    assert (found.worst, found.best, found.n) == (0.5, 0.7, 3)
    assert found.mean == pytest.approx(0.6)
    between = gap([0.5, 0.7], [0.3, 0.4], [0.45])
    assert between.mean == pytest.approx(0.25)
    assert between.worst == pytest.approx(0.1)
    assert between.implicit_mean == pytest.approx(0.1)
    assert between.implicit == pytest.approx(0.05)
    assert gap([0.5], [0.5]).to_dict() == {"mean": 0, "worst": 0, "implicit_mean": None, "implicit": None}
    with pytest.raises(ValueError, match="no wording"):
        spread([])


def run_of(*documents):
    return {document: -float(rank) for rank, document in enumerate(documents)}


def test_p_mrr_by_hand():
    before = {"q": run_of("a", "b", "c", "d"), "r": run_of("a", "b")}
    after = {"q": run_of("b", "c", "d", "a"), "r": run_of("b", "a")}
    # a fell from 1 to 4: 1 - 1/4; c rose from 3 to 2: 2/3 - 1
    assert p_mrr(before, after, {"q": ["a"]})["q"] == pytest.approx(3 / 4)
    assert p_mrr(before, after, {"q": ["c"]})["q"] == pytest.approx(-1 / 3)
    found = p_mrr(before, after, {"q": ["a", "c"], "r": ["b"]})
    assert found == pytest.approx({"q": (3 / 4 - 1 / 3) / 2, "r": -1 / 2})


def test_p_mrr_of_a_document_that_was_not_found_counts_it_just_behind():
    assert p_mrr({"q": run_of("a", "b")}, {"q": run_of("b")}, {"q": ["a"]})["q"] == pytest.approx(1 - 1 / 2)
    assert p_mrr({"q": run_of("b")}, {"q": run_of("a", "b")}, {"q": ["a"]})["q"] == pytest.approx(-1 / 2)
    assert p_mrr({}, {}, {"q": ["a"]}) == {"q": 0.0}
    assert p_mrr({}, {}, {"q": []}) == {}


@pytest.mark.parametrize("seed", range(20))
def test_p_mrr_is_between_minus_one_and_one_turns_its_sign_and_is_zero_for_the_deaf(seed):
    source = random.Random(seed)
    documents = [f"d{n}" for n in range(15)]
    before, after = ({"q": run_of(*source.sample(documents, 15))} for _ in range(2))
    removed = {"q": source.sample(documents, 4)}
    value = p_mrr(before, after, removed)["q"]
    assert -1 < value < 1
    assert p_mrr(after, before, removed)["q"] == pytest.approx(-value)
    assert p_mrr(before, before, removed)["q"] == 0


def test_robustness_is_the_worst_of_each_query():
    values = {"q1-a": 0.9, "q1-b": 0.2, "q2-a": 0.5}
    assert robustness(values, {"q1-a": "q1", "q1-b": "q1", "q2-a": "q2"}) == {"q1": 0.2, "q2": 0.5}
    with pytest.raises(KeyError):
        robustness(values, {})


def test_recall_counts_what_the_scan_has_and_what_is_as_good():
    exact = (np.array([[1, 2, 3], [4, 5, -1], [-1, -1, -1]]), np.array([[0.9, 0.8, 0.5], [0.7, 0.6, -9], [-9, -9, -9]]))
    found = (np.array([[1, 9, 8], [5, -1, -1], [-1, -1, -1]]), np.array([[0.9, 0.5, 0.4], [0.6, -9, -9], [-9, -9, -9]]))
    assert recall(found, exact).tolist() == [pytest.approx(2 / 3), 0.5, 1.0]
    assert recall(exact, exact).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="lists found"):
        recall((found[0][:1], found[1][:1]), exact)


def test_more_than_was_asked_for_is_not_more_than_all():
    exact = (np.array([[1, 2]]), np.array([[0.5, 0.5]]))
    found = (np.array([[1, 2, 3]]), np.array([[0.5, 0.5, 0.5]]))
    assert recall(found, exact).tolist() == [1.0]


def test_equal_texts_are_encoded_once_and_come_back_in_place():
    seen = []

    def encode(texts, instruction, role):
        seen.extend(texts)
        return np.array([[len(text), 1.0] for text in texts])

    found = encoded(encode, ["aa", "b", "aa"], "", "query")
    assert seen == ["aa", "b"]
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("made", [np.ones(3), np.ones((2, 3)), [[1.0, np.nan]] * 3, [[np.inf, 1.0]] * 3])
def test_what_an_encoder_must_not_return_is_refused(made):
    with pytest.raises(BadVector):
        encoded(lambda texts, instruction, role: made, ["a", "b", "c"], "", "query")


def test_a_row_of_zeros_stays_zero():
    assert unit(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0, 0], [pytest.approx(0.6), pytest.approx(0.8)]]


def test_what_a_model_cannot_hear_is_not_encoded_again():
    calls = []

    def encode(texts, instruction, role):
        calls.append((tuple(texts), instruction, role))
        return np.ones((len(texts), 2), np.float32)

    memory = Memory(encode, lambda role: role == "query", size=2)
    for instruction in ("", "one", "two"):
        memory(["a"], instruction, "document")
    assert calls == [(("a",), "", "document")]
    for instruction in ("", "one", "one"):
        memory(["a"], instruction, "query")
    assert calls[1:] == [(("a",), "", "query"), (("a",), "one", "query")]
    memory(["a"], "", "document")  # the oldest of three: forgotten
    assert len(calls) == 4
    memory(["a"], "one", "query")  # used last but one: kept
    assert len(calls) == 4
