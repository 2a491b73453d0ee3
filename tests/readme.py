"""What the program writes of the README: every command's help. `python tests/readme.py --write` renews it."""

import re
import sys
from pathlib import Path

import click

from instructsearch.cli import COMMANDS, group

README = Path(__file__).parent.parent / "README.md"
START, END = "<!-- help:start -->", "<!-- help:end -->"


def commands():
    """Yield (words, command) of everything that can be typed."""
    with click.Context(group) as context:
        for name in COMMANDS:
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                for below in command.list_commands(context):
                    yield f"{name} {below}", command.get_command(context, below)
            else:
                yield name, command


def help_of(words, command):
    # beneath the real parent: a command keeps the names of its help option from whoever asked first
    parent = click.Context(group, info_name="instructsearch", **group.context_settings)
    context = click.Context(command, parent=parent, info_name=words, terminal_width=100, max_content_width=100)
    return command.get_help(context)


def written():
    parts = [START]
    for words, command in commands():
        title = f"<details><summary><code>{words}</code>: {command.get_short_help_str(100)}</summary>"
        parts += [title, "", "```", help_of(words, command), "```", "", "</details>"]
    return "\n".join([*parts, END])


def current():
    return re.search(f"{START}.*?{END}", README.read_text(encoding="utf-8"), re.DOTALL).group()


if __name__ == "__main__" and "--write" in sys.argv:
    text = README.read_text(encoding="utf-8")
    README.write_text(text.replace(current(), written()), encoding="utf-8")
