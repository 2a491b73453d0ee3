"""The command line but for search: what each command prints, where, and with which exit code."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from instructsearch.cli import COMMANDS, _run

MODULE = [sys.executable, "-m", "instructsearch"]
ROWS = [
    {"_id": "t1", "title": "Fire", "text": "The printer is on fire", "priority": 3},
    {"_id": "t2", "title": "Money", "text": "I want a refund for this", "priority": 1},
    {"_id": "t3", "text": "Thank you, all is well again", "priority": 2},
]


class Done:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def rows(self):
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def row(self):
        (row,) = self.rows
        return row

    def refused(self, *words, code=1):
        """Hold the command to its exit code, and to one line on stderr that has the words."""
        assert self.code == code, self.err
        assert self.err.startswith("error: ")
        assert len(self.err.splitlines()) == 1
        for word in words:
            assert word in self.err
        return self


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "logs.md").write_text("# Logs\n\nUse RotatingFileHandler to rotate a log file.\n")
    (tmp_path / "docs" / "mail.md").write_text("# Mail\n\nParse a message with the email package.\n")
    (tmp_path / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def call(*arguments):
        capsys.readouterr()
        code = _run([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def made(run):
    assert run("index", "docs", "tickets.jsonl", "-c", "c", "--embedder", "hash").code == 0
    return run


# --- index


def test_index_says_in_its_last_json_line_what_became_of_the_documents(run):
    command = ["index", "docs", "tickets.jsonl", "-c", "c", "--embedder", "hash", "--json"]
    last = run(*command).rows[-1]
    assert last["documents"] == {"added": 5, "updated": 0, "unchanged": 0, "deleted": 0, "failed": 0}
    assert (last["chunks"], last["embedded"]) == (5, {"default": 5})
    assert 0 < last["seconds"] < 60
    again = run(*command).rows[-1]
    assert again["documents"] == {"added": 0, "updated": 0, "unchanged": 5, "deleted": 0, "failed": 0}
    assert (again["chunks"], again["embedded"]) == (5, {})


def test_index_deletes_what_is_gone_from_its_paths_and_leaves_the_rest_alone(made, tmp_path):
    (tmp_path / "docs" / "mail.md").unlink()
    (tmp_path / "tickets.jsonl").write_text(json.dumps(ROWS[0]) + "\n" + json.dumps({**ROWS[1], "text": "New"}) + "\n")
    assert made("index", "docs", "-c", "c", "--json").rows[-1]["documents"] == {
        **{"added": 0, "updated": 0, "unchanged": 1, "deleted": 1, "failed": 0}
    }
    assert made("index", "tickets.jsonl", "-c", "c", "--json").rows[-1]["documents"] == {
        **{"added": 0, "updated": 1, "unchanged": 1, "deleted": 1, "failed": 0}
    }
    assert made("status", "-c", "c", "--json").row["documents"] == 3


def test_index_names_each_failure_and_each_file_without_text(run, tmp_path):
    (tmp_path / "docs" / "empty.txt").touch()
    (tmp_path / "bad.jsonl").write_text('{"_id": "a", "text": "good"}\n{"_id": "b"}\n')
    command = ["index", "docs", "bad.jsonl", "no/such.md", "-c", "c", "--embedder", "hash"]
    rows = run(*command, "--json").rows
    failed = {row["failed"]["where"]: row["failed"]["reason"] for row in rows if "failed" in row}
    assert len(failed) == 2
    assert all(where.startswith((str(tmp_path / "bad.jsonl"), str(tmp_path / "no"))) for where in failed)
    assert [row for row in rows if set(row) == {"empty"}] == [{"empty": str(tmp_path / "docs" / "empty.txt")}]
    assert rows[-1]["documents"]["failed"] == 2
    assert (rows[-1]["empty"], rows[-1]["documents"]["added"]) == (1, 3)
    told = run(*command)
    assert told.code == 0
    assert "1 file without text: empty.txt" in told.err
    assert "failed: bad.jsonl" in told.err
    assert str(tmp_path) not in told.err
    assert told.out.startswith("documents: 3 unchanged, 2 failed\n")


def test_index_of_missing_paths_alone_makes_no_collection(run, tmp_path):
    run("index", "nowhere", "neither", "-c", "c").refused("nowhere, neither", "no such file or folder")
    run("index", "x" * 300, "-c", "c").refused("no such file or folder")
    assert not (tmp_path / "indexes").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--spec", "PQ8"], "PQ8"),
        (["--embedder", "hsah"], "'hsah'; did you mean hash?"),
        (["--chunk-tokens", "9999"], "9999"),
        (["--instruction", "long " * 999], "instruction"),
        (["--view", "../up"], "'../up' cannot name a view"),
        (["--view", "bm25"], "'bm25' cannot name a view"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_made_leaves_no_collection_behind(run, tmp_path, options, word):
    run("index", "docs", "-c", "c", *(["--embedder", "hash"] if "--embedder" not in options else []), *options).refused(
        word
    )
    assert not (tmp_path / "indexes" / "c").exists()


@pytest.mark.parametrize("limit", ["pages", "pages=x", "pages=0", "pages=inf", "leaves=3"])
def test_a_limit_that_is_none_is_wrong_usage_and_makes_no_collection(run, tmp_path, limit):
    done = run("index", "docs", "-c", "c", "--embedder", "hash", "--limit", limit)
    assert (done.code, done.out) == (2, "")
    assert "Usage:" in done.err
    assert not (tmp_path / "indexes").exists()


def test_a_limit_is_heeded(run):
    rows = run("index", "docs", "-c", "c", "--embedder", "hash", "--limit", "file_bytes=20", "--json").rows
    assert rows[-1]["documents"]["failed"] == 2


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(made, tmp_path):
    from instructsearch.index import devices

    if len(devices()) > 1:
        pytest.skip("there is a GPU here")
    made("index", "docs", "-c", "new", "--embedder", "hash", "--device", "cuda").refused("no GPU for device 'cuda'")
    assert not (tmp_path / "indexes" / "new").exists()
    made("search", "fire", "-c", "c", "--device", "cuda").refused("no GPU")
    made("views", "add", "v", "-c", "c", "--instruction", "x", "--device", "cuda").refused("no GPU")
    assert [row["view"] for row in made("views", "list", "-c", "c", "--json").rows] == ["default"]
    assert any("no GPU" in trouble for trouble in made("doctor", "--device", "cuda", "--json").row["troubles"])
    assert made("search", "fire", "-c", "c", "--device", "tpu").code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--instruction", "by tone"], ["'by topic'", "--view NAME"]),
        (["--instruction", ""], ["'by topic'", "--view NAME"]),
        (["--view", "first", "--instruction", "by tone"], ["'by topic'", "--view NAME"]),
        (["--query-instruction", "other"], ["query instruction 'by topic'"]),
        (["--spec", "Flat"], ["spec 'auto'", "compact --spec"]),
        (["--embedder", "minilm"], ["minilm", "first with 'hash'"]),
        (["--chunk-tokens", "32"], ["--chunk-tokens 64", "another collection"]),
        (["--chunk-overlap", "3"], ["--chunk-overlap 0", "another collection"]),
    ],
)
def test_options_that_say_something_else_than_the_collection_are_refused(run, options, words):
    first = ["index", "docs", "-c", "c", "--view", "first", "--embedder", "hash", "--instruction", "by topic"]
    first += ["--chunk-tokens", "64"]
    assert run(*first).code == 0
    run("index", "docs", "-c", "c", *options).refused(*words)
    assert run(*first, "--chunk-overlap", "0", "--query-instruction", "by topic", "--spec", "auto").code == 0


def test_another_instruction_with_a_view_of_its_own_adds_it(made):
    command = ["index", "docs", "tickets.jsonl", "-c", "c", "--view", "tone", "--instruction", "by tone", "--json"]
    assert made(*command).rows[-1]["embedded"] == {"tone": 5}
    assert made(*command).rows[-1]["embedded"] == {}
    assert [row["view"] for row in made("views", "list", "-c", "c", "--json").rows] == ["default", "tone"]


def test_an_instruction_for_a_collection_that_has_lost_its_views_makes_the_default_one(made):
    made("views", "drop", "default", "-c", "c")
    assert made("index", "docs", "-c", "c", "--json").rows[-1]["embedded"] == {}
    done = made("index", "docs", "-c", "c", "--embedder", "hash", "--instruction", "by tone", "--json")
    assert done.rows[-1]["embedded"] == {"default": 5}


@pytest.mark.parametrize("name", ["../c", "a/b", "..", ".c", "/tmp/c", "", "a\n", "ü"])
def test_a_name_that_could_leave_the_root_is_refused(run, tmp_path, name):
    run("index", "docs", "-c", name, "--embedder", "hash").refused("cannot name a collection")
    run("status", "-c", name).refused("cannot name a collection")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docs", "tickets.jsonl"]


# --- roots


def test_the_root_is_the_option_else_the_environment_else_indexes(run, tmp_path, monkeypatch):
    made = ["index", "docs", "-c", "c", "--embedder", "hash"]
    run(*made)
    monkeypatch.setenv("INSTRUCTSEARCH_ROOT", str(tmp_path / "env"))
    run("status", "-c", "c").refused("c")
    run(*made)
    run(*made, "--root", tmp_path / "given")
    for root in ("indexes", "env", "given"):
        assert (tmp_path / root / "c" / "collection.db").is_file()
    assert run("status", "-c", "c", "--root", tmp_path / "given", "--json").row["documents"] == 2


# --- delete, status, check, compact


def test_delete_takes_ids_and_relative_paths(made, tmp_path):
    done = made("delete", "t1", "docs/mail.md", "nobody", "-c", "c", "--json")
    assert done.code == 0
    assert done.row == {"deleted": ["t1", str(tmp_path / "docs" / "mail.md")], "unknown": ["nobody"]}
    made("delete", "t1", "-c", "c", "--json").refused("t1", "not in collection c")
    told = made("delete", "t2", "nobody", "-c", "c")
    assert (told.code, told.err, told.out) == (0, "deleted 1 document; not in c: nobody\n", "")
    assert made("status", "-c", "c", "--json").row["documents"] == 2


def test_delete_takes_an_id_before_a_path_that_reads_the_same(made, tmp_path):
    (tmp_path / "same.jsonl").write_text('{"_id": "docs/logs.md", "text": "a row"}\n')
    made("index", "same.jsonl", "-c", "c")
    assert made("delete", "docs/logs.md", "-c", "c", "--json").row["deleted"] == ["docs/logs.md"]
    assert made("delete", "docs/logs.md", "-c", "c", "--json").row["deleted"] == [str(tmp_path / "docs" / "logs.md")]


def test_status_shows_one_collection_or_all(made):
    made("index", "docs", "-c", "b", "--embedder", "hash", "--instruction", "by topic")
    assert [row["collection"] for row in made("status", "--json").rows] == ["b", "c"]
    facts = made("status", "-c", "b", "--json").row
    assert (facts["documents"], facts["chunks"], facts["sources"], facts["chunking"]["tokenizer"]) == (2, 2, 2, "hash")
    (view,) = facts["views"]
    assert (view["view"], view["instruction"], view["query_instruction"]) == ("default", "by topic", "by topic")
    assert (view["embedder"], view["vectors"], view["ready"]) == ("hash", 2, True)
    told = made("status", "-c", "b").out
    assert "b: 2 documents, 2 chunks" in told
    assert "documents: by topic" in told
    made("status", "-c", "absent").refused("absent")


def test_status_without_collections_says_how_to_make_one(run):
    done = run("status")
    assert (done.code, done.out) == (0, "")
    assert "instructsearch index PATH -c NAME" in done.err


def test_check_is_clean_and_then_not_and_mends(made, tmp_path):
    assert made("check", "-c", "c", "--json").row == {"collection": "c", "clean": True, "damage": [], "notes": []}
    (segment,) = (tmp_path / "indexes" / "c" / "views").rglob("seg-*.vec")
    data = bytearray(segment.read_bytes())
    data[-5] ^= 1
    segment.chmod(0o644)
    segment.write_bytes(bytes(data))
    damaged = made("check", "-c", "c", "--json").refused("run check --repair")
    assert damaged.row["clean"] is False
    assert damaged.row["damage"][0]["what"] == segment.name
    assert f"damaged: {segment.name}" in made("check", "-c", "c").out
    assert made("check", "-c", "c", "--repair").code == 0
    assert made("check", "-c", "c").out == "clean\n"
    made("check", "-c", "c", "--embedder", "minilm").refused("default with 'hash'")


def test_compact_folds_erases_and_can_index_in_another_way(made, tmp_path):
    made("delete", "t1", "-c", "c")
    row = made("compact", "-c", "c", "--spec", "default=SQ8", "--json").row
    assert row["collection"] == "c"
    assert row["bytes"] > 0
    status = made("status", "-c", "c", "--json").row
    assert (status["dead"], status["views"][0]["spec"], status["views"][0]["vectors"]) == (0, "SQ8", 4)
    assert b"on fire" not in (tmp_path / "indexes" / "c" / "collection.db").read_bytes()
    assert made("compact", "-c", "c", "--spec", "SQ8").code == 2
    made("compact", "-c", "c", "--spec", "default=PQ8").refused("PQ8")
    made("compact", "-c", "c", "--spec", "other=SQ8").refused("'other'", "default")


# --- views


def test_views_are_added_listed_refreshed_and_dropped(made):
    tone = ["-c", "c", "--instruction", "by tone", "--query-instruction", "asks by tone", "--json"]
    assert made("views", "add", "tone", *tone).row == {"view": "tone", "embedded": 5}
    made("views", "add", "tone", *tone).refused("tone")
    rows = made("views", "list", "-c", "c", "--json").rows
    assert [(row["view"], row["instruction"], row["query_instruction"]) for row in rows] == [
        ("default", "", ""),
        ("tone", "by tone", "asks by tone"),
    ]
    assert "tone: hash, 5 vectors" in made("views", "list", "-c", "c").out
    refreshed = made("views", "refresh", "tone", "-c", "c", "--spec", "SQ8", "--json")
    assert refreshed.row == {"view": "tone", "embedded": 0}
    assert made("views", "list", "-c", "c", "--json").rows[1]["spec"] == "SQ8"
    assert made("views", "drop", "tone", "-c", "c", "--json").row == {"dropped": "tone"}
    made("views", "drop", "tone", "-c", "c").refused("no view 'tone'", "default")
    made("views", "refresh", "tone", "-c", "c").refused("no view 'tone'")
    assert made("views", "add", "again", *tone[:-1]).err == "view again: 5 texts embedded\n"


# --- export, import, doctor, plugins, completion


def test_export_and_import_give_the_same_hits(made, tmp_path):
    counts = made("export", "out", "-c", "c", "--json").row
    assert (counts["folder"], counts["documents"], counts["vectors"]) == ("out", 5, 5)
    assert made("import", "out", "-c", "copy", "--json").row["documents"] == 5
    query = ["search", "a fire", "--json", "-k", "5"]
    assert made(*query, "-c", "c").rows == made(*query, "-c", "copy").rows
    made("export", "out", "-c", "c").refused("not empty")
    made("import", "out", "-c", "copy").refused("copy")
    made("import", "docs", "-c", "other").refused("no complete export")
    assert not (tmp_path / "indexes" / "other").exists()


def test_doctor_names_versions_and_tries_the_model_given(run):
    facts = run("doctor", "--embedder", "hash", "--json").row["facts"]
    assert {facts[name].split(":")[0] for name in ("batch", "instruction")} == {"yes"}
    assert facts["takes instructions"] == "yes"
    assert facts["instructsearch"] == version("instructsearch")
    assert facts["embedder's device"] == "cpu"
    told = run("doctor")
    assert told.code == 0
    assert "faiss devices          cpu" in told.out
    assert any("nosuch" in trouble for trouble in run("doctor", "--embedder", "nosuch", "--json").row["troubles"])


def test_doctor_tells_of_two_faiss_packages(run, monkeypatch):
    from instructsearch.index import device

    monkeypatch.setattr(device, "packages_distributions", lambda: {"faiss": ["numpy", "click"]})
    (trouble,) = run("doctor", "--json").row["troubles"]
    assert "click and numpy both bring the module faiss" in trouble


def test_plugins_are_listed_with_who_brought_them(run):
    rows = run("plugins", "--json").rows
    assert {"kind": "embedders", "name": "hash", "distribution": "built in"} in rows
    assert "hash" in run("plugins").out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_shells_script(run, shell):
    script = run("completion", shell).out
    assert f"_INSTRUCTSEARCH_COMPLETE={shell}_complete" in script.replace("env ", "")


def test_completion_completes_commands_and_collections(made, tmp_path):
    def completed(words):
        environment = {**os.environ, "_INSTRUCTSEARCH_COMPLETE": "bash_complete"}
        environment |= {"COMP_WORDS": f"instructsearch {words}", "COMP_CWORD": str(len(words.split()))}
        return subprocess.run(MODULE, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout

    assert completed("comp").split() == ["plain,compact", "plain,completion"]
    assert completed("status -c c").split() == ["plain,c"]


def test_an_unknown_shell_command_or_option_is_wrong_usage(run):
    for words in (["completion", "csh"], ["nope"], ["index"], ["search", "x"], ["status", "--nope"], []):
        done = run(*words)
        assert (done.code, done.out) == (2, "")
        assert "Usage:" in done.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_common_options(run, command):
    words = [command, *{"views": ["list"], "eval": ["collection"], "train": ["data"]}.get(command, [])]
    text = run(*words, "--help").out
    assert all(option in text for option in ("--root", "--device", "--verbose"))
