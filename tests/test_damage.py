"""What happens to a damaged collection: a check finds it, a search tells nothing false, and a repair mends it."""

import random
import shutil
import sqlite3
import threading

import pytest
from corpora import LONG_AGO, counted, fates, keys, made, reopened, told, write

from instructsearch.errors import CollectionDamaged, CollectionNotFound, InstructSearchError
from instructsearch.records import Document

WORDS = ("zebra", "lorry", "violin", "teapot", "glacier", "pepper")
QUERY = "the zebra number 4 on the glacier"
# the first view is scanned exactly, the other is answered by a FAISS index
ASKED = (("default", "dense"), ("default", "bm25"), ("other", "dense"), ("other", "hybrid"))
KINDS = {"collection.db": 250, "collection.sum": 25, "seg-*.vec": 40, "idx-*.faiss": 50}  # how many bits are flipped


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A collection of two views, each of several segments, with contents that nothing shows any more."""
    place = tmp_path_factory.mktemp("first")
    docs = place / "docs"
    for number in range(12):
        one, two = WORDS[number % 6], WORDS[(number + 1) % 6]
        write(
            docs / f"{number}.txt", f"The {one} is number {number} of all.\n\nA line on the {two} of {number}.\n\nSame."
        )
    collection = made(place, chunk_tokens=8)
    collection.index([docs])
    collection.add_view("other", instruction="sort by zebra lorry", spec="HNSW8,SQ8")
    write(docs / "0.txt", "A giraffe, which is taller than a zebra.", at=LONG_AGO + 5)
    write(docs / "20.txt", "A submarine under the glacier.")
    (docs / "3.txt").unlink()
    collection.index([docs])
    assert collection.check().clean
    assert collection.status()["dead"] > 0
    return place


@pytest.fixture
def place(first, tmp_path):
    """A copy of it, whose files may be damaged; the documents stay where they are."""
    shutil.copytree(first / "root", tmp_path / "root")
    return tmp_path


def answers(place):
    """Return what every mode of every view answers; an error of ours stands for an answer that was refused."""
    given = {}
    for view, mode in ASKED:
        try:
            given[view, mode] = told(reopened(place).search(QUERY, view=view, mode=mode, k=100))
        except InstructSearchError as error:
            given[view, mode] = error
    return given


def files(place, pattern):
    return sorted(path for path in (place / "root" / "c").rglob(pattern) if path.is_file())


def damages(whole, bits):
    """Yield (what, bytes) of a file with one bit flipped, evenly over it and in its first and last bytes, and cut."""
    chance = random.Random(len(whole))
    every = range(len(whole))
    for at in sorted({*every[:: max(1, len(whole) // bits)], *every[:40:4], *every[-40::4]}):
        bit = chance.randrange(8)
        yield f"bit {bit} of byte {at}", whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
    for length in {0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1}:
        yield f"cut to {length}", whole[:length]


def is_found(place):
    """Tell whether a check says that something is wrong; a collection that cannot be opened says so too."""
    try:
        return not reopened(place).check().clean
    except InstructSearchError:
        return True


def assert_true(before, after, what, *, all_of_them):
    """Hold that each answer is refused or true: hits that were there, each with its own text, place and score."""
    for (view, mode), hits in after.items():
        if isinstance(hits, InstructSearchError):
            assert str(hits)
            continue
        was = {hit[1:4]: hit for hit in before[view, mode]}
        every = {hit[1:4]: hit for hits in before.values() for hit in hits}
        for hit in hits:
            assert hit[1:4] in every, f"{what}: {view} {mode} tells of {hit}"
            assert hit[4] == every[hit[1:4]][4], f"{what}: {view} {mode} tells {hit}"
            # no checksum guards a query instruction, which the other view has
            if (view, mode) == ("default", "dense"):
                assert hit[5] == pytest.approx(was[hit[1:4]][5], abs=1e-5), f"{what}: {hit}"
        if all_of_them:
            assert hits == before[view, mode], f"{what}: {view} {mode} answers otherwise"


def test_the_undamaged_hits_are_passages_of_the_documents(first):
    for (view, mode), hits in answers(first).items():
        assert len(hits) > 5, f"{view} {mode}"
        for _, document, start, end, text, _, _ in hits:
            with open(document, encoding="utf-8") as file:
                assert file.read()[start:end] == text


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_or_a_cut_is_found_and_no_answer_is_false(place, kind):
    before = answers(place)
    damaged = files(place, kind)
    assert damaged
    for path in damaged:
        whole = path.read_bytes()
        for what, altered in damages(whole, KINDS[kind] // len(damaged)):
            path.write_bytes(altered)
            assert is_found(place), f"{path.name}, {what}: not found"
            # a row of the database may be lost to the answers, but vectors and indexes are whole or refused
            assert_true(before, answers(place), f"{path.name}, {what}", all_of_them=kind != "collection.db")
        path.write_bytes(whole)
    assert reopened(place).check().clean
    assert answers(place) == before


def test_the_middle_of_a_large_index_may_be_damaged_and_no_answer_is_false(tmp_path):
    collection = made(tmp_path, spec="HNSW8,SQ8")
    collection.add(Document(f"{number}", f"the {WORDS[number % 6]} of number {number}") for number in range(700))
    before = told(collection.search("the zebra of number 6", mode="dense", k=100))
    every = {hit[1]: hit for hit in told(collection.search("the zebra of number 6", mode="dense", k=700))}
    (path,) = files(tmp_path, "idx-*.faiss")
    whole = path.read_bytes()
    assert len(whole) > 3 << 15, "the part that opening does not check must be there"
    for at in range(1 << 16, len(whole), 997):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        hits = told(reopened(tmp_path).search("the zebra of number 6", mode="dense", k=100))
        assert len(hits) == len(before)
        assert all(hit[1:] == every[hit[1]][1:] for hit in hits), f"byte {at}"
        assert not reopened(tmp_path).check().clean
    assert reopened(tmp_path).repair().clean
    assert told(reopened(tmp_path).search("the zebra of number 6", mode="dense", k=100)) == before


@pytest.mark.parametrize("kind", ["seg-*.vec", "idx-*.faiss"])
def test_a_lost_file_is_found_and_no_answer_is_false(place, kind):
    before = answers(place)
    for path in files(place, kind):
        whole = path.read_bytes()
        path.unlink()
        assert path.name in {name for name, _ in reopened(place).check().damage}
        assert_true(before, answers(place), path.name, all_of_them=True)
        path.write_bytes(whole)


def test_a_lost_database_is_told_and_nothing_is_made_in_its_place(place):
    (path,) = files(place, "collection.db")
    path.unlink()
    with pytest.raises(CollectionNotFound):
        reopened(place)
    assert not path.exists()


def test_a_database_cut_to_nothing_is_not_taken_for_a_new_one(place):
    (path,) = files(place, "collection.db")
    listed = files(place, "*.vec")
    path.write_bytes(b"")
    with pytest.raises(CollectionDamaged, match="restore"):
        reopened(place).add([Document("a", "text")])
    assert files(place, "*.vec") == listed
    assert path.read_bytes() == b""


def test_a_database_cut_to_nothing_under_an_open_collection_loses_no_vectors(place):
    collection = reopened(place)
    (path,) = files(place, "collection.db")
    listed = files(place, "*.vec")
    with path.open("r+b") as file:
        file.truncate()
    with pytest.raises(CollectionDamaged):
        collection.add([Document("a", "text")])
    assert files(place, "*.vec") == listed


def test_a_lost_seal_is_noted_and_set_again_by_the_next_write(place):
    (path,) = files(place, "collection.sum")
    path.unlink()
    before = answers(place)
    found = reopened(place).check()
    assert found.clean
    assert any("interrupted" in note for note in found.notes)
    reopened(place).add([])
    assert reopened(place).check().notes == []
    assert answers(place) == before


def test_a_check_beside_a_writer_finds_no_damage(place):
    collection, stop = reopened(place), threading.Event()
    wrong = []

    def look():
        own = reopened(place)
        while not stop.is_set():
            try:
                wrong.extend(own.check().damage)
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(15):
            collection.add([Document("a", f"text {number}")])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


# --- repair


@pytest.mark.parametrize("kind", ["seg-*.vec", "idx-*.faiss", "[si]*-*.*"])
def test_damaged_vectors_and_indexes_are_made_again(place, kind, monkeypatch):
    before = answers(place)
    for path in files(place, kind):
        whole = path.read_bytes()
        path.write_bytes(whole[:100] + bytes([whole[100] ^ 16]) + whole[101:])
    assert not reopened(place).check().clean
    with counted(monkeypatch) as embedded:
        assert reopened(place).repair().clean
    assert bool(embedded) == ("idx" not in kind), "vectors are made again from texts, an index from vectors"
    assert answers(place) == before
    assert {row["index"] for row in reopened(place).status()["views"]} == {"Flat", "HNSW8,SQ8"}
    assert reopened(place).check().notes == []


def test_only_the_texts_of_the_damaged_segment_are_embedded_again(place, monkeypatch):
    smallest = min(files(place, "seg-*.vec"), key=lambda path: path.stat().st_size)
    rows = next(
        segment.rows
        for view in reopened(place).views()
        for segment in segments(place, view.id)
        if segment.name == smallest.name
    )
    smallest.write_bytes(b"")
    with counted(monkeypatch) as embedded:
        assert reopened(place).repair().clean
    assert 0 < len(embedded) <= rows


def segments(place, view_id):
    with reopened(place)._store.snapshot() as snapshot:
        return snapshot.segments(view_id)


def test_all_the_files_of_the_views_can_be_lost_and_made_again(place):
    before = answers(place)
    shutil.rmtree(place / "root" / "c" / "views")
    assert len(reopened(place).check().damage) >= 4
    reopened(place).add([])
    assert reopened(place).repair().clean
    assert answers(place) == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE contents SET text = replace(text, 'glacier', 'glasier') WHERE text LIKE '%submarine%'",
        "UPDATE contents SET digest = randomblob(32) WHERE text LIKE '%submarine%'",
        "UPDATE chunks SET start = start + 1 WHERE id = (SELECT max(id) FROM chunks)",
        "UPDATE chunks SET crc = crc + 1 WHERE id = (SELECT max(id) FROM chunks)",
        "UPDATE documents SET title = 'wrong' WHERE key LIKE '%20.txt'",
        "UPDATE documents SET metadata = '{\"a\":1}' WHERE key LIKE '%20.txt'",
        "UPDATE documents SET key = 'wrong' WHERE key LIKE '%20.txt'",
    ],
)
def test_a_document_with_an_altered_row_is_taken_out_and_comes_back_at_the_next_index(first, place, damage):
    reopened(place).compact()
    before, documents = answers(place), keys(reopened(place))
    alter(place, damage)
    assert not reopened(place).check().clean
    assert_true(before, answers(place), damage, all_of_them=False)

    assert reopened(place).repair().clean
    assert [key for key in documents if key not in keys(reopened(place))] == [str(first / "docs" / "20.txt")]
    assert_true(before, answers(place), damage, all_of_them=False)

    assert fates(reopened(place).index([first / "docs"])) == {"added": 1, "unchanged": 11}
    reopened(place).compact()
    assert reopened(place).check().clean
    assert answers(place) == before


@pytest.mark.parametrize("state", [0, 2, 3])
def test_a_text_that_a_flipped_bit_hid_is_found_and_shown_again(place, state):
    before = answers(place)
    alter(place, f"UPDATE contents SET state = {state} WHERE text LIKE '%submarine%'")
    (place / "root" / "c" / "collection.sum").unlink()
    assert not reopened(place).check().clean
    assert answers(place) != before
    assert reopened(place).repair().clean
    assert answers(place) == before


@pytest.mark.parametrize("column", ["profile", "key"])
def test_an_altered_view_is_refused(place, column):
    alter(place, f"UPDATE views SET {column} = replace({column}, '{{', '\"') || '/' WHERE name = 'default'")
    assert is_found(place)
    with pytest.raises(InstructSearchError):
        reopened(place).search(QUERY, mode="dense")


def alter(place, statement):
    database = sqlite3.connect(place / "root" / "c" / "collection.db")
    assert database.execute(statement).rowcount == 1
    database.commit()
    database.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.add([Document("new", "a hippopotamus")]),
        lambda c: c.delete(["4.txt", *keys(c)]),
        lambda c: c.add_view("third", instruction="sort by teapot"),
        lambda c: c.refresh_view("other"),
        lambda c: c.drop_view("other"),
        lambda c: c.compact(),
    ],
)
def test_nothing_is_written_over_damage_that_only_the_seal_tells_of(place, change):
    # no checksum of a row covers it, and a change would renew the seal
    alter(place, "UPDATE views SET query_instruction = 'sort by zebrb' WHERE name = 'other'")
    before = {path: path.read_bytes() for path in files(place, "*.*")}
    with pytest.raises(CollectionDamaged, match="nothing was changed: run check --repair"):
        change(reopened(place))
    assert {path: path.read_bytes() for path in files(place, "*.*")} == before
    assert reopened(place).repair().clean
    change(reopened(place))
    assert reopened(place).check().clean


def test_no_file_is_swept_on_the_word_of_an_altered_database(place):
    alter(place, "UPDATE segments SET name = 'seg-0.vec' WHERE rowid = (SELECT min(rowid) FROM segments)")
    listed = files(place, "*.vec")
    with pytest.raises(CollectionDamaged, match="run check --repair"):
        reopened(place).add([])
    assert files(place, "*.vec") == listed


def test_a_database_that_cannot_be_mended_is_left_as_it_is(place):
    (path,) = files(place, "collection.db")
    cut = path.read_bytes()[: path.stat().st_size // 2]
    listed = files(place, "*.vec")
    path.write_bytes(cut)
    with pytest.raises(CollectionDamaged, match="restore it from an export"):
        reopened(place).repair()
    assert path.read_bytes() == cut
    assert files(place, "*.vec") == listed


def test_files_that_belong_to_nothing_are_noted_and_swept_by_the_next_write(place):
    views = place / "root" / "c" / "views"
    folder = next(path for path in views.iterdir() if path.is_dir())
    before, listed = answers(place), files(place, "*")
    outside = write(place / "outside.txt", "not ours")
    for stray in (folder / "seg-0123456789abcdef.vec.tmp", folder / "deep" / "file", views / "gone" / "a", views / "b"):
        write(stray, "left by an interrupted run")
    (folder / "link").symlink_to(place)
    (views / "link").symlink_to(place, target_is_directory=True)
    found = reopened(place).check()
    assert found.clean
    assert any("belong to nothing" in note for note in found.notes)
    assert answers(place) == before
    reopened(place).add([])
    assert files(place, "*") == listed
    assert sorted(path.name for path in folder.iterdir()) == sorted(p.name for p in listed if p.parent == folder)
    assert outside.read_text() == "not ours"
    assert reopened(place).check().notes == []
