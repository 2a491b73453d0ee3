"""The README is true: its commands run, its Python runs, its help is the program's, and nothing is left out of it."""

import json
import os
import re
import subprocess
import sys

import pytest
import readme

from instructsearch.cli import COMMANDS

TEXT = readme.README.read_text(encoding="utf-8")
SHELL = re.findall(r"^```sh\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
PYTHON = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
TICKETS = [
    {"_id": "t1", "text": "The printer is on fire", "priority": 3, "status": "open", "closed": False},
    {"_id": "t2", "text": "I want a refund for this", "priority": 1, "status": "waiting", "closed": False},
    {"_id": "t3", "text": "Thank you, all is well again", "priority": 2, "status": "done", "closed": True},
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as the README takes for granted: some documents, tickets and queries."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "docs").mkdir()
    (folder / "docs" / "logs.md").write_text("# Logs\n\nUse RotatingFileHandler to rotate a log file.\n")
    (folder / "docs" / "mail.md").write_text("# Mail\n\nParse a message with the email package.\n")
    (folder / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TICKETS))
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "printer"}\n{"_id": "q2", "text": "refund"}\n')
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tt1\t1\nq2\tt2\t1\n")
    tone = folder / "tasks" / "tone"
    tone.mkdir(parents=True)
    task = {"kind": "labels", "instructions": {"right": ["by mood"], "wrong": ["by topic"]}}
    (tone / "task.json").write_text(json.dumps(task))
    texts = [{"text": f"{word} {number}", "label": word} for word in ("glad", "angry") for number in range(6)]
    (tone / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    return folder


def run(command, place):
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["sh", "-c", command], cwd=place, env=environment, capture_output=True, text=True, timeout=300
    )


def test_every_command_shown_runs_and_finds_what_it_should(place):
    lines = [line for block in SHELL for line in block.splitlines() if line.strip()]
    assert len(lines) > 15
    answers = {}
    for line in lines:
        done = run(line, place)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        answers[line] = done.stdout
    found = [text for line, text in answers.items() if "rotate a log file" in line]
    assert len(found) == 2
    assert all("logs.md" in text for text in found)
    assert next(text for line, text in answers.items() if "printer on fire" in line).split()[1] == "t1"
    assert (place / "tickets.npy").stat().st_size > 3 * 384 * 4
    assert len((place / "out.trec").read_text().splitlines()) == 4


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_the_python_shown_runs(code, tmp_path):
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "The cat sat on the mat." in done.stdout


def test_the_help_shown_is_the_programs():
    assert readme.current() == readme.written(), "renew it: python tests/readme.py --write"


@pytest.mark.parametrize("words", [words for words, _ in readme.commands()])
def test_every_command_has_help_and_an_example(words):
    command = dict(readme.commands())[words]
    assert command.help and command.get_short_help_str()
    assert re.search(rf"instructsearch {words}\b", TEXT.split(readme.START)[0]), f"the README shows no {words}"


def test_every_option_says_what_it_does():
    for words, command in readme.commands():
        for option in command.params:
            assert option.param_type_name == "argument" or option.help or option.name == "role", (
                f"{words} {option.name}"
            )


def test_the_readme_names_what_can_be_typed_and_nothing_else():
    for name in re.findall(r"`?instructsearch ([a-z]+)\b", TEXT):
        assert name in COMMANDS, f"the README shows {name}, which is no command"
