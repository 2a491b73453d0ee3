"""Views: made of the stored chunks, added, dropped and made anew singly, refused by name where they do not fit."""

import shutil

import pytest
from corpora import LONG_AGO, MODES, counted, fates, found, made, reopened, told, write

from instructsearch import Collection, embed
from instructsearch.embed.hashed import HashEmbedder
from instructsearch.errors import (
    BadIndex,
    BadQuery,
    CollectionDamaged,
    CollectionExists,
    TooLong,
    ViewExists,
    ViewMismatch,
    ViewNotFound,
)
from instructsearch.records import Document

COLOURS = "colour: red blue green?"
ANIMALS = "animal: horse mouse whale?"
TEXTS = [f"the {colour} {animal}" for colour in ("red", "blue", "green") for animal in ("horse", "mouse", "whale")]


@pytest.fixture(autouse=True)
def _nothing_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def collection(tmp_path):
    collection = made(tmp_path)
    for number, text in enumerate(TEXTS):
        write(tmp_path / "docs" / f"{number}.txt", text)
    collection.index([tmp_path / "docs"])
    return collection


def profile(path, **facts):
    """Write a profile of the hash embedder that is not built in."""
    body = {"base": "hash", "model": "none", **facts}
    path.write_text("".join(f"{name} = {value!r}\n" for name, value in body.items()))
    return str(path)


def test_a_view_added_later_reads_no_file(collection, tmp_path, monkeypatch):
    shutil.rmtree(tmp_path / "docs")
    with counted(monkeypatch) as embedded:
        assert collection.add_view("colour", instruction=COLOURS) == 9
        assert collection.add_view("animal", instruction=ANIMALS) == 9
    assert sorted(embedded) == sorted((which, text) for which in (COLOURS, ANIMALS) for text in TEXTS)
    assert [row.name for row in collection.views()] == ["default", "colour", "animal"]


def test_each_view_answers_its_own_question(collection):
    collection.add_view("colour", instruction=COLOURS)
    collection.add_view("animal", instruction=ANIMALS)
    by_colour = collection.search("a red whale", view="colour", mode="dense", k=3)
    by_animal = collection.search("a red whale", view="animal", mode="dense", k=3)
    assert {hit.text.split()[1] for hit in by_colour} == {"red"}
    assert {hit.text.split()[2] for hit in by_animal} == {"whale"}
    assert {hit.view for hit in by_colour} == {"colour"}
    assert by_colour[0].instructions == {"colour": {"document": COLOURS, "query": COLOURS}}


def test_the_instruction_of_a_query_is_the_views_unless_given(collection):
    collection.add_view("colour", instruction=COLOURS, query_instruction="ask: red?")

    def asked(**options):
        return collection.search("red", view="colour", **options)[0].instructions["colour"]["query"]

    assert asked() == "ask: red?"
    assert asked(instruction="another one") == "another one"
    assert asked(instruction="") == ""


def test_views_are_all_kept_in_step_by_a_sync(collection, tmp_path):
    collection.add_view("colour", instruction=COLOURS)
    (tmp_path / "docs" / "0.txt").unlink()
    write(tmp_path / "docs" / "1.txt", "the purple walrus", at=LONG_AGO + 1)
    report = collection.index([tmp_path / "docs"])
    assert fates(report) == {"updated": 1, "unchanged": 7, "deleted": 1}
    assert report.embedded == {"default": 1, "colour": 1}
    for view in ("default", "colour"):
        hits = collection.search("purple walrus horse", view=view, mode="dense", k=20)
        assert hits[0].text == "the purple walrus"
        assert len(hits) == 8


def test_a_dropped_view_leaves_the_others_and_no_file(collection):
    collection.add_view("colour", instruction=COLOURS)
    before = told(collection.search("red", mode="dense"))
    collection.drop_view("colour")
    assert [row.name for row in collection.views()] == ["default"]
    assert told(collection.search("red", mode="dense")) == before
    assert [path.name for path in (collection.folder / "views").iterdir()] == [collection.views()[0].key[:12]]
    with pytest.raises(ViewNotFound, match=r"no view 'colour'; there are: default"):
        collection.search("red", view="colour")
    with pytest.raises(ViewNotFound, match="no view 'colour'"):
        collection.drop_view("colour")
    assert collection.check().clean


def test_a_collection_without_views_is_still_searched_by_words(collection):
    collection.drop_view("default")
    assert len(found(collection, "whale")) == 3
    for mode in ("dense", "hybrid"):
        with pytest.raises(ViewNotFound, match="views add"):
            collection.search("whale", mode=mode)
    assert collection.add_view("again") == 9
    assert len(collection.search("whale", mode="dense")) == 9


def test_a_view_is_not_made_twice(collection):
    with pytest.raises(ViewExists, match="already a view 'default'"):
        collection.add_view("default", instruction="x")
    with pytest.raises(ViewExists, match="'default' already holds the vectors"):
        collection.add_view("same")
    assert [row.name for row in collection.views()] == ["default"]


@pytest.mark.parametrize("name", ["", "a b", "../up", "bm25", ".hidden", "x" * 101, "a\nb"])
def test_names_that_no_view_can_have(collection, name):
    with pytest.raises(BadQuery, match="cannot name a view"):
        collection.add_view(name, instruction="x")


@pytest.mark.parametrize("name", ["", "a b", "../up", "/etc", ".hidden", "x" * 101])
def test_names_that_no_collection_can_have(tmp_path, name):
    for make in (Collection.open, lambda *a: Collection.create(*a, embedder="hash")):
        with pytest.raises(BadQuery, match="cannot name a collection"):
            make(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_collection_is_not_made_twice(collection, tmp_path):
    with pytest.raises(CollectionExists):
        made(tmp_path)
    assert len(collection.search("red", k=20)) == 9


def test_a_bad_index_spec_changes_nothing(collection):
    with pytest.raises(BadIndex, match="PQ8"):
        collection.add_view("colour", instruction=COLOURS, spec="PQ8")
    with pytest.raises(BadIndex):
        collection.compact(specs={"default": "NSG32"})
    with pytest.raises(ViewNotFound):
        collection.compact(specs={"nowhere": "Flat"})
    assert [(row.name, row.spec) for row in collection.views()] == [("default", "auto")]


# --- windows


def test_a_window_too_small_is_refused_with_the_number_of_chunks(collection, tmp_path):
    small = profile(tmp_path / "small.toml", max_tokens=4)
    with pytest.raises(TooLong, match=r"9 of 9 chunks are longer than the 2 tokens that small has room for"):
        collection.add_view("small", instruction="two words", embedder=small)
    write(tmp_path / "docs" / "0.txt", "short", at=LONG_AGO + 1)
    collection.index([tmp_path / "docs"])
    with pytest.raises(TooLong, match=r"8 of 9 chunks .*--truncate"):
        collection.add_view("small", instruction="two words", embedder=small)
    assert [row.name for row in collection.views()] == ["default"]


def test_a_window_too_small_is_taken_when_told_to_truncate(collection, tmp_path):
    small = profile(tmp_path / "small.toml", max_tokens=4)
    assert collection.add_view("small", instruction="two words", embedder=small, truncate=True) == 9
    assert collection.status()["views"][1]["truncate"] is True
    assert len(collection.search("red", view="small", mode="dense", k=20)) == 9


def test_an_instruction_that_fills_the_window_is_refused(collection, tmp_path):
    with pytest.raises(TooLong, match="instruction"):
        collection.add_view("long", instruction="word " * 300)
    with pytest.raises(TooLong):
        made(tmp_path / "new", instruction="word " * 300)
    with pytest.raises(TooLong):
        collection.search("red", instruction="word " * 300)
    with pytest.raises(TooLong, match="600 tokens do not fit"):
        made(tmp_path / "new", chunk_tokens=600)
    assert not (tmp_path / "new").exists()


def test_chunks_are_fixed_by_the_first_view_with_room_for_its_instruction(tmp_path):
    collection = made(tmp_path, instruction="word " * 200)
    assert collection.status()["chunking"] == {"tokens": 56, "overlap": 0, "context": 32, "tokenizer": "hash"}
    collection.add([Document("long", "text " * 500)])
    assert max(len(hit.text.split()) for hit in collection.search("text", k=50)) <= 56


# --- what fits and what does not


def nothing_is_embedded(monkeypatch):
    def refused(*arguments, **options):
        raise AssertionError("a model was used that does not fit")

    monkeypatch.setattr(HashEmbedder, "encode", refused)


@pytest.fixture
def owned(tmp_path):
    """A collection made with a profile file of the user's own."""
    place = tmp_path / "mine"
    place.mkdir()
    path = profile(place / "mine.toml", query_template="{instruction}ask {text}")
    collection = made(place, embedder=path)
    collection.add([Document(str(number), text) for number, text in enumerate(TEXTS)])
    return place


def test_a_model_that_is_gone_is_refused_by_name(owned, monkeypatch):
    assert len(reopened(owned).search("red")) == 9
    (owned / "mine.toml").unlink()
    nothing_is_embedded(monkeypatch)
    for mode in ("dense", "hybrid"):
        with pytest.raises(ViewMismatch, match=r"view 'default' needs the model 'mine', which is not here"):
            reopened(owned).search("red", mode=mode)
    assert len(reopened(owned).search("red", mode="bm25")) == 3


def test_a_model_that_changed_is_refused_by_name_with_the_remedy(owned, monkeypatch):
    profile(owned / "mine.toml", query_template="{instruction}tell {text}")
    nothing_is_embedded(monkeypatch)
    with pytest.raises(ViewMismatch, match=r"view 'default' was made with 'mine'.*another model now.*--embedder"):
        reopened(owned).search("red")
    before = reopened(owned).status()
    with pytest.raises(ViewMismatch, match="--embedder"):
        reopened(owned).add([Document("new", "text")])
    with pytest.raises(ViewMismatch):
        reopened(owned, embedder="hash").search("red")
    assert {**reopened(owned).status(), "bytes": 0} == {**before, "bytes": 0}


def test_a_model_that_only_the_collection_names_is_not_loaded(owned, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of another account"))
    loaded = []
    load = embed.load
    monkeypatch.setattr(embed, "load", lambda *a, **o: (loaded.append(a), load(*a, **o))[1])
    with pytest.raises(
        ViewMismatch, match=r"view 'default' was made with 'mine'.*only the collection names.*--embedder"
    ):
        reopened(owned).search("red")
    with pytest.raises(ViewMismatch):
        reopened(owned).add([Document("new", "text")])
    assert loaded == []
    with pytest.raises(ViewMismatch, match="only the collection names"):
        reopened(owned).refresh_view("default")
    assert loaded == []
    # the user's word is enough, and is remembered
    assert len(reopened(owned, embedder=str(owned / "mine.toml")).search("red")) == 9
    assert len(reopened(owned).search("red")) == 9


def test_a_profile_that_says_the_same_in_another_place_fits(owned, tmp_path, monkeypatch):
    shutil.move(owned / "mine.toml", tmp_path / "elsewhere.toml")
    with pytest.raises(ViewMismatch):
        reopened(owned).search("red")
    assert len(reopened(owned, embedder=str(tmp_path / "elsewhere.toml")).search("red")) == 9


def test_views_of_other_models_are_searched_without_the_missing_one(owned):
    collection = reopened(owned)
    collection.add_view("plain", embedder="hash")
    (owned / "mine.toml").unlink()
    assert len(reopened(owned).search("red", view="plain")) == 9
    with pytest.raises(ViewMismatch, match="view 'default'"):
        reopened(owned).search("red", view=["plain", "default"])


def test_an_altered_instruction_is_refused(collection):
    import sqlite3

    database = sqlite3.connect(collection.folder / "collection.db")
    with database:
        database.execute("UPDATE views SET instruction = 'another'")
    database.close()
    with pytest.raises(CollectionDamaged, match="view 'default' was altered"):
        collection.search("red", mode="dense")


def test_a_view_added_with_the_model_of_the_first_does_not_make_that_be_forgotten(owned):
    reopened(owned).add_view("colour", instruction=COLOURS)
    for view in ("default", "colour"):
        assert len(reopened(owned).search("red", view=view)) == 9
    reopened(owned).add([Document("new", "text")])
    assert len(reopened(owned).search("red", view="colour")) == 10


@pytest.mark.parametrize("named", [True, False], ids=["named again", "known by what it was called"])
def test_a_view_is_made_anew_beside_the_old_one(owned, monkeypatch, named):
    reopened(owned).add_view("colour", instruction=COLOURS)
    profile(owned / "mine.toml", query_template="{instruction}tell {text}")
    with counted(monkeypatch) as embedded:
        assert reopened(owned).refresh_view("colour", embedder=str(owned / "mine.toml") if named else None) == 9
    assert {instruction for instruction, _ in embedded} == {COLOURS}
    rows = {row.name: row for row in reopened(owned).views()}
    assert list(rows) == ["default", "colour"]
    assert rows["colour"].instruction == COLOURS
    assert len(reopened(owned).search("red", view="colour", k=20)) == 9
    with pytest.raises(ViewMismatch, match="view 'default'"):
        reopened(owned).search("red")
    assert reopened(owned).check().clean
    with pytest.raises(ViewNotFound):
        reopened(owned).refresh_view("nowhere")


def test_an_interrupted_refresh_serves_the_old_vectors_and_is_taken_up_again(owned, monkeypatch):
    before = told(reopened(owned).search("red", mode="dense"))
    old = (owned / "mine.toml").read_text()
    new = profile(owned / "new.toml", query_template="{instruction}tell {text}")
    with monkeypatch.context() as patch:
        nothing_is_embedded(patch)
        with pytest.raises(AssertionError):
            reopened(owned).refresh_view("default", embedder=new)
    assert (owned / "mine.toml").read_text() == old
    assert told(reopened(owned).search("red", mode="dense")) == before
    assert reopened(owned).refresh_view("default", embedder=new) == 9
    assert [row.name for row in reopened(owned).views()] == ["default"]
    assert [row.profile["name"] for row in reopened(owned).views()] == ["new"]
    assert len(reopened(owned).search("red", k=20)) == 9


@pytest.mark.parametrize("spec", ["Flat", "SQ8", "HNSW16"])
def test_a_refresh_with_the_same_model_only_changes_the_index(collection, monkeypatch, spec):
    before = {mode: told(collection.search("red mouse", mode=mode)) for mode in MODES}
    with counted(monkeypatch) as embedded:
        assert collection.refresh_view("default", spec=spec) == 0
    assert embedded == []
    assert collection.status()["views"][0]["index"] == {"HNSW16": "HNSW16,Flat"}.get(spec, spec)
    assert {mode: told(collection.search("red mouse", mode=mode)) for mode in MODES} == before
