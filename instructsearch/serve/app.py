"""The application: its routes, what guards them, and how they are described.

Knows which parts there are, not what they do.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from instructsearch import __version__
from instructsearch.serve.failures import Unforeseen
from instructsearch.serve.metrics import Counted
from instructsearch.serve.routes import ROUTERS
from instructsearch.serve.routes.page import open_paths
from instructsearch.serve.schemas import Refusal
from instructsearch.serve.security import Guard
from instructsearch.serve.service import Service
from instructsearch.serve.settings import Settings

DESCRIPTION = """Search documents by meaning, where you say what similarity means.

Documents of a **collection** are embedded under an instruction into a **view**; there are as many views as questions.
A query is embedded under an instruction of its own. What takes long is a **job**: it is answered with 202 and its id,
goes on when the client leaves, and is taken up again when the service was killed.

Every error is `{"error": {"type", "message"}}`. With a token, send `Authorization: Bearer TOKEN`."""

TAGS = [
    {"name": "collections", "description": "What there is to search."},
    {"name": "search", "description": "Passages by meaning, words, or both."},
    {"name": "documents", "description": "Texts in, texts out."},
    {"name": "views", "description": "The same documents, another question."},
    {"name": "jobs", "description": "Work that goes on by itself."},
    {"name": "models", "description": "OpenAI-compatible embeddings, and reranking as by Cohere and Jina."},
    {"name": "service", "description": "How the service is."},
]
_REFUSALS = {
    400: "It cannot be understood.",
    401: "The token is missing or wrong.",
    403: "A page of another Origin may not ask this.",
    408: "The body did not come.",
    413: "The body is too large.",
    421: "The service is not called by that Host.",
    422: "A field is missing, unknown or out of range.",
    503: "Too much is waiting; ask again in a moment.",
    504: "It takes too long.",
    507: "The disk is full or cannot be written.",
}


def create_app(settings: Settings) -> FastAPI:
    """Return the service as an application. Errors as for `Service` and its `start`."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.close()

    refusals: dict[int | str, dict[str, Any]] = {
        code: {"model": Refusal, "description": told} for code, told in _REFUSALS.items()
    }
    app = FastAPI(
        title="instructsearch",
        version=__version__,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        responses=refusals,
    )
    app.state.service = service
    service.failures.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(Unforeseen)  # the innermost: its answers are guarded and counted as all others
    if settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(Guard, settings=settings, open_paths=open_paths())
    app.add_middleware(Counted, metrics=service.metrics)
    return app
