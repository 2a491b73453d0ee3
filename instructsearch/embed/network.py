"""The network of a pooled embedder in torch: token ids and pooling weights in, vectors out.

Knows the checkpoint's architecture; nothing of texts, templates or batching. Norms and pooling are in float32 whatever
the weights are in.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from instructsearch.embed.profile import Profile
from instructsearch.errors import BadProfile, ModelDamaged


class Network(nn.Module):
    """A transformer followed by weighted pooling and the profile's post layers."""

    def __init__(self, profile: Profile, folder: Path) -> None:
        super().__init__()
        self.backbone = _backbone(profile, folder)
        self.width: int = self.backbone.config.hidden_size
        self.post = nn.ModuleList([_post_layer(profile, name) for name in profile.post])

    def forward(self, ids: Tensor, attention: Tensor, weights: Tensor) -> Tensor:
        """Return (rows, dim) float32; the arguments are (rows, length), and each row of weights sums to one."""
        states = self.backbone(input_ids=ids, attention_mask=attention).last_hidden_state
        vectors: Tensor = (weights.unsqueeze(1) @ states.float()).squeeze(1)
        for layer in self.post:
            vectors = layer(vectors)
        return vectors


def _backbone(profile: Profile, folder: Path) -> Any:
    if profile.remote_code:
        raise BadProfile(f"{profile.name} needs code from its repository, and this version runs none")
    try:
        with _quiet():
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            extra: dict[str, Any] = {"add_pooling_layer": False} if config.model_type in _WITH_POOLER else {}
            model, report = transformers.AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                trust_remote_code=False,
                local_files_only=True,
                use_safetensors=True,  # the other format is pickle, which runs code
                output_loading_info=True,
                **extra,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelDamaged(f"{profile.name}: {folder} cannot be loaded: {str(error).partition(chr(10))[0]}") from error
    if missing := sorted(report["missing_keys"]):
        raise ModelDamaged(f"{profile.name}: {folder} lacks {len(missing)} weights, {missing[0]} among them")
    model.requires_grad_(requires_grad=False)
    return model.eval()


_WITH_POOLER = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "electra"})


def _post_layer(profile: Profile, name: str) -> nn.Module:
    raise BadProfile(f"{profile.name}: no post layer {name!r}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing bars and reporting the pooler weights that we leave out on purpose."""
    logging = transformers.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
