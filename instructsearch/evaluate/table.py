"""Tables for a terminal and for a page: cells as text, numbers to the right. Knows text only."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from instructsearch.evaluate.bootstrap import Interval

WIDEST = 60  # columns of a cell in a terminal


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name, and rows of as many cells."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def numeric(self, at: int) -> bool:
        """Tell whether a column holds numbers, or nothing."""
        cells = [row[at] for row in self.rows if row[at]]
        return bool(cells) and all(cell.lstrip("+-\N{MINUS SIGN}<")[:1].isdigit() for cell in cells)

    def text(self) -> str:
        """Return the table with its columns aligned, one line a row."""
        cells = [[_short(cell) for cell in row] for row in (self.columns, *self.rows)]
        widths = [max(_wide(row[at]) for row in cells) for at in range(len(self.columns))]
        right = [self.numeric(at) for at in range(len(self.columns))]
        return "\n".join(
            "  ".join(
                " " * (width - _wide(cell)) + cell if left else cell + " " * (width - _wide(cell))
                for cell, width, left in zip(row, widths, right, strict=True)
            ).rstrip()
            for row in cells
        )


def _wide(text: str) -> int:
    return sum(0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF") for one in text)


def _short(text: str) -> str:
    flat = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return flat if _wide(flat) <= WIDEST else flat[: WIDEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a measure as text, "n/a" where there is none."""
    return "n/a" if value is None or value != value else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """Return a difference as text, with its sign."""
    return "n/a" if value is None or value != value else f"{value:+.{digits}f}"


def within(value: Interval) -> str:
    """Return a value and its interval as text."""
    return f"{number(value.value)} [{number(value.low)} {number(value.high)}]"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of any sequences."""
    return Table(tuple(columns), tuple(tuple(row) for row in rows))
