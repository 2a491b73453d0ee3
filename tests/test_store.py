"""The database: migrations, ids that never come back, seals, checksums, and the number of statements a sync takes."""

import sqlite3
import subprocess
import sys

import pytest

from instructsearch.errors import CollectionBusy, CollectionDamaged, CollectionExists, CollectionNotFound
from instructsearch.filters import parse
from instructsearch.records import Chunk, Document
from instructsearch.store import Store, connection, seal
from instructsearch.store.schema import STEPS
from instructsearch.store.staging import Change


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "c", {"chunking": {"tokens": 8}})


def put(store, *documents, context=""):
    """Store documents of one chunk each, without vectors."""
    with store.writing() as writer:
        chunks = {one.key: Chunk(0, 0, len(one.text), one.text, context=one.title and context) for one in documents}
        writer.stage([(one, [chunks[one.key]]) for one in documents])
        writer.commit_sync(Change())


def keys(store, where):
    with store.snapshot() as snapshot:
        contents = snapshot.allowed(parse(where))
        shown = snapshot.showing(contents, 10, parse(where))
        places = snapshot.places([chunk for some in shown.values() for _, _, chunk in some])
        return sorted(place.document for place in places.values())


def test_migrations_are_applied_once(store):
    again = Store(store.folder)
    with again.snapshot() as snapshot:
        assert snapshot.facts() == {"chunking": {"tokens": 8}}
    db = sqlite3.connect(store.folder / "collection.db")
    assert [row[0] for row in db.execute("SELECT name FROM _sqlite_migrations")] == list(STEPS)
    db.close()


def test_a_database_of_a_newer_version_is_refused(store):
    db = sqlite3.connect(store.folder / "collection.db")
    db.execute("UPDATE _sqlite_migrations SET name = '9999-future'")
    db.commit()
    db.close()
    with pytest.raises(CollectionDamaged, match="newer"):
        Store(store.folder)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "collection.db").write_bytes(b"not a database at all, only text" * 100)
    with pytest.raises(CollectionDamaged):
        Store(tmp_path / "c")
    with pytest.raises(CollectionNotFound, match="instructsearch index"):
        Store(tmp_path / "nowhere")


def test_creating_twice_is_refused_and_leaves_nothing_half_made(tmp_path, store):
    with pytest.raises(CollectionExists):
        Store.create(store.folder, {})
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_chunk_ids_are_never_given_again(store):
    put(store, Document("a", "one"), Document("b", "two"))
    with store.snapshot() as snapshot:
        first = [place.chunk for place in snapshot.chunks()]
        last = snapshot.known(["b"])["b"].id
    with store.writing() as writer:
        writer.commit_sync(Change(gone_documents=[last]))
        writer.compacted({})
    put(store, Document("c", "three"))
    with store.snapshot() as snapshot:
        after = {place.document: place.chunk for place in snapshot.chunks()}
    assert after["c"] > max(first)


def test_an_unchanged_passage_of_a_changed_document_keeps_its_chunk_id(store):
    old, new = "kept\nold\nkept", "new\nkept\nkept"

    def store_lines(text):
        chunks, start = [], 0
        for ordinal, part in enumerate(text.split("\n")):
            chunks.append(Chunk(ordinal, start, start + len(part), part))
            start += len(part) + 1
        with store.writing() as writer:
            writer.stage([(Document("a", text), chunks)])
            writer.commit_sync(Change())
        with store.snapshot() as snapshot:
            return [(place.chunk, place.text) for place in sorted(snapshot.chunks(), key=lambda p: p.ordinal)]

    before, after = store_lines(old), store_lines(new)

    assert [text for _, text in after] == ["new", "kept", "kept"]
    assert [id for id, text in after if text == "kept"] == [id for id, text in before if text == "kept"]
    assert after[0][0] not in {id for id, _ in before}


def test_words_that_most_texts_have_are_left_out_while_the_others_find_enough(store, monkeypatch):
    texts = ["common rare", "common rare twice rare", *(f"common filler{at}" for at in range(18)), "unlike"]
    put(store, *(Document(str(at), text) for at, text in enumerate(texts)))
    with store.snapshot() as snapshot:
        whole = snapshot.match(["common", "rare"], 50)
        assert len(whole) == 20
        monkeypatch.setattr("instructsearch.store.reading._MANY", 1)
        assert snapshot._common(["common", "rare", "unlike"]) == {"common"}
        assert snapshot._common(["common"]) == set()
        few = snapshot.match(["common", "rare"], 2)
        assert [content for content, _ in few] == [content for content, _ in whole[:2]]
        assert [score for _, score in few] == pytest.approx([score for _, score in whole[:2]], abs=1e-5)
        assert snapshot.match(["common", "rare"], 50) == whole
        assert len(snapshot.match(["common"], 50)) == 20


def test_equal_passages_are_one_content(store):
    put(store, Document("a", "same"), Document("b", "same"), Document("c", "other"))
    with store.snapshot() as snapshot:
        assert snapshot.counts()[:3] == (3, 3, 2)
        content = snapshot.match(["same"], 10)[0][0]
        assert len(snapshot.showing([content], 10)[content]) == 2
        assert len(snapshot.showing([content], 1)[content]) == 1


def test_what_is_staged_is_not_seen_until_it_is_committed(store):
    with store.writing() as writer:
        writer.stage([(Document("a", "word"), [Chunk(0, 0, 4, "word")])])
        with store.snapshot() as snapshot:
            assert snapshot.match(["word"], 10) == []
            assert snapshot.live() == []
        writer.commit_sync(Change())
    with store.snapshot() as snapshot:
        assert len(snapshot.match(["word"], 10)) == 1


def test_an_interrupted_sync_keeps_its_contents_and_forgets_its_documents(store):
    with store.writing() as writer:
        writer.stage([(Document("a", "word"), [Chunk(0, 0, 4, "word")])])
        content = writer.staged_contents()
    with store.writing() as writer:
        writer.begin_sync()
        assert writer.staged_contents() == []
        writer.stage([(Document("b", "word"), [Chunk(0, 0, 4, "word")])])
        assert writer.staged_contents() == content


def test_deleted_text_is_gone_from_the_disk_after_a_compact(store):
    put(store, Document("a", "xyzzysecret"), Document("b", "other"))
    with store.writing() as writer:
        writer.commit_sync(Change(gone_documents=[writer.known(["a"])["a"].id]))
    with store.snapshot() as snapshot:
        assert snapshot.match(["xyzzysecret"], 10) == []
    with store.writing() as writer:
        writer.compacted({})
        writer.vacuum()
    assert b"xyzzysecret" not in (store.folder / "collection.db").read_bytes()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"n": 1}, ["one"]),
        ({"n": "1"}, ["text"]),
        ({"n": True}, ["true"]),
        ({"n": None}, ["none", "null"]),
        ({"n": {"$ne": 1}}, ["list", "none", "null", "text", "true"]),
        ({"n": {"$exists": True}}, ["list", "one", "text", "true"]),
        ({"n": {"$gte": 1}}, ["list", "one"]),
        ({"n": {"$gt": "0"}}, ["text"]),
        ({"n": 3}, ["list"]),
        ({"n": {"$in": [1, 3, "x"]}}, ["list", "one"]),
        ({"n": {"$in": []}}, []),
        ({"n": {"$nin": [1, None]}}, ["list", "text", "true"]),
        ({"deep.er": "x"}, ["one"]),
        ({"dot.ted": 5}, ["text"]),
        ({"$and": []}, ["list", "none", "null", "one", "text", "true"]),
        ({"$or": []}, []),
        ({"document": "one"}, ["one"]),
        ({"title": "A title"}, ["true"]),
        ({"naïve": "é"}, ["null"]),
        ({"path": {"$exists": False}}, ["list", "none", "null", "one", "text", "true"]),
    ],
    ids=str,
)
def test_filters_compare_by_type_and_know_what_is_missing(store, where, expected):
    put(
        store,
        Document("one", "a", metadata={"n": 1, "deep": {"er": "x"}}),
        Document("text", "b", metadata={"n": "1", "dot.ted": 5}),
        Document("true", "c", title="A title", metadata={"n": True}),
        Document("list", "d", metadata={"n": [2, 3]}),
        Document("null", "e", metadata={"n": None, "naïve": "é"}),
        Document("none", "f"),
    )
    assert keys(store, where) == expected


def test_a_list_of_thousands_of_values_is_one_parameter(store):
    put(store, *(Document(str(n), f"a{n}", metadata={"n": n, "s": f"s{n}"}) for n in range(20)))
    put(
        store,
        Document("true", "b", metadata={"n": True}),
        Document("none", "c"),
        Document("real", "d", metadata={"n": 7.5}),
    )
    numbers = [*range(5, 9_000), 7.5, True, None]
    assert keys(store, {"n": {"$in": numbers}}) == sorted([*map(str, range(5, 20)), "true", "none", "real"])
    assert keys(store, {"s": {"$nin": [f"s{n}" for n in range(1, 9_000)]}}) == ["0", "none", "real", "true"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"$contains": "log file"}, ["both", "side"]),
        ({"$contains": "LOG FILES"}, ["both", "side"]),
        ({"$contains": 'file" OR "log'}, []),
        ({"$not_contains": "nginx"}, ["apart", "side"]),
        ({"$contains": "log", "$not_contains": "nginx"}, ["apart", "side"]),
        ({"$and": [{"$contains": "rotate"}, {"kind": 1}]}, ["side"]),
        ({"$not": {"$contains": "log"}}, []),
        ({"$contains": "manual"}, ["side"]),
    ],
    ids=str,
)
def test_words_that_must_be_there_or_must_not(store, where, expected):
    put(
        store,
        Document("side", "rotate the log files", title="The manual", metadata={"kind": 1}),
        Document("apart", "a file that the log is in"),
        Document("both", "the log file of nginx"),
        context="The manual",
    )
    assert keys(store, where) == expected


def test_chunk_facts_are_filtered_chunk_by_chunk(store):
    chunks = [Chunk(0, 0, 3, "one", metadata={"page": 1}), Chunk(1, 4, 7, "two", metadata={"page": 2})]
    with store.writing() as writer:
        writer.stage([(Document("a", "one two"), chunks)])
        writer.commit_sync(Change())
    with store.snapshot() as snapshot:
        assert len(snapshot.allowed(parse({"page": 2}))) == 1
        assert len(snapshot.allowed(parse({"page": {"$gte": 1}}))) == 2


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE contents SET text = 'wrong'",
        "UPDATE documents SET key = 'b'",
        "UPDATE documents SET title = 'b'",
        "UPDATE documents SET metadata = '{\"a\":1}'",
        "UPDATE chunks SET start = start + 1",
        "UPDATE chunks SET content_id = (SELECT max(id) FROM contents)",
        "UPDATE chunks SET document_id = (SELECT max(id) FROM documents)",
        "UPDATE chunks SET id = id + 100",
    ],
)
def test_an_altered_row_is_never_shown(store, damage):
    put(store, Document("a", "right"))
    put(store, Document("c", "another"))
    db = sqlite3.connect(store.folder / "collection.db")
    db.execute(damage + (" WHERE id = 1"))
    db.commit()
    ids = [row[0] for row in db.execute("SELECT id FROM chunks ORDER BY document_id = 2, id")]
    db.close()
    with store.snapshot() as snapshot, pytest.raises(CollectionDamaged):
        snapshot.places(ids)


def test_the_seal_finds_every_flipped_bit_of_the_database_and_of_itself(store):
    put(store, Document("a", "some text"))
    assert seal.broken(store.folder) is None
    for name in ("collection.db", seal.SEAL):
        path = store.folder / name
        whole = path.read_bytes()
        for place in range(0, len(whole), max(1, len(whole) // 200)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
            assert seal.broken(store.folder), f"bit {place % 8} of byte {place} of {name}"
        for length in (0, 1, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            assert seal.broken(store.folder)
        path.write_bytes(whole)
    assert seal.broken(store.folder) is None


def test_only_one_process_writes_and_the_other_is_told(store):
    code = (
        "import sys; from pathlib import Path; from instructsearch.store import Store\n"
        "from instructsearch.errors import CollectionBusy\n"
        "try:\n    Store(Path(sys.argv[1])).writing().__enter__()\n"
        "except CollectionBusy as error: print(error)"
    )
    with store.writing():
        done = subprocess.run([sys.executable, "-c", code, str(store.folder)], capture_output=True, text=True)
        with pytest.raises(CollectionBusy), store.writing():
            pass
    assert "another process is writing" in done.stdout


def test_readers_go_on_while_a_writer_works(store):
    put(store, Document("a", "first"))
    with store.writing() as writer:
        with store.snapshot() as snapshot:
            assert len(snapshot.live()) == 1
        writer.stage([(Document("b", "second"), [Chunk(0, 0, 6, "second")])])
        with store.snapshot() as snapshot:
            assert len(snapshot.live()) == 1
        writer.commit_sync(Change())
        with store.snapshot() as snapshot:
            assert len(snapshot.live()) == 2


def test_a_killed_writers_half_done_transaction_is_rolled_back_by_the_next_reader(store):
    put(store, Document("a", "first"))
    code = (
        "import os, sys; from pathlib import Path; from instructsearch.store.connection import connect_writer\n"
        "c = connect_writer(Path(sys.argv[1]))\n"
        "c.execute('PRAGMA cache_spill = ON'); c.execute('PRAGMA cache_size = 5')\n"
        "c.execute('BEGIN'); c.execute(\"UPDATE contents SET text = 'lost'\")\n"
        "c.execute('CREATE TABLE big (x)')\n"
        "c.executemany('INSERT INTO big VALUES (?)', [['x' * 3000]] * 500)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store.folder)], check=False)
    assert done.returncode == -9
    assert (store.folder / "collection.db-journal").stat().st_size > 0
    with store.snapshot() as snapshot:
        assert [place.text for place in snapshot.chunks()] == ["first"]


def test_a_strangers_triggers_run_nothing(store):
    put(store, Document("a", "first"))
    db = sqlite3.connect(store.folder / "collection.db")
    db.execute("CREATE TRIGGER t AFTER INSERT ON facts BEGIN SELECT load_extension('evil'); END")
    db.commit()
    db.close()
    with store.writing() as writer, pytest.raises(CollectionDamaged):
        writer.set_facts({"x": 1})


def test_journal_and_durability_are_as_documented(store):
    with connection.writer_lock(store.folder):
        opened = connection.connect_writer(store.folder)
        pragmas = {
            name: opened.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "cache_spill")
        }
        opened.close()
    assert pragmas.pop("cache_spill") >= 262_143
    assert pragmas == {
        "journal_mode": "delete",
        "synchronous": 3,
        "foreign_keys": 1,
        "trusted_schema": 0,
    }
