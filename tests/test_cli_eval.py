"""The eval commands: figures that agree with the library's, notes on what is left aside, pages, and clear refusals."""

import contextlib
import json
import math
import re

import click
import numpy as np
import pytest
import tasks_made as made

from instructsearch import Collection, Query, scan
from instructsearch.cli import _run, group
from instructsearch.errors import ViewNotFound
from instructsearch.evaluate.ranking import mean, measure
from instructsearch.evaluate.runs import read_qrels
from instructsearch.fit import Models

QRELS = "query-id\tcorpus-id\tscore\n" + made.judged(True)


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
    """A folder with a collection of two views, queries and judgements, that no test changes."""
    folder = tmp_path_factory.mktemp("eval")
    made.put(folder / "rows.jsonl", *made.ROWS)
    made.put(folder / "queries.jsonl", *made.QUERIES)
    (folder / "qrels.tsv").write_text(QRELS)
    made.labels(folder / "tasks" / "a", instructions={"right": [made.BY_COLOUR], "wrong": [made.BY_SHAPE]})
    made.triplets(folder / "tasks" / "b")
    with contextlib.chdir(folder):
        assert _run(["index", "rows.jsonl", "-c", "things", "--embedder", "hash"]) == 0
        assert _run(["views", "add", "colour", "-c", "things", "--instruction", made.BY_COLOUR]) == 0
    return folder


@pytest.fixture
def run(place, monkeypatch, capsys):
    monkeypatch.chdir(place)

    def call(*arguments):
        capsys.readouterr()
        code = _run([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return call


ASKED = ("-c", "things", "--queries", "queries.jsonl", "--qrels", "qrels.tsv")


def test_the_figures_are_those_of_a_run_made_by_search(run, place, tmp_path):
    done = run("eval", *ASKED, "--json")
    assert (done.code, done.err) == (0, "")
    systems = [row for row in done.rows if "mode" in row]
    assert [(row["view"], row["mode"]) for row in systems] == [
        ("default", "dense"), ("default", "hybrid"), ("colour", "dense"), ("colour", "hybrid"),
        ("default+colour", "dense"), ("default+colour", "hybrid"), ("-", "bm25"),
    ]  # fmt: skip
    qrels = read_qrels(place / "qrels.tsv")
    for row in systems:
        views = [] if row["view"] == "-" else [part for view in row["view"].split("+") for part in ("--view", view)]
        out = tmp_path / "out.trec"
        queries = ("--queries", "queries.jsonl", "--run", out)
        assert run("search", "-c", "things", *queries, "--mode", row["mode"], *views).code == 0
        ranked = {}
        for line in out.read_text().splitlines():
            query, _, document, rank, *_ = line.split()
            ranked.setdefault(query, {})[document] = -int(rank)
        for name in ("nDCG@10", "R@10", "R@100", "RR", "AP@100"):
            assert row[name]["value"] == pytest.approx(mean(measure(ranked, qrels, [name])[name])), (row["view"], name)


def test_a_view_that_asks_the_right_thing_wins_and_the_comparison_says_so(run):
    rows = run("eval", *ASKED, "--mode", "dense", "--json").rows
    by_view = {row["view"]: row["nDCG@10"] for row in rows if "mode" in row}
    assert by_view["colour"]["value"] == 1.0 > by_view["default"]["high"]
    pair = next(row for row in rows if row.get("compared") == ["colour dense", "default dense"])
    assert pair["difference"] == pytest.approx(1 - by_view["default"]["value"])
    assert pair["p"] < 0.01
    assert pair["low"] > 0


def test_instructions_are_varied(run):
    rows = run("eval", *ASKED, "--view", "default", "--mode", "dense", "--paraphrase", "red", "--json").rows
    (row,) = [row for row in rows if "sensitivity" in row]
    assert [each["instruction"] for each in row["instructions"]] == [None, "", "red"]
    assert row["sensitivity"] == {"view": "default", "mode": "dense"}
    own, none, red = (each["value"] for each in row["instructions"])
    assert own == none  # the view has none of its own
    assert (row["worst"], row["best"], row["n"]) == (min(own, red), max(own, red), 2)
    assert row["own_against_none"]["difference"] == 0


def test_an_exact_scan_is_held_against_each_view(run):
    rows = run("eval", *ASKED, "--mode", "dense", "--json").rows
    assert {row["recall_of_exact_scan"]: row["value"] for row in rows if "recall_of_exact_scan" in row} == {
        "default": 1.0,
        "colour": 1.0,
    }
    assert rows[-1] == {"collection": "things", "queries": 9, "k": 10, "report": None}


def test_the_default_command_may_be_named_or_left_out(run):
    assert run("eval", *ASKED, "--json").out == run("eval", "collection", *ASKED, "--json").out
    assert run("eval", "--queries", "queries.jsonl", "--qrels", "qrels.tsv", "-c", "things", "--json").code == 0


def test_the_table_shows_what_the_lines_say(run):
    options = (*ASKED, "--view", "colour", "--paraphrase", "red")
    rows = run("eval", *options, "--json").rows
    done = run("eval", *options)
    assert done.code == 0
    lines = done.out.splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["view", "mode", "nDCG@10", "R@10", "R@100", "RR", "AP@100"]
    first = next(row for row in rows if row.get("mode") == "dense")["nDCG@10"]
    shown = f"{first['value']:.3f} [{first['low']:.3f} {first['high']:.3f}]"
    assert re.split(r"\s{2,}", lines[1])[:3] == ["colour", "dense", shown]
    assert any(line.split()[:2] == ["colour", "1.000"] for line in lines)
    assert sum("query instruction" in line for line in lines) == 1


def test_a_page_is_written_whole(run, tmp_path):
    out = tmp_path / "report.html"
    out.write_text("old")
    done = run("eval", *ASKED, "--report", out, "--json")
    assert done.rows[-1]["report"] == str(out)
    text = out.read_text()
    assert text.startswith("<!doctype html>")
    assert text.endswith("</html>\n")
    for heading in (
        "Views and modes",
        "Compared, query by query",
        "Instruction sensitivity",
        "Index against exact scan",
    ):
        assert f"<h2>{heading}</h2>" in text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_a_clear_error(run):
    done = run("eval", *ASKED, "--report", "no/such/folder/out.html", "--json")
    done.refused("no/such/folder/out.html", "no folder that can be written to")
    run("eval", "embedder", "--embedder", "hash", "--data", "tasks", "--report", "no/out.html").refused("no/out.html")


def test_what_is_left_aside_is_said(run, place):
    (place / "more.tsv").write_text(QRELS + "q-lost\td1\t1\n")
    done = run("eval", "-c", "things", "--queries", "queries.jsonl", "--qrels", "more.tsv", "--mode", "bm25", "--json")
    assert (done.code, done.err) == (0, "note: 1 judged query not in queries.jsonl, left aside\n")
    (place / "none.tsv").write_text("red-car\td1\t0\nblue-car\tdX\t1\n")
    done = run("eval", "-c", "things", "--queries", "queries.jsonl", "--qrels", "none.tsv", "--mode", "bm25", "--json")
    assert done.rows[-1]["queries"] == 2
    assert "1 query without any relevant document, counted as 0" in done.err


def test_ids_that_do_not_fit_are_noticed(run, place):
    (place / "other.tsv").write_text("red-car\tnowhere.md\t1\n")
    done = run("eval", "-c", "things", "--queries", "queries.jsonl", "--qrels", "other.tsv", "--json")
    assert done.code == 0
    assert "no judged document was ever found" in done.err
    assert "'nowhere.md'" in done.err
    (place / "strange.tsv").write_text("q9\td1\t1\n")
    run("eval", "-c", "things", "--queries", "queries.jsonl", "--qrels", "strange.tsv").refused("nothing in common")


def test_a_run_is_refused_with_a_reason(run, place):
    run("eval", "-c", "nothing", "--queries", "queries.jsonl", "--qrels", "qrels.tsv").refused("nothing")
    run("eval", *ASKED, "--view", "shape").refused("no view 'shape'", "default, colour")
    (place / "bad.tsv").write_text("q1 0 d1 one\n")
    run("eval", "-c", "things", "--queries", "queries.jsonl", "--qrels", "bad.tsv").refused("bad.tsv:1", "'one'")
    run("eval", "-c", "things", "--queries", "qrels.tsv", "--qrels", "qrels.tsv").refused("qrels.tsv:1", "not JSON")
    run("eval", *ASKED, "--embedder", "minilm").refused("made no view")


@pytest.mark.parametrize(
    "arguments",
    [
        ["eval"],
        ["eval", "-c", "things"],
        ["eval", *ASKED, "--mode", "magic"],
        ["eval", *ASKED, "-k", "0"],
        ["eval", "nothing"],
        ["eval", "embedder"],
        ["eval", "embedder", "--embedder", "hash", "--data", "no folder"],
    ],
)
def test_wrong_usage_is_told_apart(run, arguments):
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")


def test_both_commands_are_listed_and_every_option_has_help(run, capsys):
    done = run("eval", "--help")
    assert done.code == 0
    assert "collection" in done.out
    assert "embedder" in done.out
    with click.Context(group) as context:
        commands = group.get_command(context, "eval")
        for name in commands.list_commands(context):
            assert all(
                option.help
                for option in commands.get_command(context, name).params
                if option.param_type_name == "option"
            )


# --- an embedder


def test_an_embedder_is_judged_task_by_task(run, tmp_path):
    out = tmp_path / "e.html"
    done = run("eval", "embedder", "--embedder", "hash", "--data", "tasks", "--json", "--report", out)
    assert done.code == 0
    assert [(row["embedder"], row["task"], row["kind"]) for row in done.rows] == [
        ("hash", "a", "labels"),
        ("hash", "b", "triplets"),
    ]
    labels = done.rows[0]
    assert labels["gap"]["mean"] == pytest.approx(labels["groups"]["right"]["mean"] - labels["groups"]["wrong"]["mean"])
    assert labels["gap"]["mean"] > 0.1
    assert "<h2>a</h2>" in out.read_text()


def test_the_table_of_an_embedder(run):
    done = run("eval", "embedder", "--embedder", "hash", "--data", "tasks/a", "--data", "tasks/b")
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == ["task", "a", "b"]
    assert "+" in lines[1]


def test_an_embedder_that_ignores_instructions_is_called_deaf(run, place):
    toml = place / "deaf.toml"
    toml.write_text('base = "hash"\nname = "deaf"\ndim = 64\nquery_template = "{text}"\ndocument_template = "{text}"\n')
    done = run("eval", "embedder", "--embedder", toml, "--data", "tasks/a", "--json")
    assert done.code == 0
    assert "ignores instructions" in done.err
    assert done.rows[0]["gap"]["mean"] == 0


def test_a_bad_task_is_refused_before_a_model_is_loaded(run, place, monkeypatch):
    made.labels(place / "wrong" / "a", role="nobody")
    monkeypatch.setattr("instructsearch.embed.load", lambda *_, **__: pytest.fail("loaded"))
    run("eval", "embedder", "--embedder", "hash", "--data", "wrong").refused("task.json", "nobody")


# --- the exact scan


def test_the_scan_finds_what_a_product_of_all_vectors_finds(place):
    collection = Collection.open("things", place / "indexes")
    (found, scores), (exact, true) = scan.ExactScan(collection.folder, Models(), k=5)(
        "colour", ["red car", "blue plane"]
    )
    np.testing.assert_array_equal(found, exact)
    np.testing.assert_array_equal(scores, true)
    from instructsearch import embed

    model = embed.load("hash")
    vectors = model.encode([row["text"] for row in made.ROWS], made.BY_COLOUR, "document")
    asked = model.encode(["red car", "blue plane"], made.BY_COLOUR, "query")
    np.testing.assert_allclose(true, -np.sort(-(asked @ vectors.T), axis=1)[:, :5], atol=1e-6)


def test_the_whole_search_over_exact_scans_misses_what_the_index_misses_and_nothing_else(place, monkeypatch):
    collection = Collection.open("things", place / "indexes")
    asked = [Query("red car", mode=mode, k=3) for mode in ("dense", "hybrid")]
    exact = list(scan.ExactScan(collection.folder, Models()).search(asked))
    assert exact == list(collection.search_many(asked))

    def nothing(self, queries, k, *, allowed=None, denied=None):
        return np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, np.float32)

    monkeypatch.setattr("instructsearch.view.View.search", nothing)
    fresh = Collection.open("things", place / "indexes")
    assert next(fresh.search_many(asked)) == []
    assert list(scan.ExactScan(collection.folder, Models()).search(asked)) == exact


def test_the_scan_leaves_out_what_was_deleted(tmp_path):
    from instructsearch import Document

    collection = Collection.create("c", tmp_path, embedder="hash")
    collection.add([Document(row["_id"], row["text"]) for row in made.ROWS[:4]])
    collection.delete(["d0"])
    (found, _), (exact, scores) = scan.ExactScan(collection.folder, Models(), k=4)("default", [made.ROWS[0]["text"]])
    assert (exact >= 0).sum() == (found >= 0).sum() == 3
    assert math.isinf(scores[0, 3])
    with pytest.raises(ViewNotFound, match="'other'"):
        scan.ExactScan(collection.folder, Models())("other", ["x"])
