"""What is kept of a run: weights, moments and step, exactly; nothing half written, nothing of another run taken up."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from instructsearch.errors import ReadError
from instructsearch.train import checkpoint

SETTINGS = {"rate": 0.1, "steps": 10, "weights": (("keep/", 2.0),), "data": "aa"}


def model(seed=0):
    torch.manual_seed(seed)
    network = nn.ModuleDict({"first": nn.Linear(4, 3), "never": nn.Linear(2, 2)})
    weights = dict(network.named_parameters())
    return weights, torch.optim.AdamW(weights.values(), lr=0.1)


def trained(steps=3, seed=0):
    weights, optimiser = model(seed)
    for step in range(steps):
        step_of(weights, optimiser, step)
    return weights, optimiser


def step_of(weights, optimiser, seed):
    torch.manual_seed(seed)
    optimiser.zero_grad()
    (weights["first.weight"] @ torch.randn(4)).square().sum().backward()
    weights["first.bias"].grad = torch.randn(3)
    optimiser.step()


def test_a_run_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(tmp_path):
    weights, optimiser = trained()
    checkpoint.save(tmp_path, 3, weights, optimiser, SETTINGS)
    others, theirs = model(seed=9)
    assert checkpoint.restore(tmp_path, others, theirs, SETTINGS) == 3
    for name, weight in weights.items():
        assert torch.equal(others[name], weight)
        mine, its = optimiser.state.get(weight, {}), theirs.state.get(others[name], {})
        assert set(mine) == set(its)
        assert all(torch.equal(mine[key], its[key]) and mine[key].dtype == its[key].dtype for key in mine)
    assert not theirs.state.get(others["never.weight"])
    step_of(weights, optimiser, 3)
    step_of(others, theirs, 3)
    assert all(torch.equal(others[name], weight) for name, weight in weights.items())


def test_without_a_checkpoint_a_run_begins_at_step_0_with_the_weights_it_has(tmp_path):
    weights, optimiser = model()
    before = {name: weight.clone() for name, weight in weights.items()}
    assert checkpoint.restore(tmp_path, weights, optimiser, SETTINGS) == 0
    assert checkpoint.restore(tmp_path / "none", weights, optimiser, SETTINGS) == 0
    assert all(torch.equal(weights[name], weight) for name, weight in before.items())


def test_the_last_two_are_kept(tmp_path):
    weights, optimiser = trained()
    for step in (9, 10, 200, 1000):
        checkpoint.save(tmp_path, step, weights, optimiser, SETTINGS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000200", "step-0001000"]
    assert checkpoint.restore(tmp_path, weights, optimiser, SETTINGS) == 1000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rate": 0.2}, "is of a run with rate 0.1, and now it is 0.2"),
        ({"steps": 11}, "is of a run with steps 10, and now it is 11"),
        ({"weights": ()}, "is of a run with weights"),
        ({"data": "bb"}, "is of a run with other data"),
    ],
)
def test_another_runs_checkpoint_is_refused_and_changes_nothing(change, said, tmp_path):
    checkpoint.save(tmp_path, 3, *trained(), SETTINGS)
    weights, optimiser = model(seed=9)
    before = {name: weight.clone() for name, weight in weights.items()}
    with pytest.raises(ReadError, match=said) as caught:
        checkpoint.restore(tmp_path, weights, optimiser, {**SETTINGS, **change})
    assert caught.value.where == str(tmp_path / "step-0000003")
    assert all(torch.equal(weights[name], weight) for name, weight in before.items())
    assert not optimiser.state


def test_a_setting_that_came_later_is_no_difference(tmp_path):
    checkpoint.save(tmp_path, 3, *trained(), SETTINGS)
    assert checkpoint.restore(tmp_path, *model(), {**SETTINGS, "new": 1}) == 3


def spoil(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


DAMAGE = {
    "cut off": lambda folder: os.truncate(folder / "state.safetensors", 200),
    "not there": lambda folder: (folder / "state.safetensors").unlink(),
    "garbage": lambda folder: (folder / "state.safetensors").write_bytes(b"\xff" * 500),
    "a weight less": lambda folder: spoil(folder / "state.safetensors", lambda t: t.pop("weight/first.bias")),
    "a moment less": lambda folder: spoil(folder / "state.safetensors", lambda t: t.pop("exp_avg/first.bias")),
    "another shape": lambda folder: spoil(
        folder / "state.safetensors", lambda t: t.update({"weight/first.bias": torch.zeros(1)})
    ),
    "no JSON": lambda folder: (folder / "step.json").write_text("{"),
    "a list": lambda folder: (folder / "step.json").write_text("[]"),
    "no step": lambda folder: (folder / "step.json").write_text(json.dumps({"settings": {}})),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_named_changes_nothing_and_gives_way_to_the_one_before(damage, tmp_path):
    checkpoint.save(tmp_path, 2, *trained(2), SETTINGS)
    checkpoint.save(tmp_path, 3, *trained(3), SETTINGS)
    damage(tmp_path / "step-0000003")
    weights, optimiser = model(seed=9)
    before = {name: weight.clone() for name, weight in weights.items()}
    with pytest.raises(
        ReadError, match=r"is no checkpoint of this model.*remove it to go on from step-0000002"
    ) as caught:
        checkpoint.restore(tmp_path, weights, optimiser, SETTINGS)
    assert caught.value.where == str(tmp_path / "step-0000003")
    assert all(torch.equal(weights[name], weight) for name, weight in before.items())
    for path in (tmp_path / "step-0000003").iterdir():
        path.unlink()
    (tmp_path / "step-0000003").rmdir()
    assert checkpoint.restore(tmp_path, weights, optimiser, SETTINGS) == 2
    assert torch.equal(weights["first.weight"], trained(2)[0]["first.weight"])


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only /proc tells which file a descriptor is")
def test_what_a_checkpoint_holds_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")) or fsync(file))
    checkpoint.save(tmp_path, 3, *trained(), SETTINGS)
    before = [path.rpartition(".making")[2] for path in synced if ".making" in path]
    assert {"/state.safetensors", "/step.json", ""} <= set(before)
    assert synced[-1] == str(tmp_path)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 2, *trained(2), SETTINGS)

    def full(tensors, path):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, 3, *trained(3), SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000002"]
    assert checkpoint.restore(tmp_path, *model(), SETTINGS) == 2


KILLED = """
import sys, torch
from pathlib import Path
from instructsearch.train import checkpoint
weight = torch.nn.Parameter(torch.zeros(300, 300))
optimiser = torch.optim.AdamW([weight])
for step in range(1, 100_000):
    with torch.no_grad():
        weight.fill_(step)
    checkpoint.save(Path(sys.argv[1]), step, {"w": weight}, optimiser, {"a": 1})
"""


def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
    try:
        for pause in (0.03, 0.011, 0.017, 0.041):
            deadline = time.monotonic() + 60
            before = sorted(tmp_path.glob("step-*"))
            while len(found := sorted(tmp_path.glob("step-*"))) < 2 or found[-1] in before:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.005)
            time.sleep(pause)
            process.send_signal(signal.SIGSTOP)
            weight = torch.nn.Parameter(torch.zeros(300, 300))
            step = checkpoint.restore(tmp_path, {"w": weight}, torch.optim.AdamW([weight]), {"a": 1})
            assert step >= 1
            assert torch.equal(weight, torch.full_like(weight, step))
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(timeout=60)
        last = checkpoint.restore(tmp_path, {"w": weight}, torch.optim.AdamW([weight]), {"a": 1})
        assert torch.equal(weight, torch.full_like(weight, last))
    finally:
        process.kill()
        process.wait(timeout=60)
