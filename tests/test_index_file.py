"""Index files: nothing half-written is left, no damage goes unseen by verify, none ever crashes the process."""

import errno
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from instructsearch.errors import CollectionDamaged, MissingExtra, StorageError
from instructsearch.index import IndexFile, VectorIndex, file
from instructsearch.index.installed import faiss, refuse_old

SPECS = ["Flat", "SQ8", "SQfp16", "HNSW8", "HNSW8,SQ8", "IVF8,Flat", "IVF8,SQ8"]
ROWS, DIM = 400, 16
IDS = np.arange(ROWS, dtype=np.int64) * 5


def table():
    rows = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def saved(folder, spec="SQ8"):
    return VectorIndex.build([(IDS, table())], DIM, spec).save(folder)


def reopen(folder, listed, **options):
    return VectorIndex.open(folder, listed, dim=DIM, device="cpu", **options)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


# Writing


@pytest.mark.parametrize("spec", SPECS)
def test_saving_leaves_one_file_of_the_listed_size(tmp_path, spec):
    listed = saved(tmp_path, spec)
    assert left_in(tmp_path) == [listed.name]
    assert (tmp_path / listed.name).stat().st_size == listed.size
    assert (listed.spec, listed.rows) == ("HNSW8,Flat" if spec == "HNSW8" else spec, ROWS)


def test_a_reopened_index_can_be_saved_again_to_the_same_bytes(tmp_path):
    listed = saved(tmp_path)
    again = reopen(tmp_path, listed).save(tmp_path)
    assert (again.sha256, again.size) == (listed.sha256, listed.size)


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_failing_disk_leaves_no_file_and_says_why(tmp_path, monkeypatch, call):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError, match=r"idx-\w+\.faiss cannot be written to .*: No space left on device"):
        saved(tmp_path)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("limit", [100, 4096, 15_000])
def test_a_disk_that_fills_while_faiss_writes_leaves_no_file(tmp_path, limit):
    code = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from instructsearch.errors import StorageError
from instructsearch.index import VectorIndex
index = VectorIndex.build([(np.arange(400), np.eye(400, 16, dtype=np.float32))], 16, "SQfp16")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    index.save(Path(sys.argv[1]))
except StorageError as error:
    print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "cannot be written" in done.stdout and "File too large" in done.stdout, done.stderr
    assert left_in(tmp_path) == []


def test_an_interrupt_while_faiss_writes_leaves_no_file(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    index = VectorIndex.build([(IDS, table())], DIM, "SQ8")
    monkeypatch.setattr(faiss, "write_index", interrupt)
    with pytest.raises(KeyboardInterrupt):
        index.save(tmp_path)
    assert left_in(tmp_path) == []


# Damage


@pytest.mark.parametrize("spec", SPECS)
def test_every_truncation_is_seen_on_opening(tmp_path, spec):
    listed = saved(tmp_path, spec)
    path = tmp_path / listed.name
    data = path.read_bytes()
    for size in [0, 1, 4, 33, 127, 128, *range(200, len(data), max(1, len(data) // 40)), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(CollectionDamaged, match=listed.name):
            reopen(tmp_path, listed)
        # and when whoever cut the file also changed the listing
        with pytest.raises(CollectionDamaged, match=listed.name):
            reopen(tmp_path, replace(listed, size=size))


@pytest.mark.parametrize("spec", SPECS)
def test_every_flipped_bit_is_seen_by_verify(tmp_path, spec):
    listed = saved(tmp_path, spec)
    path = tmp_path / listed.name
    data = path.read_bytes()
    for at in range(0, len(data), max(1, len(data) // 150)):
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        with pytest.raises(CollectionDamaged, match=f"{listed.name} was altered"):
            reopen(tmp_path, listed, verify=True)


def test_damage_to_headers_ids_and_the_end_is_seen_on_plain_opening(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "_HEAD", 256)
    listed = saved(tmp_path)
    path = tmp_path / listed.name
    data = path.read_bytes()
    ends = len(data) - 128 - 8 * ROWS
    for at in [*range(256), *range(ends, len(data))]:
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        with pytest.raises(CollectionDamaged, match=f"{listed.name} was altered"):
            reopen(tmp_path, listed)


@pytest.mark.parametrize("spec", ["SQ8", "HNSW8", "HNSW8,SQ8", "IVF8,SQ8", "IVF8,Flat"])
def test_damage_past_our_checks_never_crashes_and_never_yields_a_row_that_is_not_there(tmp_path, spec):
    """With our checksums off, so that FAISS itself meets every kind of damage; in a child, as a crash would be one."""
    code = """
import random, sys
from pathlib import Path
import numpy as np
from instructsearch.errors import CollectionDamaged
from instructsearch.index import VectorIndex, engine, file, vector_index
folder, spec = Path(sys.argv[1]), sys.argv[2]
rows = np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
listed = VectorIndex.build([(np.arange(400) * 5, rows)], 16, spec).save(folder)
data = (folder / listed.name).read_bytes()
payload = file._END.unpack_from(data, len(data) - 128)[4]
file._end = lambda *facts: data[-128:]
engine.probes = lambda spec, rows: 2
engine.SEEN_A_RESULT = 0
vector_index.FEW_ROWS = 10
random.seed(1)
outcomes = {"refused": 0, "answered": 0}
for turn in range(300):
    at = random.randrange(payload if turn % 2 else min(payload, 400))
    hurt = bytearray(data)
    hurt[at] ^= 1 << random.randrange(8)
    (folder / listed.name).write_bytes(hurt)
    try:
        index = VectorIndex.open(folder, listed, dim=16, device="cpu")
        for filters in ({}, {"allowed": np.arange(100, 400) * 5}):
            found = index.search(rows[:3], 5, **filters)
            if found is not None:
                outcomes["answered"] += 1
                assert np.isin(found[0], np.arange(400) * 5).all(), found
                assert not filters or (found[0] >= 500).all()
    except CollectionDamaged:
        outcomes["refused"] += 1
assert min(outcomes.values()) > 10, outcomes
"""
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path), spec]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])


def test_an_opened_index_owns_its_memory(tmp_path):
    # FAISS's downcast_index hands out a proxy that does not, and what it points to is freed with the original
    assert reopen(tmp_path, saved(tmp_path))._index.thisown


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CollectionDamaged, match="cannot be opened: No such file"):
        reopen(tmp_path, IndexFile("idx-0123456789abcdef.faiss", 9, "", "Flat", 1))


@pytest.mark.parametrize("name", ["../idx-0123456789abcdef.faiss", "/etc/passwd", "idx-.faiss", "seg-1.vec", ""])
def test_a_listed_name_cannot_lead_out_of_the_folder(tmp_path, name):
    with pytest.raises(CollectionDamaged, match="is not an index"):
        reopen(tmp_path, IndexFile(name, 9, "", "Flat", 1))


@pytest.mark.parametrize(
    "wrong", [{"rows": 399}, {"rows": 0}, {"spec": "Flat"}, {"spec": "SQfp16"}, {"spec": "nonsense"}], ids=str
)
def test_a_listing_that_disagrees_with_the_file_is_seen(tmp_path, wrong):
    with pytest.raises(CollectionDamaged):
        reopen(tmp_path, replace(saved(tmp_path), **wrong))


def test_another_dimension_than_the_view_s_is_seen(tmp_path):
    with pytest.raises(CollectionDamaged):
        VectorIndex.open(tmp_path, saved(tmp_path), dim=DIM + 1)


# Files that others made


def forged(folder, index, spec, ids=IDS):
    """Save any FAISS index under our end, with every checksum right."""
    from instructsearch.index.spec import Spec

    family = spec.partition(",")[0].rstrip("0123456789") if "," in spec else ""
    size = int(spec.partition(",")[0][len(family) :]) if family else 0
    return file.save(folder, index, ids, Spec(family, size, spec.rpartition(",")[2]))


def made(factory, metric=faiss.METRIC_INNER_PRODUCT, rows=ROWS):
    index = faiss.index_factory(DIM, factory, metric)
    index.train(table())
    index.add(table()[:rows])
    return index


def mapped():
    index = faiss.index_factory(DIM, "IDMap2,Flat", faiss.METRIC_INNER_PRODUCT)
    index.add_with_ids(table(), IDS)
    return index


def test_a_forged_file_of_an_allowed_kind_opens(tmp_path):
    assert reopen(tmp_path, forged(tmp_path, made("SQ8"), "SQ8")).rows == ROWS


@pytest.mark.parametrize(
    ("make", "spec"),
    [
        (mapped, "Flat"),
        (lambda: made("SQ8"), "SQfp16"),
        (lambda: made("PQ4x4"), "SQ8"),
        (lambda: made("Flat", faiss.METRIC_L2), "Flat"),
        (lambda: made("Flat", rows=399), "Flat"),
        (lambda: made("IVF8,PQ4x4"), "IVF8,SQ8"),
        (lambda: made("IVF8,SQ8"), "IVF16,SQ8"),
        (lambda: made("IVF8(HNSW8),SQ8"), "IVF8,SQ8"),
        (lambda: made("HNSW16"), "HNSW8,Flat"),
        (lambda: made("PCA8,Flat"), "Flat"),
        (lambda: made("LSH", faiss.METRIC_L2), "Flat"),
    ],
    ids=[
        *("IDMap2", "other codes", "PQ", "L2", "a row short", "IVF of PQ", "other lists", "IVF over HNSW"),
        *("other links", "PCA", "LSH"),
    ],
)
def test_a_file_of_any_other_kind_is_refused_though_its_checksums_are_right(tmp_path, make, spec):
    with pytest.raises(CollectionDamaged, match=f"does not hold 400 rows as {spec}|FAISS cannot read it"):
        reopen(tmp_path, forged(tmp_path, make(), spec))


def test_reading_sets_faiss_s_limits_and_restores_them(tmp_path, monkeypatch):
    listed = saved(tmp_path)
    before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
    seen = []
    real = faiss.read_index

    def watched(*arguments):
        seen.append((faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()))
        return real(*arguments)

    monkeypatch.setattr(faiss, "read_index", watched)
    reopen(tmp_path, listed)
    assert seen == [(listed.size, 1 << 24)]
    assert before == (faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit())


@pytest.mark.parametrize("version", ["1.14.2", "1.15.0", "1.7.4.post1"])
def test_a_faiss_that_reads_without_bounds_is_refused(version):
    with pytest.raises(MissingExtra, match="too old"):
        refuse_old(version)


@pytest.mark.parametrize("version", ["1.15.1", "1.16.0", "2.0.0.post1"])
def test_a_faiss_that_is_new_enough_is_taken(version):
    assert refuse_old(version) is None


def test_without_faiss_the_extra_is_named():
    code = (
        "import sys\nsys.modules['faiss'] = None\ntry:\n    import instructsearch.index\nexcept ImportError as error:\n"
    )
    code += "    print(type(error).__name__, error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("MissingExtra FAISS is not installed: pip install 'instructsearch[cpu]'")
