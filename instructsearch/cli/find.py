"""The `search` command: one query, or a file of queries written as a TREC run."""

import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from instructsearch.cli import options, show
from instructsearch.errors import BadQuery, ReadError, StorageError
from instructsearch.filters import expressions
from instructsearch.records import MODES, Query

RUN_DEPTH = 100  # documents a query in a run, where -k does not say


@click.command("search", short_help="Find passages by meaning, words, or both.")
@click.argument("text", required=False)
@options.collection
@options.embedder
@click.option(
    "--view", "views", multiple=True, metavar="V", help="View to search; several are fused.  [default: first]"
)
@click.option("--instruction", metavar="T", help="What the query is embedded under.  [default: the view's]")
@click.option(
    "-k", type=click.IntRange(1, 10_000), help="How many hits.  [default: 10; 100 documents a query in a run]"
)
@click.option("--mode", type=click.Choice(MODES), default="hybrid", show_default=True, help="How to rank.")
@click.option(
    "--where", multiple=True, metavar="EXPR", help="Filter: key=value, !=, <, <=, >, >=, 'key in a,b'; AND-ed."
)
@options.rerank
@click.option(
    "--understand/--literal",
    default=None,
    help='Read "phrases", -exclusions, field:value and "but not ..." in the text.  [default: yes; no in a run]',
)
@options.ranking
@click.option("--queries", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSONL of _id and text.")
@click.option("--run", "run_file", type=click.Path(dir_okay=False, path_type=Path), help="TREC run to write.")
@options.as_json
def search_command(
    text: str | None,
    name: str,
    root: Path | None,
    device: str,
    embedder: str | None,
    views: tuple[str, ...],
    instruction: str | None,
    k: int | None,
    mode: Any,
    where: tuple[str, ...],
    rerank: str | None,
    understand: bool | None,
    fusion: str | float | None,
    weights: tuple[str, ...],
    passages: int,
    fold: float | None,
    mmr: float | None,
    context: int,
    explain: bool,
    queries: Path | None,
    run_file: Path | None,
    as_json: bool,
) -> None:
    """Find the passages that answer TEXT, by meaning (dense), by words (bm25), or both (hybrid).

    In TEXT, "words in quotes" must be there side by side, -word must not be, and field:value filters. A word that no
    passage has is read as the nearest that one has, which is said.

    With --queries and --run, every query of a file is answered and the documents found are written as a TREC run.
    """
    if queries is None or rerank == "":
        text, rerank = options.reranking(text, rerank)
    if (text is None) == (queries is None) or (queries is None) != (run_file is None):
        raise click.UsageError("give either TEXT, or --queries FILE together with --run OUT")
    collection = options.opened(name, root, device, embedder)
    options.refuse_other(collection, embedder, views)
    reading = queries is None if understand is None else understand
    template = Query(
        *("", instruction, views, k or 10, mode, expressions(where)),
        rerank=rerank,
        understand=reading,
        explain=explain,
        fusion=fusion,
        weights=options.weighed(weights),
        passages=passages,
        fold=fold,
        mmr=mmr,
        snippet=queries is None,
        context=context,
    )
    if queries is not None and run_file is not None:
        asked = _read(queries)
        _run(collection, template, asked, run_file, k or RUN_DEPTH)
        if as_json:
            show.line({"queries": len(asked), "run": str(run_file)})
        else:
            show.note(f"{show.count(len(asked), 'query', 'queries')} answered into {run_file}")
        return
    assert text is not None
    found = collection.search(_with(template, text))
    if as_json:
        for one in found:
            show.line(one.to_dict())
        return
    for typed, read in found[0].spelling.items() if found else ():
        show.note(f"{typed} is nowhere: read as {read} where words are matched; --literal takes it as it is")
    width = shutil.get_terminal_size((100, 24)).columns
    for one in found:
        show.hit(one, min(width, 120))
    if not found:
        show.note("nothing found" + (" that the filter allows" if where else ""))


def _with(template: Query, text: str, **changes: Any) -> Query:
    return replace(template, text=text, **changes)


def _read(path: Path) -> list[tuple[str, str]]:
    lines: dict[str, int] = {}
    rows = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            id, text = _query(f"{path}:{number}", line)
            if id in lines:
                raise ReadError(f"{path}:{number}", f"the _id {id!r} is also on line {lines[id]}")
            lines[id] = number
            rows.append((id, text))
    if not rows:
        raise BadQuery(f"{path} holds no query")
    return rows


def _query(where: str, line: bytes) -> tuple[str, str]:
    try:
        row = json.loads(line)
        id, text = row["_id"] if "_id" in row else row["id"], row["text"]
    except (ValueError, RecursionError) as error:
        raise ReadError(where, f"is not JSON: {error}") from error
    except (KeyError, TypeError) as error:
        raise ReadError(where, "needs the fields _id and text") from error
    if isinstance(id, bool) or not isinstance(id, str | int) or not str(id) or re.search(r"\s", str(id)):
        raise ReadError(where, "_id must be text without blanks, or a whole number")
    if not isinstance(text, str) or not text.strip():
        raise ReadError(where, "text must be text, and not empty")
    return _encodable(str(id)), _encodable(text)


def _encodable(text: str) -> str:
    """Return the text with lone surrogates, which no file can hold, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _run(collection: Any, template: Query, queries: Sequence[tuple[str, str]], out: Path, k: int) -> None:
    asked = [_with(template, text, k=k, by_document=True) for _, text in queries]
    temporary = out.with_name(f".{out.name}.tmp")
    tag = f"instructsearch-{template.mode}{'-rerank' if template.rerank else ''}"
    try:
        with temporary.open("w", encoding="utf-8", errors="replace") as file, show.progress() as report:
            for number, ((id, _), found) in enumerate(zip(queries, collection.search_many(asked), strict=True), 1):
                for one in found:
                    # a TREC run separates its columns by blanks: those in a document's id are written as %20
                    document = re.sub(r"\s", lambda match: f"%{ord(match.group()):02X}", one.document)
                    file.write(f"{id} Q0 {document} {one.rank} {one.score:.8f} {tag}\n")
                report("search", number, len(queries))
        temporary.replace(out)
    except OSError as error:
        raise StorageError(f"{out}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
