"""Under mteb itself: an STS, a classification, a clustering and a retrieval task, by the embedder and by the engine.

mteb brings half a gigabyte of other packages, so it is an extra of its own: `make test-mteb`. Everything is local.
"""

import json
import sys
import warnings

import numpy as np
import pytest
import tasks_made as made

from instructsearch import embed
from instructsearch.errors import MissingExtra
from instructsearch.evaluate import ranking, search, similarity
from instructsearch.evaluate.following import p_mrr
from instructsearch.integrations.mteb import MtebEncoder, MtebSearch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of other packages, at import
    mteb = pytest.importorskip("mteb", reason="mteb is not installed: pip install 'instructsearch[mteb]'")
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskClassification, AbsTaskClustering, AbsTaskRetrieval, AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models.models_protocols import EncoderProtocol, SearchProtocol

pytestmark = [pytest.mark.mteb, pytest.mark.filterwarnings("ignore")]
hashed = embed.load("hash")
TEXTS = [row["text"] for row in made.ROWS]
QRELS = {
    row["_id"]: {one["_id"]: 1 for one in made.ROWS if one["colour"] == row["text"].split()[0]} for row in made.QUERIES
}


def metadata(name, kind, score, prompt=None):
    return TaskMetadata(
        name=name,
        type=kind,
        main_score=score,
        prompt=prompt,
        description="made of colours and shapes",
        reference="https://example.org",
        dataset={"path": "NA", "revision": "NA"},
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        date=("2024-01-01", "2024-01-02"),
        domains=[],
        task_subtypes=[],
        license="cc-by-4.0",
        annotations_creators="derived",
        dialect=[],
        sample_creation="created",
        bibtex_citation="",
    )


class Pairs(AbsTaskSTS):
    metadata = metadata("LocalPairs", "STS", "cosine_spearman", made.BY_SHAPE)
    min_score, max_score = 0, 1

    def load_data(self, **_):
        rows = [(one, other) for one in made.ROWS[:9] for other in made.ROWS[9:18]]
        self.dataset = DatasetDict(
            test=Dataset.from_dict(
                {
                    "sentence1": [one["text"] for one, _ in rows],
                    "sentence2": [other["text"] for _, other in rows],
                    "score": [float(one["shape"] == other["shape"]) for one, other in rows],
                }
            )
        )
        self.data_loaded = True


class Colours(AbsTaskClassification):
    metadata = metadata("LocalColours", "Classification", "accuracy", made.BY_COLOUR)
    samples_per_label = 4

    def load_data(self, **_):
        labels = [made.COLOURS.index(row["colour"]) for row in made.ROWS]
        split = Dataset.from_dict({"text": TEXTS, "label": labels})
        self.dataset = DatasetDict(train=split, test=split)
        self.data_loaded = True


class Groups(AbsTaskClustering):
    metadata = metadata("LocalGroups", "Clustering", "v_measure", made.BY_SHAPE)
    max_fraction_of_documents_to_embed = None
    max_document_to_embed = 27
    n_clusters = 3

    def load_data(self, **_):
        labels = [row["shape"] for row in made.ROWS]
        self.dataset = DatasetDict(test=Dataset.from_dict({"sentences": TEXTS, "labels": labels}))
        self.data_loaded = True


class Things(AbsTaskRetrieval):
    metadata = metadata("LocalThings", "Retrieval", "ndcg_at_10")
    k_values = (1, 10, 20)

    def load_data(self, **_):
        corpus = [{"id": row["_id"], "title": "", "text": row["text"]} for row in made.ROWS]
        self.dataset = {
            "default": {
                "test": {
                    "corpus": Dataset.from_list(corpus),
                    "queries": Dataset.from_list(self.asked()),
                    "relevant_docs": {query: dict(judged) for query, judged in self.judged().items()},
                    "top_ranked": self.candidates(),
                }
            }
        }
        self.data_loaded = True

    def asked(self):
        return [{"id": row["_id"], "text": row["text"]} for row in made.QUERIES]

    def judged(self):
        return QRELS

    def candidates(self):
        return None


class Prompted(Things):
    metadata = metadata(
        "LocalPrompted", "Retrieval", "ndcg_at_10", {"query": made.BY_COLOUR, "document": made.BY_COLOUR}
    )


class Obeying(Things):
    """Each query under two instructions, which decide what is relevant."""

    metadata = metadata("LocalObeying", "InstructionRetrieval", "ndcg_at_10")

    def asked(self):
        return [
            {"id": f"{row['_id']}.{said[0]}", "text": row["text"], "instruction": said}
            for row in made.QUERIES
            for said in (made.BY_COLOUR, made.BY_SHAPE)
        ]

    def judged(self):
        wanted = {}
        for row in made.QUERIES:
            colour, shape = row["text"].split()
            wanted[f"{row['_id']}.{made.BY_COLOUR[0]}"] = {
                one["_id"]: 1 for one in made.ROWS if one["colour"] == colour
            }
            wanted[f"{row['_id']}.{made.BY_SHAPE[0]}"] = {one["_id"]: 1 for one in made.ROWS if one["shape"] == shape}
        return wanted


class Reranked(Things):
    metadata = metadata("LocalReranked", "Reranking", "ndcg_at_10")

    def candidates(self):
        return {row["_id"]: [one["_id"] for one in made.ROWS[at : at + 6]] for at, row in enumerate(made.QUERIES)}


def score(model, task, name="main_score", **options):
    result = mteb.evaluate(model, task, cache=None, show_progress_bar=False, co2_tracker=False, **options)
    return result.task_results[0].scores["test"][0][name]


def vectors(texts, instruction="", role="query"):
    return hashed.encode(texts, instruction, role)


def exact(instruction="", about="", queries=None, qrels=QRELS, among=None):
    """Return nDCG@10 of an exact scan, by our own measures."""
    documents = vectors(TEXTS, about, "document")
    run = {}
    for row in queries or made.QUERIES:
        near = documents @ vectors([row["text"]], instruction or row.get("instruction", ""))[0]
        id = row.get("_id") or row["id"]
        run[id] = {
            one["_id"]: float(value)
            for one, value in zip(made.ROWS, near, strict=True)
            if among is None or one["_id"] in among[id]
        }
    return ranking.mean(ranking.measure(run, qrels, ["nDCG@10"])["nDCG@10"])


# --- the embedder


def test_it_is_an_encoder_by_mtebs_own_protocol():
    model = MtebEncoder("hash")
    assert isinstance(model, EncoderProtocol)
    assert not isinstance(model, SearchProtocol)
    assert model.mteb_model_meta.name == "instructsearch/hash"
    assert model.mteb_model_meta.embed_dim == 64


def test_pairs_score_as_our_own_measure_has_it():
    rows = [(one, other) for one in made.ROWS[:9] for other in made.ROWS[9:18]]
    gold = [float(one["shape"] == other["shape"]) for one, other in rows]
    for prompts, instruction in ((True, made.BY_SHAPE), (False, "")):
        one, other = (vectors([pair[side]["text"] for pair in rows], instruction) for side in (0, 1))
        expected = similarity.spearman(np.round(similarity.cosines(one, other), 5), gold)
        assert score(MtebEncoder("hash", prompts=prompts), Pairs()) == pytest.approx(expected, abs=0.02)


def test_a_classifier_needs_the_instruction():
    assert score(MtebEncoder("hash"), Colours()) > 0.95
    wrong = MtebEncoder("hash", instructions={"LocalColours": made.BY_SHAPE})
    assert score(wrong, Colours()) < score(MtebEncoder("hash"), Colours())


def test_clusters_are_those_that_the_instruction_asks_for():
    assert score(MtebEncoder("hash"), Groups()) > 0.95
    assert score(MtebEncoder("hash", instructions={"Clustering": made.BY_COLOUR}), Groups()) < 0.3


def test_retrieval_scores_as_our_own_measure_has_it():
    assert score(MtebEncoder("hash"), Things()) == pytest.approx(exact(), abs=1e-5)
    assert score(MtebEncoder("hash"), Prompted()) == pytest.approx(exact(made.BY_COLOUR, made.BY_COLOUR), abs=1e-5)
    only = MtebEncoder("hash", instructions={"LocalPrompted": made.BY_COLOUR})
    assert score(only, Prompted()) == pytest.approx(exact(made.BY_COLOUR), abs=1e-5)


def test_a_querys_own_instruction_goes_with_it():
    expected = exact(queries=Obeying().asked(), qrels=Obeying().judged())
    assert score(MtebEncoder("hash"), Obeying()) == pytest.approx(expected, abs=1e-5)
    assert expected == pytest.approx(1.0)
    deaf = MtebEncoder("minilm")
    assert score(deaf, Obeying()) < 0.9


def test_what_mteb_files_results_under_changes_with_the_instructions():
    revisions = {
        MtebEncoder("hash", instructions=said, prompts=prompts).mteb_model_meta.revision
        for said in (None, {"STS": "a"}, {"STS": "b"}, {"STS": {"query": "a"}})
        for prompts in (True, False)
    }
    assert len(revisions) == 8
    modes = {MtebSearch("hash", mode=mode).mteb_model_meta.revision for mode in ("dense", "bm25", "hybrid")}
    assert len(modes) == 3


# --- the engine


def ours(task, mode, **options):
    """Return nDCG@10 of a collection made for a task, judged by our own evaluate, without mteb."""
    engine = MtebSearch("hash", mode=mode, **options)
    common = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    task.load_data()
    engine.index(task.dataset["default"]["test"]["corpus"], **common)
    queries = {row["_id"]: row["text"] for row in made.QUERIES}
    trial = search.judge(engine.collection.search_many, queries, QRELS, views=["default"], modes=[mode])
    return trial.results[0].measures["nDCG@10"].value


def test_it_is_a_searcher_by_mtebs_own_protocol():
    model = MtebSearch("hash")
    assert isinstance(model, SearchProtocol)
    assert not isinstance(model, EncoderProtocol)
    assert model.mteb_model_meta.name == "instructsearch/hash-hybrid"


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
@pytest.mark.parametrize("task", [Things, Prompted], ids=["plain", "prompted"])
def test_the_engine_scores_under_mteb_what_it_scores_by_our_own_evaluate(mode, task):
    # to the five digits that mteb keeps
    assert score(MtebSearch("hash", mode=mode), task()) == pytest.approx(ours(task(), mode), abs=1e-5)


def test_the_dense_engine_is_the_exact_scan():
    found = score(MtebSearch("hash", mode="dense"), Prompted())
    assert found == pytest.approx(exact(made.BY_COLOUR, made.BY_COLOUR), abs=1e-5)


def test_the_engine_obeys_a_querys_own_instruction():
    assert score(MtebSearch("hash", mode="dense"), Obeying()) == pytest.approx(1.0)
    assert score(MtebSearch("hash", mode="bm25"), Obeying()) < 0.9


def test_the_engine_reranks_the_candidates_and_nothing_else(tmp_path):
    found = score(MtebSearch("hash", mode="dense"), Reranked(), prediction_folder=tmp_path)
    assert found == pytest.approx(exact(among=Reranked().candidates()), abs=1e-5)
    (path,) = tmp_path.rglob("*predictions.json")
    kept = json.loads(path.read_text())["default"]["test"]
    assert {query: set(scores) for query, scores in kept.items()} == {
        query: set(documents) for query, documents in Reranked().candidates().items()
    }


def test_many_candidates_are_a_filter_that_the_store_can_hold():
    engine = MtebSearch("hash", mode="dense")
    common = {"task_metadata": Things.metadata, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    rows = [{"id": f"d{n}", "title": f"title {n}", "text": f"word{n}"} for n in range(1500)]
    engine.index(rows, **common)
    among = {"q": [row["id"] for row in rows[:1200]]}
    found = engine.search([{"id": "q", "text": "word3"}], top_k=1000, top_ranked=among, **common)
    assert len(found["q"]) == 1000
    assert set(found["q"]) <= set(among["q"])
    assert engine.search([{"id": "q", "text": "word3"}], top_k=5, top_ranked={}, **common) == {}


def test_odd_queries_and_documents_do_not_stop_a_task(tmp_path):
    engine = MtebSearch("hash", mode="hybrid", root=tmp_path)
    common = {"task_metadata": Things.metadata, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    rows = [{"id": 7, "text": "red car"}, {"id": "empty", "text": "", "title": None}, {"id": "b", "text": None}]
    engine.index(rows, **common)
    turns = [{"role": "user", "content": "a red one"}, {"role": "assistant", "content": "car?"}]
    queries = [{"id": "q", "text": turns}, {"id": "blank", "text": "  "}, {"id": "long", "text": "red " * 50_000}]
    found = engine.search(queries, top_k=3, **common)
    assert found["q"].keys() == found["long"].keys() == {"7"}
    assert "blank" not in found
    engine.index(rows[:1], **common)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["corpus-1", "corpus-2"]
    with pytest.raises(RuntimeError, match="index a corpus"):
        MtebSearch("hash").search(queries, top_k=3, **common)


def test_ties_keep_our_order_when_mteb_sorts_again():
    engine = MtebSearch("hash", mode="dense")
    common = {"task_metadata": Things.metadata, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    engine.index([{"id": f"d{n}", "title": "", "text": "same words"} for n in range(9)], **common)
    (scores,) = engine.search([{"id": "q", "text": "same"}], top_k=9, **common).values()
    assert ranking.order(scores) == list(scores) == [f"d{n}" for n in range(9)]


def test_p_mrr_is_mtebs():
    from mteb._evaluators.retrieval_metrics import evaluate_p_mrr_change

    source = np.random.default_rng(3)
    documents = [f"d{n}" for n in range(30)]
    results, removed = {}, {}
    for query in ("q1", "q2", "q3"):
        for kind in ("og", "changed"):
            some = source.permutation(documents)[:25].tolist()
            results[f"{query}-{kind}"] = {one: float(np.round(source.normal(), 1)) for one in some}
        both = set(results[f"{query}-og"]) & set(results[f"{query}-changed"])
        removed[query] = sorted(both)[:4]
    qrels = {name: dict.fromkeys(documents, 1) for name in results}
    theirs = evaluate_p_mrr_change(qrels, results, removed, [1, 5, 10])["p-MRR"]
    before, after = ({query: results[f"{query}-{kind}"] for query in removed} for kind in ("og", "changed"))
    assert ranking.mean(p_mrr(before, after, removed)) == pytest.approx(theirs, abs=1e-9)


def test_without_mteb_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb.models.model_meta", None)
    with pytest.raises(MissingExtra, match=r"instructsearch\[mteb\]"):
        MtebEncoder("hash")
