"""Many callers at once: queries share forward passes and scans, and while a writer ingests every answer is true."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import served

from instructsearch import Collection, Document, embed, vectors
from instructsearch.embed.hashed import HashEmbedder
from instructsearch.serve import catalogue

CLIENTS = 16
WORDS = ("zebra", "lorry", "violin", "teapot", "glacier", "pepper", "anchor", "lantern")


class Passes(list):
    """The texts of each forward pass. A pass waits for the callers who are to share the next one."""

    callers = None  # who ask over and over; None is nobody to wait for
    total = 0  # texts that they ask for, all together

    def of(self, client, callers, total):
        """Count from here; each of so many callers has one text at a time."""
        self.clear()
        (self.lane,) = [model._lane for (_, queries), model in client.service.pool._loaded.items() if queries]
        self.callers, self.total = callers, total

    def wait(self, texts):
        time.sleep(0.02)
        until = time.monotonic() + served.PATIENCE
        while self.callers is not None and time.monotonic() < until:
            if len(self.lane._queue) >= min(self.callers, self.total - sum(map(len, self))) - len(texts):
                return
            time.sleep(0.002)


@pytest.fixture
def slow(monkeypatch):
    """Let each forward pass take a while, and give the texts of each."""
    passes = Passes()
    encode = HashEmbedder.encode

    def watched(self, texts, instruction="", role="document", **options):
        if role == "query":
            passes.wait(texts)
            passes.append(list(texts))
        return encode(self, texts, instruction, role, **options)

    monkeypatch.setattr(HashEmbedder, "encode", watched)
    return passes


def test_concurrent_queries_share_forward_passes(tmp_path, slow):
    with served.serving(tmp_path) as client, ThreadPoolExecutor(CLIENTS) as pool:
        client.collection()
        client.add(*[(word, f"a text on the {word}") for word in WORDS])
        client.search("warm")
        asked = [WORDS[n % len(WORDS)] + f" {n}" for n in range(10 * CLIENTS)]
        slow.of(client, CLIENTS, len(asked))
        found = list(pool.map(lambda text: client.search(text, mode="dense", k=1), asked))
    for text, hits in zip(asked, found, strict=True):
        assert hits[0]["document"] == text.split()[0]
    assert sum(map(len, slow)) == len(asked)
    assert len(slow) < len(asked) / 3, f"{len(slow)} passes for {len(asked)} queries"


def test_queries_under_different_instructions_share_passes_too_and_get_their_own_vectors(tmp_path, slow):
    instructions = ["", "zebra", "lorry", "by the violin"]
    with served.serving(tmp_path) as client, ThreadPoolExecutor(CLIENTS) as pool:
        client.post("/v1/embeddings", json={"model": "hash", "input": "warm", "role": "query"})
        slow.of(client, CLIENTS, 8 * CLIENTS)

        def ask(n):
            given = {"model": "hash", "input": f"a lorry and a zebra {n}", "role": "query"}
            answer = client.post("/v1/embeddings", json={**given, "instruction": instructions[n % 4]})
            return answer.json()["data"][0]["embedding"]

        rows = np.array(list(pool.map(ask, range(8 * CLIENTS))), np.float32)
        passes = len(slow)
    alone = embed.load("hash")
    for n, row in enumerate(rows):
        expected = alone.encode([f"a lorry and a zebra {n}"], instructions[n % 4], "query")[0]
        np.testing.assert_array_equal(row, expected)
    assert passes < 8 * CLIENTS / 3


def test_concurrent_queries_share_scans(tmp_path, slow, monkeypatch):
    scans = []
    scan = vectors.scan

    def counted(queries, *rest, **more):
        scans.append(len(queries))
        time.sleep(0.05)  # so that the next ones meet, on a busy machine too
        return scan(queries, *rest, **more)

    monkeypatch.setattr(vectors, "scan", counted)
    with served.serving(tmp_path) as client, ThreadPoolExecutor(CLIENTS) as pool:
        client.collection()
        client.add(*[(word, f"a text on the {word}") for word in WORDS])
        alone = [client.search(f"{word} text", mode="dense", k=n + 1) for n, word in enumerate(WORDS)]
        scans.clear()
        asked = [(n, word) for _ in range(8) for n, word in enumerate(WORDS)]
        found = list(pool.map(lambda one: client.search(f"{one[1]} text", mode="dense", k=one[0] + 1), asked))
    for (n, _), hits in zip(asked, found, strict=True):
        assert hits == alone[n], "the same hits and scores as alone, whatever k the others asked for"
    assert sum(scans) == len(asked)
    assert len(scans) < len(asked) / 2


def test_one_query_that_cannot_be_answered_fails_alone(tmp_path, slow):
    with served.serving(tmp_path) as client, ThreadPoolExecutor(CLIENTS) as pool:
        client.collection()
        client.add(*[(word, f"a text on the {word}") for word in WORDS])

        def ask(n):
            asked = {"query": WORDS[n % 8], "mode": "dense", "k": 1}
            if n % 5 == 0:
                asked["instruction"] = "word " * 1000  # leaves no room for any text
            return n, client.post("/collections/c/search", json=asked)

        for n, answer in pool.map(ask, range(60)):
            if n % 5 == 0:
                assert answer.status_code == 400
                assert answer.json()["error"]["type"] == "TooLong"
            else:
                assert answer.status_code == 200, answer.text
                assert answer.json()["hits"][0]["document"] == WORDS[n % 8]


def test_while_a_writer_ingests_no_search_fails_or_finds_what_is_not_there(tmp_path):
    """Every document says what it is, in a text that is changed as a whole: a hit must be one of these, and whole."""
    rounds = 12
    with served.serving(tmp_path) as client:
        client.collection()
        client.add(*[(word, f"{word} {word} version 0") for word in WORDS])
        over = threading.Event()
        wrong, answered = [], [0] * 6

        def reader(number):
            with httpx.Client(base_url=client.base_url, timeout=served.PATIENCE) as mine:
                while not over.is_set():
                    word = WORDS[answered[number] % len(WORDS)]
                    mode = ("dense", "hybrid", "bm25")[answered[number] % 3]
                    asked = {"query": word, "k": 3, "mode": mode}
                    answer = mine.post("/collections/c/search", json=asked)
                    if answer.status_code != 200:
                        wrong.append(answer.text)
                        continue
                    hits = answer.json()["hits"]
                    answered[number] += 1
                    if not hits or hits[0]["document"] != word:
                        wrong.append((asked, hits))
                    for hit in hits:
                        first, second, said, version = hit["text"].split()
                        if not (first == second == hit["document"] and said == "version" and int(version) <= rounds):
                            wrong.append((asked, hit))

        readers = [threading.Thread(target=reader, args=(number,)) for number in range(len(answered))]
        for each in readers:
            each.start()
        for version in range(1, rounds + 1):
            client.add(*[(word, f"{word} {word} version {version}") for word in WORDS])
            if version % 4 == 0:
                client.ended(client.post("/collections/c/compact").json()["id"])
        over.set()
        for each in readers:
            each.join()
        assert not wrong, wrong[:3]
        assert min(answered) > 3
        assert {hit["text"].split()[-1] for hit in client.search("version", k=20)} == {str(rounds)}


def test_a_long_embedding_request_lets_searches_pass(tmp_path, slow):
    with served.serving(tmp_path, batch=8) as client, ThreadPoolExecutor(1) as pool:
        client.collection()
        client.add(("a", "a cat"))
        client.search("warm")
        slow.clear()
        many = [f"text {n}" for n in range(800)]  # a hundred passes, two seconds
        long = pool.submit(client.post, "/v1/embeddings", json={"model": "hash", "input": many, "role": "query"})
        while not slow:
            time.sleep(0.005)
        client.search("cat")
        assert len(long.result().json()["data"]) == len(many)
        at = next(number for number, texts in enumerate(slow) if "cat" in texts)
        assert at < len(slow) / 3, f"in pass {at} of {len(slow)}"


def test_of_many_collections_only_some_are_kept_open_and_all_are_answered(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "KEPT", 2)
    with served.serving(tmp_path) as client, ThreadPoolExecutor(8) as pool:
        for word in WORDS[:5]:
            client.collection(word)
            client.add((word, f"a text on the {word}"), name=word)
        asked = [WORDS[n % 5] for n in range(60)]
        found = list(pool.map(lambda word: client.search("text", name=word), asked))
        assert [hits[0]["document"] for hits in found] == asked
        assert len(client.service.catalogue._open) == 2


def test_a_model_that_takes_long_to_load_keeps_nobody_waiting_who_asks_for_another(tmp_path, monkeypatch):
    go = threading.Event()
    load = embed.load
    monkeypatch.setattr(
        embed, "load", lambda profile, **options: (profile.name == "hash" or go.wait(60)) and load("hash", **options)
    )
    with served.serving(tmp_path) as client, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.post, "/v1/embeddings", json={"model": "minilm", "input": "a"})
        while not client.service.pool._loading:
            time.sleep(0.005)
        assert client.post("/v1/embeddings", json={"model": "hash", "input": "a"}).status_code == 200
        assert not slow.done()
        go.set()
        assert slow.result().status_code == 200


def test_readers_of_the_library_see_what_the_service_writes(tmp_path):
    with served.serving(tmp_path) as client:
        client.collection()
        reader = Collection.open("c", tmp_path)
        client.add(("a", "a cat"))
        assert [hit.document for hit in reader.search("cat")] == ["a"]
        reader.add([Document("b", "another cat")])
        assert len(client.search("cat")) == 2
