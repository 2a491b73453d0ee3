"""Where a model's files lie on this machine, and whether they are the ones that the profile names.

Knows files and their digests; not what is in them. Goes to the network only for a hub id that is not cached here.
"""

import hashlib
import importlib.util
import json
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from instructsearch.embed.profile import Profile
from instructsearch.errors import ModelDamaged, ModelNotFound

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_WANTED = ("*.json", "*.model", "*.txt", "*.toml")
log = logging.getLogger("instructsearch.embed")


def cache_folder() -> Path:
    """Return where this package keeps what it can make again: `$INSTRUCTSEARCH_CACHE`, else the user's cache folder."""
    if own := os.environ.get("INSTRUCTSEARCH_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "instructsearch"


def locate(profile: Profile) -> Path:
    """Return the folder of the profile's model, with every file that the profile names verified.

    Raises:
        ModelNotFound: it is not on this machine and cannot be fetched.
        ModelDamaged: a file is missing or differs from the digest in the profile.
    """
    folder = model_folder(profile.model, profile.revision)
    _verify(profile.name, folder, profile.files)
    return folder


def verified(profile: Profile, adapter: Path) -> Path:
    """Return the folder of an adapter, with every file that the profile names of it verified.

    Raises:
        ModelDamaged: a file is missing or differs from the digest in the profile.
    """
    _verify(profile.name, adapter, profile.adapter_files)
    return adapter


def _verify(profile: str, folder: Path, files: Mapping[str, str]) -> None:
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise ModelDamaged(f"{profile}: {name} is missing from {folder}; install the model again")
        found = digest(path)
        if found != expected:
            raise ModelDamaged(
                f"{profile}: {path} is not the file that the profile names "
                f"(sha256 {found[:12]}..., expected {expected[:12]}...); install the model again"
            )


def model_folder(model: str, revision: str = "", *, fetch: bool = True) -> Path:
    """Return the local folder that a profile's `model` refers to; without `fetch`, never go to the network.

    Raises:
        ModelNotFound: the message says what would bring it.
    """
    if model.startswith("package:"):
        package, _, inside = model.removeprefix("package:").partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModelNotFound(f"the package {package} is not installed; pip install {package.replace('_', '-')}")
        return Path(spec.submodule_search_locations[0]) / inside
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if is_hub_id(model):
        return _hub_folder(model, revision, fetch=fetch)
    raise ModelNotFound(f"no model folder {model!r} here")


def adapter_folder(adapter: str, folder: Path, *, fetch: bool = True) -> Path:
    """Return the folder of LoRA weights: one inside the model's, a local one, or that of a hub id with `@revision`.

    Raises:
        ModelNotFound: the message says what would bring it.
    """
    if (folder / adapter).is_dir():
        return folder / adapter
    name, _, revision = adapter.partition("@")
    return model_folder(name, revision, fetch=fetch)


def fetch_pickle(model: str, revision: str) -> Path:
    """Return the folder of a hub id with the weights that were published as pickle, for `convert` to read.

    Raises:
        ModelNotFound: they are not here and cannot be fetched.
    """
    return _hub_folder(model, revision, fetch=True, weights="*pytorch_model*.bin")


def is_here(profile: Profile) -> bool:
    """Say whether a profile's weights are on this machine, without going to the network or reading them."""
    if not profile.model:
        return True
    adapters = {profile.query_adapter, profile.document_adapter} - {""}
    try:
        folder = model_folder(profile.model, profile.revision, fetch=False)
        folders = [folder, *(adapter_folder(each, folder, fetch=False) for each in adapters)]
    except ModelNotFound:
        return False
    return all(any(each.glob("*.safetensors")) for each in folders)


def is_hub_id(model: str) -> bool:
    """Say whether `model` has the form of a Hugging Face id, owner/name."""
    return _HUB_ID.fullmatch(model) is not None


def _hub_folder(model: str, revision: str, *, fetch: bool, weights: str = "*.safetensors") -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    try:
        folder = Path(snapshot_download(model, revision=revision or None, local_files_only=True))
        if offline or not fetch or any(folder.glob(weights)):  # else a download was broken off
            return folder
    except LocalEntryNotFoundError:
        pass
    if offline or not fetch:
        at = f" at revision {revision[:12]}" if revision else ""
        raise ModelNotFound(
            f"{model}{at} is not in the local Hugging Face cache and HF_HUB_OFFLINE is set; unset it or give a folder"
        )
    log.info("fetching %s from the Hugging Face hub", model)
    try:
        return Path(snapshot_download(model, revision=revision or None, allow_patterns=[*_WANTED, weights]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelNotFound(
            f"{model} is not in the local cache and cannot be downloaded ({reason}); give a local folder"
        ) from None


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, remembered in the cache folder for as long as its size, time and inode stay."""
    state = path.stat()
    stamp = [state.st_size, state.st_mtime_ns, state.st_ino]
    key = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    memo = cache_folder() / "digests" / f"{key}.json"
    try:
        known = json.loads(memo.read_text("utf-8"))
        if known["stamp"] == stamp:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    _remember(memo, {"stamp": stamp, "sha256": found})
    return found


def _remember(memo: Path, facts: dict[str, object]) -> None:
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=memo.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(facts, file)
        Path(temporary).replace(memo)
    except OSError:
        pass  # a cache that cannot be written costs time, nothing else
