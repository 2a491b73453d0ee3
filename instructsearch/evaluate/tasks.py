"""Tasks to judge an embedder by: what each kind holds, and the wordings of its instruction.

Knows records; neither files nor embedders.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from instructsearch.evaluate.runs import Qrels
from instructsearch.records import Role

Kind = Literal["sts", "labels", "triplets", "retrieval", "instructions"]
NONE, RIGHT, IMPLICIT, WRONG, LEVEL = "none", "right", "implicit", "wrong", "level "


@dataclass(frozen=True, slots=True)
class Wording:
    """One way of saying an instruction; `document` is the other side's, where a task has one."""

    query: str = ""
    document: str = ""

    def __str__(self) -> str:
        return f"{self.query} | {self.document}" if self.document else self.query


@dataclass(frozen=True, slots=True)
class Wordings:
    """The ways to say what a task wants: rightly, by a hint, wrongly, and in growing detail."""

    right: tuple[Wording, ...] = ()
    implicit: tuple[Wording, ...] = ()
    wrong: tuple[Wording, ...] = ()
    levels: Mapping[str, Wording] = field(default_factory=dict)

    def groups(self) -> Iterator[tuple[str, Wording]]:
        """Yield (group, wording), no instruction first."""
        yield NONE, Wording()
        for group, wordings in ((RIGHT, self.right), (IMPLICIT, self.implicit), (WRONG, self.wrong)):
            for wording in wordings:
                yield group, wording
        for level, wording in self.levels.items():
            yield LEVEL + level, wording


@dataclass(frozen=True, slots=True)
class Sts:
    """Pairs of texts that people scored."""

    name: str
    role: Role
    wordings: Wordings
    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]
    kind: Kind = "sts"


@dataclass(frozen=True, slots=True)
class Labels:
    """Texts with a label each; `train`, where there is one, holds those that are only neighbours."""

    name: str
    role: Role
    wordings: Wordings
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    train_texts: tuple[str, ...] = ()
    train_labels: tuple[str, ...] = ()
    kind: Kind = "labels"


@dataclass(frozen=True, slots=True)
class Crossing:
    """Texts with two labels each, None where one is not known, and each aspect's wordings."""

    name: str
    role: Role
    aspects: Mapping[str, Wordings]
    texts: tuple[str, ...]
    labels: Mapping[str, tuple[str | None, ...]]
    count: int = 500
    kind: Kind = "triplets"


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Queries, a corpus by id, and judgements."""

    name: str
    wordings: Wordings
    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Qrels
    kind: Kind = "retrieval"


@dataclass(frozen=True, slots=True)
class Instance:
    """A query under one instruction; `changes` is the instance whose instruction this one alters, or empty."""

    query: str
    text: str
    instruction: str
    changes: str = ""


@dataclass(frozen=True, slots=True)
class Instructed:
    """Queries under instructions of their own, which decide what of a corpus is relevant."""

    name: str
    corpus: Mapping[str, str]
    instances: Mapping[str, Instance]
    qrels: Qrels
    kind: Kind = "instructions"


Task = Sts | Labels | Crossing | Retrieval | Instructed
