"""Say which devices FAISS can use here, and keep copies of indexes on a GPU.

Knows what the classic GPU indexes can and cannot do; nothing of ids, filters or files.
"""

import threading
from importlib.metadata import packages_distributions, version
from typing import Any

import numpy as np
import numpy.typing as npt

from instructsearch.errors import BadIndex
from instructsearch.index.installed import faiss
from instructsearch.index.spec import Spec

FloatArray = npt.NDArray[np.float32]
IdArray = npt.NDArray[np.int64]

MOST_CLASSIC = 2048  # results and probes a search, faiss/gpu/impl/IndexUtils.cu
MOST_CUVS = 16384
SCRATCH_BYTES = 256 << 20  # FAISS would take some 18% of the GPU

# GPU indexes are not thread-safe even for reading, and neither is the scratch memory that they share.
_turn = threading.Lock()
_resources: list[Any] = []


def devices() -> list[str]:
    """Return the devices an index can be searched on: "cpu", and "cuda:0" and so on where FAISS has CUDA."""
    return ["cpu", *(f"cuda:{number}" for number in range(gpus()))]


def gpus() -> int:
    """Return how many GPUs this FAISS can use."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def choose(device: str) -> str:
    """Return the device that "auto", "cpu", "cuda" or "cuda:0" means here.

    Raises:
        BadIndex: there is no such device, or this FAISS was built without CUDA.
    """
    here = devices()
    wanted = {"auto": here[1] if len(here) > 1 else "cpu", "cuda": "cuda:0"}.get(device, device)
    if wanted in here:
        return wanted
    if wanted.startswith("cuda") and len(here) == 1:
        raise BadIndex(
            f"no GPU for device {device!r}: this FAISS has no CUDA or finds no card; "
            "install instructsearch[gpu] instead of [cpu], or use auto (doctor says what is here)"
        )
    raise BadIndex(f"no device {device!r} here; there are {', '.join(here)}")


def fits(spec: Spec) -> bool:
    """Tell whether a GPU index exists for the spec: Flat, fp16, and IVF; not the other quantisers alone, nor HNSW."""
    return str(spec) in ("Flat", "SQfp16") or (spec.family == "IVF" and spec.storage != "SQbf16")


def to_gpu(index: Any, device: str) -> Any:
    """Copy a CPU index to a GPU, trained or not; Flat becomes float16 there."""
    if not _resources:
        resources = faiss.StandardGpuResources()
        resources.setTempMemory(SCRATCH_BYTES)
        _resources.append(resources)
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True
    return faiss.index_cpu_to_gpu(_resources[0], int(device.partition(":")[2]), index, options)


def to_cpu(index: Any) -> Any:
    """Copy a GPU index back."""
    return faiss.index_gpu_to_cpu(index)


def most_results() -> int:
    """Return how many results a GPU search can give."""
    cuvs = hasattr(faiss, "GpuClonerOptions") and getattr(faiss.GpuClonerOptions(), "use_cuvs", False)
    return MOST_CUVS if cuvs else MOST_CLASSIC


class GpuCopy:
    """An index on a GPU, for searches without a filter: the classic kernels ignore a selector and say nothing."""

    def __init__(self, index: Any, device: str) -> None:
        self.device = device
        self.most = most_results()
        with _turn:
            try:
                self._index = to_gpu(index, device)
            except RuntimeError as error:
                raise BadIndex(
                    f"the index cannot be copied to {device}: {_first_line(error)}; use device cpu"
                ) from error

    def search(self, queries: FloatArray, k: int) -> tuple[FloatArray, IdArray]:
        """Return scores and positions (m, k); k is at most `most`."""
        with _turn:
            try:
                scores, places = self._index.search(queries, k)
            except RuntimeError as error:
                raise BadIndex(f"the search on {self.device} failed: {_first_line(error)}; use device cpu") from error
        return scores, places


def doctor() -> dict[str, Any]:
    """Return what FAISS is here: version, the packages that bring it, compile options, SIMD level, GPUs, problems."""
    brought = sorted(set(packages_distributions().get("faiss", [])))
    problems = []
    if len(brought) > 1:
        problems.append(
            f"{' and '.join(brought)} both bring the module faiss and overwrite each other: "
            f"pip uninstall -y {' '.join(brought)}, then install one extra, instructsearch[cpu] or [gpu]"
        )
    return {
        "version": faiss.__version__,
        "packages": {name: version(name) for name in brought},
        "options": faiss.get_compile_options().split(),
        "simd": faiss.SIMDConfig.get_level_name() if hasattr(faiss, "SIMDConfig") else "unknown",
        "threads": faiss.omp_get_max_threads(),
        "gpus": gpus(),
        "devices": devices(),
        "problems": problems,
    }


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
