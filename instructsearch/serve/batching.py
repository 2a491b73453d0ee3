"""Lane: callers on many threads whose work is done together, a batch at a time.

The first caller to find the lane empty leads: it waits a moment for others that are on their way, does the batch in its
own thread, and hands on the lead when its own work is done. Knows callers and items, not what is done with them.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

from instructsearch.errors import Overloaded, TimedOut

Item = TypeVar("Item")
Result = TypeVar("Result")


class Caller:
    """Somebody who asks; `gone` once nobody waits for the answer any more."""

    __slots__ = ("gone",)

    def __init__(self) -> None:
        self.gone = False


_calling: ContextVar[Caller | None] = ContextVar("calling", default=None)


@contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """Let what this thread asks of lanes be asked for a caller, and be dropped when it is gone."""
    token = _calling.set(caller)
    try:
        yield
    finally:
        _calling.reset(token)


class _Entry(Generic[Item, Result]):
    """One caller's items; those before `taken` have been in a batch."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.taken = 0
        self.results: list[Result] = []
        self.error: BaseException | None = None
        self.leads = False
        self.woken = threading.Event()
        self.caller = _calling.get()

    @property
    def done(self) -> bool:
        return self.error is not None or len(self.results) == len(self.items)

    @property
    def gone(self) -> bool:
        return self.caller is not None and self.caller.gone


class Lane(Generic[Item, Result]):
    """A queue in front of `run`, which is given at most `most` items and returns as many results.

    `waiting` bounds the items in the queue. `expected` tells how many callers there are now: as long as fewer are here,
    a batch waits for the others, up to `patience` seconds. A long request shares each batch with those behind it. What
    fails as a batch is run again caller by caller, so that an error reaches only the one it belongs to.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        most: int = 64,
        patience: float = 0.003,
        waiting: int = 8192,
        expected: Callable[[], int] = lambda: 1,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._run = run
        self._most = most
        self._patience = patience
        self._most_waiting = waiting
        self._expected = expected
        self._observe = observe
        self._changed = threading.Condition()
        self._queue: deque[_Entry[Item, Result]] = deque()
        self._led = False

    def ask(self, items: Sequence[Item]) -> list[Result]:
        """Return the result of each item; waits until they are there.

        Raises:
            Overloaded: too many items wait already.
            TimedOut: nobody waits for the answer any more.
        """
        if not items:
            return []
        entry: _Entry[Item, Result] = _Entry(items)
        with self._changed:
            waiting = sum(len(one.items) - one.taken for one in self._queue)
            # a request that is larger than the queue may still have it for itself
            if waiting and waiting + len(items) > self._most_waiting:
                raise Overloaded(f"{waiting} texts wait to be worked on already; ask again in a moment")
            self._queue.append(entry)
            entry.leads, self._led = not self._led, True
            self._changed.notify_all()
        if not entry.leads:
            entry.woken.wait()
        if entry.leads:
            self._lead(entry)
        if entry.error is not None:
            raise entry.error
        return entry.results

    def _lead(self, own: _Entry[Item, Result]) -> None:
        try:
            while not own.done:
                self._pass(self._gathered())
        finally:
            with self._changed:
                if own in self._queue:  # only where a pass was interrupted from outside
                    self._queue.remove(own)
                if self._queue:
                    self._queue[0].leads = True
                    self._queue[0].woken.set()
                else:
                    self._led = False

    def _gathered(self) -> list[tuple[_Entry[Item, Result], Sequence[Item]]]:
        """Return the next batch: some items of each of the first callers, in turn."""
        until = time.monotonic() + self._patience
        with self._changed:
            while self._room() and len(self._queue) < self._expected():
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            for entry in [one for one in self._queue if one.gone]:
                self._queue.remove(entry)
                entry.error = TimedOut("nobody waits for this answer any more")
                entry.woken.set()
            share = max(1, self._most // 2) if len(self._queue) > 1 else self._most
            room = self._most
            batch = []
            for entry in list(self._queue):
                if room <= 0:
                    break
                taken = entry.items[entry.taken : entry.taken + min(share, room)]
                entry.taken += len(taken)
                room -= len(taken)
                batch.append((entry, taken))
                self._queue.remove(entry)
                if entry.taken < len(entry.items):
                    self._queue.append(entry)
            return batch

    def _room(self) -> bool:
        return sum(len(one.items) - one.taken for one in self._queue) < self._most

    def _pass(self, batch: list[tuple[_Entry[Item, Result], Sequence[Item]]]) -> None:
        items = [item for _, some in batch for item in some]
        if not items:
            return
        self._observe(len(items))
        try:
            results = self._run(items)
        except Exception as error:
            if len(batch) == 1:
                self._fail(batch[0][0], error)
            else:
                for one in batch:
                    self._pass([one])
            return
        except BaseException:
            for entry, _ in batch:
                self._fail(entry, TimedOut("the work was interrupted"))
            raise
        at = 0
        for entry, some in batch:
            entry.results += results[at : at + len(some)]
            at += len(some)
            if entry.done:
                entry.woken.set()

    def _fail(self, entry: _Entry[Item, Result], error: BaseException) -> None:
        with self._changed:
            if entry in self._queue:
                self._queue.remove(entry)
        entry.error = error
        entry.woken.set()
