"""Kill a process at every step that touches the disk, and look at what is left. Run by test_crash.py, a scenario each.

The steps are not listed by hand: each fsync, rename, unlink and SQL statement that begins or ends a transaction of the
operation is one, before and after it happens, whoever issues it. The operation runs in a forked child, which kills
itself with SIGKILL at the n-th; then the collection is opened as a reader would, and must be the old or the new one.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # a forked child must not wait for threads that only its parent had

import instructsearch.editor
import instructsearch.embed.hashed
import instructsearch.index  # noqa: F401 - imported once, for every child to come
from instructsearch import store
from instructsearch.collection import Collection
from instructsearch.store import writing

WORDS = ("zebra", "lorry", "violin", "teapot", "glacier", "pepper")
ASKED = ("zebra number", "teapot", "giraffe submarine")


class Points:
    """Counts the steps, and dies at the chosen one."""

    def __init__(self, fatal):
        self.fatal = fatal
        self.count = 0

    def reach(self):
        self.count += 1
        if self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function):
        def wrapped(*arguments, **options):
            self.reach()
            result = function(*arguments, **options)
            self.reach()
            return result

        return wrapped

    def install(self):
        for name in ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir"):
            setattr(os, name, self.around(getattr(os, name)))
        connect = store.connect_writer

        def traced(*arguments, **options):
            opened = connect(*arguments, **options)
            opened.set_trace_callback(self.statement)
            return opened

        store.connect_writer = traced
        add_view = writing.Writer.add_view
        writing.Writer.add_view = self.around(add_view)

    def statement(self, sql):
        if sql.split(None, 1)[0] in ("BEGIN", "COMMIT", "VACUUM", "DELETE", "UPDATE"):
            self.reach()


def write(folder, name, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    os.utime(folder / name, (1_000_000_000, 1_000_000_000 + len(text)))


def base(place):
    """Make files, and a collection of them with two views."""
    for number, word in enumerate(WORDS):
        write(place / "docs", f"{number}.txt", f"The {word} is number {number}.\n\nAnother line on the {word}.")
    made = Collection.create("c", place / "root", embedder="hash", chunk_tokens=8)
    made.index([place / "docs"])
    made.add_view("other", instruction="Sort by the kind of thing")


def change(place):
    docs = place / "docs"
    write(docs, "0.txt", "The zebra was replaced by a giraffe, which is taller.")
    write(docs, "9.txt", "A new text on the submarine.")
    (docs / "1.txt").unlink()
    (docs / "2.txt").rename(docs / "2b.txt")


def opened(place):
    return Collection.open("c", place / "root")


SCENARIOS = {
    "first index": (
        lambda place: shutil.rmtree(place / "root"),
        lambda place: (
            Collection.open("c", place / "root")
            if (place / "root" / "c").exists()
            else Collection.create("c", place / "root", embedder="hash", chunk_tokens=8)
        ).index([place / "docs"]),
    ),
    "sync": (change, lambda place: opened(place).index([place / "docs"])),
    "delete": (
        lambda place: None,
        lambda place: opened(place).delete([str(place / "docs" / "3.txt"), str(place / "docs" / "4.txt")]),
    ),
    "compact": (
        lambda place: opened(place).delete([str(place / "docs" / "3.txt")]),
        lambda place: opened(place).compact(),
    ),
    "view add": (
        lambda place: None,
        lambda place: (
            None
            if "third" in {row.name for row in opened(place).views() if row.ready}
            else opened(place).add_view("third", instruction="Sort by number")
        ),
    ),
    "view drop": (
        lambda place: None,
        lambda place: opened(place).drop_view("other") if len(opened(place).views()) == 2 else None,
    ),
}


def state(place):
    """Return everything a reader can see: each document's passages, and each view's answers."""
    if not (place / "root" / "c").exists():
        return None
    collection = opened(place)
    views = sorted(row.name for row in collection.views() if row.ready)
    seen = {}
    for word in ASKED:
        for view in views:
            for mode in ("dense", "bm25", "hybrid"):
                hits = collection.search(word, view=view, mode=mode, k=50)
                seen[f"{word} {view} {mode}"] = [
                    (hit.document, hit.start, hit.end, hit.text, hit.score) for hit in hits
                ]
    found = collection.check()
    assert found.clean, found.damage
    return {"views": views, "answers": seen}


def forked(run):
    """Run in a child; return how it ended (0, or the signal's number below zero) and what it returned."""
    reader, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        code = 1
        try:
            result = json.dumps(run())
            with os.fdopen(sender, "w") as out:
                out.write(result)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(sender)
    with os.fdopen(reader) as stream:
        told = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, json.loads(told) if told else None


def operate(operation, place, fatal):
    points = Points(fatal)
    points.install()
    operation(place)
    return points.count


def resume(operation, place):
    """Run the operation again, and then a write of nothing, which sweeps; return the state and what check notes."""
    operation(place)
    opened(place).add([])
    return state(place), opened(place).check().notes


def asserted(outcome):
    status, value = outcome
    assert status == 0, f"a child that should have lived ended with {status}"
    return value


def play(name, place):
    prepare, operation = SCENARIOS[name]
    asserted(forked(lambda: base(place)))
    asserted(forked(lambda: prepare(place) and None))
    kept = place.with_name("kept")
    shutil.copytree(place, kept, symlinks=True)

    def reset():
        shutil.rmtree(place)
        shutil.copytree(kept, place)

    old = asserted(forked(lambda: state(place)))
    total = asserted(forked(lambda: operate(operation, place, 0)))
    new = asserted(forked(lambda: state(place)))
    outcomes = {"old": 0, "new": 0}
    for fatal in range(1, total + 1):
        reset()
        status, _ = forked(lambda fatal=fatal: operate(operation, place, fatal))
        assert status == -signal.SIGKILL, f"point {fatal} of {total} was not reached ({status})"
        left = asserted(forked(lambda: state(place)))
        if left == new:
            outcomes["new"] += 1
        elif left == old or (name == "first index" and left == {"views": ["default"], "answers": EMPTY}):
            outcomes["old"] += 1
        else:
            raise AssertionError(f"{name}, point {fatal} of {total}: neither old nor new: {left}")
        resumed, stray = asserted(forked(lambda: resume(operation, place)))
        assert resumed == new, f"{name}, point {fatal}: the next run did not complete"
        assert not stray, f"{name}, point {fatal}: {stray}"
    return {"points": total, **outcomes}


EMPTY = {f"{word} default {mode}": [] for word in ASKED for mode in ("dense", "bm25", "hybrid")}

if __name__ == "__main__":
    print(json.dumps(play(sys.argv[1], Path(sys.argv[2]))))
