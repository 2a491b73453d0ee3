"""Search: one query, every option of the command line, and where its hits lie."""

import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from instructsearch.errors import TooMuch
from instructsearch.records import Query
from instructsearch.serve.routes.refusals import MISMATCH, NOT_FOUND
from instructsearch.serve.schemas import CollectionName, Hits, Search
from instructsearch.serve.service import Served, Service

router = APIRouter(tags=["search"])


@router.post(
    "/collections/{name}/search", response_model=Hits, responses=NOT_FOUND | MISMATCH, summary="Search a collection"
)
async def search(request: Request, service: Served, name: CollectionName, asked: Search) -> JSONResponse:
    """Return the best passages: exactly k where so many match, whatever the filter."""
    most = service.settings.limits.hits
    if asked.k > most:
        raise TooMuch(f"k is {asked.k}; this service gives {most} hits at most")
    return JSONResponse(await service.workers.run(request, lambda: _found(service, name, asked)))


def _found(service: Service, name: str, asked: Search) -> dict[str, Any]:
    started = time.perf_counter()
    collection = service.catalogue.get(name)
    called = collection.names()
    query = Query(
        asked.query,
        asked.instruction,
        tuple(asked.views),
        asked.k,
        asked.mode,
        called.where(asked.where),
        asked.by_document,
        service.pool.reranker(asked.rerank),
        asked.understand,
        asked.explain,
        asked.fusion,
        asked.weights,
        asked.passages,
        asked.fold,
        asked.mmr,
        asked.snippet,
        asked.context,
    )
    hits = [called.hit(hit, asked.where) for hit in collection.search(query)]
    return {"collection": name, "hits": hits, "seconds": round(time.perf_counter() - started, 6)}
