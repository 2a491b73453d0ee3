"""Names to profiles: built in, a user's TOML file, or a model folder that says itself how it is to be used.

Knows where profiles are written; loads no model.
"""

import difflib
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from instructsearch.embed.profile import Profile
from instructsearch.embed.weights import is_hub_id, model_folder
from instructsearch.errors import BadProfile, ModelNotFound


@cache
def _built_in() -> dict[str, Profile]:
    text = resources.files("instructsearch.embed").joinpath("profiles.toml").read_text("utf-8")
    return {name: Profile.from_dict({"name": name, **facts}) for name, facts in tomllib.loads(text).items()}


def profiles() -> list[Profile]:
    """Return the built-in profiles."""
    return list(_built_in().values())


def find(name: str) -> Profile:
    """Return the profile of a built-in name, a profile's TOML file, a local model folder or a hub id.

    Raises:
        ModelNotFound: nothing of that name; the message has the nearest names.
        BadProfile: what was found does not say how to embed with it.
    """
    if name in _built_in():
        return _built_in()[name]
    path = Path(name).expanduser()
    if path.is_file():
        return _from_toml(path)
    if path.is_dir():
        return _from_folder(path, str(path.resolve()), "")
    if is_hub_id(name) and not name.startswith("."):
        folder = model_folder(name)
        return _from_folder(folder, name, folder.name)
    near = difflib.get_close_matches(name, list(_built_in()), n=3)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"known: {', '.join(_built_in())}, a model folder, or a hub id"
    )
    raise ModelNotFound(f"no embedder called {name!r}; {hint}")


def _from_toml(path: Path) -> Profile:
    try:
        facts: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadProfile(f"{path} is not a profile: {error}") from None
    model = str(facts.get("model", "."))
    inside = path.parent / model
    if inside.is_dir() and not is_hub_id(model):
        facts["model"] = str(inside.resolve())
    return Profile.from_dict({"name": path.parent.name if path.name == "profile.toml" else path.stem, **facts})


def _from_folder(folder: Path, model: str, revision: str) -> Profile:
    if (folder / "profile.toml").is_file():
        return _from_toml(folder / "profile.toml")
    from instructsearch.embed.folder import describe

    return describe(folder, model, revision)
