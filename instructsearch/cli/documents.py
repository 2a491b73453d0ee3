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
@click.option("--spec", help="FAISS index: auto, Flat, SQ8, HNSW32, IVF256,SQ8 ...  [default: auto]")
@click.option(
    "--chunk-tokens", type=click.IntRange(8), help="Largest chunk.  [default: the model's window, at most 512]"
)
@click.option("--chunk-overlap", type=click.IntRange(0), help="Tokens two chunks share.  [default: 0]")
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
    spec: str | None,
    chunk_tokens: int | None,
    chunk_overlap: int | None,
    limits: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make or update a collection from PATHS: files, folders, and rows of JSONL or CSV files.

    What is new or changed is embedded, for every view; what is gone from the PATHs is deleted; what was indexed from
    elsewhere is left alone. --instruction and --view name the first view, or add another one.
    """
    from instructsearch.readers import Limits

    if not any(os.path.exists(path) for path in paths):  # noqa: PTH110 - Path.exists raises where a folder is closed
        raise ReadError(", ".join(map(str, paths)), "no such file or folder")
    allowed = options.limited(Limits(), limits)
    of_view = _given(instruction=instruction, query_instruction=query_instruction, spec=spec)
    of_chunks = _given(chunk_tokens=chunk_tokens, chunk_overlap=chunk_overlap)
    try:
        collection = options.opened(name, root, device, embedder)
        added = _view_to_add(collection, view, embedder, of_view)
        _refuse_other_chunks(collection, of_chunks)
    except CollectionNotFound:
        collection = _made(name, root, device, embedder, view, {**of_view, **of_chunks})
        added = None
    with show.progress() as report:
        done = collection.index(paths, globs=globs, limits=allowed, progress=report)
        if added:
            done.embedded[added] = collection.add_view(added, embedder=embedder, progress=report, **of_view)
    _told(done, as_json)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _made(
    name: str, root: Path | None, device: str, embedder: str | None, view: str | None, chosen: dict[str, Any]
) -> "Collection":
    from instructsearch.collection import DEFAULT_VIEW, Collection
    from instructsearch.doctor import require
    from instructsearch.fit import DEFAULT_EMBEDDER

    require(device)
    return Collection.create(
        name, root, embedder=embedder or DEFAULT_EMBEDDER, view=view or DEFAULT_VIEW, device=device, **chosen
    )


def _view_to_add(
    collection: "Collection", view: str | None, embedder: str | None, wanted: dict[str, Any]
) -> str | None:
    """Return the name of the view that the options ask for anew, None where it is there.

    Raises:
        ViewMismatch: it is there, and is something else than the options say: nothing asked for is left aside.
    """
    from instructsearch.collection import DEFAULT_VIEW

    rows = {row.name: row for row in collection.views()}
    if not rows and (embedder or wanted):
        view = view or DEFAULT_VIEW
    row = rows.get(view) if view else next(iter(rows.values()), None)
    if row is None:
        return view
    options.refuse_other(collection, embedder, [view] if view else [])
    for option, remedy in _REMEDIES.items():
        said = getattr(row, option)
        if option in wanted and wanted[option] != said:
            raise ViewMismatch(f"view {row.name!r} has the {option.replace('_', ' ')} {said or 'none'!r}; {remedy}")
    return None if row.ready else view


_REMEDIES = {
    "instruction": "add another view with --view NAME, or drop this one first",
    "query_instruction": "give another one with search --instruction, or add another view with --view NAME",
    "spec": "change it with compact --spec VIEW=SPEC",
}


def _refuse_other_chunks(collection: "Collection", wanted: dict[str, Any]) -> None:
    stored = collection.status()["chunking"]
    for option, value in wanted.items():
        said = stored[option.removeprefix("chunk_")]
        if value != said:
            raise ViewMismatch(
                f"collection {collection.name} was made with --{option.replace('_', '-')} {said}, which is fixed at"
                " creation; leave it out, or index into another collection"
            )


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
        show.note(f"failed: {show.short(failure.where)}: {failure.reason}")
    if len(done.failures) > SHOWN:
        show.note(f"failed: and {len(done.failures) - SHOWN} more; --json lists them all")
    if done.empty:
        names = ", ".join(Path(path).name for path in done.empty[:5])
        show.note(
            f"{show.count(len(done.empty), 'file')} without text: {names}{', ...' if len(done.empty) > 5 else ''}"
        )
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
    gone = collection.delete(documents)
    paths = {one: os.path.abspath(one) for one in documents if one not in gone}  # an id comes before a path
    gone += collection.delete(list(paths.values())) if paths else []
    unknown = [one for one, path in paths.items() if path not in gone]
    if as_json:
        show.line({"deleted": gone, "unknown": unknown})
    else:
        absent = f"; not in {name}: {', '.join(unknown)}" if unknown and gone else ""
        show.note(f"deleted {show.count(len(gone), 'document')}{absent}")
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
        show.note(f"{show.count(rows, 'row')} of dimension {model.dim} from {model.profile.name} in {out}")
