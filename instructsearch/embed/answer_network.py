"""The network of embed-by-answer: a language model's states at any layer, for whole prompts or for branching ones.

Knows the architecture's layers and attention; nothing of texts, instructions or batching.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from instructsearch.embed.network import Network
from instructsearch.embed.profile import Profile
from instructsearch.errors import BadProfile
from instructsearch.records import Role

_STACKS = ("decoder", "encoder")
_BLOCKS = ("layers", "layer", "h")
_AFTER_BLOCKS = ("norm", "final_layer_norm", "ln_f", "project_out")


class AnswerNetwork(Network):
    """A language model without its head, cut off after the profile's layer."""

    def __init__(self, profile: Profile, folder: Path, role: Role = "document") -> None:
        super().__init__(profile, folder, role)
        self.backbone.config.use_cache = False  # or every call keeps the keys and values of all layers
        if profile.layer:
            _cut(self.backbone, profile)

    @property
    def window(self) -> int:
        """The distance over which the model attends, where it is limited; otherwise 0."""
        return int(getattr(self.backbone.config, "sliding_window", 0) or 0)

    def branch(self, ids: Tensor, positions: Tensor, owners: Tensor, weights: Tensor) -> Tensor:
        """Return (rows, k, dim) float32: the vector of each branch, as if trunk and branch were a prompt of their own.

        The arguments are those of `Branches`. The trunk's keys and values are computed once, layer by layer, and every
        branch attends to them and to itself; nothing is kept beyond the layer.
        """
        states = self.backbone(
            input_ids=ids, attention_mask=_visible(owners), position_ids=positions, use_cache=False
        ).last_hidden_state
        vectors: Tensor = weights @ states.float()
        for layer in self.post:
            vectors = layer(vectors)
        return vectors


def _visible(owners: Tensor) -> Tensor:
    """Return (rows, 1, length, length): what each token may attend to. Padding sees itself, lest it turn into NaN."""
    count = owners.shape[1]
    earlier = torch.ones(count, count, dtype=torch.bool, device=owners.device).tril()
    related = (owners[:, None, :] == 0) | (owners[:, None, :] == owners[:, :, None])
    return (earlier & related)[:, None]


def _cut(backbone: Any, profile: Profile) -> None:
    """Take away all that follows the profile's layer: what is never looked at need not be computed or kept."""
    stack = next((getattr(backbone, name) for name in _STACKS if hasattr(backbone, name)), backbone)
    name = next((name for name in _BLOCKS if isinstance(getattr(stack, name, None), nn.ModuleList)), None)
    if name is None:
        raise BadProfile(f"{profile.name}: the layers of a {backbone.config.model_type} cannot be told apart")
    blocks = getattr(stack, name)
    if not 0 < profile.layer <= len(blocks):
        raise BadProfile(f"{profile.name}: layer is {profile.layer}, and the model has {len(blocks)}")
    if profile.layer == len(blocks):
        return  # the last layer's states are taken after the final norm, as everywhere
    setattr(stack, name, blocks[: profile.layer])
    backbone.config.num_hidden_layers = profile.layer
    for each in _AFTER_BLOCKS:
        if getattr(stack, each, None) is not None:
            setattr(stack, each, nn.Identity())
