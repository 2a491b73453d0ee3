"""Rerankers that are language models: asked whether a passage answers, they do so by one of two tokens.

Knows how causal and sequence-to-sequence models are asked for the next token; nothing of prompts or batches.
Sources: Nogueira et al. 2020, "Document Ranking with a Pretrained Sequence-to-Sequence Model" (monoT5); Zhang et al.
2025, "Qwen3 Embedding"; Li et al. 2025, "ProRank" (mxbai-rerank v2).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from instructsearch.rerank.prompt import Row
from instructsearch.rerank.transformer import TransformerReranker


class _Verdict(TransformerReranker):
    """A language model whose score is the logit of its true token, less that of its false token if it has one."""

    def _prepared(self, model: Any) -> Any:
        names = [each for each in (self.profile.true_token, self.profile.false_token) if each]
        ids = [self._prompt.token(name) for name in names]
        model.set_output_embeddings(_Rows(model.get_output_embeddings(), ids))
        return model

    def _rows(self, query: str, instruction: str, texts: Sequence[str]) -> list[Row]:
        return self._prompt.sequences(query, instruction, texts)

    def _batch(self, ids: Tensor, attention: Tensor, types: Tensor) -> Tensor:
        logits = self._next(ids, attention).float()
        return logits[:, 0] - logits[:, 1] if logits.shape[1] > 1 else logits[:, 0]

    def _next(self, ids: Tensor, attention: Tensor) -> Tensor:
        """Return the logits (rows, tokens) of what comes next."""
        raise NotImplementedError


class CausalVerdict(_Verdict):
    """A causal language model: Qwen3-Reranker, mxbai-rerank v2, bge-reranker-v2-gemma."""

    task = "CAUSAL_LM"

    def _next(self, ids: Tensor, attention: Tensor) -> Tensor:
        logits: Tensor = self._network(input_ids=ids, attention_mask=attention, use_cache=False).logits
        last = attention.cumsum(1).argmax(1)  # on whichever side the padding is
        return logits[torch.arange(len(ids), device=ids.device), last]


class Seq2SeqVerdict(_Verdict):
    """An encoder and decoder: monoT5 and its relatives."""

    task = "SEQ_TO_SEQ_CAUSAL_LM"

    def _next(self, ids: Tensor, attention: Tensor) -> Tensor:
        start = torch.full((len(ids), 1), int(self._network.config.decoder_start_token_id), device=ids.device)
        logits: Tensor = self._network(
            input_ids=ids, attention_mask=attention, decoder_input_ids=start, use_cache=False
        ).logits
        return logits[:, -1]


class _Rows(nn.Module):
    """The rows of a language model's head for a few tokens, in float32.

    Two logits instead of a vocabulary's worth; and in bfloat16 logits of twenty lie an eighth apart, so that many
    passages would tie.
    """

    def __init__(self, head: Any, ids: list[int]) -> None:
        super().__init__()
        bias = getattr(head, "bias", None)
        self.weight = nn.Parameter(head.weight.detach()[ids].float(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach()[ids].float(), requires_grad=False)

    def forward(self, states: Tensor) -> Tensor:
        """Return (..., tokens) of (..., width)."""
        return nn.functional.linear(states.float(), self.weight, self.bias)
