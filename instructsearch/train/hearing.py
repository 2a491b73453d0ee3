"""Which instructions are told from which: each belongs to the tasks that say it, and a batch of them is of many tasks.

Knows instructions and numbers of tasks; nothing of texts or of how an instruction is heard. A batch of texts is of one
task, and so never shows what sets "the mood, not the topic" apart from "the topic, not the mood"; this does.
"""

from collections.abc import Mapping, Set

import numpy as np
import torch
from torch import Tensor

_MOST = 600  # instructions of a task
_AT_ONCE = 96


class Hearing:
    """Instructions by task. `instructions` are all that are ever drawn, `tasks` is how many tasks say them.

    Of a task that says more than 600, so many are drawn once and for all, by a fixed seed.
    """

    def __init__(self, said: Mapping[str, Set[str]]) -> None:
        everything = {task: sorted(each for each in said[task] if each) for task in sorted(said)}
        askers: dict[str, list[int]] = {}
        found = [each for each in everything.values() if each]
        for number, some in enumerate(found):
            for instruction in some:
                askers.setdefault(instruction, []).append(number)
        random = np.random.default_rng(0)
        self._said = [
            [some[at] for at in random.choice(len(some), _MOST, replace=False)] if len(some) > _MOST else some
            for some in found
        ]
        self.tasks = len(found)
        self.instructions = sorted({instruction for some in self._said for instruction in some})
        self._askers = {instruction: askers[instruction] for instruction in self.instructions}

    def draw(self) -> tuple[list[str], Tensor]:
        """Return instructions, of every task as often, by torch's random numbers, and whose they are.

        The second is (instructions, tasks): rows sum to 1, in equal parts for the tasks that say an instruction.
        """
        tasks, places = torch.randint(self.tasks, (_AT_ONCE,)).tolist(), torch.rand(_AT_ONCE).tolist()
        some = [self._said[task][int(place * len(self._said[task]))] for task, place in zip(tasks, places, strict=True)]
        shares = torch.zeros(len(some), self.tasks)
        for row, instruction in enumerate(some):
            shares[row, self._askers[instruction]] = 1 / len(self._askers[instruction])
        return some, shares
