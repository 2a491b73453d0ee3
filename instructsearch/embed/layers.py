"""What follows pooling: Dense, LayerNorm and plain normalisations, as sentence-transformers saves them.

Knows the folders of such modules and their weights; nothing of transformers, tokens or templates.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from instructsearch.errors import BadProfile, ModelDamaged

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    each.__name__: each
    for each in (
        *(nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Mish, nn.Softplus, nn.LeakyReLU, nn.ELU),
    )
}


class Dense(nn.Module):
    """A linear layer, its activation and, where the module says so, a residual connection around both."""

    def __init__(self, facts: dict[str, Any], activation: nn.Module) -> None:
        super().__init__()
        width, self.width = int(facts["in_features"]), int(facts["out_features"])
        self.linear = nn.Linear(width, self.width, bias=bool(facts.get("bias", True)))
        self.activation = activation
        self.around = bool(facts.get("use_residual"))
        self.residual = nn.Linear(width, self.width, bias=False) if self.around and width != self.width else None

    def forward(self, vectors: Tensor) -> Tensor:
        """Return (rows, out) of (rows, in)."""
        result: Tensor = self.activation(self.linear(vectors))
        if not self.around:
            return result
        return result + (vectors if self.residual is None else self.residual(vectors))


class LayerNorm(nn.Module):
    """A layer normalisation with weights, under the name that sentence-transformers saves it by."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(width)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return (rows, width) of the same."""
        normalised: Tensor = self.norm(vectors)
        return normalised


class Plain(nn.Module):
    """A normalisation without weights: `layer_norm` to mean 0 and variance 1, `normalize` to unit length."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, vectors: Tensor) -> Tensor:
        """Return (rows, width) of the same."""
        if self.name == "layer_norm":
            return functional.layer_norm(vectors, vectors.shape[-1:])
        return functional.normalize(vectors, dim=-1)


def post_layers(folder: Path, names: tuple[str, ...], width: int) -> tuple[nn.ModuleList, int]:
    """Return the layers of these names for vectors of `width`, and the width of what they give.

    Raises:
        BadProfile: a layer is of a kind that this package does not reproduce.
        ModelDamaged: a layer's files are missing or do not fit.
    """
    made: list[nn.Module] = []
    for name in names:
        if name in {"layer_norm", "normalize"}:
            made.append(Plain(name))
            continue
        layer = _read(folder / name)
        needed = layer.linear.in_features if isinstance(layer, Dense) else layer.width
        if needed != width:
            raise ModelDamaged(f"{folder / name} takes vectors of {needed}, and what comes before gives {width}")
        width = layer.width
        made.append(layer)
    return nn.ModuleList(made).requires_grad_(requires_grad=False).eval(), width


def _read(folder: Path) -> Dense | LayerNorm:
    try:
        facts: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelDamaged(f"{folder / 'config.json'} cannot be read: {error}") from None
    layer = LayerNorm(int(facts["dimension"])) if "dimension" in facts else Dense(facts, _activation(folder, facts))
    if not (folder / "model.safetensors").is_file():
        raise ModelDamaged(
            f"{folder} has no model.safetensors, and pickle is not read, since that can run code; make a converted "
            "copy of the model once, embed.convert(MODEL, FOLDER) in Python"
        )
    try:
        layer.load_state_dict({name: each.float() for name, each in load_file(folder / "model.safetensors").items()})
    except Exception as error:  # torch raises RuntimeError, safetensors its own
        raise ModelDamaged(f"{folder}: {' '.join(str(error).split())}") from None
    if not all(bool(torch.isfinite(each).all()) for each in layer.state_dict().values()):
        raise ModelDamaged(f"{folder}: its weights are not finite")
    return layer


def _activation(folder: Path, facts: dict[str, Any]) -> nn.Module:
    path = str(facts.get("activation_function", "torch.nn.modules.activation.Tanh"))
    name = path.rpartition(".")[2]
    if not path.startswith("torch.nn.") or name not in ACTIVATIONS:
        raise BadProfile(f"{folder}: its activation {path!r} is not one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()
