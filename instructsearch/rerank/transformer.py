"""TransformerReranker: pairs scored by a model of transformers, in torch, on CPU or GPU.

Knows precision, devices and batches; nothing of the head that gives a pair its logit, which a subclass brings.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from instructsearch.embed.batches import plan
from instructsearch.embed.encoder import choose_device, native_bfloat16
from instructsearch.rerank.checkpoint import Task, load_model
from instructsearch.rerank.pairwise import Pairwise
from instructsearch.rerank.profile import RerankProfile
from instructsearch.rerank.prompt import Row

Precision = Literal["auto", "float32", "bfloat16"]


def chosen(precision: Precision, device: str) -> torch.dtype:
    """Return the type to compute in: `auto` is bfloat16 where the processor multiplies it natively, else float32."""
    native = precision == "auto" and native_bfloat16(device)
    return torch.bfloat16 if native or precision == "bfloat16" else torch.float32


class TransformerReranker(Pairwise):
    """A reranker over a checkpoint. A score does not depend on how many passages are scored with it."""

    task: Task = "SEQUENCE_CLASSIFICATION"
    budget = 16_384  # padded tokens a batch

    def __init__(self, profile: RerankProfile, *, device: str = "auto", precision: Precision = "auto") -> None:
        device = choose_device(device)
        self.dtype = chosen(precision, device)
        model, folder = load_model(profile, self.task, self._loaded_as())
        super().__init__(profile, folder, device)
        self._network = self._prepared(model.to(device))

    def _logits(self, rows: Sequence[Row], ties: Sequence[str]) -> NDArray[np.float32]:
        logits = np.empty(len(rows), np.float32)
        with torch.inference_mode():
            for places in plan([len(row.ids) for row in rows], ties, self.budget):
                logits[places] = self._batch(*self._padded([rows[at] for at in places])).cpu().numpy()
        return logits

    def _padded(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids, attention and types of rows, (rows, length) each, padded to the longest."""
        length = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), length), self._pad_id)
        attention, types = torch.zeros_like(ids), torch.zeros_like(ids)
        for at, row in enumerate(rows):
            start = 0 if self.profile.padding_side == "right" else length - len(row.ids)
            span = slice(start, start + len(row.ids))
            ids[at, span], types[at, span] = torch.tensor(row.ids), torch.tensor(row.types)
            attention[at, span] = 1
        return ids.to(self.device), attention.to(self.device), types.to(self.device)

    def _loaded_as(self) -> torch.dtype:
        """Return the precision that weights are loaded in."""
        return self.dtype

    def _prepared(self, model: Any) -> Any:
        """Return the network to score with, made of the model as loaded."""
        return model

    def _batch(self, ids: Tensor, attention: Tensor, types: Tensor) -> Tensor:
        """Return the logits of a padded batch, float32 (rows,)."""
        raise NotImplementedError
