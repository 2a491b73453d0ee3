"""What a query's text says beside its words."""

import pytest

from instructsearch import Collection, Document
from instructsearch.asking import Asked, understand


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("how do I rotate a log", Asked("how do I rotate a log")),
        ('rotate "log  file" now', Asked("rotate log file now", phrases=("log file",))),
        ("rotate -nginx", Asked("rotate", excluded=("nginx",))),
        ('rotate -"web server" logs', Asked("rotate logs", excluded=("web server",))),
        ("printer status:open", Asked("printer", fields=(("status", "open"),))),
        ('printer owner:"Ann Lee"', Asked("printer", fields=(("owner", "Ann Lee"),))),
        ("state-of-the-art e-mail", Asked("state-of-the-art e-mail")),
        ("a - b -- c", Asked("a - b -- c")),
        ("see http://a.org/b:c and x:", Asked("see http://a.org/b:c and x:")),
        ("Re: the meeting", Asked("Re: the meeting")),
        ('an unclosed "quote', Asked('an unclosed "quote')),
        ('""', Asked('""')),
        ("-only", Asked("-only", excluded=("only",))),
    ],
)
def test_quotes_minus_and_fields_are_read_and_nothing_else(query, expected):
    assert understand(query) == expected


@pytest.mark.parametrize(
    ("query", "left", "unwanted"),
    [
        ("Aaron's profile, but don't mention Moses.", "Aaron's profile .", "Moses"),
        ("Provide an introduction to Aarhus without Denmark.", "Provide an introduction to Aarhus .", "Denmark"),
        ("strategies of the party (excluding its success) in 1948", "strategies of the party in 1948", "success"),
        ("birds of Europe except for the owls", "birds of Europe", "owls"),
        ("Freezer burn? (Exclude the role of salt)", "Freezer burn?", "role of salt"),
        ("a summary of baking but do not discuss bread", "a summary of baking", "bread"),
    ],
)
def test_what_plain_english_does_not_want_is_taken_out(query, left, unwanted):
    found = understand(query)
    assert (found.text, found.unwanted) == (left, (unwanted,))
    assert found.where() is None, "it is no filter: what was not wanted may be named in passing"


@pytest.mark.parametrize(
    "query",
    [
        "can a plane fly without wings",
        "the minus strand of viral DNA",
        "shells of shapes other than conical",
        "possibly, but not exclusively, in a distributed environment",
        "mice without a receptor are resistant",
        "how to avoid it",
        "the exception that proves the rule",
    ],
)
def test_what_only_looks_like_an_exclusion_stays(query):
    assert understand(query) == Asked(query)


def test_a_query_that_only_excludes_keeps_its_words():
    assert understand("excluding Denmark").text == "excluding Denmark"
    assert understand("excluding Denmark").unwanted == ()


@pytest.fixture
def collection(tmp_path):
    made = Collection.create("c", tmp_path, embedder="hash")
    made.add(
        [
            Document("apache", "rotate the log files of apache", metadata={"year": 2020, "kind": "guide"}),
            Document("nginx", "rotate the log files of nginx", metadata={"year": "2020"}),
            Document("apart", "the file in which the log is, to rotate", metadata={"year": 2021}),
        ]
    )
    return made


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("rotate", {"apache", "nginx", "apart"}),
        ("rotate -nginx", {"apache", "apart"}),
        ('rotate "log file"', {"apache", "nginx"}),
        ('rotate "log file" -nginx', {"apache"}),
        ("rotate year:2020", {"apache", "nginx"}),
        ("rotate kind:guide", {"apache"}),
        ("rotate nowhere:guide", {"apache", "nginx", "apart"}),
        ('rotate "file log"', set()),
    ],
)
def test_a_search_keeps_to_what_the_text_asks_for(collection, mode, query, expected):
    found = collection.search(query, mode=mode, understand=True)
    assert {hit.document for hit in found} == expected


def test_it_joins_the_callers_own_filter(collection):
    found = collection.search("rotate -nginx", where={"year": {"$gte": 2021}}, understand=True)
    assert [hit.document for hit in found] == ["apart"]


def test_a_literal_query_is_only_words(collection):
    assert len(collection.search('rotate "log file" -nginx', mode="bm25")) == 3
