"""A language model with its head in training: vectors as embed-by-answer takes them, and the logits of answers.

Knows transformers' loading and the layers of a stack; nothing of texts, templates or batches.
"""

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from instructsearch.embed import Profile, delta, lora
from instructsearch.embed.backbone import _check_finite, _check_window, _quiet, _refuse_pickle
from instructsearch.embed.dialect import configuration
from instructsearch.embed.layers import post_layers
from instructsearch.embed.weights import adapter_folder, verified
from instructsearch.errors import BadProfile, ModelDamaged


class LanguageModel(nn.Module):
    """A whole language model, masked where the profile pools mask tokens and causal elsewhere, in float32.

    Raises:
        BadProfile: transformers has no such head for its architecture.
        ModelDamaged: weights are missing, not finite, or do not fit the configuration.
    """

    def __init__(self, profile: Profile, folder: Path) -> None:
        super().__init__()
        self.masked = profile.pooling == "mask"
        self.model = _load(profile, folder, "MASKED_LM" if self.masked else "CAUSAL_LM")
        names = tuple(name.replace("{dim}", str(profile.dim)) for name in profile.post)
        self.post, self.width = post_layers(folder, names, int(self.backbone.config.hidden_size))
        self._layer = profile.layer

    @property
    def backbone(self) -> Any:
        """The model without its head."""
        return self.model.base_model

    def forward(self, ids: Tensor, attention: Tensor, weights: Tensor) -> Tensor:
        """Return (rows, width) float32, as the network of embed-by-answer does; arguments are (rows, length)."""
        found = self.backbone(input_ids=ids, attention_mask=attention, output_hidden_states=bool(self._layer))
        states = found.last_hidden_state
        if 0 < self._layer < len(found.hidden_states or ()) - 1:
            states = found.hidden_states[self._layer]
        vectors: Tensor = (weights.unsqueeze(1) @ states.float()).squeeze(1)
        for layer in self.post:
            vectors = layer(vectors)
        return vectors

    def logits(self, ids: Tensor, attention: Tensor) -> Tensor:
        """Return (rows, length, vocabulary) float32."""
        logits: Tensor = self.model(input_ids=ids, attention_mask=attention).logits.float()
        return logits


def _load(profile: Profile, folder: Path, task: str) -> Any:
    config = configuration(folder)
    mapping = getattr(transformers, f"MODEL_FOR_{task}_MAPPING")
    if type(config) not in mapping:
        kind = task.replace("_LM", " language model").lower()
        raise BadProfile(f"{profile.name}: transformers has no {kind} of the architecture {config.model_type!r}")
    _refuse_pickle(profile, folder)
    try:
        with _quiet():
            model, report = mapping[type(config)].from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,  # the other format is pickle, which runs code
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelDamaged(f"{profile.name}: {folder} cannot be loaded: {str(error).partition(chr(10))[0]}") from error
    if missing := sorted(report["missing_keys"]):
        reason = f"lacks {len(missing)} weights, {missing[0]} among them"
        raise ModelDamaged(f"{profile.name}: {folder} {reason}; its head is needed for training")
    _check_window(profile, model)
    if adapter := profile.adapter("document"):
        with torch.no_grad():
            trained = verified(profile, adapter_folder(adapter, folder))
            (delta if (trained / delta.FILE).is_file() else lora).merge(model.base_model, trained)
    _check_finite(profile, folder, model)
    model.config.use_cache = False  # or every step keeps the keys and values of all layers
    model.requires_grad_(requires_grad=False)
    return model.eval()
