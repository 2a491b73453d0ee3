"""`search --rerank`, through the command line and in Python: the order, what a hit says of it, and what is refused."""

import contextlib
import itertools
import json
import threading

import pytest

from instructsearch import Collection, Document, Query, plugins
from instructsearch.cli import _run
from instructsearch.errors import BadQuery, ModelDamaged, ModelNotFound
from instructsearch.rerank import RerankProfile, load, reorder
from instructsearch.rerank.overlap import OverlapReranker

ROWS = [
    {"_id": "a", "text": "red car"},
    {"_id": "b", "text": "red ship"},
    {"_id": "c", "text": "blue car"},
    {"_id": "d", "text": "blue ship"},
    {"_id": "e", "text": "green tree", "title": "a tall plant"},
]
CONTRACT = ["rank", "score", "document", "chunk", "title", "text", "start", "end", "source", "metadata", "view"]


class Done:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def rows(self):
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def found(self):
        return [row["document"] for row in self.rows]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rerank")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    many = [
        {"_id": f"{n:03}", "text": f"word{n} shared thing" + (" wanted" if n in (40, 70) else "")} for n in range(90)
    ]
    (folder / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in many))
    with contextlib.chdir(folder):
        for name in ("rows", "many"):
            assert _run(["index", f"{name}.jsonl", "-c", name, "--embedder", "hash", "--root", "indexes"]) == 0
        view = ["views", "add", "colour", "-c", "rows", "--root", "indexes", "--instruction", "blue"]
        assert _run([*view, "--query-instruction", "blue"]) == 0
    return folder


@pytest.fixture
def run(place, monkeypatch, capsys):
    monkeypatch.chdir(place)

    def call(*arguments):
        capsys.readouterr()
        code = _run([*map(str, arguments), "--root", "indexes"])
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def collection(place):
    return Collection.open("rows", place / "indexes")


@pytest.fixture
def mine(monkeypatch):
    """A reranker of one's own, registered as a plugin: it likes long passages and knows no instruction."""
    monkeypatch.setattr(plugins, "_registered", {})

    class Longest:
        takes_instruction = False

        def __init__(self, profile, *, device="auto"):
            self.name = profile.name
            made.append((profile, device))

        def score(self, query, instruction, texts):
            seen.append((query, instruction, tuple(texts)))
            return [float(len(text)) for text in texts]

    made, seen = [], []
    plugins.register("rerankers", "longest", Longest)
    return made, seen


# --- the command line


def test_the_reranker_decides_the_order_and_a_hit_says_what_it_said(run):
    done = run("search", "red ship", "-c", "rows", "--rerank", "overlap", "--instruction", "blue", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.found[:2] == ["d", "c"]
    first = done.rows[0]
    assert list(first)[: len(CONTRACT)] == CONTRACT
    told = first["rerank"]
    assert (told["name"], told["instruction"], told["takes_instruction"]) == ("overlap", "blue", True)
    assert told["score"] == first["score"] == pytest.approx(0.5 + 4.0, abs=0.01)
    assert {row["rerank"]["rank"] for row in done.rows} == set(range(1, len(done.rows) + 1))
    assert [row["rank"] for row in done.rows] == list(range(1, len(done.rows) + 1))


def test_without_the_option_a_hit_says_nothing_of_reranking(run):
    assert all("rerank" not in row for row in run("search", "red ship", "-c", "rows", "--json").rows)


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_every_mode_is_reranked(run, mode):
    done = run("search", "red ship", "-c", "rows", "--mode", mode, "--rerank", "overlap", "--json")
    assert done.found[0] == "b"
    assert [row["score"] for row in done.rows] == sorted((row["score"] for row in done.rows), reverse=True)


def test_the_views_own_query_instruction_reaches_the_reranker_unless_another_is_given(run):
    viewed = ["search", "red ship", "-c", "rows", "--view", "colour", "--rerank", "overlap", "--json"]
    assert run(*viewed).rows[0]["rerank"]["instruction"] == "blue"
    assert run(*viewed).found[0] == "d"
    assert run(*viewed, "--instruction", "").found[0] == "b"
    assert run(*viewed, "--instruction", "green").found[0] == "e"


def test_words_of_the_title_count_as_they_do_in_the_index(run):
    done = run("search", "tall plant ship", "-c", "rows", "--rerank", "overlap", "--json")
    assert done.found[0] == "e"


@pytest.mark.parametrize("k", [1, 3, 10])
def test_fewer_hits_are_the_first_of_more(run, k):
    every = run("search", "shared wanted", "-c", "many", "-k", 50, "--rerank", "overlap", "--json").found
    assert run("search", "shared wanted", "-c", "many", "-k", k, "--rerank", "overlap", "--json").found == every[:k]


def test_what_lies_behind_the_depth_follows_in_the_first_stages_order(run):
    plain = run("search", "shared thing", "-c", "many", "-k", 80, "--json").found
    done = run("search", "shared thing", "-c", "many", "-k", 80, "--rerank", "overlap", "--json")
    assert done.found[50:] == plain[50:]
    assert set(done.found[:50]) == set(plain[:50])
    assert [row["score"] for row in done.rows] == sorted((row["score"] for row in done.rows), reverse=True)
    assert ["rerank" in row for row in done.rows] == [True] * 50 + [False] * 30


def test_the_same_search_twice_gives_the_same_order_and_ties_stay_as_they_were(run):
    asked = ["search", "nothing of this", "-c", "many", "-k", 60, "--rerank", "overlap", "--json"]
    assert run(*asked).out == run(*asked).out
    plain = run("search", "nothing of this", "-c", "many", "-k", 50, "--json").found
    scores = {row["document"]: row["score"] for row in run(*asked).rows[:50]}
    ranked = [row["document"] for row in run(*asked).rows[:50]]
    for one, other in itertools.pairwise(ranked):
        assert scores[one] > scores[other] or plain.index(one) < plain.index(other)


def test_the_name_may_be_left_out_wherever_the_option_stands(run, monkeypatch):
    monkeypatch.setattr("instructsearch.rerank.DEFAULT", "overlap")
    expected = run("search", "red ship", "-c", "rows", "--rerank", "overlap", "--json").out
    assert run("search", "red ship", "-c", "rows", "--json", "--rerank").out == expected
    assert run("search", "-c", "rows", "--json", "--rerank", "red ship").out == expected
    assert run("search", "-c", "rows", "--json", "--rerank=overlap", "red ship").out == expected


def test_a_reranker_without_a_text_is_wrong_usage(run):
    assert run("search", "-c", "rows", "--rerank", "overlap").code == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("overlp", ["no reranker called 'overlp'", "did you mean overlap?"]),
        ("no/such-model", ["no/such-model", "HF_HUB_OFFLINE"]),
        ("jina-reranker-v2", ["cannot be loaded", "only as code in its repository"]),
        ("late:nothing", ["no embedder called 'nothing'"]),
    ],
)
def test_a_reranker_that_is_not_there_is_one_line_and_exit_code_1(run, name, words):
    done = run("search", "red", "-c", "rows", "--rerank", name)
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert all(word in done.err for word in words)


def test_a_run_of_queries_is_reranked_by_document(run, place):
    (place / "queries.jsonl").write_text('{"_id": "1", "text": "red ship"}\n{"_id": "2", "text": "blue car"}\n')
    done = run("search", "--queries", "queries.jsonl", "--run", "out.trec", "-c", "rows", "--rerank", "overlap")
    assert done.code == 0
    lines = [line.split() for line in (place / "out.trec").read_text().splitlines()]
    best = {query: document for query, _, document, rank, _, _ in lines if rank == "1"}
    assert best == {"1": "b", "2": "c"}
    assert {line[-1] for line in lines} == {"instructsearch-hybrid-rerank"}


# --- Python


def test_python_reranks_as_the_command_line_does(collection):
    hits = collection.search("red ship", rerank="overlap")
    assert hits == collection.search(Query("red ship", rerank="overlap"))
    assert hits[0].document == "b"
    assert hits[0].to_dict()["rerank"]["name"] == "overlap"


def test_a_reranker_is_loaded_once_a_collection_and_asked_once_a_query(collection, mine):
    made, seen = mine
    queries = [Query("red", rerank="longest"), Query("blue"), Query("car", rerank="longest")]
    first, plain, third = collection.search_many(queries)
    assert len(made) == 1
    assert made[0] == (RerankProfile("longest", kind="longest"), "auto")
    assert [query for query, _, _ in seen] == ["red", "car"]
    assert "a tall plant\ngreen tree" in seen[0][2]
    assert first[0].document == third[0].document == "e"
    assert plain[0].rerank is None


def test_a_hit_says_that_its_reranker_takes_no_instruction(collection, mine):
    hit = collection.search("red", instruction="blue", rerank="longest")[0]
    assert (hit.rerank["instruction"], hit.rerank["takes_instruction"]) == ("", False)


def test_a_writer_is_not_kept_waiting_by_a_reranker(place, monkeypatch):
    monkeypatch.setattr(plugins, "_registered", {})
    collection = Collection.create("busy", place / "indexes", embedder="hash")
    collection.add([Document("a", "red car"), Document("b", "red ship")])
    asked, wrote = threading.Event(), threading.Event()

    class Slow(OverlapReranker):
        def score(self, query, instruction, texts):
            asked.set()
            assert wrote.wait(30)
            return super().score(query, instruction, texts)

    plugins.register("rerankers", "slow", Slow)
    found = []
    thread = threading.Thread(target=lambda: found.extend(collection.search("red ship", rerank="slow")))
    thread.start()
    assert asked.wait(30)
    Collection.open("busy", place / "indexes").add([Document("c", "blue ship")])
    wrote.set()
    thread.join()
    assert [hit.document for hit in found] == ["b", "a"]


@pytest.mark.parametrize("name", ["", 3, True])
def test_what_names_no_reranker_is_refused(collection, name):
    with pytest.raises(BadQuery, match="must name a reranker"):
        collection.search(Query("red", rerank=name))


def test_an_unknown_reranker_is_refused_before_anything_is_searched(collection, monkeypatch):
    monkeypatch.setattr(type(collection._answerer), "_embedded", lambda *_: pytest.fail("it was searched"))
    with pytest.raises(ModelNotFound):
        collection.search("red", rerank="overlp")


@pytest.mark.parametrize("scores", [[1.0], [float("nan")] * 5, [float("inf")] * 5])
def test_scores_that_are_none_are_never_an_order(collection, monkeypatch, scores):
    monkeypatch.setattr(OverlapReranker, "score", lambda *_: scores)
    with pytest.raises(ModelDamaged, match="overlap"):
        collection.search("red", rerank="overlap")


# --- weighed against the first stage


def test_a_weight_of_one_is_the_rerankers_order_alone():
    assert reorder.blend([3.0, 2.0, 1.0], [5.0, 7.0, 6.0], 1.0) == [5.0, 7.0, 6.0]


def test_a_smaller_weight_mixes_both_whatever_their_units():
    mixed = reorder.blend([300.0, 200.0, 100.0], [0.5, 0.7, 0.6], 0.25)
    assert mixed == pytest.approx([0.75, 0.375 + 0.25, 0.125])
    assert reorder.blend([3.0, 2.0, 1.0], [-5.0, 15.0, 5.0], 0.25) == pytest.approx(mixed)


def test_equal_scores_of_one_stage_leave_the_order_to_the_other():
    assert reorder.blend([1.0, 1.0], [2.0, 3.0], 0.5) == [0.0, 0.5]
    assert reorder.blend([], [], 0.5) == []


def test_a_profiles_weight_is_what_a_search_goes_by(collection, place):
    (place / "gentle.toml").write_text('base = "overlap"\nweight = 0.2\n')
    plain = [hit.document for hit in collection.search("blue ship", mode="bm25")]
    hits = collection.search("blue ship", mode="bm25", instruction="car", rerank=str(place / "gentle.toml"))
    assert hits[0].document == plain[0]
    assert collection.search("blue ship", mode="bm25", instruction="car", rerank="overlap")[0].document == "c"
    assert 0 <= hits[-1].score <= hits[0].score <= 1


# --- the toy


def test_overlap_is_a_function_of_words_that_anyone_can_compute():
    score = load("overlap").score
    assert score("red ship", "", ["Red SHIP!", "red", "tree"]) == pytest.approx([1, 0.5, 0], abs=0.001)
    assert score("red", "blue car", ["blue", "car blue", "red"]) == pytest.approx([2, 4, 1], abs=0.001)
    assert score("", "", ["red"]) == [0]
    assert score("red", "", []) == []
    long, short = score("red", "", ["red and more", "red"])
    assert long < short
