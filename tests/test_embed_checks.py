"""Self-checks: they pass for a sound model, and name what is wrong with one that is not."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_families as tiny
import torch
from tiny_models import tiny_bert

from instructsearch import embed
from instructsearch.embed.checks import Check, selfcheck
from instructsearch.embed.encoder import Encoder
from instructsearch.embed.pooled import Pooled
from instructsearch.errors import ModelDamaged


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    folder = tiny.qwen3(tmp_path_factory.mktemp("models") / "qwen3")
    return replace(embed.find("qwen3-embedding-0.6b"), model=str(folder), revision="", dim=8, max_tokens=64)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return embed.find(str(tiny_bert(tmp_path_factory.mktemp("models") / "bert")))


def unchecked(profile, **changes) -> Encoder:
    return Encoder(replace(profile, **changes), device="cpu", precision="float32", check=False)


def failed(embedder) -> dict[str, str]:
    return {check.name: check.detail for check in selfcheck(embedder) if not check.ok}


def test_a_sound_model_passes_every_check_there_is_for_it(qwen):
    found = selfcheck(Encoder(qwen, device="cpu"))
    assert [check.name for check in found] == ["end of text", "template", "batch", "instruction", "dimension"]
    assert all(isinstance(check, Check) and check.ok and check.detail for check in found)


@pytest.mark.parametrize(("name", "expected"), [("minilm", ["template", "batch"]), ("hash", ["batch", "instruction"])])
def test_what_does_not_concern_a_model_is_not_checked(name, expected):
    found = selfcheck(embed.load(name, device="cpu"))
    assert [check.name for check in found] == expected
    assert all(check.ok for check in found)


def test_padding_that_reaches_the_vector_is_named(bert):
    assert "padding_side" in failed(unchecked(bert, padding_side="left"))["batch"]
    with pytest.raises(ModelDamaged, match="self-check `batch`"):
        Encoder(replace(bert, padding_side="left"), device="cpu")


def test_an_end_that_is_lost_is_named(qwen, monkeypatch):
    encoder = unchecked(qwen)
    whole = encoder._tokeniser.tokenise

    def lossy(pairs, role):
        return [replace(row, ids=row.ids[:-1]) if row.cut else row for row in whole(pairs, role)]

    monkeypatch.setattr(encoder._tokeniser, "tokenise", lossy)
    assert "<|endoftext|> is missing" in failed(encoder)["end of text"]


def test_an_instruction_that_does_not_reach_the_vector_is_named(qwen, monkeypatch):
    encoder = unchecked(qwen)
    inner = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda texts, instruction="", role="document": inner(texts, "", role))
    assert "does not reach the vector" in failed(encoder)["instruction"]


def test_offsets_that_miss_the_text_are_named(qwen, monkeypatch):
    encoder = unchecked(qwen)
    monkeypatch.setattr(encoder._tokeniser, "found", lambda text, instruction, role: text[3:])
    assert "offsets are wrong" in failed(encoder)["template"]


def test_dimensions_cut_from_the_wrong_end_are_named(qwen, monkeypatch):
    encoder = unchecked(qwen)
    inner = Pooled.encode

    def backwards(texts, instruction="", role="document"):
        monkeypatch.setattr(encoder, "dim", 32)
        vectors = inner(encoder, texts, instruction, role)[:, -8:]
        monkeypatch.setattr(encoder, "dim", 8)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    monkeypatch.setattr(encoder, "encode", backwards)
    assert "cosine" in failed(encoder)["dimension"]


def test_a_layer_norm_over_the_cut_dimensions_is_named(tmp_path, monkeypatch):
    folder = tiny.nomic_bert(tmp_path)
    encoder = unchecked(embed.find("nomic-embed-v1.5"), model=str(folder), revision="", dim=8)
    assert not failed(encoder)
    monkeypatch.setattr(encoder.network(), "post", torch.nn.ModuleList())
    assert "layer norm was not over all 32" in failed(encoder)["dimension"]


def test_checking_leaves_the_precision_as_it_was(qwen):
    encoder = Encoder(qwen, device="cpu", precision="bfloat16")
    assert all(check.ok for check in selfcheck(encoder))
    assert encoder.precision == "bfloat16"


def test_a_window_too_short_for_an_instruction_is_no_fault_of_the_model(qwen):
    [found] = [check for check in selfcheck(unchecked(qwen, max_tokens=12)) if check.name == "instruction"]
    assert found.ok
    assert "not tried: 12 tokens" in found.detail
