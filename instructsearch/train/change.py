"""What training has changed of a model's matrices, and the low-rank adapter that holds it.

Knows matrices and the files of a LoRA adapter; nothing of texts or training.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from instructsearch.embed.backbone import load_backbone
from instructsearch.embed.weights import locate
from instructsearch.train.learner import Learner

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def change(learner: Learner) -> dict[str, Tensor]:
    """Return what training has added to each matrix of the bare base model, by the layer's name."""
    bare = learner.profile.part(instructed=False)
    base = load_backbone(bare, locate(bare), "document")
    ours = dict(learner.network.backbone.named_modules())
    added: dict[str, Tensor] = {}
    for name, layer in base.named_modules():
        if isinstance(layer, nn.Linear):
            difference = _weight(ours[name]) - layer.weight
            if difference.abs().max() > 0:
                added[name] = difference
    return added


def _weight(layer: Any) -> Tensor:
    """Return a linear layer's weight (out, in), with the update that PEFT computes beside it."""
    weight: Tensor = getattr(layer, "base_layer", layer).weight.detach().float().cpu()
    for adapter in getattr(layer, "active_adapters", ()):
        weight = weight + layer.get_delta_weight(adapter).detach().float().cpu()
    return weight


def write_adapter(added: Mapping[str, Tensor], folder: Path, rank: int) -> None:
    """Write changes of matrices as LoRA weights in half precision: the best approximation of each at that rank.

    By the theorem of Eckart and Young, that is the singular value decomposition cut after `rank` values; each factor
    takes the root of these, so that both use the range of half precision alike. A matrix smaller than the rank is
    filled up with zeros: all have the same rank, and with it the same scale, 1.
    """
    rank = min(rank, max((min(each.shape) for each in added.values()), default=rank))
    tensors: dict[str, Tensor] = {}
    for name, difference in sorted(added.items()):
        left, values, right = torch.linalg.svd(difference, full_matrices=False)
        root = values[:rank].sqrt()
        lacking = rank - len(root)
        first = functional.pad(root[:, None] * right[:rank], (0, 0, 0, lacking))
        second = functional.pad(left[:, :rank] * root, (0, lacking))
        tensors[f"base_model.model.{name}.lora_A.weight"] = first.half().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = second.half().contiguous()
    modules = sorted({name.rpartition(".")[2] for name in added})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "bias": "none", "target_modules": modules}
    save_file(tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", "utf-8")
