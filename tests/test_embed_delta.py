"""A trained change in 8 bits a weight: near what was trained, and refused where it is not that."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from instructsearch.embed import delta
from instructsearch.errors import ModelDamaged


def network(seed):
    torch.manual_seed(seed)
    return nn.ModuleDict({"one": nn.Linear(24, 16), "two": nn.Linear(16, 8, bias=False), "norm": nn.LayerNorm(8)})


@pytest.fixture
def change():
    torch.manual_seed(5)
    return {"one": torch.randn(16, 24) * torch.logspace(-6, 0, 16)[:, None], "two": 0.01 * torch.randn(8, 16)}


def test_a_change_comes_back_within_half_a_step_of_each_row(tmp_path, change):
    bare, model = network(1), network(1)
    delta.write(change, tmp_path)
    with torch.no_grad():
        delta.merge(model, tmp_path)
    for name, difference in change.items():
        step = difference.abs().amax(1, keepdim=True) / 127
        error = (model[name].weight - bare[name].weight - difference).abs()
        assert (error <= step / 2 + 1e-6).all()
        assert error.max() > 0
    assert torch.equal(model["one"].bias, bare["one"].bias)
    assert torch.equal(model["norm"].weight, bare["norm"].weight)


def test_a_row_that_did_not_change_stays_as_it_is(tmp_path, change):
    change["one"][3] = 0
    bare, model = network(1), network(1)
    delta.write(change, tmp_path)
    with torch.no_grad():
        delta.merge(model, tmp_path)
    assert torch.equal(model["one"].weight[3], bare["one"].weight[3])


def test_it_takes_a_byte_a_weight(tmp_path, change):
    delta.write(change, tmp_path)
    weights = sum(each.numel() for each in change.values())
    assert weights < (tmp_path / delta.FILE).stat().st_size < weights + 4 * (16 + 8) + 600


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda t: t.update({"three.change": t["one.change"].clone(), "three.scale": t["one.scale"].clone()}), "three"),
        (lambda t: t.update({"one.change": t["one.change"][:, :5].contiguous()}), "one"),
        (lambda t: t.update({"one.change": t["one.change"].float()}), "one"),
        (lambda t: t.update({"one.scale": t["one.scale"] * float("nan")}), "scales of one"),
        (lambda t: t.update({"one.scale": t["one.scale"][:3].clone()}), "scales of one"),
        (lambda t: t.pop("two.scale"), "something else"),
        (lambda t: t.update({"other": torch.ones(2)}), "something else"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_changes_nothing(tmp_path, change, spoil, told):
    delta.write(change, tmp_path)
    tensors = load_file(tmp_path / delta.FILE)
    spoil(tensors)
    save_file(tensors, tmp_path / delta.FILE)
    model = network(1)
    with torch.no_grad(), pytest.raises(ModelDamaged, match=told):
        delta.merge(model, tmp_path)
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(model.parameters(), network(1).parameters(), strict=True)
    )


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / delta.FILE).write_bytes(b"nothing")
    with pytest.raises(ModelDamaged, match="cannot be read"):
        delta.merge(network(1), tmp_path)
