"""Whatever the OpenAPI document allows, and much that it does not, is answered as it says, and never by a 5xx."""

from pathlib import Path

import pytest
import schemathesis
import served
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from instructsearch.serve import Limits, Settings, create_app

load_all_checks()
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
DOCUMENT = create_app(Settings(Path("unused"))).openapi()
OPERATIONS = [found.ok() for found in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()]
# where nothing can be given, nothing can be given wrongly
TRIED = [
    (operation, mode)
    for operation in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.path_parameters
]
# models that need no weights: made-up names are tried too, and the examples' own would be loaded
SMALL = {"/v1/embeddings": ("model", "hash"), "/v1/rerank": ("model", "overlap")}
NAMES = {"name": "tickets", "view": "default", "id": "t1"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    # a limit of one model: should a request name another one that is here, it is refused and not loaded
    with served.serving(tmp_path_factory.mktemp("schema"), limits=Limits(models=1, jobs=100_000)) as client:
        client.collection("tickets")
        client.post("/v1/embeddings", json={"model": "hash", "input": "a"})
        yield client


def sent(case, service, number):
    """Send a case, every other one to what is there, and hold the answer against the document."""
    if service.get("/collections/tickets").status_code != 200:
        service.collection("tickets")
        service.add(("t1", "The printer is on fire", {"priority": 3}), name="tickets")
    if number % 2 and isinstance(case.path_parameters, dict):
        case.path_parameters.update({name: NAMES[name] for name in case.path_parameters if "jobs" not in case.path})
    if isinstance(case.body, dict):
        field, small = SMALL.get(case.path, ("embedder", "hash"))
        if field in case.body or case.path in (*SMALL, "/collections"):
            case.body[field] = small
        case.body.pop("rerank", None)
    if isinstance(case.query, dict):
        case.query.pop("wait", None)
    case.call_and_validate(base_url=str(service.base_url), checks=CHECKS, timeout=served.PATIENCE)


def tried(operation, service, mode, examples):
    count = 0

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def each(case):
        nonlocal count
        count += 1
        sent(case, service, count)

    each()
    assert count


@pytest.mark.parametrize(("operation", "mode"), TRIED, ids=lambda one: getattr(one, "label", None) or one.name.lower())
def test_every_operation_keeps_to_its_description(operation, mode, service):
    tried(operation, service, mode, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "mode"), TRIED, ids=lambda one: getattr(one, "label", None) or one.name.lower())
def test_every_operation_keeps_to_its_description_whatever_is_asked(operation, mode, service):
    tried(operation, service, mode, 60)


def test_the_document_tells_of_every_thing_there_is():
    assert {path.split("/")[1] for path in DOCUMENT["paths"]} == {
        "collections",
        "health",
        "jobs",
        "metrics",
        "ready",
        "v1",
    }
    assert len(OPERATIONS) > 25
