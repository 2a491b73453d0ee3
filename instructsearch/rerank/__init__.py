"""Passages in a better order: find a reranker's profile, load it, and score passages for a query and an instruction.

Knows names and which class answers them; the models and their libraries are imported when one is loaded.

The second stage stands on the first's models: it imports `embed` for checkpoints, tokenizers and token vectors, and
embed knows nothing of it.
"""

import logging
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from instructsearch import plugins
from instructsearch.errors import BadProfile, ModelDamaged
from instructsearch.rerank.catalog import DEFAULT, built_in, find, profiles
from instructsearch.rerank.profile import RerankProfile

if TYPE_CHECKING:
    from instructsearch.rerank.protocol import Reranker

log = logging.getLogger("instructsearch.rerank")

__all__ = ["DEFAULT", "Loaded", "RerankProfile", "Reranker", "built_in", "find", "load", "profiles"]


def __getattr__(name: str) -> Any:
    if name == "Reranker":
        return import_module("instructsearch.rerank.protocol").Reranker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(profile: RerankProfile | str, *, device: str = "auto") -> "Reranker":
    """Return the reranker of a profile, or of whatever `find` understands. `device` is auto, cpu, cuda or cuda:N.

    Raises:
        ModelNotFound: no such profile, or its model is not on this machine.
        ModelDamaged: the weights are not those that the profile names.
        BadProfile: the model is one that this package does not reproduce; the message says why.
        UnknownPlugin: no reranker of the profile's kind is installed.
        BadIndex: the device is not there.
    """
    if isinstance(profile, str):
        profile = find(profile)
    if profile.refused:
        raise BadProfile(f"{profile.name} cannot be loaded: {profile.refused}")
    if profile.graph and device in {"auto", "cpu"} and (light := _load_light(profile)) is not None:
        return light
    reranker: Reranker = plugins.load("rerankers", profile.kind)(profile, device=device)
    return reranker


def _load_light(profile: RerankProfile) -> "Reranker | None":
    """Return the cross-encoder over its graph, making that where it is not there yet; None where none can be made."""
    from instructsearch.embed.onnx import intact
    from instructsearch.rerank import graph

    if intact(graph.graph_folder(profile)):
        try:
            return graph.GraphCrossEncoder(profile)
        except ModelDamaged as error:
            log.info("%s; making it again", error)
    from instructsearch.rerank.export import prepare

    return graph.GraphCrossEncoder(profile) if prepare(profile) else None


class Loaded:
    """The rerankers of one collection, each loaded when first asked for by name and then kept. Safe among threads."""

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self._kept: dict[str, tuple[RerankProfile, Reranker]] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> "tuple[RerankProfile, Reranker]":
        """Return a reranker and its profile. Errors as for `load`."""
        with self._lock:
            if name not in self._kept:
                profile = find(name)
                self._kept[name] = profile, load(profile, device=self.device)
            return self._kept[name]
