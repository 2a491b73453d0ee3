"""Encoder: the pooled embedder in torch, for bulk work on CPU or GPU.

Knows precision and devices; what surrounds the network is Pooled's.
"""

import copy
import ctypes
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from instructsearch.embed.batches import Batch
from instructsearch.embed.checks import check_at_load
from instructsearch.embed.fused import fuse, packs
from instructsearch.embed.network import Network
from instructsearch.embed.pooled import Pooled
from instructsearch.embed.profile import Profile
from instructsearch.embed.protocol import FloatArray
from instructsearch.embed.weights import locate
from instructsearch.errors import BadIndex, BadProfile
from instructsearch.records import Role

Precision = Literal["auto", "float32", "bfloat16"]
_MUCH = 4096  # padded tokens of a batch before which memory is given back, which takes a millisecond


class Encoder(Pooled):
    """A transformer encoder whose pooled states are the vectors.

    `precision` `auto` is bfloat16 for documents and large calls where the processor multiplies it natively, and
    float32 for everything else: a document's vector thus never depends on how many were embedded with it.
    """

    bulk = 16_384  # tokens a call from which packing is worth it, and from which queries are embedded in bfloat16 too
    maker: type[Network] = Network

    def __init__(
        self,
        profile: Profile,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        network: Network | None = None,
        check: bool = True,
    ) -> None:
        super().__init__(profile, locate(profile), choose_device(device))
        self.ahead = 0 if self.device == "cpu" else 1  # batches under way behind the one that is read back
        self.precision: Precision = precision
        self._lock = threading.RLock()
        self._networks: dict[tuple[str, torch.dtype], Network] = {}
        self._faster_ones: dict[tuple[str, bool], Network] = {}
        if network is not None:
            self._networks[profile.document_adapter, torch.float32] = network.to(self.device)
        self.width = self.network().width  # before it is cut to `dim`
        if profile.dim > self.width:
            raise BadProfile(f"{profile.name}: dim is {profile.dim}, and the model gives {self.width}")
        if check:
            check_at_load(self)

    def network(self, dtype: torch.dtype = torch.float32, role: Role = "document") -> Network:
        """Return the network of a role in this precision; what was not needed before is made now.

        Raises:
            BadProfile, ModelDamaged: as when the model is loaded.
        """
        key = (self.profile.adapter(role), dtype)
        with self._lock:
            if key not in self._networks and dtype == torch.float32:
                self._networks[key] = self.maker(self.profile, self.folder, role).to(self.device)
            elif key not in self._networks:
                exact = self.network(torch.float32, role)
                self._networks[key] = self._fused(exact, dtype) or _halved(exact, dtype)
            return self._networks[key]

    def _faster(self, dtype: torch.dtype, role: Role, *, bulk: bool) -> Network:
        """Return the network to compute with: in float32 a fused one too, whose vectors are equal but for rounding.

        It has a packed copy of the weights where that is faster for much work, and shares them otherwise.
        """
        network = self.network(dtype, role)
        if dtype != torch.float32:
            return network
        key = (self.profile.adapter(role), bulk and packs(dtype))
        with self._lock:
            if key not in self._faster_ones:
                self._faster_ones[key] = self._fused(network, dtype, packed=key[1]) or network
            return self._faster_ones[key]

    def _fused(self, network: Network, dtype: torch.dtype, *, packed: bool = True) -> Network | None:
        """Return the network around a fused backbone, if there is one."""
        if type(network) is not Network or self.device != "cpu" or dtype not in {torch.float32, torch.bfloat16}:
            return None
        fused = fuse(network.backbone, dtype, packed=packed)
        return None if fused is None else copy.deepcopy(network, {id(network.backbone): fused})

    def _dtype(self, tokens: int, role: Role) -> torch.dtype:
        if self.precision != "auto":
            return torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        bulk = role == "document" or tokens >= self.bulk
        return torch.bfloat16 if bulk and native_bfloat16(self.device) else torch.float32

    def _vectors(
        self, batches: Iterable[Batch], tokens: int, role: Role
    ) -> Iterable[tuple[NDArray[np.intp], FloatArray]]:
        dtype = self._dtype(tokens, role)
        return self._vectors_of(self._faster(dtype, role, bulk=tokens >= self.bulk), batches)

    def _vectors_of(self, network: Network, batches: Iterable[Batch]) -> Iterator[tuple[NDArray[np.intp], FloatArray]]:
        """Yield rows and vectors. A batch is read back once the next `ahead` are under way on a device of its own."""
        waiting: deque[tuple[NDArray[np.intp], torch.Tensor]] = deque()
        with torch.inference_mode():
            for batch in batches:
                if batch.ids.size >= _MUCH:
                    _give_back()
                arrays = (batch.ids, batch.attention, batch.weights)
                waiting.append((batch.rows, network(*(self._tensor(array) for array in arrays))))
                if len(waiting) > self.ahead:
                    yield _read_back(*waiting.popleft())
            for each in waiting:
                yield _read_back(*each)

    def _tensor(self, array: NDArray[np.int64] | NDArray[np.float32]) -> torch.Tensor:
        """Return the array on the device; to a GPU it is copied from pinned memory, without waiting for what runs."""
        tensor = torch.from_numpy(array)
        return tensor if self.device == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)


def _read_back(rows: NDArray[np.intp], vectors: torch.Tensor) -> tuple[NDArray[np.intp], FloatArray]:
    return rows, vectors.cpu().numpy()


def _give_back() -> None:
    """Return freed memory to the system where the C library keeps it: batches of many shapes leave it in pieces.

    Without this, 15,000 texts took 3.1 GB at their peak; with it, 1.2 GB.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _halved(network: Network, dtype: torch.dtype) -> Network:
    halved = copy.deepcopy(network)
    halved.backbone.to(dtype)
    return halved


def choose_device(device: str) -> str:
    """Return the device meant: `auto` is the first GPU if there is one, else the CPU.

    Raises:
        BadIndex: a GPU is asked for and there is none.
    """
    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return device
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise BadIndex(f"no device {device!r}; it is auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count():
        raise BadIndex(f"no device {device!r} here; use --device cpu, or install a CUDA build of torch")
    return f"cuda:{number or 0}"


def native_bfloat16(device: str) -> bool:
    """Say whether the device multiplies bfloat16 natively, so that it is faster than float32 for bulk work."""
    if device != "cpu":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
