"""Fusion by rank and by score: what each list counts, and that neither depth nor order of indexing changes it."""

import json

import pytest

from instructsearch import Collection, Document, Query
from instructsearch.cli import _run
from instructsearch.errors import BadQuery
from instructsearch.search.fusion import BM25, RRF_CONSTANT, Fusion, fuse

LISTS = {"a": [(1, 0.9), (2, 0.5), (3, 0.1)], "b": [(3, 0.8), (1, 0.6)], BM25: [(2, 8.0), (4, 2.0)]}
OTHERS = {"a": {4: -0.2}, "b": {2: 0.0, 4: 0.2}, BM25: {}}
SCORERS = {name: (lambda contents, known=known: known) for name, known in OTHERS.items()}
WORDS = ["printer", "fire", "paper", "screen", "cable", "mouse"]


def scores(found):
    return {one.content: one.score for one in found}


def test_by_rank_every_list_counts_the_same_unless_weighted():
    found = scores(fuse(LISTS))
    assert found[1] == pytest.approx(1 / (RRF_CONSTANT + 1) + 1 / (RRF_CONSTANT + 2))
    heavy = scores(fuse(LISTS, Fusion(weights={"b": 3.0})))
    assert heavy[3] - found[3] == pytest.approx(2 / (RRF_CONSTANT + 1))
    assert heavy[2] == found[2]


def test_by_score_each_list_is_scaled_from_its_least_to_its_most():
    found = scores(fuse(LISTS, Fusion(0.6), SCORERS))
    assert found[1] == pytest.approx(0.3 * 1.9 / 1.9 + 0.3 * 1.6 / 1.8)
    assert found[2] == pytest.approx(0.3 * 1.5 / 1.9 + 0.3 * 1.0 / 1.8 + 0.4 * 1)
    assert found[4] == pytest.approx(0.3 * 0.8 / 1.9 + 0.3 * 1.2 / 1.8 + 0.4 * 2 / 8)
    weighted = scores(fuse(LISTS, Fusion(0.6, {"a": 2.0}), SCORERS))
    assert weighted[1] == pytest.approx(0.4 * 1 + 0.2 * 1.6 / 1.8)


def test_all_for_meaning_or_all_for_words_ranks_as_that_list_alone():
    dense = {name: LISTS[name] for name in ("a", BM25)}
    assert [one.content for one in fuse(dense, Fusion(1.0), SCORERS)] == [1, 2, 3, 4]
    assert [one.content for one in fuse(dense, Fusion(0.0), SCORERS)][:2] == [2, 4]


def test_without_the_other_kind_of_list_the_share_does_not_matter():
    views = {name: LISTS[name] for name in ("a", "b")}
    for share in (0.0, 0.3, 1.0):
        assert scores(fuse(views, Fusion(share), SCORERS))[1] == pytest.approx(0.5 + 0.5 * 1.6 / 1.8)
        assert scores(fuse({BM25: LISTS[BM25]}, Fusion(share))) == {2: 8.0, 4: 2.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("fusion")
    made = Collection.create("c", root, embedder="hash")
    made.add(Document(f"d{n:03}", " ".join(WORDS[: 1 + n % 6]) + f" number {n}") for n in range(300))
    made.add_view("tone", instruction="calm or furious")
    return root


@pytest.fixture
def collection(root):
    return Collection.open("c", root)


@pytest.mark.parametrize("fusion", ["rrf", 0.0, 0.4, 1.0])
def test_the_order_does_not_depend_on_how_many_are_wanted(collection, fusion):
    asked = {"fusion": fusion, "view": ["default", "tone"]}
    deep = [hit.chunk for hit in collection.search("printer fire paper", k=90, **asked)]
    for k in (1, 7, 40):
        assert [hit.chunk for hit in collection.search("printer fire paper", k=k, **asked)] == deep[:k]


@pytest.mark.parametrize("fusion", ["rrf", 0.4])
@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_the_same_query_twice_gives_the_same(collection, root, mode, fusion):
    query = Query("printer fire paper", k=200, mode=mode, fusion=fusion)
    first = [hit.to_dict() for hit in next(collection.search_many([query]))]
    assert [hit.to_dict() for hit in next(collection.search_many([query]))] == first
    assert [hit.to_dict() for hit in next(Collection.open("c", root).search_many([query]))] == first


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_ties_are_broken_by_document_id_whatever_the_order_of_indexing(tmp_path, mode):
    names = [f"d{n:02}" for n in range(30)]
    found = []
    for at, order in enumerate((names, names[::-1], names[15:] + names[:15])):
        made = Collection.create(f"c{at}", tmp_path, embedder="hash")
        for name in order:
            made.add([Document(name, "the same words", title="")])
        found.append([hit.document for hit in made.search("same words", k=20, mode=mode)])
    assert found == [names[:20]] * 3


def test_a_share_of_one_scores_what_dense_search_does_in_its_order(collection):
    alone = [hit.chunk for hit in collection.search("printer fire", k=20, mode="dense")]
    assert [hit.chunk for hit in collection.search("printer fire", k=20, fusion=1.0)] == alone


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"fusion": 1.5}, "from 0 to 1, or 'rrf'"),
        ({"fusion": "best"}, "from 0 to 1, or 'rrf'"),
        ({"fusion": True}, "from 0 to 1"),
        ({"weights": {"tone": 2}}, "'tone', which is not searched; these are: default, bm25"),
        ({"weights": {"default": 0}}, "above 0"),
        ({"weights": {"default": float("nan")}}, "above 0"),
        ({"weights": {"bm25": 2}, "fusion": 0.5}, "says already what bm25 counts"),
    ],
)
def test_what_cannot_be_fused_so_is_refused(collection, asked, words):
    with pytest.raises(BadQuery, match=words):
        collection.search("printer", **asked)


def test_the_command_line_takes_a_share_and_weights(root, collection, capsys):
    command = [
        "search",
        "printer fire",
        "-c",
        "c",
        "--root",
        str(root),
        "--json",
        "--view",
        "default",
        "--view",
        "tone",
    ]
    assert _run([*command, "--fusion", "0.3", "--weight", "tone=2.5"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    asked = Query("printer fire", None, ("default", "tone"), fusion=0.3, weights={"tone": 2.5})
    assert [row["score"] for row in rows] == [hit.score for hit in next(collection.search_many([asked]))]
    assert _run([*command, "--fusion", "none"]) == 2
    assert _run([*command, "--weight", "tone"]) == 2
    assert _run([*command, "--weight", "moods=2"]) == 1
