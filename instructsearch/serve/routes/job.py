"""Jobs: how they stand, a stream of how they go on, ending and retrying them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from instructsearch.serve.job import ID
from instructsearch.serve.job import Job as Kept
from instructsearch.serve.routes.refusals import NOT_FOUND, Responses
from instructsearch.serve.schemas import CollectionName, Job, Jobs
from instructsearch.serve.service import Served, Service

router = APIRouter(tags=["jobs"])
JobId = Annotated[str, Path(pattern=f"^{ID.pattern}$", examples=["20260101-120000-0123abcd"])]
LOOK = 0.1  # seconds between two looks at a job that somebody watches
HEARTBEAT = 15.0  # seconds without news until a stream says that it is alive
WAITS: Responses = {200: {"model": Job, "description": "The job has ended within the time to wait."}}


async def told_when_ended(request: Request, service: Service, id: str, seconds: float) -> JSONResponse:
    """Answer 202 with a job, or 200 when it ends within so many seconds."""
    until = time.monotonic() + seconds
    while not (job := service.jobs.get(id)).ended and time.monotonic() < until and not service.stopping:
        if await request.is_disconnected():
            break
        await asyncio.sleep(min(LOOK, max(0.0, until - time.monotonic())))
    return JSONResponse(job.told(), 200 if job.ended else 202, {"Location": f"/jobs/{id}"})


@router.get("/jobs", response_model=Jobs, summary="List jobs")
async def list_jobs(service: Served) -> JSONResponse:
    """All jobs, the newest first; of those that have ended, the last 200."""
    return JSONResponse({"jobs": [job.told() for job in service.jobs.all()]})


@router.get("/collections/{name}/jobs", response_model=Jobs, summary="List a collection's jobs")
async def list_collection_jobs(service: Served, name: CollectionName) -> JSONResponse:
    """The jobs of a collection, the newest first."""
    return JSONResponse({"jobs": [job.told() for job in service.jobs.all(name)]})


@router.get("/jobs/{id}", response_model=Job, responses=NOT_FOUND, summary="Look at a job")
async def get_job(service: Served, id: JobId) -> JSONResponse:
    """How a job stands."""
    return JSONResponse(service.jobs.get(id).told())


@router.get(
    "/jobs/{id}/events",
    response_class=StreamingResponse,
    responses=NOT_FOUND
    | {200: {"description": "Events `job`, each the job as it stands.", "content": {"text/event-stream": {}}}},
    summary="Watch a job",
)
async def watch_job(service: Served, id: JobId) -> StreamingResponse:
    """Server-sent events: the job whenever it goes on, until it has ended."""
    job = service.jobs.get(id)
    return StreamingResponse(_events(service, job), media_type="text/event-stream")


async def _events(service: Service, job: Kept) -> AsyncIterator[str]:
    yield _event(job)
    told = time.monotonic()
    while not job.ended and not service.stopping:
        await asyncio.sleep(LOOK)
        newer = service.jobs.get(job.id)
        if newer.version != job.version:
            job = newer
            yield _event(job)
            told = time.monotonic()
        elif time.monotonic() - told > HEARTBEAT:
            yield ": still here\n\n"
            told = time.monotonic()


def _event(job: Kept) -> str:
    return f"event: job\nid: {job.version}\ndata: {json.dumps(job.told())}\n\n"


@router.post("/jobs/{id}/retry", response_model=Job, status_code=202, responses=NOT_FOUND, summary="Retry a job")
async def retry_job(request: Request, service: Served, id: JobId) -> JSONResponse:
    """Queue a job again that failed or was interrupted; what it was given is still there."""
    job = await service.workers.run(request, lambda: service.jobs.retry(id))
    return JSONResponse(job.told(), 202)


@router.delete("/jobs/{id}", response_model=Job, responses=NOT_FOUND, summary="Cancel or forget a job")
async def delete_job(request: Request, service: Served, id: JobId) -> JSONResponse:
    """End a job early at a safe point, or forget one that has ended. What it has not committed stays out."""
    job = await service.workers.run(request, lambda: service.jobs.cancel(id))
    return JSONResponse(job.told())
