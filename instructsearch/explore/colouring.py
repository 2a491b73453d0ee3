"""What points are coloured by: a field's values, or groups, as few entries of a legend. Knows values, not colours."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instructsearch.explore.grouping import ALONE, IntArray

CATEGORIES = 24  # that are told apart by colour and shape; rarer ones share one entry
BINS = 7  # ranges of a number
MANY = 10  # distinct numbers up to which each is an entry of its own
OTHER, NONE = -1, -2  # the styles of what is rare and of what has no value


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a legend. `style` counts from 0, or is `OTHER` or `NONE`."""

    label: str
    style: int


@dataclass(frozen=True, slots=True)
class Colouring:
    """A legend and which of its entries each thing (n,) has. In an `ordered` one the styles are steps of a scale."""

    name: str
    entries: tuple[Entry, ...]
    numbers: IntArray
    ordered: bool = False


def field(metadata: Mapping[str, Any], name: str) -> Any:
    """Return a field as filters find it: by its name, else, where that has dots, inside nested objects; else None."""
    if name in metadata:
        return metadata[name]
    found: Any = metadata
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def written(value: Any) -> str | None:
    """Return a value as a legend shows it, None where there is none; a list of one value is that value."""
    if isinstance(value, list | tuple):
        parts = [part for part in map(written, value) if part is not None]
        return ", ".join(parts) or None
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def by_value(name: str, values: Sequence[Any]) -> Colouring:
    """Colour by the values of a field: each an entry, the commonest first; many different numbers become ranges."""
    numbers = [value for value in values if _number(value)]
    if len(set(numbers)) > MANY and all(_number(value) or written(value) is None for value in values):
        return _ranges(name, values, numbers)
    shown = [written(value) for value in values]
    counts = Counter(text for text in shown if text is not None)
    by_count = sorted(counts, key=lambda text: (-counts[text], text))
    # a place is left for the rest
    kept = by_count if len(by_count) <= CATEGORIES else by_count[: CATEGORIES - 1]
    entries = [Entry(text, style) for style, text in enumerate(kept)]
    places = {text: style for style, text in enumerate(kept)}
    if len(kept) < len(by_count):
        entries.append(Entry(f"{len(by_count) - len(kept):,} others", OTHER))
        places.update(dict.fromkeys(by_count[len(kept) :], len(entries) - 1))
    if None in shown:
        entries.append(Entry(f"no {name}", NONE))
    at = np.array([len(entries) - 1 if text is None else places[text] for text in shown], np.int64)
    return Colouring(name, tuple(entries), at)


def by_group(name: str, labels: IntArray, titles: Sequence[str]) -> Colouring:
    """Colour by groups (n,), the first of which are the largest, each named by its title."""
    kept = len(titles) if len(titles) <= CATEGORIES else CATEGORIES - 1
    entries = [Entry(title, style) for style, title in enumerate(titles[:kept])]
    at = labels.copy()
    if kept < len(titles):
        entries.append(Entry(f"{len(titles) - kept:,} other groups", OTHER))
        at[labels >= kept] = kept
    if (labels == ALONE).any():
        entries.append(Entry("in no group", NONE))
        at[labels == ALONE] = len(entries) - 1
    return Colouring(name, tuple(entries), at)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _ranges(name: str, values: Sequence[Any], numbers: Sequence[float]) -> Colouring:
    """Cut numbers into ranges of about as many things each; equal numbers stay together."""
    ordered = np.sort(np.array(numbers, np.float64))
    edges = np.unique(np.quantile(ordered, np.arange(1, BINS) / BINS, method="lower"))
    entries = []
    places = np.searchsorted(edges, ordered, side="left")
    order = {old: new for new, old in enumerate(np.unique(places).tolist())}
    for style, old in enumerate(order):
        mine = ordered[places == old]
        low, high = _short(mine[0]), _short(mine[-1])
        entries.append(Entry(low if low == high else f"{low} to {high}", style))
    absent = len(entries)
    at = [order[int(np.searchsorted(edges, float(value)))] if _number(value) else absent for value in values]
    if absent in at:
        entries.append(Entry(f"no {name}", NONE))
    return Colouring(name, tuple(entries), np.array(at, np.int64), ordered=True)


def _short(number: float) -> str:
    return f"{number:.0f}" if number == int(number) and abs(number) < 1e15 else f"{number:.4g}"
