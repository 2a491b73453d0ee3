"""The maps as a PNG: the same panels and colours as on the page, for where nothing can be clicked. Knows points.

Drawn by matplotlib, which smooths edges, has the letters of most alphabets, and draws without a browser or a display.
"""

import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from instructsearch.explore.colouring import NONE, OTHER, Colouring, Entry
from instructsearch.explore.installed import require
from instructsearch.explore.page import Panel, short
from instructsearch.explore.palette import PALETTES

SHAPES = ("o", "^", "s", "D")
COLUMNS = 3  # panels side by side at most
# inches: a side of a panel, what is left free, a line of text, a line and a column of the legend
_SIDE, _GAP, _LINE, _ENTRY, _COLUMN = 5.2, 0.18, 0.165, 0.22, 2.6
NUMBERED = 0.03  # of the map's side: a hit nearer than that to one with a number goes without
_ACROSS = 78  # characters of a line above a panel


def picture(name: str, panels: Sequence[Panel], colouring: Colouring, *, summary: str = "", dpi: int = 150) -> bytes:
    """Return the panels side by side as a PNG, coloured by one colouring, with its legend below.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    require("matplotlib")
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    headings = [_heading(panel) for panel in panels]
    head = _LINE * max(text.count("\n") + 1 for text in headings) + _GAP
    width = columns * (_SIDE + _GAP) + _GAP
    across = max(1, int(width / _COLUMN))
    legend = _ENTRY * (1.3 - (-len(colouring.entries) // across)) + _GAP
    top = 2 * _LINE + _GAP
    height = top + rows * (head + _SIDE) + _GAP + legend
    # a title such as "$x" is a title, not a formula
    with mpl.rc_context({"text.parse_math": False, "font.size": 9}), _quiet():
        figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
        FigureCanvasAgg(figure)
        title = f"{short(name, 60)}: {short(summary, 140)}" if summary else short(name, 60)
        figure.text(_GAP / width, 1 - _GAP / height, title, va="top", fontsize=11)
        for number, (panel, heading) in enumerate(zip(panels, headings, strict=True)):
            left = _GAP + number % columns * (_SIDE + _GAP)
            bottom = height - top - (number // columns + 1) * (head + _SIDE)
            axes = figure.add_axes((left / width, bottom / height, _SIDE / width, _SIDE / height))
            _draw(axes, panel, colouring)
            figure.text(left / width, (bottom + _SIDE + _GAP / 2) / height, heading, va="bottom")
        figure.legend(
            handles=_handles(colouring),
            title=f"colour: {short(colouring.name, 60)}",
            ncols=across,
            loc="lower left",
            bbox_to_anchor=(_GAP / width, _GAP / height),
            borderpad=0,
            borderaxespad=0,
            frameon=False,
            alignment="left",
        )
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _heading(panel: Panel) -> str:
    instruction = short(panel.instruction, 3 * _ACROSS) or "without an instruction"
    return "\n".join([f"View: {short(panel.view, 60)}", *textwrap.wrap(instruction, _ACROSS)])


def _draw(axes: Any, panel: Panel, colouring: Colouring) -> None:
    from matplotlib.patheffects import withStroke

    paper = PALETTES["light"]["plot"]
    axes.set(xticks=[], yticks=[], facecolor=paper)
    axes.set_aspect("equal", adjustable="datalim")
    for side in axes.spines.values():
        side.set_color("#d4d4cf")
    size = 5 if len(panel.points) > 10_000 else 8 if len(panel.points) > 3_000 else 16
    for number, entry in enumerate(colouring.entries):
        colour = _colour(entry, colouring)
        rare = entry.style == OTHER
        axes.scatter(
            *panel.points[colouring.numbers == number].T,
            s=size,
            marker=_shape(entry, colouring),
            facecolors=colour if rare else "none" if entry.style == NONE else colour,
            edgecolors=None if rare else colour if entry.style == NONE else paper,
            linewidths=0.7 if entry.style < 0 else 0.25,
            zorder=1 if entry.style < 0 else 2,
        )
    near = NUMBERED * max(float(np.ptp(panel.points, axis=0).max()), 1e-12)
    written: list[int] = []
    for rank, row in enumerate(panel.hits, 1):
        at = panel.points[row]
        axes.scatter(*at, s=6 * size, facecolors="none", edgecolors="#1c1c1a", linewidths=1, zorder=3)
        if all(np.abs(at - panel.points[other]).max() > near for other in written):
            text = axes.annotate(str(rank), at, (3, 3), textcoords="offset points", fontsize=8, zorder=4)
            text.set(weight="bold", path_effects=[withStroke(linewidth=2.5, foreground=paper)])
            written.append(row)


def _handles(colouring: Colouring) -> list[Any]:
    from matplotlib.lines import Line2D

    counts = np.bincount(colouring.numbers, minlength=len(colouring.entries)).tolist()
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=_shape(entry, colouring),
            markersize=5,
            markerfacecolor="none" if entry.style == NONE else _colour(entry, colouring),
            markeredgecolor=_colour(entry, colouring),
            label=f"{short(entry.label, 30)} ({count:,})",
        )
        for entry, count in zip(colouring.entries, counts, strict=True)
    ]


def _shape(entry: Entry, colouring: Colouring) -> str:
    if entry.style == OTHER:
        return "x"
    if entry.style == NONE or colouring.ordered:
        return SHAPES[0]
    return SHAPES[entry.style // len(PALETTES["light"]["categories"]) % len(SHAPES)]


def _colour(entry: Entry, colouring: Colouring) -> str:
    palette = PALETTES["light"]
    if entry.style in (OTHER, NONE):
        return palette["other"] if entry.style == OTHER else palette["none"]
    if not colouring.ordered:
        return palette["categories"][entry.style % len(palette["categories"])]
    steps = sum(one.style >= 0 for one in colouring.entries)
    scale = palette["scale"]
    return scale[round(entry.style / max(1, steps - 1) * (len(scale) - 1))]


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # a letter that no font here has is drawn as a box, which is for nobody to mend
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
        yield
