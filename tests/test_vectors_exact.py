"""The exact search against the plainest possible one, over any cut into blocks, filter and tie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructsearch import vectors
from instructsearch.errors import BadVector, CollectionDamaged
from instructsearch.vectors import exact


def unit(rows, dim=8, seed=0):
    table = np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def ids(*values):
    return np.array(values, np.int64)


def brute(queries, blocks, k, allowed=None, denied=None):
    """Sort every live row by score and id, one at a time."""
    rows = {}
    for block_ids, block in blocks:
        rows |= {int(number): row for number, row in zip(block_ids, block, strict=True)}
    keep = [n for n in rows if (allowed is None or n in set(allowed.tolist())) and (denied is None or n not in denied)]
    found = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, np.float32)
    for at, query in enumerate(queries):
        scores = {n: np.float32((query.astype(np.float64) * rows[n]).sum()) for n in keep}
        for rank, number in enumerate(sorted(keep, key=lambda n: (-scores[n], n))[:k]):
            found[0][at, rank], found[1][at, rank] = number, scores[number]
    return found


def same(one, two):
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])


@st.composite
def cases(draw):
    """Few distinct vectors, so that ties abound; blocks that may hold an id again."""
    seed, dim = draw(st.integers(0, 9)), draw(st.sampled_from([1, 3, 16]))
    kinds = unit(draw(st.integers(1, 12)), dim, seed)
    blocks = []
    for some in draw(st.lists(st.sets(st.integers(0, 60), max_size=30), max_size=4)):
        picks = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=len(some), max_size=len(some)))
        blocks.append((ids(*sorted(some)), kinds[np.array(picks, np.int64)].reshape(-1, dim)))
    some_ids = st.none() | st.sets(st.integers(0, 60), max_size=40).map(lambda some: ids(*sorted(some)))
    queries = unit(draw(st.integers(1, 5)), dim, seed + 100)
    return queries, blocks, draw(st.integers(0, 12)), draw(some_ids), draw(some_ids)


@settings(max_examples=300, deadline=None)
@given(cases(), st.sampled_from([8, 40, 1 << 21]))
def test_scan_finds_what_brute_force_finds(case, budget):
    queries, blocks, k, allowed, denied = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "CHUNK", budget)
        patch.setattr(exact, "_SCORES", budget)
        found = vectors.scan(queries, blocks, k, allowed=allowed, denied=denied)
    same(found, brute(queries, blocks, k, allowed, denied))


@settings(max_examples=150, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_rescore_ranks_any_candidates_as_scan_would(case, random):
    queries, blocks, k, _, _ = case
    held = sorted({int(number) for block_ids, _ in blocks for number in block_ids})
    candidates = np.full((len(queries), 9), -1)
    for row in candidates:
        row[:] = [random.choice([*held, -1]) for _ in row]
    found = vectors.rescore(queries, candidates, blocks, k)
    for at in range(len(queries)):
        allowed = np.unique(candidates[at][candidates[at] >= 0])
        same((found[0][[at]], found[1][[at]]), brute(queries[[at]], blocks, k, allowed))


@settings(max_examples=100, deadline=None)
@given(cases())
def test_merging_the_scans_of_disjoint_blocks_is_the_scan_of_all(case):
    queries, blocks, k, _, _ = case
    apart = [(block_ids + 100 * number, block) for number, (block_ids, block) in enumerate(blocks)]
    empty = vectors.scan(queries, [], k)
    parts = [vectors.scan(queries, [block], k) for block in apart]
    same(vectors.merge([empty, *parts], k), vectors.scan(queries, apart, k))


def test_none_lets_all_in_and_empty_nothing():
    blocks = [(np.arange(5), unit(5))]
    assert (vectors.scan(unit(1), blocks, 3)[0] >= 0).all()
    found = vectors.scan(unit(1), blocks, 3, allowed=ids())
    assert found[0].tolist() == [[-1, -1, -1]] and np.isneginf(found[1]).all()
    assert (vectors.scan(unit(1), blocks, 3, denied=ids())[0] >= 0).all()


def test_a_later_block_replaces_the_row_of_an_earlier_one():
    table = unit(3)
    old, new = (ids(1, 2), table[:2]), (ids(2), table[2:])
    assert vectors.scan(table[[1]], [old, new], 5)[0].tolist()[0].count(2) == 1
    assert vectors.scan(table[[1]], [old, new], 5)[1].max() < 0.999
    assert vectors.scan(table[[2]], [old, new], 1)[0].tolist() == [[2]]
    # denied or not allowed, the old row does not come back
    assert 2 not in vectors.scan(table[[1]], [old, new], 5, denied=ids(2))[0]
    assert 2 not in vectors.scan(table[[1]], [old, new], 5, allowed=ids(1))[0]


def test_a_row_scores_the_same_alone_in_a_batch_and_in_any_place():
    table = unit(3000, 100)
    table[1::3] = table[0]
    queries = unit(40, 100, seed=3)
    whole = vectors.scan(queries, [(np.arange(3000), table)], 1200)
    alone = vectors.scan(queries[[7]], [(np.arange(s, s + 100), table[s : s + 100]) for s in range(0, 3000, 100)], 1200)
    same((whole[0][[7]], whole[1][[7]]), alone)
    copies = np.isin(whole[0], np.arange(1, 3000, 3))
    for scores in np.split(whole[1][copies], np.cumsum(copies.sum(axis=1))[:-1]):
        assert len(np.unique(scores)) <= 1


def test_equal_rows_rank_by_id_when_all_rows_are_equal():
    table = np.tile(unit(1, 33), (5000, 1))
    found = vectors.scan(unit(3, 33, seed=9), [(np.arange(5000) * 2, table)], 7)
    assert found[0].tolist() == [[0, 2, 4, 6, 8, 10, 12]] * 3


def test_ascending_scores_do_not_defeat_the_floor():
    angles = np.linspace(1.5, 0, 20_000)
    table = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = vectors.scan(np.array([[1, 0]], np.float32), [(np.arange(20_000), table)], 3)
    assert found[1][0, 0] == 1 and found[0][0, 0] <= 19_999 and (np.diff(found[1]) <= 0).all()


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("how", ["allowed", "denied"])
def test_sparse_and_dense_filters_agree_with_brute_force(share, how):
    table = unit(2000, 12)
    some = np.sort(np.random.default_rng(2).choice(2000, int(2000 * share), replace=False))
    blocks = [(np.arange(1200), table[:1200]), (np.arange(1200, 2000), table[1200:])]
    queries = unit(3, 12, seed=4)
    same(vectors.scan(queries, blocks, 10, **{how: some}), brute(queries, blocks, 10, **{how: some}))


def test_no_queries_and_no_results_are_tables_of_that_shape():
    blocks = [(np.arange(5), unit(5))]
    assert vectors.scan(np.empty((0, 8), np.float32), blocks, 3)[0].shape == (0, 3)
    assert vectors.scan(unit(2), blocks, 0)[0].shape == (2, 0)
    with pytest.raises(ValueError, match="negative"):
        vectors.scan(unit(2), blocks, -1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_query_that_is_not_finite_is_refused(value):
    queries = unit(2)
    queries[1, 3] = value
    with pytest.raises(BadVector, match="finite"):
        vectors.scan(queries, [(np.arange(5), unit(5))], 3)


def test_a_query_of_another_dimension_is_refused():
    with pytest.raises(BadVector, match="9 dimensions does not fit rows of 8"):
        vectors.scan(unit(1, 9), [(np.arange(5), unit(5))], 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -3.0])
def test_a_row_whose_bytes_went_wrong_is_named_and_hides_no_other(value):
    table = unit(50)
    table[17, 2] = value
    with pytest.raises(CollectionDamaged, match="chunk 1017 is not of unit length"):
        vectors.scan(np.eye(8, dtype=np.float32), [(np.arange(1000, 1050), table)], 3)


def test_rescore_names_a_candidate_without_a_row():
    with pytest.raises(CollectionDamaged, match="chunk 9"):
        vectors.rescore(unit(1), np.array([[1, 9]]), [(np.arange(5), unit(5))], 2)
