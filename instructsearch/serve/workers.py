"""Workers: blocking calls on a bounded number of threads, given up when their time is over or their caller has left.

Knows calls and clocks, not what is called.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import Request

from instructsearch.errors import Overloaded, TimedOut
from instructsearch.serve.batching import Caller, calling

Answer = TypeVar("Answer")


class ClientLeft(Exception):
    """The client closed the connection before the answer was there; there is nobody to tell."""


class Workers:
    """Threads that answer requests. `active` counts the calls that run now."""

    def __init__(self, threads: int, *, waiting: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answer")
        self._most = waiting
        self._seconds = seconds
        self._lock = threading.Lock()
        self._admitted = 0
        self.active = 0

    async def run(self, request: Request, call: Callable[[], Answer]) -> Answer:
        """Return what the call returns.

        Raises:
            Overloaded: too many calls run or wait.
            TimedOut: it takes too long. It is told so at the next lane that it asks; a thread cannot be stopped.
            ClientLeft: the client has.
        """
        caller = Caller()
        work = self._submitted(caller, call)
        answer = asyncio.wrap_future(work)
        answer.add_done_callback(_looked_at)
        left = asyncio.ensure_future(_disconnected(request))
        try:
            either: set[asyncio.Future[Any]] = {answer, left}
            await asyncio.wait(either, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if left.done():
                raise ClientLeft
            raise TimedOut(f"no answer within {self._seconds:g} seconds; ask for less, or again later")
        finally:
            left.cancel()
            if not answer.done():
                caller.gone = True
                work.cancel()

    def _submitted(self, caller: Caller, call: Callable[[], Answer]) -> "Future[Answer]":
        with self._lock:
            if self._admitted >= self._most:
                raise Overloaded(f"{self._admitted} requests wait for their answers already; ask again in a moment")
            self._admitted += 1
        work = self._pool.submit(self._called, caller, call)
        work.add_done_callback(self._left)
        return work

    def _called(self, caller: Caller, call: Callable[[], Answer]) -> Answer:
        with self._lock:
            self.active += 1
        try:
            with calling(caller):
                return call()
        finally:
            with self._lock:
                self.active -= 1

    def _left(self, work: "Future[Answer]") -> None:
        with self._lock:
            self._admitted -= 1

    def close(self) -> None:
        """Take no more calls; those that run are left to end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _looked_at(answer: "asyncio.Future[Answer]") -> None:
    if not answer.cancelled():
        answer.exception()  # or asyncio would log what nobody waits for


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
