"""Views: list them; add and refresh them as a job; drop them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from instructsearch.errors import ViewExists, ViewNotFound
from instructsearch.fit import checked_spec
from instructsearch.serve import catalogue
from instructsearch.serve.routes.collection import row_told
from instructsearch.serve.routes.job import WAITS, told_when_ended
from instructsearch.serve.routes.refusals import BUSY, NOT_FOUND
from instructsearch.serve.schemas import CollectionName, Gone, Job, NewView, Refresh, ViewName, Views
from instructsearch.serve.service import Served

router = APIRouter(prefix="/collections/{name}/views", tags=["views"])
Wait = Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the job to end.")]


@router.get("", response_model=Views, responses=NOT_FOUND, summary="List views")
async def list_views(request: Request, service: Served, name: CollectionName) -> JSONResponse:
    """The views of a collection with both their instructions."""
    facts = await service.workers.run(request, lambda: service.catalogue.get(name).status())
    return JSONResponse({"views": [row_told(row) for row in facts["views"]]})


@router.post("", response_model=Job, status_code=202, responses=NOT_FOUND | BUSY | WAITS, summary="Add a view")
async def add_view(
    request: Request, service: Served, name: CollectionName, asked: NewView, wait: Wait = 0
) -> JSONResponse:
    """Embed the stored passages under another instruction or model, as a job. No document is read again."""

    def submit() -> str:
        if any(row.name == asked.name and row.ready for row in service.catalogue.get(name).views()):
            raise ViewExists(f"{name} has a view {asked.name!r} already; drop it first, or choose another name")
        embedder = service.pool.word(asked.embedder) if asked.embedder else None
        arguments: dict[str, Any] = {**asked.model_dump(), "spec": checked_spec(asked.spec), "embedder": embedder}
        return service.jobs.submit("view", name, arguments).id

    return await told_when_ended(request, service, await service.workers.run(request, submit), wait)


@router.post(
    "/{view}/refresh",
    response_model=Job,
    status_code=202,
    responses=NOT_FOUND | WAITS,
    summary="Make a view anew",
)
async def refresh_view(
    request: Request, service: Served, name: CollectionName, view: ViewName, asked: Refresh, wait: Wait = 0
) -> JSONResponse:
    """Make a view anew under its instructions, with a model that has changed or another index, as a job.

    The old vectors are searched until the new ones are all there.
    """

    def submit() -> str:
        _there(service.catalogue.get(name), view)
        embedder = service.pool.word(asked.embedder) if asked.embedder else None
        spec = checked_spec(asked.spec) if asked.spec else None
        return service.jobs.submit("refresh", name, {"name": view, "embedder": embedder, "spec": spec}).id

    return await told_when_ended(request, service, await service.workers.run(request, submit), wait)


@router.delete("/{view}", response_model=Gone, responses=NOT_FOUND | BUSY, summary="Drop a view")
async def drop_view(request: Request, service: Served, name: CollectionName, view: ViewName) -> JSONResponse:
    """Forget a view and its vectors; documents and other views stay."""

    def drop() -> None:
        collection = service.catalogue.get(name)
        _there(collection, view)
        service.jobs.refuse_busy(name)
        collection.drop_view(view)

    await service.workers.run(request, drop)
    return JSONResponse({"deleted": [view]})


def _there(collection: catalogue.Served, view: str) -> None:
    names = [row.name for row in collection.views()]
    if view not in names:
        raise ViewNotFound(f"there is no view {view!r}; there are: {', '.join(names) or 'none'}")
