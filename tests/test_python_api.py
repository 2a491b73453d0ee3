"""Nothing is reachable only from the command line: the README names what does in Python what each command does."""

import re
from functools import reduce
from importlib import import_module

import pytest
import readme

from instructsearch import Collection
from instructsearch.cli import COMMANDS

TABLE = re.search(r"^\| command \| in Python \|\n\|---\|---\|\n(.*?)\n\n", readme.README.read_text(), re.S | re.M)[1]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines()]
SHELL_ONLY = {"completion"}  # a script for a shell
DOTTED = sorted({name for _, told in ROWS for name in re.findall(r"\binstructsearch(?:\.\w+)+", told)})
METHODS = sorted({name for _, told in ROWS for name in re.findall(r"(?:`|Collection)\.(\w+)\(", told)})


def test_every_command_has_its_like_in_python():
    told = {name for commands, _ in ROWS for name in re.findall(r"`(\w+)`", commands)}
    assert told == set(COMMANDS) - SHELL_ONLY


@pytest.mark.parametrize("dotted", DOTTED)
def test_what_is_named_is_there_and_described(dotted):
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = reduce(getattr, parts[cut:], import_module(".".join(parts[:cut])))
        except ModuleNotFoundError:
            continue
        assert callable(found) and found.__doc__
        return
    raise AssertionError(f"{dotted} is not there")


@pytest.mark.parametrize("name", METHODS)
def test_a_collection_can_do_what_is_named(name):
    assert callable(getattr(Collection, name)) and getattr(Collection, name).__doc__


def test_of_what_a_collection_can_do_nothing_is_left_out():
    public = {name for name, value in vars(Collection).items() if not name.startswith("_") and callable(value)}
    public |= {name for name in ("open", "create", "import_")}
    named = set(METHODS) | {"search_many"}
    assert public - named <= {"documents", "drop"}, "two that no command has"
