"""What every embedder promises, and the parts of that promise that all of them keep in the same way.

Knows texts and arrays only: no tokenizer, no model, no device.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from instructsearch.embed.profile import Profile
from instructsearch.errors import BadVector
from instructsearch.records import Role

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FloatArray = NDArray[np.float32]
log = logging.getLogger("instructsearch.embed")
_warned: set[tuple[str, Role, str]] = set()


@runtime_checkable
class Embedder(Protocol):
    """Texts to unit vectors under an instruction and a role.

    `device` is the one that answers; `tokenizer` is what the chunker measures with, None where a
    token is a word between blanks. Implementations are made by `cls(profile, device=...)`.
    """

    profile: Profile
    dim: int

    @property
    def device(self) -> str:
        """Where it runs: `cpu` or `cuda:N`."""

    @property
    def tokenizer(self) -> "Tokenizer | None":
        """The model's tokenizer, or None."""

    def encode(
        self,
        texts: Sequence[str],
        instruction: str | Sequence[str] = "",
        role: Role = "document",
        *,
        progress: Callable[[int], None] | None = None,
    ) -> FloatArray:
        """Return float32 (n, dim), C-contiguous, unit rows; `progress` hears of texts finished since its last call."""

    def room(self, instruction: str = "", role: Role = "document") -> int:
        """Return the tokens left for a text under this instruction; TooLong if none is left."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text alone."""


def encode_many(
    embedder: Embedder,
    texts: Sequence[str],
    instructions: Sequence[str],
    role: Role = "document",
    *,
    progress: Callable[[int], None] | None = None,
) -> list[FloatArray]:
    """Return the vectors of the same texts under each instruction, (n, dim) each.

    An embedder that can read a text once for all of them has an `encode_many` of its own.
    """
    many = getattr(embedder, "encode_many", None)
    if many is not None and len(instructions) > 1:
        shared: list[FloatArray] = many(texts, instructions, role, progress=progress)
        return shared
    return [embedder.encode(texts, each, role, progress=progress) for each in instructions]


def pair(texts: Sequence[str], instruction: str | Sequence[str]) -> list[tuple[str, str]]:
    """Return (instruction, text) for each text.

    Raises:
        TypeError: `texts` is a single string, or holds something else than strings.
        ValueError: there are not as many instructions as texts.
    """
    if isinstance(texts, str):
        raise TypeError("texts must be a sequence of strings; put the one text in a list")
    instructions = [instruction] * len(texts) if isinstance(instruction, str) else list(instruction)
    if len(instructions) != len(texts):
        raise ValueError(f"{len(instructions)} instructions for {len(texts)} texts; give one, or one for each")
    for each in (*texts, *instructions):
        _check_string(each)
    return list(zip(instructions, texts, strict=True))


def _check_string(value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"texts and instructions must be strings, not {type(value).__name__}")


def unit(vectors: FloatArray, name: str) -> FloatArray:
    """Return the rows scaled to unit length, float32 and C-contiguous.

    Raises:
        BadVector: a row holds NaN or infinity, or is zero.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = int((~(np.isfinite(norms) & (norms > 0))).sum())
    if bad:
        raise BadVector(f"{bad} of {len(vectors)} vectors of {name} are not finite or are zero; its weights are broken")
    return np.ascontiguousarray(vectors / norms, np.float32)


def warn_ignored(profile: Profile, instructions: Iterable[str], role: Role) -> None:
    """Log, once a process for each, the instructions that this profile does not pass on to the model."""
    if profile.heeds(role):
        return
    for instruction in sorted(set(instructions)):
        if instruction and (profile.fingerprint, role, instruction) not in _warned:
            _warned.add((profile.fingerprint, role, instruction))
            where = f" for a {role}" if profile.takes_instruction else ""
            log.warning("%s ignores instructions%s: %r changes nothing", profile.name, where, instruction)
