"""The `mcp` command: collections as tools of an agent."""

from pathlib import Path

import click

from instructsearch.cli import options, show


@click.command("mcp", short_help="Offer collections to agents, over MCP.")
@click.option(
    "--collections", "named", multiple=True, metavar="NAME", help="Offer only these; repeatable.  [default: all]"
)
@click.option(
    "--transport", type=click.Choice(["stdio", "http"]), default="stdio", show_default=True, help="How agents reach it."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen, with --transport http.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8766, show_default=True, help="0 takes a free one.")
@click.option(
    "--token", envvar="INSTRUCTSEARCH_TOKEN", metavar="T", help="What agents show.  [default: $INSTRUCTSEARCH_TOKEN]"
)
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name that it is called by; repeatable.")
@click.option(
    "--allow-origin", "origins", multiple=True, metavar="URL", help="A web page's origin that may call it; repeatable."
)
@options.common
def mcp_command(
    named: tuple[str, ...],
    transport: str,
    host: str,
    port: int,
    token: str | None,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    root: Path | None,
    device: str,
) -> None:
    """Let agents list collections and views, search, and read, over the Model Context Protocol.

    Over stdio, an agent starts this command itself; over http it listens at /mcp. Nothing can be changed, and files
    are called by names, never by paths. Beyond this machine it listens only with a token.
    """
    from instructsearch.collection import root_folder
    from instructsearch.doctor import require
    from instructsearch.serve.mcp import create_server, serve_http, serve_stdio
    from instructsearch.serve.settings import Settings

    require(device)
    if transport == "stdio":
        serve_stdio(create_server(root_folder(root), named, device=device))
        return
    settings = Settings(root_folder(root), host, port, token or None, hosts=hosts, origins=origins, device=device)
    server = create_server(root_folder(root), named, device=device, settings=settings)
    serve_http(server, settings, lambda address: show.note(f"listening on {address}; Ctrl-C ends it"))
