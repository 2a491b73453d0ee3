"""Embeddings and models, as OpenAI's API has them; texts may be given an instruction and a role."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import JSONResponse

from instructsearch.embed import Profile
from instructsearch.errors import BadQuery, TooLong, TooMuch
from instructsearch.serve.model_schemas import EmbeddingList, Embeddings, Model, ModelList
from instructsearch.serve.routes.refusals import NOT_FOUND
from instructsearch.serve.service import Served, Service

router = APIRouter(prefix="/v1", tags=["models"])


@router.post("/embeddings", response_model=EmbeddingList, responses=NOT_FOUND, summary="Embed texts")
async def embeddings(request: Request, service: Served, asked: Embeddings) -> JSONResponse:
    """Vectors of unit length for a text or a list of them, under an instruction and in a role."""
    texts = _texts(asked, service.settings.limits.inputs)
    return JSONResponse(await service.workers.run(request, lambda: _embedded(service, asked, texts)))


def _texts(asked: Embeddings, most: int) -> list[str]:
    given = [asked.input] if isinstance(asked.input, str) else asked.input
    texts = [one for one in given if isinstance(one, str)]
    if len(texts) < len(given):
        raise BadQuery("input is a list of token ids, and whose tokens they are is not said; send texts")
    if not texts or not all(text.strip() for text in texts):
        raise BadQuery("input must hold at least one text, and no blank one")
    if len(texts) > most:
        raise TooMuch(f"there are {len(texts)} texts; this service takes {most} in one request")
    return texts


def _embedded(service: Service, asked: Embeddings, texts: list[str]) -> dict[str, Any]:
    profile = service.pool.profile(asked.model)
    if asked.dimensions is not None:
        profile = profile.at(asked.dimensions)
    instruction = asked.instruction
    if instruction is None:
        instruction = profile.query_instruction if asked.role == "query" else ""
    model = service.pool.load(profile, queries=True)
    room = model.room(instruction, asked.role)
    counts = model.count(texts)
    if not asked.truncate and max(counts) > room:
        raise TooLong(
            f"text {counts.index(max(counts))} has {max(counts)} tokens, {asked.model} has room for {room} under this"
            ' instruction; shorten it, or send "truncate": true'
        )
    vectors = model.encode(texts, instruction, asked.role)
    tokens = sum(profile.max_tokens - room + min(count, room) for count in counts)
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
                if asked.encoding_format == "base64"
                else row.tolist(),
            }
            for index, row in enumerate(vectors)
        ],
        "model": asked.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


@router.get("/models", response_model=ModelList, summary="List models")
async def list_models(request: Request, service: Served) -> JSONResponse:
    """The embedding models at hand."""
    offered = await service.workers.run(request, service.pool.offered)
    return JSONResponse({"object": "list", "data": [_told(name, profile) for name, profile in offered]})


@router.get("/models/{id:path}", response_model=Model, responses=NOT_FOUND, summary="Look at a model")
async def get_model(
    request: Request, service: Served, id: Annotated[str, Path(max_length=200, examples=["minilm"])]
) -> JSONResponse:
    """One embedding model that may be named here."""
    return JSONResponse(_told(id, await service.workers.run(request, lambda: service.pool.profile(id))))


def _told(name: str, profile: Profile) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "instructsearch",
        "dim": profile.dim,
        "dims": sorted(profile.dims),
        "max_tokens": profile.max_tokens,
        "takes_instruction": profile.takes_instruction,
    }
