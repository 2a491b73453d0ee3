"""The command line: parse, call, print. The only part that imports click; each command's module loads when it is named.

Knows no way to do anything itself: whatever a command does, Python can do too.
"""

import io
import logging
import os
import sys
from importlib import import_module
from typing import Any

import click

from instructsearch.errors import InstructSearchError

# command -> the module that holds it; one whole line of help costs no import
COMMANDS = {
    "index": "documents",
    "search": "find",
    "views": "views",
    "embed": "documents",
    "eval": "judge",
    "cluster": "explore",
    "map": "explore",
    "train": "learn",
    "serve": "serve",
    "models": "care",
    "delete": "documents",
    "status": "care",
    "check": "care",
    "compact": "care",
    "doctor": "care",
    "export": "care",
    "import": "care",
    "plugins": "care",
    "mcp": "mcp",
    "completion": "care",
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"instructsearch.cli.{COMMANDS[name]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # the reader of our output has left, as `head` does: say nothing more to it, not even at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="instructsearch")
def group() -> None:
    """Search documents by meaning, where you say what similarity means.

    Index a folder, ask it a question, add a view that groups the same documents by something else:

    \b
      instructsearch index docs -c manual
      instructsearch search "how do I rotate a log file?" -c manual
      instructsearch views add tone -c manual --instruction "Represent the page by its tone:"
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 an error that the user can mend, 2 wrong usage, 130 interrupted."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("instructsearch.embed.loading").setLevel(logging.INFO)  # only of models that take a while
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show must not end a command
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        result: Any = group.main(args=arguments, prog_name="instructsearch", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        error.show()
        return 2
    except click.ClickException as error:
        return _refused(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: what was done is kept, and the same command goes on from there", err=True)
        return 130
    except (InstructSearchError, OSError) as error:
        return _refused(str(error))
    return result if isinstance(result, int) else 0


def _refused(reason: str) -> int:
    from instructsearch.cli.show import note

    note(f"error: {' '.join(reason.split())}")
    return 1
