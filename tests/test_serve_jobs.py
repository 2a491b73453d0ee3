"""Jobs are on the disk before they are told of, run in order, end where they are told to, and outlive their service."""

import json
import threading
import time

import pytest

from instructsearch.errors import BadQuery, CollectionBusy, NotOffered, Overloaded, ServiceError
from instructsearch.serve import jobs as jobs_module
from instructsearch.serve.failures import Busy
from instructsearch.serve.job import Job
from instructsearch.serve.jobs import ATTEMPTS, KEPT, Jobs
from instructsearch.serve.spool import FOLDER, Spool

SECONDS = 20


class Work:
    """Performs jobs: notes them, waits where it is told to, and fails where it is told to."""

    def __init__(self):
        self.done = []
        self.running = set()
        self.together = 0
        self.free = threading.Event()
        self.free.set()
        self.errors = {}

    def __call__(self, job, folder, progress):
        self.running.add(job.collection)
        self.together = max(self.together, len(self.running))
        try:
            while True:
                progress("read", 1, 2)
                if self.free.wait(0.01):
                    break
            if self.errors.get(job.collection):
                raise self.errors[job.collection].pop(0)
            assert (folder / "given").read_text() == job.arguments["given"]
            self.done.append((job.collection, job.arguments["given"]))
            return {"result": {"given": job.arguments["given"]}, "failures": ({"where": "a", "reason": "b"},)}
        finally:
            self.running.discard(job.collection)


class Place:
    """A root with its jobs, which can be left as a kill leaves them."""

    def __init__(self, root):
        self.root = root
        self.work = Work()
        self.jobs = None
        self.spool = None

    def start(self, **options):
        self.spool = Spool(self.root)
        self.spool.open()
        self.jobs = Jobs(self.spool, self.work, lambda error: {"type": "E", "message": str(error)}, most=50, **options)
        self.jobs.start()
        return self.jobs

    def submit(self, collection="c", given="1"):
        def fill(folder):
            (folder / "given").write_text(given)

        return self.jobs.submit("documents", collection, {"given": given}, fill)

    def ended(self, job, state="done"):
        until = time.monotonic() + SECONDS
        while not (now := self.jobs.get(job.id)).ended:
            assert time.monotonic() < until, now
            time.sleep(0.005)
        assert now.state == state, now
        return now

    def stop(self):
        self.jobs.stop(SECONDS)
        self.spool.close()

    def kept(self, job):
        return json.loads((self.root / FOLDER / job.id / "job.json").read_text())

    def rewrite(self, job, **facts):
        """Leave a job as a service that was killed leaves it."""
        path = self.root / FOLDER / job.id / "job.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "PATIENCE", 0.01)
    made = Place(tmp_path)
    yield made
    made.work.free.set()
    if made.jobs:
        made.stop()


def test_a_job_is_done_and_says_how_it_went(place):
    place.start()
    job = place.submit()
    assert job.state in ("queued", "running")
    done = place.ended(job)
    assert done.result == {"given": "1"}
    assert done.failures == ({"where": "a", "reason": "b"},)
    assert done.attempts == 1 and done.started and done.finished
    assert place.kept(job)["state"] == "done"
    assert not (place.root / FOLDER / job.id / "input").exists(), "what it worked on is spent"


def test_a_job_is_on_the_disk_before_it_is_told_of(place):
    place.start()
    place.work.free.clear()
    job = place.submit(given="kept")
    assert place.kept(job)["arguments"] == {"given": "kept"}
    assert (place.root / FOLDER / job.id / "input" / "given").read_text() == "kept"


def test_the_jobs_of_a_collection_are_done_in_order_and_those_of_others_beside_them(place):
    place.start()
    place.work.free.clear()
    jobs = [place.submit(collection, str(n)) for n in range(3) for collection in ("a", "b")]
    until = time.monotonic() + SECONDS
    while len(place.work.running) < 2:
        assert time.monotonic() < until
        time.sleep(0.005)
    place.work.free.set()
    for job in jobs:
        place.ended(job)
    for collection in ("a", "b"):
        assert [given for one, given in place.work.done if one == collection] == ["0", "1", "2"]
    assert place.work.together == 2


def test_progress_is_told_and_goes_up_in_version(place):
    place.start()
    place.work.free.clear()
    job = place.submit()
    until = time.monotonic() + SECONDS
    while place.jobs.get(job.id).progress is None:
        assert time.monotonic() < until
        time.sleep(0.005)
    assert place.jobs.get(job.id).progress == {"stage": "read", "done": 1, "total": 2}
    assert place.jobs.get(job.id).version > job.version


def test_a_failed_job_says_why_and_can_be_retried_with_what_it_was_given(place):
    place.start()
    place.work.errors = {"c": [BadQuery("no good")]}
    job = place.submit(given="again")
    assert place.ended(job, "failed").error == {"type": "E", "message": "no good"}
    place.jobs.retry(job.id)
    assert place.ended(job).error is None
    assert place.work.done == [("c", "again")]
    with pytest.raises(NotOffered, match="is done"):
        place.jobs.retry(job.id)


def test_an_unforeseen_error_fails_the_job_and_not_the_next_one(place):
    place.start()
    place.work.errors = {"c": [RuntimeError("a path: /secret/place")]}
    first, second = place.submit(), place.submit()
    assert "secret" not in json.dumps(place.ended(first, "failed").told())
    place.ended(second)


def test_while_another_process_writes_a_job_waits_and_then_goes_on(place):
    place.start()
    place.work.errors = {"c": [CollectionBusy("another process is writing")] * 3}
    job = place.submit()
    done = place.ended(job)
    assert done.attempts == 1
    assert not place.work.errors["c"]


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_at_its_next_safe_point(place):
    place.start()
    place.work.free.clear()
    running, queued = place.submit(given="1"), place.submit(given="2")
    assert place.jobs.cancel(queued.id).state == "cancelled"
    place.jobs.cancel(running.id)
    place.ended(running, "cancelled")
    assert place.kept(running)["state"] == "cancelled"
    assert not place.work.done


def test_a_job_that_has_ended_is_forgotten_when_deleted(place):
    place.start()
    job = place.submit()
    place.ended(job)
    place.jobs.cancel(job.id)
    with pytest.raises(NotOffered):
        place.jobs.get(job.id)
    assert not (place.root / FOLDER / job.id).exists()


def test_a_collection_with_a_job_is_busy_and_says_with_which(place):
    place.start()
    place.work.free.clear()
    job = place.submit("c")
    place.submit("c")
    with pytest.raises(Busy) as refused:
        place.jobs.refuse_busy("c")
    assert refused.value.job == job.id
    place.jobs.refuse_busy("other")


def test_more_jobs_than_may_wait_are_refused(place):
    place.start()
    place.work.free.clear()
    for _ in range(50):
        place.submit()
    with pytest.raises(Overloaded):
        place.submit()


def test_at_the_end_a_running_job_is_interrupted_and_taken_up_by_the_next_service(place):
    place.start()
    place.work.free.clear()
    running, queued = place.submit(given="1"), place.submit(given="2")
    place.stop()
    assert place.kept(running)["state"] == "queued"
    assert place.kept(running)["attempts"] == 0, "being asked to end counts as no attempt"
    place.work.free.set()
    place.start()
    place.ended(running)
    place.ended(queued)
    assert place.work.done == [("c", "1"), ("c", "2")]


def test_what_a_killed_service_left_is_taken_up_again(place):
    place.start()
    place.work.free.clear()
    job = place.submit()
    place.stop()
    place.rewrite(job, state="running", attempts=1)
    place.work.free.set()
    place.start()
    assert place.ended(job).attempts == 2


def test_a_job_that_was_cut_short_too_often_waits_to_be_retried(place):
    place.start()
    place.work.free.clear()
    job = place.submit()
    place.stop()
    place.rewrite(job, state="running", attempts=ATTEMPTS)
    place.work.free.set()
    place.start()
    assert place.jobs.get(job.id).state == "interrupted"
    assert "retry" in place.jobs.get(job.id).error["message"]
    place.jobs.retry(job.id)
    place.ended(job)


def test_after_the_end_has_begun_no_job_is_taken_on(place):
    place.start()
    place.jobs.interrupt()
    with pytest.raises(Overloaded):
        place.submit()


def test_an_input_that_cannot_be_written_leaves_no_job(place):
    place.start()

    def fill(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="No space left"):
        place.jobs.submit("documents", "c", {}, fill)
    assert not place.jobs.all()
    assert [path.name for path in (place.root / FOLDER).iterdir()] == ["server.lock"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"id": 1}',
        "[" * 100_000,
        '{"id": "20260101-000000-00000000", "kind": "shell", "collection": "c", "arguments": {}, "created": ""}',
        '{"id": "20260101-000000-00000000", "kind": "view", "collection": "c", "arguments": {}, "created": "", "x": 1}',
        '{"id": "20260101-000000-11111111", "kind": "view", "collection": "c", "arguments": {}, "created": ""}',
    ],
    ids=["empty", "cut", "list", "no kind", "deep", "unknown kind", "unknown field", "another's"],
)
def test_a_damaged_jobs_file_is_left_aside_and_keeps_nothing_from_starting(place, text, caplog):
    folder = place.root / FOLDER / "20260101-000000-00000000"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(text)
    place.start()
    assert not place.jobs.all()
    assert "left aside" in caplog.text
    assert folder.exists()
    place.ended(place.submit())


def test_what_a_kill_left_half_put_down_is_swept(place):
    place.start()
    place.stop()
    (place.root / FOLDER / ".20260101-000000-00000000.abcd.making").mkdir()
    (place.root / FOLDER / "20260101-000000-00000001").mkdir()  # forgotten, but for its folder
    place.start()
    assert [path.name for path in (place.root / FOLDER).iterdir()] == ["server.lock"]


def test_a_root_has_one_service(place):
    place.start()
    with pytest.raises(ServiceError, match="another service"):
        Spool(place.root).open()


def test_of_the_jobs_that_ended_well_only_the_last_are_kept(place):
    place.start()
    place.stop()
    old = Job("20260101-000000-00000000", "documents", "c", {}, "2026-01-01T00:00:00.000+00:00", "done")
    failed = Job("20260101-000001-00000000", "documents", "c", {}, "2026-01-01T00:00:01.000+00:00", "failed")
    for number in range(KEPT):
        for job in (old, failed)[: 2 if not number else 1]:
            id = f"{job.id[:-8]}{number:08x}"
            folder = place.root / FOLDER / id
            folder.mkdir()
            (folder / "job.json").write_text(json.dumps({**job.to_dict(), "id": id, "finished": job.created}))
    place.start()
    job = place.submit()
    place.ended(job)
    place.jobs.stop(SECONDS)
    states = [one.state for one in place.jobs.all()]
    assert len(states) == KEPT
    assert states.count("failed") == 1, "what can be retried is kept"
    assert any(one.id == job.id for one in place.jobs.all())
