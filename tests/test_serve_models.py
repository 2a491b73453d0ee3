"""The real OpenAI client embeds here as it does there, with an instruction and a role; reranking is as Cohere's."""

import base64

import numpy as np
import openai
import pytest
import served

from instructsearch import embed
from instructsearch.rerank.overlap import OverlapReranker
from instructsearch.serve import Limits, Settings
from instructsearch.serve.pool import public
from instructsearch.serve.service import Service

TOKEN = "the-key-of-this-place"
TEXTS = ["a red cherry", "a red lorry", "a green apple"]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with served.serving(tmp_path_factory.mktemp("models"), token=TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def theirs(client):
    with openai.OpenAI(base_url=f"{client.base_url}/v1", api_key=TOKEN, max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def ours():
    return embed.load("hash")


def test_the_client_gets_the_librarys_vectors(theirs, ours):
    answer = theirs.embeddings.create(model="hash", input=TEXTS)
    vectors = np.array([one.embedding for one in answer.data], np.float32)
    np.testing.assert_array_equal(vectors, ours.encode(TEXTS, "", "document"))
    assert [one.index for one in answer.data] == [0, 1, 2]
    assert answer.model == "hash"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 9


def test_one_text_needs_no_list(theirs, ours):
    answer = theirs.embeddings.create(model="hash", input=TEXTS[0])
    np.testing.assert_array_equal(np.float32(answer.data[0].embedding), ours.encode(TEXTS[:1])[0])


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_both_encodings_say_the_same(client, theirs, ours, encoding):
    answer = client.post("/v1/embeddings", json={"model": "hash", "input": TEXTS, "encoding_format": encoding}).json()
    given = [one["embedding"] for one in answer["data"]]
    if encoding == "base64":
        given = [np.frombuffer(base64.b64decode(one), "<f4") for one in given]
    np.testing.assert_array_equal(np.array(given, np.float32), ours.encode(TEXTS))


@pytest.mark.parametrize("role", ["query", "document"])
def test_an_instruction_and_a_role_are_given_besides(theirs, ours, role):
    extra = {"instruction": "which colour: red or green", "role": role}
    answer = theirs.embeddings.create(model="hash", input=TEXTS, extra_body=extra)
    vectors = np.array([one.embedding for one in answer.data], np.float32)
    np.testing.assert_array_equal(vectors, ours.encode(TEXTS, extra["instruction"], role))
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2], "red is with red"
    assert answer.usage.prompt_tokens == 9 + 5 * 3, "the instruction is read with each text"


def test_dimensions_are_those_a_model_was_trained_for(theirs):
    assert len(theirs.embeddings.create(model="hash", input="a", dimensions=64).data[0].embedding) == 64
    with pytest.raises(openai.BadRequestError, match="not trained for dimension 63"):
        theirs.embeddings.create(model="hash", input="a", dimensions=63)


@pytest.mark.parametrize("given", [[1, 2, 3], [[1, 2], [3]]], ids=["one", "several"])
def test_token_ids_are_refused_and_it_is_said_why(theirs, given):
    with pytest.raises(openai.BadRequestError, match="token ids"):
        theirs.embeddings.create(model="hash", input=given)


@pytest.mark.parametrize("given", [[], "", " ", ["a", ""]])
def test_there_must_be_text(theirs, given):
    with pytest.raises(openai.BadRequestError, match="at least one text"):
        theirs.embeddings.create(model="hash", input=given)


def test_a_text_beyond_the_window_is_refused_or_cut_but_never_in_silence(theirs, ours):
    long = "word " * 5000
    with pytest.raises(openai.BadRequestError, match="5000 tokens, hash has room for"):
        theirs.embeddings.create(model="hash", input=["fine", long])
    answer = theirs.embeddings.create(model="hash", input=long, extra_body={"truncate": True})
    assert answer.usage.prompt_tokens == ours.profile.max_tokens


def test_a_wrong_key_and_an_unknown_model_are_the_clients_own_errors(client, theirs):
    with pytest.raises(openai.NotFoundError, match="list of models"):
        theirs.embeddings.create(model="text-embedding-3-small", input="a")
    with (
        openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="wrong", max_retries=0) as other,
        pytest.raises(openai.AuthenticationError),
    ):
        other.models.list()
    with pytest.raises(openai.UnprocessableEntityError, match="Extra inputs"):
        theirs.embeddings.create(model="hash", input="a", extra_body={"temperature": 1})


def test_models_are_listed_and_looked_at(theirs):
    listed = {one.id: one for one in theirs.models.list()}
    assert {"hash", "minilm"} <= set(listed)
    assert listed["minilm"].dim == 384
    assert theirs.models.retrieve("hash").takes_instruction is True
    with pytest.raises(openai.NotFoundError):
        theirs.models.retrieve("no-such-model")


def test_the_asynchronous_client_works_too(client, ours):
    import asyncio

    async def many():
        async with openai.AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key=TOKEN, max_retries=0) as made:
            asked = [made.embeddings.create(model="hash", input=f"text {n}") for n in range(16)]
            return [one.data[0].embedding for one in await asyncio.gather(*asked)]

    given = np.array(asyncio.run(many()), np.float32)
    np.testing.assert_array_equal(given, ours.encode([f"text {n}" for n in range(16)]))


# --- models that the operator names


PROFILE = 'base = "hash"\nmax_tokens = 100\nquery_instruction = "colour of it"\n'


def test_a_model_that_the_operator_names_is_offered_by_its_name_alone(tmp_path, ours):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "tuned.toml").write_text(PROFILE)
    with served.serving(tmp_path / "root", embedders=(str(tmp_path / "private" / "tuned.toml"),)) as client:
        listed = client.get("/v1/models")
        assert listed.json()["data"][0]["id"] == "tuned"
        assert "private" not in listed.text
        asked = {"model": "tuned", "input": TEXTS, "role": "query"}
        own = client.post("/v1/embeddings", json=asked).json()
        none = client.post("/v1/embeddings", json={**asked, "instruction": ""}).json()
        assert own["data"] != none["data"], "a query goes by the model's own instruction, unless another is given"
        client.collection("c", embedder="tuned")
        client.add(("a", "a red cherry"))
        assert client.search("cherry")
        status = client.get("/collections/c")
        assert status.json()["views"][0]["embedder"] == "tuned"
        assert "private" not in status.text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("minilm", "minilm"),
        ("minilm=/srv/weights", "minilm"),
        ("/srv/models/mine", "mine"),
        ("./models/mine", "mine"),
        ("/srv/models/mine/profile.toml", "mine"),
        ("/srv/models/mine.toml", "mine"),
        ("org/model", "org/model"),
        ("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_a_models_folder_is_never_told(name, told):
    assert public(name) == told


def test_no_more_models_are_loaded_than_are_allowed(tmp_path):
    service = Service(Settings(tmp_path, limits=Limits(models=1)))
    service.pool.load(embed.find("hash"), queries=True)
    service.pool.load(embed.find("hash"), queries=False)
    (tmp_path / "other.toml").write_text(PROFILE)
    with pytest.raises(Exception, match="keeps 1 models loaded"):
        service.pool.load(embed.find(str(tmp_path / "other.toml")), queries=True)


# --- reranking


def test_documents_are_reranked_in_the_shape_of_cohere_and_jina(client):
    documents = ["a green apple", {"text": "a red cherry"}, "a red lorry that is long"]
    answer = client.post("/v1/rerank", json={"model": "overlap", "query": "red cherry", "documents": documents}).json()
    assert [one["index"] for one in answer["results"]] == [1, 2, 0]
    scores = [one["relevance_score"] for one in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert set(answer["results"][0]) == {"index", "relevance_score"}
    assert answer["model"] == "overlap" and answer["id"]


def test_the_best_of_them_can_be_asked_for_with_their_texts(client):
    asked = {"model": "overlap", "query": "red", "documents": TEXTS, "top_n": 1, "return_documents": True}
    (one,) = client.post("/v1/rerank", json=asked).json()["results"]
    assert one["document"] == {"text": TEXTS[1]}


def test_an_instruction_changes_the_order(client):
    asked = {"model": "overlap", "query": "fruit", "documents": TEXTS}
    order = [
        client.post("/v1/rerank", json={**asked, "instruction": instruction}).json()["results"][0]["index"]
        for instruction in ("green things", "a lorry")
    ]
    assert order == [2, 1]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"documents": []}, 422),
        ({"documents": [{"title": "a"}]}, 400),
        ({"documents": ["a"], "top_n": 0}, 422),
        ({"documents": ["a"], "model": "none"}, 404),
        ({"documents": ["a"], "max_chunks_per_doc": 1}, 422),
    ],
)
def test_a_reranking_that_cannot_be_is_refused(client, asked, status):
    answer = client.post("/v1/rerank", json={"query": "a", "model": "overlap", **asked})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_reranker_works_for_one_caller_at_a_time(client, monkeypatch):
    import threading
    import time
    from concurrent.futures import ThreadPoolExecutor

    score, lock, most = OverlapReranker.score, threading.Lock(), []

    def alone(self, *arguments):
        most.append(lock.acquire(blocking=False))
        time.sleep(0.005)
        if most[-1]:
            lock.release()
        return score(self, *arguments)

    monkeypatch.setattr(OverlapReranker, "score", alone)
    asked = {"model": "overlap", "query": "red", "documents": TEXTS}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/rerank", json=asked).json()["results"], range(16)))
    assert all(answers) and all(answer == answers[0] for answer in answers)
    assert len(most) == 16 and all(most)
