"""Families that sentence-transformers cannot be told to do: against their published recipes, in plain torch."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny_families as tiny
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import write
from torch.nn import functional

from instructsearch import embed
from instructsearch.embed.encoder import Encoder
from instructsearch.errors import BadProfile, ModelDamaged, ModelNotFound

WINDOW = 64
TEXTS = [
    "the cat sat on the mat",
    "a",
    "red, blue; colour? yes!",
    "zebra-crossing 42 naïve 東京",
    "is it so?",
    "it is.",
]
LONG = "the dog is not what it was, " * 12


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A base model and a LoRA adapter, as two repositories."""
    root = tmp_path_factory.mktemp("llama")
    base = tiny.llama(root / "base")
    model = load(base)
    pairs = tiny.write_adapter(root / "adapter", model, ("q_proj", "v_proj", "down_proj"))
    return base, root / "adapter", model, pairs


def load(folder):
    with tiny.quiet():
        return transformers.AutoModel.from_pretrained(folder).eval()


def ours(name: str, folder, **changes) -> Encoder:
    profile = replace(embed.find(name), model=str(folder), revision="", dim=32, dims=(), max_tokens=WINDOW)
    return Encoder(replace(profile, **changes), device="cpu", precision="float32")


def adapt(model, pairs, scale: float):
    """Add the low-rank updates to the layers' outputs, as PEFT does before merging; return the hooks."""

    def hook(first, second):
        def add(layer, inputs, output):
            if isinstance(layer, torch.nn.Embedding):
                return output + scale * (functional.embedding(inputs[0], first.T) @ second.T)
            return output + scale * (inputs[0] @ first.T @ second.T)

        return add

    layers = dict(model.named_modules())
    return [layers[name].register_forward_hook(hook(*pair)) for name, pair in pairs.items()]


@torch.no_grad()
def states(model, ids: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids))).last_hidden_state[0]


def last_token(model, tokenizer, prompts, *, window=WINDOW) -> np.ndarray:
    """Tevatron's recipe: cut to one less than the window, put </s> after it, take its state."""
    rows = []
    for prompt in prompts:
        ids = tokenizer(prompt, truncation=True, max_length=window - 1)["input_ids"]
        rows.append(functional.normalize(states(model, [*ids, tokenizer.eos_token_id])[-1], dim=0).numpy())
    return np.stack(rows)


def promptriever_query(query: str, instruction: str) -> str:
    ending = "?" if query.strip()[-1] not in "?.!" else ""
    return f"query:  {query}{ending} {instruction}".strip() if instruction else f"query:  {query}"


@pytest.mark.parametrize("instruction", ["", "A document is relevant if it is about cats."])
def test_promptriever_puts_the_instruction_after_the_query(llama, instruction):
    base, adapter, model, pairs = llama
    encoder = ours("promptriever-llama2-7b", base, query_adapter=str(adapter), document_adapter=str(adapter))
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    hooks = adapt(model, pairs, 16 / 4)
    queries = last_token(model, tokenizer, [promptriever_query(text, instruction) for text in TEXTS])
    passages = last_token(model, tokenizer, [f"passage:  {text}" for text in (*TEXTS, LONG)])
    for each in hooks:
        each.remove()
    np.testing.assert_allclose(encoder.encode(TEXTS, instruction, "query"), queries, atol=1e-5)
    np.testing.assert_allclose(encoder.encode([*TEXTS, LONG]), passages, atol=1e-5)


def test_repllama_without_its_adapter_is_another_model(llama):
    base, adapter, model, _ = llama
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    bare = last_token(model, tokenizer, [f"query:  {text}" for text in TEXTS])
    with_it = ours("repllama-7b", base, query_adapter=str(adapter), document_adapter=str(adapter))
    without = ours("repllama-7b", base, query_adapter="", document_adapter="")
    np.testing.assert_allclose(without.encode(TEXTS, role="query"), bare, atol=1e-5)
    assert np.abs(with_it.encode(TEXTS, role="query") - bare).max() > 0.01


@pytest.mark.parametrize("prefix", ["base_model.model.", "base_model.model.model.", ""])
def test_an_adapter_fits_whatever_its_model_was_wrapped_in(llama, tmp_path, prefix):
    base, adapter, model, _ = llama
    tiny.write_adapter(tmp_path / "adapter", model, ("q_proj", "v_proj", "down_proj"), prefix=prefix)
    one, other = (
        ours("repllama-7b", base, query_adapter=str(each), document_adapter=str(each))
        for each in (adapter, tmp_path / "adapter")
    )
    np.testing.assert_array_equal(one.encode(TEXTS), other.encode(TEXTS))


@pytest.mark.parametrize(
    ("facts", "scale"),
    [
        ({"use_rslora": True}, 16 / 2),
        ({"alpha_pattern": {"q_proj": 16, "v_proj": 16, "down_proj": 16}, "lora_alpha": 1}, 4),
    ],
)
def test_the_scale_of_an_adapter_is_what_its_configuration_says(llama, tmp_path, facts, scale):
    base, adapter, model, pairs = llama
    shutil.copytree(adapter, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))
    encoder = ours("repllama-7b", base, query_adapter="", document_adapter=str(tmp_path / "adapter"))
    hooks = adapt(model, pairs, scale)
    theirs = last_token(
        model, transformers.AutoTokenizer.from_pretrained(base), [f"passage:  {each}" for each in TEXTS]
    )
    for each in hooks:
        each.remove()
    np.testing.assert_allclose(encoder.encode(TEXTS), theirs, atol=1e-5)


def _damage(folder, damage):
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    facts = json.loads((folder / "adapter_config.json").read_text())
    name = next(each for each in weights if ".lora_A." in each)
    if damage == "no weights":
        path.unlink()
    elif damage == "DoRA":
        facts["use_dora"] = True
    elif damage == "half a pair":
        weights.pop(name)
    elif damage == "another layer":
        weights = {each.replace("q_proj", "z_proj"): value for each, value in weights.items()}
    elif damage == "another shape":
        weights[name] = weights[name][:, :-1].contiguous()
    elif damage == "whole layers":
        weights["base_model.model.norm.weight"] = torch.ones(32)
    write(folder / "adapter_config.json", facts)
    if path.exists():
        save_file(weights, path)


@pytest.mark.parametrize(
    ("damage", "error", "named"),
    [
        ("no weights", ModelDamaged, r"adapter_model\.safetensors is missing"),
        ("DoRA", BadProfile, "DoRA"),
        ("half a pair", BadProfile, "lora_B"),
        ("another layer", ModelDamaged, "z_proj"),
        ("another shape", ModelDamaged, "q_proj|v_proj|down_proj"),
        ("whole layers", BadProfile, "norm.weight"),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_refused_by_what_is_wrong(llama, tmp_path, damage, error, named):
    base, adapter, _, _ = llama
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    _damage(folder, damage)
    with pytest.raises(error, match=named):
        ours("repllama-7b", base, document_adapter=str(folder))


def test_an_adapter_that_is_nowhere_is_refused_by_name(llama):
    with pytest.raises(ModelNotFound, match="samaya-ai/RepLLaMA-reproduced"):
        ours("repllama-7b", llama[0])


@pytest.mark.parametrize("instruction", ["", "Given a question, retrieve passages that answer it."])
def test_bge_en_icl_ends_queries_by_its_response_tag(tmp_path, instruction):
    base = tiny.mistral(tmp_path / "base")
    encoder, model = ours("bge-en-icl", base), load(base)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    asked = [f"<instruct>{instruction}\n<query>{text}" if instruction else text for text in TEXTS]
    queries = last_token(model, tokenizer, [f"{each}\n<response>" for each in asked], window=200)
    encoder = ours("bge-en-icl", base, max_tokens=200)
    np.testing.assert_allclose(encoder.encode(TEXTS, instruction, "query"), queries, atol=1e-5)
    np.testing.assert_allclose(
        encoder.encode([*TEXTS, LONG]), last_token(model, tokenizer, [*TEXTS, LONG], window=200), atol=1e-5
    )
    # Beyond the window the query is cut, and its tail is not.
    ids = encoder._tokeniser.tokenise([(instruction, LONG * 10)], "query")[0].ids.tolist()
    assert len(ids) == 200
    assert "".join(encoder.tokenizer.id_to_token(each) for each in ids).endswith("\n<response></s>")


def test_jina_wears_another_adapter_for_each_role(tmp_path):
    base = tiny.jina(tmp_path / "base")
    model = load(base)
    targets = ("q_proj", "o_proj", "fc1", "fc2", "word_embeddings", "token_type_embeddings")
    roles = {"query": "retrieval_query", "document": "retrieval_passage"}
    prompts = {
        "query": "Represent the query for retrieving evidence documents: ",
        "document": "Represent the document for retrieval: ",
    }
    pairs = {role: tiny.write_adapter(base / name, model, targets) for role, name in roles.items()}
    encoder = ours("jina-v3", base, max_tokens=200)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    for role in roles:
        hooks = adapt(model, pairs[role], 16 / 4)
        theirs = []
        for text in TEXTS:
            pooled = states(model, tokenizer(prompts[role] + text)["input_ids"]).mean(dim=0)
            theirs.append(functional.normalize(pooled, dim=0).numpy())
        for each in hooks:
            each.remove()
        np.testing.assert_allclose(encoder.encode(TEXTS, role=role), theirs, atol=1e-5)


@pytest.mark.parametrize(("make", "most"), [(tiny.bert, 64), (tiny.xlm_roberta, 63), (tiny.mpnet, 62)])
def test_a_window_beyond_the_models_positions_is_refused_with_what_there_is(tmp_path, make, most):
    folder = make(tmp_path)
    encoder = ours("gte-small", folder, max_tokens=most)
    assert np.isfinite(encoder.encode([LONG * 4])).all()
    with pytest.raises(BadProfile, match=f"max_tokens is {most + 1}, and the model has positions for {most}"):
        ours("gte-small", folder, max_tokens=most + 1)
