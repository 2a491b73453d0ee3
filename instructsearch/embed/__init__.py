"""Texts to unit vectors under an instruction: find a model's profile, load it, and encode.

Knows names and which class answers them; the models and their libraries are imported when one is loaded.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from instructsearch import plugins
from instructsearch.embed.catalog import built_in, find, profiles
from instructsearch.embed.profile import READER, Profile
from instructsearch.errors import BadProfile, ModelDamaged

if TYPE_CHECKING:
    from instructsearch.embed.protocol import Embedder

__all__ = [
    "Embedder",
    "Profile",
    "built_in",
    "convert",
    "encode_many",
    "find",
    "load",
    "models",
    "prepare_queries",
    "profiles",
    "selfcheck",
]
_LATER = {  # numpy, torch or a look at the disk come with them
    "Embedder": "protocol",
    "convert": "conversion",
    "encode_many": "protocol",
    "models": "listing",
    "selfcheck": "checks",
}

GRAPHED = frozenset({"encoder", READER})  # kinds whose queries are answered by an exported graph
log = logging.getLogger("instructsearch.embed")


def __getattr__(name: str) -> Any:
    if name in _LATER:
        value = getattr(import_module(f"instructsearch.embed.{_LATER[name]}"), name)
        globals()[name] = value  # or the submodule of that name would hide it
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(profile: Profile | str, *, device: str = "auto", queries: bool = False) -> "Embedder":
    """Return the embedder of a profile, or of whatever `find` understands.

    With `queries`, on the CPU, it is the one that answers soonest: over the cached graph, without torch, making the
    graph first where it is not there yet. `device` is `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        ModelNotFound: no such profile, or its model is not on this machine.
        ModelDamaged: the weights are not those that the profile names, or fail their self-checks.
        BadProfile: the model is one that this package does not reproduce; the message says why.
        UnknownPlugin: no embedder of the profile's kind is installed.
        BadIndex: the device is not there.
    """
    if isinstance(profile, str):
        profile = find(profile)
    if profile.refused:
        raise BadProfile(f"{profile.name} cannot be loaded: {profile.refused}")
    if profile.adapters_need_instruction:
        from instructsearch.embed.parts import Parts

        return Parts(profile, lambda part: load(part, device=device, queries=queries))
    if queries and profile.kind in GRAPHED and device in {"auto", "cpu"}:
        return _load_light(profile, device)
    embedder: Embedder = plugins.load("embedders", profile.kind)(profile, device=device)
    return embedder


def _load_light(profile: Profile, device: str) -> "Embedder":
    from instructsearch.embed import onnx

    graph = onnx.graph_folder(profile)
    if onnx.intact(graph):
        try:
            return onnx.light_of(profile, graph)
        except ModelDamaged as error:
            log.info("%s; making it again", error)
    heavy = load(profile, device=device)
    if prepare_queries(heavy):
        return onnx.light_of(profile, graph)
    return heavy


def prepare_queries(embedder: "Embedder") -> bool:
    """Make what `load(..., queries=True)` needs to answer without torch; return whether it will.

    Takes about ten seconds the first time and none after. Never fails: where no graph can be had, the reason is logged.
    """
    if embedder.profile.adapters_need_instruction:
        from instructsearch.embed.parts import Parts

        return isinstance(embedder, Parts) and all([prepare_queries(part) for part in embedder.loaded])
    if embedder.profile.kind not in GRAPHED:
        return True
    from instructsearch.embed.encoder import Encoder
    from instructsearch.embed.export import prepare
    from instructsearch.embed.reader_encoder import ReaderEncoder

    return isinstance(embedder, Encoder | ReaderEncoder) and prepare(embedder)
