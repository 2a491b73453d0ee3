"""Configurations in their authors' own words, turned into those of transformers' classes for the same architecture.

Knows config.json; reads no weights and runs no code from the folder. What the classes cannot express is refused.
"""

import json
from pathlib import Path
from typing import Any

import transformers

from instructsearch.errors import BadProfile


def configuration(folder: Path) -> Any:
    """Return the transformers configuration of a model folder.

    Raises:
        BadProfile: the architecture exists only as code in the model's repository.
    """
    facts: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    if facts.get("model_type") == "new":
        return transformers.GteConfig(**_gte(folder, facts))
    if facts.get("model_type") == "nomic_bert" and "n_embd" in facts:
        return transformers.NomicBertConfig(**_nomic(folder, facts))
    if facts.get("model_type") not in transformers.CONFIG_MAPPING:
        raise BadProfile(
            f"{folder}: its architecture {facts.get('model_type')!r} is not among transformers' own; it exists only as "
            "code in the model's repository, which this package does not run"
        )
    return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def _gte(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Translate `new-impl` (gte v1.5, stella 400M). Its NTK scaling is fixed: theta grows, frequencies shrink."""
    _require(
        folder,
        facts,
        {
            "position_embedding_type": "rope",
            "layer_norm_type": "layer_norm",
            "pack_qkv": True,
            "logn_attention_scale": False,
        },
    )
    theta = float(facts.get("rope_theta", 10_000.0))
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": theta}
    if scaling := facts.get("rope_scaling"):
        if scaling.get("type") != "ntk" or scaling.get("mixed_b") is not None:
            raise BadProfile(f"{folder}: rope_scaling {scaling} is not one that transformers' gte can express")
        factor, width = float(scaling["factor"]), facts["hidden_size"] // facts["num_attention_heads"]
        rope = {"rope_type": "linear", "rope_theta": theta * factor, "factor": factor ** (2 / width)}
    return {**{name: facts[name] for name in _SHARED if name in facts}, "rope_parameters": rope}


def _nomic(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Translate the GPT-2 names of nomic-embed v1 and v1.5."""
    _require(
        folder,
        facts,
        {
            "activation_function": "swiglu",
            "prenorm": False,
            "qkv_proj_bias": False,
            "mlp_fc1_bias": False,
            "mlp_fc2_bias": False,
            "rotary_emb_fraction": 1.0,
            "rotary_emb_interleaved": False,
            "rotary_emb_scale_base": None,
            "rotary_scaling_factor": None,
            "num_experts": None,
        },
    )
    return {
        **{name: facts[name] for name in _SHARED if name in facts},
        "hidden_size": facts["n_embd"],
        "num_hidden_layers": facts["n_layer"],
        "num_attention_heads": facts["n_head"],
        "intermediate_size": facts["n_inner"],
        "max_position_embeddings": facts.get("n_positions", 2048),
        "layer_norm_eps": facts.get("layer_norm_epsilon", 1e-12),
        "hidden_act": "silu",
        "rope_parameters": {"rope_type": "default", "rope_theta": float(facts.get("rotary_emb_base", 10_000))},
    }


_SHARED = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id", "initializer_range"),
)


def _require(folder: Path, facts: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if facts.get(name, value) != value:
            raise BadProfile(f"{folder}: {name} is {facts[name]!r}, which transformers' class for it cannot express")
