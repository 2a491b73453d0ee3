"""How results look: hits with marked words in a terminal, plain in a pipe, JSON lines; progress on stderr."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from instructsearch.records import Hit

if TYPE_CHECKING:
    from rich.progress import TaskID

PATIENCE = 1.0  # seconds before a bar is shown: what is over by then needs none
LINES = 6  # of a snippet
NAMED = 5  # documents, of those that repeat a hit
_OPEN, _CLOSE = "\x02", "\x03"  # around marked words while lines are broken: `plain` leaves no such character
_MARKED = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}?")
_BLANK = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def line(value: dict[str, Any]) -> None:
    """Print one JSON object on one line."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, allow_nan=False, default=str)
    click.echo(text)


def note(text: str) -> None:
    """Print a line of log on stderr."""
    click.echo(plain(text), err=True)


def plain(text: str) -> str:
    """Return the text without control characters: what a document says must not command the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _BLANK.sub(" ", text))


def count(number: int, noun: str, many: str = "") -> str:
    """Return the number with its noun: "1 file", "2,000 files"."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def hit(found: Hit, width: int) -> None:
    """Print one hit: where it is, its best sentences, and whatever else was asked for."""
    place = plain(short(found.document))
    marks = [
        plain(f"{name} {found.metadata[name]}")
        for name in ("page", "slide", "heading")
        if name in found.metadata and found.metadata[name] != found.title
    ]
    title = plain(found.title) if found.title and found.title not in place else ""
    head = f"{found.rank:>3}  {click.style(place, bold=True)}"
    rest = "  ".join([*([title] if title else []), *marks, f"{found.start}-{found.end}", f"{found.score:.4f}"])
    click.echo(f"{head}  {click.style(rest, dim=True)}")
    around = found.context or {"before": (), "after": ()}
    _texts(around["before"], width)
    _snippet(found.text, found.snippet, width)
    _texts(around["after"], width)
    for other in found.passages:
        click.echo(click.style(f"     {other['start']}-{other['end']}  {other['score']:.4f}", dim=True))
        _snippet(other["text"], other.get("snippet"), width)
    if found.folded:
        names = dict.fromkeys(plain(short(each["document"])) for each in found.folded)
        said = f"{count(len(found.folded), 'near-duplicate')} folded: {', '.join([*names][:NAMED])}"
        click.echo(click.style(f"     +{said}{' …' if len(names) > NAMED else ''}", dim=True))
    for text in _explained(found.explain) if found.explain is not None else ():
        click.echo(click.style(f"     {plain(text)}", dim=True))
    click.echo()


def _texts(passages: Sequence[Mapping[str, Any]], width: int) -> None:
    for each in passages:
        for text in _wrapped(plain(each["text"]), width):
            click.echo(click.style(f"     {text}", dim=True))


def _snippet(text: str, shown: Mapping[str, Any] | None, width: int) -> None:
    """Print the best sentences with the words that matched marked, and whether there is more before or after."""
    if shown is None:
        shown = {"text": text, "start": 0, "end": len(text), "highlights": []}
    pieces = []
    at = 0
    for start, end in shown["highlights"]:
        pieces += [plain(shown["text"][at:start]), _OPEN, plain(shown["text"][start:end]), _CLOSE]
        at = end
    pieces.append(plain(shown["text"][at:]))
    before, after = "… " * (shown["start"] > 0), " …" * (shown["end"] < len(text.rstrip()))
    lines = _wrapped(f"{before}{''.join(pieces)}{after}", width)
    marked = "\n".join(f"     {line}" for line in lines[:LINES])
    if len(lines) > LINES:
        marked += " …"
    click.echo(_MARKED.sub(lambda word: click.style(word[1], fg="yellow", bold=True), marked))


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(" ".join(text.split()), max(20, width - 5)) or [""]


def _explained(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of an explanation."""
    for stage, one in told["stages"].items():
        index = told["index"].get(stage)
        how = f"  {index['spec']}, {'exact' if index['exact'] else 'approximate'}" if index else ""
        of = f" of {index['vectors']:,} vectors" if index else ""
        yield f"{stage:<10} rank {one['rank']:<4} score {one['score']:.4f}{how}{of}"
    for view, both in told["instructions"].items():
        yield f"{view}: documents under {both['document']!r}, the query under {both['query']!r}"
    if told["filters"] is not None:
        yield f"filter {json.dumps(told['filters'], ensure_ascii=False)}"
    yield ", ".join(f"{stage} {spent:.1f} ms" for stage, spent in told["milliseconds"].items())


def short(path: str) -> str:
    """Return a path as it reads from the current folder or the user's home; anything else as it is."""
    for base, mark in ((os.path.abspath("."), ""), (os.path.expanduser("~"), f"~{os.sep}")):  # noqa: PTH111
        if path.startswith(f"{base}{os.sep}"):
            return mark + path[len(base) + 1 :]
    return path


@contextmanager
def progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Give a function that shows stage, rate and time left on stderr once a run takes over a second."""
    if not sys.stderr.isatty():
        yield _logged()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[str, TaskID] = {}
    started = time.monotonic()
    shown = False

    def report(stage: str, done: int, total: int | None) -> None:
        nonlocal shown
        if not shown and time.monotonic() - started > PATIENCE:
            bar.start()
            shown = True
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total)
        bar.update(tasks[stage], completed=done, total=total)

    try:
        yield report
    finally:
        bar.stop()


def _logged() -> Callable[[str, int, int | None], None]:
    """Return a function that prints a line every ten seconds, for logs."""
    last = time.monotonic()
    begun: dict[str, float] = {}

    def report(stage: str, done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        begun.setdefault(stage, now)
        if now - last < 10 or now == begun[stage]:
            return
        last = now
        rate = done / max(now - begun[stage], 1e-9)
        left = f", {(total - done) / rate:,.0f} s left" if total and rate else ""
        note(f"{stage}: {done:,}{f' of {total:,}' if total else ''}, {rate:,.0f}/s{left}")

    return report
