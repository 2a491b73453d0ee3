"""Vectors of rows, by the `embed` command: what is written is what the library gives, whole or not at all."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest

from instructsearch import embed, rows
from instructsearch.cli import _run
from instructsearch.errors import InstructSearchError, ReadError, StorageError

ROWS = [
    {"_id": "t1", "title": "Fire", "text": "The printer is on fire"},
    {"_id": "t2", "title": "Money", "text": "I want a refund for this"},
    {"_id": "t3", "text": ""},
]
TEXTS = [row["text"] for row in ROWS]
hashed = embed.load("hash")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def written(place, **options):
    calls = []
    chosen = {"field": "text", "instruction": "", "role": "document", "model": hashed, "file": place / "in" / "t.jsonl"}
    chosen |= options
    count = rows.embed_rows(**chosen, out=place / "x.npy", progress=lambda done, total: calls.append((done, total)))
    return count, np.load(place / "x.npy"), calls


@pytest.mark.parametrize("role", ["query", "document"])
@pytest.mark.parametrize("instruction", ["", "by fire or refund"])
def test_the_file_holds_the_librarys_vectors(place, capsys, role, instruction):
    command = ["embed", "in/t.jsonl", "--embedder", "hash", "--instruction", instruction, "--role", role]
    assert _run([*command, "--field", "text", "--out", "x.npy", "--json"]) == 0
    out, _ = capsys.readouterr()
    assert json.loads(out) == {"rows": 3, "dim": 64, "embedder": "hash", "device": "cpu", "out": "x.npy"}
    vectors = np.load(place / "x.npy")
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    np.testing.assert_array_equal(vectors, hashed.encode(TEXTS, instruction, role))


def test_rows_are_embedded_in_windows_in_their_order(place, monkeypatch):
    monkeypatch.setattr(rows, "WINDOW", 2)
    count, vectors, calls = written(place)
    assert count == 3
    np.testing.assert_array_equal(vectors, hashed.encode(TEXTS))
    assert calls == [(2, 3), (3, 3)]


def test_a_compressed_file_a_byte_order_mark_and_blank_lines_are_read(place):
    file = place / "in" / "t.jsonl.gz"
    file.write_bytes(gzip.compress(b"\xef\xbb\xbf" + b'{"text": "a"}\r\n\n  \n{"text": "\\ud800b"}'))
    count, vectors, _ = written(place, file=file)
    assert count == 2
    np.testing.assert_array_equal(vectors, hashed.encode(["a", "?b"]))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "has no text in the field 'text'"),
        (b"{}", "has no text in the field 'text'"),
        (b'{"text": 5}', "has no text in the field 'text'"),
        (b'{"text": null}', "has no text in the field 'text'"),
    ],
    ids=range(7),
)
def test_a_bad_row_is_named_before_anything_is_embedded(place, monkeypatch, line, reason):
    file = place / "in" / "t.jsonl"
    file.write_bytes(file.read_bytes() + line + b"\n")
    monkeypatch.setattr(hashed, "encode", None)
    with pytest.raises(ReadError, match=f"t.jsonl:4: {reason}"):
        written(place)
    assert [path.name for path in place.iterdir()] == ["in"]


def test_a_file_without_rows_or_cut_short_is_refused(place):
    (place / "empty.jsonl").write_text("\n")
    with pytest.raises(ReadError, match="has no rows"):
        written(place, file=place / "empty.jsonl")
    (place / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 1000)[:-12])
    with pytest.raises(ReadError, match=r"cut\.jsonl\.gz: cannot be read"):
        written(place, file=place / "cut.jsonl.gz")
    assert not (place / "x.npy").exists()


def test_a_failure_half_way_leaves_what_was_there(place, monkeypatch):
    _, before, _ = written(place)
    monkeypatch.setattr(rows, "WINDOW", 2)
    whole = hashed.encode

    def cut(texts, *arguments, **options):
        if len(texts) < 2:
            raise StorageError("the disk went away")
        return whole(texts, *arguments, **options)

    monkeypatch.setattr(hashed, "encode", cut)
    with pytest.raises(InstructSearchError, match="went away"):
        written(place)
    np.testing.assert_array_equal(np.load(place / "x.npy"), before)
    assert sorted(path.name for path in place.iterdir()) == ["in", "x.npy"]


@pytest.mark.parametrize(
    ("file", "out", "code", "word"),
    [
        ("in/t.jsonl", "absent/x.npy", 1, "error: absent/x.npy"),
        ("in/t.jsonl", "in/t.jsonl/x.npy", 1, "x.npy"),
        ("absent.jsonl", "x.npy", 2, "absent.jsonl"),
        ("in", "x.npy", 2, "'in'"),
    ],
)
def test_a_file_that_cannot_be_read_or_written_is_named(place, capsys, file, out, code, word):
    assert _run(["embed", file, "--embedder", "hash", "--out", out]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert word in told.err


def test_minilm_says_on_stderr_that_it_ignores_an_instruction(place):
    command = [sys.executable, "-m", "instructsearch", "embed", "in/t.jsonl", "--embedder", "minilm", "--device", "cpu"]
    done = subprocess.run(
        [*command, "--instruction", "Represent the ticket by its tone:", "--out", "x.npy", "--json"],
        **{"cwd": place, "capture_output": True, "text": True},
    )
    assert done.returncode == 0
    assert "ignores instructions" in done.stderr
    assert json.loads(done.stdout)["dim"] == 384
    assert np.load(place / "x.npy").shape == (3, 384)
