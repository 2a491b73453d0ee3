"""A service to ask: the application behind uvicorn in a thread of this process, or the whole command in its own.

In the thread, tests can watch what the models are asked; in a process of its own, they can kill it.
"""

import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import uvicorn

from instructsearch.serve import Settings, create_app
from instructsearch.serve.listening import listen
from instructsearch.serve.server import configured

PATIENCE = 60.0  # seconds that a busy machine may take for anything


class Client(httpx.Client):
    """A client of one service, that knows it from the inside too."""

    service = None
    server = None

    def collection(self, name="c", **options):
        made = self.post("/collections", json={"name": name, "embedder": "hash", **options})
        assert made.status_code == 201, made.text
        return name

    def add(self, *documents, name="c"):
        """Add documents given as (id, text) or (id, text, metadata), and return the job when it has ended."""
        given = [{"id": id, "text": text, "metadata": dict(*rest)} for id, text, *rest in documents]
        done = self.post(f"/collections/{name}/documents", params={"wait": 60}, json={"documents": given})
        assert done.status_code == 200, done.text
        assert done.json()["state"] == "done", done.text
        return done.json()

    def search(self, query, name="c", **options):
        found = self.post(f"/collections/{name}/search", json={"query": query, **options})
        assert found.status_code == 200, found.text
        return found.json()["hits"]

    def ended(self, id, seconds=PATIENCE):
        """Return a job once it has ended."""
        until = time.monotonic() + seconds
        while (job := self.get(f"/jobs/{id}").json())["state"] in ("queued", "waiting", "running"):
            assert time.monotonic() < until, job
            time.sleep(0.02)
        return job


@contextmanager
def serving(root, **options):
    """Give a client of a service in this process."""
    app = create_app(Settings(root, **options))
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(configured(app))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    until = time.monotonic() + PATIENCE
    while not server.started:
        assert thread.is_alive() and time.monotonic() < until, "the service did not start"
        time.sleep(0.01)
    port = listener.getsockname()[1]
    token = {"Authorization": f"Bearer {options['token']}"} if options.get("token") else {}
    try:
        with Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, headers=token) as client:
            client.service, client.server = app.state.service, server
            yield client
    finally:
        app.state.service.interrupt()
        server.should_exit = True
        thread.join(PATIENCE)


class Process:
    """The command `instructsearch serve`, and how it ends."""

    def __init__(self, root, *options, **environment):
        command = [sys.executable, "-m", "instructsearch", "serve", "--root", str(root), "--port", "0", *options]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}, bufsize=1
        )
        self.lines = []
        self.client = None

    def started(self):
        """Wait until it listens, and return a client; a service that ends instead is an error with its last words."""
        selector = selectors.DefaultSelector()
        selector.register(self.process.stderr, selectors.EVENT_READ)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if not selector.select(0.1):
                continue
            line = self.process.stderr.readline()
            self.lines.append(line)
            if found := re.search(r"on (http://\S+?),", line):
                threading.Thread(target=self._drain, daemon=True).start()
                self.client = Client(base_url=found[1], timeout=PATIENCE)
                return self.client
            if not line:
                break
        raise AssertionError(f"the service did not start: {''.join(self.lines)}")

    def _drain(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)

    def terminate(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def process(root, *options, **environment):
    """Give a service in a process of its own, gone at the end."""
    started = Process(root, *options, **environment)
    try:
        yield started
    finally:
        if started.client is not None:
            started.client.close()
        if started.process.poll() is None:
            started.kill()
        started.process.stderr.close()
