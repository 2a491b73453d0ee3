"""Results worth reading: grouped by document, repetitions folded, diverse, cut at sentences, with what lies around."""

import itertools
import json

import numpy as np
import pytest

from instructsearch import Collection, Document
from instructsearch.cli import _run
from instructsearch.errors import BadQuery
from instructsearch.search.diversity import folds, marginal
from instructsearch.search.snippet import LENGTH, sentences, snippet

LONG = " ".join(
    f"Part {n} speaks of the printer." if n in (3, 8, 9) else f"Part {n} speaks of nothing at all." for n in range(12)
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    made = Collection.create("c", root, embedder="hash", chunk_tokens=8)
    made.add(
        [
            Document("long", LONG),
            Document("other", "A printer stands here."),
            Document("twin", "A printer stands here."),
            Document("near", "A printer stands right here."),
            Document("far", "Something else without it."),
        ]
    )
    return root


@pytest.fixture
def collection(root):
    return Collection.open("c", root)


# --- grouped


def test_a_document_shows_its_best_passages(collection):
    hits = collection.search("printer", mode="bm25", passages=3)
    assert len({hit.document for hit in hits}) == len(hits) == 4
    (long,) = (hit for hit in hits if hit.document == "long")
    assert len(long.passages) == 2
    shown = [long.text, *(each["text"] for each in long.passages)]
    assert all("printer" in text for text in shown) and len(set(shown)) == 3
    assert [long.score, *(each["score"] for each in long.passages)] == sorted(
        [long.score, *(each["score"] for each in long.passages)], reverse=True
    )
    assert all(LONG[each["start"] : each["end"]] == each["text"] for each in long.passages)
    assert long.to_dict()["passages"] == list(long.passages)


def test_k_counts_documents_when_passages_are_grouped(collection):
    assert [len(collection.search("printer", k=k, passages=2)) for k in (1, 2, 5, 9)] == [1, 2, 5, 5]
    alone = collection.search("printer", k=5, by_document=True)
    assert [hit.chunk for hit in alone] == [hit.chunk for hit in collection.search("printer", k=5, passages=4)]
    assert all(hit.passages == () and "passages" not in hit.to_dict() for hit in alone)


# --- folded


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_equal_texts_are_folded_into_the_first_and_told(collection, mode):
    found = collection.search("printer stands", k=20, mode=mode, fold=1)
    hits = {hit.document: hit for hit in found}
    assert "twin" not in hits and "near" in hits
    (folded,) = hits["other"].folded
    assert (folded["document"], folded["cosine"]) == ("twin", 1.0)
    assert [hit.rank for hit in found] == list(range(1, len(found) + 1))


def test_what_is_near_enough_is_folded_too(collection):
    hits = {hit.document: hit for hit in collection.search("a printer stands here", k=20, mode="dense", fold=0.8)}
    assert {each["document"] for each in hits["other"].folded} >= {"twin", "near"}
    assert all(each["cosine"] >= 0.8 for hit in hits.values() for each in hit.folded)


def test_folding_still_gives_as_many_as_are_wanted(tmp_path):
    made = Collection.create("c", tmp_path, embedder="hash")
    made.add(Document(f"same{n:03}", "the same printer") for n in range(150))
    made.add(Document(f"other{n}", f"printer of kind {n}") for n in range(5))
    hits = made.search("the same printer", k=4, fold=1)
    assert len(hits) == 4
    assert sum(len(hit.folded) for hit in hits) == 149
    assert len(made.search("the same printer", k=100, fold=1)) == 6


def test_a_row_repeats_the_nearest_of_those_kept():
    at = [np.array([np.cos(angle), np.sin(angle)]) for angle in (0.0, 0.5, 0.1, 0.45, 2.0)]
    found = folds(np.stack(at).astype(np.float32), np.cos(0.2))
    assert [kept for kept, _ in found] == [0, 1, 0, 1, 4]
    assert found[3][1] == pytest.approx(np.cos(0.05))


# --- diverse


def by_definition(scores, matrix, k, relevance):
    """Choose as Carbonell and Goldstein write it down."""
    worth = [(score - min(scores)) / (max(scores) - min(scores)) for score in scores]
    chosen = []
    while len(chosen) < k:
        values = {
            at: relevance * worth[at] - (1 - relevance) * max([0.0, *(float(matrix[at] @ matrix[b]) for b in chosen)])
            for at in range(len(scores))
            if at not in chosen
        }
        chosen.append(max(values, key=lambda at: (values[at], -at)))
    return chosen


@pytest.mark.parametrize("relevance", [0.0, 0.3, 0.7, 1.0])
def test_maximal_marginal_relevance_is_what_its_authors_say(relevance):
    source = np.random.default_rng(5)
    matrix = source.standard_normal((30, 4))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    scores = sorted(source.random(30).tolist(), reverse=True)
    found = marginal(scores, matrix.astype(np.float32), 12, relevance)
    assert [at for at, _ in found] == by_definition(scores, matrix.astype(np.float32), 12, relevance)
    assert all(one >= other - 1e-9 for (_, one), (_, other) in itertools.pairwise(found))


def test_relevance_alone_keeps_the_order_and_less_of_it_shows_other_things(collection):
    plain = [hit.document for hit in collection.search("a printer stands here", k=5, mode="dense")]
    assert [hit.document for hit in collection.search("a printer stands here", k=5, mode="dense", mmr=1)] == plain
    hits = collection.search("a printer stands here", k=3, mode="dense", mmr=0.3, explain=True)
    assert {"other", "twin"} > {hit.document for hit in hits} & {"other", "twin"}
    assert [hit.explain["stages"]["mmr"]["rank"] for hit in hits] == [1, 2, 3] == [hit.rank for hit in hits]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_a_reranker_says_what_is_relevant_before_diversity_is_weighed(collection):
    hits = collection.search("a printer stands here", k=3, rerank="overlap", mmr=1.0)
    reranked = collection.search("a printer stands here", k=3, rerank="overlap")
    assert [hit.chunk for hit in hits] == [hit.chunk for hit in reranked]


# --- snippets


def test_sentences_and_items_are_told_apart():
    text = 'One is here. "Two?" Three!\n\n- an item\n- another\n4.5 is no end\n日本語。終'
    assert [text[start:end] for start, end in sentences(text)] == [
        "One is here.", '"Two?"', "Three!", "- an item", "- another\n4.5 is no end\n日本語。", "終",
    ]  # fmt: skip


def test_a_text_without_any_end_is_cut_between_words():
    text = "word " * 500
    found = list(sentences(text))
    assert len(found) > 5
    assert "".join(text[start:end] for start, end in found).replace(" ", "") == text.replace(" ", "")
    assert all(text[start:end] == text[start:end].strip() for start, end in found)


def test_the_sentences_with_most_distinct_matches_are_shown():
    text = "Nothing here. " * 40 + "The red printer burns. It is red. " + "Nothing there. " * 40
    at = [text.index("red"), text.index("printer"), text.index("red.")]
    shown = snippet(text, [(at[0], at[0] + 3), (at[1], at[1] + 7), (at[2], at[2] + 3)])
    assert shown["text"] == text[shown["start"] : shown["end"]]
    assert len(shown["text"]) <= LENGTH
    assert "The red printer burns. It is red." in shown["text"]
    assert [shown["text"][start:end] for start, end in shown["highlights"]] == ["red", "printer", "red"]


def test_a_snippet_marks_what_the_index_matched_in_any_form(collection):
    (hit, *_) = collection.search("printers standing", mode="bm25", snippet=True)
    assert [hit.snippet["text"][start:end] for start, end in hit.snippet["highlights"]] == ["printer", "stands"]
    assert hit.text[hit.snippet["start"] : hit.snippet["end"]] == hit.snippet["text"]
    assert collection.search("printer")[0].snippet is None


def test_a_text_with_our_own_marks_in_it_is_left_unmarked(tmp_path):
    made = Collection.create("c", tmp_path, embedder="hash")
    made.add([Document("a", "an odd \ue0f8 printer")])
    (hit,) = made.search("printer", snippet=True)
    assert (hit.snippet["text"], hit.snippet["highlights"]) == ("an odd \ue0f8 printer", [])


# --- around


def test_the_passages_around_a_hit_come_in_the_order_of_the_text(collection):
    (hit,) = collection.search("Part 8 printer", k=1, mode="dense", context=2, where={"document": "long"})
    around = [*hit.context["before"], {"start": hit.start, "end": hit.end, "text": hit.text}, *hit.context["after"]]
    assert len(around) > 2
    assert [each["start"] for each in around] == sorted(each["start"] for each in around)
    assert all(LONG[each["start"] : each["end"]] == each["text"] for each in around)
    (alone,) = collection.search("else", k=1, mode="bm25", context=3)
    assert alone.context == {"before": [], "after": []}


@pytest.mark.parametrize(
    "asked", [{"passages": 0}, {"context": -1}, {"fold": 2}, {"mmr": "much"}, {"mmr": True}, {"context": 1.5}]
)
def test_options_out_of_range_are_refused(collection, asked):
    with pytest.raises(BadQuery, match=next(iter(asked))):
        collection.search("printer", **asked)


def test_the_command_line_shows_all_of_it(root, capsys):
    command = ["search", "a printer stands here", "-c", "c", "--root", str(root), "--mode", "dense"]
    assert _run([*command, "--fold", "0.8", "--passages", "2", "--context", "1", "-k", "9"]) == 0
    shown = capsys.readouterr().out
    assert "near-duplicates folded: " in shown
    assert "folded: twin, near" in shown
    assert "Part 7" in shown and shown.count("of the printer.") > 2
    assert _run([*command, "--mmr", "0.5", "--json", "-k", "2"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 2 and all({"text", "start", "end", "highlights"} == set(row["snippet"]) for row in rows)
