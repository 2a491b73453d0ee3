"""The training loop: step after step of one task each, with checkpoints and a log, on CPU or GPU alike.

Knows when a step is taken and when it is on the disk; nothing of what a batch asks for or how a model is saved.
"""

import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from instructsearch.embed import Profile
from instructsearch.embed.weights import digest
from instructsearch.errors import BadVector, ReadError, StorageError
from instructsearch.train import checkpoint
from instructsearch.train.batches import Batches
from instructsearch.train.examples import KEPT, Example, Examples
from instructsearch.train.settings import Settings

LOG = "log.jsonl"


class Trainee(Protocol):
    """A model in training: which of its weights are trained, what it can learn from, and one batch's gradients."""

    profile: Profile
    method: Any
    rank: int
    length: int

    @property
    def trained(self) -> Mapping[str, Tensor]:
        """The weights that are trained, by name."""

    def train(self, mode: bool = True) -> None:
        """Turn dropout on or off."""

    def tasks(self, examples: Examples) -> Mapping[str, NDArray[np.int64]]:
        """Return the rows of each task that can be learned."""

    def backward(self, examples: Sequence[Example], settings: Settings) -> tuple[float, int]:
        """Add the gradients of one batch, all of one task; return its loss and how many texts it held."""


@dataclass(frozen=True)
class Progress:
    """One line of the log: the step, its task and loss, the running loss, texts a second and the seconds left."""

    step: int
    steps: int
    task: str
    kind: str
    loss: float
    running: float
    rate: float
    texts_per_second: float
    eta: float


def train(
    learner: Trainee,
    examples: Examples,
    settings: Settings,
    folder: Path,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    save_seconds: float = 300.0,
    stop_seconds: float = math.inf,
) -> int:
    """Run the steps that a folder's checkpoints lack, and return the step reached.

    A checkpoint is written every `save_seconds`, at the end, and on an interruption. After `stop_seconds`, and
    one step at least, the run stops, to be taken up again by the same call.

    Raises:
        ReadError: a checkpoint is damaged, or of a run with other settings or data; or no task has a weight.
        BadVector: the loss is not finite; what was learned before is kept.
        StorageError: another process trains there.
        OSError: the disk is full or cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        return _train(learner, examples, settings, folder, progress, save_seconds, stop_seconds)


def _train(
    learner: Trainee,
    examples: Examples,
    settings: Settings,
    folder: Path,
    progress: Callable[[Progress], None],
    save_seconds: float,
    stop_seconds: float,
) -> int:
    batches = _batches(learner, examples, settings)  # first: what is trained may depend on the tasks
    weights = learner.trained
    optimiser = torch.optim.AdamW(weights.values(), lr=settings.rate, weight_decay=settings.decay)
    facts = _facts(learner, examples, settings)
    step = done = kept = checkpoint.restore(folder, weights, optimiser, facts)
    _rewind(folder / LOG, step)
    learner.train(settings.dropout)
    began = saved = time.monotonic()
    running, texts = math.nan, 0
    whole = True  # whether the weights are those of a step's end
    try:
        with (folder / LOG).open("a", encoding="utf-8") as log:
            while step < settings.steps and (step == done or time.monotonic() - began < stop_seconds):
                for group in optimiser.param_groups:
                    group["lr"] = settings.rate_at(step)
                torch.manual_seed(settings.seed * 1_000_003 + step)
                for number in range(step * settings.together, (step + 1) * settings.together):
                    task, rows = batches.step(number)
                    loss, count = learner.backward([examples[row] for row in rows.tolist()], settings)
                    texts += count
                norm = torch.nn.utils.clip_grad_norm_(weights.values(), settings.clip)
                if not (math.isfinite(loss) and math.isfinite(float(norm))):
                    raise BadVector(f"the loss of step {step + 1} ({task}) is not finite; try another --rate")
                whole = False
                optimiser.step()
                step += 1
                whole = True
                optimiser.zero_grad()
                running = loss if math.isnan(running) else 0.98 * running + 0.02 * loss
                spent = time.monotonic() - began
                eta = spent / (step - done) * (settings.steps - step)
                kind, rate = examples.kinds[task], settings.rate_at(step - 1)
                told = Progress(step, settings.steps, task, kind, loss, running, rate, texts / spent, eta)
                log.write(json.dumps(asdict(told)) + "\n")
                progress(told)
                if time.monotonic() - saved > save_seconds:
                    log.flush()
                    checkpoint.save(folder, step, weights, optimiser, facts)
                    saved, kept = time.monotonic(), step
    finally:
        if whole and step > kept:
            checkpoint.save(folder, step, weights, optimiser, facts)
        learner.train(mode=False)
    return step


def _batches(learner: Trainee, examples: Examples, settings: Settings) -> Batches:
    tasks = learner.tasks(examples)
    weights = {task: settings.weight(task) for task in tasks}
    # a kept example is one text where a labelled one is three
    sizes = {task: 3 * settings.batch for task in tasks if examples.kinds[task] in KEPT}
    fades = {task: settings.fade(task) for task in tasks}
    total = settings.steps * settings.together
    try:
        return Batches(tasks, settings.batch, settings.seed, settings.evenness, weights, sizes, fades, total)
    except ValueError as error:
        raise ReadError(str(examples.path), str(error)) from None


def _facts(learner: Trainee, examples: Examples, settings: Settings) -> dict[str, Any]:
    """Return all that a run must have in common with the checkpoint it goes on from."""
    facts = {**asdict(settings), "profile": learner.profile.fingerprint, "method": learner.method}
    if learner.method == "lora":
        facts["rank"] = learner.rank
    return {**facts, "length": learner.length, "data": digest(examples.path)}


def _rewind(log: Path, step: int) -> None:
    """Take from the log what came after the checkpoint that the run goes on from."""
    if not log.is_file():
        return
    lines = log.read_text("utf-8", "replace").splitlines()
    kept = [line for line in lines if (told := read_line(line)) and told["step"] <= step]
    if len(kept) < len(lines):
        temporary = log.with_name(f".{log.name}")
        temporary.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        temporary.replace(log)


def read_line(line: str) -> dict[str, Any] | None:
    """Return what a line of the log says; None where it was not written to its end."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) and {each.name for each in fields(Progress)} <= set(told) else None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, so that no two runs write into it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StorageError(f"another process trains in {folder}; wait for it, or give another folder") from None
    finally:
        os.close(descriptor)
