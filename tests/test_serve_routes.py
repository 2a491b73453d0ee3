"""What can be asked over HTTP: collections, documents, files, views, searches and jobs, and how it is refused."""

import json
import threading
import time

import httpx
import pytest
import served
from corpora import write

from instructsearch import Collection, Document
from instructsearch.serve import Limits
from instructsearch.serve.batching import Lane
from instructsearch.store.connection import writer_lock

TICKETS = [
    ("t1", "The printer is on fire", {"priority": 3, "status": "open"}),
    ("t2", "I want a refund for the printer", {"priority": 1, "status": "waiting"}),
    ("t3", "Thank you, all is well again", {"priority": 2, "status": "done"}),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("routes")


@pytest.fixture(scope="module")
def service(root):
    with served.serving(root) as client:
        client.collection("tickets")
        client.add(*TICKETS, name="tickets")
        yield client


@pytest.fixture
def client(service, request):
    """The service, with a collection `c` of this test's own."""
    if service.get("/collections/c").status_code == 200:
        assert service.delete("/collections/c").status_code == 200
    service.collection("c")
    return service


def refused(answer, status, kind):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert answer.json()["error"]["type"] == kind
    return answer.json()["error"]["message"]


# --- collections


def test_a_collection_is_made_listed_looked_at_and_deleted(service):
    made = service.post("/collections", json={"name": "new", "embedder": "hash", "instruction": "Sort by colour"})
    assert made.status_code == 201
    assert made.json()["views"][0]["instruction"] == "Sort by colour"
    assert service.get("/collections/new").json() == made.json()
    listed = {one["collection"]: one for one in service.get("/collections").json()["collections"]}
    assert listed["new"] == {"collection": "new", "documents": 0, "chunks": 0, "views": ["default"], "error": None}
    assert service.delete("/collections/new").json() == {"deleted": ["new"]}
    refused(service.get("/collections/new"), 404, "CollectionNotFound")
    refused(service.delete("/collections/new"), 404, "CollectionNotFound")


def test_a_collection_made_anew_under_an_old_name_is_the_new_one(client):
    client.add(("a", "the cat"))
    assert client.search("cat")
    client.delete("/collections/c")
    client.collection("c")
    assert client.search("cat") == []
    client.add(("b", "the cat"))
    assert [hit["document"] for hit in client.search("cat")] == ["b"]


def test_a_name_that_is_taken_is_refused(client):
    refused(client.post("/collections", json={"name": "c", "embedder": "hash"}), 409, "CollectionExists")


def test_a_collection_made_by_another_process_is_there(client, root):
    made = Collection.create("elsewhere", root, embedder="hash")
    made.add([Document("x", "a cat from elsewhere")])
    assert [hit["document"] for hit in client.search("cat", name="elsewhere")] == ["x"]
    made.add([Document("y", "a cat that came later")])
    assert len(client.search("cat", name="elsewhere")) == 2
    made.drop()
    refused(client.get("/collections/elsewhere"), 404, "CollectionNotFound")


def test_while_another_process_writes_a_collection_is_not_deleted(client, root):
    with writer_lock(root / "c"):
        refused(client.delete("/collections/c"), 409, "CollectionBusy")
    assert client.get("/collections/c").status_code == 200


# --- search


def test_a_search_gives_what_the_library_gives(service, root):
    ours = Collection.open("tickets", root).search("printer", k=3, where={"priority": {"$gte": 2}})
    theirs = service.search("printer", name="tickets", k=3, where={"priority": {"$gte": 2}})
    assert theirs == [json.loads(json.dumps(hit.to_dict())) for hit in ours]


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "dense"},
        {"mode": "bm25"},
        {"views": ["default"]},
        {"instruction": "Sort by what is broken"},
        {"by_document": True},
        {"rerank": "overlap"},
        {"k": 1},
        {"where": {"$or": [{"status": "open"}, {"status": {"$in": ["done"]}}]}},
        {"understand": True},
        {"fusion": 0.3},
        {"weights": {"bm25": 2.0}},
        {"passages": 2},
        {"fold": 0.9},
        {"mmr": 0.4},
        {"snippet": True},
        {"context": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_option_reaches_the_search(service, root, options):
    library = dict(options)
    if "views" in library:
        library["view"] = library.pop("views")
    ours = Collection.open("tickets", root).search("printer fire", **library)
    theirs = service.search("printer fire", name="tickets", **options)
    assert theirs == [json.loads(json.dumps(hit.to_dict())) for hit in ours]
    assert theirs


def test_an_explanation_tells_the_filter_as_it_was_written_and_no_path(client, root, tmp_path):
    source = tmp_path / "notes.txt"
    source.write_text("the printer is on fire")
    Collection.open("c", root).index([source])
    own = {"path": {"$in": ["file:notes.txt"]}}
    (hit,) = client.search("printer -water", where=own, explain=True, understand=True)
    assert hit["explain"]["filters"] == {"$and": [own, {"$and": [{"$not_contains": "water"}]}]}
    (hit,) = client.search("printer", where=own, explain=True)
    assert hit["explain"]["filters"] == own
    assert {"default", "bm25", "fusion"} == set(hit["explain"]["stages"])
    assert str(tmp_path) not in json.dumps(hit)
    assert "explain" not in client.search("printer")[0]


def test_several_views_are_fused_and_each_says_its_instructions(client):
    client.add(*TICKETS)
    job = client.post("/collections/c/views", json={"name": "tone", "instruction": "thank"}, params={"wait": 60}).json()
    assert job["result"] == {"embedded": {"tone": 3}}
    hit = client.search("thank you", views=["default", "tone"])[0]
    assert hit["view"] == "default+tone"
    assert hit["instructions"]["tone"] == {"document": "thank", "query": "thank"}


@pytest.mark.parametrize(
    ("asked", "status", "kind"),
    [
        ({"query": "a", "views": ["none"]}, 404, "ViewNotFound"),
        ({"query": "a", "where": {"x": {"$near": 1}}}, 400, "BadFilter"),
        ({"query": "a", "where": {"$not": {"$not": 1}}}, 400, "BadFilter"),
        ({"query": "a", "rerank": "none"}, 404, "NotOffered"),
        ({"query": ""}, 422, "InvalidRequest"),
        ({"query": " "}, 422, "InvalidRequest"),
        ({"query": "a", "k": 0}, 422, "InvalidRequest"),
        ({"query": "a", "k": "3"}, 422, "InvalidRequest"),
        ({"query": "a", "k": True}, 422, "InvalidRequest"),
        ({"query": "a", "mode": "psychic"}, 422, "InvalidRequest"),
        ({"query": "a", "n": 3}, 422, "InvalidRequest"),
        ({"query": "a", "where": "x=1"}, 422, "InvalidRequest"),
        ({"query": "\ud800"}, 422, "InvalidRequest"),
        ({}, 422, "InvalidRequest"),
        ([], 422, "InvalidRequest"),
    ],
)
def test_a_search_that_cannot_be_is_refused_by_kind(service, asked, status, kind):
    body = json.dumps(asked)  # escapes lone surrogates, as a client may
    answer = service.post("/collections/tickets/search", content=body, headers={"Content-Type": "application/json"})
    refused(answer, status, kind)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"nonsense"])
def test_a_body_that_is_no_json_is_refused(service, body):
    answer = service.post("/collections/tickets/search", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert set(answer.json()["error"]) == {"type", "message"}


def test_a_refusal_names_the_field_and_repeats_nothing_of_what_was_sent(service):
    answer = service.post("/collections/tickets/search", json={"query": "a", "k": "seven secrets"})
    assert "body.k" in refused(answer, 422, "InvalidRequest")
    assert "secrets" not in answer.text


# --- documents and files


def test_documents_are_added_replaced_read_and_deleted(client):
    job = client.add(("a", "A cat"), ("b", "A dog", {"year": 2020, "tags": ["x", None, 1.5], "of": {"a": True}}))
    assert job["result"]["documents"] == {"added": 2, "updated": 0, "unchanged": 0, "deleted": 0, "failed": 0}
    assert client.add(("a", "A cat, later"), ("b", "A dog", {"year": 2021}))["result"]["documents"]["updated"] == 2
    found = client.get("/collections/c/documents/b").json()
    assert (found["id"], found["text"], found["metadata"]) == ("b", "A dog", {"year": 2021})
    assert [(one["start"], one["end"], one["text"]) for one in found["passages"]] == [(0, 5, "A dog")]
    many = client.post("/collections/c/documents/read", json={"ids": ["b", "none", "a"]}).json()["documents"]
    assert [one["id"] for one in many] == ["b", "a"]
    assert client.delete("/collections/c/documents/a").json() == {"deleted": ["a"]}
    refused(client.get("/collections/c/documents/a"), 404, "NotOffered")
    refused(client.delete("/collections/c/documents/a"), 404, "NotOffered")
    gone = client.post("/collections/c/documents/delete", json={"ids": ["a", "b"]})
    assert gone.json() == {"deleted": ["b"]}
    assert client.search("cat") == []


@pytest.mark.parametrize("id", ["a/b", "../../etc/passwd", "a b#c?d%e", "naïve–☃", "read", "file:a.md", "delete"])
def test_any_text_can_be_an_id(client, id):
    client.add((id, "A cat"))
    hit = client.search("cat")[0]
    assert hit["document"] == id
    assert client.post("/collections/c/documents/read", json={"ids": [id]}).json()["documents"][0]["id"] == id
    if ".." not in id:  # which every client takes for a step up, before it asks
        path = (
            f"/collections/c/documents/{httpx.URL('http://x', params={'q': id}).query.decode()[2:].replace('+', '%20')}"
        )
        assert client.get(path).json()["id"] == id
    assert client.post("/collections/c/documents/delete", json={"ids": [id]}).json() == {"deleted": [id]}


def test_an_id_that_is_also_the_name_of_a_file_means_the_document_with_that_id(client, root, tmp_path):
    write(tmp_path / "docs" / "a.md", "From a file")
    Collection.open("c", root).index([tmp_path / "docs"])
    assert client.get("/collections/c/documents/file:a.md").json()["text"].strip() == "From a file"
    client.add(("file:a.md", "From a record"))
    assert client.get("/collections/c/documents/file:a.md").json()["text"] == "From a record"


@pytest.mark.parametrize(
    "document",
    [
        {"id": "", "text": "a"},
        {"id": "a", "text": " "},
        {"id": "a\n", "text": "a"},
        {"id": 1, "text": "a"},
        {"id": "a"},
        {"id": "a", "text": "a", "source": "/etc/passwd"},
        {"id": "a", "text": "a", "metadata": []},
        {"id": "a", "text": "a", "format": "code:../x"},
        {"id": "a", "text": "\ud800"},
    ],
)
def test_a_document_that_cannot_be_is_refused_before_anything_is_kept(client, document):
    before = len(client.get("/jobs").json()["jobs"])
    body = json.dumps({"documents": [{"id": "fine", "text": "fine"}, document]})
    answer = client.post("/collections/c/documents", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 422, "InvalidRequest")
    assert len(client.get("/jobs").json()["jobs"]) == before


@pytest.mark.parametrize(
    "metadata",
    [{"a": 1e400}, {"a": "\ud800\x00"}, {"a" * 10_000: 10**400}, {"\x00": 1}, {"a": [[[[1]]]]}],
    ids=range(5),
)
def test_strange_metadata_is_kept_or_refused_and_breaks_nothing(client, metadata):
    body = json.dumps({"documents": [{"id": "a", "text": "a cat", "metadata": metadata}]})
    answer = client.post(
        "/collections/c/documents", content=body, headers={"Content-Type": "application/json"}, params={"wait": 60}
    )
    assert answer.status_code in (200, 400, 422), answer.text
    if answer.status_code == 200:
        assert answer.json()["state"] == "done", answer.text
        assert client.search("cat")
    client.add(("b", "another cat"))


def test_files_are_read_as_index_reads_them_under_the_names_they_came_with(client):
    files = [
        ("files", ("guide/cats.md", b"# Cats\n\nThe cat sat on the mat.")),
        (
            "files",
            ("rows.jsonl", b'{"id": "r1", "text": "a cat in a row"}\n{"text": "a cat without an id"}\nnonsense\n'),
        ),
        ("files", ("page.html", b"<title>Cats</title><p>A cat on a page")),
        ("files", ("bad.pdf", b"%PDF-1.4 no more")),
        ("files", ("LICENSE", b"A cat may look at a king")),
    ]
    answer = client.post("/collections/c/files", files=files, params={"wait": 60})
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert job["result"]["documents"]["added"] == 5
    assert job["result"]["documents"]["failed"] == 2
    assert [one["where"] for one in job["failures"]] == ["rows.jsonl:3", "bad.pdf"]
    found = {hit["document"]: hit for hit in client.search("cat", k=20)}
    assert set(found) == {"guide/cats.md", "r1", "rows.jsonl#2", "page.html", "LICENSE"}
    assert found["guide/cats.md"]["metadata"]["path"] == "guide/cats.md"
    assert found["guide/cats.md"]["metadata"]["type"] == "markdown"
    assert {hit["source"] for hit in found.values()} == {""}
    only = client.search("cat", where={"path": "guide/cats.md"})
    assert [hit["document"] for hit in only] == ["guide/cats.md"]


def test_a_file_sent_again_replaces_the_one_of_its_name(client):
    for text in (b"a cat", b"a dog"):
        client.post("/collections/c/files", files={"files": ("a.txt", text)}, params={"wait": 60})
    assert client.get("/collections/c").json()["documents"] == 1
    assert client.get("/collections/c/documents/a.txt").json()["text"] == "a dog"


def test_an_upload_of_nothing_is_refused(client):
    assert client.post("/collections/c/files").status_code == 422
    assert client.post("/collections/none/files", files={"files": ("a.txt", b"a")}).status_code == 404


# --- views


def test_views_are_added_listed_refreshed_and_dropped(client):
    client.add(*TICKETS)
    added = client.post("/collections/c/views", json={"name": "tone", "instruction": "Sort by tone"})
    assert added.status_code == 202
    assert added.headers["Location"] == f"/jobs/{added.json()['id']}"
    assert client.ended(added.json()["id"])["state"] == "done"
    assert [row["view"] for row in client.get("/collections/c/views").json()["views"]] == ["default", "tone"]
    refused(client.post("/collections/c/views", json={"name": "tone"}), 409, "ViewExists")
    again = client.post("/collections/c/views/tone/refresh", json={"spec": "HNSW32"}, params={"wait": 60})
    assert again.json()["state"] == "done", again.text
    assert client.get("/collections/c/views").json()["views"][1]["spec"] == "HNSW32"
    assert client.delete("/collections/c/views/tone").json() == {"deleted": ["tone"]}
    refused(client.delete("/collections/c/views/tone"), 404, "ViewNotFound")
    refused(client.post("/collections/c/views/tone/refresh", json={}), 404, "ViewNotFound")


def test_a_view_that_cannot_be_is_refused_at_once_or_by_its_job(client):
    refused(client.post("/collections/c/views", json={"name": "v", "spec": "PQ16"}), 400, "BadIndex")
    job = client.post("/collections/c/views", json={"name": "bm25"}, params={"wait": 60}).json()
    assert (job["state"], job["error"]["type"]) == ("failed", "BadQuery")
    client.add(("a", "a cat " * 100))
    long = {"name": "v", "instruction": "word " * 200}
    job = client.post("/collections/c/views", json=long, params={"wait": 60}).json()
    assert (job["state"], job["error"]["type"]) == ("failed", "TooLong")


# --- jobs


def hold(monkeypatch):
    """Let every job wait before it embeds, until it is let go."""
    from instructsearch import fill

    go = threading.Event()
    encode = fill.encode_many

    def held(*arguments, progress=None, **options):
        while not go.wait(0.01):
            progress(0)
        return encode(*arguments, progress=progress, **options)

    monkeypatch.setattr(fill, "encode_many", held)
    return go


def test_a_job_goes_on_without_its_client_and_is_told_as_it_goes(client, monkeypatch):
    go = hold(monkeypatch)
    with httpx.Client(base_url=client.base_url, timeout=served.PATIENCE) as other:
        job = other.post("/collections/c/documents", json={"documents": [{"id": "a", "text": "a cat"}]})
    assert job.status_code == 202
    id = job.json()["id"]
    until = time.monotonic() + served.PATIENCE
    while (now := client.get(f"/jobs/{id}").json())["progress"] is None or now["progress"]["stage"] == "read":
        assert time.monotonic() < until
    assert now["state"] == "running"
    assert now["progress"] == {"stage": "embed default", "done": 0, "total": 1}
    assert client.get("/collections/c").json()["job"] == id
    busy = client.delete("/collections/c/documents/a")
    refused(busy, 409, "CollectionBusy")
    assert busy.json()["error"]["job"] == id
    refused(client.delete("/collections/c"), 409, "CollectionBusy")
    go.set()
    assert client.ended(id)["state"] == "done"
    assert client.get("/collections/c/jobs").json()["jobs"][0]["id"] == id
    assert client.search("cat")


def test_a_jobs_events_end_with_it(client, monkeypatch):
    go = hold(monkeypatch)
    job = client.post("/collections/c/documents", json={"documents": [{"id": "a", "text": "a cat"}]}).json()
    states = []
    with client.stream("GET", f"/jobs/{job['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                states.append(json.loads(line[6:])["state"])
                go.set()
    assert states[-1] == "done"
    assert set(states) <= {"queued", "running", "done"}


def test_a_running_job_is_cancelled_and_leaves_nothing(client, monkeypatch):
    go = hold(monkeypatch)
    job = client.post("/collections/c/documents", json={"documents": [{"id": "a", "text": "a cat"}]}).json()
    assert client.delete(f"/jobs/{job['id']}").status_code == 200
    assert client.ended(job["id"])["state"] == "cancelled"
    go.set()
    assert client.search("cat") == []
    client.delete(f"/jobs/{job['id']}")
    refused(client.get(f"/jobs/{job['id']}"), 404, "NotOffered")


def test_while_another_process_writes_a_job_waits_for_it(client, root):
    with writer_lock(root / "c"):
        job = client.post("/collections/c/documents", json={"documents": [{"id": "a", "text": "a cat"}]}).json()
        until = time.monotonic() + served.PATIENCE
        while client.get(f"/jobs/{job['id']}").json()["state"] != "waiting":
            assert time.monotonic() < until
        refused(client.delete("/collections/c/documents/a"), 409, "CollectionBusy")
    assert client.ended(job["id"])["state"] == "done"


def test_compacting_is_a_job(client):
    client.add(("a", "a cat"), ("b", "a dog"))
    client.delete("/collections/c/documents/a")
    assert client.get("/collections/c").json()["dead"] == 1
    job = client.post("/collections/c/compact")
    assert job.status_code == 202
    assert client.ended(job.json()["id"])["state"] == "done"
    assert client.get("/collections/c").json()["dead"] == 0


def test_a_job_on_a_collection_that_is_gone_fails_and_says_so(client, root):
    with writer_lock(root / "c"):
        job = client.post("/collections/c/documents", json={"documents": [{"id": "a", "text": "a cat"}]}).json()
        (root / "c").rename(root / ".elsewhere")
    ended = client.ended(job["id"])
    assert (ended["state"], ended["error"]["type"]) == ("failed", "CollectionNotFound")
    (root / ".elsewhere").rename(root / "c")
    assert client.post(f"/jobs/{job['id']}/retry").status_code == 202
    assert client.ended(job["id"])["state"] == "done"


# --- the service


def test_metrics_count_by_route_and_never_name_what_was_asked(client):
    client.search("a secret question", name="tickets")
    text = client.get("/metrics").text
    counted = 'instructsearch_requests_total{method="POST",route="/collections/{name}/search",status="200"}'
    assert counted in text
    assert 'instructsearch_batch_size_bucket{lane="embed"' in text
    assert 'instructsearch_jobs{state="done"}' in text
    assert "process_resident_memory_bytes" in text
    assert "tickets" not in text and "secret" not in text
    openmetrics = client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert openmetrics.text.endswith("# EOF\n")


def test_it_is_ready_once_its_models_are_loaded(service):
    until = time.monotonic() + served.PATIENCE
    while service.get("/ready").status_code != 200:
        assert time.monotonic() < until
    assert service.get("/ready").json() == {"status": "ready"}


def test_what_takes_too_long_is_given_up(root, tmp_path, monkeypatch):
    with served.serving(tmp_path, limits=Limits(seconds=0.5)) as client:
        client.collection()
        client.add(("a", "a cat"))
        go = threading.Event()
        ask = Lane.ask
        monkeypatch.setattr(Lane, "ask", lambda self, items: go.wait(60) and ask(self, items))
        refused(client.post("/collections/c/search", json={"query": "cat"}), 504, "TimedOut")
        assert client.get("/health").status_code == 200
        go.set()


def test_more_than_can_wait_are_sent_away(tmp_path, monkeypatch):
    with served.serving(tmp_path, limits=Limits(waiting=2)) as client:
        client.collection()
        go, asking = threading.Event(), threading.Semaphore(0)
        ask = Lane.ask
        monkeypatch.setattr(Lane, "ask", lambda self, items: (asking.release(), go.wait(60)) and ask(self, items))

        def search():
            return httpx.post(client.base_url.join("/collections/c/search"), json={"query": "cat"}, timeout=60)

        answers = []
        threads = [threading.Thread(target=lambda: answers.append(search())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert asking.acquire(timeout=served.PATIENCE)
        sent_away = search()
        refused(sent_away, 503, "Overloaded")
        assert sent_away.headers["Retry-After"] == "1"
        assert client.get("/health").status_code == 200, "what needs no thread is answered all the same"
        go.set()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200, 200]


def test_a_client_that_leaves_is_no_longer_worked_for(tmp_path, monkeypatch):
    with served.serving(tmp_path) as client:
        client.collection()
        go, seen = threading.Event(), []
        ask = Lane.ask

        def held(self, items):
            from instructsearch.serve.batching import _calling

            caller = _calling.get()
            seen.append(caller)
            assert go.wait(60)
            return ask(self, items)

        monkeypatch.setattr(Lane, "ask", held)
        with pytest.raises(httpx.TimeoutException):
            httpx.post(client.base_url.join("/collections/c/search"), json={"query": "cat"}, timeout=0.5)
        until = time.monotonic() + served.PATIENCE
        while not (seen and seen[0].gone):
            assert time.monotonic() < until
            time.sleep(0.01)
        go.set()


def test_something_unforeseen_tells_the_client_nothing_of_it(service, monkeypatch, caplog):
    def broken(self, *arguments, **options):
        raise RuntimeError("/secret/folder and a token")

    monkeypatch.setattr(Collection, "search", broken)
    answer = service.post("/collections/tickets/search", json={"query": "a"})
    assert "secret" not in refused(answer, 500, "InternalError")


def test_there_is_no_page_of_documentation_that_would_load_scripts_from_elsewhere(service):
    assert service.get("/docs").status_code == 404
    assert service.get("/redoc").status_code == 404
    assert service.get("/openapi.json").json()["info"]["title"] == "instructsearch"


def test_every_operation_is_described_with_its_errors(service):
    document = service.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"] and operation["description"] and operation["tags"], (method, path)
            for status, response in operation["responses"].items():
                if status in ("400", "401", "404", "409", "422", "504"):
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Refusal"}, (method, path, status)
    asked = [name for name, schema in document["components"]["schemas"].items() if schema.get("examples")]
    assert {"NewCollection", "Search", "NewDocuments", "Embeddings", "Rerank", "NewView"} <= set(asked)
