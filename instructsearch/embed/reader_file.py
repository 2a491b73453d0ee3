"""A reader's weights as one file: matrices in 8 bits a weight with a scale for each row, the small rest in full.

Knows the file and the names in a `ReaderNetwork`; nothing of what was trained.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from instructsearch.embed.backbone import load_backbone
from instructsearch.embed.profile import Profile
from instructsearch.embed.reader_network import ReaderNetwork
from instructsearch.embed.weights import adapter_folder, verified
from instructsearch.errors import BadProfile, ModelDamaged

FILE = "reader.safetensors"
_LEVELS = 127  # of int8, either side of zero
_SCALE = ".scale"


def write(network: ReaderNetwork, folder: Path) -> None:
    """Write the reader's weights, without the base's, into a folder."""
    tensors: dict[str, Tensor] = {}
    for name, weight in sorted(network.own().items()):
        values = weight.detach().float().cpu()
        if values.ndim == 2 and len(values) > 1:
            scale = values.abs().amax(1, keepdim=True).clamp(min=1e-12) / _LEVELS
            tensors[name] = (values / scale).round().to(torch.int8).contiguous()
            tensors[name + _SCALE] = scale.squeeze(1).contiguous()
        else:
            tensors[name] = values.contiguous()
    save_file(tensors, folder / FILE)


def load(profile: Profile, folder: Path) -> ReaderNetwork:
    """Return the reader of a profile over the base model in `folder`, ready for inference.

    Raises:
        BadProfile: the profile names no reader, two of them, or a base that none can read.
        ModelDamaged: the file is missing, altered, or does not fit the base.
    """
    if not profile.query_adapter or profile.query_adapter != profile.document_adapter:
        raise BadProfile(f"{profile.name}: kind 'reader' needs one folder, as query_adapter and document_adapter")
    backbone = load_backbone(profile.part(instructed=False), folder, "document")
    path = verified(profile, adapter_folder(profile.query_adapter, folder)) / FILE
    weights = _whole(path)
    hidden = weights.get("hidden.weight", torch.zeros(1))
    network = ReaderNetwork(backbone, len(hidden))
    own = network.own()
    if odd := sorted(set(own) ^ set(weights)):
        raise ModelDamaged(f"{path} is of another reader: {odd[0]} is missing from it, or too much in it")
    for name, values in weights.items():
        if values.shape != own[name].shape or not torch.isfinite(values).all():
            raise ModelDamaged(f"{path}: its {name} does not fit the base, or is not finite")
    network.load_state_dict(weights, strict=False)
    network.requires_grad_(requires_grad=False)
    return network.eval()


def _whole(path: Path) -> dict[str, Tensor]:
    """Return the weights of a file by name, in float32."""
    try:
        tensors = load_file(path)
    except Exception as error:  # safetensors raises its own, straight from Exception
        raise ModelDamaged(f"{path} cannot be read: {error}") from None
    weights: dict[str, Tensor] = {}
    for name in tensors:
        values = tensors[name].float()
        if tensors[name].dtype == torch.int8:
            scale = tensors.get(name + _SCALE)
            if scale is None or scale.shape != values.shape[:1]:
                raise ModelDamaged(f"{path}: the scales of {name} are not one number a row")
            values = values * scale.float()[:, None]
        weights[name] = values
    scales = {name + _SCALE for name in tensors if tensors[name].dtype == torch.int8}
    return {name: values for name, values in weights.items() if name not in scales}
