"""Attention in float32 while the rest of a step is in bfloat16: on CPUs the backward pass of it is four times as fast.

Knows transformers' registries of attention functions; nothing of models or training.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "sdpa_float32"


def _exact(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> Any:
    with torch.autocast(query.device.type, enabled=False):
        allowed = mask.float() if mask is not None and mask.is_floating_point() else mask
        states, weights = sdpa_attention_forward(module, query.float(), key.float(), value.float(), allowed, **options)
    return states.to(query.dtype), weights


def use(model: Any) -> None:
    """Let a model of transformers attend so, where it attends by PyTorch's fused function."""
    if getattr(model.config, "_attn_implementation", "") == "sdpa":
        AttentionInterface.register(NAME, _exact)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.config._attn_implementation = NAME
