"""Queries without torch: the graph's vectors, its cache and what damages it."""

import json
import logging
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from tiny_families import qwen3
from tiny_models import add_dense, tiny_bert

from instructsearch import embed
from instructsearch.embed import export, onnx
from instructsearch.embed.encoder import Encoder

TEXTS = ["the cat", "", "the dog sat " * 30, "red? blue!"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("INSTRUCTSEARCH_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = add_dense(tiny_bert(tmp_path_factory.mktemp("models") / "bert"), 16)
    encoder = Encoder(embed.find(str(folder)), device="cpu", precision="float32")
    assert embed.prepare_queries(encoder)
    return encoder


@pytest.fixture
def fresh(encoder, tmp_path, monkeypatch):
    """A cache of its own, with the graph already in it."""
    graph = onnx.graph_folder(encoder.profile)
    monkeypatch.setenv("INSTRUCTSEARCH_CACHE", str(tmp_path))
    copy = onnx.graph_folder(encoder.profile)
    shutil.copytree(graph, copy)
    return copy


def test_the_graph_equals_torch(encoder):
    light = embed.load(encoder.profile, queries=True)
    assert isinstance(light, onnx.OnnxEncoder)
    assert light.device == "cpu"
    np.testing.assert_allclose(light.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)
    assert light.encode([]).shape == (0, 16)


def test_a_second_preparation_makes_nothing(encoder, monkeypatch):
    monkeypatch.setattr(export, "_build", lambda *_: pytest.fail("built again"))
    assert embed.prepare_queries(encoder)


def test_making_the_graph_says_nothing(encoder, tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.setenv("INSTRUCTSEARCH_CACHE", str(tmp_path))
    assert embed.prepare_queries(encoder)
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert [path.name for path in (tmp_path / "onnx").iterdir()] == [onnx.graph_folder(encoder.profile).name]


@pytest.mark.parametrize("name", [onnx.GRAPH, onnx.WEIGHTS, onnx.MANIFEST])
@pytest.mark.parametrize("damage", ["truncated", "altered", "gone"])
def test_a_damaged_graph_is_noticed_and_made_again(encoder, fresh, monkeypatch, name, damage):
    assert onnx.intact(fresh)
    path = fresh / name
    data = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(data[:-7])
    elif damage == "altered":
        path.write_bytes(data[:20] + b"!" + data[21:])
    assert not onnx.intact(fresh)
    built = []

    def build(encoder, folder):
        built.append(folder)
        source = fresh.parent / "whole"
        shutil.copytree(source, folder, dirs_exist_ok=True)
        return ""

    shutil.copytree(fresh, fresh.parent / "whole")
    (fresh.parent / "whole" / name).write_bytes(data)
    monkeypatch.setattr(export, "_build", build)
    light = embed.load(encoder.profile, queries=True)
    assert len(built) == 1
    assert isinstance(light, onnx.OnnxEncoder)
    assert onnx.intact(fresh)


def test_a_graph_that_differs_is_refused_remembered_and_replaced_by_torch(encoder, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("INSTRUCTSEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(export, "LEAST_COSINE", 1.1)
    with caplog.at_level(logging.INFO, "instructsearch.embed"):
        heavy = embed.load(encoder.profile, queries=True)
    assert isinstance(heavy, Encoder)
    assert "vectors differ" in caplog.text
    monkeypatch.setattr(export, "_build", lambda *_: pytest.fail("tried again"))
    assert isinstance(embed.load(encoder.profile, queries=True), Encoder)
    assert not onnx.graph_folder(encoder.profile).exists()


@pytest.mark.parametrize(
    ("make", "limit", "reason"),
    [(qwen3, 10**9, "this is qwen3"), (tiny_bert, 10, "weights are more than the 10 worth a graph")],
    ids=["architecture", "size"],
)
def test_no_graph_is_tried_of_what_is_not_worth_one(tmp_path, monkeypatch, caplog, make, limit, reason):
    monkeypatch.setattr(export, "LARGEST", limit)
    monkeypatch.setattr(export, "_build", lambda *_: pytest.fail("tried"))
    profile = replace(embed.find("gte-small"), model=str(make(tmp_path)), revision="", dim=32, max_tokens=32)
    with caplog.at_level(logging.INFO, "instructsearch.embed"):
        assert isinstance(embed.load(profile, device="cpu", queries=True), Encoder)
    assert "queries of gte-small will use torch" in caplog.text
    assert reason in caplog.text


def test_a_cache_that_cannot_be_written_means_torch(encoder, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("INSTRUCTSEARCH_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.INFO, "instructsearch.embed"):
        assert not embed.prepare_queries(encoder)
    assert "cannot be written" in caplog.text


def test_the_faster_of_two_exports_is_kept(encoder, fresh, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(fresh, mine)
    manifest = json.loads((mine / onnx.MANIFEST).read_text())
    (mine / onnx.MANIFEST).write_text(json.dumps({**manifest, "torch": "mine"}))
    export._publish(mine, fresh)
    assert json.loads((fresh / onnx.MANIFEST).read_text())["torch"] == manifest["torch"]


def test_the_hash_embedder_needs_no_graph():
    assert embed.prepare_queries(embed.load("hash", queries=True))


def test_minilm_answers_queries_without_torch_as_torch_would(cache):
    exact = Encoder(embed.find("minilm"), device="cpu", precision="float32")
    assert embed.prepare_queries(exact)
    program = """
import json, sys
from instructsearch import embed
vectors = embed.load("minilm", queries=True).encode(json.loads(sys.argv[1]), role="query")
heavy = {"torch", "transformers", "sentence_transformers", "sqlite_utils", "faiss"} & set(sys.modules)
print(json.dumps([sorted(heavy), vectors.tolist()]))
"""
    output = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, json.dumps(TEXTS)], capture_output=True, text=True, check=True
    )
    assert output.stderr == ""
    heavy, vectors = json.loads(output.stdout)
    assert heavy == []
    np.testing.assert_allclose(vectors, exact.encode(TEXTS, role="query"), atol=1e-5)


def test_importing_the_package_is_light():
    program = """
import sys, instructsearch.embed as embed
embed.find("minilm"), embed.profiles()
print(sorted({"torch", "transformers", "onnxruntime", "tokenizers", "numpy", "huggingface_hub"} & set(sys.modules)))
"""
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert output.stdout == "[]\n"
