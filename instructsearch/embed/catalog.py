"""Names to profiles: built in, a user's TOML file, or a model folder that says itself how it is to be used.

Knows where profiles are written; loads no model. A user's profile is one TOML file whose keys are the fields of
Profile, `dim` the only one it must have. `base` names a profile to start from, so that only what differs is written:

    base = "instructor-large"        # or any other name, folder or hub id
    model = "weights"                # a folder beside this file, an absolute path, or a hub id
    query_instruction = "Represent the question for retrieving supporting documents: "
    document_adapter = "adapter" # LoRA weights: also a folder beside this file

A file called profile.toml in a model's folder speaks for that folder.
"""

import difflib
import logging
import tomllib
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from instructsearch import plugins
from instructsearch.embed.profile import Profile
from instructsearch.embed.weights import is_hub_id, model_folder
from instructsearch.errors import BadProfile, ModelNotFound

log = logging.getLogger("instructsearch.embed")


@cache
def _built_in() -> dict[str, Profile]:
    text = resources.files("instructsearch.embed").joinpath("profiles.toml").read_text("utf-8")
    return {name: Profile.from_dict({"name": name, **facts}) for name, facts in tomllib.loads(text).items()}


@cache
def _by_alias() -> dict[str, Profile]:
    known = _built_in().values()
    hub = {profile.model: profile for profile in known if is_hub_id(profile.model) and not profile.query_adapter}
    return hub | {alias: profile for profile in known for alias in profile.aliases} | _built_in()


def profiles() -> list[Profile]:
    """Return the built-in profiles."""
    return list(_built_in().values())


def built_in(name: str) -> Profile | None:
    """Return the built-in profile of a name, an alias or its model's hub id, with `@DIM` at that dimension, or None.

    Raises:
        BadProfile: the model was not trained for that dimension.
    """
    if name in _by_alias():
        return _by_alias()[name]
    base, _, dim = name.rpartition("@")
    return _by_alias()[base].at(int(dim)) if base in _by_alias() and dim.isdecimal() else None


def find(name: str) -> Profile:
    """Return the profile of a built-in name, a profile's TOML file, a local model folder, a hub id or `register`.

    `NAME@DIM` is a built-in one at another dimension that its model was trained for, and `NAME=FOLDER` a built-in one
    with the weights in a local folder.

    Raises:
        ModelNotFound: nothing of that name; the message has the nearest names.
        BadProfile: what was found does not say how to embed with it.
    """
    path = Path(name).expanduser()
    if known := built_in(name):
        # a folder called like a hub id is that model, downloaded
        return _with_weights(known, path, f"{known.name}={path}") if "/" in name and path.is_dir() else known
    here = getattr(plugins.registered("embedders", name), "profile", None)
    if isinstance(here, Profile):  # such as a framework's embeddings, given to this process
        return here
    if path.is_file():
        return _from_toml(path)
    if path.is_dir():
        return _from_folder(path, str(path.resolve()), "")
    base, _, dim = name.rpartition("@")
    if dim.isdecimal() and (Path(base).expanduser().exists() or is_hub_id(base)):
        return find(base).at(int(dim))
    base, _, folder = name.partition("=")
    if folder and (known := built_in(base)):
        return _with_weights(known, Path(folder).expanduser(), name)
    if is_hub_id(name) and not name.startswith("."):
        found = model_folder(name)
        return _from_folder(found, name, found.name)
    near = difflib.get_close_matches(name, list(_by_alias()), n=3)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"known: {', '.join(list(_built_in())[:2])} and {len(_built_in()) - 2} more, which `instructsearch models`"
        " lists, a model folder, or a hub id"
    )
    raise ModelNotFound(f"no embedder called {name!r}; {hint}")


def _with_weights(profile: Profile, folder: Path, name: str) -> Profile:
    if not folder.is_dir():
        raise ModelNotFound(f"{name}: there is no folder {folder}")
    from instructsearch.embed.folder import identity

    posts = tuple(each.replace("{dim}", str(profile.dim)) for each in profile.post)
    files = identity(folder, (*posts, profile.query_adapter, profile.document_adapter))
    return replace(profile, name=name, model=str(folder.resolve()), revision="", files=files)


def _from_toml(path: Path) -> Profile:
    try:
        facts: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadProfile(f"{path} is not a profile: {error}") from None
    if base := facts.pop("base", None):
        theirs = find(str(path.parent / base) if (path.parent / base).exists() else str(base)).to_dict()
        moved = {"files", "revision"} if "model" in facts else set()
        facts = {key: value for key, value in theirs.items() if key not in {"name", "aliases", *moved}} | facts
    model = str(facts.get("model", "."))
    inside = path.parent / model
    if inside.is_dir() and not is_hub_id(model):
        from instructsearch.embed.folder import identity

        facts["model"] = str(inside.resolve())
        parts = [*facts.get("post", []), facts.get("query_adapter", ""), facts.get("document_adapter", "")]
        facts.setdefault("files", identity(inside.resolve(), [str(each) for each in parts]))
    for role in ("query_adapter", "document_adapter"):
        beside = path.parent / str(facts.get(role, ""))
        if facts.get(role) and beside.is_dir():
            facts[role] = str(beside.resolve())
    return Profile.from_dict({"name": path.parent.name if path.name == "profile.toml" else path.stem, **facts})


def _from_folder(folder: Path, model: str, revision: str) -> Profile:
    if (folder / "profile.toml").is_file():
        return _from_toml(folder / "profile.toml")
    from instructsearch.embed.folder import describe

    profile = describe(folder, model, revision)
    for known in _by_alias().values():
        hub = known.model.rpartition("/")[2]
        if not revision and not profile.takes_instruction and known.heeds("query") and hub in _names(folder):
            log.warning(
                "%s looks like %s, whose files leave out how it is asked; --embedder %s=%s uses what is known of it",
                *(folder, known.model, known.name, folder),
            )
            break
    return profile


def _names(folder: Path) -> set[str]:
    """Return the model names that a folder's path holds: its own, and that of the hub's cache around it."""
    return {folder.resolve().name, *(part.rpartition("--")[2] for part in folder.resolve().parts if "--" in part)}
