"""The records: canonical fingerprints, INSTRUCTOR's template, and hits as plain data."""

import dataclasses
import hashlib
import json

import pytest

from instructsearch.records import Chunk, Document, Hit, Instruction, Mark, Query, content, digest, fingerprint

HIT = Hit(1, 0.5, "a", 7, "Title", "text", 3, 7, "a.md", {"year": 2020}, "v", {"v": {"document": "x", "query": "y"}})

GOLDEN_FACTS = "19ec9ba48eb2936b17e3ada9fd529824bb753171ee81d67e39eabd587171079b"
GOLDEN_CHUNK = "d7937c5bc5ab03f704ceb7c6e58e245b35dc46f4b854dfaad00d7c0dc2193c60"
GOLDEN_DOCUMENT = "e6f63d055a96895a5754e725f462891ff67cb29cfe50c4f26bbc4907716b79bb"


# --- fingerprints: changing one of these values orphans every vector stored under it


@pytest.mark.parametrize(
    ("facts", "canonical"),
    [
        ({"b": 1, "a": [True, None, 1.5]}, '{"a":[true,null,1.5],"b":1}'),
        ({"ü": "😀"}, '{"ü":"😀"}'),
        ([], "[]"),
    ],
)
def test_a_fingerprint_is_the_sha256_of_canonical_json(facts, canonical):
    assert fingerprint(facts) == hashlib.sha256(canonical.encode()).hexdigest()


def test_fingerprints_are_what_they_always_were():
    assert fingerprint({"name": "minilm", "dim": 384}) == GOLDEN_FACTS
    assert digest("Title", "Text").hex() == GOLDEN_CHUNK
    marks = (Mark(0, "page", 1),)
    assert Document("k", "Text", "Title", {"year": 2020, "ü": None}, "markdown", marks).digest == GOLDEN_DOCUMENT


def test_equal_facts_have_equal_fingerprints_in_any_order_and_others_do_not():
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})
    assert len({fingerprint(facts) for facts in (1, "1", True, [1], {"1": 1}, 1.5, None)}) == 7


def test_what_is_no_json_has_no_fingerprint():
    for facts in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            fingerprint(facts)
    assert len(fingerprint("\ud800")) == 64


# --- instructions


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (("Science", "document", "retrieval"), "Represent the Science document for retrieval:"),
        (("", "sentence", ""), "Represent the sentence:"),
        (("Medicine", "title", ""), "Represent the Medicine title:"),
        (
            ("", "question", "retrieving supporting documents"),
            "Represent the question for retrieving supporting documents:",
        ),
        ((" Financial ", " statement ", " "), "Represent the Financial statement:"),
    ],
)
def test_the_three_fields_of_instructor_are_rendered_by_its_template(fields, text):
    domain, text_type, objective = fields
    assert Instruction.of(text_type, domain=domain, objective=objective) == Instruction(text)


def test_an_empty_instruction_is_none():
    assert not Instruction()
    assert not Instruction("", "named")
    assert Instruction("by tone")


# --- documents, chunks, hits


@pytest.mark.parametrize(
    "change",
    [{"text": "x"}, {"title": "x"}, {"metadata": {"a": 2}}, {"format": "markdown"}, {"marks": (Mark(0, "page", 2),)}],
    ids=lambda change: next(iter(change)),
)
def test_a_documents_digest_moves_with_all_that_is_stored(change):
    document = Document("k", "text", "title", {"a": 1}, "text", (Mark(0, "page", 1),), "here.md")
    assert dataclasses.replace(document, **change).digest != document.digest
    assert dataclasses.replace(document, key="other", source="there.md").digest == document.digest


def test_a_chunk_is_embedded_with_its_context():
    assert Chunk(0, 0, 4, "text", "Title").content == content("Title", "text") == "Title\ntext"
    assert Chunk(0, 0, 4, "text").content == "text"
    assert Chunk(0, 0, 4, "text", "Title").digest == Chunk(3, 8, 12, "text", "Title").digest
    assert digest("Title", "text") != digest("", "Title\ntext")


def test_a_hit_is_plain_data_with_the_contracts_fields_first():
    data = HIT.to_dict()
    assert list(data)[:11] == [
        *("rank", "score", "document", "chunk", "title", "text", "start", "end", "source", "metadata", "view"),
    ]
    assert json.loads(json.dumps(data)) == data
    assert Hit(**data) == HIT


@pytest.mark.parametrize("record", [Instruction("x"), Mark(0, "page", 1), Document("k", "t"), Query("q"), HIT])
def test_records_are_frozen(record):
    name = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, name, None)
