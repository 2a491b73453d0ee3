"""Every allowed index under every filter: always min(k, matches) rows, the right ones, in the right order."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from instructsearch import vectors
from instructsearch.errors import BadIndex, BadVector
from instructsearch.index import VectorIndex, engine, resolve, vector_index
from instructsearch.index.spec import AUTO_IVF_ROWS, Spec

SPECS = [
    *("Flat", "SQ8", "SQfp16", "SQbf16"),
    *("HNSW8", "HNSW8,SQ8", "HNSW8,SQfp16", "HNSW8,SQbf16"),
    *("IVF64,Flat", "IVF64,SQ8", "IVF64,SQfp16", "IVF64,SQbf16", "IVF"),
]
EXACT_WITH_DEPTH = ("Flat", "SQ8", "SQfp16", "SQbf16")
ROWS, DIM, K = 3000, 24, 10


def unit(table):
    return (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)


def topics(rows, seed=0):
    """Rows around 60 centres, as texts lie around topics."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((60, DIM))
    return unit(centres[random.integers(0, 60, rows)] + 0.6 * random.standard_normal((rows, DIM)))


IDS = np.arange(ROWS, dtype=np.int64) * 3 + 7
TABLE = topics(ROWS)
QUERIES = topics(20, seed=1)
BLOCKS = [(IDS[:1000], TABLE[:1000]), (IDS[1000:], TABLE[1000:])]

FILTERS = {
    "none": {},
    "empty": {"allowed": IDS[:0]},
    "one": {"allowed": IDS[77:78]},
    "strangers": {"allowed": np.array([1, 2, 5], np.int64)},
    "a few": {"allowed": IDS[::200]},
    "half": {"allowed": IDS[::2]},
    "most": {"allowed": IDS[100:]},
    "all": {"allowed": IDS},
    "denied few": {"denied": IDS[5:300:7]},
    "denied strangers": {"denied": np.array([1, 2, 5], np.int64)},
    "denied most": {"denied": IDS[8:]},
    "denied all": {"denied": IDS},
    "both": {"allowed": IDS[::2], "denied": IDS[:1500]},
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Keep FAISS's idle threads from spinning through the tests of a small machine."""
    before = engine.faiss.omp_get_max_threads()
    engine.faiss.omp_set_num_threads(1)
    yield
    engine.faiss.omp_set_num_threads(before)


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    """Let 20 rows count as few and 100 as cheap to look at, so that the indexes themselves answer here."""
    monkeypatch.setattr(vector_index, "FEW_ROWS", 20)
    monkeypatch.setattr(engine, "SEEN_AT_LEAST", 100)


@pytest.fixture(scope="module")
def built():
    return {spec: VectorIndex.build(BLOCKS, DIM, spec) for spec in SPECS}


def answer(index, queries, k, **filters):
    """Search as a view does: propose and score again, or scan."""
    found = index.search(queries, index.depth(k), **filters)
    if found is None:
        return vectors.scan(queries, BLOCKS, k, **filters), True
    return vectors.rescore(queries, found[0], BLOCKS, k), False


def recall(found, exact):
    pairs = [(set(a) - {-1}, set(b) - {-1}) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
    return np.mean([len(a & b) / len(b) if b else 1.0 for a, b in pairs])


# Every spec, every filter


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("spec", SPECS)
def test_a_search_finds_min_of_k_and_matches_and_nearly_the_best(built, spec, name):
    exact = vectors.scan(QUERIES, BLOCKS, K, **FILTERS[name])
    for queries, wanted in ((QUERIES, exact), (QUERIES[:1], (exact[0][:1], exact[1][:1]))):
        (ids, scores), _ = answer(built[spec], queries, K, **FILTERS[name])
        assert ((ids >= 0).sum(axis=1) == (wanted[0] >= 0).sum(axis=1)).all()
        if spec in EXACT_WITH_DEPTH:
            assert np.array_equal(ids, wanted[0]) and np.array_equal(scores, wanted[1])
        assert recall(ids, wanted[0]) >= 0.9


@pytest.mark.parametrize("spec", SPECS)
def test_no_filter_is_answered_by_the_index_itself_except_where_a_scan_is_the_index(built, spec):
    index = built[spec]
    assert (index.search(QUERIES[:1], K) is None) == (spec == "Flat")
    assert (index.search(QUERIES, K) is None) == (index.spec in EXACT_WITH_DEPTH)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec != "Flat"])
def test_what_the_index_returns_obeys_the_filter_and_is_ordered_and_padded(built, spec):
    index = built[spec]
    gone = IDS[::5]
    ids, scores = index.search(QUERIES[:3], K, denied=gone)
    assert ids.shape == scores.shape == (3, K) and ids.dtype == np.int64 and scores.dtype == np.float32
    assert np.isin(ids, IDS).all() and not np.isin(ids, gone).any()
    assert (np.diff(scores, axis=1) <= 0).all()
    most = index.search(QUERIES[:3], K, allowed=IDS[600:])
    assert most is not None and np.isin(most[0], IDS[600:]).all()


@pytest.mark.parametrize("spec", SPECS)
def test_asking_for_more_than_there_is_pads(spec):
    rows = 50
    index = VectorIndex.build([(IDS[:rows], TABLE[:rows])], DIM, spec)
    found = index.search(QUERIES[:2], 80)
    if found is None:
        found = vectors.scan(QUERIES[:2], [(IDS[:rows], TABLE[:rows])], 80)
    assert (found[0] >= 0).sum(axis=1).tolist() == [rows, rows]
    assert (found[0][:, rows:] == -1).all() and np.isneginf(found[1][:, rows:]).all()
    assert sorted(found[0][0, :rows].tolist()) == IDS[:rows].tolist()


@pytest.mark.parametrize("spec", SPECS)
def test_no_query_and_no_result_asked_are_empty_tables(built, spec):
    assert built[spec].search(np.empty((0, DIM), np.float32), 5)[0].shape == (0, 5)
    assert built[spec].search(QUERIES, 0)[0].shape == (20, 0)


@pytest.mark.parametrize("spec", SPECS)
def test_equal_vectors_come_by_ascending_id(spec):
    table = np.concatenate([np.tile(TABLE[:1], (900, 1)), TABLE[1:601]])
    blocks = [(IDS[:1500], table)]
    index = VectorIndex.build(blocks, DIM, spec)
    found = index.search(TABLE[:1], 6)
    ids = vectors.scan(TABLE[:1], blocks, 6)[0] if found is None else found[0]
    assert (np.diff(ids) > 0).all() and (ids < IDS[900]).all()


@pytest.mark.parametrize("spec", SPECS)
def test_a_reopened_index_answers_as_the_built_one(built, tmp_path, spec):
    index = built[spec]
    listed = index.save(tmp_path)
    again = VectorIndex.open(tmp_path, listed, dim=DIM, verify=True)
    assert (again.spec, again.rows, again.dim, again.device) == (index.spec, ROWS, DIM, "cpu")
    assert (listed.spec, listed.rows) == (index.spec, ROWS)
    assert np.array_equal(again.ids, IDS)
    for queries in (QUERIES, QUERIES[:1]):
        for filters in FILTERS.values():
            one, two = (some.search(queries, K, **filters) for some in (index, again))
            assert (one is None) == (two is None)
            if one is not None:
                assert np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])


@pytest.mark.parametrize("spec", SPECS)
def test_equal_rows_give_equal_files_however_they_are_cut(tmp_path, spec):
    cut = [(IDS[1::2], TABLE[1::2]), (IDS[:0], TABLE[:0]), (IDS[::2], TABLE[::2])]
    one = VectorIndex.build(BLOCKS, DIM, spec).save(tmp_path)
    two = VectorIndex.build(iter(cut), DIM, spec).save(tmp_path)
    assert one.sha256 == two.sha256 and one.name != two.name


@pytest.mark.parametrize("spec", ["SQ8", "HNSW8", "IVF64,SQ8"])
def test_searches_of_several_threads_do_not_disturb_each_other(built, spec):
    queries = topics(60, seed=5)
    alone = [built[spec].search(queries[[at]], K, denied=IDS[at::50]) for at in range(60)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda at: built[spec].search(queries[[at]], K, denied=IDS[at::50]), range(60)))
    assert all(np.array_equal(one[0], two[0]) for one, two in zip(alone, together, strict=True))


# When the index declines


@pytest.mark.parametrize("spec", ["SQ8", "HNSW8", "IVF64,SQ8"])
def test_few_allowed_rows_are_left_to_a_scan(built, spec, monkeypatch):
    monkeypatch.setattr(vector_index, "FEW_ROWS", 300)
    assert built[spec].search(QUERIES[:1], 3, allowed=IDS[:300]) is None
    assert built[spec].search(QUERIES[:1], 3, allowed=IDS[:301]) is not None or spec != "SQ8"
    assert built[spec].search(QUERIES[:1], 31, allowed=IDS[:310]) is None  # ten times k
    monkeypatch.setattr(vector_index, "FEW_ROWS", 1)
    assert built[spec].search(QUERIES[:1], 3, allowed=IDS[:150]) is None  # a twentieth


def test_an_index_that_would_wander_declines(built):
    assert built["HNSW8"].search(QUERIES[:1], 5, allowed=IDS[:160]) is None
    assert built["IVF64,SQ8"].search(QUERIES[:1], 5, allowed=IDS[:1500]) is None
    assert built["IVF64,SQ8"].search(QUERIES[:1], 2000) is None


def test_an_index_that_finds_too_few_declines(built, monkeypatch):
    # All allowed rows are of lists far from the query, so that no probe meets them.
    index = built["IVF64,SQ8"]
    far = np.sort(IDS[np.argsort(TABLE @ QUERIES[0])[:2200]])
    monkeypatch.setattr(engine, "probes", lambda spec, rows: 1)
    monkeypatch.setattr(engine, "SEEN_A_RESULT", 0)
    assert index.search(QUERIES[:1], 100, allowed=far) is None


def test_effort_grows_as_fewer_rows_may_be_found():
    keep = np.zeros(1000, bool)
    keep[:250] = True
    ivf, hnsw = Spec.parse("IVF1024,SQ8"), Spec.parse("HNSW32")
    assert engine.parameters(ivf, 10, 1_000_000, None).nprobe == 96
    assert engine.parameters(ivf, 10, 1000, None).nprobe == 205  # twenty rows seen for each wanted
    assert engine.parameters(ivf, 1, 1000, keep).nprobe == 412  # a hundred of the quarter that may be found
    assert engine.parameters(ivf, 1, 100_000, np.arange(100_000) % 4 == 0).nprobe == 384
    assert engine.parameters(hnsw, 10, 1000, None).efSearch == 128
    assert engine.parameters(hnsw, 100, 1000, None).efSearch == 200
    assert engine.parameters(hnsw, 10, 1000, keep).efSearch == 512


def test_depth_leaves_room_only_where_codes_are_rounded(built):
    assert built["Flat"].depth(10) == 10 and not built["Flat"].approximate
    assert built["SQ8"].approximate and built["IVF64,Flat"].approximate
    assert [built["SQ8"].depth(k) for k in (1, 10, 50, 1000)] == [11, 20, 100, 1100]


# Building


def test_denied_ids_are_left_out_and_later_blocks_win():
    again = (IDS[[3, 2000]], unit(-TABLE[[3, 2000]]))
    index = VectorIndex.build([*BLOCKS, again], DIM, "SQfp16", denied=IDS[:3])
    assert np.array_equal(index.ids, IDS[3:])
    assert index.search(-TABLE[[3]], 1)[0].tolist() == [[IDS[3]]]


def test_progress_adds_up_to_the_rows(monkeypatch):
    monkeypatch.setattr(vector_index, "CHUNK", 700 * DIM)
    told = []
    VectorIndex.build(BLOCKS, DIM, "SQ8", progress=told.append)
    assert told == [700, 700, 700, 700, 200]


def test_parts_and_samples_do_not_change_the_index(tmp_path, monkeypatch):
    whole = VectorIndex.build(BLOCKS, DIM, "SQ8").save(tmp_path)
    monkeypatch.setattr(vector_index, "CHUNK", 700 * DIM)
    assert VectorIndex.build(BLOCKS, DIM, "SQ8").save(tmp_path).sha256 == whole.sha256


@pytest.mark.parametrize(
    ("blocks", "why"),
    [
        ([], "needs rows"),
        ([(IDS[:0], TABLE[:0])], "needs rows"),
        ([(np.array([1, 1]), TABLE[:2])], "ascending, unique"),
        ([(np.array([2, 1]), TABLE[:2])], "ascending, unique"),
        ([(np.array([-1, 1]), TABLE[:2])], "not negative"),
        ([(IDS[:2], TABLE[:3])], "2 rows of 24 float32 expected"),
        ([(IDS[:2], TABLE[:2].astype(np.float64))], "float32 expected"),
        ([(IDS[:2], TABLE[:2, :5])], "2 rows of 24 float32 expected"),
    ],
    ids=["none", "empty", "twice", "descending", "negative", "uneven", "float64", "narrow"],
)
def test_blocks_that_are_not_blocks_are_a_mistake_of_the_caller(blocks, why):
    with pytest.raises(ValueError, match=why):
        VectorIndex.build(blocks, DIM, "Flat")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_refused_by_its_id(value):
    table = TABLE.copy()
    table[2345, 1] = value
    with pytest.raises(BadVector, match=f"chunk {IDS[2345]} holds NaN"):
        VectorIndex.build([(IDS, table)], DIM, "SQ8")


@pytest.mark.parametrize("queries", [np.full((1, DIM), np.nan, np.float32), TABLE[0], TABLE[:1, :5]], ids=str)
def test_a_query_that_does_not_fit_is_refused(built, queries):
    with pytest.raises(BadVector, match="24 dimensions"):
        built["SQ8"].search(queries, 3)


def test_building_restores_the_number_of_threads():
    engine.faiss.omp_set_num_threads(2)
    VectorIndex.build(BLOCKS, DIM, "HNSW8")
    assert engine.faiss.omp_get_max_threads() == 2
    engine.faiss.omp_set_num_threads(1)


def test_building_and_searching_say_nothing_on_stdout_or_stderr(capfd):
    for spec in SPECS:
        VectorIndex.build([(IDS[:700], TABLE[:700])], DIM, spec).search(QUERIES[:1], 3)
    assert capfd.readouterr() == ("", "")


# Specs


@pytest.mark.parametrize(
    ("spec", "rows", "concrete"),
    [
        ("auto", 1, "Flat"),
        ("auto", AUTO_IVF_ROWS - 1, "Flat"),
        ("auto", 200_000, "IVF1024,SQ8"),
        ("auto", 1_000_000, "IVF2048,SQ8"),
        ("auto", 10_000_000_000, "IVF65536,SQ8"),
        ("IVF", 10, "Flat"),
        ("IVF", 100_000, "IVF512,SQ8"),
        ("IVF,Flat", 100_000, "IVF512,Flat"),
        ("IVF1024,SQfp16", 40_000, "IVF1024,SQfp16"),
        ("IVF1024,SQfp16", 39_000, "Flat"),
        ("HNSW32", 5, "HNSW32,Flat"),
        ("HNSW32, SQ8", 5, "HNSW32,SQ8"),
        ("SQbf16", 5, "SQbf16"),
    ],
)
def test_a_spec_is_made_concrete_by_the_rows(spec, rows, concrete):
    assert resolve(spec, rows) == concrete
    assert resolve(concrete, rows) == concrete


@pytest.mark.parametrize(
    "spec",
    [
        *("", "flat", "PQ8", "IVF64,PQ8", "SQ4", "HNSW", "HNSW2", "HNSW500", "HNSW32,PQ8", "NSG16", "IVF1", "IVF99999"),
        *(
            "IVF0,SQ8",
            "IVF064",
            "RaBitQ",
            "PQ16x4fs",
            "IVF64,SQ8,Refine(Flat)",
            "OPQ8,IVF64,SQ8",
            "IDMap2,Flat",
            "auto,SQ8",
        ),
        *("IVF64;Flat", "Flat\n", "ivf64", "HNSW32,", "HNSW١٦", "IVF9999999,Flat"),
    ],
)
def test_any_other_spec_is_refused_with_the_allowed_ones(spec):
    with pytest.raises(BadIndex, match="allowed are auto, Flat, SQ8"):
        resolve(spec, 100_000)


def test_too_few_rows_for_ivf_show_in_the_spec():
    index = VectorIndex.build([(IDS[:100], TABLE[:100])], DIM, "IVF64,SQ8")
    assert index.spec == "Flat"


def test_nothing_but_the_index_package_loads_faiss():
    code = "import sys, instructsearch.vectors\nassert 'faiss' not in sys.modules\nimport instructsearch.index"
    code += "\nassert 'faiss' in sys.modules and 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], timeout=60).returncode == 0
