"""The command as a process: what it says, how it ends, and what a kill leaves."""

import json
import os
import signal
import socket
import time
from contextlib import suppress

import httpx
import pytest
import served

from instructsearch import Collection
from instructsearch.cli import main
from instructsearch.serve.spool import Spool

MANY = 3000


def documents(count=MANY):
    # texts all of one length, so that the job takes a while to embed them one window after the other
    return [{"id": f"d{n}", "text": f"document number {n} on the zebra " + "word " * 100} for n in range(count)]


def test_it_says_where_it_serves_and_ends_in_order_when_told_to(tmp_path):
    with served.process(tmp_path) as process:
        client = process.started()
        assert client.get("/collections").json() == {"collections": []}
        assert os.stat(tmp_path / ".jobs").st_mode & 0o077 == 0, "what was sent is for the owner's eyes"
        assert process.terminate(signal.SIGTERM) == 0
    assert "without a token" in process.lines[0]
    assert not [line for line in process.lines if "Traceback" in line]


def test_the_token_comes_from_the_environment_and_control_c_ends_in_order_too(tmp_path):
    with served.process(tmp_path, INSTRUCTSEARCH_TOKEN="from-the-environment") as process:
        client = process.started()
        assert client.get("/jobs").status_code == 401
        assert client.get("/jobs", headers={"Authorization": "Bearer from-the-environment"}).status_code == 200
        assert process.terminate(signal.SIGINT) == 0
    assert "from-the-environment" not in "".join(process.lines)


def refused(capsys, *options):
    """Run the command, which is to refuse, and return its exit code and what it said on one line."""
    with pytest.raises(SystemExit) as end:
        main(["serve", "--port", "0", *map(str, options)])
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return end.value.code, told


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--host", "0.0.0.0"], 1, "REFUSED"),
        (["--host", "0.0.0.0", "--token", ""], 1, "token"),
        (["--embedder", "/no/such/model"], 1, "no embedder called"),
        (["--limit", "hits=none"], 2, "NAME=NUMBER"),
        (["--limit", "nothing=1"], 2, "no limit"),
        (["--port", "65536"], 2, "65536"),
    ],
    ids=["no token", "empty token", "no model", "no number", "no limit", "no port"],
)
def test_what_cannot_be_served_is_refused(tmp_path, capsys, monkeypatch, options, code, says):
    monkeypatch.delenv("INSTRUCTSEARCH_TOKEN", raising=False)
    ended, told = refused(capsys, "--root", tmp_path, *options)
    assert ended == code, told
    assert says in told
    assert code == 2 or len(told.splitlines()) == 1


def test_a_port_that_is_taken_is_refused(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended, told = refused(capsys, "--root", tmp_path, "--port", taken.getsockname()[1])
    assert (ended, len(told.splitlines())) == (1, 1)
    assert "Address already in use" in told


def test_a_root_has_one_service(tmp_path, capsys):
    first = Spool(tmp_path)
    first.open()
    try:
        ended, told = refused(capsys, "--root", tmp_path)
    finally:
        first.close()
    assert ended == 1
    assert "another service" in told


def test_a_root_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    ended, told = refused(capsys, "--root", tmp_path / "file" / "root")
    assert ended == 1
    assert "cannot be written" in told


def test_without_the_extra_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("instructsearch.serve.find_spec", lambda name: None if name == "uvicorn" else object())
    ended, told = refused(capsys, "--root", tmp_path)
    assert ended == 1
    assert "pip install 'instructsearch[serve]'" in told


def under_way(client, id):
    until = time.monotonic() + served.PATIENCE
    while True:
        job = client.get(f"/jobs/{id}").json()
        if job["progress"] and job["progress"]["stage"].startswith("embed") and job["progress"]["done"]:
            return job
        assert job["state"] in ("queued", "running"), job
        assert time.monotonic() < until


def begun(process):
    """Serve a collection of one document, and give it many more."""
    client = process.started()
    client.collection()
    client.add(("old", "the one that was there before, on a teapot"))
    job = client.post("/collections/c/documents", json={"documents": documents()})
    assert job.status_code == 202, job.text
    id = job.json()["id"]
    under_way(client, id)
    return client, id


def test_a_kill_while_it_ingests_leaves_the_old_generation_and_a_restart_completes_it(tmp_path):
    with served.process(tmp_path) as process:
        _, id = begun(process)
        process.kill()
    left = Collection.open("c", tmp_path)
    assert left.check().clean
    assert left.status()["documents"] in (1, MANY + 1)
    with served.process(tmp_path) as process:
        client = process.started()
        assert client.search("teapot")[0]["document"] == "old"
        job = client.ended(id)
        assert (job["state"], job["attempts"]) == ("done", 2)
        assert client.get("/collections/c").json()["documents"] == MANY + 1
        assert client.search("document number 1234", mode="bm25")[0]["document"] == "d1234"
        assert process.terminate() == 0
    assert Collection.open("c", tmp_path).check().clean


def test_told_to_end_while_it_ingests_it_ends_soon_and_the_next_one_completes_it(tmp_path):
    with served.process(tmp_path) as process:
        client, id = begun(process)
        with client.stream("GET", f"/jobs/{id}/events") as stream:
            lines = stream.iter_lines()
            next(lines)
            process.process.send_signal(signal.SIGTERM)
            with suppress(httpx.RemoteProtocolError):
                list(lines)
        assert process.process.wait(served.PATIENCE) == 0
        kept = json.loads((tmp_path / ".jobs" / id / "job.json").read_text())
        assert (kept["state"], kept["attempts"]) == ("queued", 0)
    with served.process(tmp_path) as process:
        client = process.started()
        assert client.ended(id)["state"] == "done"
        assert client.get("/collections/c").json()["documents"] == MANY + 1


def test_a_kill_as_soon_as_a_job_is_accepted_loses_nothing_of_it(tmp_path):
    with served.process(tmp_path) as process:
        client = process.started()
        client.collection()
        files = {"files": ("guide/cats.md", b"# Cats\n\nThe cat sat on the mat.")}
        accepted = client.post("/collections/c/files", files=files)
        process.kill()
    assert accepted.status_code == 202
    with served.process(tmp_path) as process:
        client = process.started()
        assert client.ended(accepted.json()["id"])["state"] == "done"
        assert client.search("cat")[0]["document"] == "guide/cats.md"
