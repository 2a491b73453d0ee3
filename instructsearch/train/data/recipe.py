"""A recipe: which files are turned into which training tasks, under which words, as one TOML file.

Knows the recipe's form and checks it; reads no data. Paths in it are below the folder that the user names, but for
files of instructions, which lie in a folder `words` beside the recipe.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin

from instructsearch.errors import ReadError
from instructsearch.train.data.traits import TRAITS
from instructsearch.train.data.wording import Aspect


@dataclass(frozen=True)
class Labels:
    """Texts with a label each: texts of one label are alike under the aspect. `names` says a label in words.

    `merge` calls labels by a common one, or, by an empty one, leaves their texts out. `only` are fields and how their
    values begin in the rows that count. A label that fewer than `fewest` texts have is left out. `thinned` is how many
    more copies of each text are taken, each without one word in seven: a few thousand texts are soon known by heart.
    """

    name: str
    files: tuple[str, ...]
    aspect: Aspect
    text: str = "text"
    label: str = "label"
    names: dict[str, str] = field(default_factory=dict)
    most: int = 3000
    merge: dict[str, str] = field(default_factory=dict)
    only: dict[str, str] = field(default_factory=dict)
    fewest: int = 1
    thinned: int = 0


@dataclass(frozen=True)
class Mentions:
    """An aspect that words tell: a text that names exactly one member, by any of its words, is labelled with it.

    A text that names none is labelled with `otherwise`, where that is not empty.
    """

    name: str
    aspect: Aspect
    members: dict[str, str]
    most: int = 1500
    otherwise: str = ""


@dataclass(frozen=True)
class Answers:
    """Tasks with an instruction, inputs and outputs, as in Super-NaturalInstructions.

    `tasks` is a file that tells each task's licence; those whose licence holds one of `refused` are left out.
    """

    name: str
    files: tuple[str, ...]
    tasks: str = ""
    refused: tuple[str, ...] = ()
    task: str = "task"
    instruction: str = "definition"
    text: str = "input"
    output: str = "output"
    most: int = 200
    words: int = 12


@dataclass(frozen=True)
class Pairs:
    """Questions and the passages that answer them, each side under an instruction of its own."""

    name: str
    files: tuple[str, ...]
    queries: tuple[str, ...]
    passages: tuple[str, ...]
    query: str = "query"
    passage: str = "positive"
    group: str = ""
    leave: tuple[str, ...] = ()
    most: int = 12000


@dataclass(frozen=True)
class Keep:
    """Instructions under which texts of every other source are to lie where the base model puts them.

    Where there is an aspect, every third instruction is made from it. `without` names a word list of `mentions`: half
    of the texts hold a word of it, and are to lie where the base model puts them when it is left out. `search` says
    that the instructions are a search's.
    """

    name: str
    wordings: tuple[str, ...]
    most: int = 12000
    aspect: Aspect | None = None
    without: str = ""
    search: bool = False


@dataclass(frozen=True)
class Recipe:
    """All of it, with the seed that every choice comes from.

    `similarity` names the model by which texts are near one another; where it is empty, it is the base of `profile`.
    `characters` is where a text is cut, `traits` how many texts each rule of `traits` is asked of, and `plain` the
    share of labelled texts left without an instruction. `words` are whole instructions by the task they are added to,
    `profile` and `training` are for the run that follows.
    """

    seed: int = 0
    similarity: str = ""
    characters: int = 600
    traits: int = 0
    plain: float = 0.0
    labels: tuple[Labels, ...] = ()
    mentions: tuple[Mentions, ...] = ()
    answers: tuple[Answers, ...] = ()
    pairs: tuple[Pairs, ...] = ()
    keep: tuple[Keep, ...] = ()
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


_KINDS: dict[str, Any] = {"labels": Labels, "mentions": Mentions, "answers": Answers, "pairs": Pairs, "keep": Keep}


def read(path: Path) -> Recipe:
    """Return the recipe of a TOML file.

    Raises:
        ReadError: it is no recipe; the message names the table and the field.
    """
    try:
        facts = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ReadError(str(path), f"is no recipe: {error}") from error
    try:
        tables = {name: tuple(_source(name, each) for each in _list(name, facts.pop(name, []))) for name in _KINDS}
        words = _words(facts.pop("words", {}), path.parent / "words")
        found = _made(Recipe, "", facts | tables | {"words": words})
        _refuse_unknown(words, tables)
        _refuse_unlisted(tables)
    except ValueError as error:
        raise ReadError(str(path), str(error)) from None
    assert isinstance(found, Recipe)
    return found


def _words(wanted: Any, folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the instructions of each task of the table `words`, one a line of its files.

    Raises:
        ValueError: it is no such table.
        ReadError: a file cannot be read.
    """
    if not isinstance(wanted, dict) or not all(_is(names, tuple[str, ...]) for names in wanted.values()):
        raise ValueError("words is a table of lists of file names")
    found = {}
    for task, names in wanted.items():
        lines: list[str] = []
        for name in names:
            if Path(name).name != name:
                raise ValueError(f"words: {name} does not lie in the folder of words beside the recipe")
            try:
                lines += (folder / name).read_text("utf-8").splitlines()
            except (OSError, ValueError) as error:
                raise ReadError(str(folder / name), f"cannot be read: {error}") from error
        found[task] = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    return found


def _refuse_unknown(words: Iterable[str], tables: dict[str, tuple[Any, ...]]) -> None:
    tasks = {f"{kind}/{each.name}" for kind in ("labels", "mentions", "keep") for each in tables[kind]}
    tasks |= {f"traits/{trait.name}" for trait in TRAITS}
    if unknown := sorted(set(words) - tasks):
        raise ValueError(f"words: no task is called {unknown[0]!r}; there are: {', '.join(sorted(tasks))}")


def _refuse_unlisted(tables: dict[str, tuple[Any, ...]]) -> None:
    lists = {each.name for each in tables["mentions"]}
    for each in tables["keep"]:
        if each.without and each.without not in lists:
            raise ValueError(f"[[keep]] {each.name}: without names no word list of [[mentions]]: {each.without!r}")


def _list(kind: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError(f"{kind} are tables, each begun by [[{kind}]]")
    return value


def _source(kind: str, facts: dict[str, Any]) -> Any:
    where = f"[[{kind}]] {facts.get('name', '')}".strip()
    if kind in {"labels", "mentions"} or (kind == "keep" and "nouns" in facts):
        shared = facts["wordings"] if kind == "keep" and "wordings" in facts else None
        words = {each.name: facts.pop(each.name) for each in fields(Aspect) if each.name in facts}
        if not words.get("nouns"):
            raise ValueError(f"{where} needs nouns: what its texts are alike in")
        facts["aspect"] = _made(Aspect, where, {"topical": kind == "keep", **words})
        facts |= {"wordings": shared} if shared is not None else {}
    return _made(_KINDS[kind], where, facts)


def _made(maker: Any, where: str, facts: dict[str, Any]) -> Any:
    """Return the record of a table.

    Raises:
        ValueError: a field is missing, unknown or of the wrong type; the message names it and the table.
    """
    known = {each.name: each for each in fields(maker)}
    begin = f"{where}: " if where else ""
    if unknown := sorted(set(facts) - set(known)):
        raise ValueError(f"{begin}no field is called {unknown[0]!r}; there are: {', '.join(sorted(known))}")
    for each in known.values():
        if each.name in facts and not _is(facts[each.name], each.type):
            raise ValueError(f"{begin}{each.name} must be {_CALLED.get(each.type, 'a table')}")
        needed = each.default is MISSING and each.default_factory is MISSING
        if each.name not in facts and needed:
            raise ValueError(f"{begin}{each.name} is missing")
        if facts.get(each.name) == [] and (needed or each.default):
            raise ValueError(f"{begin}{each.name} is empty")
    if away := [name for name in facts.get("files", ()) if Path(name).is_absolute() or ".." in Path(name).parts]:
        raise ValueError(f"{begin}{away[0]} does not lie below the folder of the data")
    return maker(**{name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()})


_CALLED: dict[Any, str] = {
    str: "a string",
    int: "a whole number, 0 or more",
    float: "a number from 0 to 1",
    bool: "true or false",
    tuple[str, ...]: "a list of strings",
    dict[str, str]: "a table of strings",
    dict[str, Any]: "a table",
}


def _is(value: Any, kind: Any) -> bool:
    if kind is int:
        return type(value) is int and value >= 0
    if kind is float:
        return type(value) in (int, float) and 0 <= value <= 1
    if kind == tuple[str, ...]:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if kind == dict[str, str]:
        return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    if kind == Aspect | None:
        return isinstance(value, Aspect)
    return isinstance(value, get_origin(kind) or kind)
