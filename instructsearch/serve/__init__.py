"""Collections over HTTP: searches, documents, views and jobs, and OpenAI-compatible embeddings.

Knows what the service needs installed; FastAPI and uvicorn are imported when it is made.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from instructsearch.errors import MissingExtra
from instructsearch.serve.settings import Limits, Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["Limits", "Settings", "create_app", "run"]

_NEEDED = ("fastapi", "multipart", "prometheus_client", "uvicorn")


def create_app(settings: Settings) -> "FastAPI":
    """Return the service as an ASGI application; its collections, models and jobs live as long as its lifespan.

    Raises:
        MissingExtra: the extra `serve` is not installed.
        ServiceError: it is to be reached from elsewhere, and there is no token.
    """
    _require()
    from instructsearch.serve.app import create_app

    return create_app(settings)


def run(settings: Settings, told: Callable[[str], None] = lambda line: None) -> None:
    """Serve until SIGTERM or SIGINT; `told` hears the address once it listens there.

    Raises:
        MissingExtra: the extra `serve` is not installed.
        ServiceError: it cannot listen there, must not without a token, or another service has the root.
    """
    _require()
    from instructsearch.serve.server import run

    run(settings, told)


def _require() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtra(f"serving needs {', '.join(missing)}; pip install 'instructsearch[serve]' brings it")
