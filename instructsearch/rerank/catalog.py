"""Names to profiles: built in, a user's TOML file, or a model folder that says itself how it is to be used.

Knows where profiles are written; loads no model. A user's profile is one TOML file whose keys are the fields of
RerankProfile, none of them needed; `base` names a profile to start from, so that only what differs is written:

    base = "qwen3-reranker-0.6b"     # or any other name, folder or hub id
    model = "weights"                # a folder beside this file, an absolute path, or a hub id

A file called profile.toml in a model's folder speaks for that folder.
"""

import difflib
import tomllib
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from instructsearch import plugins
from instructsearch.embed import catalog as embedders
from instructsearch.embed.weights import is_hub_id, model_folder
from instructsearch.errors import BadProfile, ModelNotFound
from instructsearch.rerank.profile import RerankProfile

DEFAULT = "ltr"  # what a search is reranked by when no name is given


@cache
def _built_in() -> dict[str, RerankProfile]:
    text = resources.files("instructsearch.rerank").joinpath("profiles.toml").read_text("utf-8")
    return {name: RerankProfile.from_dict({"name": name, **facts}) for name, facts in tomllib.loads(text).items()}


@cache
def _by_alias() -> dict[str, RerankProfile]:
    known = _built_in().values()
    hub = {profile.model: profile for profile in known if is_hub_id(profile.model)}
    return hub | {alias: profile for profile in known for alias in profile.aliases} | _built_in()


def profiles() -> list[RerankProfile]:
    """Return the built-in profiles."""
    return list(_built_in().values())


def built_in(name: str) -> RerankProfile | None:
    """Return the built-in profile of a name, an alias or its model's hub id, or None.

    `late:EMBEDDER` is one where the embedder is built in too: what this returns may be loaded at a stranger's word.
    """
    late = _late(name)
    return late if late and embedders.built_in(late.embedder) else _by_alias().get(name)


def _late(name: str) -> RerankProfile | None:
    kind, _, embedder = name.partition(":")
    return replace(_built_in()["late"], name=name, embedder=embedder) if kind == "late" and embedder else None


def find(name: str) -> RerankProfile:
    """Return the profile of a built-in name, a profile's TOML file, a local model folder, a plugin, or a hub id.

    `late:EMBEDDER` is late interaction by the token vectors of any embedder, and `NAME=FOLDER` a built-in profile with
    the weights in a local folder.

    Raises:
        ModelNotFound: nothing of that name; the message has the nearest names.
        BadProfile: what was found does not say how to rerank with it.
    """
    path = Path(name).expanduser()
    if known := built_in(name):
        # a folder called like a hub id is that model, downloaded
        return _with_weights(known, path, f"{known.name}={path}") if "/" in name and path.is_dir() else known
    if path.is_file():
        return _from_toml(path)
    if path.is_dir():
        return _from_folder(path, str(path.resolve()), "")
    if late := _late(name):
        return late
    base, _, folder = name.partition("=")
    if folder and (known := built_in(base)):
        return _with_weights(known, Path(folder).expanduser(), name)
    if any(plugin.name == name and plugin.distribution != "built in" for plugin in plugins.available("rerankers")):
        return RerankProfile(name, kind=name)
    if is_hub_id(name) and not name.startswith("."):
        found = model_folder(name)
        return _from_folder(found, name, found.name)
    near = difflib.get_close_matches(name, list(_by_alias()), n=3)
    hint = (
        f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(_built_in())}, a model folder, a hub id"
    )
    raise ModelNotFound(f"no reranker called {name!r}; {hint}")


def _with_weights(profile: RerankProfile, folder: Path, name: str) -> RerankProfile:
    if not folder.is_dir():
        raise ModelNotFound(f"{name}: there is no folder {folder}")
    from instructsearch.rerank.folder import identity

    files = identity(folder, profile.projection)
    return replace(profile, name=name, model=str(folder.resolve()), revision="", files=files)


def _from_toml(path: Path) -> RerankProfile:
    try:
        facts: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadProfile(f"{path} is not a profile: {error}") from None
    if base := facts.pop("base", None):
        theirs = find(str(path.parent / base) if (path.parent / base).exists() else str(base)).to_dict()
        moved = {"files", "revision"} if "model" in facts else set()
        facts = {key: value for key, value in theirs.items() if key not in {"name", "aliases", *moved}} | facts
    if not facts.get("embedder") and (path.parent / "config.json").is_file():
        facts.setdefault("model", ".")
    for field, digests in (("model", "files"), ("delta", "delta_files")):
        inside = path.parent / str(facts.get(field, ""))
        if field in facts and inside.is_dir() and not is_hub_id(str(facts[field])):
            from instructsearch.rerank.folder import identity

            facts[field] = str(inside.resolve())
            facts.setdefault(digests, identity(inside.resolve(), str(facts.get("projection", ""))))
    return RerankProfile.from_dict({"name": path.parent.name if path.name == "profile.toml" else path.stem, **facts})


def _from_folder(folder: Path, model: str, revision: str) -> RerankProfile:
    if (folder / "profile.toml").is_file():
        return _from_toml(folder / "profile.toml")
    from instructsearch.rerank.folder import describe

    return describe(folder, model, revision)
