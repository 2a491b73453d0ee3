"""The `views` commands: add, list, refresh and drop ways of looking at the same documents."""

from pathlib import Path
from typing import Any

import click

from instructsearch.cli import options, show


@click.group("views", short_help="Add, list, refresh or drop views of a collection.")
def views_command() -> None:
    """A view is the collection's chunks embedded under one instruction. Add as many as there are questions to ask."""


@views_command.command("add", short_help="Embed the stored chunks under another instruction.")
@click.argument("view")
@options.collection
@options.embedder
@click.option("--instruction", metavar="T", default="", help="What the documents are embedded under.")
@click.option("--query-instruction", metavar="T", help="What queries are embedded under.  [default: the same]")
@click.option("--spec", default="auto", show_default=True, help="FAISS index: auto, Flat, SQ8, HNSW32, IVF256,SQ8 ...")
@click.option("--truncate", is_flag=True, help="Cut chunks that do not fit the model's window, instead of refusing.")
@options.as_json
def add(
    view: str,
    name: str,
    root: Path | None,
    device: str,
    embedder: str | None,
    instruction: str,
    query_instruction: str | None,
    spec: str,
    truncate: bool,
    as_json: bool,
) -> None:
    """Add VIEW: embed the stored chunks under an instruction. No file is read again.

    An interrupted run is taken up again by the same command.
    """
    collection = options.opened(name, root, device, embedder)
    with show.progress() as report:
        done = collection.add_view(
            view,
            instruction=instruction,
            query_instruction=query_instruction,
            embedder=embedder,
            spec=spec,
            truncate=truncate,
            progress=report,
        )
    if as_json:
        show.line({"view": view, "embedded": done})
    else:
        show.note(f"view {view}: {show.count(done, 'text')} embedded")


@views_command.command("list", short_help="Show the views and their instructions.")
@options.collection
@options.as_json
def list_(name: str, root: Path | None, device: str, as_json: bool) -> None:
    """List the views of a collection with both instructions."""
    for row in options.opened(name, root, device).status()["views"]:
        if as_json:
            show.line(row)
        else:
            described(row)


def described(row: dict[str, Any]) -> None:
    """Print one view."""
    state = "" if row["ready"] else "  (not finished: run views add again)"
    index = f"index {row['index']}" if row["index"] else "no index yet"
    vectors = show.count(row["vectors"], "vector")
    click.echo(f"  {click.style(row['view'], bold=True)}: {row['embedder']}, {vectors}, {index}{state}")
    click.echo(f"    documents: {show.plain(row['instruction']) or '(no instruction)'}")
    click.echo(f"    queries:   {show.plain(row['query_instruction']) or '(no instruction)'}")


@views_command.command("refresh", short_help="Make a view anew: a changed model, another index.")
@click.argument("view")
@options.collection
@options.embedder
@click.option("--spec", help="FAISS index from now on.  [default: as before]")
@options.as_json
def refresh(
    view: str, name: str, root: Path | None, device: str, embedder: str | None, spec: str | None, as_json: bool
) -> None:
    """Make VIEW anew under its instructions, with a model that has changed or another index.

    No file is read, and the old vectors are searched until the new ones are all there.
    """
    with show.progress() as report:
        done = options.opened(name, root, device, embedder).refresh_view(
            view, embedder=embedder, spec=spec, progress=report
        )
    if as_json:
        show.line({"view": view, "embedded": done})
    else:
        show.note(f"view {view}: {show.count(done, 'text')} embedded")


@views_command.command("drop", short_help="Forget a view.")
@click.argument("view")
@options.collection
@options.as_json
def drop(view: str, name: str, root: Path | None, device: str, as_json: bool) -> None:
    """Forget VIEW and its vectors. Documents and other views stay."""
    options.opened(name, root, device).drop_view(view)
    if as_json:
        show.line({"dropped": view})
    else:
        show.note(f"view {view} dropped")
