"""Reads a sentence-transformers model folder: what its own files say about how to embed with it.

Knows that layout (modules.json, pooling and prompts); loads no weights and runs no code from the folder.
"""

import json
from pathlib import Path
from typing import Any

from instructsearch.embed.profile import Profile
from instructsearch.embed.weights import digest
from instructsearch.errors import BadProfile

_POOLING = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_weightedmean_tokens": "weighted",
}
_IDENTITY = ("*.safetensors", "*/*.safetensors", "config.json", "tokenizer.json")


def describe(folder: Path, model: str, revision: str) -> Profile:
    """Return the profile that a folder's files describe. A local model is known by the digests of its files.

    Raises:
        BadProfile: something is missing, or is of a kind that this package does not reproduce.
    """
    config = _read(folder / "config.json")
    modules = _modules(folder)
    pooling = _read(folder / modules.get("Pooling", "1_Pooling") / "config.json")
    settings = _read(folder / "sentence_bert_config.json", optional=True)
    prompts: dict[str, str] = _read(folder / "config_sentence_transformers.json", optional=True).get("prompts") or {}
    document = next((prompts[key] for key in ("document", "passage", "corpus") if prompts.get(key)), "")
    width = pooling.get("embedding_dimension") or pooling.get("word_embedding_dimension") or config["hidden_size"]
    files = sorted({path for pattern in _IDENTITY for path in folder.glob(pattern)})
    return Profile.from_dict(
        {
            "name": model if revision else folder.name,
            "model": model,
            "revision": revision,
            "files": {} if revision else {path.relative_to(folder).as_posix(): digest(path) for path in files},
            "query_template": _escape(folder, prompts.get("query", "")) + "{text}",
            "document_template": _escape(folder, document) + "{text}",
            "pooling": _pooling(folder, pooling),
            "pool_includes_instruction": bool(pooling.get("include_prompt", True)),
            "dim": int(width),
            "max_tokens": int(settings.get("max_seq_length") or config.get("max_position_embeddings") or 512),
        }
    )


def _modules(folder: Path) -> dict[str, str]:
    """Return the path of each module by the last part of its class name."""
    listed: Any = _read(folder / "modules.json")
    modules = {str(module["type"]).rpartition(".")[2]: str(module["path"]) for module in listed}
    if strange := sorted(set(modules) - {"Transformer", "Pooling", "Normalize"}):
        raise BadProfile(f"{folder} has modules that this version does not reproduce: {', '.join(strange)}")
    return modules


def _pooling(folder: Path, facts: dict[str, Any]) -> str:
    mode = facts.get("pooling_mode")
    chosen = [name for key, name in _POOLING.items() if facts.get(key)]
    if isinstance(mode, str):
        chosen = [{"lasttoken": "last", "weightedmean": "weighted"}.get(mode, mode)]
    if len(chosen) != 1 or chosen[0] not in _POOLING.values():
        raise BadProfile(f"{folder}: pooling {mode or chosen or 'none'} is not one of {', '.join(_POOLING.values())}")
    return chosen[0]


def _escape(folder: Path, prompt: str) -> str:
    if "{" in prompt or "}" in prompt:
        raise BadProfile(f"{folder}: the prompt {prompt!r} holds braces; write a profile.toml for this model")
    return prompt


def _read(path: Path, *, optional: bool = False) -> Any:
    if optional and not path.is_file():
        return {}
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        needed = f"{path.parent} has no {path.name}"
        raise BadProfile(f"{needed}; write a profile.toml that says how to embed with this model") from None
    except ValueError as error:
        raise BadProfile(f"{path} is not JSON: {error}") from None
