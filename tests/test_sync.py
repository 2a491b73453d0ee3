"""A sync brings a collection in step with files: what is new, changed, moved, unchanged, unreadable or gone."""

import gzip
import os

import pytest
from corpora import LONG_AGO, counted, database, fates, found, keys, made, rows, texts, write

from instructsearch.records import Document


@pytest.fixture
def collection(tmp_path):
    return made(tmp_path)


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    for word in ("zebra", "lorry", "violin"):
        write(folder / f"{word}.txt", f"the {word} stands here")
    return folder


@pytest.fixture
def embedded(monkeypatch):
    with counted(monkeypatch) as seen:
        yield seen


# --- one file and another


def test_new_files_are_added_once(collection, docs, embedded):
    first = collection.index([docs])
    assert fates(first) == {"added": 3}
    assert (first.chunks, first.embedded, first.device) == (3, {"default": 3}, "cpu")
    again = collection.index([docs])
    assert fates(again) == {"unchanged": 3}
    assert (again.chunks, again.embedded, again.device) == (3, {}, "")
    assert len(embedded) == 3


def test_a_touched_file_is_read_and_found_unchanged(collection, docs, embedded):
    collection.index([docs])
    generation = collection.status()["generation"]
    os.utime(docs / "zebra.txt", (LONG_AGO + 5, LONG_AGO + 5))
    assert fates(collection.index([docs])) == {"unchanged": 3}
    assert collection.status()["generation"] == generation
    settled = database(collection)
    assert fates(collection.index([docs])) == {"unchanged": 3}
    assert database(collection) == settled
    assert len(embedded) == 3


def test_an_edited_file_embeds_only_the_passages_that_changed(tmp_path, embedded):
    collection = made(tmp_path, chunk_tokens=8)
    paragraphs = [f"paragraph number {n} holds some six words" for n in range(20)]
    path = write(tmp_path / "docs" / "long.txt", "\n\n".join(paragraphs))
    collection.index([path])
    before = texts(collection)
    assert len(before) == 20
    embedded.clear()

    paragraphs[7] = "paragraph number 7 is now about walruses"
    write(path, "\n\n".join(paragraphs), at=LONG_AGO + 1)
    report = collection.index([path])

    assert fates(report) == {"updated": 1}
    assert report.embedded == {"default": 1}
    assert [text for _, text in embedded] == [paragraphs[7]]
    after = texts(collection)
    assert {id for id in after if after[id] == before.get(id)} == set(before) - (set(before) - set(after))
    assert len(set(before) & set(after)) == 19
    assert found(collection, "walruses") == [str(path)]


def test_a_renamed_file_embeds_nothing_and_leaves_no_stale_hit(collection, docs, embedded):
    collection.index([docs])
    embedded.clear()
    (docs / "zebra.txt").rename(docs / "horse.txt")
    report = collection.index([docs])
    assert fates(report) == {"added": 1, "unchanged": 2, "deleted": 1}
    assert (report.embedded, embedded) == ({"default": 0}, [])
    assert found(collection, "zebra") == [str(docs / "horse.txt")]
    assert collection.search("zebra", mode="dense", k=3)[0].document == str(docs / "horse.txt")
    assert keys(collection) == sorted(str(path) for path in docs.iterdir())


def test_a_renamed_folder_embeds_nothing(collection, docs, tmp_path, embedded):
    collection.index([docs])
    embedded.clear()
    docs.rename(tmp_path / "papers")
    report = collection.index([tmp_path / "papers"])
    assert fates(report) == {"added": 3}
    assert embedded == []


def test_a_deleted_file_is_found_no_more_in_any_mode(collection, docs):
    collection.index([docs])
    (docs / "zebra.txt").unlink()
    assert fates(collection.index([docs])) == {"unchanged": 2, "deleted": 1}
    for mode in ("dense", "bm25", "hybrid"):
        hits = collection.search("zebra stands", mode=mode)
        assert len(hits) == 2
        assert not [hit for hit in hits if "zebra" in hit.text]


def test_a_duplicated_file_embeds_nothing_and_both_are_found(collection, docs, embedded):
    collection.index([docs])
    embedded.clear()
    write(docs / "copy.txt", (docs / "zebra.txt").read_text())
    report = collection.index([docs])
    assert fates(report) == {"added": 1, "unchanged": 3}
    assert embedded == []
    both = [str(docs / "copy.txt"), str(docs / "zebra.txt")]
    assert found(collection, "zebra") == both
    assert sorted(hit.document for hit in collection.search("zebra", mode="dense", k=2)) == both
    (docs / "zebra.txt").unlink()
    collection.index([docs])
    assert found(collection, "zebra") == both[:1]


def test_a_restored_file_embeds_nothing_and_gets_new_ids(collection, docs, embedded):
    collection.index([docs])
    gone = next(id for id, (document, _) in texts(collection).items() if document.endswith("zebra.txt"))
    text = (docs / "zebra.txt").read_text()
    (docs / "zebra.txt").unlink()
    collection.index([docs])
    embedded.clear()
    write(docs / "zebra.txt", text)
    assert fates(collection.index([docs])) == {"added": 1, "unchanged": 2}
    assert embedded == []
    assert found(collection, "zebra") == [str(docs / "zebra.txt")]
    assert gone not in texts(collection)


def test_an_edit_within_the_clocks_grain_is_noticed(collection, docs):
    path = docs / "zebra.txt"
    path.write_text("the zebra stands here")
    collection.index([docs])
    clock = path.stat().st_mtime_ns
    path.write_text("the horse stands here")
    os.utime(path, ns=(clock, clock))
    assert fates(collection.index([docs])) == {"unchanged": 2, "updated": 1}
    assert found(collection, "horse") == [str(path)]
    assert found(collection, "zebra") == []


def test_files_without_text_are_named_and_are_no_failure(collection, docs):
    write(docs / "empty.txt", "")
    write(docs / "blank.txt", " \n\t\n")
    for _ in range(2):
        report = collection.index([docs])
        assert report.documents["failed"] == 0
        assert sorted(report.empty) == [str(docs / "blank.txt"), str(docs / "empty.txt")]
    write(docs / "zebra.txt", "", at=LONG_AGO + 1)
    report = collection.index([docs])
    assert fates(report) == {"unchanged": 2, "deleted": 1}
    assert len(report.empty) == 3


# --- what stays


def test_a_file_that_becomes_broken_keeps_its_old_document(collection, docs):
    collection.index([docs])
    (docs / "zebra.txt").write_bytes(b"broken \xff\x00 inside")
    for _ in range(2):
        report = collection.index([docs])
        assert fates(report) == {"unchanged": 2, "failed": 1}
        assert report.failures[0].where == str(docs / "zebra.txt")
        assert found(collection, "zebra") == [str(docs / "zebra.txt")]
    write(docs / "zebra.txt", "a horse instead", at=LONG_AGO + 9)
    assert fates(collection.index([docs])) == {"unchanged": 2, "updated": 1}
    assert found(collection, "zebra") == []


def test_an_unreadable_subfolder_deletes_nothing_below_it(collection, docs, monkeypatch):
    write(docs / "locked" / "deep" / "secret.txt", "the pepper stands here")
    collection.index([docs])
    (docs / "violin.txt").unlink()
    scandir = os.scandir

    def refused(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refused)
        report = collection.index([docs])
    assert fates(report) == {"unchanged": 2, "deleted": 1, "failed": 1}
    assert report.failures[0].where == str(docs / "locked")
    assert found(collection, "pepper") == [str(docs / "locked" / "deep" / "secret.txt")]


def test_a_missing_path_deletes_nothing_and_the_others_are_indexed(collection, docs, tmp_path):
    write(tmp_path / "more" / "glacier.txt", "the glacier stands here")
    collection.index([docs])
    docs.rename(tmp_path / "away")
    report = collection.index([docs, tmp_path / "more"])
    assert fates(report) == {"added": 1, "failed": 1}
    assert len(keys(collection)) == 4


def test_other_paths_are_left_alone(collection, docs, tmp_path):
    write(tmp_path / "more" / "glacier.txt", "the glacier stands here")
    collection.index([docs, tmp_path / "more"])
    collection.add([Document("memory", "the teapot stands here")])
    for path in docs.iterdir():
        path.unlink()
    assert fates(collection.index([tmp_path / "more"])) == {"unchanged": 1}
    assert len(keys(collection)) == 5
    assert fates(collection.index([docs])) == {"deleted": 3}
    assert keys(collection) == sorted([str(tmp_path / "more" / "glacier.txt"), "memory"])


def test_a_folder_that_is_another_ones_prefix_is_another_folder(collection, docs, tmp_path):
    write(tmp_path / "docs2" / "glacier.txt", "the glacier stands here")
    collection.index([tmp_path])
    assert fates(collection.index([docs])) == {"unchanged": 3}
    assert len(keys(collection)) == 4


def test_a_glob_speaks_only_of_what_it_matches(collection, docs):
    write(docs / "notes.md", "the glacier stands here")
    assert fates(collection.index([docs])) == {"added": 4}
    (docs / "notes.md").unlink()
    (docs / "zebra.txt").unlink()
    assert fates(collection.index([docs], globs=["*.md"])) == {"deleted": 1}
    assert found(collection, "zebra") == [str(docs / "zebra.txt")]
    assert fates(collection.index([docs], globs=["!lorry.txt"])) == {"unchanged": 1, "deleted": 1}
    assert keys(collection) == [str(docs / "lorry.txt"), str(docs / "violin.txt")]


def test_a_file_ignored_later_is_taken_out(collection, docs):
    collection.index([docs])
    write(docs / ".gitignore", "zebra.*\n")
    assert fates(collection.index([docs])) == {"unchanged": 2, "deleted": 1}


@pytest.mark.parametrize("when", ["at once", "found in the folder before", "edited after"])
def test_a_file_that_was_named_itself_survives_the_rules_for_folders(collection, docs, when):
    named = docs / "zebra.txt"
    if when == "found in the folder before":
        collection.index([docs])
    if when == "at once":
        named = named.rename(docs / ".hidden.txt")
    collection.index([named])
    if when == "edited after":
        write(named, "the horse stands here", at=LONG_AGO + 1)
        collection.index([docs])
    write(docs / ".gitignore", "zebra.txt\n")
    collection.index([docs])
    assert str(named) in keys(collection)
    named.unlink()
    assert collection.index([docs]).deleted == 1
    assert str(named) not in keys(collection)


# --- rows


def row(id, text, **more):
    return {"_id": id, "text": text, **more}


def test_rows_are_documents_that_change_one_by_one(collection, tmp_path, embedded):
    path = rows(tmp_path / "r.jsonl", row("a", "alpha text"), row("b", "beta text", year=2020), row("c", "gamma text"))
    assert fates(collection.index([path])) == {"added": 3}
    embedded.clear()
    rows(path, row("a", "alpha text"), row("b", "beta text", year=2021), row("d", "delta text"), at=LONG_AGO + 1)
    report = collection.index([path])
    assert fates(report) == {"added": 1, "updated": 1, "unchanged": 1, "deleted": 1}
    assert [text for _, text in embedded] == ["delta text"]
    assert keys(collection) == ["a", "b", "d"]
    assert [hit.document for hit in collection.search("text", where={"year": 2021})] == ["b"]


def test_rows_without_ids_go_by_their_place(collection, tmp_path):
    path = rows(tmp_path / "r.jsonl", {"text": "alpha"}, {"text": "beta"})
    collection.index([path])
    rows(path, {"text": "alpha"}, at=LONG_AGO + 1)
    assert fates(collection.index([path])) == {"unchanged": 1, "deleted": 1}
    assert keys(collection) == [f"{path}#1"]


def test_rows_that_move_to_another_file_stay(collection, tmp_path, embedded):
    folder = tmp_path / "rows"
    one = rows(folder / "1.jsonl", row("a", "alpha"), row("b", "beta"))
    collection.index([folder])
    embedded.clear()
    one.rename(folder / "2.jsonl")
    assert fates(collection.index([folder])) == {"unchanged": 2}
    assert embedded == []
    assert {hit.source for hit in collection.search("alpha beta")} == {str(folder / "2.jsonl")}
    assert fates(collection.index([folder])) == {"unchanged": 2}
    assert collection.check().clean


def test_an_id_twice_in_a_file_is_one_document_and_a_failure(collection, tmp_path):
    path = rows(tmp_path / "r.jsonl", row("a", "first"), row("b", "beta"), row("a", "second"))
    for fate in ("added", "unchanged"):
        report = collection.index([path])
        assert fates(report) == {fate: 2, "failed": 1}
        assert report.failures[0].where == f"{path}:3"
    assert [text for _, text in texts(collection).values()] == ["first", "beta"]


def test_an_id_in_two_files_belongs_to_the_first(collection, tmp_path):
    folder = tmp_path / "rows"
    rows(folder / "1.jsonl", row("a", "first"))
    rows(folder / "2.jsonl", row("a", "second"), row("b", "beta"))
    report = collection.index([folder])
    assert fates(report) == {"added": 2, "failed": 1}
    assert str(folder / "1.jsonl") in report.failures[0].reason
    assert fates(collection.index([folder])) == {"unchanged": 2, "failed": 1}
    rows(folder / "3.jsonl", row("a", "third"))
    report = collection.index([folder])
    assert (report.added, report.updated, len(report.failures)) == (0, 0, 2)
    assert found(collection, "first") == ["a"]


@pytest.mark.parametrize("sources", [("1", "2"), ("2", "1")], ids=["to a later file", "to an earlier file"])
def test_a_row_that_moves_between_files_stays(collection, tmp_path, embedded, sources):
    folder = tmp_path / "rows"
    first, second = (folder / f"{name}.jsonl" for name in sources)
    rows(first, row("a", "alpha"), row("b", "beta"))
    rows(second, row("c", "gamma"))
    collection.index([folder])
    embedded.clear()
    rows(first, row("b", "beta"), at=LONG_AGO + 1)
    rows(second, row("c", "gamma"), row("a", "alpha"), at=LONG_AGO + 1)
    assert fates(collection.index([folder])) == {"unchanged": 3}
    assert embedded == []
    assert {hit.document: hit.source for hit in collection.search("alpha beta gamma")} == {
        "a": str(second),
        "b": str(first),
        "c": str(second),
    }
    assert fates(collection.index([folder])) == {"unchanged": 3}


@pytest.mark.parametrize("how", ["its row goes", "its file goes", "it is deleted"])
def test_an_id_that_becomes_free_is_taken_up_by_the_file_that_was_refused(collection, tmp_path, how):
    folder = tmp_path / "rows"
    one = rows(folder / "1.jsonl", row("a", "first"), row("x", "xi"))
    rows(folder / "2.jsonl", row("a", "second"), row("b", "beta"))
    assert fates(collection.index([folder])) == {"added": 3, "failed": 1}
    if how == "its row goes":
        rows(one, row("x", "xi"), at=LONG_AGO + 1)
        expected = {"updated": 1, "unchanged": 2}
    elif how == "its file goes":
        one.unlink()
        expected = {"updated": 1, "unchanged": 1, "deleted": 1}
    else:
        collection.delete(["a"])
        expected = {"added": 1, "unchanged": 2}
    assert fates(collection.index([folder])) == expected
    assert found(collection, "second") == ["a"]
    settled = database(collection)
    assert "failed" not in fates(collection.index([folder]))
    assert database(collection) == settled


def test_an_id_given_in_memory_is_not_taken_by_a_file(collection, tmp_path):
    collection.add([Document("a", "from memory")])
    path = rows(tmp_path / "r.jsonl", row("a", "from a file"))
    assert fates(collection.index([path])) == {"failed": 1}
    assert found(collection, "memory") == ["a"]
    assert fates(collection.add([Document("a", "from memory again")])) == {"updated": 1}


def test_a_record_given_twice_counts_once_and_the_last_stands(collection):
    assert fates(collection.add([Document("a", "first"), Document("a", "second")])) == {"added": 1}
    assert [text for _, text in texts(collection).values()] == ["second"]
    assert fates(collection.add([Document("a", "third"), Document("a", "second")])) == {"updated": 1}
    assert [text for _, text in texts(collection).values()] == ["second"]


def test_a_row_that_becomes_unreadable_loses_nothing_stored(collection, tmp_path):
    good = [row("a", "alpha"), row("b", "beta"), row("c", "gamma")]
    path = rows(tmp_path / "r.jsonl", *good)
    collection.index([path])
    rows(path, good[0], '{"_id": "b", "text": ', good[2], at=LONG_AGO + 1)
    assert fates(collection.index([path])) == {"unchanged": 2, "failed": 1}
    assert keys(collection) == ["a", "b", "c"]
    # nor by the next change, while it is still unreadable
    rows(path, good[0], '{"_id": "b", "text": ', good[2], row("d", "delta"), at=LONG_AGO + 2)
    assert fates(collection.index([path])) == {"added": 1, "unchanged": 2, "failed": 1}
    assert keys(collection) == ["a", "b", "c", "d"]
    rows(path, good[0], good[2], row("d", "delta"), at=LONG_AGO + 3)
    assert fates(collection.index([path])) == {"unchanged": 3, "deleted": 1}


def test_a_row_mended_while_another_breaks_loses_nothing_stored(collection, tmp_path):
    path = rows(tmp_path / "r.jsonl", row("a", "alpha"), '{"_id": "b", ', row("c", "gamma"))
    collection.index([path])
    rows(path, row("a", "alpha"), row("b", "beta"), '{"_id": "c", "text": [', at=LONG_AGO + 1)
    report = collection.index([path])
    assert fates(report) == {"added": 1, "unchanged": 1, "failed": 1}
    assert keys(collection) == ["a", "b", "c"]


def test_a_row_that_never_was_readable_keeps_no_other_row_alive(collection, tmp_path):
    path = rows(tmp_path / "r.jsonl", row("a", "alpha"), "no JSON", row("b", "beta"), row("c", "gamma"))
    assert fates(collection.index([path])) == {"added": 3, "failed": 1}
    rows(path, row("x", "xi"), row("a", "alpha"), "no JSON", row("b", "beta"), at=LONG_AGO + 1)
    assert fates(collection.index([path])) == {"added": 1, "unchanged": 2, "deleted": 1, "failed": 1}
    assert keys(collection) == ["a", "b", "x"]


def test_a_file_of_rows_cut_short_brings_in_what_was_read_and_loses_nothing(collection, tmp_path):
    lines = "".join(f'{{"_id": "{n}", "text": "row number {n} {os.urandom(20).hex()}"}}\n' for n in range(500))
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(gzip.compress(lines.encode()))
    collection.index([path])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    report = collection.index([path])
    assert (report.added, report.updated, report.deleted) == (0, 0, 0)
    assert [failure.where for failure in report.failures] == [str(path)]
    assert len(keys(collection)) == 500
    path.write_bytes(whole)
    assert fates(collection.index([path])) == {"unchanged": 500}


def test_what_was_refused_is_told_again_by_every_run(collection, tmp_path):
    path = rows(tmp_path / "r.jsonl", row("a", "alpha"), row("b", ""), "[1]")
    reasons = [[str(failure) for failure in collection.index([path]).failures] for _ in range(3)]
    assert len(reasons[0]) == 2
    assert reasons[0] == reasons[1] == reasons[2]
