"""Callers share batches, in turn, and only in what is theirs: work, errors and time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from instructsearch.errors import Overloaded, TimedOut
from instructsearch.serve.batching import Caller, Lane, calling

CALLERS = 8


class Work:
    """Doubles numbers, keeps the batches it was given, and can be held up."""

    def __init__(self):
        self.batches = []
        self.free = threading.Event()
        self.free.set()
        self.started = threading.Event()

    def __call__(self, items):
        self.batches.append(list(items))
        self.started.set()
        assert self.free.wait(10)
        if any(item < 0 for item in items):
            raise ValueError(f"{[item for item in items if item < 0]} cannot be doubled")
        return [2 * item for item in items]


def waiting(lane):
    return sum(len(entry.items) - entry.taken for entry in lane._queue)


def until(condition):
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def threads():
    with ThreadPoolExecutor(32) as pool:
        yield pool


def held_up(work, lane, threads, first=(0,)):
    """Let a first caller into a batch that does not end, so that those who come next meet in the queue."""
    work.free.clear()
    work.started.clear()
    asked = threads.submit(lane.ask, list(first))
    assert work.started.wait(10)
    return asked


def test_a_caller_alone_is_served_at_once(work):
    lane = Lane(work, patience=60)
    assert lane.ask([1, 2, 3]) == [2, 4, 6]
    assert work.batches == [[1, 2, 3]]


def test_callers_who_meet_share_one_batch_and_get_their_own_results(work, threads):
    lane = Lane(work, patience=0)
    held_up(work, lane, threads)
    asked = [threads.submit(lane.ask, [n, n + 100]) for n in range(CALLERS)]
    until(lambda: waiting(lane) == 2 * CALLERS)
    work.free.set()
    assert [each.result() for each in asked] == [[2 * n, 2 * n + 200] for n in range(CALLERS)]
    assert len(work.batches) == 2
    assert sorted(work.batches[1]) == sorted([*range(CALLERS), *range(100, 100 + CALLERS)])


def test_a_batch_waits_for_callers_who_are_on_their_way(work, threads):
    lane = Lane(work, patience=10, expected=lambda: CALLERS)
    asked = [threads.submit(lane.ask, [n]) for n in range(CALLERS)]
    assert [each.result() for each in asked] == [[2 * n] for n in range(CALLERS)]
    assert [len(batch) for batch in work.batches] == [CALLERS]


def test_patience_ends(work):
    lane = Lane(work, patience=0.01, expected=lambda: 2)
    assert lane.ask([1]) == [2]


def test_an_error_reaches_only_the_caller_it_belongs_to(work, threads):
    lane = Lane(work, patience=0)
    held_up(work, lane, threads)
    asked = {n: threads.submit(lane.ask, [n]) for n in (1, -1, 2, -2, 3)}
    until(lambda: waiting(lane) == 5)
    work.free.set()
    assert [asked[n].result() for n in (1, 2, 3)] == [[2], [4], [6]]
    for n in (-1, -2):
        with pytest.raises(ValueError, match=rf"^\[{n}\]"):
            asked[n].result()
    assert lane.ask([4]) == [8], "the lane goes on"


def test_no_batch_is_larger_than_it_may_be(work, threads):
    lane = Lane(work, most=4, patience=0)
    held_up(work, lane, threads)
    asked = [threads.submit(lane.ask, list(range(n, n + 7))) for n in range(CALLERS)]
    until(lambda: waiting(lane) == 7 * CALLERS)
    work.free.set()
    assert [each.result() for each in asked] == [[2 * i for i in range(n, n + 7)] for n in range(CALLERS)]
    assert max(map(len, work.batches)) == 4


def test_a_long_request_does_not_keep_short_ones_waiting(work, threads):
    lane = Lane(work, most=4, patience=0)
    held_up(work, lane, threads)
    long = threads.submit(lane.ask, list(range(1000, 1400)))
    until(lambda: waiting(lane) == 400)
    short = threads.submit(lane.ask, [7])
    until(lambda: waiting(lane) == 401)
    work.free.set()
    assert short.result() == [14]
    assert long.result() == [2 * n for n in range(1000, 1400)]
    served = next(at for at, batch in enumerate(work.batches) if 7 in batch)
    assert served <= 2, "a share of each batch is for those behind"


def test_what_nobody_waits_for_any_more_is_not_worked_on(work, threads):
    lane = Lane(work, patience=0)
    held_up(work, lane, threads)
    caller = Caller()

    def ask():
        with calling(caller):
            return lane.ask([5])

    gone = threads.submit(ask)
    until(lambda: waiting(lane) == 1)
    stays = threads.submit(lane.ask, [6])
    until(lambda: waiting(lane) == 2)
    caller.gone = True
    work.free.set()
    assert stays.result() == [12]
    with pytest.raises(TimedOut):
        gone.result()
    assert all(5 not in batch for batch in work.batches)


def test_too_long_a_queue_is_refused_and_nothing_else_is_lost(work, threads):
    lane = Lane(work, patience=0, waiting=3)
    held_up(work, lane, threads)
    asked = [threads.submit(lane.ask, [n]) for n in (1, 2, 3)]
    until(lambda: waiting(lane) == 3)
    with pytest.raises(Overloaded, match="3 texts wait"):
        lane.ask([4])
    work.free.set()
    assert [each.result() for each in asked] == [[2], [4], [6]]


def test_a_request_larger_than_the_queue_is_served_when_nothing_waits(work):
    assert Lane(work, most=2, waiting=3).ask(list(range(10))) == [2 * n for n in range(10)]


def test_nothing_asked_is_nothing_done(work):
    assert Lane(work).ask([]) == []
    assert not work.batches


def test_many_callers_over_and_over_all_get_what_is_theirs(work, threads):
    lane = Lane(work, most=16, patience=0.0005, expected=lambda: 32)

    def often(seed):
        for n in range(seed * 1000, seed * 1000 + 40):
            items = [n] if n % 7 else [n, -1]
            try:
                assert lane.ask(items) == [2 * n]
                assert n % 7
            except ValueError:
                assert not n % 7
        return True

    assert all(threads.map(often, range(1, 25)))
    assert max(map(len, work.batches)) <= 16
    assert any(len(batch) > 4 for batch in work.batches)
