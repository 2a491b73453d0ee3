"""The `eval` commands: how well a collection answers judged queries, and how well an embedder follows instructions."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from instructsearch.cli import options, show
from instructsearch.errors import BadQuery, StorageError, ViewNotFound
from instructsearch.records import MODES

if TYPE_CHECKING:
    from instructsearch.collection import Collection
    from instructsearch.evaluate.runs import Qrels
    from instructsearch.evaluate.table import Table

DEFAULT = "collection"  # what `eval` does when it is not told


class _WithDefault(click.Group):
    """A group whose first command may be left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *self.get_help_option_names(ctx)):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


def report_option(function: Any) -> Any:
    """Add --report."""
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option("--report", type=path, metavar="OUT.html", help="Write a page with plots.")(function)


@click.group("eval", cls=_WithDefault, short_help="Judge a collection or an embedder by numbers.")
def eval_command() -> None:
    """Judge a collection by queries with known answers, or an embedder by tasks of your own.

    `collection` may be left out: `eval -c NAME --queries Q --qrels R`.
    """


@eval_command.command(DEFAULT, short_help="nDCG, recall, MRR and MAP of views and modes, with confidence.")
@options.collection
@options.embedder
@click.option(
    "--queries",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSONL of _id and text.",
)
@click.option(
    "--qrels",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Judgements: BEIR's TSV, or TREC's four columns.",
)
@click.option("--view", "views", multiple=True, metavar="V", help="View to judge; repeatable.  [default: all of them]")
@click.option(
    "--mode", "modes", multiple=True, type=click.Choice(MODES), help="How to rank; repeatable.  [default: all three]"
)
@click.option(
    "-k", "--k", type=click.IntRange(1, 1000), default=10, show_default=True, help="Depth of nDCG and recall."
)
@click.option(
    "--paraphrase", "paraphrases", multiple=True, metavar="T", help="Another wording of the query's instruction."
)
@click.option("--tune", is_flag=True, help="Choose the SHARE of search --fusion by these queries instead.")
@click.option("--save", is_flag=True, help="With --tune: let searches of the collection use that share.")
@report_option
@options.as_json
def judge_collection(
    name: str,
    root: Path | None,
    device: str,
    embedder: str | None,
    queries: Path,
    qrels: Path,
    views: tuple[str, ...],
    modes: tuple[Any, ...],
    k: int,
    paraphrases: tuple[str, ...],
    tune: bool,
    save: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Answer judged queries in each view and mode, and say how good the answers are.

    Also: modes and views compared on the same queries, the same queries under other instructions, and what each view's
    index, and each search as a whole, loses against an exact scan. Intervals are at 95%, by the bootstrap.

    With --tune: how good hybrid answers are at each share of meaning against words, which share is best, and what it
    gains over fusion by rank on queries that it was not chosen by.
    """
    from instructsearch.evaluate import account, search
    from instructsearch.scan import ExactScan

    if (save and not tune) or (tune and (modes or paraphrases or report)):
        raise click.UsageError("--save goes with --tune, and --tune without --mode, --paraphrase and --report")
    _check_place(report)
    texts, judged = _asked(queries, qrels)
    collection = options.opened(name, root, device, embedder)
    options.refuse_other(collection, embedder, views)
    if tune:
        _tune(collection, texts, judged, views, k, save, as_json)
        return
    # with the models that the searches use: a large one must not be loaded twice
    scan = ExactScan(collection.folder, collection._models, k=k)
    with show.progress() as heard:
        trial = search.judge(
            collection.search_many,
            texts,
            judged,
            views=_views(collection, views),
            modes=list(dict.fromkeys(modes)) or MODES,
            k=k,
            paraphrases=paraphrases,
            scan=scan,
            exact=scan.search,
            heard=heard,
        )
    if not trial.found:
        example = next(iter(next(iter(judged.values()))))
        show.note(f"note: no judged document was ever found; do the ids fit? {qrels} has, for one, {example!r}")
    if as_json:
        for row in trial.rows():
            show.line(row)
        show.line({"collection": name, "queries": len(texts), "k": k, "report": str(report) if report else None})
    else:
        _tables(
            account.systems(trial),
            account.comparisons(trial),
            account.spreads(trial),
            *([account.sensitivity(trial)] if paraphrases else []),
            account.pools(trial),
            account.pipelines(trial),
        )
    if report:
        facts = [("collection", name), ("queries", f"{len(texts):,}"), ("views", ", ".join(trial.pools))]
        _page(report, f"How well {name} answers", facts, list(account.of_trial(trial)))


def _tune(
    collection: "Collection",
    texts: dict[str, str],
    judged: "Qrels",
    views: Sequence[str],
    k: int,
    save: bool,
    as_json: bool,
) -> None:
    from instructsearch.evaluate import account, tuning

    if len(texts) < tuning.FOLDS:
        raise BadQuery(f"{len(texts)} judged queries are too few to choose by: {tuning.FOLDS} are needed")
    asked = _views(collection, views)[: len(views) or 1]
    with show.progress() as heard:
        found = tuning.tune(collection.search_many, texts, judged, views=asked, k=k, heard=heard)
    if save:
        collection.set_fusion(found.chosen)
    if as_json:
        for row in found.rows():
            show.line(row)
        show.line({"collection": collection.name, "queries": len(texts), "views": asked, "saved": save})
        return
    _tables(account.shares(found), account.gain(found))
    if not found.clear:
        show.note("note: the gain may be chance: its interval reaches 0; fusion by rank is as good a choice")
    kept = f"searches of {collection.name} use it from now on; --fusion rrf goes back" if save else "--save keeps it"
    show.note(f"search --fusion {found.chosen:g} uses it; {kept}")


def _asked(queries: Path, qrels: Path) -> tuple[dict[str, str], "Qrels"]:
    """Return the text and the judgements of each query that has both, noting what is left aside."""
    from instructsearch.evaluate.runs import read_qrels, read_queries

    texts, judged = read_queries(queries), read_qrels(qrels)
    both = {query: text for query, text in texts.items() if query in judged}
    if not both:
        raise BadQuery(f"no query of {queries} is judged in {qrels}: their ids have nothing in common")
    without = len(judged) - len(both)
    if without:
        show.note(f"note: {show.count(without, 'judged query', 'judged queries')} not in {queries}, left aside")
    hopeless = sum(all(grade <= 0 for grade in judged[query].values()) for query in both)
    if hopeless:
        show.note(f"note: {show.count(hopeless, 'query', 'queries')} without any relevant document, counted as 0")
    return both, judged


def _views(collection: "Collection", wanted: Sequence[str]) -> list[str]:
    rows = [row.name for row in collection.views() if row.ready]
    for view in wanted:
        if view not in rows:
            raise ViewNotFound(f"there is no view {view!r}; there are: {', '.join(rows) or 'none'}")
    if not rows:
        raise ViewNotFound(f"collection {collection.name} has no view to judge; add one with views add")
    return list(wanted) or rows


@eval_command.command("embedder", short_help="Whether an embedder follows instructions, on tasks of your own.")
@options.common
@click.option(
    "--embedder", required=True, metavar="P", help="A profile, a local folder, a profile's .toml, or a hub id."
)
@click.option(
    "--data",
    "folders",
    required=True,
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with a task.json, or with folders that have one; repeatable.",
)
@report_option
@options.as_json
def judge_embedder(
    embedder: str,
    folders: tuple[Path, ...],
    root: Path | None,
    device: str,
    report: Path | None,
    as_json: bool,
) -> None:
    """Score an embedder on tasks: sts, labels, triplets, retrieval, instructions.

    Each is scored without an instruction and under every wording that its task.json gives: right, implicit, wrong, and
    levels of detail. A BEIR folder is a retrieval task as it is.
    """
    from instructsearch import embed
    from instructsearch.evaluate import account, exam
    from instructsearch.evaluate.encoding import Memory
    from instructsearch.evaluate.folders import load

    _check_place(report)
    tasks = [task for folder in folders for task in load(folder)]
    model = embed.load(embedder, device=device)
    if not model.profile.takes_instruction:
        show.note(f"note: {model.profile.name} ignores instructions: every wording of a task scores the same")
    encode = Memory(model.encode, model.profile.heeds)
    verdicts = []
    for task in tasks:
        with show.progress() as heard:
            verdicts.append(exam.judge(task, encode, lambda done, total: heard(task.name, done, total)))  # noqa: B023
        if as_json:
            show.line({"embedder": model.profile.name, **verdicts[-1].to_dict()})
    if not as_json:
        _tables(account.verdicts(verdicts))
    if report:
        facts = [("embedder", model.profile.name), ("tasks", str(len(verdicts))), ("device", model.device)]
        _page(report, f"How well {model.profile.name} follows instructions", facts, list(account.of_verdicts(verdicts)))


def _check_place(report: Path | None) -> None:
    """Refuse a page that could not be written before hours are spent on what it is to tell."""
    if report and not os.access(report.parent, os.W_OK):
        raise StorageError(f"{report}: {report.parent} is no folder that can be written to")


def _page(path: Path, title: str, facts: list[tuple[str, str]], sections: list[Any]) -> None:
    from importlib.metadata import version

    from instructsearch.evaluate.files import write
    from instructsearch.evaluate.report import page

    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    write(path, page(title, [*facts, ("instructsearch", version("instructsearch")), ("made", made)], sections))
    show.note(f"report written to {path}")


def _tables(*tables: "Table") -> None:
    for at, each in enumerate(one for one in tables if one.rows):
        if at:
            click.echo()
        head, *rest = each.text().splitlines()
        click.echo(click.style(head, dim=True))
        click.echo("\n".join(rest))
