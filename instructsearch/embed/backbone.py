"""The transformer of a checkpoint folder: the right class, its attention, its adapters, and whole weights.

Knows transformers' loading; nothing of pooling, templates or batches. Runs no code from the folder and reads no pickle.
"""

import contextlib
import inspect
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from instructsearch.embed import delta, lora
from instructsearch.embed.dialect import configuration
from instructsearch.embed.profile import Profile
from instructsearch.embed.weights import adapter_folder, verified
from instructsearch.errors import BadProfile, ModelDamaged
from instructsearch.records import Role

log = logging.getLogger("instructsearch.embed")
loading = logging.getLogger("instructsearch.embed.loading")  # what takes long enough that a user should hear of it
LARGE = 1_000_000_000  # bytes of weights
_ENCODERS = {
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
    "longt5": "LongT5EncoderModel",
}
_POSITIONS = ("position_embeddings", "embed_positions", "wpe")


def load_backbone(profile: Profile, folder: Path, role: Role) -> Any:
    """Return the model of a folder in float32, ready for inference, with the role's adapter merged in.

    Raises:
        BadProfile: its architecture or adapter is of a kind that this package does not reproduce.
        ModelDamaged: weights are missing, not finite, or do not fit the configuration.
    """
    if profile.remote_code:
        raise BadProfile(f"{profile.name} needs code from its repository, and this version runs none")
    _refuse_pickle(profile, folder)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    teller = loading if size > LARGE else log
    teller.info("loading %s (%.1f GB) from %s", profile.name, size / 1e9, folder)
    try:
        with _quiet(bar=size > LARGE and sys.stderr.isatty()):
            config = configuration(folder)
            if profile.attention != "as configured":
                config.is_causal = profile.attention == "causal"
            maker, extra = _class(config)
            model, report = maker.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,  # the other format is pickle, which runs code
                output_loading_info=True,
                **extra,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelDamaged(f"{profile.name}: {folder} cannot be loaded: {str(error).partition(chr(10))[0]}") from error
    if missing := sorted(report["missing_keys"]):
        raise ModelDamaged(f"{profile.name}: {folder} lacks {len(missing)} weights, {missing[0]} among them")
    _check_window(profile, model)
    if adapter := profile.adapter(role):
        with torch.no_grad():
            trained = verified(profile, adapter_folder(adapter, folder))
            (delta if (trained / delta.FILE).is_file() else lora).merge(model, trained)
    _check_finite(profile, folder, model)
    model.requires_grad_(requires_grad=False)
    return model.eval()


def _class(config: Any) -> tuple[Any, dict[str, Any]]:
    """Return the class for a configuration, without the pooler and the decoder that embeddings do not use."""
    if config.model_type in _ENCODERS:
        return getattr(transformers, _ENCODERS[config.model_type]), {}
    found = transformers.MODEL_MAPPING.get(type(config), None)
    if found is None:
        raise BadProfile(f"transformers has no bare model for the architecture {config.model_type!r}")
    maker = found[0] if isinstance(found, tuple) else found
    return maker, ({"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(maker).parameters else {})


def _refuse_pickle(profile: Profile, folder: Path) -> None:
    if not any(folder.glob("*.safetensors")):
        base = profile.name.partition("=")[0].partition("@")[0]
        raise ModelDamaged(
            f"{profile.name}: {folder} has no *.safetensors, and pickle is not read, since that can run code; make a "
            f"converted copy once, embed.convert({base!r}, FOLDER) in Python, and use --embedder {base}=FOLDER"
        )


def _check_window(profile: Profile, model: nn.Module) -> None:
    """Check that a table of positions, where the model has one, reaches as far as the profile's window."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Embedding) and name.endswith(_POSITIONS):
            unused = int(getattr(layer, "offset", 0)) if layer.padding_idx is None else layer.padding_idx + 1
            if profile.max_tokens > layer.num_embeddings - unused:
                limit = f"the model has positions for {layer.num_embeddings - unused}"
                raise BadProfile(f"{profile.name}: max_tokens is {profile.max_tokens}, and {limit}")


def _check_finite(profile: Profile, folder: Path, model: nn.Module) -> None:
    for name, weight in model.named_parameters():
        # The sum is not finite if any weight is not, and costs a tenth of looking at each.
        if not torch.isfinite(weight.sum()) and not torch.isfinite(weight).all():
            raise ModelDamaged(f"{profile.name}: {folder} holds weights that are not finite numbers, in {name}")


@contextlib.contextmanager
def _quiet(*, bar: bool = False) -> Iterator[None]:
    """Keep transformers from reporting the weights left out on purpose, and from drawing bars but on demand."""
    theirs = transformers.logging
    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    (theirs.enable_progress_bar if bar else theirs.disable_progress_bar)()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        (theirs.enable_progress_bar if bars else theirs.disable_progress_bar)()
