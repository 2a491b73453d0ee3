"""The map as one HTML file: data, style and script inline, nothing fetched. Knows points and texts, not where from.

What is shown comes from documents that strangers wrote. It enters the file as JSON in which no character can end a
script element, reaches the page as text and never as markup, and the page's policy lets only its own script run.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from instructsearch.explore.colouring import Colouring
from instructsearch.explore.palette import PALETTES
from instructsearch.explore.things import Things

SPAN = 65_535  # the script's coordinates are whole numbers from 0 to this
SCRIPTS = ("points.js", "chart.js", "gestures.js", "map.js")  # in this order
TITLE, TEXT, LABEL, INSTRUCTION = 120, 280, 80, 1_000  # characters that are kept of each
# controls and what turns the direction of the text around it; and halves of characters, which no file can hold
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_HALVES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Panel:
    """One map: a view's name and instruction, its points (n, 2), remarks on it, and the rows a query found in it."""

    view: str
    instruction: str
    points: npt.NDArray[np.float64]
    facts: Sequence[str] = ()
    hits: Sequence[int] = ()


def page(
    name: str,
    panels: Sequence[Panel],
    things: Things,
    colourings: Sequence[Colouring],
    *,
    summary: str = "",
    notes: Sequence[str] = (),
) -> str:
    """Return the page: a map a panel, the same n things in each, coloured by one of the colourings at a time."""
    shown = data(name, panels, things, colourings, summary=summary, notes=notes)
    style = _part("map.css")
    script = "\n".join(map(_part, SCRIPTS))
    parts = {
        "title": html.escape(short(name, TITLE)),
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "data": embedded(shown),
    }
    # in one pass, so that nothing in the data is taken for a place to fill
    return re.sub(r"\{(\w+)\}", lambda match: parts[match[1]], _part("map.html"))


def data(
    name: str,
    panels: Sequence[Panel],
    things: Things,
    colourings: Sequence[Colouring],
    *,
    summary: str = "",
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what the scripts draw maps from, as JSON-ready data; texts are cleaned and cut."""
    return {
        "name": short(name, TITLE),
        "summary": clean(summary),
        "notes": [clean(note) for note in notes],
        "noun": things.noun,
        "panels": [_panel(panel) for panel in panels],
        "colourings": [_colouring(colouring) for colouring in colourings],
        "titles": [short(title, TITLE) for title in things.titles],
        "texts": [short(text, TEXT) for text in things.texts],
        "documents": [short(document, TITLE) for document in things.documents],
        "palettes": PALETTES,
    }


def embedded(data: Any) -> str:
    """Return JSON that may stand inside a script element whatever its texts say."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def clean(text: str) -> str:
    """Return the text without control characters, direction overrides and lone surrogates."""
    return _UNWANTED.sub("", _HALVES.sub("\N{REPLACEMENT CHARACTER}", text))


def short(text: str, most: int) -> str:
    """Return the text cleaned, its blanks made single, and cut to so many characters."""
    # cut before it is gone through: a text may have millions
    flat = " ".join(clean(text[: 4 * most]).split())
    return flat if len(flat) <= most and len(text) <= 4 * most else flat[: most - 1].rstrip() + "…"


def _panel(panel: Panel) -> dict[str, Any]:
    lows = panel.points.min(axis=0)
    # one scale for both ways, or the picture would be stretched
    width = max(float(np.ptp(panel.points, axis=0).max()), 1e-12)
    whole = np.rint((panel.points - lows) / width * SPAN).astype(np.int64)
    return {
        "view": short(panel.view, TITLE),
        "instruction": short(panel.instruction, INSTRUCTION),
        "facts": [clean(fact) for fact in panel.facts],
        "x": whole[:, 0].tolist(),
        "y": whole[:, 1].tolist(),
        "hits": list(panel.hits),
    }


def _colouring(colouring: Colouring) -> dict[str, Any]:
    return {
        "name": short(colouring.name, LABEL),
        "ordered": colouring.ordered,
        "entries": [{"label": short(entry.label, LABEL), "style": entry.style} for entry in colouring.entries],
        "numbers": colouring.numbers.tolist(),
    }


def _part(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
