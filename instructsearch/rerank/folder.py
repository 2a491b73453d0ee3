"""Reads the folder of a sentence-transformers CrossEncoder: what its own files say about how to rerank with it.

Knows that layout (config.json, activation, prompts, modules.json); loads no weights and runs no code from the folder.
"""

import json
from pathlib import Path
from typing import Any

from instructsearch.embed import folder as embedders
from instructsearch.embed.weights import digest
from instructsearch.errors import BadProfile
from instructsearch.rerank import weights
from instructsearch.rerank.profile import RerankProfile

_HEAD = "ForSequenceClassification"
_ACTIVATIONS = {
    "torch.nn.modules.linear.Identity": "identity",
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
    "torch.nn.modules.activation.LogSigmoid": "log_sigmoid",
    "torch.nn.modules.activation.Tanh": "tanh",
}
_PORTED = frozenset({"new"})  # transformers has this one's architecture as a class of its own
_WRITE = "write a profile.toml that says how to rerank with it"


def describe(folder: Path, model: str, revision: str) -> RerankProfile:
    """Return the profile that a folder's files describe. A local model is known by the digests of its files.

    Raises:
        BadProfile: something is missing, or is of a kind that this package does not reproduce.
    """
    config = _config(folder)
    facts = _read(folder / "config_sentence_transformers.json", optional=True)
    tokenizer = _read(folder / "tokenizer_config.json", optional=True)
    prompt = str((facts.get("prompts") or {}).get(facts.get("default_prompt_name") or "") or "")
    if "{" in prompt or "}" in prompt:
        raise BadProfile(f"{folder}: the prompt {prompt!r} holds braces; {_WRITE}")
    return RerankProfile.from_dict(
        {
            "name": model if revision else folder.name,
            "model": model,
            "revision": revision,
            "files": {} if revision else identity(folder),
            "template": [prompt + "{query}", "{text}"],
            "activation": _activation(folder, facts, config),
            "max_tokens": embedders._window(config, _settings(folder), tokenizer),
        }
    )


def identity(folder: Path, projection: str = "") -> dict[str, str]:
    """Return the SHA-256 of the files by which a model or a delta is known wherever it lies."""
    inside = [projection] if projection and (folder / projection).is_dir() else []
    found = embedders.identity(folder, inside)
    for name in ("adapter_config.json", weights.FILE):
        if (folder / name).is_file():
            found[name] = digest(folder / name)
    return found


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = _read(folder / "config.json")
    own = config.get("auto_map", {}).get(f"AutoModel{_HEAD}")
    if own and config.get("model_type") not in _PORTED:
        raise BadProfile(
            f"{folder} brings its own code ({own}), which decides its scores and which this package does not run; "
            f"where transformers' own class does the same, {_WRITE}"
        )
    names = [str(each) for each in config.get("architectures") or []]
    if not any(name.endswith(_HEAD) for name in names):
        found = f"a {names[0]}" if names else "of no architecture that config.json names"
        missing = f"it has no head of the kind ...{_HEAD}"
        raise BadProfile(f"{folder} is {found}, and no cross-encoder: {missing}; for any other reranker, {_WRITE}")
    labels = len(config["id2label"]) if "id2label" in config else int(config.get("num_labels", 2))
    if labels != 1:
        raise BadProfile(f"{folder} gives {labels} labels a pair, and a reranker gives one")
    return config


def _settings(folder: Path) -> dict[str, Any]:
    """Return the settings of the one module that a cross-encoder has."""
    modules = list(_read(folder / "modules.json", optional=True))
    for module in modules:
        kind = str(module.get("type"))
        if not kind.startswith("sentence_transformers."):
            raise BadProfile(f"{folder} brings code of its own for {kind}, which this package does not run")
        if kind.rpartition(".")[2] != "Transformer" or len(modules) > 1:
            names = ", ".join(str(each.get("type")).rpartition(".")[2] for each in modules)
            raise BadProfile(
                f"{folder} has the modules {names}, and this version reproduces a lone Transformer; {_WRITE}"
            )
    paths = sorted(folder.glob("sentence_*_config.json"))
    settings: dict[str, Any] = _read(paths[0]) if paths else {}
    if "message" in settings.get("modality_config", {}):
        raise BadProfile(f"{folder} puts its pairs into a chat template; {_WRITE}, with that as its template")
    return settings


def _activation(folder: Path, facts: dict[str, Any], config: dict[str, Any]) -> str:
    """Return the activation, from wherever the releases of sentence-transformers have kept it."""
    older = (config.get("sentence_transformers") or {}).get("activation_fn")
    path = facts.get("activation_fn") or older or config.get("sbert_ce_default_activation_function")
    path = str(path or "torch.nn.modules.activation.Sigmoid")
    if path not in _ACTIVATIONS:
        raise BadProfile(f"{folder}: its activation {path!r} is not one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[path]


def _read(path: Path, *, optional: bool = False) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if optional:
            return {}
        raise BadProfile(f"{path.parent} has no {path.name}; {_WRITE}") from None
    except ValueError as error:
        raise BadProfile(f"{path} is not JSON: {error}") from None
