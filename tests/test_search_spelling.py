"""Misspelt words: read as the nearest that the collection holds, and said so; not where they are meant literally."""

import json

import pytest

from instructsearch import Collection, Document
from instructsearch.cli import _run
from instructsearch.search.spelling import closest, edits, near

TEXTS = {
    "a": "the aerodynamics of a wing in supersonic flow",
    "b": "laminar boundary layers and their equations",
    "c": "the viscosity of water; turbulent mixing",
    "d": "a cat sat on the mat with 2024 mice",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("spelling")
    Collection.create("c", root, embedder="hash").add(Document(id, text) for id, text in TEXTS.items())
    return root


@pytest.fixture
def collection(root):
    return Collection.open("c", root)


@pytest.mark.parametrize(
    ("typed", "read", "document"),
    [
        ("aerodynmics", "aerodynamics", "a"),  # a letter lost
        ("supersonnic", "supersonic", "a"),  # one too many
        ("laminer", "laminar", "b"),  # another one
        ("equatoins", "equations", "b"),  # two swapped, beyond the stem
        ("uspersonic", "supersonic", "a"),  # the first two swapped
        ("turbolent", "turbulent", "c"),
        ("vsicosiyt", "viscosity", "c"),  # two edits in a long word
    ],
)
def test_a_word_that_no_passage_has_is_read_as_the_nearest_one(collection, typed, read, document):
    (hit,) = collection.search(typed, mode="bm25", understand=True)
    assert (hit.document, hit.spelling) == (document, {typed: read})
    assert hit.to_dict()["spelling"] == {typed: read}
    assert collection.search(typed, mode="bm25") == []


@pytest.mark.parametrize(
    "typed",
    [
        "laminar",  # held
        "equation",  # another form of what is held
        "cet",  # too short to be near anything
        "2025",  # a number is itself
        "xylophone",  # near nothing
        "lamxxar",  # two edits, in a short word
    ],
)
def test_other_words_are_left_alone(collection, typed):
    assert all(not hit.spelling for hit in collection.search(f"{typed} wing", understand=True))


def test_a_deleted_document_lends_no_word(tmp_path):
    made = Collection.create("c", tmp_path, embedder="hash")
    made.add([Document("a", "laminar flow"), Document("b", "other things")])
    made.delete(["a"])
    assert made.search("laminr", mode="bm25", understand=True) == []


def test_what_was_indexed_since_is_known(tmp_path):
    made = Collection.create("c", tmp_path, embedder="hash")
    made.add([Document("a", "nothing of it")])
    assert made.search("laminr", mode="bm25", understand=True) == []
    made.add([Document("b", "laminar flow")])
    assert [hit.document for hit in made.search("laminr", mode="bm25", understand=True)] == ["b"]


def test_meaning_is_asked_with_what_was_typed(collection):
    typed = collection.search("laminr", mode="dense")
    assert [hit.score for hit in collection.search("laminr", mode="dense", understand=True)] == [
        hit.score for hit in typed
    ]


def test_the_command_line_says_so_and_literal_turns_it_off(root, capsys):
    command = ["search", "laminr equatoins", "-c", "c", "--root", str(root), "--mode", "bm25"]
    assert _run(command) == 0
    shown = capsys.readouterr()
    assert "laminr is nowhere: read as laminar" in shown.err
    assert "equatoins is nowhere: read as equations" in shown.err
    assert "laminar boundary" in shown.out
    assert _run([*command, "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["spelling"] == {"laminr": "laminar", "equatoins": "equations"}
    assert _run([*command, "--literal"]) == 0
    assert capsys.readouterr().err == "nothing found\n"


def test_more_edits_are_allowed_the_longer_a_word_is():
    assert [edits(word) for word in ("cat", "wing", "laminar", "viscosity", "mp3player", "vis_cosity")] == [
        0, 1, 1, 2, 0, 0,
    ]  # fmt: skip


def test_stems_are_held_against_as_much_of_a_word_as_they_have():
    vocabulary = [("equat", 5), ("equal", 9), ("zebra", 1), ("eq", 3)]
    assert near("equatoins", vocabulary)[0] == ("equat", 5)
    assert ("eq", 3) not in near("equatoins", vocabulary)


def test_of_equally_near_forms_the_more_common_is_taken_then_the_first():
    assert closest("laminr", [("laminas", 3), ("laminar", 3), ("lamina", 9)]) == "lamina"
    assert closest("wing", [("ring", 50), ("wind", 2)]) == "wind"
    assert closest("wing", [("wind", 2), ("wine", 2)]) == "wind"
    assert closest("wing", [("water", 2)]) is None
