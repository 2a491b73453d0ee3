"""What training has changed in a model's matrices, in 8 bits a weight: W + scale * D, once, at load.

Knows one file and the names of a model's layers; nothing of what was trained. A change by full training has no low
rank: of all-MiniLM-L6-v2's, 8 bits a weight kept vectors at a cosine of 0.999999, rank 96 in 16 bits at 0.995.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from instructsearch.errors import ModelDamaged

FILE = "delta.safetensors"
_LEVELS = 127  # of int8, either side of zero


def write(change: dict[str, Tensor], folder: Path) -> None:
    """Write changes (out, in) of the linear layers named, each row with a scale of its own."""
    tensors: dict[str, Tensor] = {}
    for name, difference in sorted(change.items()):
        scale = difference.abs().amax(1, keepdim=True).clamp(min=1e-12) / _LEVELS
        tensors[f"{name}.change"] = (difference / scale).round().to(torch.int8).contiguous()
        tensors[f"{name}.scale"] = scale.squeeze(1).contiguous()
    save_file(tensors, folder / FILE)


def merge(model: nn.Module, folder: Path) -> None:
    """Add the changes in a folder to the weights of a model, in place.

    Raises:
        ModelDamaged: the file cannot be read, or does not fit the model.
    """
    path = folder / FILE
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except Exception as error:  # safetensors raises its own, straight from Exception
        raise ModelDamaged(f"{path} cannot be read: {error}") from None
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    names = {name.rpartition(".")[0] for name in tensors}
    if set(tensors) != {f"{name}.{part}" for name in names for part in ("change", "scale")}:
        raise ModelDamaged(f"{path} holds something else than changes with their scales")
    added = {}
    for name in sorted(names):
        change, scale = tensors[f"{name}.change"], tensors[f"{name}.scale"]
        if name not in layers or change.dtype != torch.int8 or change.shape != layers[name].weight.shape:
            raise ModelDamaged(f"{path}: its {name} {tuple(change.shape)} does not fit the model")
        if scale.shape != change.shape[:1] or not torch.isfinite(scale).all():
            raise ModelDamaged(f"{path}: the scales of {name} are not one finite number a row")
        added[name] = change.float() * scale.float()[:, None]
    for name, difference in added.items():
        weight = layers[name].weight.data
        weight += difference.to(weight.dtype)
