"""`explain`: what became of a hit at each stage, through Python and the command line, and nothing where not asked."""

import json

import pytest

from instructsearch import Collection, Document, Query
from instructsearch.cli import _run

STAGES = {"rank", "score"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("explain")
    made = Collection.create("tickets", root, embedder="hash")
    made.add(
        Document(f"t{n}", f"ticket {n} about the {thing}", metadata={"year": 2000 + n})
        for n, thing in enumerate(["printer", "screen", "printer cable", "keyboard", "mouse"])
    )
    made.add_view("tone", instruction="calm or furious")
    return root


@pytest.fixture
def tickets(root):
    return Collection.open("tickets", root)


def test_a_hit_says_nothing_of_itself_unless_asked(tickets):
    assert all(hit.explain is None and "explain" not in hit.to_dict() for hit in tickets.search("printer"))


def test_each_stage_that_saw_a_passage_gives_its_rank_and_score(tickets):
    hits = tickets.search("printer", view=["default", "tone"], explain=True)
    by_name = {name: [] for name in ("default", "tone", "bm25", "fusion")}
    for hit in hits:
        stages = hit.explain["stages"]
        assert set(stages) == {*hit.ranks, "fusion"}
        assert {name: one["rank"] for name, one in stages.items() if name != "fusion"} == dict(hit.ranks)
        assert stages["fusion"] == {"rank": hit.rank, "score": hit.score}
        assert hit.score == pytest.approx(sum(1 / (60 + rank) for rank in hit.ranks.values()))
        for name, one in stages.items():
            assert set(one) == STAGES
            by_name[name].append((one["rank"], one["score"]))
    assert len(by_name["bm25"]) == 2 and len(by_name["default"]) == 5
    for found in by_name.values():
        scores = [score for _, score in sorted(found)]
        assert scores == sorted(scores, reverse=True)


def test_the_scores_told_are_those_of_the_lists_alone(tickets):
    alone = {hit.document: hit.score for hit in tickets.search("printer", mode="dense")}
    words = {hit.document: hit.score for hit in tickets.search("printer", mode="bm25")}
    for hit in tickets.search("printer", explain=True):
        assert hit.explain["stages"]["default"]["score"] == alone[hit.document]
        assert hit.explain["stages"].get("bm25", {}).get("score") == words.get(hit.document)


def test_one_list_is_not_fused(tickets):
    (hit, *_) = tickets.search("printer", mode="bm25", explain=True)
    assert hit.explain["stages"] == {"bm25": {"rank": 1, "score": hit.score}}
    assert hit.explain["index"] == {} == hit.explain["instructions"]
    assert "embed" not in hit.explain["milliseconds"]


def test_a_reranker_is_a_stage_of_its_own(tickets):
    hits = tickets.search("cable of the printer", rerank="overlap", explain=True)
    assert [hit.explain["stages"]["rerank"]["rank"] for hit in hits] == [1, 2, 3, 4, 5]
    for hit in hits:
        assert hit.explain["stages"]["rerank"]["score"] == hit.rerank["score"]
        assert hit.explain["stages"]["fusion"]["rank"] == hit.rerank["rank"]


def test_instructions_filters_index_and_times_are_told(tickets):
    query = Query("screen year:2001", "by colour", ("tone",), understand=True, explain=True)
    (hit,) = next(tickets.search_many([query]))
    told = hit.explain
    assert told["instructions"] == {"tone": {"document": "calm or furious", "query": "by colour"}}
    assert told["filters"] == {"$and": [{"$or": [{"year": "2001"}, {"year": 2001}]}]}
    assert told["index"] == {"tone": {"spec": "Flat", "exact": True, "vectors": 5}}
    times = told["milliseconds"]
    assert {"embed", "tone", "bm25", "fusion", "total"} <= set(times)
    assert times["total"] == pytest.approx(sum(times.values()) - times["total"], abs=0.01)
    assert all(spent >= 0 for spent in times.values())
    json.dumps(hit.to_dict())


def test_an_approximate_index_is_called_so_and_a_small_filter_makes_it_exact(tmp_path):
    made = Collection.create("many", tmp_path, embedder="hash", spec="HNSW16")
    made.add(Document(f"d{n:04}", f"text number {n}", metadata={"n": n}) for n in range(1500))
    (hit,) = made.search("number 7", k=1, explain=True)
    assert hit.explain["index"] == {"default": {"spec": "HNSW16,Flat", "exact": False, "vectors": 1500}}
    (hit,) = made.search("number 7", k=1, where={"n": {"$lt": 20}}, explain=True)
    assert hit.explain["index"]["default"]["exact"] is True


def test_the_command_line_tells_it_below_each_hit_and_in_json(root, capsys):
    command = ["search", "printer", "-c", "tickets", "--root", str(root), "--explain", "--rerank", "overlap"]
    assert _run([*command, "--json"]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[0])
    assert set(row["explain"]) == {"stages", "instructions", "filters", "index", "milliseconds"}
    assert _run([*command, "--where", "year>=2000", "-k", "1"]) == 0
    shown = capsys.readouterr().out
    for part in ("default    rank 1", "Flat, exact of 5 vectors", "bm25 ", "fusion ", "rerank ", "total ", " ms"):
        assert part in shown
    assert 'filter {"$and": [{"year": {"$gte": 2000}}]}' in shown
