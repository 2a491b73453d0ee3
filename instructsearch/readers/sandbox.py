"""Parsing in a process of its own, which may be slow, greedy or fall over without harm.

Knows how to start, ask, time and kill that process; does not know formats.
"""

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from typing import Any

from instructsearch.errors import ReadError
from instructsearch.readers.child import LENGTH
from instructsearch.readers.limits import Limits
from instructsearch.records import Document, Mark

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from instructsearch.readers.child import main; main()"
)
_STARTING = 120.0  # seconds that a busy machine may take to start it
_SLACK = 64_000_000  # bytes of a reply beyond its text


class Sandbox:
    """One child process, started when first needed, used for every file, replaced when a file was too much for it.

    Nothing but JSON comes back from it. Safe to use from several threads, one file at a time.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def read(self, kind: str, path: str, limits: Limits) -> list[Document | ReadError]:
        """Return what a file of that kind holds, and what is wrong with it; never raises for what the file is."""
        request = json.dumps({"kind": kind, "path": path, "limits": asdict(limits)}) + "\n"
        with self._lock:
            try:
                child = self._started()
                reply = self._ask(child, request.encode(), limits)
            except _Failed as failed:
                self._kill()
                return [ReadError(path, str(failed))]
            except BaseException:  # an interrupted child may still answer the question before
                self._kill()
                raise
            if "exhausted" in reply:
                self._kill()
        return [_result(result, path) for result in reply["results"]]

    def close(self) -> None:
        """End the child process, if there is one; the next file starts another."""
        with self._lock:
            self._kill()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._owner != os.getpid():  # after a fork the child is the other's
            self._child, self._owner = None, os.getpid()
        if self._child is not None and self._child.poll() is not None:
            self._kill()
        if self._child is None:
            paths = json.dumps([path for path in sys.path if path])
            self._child = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-W", "ignore", "-c", _START, paths],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt at the terminal is for the parent
            )
            self._receive(self._child, time.monotonic() + _STARTING, _SLACK)
        return self._child

    def _ask(self, child: "subprocess.Popen[bytes]", request: bytes, limits: Limits) -> dict[str, Any]:
        assert child.stdin is not None
        try:
            child.stdin.write(request)
            child.stdin.flush()
            return self._receive(child, time.monotonic() + limits.seconds, 8 * limits.characters + _SLACK)
        except BrokenPipeError:
            raise _Failed(_end(child)) from None
        except TimeoutError:
            raise _Failed(f"takes longer to parse than the limit of {limits.seconds:g} seconds (seconds)") from None

    def _receive(self, child: "subprocess.Popen[bytes]", deadline: float, most: int) -> dict[str, Any]:
        length = LENGTH.unpack(self._bytes(child, LENGTH.size, deadline))[0]
        if length > most:
            raise _Failed("the parser gives more than it may")
        reply: dict[str, Any] = json.loads(self._bytes(child, length, deadline))
        return reply

    def _bytes(self, child: "subprocess.Popen[bytes]", length: int, deadline: float) -> bytes:
        assert child.stdout is not None
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while len(received) < length:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                piece = os.read(child.stdout.fileno(), min(length - len(received), 1 << 20))
                if not piece:
                    raise _Failed(_end(child))
                received += piece
        return bytes(received)

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is None or self._owner != os.getpid():
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue


class _Failed(Exception):
    """The child gave no answer; the message says why."""


def _end(child: "subprocess.Popen[bytes]") -> str:
    child.kill()
    code = child.wait()
    return f"the parser fell over it ({f'signal {-code}' if code < 0 else f'exit code {code}'})"


def _result(result: dict[str, Any], path: str) -> Document | ReadError:
    if "reason" in result:
        return ReadError(str(result["where"]), str(result["reason"]))
    marks = tuple(Mark(start, field, value) for start, field, value in result["marks"])
    return Document(path, result["text"], result["title"], result["metadata"], result["format"], marks, path)
