"""Documents: add texts or files as a job, read them back, delete them.

What is sent is on the disk before it is answered with 202. Keys of documents are names, never paths that are opened.
"""

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse

from instructsearch.errors import BadQuery, NotOffered, ReadError, TooMuch
from instructsearch.readers.rows import clean
from instructsearch.serve import catalogue
from instructsearch.serve.naming import Names
from instructsearch.serve.routes.job import WAITS, told_when_ended
from instructsearch.serve.routes.refusals import BUSY, NOT_FOUND
from instructsearch.serve.schemas import CollectionName, Gone, Job, Keys, NewDocuments, Stored, StoredDocuments
from instructsearch.serve.service import Served, Service
from instructsearch.serve.spool import copy
from instructsearch.serve.work import kept_name, rows
from instructsearch.store.documents import Stored as StoredRow

router = APIRouter(prefix="/collections/{name}", tags=["documents"])
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\]|^/|(^|/)\.{0,2}(/|$)")
_LONGEST = 1000  # characters of a file's name


@router.post(
    "/documents", response_model=Job, status_code=202, responses=NOT_FOUND | WAITS, summary="Add or replace documents"
)
async def add_documents(
    request: Request,
    service: Served,
    name: CollectionName,
    asked: NewDocuments,
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the job to end.")] = 0,
) -> JSONResponse:
    """Embed documents for every view, as a job. `wait` is for small ones: 200 when the job has ended."""
    most = service.settings.limits.documents
    if len(asked.documents) > most:
        raise TooMuch(f"there are {len(asked.documents)} documents; this service takes {most} in one request")

    def submit() -> str:
        service.catalogue.get(name)
        given = [
            {**one.model_dump(), "metadata": _cleaned(number, one.metadata)}
            for number, one in enumerate(asked.documents)
        ]
        return service.jobs.submit("documents", name, {"count": len(given)}, rows(given)).id

    return await told_when_ended(request, service, await service.workers.run(request, submit), wait)


def _cleaned(number: int, metadata: dict[str, Any]) -> Any:
    try:
        return clean(metadata)
    except ValueError as error:
        raise ReadError(f"documents.{number}.metadata", str(error)) from error


@router.post("/files", response_model=Job, status_code=202, responses=NOT_FOUND | WAITS, summary="Upload files")
async def add_files(
    request: Request,
    service: Served,
    name: CollectionName,
    files: Annotated[list[UploadFile], File(description="Files of any kind that `instructsearch index` reads.")],
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the job to end.")] = 0,
) -> JSONResponse:
    """Read files and add what is in them, as a job. A file's name is its id; rows of JSONL and CSV are documents each.

    A file of a name that is there already replaces it; rows that are no longer in it stay.
    """
    most = service.settings.limits.files
    if len(files) > most:
        raise TooMuch(f"there are {len(files)} files; this service takes {most} in one upload")
    names = [_fit(file.filename or "") for file in files]

    def fill(folder: Path) -> None:
        for number, (file, called) in enumerate(zip(files, names, strict=True)):
            copy(file.file, folder / kept_name(number, called))

    def submit() -> str:
        service.catalogue.get(name)
        return service.jobs.submit("files", name, {"names": names}, fill).id

    return await told_when_ended(request, service, await service.workers.run(request, submit), wait)


def _fit(name: str) -> str:
    if not name or len(name) > _LONGEST or _UNFIT.search(name):
        raise BadQuery(
            "a file's name is its id: 1 to 1000 characters, no control characters, backslashes, '.' or '..' as a folder"
        )
    return name


@router.get("/documents/{id:path}", response_model=Stored, responses=NOT_FOUND, summary="Read a document")
async def get_document(request: Request, service: Served, name: CollectionName, id: str) -> JSONResponse:
    """The text, metadata and passages of a document, by the id that hits show."""

    def read() -> dict[str, Any]:
        found = _stored(service.catalogue.get(name), [id])
        if not found:
            raise NotOffered(f"no document {id[:200]!r} in {name}")
        return found[0]

    return JSONResponse(await service.workers.run(request, read))


@router.post("/documents/read", response_model=StoredDocuments, responses=NOT_FOUND, summary="Read documents")
async def read_documents(request: Request, service: Served, name: CollectionName, asked: Keys) -> JSONResponse:
    """Several documents at once; those that are not there are left out."""
    found = await service.workers.run(request, lambda: _stored(service.catalogue.get(name), asked.ids))
    return JSONResponse({"documents": found})


@router.delete("/documents/{id:path}", response_model=Gone, responses=NOT_FOUND | BUSY, summary="Delete a document")
async def delete_document(request: Request, service: Served, name: CollectionName, id: str) -> JSONResponse:
    """Delete a document from every view. While a job is at work on the collection it is refused."""

    def delete() -> list[str]:
        gone = _deleted(service, name, [id])
        if not gone:
            raise NotOffered(f"no document {id[:200]!r} in {name}")
        return gone

    return JSONResponse({"deleted": await service.workers.run(request, delete)})


@router.post("/documents/delete", response_model=Gone, responses=NOT_FOUND | BUSY, summary="Delete documents")
async def delete_documents(request: Request, service: Served, name: CollectionName, asked: Keys) -> JSONResponse:
    """Delete several documents at once, and say which were there."""
    return JSONResponse({"deleted": await service.workers.run(request, lambda: _deleted(service, name, asked.ids))})


def _keys(called: Names, ids: Sequence[str]) -> dict[str, list[str]]:
    return {id: list(called.keys(id)) for id in ids}


def _deleted(service: Service, name: str, ids: Sequence[str]) -> list[str]:
    collection = service.catalogue.get(name)
    service.jobs.refuse_busy(name)
    keys = _keys(collection.names(), ids)
    there = {one.key for one in collection.documents(list(chain(*keys.values())), texts=False)}
    wanted = {id: next((key for key in some if key in there), None) for id, some in keys.items()}
    gone = set(collection.delete([key for key in wanted.values() if key is not None]))
    return [id for id, key in wanted.items() if key in gone]


def _stored(collection: catalogue.Served, ids: Sequence[str]) -> list[dict[str, Any]]:
    called = collection.names()
    keys = _keys(called, ids)
    found = {one.key: one for one in collection.documents(list(chain(*keys.values())))}
    wanted = [next((found[key] for key in some if key in found), None) for some in keys.values()]
    return [_told(collection, called, one) for one in wanted if one is not None]


def _told(collection: catalogue.Served, called: Names, one: StoredRow) -> dict[str, Any]:
    return {
        "id": called.document(one.key, one.source),
        "title": one.title,
        "text": one.text,
        "source": called.source(one.source),
        "metadata": called.metadata(one.metadata, one.source),
        "passages": [
            {
                "chunk": place.chunk,
                "start": place.start,
                "end": place.end,
                "text": place.text,
                "metadata": called.metadata(place.metadata, one.source),
            }
            for place in collection.passages(one.chunks)
        ],
    }
