"""LoRA adapters merged into a model's weights: W + scale * B A, once, at load.

Knows the files that PEFT writes and the names of a model's layers; nothing of what the adapter was trained for.
Source: Hu et al. 2021; the scale is alpha / r, or alpha / sqrt(r) where the adapter says `use_rslora`.
"""

import json
import math
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from instructsearch.errors import BadProfile, ModelDamaged

_PAIRS = {".lora_A": ".lora_B", ".lora_embedding_A": ".lora_embedding_B"}


def merge(model: nn.Module, folder: Path) -> None:
    """Add an adapter's low-rank updates to the weights of a model, in place.

    Raises:
        BadProfile: the adapter is of a kind that cannot be merged so.
        ModelDamaged: it is not there, or does not fit the model.
    """
    facts, weights = _read(folder)
    pairs = {name: name.replace(first, second) for name in weights for first, second in _PAIRS.items() if first in name}
    if odd := sorted(set(weights).symmetric_difference({*pairs, *pairs.values()})):
        raise BadProfile(f"{folder}: the adapter's {odd[0]} is no half of a LoRA update; only whole ones can be merged")
    layers = dict(model.named_modules())
    for first, second in pairs.items():
        path = first.rpartition(".lora_")[0]
        layer = _layer(layers, path, folder)
        update = _scale(facts, path, weights[first].shape[0]) * (weights[second].float() @ weights[first].float())
        weight: Tensor = layer.weight.data
        if isinstance(layer, nn.Embedding) or facts.get("fan_in_fan_out"):
            update = update.T
        if update.shape != weight.shape:
            raise ModelDamaged(f"{folder}: the adapter's {path} is {tuple(update.shape)}, not {tuple(weight.shape)}")
        weight += update.to(weight.dtype)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        facts: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        weights: dict[str, Tensor] = load_file(folder / "adapter_model.safetensors")
    except FileNotFoundError as error:
        missing = Path(error.filename or "adapter_model.safetensors").name
        raise ModelDamaged(f"{folder} is no LoRA adapter: {missing} is missing") from None
    except Exception as error:  # safetensors raises its own, straight from Exception
        raise ModelDamaged(f"{folder}: the adapter cannot be read: {error}") from None
    if facts.get("peft_type", "LORA") != "LORA" or facts.get("use_dora") or facts.get("bias", "none") != "none":
        raise BadProfile(
            f"{folder}: only plain LoRA adapters can be merged, not {facts.get('peft_type')} with DoRA or bias"
        )
    return facts, weights


def _layer(layers: dict[str, nn.Module], path: str, folder: Path) -> Any:
    """Return the model's layer of that path, whatever the model was wrapped in when the adapter was saved."""
    parts = path.split(".")
    for start in range(len(parts)):
        layer = layers.get(".".join(parts[start:]))
        if isinstance(layer, nn.Linear | nn.Embedding):
            return layer
    raise ModelDamaged(f"{folder}: the adapter is for a layer {path} that the model does not have")


def _scale(facts: dict[str, Any], path: str, rank: int) -> float:
    alpha = next(
        (each for pattern, each in (facts.get("alpha_pattern") or {}).items() if path.endswith(pattern)),
        facts.get("lora_alpha", rank),
    )
    return float(alpha) / (math.sqrt(rank) if facts.get("use_rslora") else rank)
