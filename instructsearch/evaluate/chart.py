"""Charts as inline SVG: intervals, strips of wordings, differences by query. They take their colours from the page.

Drawn here because three plain forms need a hundred lines, and a plotting library weighs forty megabytes, brings fonts
of its own and cannot follow the reader's light or dark. Knows numbers and labels; not what they measure.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
LEFT, RIGHT = 250, 90  # what labels and values take of it
ROW = 26
LONGEST = 36  # characters of a label; the whole of it is in the tooltip


@dataclass(frozen=True, slots=True)
class Mark:
    """One row of a chart: a value, its interval, and what a reader is told who points at it."""

    label: str
    value: float
    low: float
    high: float
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Strip:
    """One row of a chart of many values: each with its hint. Those `apart` are drawn hollow and not in the mean."""

    label: str
    values: tuple[tuple[float, str], ...]
    apart: tuple[tuple[float, str], ...] = ()


def intervals(marks: Sequence[Mark], title: str) -> str:
    """Return a chart of values with their intervals, one row each; a line marks 0 where it is within."""
    marks = [mark for mark in marks if math.isfinite(mark.value)]
    if not marks:
        return ""
    scale = _Scale([end for mark in marks for end in (mark.low, mark.high)])
    parts = []
    for at, mark in enumerate(marks):
        y = ROW * at + ROW / 2
        parts.append(_label(mark.label, y))
        hint = f"{mark.hint or mark.label}: {mark.value:.3f}, 95% from {mark.low:.3f} to {mark.high:.3f}"
        parts.append(
            f'<g class="mark"><title>{escape(hint)}</title>'
            f'<line class="range" x1="{scale(mark.low)}" x2="{scale(mark.high)}" y1="{y}" y2="{y}"/>'
            f'<circle class="dot" cx="{scale(mark.value)}" cy="{y}" r="5"/></g>'
        )
        parts.append(_value(f"{mark.value:.3f}", y))
    return _drawn(parts, scale, len(marks), title)


def strips(rows: Sequence[Strip], title: str) -> str:
    """Return a chart of several values a row, a bar at their mean."""
    rows = [Strip(row.label, _finite(row.values), _finite(row.apart)) for row in rows]
    rows = [row for row in rows if row.values]
    if not rows:
        return ""
    scale = _Scale([value for row in rows for value, _ in (*row.values, *row.apart)])
    parts = []
    for at, row in enumerate(rows):
        y = ROW * at + ROW / 2
        mean = math.fsum(value for value, _ in row.values) / len(row.values)
        parts.append(_label(row.label, y))
        parts.append(f'<line class="mean" x1="{scale(mean)}" x2="{scale(mean)}" y1="{y - 9}" y2="{y + 9}"/>')
        for kind, values in (("spot", row.values), ("hollow", row.apart)):
            for value, hint in values:
                told = f"<title>{escape(f'{value:.3f}  {hint}')}</title>"
                parts.append(f'<circle class="{kind}" cx="{scale(value)}" cy="{y}" r="4.5">{told}</circle>')
        parts.append(_value(f"{mean:.3f}", y))
    return _drawn(parts, scale, len(rows), title)


def _finite(values: tuple[tuple[float, str], ...]) -> tuple[tuple[float, str], ...]:
    return tuple(one for one in values if math.isfinite(one[0]))


def differences(values: Iterable[float], title: str) -> str:
    """Return a chart of one thin bar a query, the greatest difference first: how often, and how much, one is better."""
    ordered = sorted(values, reverse=True)
    if not ordered:
        return ""
    height, width = 110, WIDTH - RIGHT
    reach = max(abs(ordered[0]), abs(ordered[-1])) or 1.0
    step = width / len(ordered)
    middle = height / 2
    parts = [
        f'<rect class="{"better" if value > 0 else "worse"}" x="{at * step:.2f}" width="{max(step * 0.9, 0.4):.2f}"'
        f' y="{middle - max(value, 0) / reach * middle:.2f}" height="{abs(value) / reach * middle:.2f}"/>'
        for at, value in enumerate(ordered)
        if value
    ]
    parts.append(f'<line class="zero" x1="0" x2="{width}" y1="{middle}" y2="{middle}"/>')
    parts += [
        f'<text class="value" x="{width + 8}" y="{y}">{text}</text>'
        for text, y in ((f"+{reach:.2f}", 12), ("0", middle + 4), (f"\N{MINUS SIGN}{reach:.2f}", height - 2))
    ]
    return _svg("".join(parts), height, title)


class _Scale:
    """From values to x."""

    def __init__(self, values: Sequence[float]) -> None:
        low, high = min(values), max(values)
        span = (high - low) or max(abs(high), 0.1)
        step = _nice(span / 4)
        self.first = math.floor(low / step + 1e-9) * step
        self.last = max(math.ceil(high / step - 1e-9) * step, self.first + step)
        self.ticks = [self.first + at * step for at in range(round((self.last - self.first) / step) + 1)]
        self.digits = next(digits for digits in range(12) if abs(round(step, digits) - step) < step * 1e-6)

    def __call__(self, value: float) -> float:
        share = (value - self.first) / (self.last - self.first)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 2)


def _nice(step: float) -> float:
    ten: float = 10.0 ** math.floor(math.log10(step))
    return next(ten * times for times in (1, 2, 2.5, 5, 10) if ten * times >= step * 0.999)


def _drawn(parts: Sequence[str], scale: _Scale, rows: int, title: str) -> str:
    bottom = ROW * rows
    grid = "".join(_tick(tick, scale, bottom) for tick in scale.ticks)
    return _svg(grid + "".join(parts), bottom + 22, title)


def _tick(tick: float, scale: _Scale, bottom: float) -> str:
    x, zero = scale(tick), abs(tick) < 1e-9
    written = f"{0.0 if zero else tick:.{scale.digits}f}"
    return (
        f'<line class="{"zero" if zero else "grid"}" x1="{x}" x2="{x}" y1="0" y2="{bottom}"/>'
        f'<text class="tick" x="{x}" y="{bottom + 16}">{written}</text>'
    )


def _svg(body: str, height: float, title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _label(text: str, y: float) -> str:
    short = text if len(text) <= LONGEST else text[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return f'<text class="label" x="{LEFT - 12}" y="{y + 4}"><title>{escape(text)}</title>{escape(short)}</text>'


def _value(text: str, y: float) -> str:
    return f'<text class="value" x="{WIDTH - RIGHT + 16}" y="{y + 4}">{text}</text>'
