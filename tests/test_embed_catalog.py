"""Names to profiles: aliases, dimensions, local weights, users' files; and the list of what there is."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tiny_families as tiny
import torch
from safetensors.torch import load_file
from tiny_models import tiny_bert

from instructsearch import embed
from instructsearch.embed.encoder import Encoder
from instructsearch.embed.weights import is_here, is_hub_id
from instructsearch.errors import BadProfile, ModelDamaged, ModelNotFound, StorageError

BUILT_IN = pytest.mark.parametrize("profile", embed.profiles(), ids=lambda profile: profile.name)


@BUILT_IN
def test_a_built_in_profile_says_all_that_a_user_asks_of_it(profile):
    assert profile.licence
    assert profile.description
    assert not profile.model or profile.model.startswith("package:") or is_hub_id(profile.model)
    assert profile.max_tokens >= 128
    assert profile.dim in profile.dims or not profile.dims
    assert re.fullmatch(r"[0-9a-f]{40}|", profile.revision)


@BUILT_IN
def test_documents_without_an_instruction_never_get_the_template_of_one(profile):
    head, tail = profile.around("", "document")
    assert "Instruct" not in head + tail
    assert "{" not in head + tail


@pytest.mark.parametrize(
    ("name", "role", "expected"),
    [
        ("qwen3-embedding-8b", "query", "Instruct: I\nQuery:T"),
        ("e5-mistral-7b", "query", "Instruct: I\nQuery: T"),
        ("multilingual-e5-large-instruct", "query", "Instruct: I\nQuery: T"),
        ("gte-qwen2-7b", "query", "Instruct: I\nQuery: T"),
        ("stella-400m", "query", "Instruct: I\nQuery: T"),
        ("gritlm-7b", "document", "<|user|>\nI\n<|embed|>\nT"),
        ("instructor-xl", "document", "IT"),
        ("bge-en-icl", "query", "<instruct>I\n<query>T\n<response>"),
        ("promptriever-llama2-7b", "query", "query:  T I"),
        ("promptriever-llama2-7b", "document", "passage:  T"),
        ("embeddinggemma-300m", "query", "task: I | query: T"),
        ("nv-embed-v2", "query", "Instruct: I\nQuery: T"),
    ],
)
def test_templates_are_those_of_the_families_to_the_blank(name, role, expected):
    head, tail = embed.find(name).around("I", role)
    assert head + "T" + tail == expected


@pytest.mark.parametrize(
    ("name", "query", "document"),
    [
        ("qwen3-embedding-0.6b", "T", "T"),
        ("gritlm-7b", "<|embed|>\nT", "<|embed|>\nT"),
        ("embeddinggemma-300m", "task: search result | query: T", "title: none | text: T"),
        ("bge-en-icl", "T\n<response>", "T"),
        ("e5-small-v2", "query: T", "passage: T"),
        ("multilingual-e5-base", "query: T", "passage: T"),
        ("bge-small-en-v1.5", "Represent this sentence for searching relevant passages: T", "T"),
        ("arctic-embed-m-v1.5", "Represent this sentence for searching relevant passages: T", "T"),
        ("arctic-embed-m-v2", "query: T", "T"),
        ("nomic-embed-v1.5", "search_query: T", "search_document: T"),
        ("repllama-7b", "query:  T", "passage:  T"),
        (
            "jina-v3",
            "Represent the query for retrieving evidence documents: T",
            "Represent the document for retrieval: T",
        ),
        ("all-mpnet-base", "T", "T"),
    ],
)
def test_without_an_instruction_queries_and_documents_are_asked_as_their_authors_do(name, query, document):
    profile = embed.find(name)
    for role, expected in (("query", query), ("document", document)):
        head, tail = profile.around("", role)
        assert head + "T" + tail == expected


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("hkunlp/instructor-large", "instructor-large"),
        ("Qwen/Qwen3-Embedding-4B", "qwen3-embedding-4b"),
        ("dunzhang/stella_en_1.5B_v5", "stella-1.5b"),
        ("sentence-transformers/all-MiniLM-L6-v2", "minilm"),
        ("samaya-ai/promptriever-llama2-7b-v1", "promptriever-llama2-7b"),
        ("jinaai/jina-embeddings-v3", "jina-v3"),
    ],
)
def test_a_hub_id_of_a_known_model_is_that_model_and_not_what_its_files_leave_out(name, known):
    assert embed.find(name) is embed.find(known)


def test_a_base_model_of_several_is_none_of_them():
    assert embed.built_in("meta-llama/Llama-2-7b-hf") is None


def test_a_dimension_may_be_chosen_among_those_the_model_was_trained_for():
    short = embed.find("qwen3-embedding-0.6b@256")
    assert (short.name, short.dim) == ("qwen3-embedding-0.6b@256", 256)
    assert embed.find(short.name) == short
    assert embed.find("Qwen/Qwen3-Embedding-0.6B@256").fingerprint == short.fingerprint
    assert short.fingerprint != embed.find("qwen3-embedding-0.6b").fingerprint
    assert embed.find("qwen3-embedding-0.6b@1024") is embed.find("qwen3-embedding-0.6b")


@pytest.mark.parametrize(("name", "offered"), [("minilm@128", "it has only 384"), ("nomic-embed-v1.5@100", "64, 128")])
def test_another_dimension_is_refused_with_those_there_are(name, offered):
    with pytest.raises(BadProfile, match=offered):
        embed.find(name)


def test_a_folder_says_nothing_of_other_dimensions(tmp_path):
    tiny_bert(tmp_path / "m")
    with pytest.raises(BadProfile, match="was not trained for dimension 8"):
        embed.find(f"{tmp_path / 'm'}@8")


def test_a_known_profile_may_have_its_weights_in_a_folder(tmp_path):
    folder = tiny.qwen3(tmp_path / "qwen")
    name = f"qwen3-embedding-0.6b@32={folder}"
    profile = embed.find(name)
    assert (profile.name, profile.dim, profile.revision) == (name, 32, "")
    assert set(profile.files) == {"config.json", "model.safetensors", "tokenizer.json"}
    assert embed.find(name).fingerprint == profile.fingerprint
    assert Encoder(profile, device="cpu").encode(["the cat"]).shape == (1, 32)


def test_a_folder_called_like_a_hub_id_is_that_model_downloaded(tmp_path, monkeypatch):
    tiny.qwen3(tmp_path / "Qwen" / "Qwen3-Embedding-0.6B")
    monkeypatch.chdir(tmp_path)
    profile = embed.find("Qwen/Qwen3-Embedding-0.6B")
    assert profile.model == str(tmp_path / "Qwen" / "Qwen3-Embedding-0.6B")
    assert profile.query_template == embed.find("qwen3-embedding-0.6b").query_template
    assert embed.find(profile.name) == profile


@pytest.mark.parametrize("inside", ["instructor-large", "models--hkunlp--instructor-large/snapshots/54e5"])
def test_a_folder_that_looks_like_a_known_model_is_told_so(tmp_path, inside, caplog):
    folder = tmp_path / inside
    folder.parent.mkdir(parents=True, exist_ok=True)
    tiny_bert(folder)
    assert not embed.find(str(folder)).takes_instruction
    assert f"--embedder instructor-large={folder}" in caplog.text


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(ModelNotFound, match="there is no folder"):
        embed.find(f"minilm={tmp_path / 'nowhere'}")


def test_a_users_file_may_start_from_another_profile(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "qwen3-embedding-0.6b"\nquery_instruction = "find cats"\ndim = 64\n')
    theirs = embed.find("qwen3-embedding-0.6b")
    assert embed.find(str(path)) == replace(theirs, name="mine", query_instruction="find cats", dim=64)


def test_a_users_file_may_put_its_own_weights_under_another_profile(tmp_path):
    tiny.qwen3(tmp_path / "weights")
    path = tmp_path / "mine.toml"
    path.write_text('base = "qwen3-embedding-0.6b"\nmodel = "weights"\ndim = 32\nmax_tokens = 64\n')
    profile = embed.find(str(path))
    assert (profile.model, profile.revision) == (str(tmp_path / "weights"), "")
    assert "model.safetensors" in profile.files
    assert embed.load(profile, device="cpu").encode(["the cat"], "find cats").shape == (1, 32)


def test_a_refused_model_is_listed_with_the_reason_and_never_loaded():
    [line] = [line for line in embed.models() if line.name == "nv-embed-v2"]
    assert "latent-attention" in line.refused
    assert not line.here
    with pytest.raises(BadProfile, match=r"nv-embed-v2 cannot be loaded: .*latent-attention"):
        embed.load("nv-embed-v2")


def test_the_list_of_models_says_what_is_here_first_and_what_takes_instructions():
    lines = embed.models()
    assert [line.name for line in lines if line.here] == [
        line.name for line in lines[: sum(line.here for line in lines)]
    ]
    by_name = {line.name: line for line in lines}
    assert {name: by_name[name].instructions for name in ("minilm", "instructor-xl", "promptriever-llama2-7b")} == {
        "minilm": "none",
        "instructor-xl": "queries and documents",
        "promptriever-llama2-7b": "queries",
    }
    assert by_name["minilm"].here
    assert not by_name["gritlm-7b"].here
    assert by_name["stella-1.5b"].dims == (256, 768, 2048, 4096, 6144, 8192)
    assert set(by_name["hash"].to_dict()) >= {"name", "licence", "dim", "max_tokens", "instructions", "here"}


def test_weights_are_here_when_adapters_are_too(tmp_path):
    base = tiny.llama(tmp_path / "base")
    profile = replace(embed.find("repllama-7b"), model=str(base), revision="")
    assert not is_here(profile)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_model.safetensors").touch()
    assert is_here(
        replace(profile, query_adapter=str(tmp_path / "adapter"), document_adapter=str(tmp_path / "adapter"))
    )


def test_listing_the_models_is_light():
    program = """
import sys, instructsearch.embed as embed
embed.models(), embed.built_in("minilm"), embed.find("gritlm-7b")
print(sorted({"torch", "transformers", "onnxruntime", "tokenizers", "numpy"} & set(sys.modules)))
"""
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert output.stdout == "[]\n"


@pytest.fixture
def pickled(tmp_path):
    """A model as older repositories have it: pickle in the root and in its Dense layer."""
    folder = tiny.t5(tmp_path / "pickled")
    dense = {"linear.weight": torch.randn(24, 32)}
    for name, weights in (("", load_file(folder / "model.safetensors")), ("2_Dense", dense)):
        (folder / name).mkdir(exist_ok=True)
        torch.save(weights, folder / name / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    facts = '{"in_features": 32, "out_features": 24, "bias": false, "activation_function": "torch.nn.Identity"}'
    (folder / "2_Dense" / "config.json").write_text(facts)
    return folder


def test_a_pickled_model_is_refused_with_the_remedy_and_the_remedy_works(tmp_path, pickled):
    profile = replace(embed.find("instructor-large"), model=str(pickled), revision="", dim=24)
    with pytest.raises(ModelDamaged, match=r"embed\.convert\('instructor-large', FOLDER\)"):
        Encoder(profile, device="cpu")
    converted = embed.convert(str(pickled), tmp_path / "converted")
    assert not list(converted.rglob("*.bin"))
    encoder = Encoder(replace(profile, model=str(converted)), device="cpu", precision="float32")
    tied = load_file(converted / "model.safetensors")["shared.weight"].numpy()
    np.testing.assert_array_equal(encoder.network().backbone.shared.weight.numpy(), tied)
    assert encoder.encode(["the cat"], "Represent: ").shape == (1, 24)


def test_a_pickle_that_holds_more_than_tensors_is_not_built(tmp_path, pickled):
    class Harm:
        def __reduce__(self):
            return (print, ("harm",))

    torch.save({"a": Harm()}, pickled / "pytorch_model.bin")
    with pytest.raises(ModelDamaged, match="not a plain set of tensors"):
        embed.convert(str(pickled), tmp_path / "converted")


def test_converting_never_writes_over_a_folder_and_wants_something_to_convert(tmp_path, pickled):
    with pytest.raises(StorageError, match="exists"):
        embed.convert(str(pickled), pickled)
    with pytest.raises(ModelDamaged, match="nothing to convert"):
        embed.convert("minilm", tmp_path / "converted")
    with pytest.raises(ModelNotFound, match="HF_HUB_OFFLINE"):
        embed.convert("instructor-large", tmp_path / "converted")
