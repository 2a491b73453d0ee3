"""The list of known models: what each is, takes and gives, and whether it is on this machine.

Knows profiles and where weights lie; loads none of them.
"""

from dataclasses import dataclass
from typing import Any

from instructsearch.embed.catalog import profiles
from instructsearch.embed.profile import Profile
from instructsearch.embed.weights import is_here


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One line of `instructsearch models`.

    `instructions` is what they reach: `queries and documents`, `queries`, `documents` or `none`. `dims` are the other
    dimensions that may be chosen by `name@dim`. `here` says whether the weights are on this machine; `refused` why the
    model cannot be reproduced, or nothing.
    """

    name: str
    description: str
    licence: str
    dim: int
    dims: tuple[int, ...]
    max_tokens: int
    instructions: str
    here: bool
    model: str
    refused: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the line as plain JSON-ready data."""
        return {
            "name": self.name,
            "description": self.description,
            "licence": self.licence,
            "dim": self.dim,
            "dims": list(self.dims),
            "max_tokens": self.max_tokens,
            "instructions": self.instructions,
            "here": self.here,
            "model": self.model,
            "refused": self.refused,
        }


def models() -> list[KnownModel]:
    """Return every built-in model, those whose weights are on this machine first."""
    lines = [_line(profile) for profile in profiles()]
    return sorted(lines, key=lambda line: not line.here)


def _line(profile: Profile) -> KnownModel:
    reached = " and ".join(
        name for name, heeds in (("queries", profile.heeds("query")), ("documents", profile.heeds("document"))) if heeds
    )
    return KnownModel(
        name=profile.name,
        description=profile.description,
        licence=profile.licence,
        dim=profile.dim,
        dims=tuple(sorted(set(profile.dims) - {profile.dim})),
        max_tokens=profile.max_tokens,
        instructions=reached or "none",
        here=not profile.refused and is_here(profile),
        model=profile.model,
        refused=profile.refused,
    )
