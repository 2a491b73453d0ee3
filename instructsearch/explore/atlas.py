"""Maps of the same things under several views, as a page and as a picture. Knows vectors, texts and values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructsearch.explore.colouring import Colouring, by_group, by_value
from instructsearch.explore.grouping import FloatArray
from instructsearch.explore.page import Panel, data, page
from instructsearch.explore.picture import picture
from instructsearch.explore.projection import Method, Projection, project
from instructsearch.explore.survey import survey
from instructsearch.explore.things import Things

HOW = {
    "tsne": "Flattened by t-SNE: near neighbours stay near, so groups stand out; how far groups are apart, how large"
    " they look and how dense says little.",
    "pca": "Flattened by PCA: the two directions in which the vectors differ most. Far apart here is far apart in"
    " truth; what is near here may be far apart in the directions left out.",
}
TRUST = (
    "Trustworthiness tells how far points that are near on a map are near in truth: 1 is always, and around 0.5 is as"
    " good as chance."
)
NAMES = {"tsne": "t-SNE", "pca": "PCA"}


@dataclass(frozen=True, slots=True)
class Atlas:
    """Maps of the same things, what they can be coloured by, and what a reader should know of them."""

    name: str
    things: Things
    panels: Sequence[Panel]
    colourings: Sequence[Colouring]
    summary: str
    notes: Sequence[str]

    def page(self) -> str:
        """Return one HTML file that needs nothing else."""
        return page(self.name, self.panels, self.things, self.colourings, summary=self.summary, notes=self.notes)

    def data(self) -> dict[str, Any]:
        """Return what the page draws, as JSON-ready data."""
        return data(self.name, self.panels, self.things, self.colourings, summary=self.summary, notes=self.notes)

    def picture(self) -> bytes:
        """Return a PNG, coloured by the first colouring.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return picture(self.name, self.panels, self.colourings[0], summary=self.summary)


def atlas(
    name: str,
    things: Things,
    matrices: Mapping[str, FloatArray],
    instructions: Mapping[str, str],
    *,
    fields: Sequence[str] = (),
    method: Method = "tsne",
    k: int | None = None,
    query: str = "",
    hits: Mapping[str, Sequence[int]] | None = None,
    left_out: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Atlas:
    """Flatten each view's vectors (n, dim) of the things, and offer each field and each view's groups to colour by.

    `hits` are, for each view, the numbers of the things that `query` found in it, best first; `left_out` is how many
    things a sample has left out.

    Raises:
        BadQuery: none of the things has a field, or they are too few for k groups.
        MissingExtra: a library that this needs is not installed.
    """
    colourings = [by_value(field, things.values(field)) for field in dict.fromkeys(fields)]
    found = survey(things, matrices, k=k, seed=seed)
    colourings += [
        by_group(f"clusters of {view}", named.grouping.labels, named.titles()) for view, named in found.views.items()
    ]
    flat = project(list(matrices.values()), method, seed=seed, progress=progress)
    panels = [
        Panel(view, instructions[view], one.points, _remarks(one), (hits or {}).get(view, ()))
        for view, one in zip(matrices, flat, strict=True)
    ]
    notes = ["What lies together is similar under that view's instruction.", HOW[method], TRUST]
    if len(panels) > 1:
        notes.append(
            "Every map shows the same points. Each but the first was turned and mirrored, not stretched, to lie on the"
            " first as well as it can: what lies elsewhere has moved."
        )
    notes += [
        f"{' and '.join(pair)}: their clusters agree with an adjusted mutual information of"
        f" {one.adjusted_mutual_information:.2f} (1: the same, 0: by chance)."
        for pair, one in found.agreements.items()
    ]
    if query:
        notes.append(f"Rings and numbers mark what the query “{query}” found in each view, best first.")
    if left_out:
        notes.append(f"A sample: {left_out:,} more are in the collection.")
    shown = f"{len(things):,} {things.noun}s" + (f", a sample of {len(things) + left_out:,}" if left_out else "")
    asked = f" · query: {query}" if query else ""
    return Atlas(name, things, panels, colourings, f"{shown} · {NAMES[method]}{asked}", notes)


def _remarks(projection: Projection) -> list[str]:
    remarks = []
    if projection.explained is not None:
        remarks.append(f"shows {projection.explained:.0%} of the variance")
    if projection.trust is not None:
        remarks.append(f"trustworthiness {projection.trust:.2f}")
    return remarks
