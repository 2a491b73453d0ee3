"""A reranker's trained part: LoRA updates and whole weights, laid over the weights of a model that came from elsewhere.

Knows the files of such a folder, of which it has one at least, and the names of a model's weights; nothing of how they
were trained. `adapter_config.json` and `adapter_model.safetensors` are PEFT's; `delta.safetensors` holds changes in 8
bits a weight, as embed's trained models have them; `head.safetensors` holds weights by their full names, such as those
of the head that the model did not have.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from instructsearch.embed import delta as changes
from instructsearch.embed import lora
from instructsearch.errors import ModelDamaged

HEAD = "head.safetensors"


def apply(model: nn.Module, folder: Path) -> set[str]:
    """Lay a delta over a model's weights, in place; return the names of the weights that were replaced whole.

    Raises:
        ModelDamaged: a file is missing or does not fit the model.
        BadProfile: the LoRA part is of a kind that cannot be merged.
    """
    replaced = _head(folder)
    adapted, changed = (folder / "adapter_config.json").is_file(), (folder / changes.FILE).is_file()
    if not (replaced or adapted or changed):
        raise ModelDamaged(f"{folder} is no delta: it has none of {HEAD}, {changes.FILE} and adapter_config.json")
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in replaced.items():
            if name not in weights or weights[name].shape != weight.shape:
                raise ModelDamaged(f"{folder / HEAD}: its {name} {tuple(weight.shape)} does not fit the model")
            weights[name].copy_(weight)
        if adapted:
            lora.merge(model, folder)
        if changed:
            changes.merge(model, folder)
    return set(replaced)


def _head(folder: Path) -> dict[str, Tensor]:
    if not (folder / HEAD).is_file():
        return {}
    try:
        weights: dict[str, Tensor] = load_file(folder / HEAD)
    except Exception as error:  # safetensors raises its own, straight from Exception
        raise ModelDamaged(f"{folder / HEAD} cannot be read: {error}") from None
    return weights
