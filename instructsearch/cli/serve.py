"""The `serve` command: collections over HTTP."""

from pathlib import Path

import click

from instructsearch.cli import options, show

_TOKEN = "INSTRUCTSEARCH_TOKEN"  # noqa: S105 - where it is found, not what it is


@click.command("serve", short_help="Answer over HTTP, with OpenAI-compatible embeddings.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address or name to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--token", metavar="T", envvar=_TOKEN, help=f"What callers must show.  [default: ${_TOKEN}]")
@click.option(
    "--embedder",
    "embedders",
    multiple=True,
    metavar="P",
    help="Model that callers may name, beside the built-in ones; repeatable.",
)
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="Name it is called by; repeatable.")
@click.option(
    "--allow-origin", "origins", multiple=True, metavar="URL", help="Web page that may call it (CORS); repeatable."
)
@click.option("--limit", "limits", multiple=True, metavar="NAME=N", help="Raise or lower a limit on what is asked.")
@options.common
def serve_command(
    host: str,
    port: int,
    token: str | None,
    embedders: tuple[str, ...],
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    limits: tuple[str, ...],
    root: Path | None,
    device: str,
) -> None:
    """Serve the collections under --root until interrupted.

    It listens on this machine only, unless --host says otherwise; then it needs a token. GET /openapi.json describes
    what can be asked.
    """
    from instructsearch.collection import root_folder
    from instructsearch.doctor import require
    from instructsearch.serve import Limits, Settings, run

    require(device)
    settings = Settings(
        root_folder(root),
        host,
        port,
        token,
        embedders,
        hosts,
        origins,
        device,
        options.limited(Limits(), limits),
    )

    def told(address: str) -> None:
        guarded = "with a token" if token is not None else "without a token: whoever is on this machine may ask"
        show.note(f"serving {settings.root} on {address}, {guarded}")

    run(settings, told)
