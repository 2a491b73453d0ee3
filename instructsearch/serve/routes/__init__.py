"""The routes of the service, one file for each thing they are about."""

from instructsearch.serve.routes import (
    collection,
    document,
    embedding,
    health,
    job,
    map,
    page,
    rerank,
    search,
    view,
)

ROUTERS = tuple(
    module.router for module in (collection, search, document, view, map, job, embedding, rerank, health, page)
)
