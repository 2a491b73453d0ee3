"""Choosing the share of meaning against words: by known answers, cross-validated, and kept where that was asked."""

import contextlib
import json
from types import SimpleNamespace

import pytest

from instructsearch import Collection, Document, Query
from instructsearch.cli import _run
from instructsearch.evaluate.tuning import SHARES, tune

QUERIES = {f"q{n:02}": f"text {n}" for n in range(20)}
QRELS = {query: {"right": 1} for query in QUERIES}


def engine(quality):
    """Return an engine whose right answer stands at the rank that `quality` gives for a query and a way of fusing."""

    def search(queries):
        for query in queries:
            rank = quality(query.text, query.fusion)
            documents = [f"wrong {at}" for at in range(9)]
            documents.insert(rank - 1, "right")
            yield [SimpleNamespace(document=one, rank=at) for at, one in enumerate(documents, 1)]

    return search


def test_the_share_with_the_best_answers_is_chosen_and_its_gain_told():
    found = tune(engine(lambda text, way: 1 if way == 0.7 else 2), QUERIES, QRELS, views=["v"])
    assert found.chosen == 0.7
    assert [share for share, _ in found.curve] == list(SHARES)
    assert found.by_rank.value == pytest.approx(0.63093, abs=1e-4)
    assert found.gain.difference == pytest.approx(1 - 0.63093, abs=1e-4)
    assert (found.gain.better, found.clear) == (20, True)


def test_of_equal_shares_the_nearest_to_one_half_is_chosen_and_nothing_is_gained():
    found = tune(engine(lambda text, way: 1), QUERIES, QRELS, views=["v"])
    assert (found.chosen, found.gain.difference, found.clear) == (0.5, 0.0, False)


def test_what_suits_each_query_alone_is_no_gain_on_others():
    """Each query has a share of its own that is best for it and worse than fusion by rank for every other."""
    own = {text: SHARES[at] for at, text in enumerate(QUERIES.values())}
    found = tune(
        engine(lambda text, way: 2 if way == "rrf" else 1 if way == own[text] else 3), QUERIES, QRELS, views=[]
    )
    best = max(value.value for _, value in found.curve)
    assert best > 0.5
    assert found.gain.difference < 0


def test_every_text_is_asked_in_one_go_so_that_it_is_embedded_once():
    asked = []

    def search(queries):
        asked.append(list(queries))
        return engine(lambda text, way: 1)(queries)

    tune(search, QUERIES, QRELS, views=["a", "b"], k=5)
    (queries,) = asked
    assert len(queries) == len(QUERIES) * (len(SHARES) + 1)
    assert {(query.views, query.k, query.mode, query.by_document) for query in queries} == {
        (("a", "b"), 5, "hybrid", True)
    }


def test_too_few_queries_are_refused():
    with pytest.raises(ValueError, match="4 judged queries are too few"):
        tune(engine(lambda text, way: 1), dict(list(QUERIES.items())[:4]), QRELS, views=[])


@pytest.fixture
def place(tmp_path):
    texts = ["red car", "blue car", "red ship", "blue ship", "green tree", "tall tree"]
    made = Collection.create("c", tmp_path / "indexes", embedder="hash")
    made.add(Document(f"d{n}", text) for n, text in enumerate(texts))
    rows = [{"_id": f"q{n}", "text": text} for n, text in enumerate(texts)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "qrels.tsv").write_text("".join(f"q{n}\td{n}\t1\n" for n in range(len(texts))))
    with contextlib.chdir(tmp_path):
        yield tmp_path


COMMAND = ["eval", "-c", "c", "--queries", "q.jsonl", "--qrels", "qrels.tsv", "--tune"]


def test_the_command_tells_the_curve_and_keeps_nothing_unless_told(place, capsys):
    assert _run(COMMAND) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 1 + len(SHARES) + 1 + 1 + 2
    assert "search --fusion 0.5 uses it; --save keeps it" in shown.err
    assert "may be chance" in shown.err
    assert Collection.open("c").status()["fusion"] == "rrf"
    assert _run([*COMMAND, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["fusion"] for row in rows[:-2]] == [*SHARES, "rrf"]
    assert (rows[-2]["tuned"], rows[-1]["saved"]) == (0.5, False)


def test_what_is_kept_is_what_searches_use_that_do_not_say(place, capsys):
    collection = Collection.open("c")
    by_rank = collection.search("red car")
    assert _run([*COMMAND, "--save"]) == 0
    assert "searches of c use it from now on" in capsys.readouterr().err
    assert collection.status()["fusion"] == 0.5
    asked = [Query("red car"), Query("red car", fusion=0.5), Query("red car", fusion="rrf")]
    kept, said, other = (list(hits) for hits in collection.search_many(asked))
    assert kept == said != by_rank
    assert other == by_rank
    collection.export("out")
    assert Collection.import_("out", "copy").status()["fusion"] == 0.5
    collection.set_fusion(None)
    assert collection.search("red car") == by_rank


@pytest.mark.parametrize("more", [["--mode", "dense"], ["--report", "x.html"], ["--paraphrase", "x"]])
def test_what_does_not_go_with_tuning_is_refused(place, more):
    assert _run([*COMMAND, *more]) == 2
    assert _run([*COMMAND[:-1], "--save"]) == 2
