"""Training to answer: a language model learns the short answer to a question about a text, token by token.

Knows prompts, answers and the loss on the answers' tokens; the loop, the vectors and the files are others'. After
InBedder (Peng et al. 2024, arXiv 2402.09642): the state from which a model answers is the vector, and this makes it so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from instructsearch.embed import Profile
from instructsearch.embed.batches import plan
from instructsearch.embed.tokens import Tokeniser, Tokens
from instructsearch.errors import BadProfile, ReadError
from instructsearch.train.examples import Example, Examples
from instructsearch.train.language_model import LanguageModel
from instructsearch.train.learner import Learner, refuse_long
from instructsearch.train.loss import answer_tokens
from instructsearch.train.settings import Settings

LONGEST = 16  # tokens of an answer behind a prompt
BUDGET = 2048  # padded tokens at once; each has a logit for every word of the vocabulary
_NONE = -100


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt with its answer: token ids, and what is to be predicted at each, -100 for nothing; both (length,)."""

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]


class AnswerLearner(Learner):
    """A profile of kind `answer` in training. Of the examples it takes those that are answers: pairs whose positive has
    no instruction, the query's instruction being the question.

    A causal model learns the answer behind the prompt, and that it ends there. A masked one learns as much of it as the
    template has mask tokens, in their place: were there as many of them as the answer has tokens, their number would
    tell it, and a text would not have to be read.

    Raises:
        BadProfile: the profile is not of this kind, or leaves no room for an answer.
        ModelDamaged: the model's folder lacks the head that predicts tokens.
    """

    kind = "answer"
    network: LanguageModel

    def _network(self, profile: Profile, folder: Path) -> nn.Module:
        network = LanguageModel(profile, folder)
        room = self.length if network.masked else self.length - LONGEST
        if room < 1:
            raise BadProfile(f"{profile.name}: {self.length} tokens leave no room for an answer of {LONGEST}")
        self._prompts = Tokeniser(replace(profile, max_tokens=room), folder)
        return network

    @property
    def model(self) -> Any:
        """The language model with its head, as it is saved when all of it was trained."""
        return self.network.model

    def tasks(self, examples: Examples) -> Mapping[str, NDArray[np.int64]]:
        """Return the rows of each task whose positives are answers.

        Raises:
            ReadError: there is no such task.
            TooLong: a question leaves no room for a text.
        """
        if not examples.answering:
            raise ReadError(str(examples.path), "has no answers to learn: pairs whose pos has an empty instruction")
        refuse_long(self._prompts, set().union(*(examples.instructions[task] for task in examples.answering)))
        return {task: rows for task, rows in examples.tasks.items() if task in examples.answering}

    def backward(self, examples: Sequence[Example], settings: Settings) -> tuple[float, int]:
        """Add the gradients of the mean cross entropy over all answers' tokens; return it and the number of texts."""
        rows = self.asked(examples)
        total = sum(int((row.targets != _NONE).sum()) for row in rows)
        value = 0.0
        for some in plan([len(row.ids) for row in rows], range(len(rows)), BUDGET):
            batch = [rows[at] for at in some]
            share = sum(int((row.targets != _NONE).sum()) for row in batch) / max(1, total)
            if share:
                value += self._add(batch, share)
        return value, len(examples)

    def _add(self, rows: Sequence[Asked], share: float) -> float:
        length = max(len(row.ids) for row in rows)
        ids, targets = (torch.full((len(rows), length), each) for each in (self.tokeniser.pad_id, _NONE))
        attention = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row.ids)] = torch.from_numpy(row.ids)
            targets[at, : len(row.ids)] = torch.from_numpy(row.targets)
            attention[at, : len(row.ids)] = 1
        with self.precision():
            logits = self.network.logits(ids.to(self.device), attention.to(self.device))
        loss = share * answer_tokens(logits, targets.to(self.device))
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def asked(self, examples: Sequence[Example]) -> list[Asked]:
        """Return each example's prompt, as embed-by-answer asks it, with its answer and what is to be predicted."""
        prompts = self._prompts.tokenise([each.query for each in examples], "document")
        encoded = [self._prompts.tokenizer.encode(each.positive[1], add_special_tokens=False).ids for each in examples]
        answers = [np.asarray(ids, np.int64) for ids in encoded]
        place = _in_place if self.network.masked else _behind
        return [place(prompt, answer, self._prompts) for prompt, answer in zip(prompts, answers, strict=True)]


def _behind(prompt: Tokens, answer: NDArray[np.int64], tokeniser: Tokeniser) -> Asked:
    """Return prompt, answer and the token that ends it, if there is one; each is predicted from the token before it."""
    end = [] if tokeniser.eos_id is None else [tokeniser.eos_id]
    wanted = np.append(answer, end).astype(np.int64) if 0 < len(answer) < LONGEST else answer[:LONGEST]
    ids = np.concatenate([prompt.ids, wanted[:-1]]).astype(np.int64)
    targets = np.full(len(ids), _NONE)
    targets[len(ids) - len(wanted) :] = wanted
    return Asked(ids, targets)


def _in_place(prompt: Tokens, answer: NDArray[np.int64], tokeniser: Tokeniser) -> Asked:
    """Return the prompt, whose last run of mask tokens is to begin with the answer."""
    masks = np.flatnonzero(prompt.ids == tokeniser.mask_id)
    if not len(masks):
        raise BadProfile(f"{tokeniser.profile.name}: mask pooling, but the template holds no mask token")
    last = int(masks[-1])
    first = last - int(np.argmin(np.append(prompt.ids[last::-1] == tokeniser.mask_id, False))) + 1
    targets = np.full(len(prompt.ids), _NONE)
    some = answer[: last + 1 - first]
    targets[first : first + len(some)] = some
    return Asked(prompt.ids.astype(np.int64), targets)
