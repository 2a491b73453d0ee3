"""Names to objects: embedder kinds, readers and rerankers, built in, registered or installed by others.

Imports only what is asked for by name, so that a machine full of plugins starts as fast as a bare one. Knows names,
not what stands behind them.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from instructsearch.errors import UnknownPlugin

BUILT_IN: dict[str, dict[str, str]] = {
    "embedders": {
        "answer": "instructsearch.embed.answer:AnswerEmbedder",
        "encoder": "instructsearch.embed.encoder:Encoder",
        "hash": "instructsearch.embed.hashed:HashEmbedder",
        "reader": "instructsearch.embed.reader_encoder:ReaderEncoder",
    },
    "readers": {},
    "rerankers": {
        "causal": "instructsearch.rerank.verdict:CausalVerdict",
        "cross": "instructsearch.rerank.cross:CrossEncoder",
        "late": "instructsearch.rerank.late:LateInteraction",
        "ltr": "instructsearch.rerank.ltr:LinearRanker",
        "overlap": "instructsearch.rerank.overlap:OverlapReranker",
        "seq2seq": "instructsearch.rerank.verdict:Seq2SeqVerdict",
    },
}
_registered: dict[tuple[str, str], Any] = {}


@dataclass(frozen=True, slots=True)
class Plugin:
    """Where a name comes from: `distribution` is "built in", "registered", or the package that brought it."""

    kind: str
    name: str
    distribution: str


def register(kind: str, name: str, thing: Any) -> None:
    """Make `thing` answer to `name` in this process; for notebooks and tests.

    Raises:
        ValueError: the kind is not one of ours, or the name is taken.
    """
    if kind not in BUILT_IN:
        raise ValueError(f"no plugin kind {kind!r}; one of {', '.join(BUILT_IN)}")
    if name in BUILT_IN[kind] or _registered.get((kind, name), thing) is not thing:
        raise ValueError(f"the name {name!r} is already taken among {kind}")
    _registered[(kind, name)] = thing


def registered(kind: str, name: str) -> Any:
    """Return what was registered under a name in this process, or None."""
    return _registered.get((kind, name))


def load(kind: str, name: str) -> Any:
    """Return the object called `name`, importing it and nothing else.

    Raises:
        UnknownPlugin: nothing of that name, two packages claim it, or it cannot be imported.
    """
    if (kind, name) in _registered:
        return _registered[(kind, name)]
    if name in BUILT_IN.get(kind, {}):
        module, _, attribute = BUILT_IN[kind][name].partition(":")
        return getattr(import_module(module), attribute)
    claims = [point for point in _installed(kind) if point.name == name]
    if len(claims) > 1:
        owners = " and ".join(sorted(_owner(point) for point in claims))
        raise UnknownPlugin(f"{owners} both bring {kind} {name!r}; uninstall one")
    if not claims:
        known = [plugin.name for plugin in available(kind)]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
        raise UnknownPlugin(f"no {kind.rstrip('s')} called {name!r}; {hint}")
    try:
        return claims[0].load()
    except (ImportError, AttributeError) as error:
        raise UnknownPlugin(f"{kind} {name!r} of {_owner(claims[0])} cannot be imported: {error}") from error


def available(kind: str) -> Iterator[Plugin]:
    """Yield every name of a kind, without importing what stands behind it."""
    for name in BUILT_IN.get(kind, {}):
        yield Plugin(kind, name, "built in")
    for owner, name in _registered:
        if owner == kind:
            yield Plugin(kind, name, "registered")
    for point in _installed(kind):
        yield Plugin(kind, point.name, _owner(point))


def _installed(kind: str) -> list[EntryPoint]:
    return sorted(entry_points(group=f"instructsearch.{kind}"), key=lambda point: (point.name, _owner(point)))


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown package"
