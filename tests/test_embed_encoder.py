"""The pooled encoder against sentence-transformers, and what must not change a vector."""

import os
import random
import shutil
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tiny_models import break_weights, tiny_bert

from instructsearch import embed
from instructsearch.embed import backbone, slabs
from instructsearch.embed import encoder as encoder_module
from instructsearch.embed.encoder import Encoder
from instructsearch.errors import BadIndex, BadProfile, BadVector, ModelDamaged, TooLong

TEXTS = [
    "the cat sat on the mat",
    "",
    "a",
    "red, blue; colour? yes!",
    "the dog " * 40,
    "zebra-crossing 42 " * 3,
    "naïve 東京 \t\n",
    "the cat sat on the mat.",
]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTRUCTSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="module")
def tiny(folder):
    return embed.find(str(folder))


@pytest.fixture(scope="module")
def encoder(tiny):
    return Encoder(tiny, device="cpu", precision="float32")


def reference(folder, texts, **arguments):
    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(texts, normalize_embeddings=True, show_progress_bar=False, **arguments)


def test_minilm_equals_sentence_transformers():
    profile = embed.find("minilm")
    ours = Encoder(profile, device="cpu", precision="float32")
    texts = [*TEXTS, "Represent me: similarity is in the eye of the beholder. " * 30]
    np.testing.assert_allclose(ours.encode(texts), reference(ours.folder, texts), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "weighted"])
def test_every_pooling_equals_sentence_transformers(tmp_path, pooling):
    folder = tiny_bert(tmp_path, pooling=pooling)
    ours = Encoder(embed.find(str(folder)), device="cpu", precision="float32")
    np.testing.assert_allclose(ours.encode(TEXTS), reference(folder, TEXTS), atol=1e-5)


@pytest.mark.parametrize("included", [True, False])
def test_prompts_equal_sentence_transformers_in_and_out_of_the_pool(tmp_path, included):
    folder = tiny_bert(tmp_path, include_prompt=included, query="represent the red sentence: ")
    ours = Encoder(embed.find(str(folder)), device="cpu", precision="float32")
    texts = [text for text in TEXTS if text.strip()]
    np.testing.assert_allclose(
        ours.encode(texts, role="query"), reference(folder, texts, prompt_name="query"), atol=1e-5
    )
    assert np.abs(ours.encode(texts, role="query") - ours.encode(texts)).max() > 0.01


def test_the_pool_with_the_instruction_differs_from_the_pool_without(tiny):
    template = {"document_template": "{instruction} {text}"}
    inside = Encoder(replace(tiny, **template), device="cpu")
    outside = Encoder(replace(tiny, **template, pool_includes_instruction=False), device="cpu")
    plain = outside.encode(["the cat"])
    assert np.abs(inside.encode(["the cat"], "red:") - outside.encode(["the cat"], "red:")).max() > 0.01
    # Left out of the pool, not of the attention:
    assert np.abs(plain - outside.encode(["the cat"], "red:")).max() > 0.01
    np.testing.assert_allclose(plain, inside.encode(["the cat"]), atol=1e-6)


def test_one_instruction_for_each_text_equals_one_call_for_each(tiny):
    encoder = Encoder(
        replace(tiny, document_template="{instruction}: {text}", pool_includes_instruction=False),
        device="cpu",
        precision="float32",
    )
    instructions = ["", "red", "the colour blue"] * 3
    mixed = encoder.encode(TEXTS, instructions[: len(TEXTS)])
    single = [encoder.encode([text], each)[0] for text, each in zip(TEXTS, instructions, strict=False)]
    np.testing.assert_allclose(mixed, single, atol=1e-5)


def test_a_batch_of_one_equals_a_batch_of_many_on_either_padding_side(tiny):
    alone = Encoder(tiny, device="cpu", precision="float32")
    expected = np.concatenate([alone.encode([text]) for text in TEXTS])
    for budget in (1, 50, 10_000):
        alone.budget = budget
        np.testing.assert_allclose(alone.encode(TEXTS), expected, atol=1e-5)


def test_the_order_of_texts_changes_no_bit(encoder):
    texts = [f"{word} the {other}" for word in TEXTS for other in TEXTS]
    shuffled = texts.copy()
    random.Random(1).shuffle(shuffled)
    places = [shuffled.index(text) for text in texts]
    np.testing.assert_array_equal(encoder.encode(texts), encoder.encode(shuffled)[places])


def test_equal_pairs_are_embedded_once(encoder, monkeypatch):
    seen = []
    inner = Encoder._vectors
    monkeypatch.setattr(Encoder, "_vectors", lambda self, batches, *rest: inner(self, spy(batches), *rest))

    def spy(batches):
        for batch in batches:
            seen.extend(batch.rows)
            yield batch

    told = []
    vectors = encoder.encode(["a cat", "a dog"] * 50, progress=told.append)
    assert len(seen) == 2
    assert sum(told) == 100
    np.testing.assert_array_equal(vectors, np.tile(vectors[:2], (50, 1)))


def test_progress_counts_every_text_once(tiny):
    encoder = Encoder(tiny, device="cpu")
    encoder.budget = 40
    told = []
    encoder.encode([*TEXTS, *TEXTS], progress=told.append)
    assert len(told) > 2
    assert sum(told) == 2 * len(TEXTS)


def test_texts_are_tokenised_while_those_before_them_are_embedded(tiny, monkeypatch):
    monkeypatch.setattr(slabs, "_SLAB", 3)
    encoder = Encoder(tiny, device="cpu", precision="float32")
    texts = [f"{word} cat {'the ' * count}" for word in ("red", "blue") for count in range(8)]
    begun = [threading.Event() for _ in range(6)]
    tokenise, compute = encoder._tokeniser.tokenise, Encoder._vectors_of
    threads = []

    def told(slab, role):
        begun[len(threads)].set()
        threads.append(threading.current_thread())
        return tokenise(slab, role)

    def waiting(self, network, batches):
        done = len(computed)
        computed.append(done)
        assert done == 5 or begun[done + 1].wait(10)  # the next slab is tokenised before this one is embedded
        return compute(self, network, batches)

    computed = []
    monkeypatch.setattr(encoder._tokeniser, "tokenise", told)
    monkeypatch.setattr(Encoder, "_vectors_of", waiting)
    overlapped = encoder.encode(texts)
    assert len(computed) == 6
    assert threading.current_thread() not in threads
    monkeypatch.undo()
    np.testing.assert_allclose(overlapped, encoder.encode(texts), atol=1e-6)


def test_an_instruction_without_room_is_refused_before_any_text_is_embedded(tiny, monkeypatch):
    monkeypatch.setattr(slabs, "_SLAB", 1)
    encoder = Encoder(replace(tiny, document_template="{instruction} {text}"), device="cpu")
    told = []
    with pytest.raises(TooLong):
        encoder.encode(["a long text", "a"], ["", "the cat " * 40], progress=told.append)
    assert not told


def test_batches_that_are_read_back_later_give_the_same_vectors(tiny, monkeypatch):
    encoder = Encoder(tiny, device="cpu", precision="float32")
    encoder.budget = 40
    at_once = encoder.encode(TEXTS)
    order = []
    network, read_back = encoder._faster(torch.float32, "document", bulk=False), encoder_module._read_back
    monkeypatch.setattr(network, "forward", lambda *a, f=network.forward: order.append("begun") or f(*a))
    monkeypatch.setattr(encoder_module, "_read_back", lambda *a: order.append("read") or read_back(*a))
    encoder.ahead = 1
    np.testing.assert_array_equal(encoder.encode(TEXTS), at_once)
    assert order[:3] == ["begun", "begun", "read"]
    assert order.count("begun") == order.count("read") > 2


def test_memory_holds_the_tokens_of_two_slabs_however_many_texts_there_are(tiny, monkeypatch):
    monkeypatch.setattr(slabs, "_SLAB", 4)
    encoder = Encoder(tiny, device="cpu", precision="float32")
    alive = weakref.WeakSet()
    most = []
    tokenise = encoder._tokeniser.tokenise

    class Kept(list):
        __hash__ = object.__hash__

    def watched(slab, role):
        found = Kept(tokenise(slab, role))
        alive.add(found)
        most.append(len(alive))
        return found

    monkeypatch.setattr(encoder._tokeniser, "tokenise", watched)
    encoder.encode([f"the cat {number}" for number in range(40)])
    assert len(most) == 10
    assert max(most) <= 3  # two, and the one that is being replaced


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode([]).shape == (0, 32)


def test_rows_are_unit_float32_and_contiguous(encoder):
    vectors = encoder.encode([*TEXTS, "\ud800 lone"])
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("texts", "instruction"), [("one string", ""), ([["pair", "text"]], ""), ([b"bytes"], ""), (["a"], [1])]
)
def test_what_is_no_list_of_strings_is_a_type_error(encoder, texts, instruction):
    with pytest.raises(TypeError):
        encoder.encode(texts, instruction)


def test_instructions_must_match_the_texts_in_number(encoder):
    with pytest.raises(ValueError, match="2 instructions for 1 texts"):
        encoder.encode(["a"], ["b", "c"])


@pytest.mark.parametrize("side", ["right", "left"])
def test_truncation_cuts_the_text_and_never_what_surrounds_it(tiny, side, caplog):
    profile = replace(tiny, document_template="red {instruction}: {text} blue.", max_tokens=20, truncation_side=side)
    encoder = Encoder(profile, device="cpu", precision="float32")
    words = ["cat"] * 20 + ["dog"] * 20
    room = encoder.room("mat")
    assert room == 20 - len(["[CLS]", "red", "mat", ":", "blue", ".", "[SEP]"])
    kept = words[:room] if side == "right" else words[-room:]
    long = encoder.encode([" ".join(words)], "mat")
    assert "1 of 1 texts are longer than the window of bert (20 tokens)" in caplog.text
    caplog.clear()
    np.testing.assert_allclose(long, encoder.encode([" ".join(kept)], "mat"), atol=1e-6)
    assert not caplog.records


def test_an_instruction_without_room_for_text_is_refused(tiny):
    encoder = Encoder(replace(tiny, document_template="{instruction} {text}"), device="cpu")
    with pytest.raises(TooLong, match="leaves none for the text"):
        encoder.encode(["text"], "the cat " * 40)
    with pytest.raises(TooLong):
        encoder.room("the cat " * 40)


def test_count_leaves_out_special_tokens(encoder):
    assert encoder.count(["the cat", "", "zz"]) == [2, 0, 2]


def test_an_ignored_instruction_is_told_once_and_changes_nothing(encoder, caplog):
    plain = encoder.encode(["the cat"])
    for _ in range(2):
        np.testing.assert_array_equal(encoder.encode(["the cat"], "by colour"), plain)
    assert [record.getMessage() for record in caplog.records] == [
        "bert ignores instructions: 'by colour' changes nothing"
    ]


def test_bfloat16_stays_near_float32(tiny):
    exact, halved = (Encoder(tiny, device="cpu", precision=each) for each in ("float32", "bfloat16"))
    cosines = (exact.encode(TEXTS) * halved.encode(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.999


@pytest.mark.parametrize(("large", "told"), [(10, ["loading"]), (10**12, [])])
def test_only_a_model_that_takes_a_while_says_that_it_is_being_loaded(folder, monkeypatch, caplog, large, told):
    monkeypatch.setattr(backbone, "LARGE", large)
    with caplog.at_level("INFO", "instructsearch.embed.loading"):
        Encoder(embed.find(str(folder)), device="cpu")
    said = [record for record in caplog.records if record.name == "instructsearch.embed.loading"]
    assert [record.getMessage().split()[0] for record in said] == told


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path):
    break_weights(tiny_bert(tmp_path))
    with pytest.raises(ModelDamaged, match=r"not finite numbers, in encoder\.layer\.1\.output\.dense\.weight"):
        Encoder(embed.find(str(tmp_path)), device="cpu")


def test_vectors_that_are_not_finite_are_an_error_at_the_door(tiny):
    encoder = Encoder(tiny, device="cpu", precision="float32")
    encoder.network().backbone.encoder.layer[1].output.dense.weight.data.fill_(torch.nan)
    with pytest.raises(BadVector, match="weights are broken"):
        encoder.encode(["the cat"])


def test_altered_weights_are_refused(tmp_path, folder):
    profile = embed.find(str(shutil.copytree(folder, tmp_path / "copy")))
    Encoder(profile, device="cpu")
    path = tmp_path / "copy" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, (1, 1))
    with pytest.raises(ModelDamaged, match=r"model\.safetensors"):
        Encoder(profile, device="cpu")


def test_missing_weights_are_refused_and_not_made_up(tmp_path):
    tiny_bert(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelDamaged, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        Encoder(embed.find(str(tmp_path)), device="cpu")


def test_pickled_weights_are_never_read(tmp_path):
    tiny_bert(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelDamaged):
        Encoder(embed.find(str(tmp_path)), device="cpu")


def test_remote_code_is_refused(tiny):
    with pytest.raises(BadProfile, match="runs none"):
        Encoder(replace(tiny, remote_code=True), device="cpu")


def test_a_dimension_wider_than_the_model_is_refused(tiny):
    with pytest.raises(BadProfile, match="dim is 64"):
        Encoder(replace(tiny, dim=64), device="cpu")


def test_fewer_dimensions_are_the_first_ones_at_unit_length(tiny, encoder):
    short = Encoder(replace(tiny, dim=8), device="cpu", precision="float32").encode(["the cat"])
    first = encoder.encode(["the cat"])[:, :8]
    np.testing.assert_allclose(short, first / np.linalg.norm(first), atol=1e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("device", ["cuda", "cuda:7", "tpu", "cuda:x"])
def test_a_device_that_is_not_there_is_refused_by_name(tiny, device):
    with pytest.raises(BadIndex, match=device):
        Encoder(tiny, device=device)
