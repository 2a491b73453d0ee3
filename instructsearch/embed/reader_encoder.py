"""ReaderEncoder: the embedder of kind `reader` in torch, for bulk work on CPU or GPU.

Knows precision and devices, and when one reading serves several instructions; what surrounds the network is Reading's.
"""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch

from instructsearch.embed import reader_file
from instructsearch.embed.batches import Batch
from instructsearch.embed.checks import check_at_load
from instructsearch.embed.encoder import Precision, choose_device, native_bfloat16
from instructsearch.embed.fused import FusedBert, fuse
from instructsearch.embed.profile import Profile
from instructsearch.embed.protocol import FloatArray
from instructsearch.embed.reader import Places, Reading, padded
from instructsearch.embed.reader_network import Asked, Read, ReaderNetwork
from instructsearch.embed.tokens import Tokens
from instructsearch.embed.weights import locate

_REMEMBERED = 4096  # instructions whose states are kept
_STATES = 22 << 20  # bytes of all layers' states of a batch, in either precision: 43 were slower in float32
_ELSEWHERE = 16_384  # padded tokens a batch where no cache has to hold them


class ReaderEncoder(Reading):
    """A frozen encoder and the reader that was trained over it.

    `precision` `auto` is bfloat16 for reading documents where the processor multiplies it natively, and float32 for
    everything else; what is read is always asked in float32.

    Raises:
        BadProfile, ModelNotFound, ModelDamaged: the base or the reader cannot be had, or fail their self-checks.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        network: ReaderNetwork | None = None,
        check: bool = True,
    ) -> None:
        super().__init__(profile, locate(profile), choose_device(device))
        self.precision: Precision = precision
        self.network = (network or reader_file.load(profile, self.folder)).to(self.device)
        self.budget = self._tokens_at_once()
        self._packed: dict[torch.dtype, FusedBert | None] = {}
        self._asked: OrderedDict[bytes, Asked] = OrderedDict()
        if check:
            check_at_load(self)

    def _tokens_at_once(self) -> int:
        """Return the padded tokens of a batch: as many as leave their states in the processor's cache until pooled."""
        if self.device != "cpu":
            return _ELSEWHERE
        config = self.network.backbone.config
        token = (int(config.num_hidden_layers) + 1) * int(config.hidden_size) * self._dtype(bulk=True).itemsize
        return max(1, _STATES // token)

    def _dtype(self, *, bulk: bool) -> torch.dtype:
        half = self.precision == "bfloat16" or (self.precision == "auto" and bulk and native_bfloat16(self.device))
        return torch.bfloat16 if half else torch.float32

    def _answered(self, batch: Batch, instructions: Sequence[Tokens], places: Places, *, bulk: bool) -> FloatArray:
        with torch.inference_mode():
            read = self._read(batch, bulk=bulk)
            asked = [self._ask(each) for each in instructions]
            heard = Asked(*(torch.cat(part) for part in zip(*asked, strict=True)))
            rows, which = torch.from_numpy(np.ascontiguousarray(places.T)).to(self.device)
            return self.network.vectors(read, heard, rows, which).cpu().numpy()

    def _read(self, batch: Batch, *, bulk: bool) -> Read:
        ids, attention = (torch.from_numpy(each).to(self.device) for each in (batch.ids, batch.attention))
        dtype = self._dtype(bulk=bulk)
        fused = self._fused(dtype) if bulk else None
        if fused is not None:
            return self.network.read(fused.through(ids, attention), attention)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            states = self.network.through(ids, attention)
        return self.network.read(states, attention)

    def _fused(self, dtype: torch.dtype) -> FusedBert | None:
        if self.device != "cpu":
            return None
        with self._lock:
            if dtype not in self._packed:
                self._packed[dtype] = fuse(self.network.backbone, dtype)
            return self._packed[dtype]

    def _ask(self, instruction: Tokens) -> Asked:
        """Return one instruction as it is understood, (1, ...); the latest are remembered."""
        key = instruction.ids.tobytes()
        with self._lock:
            if key in self._asked:
                self._asked.move_to_end(key)
                return self._asked[key]
        ids, used = (torch.from_numpy(each).to(self.device) for each in padded([instruction], self._texts.pad_id))
        asked = self.network.ask(self.network.heard(self.network.through(ids, used), used))
        with self._lock:
            self._asked[key] = asked
            while len(self._asked) > _REMEMBERED:
                self._asked.popitem(last=False)
        return asked
