"""AnswerEmbedder: the instruction is a question about the text, and the state from which a model answers is the vector.

Knows which instructions can share the reading of a text; the network, the templates and the batches are others'.
After InBedder (Peng et al. 2024, "Answer is All You Need", arXiv 2402.09642).
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from instructsearch.embed.answer_branches import Branches, join, length
from instructsearch.embed.answer_network import AnswerNetwork
from instructsearch.embed.batches import pad, plan
from instructsearch.embed.encoder import Encoder, Precision
from instructsearch.embed.profile import Profile
from instructsearch.embed.protocol import FloatArray, pair, unit
from instructsearch.embed.tokens import Tokens
from instructsearch.records import Role

log = logging.getLogger("instructsearch.embed")
Progress = Callable[[int], None]
Tree = tuple[Tokens, ...]  # one text's prompts, one for each instruction
_TOLERANCE = 1e-4


class AnswerEmbedder(Encoder):
    """A language model that is asked about each text; which of its states are the vector is for the profile to say.

    Pooling `last` takes the state of the prompt's last token, from which a causal model begins its answer, and `mask`
    the mean over the mask tokens that end the template, where a masked model puts it; `layer` says how deep.
    """

    maker = AnswerNetwork
    spread = 512  # most tokens of a text's branches together: what they cost grows with the square

    def __init__(self, profile: Profile, *, device: str = "auto", precision: Precision = "auto") -> None:
        self._proven: dict[Role, bool] = {}
        super().__init__(profile, device=device, precision=precision)

    def encode_many(
        self,
        texts: Sequence[str],
        instructions: Sequence[str],
        role: Role = "document",
        *,
        progress: Progress | None = None,
    ) -> list[FloatArray]:
        """Return what `encode` returns for each of the instructions, float32 (n, dim) each, in less time.

        Where the template puts the text before the instruction and the model is causal, a text is read once for all
        of them. `progress` is told how many vectors were finished, equal instructions counting once.

        Raises:
            TooLong: an instruction leaves no room for any text.
            BadVector: the model's output is not finite, or zero.
        """
        if isinstance(instructions, str):
            raise TypeError("instructions must be a sequence of strings; put the one instruction in a list")
        pair(texts, "")
        pair(instructions, "")
        vectors: dict[str, FloatArray] = {}
        for group in self._groups(list(dict.fromkeys(instructions)), role):
            if texts and len(group) > 1 and self._proven.get(role, True):
                vectors |= zip(group, self._encode_together(texts, group, role, progress), strict=True)
            else:
                vectors |= {each: self.encode(texts, each, role, progress=progress) for each in group}
        return [vectors[each] for each in instructions]

    def _groups(self, instructions: Sequence[str], role: Role) -> list[list[str]]:
        """Return the instructions in groups that stand behind the same words, each small enough to branch."""
        around = {each: self.profile.around(each, role) for each in instructions}
        sizes = dict(zip(instructions, self.count([tail for _, tail in around.values()]), strict=True))
        groups: list[list[str]] = []
        for head in dict.fromkeys(head for head, _ in around.values()):
            left = 0
            for each in (each for each in instructions if around[each][0] == head):
                if sizes[each] > left:
                    groups.append([])
                    left = self.spread
                groups[-1].append(each)
                left -= sizes[each]
        return groups

    def _encode_together(
        self, texts: Sequence[str], group: Sequence[str], role: Role, progress: Progress | None
    ) -> Iterable[FloatArray]:
        places: dict[str, list[int]] = {}
        for at, text in enumerate(texts):
            places.setdefault(text, []).append(at)
        unique = list(places)
        prompts = (self._tokeniser.tokenise([(each, text) for text in unique], role) for each in group)
        trees: list[Tree] = list(zip(*prompts, strict=True))
        joined = [at for at, tree in enumerate(trees) if self._joins(tree, role)]
        if not joined or not self._branches([trees[at] for at in joined], role):
            return [self.encode(texts, each, role, progress=progress) for each in group]

        result = np.empty((len(group), len(texts), self.dim), np.float32)
        lengths = [length(trees[at]) for at in joined]
        batches = (
            join(np.asarray(joined)[rows], trees, self._tokeniser.weights, self._tokeniser.pad_id)
            for rows in plan(lengths, [unique[at] for at in joined], self.budget)
        )
        for found, vectors in self._branch_vectors(batches, self._dtype(sum(lengths), role), role):
            spots = [places[unique[row]] for row in found]
            for each, vector in zip(spots, vectors, strict=True):
                result[:, each] = vector[:, None]
            if progress is not None:
                progress(len(group) * sum(map(len, spots)))

        if apart := [at for row in sorted(set(range(len(unique))) - set(joined)) for at in places[unique[row]]]:
            instructions = [each for each in group for _ in apart]  # one call, so that what was cut is told once
            rest = self.encode([texts[at] for at in apart] * len(group), instructions, role, progress=progress)
            result[:, apart] = rest.reshape(len(group), len(apart), self.dim)
        return result

    def _joins(self, tree: Tree, role: Role) -> bool:
        """Say whether the prompts start alike: one that was cut keeps another part of the text than the next."""
        window = self._network_in(torch.float32, role).window
        return not any(prompt.cut or 0 < window < len(prompt.ids) for prompt in tree)

    def _branches(self, trees: Sequence[Tree], role: Role) -> bool:
        """Say whether branching gives the vectors of whole prompts; tried once, on the two smallest trees.

        It does not in a model that looks ahead, nor in one that takes neither a mask nor positions from outside.
        """
        if role not in self._proven:
            self._proven[role] = self._prove(sorted(trees, key=length)[:2], role)
        return self._proven[role]

    def _prove(self, trees: Sequence[Tree], role: Role) -> bool:
        prompts = [prompt for tree in trees for prompt in tree]
        weigh, pad_id, side = self._tokeniser.weights, self._tokeniser.pad_id, self.profile.padding_side
        whole = pad(np.arange(len(prompts)), prompts, weigh, pad_id, side)
        batch = join(np.arange(len(trees)), trees, weigh, pad_id)
        try:
            _, joined = next(self._branch_vectors([batch], torch.float32, role))
        except (TypeError, ValueError, RuntimeError) as error:  # what models say to arguments that they do not take
            log.info("%s reads a text anew for each instruction: %s", self.profile.name, error)
            return False
        with torch.inference_mode():
            apart = self._network_in(torch.float32, role)(*self._tensors(whole.ids, whole.attention, whole.weights))
        difference = float(np.abs(joined.reshape(-1, self.dim) - self._unit(apart)).max())
        if difference > _TOLERANCE:
            log.info("%s reads a text anew for each instruction: it looks ahead (%.1g)", self.profile.name, difference)
        return difference <= _TOLERANCE

    def _branch_vectors(
        self, batches: Iterable[Branches], dtype: torch.dtype, role: Role
    ) -> Iterator[tuple[NDArray[np.intp], FloatArray]]:
        """Yield each batch's rows and their unit vectors, (rows, k, dim)."""
        network = self._network_in(dtype, role)
        with torch.inference_mode():
            for batch in batches:
                found = network.branch(*self._tensors(batch.ids, batch.positions, batch.owners, batch.weights))
                yield batch.rows, self._unit(found.flatten(0, 1)).reshape(len(batch.rows), -1, self.dim)

    def _unit(self, vectors: torch.Tensor) -> FloatArray:
        return unit(vectors.cpu().numpy()[:, : self.dim], self.profile.name)

    def _tensors(self, *arrays: NDArray[np.int64] | NDArray[np.float32]) -> list[torch.Tensor]:
        return [torch.from_numpy(array).to(self.device) for array in arrays]

    def _network_in(self, dtype: torch.dtype, role: Role) -> AnswerNetwork:
        network = self.network(dtype, role)
        assert isinstance(network, AnswerNetwork)
        return network
