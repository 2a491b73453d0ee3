"""Groups of unit vectors: spherical k-means, the number chosen, density, and that chance does not show."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from instructsearch.errors import BadQuery, MissingExtra
from instructsearch.explore import group, grouping, sample


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def bundles(sizes, *, dim=24, noise=0.12, seed=1):
    """Return rows around as many random directions as there are sizes, and which direction each is of, mixed up."""
    random = np.random.default_rng(seed)
    centres = unit(random.normal(size=(len(sizes), dim)))
    which = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return unit(centres[which] + noise * random.normal(size=(len(which), dim))), which


def same(labels, which):
    """Tell whether two labellings put the same rows together."""
    return len(set(zip(labels.tolist(), which.tolist(), strict=True))) == len(set(which.tolist())) == labels.max() + 1


# --- k given


def test_groups_are_those_that_the_rows_were_made_of_and_the_largest_is_first():
    rows, which = bundles([50, 120, 80])
    found = group(rows, k=3)
    assert same(found.labels, which)
    assert found.sizes == [120, 80, 50]
    assert (found.method, found.alone, len(found)) == ("kmeans", 0, 3)


def test_every_row_is_in_the_group_of_the_centre_nearest_to_it_by_inner_product():
    rows, _ = bundles([40, 40, 40, 40], noise=0.5)
    found = group(rows, k=6)
    assert np.array_equal(found.labels, (rows @ found.centres.T).argmax(axis=1))


def test_centres_are_the_means_of_their_rows_at_unit_length():
    rows, _ = bundles([40, 60], noise=0.4)
    found = group(rows, k=4)
    for number, centre in enumerate(found.centres):
        mean = rows[found.labels == number].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(centre, mean / np.linalg.norm(mean), atol=1e-6)


def test_unequal_spreads_are_grouped_by_direction_not_by_distance():
    # a wide bundle's mean is short: by Euclidean distance it draws rows that point more along the other centre
    random = np.random.default_rng(3)
    rows = unit(np.concatenate([
        np.eye(30)[0] + 0.35 * random.normal(size=(200, 30)), np.eye(30)[1] + 0.02 * random.normal(size=(200, 30)),
    ]))  # fmt: skip
    found = group(rows, k=2)
    assert np.array_equal(found.labels, (rows @ found.centres.T).argmax(axis=1))


def test_the_same_rows_give_the_same_groups_whatever_the_threads():
    from threadpoolctl import threadpool_limits

    rows, _ = bundles([100, 90, 80, 70], noise=0.6)
    first = group(rows, k=5, seed=7)
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            again = group(rows, k=5, seed=7)
        assert np.array_equal(first.labels, again.labels)
        assert np.array_equal(first.centres, again.centres)


def test_groups_of_equal_size_are_numbered_by_their_first_row():
    rows = unit(np.repeat(np.eye(4), 10, axis=0)[[25, *range(25), *range(26, 40)]])
    assert group(rows, k=4).labels[0] == 0


def test_equal_rows_make_fewer_groups_than_asked_for_and_no_warning():
    rows = unit(np.repeat(np.eye(3), 5, axis=0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = group(rows, k=6)
    assert found.sizes == [5, 5, 5]


def test_many_rows_take_the_mini_batch_path_and_still_end_at_the_nearest_centre(monkeypatch):
    monkeypatch.setattr(grouping, "MINI_BATCH", 100)
    rows, which = bundles([200, 150, 100])
    found = group(rows, k=3)
    assert same(found.labels, which)
    assert np.array_equal(found.labels, (rows @ found.centres.T).argmax(axis=1))


def test_read_only_rows_are_taken_as_they_are_mapped():
    rows, which = bundles([30, 20])
    rows.flags.writeable = False
    assert same(group(rows, k=2).labels, which)
    assert same(group(rows, min_size=5).labels, which)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 11}, "10 texts do not make 11 groups"),
        ({"k": 0}, "do not make 0 groups"),
        ({"min_size": 11}, "from 2 to the 10 texts"),
        ({"min_size": 1}, "not 1"),
        ({"k": 2, "min_size": 2}, "not both"),
    ],
)
def test_what_cannot_be_grouped_so_is_refused(options, words):
    with pytest.raises(BadQuery, match=words):
        group(bundles([10])[0], **options)


def test_nothing_cannot_be_grouped():
    with pytest.raises(BadQuery, match="nothing to group"):
        group(np.empty((0, 8), np.float32))


# --- k chosen


@pytest.mark.parametrize("number", [2, 5, 8])
def test_the_number_of_groups_is_found_where_there_is_one(number):
    rows, which = bundles([40] * number)
    found = group(rows)
    assert len(found) == number
    assert same(found.labels, which)
    assert found.sampled == 40 * number


def test_the_silhouettes_are_those_of_the_rows_by_cosine_and_the_best_is_chosen():
    rows, _ = bundles([60, 60, 60], noise=0.3)
    found = group(rows)
    assert max(found.silhouettes, key=found.silhouettes.get) == len(found)
    for k in (2, 3, 7):
        expected = silhouette_score(rows, group(rows, k=k).labels, metric="cosine")
        assert found.silhouettes[k] == pytest.approx(expected, abs=1e-5)


def test_choosing_looks_at_a_sample_only(monkeypatch):
    monkeypatch.setattr(grouping, "SAMPLE", 60)
    rows, which = bundles([100, 100, 100])
    found = group(rows)
    assert (len(found), found.sampled) == (3, 60)
    assert same(found.labels, which)
    assert max(found.silhouettes) <= 60 // grouping.LEAST


@pytest.mark.parametrize("rows", [1, 2, 3, 9])
def test_few_rows_are_one_group(rows):
    found = group(bundles([rows])[0])
    assert (found.sizes, dict(found.silhouettes)) == ([rows], {})


def test_equal_rows_are_one_group():
    found = group(np.repeat(np.eye(5, dtype=np.float32)[:1], 40, axis=0))
    assert found.sizes == [40]


# --- by density


def test_density_finds_bundles_and_leaves_what_is_between_them_alone():
    rows, which = bundles([60, 50], noise=0.05)
    stray = unit(np.random.default_rng(5).normal(size=(12, 24)))
    found = group(np.concatenate([rows, stray]), min_size=15)
    assert found.method == "hdbscan"
    assert found.sizes[0] >= found.sizes[1] >= 15
    assert same(found.labels[:110], which)
    assert found.alone == (found.labels[110:] == -1).sum() >= 5


def test_density_in_many_dimensions_is_looked_for_in_the_first_fifty():
    rows, which = bundles([60, 50], dim=120, noise=0.04)
    assert same(group(rows, min_size=10).labels, which)


def test_density_may_find_no_group_at_all():
    rows = unit(np.random.default_rng(0).normal(size=(40, 16)))
    found = group(rows, min_size=40)
    assert (found.sizes, found.alone) == ([], 40)
    assert found.closeness(rows).tolist() == [0] * 40


# --- what is central


def test_central_rows_come_nearest_first_and_ties_by_row():
    rows = unit([[1, 0], [1, 0.2], [1, -0.2], [1, 0], [1, 0.5], [1, -0.5]])
    found = group(rows, k=1)
    order = found.central(rows, 0).tolist()
    assert order[:2] == [0, 3]
    close = found.closeness(rows)
    assert close[order].tolist() == sorted(close.tolist(), reverse=True)


# --- samples and extras


def test_a_sample_is_seeded_ascending_and_whole_when_there_is_no_more():
    assert sample(5, 9, 0).tolist() == [0, 1, 2, 3, 4]
    some = sample(1000, 10, 1)
    assert some.tolist() == sorted(set(some.tolist()))
    assert len(some) == 10
    assert np.array_equal(some, sample(1000, 10, 1))
    assert not np.array_equal(some, sample(1000, 10, 2))


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("instructsearch.explore.installed.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"scikit-learn: pip install 'instructsearch\[explore\]'"):
        group(bundles([10])[0], k=2)
