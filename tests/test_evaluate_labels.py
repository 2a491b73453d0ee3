"""Labels and sentence pairs: neighbours and clusters as scikit-learn has them, correlations as SciPy has them."""

import builtins
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import v_measure_score
from sklearn.neighbors import KNeighborsClassifier

from instructsearch.errors import BadVector, MissingExtra
from instructsearch.evaluate.labels import clusters, neighbour_hits, v_measure
from instructsearch.evaluate.nearest import nearest
from instructsearch.evaluate.similarity import agreement, cosines, spearman


def drawn(seed, n=120, dim=8, classes=4):
    """Return vectors of any length, and labels that they say something of."""
    source = np.random.default_rng(seed)
    labels = source.integers(classes, size=n)
    centres = source.normal(size=(classes, dim))
    return source.normal(size=(n, dim)) + centres[labels], [f"label {label}" for label in labels]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 4, 10])
def test_accuracy_of_a_split_is_scikit_learns(seed, k):
    vectors, labels = drawn(seed)
    model = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(vectors[:80], labels[:80])
    expected = model.predict(vectors[80:]) == np.array(labels[80:])
    found = neighbour_hits(vectors[80:], labels[80:], k, train=vectors[:80], train_labels=labels[:80])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(3))
def test_leave_one_out_is_a_split_for_each_row(seed):
    vectors, labels = drawn(seed, n=40)
    found = neighbour_hits(vectors, labels, 6)
    for at in range(40):
        rest = [n for n in range(40) if n != at]
        others = [labels[n] for n in rest]
        model = KNeighborsClassifier(6, metric="cosine", algorithm="brute").fit(vectors[rest], others)
        assert found[at] == (model.predict(vectors[at : at + 1])[0] == labels[at])


def test_a_tie_goes_to_the_label_that_sorts_first():
    vectors = np.array([[1, 0], [1, 0.1], [1, -0.1], [0, 1.0]])
    assert neighbour_hits(vectors[:1], ["b"], 2, train=vectors[1:3], train_labels=["b", "a"]).tolist() == [False]
    assert neighbour_hits(vectors[:1], ["a"], 2, train=vectors[1:3], train_labels=["b", "a"]).tolist() == [True]


def test_only_the_direction_of_a_vector_counts():
    vectors, labels = drawn(1)
    scaled = vectors * np.random.default_rng(0).uniform(0.1, 9, (len(vectors), 1))
    np.testing.assert_array_equal(neighbour_hits(vectors, labels), neighbour_hits(scaled, labels))


def test_the_order_of_the_rows_does_not_matter():
    vectors, labels = drawn(2)
    order = np.random.default_rng(0).permutation(len(labels))
    moved = neighbour_hits(vectors[order], [labels[at] for at in order])
    np.testing.assert_array_equal(moved, neighbour_hits(vectors, labels)[order])


@pytest.mark.parametrize("rows", [3, 1500], ids=["one block", "two blocks"])
def test_the_nearest_are_those_of_a_full_sort(rows):
    source = np.random.default_rng(4)
    base = source.normal(size=(1600, 5)).astype(np.float32)
    places, near = nearest(base[:rows], base, 7)
    full = base[:rows] @ base.T
    np.testing.assert_array_equal(places, np.argsort(-full, axis=1, kind="stable")[:, :7])
    np.testing.assert_allclose(near, -np.sort(-full, axis=1)[:, :7])


def test_no_row_is_its_own_neighbour_where_others_are_asked_for():
    base = np.eye(4, dtype=np.float32)
    places, _ = nearest(base, base, 3, others=True)
    for at, row in enumerate(places.tolist()):
        assert row == [n for n in range(4) if n != at]
    with pytest.raises(ValueError, match="4 neighbours cannot be had of 3"):
        nearest(base, base, 4, others=True)


def test_equally_near_rows_come_in_their_order():
    base = np.ones((6, 2), np.float32)
    assert nearest(base[:1], base, 3)[0].tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("seed", range(8))
def test_the_v_measure_is_scikit_learns(seed):
    source = np.random.default_rng(seed)
    truth = source.integers(5, size=60).tolist()
    found = [label if source.random() < 0.6 else int(source.integers(7)) for label in truth]
    assert v_measure(truth, found) == pytest.approx(v_measure_score(truth, found), abs=1e-12)


@pytest.mark.parametrize(
    ("truth", "found", "value"),
    [
        ("aabb", [1, 1, 0, 0], 1.0),
        ("aabb", [0, 0, 0, 0], 0.0),
        ("aaaa", [0, 0, 0, 0], 1.0),
        ("abab", [0, 0, 1, 1], 0.0),
        ("aabb", [0, 1, 2, 3], 2 / 3),
    ],
)
def test_the_v_measure_by_hand(truth, found, value):
    assert v_measure(list(truth), found) == pytest.approx(value, abs=1e-12)


def test_clusters_find_what_lies_apart_and_do_so_the_same_every_time():
    source = np.random.default_rng(0)
    truth = source.integers(3, size=200)
    vectors = np.eye(3)[truth] * 5 + source.normal(scale=0.1, size=(200, 3))
    found = clusters(vectors, 3)
    assert v_measure(truth.tolist(), found.tolist()) == pytest.approx(1.0)
    np.testing.assert_array_equal(found, clusters(vectors, 3))
    assert len(set(clusters(vectors[:2], 5).tolist())) <= 2


def test_clusters_without_scikit_learn_say_which_extra_brings_it(monkeypatch):
    whole = builtins.__import__

    def without(name, *rest, **named):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return whole(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"instructsearch\[evaluate\]"):
        clusters(np.eye(3), 2)


@pytest.mark.parametrize("seed", range(10))
def test_the_correlation_is_scipys_with_ties_too(seed):
    source = np.random.default_rng(seed)
    first = source.integers(6, size=50).astype(float)
    second = first + source.normal(size=50).round(0)
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)


def test_the_correlation_by_hand():
    assert spearman([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    with pytest.raises(ValueError, match="cannot be ranked"):
        spearman([1, 2], [1, 2, 3])


def test_agreement_is_the_correlation_of_cosines_with_an_interval():
    source = np.random.default_rng(3)
    first, second = source.normal(size=(2, 200, 6))
    gold = cosines(first, second) + source.normal(scale=0.2, size=200)
    found = agreement(first, second, gold.tolist())
    assert found.value == pytest.approx(spearman(cosines(first, second), gold))
    assert found.low < found.value < found.high
    np.testing.assert_allclose(cosines(first * 3, second * 0.1), cosines(first, second), atol=1e-6)


def test_what_does_not_fit_is_refused():
    vectors, labels = drawn(0, n=12)
    with pytest.raises(ValueError, match="do not fit"):
        neighbour_hits(vectors, labels[:-1])
    with pytest.raises(ValueError, match="neighbours cannot be had"):
        neighbour_hits(vectors, labels, 12)
    with pytest.raises(ValueError, match="clustered items"):
        v_measure([1, 2], [1])
    vectors[3, 2] = np.nan
    with pytest.raises(BadVector, match="NaN or infinity"):
        neighbour_hits(vectors, labels)
