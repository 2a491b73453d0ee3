"""Positives and hard negatives against INSTRUCTOR's two rules worked out by hand."""

import numpy as np
import pytest

from instructsearch.train.data import mining


@pytest.fixture(autouse=True)
def nearest_only(monkeypatch):
    """Take the nearest itself, so that there is one right answer."""
    monkeypatch.setattr(mining, "_NEAR", 1)


def circle(*degrees):
    """Return unit vectors at these angles: the nearer the angles, the more alike the texts."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def units(count, seed):
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def random(seed=0):
    return np.random.default_rng(seed)


def test_of_labelled_texts_a_near_one_of_the_label_is_positive_and_the_nearest_of_another_negative():
    vectors = circle(0, 10, 80, 21, 90, 160)
    labels = ["joy", "joy", "joy", "fear", "fear", "fear"]
    hard = {0: 3, 1: 3, 2: 4, 3: 1, 4: 2, 5: 2}
    near = {0: 1, 1: 0, 2: 1, 3: 4, 4: 3, 5: 4}
    positives = {at: set() for at in range(6)}
    for seed in range(60):
        found = mining.by_label(vectors, labels, random(seed))
        assert [at for at, _, _ in found] == list(range(6))
        assert {at: negative for at, _, negative in found} == hard
        for at, positive, _ in found:
            assert labels[positive] == labels[at] and positive != at
            positives[at].add(positive)
    # now the nearest, now any other of the label, so that the label is not taken for the subject
    assert all(near[at] in found and len(found) == 2 for at, found in positives.items())


def test_the_nearest_is_taken_half_the_time_and_any_of_the_label_else():
    vectors = circle(0, 1, *range(50, 80), 100)
    labels = ["a"] * 32 + ["b"]
    taken = [mining.by_label(vectors, labels, random(seed))[0][1] for seed in range(300)]
    assert np.mean([each == 1 for each in taken]) == pytest.approx(0.5 + 0.5 / 31, abs=0.1)
    assert len(set(taken)) > 20


def test_a_label_that_only_one_text_has_makes_it_a_negative_alone():
    found = mining.by_label(circle(0, 10, 20), ["a", "a", "b"], random())
    assert found == [(0, 1, 2), (1, 0, 2)]


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "a", "a"], ["a", "b", "c"]])
def test_without_both_a_like_and_an_unlike_text_there_is_no_triple(labels):
    assert mining.by_label(circle(*range(len(labels))), labels, random()) == []


def test_of_generated_texts_similarities_are_added_for_the_positive_and_subtracted_for_the_negative():
    inputs = circle(0, 10, 20, 30)
    outputs = circle(0, 170, 5, 175)
    # cosines of inputs and outputs with row 0: .985 and -.985, .940 and .996, .866 and -.996
    found = mining.by_output(inputs, outputs, random())
    assert found[0] == (0, 2, 1)
    assert found == [(0, 2, 1), (1, 3, 0), (2, 0, 3), (3, 1, 2)]


def test_generated_texts_follow_the_rule_for_any_vectors():
    inputs, outputs = units(40, 1), units(40, 2)
    near, same = inputs @ inputs.T, outputs @ outputs.T
    for query, positive, negative in mining.by_output(inputs, outputs, random()):
        others = [at for at in range(40) if at != query]
        assert positive == max(others, key=lambda at: near[query, at] + same[query, at])
        rest = [at for at in others if at != positive]
        assert negative == max(rest, key=lambda at: near[query, at] - same[query, at])


def test_two_texts_make_no_triple():
    assert mining.by_output(circle(0, 1), circle(0, 1), random()) == []


def test_a_hard_passage_is_near_and_neither_the_own_nor_as_near_as_it():
    queries, passages = circle(0, 90), circle(10, 12, 40, 100, 70)
    # row 0: own at cosine .985, so .978 is as near within 5 %, .766 is hard; row 1: own .985, then .940 of 70 degrees
    # is not below .936, and .643 is
    assert mining.hard_passages(queries, passages, np.array([0, 3]), random()) == [2, 2]


def test_where_every_passage_is_as_near_as_the_own_any_is_returned():
    queries, passages = circle(0), circle(0, 1, 2)
    found = {mining.hard_passages(queries, passages, np.array([0]), random(seed))[0] for seed in range(40)}
    assert found == {0, 1, 2}


def test_one_of_the_few_nearest_is_drawn_so_that_no_text_is_everybodys(monkeypatch):
    monkeypatch.setattr(mining, "_NEAR", 3)
    queries, passages = circle(0), circle(0, 30, 31, 32, 80, 90)
    found = {mining.hard_passages(queries, passages, np.array([0]), random(seed))[0] for seed in range(60)}
    assert found == {1, 2, 3}


def test_rows_are_the_same_in_blocks_of_any_size(monkeypatch):
    vectors, outputs = units(25, 3), units(25, 4)
    labels = [str(at % 3) for at in range(25)]

    def all_of_it():
        return [
            mining.by_label(vectors, labels, random()),
            mining.by_output(vectors, outputs, random()),
            mining.hard_passages(vectors, outputs, np.arange(25), random()),
        ]

    whole = all_of_it()
    monkeypatch.setattr(mining, "_BLOCK", 4)
    assert all_of_it() == whole
