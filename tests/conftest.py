"""What every test stands on: no network, caches and notes of its own, and nothing of the user's."""

import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory):
    """Keep the exported graphs, checked digests and remembered models of the tests apart from the user's."""
    base = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("INSTRUCTSEARCH_CACHE", str(base / "cache"))
    patch.setenv("XDG_STATE_HOME", str(base / "state"))
    patch.delenv("INSTRUCTSEARCH_ROOT", raising=False)
    yield
    patch.undo()
