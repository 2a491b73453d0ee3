"""One self-contained HTML page of what a judge found: tables and charts, light or dark, nothing fetched, no script.

Knows sections of text, tables and charts; not what they are about.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from instructsearch.evaluate.table import Table


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, a sentence on how to read it, a chart as SVG, and a table; what is empty is left out."""

    heading: str
    text: str = ""
    chart: str = ""
    table: Table | None = None


def page(title: str, facts: Sequence[tuple[str, str]], sections: Sequence[Section]) -> Iterator[str]:
    """Yield the parts of the page: title, facts by name, and the sections in order."""
    yield _HEAD.format(title=escape(title), style=_STYLE)
    yield f"<h1>{escape(title)}</h1>\n<dl>"
    for name, value in facts:
        yield f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
    yield "</dl>\n"
    for section in sections:
        yield f"<section><h2>{escape(section.heading)}</h2>\n"
        if section.text:
            yield f"<p>{escape(section.text)}</p>\n"
        if section.chart:
            yield f"<figure>{section.chart}</figure>\n"
        if section.table and section.table.rows:
            yield from _table(section.table)
        yield "</section>\n"
    yield "</main>\n</html>\n"


def _table(table: Table) -> Iterator[str]:
    kinds = [' class="number"' if table.numeric(at) else "" for at in range(len(table.columns))]
    yield '<div class="wide"><table><thead><tr>'
    yield from (f"<th{kind}>{escape(name)}</th>" for name, kind in zip(table.columns, kinds, strict=True))
    yield "</tr></thead><tbody>\n"
    for row in table.rows:
        cells = "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        yield f"<tr>{cells}</tr>\n"
    yield "</tbody></table></div>\n"


# the policy forbids the page to fetch or run anything, whatever a text in it says
_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
<main>
"""
_STYLE = """
:root { --page: #fcfcfb; --text: #1c1e21; --soft: #62676f; --line: #dfe1e4; --mark: #2158c7; --range: #9db8ee;
  --better: #2158c7; --worse: #c4532d; }
@media (prefers-color-scheme: dark) {
  :root { --page: #15171a; --text: #e8e9eb; --soft: #9aa0a8; --line: #34383e; --mark: #7fa8ff; --range: #3f5b97;
    --better: #7fa8ff; --worse: #ef8a63; }
}
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; }
p { color: var(--soft); margin: 0 0 .75rem; max-width: 46rem; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 0; }
dt { color: var(--soft); font-size: .8rem; }
dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 1rem 0; }
svg { width: 100%; max-width: 50rem; display: block; font: 12px system-ui, sans-serif; }
text { fill: var(--text); }
.label { text-anchor: end; }
.tick { fill: var(--soft); text-anchor: middle; font-size: 11px; }
.value { font-variant-numeric: tabular-nums; }
.grid { stroke: var(--line); }
.zero { stroke: var(--soft); stroke-width: 1.5; }
.range { stroke: var(--range); stroke-width: 6; stroke-linecap: round; }
.dot { fill: var(--mark); }
.spot { fill: var(--mark); fill-opacity: .55; }
.hollow { fill: var(--page); stroke: var(--mark); stroke-width: 1.5; }
.mean { stroke: var(--text); stroke-width: 2; }
.better { fill: var(--better); }
.worse { fill: var(--worse); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
@media print { body { background: none; } section { break-inside: avoid; } }
"""
