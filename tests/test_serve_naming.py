"""Files of this machine go by names elsewhere: no folder of it is told, and a name leads back to its file."""

import hashlib

import pytest

from instructsearch.errors import BadFilter
from instructsearch.serve.naming import Names

FILES = ["/srv/docs/a/x.md", "/srv/docs/a/y.md", "/srv/docs/b/rows.jsonl"]
SCATTERED = ["/home/ann/notes.md", "/srv/docs/notes.md"]


def names(files=FILES):
    return Names(min(files), max(files), lambda: files)


def digest(folder):
    return hashlib.sha256(folder.encode()).hexdigest()[:8]


def test_a_file_is_called_by_its_path_below_what_all_files_share():
    assert names().source("/srv/docs/a/x.md") == "file:a/x.md"
    assert names().source("") == ""


def test_one_file_alone_is_called_by_its_name():
    assert names(["/srv/docs/a/x.md"]).source("/srv/docs/a/x.md") == "file:x.md"


def test_files_that_share_only_the_beginning_of_a_folders_name_share_what_is_above_it():
    assert names(["/srv/docs1/a.md", "/srv/docs2/a.md"]).source("/srv/docs1/a.md") == "file:docs1/a.md"


@pytest.mark.parametrize("files", [FILES, SCATTERED], ids=["one folder", "scattered"])
def test_a_name_leads_back_to_its_file(files):
    for path in files:
        name = names(files).source(path)
        assert "/srv" not in name and "/home" not in name
        assert path in list(names(files).keys(name))


def test_files_that_share_no_folder_are_told_apart_by_a_digest_of_theirs():
    told = [names(SCATTERED).source(path) for path in SCATTERED]
    assert told == [f"file:{digest('/home/ann')}/notes.md", f"file:{digest('/srv/docs')}/notes.md"]


def test_a_row_without_an_id_has_its_files_name_and_a_number():
    source = "/srv/docs/b/rows.jsonl"
    assert names().document(f"{source}#3", source) == "file:b/rows.jsonl#3"
    assert f"{source}#3" in list(names().keys("file:b/rows.jsonl#3"))
    scattered = names(SCATTERED)
    told = scattered.document("/home/ann/notes.md#3", "/home/ann/notes.md")
    assert "/home/ann/notes.md#3" in list(scattered.keys(told))


def test_an_id_that_was_given_stays_what_it_is():
    assert names().document("t1", "/srv/docs/b/rows.jsonl") == "t1"
    assert names().document("/an/id/that/looks/like/a/path", "") == "/an/id/that/looks/like/a/path"
    assert list(names().keys("t1")) == ["t1"]
    assert next(iter(names().keys("file:t1"))) == "file:t1", "an id may begin as names do"


def test_metadata_tells_the_name_and_keeps_a_path_of_the_users_own():
    source = "/srv/docs/a/x.md"
    assert names().metadata({"path": source, "year": 1}, source) == {"path": "file:a/x.md", "year": 1}
    assert names().metadata({"path": "my/own"}, source) == {"path": "my/own"}


def test_a_filter_by_name_is_one_by_path():
    told = {"$and": [{"path": "file:a/x.md"}, {"$not": {"source": {"$in": ["file:a/y.md", "z"]}}}, {"year": 1}]}
    assert names().where(told) == {
        "$and": [
            {"path": "/srv/docs/a/x.md"},
            {"$not": {"source": {"$in": ["/srv/docs/a/y.md", "z"]}}},
            {"year": 1},
        ]
    }
    assert names().where(None) is None
    assert names().where({"document": {"$ne": "file:a/x.md"}}) == {"document": {"$ne": "/srv/docs/a/x.md"}}


@pytest.mark.parametrize("where", [{"path": {"$gte": "/srv"}}, {"$or": [{"source": {"$lt": "/t"}}]}])
def test_a_filter_cannot_ask_its_way_to_a_path(where):
    with pytest.raises(BadFilter, match="no order"):
        names().where(where)


def test_a_filter_nested_without_end_is_refused():
    where = {"a": 1}
    for _ in range(5000):
        where = {"a": {"$not": where["a"] if isinstance(where["a"], dict) else {"$eq": 1}}}
    with pytest.raises(BadFilter):
        names().where(where)
    where = 1
    for _ in range(5000):
        where = {"$not": where}
    with pytest.raises(BadFilter):
        names().where(where)
