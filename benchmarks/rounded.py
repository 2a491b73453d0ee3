"""A BERT whose every weight and state is rounded to bfloat16 and multiplied in float32, as processors with it do.

Knows FusedBert's layers; it stands in for bfloat16 in measurements of quality where the processor has none.
"""

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from instructsearch.embed.encoder import Encoder
from instructsearch.embed.fused import FusedBert, _Linear, _norm


def _round(states: Tensor) -> Tensor:
    return states.to(torch.bfloat16).float()


class Rounded(FusedBert):
    """FusedBert in bfloat16, in float32 arithmetic: products are summed in float32 and rounded once."""

    def __init__(self, model: Any) -> None:
        super().__init__(model, torch.float32, packed=False)
        for layer in self._layers:
            for linear in vars(layer).values():
                if isinstance(linear, _Linear):
                    linear.weight, linear.bias = _round(linear.weight), _round(linear.bias)

    def _stack(self, hidden: Tensor, used: Tensor) -> Tensor:
        rows, length, width = hidden.shape
        barred = torch.zeros(()) if used.all() else torch.where(used, 0.0, float("-inf"))[:, None, None, :]
        flat = _round(hidden.reshape(rows * length, width))
        for layer in self._layers:
            query, key, value = (
                _round(each(flat)).view(rows, length, layer.heads, -1).transpose(1, 2)
                for each in (layer.query, layer.key, layer.value)
            )
            scores = _round(query @ key.transpose(2, 3) * query.shape[-1] ** -0.5) + barred
            mixed = _round(_round(functional.softmax(scores, -1)) @ value).transpose(1, 2).reshape(flat.shape)
            flat = _round(_norm(layer.middle, _round(layer.out.plus(mixed, flat))))
            flat = _round(_norm(layer.last, _round(layer.down.plus(_round(layer.up.gelu(flat)), flat))))
        return flat.view(rows, length, width)


def rounded(encoder: Encoder) -> Encoder:
    """Return the encoder with its BERT in bfloat16 by rounding."""
    network = encoder.network()
    network = copy.deepcopy(network, {id(network.backbone): Rounded(network.backbone)})
    return Encoder(encoder.profile, device=encoder.device, precision="float32", network=network, check=False)
