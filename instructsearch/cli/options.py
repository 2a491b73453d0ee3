"""Options that many commands share, and how a collection is opened from them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from instructsearch.errors import ViewMismatch

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from instructsearch.collection import Collection

Limits = TypeVar("Limits", bound="DataclassInstance")
Function = TypeVar("Function", bound=Callable[..., Any])


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of collections that begin so."""
    from instructsearch.collection import names

    return [name for name in names(ctx.params.get("root")) if name.startswith(incomplete)]


def _verbosity(ctx: click.Context, param: click.Parameter, value: int) -> None:
    logging.getLogger("instructsearch").setLevel({0: logging.WARNING, 1: logging.INFO}.get(value, logging.DEBUG))


def common(function: Function) -> Function:
    """Add --root, --device and -v."""
    for option in (
        click.option(
            "-v", "--verbose", count=True, expose_value=False, callback=_verbosity, help="Say more on stderr."
        ),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="Where models and indexes run.",
        ),
        click.option(
            "--root",
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder of the collections.  [default: $INSTRUCTSEARCH_ROOT, else ./indexes]",
        ),
    ):
        function = option(function)
    return function


def collection(function: Function) -> Function:
    """Add -c/--collection and the options of `common`."""
    option = click.option("-c", "--collection", "name", required=True, shell_complete=complete, help="The collection.")
    return option(common(function))


def embedder(function: Function) -> Function:
    """Add --embedder."""
    text = "Model: a profile, a local folder, a profile's .toml, or a hub id."
    return click.option("--embedder", metavar="P", help=text)(function)


def as_json(function: Function) -> Function:
    """Add --json."""
    option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout, and nothing else.")
    return option(function)


def rerank(function: Function) -> Function:
    """Add --rerank, whose NAME may be left out; `reranking` tells what was meant."""
    text = "Let a reranker order the best 50: a profile, folder, .toml or hub id."
    return click.option("--rerank", is_flag=False, flag_value="", metavar="[NAME]", help=text)(function)


def reranking(text: str | None, name: str | None) -> tuple[str | None, str | None]:
    """Return (TEXT, reranker); a missing TEXT may have been taken for the NAME of a --rerank that stood before it."""
    from instructsearch import rerank

    if name is None:
        return text, None
    named = rerank.built_in(name) is not None or "/" in name or name.endswith(".toml")
    if text is None and name and not named:
        return name, rerank.DEFAULT
    return text, name or rerank.DEFAULT


class FusionType(click.ParamType[str | float]):
    """`rrf`, or a number from 0 to 1."""

    name = "rrf|SHARE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | float:
        """Return the name or the number."""
        if value == "rrf":
            return "rrf"
        share: float = click.FloatRange(0, 1).convert(value, param, ctx)
        return share


def ranking(function: Function) -> Function:
    """Add what shapes an answer: --fusion, --weight, --passages, --fold, --mmr, --context and --explain."""
    share = click.FloatRange(0, 1)
    for option in (
        click.option("--explain", is_flag=True, help="Say what each stage made of each hit, and how long it took."),
        click.option(
            "--context",
            type=click.IntRange(0, 50),
            default=0,
            metavar="N",
            help="Also show N passages before and after.",
        ),
        click.option(
            "--mmr",
            type=share,
            metavar="L",
            help="Maximal marginal relevance: 1 for relevance, 0 for diversity alone.",
        ),
        click.option(
            "--fold", type=share, metavar="COSINE", help="Fold what is at least so alike; 1 folds equal texts."
        ),
        click.option(
            "--passages",
            type=click.IntRange(1, 100),
            default=1,
            metavar="N",
            help="Group by document, N passages of each.",
        ),
        click.option(
            "--weight",
            "weights",
            multiple=True,
            metavar="V=W",
            help="How much a view counts; repeatable.",
        ),
        click.option(
            "--fusion",
            type=FusionType(),
            help="By rank, or SHARE of meaning against words, 0 to 1.  [default: the collection's, else rrf]",
        ),
    ):
        function = option(function)
    return function


def weighed(written: Sequence[str]) -> dict[str, float]:
    """Return the weights by view that --weight V=W gives."""
    weights = {}
    for one in written:
        name, _, value = one.partition("=")
        try:
            weights[name] = float(value)
        except ValueError:
            raise click.BadParameter(f"{one!r} is not VIEW=NUMBER", param_hint="--weight") from None
    return weights


def opened(name: str, root: Path | None, device: str, embedder: str | None = None) -> "Collection":
    """Open a collection that is there."""
    from instructsearch.collection import Collection
    from instructsearch.doctor import require

    found = Collection.open(name, root, device=device, embedder=embedder)
    require(device)
    return found


def refuse_other(collection: "Collection", embedder: str | None, views: Sequence[str] = ()) -> None:
    """Refuse a model named by the user that made none of the views: it would be left aside in silence."""
    if embedder is None:
        return
    from instructsearch.embed import Profile, find

    rows = [row for row in collection.views() if not views or row.name in views]
    profile = find(embedder)
    if rows and all(Profile.from_dict(row.profile).fingerprint != profile.fingerprint for row in rows):
        made = ", ".join(f"{row.name} with {row.profile.get('name', '?')!r}" for row in rows)
        raise ViewMismatch(
            f"--embedder {embedder} made no view asked for ({made}); leave it out, or add a view: index --view NEW or"
            " views add"
        )


def limited(limits: Limits, written: Sequence[str]) -> Limits:
    """Return limits, a frozen dataclass of numbers, with those changed that --limit NAME=N names."""
    known = {field.name for field in fields(limits)}
    for one in written:
        name, _, value = one.partition("=")
        if name not in known:
            raise click.BadParameter(f"no limit {name!r}; known: {', '.join(sorted(known))}", param_hint="--limit")
        try:
            number = type(getattr(limits, name))(float(value))
        except (ValueError, OverflowError) as error:
            raise click.BadParameter(f"{one!r} is not NAME=NUMBER", param_hint="--limit") from error
        if not number > 0:
            raise click.BadParameter(f"{one!r} must be more than 0", param_hint="--limit")
        limits = replace(limits, **{name: number})
    return limits
