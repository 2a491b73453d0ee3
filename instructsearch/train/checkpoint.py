"""Where a training run stands, on disk: weights, the optimiser's moments and the step, each file whole or not there.

Knows tensors by name and a folder; reads no pickle. The last two are kept, so that one that cannot be read costs only
the steps since the one before.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from instructsearch.durable import new_folder, sync_folder
from instructsearch.errors import ReadError

_STATE, _FACTS = "state.safetensors", "step.json"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def save(
    folder: Path,
    step: int,
    weights: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
    settings: Mapping[str, Any],
) -> None:
    """Write a checkpoint after `step` steps, and remove those before the last.

    Raises:
        OSError: the disk is full or cannot be written; the last checkpoint is still there.
    """
    tensors = {f"weight/{name}": weight.detach().cpu().contiguous() for name, weight in weights.items()}
    for name, weight in weights.items():
        for moment, value in optimiser.state.get(weight, {}).items():
            tensors[f"{moment}/{name}"] = torch.as_tensor(value).detach().cpu().clone().contiguous()
    with new_folder(folder / f"step-{step:07d}") as making:
        save_file(tensors, making / _STATE)
        (making / _FACTS).write_text(json.dumps({"step": step, "settings": dict(settings)}), "utf-8")
        sync(making)
    for old in _all(folder)[:-2]:
        shutil.rmtree(old, ignore_errors=True)


def restore(
    folder: Path, weights: Mapping[str, Tensor], optimiser: torch.optim.Optimizer, settings: Mapping[str, Any]
) -> int:
    """Put the last checkpoint's weights and moments in place; return its step, or 0 where there is none.

    A setting that an older checkpoint does not name was not there to be chosen, and stands for no difference.

    Raises:
        ReadError: it cannot be read, or is of a run with other settings; nothing was put in place.
    """
    found = _all(folder)
    if not found:
        return 0
    last = found[-1]
    try:
        told = json.loads((last / _FACTS).read_text("utf-8"))
        _refuse_other(last, told["settings"], json.loads(json.dumps(dict(settings))))
        step, tensors = int(told["step"]), load_file(last / _STATE)
        moments = [_moments(tensors, name, weight) for name, weight in weights.items()]
        fresh = [_fitting(tensors, f"weight/{name}", weight) for name, weight in weights.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        advice = f"remove it to go on from {found[-2].name}" if len(found) > 1 else "remove it to begin anew"
        raise ReadError(str(last), f"is no checkpoint of this model ({error}); {advice}") from error
    with torch.no_grad():
        for weight, theirs, moment in zip(weights.values(), fresh, moments, strict=True):
            weight.copy_(theirs)
            if moment:
                optimiser.state[weight] = moment
    return step


def sync(folder: Path) -> None:
    """Return when all that lies in a folder is on the disk."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _refuse_other(folder: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    differing = sorted(name for name in ours if name in theirs and theirs[name] != ours[name])
    if differing:
        name = differing[0]
        told = f"{name} {theirs[name]!r}, and now it is {ours[name]!r}" if name != "data" else "other data"
        raise ReadError(str(folder), f"is of a run with {told}; train into another folder, or remove this one")


def _moments(tensors: Mapping[str, Tensor], name: str, weight: Tensor) -> dict[str, Tensor]:
    """Return the optimiser's state of a weight; none if it had no gradient yet."""
    if not any(f"{moment}/{name}" in tensors for moment in _MOMENTS):
        return {}
    own = {moment: _fitting(tensors, f"{moment}/{name}", weight).to(weight.device) for moment in _MOMENTS[1:]}
    return {"step": tensors[f"step/{name}"].reshape(()).float(), **own}


def _fitting(tensors: Mapping[str, Tensor], name: str, weight: Tensor) -> Tensor:
    found = tensors[name]
    if found.shape != weight.shape:
        raise ValueError(f"{name} is {tuple(found.shape)}, not {tuple(weight.shape)}")
    return found


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if (path / _FACTS).is_file())
