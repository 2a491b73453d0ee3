"""A disk that is full or cannot be written: a clear error, the old or the new state served, the next run completes."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from corpora import MODES, made, reopened, told

from instructsearch.errors import CollectionNotFound, InstructSearchError, StorageError
from instructsearch.records import Document

NEW = [Document(f"n{number}", f"the new text {number} on a submarine") for number in range(150)]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    place = tmp_path_factory.mktemp("first")
    collection = made(place)
    collection.add(
        Document(f"{number}", f"the zebra of number {number} {'on the lorry ' * 8}") for number in range(200)
    )
    collection.add_view("other", instruction="sort by zebra", spec="HNSW8,SQ8")
    collection.delete([f"{number}" for number in range(0, 200, 4)])
    return place


@pytest.fixture
def place(first, tmp_path):
    shutil.copytree(first / "root", tmp_path / "root")
    return tmp_path


OPERATIONS = {
    "add": lambda place: reopened(place).add(NEW),
    "delete": lambda place: reopened(place).delete(["1", "2"]),
    "add view": lambda place: (
        None
        if any(view.name == "third" and view.ready for view in reopened(place).views())
        else reopened(place).add_view("third", instruction="by number", spec="SQ8")
    ),
    "compact": lambda place: reopened(place).compact(),
    "repair": lambda place: reopened(place).repair(),
}


def state(place):
    """Return all that a reader can see."""
    collection = reopened(place)
    views = sorted(view.name for view in collection.views() if view.ready)
    return views, [
        told(collection.search(word, view=view, mode=mode, k=500))
        for word in ("zebra number 7", "submarine")
        for view in views
        for mode in MODES
    ]


@contextmanager
def files_at_most(size):
    """Let no file grow beyond so many bytes, as a full disk would: Python ignores the signal that comes with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def syncs_until(monkeypatch, most):
    """Let the disk be full at the fsync after so many."""
    sync, done = os.fsync, []

    def counted(descriptor):
        done.append(descriptor)
        if len(done) > most:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", counted)
        yield


def attempted(operation, place):
    """Tell whether the operation was refused, which must be in words that name the trouble."""
    try:
        operation(place)
    except StorageError as error:
        assert any(word in str(error) for word in ("No space", "too large", "full", "disk I/O")), str(error)
        return True
    return False


def assert_whole(operation, place, old, new, what):
    """Hold that a reader finds the old or the new state and no damage, and that the next run completes."""
    assert state(place) in (old, new), f"{what}: neither the old nor the new state"
    assert reopened(place).check().clean, what
    operation(place)
    assert state(place) == new, f"{what}: the next run did not complete"
    reopened(place).add([])
    found = reopened(place).check()
    assert (found.damage, found.notes) == ([], []), what


def again(first, place):
    shutil.rmtree(place / "root")
    shutil.copytree(first / "root", place / "root")


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_full_disk_at_any_size_leaves_the_old_or_the_new_state(first, place, name):
    operation, old = OPERATIONS[name], state(place)
    operation(place)
    new = state(place)
    largest = max(path.stat().st_size for path in (place / "root").rglob("*") if path.is_file())
    refused = 0
    for size in (0, 100, 4096, 20_000, largest // 2, largest - 5000):
        again(first, place)
        with files_at_most(size):
            refused += attempted(operation, place)
        assert_whole(operation, place, old, new, f"{name} with files of at most {size} bytes")
    assert refused >= 3


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_disk_that_is_full_at_any_sync_leaves_the_old_or_the_new_state(first, place, name, monkeypatch):
    operation, old = OPERATIONS[name], state(place)
    operation(place)
    new = state(place)
    refused = most = 0
    while True:
        again(first, place)
        with syncs_until(monkeypatch, most):
            stopped = attempted(operation, place)
        assert_whole(operation, place, old, new, f"{name} with {most} syncs")
        refused += stopped
        if not stopped:
            break
        most += 1
    assert refused >= 1


def test_a_change_that_is_in_is_not_called_off_for_want_of_its_seal(place, monkeypatch, caplog):
    replaced = Path.replace

    def full(self, target):
        if self.name.startswith("collection.sum"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replaced(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        assert reopened(place).delete(["1"]) == ["1"]
    assert "could not be sealed" in caplog.text
    assert [path.name for path in (place / "root" / "c").glob("collection.*")] == ["collection.db"]
    assert reopened(place).check().clean
    reopened(place).add([])
    assert reopened(place).check().notes == []


def test_a_collection_that_cannot_be_made_leaves_nothing(tmp_path):
    with files_at_most(10_000), pytest.raises(StorageError):
        made(tmp_path)
    assert list((tmp_path / "root").iterdir()) == []
    with pytest.raises(CollectionNotFound):
        reopened(tmp_path)
    assert made(tmp_path).check().clean


@pytest.mark.parametrize("size", [0, 1000, 20_000, 30_000])
def test_an_export_that_does_not_fit_is_no_export_and_the_next_one_is(place, tmp_path, size):
    with files_at_most(size), pytest.raises(StorageError, match="nothing was exported"):
        reopened(place).export(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    reopened(place).export(tmp_path / "out")
    assert type(reopened(place)).import_(tmp_path / "out", "d", tmp_path / "root").check().clean


@pytest.mark.parametrize("size", [0, 20_000, 100_000])
def test_an_import_that_does_not_fit_leaves_nothing_and_the_next_one_is_whole(place, tmp_path, size):
    reopened(place).export(tmp_path / "out")
    opened = type(reopened(place))
    with files_at_most(size), pytest.raises(StorageError):
        opened.import_(tmp_path / "out", "d", tmp_path / "root")
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["c"]
    assert opened.import_(tmp_path / "out", "d", tmp_path / "root").check().clean


# --- a disk that can only be read

READER = """
import json, os, sys
from instructsearch import Collection, Document
from instructsearch.errors import StorageError
warm, root = sys.argv[1:]
def look(root):
    collection = Collection.open("c", root)
    hits = [collection.search("zebra number 7", view=view, mode=mode, k=500)
            for view in ("default", "other") for mode in ("dense", "bm25", "hybrid")]
    return [[(hit.document, hit.text, hit.score) for hit in some] for some in hits], collection.check().clean
CHANGES = (
    lambda c: c.add([Document("x", "text")]), lambda c: c.delete(["1"]), lambda c: c.add_view("n", instruction="x"),
    lambda c: c.drop_view("other"), lambda c: c.compact(), lambda c: c.repair())
# what is loaded late is loaded now, while it can be read
look(warm)
for change in CHANGES:
    change(Collection.open("c", warm))
def refused(change):
    try:
        change(Collection.open("c", root))
    except StorageError as error:
        return str(error)
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
if os.access(root + "/c/collection.db", os.W_OK):
    sys.exit("this user can write it")
seen, clean = look(root)
print(json.dumps({"seen": seen, "clean": clean, "refused": [refused(change) for change in CHANGES]}))
"""


def test_a_read_only_collection_is_searched_and_checked_and_not_changed(place):
    # root may write whatever the modes say, and others may not look into its folders: a tree for all, read as nobody
    shared = Path(tempfile.mkdtemp(prefix="read-only-"))
    shutil.copytree(place / "root", place / "warm")
    try:
        shutil.copytree(place / "root", shared / "root")
        for path in (shared, *shared.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        done = subprocess.run(
            [sys.executable, "-c", READER, str(place / "warm"), str(shared / "root")],
            capture_output=True,
            text=True,
        )
        if "Operation not permitted" in done.stderr:
            pytest.skip("the user cannot be changed here, and root may write everywhere")
        assert done.returncode == 0, done.stderr[-2000:]
        before = {path: path.read_bytes() for path in (place / "root").rglob("*") if path.is_file()}
        for path, content in before.items():
            assert (shared / "root" / path.relative_to(place / "root")).read_bytes() == content
    finally:
        for path in (shared, *shared.rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(shared)
    said = json.loads(done.stdout)
    own = reopened(place)
    assert said["clean"]
    assert said["seen"] == [
        [[hit.document, hit.text, hit.score] for hit in own.search("zebra number 7", view=view, mode=mode, k=500)]
        for view in ("default", "other")
        for mode in MODES
    ]
    assert all(text and "Permission denied" in text for text in said["refused"]), said["refused"]


def test_every_refusal_of_the_disk_is_an_error_of_ours(place):
    with files_at_most(0), pytest.raises(InstructSearchError) as told_of:
        reopened(place).add(NEW)
    assert "\n" not in str(told_of.value)
