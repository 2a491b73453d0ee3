"""Maps: where the passages of a collection lie under a view, and where those lie that a search found."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from instructsearch.explore import Method
from instructsearch.serve.map_schemas import Chunks, Map, Places
from instructsearch.serve.maps import Look
from instructsearch.serve.routes.refusals import MISSING_EXTRA, NOT_FOUND
from instructsearch.serve.schemas import CollectionName, ViewName
from instructsearch.serve.service import Served, Service

router = APIRouter(prefix="/collections/{name}/views/{view}/map", tags=["views"])
How = Annotated[
    Method,
    Query(
        description="tsne keeps near neighbours near; pca shows the two directions in which the vectors differ most."
    ),
]


@router.get(
    "",
    response_model=Map,
    responses=NOT_FOUND
    | MISSING_EXTRA
    | {202: {"model": Map, "description": "It is being drawn; `map` is the one before it, where there is one."}},
    summary="Look at a view's map",
)
async def get_map(
    request: Request, service: Served, name: CollectionName, view: ViewName, method: How = "tsne"
) -> JSONResponse:
    """Points of a view's passages in the plane, those alike near each other, with what they can be coloured by.

    The first request has it drawn in the background, which takes seconds to a minute, and is answered with 202 and how
    far it is; ask again until it is 200. It is kept until the collection changes. Of more than 4,000 passages a sample
    is drawn. Needs the extra `explore`.
    """
    look = await service.workers.run(request, lambda: _look(service, name, view, method))
    drawing = look.drawing
    told = {
        "collection": name,
        "view": view,
        "method": method,
        "generation": look.generation,
        "current": look.current,
        "progress": look.progress,
        "map": drawing.told if drawing is not None else None,
    }
    return JSONResponse(told, 200 if look.current else 202)


@router.post(
    "/places", response_model=Places, responses=NOT_FOUND | MISSING_EXTRA, summary="Find passages on a view's map"
)
async def find_places(
    request: Request, service: Served, name: CollectionName, view: ViewName, asked: Chunks, method: How = "tsne"
) -> JSONResponse:
    """Where passages lie on the map as it was last drawn; one that the sample left out lies among those most like it.

    `places` is empty as long as no map has been drawn.
    """

    def find() -> list[dict[str, Any]]:
        drawing = _look(service, name, view, method).drawing
        return drawing.places(service.catalogue.get(name), view, asked.chunks) if drawing is not None else []

    return JSONResponse({"places": await service.workers.run(request, find)})


def _look(service: Service, name: str, view: str, method: Method) -> Look:
    return service.maps.look(service.catalogue.get(name), view, method)
