"""The `train` commands: training data by recipe, and a model from it."""

import time
from pathlib import Path
from typing import Any

import click

from instructsearch.cli import options, show
from instructsearch.errors import ReadError

DEFAULT = "instruct-minilm"
METHODS = "What is trained: the matrices, low-rank updates of them (PEFT), or all weights.  [default: the recipe's]"
RANK = "Rank of the change that is saved; 0 saves it whole, in 8 bits a weight.  [default: the recipe's]"


def recipe_option(function: Any) -> Any:
    """Add --recipe."""
    text = "A recipe's TOML file, or the name of one that comes with the package."
    return click.option("--recipe", "named", metavar="R", default=DEFAULT, show_default=True, help=text)(function)


def _recipe(named: str) -> Any:
    from importlib import resources

    from instructsearch.train.data.recipe import read

    with resources.as_file(resources.files("instructsearch.train") / "recipes") as folder:
        shipped = sorted(path.stem for path in folder.glob("*.toml"))
        if named not in shipped and not Path(named).is_file():
            raise ReadError(named, f"is no recipe's file, and none that comes with the package: {', '.join(shipped)}")
        return read(folder / f"{named}.toml" if named in shipped else Path(named))


@click.group("train", short_help="Train an embedder to follow instructions.")
def train_command() -> None:
    """Make training data by a recipe, and train a model on it.

    \b
      instructsearch train data --from DATA --out examples.jsonl
      instructsearch train model --data examples.jsonl --out trained
      instructsearch index docs -c manual --embedder trained/model
    """


@train_command.command("data", short_help="Build training examples from labelled texts, tasks and pairs.")
@recipe_option
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the files that the recipe names.",
)
@click.option(
    "--medi",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the examples from MEDI's published file instead.",
)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="JSONL file to write.")
@options.common
@options.as_json
def data(
    named: str, folder: Path | None, medi: Path | None, out: Path, root: Path | None, device: str, as_json: bool
) -> None:
    """Write training examples in MEDI's form: query, pos and neg, each [instruction, text], and task_id."""
    from instructsearch.train import examples

    if (folder is None) == (medi is None):
        raise click.UsageError("give --from FOLDER, or --medi FILE")
    made = examples.medi(medi) if medi is not None else _built(named, folder or Path(), device)
    count = examples.write(out, made)
    if as_json:
        show.line({"examples": count, "out": str(out)})
    else:
        show.note(f"{show.count(count, 'example')} in {out}")


def _built(named: str, folder: Path, device: str) -> Any:
    """Yield the examples of a recipe; each task is told of when it is done."""
    from instructsearch import embed
    from instructsearch.train.data.build import Builder

    recipe = _recipe(named)
    base = embed.load(recipe.similarity or str(recipe.profile.get("base", "minilm")), device=device)
    return Builder(recipe, folder, base.encode, lambda task, count: show.note(f"{task}: {count:,}")).examples()


@train_command.command("model", short_help="Train by a recipe; an interrupted run goes on where it stopped.")
@recipe_option
@click.option(
    "--data", "file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The examples."
)
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the run and the model."
)
@click.option("--steps", type=click.IntRange(min=1), help="Steps in all.  [default: the recipe's]")
@click.option("--batch", type=click.IntRange(min=2), help="Examples a step.  [default: the recipe's]")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Learning rate.  [default: the recipe's]")
@click.option("--method", type=click.Choice(["matrices", "lora", "full"]), help=METHODS)
@click.option("--rank", type=click.IntRange(min=0), help=RANK)
@click.option("--seed", type=int, help="Where every choice comes from.  [default: the recipe's]")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after so long, to go on later.")
@options.common
@options.as_json
def model(
    named: str,
    file: Path,
    out: Path,
    minutes: float | None,
    root: Path | None,
    device: str,
    as_json: bool,
    **changes: Any,
) -> None:
    """Train a model and save it with its profile, which says how it is asked.

    The folder then holds the run (checkpoints, a log, a picture of the losses) and the model, which --embedder takes.
    """
    from instructsearch.train.run import MODEL, plan, run

    shown = 0.0

    def told(at: Any) -> None:
        nonlocal shown
        if time.monotonic() - shown > 10 or at.step == at.steps:
            shown = time.monotonic()
            show.note(
                f"step {at.step:,} of {at.steps:,}, {at.task}: loss {at.loss:.3f} (running {at.running:.3f}), "
                f"{at.texts_per_second:,.0f} texts/s, {at.eta / 60:,.0f} min left"
            )

    made = plan(_recipe(named), {name: value for name, value in changes.items() if value is not None})
    least = run(made, file, out, device=device, progress=told, stop_seconds=60 * (minutes or float("inf")))
    if as_json:
        show.line({"model": str(out / MODEL) if least is not None else None, "cosine": least})
    elif least is None:
        show.note(f"stopped before the last step; the same command goes on from {out}")
    else:
        show.note(f"the model is in {out / MODEL}; loaded again its vectors are the same (cosine {least:.5f})")
