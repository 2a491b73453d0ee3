"""What every test stands on: no network, caches and notes of its own, and nothing of the user's; and one browser."""

import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
if "PYTEST_XDIST_WORKER" in os.environ:  # beside other workers, more threads than cores only get in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", "1")


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


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """One Chromium for all tests that look at a page."""
    import chromium

    with chromium.started(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """A service with the collections that the page's tests look at, and what shows its page."""
    import page

    with page.serving(tmp_path_factory.mktemp("page")) as client:
        yield client


@pytest.fixture
def page(browser, shelf):
    """The service's page, not opened yet."""
    from page import Page

    return Page(browser, shelf)
