"""Ask a service from many clients at once while a writer ingests, and hold every answer against the truth.

    python benchmarks/serving.py [--chunks 100000] [--clients 32] [--seconds 60] [--alone 25] [--root FOLDER]

The collection is made once and kept in --root: the vector of each of its documents is the mean of those of its words,
which takes a minute; with --every-document the model embeds each document, which takes ten.
Queries, and what the writer adds meanwhile, are embedded by the model in either case. Queries are sent over loopback by
keep-alive connections from a process of their own, once with shared batches and once one at a time. In dense mode the
hits of documents that the writer did not add must be those that the library found before, with those scores; in every
mode a hit's text must be that of its document. What is wrong is counted, and is to be nought.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import numpy as np
from results import file

if TYPE_CHECKING:
    from instructsearch.embed import Embedder

SERVE = """
import sys
from pathlib import Path
from instructsearch.serve import Settings, run
run(Settings(Path(sys.argv[1]), port=0, batch=int(sys.argv[2])), lambda address: print(address, flush=True))
"""
NAME = "load"
QUERIES = 500
WRITTEN = 50  # documents in each of the writer's requests
K = 10
SLACK = 1e-5  # of a score: a text embedded in company may differ from itself alone in the last digits
MODES = ("dense", "hybrid")


@cache
def words(count: int = 20_000) -> list[str]:
    """Return the words of the standard library's sources by how often they occur, without the commonest."""
    found: Counter[str] = Counter()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*/*.py")):
        if "site-packages" not in str(path):
            found.update(re.findall(r"[a-z]{3,12}", path.read_text(errors="replace")))
    return [word for word, _ in sorted(found.items(), key=lambda one: (-one[1], one[0]))[100 : 100 + count]]


def sentence(made: random.Random, length: int) -> str:
    """Return so many words, which follow Zipf's law but for its head: a stop list takes that out."""
    known = words()
    return " ".join(known[min(len(known) - 1, int(200 * made.paretovariate(0.5)) - 200)] for _ in range(length))


class WordMeans:
    """A model that gives each text the mean of vectors of single words, for a hundredth of the work.

    A thousand words are embedded; each other word has the vector of one of them.
    """

    def __init__(self, model: "Embedder") -> None:
        self.profile, self.dim, self.device, self.tokenizer = model.profile, model.dim, model.device, model.tokenizer
        self.room, self.count = model.room, model.count
        self._vectors = model.encode(words()[:1000])
        self._of = {word: place % 1000 for place, word in enumerate(words())}

    def encode(self, texts: Sequence[str], instruction: str = "", role: str = "document", *, progress=None):
        """Return float32 (n, dim), unit length."""
        split = [[self._of[word] for word in text.split()[1:]] for text in texts]  # the first is the document's id
        rows = np.stack([self._vectors[some].mean(axis=0) for some in split])
        if progress is not None:
            progress(len(rows))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def collection(root: Path, chunks: int, embedder: str, every: bool) -> None:
    """Make the collection, unless it is there."""
    from instructsearch import Collection, Document

    if (root / NAME / "collection.db").exists():
        return
    made = random.Random(1)
    started = time.monotonic()
    target = Collection.create(NAME, root, embedder=embedder)
    if not every:
        load = target._models.load
        target._models.load = lambda profile, **options: WordMeans(load(profile, **options))
    report = target.add(Document(f"d{n}", f"d{n} {sentence(made, made.randint(8, 40))}") for n in range(chunks))
    print(
        f"collection       {time.monotonic() - started:7.1f} s for {report.chunks:,} chunks of {embedder}", flush=True
    )


def asked() -> list[str]:
    """Return the queries."""
    made = random.Random(2)
    return [sentence(made, 6) for _ in range(QUERIES)]


def truth(root: Path) -> list[dict[str, float]]:
    """Return the best documents of each query with their scores, as the library finds them alone, best first."""
    from instructsearch import Collection, Query

    target = Collection.open(NAME, root)
    queries = [Query(text, k=5 * K, mode="dense") for text in asked()]
    return [
        {hit.document: hit.score for hit in hits if hit.document.startswith("d")}
        for hits in target.search_many(queries)
    ]


class Connection:
    """A keep-alive connection that sends prepared requests, at a small part of what a client library costs."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    async def open(self) -> "Connection":
        """Connect."""
        self._in, self._out = await asyncio.open_connection(self._host, self._port)
        return self

    async def post(self, path: str, asked: dict[str, object]) -> tuple[int, dict[str, object]]:
        """Return the status and the answer."""
        body = json.dumps(asked).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        self._out.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await self._in.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
        return int(lines[0].split()[1]), json.loads(await self._in.readexactly(length))

    def close(self) -> None:
        """Hang up."""
        self._out.close()


async def clients(
    host: str, port: int, count: int, seconds: float, mode: str, known: list[dict[str, float]]
) -> dict[str, object]:
    """Ask from so many connections for so long; return times, errors and what was wrong."""
    queries, times, errors, wrong = asked(), [], [], []
    until = time.perf_counter() + seconds

    def check(number: int, hits: list[dict[str, object]]) -> None:
        if not all(str(hit["text"]).split()[0] == hit["document"] for hit in hits):
            wrong.append((queries[number], "a text of another document"))
        theirs = {str(hit["document"]): float(hit["score"]) for hit in hits if str(hit["document"]).startswith("d")}
        same = all(
            abs(theirs[document] - known[number].get(document, 9)) < SLACK and abs(theirs[document] - score) < SLACK
            for document, score in zip(theirs, known[number].values(), strict=False)
        )
        if mode == "dense" and not same:
            wrong.append((queries[number], theirs, known[number]))

    async def client(seed: int) -> None:
        made = random.Random(seed)
        connection = await Connection(host, port).open()
        while time.perf_counter() < until:
            number = made.randrange(QUERIES)
            started = time.perf_counter()
            status, answer = await connection.post(
                f"/collections/{NAME}/search", {"query": queries[number], "k": K, "mode": mode}
            )
            times.append(time.perf_counter() - started)
            if status != 200:
                errors.append(answer)
            else:
                check(number, answer["hits"])
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(client(seed) for seed in range(count)))
    return {"seconds": time.perf_counter() - started, "times": times, "errors": errors, "wrong": wrong}


async def writer(host: str, port: int, seconds: float, first: int) -> int:
    """Add documents, a request after the other, for so long; return how many."""
    made = random.Random(first)
    connection = await Connection(host, port).open()
    until, added = time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        batch = [
            {"id": (id := f"w{first}-{added + n}"), "text": f"{id} {sentence(made, made.randint(8, 40))}"}
            for n in range(WRITTEN)
        ]
        status, job = await connection.post(f"/collections/{NAME}/documents?wait=60", {"documents": batch})
        assert status in (200, 202) and job["state"] in ("done", "running", "queued"), job
        added += WRITTEN
    connection.close()
    return added


def computed(host: str, port: int) -> float:
    """Return the seconds of processor time that the service has used."""
    with urlopen(f"http://{host}:{port}/metrics") as answer:
        return float(re.search(rb"^process_cpu_seconds_total (\S+)", answer.read(), re.MULTILINE)[1])


def load(
    address: tuple[str, int], count: int, seconds: float, mode: str, known: list[dict[str, float]], queue: object
) -> None:
    """Run the clients in a process of their own."""
    queue.put(asyncio.run(clients(*address, count, seconds, mode, known)))


def measured(
    root: Path,
    batch: int,
    count: int,
    seconds: float,
    mode: str,
    known: list[dict[str, float]],
    first: int,
    write: bool,
) -> dict[str, object]:
    """Serve with batches of a size, ask and write at once; return the figures."""
    serve = subprocess.Popen([sys.executable, "-c", SERVE, str(root), str(batch)], stdout=subprocess.PIPE, text=True)
    try:
        host, port = serve.stdout.readline().strip().removeprefix("http://").split(":")
        address = (host, int(port))
        asyncio.run(clients(*address, 2, 3.0, mode, known))  # models loaded, files mapped
        spent = computed(*address)
        context = get_context("spawn")
        queue = context.Queue()
        asking = context.Process(target=load, args=(address, count, seconds, mode, known, queue))
        asking.start()
        added = asyncio.run(writer(*address, seconds, first)) if write else 0
        found = queue.get()
        asking.join()
        spent = computed(*address) - spent
    finally:
        serve.terminate()
        serve.wait(60)
    times = sorted(found["times"])
    for problem in [*found["errors"], *found["wrong"]][:3]:
        print("PROBLEM", problem, flush=True)
    return {
        "mode": mode,
        "batch": batch,
        "seconds": seconds,
        "clients": count,
        "queries": len(times),
        "per_second": len(times) / found["seconds"],
        "server_cpu_ms_a_query": 1000 * spent / len(times),
        "p50_ms": 1000 * statistics.median(times),
        "p95_ms": 1000 * times[int(0.95 * len(times))],
        "errors": len(found["errors"]),
        "wrong": len(found["wrong"]),
        "written": added,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0, help="with shared batches")
    parser.add_argument("--alone", type=float, default=25.0, help="seconds one at a time")
    parser.add_argument("--every-document", action="store_true")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--embedder", default="minilm")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--no-writer", action="store_true", help="so that the processor time is that of queries alone")
    options = parser.parse_args()
    root = options.root or Path(tempfile.mkdtemp(prefix="serving-"))
    os.environ.pop("INSTRUCTSEARCH_TOKEN", None)
    collection(root, options.chunks, options.embedder, options.every_document)
    known = truth(root)
    runs = []
    for mode in options.modes:
        for batch, seconds in ((64, options.seconds), (1, options.alone)):
            first = int(time.time())
            run = measured(root, batch, options.clients, seconds, mode, known, first, not options.no_writer)
            runs.append(run)
            print(
                f"{mode:7} batch {batch:2}  {run['per_second']:7.1f} queries/s, p50 {run['p50_ms']:6.0f} ms,"
                f" p95 {run['p95_ms']:6.0f} ms,"
                f" {run['server_cpu_ms_a_query']:.2f} ms of processor time a query,"
                f" errors {run['errors']}, wrong {run['wrong']},"
                f" {run['written']:,} documents written meanwhile",
                flush=True,
            )
    ratios = {
        mode: shared["per_second"] / alone["per_second"]
        for mode, shared, alone in zip(options.modes, runs[::2], runs[1::2], strict=True)
    }
    print("  ".join(f"{mode}: shared batches answer {ratio:.1f} times as many" for mode, ratio in ratios.items()))
    file(
        "serving",
        {
            "chunks": options.chunks,
            "embedder": options.embedder,
            "vectors": "of each document" if options.every_document else "means of words",
            "writer": not options.no_writer,
            "runs": runs,
            "ratios": ratios,
            "ratios_of_processor_time": {
                mode: alone["server_cpu_ms_a_query"] / shared["server_cpu_ms_a_query"]
                for mode, shared, alone in zip(options.modes, runs[::2], runs[1::2], strict=True)
            },
        },
    )


if __name__ == "__main__":
    main()
