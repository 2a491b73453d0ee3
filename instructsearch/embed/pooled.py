"""What every pooled embedder does around its network: templates, duplicates, batches, order, the unit norm.

Knows tokens and arrays; nothing of the network that turns a batch into vectors, which a subclass brings.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from instructsearch.embed.batches import Batch, pad, plan
from instructsearch.embed.profile import Profile
from instructsearch.embed.protocol import FloatArray, pair, unit, warn_ignored
from instructsearch.embed.slabs import ahead
from instructsearch.embed.tokens import Tokeniser, Tokens
from instructsearch.records import Role

log = logging.getLogger("instructsearch.embed")


class Pooled:
    """An embedder whose vector is a weighted mean of token states; a subclass brings the network, as `_vectors`."""

    budget = 16_384  # padded tokens a batch

    def __init__(self, profile: Profile, folder: Path, device: str) -> None:
        self.profile = profile
        self.dim = profile.dim
        self.device = device
        self.folder = folder
        self._tokeniser = Tokeniser(profile, folder)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, which neither truncates nor pads."""
        return self._tokeniser.tokenizer

    def room(self, instruction: str = "", role: Role = "document") -> int:
        """Return the tokens left for a text under this instruction.

        Raises:
            TooLong: none is left.
        """
        return self._tokeniser.room(instruction, role)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text alone, without template and special tokens."""
        return self._tokeniser.count(texts)

    def encode(
        self,
        texts: Sequence[str],
        instruction: str | Sequence[str] = "",
        role: Role = "document",
        *,
        progress: Callable[[int], None] | None = None,
    ) -> FloatArray:
        """Return unit vectors, float32 (n, dim), of texts under one instruction or under one each.

        A text longer than its room is cut, which is logged once a call with the number cut; instructions never are.
        Equal pairs are embedded once. `progress` is told how many texts were finished since it was last called. Beside
        texts and vectors, memory holds the tokens of two slabs and one batch, however many texts there are.

        Raises:
            TooLong: an instruction leaves no room for any text.
            BadVector: the model's output is not finite, or zero.
        """
        pairs = pair(texts, instruction)
        result = np.empty((len(pairs), self.dim), np.float32)
        if not pairs:
            return result
        warn_ignored(self.profile, (each for each, _ in pairs), role)
        places: dict[tuple[str, str], list[int]] = {}
        for at, each in enumerate(pairs):
            # An instruction that never reaches the model does not tell two equal texts apart.
            places.setdefault(each if self.profile.heeds(role) else ("", each[1]), []).append(at)
        for instruction in dict.fromkeys(each for each, _ in places):
            self.room(instruction, role)  # refused before any work is done
        # By characters, of which more make more tokens: a slab's texts are alike, and the longest come first.
        unique = sorted(places, key=lambda each: (-len(each[0]) - len(each[1]), each))
        cut = total = 0
        for slab, tokens in ahead(lambda slab: self._tokeniser.tokenise(slab, role), unique):
            cut += sum(len(places[each]) for each, row in zip(slab, tokens, strict=True) if row.cut)
            lengths = [len(row.ids) for row in tokens]
            total = total or sum(lengths) * len(unique) // len(slab)
            for rows, vectors in self._vectors(self._batches(slab, tokens, lengths), total, role):
                vectors = unit(vectors[:, : self.dim], self.profile.name)
                finished = 0
                for row, vector in zip(rows, vectors, strict=True):
                    spots = places[slab[row]]
                    result[spots] = vector
                    finished += len(spots)
                if progress is not None:
                    progress(finished)
        if cut:
            log.warning(
                "%d of %d texts are longer than the window of %s (%d tokens) and were cut",
                *(cut, len(pairs), self.profile.name, self.profile.max_tokens),
            )
        return result

    def _batches(
        self, slab: Sequence[tuple[str, str]], tokens: Sequence[Tokens], lengths: Sequence[int]
    ) -> Iterator[Batch]:
        for rows in plan(lengths, slab, self.budget):
            yield pad(rows, tokens, self._tokeniser.weights, self._tokeniser.pad_id, self.profile.padding_side)

    def _vectors(
        self, batches: Iterable[Batch], tokens: int, role: Role
    ) -> Iterable[tuple[NDArray[np.intp], FloatArray]]:
        """Yield each batch's rows and their pooled vectors; `tokens` is about how many the call has in all."""
        raise NotImplementedError
