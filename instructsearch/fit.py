"""Which model fits a view: found by name, compared by fingerprint, refused by name, never replaced in silence.

A collection stores its views' profiles, and a stranger may have made it. A built-in profile may be loaded; any other
model only when the user names it, now or once before on this account. Knows names and fingerprints, not weights.
"""

import json
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instructsearch import embed
from instructsearch.embed import Embedder, Profile
from instructsearch.errors import BadProfile, BadQuery, CollectionDamaged, ModelError, ViewMismatch
from instructsearch.search import BM25
from instructsearch.store import ViewRow, view_key

DEFAULT_EMBEDDER = "instruct-minilm"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Models:
    """The models of one collection, each found to fit, loaded when first asked for and then kept.

    `named` is the model the user names for views that were made with something else than a built-in profile.
    """

    def __init__(self, device: str = "auto", named: str | None = None) -> None:
        self.device = device
        self.named = named
        self._loaded: dict[tuple[str, bool], Embedder] = {}
        self._lock = threading.Lock()

    def of(self, row: ViewRow, *, queries: bool = False) -> Embedder:
        """Return the model that fits a view; `queries` asks for the light path that a query takes.

        Raises:
            ViewMismatch: none at hand fits.
            CollectionDamaged: the view's instruction or profile is not what it was made with.
        """
        profile = fitting(f"view {row.name!r}", row.profile, self.named)
        if view_key(profile.fingerprint, row.instruction) != row.key:
            raise CollectionDamaged(f"view {row.name!r} was altered; drop it and add it again, or run check")
        return self.load(profile, queries=queries)

    def load(self, profile: Profile, *, queries: bool = False) -> Embedder:
        """Return a model of a profile that is known to fit."""
        with self._lock:
            key = (profile.fingerprint, queries)
            if key not in self._loaded:
                self._loaded[key] = embed.load(profile, device=self.device, queries=queries)
            return self._loaded[key]


def new_view(
    profile: Profile,
    name: str,
    instruction: str,
    query_instruction: str | None,
    spec: str,
    *,
    truncate: bool = False,
) -> ViewRow:
    """Return the row of a view to be made; `query_instruction` None means the document-side one, or the model's own.

    Raises:
        BadQuery: the name is not one a view can have.
        BadIndex: the spec is not allowed.
    """
    if not NAME.fullmatch(name) or name == BM25:
        raise BadQuery(f"{name!r} cannot name a view: use letters, digits, '.', '_' and '-', and not {BM25!r}")
    if query_instruction is None:
        query_instruction = instruction or profile.query_instruction
    key = view_key(profile.fingerprint, instruction)
    facts = profile.to_dict()
    return ViewRow(name, key, facts, instruction, query_instruction, checked_spec(spec), profile.dim, truncate, False)


def checked_spec(spec: str) -> str:
    """Return the index spec if it is allowed.

    Raises:
        BadIndex: it is not.
    """
    from instructsearch.index import resolve

    resolve(spec, 1)
    return spec


def fitting(what: str, facts: Mapping[str, Any], named_now: str | None = None) -> Profile:
    """Return the profile at hand that gives the vectors of a stored one (`facts`), which serves `what`.

    Raises:
        ViewMismatch: the model named, built in, or named before is another one; or only the collection names it.
    """
    try:
        stored = Profile.from_dict(facts)
    except BadProfile as error:
        raise ViewMismatch(f"{what} cannot be used: {error}") from error
    before = stored.name if embed.built_in(stored.name) else named(stored.fingerprint)
    # a collection may mix models: what the user names is meant for the views that nothing else fits
    name = before if before and _gives(before) == stored.fingerprint else named_now or before
    if name is None:
        raise _unknown(what, stored)
    try:
        profile = embed.built_in(name) or embed.find(name)
    except ModelError as error:
        raise ViewMismatch(f"{what} needs the model {stored.name!r}, which is not here: {error}") from error
    if profile.fingerprint != stored.fingerprint:
        raise ViewMismatch(
            f"{what} was made with {stored.name!r} (profile {stored.fingerprint[:12]}), and {name!r} is another model"
            f" now (profile {profile.fingerprint[:12]}): its vectors do not fit; name the right one by --embedder, or"
            " drop the view and add it again"
        )
    if named_now:
        remember(profile.fingerprint, name)
    return profile


def called(what: str, facts: Mapping[str, Any], named_now: str | None = None) -> str:
    """Return by which name to find the model of a stored profile again, whether or not it has changed since.

    Raises:
        ViewMismatch: only the collection names it.
    """
    stored = Profile.from_dict(facts)
    name = named_now or (stored.name if embed.built_in(stored.name) else named(stored.fingerprint))
    if name is None:
        raise _unknown(what, stored)
    return name


def _unknown(what: str, stored: Profile) -> ViewMismatch:
    return ViewMismatch(
        f"{what} was made with {stored.name!r} ({stored.model or stored.kind}), which only the collection names;"
        f" opening a collection loads no model on its word: give --embedder {stored.name} if you trust it"
    )


def _gives(name: str) -> str | None:
    try:
        return (embed.built_in(name) or embed.find(name)).fingerprint
    except ModelError:
        return None


def state_folder() -> Path:
    """Return where this account's own notes are kept: `$XDG_STATE_HOME/instructsearch`, else below the home folder."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "instructsearch"


def remember(fingerprint: str, name: str) -> None:
    """Note that the user named this model. A disk that cannot be written only means being asked again."""
    known = _known()
    if known.get(fingerprint) == name:
        return
    folder = state_folder()
    temporary = folder / f"models.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_text(json.dumps({**known, fingerprint: name}, indent=1), encoding="utf-8")
        temporary.replace(folder / "models.json")
    except OSError:
        temporary.unlink(missing_ok=True)


def named(fingerprint: str) -> str | None:
    """Return the name under which the user gave the model of this fingerprint, or None if never."""
    return _known().get(fingerprint)


def _known() -> dict[str, str]:
    try:
        noted = json.loads((state_folder() / "models.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(noted, dict):
        return {}
    return {key: value for key, value in noted.items() if isinstance(value, str)}
