"""Cross-encoders without torch: the graph's scores, when it is made, and what becomes of one that is damaged."""

import logging
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tiny_rerankers
from tiny_rerankers import PASSAGES, QUERY

from instructsearch import rerank
from instructsearch.embed.onnx import GRAPH, MANIFEST, WEIGHTS, refusal
from instructsearch.errors import ModelDamaged
from instructsearch.rerank import export
from instructsearch.rerank.cross import CrossEncoder
from instructsearch.rerank.graph import GraphCrossEncoder, graph_folder

EXACT = {"device": "cpu", "precision": "float32", "fused": False}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTRUCTSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_rerankers.cross(tmp_path_factory.mktemp("models") / "bert", "bert")


@pytest.fixture(scope="module")
def light(bert):
    """A profile whose graph in float32 is made."""
    profile = replace(rerank.find(str(bert)), graph="float32")
    assert export.prepare(profile)
    return profile


def test_the_graph_gives_the_scores_of_the_network(light):
    ours = rerank.load(light, device="cpu")
    assert isinstance(ours, GraphCrossEncoder)
    expected = CrossEncoder(light, **EXACT).score(QUERY, "", PASSAGES)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(ours.score(QUERY, "", PASSAGES), expected, atol=1e-4)


def test_a_passage_is_scored_exactly_alike_alone_and_among_others(light):
    ours = rerank.load(light, device="cpu")
    assert ours.score(QUERY, "", PASSAGES) == [ours.score(QUERY, "", [text])[0] for text in PASSAGES]
    assert ours.score(QUERY, "", []) == []


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "electra"])
@pytest.mark.parametrize("graph", ["float32", "int8"])
def test_every_family_has_a_graph_of_either_kind(tmp_path, monkeypatch, family, graph):
    monkeypatch.setitem(export.LEAST_CORRELATION, "int8", 0.8)  # random weights do not set passages far apart
    folder = tiny_rerankers.cross(tmp_path / family, family)
    profile = replace(rerank.find(str(folder)), graph=graph, activation="identity")
    assert export.prepare(profile)
    found = GraphCrossEncoder(profile).score(QUERY, "", PASSAGES)
    expected = CrossEncoder(profile, **EXACT).score(QUERY, "", PASSAGES)
    if graph == "float32":
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.corrcoef(found, expected)[0, 1] > 0.8
    assert found == [GraphCrossEncoder(profile).score(QUERY, "", [text])[0] for text in PASSAGES]


@pytest.mark.slow
def test_eight_bits_give_nearly_the_same_scores(bert, monkeypatch, caplog):
    monkeypatch.setitem(export.LEAST_CORRELATION, "int8", 0.8)
    profile = replace(rerank.find(str(bert)), graph="int8", activation="identity")
    ours = rerank.load(profile, device="cpu")
    assert isinstance(ours, GraphCrossEncoder)
    assert "pre-processing" not in caplog.text  # the quantiser's advice is not for users
    found, expected = ours.score(QUERY, "", PASSAGES), CrossEncoder(profile, **EXACT).score(QUERY, "", PASSAGES)
    assert np.corrcoef(found, expected)[0, 1] > 0.8
    assert found == [ours.score(QUERY, "", [text])[0] for text in PASSAGES]


def test_a_graph_that_is_there_needs_neither_torch_nor_transformers(light, tmp_path):
    facts = "\n".join(f"{name} = {value!r}" for name, value in light.to_dict().items() if isinstance(value, str | int))
    files = "\n".join(f'"{name}" = "{value}"' for name, value in light.files.items())
    (tmp_path / "light.toml").write_text(f"{facts}\n[files]\n{files}\n")
    code = (
        f"import sys\nfrom instructsearch import rerank\nranker = rerank.load({str(tmp_path / 'light.toml')!r})\n"
        f"print(ranker.score({QUERY!r}, '', {PASSAGES!r}))\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    scores, loaded = done.stdout.splitlines()
    assert loaded == "[]"
    np.testing.assert_allclose(eval(scores), GraphCrossEncoder(light).score(QUERY, "", PASSAGES), atol=1e-6)


@pytest.fixture
def made_by_copying(light, tmp_path, monkeypatch):
    """Take the graph that is there for one that was exported, which takes seconds."""
    kept = shutil.copytree(graph_folder(light), tmp_path / "kept")

    def copied(folder):
        for name in (GRAPH, WEIGHTS):
            shutil.copy(kept / name, folder)

    monkeypatch.setattr(export, "_export", lambda *_: None)
    monkeypatch.setattr(export, "_optimise", copied)


def test_a_damaged_graph_is_never_used_and_is_made_again(light, made_by_copying):
    folder = graph_folder(light)
    whole = (folder / GRAPH).read_bytes()
    (folder / GRAPH).write_bytes(whole[:-1])
    with pytest.raises(ModelDamaged, match="missing or damaged"):
        GraphCrossEncoder(light)
    assert len(rerank.load(light, device="cpu").score(QUERY, "", PASSAGES)) == len(PASSAGES)
    assert (folder / GRAPH).stat().st_size == len(whole)


def test_a_graph_whose_scores_differ_is_refused_once_and_torch_scores(bert, made_by_copying, monkeypatch, caplog):
    profile = replace(rerank.find(str(bert)), graph="float32", max_tokens=70)
    monkeypatch.setitem(export.LEAST_CORRELATION, "float32", 1.1)
    with caplog.at_level(logging.INFO, "instructsearch.rerank"):
        assert isinstance(rerank.load(profile, device="cpu"), CrossEncoder)
    assert "the graph's scores differ (correlation" in caplog.text
    assert "scores differ" in refusal(graph_folder(profile)).read_text()
    assert not (graph_folder(profile) / MANIFEST).exists()
    monkeypatch.setattr(export, "_build", lambda *_: pytest.fail("it was tried again"))
    assert isinstance(rerank.load(profile, device="cpu"), CrossEncoder)


def test_an_architecture_without_graphs_is_scored_by_torch(tmp_path):
    folder = tiny_rerankers.cross(tmp_path / "modernbert", "modernbert")
    profile = replace(rerank.find(str(folder)), graph="float32")
    assert isinstance(rerank.load(profile, device="cpu"), CrossEncoder)
    assert "graphs are made of" in refusal(graph_folder(profile)).read_text()


def test_a_cache_that_cannot_be_written_means_torch(bert, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("INSTRUCTSEARCH_CACHE", str(tmp_path / "cache"))
    profile = replace(rerank.find(str(bert)), graph="float32", max_tokens=60)
    assert isinstance(rerank.load(profile, device="cpu"), CrossEncoder)


def test_a_profile_without_a_graph_makes_none(bert):
    profile = rerank.find(str(bert))
    assert isinstance(rerank.load(profile, device="cpu"), CrossEncoder)
    assert not graph_folder(profile).exists()
