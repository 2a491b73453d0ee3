"""The `index`, `delete` and `embed` commands: documents in, documents out, vectors of rows."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from instructsearch.cli import options, show
from instructsearch.errors import CollectionNotFound, ReadError, ViewMismatch

if TYPE_CHECKING:
    from instructsearch.collection import Collection
    from instructsearch.sync import Report

SHOWN = 20  # failures told one by one


@click.command("index", short_help="Index files and folders, or bring them up to date.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.collection
@options.embedder
@click.option("--view", metavar="V", help="The view to make with --instruction.  [default: default]")
@click.option("--instruction", metavar="T", help="What the documents are embedded under.")
@click.option("--query-instruction", metavar="T", help="What queries are embedded under.  [default: the same]")
@click.option("--glob", "globs", multiple=True, metavar="G", help="Only files that match, such as '*.md'; repeatable.")
@click.option("--spec", default="auto", show_default=True, help="FAISS index: auto, Flat, SQ8, HNSW32, IVF256,SQ8 ...")
@click.option(
    "--chunk-tokens", type=click.IntRange(8), help="Largest chunk.  [default: the model's window, at most 512]"
)
@click.option("--chunk-overlap", type=click.IntRange(0), default=0, show_default=True, help="Tokens two chunks share.")
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME=N", help="Raise or lower a limit on what one file may cost."
)
@options.as_json
def index_command(
    paths: tuple[Path, ...],
    name: str,
    root: Path | None,
    device: str,
    embedder: str | None,
    view: str | None,
    instruction: str | None,
    query_instruction: str | None,
    globs: tuple[str, ...],
    spec: str,
    chunk_tokens: int | None,
    chunk_overlap: int,
    limits: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make or update a collection from PATHS: files, folders, and rows of JSONL or CSV files.

    What is new or changed is embedded, for every view; what is gone from the PATHs is deleted; what was indexed from
    elsewhere is left alone. --instruction and --view name the first view, or add another one.
    """
    if not any(path.exists() for path in paths):
        raise ReadError(", ".join(map(str, paths)), "no such file or folder")
    chosen: dict[str, Any] = {"query_instruction": query_instruction, "spec": spec}
    collection, new = _prepared(
        name,
        root,
        device,
        embedder,
        view,
        instruction,
        {**chosen, "chunk_tokens": chunk_tokens, "chunk_overlap": chunk_overlap},
    )
    with show.progress() as report:
        done = collection.index(paths, globs=globs, limits=_limits(limits), progress=report)
        if view is not None and not new and view not in {row.name for row in collection.views() if row.ready}:
            done.embedded[view] = collection.add_view(
                view, instruction=instruction or "", embedder=embedder, progress=report, **chosen
            )
    _told(done, as_json)


def _prepared(
    name: str,
    root: Path | None,
    device: str,
    embedder: str | None,
    view: str | None,
    instruction: str | None,
    chosen: dict[str, Any],
) -> "tuple[Collection, bool]":
    """Open the collection, or make it with its first view; refuse a view that says something else than it does."""
    from instructsearch.collection import DEFAULT_VIEW, Collection
    from instructsearch.fit import DEFAULT_EMBEDDER

    try:
        collection = Collection.open(name, root, device=device, embedder=embedder)
    except CollectionNotFound:
        made = Collection.create(
            name,
            root,
            embedder=embedder or DEFAULT_EMBEDDER,
            view=view or DEFAULT_VIEW,
            instruction=instruction or "",
            device=device,
            **chosen,
        )
        return made, True
    rows = {row.name: row for row in collection.views()}
    row = rows.get(view) if view else next(iter(rows.values()), None)
    if row is not None and instruction is not None and row.instruction != instruction:
        raise ViewMismatch(
            f"view {row.name!r} was made under {row.instruction or 'no instruction'!r}; add another one with"
            " --view NAME, or drop it first"
        )
    return collection, False


def _limits(written: tuple[str, ...]) -> Any:
    from dataclasses import fields, replace

    from instructsearch.readers import Limits

    known = {field.name for field in fields(Limits)}
    limits = Limits()
    for one in written:
        field, _, value = one.partition("=")
        if field not in known:
            raise click.BadParameter(f"no limit {field!r}; known: {', '.join(sorted(known))}", param_hint="--limit")
        try:
            number = type(getattr(limits, field))(float(value))
        except (ValueError, OverflowError) as error:
            raise click.BadParameter(f"{one!r} is not NAME=NUMBER", param_hint="--limit") from error
        if not number > 0:
            raise click.BadParameter(f"{one!r} must be more than 0", param_hint="--limit")
        limits = replace(limits, **{field: number})
    return limits


def _told(done: "Report", as_json: bool) -> None:
    if as_json:
        for failure in done.failures:
            show.line({"failed": {"where": failure.where, "reason": failure.reason}})
        for path in done.empty:
            show.line({"empty": path})
        show.line(
            {
                "documents": done.documents,
                "chunks": done.chunks,
                "embedded": done.embedded,
                "seconds": round(done.seconds, 3),
                "empty": len(done.empty),
                "device": done.device or None,
            }
        )
        return
    for failure in done.failures[:SHOWN]:
        show.note(f"failed: {failure}")
    if len(done.failures) > SHOWN:
        show.note(f"failed: and {len(done.failures) - SHOWN} more; --json lists them all")
    if done.empty:
        names = ", ".join(Path(path).name for path in done.empty[:5])
        show.note(f"without text: {names}{' ...' if len(done.empty) > 5 else ''} ({len(done.empty)} files)")
    counts = ", ".join(f"{count:,} {fate}" for fate, count in done.documents.items() if count) or "nothing to do"
    embedded = ", ".join(f"{count:,} for {view}" for view, count in done.embedded.items() if count)
    click.echo(f"documents: {counts}")
    click.echo(f"chunks: {done.chunks:,}; embedded: {embedded or 'none'}; {done.seconds:.1f} s")


@click.command("delete", short_help="Delete documents.")
@click.argument("documents", nargs=-1, required=True)
@options.collection
@options.as_json
def delete_command(documents: tuple[str, ...], name: str, root: Path | None, device: str, as_json: bool) -> None:
    """Delete DOCUMENTS, given by id or path. `compact` then erases their text from the disk."""
    collection = options.opened(name, root, device)
    gone = collection.delete([*documents, *(os.path.abspath(document) for document in documents)])
    unknown = [one for one in documents if one not in gone and os.path.abspath(one) not in gone]
    if as_json:
        show.line({"deleted": gone, "unknown": unknown})
    else:
        show.note(f"deleted: {len(gone)}" + (f"; not there: {', '.join(unknown)}" if unknown else ""))
    if unknown and not gone:
        raise ReadError(", ".join(unknown), f"not in collection {name}")


@click.command("embed", short_help="Write the vectors of rows to a .npy file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--field", default="text", show_default=True, help="The field to embed.")
@click.option("--instruction", metavar="T", default="", help="What the rows are embedded under.")
@click.option("--role", type=click.Choice(["query", "document"]), default="document", show_default=True)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The .npy file to write.")
@options.embedder
@options.common
@options.as_json
def embed_command(
    file: Path,
    field: str,
    instruction: str,
    role: Any,
    out: Path,
    embedder: str | None,
    root: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Embed the rows of a JSONL FILE (or .jsonl.gz) and write them as float32 (rows, dim), row by row in order."""
    from instructsearch import embed
    from instructsearch.fit import DEFAULT_EMBEDDER
    from instructsearch.rows import embed_rows

    model = embed.load(embedder or DEFAULT_EMBEDDER, device=device)
    with show.progress() as report:
        rows = embed_rows(model, file, field, instruction, role, out, lambda done, total: report("embed", done, total))
    facts = {"rows": rows, "dim": model.dim, "embedder": model.profile.name, "device": model.device, "out": str(out)}
    if as_json:
        show.line(facts)
    else:
        show.note(f"{rows:,} rows of dimension {model.dim} from {model.profile.name} in {out}")
