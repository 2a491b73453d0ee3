"""CrossEncoder: a transformer that reads query and passage as one pair, with a head of one output.

Knows the classes that sentence-transformers' CrossEncoder loads; nothing of prompts or batches.
Source: Nogueira and Cho 2019, "Passage Re-ranking with BERT".
"""

import inspect
import json
from typing import Any

import torch
from torch import Tensor, nn

from instructsearch.embed.fused import FusedBert, fuse
from instructsearch.errors import BadProfile
from instructsearch.rerank.profile import RerankProfile
from instructsearch.rerank.transformer import Precision, TransformerReranker


class CrossEncoder(TransformerReranker):
    """Any checkpoint of a `...ForSequenceClassification` with one label."""

    task = "SEQUENCE_CLASSIFICATION"

    def __init__(
        self, profile: RerankProfile, *, device: str = "auto", precision: Precision = "auto", fused: bool = True
    ) -> None:
        self._fusing = fused
        super().__init__(profile, device=device, precision=precision)

    def _loaded_as(self) -> torch.dtype:
        return torch.float32  # the head stays so, and a fused network is made of it

    def _prepared(self, model: Any) -> Any:
        if model.config.num_labels != 1:
            raise BadProfile(f"{self.name} gives {model.config.num_labels} labels a pair; a reranker gives one")
        self.typed = self._reads_types(model)
        fused = self._fusing and self.device == "cpu" and _fuse_backbone(model, self.dtype)
        if not fused and self.dtype != torch.float32:
            _halve_backbone(model, self.dtype)
        return model

    def _reads_types(self, model: Any) -> bool:
        """Say whether the network is told which side of the pair a token is on."""
        path = self.folder / "tokenizer_config.json"
        facts: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return (
            "token_type_ids" in inspect.signature(model.forward).parameters
            and int(getattr(model.config, "type_vocab_size", 0)) > 1
            and "token_type_ids" in facts.get("model_input_names", ["token_type_ids"])
        )

    def _batch(self, ids: Tensor, attention: Tensor, types: Tensor) -> Tensor:
        sides = {"token_type_ids": types} if self.typed else {}
        logits: Tensor = self._network(input_ids=ids, attention_mask=attention, **sides).logits
        return logits[:, 0].float()


class _Fused(nn.Module):
    """A fused BERT in the place of the backbone under a head, which stays in float32."""

    def __init__(self, fused: FusedBert, pooler: nn.Module | None) -> None:
        super().__init__()
        self.config = fused.config
        self.fused = fused
        self.pooler = pooler
        self._words = int(fused.config.vocab_size)
        fused.embeddings = _Sided(fused.embeddings, self._words)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None, **_: Any) -> Any:
        """Return what transformers' own backbone returns."""
        from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

        packed = input_ids if token_type_ids is None else input_ids + self._words * token_type_ids
        states = self.fused(packed, attention_mask).last_hidden_state.float()
        pooled = None if self.pooler is None else self.pooler(states)
        return BaseModelOutputWithPoolingAndCrossAttentions(last_hidden_state=states, pooler_output=pooled)


class _Sided(nn.Module):
    """BERT's embeddings for ids that carry the side of the pair in their multiples of the vocabulary's size.

    FusedBert hands its embeddings one array; this is how the sides travel with it.
    """

    def __init__(self, embeddings: Any, words: int) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.words = words

    def forward(self, input_ids: Tensor) -> Any:
        """Return (rows, length, width)."""
        return self.embeddings(input_ids=input_ids % self.words, token_type_ids=input_ids // self.words)


def _halve_backbone(model: Any, dtype: torch.dtype) -> None:
    """Convert what is under the head. Logits of a head in bfloat16 lie so far apart that many passages would tie."""
    backbone = getattr(model, model.base_model_prefix).to(dtype)

    def in_float32(module: nn.Module, inputs: Any, output: Any) -> Any:
        for name, value in output.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                output[name] = value.float()
        return output

    backbone.register_forward_hook(in_float32)


def _fuse_backbone(model: Any, dtype: torch.dtype) -> bool:
    """Put a fused backbone into the model, if there is one; return whether."""
    prefix = model.base_model_prefix
    backbone = getattr(model, prefix, None)
    fused = None if backbone is None else fuse(backbone, dtype)
    if fused is not None:
        setattr(model, prefix, _Fused(fused, getattr(backbone, "pooler", None)))
    return fused is not None
