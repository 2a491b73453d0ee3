"""What this installation can do, and the troubles known to befall it: versions, devices, FAISS, SQLite, a model."""

import os
import platform
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from instructsearch import embed
from instructsearch.errors import InstructSearchError

PACKAGES = ("instructsearch", "torch", "transformers", "tokenizers", "onnxruntime", "numpy", "sqlite-utils", "click")


@dataclass
class Findings:
    """Facts by name, and troubles, each with its remedy."""

    facts: dict[str, Any] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return both as plain data."""
        return {"facts": self.facts, "troubles": self.troubles}


def require(device: str) -> None:
    """Do nothing where indexes can be on the device (auto, cpu or cuda).

    Raises:
        BadIndex: there is no such device, or this FAISS cannot use it.
    """
    if device == "cuda":
        from instructsearch.index.device import choose

        choose(device)


def examine(device: str, embedder: str | None, default: str) -> Findings:
    """Look at the installation and at the `default` model's profile; with `embedder`, load that one and embed."""
    found = Findings()
    found.facts["python"] = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    found.facts["processors"] = os.cpu_count()
    for name in PACKAGES:
        try:
            found.facts[name] = version(name)
        except PackageNotFoundError:
            found.troubles.append(f"{name} is not installed; pip install 'instructsearch[cpu]' brings it")
    _sqlite(found)
    _faiss(found, device)
    _model(found, device, embedder, default)
    return found


def _sqlite(found: Findings) -> None:
    found.facts["sqlite"] = sqlite3.sqlite_version
    with closing(sqlite3.connect(":memory:")) as connection:
        options = {row[0] for row in connection.execute("PRAGMA compile_options")}
    if "ENABLE_FTS5" not in options:
        found.troubles.append("this Python's SQLite has no FTS5: bm25 and hybrid search need it; use another Python")
    if sys.platform == "win32":
        found.troubles.append("Windows is not supported: the writer's lock and folder syncs are POSIX")


def _faiss(found: Findings, device: str) -> None:
    try:
        from instructsearch.index import doctor
    except ImportError as error:  # MissingExtra, whose message has the remedy, is one
        found.troubles.append(str(error))
        return
    for name, value in doctor().items():
        if name == "problems":
            found.troubles += value
        else:
            found.facts[f"faiss {name}"] = _plain(value)
    try:
        require(device)
    except InstructSearchError as error:
        found.troubles.append(str(error))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _model(found: Findings, device: str, embedder: str | None, default: str) -> None:
    name = embedder or default
    try:
        profile = embed.find(name)
        found.facts["embedder"] = f"{profile.name}, dimension {profile.dim}, {profile.max_tokens} tokens"
        found.facts["takes instructions"] = "yes" if profile.takes_instruction else "no"
        if embedder:
            model = embed.load(profile, device=device)
            found.facts["embedder's device"] = model.device
            for check in embed.selfcheck(model):
                found.facts[check.name] = ("yes" if check.ok else "NO") + (f": {check.detail}" if check.detail else "")
                if not check.ok:
                    found.troubles.append(f"{profile.name}: {check.name}: {check.detail}")
    except InstructSearchError as error:
        found.troubles.append(str(error))
