"""Which examples make up which step: all of one task, chosen by the seed and the step's number alone.

Knows numbers of rows, not what is in them. Since a step does not depend on those before it, a run that was broken off
goes on as if it had not been. Source of task-homogeneous batches: INSTRUCTOR, section 2.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batches:
    """Batches of `size` examples. A task is drawn in proportion to its rows to the power `evenness`, times its weight.

    `weights` and `sizes` are by task; 1 and `size` where a task is not among them. `fades` are what a task's weight is
    multiplied by after `total` batches, and in equal parts on the way there: a small task is learned by heart long
    before a large one is learned.

    Raises:
        ValueError: there is no task, or all weights are 0.
    """

    tasks: Mapping[str, NDArray[np.int64]]
    size: int
    seed: int = 0
    evenness: float = 0.5
    weights: Mapping[str, float] | None = None
    sizes: Mapping[str, int] | None = None
    fades: Mapping[str, float] | None = None
    total: int = 1

    def __post_init__(self) -> None:
        if not any(self._share(name) > 0 for name in self.tasks):
            raise ValueError("no task is left to train on: all weights are 0")

    def step(self, number: int) -> tuple[str, NDArray[np.int64]]:
        """Return the task of a step and its rows, each at most once."""
        random = np.random.default_rng([self.seed, number])
        names = sorted(self.tasks)
        shares = np.array([self._share(name, number) for name in names])
        task = names[random.choice(len(names), p=shares / shares.sum())]
        rows = self.tasks[task]
        size = self.size if self.sizes is None else self.sizes.get(task, self.size)
        return task, random.choice(rows, min(size, len(rows)), replace=False)

    def _share(self, name: str, number: int = 0) -> float:
        weight = 1.0 if self.weights is None else self.weights.get(name, 1.0)
        fade = 1.0 if self.fades is None else self.fades.get(name, 1.0)
        left = 1 + (fade - 1) * min(1.0, number / self.total)
        return float(weight * left * len(self.tasks[name]) ** self.evenness)
