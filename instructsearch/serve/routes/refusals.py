"""Refusals that only some routes know, as the OpenAPI document describes them."""

from typing import Any

from instructsearch.serve.schemas import Refusal

Responses = dict[int | str, dict[str, Any]]


def _one(code: int, told: str) -> Responses:
    return {code: {"model": Refusal, "description": told}}


NOT_FOUND = _one(404, "There is nothing of that name or id.")
TAKEN = _one(404, "There is no such model.") | _one(409, "The name is taken.")
BUSY = _one(409, "Somebody is writing to the collection; `job` says which job, where it is one of this service.")
MISMATCH = _one(409, "The model at hand does not fit the view.")
MISSING_EXTRA = _one(501, "An extra of the package is not installed; the message says which.")
