"""The commands that look after a collection and this installation: status, check, compact, export, import, doctor."""

import os
from pathlib import Path

import click

from instructsearch.cli import options, show
from instructsearch.cli.views import described
from instructsearch.errors import CollectionDamaged


@click.command("status", short_help="Show what a collection holds.")
@click.option(
    "-c", "--collection", "name", shell_complete=options.complete, help="The collection.  [default: all of them]"
)
@options.common
@options.as_json
def status_command(name: str | None, root: Path | None, device: str, as_json: bool) -> None:
    """Show documents, chunks, chunking, and each view with both instructions."""
    from instructsearch.collection import names, root_folder

    known = names(root) if name is None else [name]
    for each in known:
        facts = options.opened(each, root, device).status()
        if as_json:
            show.line(facts)
            continue
        chunking = facts["chunking"]
        counts = ", ".join(show.count(facts[f"{noun}s"], noun) for noun in ("document", "chunk"))
        click.echo(f"{click.style(each, bold=True)}: {counts}")
        click.echo(
            f"  {show.count(facts['sources'], 'file')}, {facts['bytes'] / 1e6:,.1f} MB, generation"
            f" {facts['generation']}, {show.count(facts['dead'], 'deleted text')} to compact"
        )
        click.echo(
            f"  chunks of up to {chunking['tokens']} tokens of {chunking['tokenizer']}, overlap {chunking['overlap']}"
        )
        for row in facts["views"]:
            described(row)
    if not known:
        show.note(f"no collections under {root_folder(root)}; make one with: instructsearch index PATH -c NAME")


@click.command("check", short_help="Verify every byte of a collection.")
@options.collection
@options.embedder
@click.option("--repair", is_flag=True, help="Mend what can be mended; embeds again what was damaged.")
@options.as_json
def check_command(name: str, root: Path | None, device: str, embedder: str | None, repair: bool, as_json: bool) -> None:
    """Verify every byte, and exit with 1 if anything is damaged."""
    collection = options.opened(name, root, device, embedder)
    options.refuse_other(collection, embedder)
    found = collection.check()
    if repair and not found.clean:
        for what, why in found.damage:
            show.note(f"mending {what}: {why}")
        with show.progress() as report:
            found = collection.repair(progress=report)
    if as_json:
        damage = [{"what": what, "why": why} for what, why in found.damage]
        show.line({"collection": name, "clean": found.clean, "damage": damage, "notes": found.notes})
    else:
        for what, why in found.damage:
            click.echo(f"damaged: {what}: {why}")
        for text in found.notes:
            show.note(f"note: {text}")
        click.echo("clean" if found.clean else f"{len(found.damage)} damaged")
    if not found.clean:
        hint = "index again what was taken out, or restore an export" if repair else "run check --repair"
        raise CollectionDamaged(f"collection {name} is damaged; {hint}")


@click.command("compact", short_help="Fold segments together and erase what was deleted.")
@options.collection
@click.option("--spec", "specs", multiple=True, metavar="VIEW=SPEC", help="Index a view in another way from now on.")
@options.as_json
def compact_command(name: str, root: Path | None, device: str, specs: tuple[str, ...], as_json: bool) -> None:
    """Fold each view's segments into one, index it anew, and erase deleted text from the disk."""
    pairs = dict(one.split("=", 1) for one in specs if "=" in one)
    if len(pairs) != len(specs):
        raise click.BadParameter("write VIEW=SPEC", param_hint="--spec")
    collection = options.opened(name, root, device)
    before = collection.status()["bytes"]
    collection.compact(specs=pairs)
    after = collection.status()["bytes"]
    if as_json:
        show.line({"collection": name, "bytes_before": before, "bytes": after})
    else:
        show.note(f"{before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now")


@click.command("export", short_help="Write a collection to plain files.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@options.collection
@options.as_json
def export_command(folder: Path, name: str, root: Path | None, device: str, as_json: bool) -> None:
    """Write documents, chunks, views and vectors to FOLDER as JSONL and safetensors."""
    counts = options.opened(name, root, device).export(folder)
    if as_json:
        show.line({"folder": str(folder), **counts})
    else:
        what = ", ".join(show.count(number, each.removesuffix("s")) for each, number in counts.items())
        show.note(f"{folder}: {what}")


@click.command("import", short_help="Make a collection of an export.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@options.collection
@options.as_json
def import_command(folder: Path, name: str, root: Path | None, device: str, as_json: bool) -> None:
    """Make a collection of what `export` wrote to FOLDER; its indexes are built anew."""
    from instructsearch.collection import Collection

    facts = Collection.import_(folder, name, root, device=device).status()
    if as_json:
        show.line(facts)
    else:
        show.note(f"{name}: {show.count(facts['documents'], 'document')}, {show.count(len(facts['views']), 'view')}")


@click.command("doctor", short_help="Show what this installation can do.")
@options.embedder
@options.common
@options.as_json
def doctor_command(embedder: str | None, root: Path | None, device: str, as_json: bool) -> None:
    """Show versions, devices and known troubles; with --embedder, try the model out."""
    from instructsearch.doctor import examine
    from instructsearch.fit import DEFAULT_EMBEDDER

    findings = examine(device, embedder, DEFAULT_EMBEDDER)
    if as_json:
        show.line(findings.to_dict())
        return
    for name, value in findings.facts.items():
        click.echo(f"{name:<22} {value}")
    for trouble in findings.troubles:
        click.echo(f"trouble: {trouble}")
    if not findings.troubles:
        click.echo("no trouble found")


@click.command("models", short_help="List the models that are known by name.")
@click.option("--here", is_flag=True, help="Only those whose weights are on this machine.")
@options.common
@options.as_json
def models_command(here: bool, root: Path | None, device: str, as_json: bool) -> None:
    """List known models: dimension, window, what instructions reach, licence, and whether the weights are here.

    Any sentence-transformers folder or hub id works too, and so does a profile of your own in a .toml file.
    """
    from instructsearch import embed

    for model in embed.models():
        if here and not model.here:
            continue
        if as_json:
            show.line(model.to_dict())
            continue
        state = "here" if model.here else ("refused" if model.refused else "")
        takes = "no instructions" if model.instructions == "none" else f"instructions on {model.instructions}"
        click.echo(f"{model.name:<32} {model.dim:>5} {model.max_tokens:>6}  {state:<8} {takes}")


@click.command("plugins", short_help="List embedder kinds, readers and rerankers.")
@options.common
@options.as_json
def plugins_command(root: Path | None, device: str, as_json: bool) -> None:
    """List what answers to a name, and which package brought it. Nothing is imported."""
    from instructsearch.plugins import BUILT_IN, available

    for kind in BUILT_IN:
        for plugin in available(kind):
            if as_json:
                show.line({"kind": plugin.kind, "name": plugin.name, "distribution": plugin.distribution})
            else:
                click.echo(f"{plugin.kind:<12} {plugin.name:<20} {plugin.distribution}")


@click.command("completion", short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@options.common
def completion_command(shell: str, root: Path | None, device: str) -> None:
    """Print the completion script of SHELL: put `eval "$(instructsearch completion bash)"` in ~/.bashrc."""
    from click.shell_completion import get_completion_class

    from instructsearch.cli import group

    found = get_completion_class(shell)
    assert found is not None
    os.environ.pop("_INSTRUCTSEARCH_COMPLETE", None)
    click.echo(found(group, {}, "instructsearch", "_INSTRUCTSEARCH_COMPLETE").source())
