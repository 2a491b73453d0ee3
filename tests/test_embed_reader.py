"""Readers: what the base reads is its own, and one reading answers every instruction as if it stood alone."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_families import qwen3
from tiny_models import tiny_bert
from tiny_reader import HIDDEN, named, tiny_reader

from instructsearch import embed
from instructsearch.embed import onnx, reader_file, slabs
from instructsearch.embed.backbone import load_backbone
from instructsearch.embed.reader import LONGEST_INSTRUCTION
from instructsearch.embed.reader_encoder import ReaderEncoder
from instructsearch.embed.reader_network import ReaderNetwork
from instructsearch.embed.reader_onnx import OnnxReader
from instructsearch.errors import BadProfile, ModelDamaged, TooLong

TEXTS = ["the cat", "", "the dog sat on the mat " * 9, "red? blue!", "the cat", "a"]
SAID = ["colour", "represent the sentence", "the mat: ", "colour", "dog", "represent the sentence"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTRUCTSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    return tiny_reader(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model(profile):
    return embed.load(profile, device="cpu")


@pytest.fixture(scope="module")
def exact(profile):
    """The reader in float32 for documents too: in bfloat16, how texts are put together shows in the fourth digit."""
    return ReaderEncoder(profile, device="cpu", precision="float32")


def close(one, other):
    assert one.shape == other.shape
    np.testing.assert_allclose(one, other, atol=2e-6)


def test_without_an_instruction_a_vector_is_the_base_models(profile, model):
    base = embed.load(embed.find(profile.model), device="cpu")
    assert np.array_equal(model.encode(TEXTS), base.encode(TEXTS))


def test_an_instruction_changes_the_vector_and_another_one_changes_it_otherwise(model):
    plain, colour, dog = (model.encode(TEXTS, each) for each in ("", "colour", "dog"))
    for one, other in ((plain, colour), (plain, dog), (colour, dog)):
        assert ((one * other).sum(1) < 0.999).all()
    np.testing.assert_allclose(np.linalg.norm(colour, axis=1), 1, atol=1e-6)
    assert colour.dtype == np.float32 and colour.flags.c_contiguous


def test_a_vector_is_what_the_method_says_it_is(profile):
    network = reader_file.load(profile, Path(profile.model))
    reader = ReaderEncoder(profile, device="cpu", precision="float32")
    row = reader._texts.tokenise([("", "the cat sat")], "document")[0].ids
    said = reader._texts.tokenise([("", "colour")], "document")[0].ids
    with torch.no_grad():
        layers, heard = (
            [
                state[0]
                for state in network.backbone(torch.tensor(ids[None]).long(), output_hidden_states=True).hidden_states
            ]
            for ids in (row, said)
        )
        base = layers[-1].mean(0)
        base = base / base.norm()
        facts = torch.cat([*(each.mean(0) for each in layers[:-1]), *(each.max(0).values for each in layers[:-1])])
        facts = ((facts - network.center) / network.scale).clamp(-5, 5)
        units = network.hidden(torch.cat([facts, base * 32**0.5]))
        told = [heard[0].mean(0), heard[1].mean(0), heard[-1].mean(0) / heard[-1].mean(0).norm()]
        told = torch.cat([(each - each.mean()) / (each.var(correction=0) + 1e-5).sqrt() for each in told])
        understood = torch.nn.functional.gelu(network.hear(told))
        opened = 2 * torch.sigmoid(network.open(understood))
        answer = network.answer(torch.nn.functional.gelu(units + network.shift(understood)) * opened)
        less = base - torch.sigmoid(network.erase(understood)) * (network.up @ network.down @ base)
        less = less - torch.sigmoid(network.whiten(understood)) * (network.excess @ base)
        vector = less + 3 * torch.sigmoid(network.weight(understood)) * answer / answer.norm()
        vector = (vector / vector.norm()).numpy()
    close(reader.encode(["the cat sat"], "colour")[0], vector)


@pytest.mark.parametrize("role", ["query", "document"])
def test_texts_under_many_instructions_are_as_one_by_one(exact, role):
    together = exact.encode(TEXTS, SAID, role)
    for row, text, said in zip(together, TEXTS, SAID, strict=True):
        close(row, exact.encode([text], said, role)[0])


def test_texts_of_many_slabs_are_as_one_by_one(exact, monkeypatch):
    whole = exact.encode(TEXTS, SAID, "document")
    monkeypatch.setattr(slabs, "_SLAB", 2)
    close(exact.encode(TEXTS, SAID, "document"), whole)


def test_one_reading_answers_all_instructions_and_each_text_is_read_once(profile, monkeypatch):
    reader = ReaderEncoder(profile, device="cpu")
    wanted = {said: reader.encode(TEXTS, said) for said in SAID}
    read = []
    monkeypatch.setattr(
        reader,
        "_read",
        lambda batch, **options: read.append(len(batch.rows)) or ReaderEncoder._read(reader, batch, **options),
    )
    found = embed.encode_many(reader, TEXTS, SAID)
    assert sum(read) == len(set(TEXTS))
    for said, vectors in zip(SAID, found, strict=True):
        close(vectors, wanted[said])


def test_the_graph_for_queries_gives_the_same_vectors_without_torch(profile):
    reader = ReaderEncoder(profile.part(instructed=True), device="cpu")
    assert embed.prepare_queries(reader)
    light = embed.load(reader.profile, device="cpu", queries=True)
    assert isinstance(light, OnnxReader)
    close(light.encode(TEXTS, SAID, "query"), reader.encode(TEXTS, SAID, "query"))
    (onnx.graph_folder(reader.profile) / onnx.WEIGHTS).write_bytes(b"short")
    with pytest.raises(ModelDamaged, match="missing or damaged"):
        OnnxReader(reader.profile)


def test_an_instruction_takes_no_room_from_the_text(model):
    assert model.room("represent the sentence by its colour and by nothing else") == model.room()


def test_a_text_too_long_is_cut_and_told_and_an_instruction_too_long_is_refused(model, caplog):
    with caplog.at_level(logging.WARNING, "instructsearch.embed"):
        cut = model.encode(["cat " * 100], "colour")
    assert "1 of 1 texts are longer than the window" in caplog.text
    close(cut, model.encode(["cat " * 46], "colour"))
    with pytest.raises(TooLong, match="longer than the 48 tokens"):
        model.encode(["the cat"], "colour " * LONGEST_INSTRUCTION)


def test_progress_counts_every_text_once(model):
    told = []
    model.encode(TEXTS, SAID, progress=told.append)
    assert sum(told) == len(TEXTS)


def test_no_texts_give_no_vectors(model):
    assert model.encode([], "colour").shape == (0, 32)


def test_the_self_checks_hold(model):
    checks = embed.selfcheck(model.part(instructed=True))
    assert {"batch", "instruction"} <= {check.name for check in checks} and all(check.ok for check in checks)


def test_bfloat16_reads_nearly_the_same(profile):
    exact, near = (ReaderEncoder(profile, device="cpu", precision=each) for each in ("float32", "bfloat16"))
    assert ((exact.encode(TEXTS, "colour") * near.encode(TEXTS, "colour")).sum(1) > 0.995).all()


# --- the file


def test_what_is_written_is_loaded_within_8_bits(profile, tmp_path):
    network = reader_file.load(profile, Path(profile.model))
    reader_file.write(network, tmp_path)
    again = load_file(tmp_path / reader_file.FILE)
    assert again["hidden.weight"].dtype == torch.int8 and again["weight.weight"].dtype == torch.float32
    assert not any(name.startswith("backbone.") for name in again)
    changed = named(embed.find(profile.model), tmp_path)
    one, other = (embed.load(each, device="cpu").encode(TEXTS, "colour") for each in (profile, changed))
    assert ((one * other).sum(1) > 0.9999).all()


def altered(profile, folder, change):
    """Return a profile whose reader's weights were changed by a function, with the digests of what there is now."""
    folder.mkdir()
    weights = load_file(profile.query_adapter + "/" + reader_file.FILE)
    change(weights)
    save_file(weights, folder / reader_file.FILE)
    return named(embed.find(profile.model), folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.pop("answer.bias"),
        lambda weights: weights.pop("hidden.weight.scale"),
        lambda weights: weights.update(other=torch.zeros(1)),
        lambda weights: weights.update({"answer.bias": torch.zeros(3)}),
        lambda weights: weights.update({"center": torch.full_like(weights["center"], torch.nan)}),
        lambda weights: weights.update({"backbone.embeddings.LayerNorm.weight": torch.zeros(32)}),
    ],
    ids=["missing", "no scale", "too much", "shape", "nan", "the base"],
)
def test_a_strangers_reader_is_refused(profile, tmp_path, change):
    with pytest.raises(ModelDamaged):
        embed.load(altered(profile, tmp_path / "reader", change), device="cpu").encode(["a"], "colour")


def test_a_reader_that_is_not_the_one_named_is_refused(profile, tmp_path):
    changed = altered(profile, tmp_path / "reader", lambda weights: weights["center"].add_(1))
    with pytest.raises(ModelDamaged, match="is not the file that the profile names"):
        embed.load(replace(changed, adapter_files=profile.adapter_files), device="cpu")


def test_a_profile_without_a_reader_is_refused(profile):
    bare = replace(profile, query_adapter="", document_adapter="", adapter_files={}, adapters_need_instruction=False)
    with pytest.raises(BadProfile, match="needs one folder"):
        embed.load(bare, device="cpu")


def test_only_a_bert_can_be_read(tmp_path):
    qwen3(tmp_path / "qwen")
    other = embed.Profile(name="qwen", model=str(tmp_path / "qwen"), dim=32)
    with pytest.raises(BadProfile, match="reads a BertModel"):
        ReaderNetwork(load_backbone(other, tmp_path / "qwen", "document"), HIDDEN)


def test_the_fingerprint_tells_the_reader_from_its_base_and_from_another(profile, tmp_path):
    base = embed.find(str(tiny_bert(tmp_path / "bert", max_tokens=48)))
    other = altered(profile, tmp_path / "reader", lambda weights: weights["center"].add_(1))
    assert len({profile.fingerprint, base.fingerprint, other.fingerprint}) == 3
    assert profile.takes_instruction and profile.heeds("query") and not base.takes_instruction
