"""A connection that the service promises to keep is kept, whatever was asked on it and however it was answered."""

import http.client
import socket
import threading
import time

import pytest
import served

from instructsearch import Collection
from instructsearch.serve import Limits
from instructsearch.serve.listening import KEEP_ALIVE

TOKEN = "right"
ROUNDS = 20  # a connection closed behind an answer is lost on each request; one that races with it, on one in ten


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    limits = Limits(body_bytes=10_000, upload_bytes=20_000)
    with served.serving(tmp_path_factory.mktemp("connection"), token=TOKEN, limits=limits) as client:
        client.collection()
        client.add(("a", "the cat"))
        yield client


@pytest.fixture
def broken(monkeypatch):
    """Let a search for `broken` fail as nobody foresaw."""
    search = Collection.search

    def failing(self, query, **options):
        if query.text == "broken":
            raise RuntimeError("/secret/folder")
        return search(self, query, **options)

    monkeypatch.setattr(Collection, "search", failing)


class Connection:
    """One connection, which never opens another in its place."""

    def __init__(self, client):
        self._kept = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=served.PATIENCE)
        self._kept.connect()
        self._kept.auto_open = 0

    def ask(self, method, path, body=None, **headers):
        """Return the status and the headers, the answer read to its end."""
        given = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **headers}
        self._kept.request(method, path, body, given, encode_chunked=headers.get("Transfer-Encoding") == "chunked")
        answer = self._kept.getresponse()
        answer.read()
        return answer.status, dict(answer.headers)

    def close(self):
        self._kept.close()


@pytest.fixture
def connection(client):
    made = Connection(client)
    yield made
    made.close()


SEARCH = "/collections/c/search"
ASKED = {
    "found": ("POST", SEARCH, b'{"query": "cat"}', 200, {}),
    "unforeseen": ("POST", SEARCH, b'{"query": "broken"}', 500, {}),
    "not found": ("GET", "/collections/none", None, 404, {}),
    "no such route, with a body": ("POST", "/nothing", b"x" * 9_000, 404, {}),
    "no such method, with a body": ("PUT", "/collections", b"x" * 9_000, 405, {}),
    "wrong token, with a body": ("POST", SEARCH, b"x" * 9_000, 401, {"Authorization": "Bearer wrong"}),
    "foreign host, with a body": ("POST", SEARCH, b"x" * 9_000, 421, {"Host": "evil.example"}),
    "foreign page, with a body": ("POST", SEARCH, b"x" * 9_000, 403, {"Origin": "http://evil.example"}),
    "too large": ("POST", SEARCH, b"x" * 1_000_000, 413, {}),
    "no json": ("POST", SEARCH, b"[" * 9_000, 400, {}),
    "no upload": ("POST", "/collections/c/files", b"x" * 9_000, 422, {}),
    "long head": ("GET", "/health", None, 200, {"X-Long": "x" * 12_000}),
}


@pytest.mark.parametrize("asked", ASKED)
def test_after_every_kind_of_answer_the_connection_is_there_for_the_next(connection, broken, asked):
    method, path, body, status, headers = ASKED[asked]
    for number in range(ROUNDS):
        answered, told = connection.ask(method, path, body, **headers)
        assert answered == status
        assert told.get("connection", "keep-alive") != "close"
        if number == 0:
            time.sleep(0.05)  # for whatever may still come behind the answer
        assert connection.ask("GET", "/health")[0] == 200


def test_a_body_that_grew_too_large_is_read_to_its_end_and_the_connection_kept(connection):
    for _ in range(ROUNDS):
        body = (b" " * 1_000 for _ in range(100))
        assert connection.ask("POST", SEARCH, body, **{"Transfer-Encoding": "chunked"})[0] == 413
        assert connection.ask("GET", "/health")[0] == 200


def test_what_nobody_foresaw_is_logged_with_its_traceback_and_guarded_like_every_answer(connection, broken, caplog):
    _, headers = connection.ask("POST", SEARCH, b'{"query": "broken"}')
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.name == "instructsearch.serve"
    assert str(record.exc_info[1]) == "/secret/folder"


def test_many_connections_at_once_lose_none_of_their_answers(client, broken):
    lost, kinds = [], list(ASKED.values())

    def asking(first):
        connection = Connection(client)
        try:
            for number in range(first, first + 3 * len(kinds)):
                method, path, body, status, headers = kinds[number % len(kinds)]
                if connection.ask(method, path, body, **headers)[0] != status:
                    lost.append((number, status))
        except (OSError, http.client.HTTPException) as error:
            lost.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=asking, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost


def test_an_idle_connection_is_kept_for_longer_than_clients_keep_theirs():
    # httpx, OpenAI's client and requests keep one 5 s or until told, aiohttp 15 s, most proxies 60 s
    assert KEEP_ALIVE > 60


def test_small_writes_are_sent_at_once(client, connection):
    """Gathered until the other side has acknowledged the last one, they would come 40 ms late."""
    assert connection.ask("GET", "/health")[0] == 200
    taken = [one.transport.get_extra_info("socket") for one in client.server.server_state.connections]
    assert taken and all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in taken)
