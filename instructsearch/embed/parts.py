"""An embedder of two parts: an adapted model for texts with an instruction, the bare one for those without.

Knows which text goes where; how each part embeds, and what is loaded for it, is the part's own. So a model that was
trained to follow instructions gives, without one, exactly the vectors of the model it was trained from.
"""

import threading
from collections.abc import Callable, Sequence

import numpy as np
from tokenizers import Tokenizer

from instructsearch.embed.profile import Profile
from instructsearch.embed.protocol import Embedder, FloatArray, pair
from instructsearch.embed.weights import adapter_folder, locate, verified
from instructsearch.records import Role


class Parts:
    """The embedder of a profile whose adapters need an instruction. A part is loaded when it is first asked.

    Raises:
        ModelNotFound: the model or an adapter is not on this machine.
        ModelDamaged: a file of them is not the one that the profile names.
    """

    def __init__(self, profile: Profile, load: Callable[[Profile], Embedder]) -> None:
        self.profile = profile
        self.dim = profile.dim
        folder = locate(profile)
        for adapter in {profile.query_adapter, profile.document_adapter} - {""}:
            verified(profile, adapter_folder(adapter, folder))
        self._load = load
        self._lock = threading.RLock()
        self._parts: dict[bool, Embedder] = {}

    @property
    def loaded(self) -> list[Embedder]:
        """The parts that were needed so far."""
        return list(self._parts.values())

    def part(self, *, instructed: bool) -> Embedder:
        """Return the embedder of texts with an instruction, or of those without."""
        with self._lock:
            if instructed not in self._parts:
                self._parts[instructed] = self._load(self.profile.part(instructed=instructed))
            return self._parts[instructed]

    def _any(self) -> Embedder:
        return next(iter(self._parts.values()), None) or self.part(instructed=False)

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._any().device

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The model's tokenizer, which both parts share."""
        return self._any().tokenizer

    def room(self, instruction: str = "", role: Role = "document") -> int:
        """Return the tokens left for a text under this instruction; TooLong if none is left."""
        return self.part(instructed=bool(instruction)).room(instruction, role)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text alone."""
        return self._any().count(texts)

    def encode(
        self,
        texts: Sequence[str],
        instruction: str | Sequence[str] = "",
        role: Role = "document",
        *,
        progress: Callable[[int], None] | None = None,
    ) -> FloatArray:
        """Return unit vectors, float32 (n, dim), each by the part that its instruction, or the lack of one, names.

        Raises:
            TooLong: an instruction leaves no room for any text.
            BadVector: a model's output is not finite, or zero.
        """
        pairs = pair(texts, instruction)
        result = np.empty((len(pairs), self.dim), np.float32)
        for instructed in (False, True):
            rows = [row for row, (each, _) in enumerate(pairs) if bool(each) == instructed]
            if rows:
                some = [pairs[row][1] for row in rows]
                under = [pairs[row][0] for row in rows]
                result[rows] = self.part(instructed=instructed).encode(some, under, role, progress=progress)
        return result
