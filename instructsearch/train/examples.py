"""Training examples in the form of INSTRUCTOR's MEDI: a query, a positive and a hard negative, each with instruction.

Knows the file, JSON Lines or MEDI's own JSON array, and reads a row when it is asked for; nothing of models. A text
whose instruction is empty is embedded by the model that training starts from, and so stays where it is.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from instructsearch.durable import new_file
from instructsearch.errors import ReadError, StorageError
from instructsearch.train.rows import rows

Pair = tuple[str, str]  # (instruction, text)
Kind = Literal["pairs", "labels", "keep", "search"]
KEPT: frozenset[str] = frozenset({"keep", "search"})  # kinds whose texts are to stay where the base puts them


@dataclass(frozen=True, slots=True)
class Example:
    """One row. `labels` are those of query, positive and negative where the task has labels.

    Kinds: `pairs` asks the query to be nearer its positive than any other; `labels` asks all of one label to be near;
    `keep` asks the query to lie where the base model puts its positive, the same text, or what is to count of it,
    without an instruction; `search` asks the same, of instructions that are a search's.
    """

    query: Pair
    positive: Pair
    negative: Pair | None
    task: str
    kind: Kind = "pairs"
    labels: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the row as MEDI writes it, with our two fields where they say something."""
        row: dict[str, Any] = {"query": self.query, "pos": self.positive, "neg": self.negative, "task_id": self.task}
        if self.kind != "pairs":
            row["kind"] = self.kind
        if self.labels:
            row["labels"] = self.labels
        return json.dumps(row, ensure_ascii=False)


def write(path: Path, examples: Iterable[Example]) -> int:
    """Write rows to a new file, whole or not at all; return how many.

    Raises:
        StorageError: the disk is full or cannot be written, or the file is there.
    """
    if path.exists():
        raise StorageError(f"{path} is there already; give another name, or remove it first")
    path.with_name(path.name + ".tmp").unlink(missing_ok=True)  # what a killed run has left
    count = 0
    with new_file(path) as file:
        for example in examples:
            file.write((example.to_json() + "\n").encode("utf-8", "surrogatepass"))
            count += 1
    return count


class Examples(Sequence[Example]):
    """The rows of a file, read when asked for.

    `tasks` maps each task to the numbers of its rows, `kinds` to its kind, `instructions` to all that its texts stand
    under, `labels` to its labels. `answering` are the tasks whose positives all stand without an instruction: each is
    the answer to what its query's asks.

    Raises:
        ReadError: a row is not of this form; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kinds: dict[str, Kind] = {}
        self.instructions: dict[str, set[str]] = {}
        self.labels: dict[str, set[str]] = {}
        spans: list[tuple[int, int]] = []
        tasks: dict[str, list[int]] = {}
        other: set[str] = set()
        for row in rows(path):
            example = _example(row.content, row.where)
            kind = self.kinds.setdefault(example.task, example.kind)
            if kind != example.kind:
                raise ReadError(row.where, f"is of kind {example.kind!r}, and task {example.task!r} of {kind!r} before")
            if kind != "pairs" or example.positive[0]:
                other.add(example.task)
            sides = (example.query, example.positive, *([example.negative] if example.negative else []))
            self.instructions.setdefault(example.task, set()).update(instruction for instruction, _ in sides)
            if example.labels:
                self.labels.setdefault(example.task, set()).update(example.labels)
            tasks.setdefault(example.task, []).append(len(spans))
            spans.append((row.offset, len(row.content)))
        if not spans:
            raise ReadError(str(path), "holds no example")
        self._spans = np.array(spans, np.int64)
        self.tasks: dict[str, NDArray[np.int64]] = {task: np.array(each, np.int64) for task, each in tasks.items()}
        self.answering = frozenset(tasks) - other

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, at: int) -> Example: ...

    @overload
    def __getitem__(self, at: slice) -> list[Example]: ...

    def __getitem__(self, at: int | slice) -> Example | list[Example]:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        offset, length = self._spans[at].tolist()
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return _example(file.read(length), f"{self.path}, example {at + 1}")
        except OSError as error:
            raise ReadError(str(self.path), f"cannot be read: {error.strerror or error}") from error


def medi(path: Path) -> Iterator[Example]:
    """Yield the rows of a file, such as the array that MEDI was published as, without holding them all.

    Raises:
        ReadError: a row is not of this form; the message names it.
    """
    for row in rows(path):
        yield _example(row.content, row.where)


def _example(content: bytes, where: str) -> Example:
    try:
        row = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ReadError(where, f"is not JSON: {error}") from None
    if not isinstance(row, dict) or not {"query", "pos"} <= set(row):
        raise ReadError(where, "an example needs query and pos, each [instruction, text], and may have neg and task_id")
    kind, labels, task = row.get("kind", "pairs"), row.get("labels", []), row.get("task_id", "all")
    if kind not in get_args(Kind):
        raise ReadError(where, f"no kind of example is called {kind!r}")
    if not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
        raise ReadError(where, "labels are a list of strings")
    if not isinstance(task, str | int):
        raise ReadError(where, "task_id is a name or a number")
    negative = None if row.get("neg") is None else _pair(row["neg"], where)
    if kind == "labels" and len(labels) != 2 + (negative is not None):
        raise ReadError(where, "an example of kind labels needs the labels of its query, its positive and its negative")
    return Example(_pair(row["query"], where), _pair(row["pos"], where), negative, str(task), kind, tuple(labels))


def _pair(value: Any, where: str) -> Pair:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(each, str) for each in value):
        raise ReadError(where, "query, pos and neg are each a list of two strings, [instruction, text]")
    return value[0], value[1]
