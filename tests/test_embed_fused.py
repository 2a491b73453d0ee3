"""The fused BERT against the model it is made of, and when there is none."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_bert
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, XLMRobertaConfig, XLMRobertaModel

from instructsearch import embed
from instructsearch.embed import fused as module
from instructsearch.embed.encoder import Encoder
from instructsearch.embed.fused import FusedBert, fuse

SIZES = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 48,
    "initializer_range": 0.1,
}


def packable(dtype):
    try:
        with torch.inference_mode():
            ids = torch.ones((1, 2), dtype=torch.int64)
            FusedBert(bert(), dtype)(input_ids=ids, attention_mask=ids)
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return True


def bert(maker=BertModel, config=BertConfig, **facts):
    torch.manual_seed(3)
    return maker(config(**SIZES, **facts), add_pooling_layer=False).eval().requires_grad_(False)


needs_bfloat16 = pytest.mark.skipif(
    not packable(torch.bfloat16), reason="this processor or torch has no fused linear in bfloat16"
)
needs_packing = pytest.mark.skipif(not packable(torch.float32), reason="this torch has no fused linear in float32")


def batch(lengths, side="right", width=None):
    width = width or max(lengths)
    ids, mask = torch.ones((len(lengths), width), dtype=torch.int64), torch.zeros((len(lengths), width)).long()
    generator = torch.Generator().manual_seed(5)
    for row, length in enumerate(lengths):
        span = slice(0, length) if side == "right" else slice(width - length, width)
        ids[row, span] = torch.randint(3, 90, (length,), generator=generator)
        mask[row, span] = 1
    return ids, mask


def assert_near(model, fused, ids, mask):
    """Compare token by token, as near as the precision allows."""
    with torch.inference_mode():
        exact = model(input_ids=ids, attention_mask=mask).last_hidden_state
        near = fused(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    assert near.shape == exact.shape
    used = mask.bool()
    cosines = torch.nn.functional.cosine_similarity(exact[used], near[used])
    assert cosines.min() > 0.999
    if fused.dtype == torch.float32:
        torch.testing.assert_close(near[used], exact[used], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("dtype", "packed"),
    [
        pytest.param(torch.float32, False, id="float32"),
        pytest.param(torch.float32, True, id="float32 packed", marks=needs_packing),
        pytest.param(torch.bfloat16, True, id="bfloat16", marks=needs_bfloat16),
    ],
)
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("short", [0, 48], ids=["pieces", "whole"])
@pytest.mark.parametrize("lengths", [[9, 9, 9], [1], [20, 13, 7, 2, 1], [2, 30, 5]], ids=str)
def test_every_token_is_near_the_models_own(lengths, short, side, dtype, packed, monkeypatch):
    monkeypatch.setattr(module, "SHORT", short)
    model = bert()
    assert_near(model, fuse(model, dtype, packed=packed), *batch(lengths, side))


def test_columns_that_are_padding_in_every_row_change_nothing():
    model = bert()
    for side in ("right", "left"):
        assert_near(model, fuse(model, torch.float32), *batch([5, 3], side, width=16))


def test_slices_of_any_size_give_the_same_states():
    fused = fuse(bert(), torch.float32)
    ids, mask = batch([20, 20, 13, 7, 2, 1])
    with torch.inference_mode():
        whole = fused(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()].float()
        for fused._tokens in (1, 21, 45):
            sliced = fused(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()].float()
            assert torch.nn.functional.cosine_similarity(whole, sliced).min() > 0.9995


def test_relatives_with_positions_of_their_own_are_fused_too():
    model = bert(XLMRobertaModel, XLMRobertaConfig, pad_token_id=1, type_vocab_size=1)
    assert_near(model, fuse(model, torch.float32), *batch([20, 13, 7]))


@pytest.mark.parametrize(
    "facts", [{"hidden_act": "relu"}, {"hidden_act": "gelu_new"}, {"is_decoder": True}], ids=lambda each: str(each)
)
def test_a_bert_of_another_kind_is_left_as_it_is(facts):
    assert fuse(bert(**facts), torch.bfloat16) is None


def test_another_architecture_is_left_as_it_is():
    small = DistilBertConfig(vocab_size=90, dim=32, n_layers=1, n_heads=4, hidden_dim=64, max_position_embeddings=48)
    assert fuse(DistilBertModel(small).eval(), torch.bfloat16) is None


def test_a_model_in_another_precision_is_left_as_it_is():
    assert fuse(bert().to(torch.bfloat16), torch.bfloat16) is None


def test_what_torch_lacks_leaves_the_model_as_it_is(monkeypatch):
    def missing(*arguments):
        raise AttributeError("no such operator")

    monkeypatch.setattr(module, "FusedBert", missing)
    assert fuse(bert(), torch.bfloat16) is None


def test_states_that_differ_leave_the_model_as_it_is(monkeypatch, caplog):
    inner = module._Linear.gelu
    monkeypatch.setattr(module._Linear, "gelu", lambda self, states: -inner(self, states))
    with caplog.at_level("INFO", "instructsearch.embed"):
        assert fuse(bert(), torch.float32) is None
    assert "the states would differ" in caplog.text


@needs_bfloat16
def test_the_encoder_uses_it_in_bfloat16_only_and_shares_the_embeddings(tmp_path):
    profile = embed.find(str(tiny_bert(tmp_path)))
    encoder = Encoder(profile, device="cpu", precision="bfloat16")
    texts = ["the cat sat on the mat", "", "red, blue; colour? yes!", "the dog " * 40]
    near = encoder.encode(texts)
    halved, exact = encoder.network(torch.bfloat16), encoder.network()
    assert isinstance(halved.backbone, FusedBert)
    assert isinstance(exact.backbone, BertModel)
    assert halved.backbone.embeddings is exact.backbone.embeddings
    plain = Encoder(profile, device="cpu", precision="float32").encode(texts)
    assert (plain * near).sum(axis=1).min() > 0.999
    assert np.isfinite(near).all()


@needs_bfloat16
def test_the_encoder_takes_a_plain_copy_where_nothing_is_fused(tmp_path, monkeypatch):
    monkeypatch.setattr("instructsearch.embed.encoder.fuse", lambda model, dtype, **_: None)
    encoder = Encoder(embed.find(str(tiny_bert(tmp_path))), device="cpu", precision="bfloat16")
    backbone = encoder.network(torch.bfloat16).backbone
    assert isinstance(backbone, BertModel)
    assert backbone.dtype == torch.bfloat16


@pytest.mark.parametrize("packed", [pytest.param(True, marks=needs_packing), False])
def test_float32_is_fused_and_equal_to_the_plain_network(packed, tmp_path, monkeypatch):
    monkeypatch.setattr("instructsearch.embed.encoder.packs", lambda dtype: packed)
    encoder = Encoder(embed.find(str(tiny_bert(tmp_path))), device="cpu", precision="float32")
    texts = [f"the cat {word} sat on the mat" for word in ("red", "blue", "dog", "")]
    few = encoder.encode(texts)
    encoder.bulk = 10
    bulk = encoder.encode(texts)
    made = {key[1]: network.backbone for key, network in encoder._faster_ones.items()}
    assert set(made) == {False, packed}
    assert all(isinstance(each, FusedBert) for each in made.values())
    assert isinstance(encoder.network().backbone, BertModel)
    encoder._faster_ones = dict.fromkeys(encoder._faster_ones, encoder.network())
    plain = encoder.encode(texts)
    for each in (few, bulk):
        np.testing.assert_allclose(each, plain, atol=1e-5)


def test_unpacked_weights_are_the_models_own():
    model = bert()
    layer = fuse(model, torch.float32, packed=False)._layers[0]
    for linear, own in ((layer.query, "attention.self.query"), (layer.up, "intermediate.dense")):
        assert linear.weight.data_ptr() == model.encoder.layer[0].get_submodule(own).weight.data_ptr()


@pytest.mark.parametrize(("native", "expected"), [(True, True), (False, False)])
def test_float32_is_packed_where_the_processor_has_avx512(native, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: native)
    assert module.packs(torch.float32) is expected
    assert module.packs(torch.bfloat16)
