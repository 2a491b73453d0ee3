"""What parses hostile files is stopped in time, kept small, replaced when it falls, and never left behind."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from instructsearch.errors import ReadError
from instructsearch.readers import Limits
from instructsearch.readers.sandbox import Sandbox

ENDLESS = "{/*" * 500_000  # comments of MDX that are never closed: minutes of looking for their ends


@pytest.fixture
def sandbox():
    box = Sandbox()
    yield box
    box.close()


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<title>T</title><p>fine")
    return str(path)


@pytest.fixture
def endless(tmp_path):
    path = tmp_path / "endless.mdx"
    path.write_text(ENDLESS)
    return str(path)


def process(sandbox):
    return sandbox._child.pid


def gone(pid, within=20.0):
    """Say whether a process ends within so many seconds; one that has ended and waits for its parent is gone too."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_one_process_reads_file_after_file(sandbox, page):
    [document] = sandbox.read("html", page, Limits())
    first = process(sandbox)
    for _ in range(20):
        assert sandbox.read("html", page, Limits()) == [document]
    assert process(sandbox) == first
    assert (document.key, document.text, document.title, document.source) == (page, "fine", "T", page)


def test_a_file_that_takes_too_long_is_given_up_and_the_next_is_read(sandbox, page, endless):
    sandbox.read("html", page, Limits())
    started = time.monotonic()
    [error] = sandbox.read("mdx", endless, Limits(seconds=0.3))
    assert time.monotonic() - started < 10
    assert (error.where, error.reason) == (endless, "takes longer to parse than the limit of 0.3 seconds (seconds)")
    assert sandbox.read("html", page, Limits())[0].text == "fine"


def test_a_file_that_takes_too_much_memory_is_given_up_and_the_next_is_read(sandbox, page, tmp_path):
    path = tmp_path / "large.ipynb"
    path.write_text('{"cells": [' + "[]," * 4_000_000 + "0]}")
    [error] = sandbox.read("notebook", str(path), Limits(memory_bytes=100_000_000))
    assert error.where == str(path)
    assert error.reason == "takes more than the limit of 100,000,000 bytes of memory to parse (memory_bytes)"
    assert sandbox.read("html", page, Limits())[0].text == "fine"
    [error] = sandbox.read("notebook", str(path), Limits())
    assert error.reason == "JSON, but not that of a notebook"


def test_a_parser_that_is_killed_between_files_is_replaced(sandbox, page):
    sandbox.read("html", page, Limits())
    pid = process(sandbox)
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert sandbox.read("html", page, Limits())[0].text == "fine"


def test_a_parser_that_falls_over_a_file_is_replaced_and_the_file_named(sandbox, page, endless):
    sandbox.read("html", page, Limits())
    timer = threading.Timer(0.3, os.kill, (process(sandbox), signal.SIGSEGV))
    timer.start()
    [error] = sandbox.read("mdx", endless, Limits())
    timer.join()
    assert (error.where, error.reason) == (endless, "the parser fell over it (signal 11)")
    assert sandbox.read("html", page, Limits())[0].text == "fine"


def test_an_interrupt_leaves_no_process_and_no_stale_answer(sandbox, page, endless):
    sandbox.read("html", page, Limits())
    pid = process(sandbox)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            sandbox.read("mdx", endless, Limits())
    finally:
        signal.signal(signal.SIGALRM, before)
    assert gone(pid)
    assert sandbox.read("html", page, Limits())[0].text == "fine"


def test_an_interrupt_at_the_terminal_does_not_reach_the_parser(sandbox, page):
    sandbox.read("html", page, Limits())
    pid = process(sandbox)
    assert os.getsid(pid) != os.getsid(0)
    os.kill(pid, signal.SIGINT)
    assert sandbox.read("html", page, Limits())[0].text == "fine"
    assert process(sandbox) == pid


def test_threads_share_it_one_file_at_a_time(sandbox, tmp_path):
    paths = []
    for number in range(8):
        path = tmp_path / f"{number}.html"
        path.write_text(f"<p>{number}")
        paths.append(str(path))
    results = {}

    def work(path):
        results[path] = [sandbox.read("html", path, Limits())[0].text for _ in range(10)]

    threads = [threading.Thread(target=work, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {path: [str(number)] * 10 for number, path in enumerate(paths)}


def test_closing_ends_the_process_and_reading_starts_another(sandbox, page):
    sandbox.close()
    sandbox.read("html", page, Limits())
    pid = process(sandbox)
    sandbox.close()
    assert gone(pid, within=1)
    assert sandbox.read("html", page, Limits())[0].text == "fine"


SCRIPT = """
    import json, sys, time
    from instructsearch import readers
    next(readers.read(readers.File(sys.argv[1], sys.argv[1], 0, 0)))
    heavy = {"torch", "transformers", "faiss", "numpy", "pypdf", "docx", "pptx", "selectolax"} & set(sys.modules)
    print(json.dumps([readers._sandbox._child.pid, sorted(heavy)]))
    sys.stdout.flush()
    if len(sys.argv) > 2:
        next(readers.read(readers.File(sys.argv[2], sys.argv[2], 0, 0)))
"""


def started(*paths):
    script = textwrap.dedent(SCRIPT)
    return subprocess.Popen(
        [sys.executable, "-c", script, *paths], stdout=subprocess.PIPE, cwd=os.path.dirname(paths[0])
    )


def test_no_process_outlives_a_program_that_does_not_close(page):
    with started(page) as program:
        pid, heavy = json.loads(program.stdout.readline())
        assert program.wait(timeout=60) == 0
    assert gone(pid)
    assert heavy == []


def test_no_idle_process_outlives_a_program_that_is_killed(page, tmp_path):
    os.mkfifo(tmp_path / "wait")
    script = textwrap.dedent(SCRIPT) + "\nopen('wait').read()"
    with subprocess.Popen([sys.executable, "-c", script, page], stdout=subprocess.PIPE, cwd=tmp_path) as program:
        pid, _ = json.loads(program.stdout.readline())
        program.kill()
    assert gone(pid)


def test_a_process_at_work_for_a_program_that_was_killed_ends_by_its_own_time(page, endless, tmp_path):
    code = textwrap.dedent("""
        import sys
        from instructsearch.readers import child
        child._ORPHANED = 0
        child.main()
    """)
    limits = {"seconds": 1.0}
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        program.stdin.write(json.dumps({"kind": "mdx", "path": endless, "limits": limits}).encode() + b"\n")
        program.stdin.flush()
        assert program.wait(timeout=60) == -signal.SIGXCPU


def test_the_parsers_bring_nothing_heavy_and_nothing_from_the_folder_they_run_in(page, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "selectolax.py").write_text("raise SystemExit('shadowed')")
    code = textwrap.dedent("""
        import os, sys
        sys.path[:] = [path for path in sys.path if path]
        from importlib import import_module
        from instructsearch.readers.child import PARSERS
        from instructsearch.readers.sandbox import Sandbox
        from instructsearch.readers import Limits
        box = Sandbox()
        print(box.read("html", sys.argv[1], Limits())[0].text)
        box.close()
        for module, _ in PARSERS.values():
            import_module(f"instructsearch.readers.{module}")
        import docx, pptx
        print(sorted(set(sys.modules) & {"torch", "transformers", "faiss", "numpy", "onnxruntime", "tokenizers"}))
    """)
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code, page], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert ran.stdout == "fine\n[]\n"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_does_not_take_the_parents_parser_away(sandbox, page):
    sandbox.read("html", page, Limits())
    pid = process(sandbox)
    reader, writer = os.pipe()
    if (forked := os.fork()) == 0:
        text = sandbox.read("html", page, Limits())[0].text
        os.write(writer, json.dumps([text, process(sandbox)]).encode())
        sandbox.close()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text, other = json.load(pipe)
    os.waitpid(forked, 0)
    assert (text, other != pid) == ("fine", True)
    assert sandbox.read("html", page, Limits())[0].text == "fine"
    assert process(sandbox) == pid


def test_an_answer_larger_than_it_may_be_is_refused(sandbox, page, monkeypatch):
    monkeypatch.setattr("instructsearch.readers.sandbox._SLACK", 50)
    sandbox._started()
    [error] = sandbox.read("html", page, Limits(characters=5))
    assert isinstance(error, ReadError)
    assert error.reason == "the parser gives more than it may"
