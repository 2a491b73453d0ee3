"""The `cluster` and `map` commands: what views group together, in words and as a picture."""

import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from instructsearch.cli import options, show
from instructsearch.errors import BadQuery, StorageError, ViewNotFound
from instructsearch.filters import expressions
from instructsearch.records import Query

if TYPE_CHECKING:
    from instructsearch.collection import Collection
    from instructsearch.explore import Survey, Things
    from instructsearch.explore.grouping import FloatArray

MOST_POINTS = 20_000  # that a page shows smoothly
HITS = 10  # of a query, marked in each map

_views = click.option("--view", "views", multiple=True, metavar="V", help="View; repeatable.  [default: every view]")
_by = click.option(
    "--by", type=click.Choice(["passage", "document"]), default="passage", show_default=True, help="What is compared."
)
_where = click.option(
    "--where", multiple=True, metavar="EXPR", help="Filter: key=value, !=, <, <=, >, >=, 'key in a,b'; AND-ed."
)
_seed = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Where k-means and samples begin."
)


@click.command("cluster", short_help="Group what a view finds similar, and name the groups.")
@options.collection
@_views
@click.option("-n", "k", type=click.IntRange(1), help="How many groups.  [default: chosen by silhouette]")
@click.option("--min-size", type=click.IntRange(2), help="Group by density (HDBSCAN), at least so many in a group.")
@_by
@click.option("--against", metavar="FIELD", help="Compare the groups with a metadata field.")
@_where
@_seed
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the group of each to a .csv or .jsonl file."
)
@options.as_json
def cluster_command(
    name: str,
    root: Path | None,
    device: str,
    views: tuple[str, ...],
    k: int | None,
    min_size: int | None,
    by: Any,
    against: str | None,
    where: tuple[str, ...],
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Group the passages, or documents, that a view puts near each other, and name each group.

    A group is named by the words that set it apart and shown by its most central texts. With several views it is said
    how far their groups agree: where little, the instructions see the collection differently.
    """
    from instructsearch.explore import survey

    if k is not None and min_size is not None:
        raise click.UsageError("give -n or --min-size, not both")
    if out is not None and out.suffix not in (".csv", ".jsonl"):
        raise click.BadParameter(f"{out} must end in .csv or .jsonl", param_hint="--out")
    _refuse_unwritable(out)
    collection = options.opened(name, root, device)
    things, matrices, _ = _gathered(collection, views, where, by)
    found = survey(things, matrices, k=k, min_size=min_size, against=against, seed=seed)
    if out is not None:
        _write(out, found.table(out.suffix[1:]).encode("utf-8", "replace"))
    instructions = _instructions(collection)
    if not as_json:
        _told(found, instructions)
        return
    for view, named in found.views.items():
        for row in named.rows():
            show.line({"view": view, **row})
    made = [{"view": view, "instruction": instructions[view], **one.facts()} for view, one in found.views.items()]
    show.line({"collection": name, "by": by, "grouped": len(things), "views": made, **found.facts()})


@click.command("map", short_help="Draw what views see, side by side, as a page to explore.")
@options.collection
@options.embedder
@_views
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The page to write: one .html file."
)
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Also write the maps as a picture.")
@click.option("--color", "fields", multiple=True, metavar="FIELD", help="Colour by metadata.  [default: by clusters]")
@click.option(
    "--method",
    type=click.Choice(["tsne", "pca"]),
    default="tsne",
    show_default=True,
    help="How to flatten; pca is quick.",
)
@click.option("-n", "k", type=click.IntRange(1), help="How many clusters.  [default: chosen by silhouette]")
@_by
@_where
@click.option("--query", metavar="TEXT", help="Mark what this query finds in each view.")
@click.option(
    "--most", type=click.IntRange(1), default=MOST_POINTS, show_default=True, help="Points; of more, a sample is drawn."
)
@_seed
@options.as_json
def map_command(
    name: str,
    root: Path | None,
    device: str,
    embedder: str | None,
    views: tuple[str, ...],
    out: Path,
    png: Path | None,
    fields: tuple[str, ...],
    method: Any,
    k: int | None,
    by: Any,
    where: tuple[str, ...],
    query: str | None,
    most: int,
    seed: int,
    as_json: bool,
) -> None:
    """Draw the same passages, or documents, under each view's instruction, in one page that needs no network.

    What lies together is similar in that view. Each map is turned to lie on the first as well as it can, so that what
    lies elsewhere has moved. On the page every point tells what it is, and can be marked in all maps.
    """
    from instructsearch.explore import atlas
    from instructsearch.explore.installed import require

    started = time.monotonic()
    _refuse_unwritable(out, png)
    require(*(["openTSNE"] if method == "tsne" else []), *(["matplotlib"] if png is not None else []))
    collection = options.opened(name, root, device, embedder)
    options.refuse_other(collection, embedder, views)
    found = _found(collection, views, query, where, by) if query else {}
    things, matrices, left_out = _gathered(collection, views, where, by, most, seed, found)
    hits = {
        view: list(dict.fromkeys(things.of_chunk[chunk] for chunk in chunks if chunk in things.of_chunk))
        for view, chunks in found.items()
    }
    with show.progress() as report:
        drawn = atlas(
            *(name, things, matrices, _instructions(collection)),
            **{"fields": fields, "method": method, "k": k, "seed": seed},
            query=query or "",
            hits=hits,
            left_out=left_out,
            progress=lambda done, every: report("flatten", done, every),
        )
    picture = drawn.picture() if png is not None else b""
    _write(out, drawn.page().encode("utf-8"))
    if png is not None:
        _write(png, picture)
    facts = {"out": str(out), "png": png and str(png), "points": len(things), "left_out": left_out, "by": by}
    facts |= {"views": list(matrices), "method": method, "seconds": round(time.monotonic() - started, 3)}
    if as_json:
        show.line(facts)
    else:
        places = f"{out} and {png}" if png else str(out)
        show.note(f"{show.count(len(things), by)} under {show.count(len(matrices), 'view')} drawn into {places}")


def _names(collection: "Collection", views: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(views or [row.name for row in collection.views() if row.ready]))
    if not names:
        raise ViewNotFound(f"collection {collection.name} has no view; add one with views add")
    return names


def _instructions(collection: "Collection") -> dict[str, str]:
    return {row.name: row.instruction for row in collection.views()}


def _gathered(
    collection: "Collection",
    views: Sequence[str],
    where: Sequence[str],
    by: Any,
    most: int | None = None,
    seed: int = 0,
    kept: Mapping[str, Sequence[int]] | None = None,
) -> tuple["Things", dict[str, "FloatArray"], int]:
    """Return the things that pass the filter, each view's vectors of them, and how many a sample has left out.

    Of more than `most` things a sample is taken, in which the chunks `kept` are.
    """
    import numpy as np

    from instructsearch.explore import means, sample, things

    held = {view: collection.vectors(view, expressions(where)) for view in _names(collection, views)}
    first = next(iter(held.values()))
    # somebody may have written between two of these: what all of them hold is what can be compared
    chunks = first.chunks
    for one in held.values():
        chunks = np.intersect1d(chunks, one.chunks, assume_unique=True)
    if not len(chunks):
        raise BadQuery(f"collection {collection.name} has no text" + (" that the filter allows" if where else ""))
    units = chunks
    if by == "document":
        of_chunk = dict(zip(first.chunks.tolist(), first.documents, strict=True))
        numbers: dict[str, int] = {}
        units = np.array([numbers.setdefault(of_chunk[chunk], len(numbers)) for chunk in chunks.tolist()], np.int64)
    every = np.unique(units)
    left_out = max(0, len(every) - (most or len(every)))
    if left_out:
        wanted = units[np.isin(chunks, [chunk for some in (kept or {}).values() for chunk in some])]
        rest = np.setdiff1d(every, wanted)
        drawn = rest[sample(len(rest), max(0, len(every) - left_out - len(np.unique(wanted))), seed)]
        chunks = chunks[np.isin(units, np.concatenate([wanted, drawn]))]
    made, which = things(collection.passages(chunks.tolist()), by)
    matrices = {
        view: means(one.matrix if len(one.chunks) == len(chunks) else one.matrix[np.isin(one.chunks, chunks)], which)
        for view, one in held.items()
    }
    return made, matrices, len(every) - len(made)


def _found(
    collection: "Collection", views: Sequence[str], query: str, where: Sequence[str], by: str
) -> dict[str, list[int]]:
    """Return the chunks that the query finds in each view by meaning, best first."""
    wanted = expressions(where)
    asked = [
        Query(query, views=(view,), k=HITS, mode="dense", where=wanted, by_document=by == "document")
        for view in _names(collection, views)
    ]
    answers = collection.search_many(asked)
    return {one.views[0]: [hit.chunk for hit in hits] for one, hits in zip(asked, answers, strict=True)}


def _told(found: "Survey", instructions: Mapping[str, str]) -> None:
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    for view, named in found.views.items():
        grouping, things = named.grouping, named.things
        click.echo(f"{click.style(view, bold=True)}: {show.plain(instructions[view]) or '(no instruction)'}")
        chosen = f", as many as silhouettes of {grouping.sampled:,} advise" if grouping.silhouettes else ""
        alone = f", {grouping.alone:,} in none" if grouping.alone else ""
        counts = f"{show.count(len(things), things.noun)} in {show.count(len(grouping), 'group')}"
        click.echo(f"  {counts}{alone}{chosen}")
        for row in named.rows():
            terms = ", ".join(map(show.plain, row["terms"])) or "(no word sets it apart)"
            share = click.style(f"{row['size']:,} ({row['share']:.0%})", dim=True)
            click.echo(f"{row['cluster']:>5}  {click.style(terms, bold=True)}  {share}")
            for one in row["central"]:
                text = " ".join(show.plain(f"{one['title']}: {one['text']}" if one["title"] else one["text"]).split())
                click.echo(f"         {text if len(text) <= width - 9 else text[: width - 10] + '…'}")
        click.echo()
    facts = found.facts()
    for pair in facts["agreement"]:
        click.echo(f"{' and '.join(pair['views'])}: {_scores(pair)}")
    for one in facts.get("against", {}).get("views", []):
        click.echo(f"{one['view']} and the field {show.plain(facts['against']['field'])}: {_scores(one)}")


def _scores(facts: Mapping[str, Any]) -> str:
    adjusted = facts["adjusted_mutual_information"]
    return f"V-measure {facts['v_measure']:.3f}, adjusted mutual information {adjusted:.3f}, of {facts['rows']:,}"


def _refuse_unwritable(*paths: Path | None) -> None:
    """Refuse, before minutes of work, a file whose folder is not there."""
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise StorageError(f"{path}: no folder {path.parent}")


def _write(path: Path, data: bytes) -> None:
    """Put a file in place whole, or leave what was there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
