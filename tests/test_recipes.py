"""The README's recipes, each run as it stands there, with a stub where a chat server is asked."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest
import readme
import served

from instructsearch import Collection, Document, embed

TEXT = readme.README.read_text(encoding="utf-8")
# a recipe is the block marked `py` below a heading; blocks marked `python` are test_readme's
RECIPES = dict(re.findall(r"^### ([^\n]+)\n(?:(?!^#).)*?^```py\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
HTTP = re.search(r"^## Over HTTP\n\n```\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[1]
TONE = "Represent the support ticket by the emotion it expresses:"


def run(name, folder, said="", **environment):
    """Run a recipe in a folder, as a stranger would, and return what it printed."""
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", RECIPES[name]],
        **{"cwd": folder, "input": said, "capture_output": True, "text": True, "timeout": 120},
        env={**os.environ, "PATH": path, "HAYSTACK_TELEMETRY_ENABLED": "False", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def tickets(tmp_path):
    """The tickets that the README takes for granted, under the view `tone`."""
    collection = Collection.create("tickets", tmp_path / "indexes", embedder="hash")
    collection.add([Document("t1", "The printer is on fire"), Document("t2", "I have had enough of this")])
    collection.add_view("tone", instruction=TONE)
    return tmp_path


@pytest.fixture
def chat():
    """A chat server that answers by `reply`, and keeps what it was asked in `asked`."""

    class Stub(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.asked.append(asked)
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **stub.reply(asked)}}
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "stub", "choices": [choice]}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            """Say nothing."""

    stub = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    stub.asked = []
    stub.environment = {
        "OPENAI_BASE_URL": f"http://127.0.0.1:{stub.server_address[1]}/v1",
        "OPENAI_API_KEY": "none",
        "NO_PROXY": "*",
    }
    thread = threading.Thread(target=stub.serve_forever, daemon=True)
    thread.start()
    yield stub
    stub.shutdown()
    thread.join()
    stub.server_close()


def needs(*modules):
    missing = [module for module in modules if find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_what_is_shown_of_curl_is_answered_by_the_service_shown(tmp_path):
    rows = [("t1", "The printer is on fire", "open"), ("t2", "The printer is fine", "done")]
    collection = Collection.create("tickets", tmp_path / "indexes", embedder="hash")
    collection.add(Document(id, text, metadata={"status": status}) for id, text, status in rows)
    embed.load("minilm", queries=True)  # its graph is made once for all tests, and the service's callers wait for none
    serve, *asked = [line for line in HTTP.replace("\\\n", " ").splitlines() if line.startswith("$ ")]
    assert serve == "$ instructsearch serve --root indexes &"
    with served.process(tmp_path / "indexes") as process:
        address = str(process.started().base_url).removeprefix("http://").rstrip("/")
        answers = []
        for line in asked:
            command = line.removeprefix("$ ").replace("localhost:8765", address)
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=served.PATIENCE)
            assert done.returncode == 0, done.stderr
            answers.append(json.loads(done.stdout))
    listed, found, job, embeddings = answers
    assert [one["collection"] for one in listed["collections"]] == ["tickets"]
    assert [hit["document"] for hit in found["hits"]] == ["t1"]
    assert (job["state"], job["result"]["documents"]["added"]) == ("done", 1)
    assert len(embeddings["data"][0]["embedding"]) == 384


@needs("openai")
def test_the_rag_loop_answers_from_what_was_found_and_says_where_it_is(tickets, chat):
    chat.reply = lambda asked: {"content": "Said " + asked["messages"][1]["content"].splitlines()[0]}
    out = run("A RAG loop", tickets, "who has had enough?\n\n", **chat.environment)
    assert "Said [1] I have had enough of this" in out
    assert "[1] t2, characters 0 to 25" in out
    (asked,) = chat.asked
    assert "data" in asked["messages"][0]["content"]
    assert asked["messages"][1]["content"].endswith("Question: who has had enough?")


@needs("openai", "mcp")
def test_the_agent_chooses_a_view_and_searches_it_over_mcp(tickets, chat):
    def reply(asked):
        told = [json.loads(message["content"]) for message in asked["messages"] if message["role"] == "tool"]
        if not told:
            return call("list_collections", {})
        if len(told) == 1:
            views = told[0]["collections"][0]["views"]
            view = next(view["name"] for view in views if "emotion" in view["meaning"])
            return call("search", {"collection": "tickets", "query": "has had enough", "views": [view]})
        return {"content": f"It is {told[1]['hits'][0]['document']}, under {list(told[1]['views'])}."}

    def call(tool, arguments):
        function = {"name": tool, "arguments": json.dumps(arguments)}
        return {"content": None, "tool_calls": [{"id": tool, "type": "function", "function": function}]}

    chat.reply = reply
    out = run("An agent over MCP", tickets, **chat.environment)
    assert out == "It is t2, under ['tone'].\n"
    offered = {tool["function"]["name"]: tool["function"] for tool in chat.asked[0]["tools"]}
    assert set(offered) == {"list_collections", "search", "read_document", "read_around"}
    assert "list_collections" in chat.asked[0]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param(
            "LangChain",
            ["n1 The cat sat on the mat.", "'query': 'Represent the question for finding notes:'"],
            marks=needs("langchain_core"),
        ),
        pytest.param("LlamaIndex", ["The cat sat on the mat.", "default The cat sat"], marks=needs("llama_index")),
        pytest.param("Haystack", ["The cat sat on the mat.", "by its mood"], marks=needs("haystack")),
    ],
    ids=["LangChain", "LlamaIndex", "Haystack"],
)
def test_the_frameworks_recipe_finds_what_it_stored(tmp_path, name, said):
    out = run(name, tmp_path)
    for each in said:
        assert each in out


def test_the_settings_shown_for_agents_are_json():
    (settings,) = re.findall(r"^```json\n(\{\"mcpServers.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert json.loads(settings)["mcpServers"]["instructsearch"]["args"][0] == "mcp"
