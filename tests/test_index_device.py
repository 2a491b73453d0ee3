"""Which device answers: the GPU never sees a filter, never more than it can give, and is told of by name.

A stand-in takes the GPU's place here: it ignores selectors and refuses big k as the classic GPU indexes do. The tests
marked gpu run the same on a real card.
"""

import numpy as np
import pytest

from instructsearch import vectors
from instructsearch.errors import BadIndex
from instructsearch.index import VectorIndex, device, devices, doctor, engine
from instructsearch.index.installed import faiss

ROWS, DIM = 6000, 16
IDS = np.arange(ROWS, dtype=np.int64) * 2 + 1


def unit(rows, seed):
    table = np.random.default_rng(seed).standard_normal((rows, DIM)).astype(np.float32)
    return table / np.linalg.norm(table, axis=1, keepdims=True)


TABLE, QUERIES = unit(ROWS, 0), unit(4, 1)
BLOCKS = [(IDS, TABLE)]


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(engine, "SEEN_AT_LEAST", 100)


class FakeGpu:
    """A GPU index as the classic ones are: no selector, no more than 2048 results, one caller at a time."""

    def __init__(self, index, where):
        self.index, self.where, self.asked, self.busy = index, where, [], False

    def __getattr__(self, name):
        return getattr(self.index, name)

    def search(self, queries, k):
        assert not self.busy, "two threads at once"
        self.busy = True
        if k > 2048:
            raise RuntimeError("Error: 'k <= max_k' failed: too many\nstack")
        self.asked.append(k)
        answer = self.index.search(queries, k)
        self.busy = False
        return answer


@pytest.fixture
def gpu(monkeypatch):
    """Pretend to have two cards; return the list of the copies made."""
    copies = []

    def to_gpu(index, where):
        copies.append(FakeGpu(index, where))
        return copies[-1]

    monkeypatch.setattr(device, "gpus", lambda: 2)
    monkeypatch.setattr(device, "to_gpu", to_gpu)
    monkeypatch.setattr(device, "to_cpu", lambda index: index.index)
    return copies


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(device, "gpus", lambda: 0)


def exact(found, **filters):
    return np.array_equal(found, vectors.scan(QUERIES, BLOCKS, found.shape[1], **filters)[0])


# Choosing


def test_without_a_card_auto_is_the_cpu_and_cuda_is_refused_with_the_remedy(no_gpu):
    assert devices() == ["cpu"] and device.choose("auto") == "cpu"
    with pytest.raises(BadIndex, match=r"no GPU for device 'cuda'.*instructsearch\[gpu\]"):
        VectorIndex.build(BLOCKS, DIM, "Flat", device="cuda")


def test_with_cards_auto_and_cuda_are_the_first(gpu):
    assert devices() == ["cpu", "cuda:0", "cuda:1"]
    assert [device.choose(name) for name in ("auto", "cpu", "cuda", "cuda:1")] == ["cuda:0", "cpu", "cuda:0", "cuda:1"]
    with pytest.raises(BadIndex, match="no device 'cuda:7' here; there are cpu, cuda:0, cuda:1"):
        device.choose("cuda:7")


@pytest.mark.parametrize("name", ["tpu", "", "CPU"])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(BadIndex, match="no device"):
        device.choose(name)


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        *(("Flat", "cuda:0"), ("SQfp16", "cuda:0"), ("IVF64,Flat", "cuda:0"), ("IVF64,SQ8", "cuda:0")),
        *(("SQ8", "cpu"), ("SQbf16", "cpu"), ("HNSW8", "cpu"), ("IVF64,SQbf16", "cpu")),
    ],
)
def test_what_the_gpu_cannot_hold_stays_on_the_cpu_and_says_so(gpu, spec, where):
    index = VectorIndex.build(BLOCKS, DIM, spec, device="auto")
    assert index.device == where
    assert index.approximate == (spec != "Flat" or where != "cpu")


# Searching


def test_an_unfiltered_search_goes_to_the_gpu_even_in_batches(gpu):
    index = VectorIndex.build(BLOCKS, DIM, "Flat", device="cuda")
    assert exact(index.search(QUERIES, 10)[0])
    assert gpu[-1].asked == [10]


@pytest.mark.parametrize("spec", ["Flat", "SQfp16", "IVF64,SQ8"])
@pytest.mark.parametrize("allowed", [IDS[:50], IDS[::2], IDS], ids=["few", "half", "all"])
def test_a_filtered_search_never_reaches_the_gpu(gpu, spec, allowed):
    index = VectorIndex.build(BLOCKS, DIM, spec, device="cuda")
    found = index.search(QUERIES[:1], 10, allowed=allowed)
    assert gpu[-1].asked == []
    assert found is None or np.isin(found[0], allowed).all()


def test_denied_rows_are_fetched_beyond_and_dropped(gpu):
    index = VectorIndex.build(BLOCKS, DIM, "Flat", device="cuda")
    denied = np.sort(vectors.scan(QUERIES, BLOCKS, 8)[0][0])
    assert exact(index.search(QUERIES, 10, denied=denied)[0], denied=denied)
    assert gpu[-1].asked == [18]
    index.search(QUERIES, 10, denied=np.array([0, 2, 4]))  # strangers cost nothing
    assert gpu[-1].asked == [18, 10]


def test_more_than_the_gpu_can_give_is_answered_without_it(gpu):
    flat = VectorIndex.build(BLOCKS, DIM, "Flat", device="cuda")
    assert flat.search(QUERIES, 2048) is not None and gpu[-1].asked == [2048]
    assert flat.search(QUERIES, 2049) is None
    assert flat.search(QUERIES, 10, denied=IDS[:2040]) is None
    half = VectorIndex.build(BLOCKS, DIM, "SQfp16", device="cuda")
    found = half.search(QUERIES, 10, denied=IDS[:2040])
    assert exact(found[0], denied=IDS[:2040]) and gpu[-1].asked == []


def test_asking_for_more_than_there_is_pads_on_the_gpu_too(gpu):
    index = VectorIndex.build([(IDS[:30], TABLE[:30])], DIM, "Flat", device="cuda")
    found = index.search(QUERIES, 40, denied=IDS[:5])
    assert gpu[-1].asked == [30]
    assert (found[0] >= 0).sum(axis=1).tolist() == [25] * 4


def test_a_gpu_ivf_that_finds_too_few_leaves_it_to_a_scan(gpu, monkeypatch):
    index = VectorIndex.build(BLOCKS, DIM, "IVF64,SQ8", device="cuda")
    gpu[-1].index.nprobe = 1
    assert index.search(QUERIES, 1000) is None and gpu[-1].asked == [1000]


def test_threads_take_turns_on_the_gpu(gpu):
    from concurrent.futures import ThreadPoolExecutor

    index = VectorIndex.build(BLOCKS, DIM, "Flat", device="cuda")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda at: index.search(QUERIES[[at % 4]], 5)[0], range(64)))
    assert all(np.array_equal(found[at], found[at % 4]) for at in range(64))


def test_a_failing_gpu_is_an_error_with_a_remedy_and_not_a_silent_fallback(gpu, monkeypatch):
    index = VectorIndex.build(BLOCKS, DIM, "Flat", device="cuda")
    monkeypatch.setattr(index._gpu, "most", 10_000)
    with pytest.raises(
        BadIndex, match=r"the search on cuda:0 failed: Error: 'k <= max_k' failed: too many; use device"
    ):
        index.search(QUERIES, 3000)


def test_an_index_too_big_for_the_gpu_is_an_error_with_a_remedy(gpu, monkeypatch):
    def full(index, where):
        raise RuntimeError("CUDA out of memory\nin file")

    monkeypatch.setattr(device, "to_gpu", full)
    with pytest.raises(BadIndex, match="cannot be copied to cuda:0: CUDA out of memory; use device cpu"):
        VectorIndex.build(BLOCKS, DIM, "Flat", device="cuda")


# Building and keeping


def test_ivf_is_trained_and_filled_on_the_gpu_and_the_rest_on_the_cpu(gpu):
    VectorIndex.build(BLOCKS, DIM, "IVF64,SQ8", device="cuda:1")
    assert [copy.where for copy in gpu] == ["cuda:1", "cuda:1"]  # once to build, once to search
    gpu.clear()
    VectorIndex.build(BLOCKS, DIM, "SQfp16", device="cuda:1")
    assert len(gpu) == 1


@pytest.mark.parametrize("spec", ["Flat", "SQfp16", "IVF64,SQ8"])
def test_the_file_of_a_gpu_index_is_its_cpu_form(gpu, tmp_path, spec):
    listed = VectorIndex.build(BLOCKS, DIM, spec, device="cuda").save(tmp_path)
    plain = VectorIndex.build(BLOCKS, DIM, spec, device="cpu").save(tmp_path)
    assert listed.sha256 == plain.sha256
    opened = VectorIndex.open(tmp_path, listed, dim=DIM, device="auto")
    assert opened.device == "cuda:0"
    assert VectorIndex.open(tmp_path, listed, dim=DIM, device="cpu").device == "cpu"


def test_the_limit_is_higher_with_cuvs(monkeypatch):
    class Options:
        use_cuvs = True

    assert device.most_results() == 2048 or hasattr(faiss, "StandardGpuResources")
    monkeypatch.setattr(faiss, "GpuClonerOptions", Options, raising=False)
    assert device.most_results() == 16384
    monkeypatch.setattr(Options, "use_cuvs", False)
    assert device.most_results() == 2048


# Doctor


def test_doctor_names_version_package_options_and_devices():
    facts = doctor()
    assert facts["version"] == faiss.__version__
    assert len(facts["packages"]) == 1 and next(iter(facts["packages"])).startswith("faiss")
    assert "OPTIMIZE" in facts["options"] and facts["simd"] and facts["threads"] >= 1
    assert facts["devices"] == devices() and facts["problems"] == []


def test_doctor_says_to_uninstall_one_of_two_packages(monkeypatch):
    monkeypatch.setattr(device, "packages_distributions", lambda: {"faiss": ["faiss-gpu", "faiss-cpu", "faiss-cpu"]})
    monkeypatch.setattr(device, "version", lambda name: "1.15.1")
    facts = doctor()
    assert facts["packages"] == {"faiss-cpu": "1.15.1", "faiss-gpu": "1.15.1"}
    assert "pip uninstall -y faiss-cpu faiss-gpu" in facts["problems"][0]


# On a real card


@pytest.mark.gpu
@pytest.mark.parametrize("spec", ["Flat", "SQfp16", "IVF64,Flat", "IVF64,SQ8", "IVF64,SQfp16"])
def test_a_real_gpu_agrees_with_the_exact_scan(tmp_path, spec):
    built = VectorIndex.build(BLOCKS, DIM, spec, device="cuda")
    opened = VectorIndex.open(tmp_path, built.save(tmp_path), dim=DIM, device="cuda", verify=True)
    assert built.device == opened.device == "cuda:0"
    denied = IDS[::7]
    for index in (built, opened):
        for filters in ({}, {"denied": denied}, {"allowed": IDS[:100]}, {"allowed": IDS[::2]}):
            wanted = vectors.scan(QUERIES, BLOCKS, 10, **filters)
            found = index.search(QUERIES, index.depth(10), **filters)
            ids = wanted[0] if found is None else vectors.rescore(QUERIES, found[0], BLOCKS, 10)[0]
            assert (ids >= 0).all()
            shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids.tolist(), wanted[0].tolist(), strict=True)])
            assert shared >= (0.5 if spec.startswith("IVF") else 1.0)


@pytest.mark.gpu
def test_a_real_gpu_is_named_by_doctor():
    assert doctor()["gpus"] >= 1 and "cuda:0" in devices()
