"""The reader in training: its answers are learned over the states of a base model that stays as it is.

Knows a profile of kind `reader` and its network, and remembers what the base read; nothing of steps or files. Since the
base's part never changes, each text is read once in a run, and a step costs what the reader costs.
"""

import itertools
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from instructsearch.embed import Profile
from instructsearch.embed.backbone import load_backbone
from instructsearch.embed.encoder import choose_device
from instructsearch.embed.fused import fuse
from instructsearch.embed.profile import READER
from instructsearch.embed.reader import padded
from instructsearch.embed.reader_network import ERASED, GATES, HEARD, Read, ReaderNetwork, taken
from instructsearch.embed.tokens import Tokeniser
from instructsearch.embed.weights import locate
from instructsearch.errors import BadProfile
from instructsearch.records import Role
from instructsearch.train.contrast import objective, side_labels, sides
from instructsearch.train.erasure import erasing, fit
from instructsearch.train.examples import KEPT, Example, Examples, Pair
from instructsearch.train.hearing import Hearing
from instructsearch.train.settings import Settings
from instructsearch.train.whitening import excess

_SLICE = 4096  # padded tokens that the base reads at once
_DROPOUT = 0.5  # of facts; of an instruction it is a share of that
_SAMPLE = 4000  # examples whose texts tell how the base's states are spread
_ALONE = 0.5  # the answers' own loss beside the vectors', so that they cannot lean on the base
_NAMED = 0.5  # and that of finding each answer's label, which is learned sooner than which answers are alike
_SHARPNESS = 10.0  # of the cosines between answers and labels
_TOLD_APART = 0.5  # weight of finding instructions' tasks, without which each is only heard among its own kind
_SMOOTHED = 0.1
_FAINT = 0.02  # of the tasks' vectors to begin with
_KEPT = 4.0  # weight of staying at the base's vector
_QUIET = 0.3  # and of the answer's weight being nothing there
_BARELY = 0.1  # the same for retrieval, where an answer may add to what the base has
_HELD = 2.0
_MISTAKEN = 15.0  # weight of a kept task's instructions beside another's, whose answer outweighs what it is without

Known = dict[str, tuple[NDArray[np.float16], NDArray[np.float32]]]  # facts and the base's vector, by text


class ReaderLearner:
    """A reader whose every weight is trained; its states take some 10 kB of memory for each distinct text.

    `known` is what the base has read, by text; handed on to a learner of the same base and length, it spares that one
    the reading.

    Raises:
        BadProfile: the profile is of another kind.
    """

    kind = READER
    method = "full"
    rank = 0

    def __init__(
        self, profile: Profile, *, hidden: int = 1024, length: int = 0, seed: int = 0, device: str = "auto"
    ) -> None:
        if profile.kind != READER:
            raise BadProfile(f"{profile.name} is of kind {profile.kind!r}; here models of kind {READER!r} are trained")
        self.profile = profile
        self.device = choose_device(device)
        bare = profile.part(instructed=False)
        self.folder = locate(bare)
        self.length = min(length or bare.max_tokens, bare.max_tokens)
        backbone = load_backbone(bare, self.folder, "document")
        with torch.random.fork_rng():  # a run that is taken up again begins from the same weights
            torch.manual_seed(seed)
            self.network = ReaderNetwork(backbone, hidden, _DROPOUT).to(self.device)
        self.trained: dict[str, Tensor] = {
            name: each for name, each in self.network.named_parameters() if each.requires_grad
        }
        self._base: Any = (fuse(self.network.backbone, torch.float32) if self.device == "cpu" else None) or self.network
        self._tokeniser = Tokeniser(replace(bare, max_tokens=self.length), self.folder)
        self._labels: dict[str, dict[str, int]] = {}  # by task and label, the rows of `trained["labels"]`
        self.known: Known = {}
        self._instructions: dict[str, NDArray[np.float32]] = {}
        self._hearing = Hearing({})

    def train(self, mode: bool = True) -> None:
        """Turn dropout, of facts and of what is heard, on or off; the base is never trained."""
        self.network.train(mode)
        self.network.backbone.eval()

    def tasks(self, examples: Examples) -> Mapping[str, NDArray[np.int64]]:
        """Return the rows of each task, all of which can be learned, having looked at how the states are spread.

        Each label of a task gets a vector of its own, and each task one by which its instructions are known; they are
        trained beside the reader and not saved with it.
        """
        self._hearing = Hearing(
            {task: said for task, said in examples.instructions.items() if examples.kinds[task] != "pairs"}
        )
        self._listen(self._hearing.instructions)
        rows = itertools.count()
        self._labels = {
            task: {label: next(rows) for label in sorted(examples.labels[task])} for task in sorted(examples.labels)
        }
        total = sum(map(len, self._labels.values()))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.trained["labels"] = torch.randn(total, self.profile.dim, device=self.device).requires_grad_()
            askers = torch.randn(self._hearing.tasks, HEARD, device=self.device)
            self.trained["askers"] = (_FAINT * askers).requires_grad_()
        texts = self._spread(examples)
        self._read(texts)
        facts = torch.from_numpy(np.stack([self.known[text][0] for text in texts])).float()
        with torch.no_grad():
            self.network.center.copy_(facts.mean(0))
            self.network.scale.copy_(facts.std(0) + 1e-3)
        return examples.tasks

    def _spread(self, examples: Examples) -> list[str]:
        """Return texts of all examples alike, to look at how what is known of texts is spread."""
        some = np.linspace(0, len(examples) - 1, min(_SAMPLE, len(examples))).astype(int)
        return list(dict.fromkeys(examples[int(at)].query[1] for at in some))

    def finish(self, examples: Examples) -> None:
        """Learn what topics and searches are to be without, and which instructions they are, when all else is learned.

        Topics are without what texts lose with the words that some tasks keep them without, searches without what the
        base's vectors have in excess; both are linear maps of these. The tasks' instructions are told from all others
        by what is understood of them, by logistic regression. In steps, with all else, none of it is learned: what is
        heard but nearly does more harm than there is to gain.
        """
        self.train(mode=False)
        usual = self._based(self._spread(examples))
        with torch.no_grad():
            if changed := self._changed(examples):
                texts, less = zip(*(pair for pairs in changed.values() for pair in pairs), strict=True)
                down, up = erasing(self._based(texts) - self._based(less), usual, ERASED)
                self.network.down[: len(down)], self.network.up[:, : len(down)] = down, up
            if searches := {task for task, kind in examples.kinds.items() if kind == "search"}:
                self.network.excess.copy_(excess(usual))
        for gate, tasks in ((self.network.erase, set(changed)), (self.network.whiten, searches)):
            if tasks:
                self._tell(gate, tasks, examples)

    def _changed(self, examples: Examples) -> dict[str, list[tuple[str, str]]]:
        """Return the texts that tasks keep without some words, and what is left of them, by task."""
        changed: dict[str, list[tuple[str, str]]] = {}
        for task in sorted(task for task, kind in examples.kinds.items() if kind in KEPT):
            found = [examples[row] for row in examples.tasks[task].tolist()]
            if pairs := [(each.query[1], each.positive[1]) for each in found if each.query[1] != each.positive[1]]:
                changed[task] = pairs
        return changed

    def _tell(self, gate: nn.Linear, tasks: Container[str], examples: Examples) -> None:
        """Have a gate tell some tasks' instructions from all others."""
        said, wanted, shares = list[str](), list[float](), list[float]()
        for task in sorted(task for task, kind in examples.kinds.items() if kind != "pairs"):
            instructions = sorted(each for each in examples.instructions[task] if each)
            share = _MISTAKEN if examples.kinds[task] in KEPT else 1.0
            said += instructions
            wanted += [float(task in tasks)] * len(instructions)
            shares += [share / len(instructions) for _ in instructions]
        with torch.no_grad():
            understood = self.network.understand(self._heard(said))
        fit(gate, understood, *(torch.tensor(each, device=self.device) for each in (wanted, shares)))

    def backward(self, examples: Sequence[Example], settings: Settings) -> tuple[float, int]:
        """Add the gradients of one batch, all of one task; return its loss and how many texts it held."""
        texts = sides(examples)
        pairs = [pair for pair, _ in texts]
        vectors, answers, weights, base = self._answered(pairs)
        kind = examples[0].kind
        if kind in KEPT:
            loss = settings.keep_weight * (_KEPT * (1 - (vectors * base).sum(1)).mean() + _QUIET * weights.mean())
        else:
            loss = objective(examples, vectors, None, settings)
            if kind == "labels":
                loss = loss + _ALONE * objective(examples, answers, None, settings)
                loss = loss + _NAMED * self._named(examples, answers)
            elif all(each.positive[0] for each in examples):  # both sides under instructions: retrieval
                held = _HELD * (1 - (vectors * base).sum(1)).mean() + _BARELY * weights.mean()
                loss = loss + settings.keep_weight * held
        loss = loss + _TOLD_APART * self._told_apart()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), len(texts)

    def _told_apart(self) -> Tensor:
        """Return the cross-entropy of some instructions, of every task alike, with the tasks that say them."""
        if self._hearing.tasks < 2:
            return torch.zeros((), device=self.device)
        said, wanted = self._hearing.draw()
        logits = self.network.understand(self._heard(said)) @ self.trained["askers"].T
        return functional.cross_entropy(logits, wanted.to(self.device), label_smoothing=_SMOOTHED)

    def _named(self, examples: Sequence[Example], answers: Tensor) -> Tensor:
        """Return the cross-entropy of answers (n, d), in the order of `sides`, with their task's labels."""
        rows = self._labels[examples[0].task]
        places = {label: place for place, label in enumerate(rows)}
        wanted = [places[label] for label in side_labels(examples)]
        found = functional.normalize(self.trained["labels"][list(rows.values())], dim=1)
        return functional.cross_entropy(_SHARPNESS * answers @ found.T, torch.tensor(wanted, device=self.device))

    def __call__(self, pairs: Sequence[Pair], role: Role) -> Tensor:
        """Return unit rows (n, d), float32; where an instruction is empty, the base model's."""
        return self._answered(pairs)[0]

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Have vectors without dropout, of texts cut where the profile says: as they are to be saved."""
        before = self._tokeniser, self.known
        self._tokeniser, self.known = Tokeniser(self.profile.part(instructed=False), self.folder), {}
        self.train(mode=False)
        try:
            yield
        finally:
            self._tokeniser, self.known = before

    def _answered(self, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return vectors (n, d), answers (n, d), the answers' weights (n,) and the base's vectors (n, d)."""
        network = self.network
        texts = list(dict.fromkeys(text for _, text in pairs))
        said = list(dict.fromkeys(said for said, _ in pairs))
        places, numbers = ({each: at for at, each in enumerate(some)} for some in (texts, said))
        rows = torch.tensor([places[text] for _, text in pairs], device=self.device)
        which = torch.tensor([numbers[each] for each, _ in pairs], device=self.device)
        base = self._based(texts)
        facts = torch.from_numpy(np.stack([self.known[text][0] for text in texts])).to(self.device).float()
        asked = network.ask(self._heard(said))
        spoken = torch.tensor([bool(each) for each in said], device=self.device)
        gates = {name: getattr(asked, name) * spoken for name in GATES}
        asked = taken(asked._replace(**gates), which)
        units = network.units(Read(network.standard(facts, base), base))[rows]
        answers = network.answers(units, asked)
        return network.joined(base[rows], asked, answers), answers, asked.weight, base[rows]

    def _based(self, texts: Sequence[str]) -> Tensor:
        """Return the base's unit vectors (n, d) of texts."""
        self._read(list(dict.fromkeys(texts)))
        return torch.from_numpy(np.stack([self.known[text][1] for text in texts])).to(self.device)

    def _read(self, texts: Sequence[str]) -> None:
        new = [text for text in texts if text not in self.known]
        for some, states, used in self._states(new):
            facts, base = self.network.facts(states, used)
            for text, row, vector in zip(some, facts.cpu().numpy(), base.cpu().numpy(), strict=True):
                self.known[text] = row.astype(np.float16), vector

    def _heard(self, instructions: Sequence[str]) -> Tensor:
        """Return what is heard of instructions (rows, h), each listened to once in a run."""
        self._listen(instructions)
        return torch.from_numpy(np.stack([self._instructions[each] for each in instructions])).to(self.device)

    def _listen(self, instructions: Sequence[str]) -> None:
        new = [each for each in instructions if each not in self._instructions]
        for some, states, used in self._states(new):
            for each, row in zip(some, self.network.heard(states, used).cpu().numpy(), strict=True):
                self._instructions[each] = row

    def _states(self, texts: Sequence[str]) -> Iterator[tuple[list[str], list[Tensor], Tensor]]:
        """Yield texts of like length with the base's states of them and their attention masks."""
        tokens = self._tokeniser.tokenise([("", text) for text in texts], "document")
        order = sorted(range(len(texts)), key=lambda at: -len(tokens[at].ids))
        with torch.no_grad():
            while order:
                count = max(1, _SLICE // len(tokens[order[0]].ids))
                some, order = order[:count], order[count:]
                ids, used = (
                    torch.from_numpy(each).to(self.device)
                    for each in padded([tokens[at] for at in some], self._tokeniser.pad_id)
                )
                yield [texts[at] for at in some], self._base.through(ids, used), used
