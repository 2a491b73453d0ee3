"""HashEmbedder: an embedder without a model, whose vectors anyone can compute; for tests, demonstrations and doctors.

Knows words and hashes. It knows no meaning: texts are near when they share words, most of all words of the instruction.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from instructsearch.embed.profile import Profile
from instructsearch.embed.protocol import FloatArray, pair, unit, warn_ignored
from instructsearch.errors import TooLong
from instructsearch.records import Role

log = logging.getLogger("instructsearch.embed")
EMPHASIS = 8.0
_TINT = 0.1
_PUNCTUATION = ".,;:!?()[]{}\"'`*_#<>"


class HashEmbedder:
    """A deterministic function of text and instruction, the same for both roles and on every machine.

    Each word is a fixed direction of +-1; a text is the sum of its words'. Words that the instruction names count
    `EMPHASIS` times, so that under "colour: red or blue?" the texts are near that share a colour; a slight tint sets
    any two instructions apart. Words are what stands between blanks, and beyond the window they are left out.
    """

    def __init__(self, profile: Profile, *, device: str = "auto") -> None:
        self.profile = profile
        self.dim = profile.dim
        self.device = "cpu"

    @property
    def tokenizer(self) -> None:
        """None: a token is a word between blanks."""

    def encode(
        self,
        texts: Sequence[str],
        instruction: str | Sequence[str] = "",
        role: Role = "document",
        *,
        progress: Callable[[int], None] | None = None,
    ) -> FloatArray:
        """Return unit vectors, float32 (n, dim); texts longer than the window are cut, which is logged.

        Raises:
            TooLong: an instruction leaves no room for any text.
        """
        pairs = pair(texts, instruction)
        warn_ignored(self.profile, (each for each, _ in pairs), role)
        result = np.empty((len(pairs), self.dim), np.float32)
        cut = 0
        for at, (each, text) in enumerate(pairs):
            words, room = text.split(), self.room(each, role)
            cut += len(words) > room
            result[at] = self._vector(words[:room], each)
        if cut:
            log.warning(
                "%d of %d texts are longer than the window of %s (%d tokens) and were cut",
                *(cut, len(pairs), self.profile.name, self.profile.max_tokens),
            )
        if progress is not None and pairs:
            progress(len(pairs))
        return unit(result, self.profile.name)

    def _vector(self, words: list[str], instruction: str) -> FloatArray:
        named = {_plain(word) for word in instruction.split()}
        counts = Counter(_plain(word) for word in words) or Counter([""])
        vector = sum(
            count * (EMPHASIS if word in named else 1.0) * self._direction(word) for word, count in counts.items()
        )
        if instruction:
            vector = vector + _TINT * np.linalg.norm(vector) / self.dim**0.5 * self._direction(f"\0{instruction}")
        return np.asarray(vector, np.float32)

    def _direction(self, word: str) -> FloatArray:
        digest = hashlib.shake_128(word.encode("utf-8", "surrogatepass")).digest(-(-self.dim // 8))
        bits = np.unpackbits(np.frombuffer(digest, np.uint8))[: self.dim]
        return bits.astype(np.float32) * 2 - 1

    def room(self, instruction: str = "", role: Role = "document") -> int:
        """Return the words left for a text under this instruction.

        Raises:
            TooLong: none is left.
        """
        left = self.profile.max_tokens - len(instruction.split())
        if left < 1:
            window = f"{self.profile.max_tokens} words of {self.profile.name}"
            raise TooLong(f"the instruction takes all {window} and leaves none for the text: {instruction[:80]!r}")
        return left

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of words of each text."""
        return [len(text.split()) for text in texts]


def _plain(word: str) -> str:
    return word.lower().strip(_PUNCTUATION)
