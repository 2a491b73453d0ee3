"""What a training run does: how many steps of what size, at which rate, on what share of the tasks.

Knows numbers and their bounds; nothing of models or data.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

BY_TASK = {"weights": "weight", "fades": "fade"}  # settings by the beginnings of tasks' names
_POSITIVE = frozenset({"steps", "batch", "together", "slice", "rate", "temperature", "keep_temperature"})


@dataclass(frozen=True)
class Settings:
    """What a run does. `batch` is in examples, of which a kind `labels` one is up to three texts; `together` are the
    batches, each of one task, whose gradients make up a step; `slice` are the texts
    held in memory at once; `weights` share out steps by the beginnings of tasks' names, and `fades` are what these
    weights are multiplied by at the end, and in equal parts on the way there.

    Raises:
        ValueError: a setting is of the wrong type or out of bounds; the message names it.
    """

    steps: int = 1000
    batch: int = 32
    together: int = 1
    slice: int = 256
    rate: float = 1e-4
    warmup: float = 0.06
    decay: float = 0.01
    clip: float = 1.0
    temperature: float = 0.05
    keep_temperature: float = 0.05
    keep_weight: float = 1.0
    evenness: float = 0.5
    seed: int = 0
    dropout: bool = False
    weights: tuple[tuple[str, float], ...] = ()
    fades: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in BY_TASK:
                for start, weight in value:
                    _check(f"the {BY_TASK[each.name]} of {start!r}", weight, 0.0)
            else:
                _check(each.name, value, each.default, positive=each.name in _POSITIVE)

    def weight(self, task: str) -> float:
        """Return the weight of a task: that of the longest beginning of its name, or 1."""
        return _longest(self.weights, task)

    def fade(self, task: str) -> float:
        """Return what a task's weight is multiplied by at the end, found as its weight is."""
        return _longest(self.fades, task)

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step: a linear rise, then a linear fall to a twentieth."""
        rise = max(1, math.ceil(self.warmup * self.steps))
        if step < rise:
            return self.rate * (step + 1) / rise
        return self.rate * max(0.05, (self.steps - step) / max(1, self.steps - rise))


def _longest(values: tuple[tuple[str, float], ...], task: str) -> float:
    fitting = [(len(start), value) for start, value in values if task.startswith(start)]
    return max(fitting)[1] if fitting else 1.0


def _check(name: str, value: Any, sample: Any, *, positive: bool = False) -> None:
    wanted = int | float if isinstance(sample, float) else type(sample)
    if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(sample, bool):
        raise ValueError(f"{name} must be {'a number' if isinstance(sample, float) else type(sample).__name__}")
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"{name} must be {'above 0' if positive else '0 or more'}, not {value}")
