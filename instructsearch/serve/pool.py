"""Pool: the models of a service, each loaded once for all collections, with concurrent texts in one forward pass.

Callers name models; only those that the operator named, and built-in ones whose weights are here, are offered: no path
and no hub id that a caller makes up is looked at. Knows models and lanes, not collections or HTTP.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from instructsearch import embed, plugins, rerank
from instructsearch.embed import Embedder, Profile
from instructsearch.embed.protocol import FloatArray, pair
from instructsearch.errors import BadProfile, ModelError, NotOffered, TooMuch
from instructsearch.fit import Models, remember
from instructsearch.records import Role
from instructsearch.rerank import Loaded, Reranker, RerankProfile
from instructsearch.rerank.evidence import Evidence
from instructsearch.rerank.protocol import ListReranker
from instructsearch.serve.batching import Lane

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from instructsearch.embed.listing import KnownModel

_Asked = tuple[Role, str, str]  # role, instruction, text


@dataclass(frozen=True, slots=True)
class Sharing:
    """How callers share batches; `expected` and `observe` as for a `Lane`, `observe` with the lane's name first."""

    batch: int = 64
    patience: float = 0.003
    expected: Callable[[], int] = lambda: 1
    observe: Callable[[str, int], None] = lambda name, size: None

    def lane(self, name: str, run: Callable[[Sequence[Any]], Sequence[Any]], most: int | None = None) -> Lane[Any, Any]:
        """Return a lane of this kind; `most` where it is not the usual number."""
        return Lane(
            run,
            most=most or self.batch,
            patience=self.patience,
            expected=self.expected,
            observe=lambda size: self.observe(name, size),
        )


class Shared:
    """An embedder whose callers share forward passes, whatever their instructions; its vectors are the same."""

    def __init__(self, embedder: Embedder, sharing: Sharing) -> None:
        self._embedder = embedder
        self._lane: Lane[_Asked, FloatArray] = sharing.lane("embed", self._passed)
        self.profile = embedder.profile
        self.dim = embedder.dim

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._embedder.device

    @property
    def tokenizer(self) -> "Tokenizer | None":
        """The model's tokenizer, or None."""
        return self._embedder.tokenizer

    def encode(
        self,
        texts: Sequence[str],
        instruction: str | Sequence[str] = "",
        role: Role = "document",
        *,
        progress: Callable[[int], None] | None = None,
    ) -> FloatArray:
        """Return float32 (n, dim), as the embedder does."""
        rows = self._lane.ask([(role, each, text) for each, text in pair(texts, instruction)])
        if progress is not None:
            progress(len(rows))
        return np.stack(rows) if rows else np.empty((0, self.dim), np.float32)

    def _passed(self, asked: Sequence[_Asked]) -> Sequence[FloatArray]:
        found: dict[_Asked, FloatArray] = {}
        for role in dict.fromkeys(role for role, _, _ in asked):
            some = list(dict.fromkeys(one for one in asked if one[0] == role))
            vectors = self._embedder.encode([text for _, _, text in some], [each for _, each, _ in some], role)
            found.update(zip(some, vectors, strict=True))
        return [found[one] for one in asked]

    def room(self, instruction: str = "", role: Role = "document") -> int:
        """Return the tokens left for a text under this instruction; TooLong if none is left."""
        return self._embedder.room(instruction, role)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text alone."""
        return self._embedder.count(texts)


class InTurn:
    """A reranker that works for one caller at a time: its threads are all the processor has."""

    def __init__(self, reranker: Reranker, sharing: Sharing) -> None:
        self._reranker = reranker
        self._lane: Lane[tuple[str, str, Sequence[str]], list[float]] = sharing.lane("rerank", self._scored, most=1)
        self.name = reranker.name
        self.takes_instruction = reranker.takes_instruction

    def score(self, query: str, instruction: str, texts: Sequence[str]) -> list[float]:
        """Return one finite score a text, in their order."""
        return self._lane.ask([(query, instruction, texts)])[0]

    def _scored(self, asked: Sequence[tuple[str, str, Sequence[str]]]) -> list[list[float]]:
        return [self._reranker.score(*one) for one in asked]


class ListInTurn(InTurn):
    """A reranker of lists, whose weighing of evidence takes no model's pass and so no turn."""

    def __init__(self, reranker: ListReranker, sharing: Sharing) -> None:
        super().__init__(reranker, sharing)
        self._listing = reranker

    def score_listed(self, query: str, instruction: str, texts: Sequence[str], evidence: Evidence) -> list[float]:
        """Return one finite score a text, in their order."""
        return self._listing.score_listed(query, instruction, texts, evidence)


class Pool:
    """The loaded models of one service. Safe to use from many threads."""

    def __init__(self, device: str, named: Sequence[str], sharing: Sharing, *, most: int) -> None:
        """Find the models that the operator names.

        Raises:
            ModelError: one is not there, or does not say how to embed with it.
        """
        self.device = device
        self.sharing = sharing
        self._most = most
        self._loaded: dict[tuple[str, bool], Embedder] = {}
        self._loading: dict[tuple[str, bool], threading.Lock] = {}
        self._lock = threading.Lock()
        self._named: dict[str, Profile] = {}
        self._words: dict[str, str] = {}  # what a caller says -> what the operator said
        for name in named:
            profile = embed.find(name)
            remember(profile.fingerprint, name)
            self._named[public(name)] = profile
            self._words[public(name)] = name
        self.rerankers = _Rerankers(device, sharing)

    def load(self, profile: Profile, *, queries: bool) -> Embedder:
        """Return the one instance of a model. Errors as for `embed.load`.

        Raises:
            TooMuch: so many models are loaded already.
        """
        key = (profile.fingerprint, queries)
        with self._lock:
            if key in self._loaded:
                return self._loaded[key]
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:  # and nobody waits here who asks for another model
            with self._lock:
                if key in self._loaded:
                    return self._loaded[key]
                if len({one for one, _ in self._loaded} - {key[0]}) >= self._most:
                    raise TooMuch(f"this service keeps {self._most} models loaded, and has so many already")
            model = embed.load(profile, device=self.device, queries=queries)
            with self._lock:
                self._loaded[key] = Shared(model, self.sharing) if queries else model
                return self._loaded[key]

    def profile(self, name: str) -> Profile:
        """Return the profile of an offered model, also as `NAME@DIM`.

        Raises:
            NotOffered: it is not one of those that this service offers.
        """
        if name in self._named:
            return self._named[name]
        base, _, dim = name.rpartition("@")
        if base in self._named and dim.isdecimal():
            return self._named[base].at(int(dim))
        try:
            found = embed.built_in(name)
        except BadProfile as error:
            raise NotOffered(str(error)) from error
        if found is None or found.refused:
            raise NotOffered(f"no model {name[:100]!r} is offered here; the list of models has those that are")
        return found

    def word(self, name: str) -> str:
        """Return how the library is told of an offered model. Errors as for `profile`."""
        base, at, dim = name.rpartition("@")
        if base in self._words and dim.isdecimal():
            return f"{self._words[base]}{at}{dim}"
        return self._words.get(name) or self.profile(name).name

    def offered(self) -> "list[tuple[str, Profile]]":
        """Return the names and profiles of the models at hand, the operator's first."""
        here: list[KnownModel] = [each for each in embed.models() if each.here]
        built_in = {each.name: embed.built_in(each.name) for each in here}
        known = {**self._named, **{name: profile for name, profile in built_in.items() if profile is not None}}
        return list(known.items())

    def reranker(self, name: str | bool | None) -> str | None:
        """Return the reranker that a caller means, None for none; true means the default one.

        Raises:
            NotOffered: it is not one of those that this service offers.
        """
        if name is None or name is False:
            return None
        if name is True:
            return rerank.DEFAULT
        kind, _, embedder = name.partition(":")
        if kind == "late" and embedder:
            return f"late:{self.word(embedder)}"
        installed = {each.name for each in plugins.available("rerankers") if each.distribution != "built in"}
        if rerank.built_in(name) is None and name not in installed:
            known = ", ".join(each.name for each in rerank.profiles())
            raise NotOffered(f"no reranker {name[:100]!r} is offered here; known: {known}")
        return name


class _Rerankers(Loaded):
    """The rerankers of a service, each for one caller at a time."""

    def __init__(self, device: str, sharing: Sharing) -> None:
        super().__init__(device)
        self._sharing = sharing
        self._in_turn: dict[int, InTurn] = {}

    def of(self, name: str) -> tuple[RerankProfile, Reranker]:
        """Return a reranker and its profile. Errors as for `rerank.load`."""
        profile, reranker = super().of(name)
        made = InTurn(reranker, self._sharing)
        if isinstance(reranker, ListReranker):
            made = ListInTurn(reranker, self._sharing)
        return profile, self._in_turn.setdefault(id(reranker), made)


class PooledModels(Models):
    """The models of one collection, out of the pool."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool.device)
        self._pool = pool

    def load(self, profile: Profile, *, queries: bool = False) -> Embedder:
        """Return a model of a profile that is known to fit."""
        return self._pool.load(profile, queries=queries)


def public(name: str) -> str:
    """Return a model's name without the folders of this machine that it may be known by."""
    base = name.partition("=")[0] if "=" in name else name
    try:
        known = embed.built_in(base)
    except ModelError:
        known = None
    if known is not None or (base.count("/") <= 1 and not base.startswith((".", "/", "~"))):
        return base
    path = PurePath(base)
    return path.parent.name if path.name == "profile.toml" else path.stem if path.suffix == ".toml" else path.name
