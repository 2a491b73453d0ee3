"""Embedders of kind `reader`: a text is read once, by the base model, and asked under any number of instructions.

Knows which texts are asked what, in which batches; the network that answers is a subclass's.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from instructsearch.embed.batches import Batch, pad, plan
from instructsearch.embed.profile import Profile
from instructsearch.embed.protocol import FloatArray, log, pair, unit
from instructsearch.embed.slabs import ahead
from instructsearch.embed.tokens import Tokeniser, Tokens
from instructsearch.errors import TooLong
from instructsearch.records import Role

Places = NDArray[np.intp]
LONGEST_INSTRUCTION = 256  # tokens; each takes part in every answer


class Reading:
    """What every reader does around its network: duplicates, tokens, batches, order, the unit norm.

    Texts and instructions are tokens of their own, so that an instruction takes no room from a text.
    """

    budget = 4096  # padded tokens a batch
    bulk = 16_384  # tokens a call from which queries are read as documents are

    def __init__(self, profile: Profile, folder: Path, device: str) -> None:
        self.profile = profile
        self.dim = profile.dim
        self.device = device
        self.folder = folder
        self._texts = Tokeniser(profile.part(instructed=False), folder)
        self._lock = threading.RLock()
        self._instructions: dict[str, Tokens] = {}

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, which neither truncates nor pads."""
        return self._texts.tokenizer

    def room(self, instruction: str = "", role: Role = "document") -> int:
        """Return the tokens left for a text, which an instruction does not change.

        Raises:
            TooLong: the instruction is longer than any that a reader takes.
        """
        self._instruction(instruction)
        return self._texts.room("", role)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text alone, without special tokens."""
        return self._texts.count(texts)

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
        Equal pairs are embedded once. `progress` is told how many texts were finished since it was last called.

        Raises:
            TooLong: an instruction is longer than any that a reader takes.
            BadVector: the model's output is not finite, or zero.
        """
        pairs = pair(texts, instruction)
        places: dict[tuple[str, str], list[int]] = {}
        for at, each in enumerate(pairs):
            places.setdefault(each, []).append(at)
        result = np.empty((len(pairs), self.dim), np.float32)
        for said, text, vector in self._vectors(list(places), role):
            spots = places[said, text]
            result[spots] = vector
            if progress is not None:
                progress(len(spots))
        return result

    def encode_many(
        self,
        texts: Sequence[str],
        instructions: Sequence[str],
        role: Role = "document",
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[FloatArray]:
        """Return what `encode` returns for each of the instructions, float32 (n, dim) each, reading each text once.

        Raises:
            TooLong, BadVector: as `encode`.
        """
        if isinstance(instructions, str):
            raise TypeError("instructions must be a sequence of strings; put the one instruction in a list")
        pair(texts, "")
        distinct = list(dict.fromkeys(instructions))
        said = [each for each in distinct for _ in texts]
        found = self.encode(list(texts) * len(distinct), said, role, progress=progress)
        parts = dict(zip(distinct, found.reshape(len(distinct), len(texts), self.dim), strict=True))
        return [np.ascontiguousarray(parts[each]) for each in instructions]

    def _vectors(self, pairs: Sequence[tuple[str, str]], role: Role) -> Iterator[tuple[str, str, FloatArray]]:
        """Yield instruction, text and unit vector of each pair, in an order of its own."""
        asked: dict[str, list[str]] = {}
        for said, text in pairs:
            asked.setdefault(text, []).append(said)
        said_first = {said: at for at, said in enumerate(dict.fromkeys(said for said, _ in pairs))}
        instructions = [self._instruction(said) for said in said_first]
        cut = total = 0
        # By characters, of which more make more tokens: a slab's texts are alike, and the longest come first.
        ordered = sorted(asked, key=lambda text: (-len(text), text))
        for texts, tokens in ahead(lambda some: self._texts.tokenise([("", text) for text in some], role), ordered):
            cut += sum(len(asked[text]) for text, row in zip(texts, tokens, strict=True) if row.cut)
            lengths = [len(row.ids) for row in tokens]
            total = total or sum(lengths) * len(asked) // len(texts)
            bulk = role == "document" or total >= self.bulk
            for rows in plan(lengths, texts, self.budget):
                batch = pad(rows, tokens, self._texts.weights, self._texts.pad_id)
                wanted = [(at, said) for at, row in enumerate(rows) for said in asked[texts[row]]]
                here = sorted({said_first[said] for _, said in wanted})
                number = {place: at for at, place in enumerate(here)}
                places = np.array([(at, number[said_first[said]]) for at, said in wanted], np.intp)
                found = self._answered(batch, [instructions[place] for place in here], places, bulk=bulk)
                for (at, said), vector in zip(wanted, unit(found[:, : self.dim], self.profile.name), strict=True):
                    yield said, texts[rows[at]], vector
        if cut:
            log.warning(
                "%d of %d texts are longer than the window of %s (%d tokens) and were cut",
                *(cut, len(pairs), self.profile.name, self.profile.max_tokens),
            )

    def _instruction(self, text: str) -> Tokens:
        with self._lock:
            if text not in self._instructions:
                [tokens] = self._texts.tokenise([("", text)], "document")
                if tokens.cut or len(tokens.ids) > LONGEST_INSTRUCTION:
                    raise TooLong(
                        f"the instruction is longer than the {min(LONGEST_INSTRUCTION, self.profile.max_tokens)} tokens"
                        f" that {self.profile.name} takes: {text[:80]!r}"
                    )
                if len(self._instructions) > 4096:  # such as one for each query of a long run
                    self._instructions.clear()
                self._instructions[text] = tokens
            return self._instructions[text]

    def _answered(self, batch: Batch, instructions: Sequence[Tokens], places: Places, *, bulk: bool) -> FloatArray:
        """Return a vector (p, width) for each of the places (p, 2): a row of the batch and one of the instructions.

        `bulk` says whether speed counts for more than the last digits.
        """
        raise NotImplementedError


def padded(tokens: Sequence[Tokens], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids and the attention mask, (rows, length) each, of rows of tokens."""
    length = max(len(row.ids) for row in tokens)
    ids = np.full((len(tokens), length), pad_id, np.int64)
    used = np.zeros((len(tokens), length), np.int64)
    for at, row in enumerate(tokens):
        ids[at, : len(row.ids)] = row.ids
        used[at, : len(row.ids)] = 1
    return ids, used
