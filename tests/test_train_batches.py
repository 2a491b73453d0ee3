"""Which examples make up a step: one task's, the same for seed and step, in proportion to rows and weights."""

from collections import Counter

import numpy as np
import pytest

from instructsearch.train.batches import Batches
from instructsearch.train.settings import Settings

TASKS = {"small": np.arange(10), "large": np.arange(100, 1100), "tiny": np.array([5000, 5001])}


def drawn(batches, steps=2000):
    return Counter(batches.step(number)[0] for number in range(steps))


def test_a_step_holds_rows_of_one_task_each_at_most_once():
    batches = Batches(TASKS, 8)
    for number in range(200):
        task, rows = batches.step(number)
        assert set(rows) <= set(TASKS[task])
        assert len(set(rows)) == len(rows) == min(8, len(TASKS[task]))


def test_a_step_depends_on_seed_and_number_alone():
    once, again = ([(task, rows.tolist()) for task, rows in map(Batches(TASKS, 8, 3).step, range(50))] for _ in "12")
    backwards = [Batches(TASKS, 8, 3).step(number) for number in reversed(range(50))]
    assert once == again == [(task, rows.tolist()) for task, rows in reversed(backwards)]
    other = [(task, rows.tolist()) for task, rows in map(Batches(TASKS, 8, 4).step, range(50))]
    assert sum(one == another for one, another in zip(once, other, strict=True)) < 10


def test_every_row_of_a_task_is_drawn_in_time():
    batches = Batches({"small": TASKS["small"]}, 4)
    seen = Counter(row for number in range(500) for row in batches.step(number)[1].tolist())
    assert set(seen) == set(range(10))
    assert max(seen.values()) < 1.3 * min(seen.values())


@pytest.mark.parametrize(
    ("evenness", "share"), [(0.0, 1 / 3), (0.5, 10**0.5 / (10**0.5 + 1000**0.5 + 2**0.5)), (1.0, 10 / 1012)]
)
def test_a_task_is_drawn_in_proportion_to_a_power_of_its_rows(evenness, share):
    assert drawn(Batches(TASKS, 4, evenness=evenness))["small"] / 2000 == pytest.approx(share, abs=0.035)


def test_weights_multiply_a_tasks_share_and_0_leaves_it_out():
    found = drawn(Batches(TASKS, 4, evenness=0.0, weights={"small": 3.0, "tiny": 0.0}))
    assert set(found) == {"small", "large"}
    assert found["small"] / 2000 == pytest.approx(0.75, abs=0.035)


def test_a_fading_task_is_drawn_ever_less_until_the_last_batch():
    batches = Batches(TASKS, 4, evenness=0.0, fades={"small": 0.0}, total=3000)
    found = [batches.step(number)[0] == "small" for number in range(3000)]
    thirds = [sum(found[start : start + 1000]) / 1000 for start in range(0, 3000, 1000)]
    # of three tasks: (1 - t) / (3 - t), averaged over each third
    assert thirds == pytest.approx([0.294, 0.199, 0.076], abs=0.03)
    unfaded = Batches(TASKS, 4, evenness=0.0, total=3000)
    assert unfaded.step(5)[1].tolist() == Batches(TASKS, 4, evenness=0.0).step(5)[1].tolist()


def test_a_task_may_have_a_size_of_its_own():
    batches = Batches(TASKS, 4, sizes={"large": 12})
    assert {task: len(rows) for task, rows in map(batches.step, range(100))} == {"small": 4, "large": 12, "tiny": 2}


@pytest.mark.parametrize("weights", [None, {name: 0.0 for name in TASKS}])
def test_no_task_to_draw_from_is_refused(weights):
    with pytest.raises(ValueError, match="no task is left"):
        Batches(TASKS if weights else {}, 4, weights=weights)


# --- settings


def test_a_task_has_the_weight_of_the_longest_beginning_of_its_name():
    settings = Settings(weights=(("labels/", 3.0), ("labels/emo", 0.5), ("keep", 2.0)))
    tasks = ("labels/emotion", "labels/irony", "keep/topic", "qa/nq")
    assert [settings.weight(task) for task in tasks] == [0.5, 3.0, 2.0, 1.0]
    fading = Settings(fades=(("labels/", 0.2), ("labels/emo", 0.0)))
    assert [fading.fade(task) for task in tasks] == [0.0, 0.2, 1.0, 1.0]


def test_the_rate_rises_then_falls_to_a_twentieth():
    settings = Settings(steps=100, rate=2.0, warmup=0.1)
    rates = [settings.rate_at(step) for step in range(100)]
    assert rates[:10] == pytest.approx(np.linspace(0.2, 2.0, 10))
    assert rates[10:] == pytest.approx([2.0 * max(0.05, (100 - step) / 90) for step in range(10, 100)])
    assert min(rates[10:]) == pytest.approx(0.1)
    assert Settings(steps=1, warmup=0.0).rate_at(0) == Settings().rate


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"steps": 0}, "steps must be above 0"),
        ({"steps": 1.5}, "steps must be int"),
        ({"steps": True}, "steps must be int"),
        ({"rate": 0}, "rate must be above 0"),
        ({"rate": float("nan")}, "rate must be above 0"),
        ({"rate": "1e-4"}, "rate must be a number"),
        ({"decay": -0.1}, "decay must be 0 or more"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"dropout": 1}, "dropout must be bool"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"weights": (("keep/", -1.0),)}, "the weight of 'keep/' must be 0 or more"),
        ({"weights": (("keep/", "2"),)}, "the weight of 'keep/' must be a number"),
        ({"fades": (("keep/", -1.0),)}, "the fade of 'keep/' must be 0 or more"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        Settings(**wrong)


def test_a_whole_number_does_where_a_number_is_asked():
    assert Settings(rate=1, weights=(("keep/", 0),)).rate_at(999) == 0.05
