"""Who is let in: by the right Host, from no foreign page, with the token; and nothing of the machine gets out."""

import socket
from unittest.mock import Mock

import httpx
import pytest
import served
from corpora import rows, write

from instructsearch import Collection
from instructsearch.errors import ServiceError
from instructsearch.serve import Limits, Settings

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    root = tmp_path_factory.mktemp("security")
    limits = Limits(body_bytes=100_000, upload_bytes=200_000, hits=50, inputs=4, documents=3, files=2)
    with served.serving(root, token=TOKEN, limits=limits, origins=("https://app.example",)) as client:
        client.collection()
        client.add(("a", "The cat sat on the mat"))
        yield client


def refused(answer, status, kind):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["type"] == kind
    assert error["message"]
    return error["message"]


def raw(client, text):
    """Send what no client library would, and return the beginning of the answer."""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=served.PATIENCE) as sent:
        sent.sendall(text.encode())
        return sent.recv(100)


# --- the token


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
    ],
)
@pytest.mark.parametrize("path", ["/collections", "/collections/c", "/v1/models", "/jobs", "/metrics", "/openapi.json"])
def test_without_the_right_token_nothing_is_told(client, header, path):
    answer = httpx.get(client.base_url.join(path), headers={} if header is None else {"Authorization": header})
    refused(answer, 401, "Unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_that_is_no_ascii_is_wrong_and_no_error(client):
    answer = httpx.get(client.base_url.join("/jobs"), headers={"Authorization": "Bearer t\u00f6ken".encode("latin-1")})
    refused(answer, 401, "Unauthorized")


def test_health_and_readiness_need_no_token(client):
    assert httpx.get(client.base_url.join("/health")).json()["status"] == "alive"
    assert httpx.get(client.base_url.join("/ready")).status_code in (200, 503)


def test_the_token_is_compared_in_constant_time(client, monkeypatch):
    import hmac

    seen = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: seen.append((one, other)) or compare(one, other))
    for given in ("x", "x" * 1000, TOKEN):
        httpx.get(client.base_url.join("/jobs"), headers={"Authorization": f"Bearer {given}"})
    assert len(seen) == 3
    assert {(len(one), len(other)) for one, other in seen} == {(32, 32)}, "digests, whose length tells nothing"


# --- Host and Origin


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "[", "10.0.0.1", "a@b"]
)
def test_a_foreign_host_is_refused(client, host):
    refused(client.get("/jobs", headers={"Host": host}), 421, "ForeignHost")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8765", "127.8.8.8"])
def test_the_machines_own_names_are_not_foreign(client, host):
    assert client.get("/jobs", headers={"Host": host}).status_code == 200


def test_two_hosts_in_one_request_are_refused(client):
    head = "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert raw(client, head).startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "https://app.example.evil", "file://"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_page_is_refused_even_with_the_token(client, origin, method):
    answer = client.request(method, "/collections", headers={"Origin": origin}, json={"name": "x"})
    refused(answer, 403, "ForeignOrigin")
    assert "access-control-allow-origin" not in answer.headers


def test_the_services_own_page_may_ask(client):
    origin = str(client.base_url).rstrip("/")
    assert client.get("/jobs", headers={"Origin": origin}).status_code == 200


def test_a_page_that_was_allowed_may_ask_and_no_other(client):
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    asked = httpx.options(client.base_url.join("/jobs"), headers={"Origin": "https://app.example", **preflight})
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == "https://app.example"
    answer = client.get("/jobs", headers={"Origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    refused(
        httpx.options(client.base_url.join("/jobs"), headers={"Origin": "https://b", **preflight}), 403, "ForeignOrigin"
    )


def test_by_default_no_page_elsewhere_is_told_anything(tmp_path):
    with served.serving(tmp_path) as client:
        assert not [name for name in client.get("/jobs").headers if name.startswith("access-control")]


def test_a_name_that_was_allowed_is_no_foreign_host(tmp_path):
    with served.serving(tmp_path, hosts=("search.example",)) as client:
        assert client.get("/jobs", headers={"Host": "search.example:80"}).status_code == 200


# --- where it listens


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", ""])
def test_beyond_this_machine_there_must_be_a_token(tmp_path, host):
    with pytest.raises(ServiceError, match="REFUSED"):
        Settings(tmp_path, host)
    assert Settings(tmp_path, host, token=TOKEN).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_this_machine_there_need_not_be_one(tmp_path, host):
    assert Settings(tmp_path, host).token is None


@pytest.mark.parametrize("token", ["", " ", "a b", "t\u00f6ken", "a\nb"])
def test_a_token_that_no_header_can_hold_is_refused(tmp_path, token):
    with pytest.raises(ServiceError, match="token"):
        Settings(tmp_path, token=token)


def test_the_token_is_in_no_representation_of_the_settings(tmp_path):
    assert TOKEN not in repr(Settings(tmp_path, token=TOKEN))


def test_a_host_of_no_address_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", Mock(side_effect=socket.gaierror(-2, "Name or service not known")))
    with pytest.raises(ServiceError, match="no address"):
        Settings(tmp_path, "no-such-host.invalid")


# --- how much


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(client):
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    assert raw(client, f"{head}Content-Length: 100001\r\n\r\n").startswith(b"HTTP/1.1 413")


def test_a_body_that_grows_too_large_is_refused_where_it_does(client):
    def endless():
        for _ in range(200):
            yield b" " * 1000

    answer = client.post("/v1/embeddings", content=endless(), headers={"Content-Type": "application/json"})
    refused(answer, 413, "ContentTooLarge")


def test_uploads_have_a_limit_of_their_own(client):
    fits = client.post("/collections/c/files", files={"files": ("a.txt", b"x " * 70_000)}, params={"wait": 60})
    assert fits.status_code == 200
    large = client.post("/collections/c/files", files={"files": ("a.txt", b"x" * 200_001)})
    refused(large, 413, "ContentTooLarge")


def test_a_body_that_does_not_come_is_not_waited_for(tmp_path):
    with served.serving(tmp_path, limits=Limits(seconds=0.3)) as client:
        head = "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        assert raw(client, head + "Content-Length: 9\r\n\r\n{").startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/collections/c/search", {"query": "cat", "k": 51}),
        ("/v1/embeddings", {"model": "hash", "input": ["a"] * 5}),
        ("/v1/rerank", {"model": "overlap", "query": "a", "documents": ["a"] * 51}),
        ("/collections/c/documents", {"documents": [{"id": str(n), "text": "a"} for n in range(4)]}),
    ],
    ids=["k", "inputs", "rerank", "documents"],
)
def test_more_than_is_allowed_is_refused(client, path, asked):
    refused(client.post(path, json=asked), 422, "TooMuch")


def test_more_files_than_are_allowed_are_refused(client):
    files = [("files", (f"{n}.txt", b"a")) for n in range(3)]
    refused(client.post("/collections/c/files", files=files), 422, "TooMuch")


# --- names


@pytest.mark.parametrize(
    "name", ["..", ".jobs", "%2e%2e", "..%2f..%2fetc", "a%2fb", "a%00b", "x" * 101, "a b", "%0a", "é"]
)
def test_nothing_but_a_name_names_a_collection(client, name):
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/search"), ("GET", "/views"), ("GET", "/documents/a")):
        answer = client.request(method, f"/collections/{name}{path}", json={"query": "a"})
        page = answer.url.path == "/"  # what the client makes of "..": the page, which names nothing
        assert page or answer.status_code in (404, 405, 422), (method, path, answer.status_code)
    assert client.post("/collections", json={"name": name}).status_code == 422


@pytest.mark.parametrize("name", ["../x.txt", "/etc/passwd", "a/../../x", "a//b", "./x", "a/.", "a\\b", "..", "x\x01"])
def test_an_uploads_name_leads_nowhere(client, name):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="' + name.encode() + b'"\r\n'
        b"Content-Type: text/plain\r\n\r\nhello\r\n--b--\r\n"
    )
    answer = client.post(
        "/collections/c/files", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code in (400, 422), answer.text


def test_only_the_pages_own_files_are_served(client):
    for name in ("__init__.py", "..%2fapp.py", "%2e%2e/app.py", "index.html/..", "nothing.js"):
        assert client.get(f"/pages/{name}").status_code == 404


@pytest.mark.parametrize(
    "model", ["/etc/passwd", "../model", "hash=/etc", "late:/etc", "Some/hub-id", "./x.toml", "~/m"]
)
def test_no_model_is_looked_for_on_a_callers_word(client, model):
    refused(client.post("/v1/embeddings", json={"model": model, "input": "a"}), 404, "NotOffered")
    refused(client.post("/v1/rerank", json={"model": model, "query": "a", "documents": ["a"]}), 404, "NotOffered")
    refused(client.post("/collections", json={"name": "new", "embedder": model}), 404, "NotOffered")
    refused(client.post("/collections/c/views", json={"name": "v", "embedder": model}), 404, "NotOffered")
    refused(client.post("/collections/c/search", json={"query": "a", "rerank": model}), 404, "NotOffered")


# --- what is told


def test_every_answer_forbids_what_a_browser_might_make_of_it(client):
    for answer in (client.get("/jobs"), client.get("/nothing"), client.get("/jobs", headers={"Host": "evil"})):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert "server" not in answer.headers or "uvicorn" in answer.headers["server"]


def test_no_folder_of_this_machine_is_in_any_answer(tmp_path):
    docs = tmp_path / "private place" / "docs"
    write(docs / "guide" / "cats.md", "# Cats\n\nThe cat sat on the mat.")
    write(docs / "dogs.txt", "The dog lay under the table.")
    rows(docs / "more.jsonl", {"id": "r1", "text": "A row on a cat"}, {"text": "A row without an id, on a cat"})
    root = tmp_path / "private place" / "root"
    Collection.create("c", root, embedder="hash").index([docs])
    (root / "broken").mkdir()
    (root / "broken" / "collection.db").write_bytes(b"no database at all, at some length" * 100)
    told = []
    with served.serving(root) as client:

        def ask(method, path, **options):
            answer = client.request(method, path, **options)
            told.append(answer.text + str(answer.headers))
            return answer

        found = ask("POST", "/collections/c/search", json={"query": "cat", "k": 10}).json()["hits"]
        assert {hit["document"] for hit in found} >= {"file:guide/cats.md", "r1", "file:more.jsonl#2"}
        assert {hit["source"] for hit in found} == {"file:guide/cats.md", "file:dogs.txt", "file:more.jsonl"}
        for hit in found:
            document = ask("GET", f"/collections/c/documents/{hit['document'].replace('#', '%23')}").json()
            assert document["id"] == hit["document"]
            assert document["text"][hit["start"] : hit["end"]] == hit["text"]
        where = {"path": "file:guide/cats.md"}
        only = ask("POST", "/collections/c/search", json={"query": "cat", "where": where}).json()["hits"]
        assert [hit["document"] for hit in only] == ["file:guide/cats.md"]
        assert ask("DELETE", "/collections/c/documents/file:dogs.txt").json() == {"deleted": ["file:dogs.txt"]}
        for path in ("/collections", "/collections/c", "/collections/broken", "/collections/none", "/jobs", "/metrics"):
            ask("GET", path)
        assert ask("POST", "/collections/broken/search", json={"query": "cat"}).status_code == 500
        ask("POST", "/collections", json={"name": "c", "embedder": "hash"})
        ask("POST", "/collections/c/views", json={"name": "v", "spec": "/no/such/spec"})
        upload = {"files": ("bad.pdf", b"%PDF-1.4 not really"), "wait": (None, "0")}
        job = ask("POST", "/collections/c/files", files={"files": upload["files"]}, params={"wait": 60}).json()
        assert job["failures"][0]["where"] == "bad.pdf"
        ask("GET", f"/jobs/{job['id']}")
        ask("POST", "/collections/c/search", json={"query": "cat", "views": ["none"]})
    for text in told:
        assert "private place" not in text, text
        assert "tmp" not in text, text
