"""Architectures under their authors' own names: translated into transformers' classes, or refused by what differs."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny_families as tiny
import torch
from safetensors.torch import save_file
from tiny_models import wordpiece, write
from torch.nn import functional

from instructsearch import embed
from instructsearch.embed.encoder import Encoder
from instructsearch.errors import BadProfile

WINDOW = 64
TEXTS = [
    "the cat sat on the mat",
    "a",
    "red, blue; colour? yes!",
    "zebra-crossing 42 naïve 東京",
    "is it so?",
    "it is.",
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ours(name: str, folder, **changes) -> Encoder:
    profile = replace(embed.find(name), model=str(folder), revision="", dim=32, dims=(), max_tokens=WINDOW)
    return Encoder(replace(profile, **changes), device="cpu", precision="float32")


def new_impl(folder, *, prefix: str, scaling: dict | None):
    """Write a checkpoint of `new-impl` (gte v1.5, stella 400M) under its own names; return its weights."""
    torch.manual_seed(3)
    tokenizer = wordpiece()
    tokenizer.save_pretrained(folder)
    width, inner = 32, 48
    weights = {
        "embeddings.word_embeddings.weight": torch.randn(len(tokenizer), width),
        "embeddings.token_type_embeddings.weight": torch.randn(2, width),
        "embeddings.LayerNorm.weight": torch.rand(width) + 0.5,
        "embeddings.LayerNorm.bias": torch.randn(width) * 0.1,
    }
    for at in range(2):
        layer = f"encoder.layer.{at}."
        for name, shape in {
            "attention.qkv_proj.weight": (3 * width, width),
            "attention.qkv_proj.bias": (3 * width,),
            "attention.o_proj.weight": (width, width),
            "attention.o_proj.bias": (width,),
            "mlp.up_gate_proj.weight": (2 * inner, width),
            "mlp.down_proj.weight": (width, inner),
            "mlp.down_proj.bias": (width,),
            "attn_ln.weight": (width,),
            "attn_ln.bias": (width,),
            "mlp_ln.weight": (width,),
            "mlp_ln.bias": (width,),
        }.items():
            weights[layer + name] = torch.randn(shape) * 0.3
    save_file({prefix + name: value for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    config = {
        "model_type": "new",
        "architectures": ["NewModel"],
        "auto_map": {"AutoConfig": "configuration.NewConfig", "AutoModel": "modeling.NewModel"},
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": inner,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "layer_norm_type": "layer_norm",
        "layer_norm_eps": 1e-12,
        "position_embedding_type": "rope",
        "rope_theta": 160000,
        "rope_scaling": scaling,
        "hidden_act": "gelu",
        "pack_qkv": True,
    }
    write(folder / "config.json", config)
    write(
        folder / "2_Dense_24" / "config.json",
        {
            "in_features": width,
            "out_features": 24,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )
    head = {"linear.weight": torch.randn(24, width), "linear.bias": torch.randn(24)}
    save_file(head, folder / "2_Dense_24" / "model.safetensors")
    return weights, head


def new_forward(weights, ids: list[int], factor: float | None) -> torch.Tensor:
    """Return the states of `new-impl` for one text, from its architecture's formulas."""
    count, heads, depth = len(ids), 4, 8
    theta = 160000.0 * (factor or 1)
    frequencies = 1 / theta ** (torch.arange(0, depth, 2) / depth) / (factor ** (2 / depth) if factor else 1)
    angles = torch.outer(torch.arange(count).float(), frequencies).repeat(1, 2)

    def norm(states, name):
        return functional.layer_norm(states, (32,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    def turn(states):
        left, right = states.chunk(2, dim=-1)
        return states * angles.cos() + torch.cat([-right, left], dim=-1) * angles.sin()

    words = weights["embeddings.word_embeddings.weight"][ids]
    states = norm(words + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for at in range(2):
        layer = {name.removeprefix(f"encoder.layer.{at}."): value for name, value in weights.items()}
        mixed = states @ layer["attention.qkv_proj.weight"].T + layer["attention.qkv_proj.bias"]
        query, key, value = mixed.view(count, 3, heads, depth).permute(1, 2, 0, 3)
        attended = torch.softmax(turn(query) @ turn(key).mT / math.sqrt(depth), dim=-1) @ value
        attended = attended.transpose(0, 1).reshape(count, 32)
        attended = attended @ layer["attention.o_proj.weight"].T + layer["attention.o_proj.bias"]
        states = norm(states + attended, f"encoder.layer.{at}.attn_ln")
        up, gate = (states @ layer["mlp.up_gate_proj.weight"].T).chunk(2, dim=-1)
        inner = (functional.gelu(gate) * up) @ layer["mlp.down_proj.weight"].T + layer["mlp.down_proj.bias"]
        states = norm(states + inner, f"encoder.layer.{at}.mlp_ln")
    return states


@pytest.mark.parametrize("prefix", ["", "new."], ids=["bare", "prefixed"])
@pytest.mark.parametrize("factor", [None, 2.0], ids=["unscaled", "NTK"])
def test_stella_400m_equals_the_formulas_of_its_architecture(tmp_path, prefix, factor):
    scaling = {"type": "ntk", "factor": factor} if factor else None
    weights, head = new_impl(tmp_path, prefix=prefix, scaling=scaling)
    encoder = ours("stella-400m", tmp_path, dim=24)
    tokenizer = wordpiece()
    for instruction, role in (("", "document"), ("Retrieve semantically similar text.", "query")):
        prompt = f"Instruct: {instruction}\nQuery: " if instruction else ""
        theirs = []
        for text in TEXTS:
            ids = tokenizer(prompt + text, truncation=True, max_length=WINDOW)["input_ids"]
            pooled = new_forward(weights, ids, factor).mean(dim=0)
            theirs.append(functional.normalize(pooled @ head["linear.weight"].T + head["linear.bias"], dim=0).numpy())
        room = encoder.room(instruction, role)
        fits = [at for at, count in enumerate(encoder.count(TEXTS)) if count <= room]
        assert len(fits) > 3
        found = encoder.encode([TEXTS[at] for at in fits], instruction, role)
        np.testing.assert_allclose(found, np.stack(theirs)[fits], atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [{"logn_attention_scale": True}, {"rope_scaling": {"type": "yarn", "factor": 2.0}}, {"pack_qkv": False}],
    ids=lambda change: next(iter(change)),
)
def test_what_transformers_cannot_express_of_new_impl_is_refused_by_name(tmp_path, change):
    new_impl(tmp_path, prefix="", scaling=None)
    config = json.loads((tmp_path / "config.json").read_text())
    write(tmp_path / "config.json", config | change)
    with pytest.raises(BadProfile, match=next(iter(change))):
        ours("stella-400m", tmp_path, dim=24)


OLD_NOMIC = {
    "model_type": "nomic_bert",
    "auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"},
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": 48,
    "n_positions": 8192,
    "activation_function": "swiglu",
    "layer_norm_epsilon": 1e-12,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "prenorm": False,
    "type_vocab_size": 2,
}


def test_nomic_under_the_names_of_its_own_configuration_is_the_same_model(tmp_path):
    native = tiny.nomic_bert(tmp_path / "native")
    old = shutil.copytree(native, tmp_path / "old")
    write(old / "config.json", OLD_NOMIC | {"vocab_size": len(wordpiece())})
    one, other = (ours("nomic-embed-v1.5", each) for each in (native, old))
    np.testing.assert_array_equal(one.encode(TEXTS), other.encode(TEXTS))


@pytest.mark.parametrize("change", [{"num_experts": 8}, {"rotary_scaling_factor": 2}, {"activation_function": "gelu"}])
def test_another_nomic_is_refused_by_name(tmp_path, change):
    folder = tiny.nomic_bert(tmp_path)
    write(folder / "config.json", OLD_NOMIC | change)
    with pytest.raises(BadProfile, match=next(iter(change))):
        ours("nomic-embed-v1.5", folder)


def test_an_architecture_of_remote_code_is_refused_by_name(tmp_path):
    folder = tiny.bert(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", config | {"model_type": "latent_attention"})
    with pytest.raises(BadProfile, match="'latent_attention' is not among transformers' own"):
        ours("gte-small", folder)
