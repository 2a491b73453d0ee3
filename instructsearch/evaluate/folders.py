"""Tasks to judge an embedder by, read from folders that anyone can write: a `task.json`, and JSONL files beside it.

| kind | files | fields of a row |
|---|---|---|
| `sts` | `pairs.jsonl` | `text1`, `text2` (or `sentence1`, `sentence2`), `score`: larger is more alike |
| `labels` | `texts.jsonl` | `text`, `label`, and `split` where some rows are only neighbours: `train` or `test` |
| `triplets` | `texts.jsonl` | `text`, and a label under the name of each of the two aspects |
| `retrieval` | `corpus.jsonl`, `queries.jsonl`, `qrels.tsv` or `qrels/test.tsv` | BEIR's: `_id`, `title`, `text` |
| `instructions` | the same | a row of `queries.jsonl` is a query under one instruction: `_id`, `query` (whose
  instances belong together), `text`, `instruction`, and `changes`: the `_id` whose instruction this one alters |

Each JSONL file may be gzipped. `task.json` holds `kind`, and if wanted `name`, `role` (what `sts`, `labels` and
`triplets` embed as: `query`, or `document`), `instructions` with lists of wordings (`right`, `implicit`, `wrong`) and
`levels` (a name for each wording of growing detail). A wording is a text, or for `retrieval` also
{"query": ..., "document": ...}. `triplets` has `aspects` instead: two names, each with such `instructions`. Knows files
and records; no embedder.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from instructsearch.errors import ReadError
from instructsearch.evaluate.files import encodable, id_of, parsed, rows, text_of
from instructsearch.evaluate.runs import Qrels, read_qrels, read_queries
from instructsearch.evaluate.tasks import (
    IMPLICIT,
    RIGHT,
    WRONG,
    Crossing,
    Instance,
    Instructed,
    Labels,
    Retrieval,
    Sts,
    Task,
    Wording,
    Wordings,
)
from instructsearch.records import Role, content

LARGEST = 1 << 20  # bytes of a task.json


def load(folder: Path) -> list[Task]:
    """Return the task of a folder, or those of the folders in it, by name. One of BEIR's needs no `task.json`.

    Raises:
        ReadError: there is none, or a file of one is missing or holds a bad row; the message names the place.
    """
    if _is_task(folder):
        return [_task(folder)]
    found = sorted(path for path in folder.iterdir() if path.is_dir() and _is_task(path)) if folder.is_dir() else []
    if not found:
        raise ReadError(str(folder), "is no task: it needs a task.json, or folders that have one")
    return [_task(path) for path in found]


def _is_task(folder: Path) -> bool:
    return (folder / "task.json").is_file() or (_there(folder, "corpus.jsonl") and (folder / "queries.jsonl").is_file())


def _there(folder: Path, name: str) -> bool:
    return (folder / name).is_file() or (folder / f"{name}.gz").is_file()


def _task(folder: Path) -> Task:
    where = str(folder / "task.json")
    facts: dict[str, Any] = {"kind": "retrieval"}
    if Path(where).is_file():
        if Path(where).stat().st_size > LARGEST:
            raise ReadError(where, f"is larger than {LARGEST:,} bytes")
        try:
            facts = parsed(where, Path(where).read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise ReadError(where, f"cannot be read: {error}") from error
    kind = facts.get("kind")
    if kind not in _READ:
        raise ReadError(where, f"the kind is {kind!r}; it must be one of {', '.join(_READ)}")
    allowed = {"name", "kind", *_FIELDS[kind]}
    if unknown := sorted(set(facts) - allowed):
        raise ReadError(
            where, f"a task of kind {kind} has no field {unknown[0]!r}; known: {', '.join(sorted(allowed))}"
        )
    name = text_of(where, facts, "name") if "name" in facts else folder.resolve().name
    return _READ[kind](folder, where, name, facts)


def _role(where: str, facts: Mapping[str, Any]) -> Role:
    role = facts.get("role", "query")
    if role not in ("query", "document"):
        raise ReadError(where, f"the role is {role!r}; it must be query or document")
    return "document" if role == "document" else "query"


def _wordings(where: str, facts: Any, *, sided: bool = False) -> Wordings:
    if not isinstance(facts, dict) or set(facts) - {RIGHT, IMPLICIT, WRONG, "levels"}:
        raise ReadError(where, "instructions must hold nothing but right, implicit, wrong and levels")
    levels = facts.get("levels", {})
    if not isinstance(levels, dict):
        raise ReadError(where, "levels must give a name to each wording")
    groups = {}
    for group in (RIGHT, IMPLICIT, WRONG):
        listed = facts.get(group, [])
        if not isinstance(listed, list):
            raise ReadError(where, f"the {group} instructions must be a list of wordings")
        groups[group] = tuple(_wording(where, one, sided) for one in listed)
    return Wordings(**groups, levels={encodable(name): _wording(where, one, sided) for name, one in levels.items()})


def _wording(where: str, value: Any, sided: bool) -> Wording:
    if isinstance(value, str):
        return Wording(encodable(value))
    if sided and isinstance(value, dict) and value and not set(value) - {"query", "document"}:
        both = [value.get(side, "") for side in ("query", "document")]
        if all(isinstance(text, str) for text in both):
            return Wording(*map(encodable, both))
    form = 'a text or {"query": ..., "document": ...}' if sided else "a text"
    raise ReadError(where, f"a wording must be {form}, not {str(value)[:60]!r}")


def _found(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise ReadError(str(folder / name), "no such file; the task needs it")


def _some(path: Path, values: list[Any], least: int = 1) -> list[Any]:
    if len(values) < least:
        raise ReadError(str(path), f"holds {len(values)} rows; {least} or more are needed")
    return values


def _sts(folder: Path, where: str, name: str, facts: dict[str, Any]) -> Sts:
    path = _found(folder, "pairs.jsonl")
    pairs = []
    for place, row in rows(path):
        score = row.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise ReadError(place, "needs a score: a number")
        pairs.append(
            (text_of(place, row, "text1", "sentence1"), text_of(place, row, "text2", "sentence2"), float(score))
        )
    first, second, scores = zip(*_some(path, pairs, 3), strict=True)
    if len(set(scores)) < 2:
        raise ReadError(str(path), "every pair has the same score: there is nothing to rank")
    return Sts(name, _role(where, facts), _wordings(where, facts.get("instructions", {})), first, second, scores)


def _labels(folder: Path, where: str, name: str, facts: dict[str, Any]) -> Labels:
    path = _found(folder, "texts.jsonl")
    parts: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
    for place, row in rows(path):
        split = row.get("split", "test")
        if split not in parts:
            raise ReadError(place, f"the split is {split!r}; it must be train or test")
        parts[split].append((text_of(place, row, "text"), _label(place, row, "label")))
    texts, labels = zip(*_some(path, parts["test"], 2), strict=True)
    train_texts, train_labels = zip(*parts["train"], strict=True) if parts["train"] else ((), ())
    wordings = _wordings(where, facts.get("instructions", {}))
    return Labels(name, _role(where, facts), wordings, texts, labels, train_texts, train_labels)


def _label(where: str, row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str | int) or value == "":
        raise ReadError(where, f"needs the field {name!r}: text, a whole number, true or false")
    return encodable(str(value))


def _triplets(folder: Path, where: str, name: str, facts: dict[str, Any]) -> Crossing:
    aspects = facts.get("aspects")
    if not isinstance(aspects, dict) or len(aspects) != 2:
        raise ReadError(where, "aspects must name two labels of the texts, each with its instructions")
    count = facts.get("count", 500)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 100_000:
        raise ReadError(where, f"count is {count!r}; it must be a whole number from 1 to 100,000")
    path = _found(folder, "texts.jsonl")
    found = [
        (
            text_of(place, row, "text"),
            [_label(place, row, one) if row.get(one) is not None else None for one in aspects],
        )
        for place, row in rows(path)
    ]
    texts, pairs = zip(*_some(path, found, 3), strict=True)
    wordings = {one: _wordings(where, value) for one, value in aspects.items()}
    labels = {one: tuple(pair[at] for pair in pairs) for at, one in enumerate(aspects)}
    return Crossing(name, _role(where, facts), wordings, texts, labels, count)


def _retrieval(folder: Path, where: str, name: str, facts: dict[str, Any]) -> Retrieval:
    qrels = _qrels(folder)
    texts = read_queries(_found(folder, "queries.jsonl"))
    _judged(folder, qrels, texts)
    wordings = _wordings(where, facts.get("instructions", {}), sided=True)
    return Retrieval(name, wordings, _corpus(folder), {query: texts[query] for query in qrels}, qrels)


def _qrels(folder: Path) -> Qrels:
    path = next((path for path in (folder / "qrels.tsv", folder / "qrels" / "test.tsv") if path.is_file()), None)
    if path is None:
        raise ReadError(str(folder / "qrels.tsv"), "no such file, nor qrels/test.tsv; the task needs one")
    return read_qrels(path)


def _judged(folder: Path, qrels: Qrels, queries: Mapping[str, Any]) -> None:
    if lost := [query for query in qrels if query not in queries]:
        raise ReadError(str(folder / "queries.jsonl"), f"lacks {len(lost)} judged queries, the first {lost[0]!r}")


def _corpus(folder: Path) -> dict[str, str]:
    path = _found(folder, "corpus.jsonl")
    corpus: dict[str, str] = {}
    for where, row in rows(path):
        id = row.get("_id", row.get("id"))
        if isinstance(id, bool) or not isinstance(id, str | int) or not str(id):
            raise ReadError(where, "needs an _id: text, or a whole number")
        text, title = row.get("text"), row.get("title") or ""
        if not isinstance(text, str) or not isinstance(title, str):
            raise ReadError(where, "text and title must be text")
        if str(id) in corpus:
            raise ReadError(where, f"the _id {str(id)!r} comes twice")
        corpus[encodable(str(id))] = encodable(content(title, text))
    _some(path, list(corpus))
    return corpus


def _instructed(folder: Path, where: str, name: str, facts: dict[str, Any]) -> Instructed:
    path = _found(folder, "queries.jsonl")
    instances: dict[str, Instance] = {}
    places: dict[str, str] = {}
    for place, row in rows(path):
        id = id_of(place, row)
        if id in instances:
            raise ReadError(place, f"the _id {id!r} comes twice")
        changes = row.get("changes", "")
        if not isinstance(changes, str):
            raise ReadError(place, "changes must be the _id of the row whose instruction this one alters")
        instruction = text_of(place, row, "instruction")
        instances[id] = Instance(text_of(place, row, "query"), text_of(place, row, "text"), instruction, changes)
        places[id] = place
    for id, instance in instances.items():
        if instance.changes and (
            instance.changes not in instances or instances[instance.changes].query != instance.query
        ):
            raise ReadError(places[id], f"changes {instance.changes!r}, which is no row of the same query")
    qrels = _qrels(folder)
    _judged(folder, qrels, _some_of(path, instances))
    return Instructed(name, _corpus(folder), instances, qrels)


def _some_of(path: Path, instances: dict[str, Instance]) -> dict[str, Instance]:
    _some(path, list(instances))
    return instances


_READ: dict[str, Callable[[Path, str, str, dict[str, Any]], Task]] = {
    "sts": _sts,
    "labels": _labels,
    "triplets": _triplets,
    "retrieval": _retrieval,
    "instructions": _instructed,
}
_FIELDS: dict[str, set[str]] = {
    "sts": {"role", "instructions"},
    "labels": {"role", "instructions"},
    "triplets": {"role", "aspects", "count"},
    "retrieval": {"instructions"},
    "instructions": set(),
}
