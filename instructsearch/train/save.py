"""A trained model as a folder: a low-rank change of the base model's weights, or all weights, and always its profile.

Knows files; nothing of training. What was saved is loaded again and must give the same vectors, or it is no model: a
file alone, without the profile that says how it is asked, is none either.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from instructsearch import embed
from instructsearch.durable import new_folder
from instructsearch.embed import Profile, delta, reader_file
from instructsearch.embed.backbone import _quiet
from instructsearch.errors import ModelDamaged
from instructsearch.records import Role
from instructsearch.train.change import change, write_adapter
from instructsearch.train.checkpoint import sync
from instructsearch.train.learner import Learner
from instructsearch.train.reader import ReaderLearner

ADAPTER = "adapter"
_TOKENIZER = ("*token*.json", "*.txt", "*.model", "vocab.json", "merges.txt")
LEAST_COSINE = 0.999
_NO_ADAPTER: dict[str, Any] = {"query_adapter": "", "document_adapter": "", "adapter_files": {}}
_SAMPLES = (
    "The train was late again, and nobody told us why.",
    "what is the boiling point of water on a mountain",
    "I love it!",
    "A protein that binds zinc was found in the cells of mice, which suggests another way to treat the disease.",
)
_INSTRUCTIONS = ("Represent the sentence by its mood:", "topic")


def save(
    learner: Learner | ReaderLearner, folder: Path, name: str, *, rank: int = 0, facts: dict[str, Any] | None = None
) -> float:
    """Write a learner's weights and profile to a new folder; return the least cosine of its vectors when loaded again.

    Where all weights were trained they are written, with the tokenizer; else their change from the base model, as a
    LoRA adapter of that rank, or, with rank 0, whole in 8 bits a weight. `facts` are fields of the profile to set, such
    as its description.

    Raises:
        ModelDamaged: what was written does not give the vectors that were trained; nothing is left of it.
        OSError: the folder is there, or cannot be written.
    """
    with new_folder(folder) as making:
        if isinstance(learner, ReaderLearner):
            (making / ADAPTER).mkdir()
            reader_file.write(learner.network, making / ADAPTER)
            where = _adapted(making)
        elif learner.method == "full":
            _write_model(learner, making)
            where = {"model": ".", "revision": "", "files": _digests(making), **_NO_ADAPTER}
        else:
            (making / ADAPTER).mkdir()
            if rank:
                write_adapter(change(learner), making / ADAPTER, rank)
            else:
                delta.write(change(learner), making / ADAPTER)
            where = _adapted(making)
        told = {**learner.profile.to_dict(), "name": name, "aliases": [], **where, **(facts or {})}
        (making / "profile.toml").write_text(to_toml(Profile.from_dict(told).to_dict()), "utf-8")
        least = _least_cosine(learner, making)
        if least < LEAST_COSINE:
            reason = "its files are not what was trained"
            if learner.method != "full" and rank:
                reason = f"a change of rank {rank} does not hold what was learned; use a higher --rank, or 0 for all"
            raise ModelDamaged(f"the saved model's vectors differ (cosine {least:.5f}): {reason}")
        sync(making)
    return least


def _adapted(folder: Path) -> dict[str, Any]:
    return {"query_adapter": ADAPTER, "document_adapter": ADAPTER, "adapter_files": _digests(folder / ADAPTER)}


def _write_model(learner: Learner, folder: Path) -> None:
    with _quiet():
        learner.model.save_pretrained(folder)
    for path in (path for pattern in _TOKENIZER for path in learner.folder.glob(pattern)):
        shutil.copyfile(path, folder / path.name)
    names = [name.replace("{dim}", str(learner.profile.dim)) for name in learner.profile.post]
    for name, layer in zip(names, learner.network.post, strict=True):
        if (learner.folder / name).is_dir():
            (folder / name).mkdir(parents=True)
            shutil.copyfile(learner.folder / name / "config.json", folder / name / "config.json")
            weights = {key: each.cpu().contiguous() for key, each in layer.state_dict().items()}
            save_file(weights, folder / name / "model.safetensors")


def _least_cosine(learner: Learner | ReaderLearner, folder: Path) -> float:
    found: Any = embed.load(str(folder), device="cpu")
    embedder: Any = found.part(instructed=True) if learner.profile.adapters_need_instruction else found
    embedder.precision = "float32"
    instructions = _INSTRUCTIONS if learner.profile.takes_instruction else ("",)
    roles: Sequence[Role] = ("query", "document")
    least = 1.0
    with torch.no_grad(), learner.exactly():
        for instruction, role in ((each, role) for each in instructions for role in roles):
            trained = learner([(instruction, text) for text in _SAMPLES], role).cpu().numpy()
            saved = embedder.encode(_SAMPLES, instruction, role)
            least = min(least, float(np.min((trained * saved).sum(1))))
    return least


def _digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in paths}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_toml(profile: dict[str, Any]) -> str:
    """Return plain data as TOML: strings, numbers, truths, lists of these, and one level of tables behind them."""
    lines = [f"{key} = {_value(value)}" for key, value in profile.items() if not isinstance(value, dict)]
    for key, table in profile.items():
        if isinstance(table, dict):
            lines += [f"\n[{key}]", *(f"{_value(name)} = {_value(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    # a JSON string is a TOML string, but for one character that TOML wants escaped
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
