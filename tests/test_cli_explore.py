"""The cluster and map commands: what they print and write, what they refuse, and that they start light."""

import csv
import json
import os
import subprocess
import sys

import pytest

from instructsearch import Collection, Document
from instructsearch.cli import _run
from instructsearch.explore.projection import FEW

COLOURS, SHAPES = ("red", "green", "blue"), ("ship", "cat", "tree", "house")


class Done:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def rows(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def refused(self, *words, code=1):
        """Hold the command to its exit code, nothing on stdout, and one line on stderr that has the words."""
        assert (self.code, self.out) == (code, ""), self.err
        lines = self.err.splitlines()
        assert lines[-1].lower().startswith("error: ")
        assert code == 2 or len(lines) == 1
        for word in words:
            assert word in lines[-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A collection of 96 rows under two instructions, one of which looks at colours and the other at shapes."""
    folder = tmp_path_factory.mktemp("explore")
    rows = [
        {
            "_id": f"r{number:02}",
            "text": f"{COLOURS[number % 3]} {SHAPES[number // 3 % 4]} {'abcdefgh'[number // 12]}",
            "colour": COLOURS[number % 3],
            "look": {"shape": SHAPES[number // 3 % 4]},
            "year": 1990 + number,
        }
        for number in range(96)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["-c", "things", "--embedder", "hash", "--root", str(folder / "indexes")]
    command = ["index", str(folder / "rows.jsonl"), "--view", "colours", "--instruction", "red green or blue", *options]
    assert _run(command) == 0
    assert _run(["views", "add", "shapes", "--instruction", "ship cat tree or house", *options]) == 0
    evil = Document("evil\x1b[2J", "An escape \x1b[31mred\x07 </script>", title="\x1b[3J<b>", metadata={"k\x1b": "v"})
    Collection.create("evil", folder / "indexes", embedder="hash").add([evil])
    Collection.create("empty", folder / "indexes", embedder="hash")
    return folder


@pytest.fixture
def run(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSTRUCTSEARCH_ROOT", str(place / "indexes"))

    def call(*arguments):
        capsys.readouterr()
        code = _run([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return call


# --- cluster


def test_each_view_is_grouped_by_what_its_instruction_looks_at(run):
    rows = run("cluster", "-c", "things", "--json").rows
    groups = {view: [row for row in rows if row.get("view") == view] for view in ("colours", "shapes")}
    assert {row["terms"][0] for row in groups["colours"]} == set(COLOURS)
    assert {row["terms"][0] for row in groups["shapes"]} == set(SHAPES)
    assert [row["cluster"] for row in groups["shapes"]] == [0, 1, 2, 3]
    assert sum(row["size"] for row in groups["colours"]) == 96


def test_the_last_line_tells_how_it_was_done_and_how_far_the_views_agree(run):
    last = run("cluster", "-c", "things", "--against", "look.shape", "--json").rows[-1]
    assert (last["collection"], last["by"], last["grouped"]) == ("things", "passage", 96)
    colours, shapes = last["views"]
    assert (colours["view"], colours["instruction"]) == ("colours", "red green or blue")
    assert (colours["method"], colours["clusters"], shapes["clusters"]) == ("kmeans", 3, 4)
    (pair,) = last["agreement"]
    assert pair["views"] == ["colours", "shapes"]
    assert pair["adjusted_mutual_information"] < 0.05
    against = last["against"]
    assert (against["field"], against["values"]) == ("look.shape", 4)
    assert [round(one["v_measure"], 1) for one in against["views"]] == [0, 1]


def test_what_a_person_reads_has_terms_sizes_texts_and_agreement(run):
    done = run("cluster", "-c", "things", "--view", "colours", "--against", "colour")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "colours: red green or blue"
    assert lines[1] == "  96 passages in 3 groups, as many as silhouettes of 96 advise"
    assert sum("32 (33%)" in line for line in lines) == 3
    assert lines[-1].startswith("colours and the field colour: V-measure 1.000")


def test_the_number_of_groups_can_be_given(run):
    last = run("cluster", "-c", "things", "--view", "shapes", "-n", 6, "--json").rows
    assert len(last) == 7
    assert "silhouettes" not in last[-1]["views"][0]


def test_groups_by_density(run):
    rows = run("cluster", "-c", "things", "--view", "colours", "--min-size", 10, "--json").rows
    assert rows[-1]["views"][0]["method"] == "hdbscan"
    assert {row["terms"][0] for row in rows[:-1]} == set(COLOURS)


def test_only_what_the_filter_allows_is_grouped(run):
    last = run("cluster", "-c", "things", "--where", "year<2000", "--where", "colour=red", "-n", 2, "--json").rows[-1]
    assert last["grouped"] == 4


def test_documents_are_grouped_as_the_means_of_their_passages(run, place, tmp_path):
    texts = {kind: f"{kind} word. " * 120 for kind in ("red", "blue")}
    made = Collection.create("long", tmp_path / "r", embedder="hash", chunk_tokens=30)
    made.add([Document(f"{kind}{number}", text) for kind, text in texts.items() for number in range(2)])
    rows = run("cluster", "-c", "long", "--root", tmp_path / "r", "--by", "document", "-n", 2, "--json").rows
    assert (rows[-1]["grouped"], rows[-1]["by"]) == (4, "document")
    for row in rows[:-1]:
        assert row["size"] == 2
        assert set(row["central"][0]) == {"document", "title", "text", "similarity"}
        assert row["central"][0]["document"].startswith(row["terms"][0].split()[0])


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_the_group_of_each_passage_is_written(run, suffix, tmp_path):
    out = tmp_path / f"groups.{suffix}"
    assert run("cluster", "-c", "things", "--out", out, "--json").code == 0
    if suffix == "csv":
        with out.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 2 * 96
    for row in rows[:96]:
        colour = COLOURS[int(row["document"][1:]) % 3]
        assert row["label"].startswith(colour)
    assert os.listdir(tmp_path) == [out.name]


def test_two_runs_print_the_same(run):
    first, second = (run("cluster", "-c", "things", "--seed", 5, "--json").out for _ in range(2))
    assert first == second


def test_control_characters_of_a_document_do_not_reach_the_terminal(run):
    done = run("cluster", "-c", "evil", "-n", 1)
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "</script>" in done.out


# --- map


def points(page):
    text = page.read_text(encoding="utf-8")
    start = text.index('id="data">') + len('id="data">')
    return json.loads(text[start : text.index("</script>", start)])


def test_a_page_and_a_picture_are_written(run, tmp_path):
    done = run("map", "-c", "things", "--out", "map.html", "--png", "map.png", "--color", "colour", "--json")
    (facts,) = done.rows
    assert {"out": "map.html", "png": "map.png", "points": 96, "left_out": 0, "method": "tsne"}.items() <= facts.items()
    assert facts["views"] == ["colours", "shapes"]
    data = points(tmp_path / "map.html")
    assert [panel["instruction"] for panel in data["panels"]] == ["red green or blue", "ship cat tree or house"]
    assert [one["name"] for one in data["colourings"]] == ["colour", "clusters of colours", "clusters of shapes"]
    assert len(data["texts"]) == len(data["panels"][1]["x"]) == 96
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(tmp_path)) == ["map.html", "map.png"]


def test_the_map_of_a_view_shows_what_its_instruction_sees(run, tmp_path):
    run("map", "-c", "things", "--out", "map.html", "--color", "colour", "--method", "pca")
    data = points(tmp_path / "map.html")
    colour = data["colourings"][0]["numbers"]

    def together(panel):
        places = list(zip(panel["x"], panel["y"], strict=True))
        near = [
            min((other for other in range(96) if other != one), key=lambda other: _far(places[one], places[other]))
            for one in range(96)
        ]
        return sum(colour[one] == colour[other] for one, other in enumerate(near)) / 96

    first, second = map(together, data["panels"])
    assert first > 0.95
    assert second < 0.7


def _far(one, other):
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2


def test_a_querys_hits_are_marked_in_each_map(run, tmp_path):
    run("map", "-c", "things", "--query", "blue cat", "--where", "year<2010", "--method", "pca", "--out", "map.html")
    data = points(tmp_path / "map.html")
    assert "query: blue cat" in data["summary"]
    by_colour, by_shape = ([data["texts"][at] for at in panel["hits"]] for panel in data["panels"])
    assert len(by_colour) == len(by_shape) == 10
    assert "blue" in by_colour[0]
    assert "cat" in by_shape[0]
    assert sum("blue" in text for text in by_colour) > sum("blue" in text for text in by_shape)


def test_of_many_points_a_sample_is_drawn_in_which_the_hits_are(run, tmp_path):
    command = ["map", "-c", "things", "--most", 50, "--method", "pca", "--out", "map.html"]
    (facts,) = run(*command, "--query", "blue cat", "--json").rows
    assert (facts["points"], facts["left_out"]) == (50, 46)
    data = points(tmp_path / "map.html")
    assert data["summary"].startswith("50 passages, a sample of 96")
    assert [len(panel["hits"]) for panel in data["panels"]] == [10, 10]
    assert "A sample: 46 more are in the collection." in data["notes"]
    run(*command)
    first = (tmp_path / "map.html").read_bytes()
    run(*command)
    assert (tmp_path / "map.html").read_bytes() == first
    run(*command, "--seed", 1)
    assert (tmp_path / "map.html").read_bytes() != first


def test_hits_are_drawn_even_where_they_are_more_than_the_sample(run):
    (facts,) = run("map", "-c", "things", "--most", 3, "--query", "cat", "--out", "map.html", "--json").rows
    assert facts["points"] >= 10


def test_documents_can_be_drawn_and_their_hits_marked(run, tmp_path):
    made = Collection.create("long", tmp_path / "r", embedder="hash", chunk_tokens=30)
    made.add([Document(f"{kind}", f"{kind} word. " * 120) for kind in ("red", "blue", "green")])
    command = ["map", "-c", "long", "--root", tmp_path / "r", "--by", "document", "--query", "blue", "--out", "m.html"]
    (facts,) = run(*command, "--json").rows
    assert (facts["points"], facts["by"]) == (3, "document")
    data = points(tmp_path / "m.html")
    assert data["noun"] == "document"
    assert data["documents"][data["panels"][0]["hits"][0]] == "blue"
    assert sorted(data["panels"][0]["hits"]) == [0, 1, 2]
    (facts,) = run(*command, "--most", 1, "--json").rows
    assert (facts["points"], facts["left_out"]) == (3, 0)  # hits are kept


def test_a_single_passage_is_a_map_too(run, tmp_path):
    assert run("map", "-c", "evil", "--out", "map.html", "--png", "map.png", "--color", "title").code == 0
    data = points(tmp_path / "map.html")
    assert data["titles"] == ["[3J<b>"]
    assert "\x1b" not in (tmp_path / "map.html").read_text()


def test_few_passages_are_flattened_by_pca(run, tmp_path):
    where = ["--where", f"year<{1990 + FEW}"]
    assert run("map", "-c", "things", "--out", "map.html", *where).code == 0
    assert points(tmp_path / "map.html")["panels"][0]["facts"][0].startswith("shows ")


# --- what is refused


@pytest.mark.parametrize("command", [["cluster"], ["map", "--out", "m.html"]], ids=["cluster", "map"])
def test_what_is_not_there_is_refused_by_name(run, tmp_path, command):
    run(*command, "-c", "nothing").refused("no collection", "nothing")
    run(*command, "-c", "things", "--view", "tone").refused("no view 'tone'", "colours, shapes")
    run(*command, "-c", "empty").refused("empty has no text")
    run(*command, "-c", "things", "--where", "colour=black").refused("no text that the filter allows")
    run(*command, "-c", "things", "--where", "colour").refused("is not key=value")
    run(*command, "-c", "things", "-n", 200).refused("96 texts do not make 200 groups")
    assert os.listdir(tmp_path) == []


def test_a_field_that_none_has_is_refused_with_those_there_are(run):
    run("cluster", "-c", "things", "--against", "kind").refused("no passage has a field 'kind'", "colour", "look")
    run("map", "-c", "things", "--color", "kind", "--out", "m.html").refused("no passage has a field 'kind'")


def test_contradictions_are_wrong_usage(run):
    run("cluster", "-c", "things", "-n", 2, "--min-size", 5).refused("not both", code=2)
    run("cluster", "-c", "things", "--out", "groups.txt").refused(".csv or .jsonl", code=2)
    run("map", "-c", "things").refused("--out", code=2)
    run("map", "-c", "things", "--out", "m.html", "--embedder", "minilm").refused("minilm made no view asked for")


@pytest.mark.parametrize("option", ["--out", "--png"])
def test_a_folder_that_is_not_there_is_refused_before_any_work(run, tmp_path, option, monkeypatch):
    monkeypatch.setattr("instructsearch.explore.atlas", None)
    others = ["--out", "m.html"] if option == "--png" else []
    run("map", "-c", "things", *others, option, "no/such/m.html").refused("no/such/m.html: no folder no/such")
    if option == "--out":
        run("cluster", "-c", "things", option, "no/such/m.csv").refused("no folder no/such")
    assert os.listdir(tmp_path) == []


def test_a_write_that_fails_half_way_leaves_the_old_page(run, tmp_path, monkeypatch):
    page = tmp_path / "map.html"
    page.write_text("the old one")

    def full(self, data):
        with open(self, "wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    run("map", "-c", "things", "--method", "pca", "--out", page).refused("No space left on device")
    assert page.read_text() == "the old one"
    assert os.listdir(tmp_path) == ["map.html"]


@pytest.mark.parametrize(
    ("command", "missing", "library"),
    [
        (["cluster"], "sklearn", "scikit-learn"),
        (["map", "--out", "m.html"], "openTSNE", "openTSNE"),
        (["map", "--out", "m.html", "--method", "pca", "--png", "m.png"], "matplotlib", "matplotlib"),
    ],
)
def test_without_the_extra_the_error_names_it(run, monkeypatch, tmp_path, command, missing, library):
    find = "instructsearch.explore.installed.find_spec"
    monkeypatch.setattr(find, lambda name: None if name == missing else name)
    run(*command, "-c", "things").refused(library, "pip install 'instructsearch[explore]'")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", ["cluster", "map"])
def test_help_loads_nothing_heavy(command):
    code = (
        "import sys; from instructsearch.cli import group\n"
        f"try: group.main(['{command}', '--help'])\nexcept SystemExit: pass\n"
        "heavy = 'numpy torch faiss sklearn scipy matplotlib openTSNE rich onnxruntime'.split()\n"
        "print('LOADED', [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout


def test_importing_explore_loads_no_library_of_the_extra():
    code = (
        "import sys, instructsearch.explore\n"
        "heavy = 'torch faiss sklearn scipy matplotlib openTSNE sqlite_utils'.split()\n"
        "print('LOADED', [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
