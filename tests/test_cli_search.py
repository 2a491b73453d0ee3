"""The search command: hits, filters, views, TREC runs, how it looks, and how a command ends when it is cut short."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys

import pytest

from instructsearch import Collection, Document
from instructsearch.cli import _run
from instructsearch.errors import StorageError

MODULE = [sys.executable, "-m", "instructsearch"]
FIELDS = ["rank", "score", "document", "chunk", "title", "text", "start", "end", "source", "metadata", "view"]
ROWS = [
    {"_id": "a", "text": "red car", "year": 2019, "kind": "car", "sold": True, "note": "x, y"},
    {"_id": "b", "text": "red ship", "year": 2020, "kind": "ship", "sold": False, "code": "2020"},
    {"_id": "c", "text": "blue car", "year": 2021.5, "kind": "car", "tags": ["old", "big"]},
    {"_id": "d", "text": "blue ship", "kind": "a=b"},
]
CSV = "id,text,year,kind,sold\na,red car,2019,car,true\nb,red ship,2020,ship,false\nc,blue car,2021.5,car,\n"


class Done:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def rows(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def refused(self, *words):
        """Hold the command to exit code 1, nothing on stdout, and one line on stderr that has the words."""
        assert (self.code, self.out) == (1, ""), self.err
        assert self.err.startswith("error: ")
        assert len(self.err.splitlines()) == 1
        for word in words:
            assert word in self.err


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with collections that no test changes."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "docs" / "deep").mkdir(parents=True)
    (folder / "docs" / "logs.md").write_text("# Logs\n\nUse RotatingFileHandler to rotate a log file.\n")
    (folder / "docs" / "deep" / "evil.txt").write_text(
        "An escape \x1b[31mred\x1b]0;title\x07 \x9b31m for the terminal."
    )
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "rows.csv").write_text(CSV)
    (folder / "long.jsonl").write_text(
        "".join(json.dumps({"_id": f"long {n}", "text": f"word{n} shared. " * 90}) + "\n" for n in range(30))
    )
    options = ["--embedder", "hash", "--root", str(folder / "indexes")]
    with contextlib.chdir(folder):
        for name, path in (("docs", "docs"), ("jsonl", "rows.jsonl"), ("csv", "rows.csv"), ("long", "long.jsonl")):
            more = ["--chunk-tokens", "30"] if name == "long" else []
            assert _run(["index", path, "-c", name, *options, *more]) == 0
        evil = Document(
            "evil\x1b[2J", "An escape \x1b[31mred\x1b]0;title\x07 \x9b31m for the terminal.", title="\x1b[3J"
        )
        Collection.create("evil", options[3], embedder="hash").add([evil])
        for view in ("colour", "shape"):
            words = {"colour": "red or blue", "shape": "car or ship"}[view]
            assert _run(["views", "add", view, "-c", "jsonl", "--instruction", words, *options[2:]]) == 0
    return folder


@pytest.fixture
def run(place, monkeypatch, capsys):
    monkeypatch.chdir(place)

    def call(*arguments):
        capsys.readouterr()
        code = _run([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return call


# --- hits


def test_a_hit_has_the_fields_of_the_contract_and_cites_its_place(run, place):
    done = run("search", "how do I rotate a log file?", "-c", "docs", "-k", "1", "--json")
    (hit,) = done.rows
    assert (done.code, done.err) == (0, "")
    assert list(hit)[: len(FIELDS)] == FIELDS
    path = str(place / "docs" / "logs.md")
    assert (hit["rank"], hit["document"], hit["source"], hit["view"]) == (1, path, path, "default")
    assert hit["title"] == "Logs"
    assert hit["metadata"]["type"] == "markdown"
    assert (place / "docs" / "logs.md").read_text()[hit["start"] : hit["end"]] == hit["text"]
    assert hit["instructions"] == {"default": {"document": "", "query": ""}}


def test_the_document_of_a_row_is_its_id_and_its_metadata_the_rest(run, place):
    (hit,) = run("search", "red car", "-c", "jsonl", "-k", "1", "--json").rows
    assert (hit["document"], hit["source"]) == ("a", str(place / "rows.jsonl"))
    assert {"year": 2019, "kind": "car", "sold": True, "note": "x, y"}.items() <= hit["metadata"].items()


@pytest.mark.parametrize(("mode", "view"), [("dense", "default"), ("hybrid", "default"), ("bm25", None)])
def test_every_mode_ranks_from_one_and_names_its_view(run, mode, view):
    rows = run("search", "car", "-c", "jsonl", "--mode", mode, "--json").rows
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert {row["view"] for row in rows} == {view}
    assert {rows[0]["document"], rows[1]["document"]} == {"a", "c"}
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)


@pytest.mark.parametrize(
    "text", ['"', "a AND (", "red* NEAR(", "text:red", "-", "'; drop table chunks", "😀", "\udcff"]
)
def test_nothing_in_a_query_is_syntax(run, text):
    for mode in ("bm25", "hybrid"):
        assert run("search", "-c", "jsonl", "--mode", mode, "--json", "--", text).code == 0


def test_the_view_and_its_instruction_decide_what_is_near(run):
    colour, shape = (
        run("search", "red car", "-c", "jsonl", "--view", view, "--mode", "dense", "--where", "year!=2019", "--json")
        for view in ("colour", "shape")
    )
    assert (colour.rows[0]["document"], shape.rows[0]["document"]) == ("b", "c")
    assert colour.rows[0]["instructions"] == {"colour": {"document": "red or blue", "query": "red or blue"}}
    own = run("search", "red car", "-c", "jsonl", "--view", "colour", "--instruction", "other", "--json").rows[0]
    assert own["instructions"]["colour"] == {"document": "red or blue", "query": "other"}


def test_several_views_are_fused_and_each_rank_is_told(run):
    rows = run(
        "search", "red car", "-c", "jsonl", "--view", "colour", "--view", "shape", "--mode", "dense", "--json"
    ).rows
    assert {row["view"] for row in rows} == {"colour+shape"}
    assert rows[0]["document"] == "a"
    assert rows[0]["ranks"] == {"colour": 1, "shape": 1}
    for row in rows:
        assert row["score"] == pytest.approx(sum(1 / (60 + rank) for rank in row["ranks"].values()))


# --- filters


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (["year=2020"], "b"),
        (["year!=2020"], "acd"),
        (["year<2020"], "a"),
        (["year<=2020"], "ab"),
        (["year>2020"], "c"),
        (["year >= 2020"], "bc"),
        (["kind=car"], "ac"),
        (["kind in car,ship"], "abc"),
        (["year in 2019, 2021.5"], "ac"),
        (["sold=true"], "a"),
        (["sold=false"], "b"),
        (["kind=car", "year>2020"], "c"),
        (["code=2020"], ""),
        (['code="2020"'], "b"),
        (["code='2020'"], "b"),
        (["year='2020'"], ""),
        (["tags=big"], "c"),
        (["kind=a=b"], "d"),
        (["note in 'x, y',z"], "a"),
        (["absent=1"], ""),
        (["absent!=1"], "abcd"),
    ],
    ids=lambda value: " & ".join(value) if isinstance(value, list) else "",
)
def test_where_compares_by_type_on_jsonl(run, where, found):
    filters = [part for one in where for part in ("--where", one)]
    for mode in ("dense", "hybrid"):
        done = run("search", "red car", "-c", "jsonl", "--mode", mode, "--json", *filters)
        assert done.code == 0
        assert sorted(row["document"] for row in done.rows) == sorted(found)


@pytest.mark.parametrize(
    ("where", "found"),
    [("year=2020", "b"), ("year>=2020", "bc"), ("kind in car,ship", "abc"), ("sold=true", "a"), ("kind!=car", "b")],
)
def test_where_compares_by_type_on_csv(run, where, found):
    rows = run("search", "red car", "-c", "csv", "--mode", "dense", "--json", "--where", where).rows
    assert sorted(row["document"] for row in rows) == sorted(found)


def test_a_filter_that_nothing_passes_says_so(run):
    done = run("search", "red", "-c", "jsonl", "--where", "year=1")
    assert (done.code, done.out, done.err) == (0, "", "nothing found that the filter allows\n")


# --- refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-c", "absent"], ["absent"]),
        (["-c", "jsonl", "--view", "tone"], ["'tone'", "default, colour, shape"]),
        (["-c", "jsonl", "--where", "year"], ["'year'", "key=value"]),
        (["-c", "jsonl", "--where", "=3"], ["'=3'"]),
        (["-c", "jsonl", "--embedder", "minilm"], ["minilm", "default with 'hash'"]),
        (["-c", "jsonl", "--embedder", "nosuch"], ["'nosuch'"]),
    ],
)
def test_what_cannot_be_answered_as_asked_is_refused(run, options, words):
    run("search", "red", *options).refused(*words)


def test_an_empty_query_is_refused(run):
    run("search", " ", "-c", "jsonl").refused("the query is empty")


@pytest.mark.parametrize(
    "options",
    [[], ["x", "--queries", "rows.jsonl"], ["x", "--run", "o"], ["--queries", "rows.jsonl"], ["x", "-k", "0"]],
)
def test_a_text_or_queries_with_a_run_are_needed(run, options):
    done = run("search", "-c", "jsonl", *options)
    assert (done.code, done.out) == (2, "")
    assert "Usage:" in done.err


# --- runs


def trec(path):
    return [line.split(" ") for line in path.read_text().splitlines()]


def test_queries_are_answered_into_a_trec_run_of_documents(run, tmp_path):
    (tmp_path / "q.jsonl").write_text(
        '\ufeff{"_id": "q1", "text": "word7 shared"}\n\n{"id": 2, "text": "word3"}\n'
        '{"_id": "q3", "text": "\\ud800 a"}\n',
        encoding="utf-8",
    )
    command = ["search", "--queries", tmp_path / "q.jsonl", "--run", tmp_path / "o.trec", "-c", "long"]
    done = run(*command, "-k", "12", "--json")
    assert (done.code, done.err, done.rows) == (0, "", [{"queries": 3, "run": str(tmp_path / "o.trec")}])
    rows = trec(tmp_path / "o.trec")
    assert {len(row) for row in rows} == {6}
    assert {(row[1], row[5]) for row in rows} == {("Q0", "instructsearch-hybrid")}
    for query in ("q1", "2", "q3"):
        of = [row for row in rows if row[0] == query]
        assert [int(row[3]) for row in of] == list(range(1, 13))
        assert len({row[2] for row in of}) == 12
        assert [float(row[4]) for row in of] == sorted((float(row[4]) for row in of), reverse=True)
    assert rows[0][2] == "long%207"
    told = run(*command)
    assert (told.out, told.err) == ("", f"3 queries answered into {tmp_path / 'o.trec'}\n")
    assert len(trec(tmp_path / "o.trec")) == 90


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"_id": "q2", "text": "\xff"}', ["q.jsonl:2", "not JSON"]),
        (b"{", ["q.jsonl:2", "not JSON"]),
        (b"[1]", ["q.jsonl:2", "_id and text"]),
        (b'{"text": "x"}', ["q.jsonl:2", "_id and text"]),
        (b'{"_id": "q 2", "text": "x"}', ["q.jsonl:2", "without blanks"]),
        (b'{"_id": null, "text": "x"}', ["q.jsonl:2", "_id must be"]),
        (b'{"_id": "q2", "text": " "}', ["q.jsonl:2", "not empty"]),
        (b'{"_id": "q2", "text": 5}', ["q.jsonl:2", "text must be"]),
        (b'{"_id": "q1", "text": "again"}', ["q.jsonl:2", "'q1' is also on line 1"]),
    ],
)
def test_a_bad_query_is_named_and_no_run_is_written(run, tmp_path, line, words):
    (tmp_path / "q.jsonl").write_bytes(b'{"_id": "q1", "text": "x"}\n' + line + b"\n")
    run("search", "--queries", tmp_path / "q.jsonl", "--run", tmp_path / "o.trec", "-c", "long").refused(*words)
    (tmp_path / "q.jsonl").write_bytes(b"\n")
    run("search", "--queries", tmp_path / "q.jsonl", "--run", tmp_path / "o.trec", "-c", "long").refused("no query")
    assert [path.name for path in tmp_path.iterdir()] == ["q.jsonl"]


def test_a_run_that_fails_half_way_leaves_the_old_one_whole(run, tmp_path, monkeypatch):
    (tmp_path / "q.jsonl").write_text('{"_id": "q1", "text": "x"}\n{"_id": "q2", "text": "y"}\n')
    command = ["search", "--queries", tmp_path / "q.jsonl", "-c", "long", "--run"]
    assert run(*command, tmp_path / "o.trec").code == 0
    before = (tmp_path / "o.trec").read_bytes()

    whole = Collection.search_many

    def cut(collection, queries):
        yield next(whole(collection, queries))
        raise StorageError("the disk went away")

    monkeypatch.setattr(Collection, "search_many", cut)
    run(*command, tmp_path / "o.trec").refused("the disk went away")
    run(*command, tmp_path / "new.trec").refused("the disk went away")
    assert (tmp_path / "o.trec").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.trec", "q.jsonl"]


def test_a_run_that_cannot_be_written_is_refused(run, place):
    run("search", "--queries", "rows.jsonl", "-c", "long", "--run", "absent/o.trec").refused("absent/o.trec")
    run("search", "--queries", "rows.jsonl", "-c", "long", "--run", "rows.csv/o.trec").refused("rows.csv/o.trec")


# --- how it looks, and how it ends


def test_in_a_pipe_hits_are_plain_and_paths_short(run, place, monkeypatch):
    done = run("search", "rotate a log file", "-c", "docs", "-k", "1")
    assert done.out.splitlines()[0].split()[:2] == ["1", "docs/logs.md"]
    assert "     # Logs Use RotatingFileHandler to rotate a log file." in done.out
    assert "\x1b" not in done.out
    monkeypatch.chdir(place / "docs" / "deep")
    monkeypatch.setenv("HOME", str(place))
    far = run("search", "rotate a log file", "-c", "docs", "-k", "1", "--root", place / "indexes")
    assert far.out.split()[:2] == ["1", "~/docs/logs.md"]


def in_terminal(words, place):
    """Run a command whose stdout is a terminal, and return what it showed."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen([*MODULE, *words], cwd=place, stdout=theirs, stderr=subprocess.PIPE) as process:
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):  # the terminal's end of file
                while part := os.read(ours, 65536):
                    shown += part
            assert process.wait() == 0, process.stderr.read()
    finally:
        os.close(ours)
    return shown.decode()


def test_in_a_terminal_the_words_of_the_query_are_marked(place):
    shown = in_terminal(["search", "rotated files", "-c", "docs", "-k", "1"], place)
    assert re.findall("\x1b\\[33m\x1b\\[1m(\\w+)\x1b\\[0m", shown) == ["rotate", "file"]


def test_a_document_cannot_command_the_terminal(place):
    shown = in_terminal(["search", "escape the terminal", "-c", "evil"], place)
    assert "evil" in shown
    assert not re.search("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]", re.sub("\x1b\\[(0|1|2|33)m", "", shown))
    assert "\x1b[31m" not in shown


def test_json_keeps_to_what_the_encoding_of_stdout_holds(place):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [*MODULE, "search", "escape the terminal", "-c", "evil"]
    plain = subprocess.run(command, cwd=place, env=environment, capture_output=True)
    assert (plain.returncode, plain.stderr) == (0, b"")
    done = subprocess.run([*command, "--json"], cwd=place, env=environment, capture_output=True)
    assert "\x9b31m" in json.loads(done.stdout.decode("ascii"))["text"]


def test_a_reader_that_leaves_early_is_no_error(place):
    process = subprocess.Popen(
        [*MODULE, "search", "shared", "-c", "long", "-k", "200", "--json"],
        **{"cwd": place, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE},
    )
    with process:
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")
