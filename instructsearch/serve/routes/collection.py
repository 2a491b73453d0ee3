"""Collections: list, make, look at, compact and delete them."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from instructsearch.errors import InstructSearchError
from instructsearch.serve import catalogue
from instructsearch.serve.pool import public
from instructsearch.serve.routes.refusals import BUSY, NOT_FOUND, TAKEN
from instructsearch.serve.schemas import CollectionName, Collections, Gone, Job, NewCollection, Status
from instructsearch.serve.service import Served, Service

router = APIRouter(tags=["collections"])


@router.get("/collections", response_model=Collections, summary="List collections")
async def list_collections(request: Request, service: Served) -> JSONResponse:
    """Every collection of this service; one that cannot be read says why."""
    names = await service.workers.run(request, service.catalogue.names)
    listed = await service.workers.run(request, lambda: [_listed(service, name) for name in names])
    return JSONResponse({"collections": listed})


def _listed(service: Service, name: str) -> dict[str, Any]:
    try:
        facts = service.catalogue.get(name).status()
    except InstructSearchError as error:
        problem = {"job": None, **service.failures.told(error)}
        return {"collection": name, "documents": None, "chunks": None, "views": [], "error": problem}
    views = [row["view"] for row in facts["views"]]
    counts = {"documents": facts["documents"], "chunks": facts["chunks"]}
    return {"collection": name, **counts, "views": views, "error": None}


@router.post("/collections", response_model=Status, status_code=201, responses=TAKEN, summary="Make a collection")
async def create_collection(request: Request, service: Served, asked: NewCollection) -> JSONResponse:
    """Make a collection with its first view, whose model fixes how documents are cut."""
    options = asked.model_dump(exclude={"name", "embedder"})

    def create() -> dict[str, Any]:
        return told(service, service.catalogue.create(asked.name, asked.embedder, **options))

    return JSONResponse(await service.workers.run(request, create), 201)


@router.get("/collections/{name}", response_model=Status, responses=NOT_FOUND, summary="Look at a collection")
async def get_collection(request: Request, service: Served, name: CollectionName) -> JSONResponse:
    """Counts, chunking and views with both instructions."""
    return JSONResponse(await service.workers.run(request, lambda: told(service, service.catalogue.get(name))))


@router.delete("/collections/{name}", response_model=Gone, responses=NOT_FOUND | BUSY, summary="Delete a collection")
async def delete_collection(request: Request, service: Served, name: CollectionName) -> JSONResponse:
    """Delete a collection with everything in it. There is no way back."""

    def drop() -> None:
        service.catalogue.get(name)
        service.jobs.refuse_busy(name)
        service.catalogue.drop(name)

    await service.workers.run(request, drop)
    return JSONResponse({"deleted": [name]})


@router.post(
    "/collections/{name}/compact",
    response_model=Job,
    status_code=202,
    responses=NOT_FOUND,
    tags=["jobs"],
    summary="Compact a collection",
)
async def compact_collection(request: Request, service: Served, name: CollectionName) -> JSONResponse:
    """Fold what was added bit by bit together, and erase from the disk what was deleted. A job."""

    def submit() -> dict[str, Any]:
        service.catalogue.get(name)
        return service.jobs.submit("compact", name, {}).told()

    return JSONResponse(await service.workers.run(request, submit), 202)


def told(service: Service, collection: catalogue.Served) -> dict[str, Any]:
    """Return the status of a collection as it is told: models by name, never by folder."""
    facts = collection.status()
    job = service.jobs.active(collection.name)
    chunking = {**facts["chunking"], "tokenizer": public(facts["chunking"]["tokenizer"])}
    return {
        **facts,
        "chunking": chunking,
        "views": [row_told(row) for row in facts["views"]],
        "job": job.id if job else None,
    }


def row_told(row: dict[str, Any]) -> dict[str, Any]:
    """Return a view's row of a status as it is told."""
    left_out = ("segments", "key")
    return {**{name: value for name, value in row.items() if name not in left_out}, "embedder": public(row["embedder"])}
