"""The transformer of a reranker's checkpoint with its head: the right class, whole weights, its delta laid over them.

Knows transformers' loading; nothing of templates, batches or scores. Runs no code from the folder and reads no pickle.
"""

import logging
import sys
from pathlib import Path
from typing import Any, Literal

import torch
import transformers

from instructsearch.embed.backbone import LARGE, _check_finite, _check_window, _quiet, loading
from instructsearch.embed.dialect import configuration
from instructsearch.errors import BadProfile, ModelDamaged
from instructsearch.rerank import delta
from instructsearch.rerank.files import as_embed, locate, locate_delta
from instructsearch.rerank.profile import RerankProfile

log = logging.getLogger("instructsearch.rerank")
Task = Literal["SEQUENCE_CLASSIFICATION", "CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM"]


def load_model(profile: RerankProfile, task: Task, dtype: torch.dtype = torch.float32) -> tuple[Any, Path]:
    """Return the model of a profile, ready for inference, and the folder that it came from.

    Raises:
        BadProfile: its architecture has no head for the task, or exists only as code in its repository.
        ModelNotFound: it is not on this machine.
        ModelDamaged: weights are missing, not finite, or do not fit the configuration.
    """
    folder = locate(profile)
    config = configuration(folder)
    mapping = getattr(transformers, f"MODEL_FOR_{task}_MAPPING")
    if type(config) not in mapping:
        kind = task.lower().replace("_", " ")
        raise BadProfile(f"{profile.name}: transformers has no {kind} head for the architecture {config.model_type!r}")
    if not any(folder.glob("*.safetensors")):
        raise ModelDamaged(
            f"{profile.name}: {folder} has no *.safetensors, and pickle is not read, since that can run code; make a "
            "converted copy once, embed.convert(MODEL, FOLDER) in Python"
        )
    if profile.delta:
        config.num_labels = 1
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    teller = loading if size > LARGE else log
    teller.info("loading the reranker %s (%.1f GB) from %s", profile.name, size / 1e9, folder)
    try:
        with _quiet(bar=size > LARGE and sys.stderr.isatty()):
            model, report = mapping[type(config)].from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,  # the other format is pickle, which runs code
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelDamaged(f"{profile.name}: {folder} cannot be loaded: {str(error).partition(chr(10))[0]}") from error
    brought = delta.apply(model, locate_delta(profile)) if profile.delta else set()
    if missing := sorted(set(report["missing_keys"]) - brought):
        raise ModelDamaged(f"{profile.name}: {folder} lacks {len(missing)} weights, {missing[0]} among them")
    _check_window(as_embed(profile), model)
    _check_finite(as_embed(profile), folder, model)
    model.requires_grad_(requires_grad=False)
    return model.eval(), folder
