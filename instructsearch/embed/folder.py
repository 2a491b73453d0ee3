"""Reads a sentence-transformers model folder: what its own files say about how to embed with it.

Knows that layout (modules.json, pooling, prompts, what follows); loads no weights and runs no code from the folder.
"""

import json
import re
from collections.abc import Sequence
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
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
}
_POOLED = {"mean": "mean", "cls": "cls", "lasttoken": "last", "weightedmean": "weighted"}
_IDENTITY = ("*.safetensors", "config.json", "tokenizer.json")
_ASKED = re.compile(r"Instruct: (?P<instruction>.+?) ?\nQuery:(?P<blank> ?)", re.DOTALL)
_COUNTING_FROM_PAD = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})  # positions start after the padding's
# Transformers has these authors' architectures as its own classes, or `dialect` says how they are the same.
_PORTED = frozenset({"new", "gte", "nomic_bert", "jina_embeddings_v3"})


def describe(folder: Path, model: str, revision: str) -> Profile:
    """Return the profile that a folder's files describe. A local model is known by the digests of its files.

    Raises:
        BadProfile: something is missing, or is of a kind that this package does not reproduce.
    """
    config = _config(folder)
    modules = _modules(folder)
    pooling = _read(folder / modules["Pooling"][0] / "config.json")
    settings = _settings(folder / modules["Transformer"][0])
    post, width = _post(folder, modules["post"], pooling, config)
    tokenizer = _read(folder / "tokenizer_config.json", optional=True)
    mode = _pooling(folder, pooling, post)
    return Profile.from_dict(
        {
            "name": model if revision else folder.name,
            "model": model,
            "revision": revision,
            "files": {} if revision else identity(folder, post),
            **_templates(folder),
            "pooling": mode,
            "pool_includes_instruction": bool(pooling.get("include_prompt", True)),
            # Older releases of transformers did as these say, newer ones no longer do.
            "add_bos": tokenizer.get("add_eos_token") is True and tokenizer.get("add_bos_token") is True,
            "add_eos": tokenizer.get("add_eos_token") is True,
            "lowercase": bool(settings.get("do_lower_case")),
            "post": list(post),
            "dim": width,
            "max_tokens": _window(config, settings, tokenizer),
        }
    )


def identity(folder: Path, extra: Sequence[str] = ()) -> dict[str, str]:
    """Return the SHA-256 of the files by which a model is known wherever it lies; `extra` names folders in it."""
    inside = [folder / each for each in extra if each]
    files = {path for each in (folder, *inside) for pattern in _IDENTITY for path in each.glob(pattern)}
    files |= {path for each in inside for path in each.glob("adapter_config.json")}
    return {path.relative_to(folder).as_posix(): digest(path) for path in sorted(files)}


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file() and (folder / "adapter_config.json").is_file():
        base = _read(folder / "adapter_config.json").get("base_model_name_or_path", "BASE")
        raise BadProfile(
            f"{folder} is a LoRA adapter; write a profile.toml with model = {base!r}, how it is to be asked, and this "
            "folder as query_adapter and document_adapter"
        )
    config: dict[str, Any] = _read(folder / "config.json")
    own = config.get("auto_map", {}).get("AutoModel")
    if own and config.get("model_type") not in _PORTED:
        raise BadProfile(
            f"{folder} brings its own code ({own}), which decides its vectors and which this package does not run; "
            "where transformers' own class does the same, say so in a profile.toml"
        )
    return config


def _modules(folder: Path) -> dict[str, list[str]]:
    """Return the path of the transformer, of the pooling, and of what follows them, in order."""
    listed: list[dict[str, Any]] = _read(folder / "modules.json")
    found: dict[str, list[str]] = {"Transformer": [], "Pooling": [], "post": []}
    for module in listed:
        kind, path = str(module["type"]).rpartition(".")[2], str(module["path"])
        if not str(module["type"]).startswith("sentence_transformers."):
            raise BadProfile(f"{folder} brings code of its own for {module['type']}, which this package does not run")
        if kind in {"Transformer", "Pooling"} and not found["post"]:
            found[kind].append(path)
        elif kind in {"Dense", "LayerNorm"} and found["Pooling"]:
            found["post"].append(path)
        elif kind == "Normalize" and found["Pooling"]:
            found["post"].append("normalize")
        elif kind != "Dropout":
            raise BadProfile(f"{folder} has a module that this version does not reproduce there: {kind} in {path!r}")
    if len(found["Transformer"]) != 1 or len(found["Pooling"]) != 1:
        raise BadProfile(f"{folder}: modules.json must list one Transformer and one Pooling")
    if found["post"][-1:] == ["normalize"]:  # every vector is scaled to unit length in the end
        found["post"].pop()
    return found


def _post(
    folder: Path, names: list[str], pooling: dict[str, Any], config: dict[str, Any]
) -> tuple[tuple[str, ...], int]:
    """Return what follows pooling, and how many dimensions come out of it."""
    text = config.get("text_config", {})
    width = pooling.get("embedding_dimension") or pooling.get("word_embedding_dimension")
    width = width or config.get("hidden_size") or config.get("d_model") or text.get("hidden_size")
    for name in names:
        facts = {} if name == "normalize" else _read(folder / name / "config.json")
        if facts.get("module_input_name", "sentence_embedding") != "sentence_embedding":
            raise BadProfile(f"{folder / name} works on token embeddings, which this version does not reproduce")
        width = facts.get("out_features", width)
    if not width:
        raise BadProfile(f"{folder}: none of its files says how many dimensions its vectors have")
    return tuple(names), int(width)


def _settings(folder: Path) -> dict[str, Any]:
    names = sorted(folder.glob("sentence_*_config.json"))
    settings: dict[str, Any] = _read(names[0]) if names else {}
    output = settings.get("module_output_name", "token_embeddings")
    if output != "token_embeddings":
        raise BadProfile(f"{names[0]}: the model gives {output}, and this version pools token embeddings only")
    return settings


def _window(config: dict[str, Any], settings: dict[str, Any], tokenizer: dict[str, Any]) -> int:
    """Return the tokens the model takes: as its settings say, else what both model and tokenizer allow."""
    positions = int(config.get("max_position_embeddings") or config.get("n_positions") or 0)
    if config.get("model_type") in _COUNTING_FROM_PAD:
        positions -= int(config.get("pad_token_id", 1)) + 1
    chosen = int(settings.get("max_seq_length") or 0)
    if chosen:
        return min(chosen, positions) if config.get("model_type") in _COUNTING_FROM_PAD else chosen
    limits = (positions, int(tokenizer.get("model_max_length") or 0))
    return min((each for each in limits if 0 < each < 10**9), default=512)  # 10**30 means none


def _templates(folder: Path) -> dict[str, str]:
    """Return the templates that the prompts amount to; one of the usual form leaves a place for the instruction."""
    facts = _read(folder / "config_sentence_transformers.json", optional=True)
    prompts: dict[str, str] = facts.get("prompts") or {}
    query = prompts.get("query") or ""
    document = next((prompts[key] for key in ("document", "passage", "corpus") if prompts.get(key)), "")
    if not query and not document:
        query = document = prompts.get(facts.get("default_prompt_name") or "") or ""
    if asked := _ASKED.fullmatch(query):
        form = f"Instruct: {{instruction}}\nQuery:{asked['blank']}{{text}}"
        return {
            "query_template": form,
            "plain_query_template": _escape(folder, query) + "{text}",
            "document_template": form,
            "plain_document_template": _escape(folder, document) + "{text}",
            "query_instruction": asked["instruction"],
        }
    return {
        "query_template": _escape(folder, query) + "{text}",
        "document_template": _escape(folder, document) + "{text}",
    }


def _pooling(folder: Path, facts: dict[str, Any], post: tuple[str, ...]) -> str:
    mode = facts.get("pooling_mode")
    if mode is None:
        chosen = [name for key, name in _POOLING.items() if facts.get(key)] or ["mean"]
    else:
        chosen = [_POOLED.get(each, each) for each in ([mode] if isinstance(mode, str) else mode)]
    if chosen == ["mean_sqrt_len_tokens"] and not post:  # a mean of another length, and length goes in the end
        chosen = ["mean"]
    if len(chosen) != 1 or chosen[0] not in _POOLED.values():
        raise BadProfile(f"{folder}: pooling {' with '.join(chosen)} is not one of {', '.join(_POOLED.values())}")
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
