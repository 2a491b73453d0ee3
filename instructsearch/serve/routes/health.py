"""Health: that the process lives, whether it is ready for work, and its figures."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from instructsearch import __version__
from instructsearch.serve.service import Served

router = APIRouter(tags=["service"])
OPEN = ("/health", "/ready")  # what tells nothing that needs a token


class Health(BaseModel):
    """That it lives."""

    status: Literal["alive"]
    version: str


class Ready(BaseModel):
    """Whether to send it work."""

    status: Literal["ready", "loading models", "stopping"]


@router.get("/health", response_model=Health, summary="Whether it lives")
async def health() -> JSONResponse:
    """Answered as long as the process lives. Needs no token."""
    return JSONResponse({"status": "alive", "version": __version__})


@router.get(
    "/ready",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Not yet, or no longer."}},
    summary="Whether it is ready",
)
async def ready(service: Served) -> JSONResponse:
    """200 once the models of its collections are loaded, 503 before that and when it is stopping. Needs no token."""
    status = "stopping" if service.stopping else "ready" if service.warm else "loading models"
    return JSONResponse({"status": status}, 200 if status == "ready" else 503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Figures for Prometheus.", "content": {"text/plain": {}}}},
    summary="Figures",
)
async def metrics(request: Request, service: Served) -> Response:
    """Requests, times, batches, jobs and the process, in the text format of Prometheus or OpenMetrics."""
    body, kind = service.metrics.exposition(request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": kind})
