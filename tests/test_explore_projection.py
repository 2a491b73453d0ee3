"""Vectors on the plane: what keeps near, what is turned to fit, and what is too little to flatten."""

import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from test_explore_grouping import bundles, unit

from instructsearch.errors import MissingExtra
from instructsearch.explore import METHODS, project
from instructsearch.explore.projection import FEW


@pytest.fixture(scope="module")
def rows():
    return bundles([40, 35, 25])


def kept_together(points, which):
    """Return the share of points whose nearest point is of the same bundle."""
    far = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(far, np.inf)
    return (which[far.argmin(axis=1)] == which).mean()


@pytest.mark.parametrize("method", METHODS)
def test_bundles_stay_apart_and_points_are_centred_and_scaled(rows, method):
    (found,) = project([rows[0]], method)
    assert found.points.shape == (100, 2)
    np.testing.assert_allclose(found.points.mean(axis=0), 0, atol=1e-9)
    assert (found.points**2).sum(axis=1).mean() == pytest.approx(1)
    assert kept_together(found.points, rows[1]) == 1


def test_pca_is_the_two_directions_of_most_variance(rows):
    (found,) = project([rows[0]], "pca")
    centred = rows[0].astype(np.float64) - rows[0].mean(axis=0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :2] * values[:2]
    for column in range(2):
        correlation = np.corrcoef(found.points[:, column], expected[:, column])[0, 1]
        assert abs(correlation) == pytest.approx(1)
    assert found.explained == pytest.approx((values[:2] ** 2).sum() / (values**2).sum())


def test_trust_is_the_trustworthiness_by_cosine(rows):
    (found,) = project([rows[0]], "pca")
    assert found.trust == pytest.approx(trustworthiness(rows[0], found.points, n_neighbors=15, metric="cosine"))


def test_tsne_is_more_to_be_trusted_than_pca_where_there_are_more_than_two_directions():
    matrix, _ = bundles([20] * 8, noise=0.3)
    flat = {method: project([matrix], method)[0] for method in METHODS}
    assert flat["tsne"].trust > flat["pca"].trust
    assert flat["tsne"].explained is None


@pytest.mark.parametrize("method", METHODS)
def test_the_same_rows_give_the_same_points(method):
    rows, _ = bundles([30, 20])
    one, other = (project([rows, rows[::-1]], method, seed=3) for _ in range(2))
    for first, second in zip(one, other, strict=True):
        assert np.array_equal(first.points, second.points)


def test_a_turned_and_mirrored_view_of_the_same_lies_on_the_first(rows):
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(24, 24)))[0]
    turned = unit(rows[0] @ turn * [-1, *[1] * 23])
    first, second = project([rows[0], turned], "pca")
    np.testing.assert_allclose(first.points, second.points, atol=1e-5)


def test_by_tsne_what_stays_similar_stays_in_place(rows):
    matrix, which = rows
    moved = matrix.copy()
    moved[which == 2] = matrix[which == 2][:, ::-1]  # one bundle points elsewhere, the others are as they were
    first, second = project([matrix, unit(moved)], "tsne")
    for number in (0, 1):
        before, after = (one.points[which == number].mean(axis=0) for one in (first, second))
        assert np.linalg.norm(before - after) < 1


def test_turning_never_stretches(rows):
    other = unit(np.random.default_rng(6).normal(size=rows[0].shape))
    alone = project([other], "pca")[0].points
    turned = project([rows[0], other], "pca")[1].points
    lengths = (np.linalg.norm(points[:, None] - points[None], axis=2) for points in (alone, turned))
    np.testing.assert_allclose(next(lengths), next(lengths), atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2, 3, FEW, FEW + 1])
def test_few_rows_are_points_all_the_same(method, count):
    matrix = bundles([count])[0]
    for found in project([matrix, matrix], method):
        assert found.points.shape == (count, 2)
        assert np.isfinite(found.points).all()
        assert (found.trust is None) == (count < 3)


@pytest.mark.parametrize("method", METHODS)
def test_equal_rows_lie_on_one_point_or_near_it_and_nothing_fails(method):
    matrix = np.repeat(unit(np.ones((1, 6))), 60, axis=0)
    for found in project([matrix, matrix], method):
        assert np.isfinite(found.points).all()


def test_progress_goes_from_nothing_to_all_steps_of_all_views(rows):
    told = []
    project([rows[0], rows[0]], "tsne", progress=lambda done, every: told.append((done, every)))
    assert (told[0], told[-1]) == ((0, 1500), (1500, 1500))
    assert told == sorted(told)


def test_without_open_tsne_the_extra_is_named_and_pca_still_works(monkeypatch, rows):
    monkeypatch.setattr("instructsearch.explore.installed.find_spec", lambda name: None if name == "openTSNE" else name)
    with pytest.raises(MissingExtra, match=r"openTSNE: pip install 'instructsearch\[explore\]'"):
        project([rows[0]])
    assert project([rows[0]], "pca")[0].points.shape == (100, 2)
