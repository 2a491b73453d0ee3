"""Rerank: documents given with the request in a better order, in the shape of Cohere's and Jina's APIs."""

import secrets
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from instructsearch import rerank
from instructsearch.errors import BadQuery, TooMuch
from instructsearch.serve.model_schemas import Rerank, Reranked
from instructsearch.serve.routes.refusals import NOT_FOUND
from instructsearch.serve.service import Served, Service

router = APIRouter(prefix="/v1", tags=["models"])


@router.post("/rerank", response_model=Reranked, responses=NOT_FOUND, summary="Rerank documents")
async def reranked(request: Request, service: Served, asked: Rerank) -> JSONResponse:
    """Order documents by how well they answer a query under an instruction, best first."""
    most = service.settings.limits.hits
    if len(asked.documents) > most:
        raise TooMuch(f"there are {len(asked.documents)} documents; this service reranks {most} at most")
    texts = [_text(number, one) for number, one in enumerate(asked.documents)]
    return JSONResponse(await service.workers.run(request, lambda: _ranked(service, asked, texts)))


def _text(number: int, one: str | dict[str, str]) -> str:
    if isinstance(one, str):
        return one
    if "text" not in one:
        raise BadQuery(f"documents.{number} has no text")
    return one["text"]


def _ranked(service: Service, asked: Rerank, texts: list[str]) -> dict[str, Any]:
    name = service.pool.reranker(asked.model) or rerank.DEFAULT
    _, reranker = service.pool.rerankers.of(name)
    scores = reranker.score(asked.query, asked.instruction or "", texts)
    order = sorted(range(len(texts)), key=lambda at: (-scores[at], at))[: asked.top_n]
    return {
        "id": secrets.token_hex(8),
        "model": asked.model or name,
        "results": [
            {
                "index": at,
                "relevance_score": scores[at],
                **({"document": {"text": texts[at]}} if asked.return_documents else {}),
            }
            for at in order
        ],
    }
