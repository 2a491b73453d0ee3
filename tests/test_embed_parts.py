"""An adapted model beside the bare one: each text goes to the right one, in its place, and none is loaded in vain."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import tiny_bert

from instructsearch import embed
from instructsearch.embed import delta
from instructsearch.embed.onnx import OnnxEncoder
from instructsearch.embed.parts import Parts
from instructsearch.errors import BadProfile, ModelDamaged, ModelNotFound, TooLong

TEMPLATE = "{instruction}[SEP]{text}[SEP][MASK][MASK]"
TEXTS = ["the cat", "a red mat", "the cat", "a red mat", "blue dog"]
SAID = ["colour", "", "", "the sentence", "colour"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("parts") / "bert", max_tokens=40)


@pytest.fixture(scope="module")
def profile(folder):
    adapter = folder.parent / "adapter"
    adapter.mkdir()
    torch.manual_seed(1)
    names = [f"encoder.layer.{at}.attention.self.{each}" for at in (0, 1) for each in ("query", "key", "value")]
    delta.write({name: 0.5 * torch.randn(32, 32) for name in names}, adapter)
    return replace(
        embed.find(str(folder)),
        name="parts",
        query_template=TEMPLATE,
        document_template=TEMPLATE,
        pooling="mean and mask",
        pool_includes_instruction=False,
        query_adapter=str(adapter),
        document_adapter=str(adapter),
        adapters_need_instruction=True,
    )


@pytest.fixture
def parts(profile):
    return embed.load(profile, device="cpu")


@pytest.fixture(scope="module")
def apart(folder, profile):
    """The two models, each loaded for itself: the bare one as anybody has it, the adapted one under its template."""
    bare = embed.load(str(folder), device="cpu")
    adapted = embed.load(replace(profile, name="adapted", adapters_need_instruction=False), device="cpu")
    return bare, adapted


@pytest.mark.parametrize("role", ["query", "document"])
def test_each_text_is_embedded_by_the_model_its_instruction_or_the_lack_of_one_names(role, parts, apart):
    bare, adapted = apart
    found = parts.encode(TEXTS, SAID, role)
    expected = [
        (adapted if said else bare).encode([text], said, role)[0] for text, said in zip(TEXTS, SAID, strict=True)
    ]
    assert (found * np.array(expected)).sum(1) == pytest.approx(np.ones(5), abs=1e-3)
    assert found.dtype == np.float32 and found.flags["C_CONTIGUOUS"]
    assert found[0] @ adapted.encode(["the cat"], "", role)[0] < 0.99


def test_without_an_instruction_it_is_the_bare_model_bit_for_bit(parts, apart):
    assert np.array_equal(parts.encode(TEXTS), apart[0].encode(TEXTS))
    assert np.array_equal(parts.encode(TEXTS, role="query"), apart[0].encode(TEXTS, role="query"))


def test_a_part_is_loaded_when_it_is_first_asked(parts, profile):
    assert isinstance(parts, Parts)
    assert parts.loaded == []
    parts.encode(["cat"])
    assert [each.profile for each in parts.loaded] == [profile.part(instructed=False)]
    parts.encode(["cat"], "colour")
    parts.encode(["cat"], "colour")
    assert [each.profile for each in parts.loaded] == [profile.part(instructed=each) for each in (False, True)]


def test_many_threads_load_a_part_once(profile):
    made, ready = [], threading.Barrier(4)

    def load(part):
        made.append(part)
        return embed.load(part, device="cpu")

    parts = Parts(profile, load)

    def ask():
        ready.wait()
        parts.part(instructed=True)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(made) == 1


def test_nothing_is_asked_of_no_texts(parts):
    assert parts.encode([]).shape == (0, 32)
    assert parts.loaded == []


def test_every_text_is_told_of_once(parts):
    told = []
    parts.encode(TEXTS, SAID, progress=told.append)
    assert sum(told) == len(TEXTS)


def test_room_is_that_of_the_part_and_words_are_counted_alike(parts, apart):
    bare, adapted = apart
    assert parts.room() == bare.room() > parts.room("colour") == adapted.room("colour")
    assert parts.count(TEXTS) == bare.count(TEXTS)
    assert parts.tokenizer.encode("cat").ids == bare.tokenizer.encode("cat").ids
    assert (parts.dim, parts.device) == (32, "cpu")
    with pytest.raises(TooLong, match="leaves none for the text"):
        parts.encode(["cat"], "a long instruction " * 20)


def test_as_many_instructions_as_texts_or_one(parts):
    with pytest.raises(ValueError, match="2 instructions for 1 texts"):
        parts.encode(["cat"], ["a", "b"])
    with pytest.raises(TypeError, match="must be a sequence"):
        parts.encode("cat")


def test_queries_with_an_instruction_are_answered_over_a_graph_without_torch(profile, apart):
    heavy = embed.load(profile, device="cpu")
    expected = heavy.encode(TEXTS, "colour", "query")
    assert embed.prepare_queries(heavy)
    light = embed.load(profile, device="cpu", queries=True)
    found = light.encode(TEXTS, "colour", "query")
    assert [type(each) for each in light.loaded] == [OnnxEncoder]
    assert (found * expected).sum(1).min() > 0.9999
    assert found[0] @ apart[0].encode(["the cat"], role="query")[0] < 0.99


def test_an_adapter_that_is_altered_or_gone_is_refused_before_a_text_is_embedded(profile, folder, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    delta.write({"encoder.layer.0.attention.self.query": torch.ones(32, 32)}, adapter)
    facts = {"query_adapter": str(adapter), "document_adapter": str(adapter)}
    good = replace(profile, **facts, adapter_files={delta.FILE: "0" * 64})
    with pytest.raises(ModelDamaged, match=r"delta\.safetensors is not the file that the profile names"):
        embed.load(good, device="cpu")
    (adapter / delta.FILE).unlink()
    with pytest.raises(ModelDamaged, match=r"delta\.safetensors is missing"):
        embed.load(good, device="cpu")
    adapter.rmdir()
    with pytest.raises(ModelNotFound):
        embed.load(replace(profile, **facts), device="cpu")


# --- the profile of a part


def test_a_part_is_a_profile_of_its_own(profile, folder):
    bare, adapted = profile.part(instructed=False), profile.part(instructed=True)
    assert (bare.query_adapter, bare.document_adapter, bare.document_template) == ("", "", "{text}")
    assert adapted == replace(profile, adapters_need_instruction=False)
    assert len({each.fingerprint for each in (profile, bare, adapted)}) == 3
    assert not bare.takes_instruction


def test_the_bare_part_asks_as_the_profile_does_without_an_instruction(profile):
    made = replace(
        profile,
        query_template="ask: {text}",
        plain_document_template="text: {text}",
    )
    bare = made.part(instructed=False)
    for role in ("query", "document"):
        assert bare.around("", role) == made.around("", role)
    assert (bare.query_template, bare.document_template) == ("ask: {text}", "text: {text}")


def test_where_adapters_lie_is_no_part_of_what_a_profile_is_once_their_digests_are_known(profile):
    known = replace(profile, adapter_files={delta.FILE: "0" * 64})
    moved = replace(known, query_adapter="/elsewhere", document_adapter="/elsewhere")
    assert moved.fingerprint == known.fingerprint != profile.fingerprint
    assert replace(profile, query_adapter="/elsewhere").fingerprint != profile.fingerprint
    assert replace(known, adapter_files={delta.FILE: "1" * 64}).fingerprint != known.fingerprint


def test_pooling_masks_behind_the_text_needs_a_text_to_be_told_from_them(profile):
    with pytest.raises(BadProfile, match="'mean and mask' needs pool_includes_instruction = false"):
        replace(profile, pool_includes_instruction=True)


def test_half_of_the_pool_is_the_text_and_half_the_masks_behind_it(parts):
    tokeniser = parts.part(instructed=True)._tokeniser
    [tokens] = tokeniser.tokenise([("colour", "the [MASK] cat")], "document")
    weights = tokeniser.weights(tokens)
    pieces = [tokeniser.tokenizer.id_to_token(each) for each in tokens.ids]
    assert pieces == ["[CLS]", "colour", "[SEP]", "the", "[MASK]", "cat", "[SEP]", "[MASK]", "[MASK]", "[SEP]"]
    assert weights.tolist() == pytest.approx([0, 0, 0, 1 / 6, 1 / 6, 1 / 6, 0, 1 / 4, 1 / 4, 0])
    bare = replace(tokeniser.profile, document_template="{instruction}[SEP]{text}")
    without = type(tokeniser)(bare, parts.part(instructed=True).folder)
    [tokens] = without.tokenise([("colour", "the cat")], "document")
    assert without.weights(tokens).tolist() == pytest.approx([0, 0, 0, 1 / 3, 1 / 3, 1 / 3])
