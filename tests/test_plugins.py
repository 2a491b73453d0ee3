"""Plugins: names to objects, nothing imported before it is named, and an embedder of one's own on the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint

import pytest

from instructsearch import Collection, plugins
from instructsearch.errors import UnknownPlugin


class Package:
    def __init__(self, name):
        self.name = name


def point(name, value, package, kind="readers"):
    """An entry point as an installed package declares it."""
    made = EntryPoint(name, value, f"instructsearch.{kind}")
    vars(made)["dist"] = Package(package)
    return made


@pytest.fixture
def installed(monkeypatch):
    """Entry points of packages that are not really there."""
    points = []
    monkeypatch.setattr(plugins, "entry_points", lambda group: [each for each in points if each.group == group])
    monkeypatch.setattr(plugins, "_registered", {})
    return points


def test_a_registered_thing_answers_to_its_name(installed):
    thing = object()
    plugins.register("readers", "mine", thing)
    plugins.register("readers", "mine", thing)
    assert plugins.load("readers", "mine") is thing
    assert plugins.Plugin("readers", "mine", "registered") in list(plugins.available("readers"))


def test_a_name_is_given_once(installed):
    plugins.register("readers", "mine", object())
    with pytest.raises(ValueError, match="'mine' is already taken among readers"):
        plugins.register("readers", "mine", object())
    with pytest.raises(ValueError, match="'hash' is already taken among embedders"):
        plugins.register("embedders", "hash", object())
    with pytest.raises(ValueError, match="no plugin kind 'colours'; one of embedders, readers, rerankers"):
        plugins.register("colours", "mine", object())


def test_an_installed_plugin_is_imported_when_it_is_named_and_not_before(installed):
    installed += [point("loads", "json:loads", "a"), point("broken", "nosuch_module_at_all:x", "b")]
    assert [(each.name, each.distribution) for each in plugins.available("readers")] == [
        ("broken", "b"),
        ("loads", "a"),
    ]
    assert plugins.load("readers", "loads") is json.loads


@pytest.mark.parametrize("value", ["nosuch_module_at_all:x", "json:nosuch_function"])
def test_a_plugin_that_cannot_be_imported_is_named_with_its_package(installed, value):
    installed.append(point("broken", value, "their-package"))
    with pytest.raises(UnknownPlugin, match=r"readers 'broken' of their-package cannot be imported: .*nosuch"):
        plugins.load("readers", "broken")


def test_a_name_that_two_packages_bring_is_refused_and_both_are_named(installed):
    installed += [point("same", "json:loads", "zeta"), point("same", "json:dumps", "alpha")]
    with pytest.raises(UnknownPlugin, match="alpha and zeta both bring readers 'same'; uninstall one"):
        plugins.load("readers", "same")
    assert [each.distribution for each in plugins.available("readers")] == ["alpha", "zeta"]


def test_what_is_built_in_cannot_be_taken_over_by_a_package(installed):
    from instructsearch.embed.hashed import HashEmbedder

    installed.append(point("hash", "json:loads", "thief", "embedders"))
    assert plugins.load("embedders", "hash") is HashEmbedder


def test_an_unknown_name_is_refused_with_the_nearest_or_all_that_are_known(installed):
    with pytest.raises(UnknownPlugin, match="no embedder called 'hahs'; did you mean 'hash'"):
        plugins.load("embedders", "hahs")
    with pytest.raises(
        UnknownPlugin, match="no reranker called 'x'; known: causal, cross, late, ltr, overlap, seq2seq"
    ):
        plugins.load("rerankers", "x")
    with pytest.raises(UnknownPlugin, match="known: answer, encoder, hash, reader"):
        plugins.load("embedders", "zzzz")


SLOW = """
import sys, time
from instructsearch import fill, register
from instructsearch.cli import main
from instructsearch.embed.hashed import HashEmbedder

fill.WINDOW, fill.KEEP_SECONDS = 4, -1.0

class Slow(HashEmbedder):
    def encode(self, texts, instruction="", role="document", *, progress=None):
        time.sleep(float(sys.argv[1]))
        rows = super().encode(texts, instruction, role, progress=progress)
        if role == "document":
            with open("encoded.txt", "a") as log:
                log.writelines(text.split()[0] + "\\n" for text in texts)
        return rows

register("embedders", "slow", Slow)
main(sys.argv[2:])
"""


def test_ctrl_c_keeps_what_a_slow_plugin_embedded_and_the_next_run_goes_on_from_there(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "slow.toml").write_text('kind = "slow"\ndim = 64\n')
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"_id": f"r{n}", "text": f"word{n} of many"}) + "\n" for n in range(80))
    )
    words = ["index", "rows.jsonl", "-c", "c", "--embedder", "slow.toml", "--json"]
    log = tmp_path / "encoded.txt"
    with subprocess.Popen(
        [sys.executable, "slow.py", "0.6", *words],
        **{"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True},
    ) as process:
        until = time.monotonic() + 60
        while not (log.exists() and len(log.read_text().split()) >= 12):
            assert process.poll() is None and time.monotonic() < until, process.stderr.read()
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert err.decode().strip() == "interrupted: what was done is kept, and the same command goes on from there"
    first = log.read_text().split()
    assert 12 <= len(first) < 80
    collection = Collection.open("c", tmp_path / "indexes")
    assert collection.check().clean
    assert collection.status()["documents"] == 0
    done = subprocess.run([sys.executable, "slow.py", "0", *words], cwd=tmp_path, capture_output=True, text=True)
    last = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, last["documents"]["added"], last["chunks"]) == (0, 80, 80)
    second = log.read_text().split()[len(first) :]
    again = set(first) & set(second)
    assert len(again) <= 4, "at most the stretch that was under way is embedded twice"
    assert last["embedded"] == {"default": len(second)}
    assert set(first) | set(second) == {f"word{n}" for n in range(80)}
    assert collection.check().clean
    assert collection.status()["documents"] == 80
