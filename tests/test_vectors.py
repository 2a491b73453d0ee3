"""Segment files: what is written is what is read, and no damage to a file goes unseen."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from instructsearch import vectors
from instructsearch.errors import BadVector, CollectionDamaged, StorageError


def unit(rows, dim=8, seed=0):
    table = np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def ids(*values):
    return np.array(values, np.int64)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


# Round trip


@pytest.mark.parametrize(("rows", "dim"), [(1, 1), (1, 384), (7, 3), (1000, 5), (333, 64)])
def test_what_is_written_is_read_back_bit_for_bit(tmp_path, rows, dim):
    table = unit(rows, dim)
    segment = vectors.write(tmp_path, np.arange(rows) * 3, table)
    opened = vectors.open(tmp_path, segment)
    assert (segment.rows, segment.dim, segment.size) == (rows, dim, (tmp_path / segment.name).stat().st_size)
    assert opened.ids.tolist() == list(range(0, 3 * rows, 3))
    assert opened.vectors.dtype == np.float32 and np.array_equal(opened.vectors, table)
    assert opened.vectors.ctypes.data % 64 == 0 and opened.ids.ctypes.data % 64 == 0
    assert left_in(tmp_path) == [segment.name]
    vectors.verify(tmp_path, segment)


def test_rows_are_sorted_by_id_and_keep_their_vectors(tmp_path):
    table = unit(50)
    shuffled = np.random.default_rng(1).permutation(50)
    opened = vectors.open(tmp_path, vectors.write(tmp_path, shuffled, table[shuffled]))
    assert opened.ids.tolist() == list(range(50))
    assert np.array_equal(opened.vectors, table)


def test_a_segment_cannot_be_changed_through_its_arrays(tmp_path):
    opened = vectors.open(tmp_path, vectors.write(tmp_path, ids(1), unit(1)))
    with pytest.raises(ValueError, match="read-only"):
        opened.vectors[0, 0] = 1


def test_many_small_segments_hold_no_file_open(tmp_path):
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("counts descriptors in /proc")
    segments = [vectors.write(tmp_path, np.arange(5), unit(5)) for _ in range(50)]
    before = len(list(folder.iterdir()))
    opened = [vectors.open(tmp_path, segment) for segment in segments]
    assert len(list(folder.iterdir())) <= before and len(opened) == 50


def test_large_and_small_segments_read_alike(tmp_path, monkeypatch):
    segment = vectors.write(tmp_path, np.arange(5), unit(5))
    small = vectors.open(tmp_path, segment)
    monkeypatch.setattr("instructsearch.vectors.segments._SMALL", 0)
    large = vectors.open(tmp_path, segment)
    assert np.array_equal(small.vectors, large.vectors) and np.array_equal(small.ids, large.ids)
    vectors.prove(small.ids, [small])
    vectors.prove(large.ids, [large])


def test_equal_rows_give_equal_bytes_under_another_name(tmp_path):
    one = vectors.write(tmp_path, np.arange(5), unit(5))
    two = vectors.write(tmp_path, np.arange(5), unit(5))
    assert one.name != two.name and one.sha256 == two.sha256


def test_a_segment_still_reads_after_its_file_is_removed(tmp_path):
    segment = vectors.write(tmp_path, np.arange(5), unit(5))
    opened = vectors.open(tmp_path, segment)
    (tmp_path / segment.name).unlink()
    assert np.array_equal(opened.vectors, unit(5))


# What is refused


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([np.nan, 0, 0, 0], "chunk 12 holds NaN or infinity"),
        ([np.inf, 0, 0, 0], "chunk 12 holds NaN or infinity"),
        ([0, 0, 0, 0], "chunk 12 has length 0, not 1"),
        ([1, 0.1, 0, 0], "chunk 12 has length 1.005, not 1"),
        ([3e38, 3e38, 0, 0], "chunk 12 holds NaN or infinity"),
    ],
    ids=["NaN", "infinity", "zero", "too long", "overflow"],
)
def test_a_vector_that_is_not_a_finite_unit_vector_is_refused_by_its_id(tmp_path, row, why):
    table = unit(3, 4)
    table[1] = row
    with pytest.raises(BadVector, match=why):
        vectors.write(tmp_path, ids(11, 12, 13), table)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    "table", [unit(2).astype(np.float64), unit(2)[0], np.empty((2, 0), np.float32)], ids=["float64", "flat", "no width"]
)
def test_what_is_not_a_table_of_float32_is_refused(tmp_path, table):
    with pytest.raises(BadVector, match="must be a table of float32"):
        vectors.write(tmp_path, ids(1, 2), table)


@pytest.mark.parametrize("some", [ids(1, 1), ids(-1, 4), ids(1), ids(1, 2, 3), np.array([1, 2], np.int32)], ids=str)
def test_ids_that_are_not_unique_and_one_a_row_are_a_mistake_of_the_caller(tmp_path, some):
    with pytest.raises(ValueError, match="ids"):
        vectors.write(tmp_path, some, unit(2))
    assert left_in(tmp_path) == []


def test_no_rows_are_a_mistake_of_the_caller(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        vectors.write(tmp_path, ids(), np.empty((0, 4), np.float32))


# Disk full, read-only, interrupted


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_failing_disk_leaves_no_file_and_says_why(tmp_path, monkeypatch, call):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError, match=r"seg-\w+\.vec cannot be written to .*: No space left on device"):
        vectors.write(tmp_path, np.arange(5), unit(5))
    assert left_in(tmp_path) == []


def test_a_folder_that_cannot_be_synced_leaves_no_file(tmp_path, monkeypatch):
    real, calls = os.fsync, []

    def fail_second(number):
        calls.append(number)
        if len(calls) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(number)

    monkeypatch.setattr(os, "fsync", fail_second)
    with pytest.raises(StorageError, match="Input/output error"):
        vectors.write(tmp_path, np.arange(5), unit(5))
    assert left_in(tmp_path) == []


def test_a_file_over_the_limit_of_the_disk_leaves_no_file(tmp_path):
    code = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from instructsearch import vectors
from instructsearch.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
table = np.zeros((1000, 64), np.float32)
table[:, 0] = 1
try:
    vectors.write(Path(sys.argv[1]), np.arange(1000), table)
except StorageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert "cannot be written" in done.stdout and "File too large" in done.stdout, done.stderr
    assert left_in(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StorageError, match="gone: No such file or directory"):
        vectors.write(tmp_path / "gone", np.arange(5), unit(5))


def test_an_interrupt_leaves_no_file(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        vectors.write(tmp_path, np.arange(5), unit(5))
    assert left_in(tmp_path) == []


# Damage


def damaged(tmp_path, edit):
    segment = vectors.write(tmp_path, np.arange(40) * 2, unit(40, 6))
    path = tmp_path / segment.name
    data = bytearray(path.read_bytes())
    path.write_bytes(edit(data))
    return segment


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 500, 1023, 1024, 1300, 1470, -4, -1])
def test_every_truncation_is_seen_on_opening_and_by_verify(tmp_path, size):
    segment = damaged(tmp_path, lambda data: data[:size])
    with pytest.raises(CollectionDamaged, match=f"{segment.name}.* bytes instead of {segment.size}"):
        vectors.open(tmp_path, segment)
    with pytest.raises(CollectionDamaged, match=segment.name):
        vectors.verify(tmp_path, segment)


def test_a_longer_file_is_seen(tmp_path):
    segment = damaged(tmp_path, lambda data: data + b"\0")
    with pytest.raises(CollectionDamaged, match="bytes instead of"):
        vectors.open(tmp_path, segment)


def test_every_flipped_bit_is_seen_by_verify_and_those_outside_the_vectors_on_opening(tmp_path):
    segment = vectors.write(tmp_path, np.arange(40) * 2, unit(40, 6))
    path = tmp_path / segment.name
    data = path.read_bytes()
    rows = range(64, 64 + 40 * 6 * 4)
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        with pytest.raises(CollectionDamaged, match=segment.name):
            vectors.verify(tmp_path, segment)
        if at in rows:
            opened = vectors.open(tmp_path, segment)
            with pytest.raises(CollectionDamaged, match=f"chunk {2 * ((at - 64) // 24)} was altered"):
                vectors.prove(opened.ids, [opened])
        else:
            with pytest.raises(CollectionDamaged, match=segment.name):
                vectors.open(tmp_path, segment)


@pytest.mark.parametrize("check", [vectors.open, vectors.verify])
def test_a_missing_file_is_named(tmp_path, check):
    segment = vectors.write(tmp_path, np.arange(4), unit(4))
    (tmp_path / segment.name).unlink()
    with pytest.raises(CollectionDamaged, match=f"{segment.name} cannot be .*No such file"):
        check(tmp_path, segment)


@pytest.mark.parametrize("check", [vectors.open, vectors.verify])
@pytest.mark.parametrize("name", ["../seg-0123456789abcdef.vec", "/etc/passwd", "seg-.vec", "collection.db", ""])
def test_a_listed_name_cannot_lead_out_of_the_folder(tmp_path, name, check):
    with pytest.raises(CollectionDamaged, match="is not a segment"):
        check(tmp_path, vectors.Segment(name, 1, 1, 1, ""))


@pytest.mark.parametrize("wrong", [{"rows": 41}, {"rows": 0}, {"dim": 7}, {"rows": 24, "dim": 10}], ids=str)
def test_a_listing_that_disagrees_with_the_file_is_seen(tmp_path, wrong):
    segment = vectors.write(tmp_path, np.arange(40), unit(40, 6))
    with pytest.raises(CollectionDamaged):
        vectors.open(tmp_path, replace(segment, **wrong))


# Rows by id


@pytest.fixture
def blocks():
    """Ids 0..19, then 20..29, then 15 and 25 again with other vectors."""
    table = unit(32)
    return [(np.arange(20), table[:20]), (np.arange(20, 30), table[20:30]), (ids(15, 25), table[30:])], table


def test_gather_keeps_the_order_asked_and_prefers_the_later_block(blocks):
    blocks, table = blocks
    found = vectors.gather(ids(25, 3, 3, 15, 29), blocks)
    assert np.array_equal(found, table[[31, 3, 3, 30, 29]])


def test_gather_of_nothing_is_an_empty_table(blocks):
    assert vectors.gather(ids(), blocks[0]).shape == (0, 8)
    assert vectors.gather(ids(), []).shape == (0, 0)


def test_gather_names_an_id_without_a_row(blocks):
    with pytest.raises(CollectionDamaged, match="chunk 77"):
        vectors.gather(ids(1, 77), blocks[0])


def test_missing_names_exactly_the_ids_without_a_row(blocks):
    assert vectors.missing(ids(99, 0, 29, 30, 15), blocks[0]).tolist() == [99, 30]
    assert vectors.missing(ids(3, 1), []).tolist() == [3, 1]


def test_prove_skips_the_padding_and_looks_at_the_later_row(tmp_path):
    old = vectors.open(tmp_path, vectors.write(tmp_path, ids(1, 2), unit(2)))
    segment = vectors.write(tmp_path, ids(2), unit(1, seed=5))
    path = tmp_path / segment.name
    data = bytearray(path.read_bytes())
    data[70] ^= 1
    path.write_bytes(data)
    new = vectors.open(tmp_path, segment)
    vectors.prove(np.array([[1, -1], [1, -1]]), [old, new])
    vectors.prove(ids(1, 2), [new, old])
    with pytest.raises(CollectionDamaged, match=f"{segment.name}: the vector of chunk 2"):
        vectors.prove(np.array([[1, 2]]), [old, new])


# Folding


def test_fold_makes_one_segment_of_the_wanted_rows_with_the_later_ones_winning(tmp_path):
    opened = [
        vectors.open(tmp_path, vectors.write(tmp_path, np.arange(10), unit(10))),
        vectors.open(tmp_path, vectors.write(tmp_path, ids(3, 40), unit(2, seed=7))),
    ]
    folded = vectors.open(tmp_path, vectors.fold(tmp_path, opened, ids(1, 3, 9, 40)))
    assert folded.ids.tolist() == [1, 3, 9, 40]
    assert np.array_equal(
        folded.vectors, np.concatenate([unit(10)[[1]], unit(2, seed=7)[[0]], unit(10)[[9]], unit(2, seed=7)[[1]]])
    )


def test_fold_never_gives_damage_a_good_checksum(tmp_path):
    segment = vectors.write(tmp_path, np.arange(10), unit(10))
    path = tmp_path / segment.name
    data = bytearray(path.read_bytes())
    data[64 + 4 * 32] ^= 1
    path.write_bytes(data)
    opened = [vectors.open(tmp_path, segment)]
    with pytest.raises(CollectionDamaged, match="chunk 4 was altered"):
        vectors.fold(tmp_path, opened, np.arange(10))
    assert left_in(tmp_path) == [segment.name]
    assert vectors.fold(tmp_path, opened, np.arange(4)).rows == 4


@pytest.mark.parametrize("some", [ids(), ids(2, 1), ids(1, 1)], ids=str)
def test_fold_needs_ascending_ids(tmp_path, some):
    opened = [vectors.open(tmp_path, vectors.write(tmp_path, np.arange(10), unit(10)))]
    with pytest.raises(ValueError, match="ascending"):
        vectors.fold(tmp_path, opened, some)


def test_fold_names_an_id_without_a_row(tmp_path):
    opened = [vectors.open(tmp_path, vectors.write(tmp_path, np.arange(10), unit(10)))]
    with pytest.raises(CollectionDamaged, match="chunk 10"):
        vectors.fold(tmp_path, opened, np.arange(11))
