"""One collection's groups under several views: named, shown by examples, compared. Knows vectors, texts and values."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from instructsearch.explore.agreement import Agreement, agreement
from instructsearch.explore.colouring import written
from instructsearch.explore.grouping import FloatArray, Grouping, group
from instructsearch.explore.terms import TERMS, label
from instructsearch.explore.things import Things

CENTRAL = 3  # texts shown of a group
TEXT = 300  # characters of such a text
COLUMNS = ("view", "cluster", "label", "similarity", "document", "chunk")


@dataclass(frozen=True, slots=True)
class Named:
    """One view's groups of things, with the terms of each group and the vectors (n, dim) they were made of."""

    things: Things
    matrix: FloatArray
    grouping: Grouping
    terms: Sequence[tuple[str, ...]]

    def titles(self, count: int = 3) -> list[str]:
        """Return a short name of each group: its number and first terms."""
        return [f"{number}: {', '.join(terms[:count])}" for number, terms in enumerate(self.terms)]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each group as JSON-ready data, the largest first."""
        close = self.grouping.closeness(self.matrix)
        for number, size in enumerate(self.grouping.sizes):
            yield {
                "cluster": number,
                "size": size,
                "share": round(size / len(self.things), 4),
                "terms": list(self.terms[number]),
                "closeness": round(float(close[self.grouping.labels == number].mean()), 4),
                "central": [self._shown(at, float(close[at])) for at in self.central(number)],
            }

    def central(self, number: int) -> list[int]:
        """Return the things nearest to the centre of a group, each text once."""
        chosen: dict[str, int] = {}
        for at in self.grouping.central(self.matrix, number).tolist():
            chosen.setdefault(self.things.texts[at], at)
            if len(chosen) == CENTRAL:
                break
        return list(chosen.values())

    def _shown(self, at: int, close: float) -> dict[str, Any]:
        text = self.things.texts[at]
        return {
            **self._identity(at),
            "title": self.things.titles[at],
            "text": text if len(text) <= TEXT else f"{text[: TEXT - 1]}…",
            "similarity": round(close, 4),
        }

    def _identity(self, at: int) -> dict[str, Any]:
        document = {"document": self.things.documents[at]}
        return {**document, "chunk": self.things.chunks[at]} if self.things.noun == "passage" else document

    def members(self) -> Iterator[dict[str, Any]]:
        """Yield each thing with its group, -1 for none, and its similarity to the group's centre."""
        close = self.grouping.closeness(self.matrix).tolist()
        for at, number in enumerate(self.grouping.labels.tolist()):
            terms = ", ".join(self.terms[number]) if number >= 0 else ""
            yield {"cluster": number, "label": terms, "similarity": round(close[at], 4), **self._identity(at)}

    def facts(self) -> dict[str, Any]:
        """Return how the groups were made, as JSON-ready data."""
        grouping = self.grouping
        made = {"method": grouping.method, "clusters": len(grouping), "alone": grouping.alone}
        if not grouping.silhouettes:
            return made
        tried = {str(k): round(score, 4) for k, score in grouping.silhouettes.items()}
        return {**made, "silhouettes": tried, "sampled": grouping.sampled}


@dataclass(frozen=True, slots=True)
class Survey:
    """The groups of each view, how far each two views agree, and each view with a field's values."""

    views: Mapping[str, Named]
    agreements: Mapping[tuple[str, str], Agreement]
    field: str | None
    values: int
    against: Mapping[str, Agreement]

    def facts(self) -> dict[str, Any]:
        """Return the comparisons as JSON-ready data."""
        pairs = [{"views": list(pair), **one.to_dict()} for pair, one in self.agreements.items()]
        if self.field is None:
            return {"agreement": pairs}
        views = [{"view": view, **one.to_dict()} for view, one in self.against.items()]
        return {"agreement": pairs, "against": {"field": self.field, "values": self.values, "views": views}}

    def table(self, kind: str) -> str:
        """Return a row for each view and thing, as `csv` or `jsonl`."""
        rows = ({"view": view, **row} for view, named in self.views.items() for row in named.members())
        out = io.StringIO()
        if kind == "jsonl":
            out.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
            return out.getvalue()
        passages = any(named.things.noun == "passage" for named in self.views.values())
        writer = csv.DictWriter(out, COLUMNS if passages else COLUMNS[:-1], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()


def survey(
    things: Things,
    matrices: Mapping[str, FloatArray],
    *,
    k: int | None = None,
    min_size: int | None = None,
    against: str | None = None,
    seed: int = 0,
) -> Survey:
    """Group the things in each view by its vectors (n, dim), name the groups, and compare.

    `against` names a metadata field: things that have none of it are left out of that comparison.

    Raises:
        BadQuery: too few things for the groups asked for, or none has the field.
        MissingExtra: scikit-learn is not installed.
    """
    values = None if against is None else [written(value) for value in things.values(against)]
    views: dict[str, Named] = {}
    for view, matrix in matrices.items():
        grouping = group(matrix, k=k, min_size=min_size, seed=seed)
        views[view] = Named(things, matrix, grouping, label(things.texts, grouping.labels.tolist(), count=TERMS))
    labels = {view: named.grouping.labels.tolist() for view, named in views.items()}
    pairs = {(one, other): agreement(labels[one], labels[other]) for one, other in combinations(labels, 2)}
    if values is None:
        return Survey(views, pairs, None, 0, {})
    rows = [at for at, value in enumerate(values) if value is not None]
    known = [values[at] for at in rows]
    fits = {view: agreement([each[at] for at in rows], known) for view, each in labels.items()}
    return Survey(views, pairs, against, len(set(known)), fits)
