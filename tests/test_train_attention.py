"""Attention in float32 within a step in bfloat16: the same states, in the step's own precision, with a gradient."""

import pytest
import torch
from tiny_answer_models import tiny_opt
from tiny_models import tiny_bert

from instructsearch.embed.backbone import load_backbone
from instructsearch.embed.profile import Profile
from instructsearch.train import attention

IDS = torch.tensor([[2, 50, 60, 70, 80, 3], [2, 55, 3, 0, 0, 0]])
MASK = torch.tensor([[1] * 6, [1] * 3 + [0] * 3])


@pytest.fixture(params=["bert", "opt"])
def models(request, tmp_path):
    make = {"bert": tiny_bert, "opt": tiny_opt}[request.param]
    folder = make(tmp_path / request.param)
    plain, ours = (load_backbone(Profile("tiny", dim=32, max_tokens=32), folder, "document") for _ in "12")
    attention.use(ours)
    return plain.requires_grad_(), ours.requires_grad_()


def states(model):
    found = model(input_ids=IDS, attention_mask=MASK).last_hidden_state
    return found[MASK.bool()]


def gradients(model):
    model.zero_grad()
    states(model).float().square().sum().backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def test_states_and_gradients_are_those_of_the_models_own_attention(models):
    plain, ours = models
    assert ours.config._attn_implementation == attention.NAME != plain.config._attn_implementation
    torch.testing.assert_close(states(ours), states(plain), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(gradients(ours), gradients(plain), atol=1e-4, rtol=1e-4)


def test_in_bfloat16_it_is_as_near_to_float32_as_the_models_own(models):
    plain, ours = models
    exact = states(plain)
    with torch.autocast("cpu", torch.bfloat16):
        theirs, found = states(plain), states(ours)
        gradient = gradients(ours)
    off = (found.float() - exact).abs().mean()
    assert off < 1.2 * (theirs.float() - exact).abs().mean() + 1e-6
    assert torch.nn.functional.cosine_similarity(gradient, gradients(plain), dim=0) > 0.99


def test_the_product_itself_is_in_float32(models, monkeypatch):
    seen = []
    own = attention.sdpa_attention_forward

    def noted(module, query, *arguments, **options):
        seen.append((query.dtype, torch.is_autocast_enabled("cpu")))
        return own(module, query, *arguments, **options)

    monkeypatch.setattr(attention, "sdpa_attention_forward", noted)
    with torch.autocast("cpu", torch.bfloat16):
        states(models[1])
    assert set(seen) == {(torch.float32, False)}


def test_a_model_that_attends_otherwise_is_left_alone(models):
    plain, _ = models
    plain.config._attn_implementation = "eager"
    attention.use(plain)
    assert plain.config._attn_implementation == "eager"
