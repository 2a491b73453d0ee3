"""Batches: how rows share them, and that padding stays little."""

import random

import pytest

from instructsearch.embed.batches import plan


def planned(lengths, budget, ties=None):
    return [part.tolist() for part in plan(lengths, ties or list(range(len(lengths))), budget)]


def padded(lengths, parts):
    return [len(part) * max(lengths[row] for row in part) for part in parts]


def test_every_row_is_in_one_batch_longest_first():
    lengths = [random.Random(3).randint(0, 300) for _ in range(500)]
    parts = planned(lengths, 4096)
    assert sorted(row for part in parts for row in part) == list(range(500))
    assert [lengths[row] for part in parts for row in part] == sorted(lengths, reverse=True)


@pytest.mark.parametrize("budget", [1, 300, 4096, 16_384])
def test_no_batch_of_several_rows_is_above_the_budget(budget):
    lengths = [random.Random(4).randint(1, 300) for _ in range(400)]
    parts = planned(lengths, budget)
    assert all(size <= budget or len(part) == 1 for part, size in zip(parts, padded(lengths, parts), strict=True))


def test_rows_much_shorter_than_the_longest_have_a_batch_of_their_own_once_there_is_enough_to_do():
    assert planned([256] * 4 + [20] * 60, 16_384) == [[0, 1, 2, 3], list(range(4, 64))]


def test_a_batch_with_little_to_do_takes_shorter_rows_too():
    assert planned([256] + [20] * 60, 16_384)[0][:4] == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(5))
def test_a_quarter_of_what_is_computed_is_padding_at_most_where_there_is_much_to_do(seed):
    source = random.Random(seed)
    lengths = [source.randint(1, 512) for _ in range(2000)]
    assert sum(padded(lengths, planned(lengths, 16_384))) < 1.25 * sum(lengths)


def test_the_batches_do_not_depend_on_the_order_of_the_call():
    texts = [f"{number:03}" for number in range(200)]
    lengths = {text: random.Random(text).randint(1, 40) for text in texts}
    mixed = random.Random(1).sample(texts, len(texts))
    one, other = (
        [[call[row] for row in part] for part in planned([lengths[text] for text in call], 512, call)]
        for call in (texts, mixed)
    )
    assert one == other


def test_empty_rows_are_batched_too():
    assert planned([0, 0, 0], 2) == [[0, 1], [2]]
