"""Coordinate ascent: the measure is the project's own, planted weights are found, and nothing is left to chance."""

import numpy as np
import pytest

from instructsearch.evaluate.ranking import ndcg
from instructsearch.train.ranker import Judged, Task, fit


def lists(count, seed, true=(1.0, 0.5, -0.5)):
    """Queries whose three best candidates by the true weights are relevant, the best of them most."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        features = rng.normal(size=(int(rng.integers(12, 30)), len(true)))
        grades = np.zeros(len(features))
        grades[np.argsort(-(features @ np.array(true)))[:3]] = (3, 2, 1)
        made.append(Judged(features, grades, grades[grades > 0]))
    return made


def test_ndcg_is_that_of_evaluate_ties_in_the_first_stages_order():
    some = lists(20, 1)
    weights = np.array([0.3, 0.0, 0.2])
    expected = []
    for each in some:
        order = np.argsort(-(each.features @ weights), kind="stable")
        expected.append(ndcg([int(grade) for grade in each.grades[order]], [3, 2, 1], 10))
    assert Task(some).ndcg(weights) == pytest.approx(expected)
    unmoved = [ndcg([int(grade) for grade in each.grades], [3, 2, 1], 10) for each in some]
    assert Task(some).ndcg(np.zeros(3)) == pytest.approx(unmoved)


def test_what_was_judged_and_not_found_counts_against_a_query():
    found = Judged(np.zeros((2, 1)), np.array([1.0, 0.0]), np.ones(2))
    nothing = Judged(np.zeros((2, 1)), np.zeros(2), np.zeros(0))
    assert Task([found, nothing]).ndcg(np.ones(1)) == pytest.approx([1 / (1 + 1 / np.log2(3)), 0])


def test_planted_weights_are_found_and_hold_for_other_queries():
    start = np.array([1.0, 0.0, 0.0])
    weights = fit([Task(lists(60, 2))], start)
    assert weights == pytest.approx([1.0, 0.5, -0.5], abs=0.15)
    unseen = Task(lists(60, 3))
    assert unseen.ndcg(weights).mean() > unseen.ndcg(start).mean() + 0.05


def test_a_penalty_keeps_weights_near_where_they_began_and_a_great_one_where_they_did():
    start = np.array([1.0, 0.0, 0.0])
    task = Task(lists(60, 2))
    free, held, fast = (fit([task], start, penalty=penalty) for penalty in (0.0, 0.5, 1e6))
    assert np.abs(held - start).sum() < np.abs(free - start).sum()
    assert np.array_equal(fast, start)


def test_each_task_counts_the_same_whatever_its_size():
    small, large = lists(10, 4), lists(80, 5, true=(1.0, -0.5, 0.5))
    start = np.array([1.0, 0.0, 0.0])
    once, often = fit([Task(small), Task(large)], start), fit([Task(small * 4), Task(large)], start)
    assert np.array_equal(once, often)


def test_the_same_lists_give_the_same_weights():
    start = np.array([1.0, 0.0, 0.0])
    assert np.array_equal(fit([Task(lists(30, 6))], start), fit([Task(lists(30, 6))], start))
