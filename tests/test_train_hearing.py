"""Instructions drawn to be told apart: of every task as often, each with the tasks that say it, the same every time."""

from collections import Counter

import torch

from instructsearch.train.hearing import Hearing

SAID = {
    "labels/mood": {"mood", "How does it feel?", "opinion"},
    "labels/view": {"opinion", ""},
    "keep/topic": {f"topic {number}" for number in range(2000)},
    "traits/none": {""},
    "traits/nothing": set(),
}


def test_tasks_are_drawn_alike_however_much_they_say():
    torch.manual_seed(0)
    hearing = Hearing(SAID)
    assert hearing.tasks == 3
    drawn = Counter(each for _ in range(50) for each in hearing.draw()[0])
    topics = sum(count for each, count in drawn.items() if each.startswith("topic"))
    assert 0.28 < topics / drawn.total() < 0.39
    # a third of its own task, and all of another's
    assert 0.39 < drawn["opinion"] / drawn.total() < 0.50
    assert "" not in drawn


def test_each_instruction_comes_with_the_tasks_that_say_it():
    said, shares = Hearing(SAID).draw()
    rows = dict(zip(said, shares.tolist(), strict=True))
    topic, mood, view = 0, 1, 2  # in the order of their names
    assert rows["opinion"][mood] == rows["opinion"][view] == 0.5
    assert rows["mood"][mood] == 1
    assert all(row[topic] == 1 for each, row in rows.items() if each.startswith("topic"))
    assert torch.allclose(shares.sum(1), torch.ones(len(said)))


def test_of_a_task_that_says_much_the_same_part_is_taken_every_time():
    one, two = Hearing(SAID), Hearing({task: set(sorted(said, reverse=True)) for task, said in SAID.items()})
    assert one.instructions == two.instructions
    assert len(one.instructions) == 600 + 3
    torch.manual_seed(5)
    first = one.draw()
    torch.manual_seed(5)
    assert two.draw()[0] == first[0]


def test_where_nothing_is_said_there_is_no_task():
    assert Hearing({}).tasks == Hearing({"a": {""}}).tasks == 0
    assert Hearing({}).instructions == []
