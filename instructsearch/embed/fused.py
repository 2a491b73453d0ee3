"""BERT's forward pass on a CPU for bulk work, with bias, GELU and the residual sum inside the matrix products.

Knows the layers of BERT and its relatives and oneDNN's fused linear; nothing of files, texts, pooling or devices. A
network that it would not reproduce closely is left as it is.
"""

import logging
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from instructsearch.embed import attention

log = logging.getLogger("instructsearch.embed")
ARCHITECTURES = frozenset({"BertModel", "CamembertModel", "RobertaModel", "XLMRobertaModel"})
LEAST_COSINE = {torch.bfloat16: 0.999, torch.float32: 0.999999}
SLICE = 12 << 20  # bytes of a layer's widest states, the fastest of 6, 12 and 24 MiB; beyond 32 glibc maps them afresh
SHORT = 48  # tokens up to which torch's own attention is the faster one in bfloat16
SHARE = 512  # tokens a thread in a slice of plain products: more leave its cache, fewer leave its products small


class States(NamedTuple):
    """What a forward pass gives, under the name that transformers gives it."""

    last_hidden_state: Tensor


class FusedBert(nn.Module):
    """The inference of a BERT of transformers in bfloat16 or float32.

    Where it is `packed`, weights are copied in the order that the processor wants for much work; where it is not, it is
    in float32 and shares them with the model. Embeddings and the weights of norms stay in float32 and are shared.
    """

    def __init__(self, model: Any, dtype: torch.dtype, *, packed: bool = True) -> None:
        super().__init__()
        self.dtype = dtype
        self.config = model.config
        self.embeddings = model.embeddings
        self._width = int(self.config.hidden_size)
        self._tokens = max(1, SLICE // (dtype.itemsize * int(self.config.intermediate_size)))
        if not packed:
            self._tokens = min(self._tokens, SHARE * torch.get_num_threads())
        self._heads = int(self.config.num_attention_heads)
        self._layers = [
            _Layer(layer, self._heads, self._tokens if packed else 0, dtype) for layer in model.encoder.layer
        ]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> States:
        """Return states (rows, length, width) in its precision; both arguments are (rows, length).

        Rows are worked on in slices of like size, each without the columns that are padding in all its rows, whose
        states are zero.
        """
        rows, length = input_ids.shape
        states = torch.zeros((rows, length, self._width), dtype=self.dtype)
        used = attention_mask.bool()
        start = 0
        while start < rows:
            # The row that comes first is the longest where the batch is sorted; elsewhere a slice may be larger.
            stop = start + max(1, self._tokens // max(1, int(used[start].sum())))
            columns = used[start:stop].any(0).nonzero()
            first, last = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, length)
            here = slice(start, stop), slice(first, last)
            # Positions may count from a row's start, so that columns are left out only behind the embeddings.
            hidden = self.embeddings(input_ids=input_ids[start:stop])[:, first:last].to(self.dtype)
            states[here] = self._stack(hidden, used[here])
            start = stop
        return States(states)

    def through(self, input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """Return the states that enter each layer, and those that leave the last, of a batch of one slice."""
        hidden = self.embeddings(input_ids=input_ids).to(self.dtype)
        entered: list[Tensor] = []
        left = self._stack(hidden, attention_mask.bool(), entered)
        return [*entered, left]

    def _stack(self, hidden: Tensor, used: Tensor, entered: list[Tensor] | None = None) -> Tensor:
        rows, length, width = hidden.shape
        mask: Tensor | list[attention.Piece] | None
        if self.dtype == torch.bfloat16 and length > SHORT:
            mask = attention.pieces(used, self._heads, self.dtype)
        else:
            mask = None if used.all() else used[:, None, None, :]
        flat = hidden.reshape(rows * length, width)
        for layer in self._layers:
            if entered is not None:
                entered.append(flat.view(rows, length, width))
            flat = layer(flat, rows, length, mask)
        return flat.view(rows, length, width)


class _Layer:
    """One layer of BERT. Queries, keys and values are separate products: attention reads their narrow rows faster."""

    def __init__(self, layer: Any, heads: int, tokens: int, dtype: torch.dtype) -> None:
        within, after = layer.attention.self, layer.attention.output
        self.heads = heads
        # Queries in bfloat16 are scaled by their weights, which are copied anyway; the others share the model's.
        scale: float = (int(within.query.out_features) // heads) ** -0.5
        factor = scale if dtype == torch.bfloat16 else 1.0
        self.scale: float = scale / factor
        self.query = _Linear(within.query, tokens, dtype, factor)
        self.key, self.value = (_Linear(each, tokens, dtype) for each in (within.key, within.value))
        self.out = _Linear(after.dense, tokens, dtype)
        self.up = _Linear(layer.intermediate.dense, tokens, dtype)
        self.down = _Linear(layer.output.dense, tokens, dtype)
        self.middle, self.last = after.LayerNorm, layer.output.LayerNorm

    def __call__(self, flat: Tensor, rows: int, length: int, mask: Tensor | list[attention.Piece] | None) -> Tensor:
        query, key, value = (
            each(flat).view(rows, length, self.heads, -1) for each in (self.query, self.key, self.value)
        )
        if isinstance(mask, list):
            mixed = attention.attend(query, key, value, mask)
        else:
            query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=self.scale)
            mixed = mixed.transpose(1, 2)
        flat = _norm(self.middle, self.out.plus(mixed.reshape(flat.shape), flat))
        return _norm(self.last, self.down.plus(self.up.gelu(flat), flat))


class _Linear:
    """A linear layer whose weights lie in the order that oneDNN wants for so many tokens, or as they are for none."""

    def __init__(self, linear: nn.Linear, tokens: int, dtype: torch.dtype, factor: float = 1.0) -> None:
        weight, bias = linear.weight.detach(), linear.bias.detach()
        if factor != 1:
            weight, bias = weight * factor, bias * factor
        self.weight: Tensor = weight.to(dtype)
        self.bias = bias.to(dtype)
        self.packed = tokens > 0
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous(), tokens)

    def __call__(self, states: Tensor) -> Tensor:
        if not self.packed:
            return functional.linear(states, self.weight, self.bias)
        result: Tensor = torch.ops.mkldnn._linear_pointwise(states, self.weight, self.bias, "none", [], "")
        return result

    def gelu(self, states: Tensor) -> Tensor:
        """Return the exact GELU of the product."""
        if not self.packed:
            product: Tensor = torch.ops.aten.gelu_(functional.linear(states, self.weight, self.bias))
            return product
        result: Tensor = torch.ops.mkldnn._linear_pointwise(states, self.weight, self.bias, "gelu", [], "none")
        return result

    def plus(self, states: Tensor, other: Tensor) -> Tensor:
        """Return the product plus `other`, which for packed weights is summed before it is rounded."""
        if not self.packed:
            return functional.linear(states, self.weight, self.bias).add_(other)
        result: Tensor = torch.ops.mkldnn._linear_pointwise.binary(states, other, self.weight, self.bias, "add")
        return result


def _norm(norm: nn.LayerNorm, states: Tensor) -> Tensor:
    return functional.layer_norm(states, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def packs(dtype: torch.dtype) -> bool:
    """Say whether packed weights are the faster ones here.

    In float32 without AVX512, torch's own product was as fast as oneDNN's or faster (AMD Zen 3), and GELU apart from it
    took less time than GELU within it.
    """
    return dtype != torch.float32 or torch.cpu._is_avx512_supported()


def fuse(model: nn.Module, dtype: torch.dtype, *, packed: bool | None = None) -> FusedBert | None:
    """Return the faster equal of a float32 model in evaluation mode, or nothing where there is none that is near it.

    Its weights are packed where that is the faster for much work, unless `packed` says whether.
    """
    if reason := _unfit(model):
        log.debug("not fused: %s", reason)
        return None
    try:
        with torch.inference_mode():
            fused = FusedBert(model, dtype, packed=packs(dtype) if packed is None else packed)
            least = _least_cosine(model, fused)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        log.info("not fused, since oneDNN's linear is not what was expected: %s", str(error).partition("\n")[0])
        return None
    if least < LEAST_COSINE[dtype]:
        log.info("not fused, since the states would differ (cosine %.5f)", least)
        return None
    return fused


def _unfit(model: nn.Module) -> str:
    """Return why this model is not tried, or an empty string."""
    name, config = type(model).__name__, getattr(model, "config", None)
    if name not in ARCHITECTURES or not type(model).__module__.startswith("transformers."):
        return f"{name} is not one of {', '.join(sorted(ARCHITECTURES))}"
    expected = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False, "is_causal": False}
    for key, value in expected.items():
        if (found := getattr(config, key, value)) != value:
            return f"its {key} is {found!r}"
    weight = next(model.parameters())
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return f"its weights are {weight.dtype} on {weight.device}"
    return ""


def _least_cosine(model: Any, fused: FusedBert) -> float:
    """Return the least cosine between the two networks' mean states, of rows of arbitrary tokens of unlike lengths."""
    generator = torch.Generator().manual_seed(1)
    length = min(64, int(model.config.max_position_embeddings) // 2)
    ids = torch.randint(3, int(model.config.vocab_size), (3, length), generator=generator)
    used = torch.arange(length)[None] < torch.tensor([[length], [length // 2], [2]])
    ids[~used] = model.config.pad_token_id or 0
    mask = used.long()
    mean = used[:, None, :].float()
    exact, near = (
        (mean @ each(input_ids=ids, attention_mask=mask).last_hidden_state.float()).squeeze(1)
        for each in (model, fused)
    )
    least = float(functional.cosine_similarity(exact, near).min())
    return least if least == least else -1.0  # NaN is as far off as can be
