"""Maps: drawings of views, made in the background one at a time, and kept for as long as the collection is the same.

Who asks gets the newest there is at once, and hears how far the next one is. Knows threads and generations, not how a
map is drawn.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from instructsearch.errors import InstructSearchError, Overloaded, ServiceError, ViewNotFound
from instructsearch.explore import Method
from instructsearch.serve.catalogue import Served
from instructsearch.serve.drawing import Drawing, draw, refuse_missing

KEPT = 8  # maps: of each its points' vectors are in memory
WAITING = 16  # maps that are made or wait for it
log = logging.getLogger("instructsearch.serve")
Draw = Callable[[Served, str, Method, Callable[[str, int, int | None], None]], Drawing]


class _Stopped(BaseException):
    """The service ends; not an Exception, so that nothing on the way takes it for a failure."""


class _Key(NamedTuple):
    collection: str
    identity: tuple[int, int]  # of its database: another may have been put in its place under the name
    view: str
    method: Method


@dataclass(slots=True)
class _Task:
    """A map in the making, and what became of it."""

    generation: int
    stage: str = "queued"
    done: int = 0
    total: int | None = None
    error: InstructSearchError | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What there is of a map. `drawing` is None until the first one is made; `progress` is None when none is made.

    `current` is false while the drawing shows an older generation than the collection has.
    """

    drawing: Drawing | None
    generation: int | None
    current: bool
    progress: dict[str, Any] | None


class Maps:
    """The maps of one service. Safe to use from many threads; `draw` makes one."""

    def __init__(self, draw: Draw = draw) -> None:
        self._draw = draw
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, tuple[int, Drawing]] = OrderedDict()
        self._tasks: dict[_Key, _Task] = {}
        # one: drawing takes a processor for seconds, and searches need the others
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="map")
        self._stopping = False

    def look(self, collection: Served, view: str, method: Method) -> Look:
        """Return what there is of a view's map, and have the newest one made where it is not there.

        Raises:
            MissingExtra: the extra `explore` is not installed.
            Overloaded: so many maps wait already, or the service is about to end.
            ViewNotFound: no such view, or it is not finished.
            InstructSearchError: the map could not be made; asking again tries again.
        """
        refuse_missing(method)
        facts = collection.status()
        rows = [row for row in facts["views"] if row["view"] == view and row["ready"]]
        if not rows:
            names = ", ".join(row["view"] for row in facts["views"] if row["ready"])
            raise ViewNotFound(f"there is no view {view!r} that is finished; there are: {names or 'none'}")
        key = _Key(collection.name, collection.identity(), rows[0]["key"], method)
        generation = facts["generation"]
        with self._lock:
            before, drawing = self._kept.get(key, (None, None))
            if drawing is not None:
                self._kept.move_to_end(key)
            if before == generation:
                return Look(drawing, before, True, None)
            task = self._tasks.get(key)
            if task is not None and task.error is not None:
                del self._tasks[key]
                raise task.error
            if task is None:
                task = self._begun(key, generation, collection, view)
            return Look(drawing, before, False, {"stage": task.stage, "done": task.done, "total": task.total})

    def _begun(self, key: _Key, generation: int, collection: Served, view: str) -> _Task:
        if self._stopping or sum(task.error is None for task in self._tasks.values()) >= WAITING:
            raise Overloaded("so many maps wait to be drawn already; ask again in a moment")
        task = self._tasks[key] = _Task(generation)
        self._maker.submit(self._make, key, task, collection, view)
        return task

    def _make(self, key: _Key, task: _Task, collection: Served, view: str) -> None:
        def progress(stage: str, done: int, total: int | None) -> None:
            if self._stopping:
                raise _Stopped
            task.stage, task.done, task.total = stage, done, total

        try:
            drawing = self._draw(collection, view, key.method, progress)
        except _Stopped:
            return
        except InstructSearchError as error:
            task.error = error
        except Exception:
            log.exception("the map of view %s of %s", view, collection.name)
            task.error = ServiceError("the map could not be drawn; the service's log says why")
        else:
            with self._lock:
                self._kept[key] = (task.generation, drawing)
                self._kept.move_to_end(key)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
                del self._tasks[key]

    def close(self) -> None:
        """Make no more maps; one that is being made ends at its next step."""
        self._stopping = True
        self._maker.shutdown(wait=False, cancel_futures=True)
