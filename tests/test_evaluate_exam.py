"""Judging an embedder: task folders are read strictly, and each kind of task gives the scores worked out by hand."""

import json

import numpy as np
import pytest
import tasks_made as made
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier

from instructsearch import embed
from instructsearch.errors import ReadError
from instructsearch.evaluate import account, exam, labels
from instructsearch.evaluate.exam import judge
from instructsearch.evaluate.folders import load
from instructsearch.evaluate.tasks import Wording, Wordings

hashed = embed.load("hash")
INSTRUCTIONS = {
    "right": [made.BY_COLOUR, "red blue green"],
    "implicit": ["red"],
    "wrong": [made.BY_SHAPE],
    "levels": {"tag": "red", "detailed": "is it red, blue or green?"},
}


def told(folder):
    (task,) = load(folder)
    return judge(task, hashed.encode)


# --- what each kind scores


def test_labels_are_scored_under_every_wording(tmp_path):
    verdict = told(made.labels(tmp_path / "by colour", instructions=INSTRUCTIONS))
    assert (verdict.name, verdict.kind, verdict.measure, verdict.n) == ("by colour", "labels", "10-NN accuracy", 27)
    assert [score.group for score in verdict.scores] == [
        *("none", "right", "right", "implicit", "wrong", "level tag", "level detailed")
    ]
    texts, wanted = [row["text"] for row in made.ROWS], [row["colour"] for row in made.ROWS]
    for score in verdict.scores:
        vectors = hashed.encode(texts, score.instruction, "query")
        hits = []
        for at in range(len(texts)):
            rest = [n for n in range(len(texts)) if n != at]
            model = KNeighborsClassifier(10, metric="cosine", algorithm="brute")
            model.fit(vectors[rest], [wanted[n] for n in rest])
            hits.append(model.predict(vectors[at : at + 1])[0] == wanted[at])
        assert score.value.value == pytest.approx(np.mean(hits))
        assert score.also["V-measure"] == labels.v_measure(wanted, labels.clusters(vectors, 3).tolist())
    spreads = verdict.spreads()
    assert spreads["right"].mean > 0.9 > spreads["wrong"].mean
    assert spreads["right"].n == 2
    assert verdict.gap().mean == pytest.approx(spreads["right"].mean - spreads["wrong"].mean)
    assert verdict.gap().implicit == pytest.approx(spreads["implicit"].worst - spreads["wrong"].best)


def test_rows_of_the_train_split_are_only_neighbours(tmp_path):
    rows = [
        {"text": row["text"], "label": n % 2, "split": "train" if n % 3 else "test"} for n, row in enumerate(made.ROWS)
    ]
    made.put(tmp_path / "texts.jsonl", *rows)
    made.put(tmp_path / "task.json", {"kind": "labels", "role": "document"})
    verdict = told(tmp_path)
    train, test = ([row for row in rows if row["split"] == split] for split in ("train", "test"))
    model = KNeighborsClassifier(10, metric="cosine", algorithm="brute")
    model.fit(hashed.encode([row["text"] for row in train]), [str(row["label"]) for row in train])
    expected = model.predict(hashed.encode([row["text"] for row in test])) == [str(row["label"]) for row in test]
    assert verdict.n == len(test)
    assert verdict.scores[0].value.value == pytest.approx(np.mean(expected))


def test_a_small_set_is_judged_by_fewer_neighbours(tmp_path):
    made.put(
        tmp_path / "texts.jsonl", {"text": "a", "label": 1}, {"text": "a b", "label": 1}, {"text": "c", "label": 2}
    )
    made.put(tmp_path / "task.json", {"kind": "labels"})
    assert told(tmp_path).measure == "2-NN accuracy"


def test_triplets_are_settled_by_the_right_instruction_only(tmp_path):
    verdict = told(made.triplets(tmp_path))
    by_group = {group: found.mean for group, found in verdict.spreads().items()}
    assert [score.group for score in verdict.scores] == ["none", "right", "right", "swapped"]
    assert by_group["right"] > 0.9
    assert by_group["swapped"] < 0.1
    assert by_group["none"] <= 0.5
    for score in verdict.scores:
        assert set(score.also) == {"colour", "shape"}
        assert 0 <= score.value.low <= score.value.value <= score.value.high <= 1
    assert verdict.scores[0].also["colour"] + verdict.scores[0].also["shape"] == pytest.approx(1)
    assert verdict.scores[2].instruction == f"red blue green / {made.BY_SHAPE}"


def test_pairs_are_ranked_as_scipy_ranks_them(tmp_path):
    verdict = told(made.pairs(tmp_path, instructions={"right": [made.BY_SHAPE]}))
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    for score in verdict.scores:
        one, other = (hashed.encode([row[side] for row in rows], score.instruction) for side in ("text1", "text2"))
        expected = stats.spearmanr((one * other).sum(axis=1).round(6), [row["score"] for row in rows]).statistic
        assert score.value.value == pytest.approx(expected, abs=0.01)
    assert verdict.scores[1].value.value > verdict.scores[0].value.value + 0.2


def test_a_folder_of_beir_is_a_task_as_it_is(tmp_path):
    verdict = told(made.retrieval(tmp_path / "set"))
    assert (verdict.name, verdict.measure, verdict.n) == ("set", "nDCG@10", 9)
    assert set(verdict.scores[0].also) == {"R@100", "RR", "AP@100"}
    assert verdict.scores[0].also["R@100"] == 1.0


def test_both_sides_of_retrieval_have_instructions(tmp_path):
    both = {"query": made.BY_COLOUR, "document": made.BY_COLOUR}
    verdict = told(made.retrieval(tmp_path, {"instructions": {"right": [both, made.BY_COLOUR]}}))
    assert verdict.scores[1].instruction == f"{made.BY_COLOUR} | {made.BY_COLOUR}"
    assert verdict.scores[1].value.value == 1.0
    assert verdict.scores[0].value.value < 1.0


def test_documents_are_encoded_once_for_each_instruction_of_theirs(tmp_path):
    seen = []

    def encode(texts, instruction, role):
        if role == "document":
            seen.append(instruction)
        return hashed.encode(texts, instruction, role)

    sides = [{"query": "a", "document": "x"}, {"query": "b", "document": "x"}]
    (task,) = load(made.retrieval(tmp_path, {"instructions": {"right": sides}}))
    judge(task, encode)
    assert seen == ["", "x"]


def test_queries_under_instructions_of_their_own(tmp_path):
    verdict = told(made.instructions(tmp_path))
    none, given = verdict.scores
    assert (verdict.measure, verdict.n, given.group) == ("Robustness@10", 9, "given")
    assert given.value.value == 1.0
    assert given.also["nDCG@10"] == 1.0
    assert given.also["p-MRR"] > 0.5
    assert none.also["p-MRR"] == 0.0
    assert none.value.value < 1.0


def test_robustness_is_the_worse_of_a_querys_instances(tmp_path):
    corpus = [{"_id": "a", "text": "red ship"}, {"_id": "b", "text": "blue car"}]
    made.put(tmp_path / "corpus.jsonl", *corpus)
    rows = [
        {"_id": f"{n}", "query": "q", "text": "red car", "instruction": said} for n, said in enumerate(["red", "car"])
    ]
    made.put(tmp_path / "queries.jsonl", *rows)
    (tmp_path / "qrels.tsv").write_text("0 0 a 1\n1 0 a 1\n")
    made.put(tmp_path / "task.json", {"kind": "instructions"})
    given = told(tmp_path).scores[1]
    assert given.also["nDCG@10"] == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert given.value.value == pytest.approx(1 / np.log2(3))


def test_an_embedder_that_is_deaf_has_no_gap(tmp_path):
    (task,) = load(made.labels(tmp_path, instructions=INSTRUCTIONS))
    verdict = judge(task, lambda texts, instruction, role: hashed.encode(texts, "", role))
    assert verdict.gap().to_dict() == {"mean": 0, "worst": 0, "implicit_mean": 0, "implicit": 0}
    assert len({score.value for score in verdict.scores}) == 1


def test_without_scikit_learn_only_the_clusters_are_missing(tmp_path, monkeypatch):
    def missing(*_, **__):
        raise exam.MissingExtra("pip install")

    monkeypatch.setattr(exam.labels, "clusters", missing)
    assert told(made.labels(tmp_path)).scores[0].also == {}


def test_a_judge_tells_how_far_it_is(tmp_path):
    heard = []
    for number, folder in enumerate(
        [made.labels(tmp_path / "a", instructions=INSTRUCTIONS), made.triplets(tmp_path / "b")]
    ):
        (task,) = load(folder)
        judge(task, hashed.encode, lambda done, total, number=number: heard.append((number, done, total)))
    assert heard == [*((0, n, 7) for n in range(1, 8)), *((1, n, 4) for n in range(1, 5))]


def test_a_verdict_is_json(tmp_path):
    facts = json.loads(json.dumps(told(made.labels(tmp_path, instructions=INSTRUCTIONS)).to_dict(), allow_nan=False))
    assert facts["groups"]["right"]["n"] == 2
    assert facts["scores"][0]["group"] == "none"


# --- how folders are read


def test_a_correlation_that_there_is_not_is_null(tmp_path):
    (task,) = load(made.pairs(tmp_path))
    verdict = judge(task, lambda texts, instruction, role: np.ones((len(texts), 3), np.float32))
    facts = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert facts["scores"][0]["value"] is None
    assert facts["groups"]["none"]["mean"] is None
    assert "n/a" in account.verdicts([verdict]).rows[0]
    assert len(list(account.of_verdicts([verdict]))) == 2


def test_folders_of_tasks_are_read_by_name(tmp_path):
    made.triplets(tmp_path / "b", name="The second")
    made.labels(tmp_path / "a")
    made.retrieval(tmp_path / "c")
    (tmp_path / "notes").mkdir()
    assert [task.name for task in load(tmp_path)] == ["a", "The second", "c"]


@pytest.mark.parametrize("facts", [{}, {"kind": "labels", "instructions": {"right": []}}])
def test_wordings_may_be_left_out(tmp_path, facts):
    made.labels(tmp_path, **{name: value for name, value in facts.items() if name != "kind"})
    (task,) = load(tmp_path)
    assert list(task.wordings.groups()) == [("none", Wording())]


def test_levels_come_last_and_keep_their_names():
    wordings = Wordings(right=(Wording("a"),), wrong=(Wording("b"),), levels={"tag": Wording("c")})
    assert [(group, str(said)) for group, said in wordings.groups()] == [
        ("none", ""), ("right", "a"), ("wrong", "b"), ("level tag", "c"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"kind": "magic"}, "the kind is 'magic'"),
        ({}, "the kind is None"),
        ({"kind": "labels", "aspects": {}}, "has no field 'aspects'"),
        ({"kind": "labels", "role": "user"}, "role is 'user'"),
        ({"kind": "labels", "instructions": ["x"]}, "nothing but right"),
        ({"kind": "labels", "instructions": {"good": ["x"]}}, "nothing but right"),
        ({"kind": "labels", "instructions": {"right": "x"}}, "must be a list"),
        ({"kind": "labels", "instructions": {"right": [3]}}, "wording must be a text"),
        ({"kind": "labels", "instructions": {"right": [{"query": "x"}]}}, "wording must be a text"),
        ({"kind": "labels", "instructions": {"levels": ["x"]}}, "levels must give a name"),
        ({"kind": "labels", "name": ""}, "'name' must be text"),
        ({"kind": "triplets"}, "aspects must name two"),
        ({"kind": "triplets", "aspects": {"colour": {}}}, "aspects must name two"),
        ({"kind": "triplets", "aspects": {"colour": {}, "shape": {}}, "count": 0}, "count is 0"),
        ({"kind": "triplets", "aspects": {"colour": {}, "shape": {}}, "count": True}, "count is True"),
        ({"kind": "sts"}, "pairs.jsonl: no such file"),
    ],
)
def test_a_bad_task_is_named(tmp_path, facts, words):
    made.labels(tmp_path)
    made.put(tmp_path / "task.json", facts)
    with pytest.raises(ReadError, match=words):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "\udcff", '{"kind": "labels", "n": NaN}', "[" * 100_000])
def test_a_task_that_is_no_json_is_named(tmp_path, text):
    made.labels(tmp_path)
    (tmp_path / "task.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ReadError, match=r"task\.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("kind", "file", "row", "words"),
    [
        ("labels", "texts.jsonl", {"text": "x"}, "needs the field 'label'"),
        ("labels", "texts.jsonl", {"text": "x", "label": None}, "needs the field 'label'"),
        ("labels", "texts.jsonl", {"text": "x", "label": 1.5}, "needs the field 'label'"),
        ("labels", "texts.jsonl", {"label": "x"}, "needs the field 'text'"),
        ("labels", "texts.jsonl", {"text": "x", "label": 1, "split": "dev"}, "split is 'dev'"),
        ("pairs", "pairs.jsonl", {"text1": "x", "text2": "y"}, "needs a score"),
        ("pairs", "pairs.jsonl", {"text1": "x", "text2": "y", "score": "5"}, "needs a score"),
        ("pairs", "pairs.jsonl", {"text1": "x", "score": 1}, "needs the field 'text2' or 'sentence2'"),
        ("triplets", "texts.jsonl", {"text": "x", "colour": ""}, "needs the field 'colour'"),
        ("retrieval", "corpus.jsonl", {"_id": "d1", "text": "again"}, "comes twice"),
        ("retrieval", "corpus.jsonl", {"text": "x"}, "needs an _id"),
        ("retrieval", "corpus.jsonl", {"_id": "x", "text": None}, "must be text"),
        ("instructions", "queries.jsonl", {"_id": "n", "query": "q", "text": "x"}, "needs the field 'instruction'"),
        (
            "instructions",
            "queries.jsonl",
            {"_id": "n", "query": "q", "text": "x", "instruction": "y", "changes": "red-car.c"},
            "no row of the same query",
        ),
        (
            "instructions",
            "queries.jsonl",
            {"_id": "n", "query": "q", "text": "x", "instruction": "y", "changes": 3},
            "changes must be",
        ),
    ],
)
def test_a_bad_row_is_named_by_its_place(tmp_path, kind, file, row, words):
    folder = getattr(made, kind)(tmp_path)
    path = folder / file
    path.write_text(path.read_text() + json.dumps(row) + "\n")
    with pytest.raises(ReadError, match=words) as caught:
        load(folder)
    assert caught.value.where == f"{path}:{len(path.read_text().splitlines())}"


def test_what_lacks_rows_or_judgements_is_named(tmp_path):
    made.put(tmp_path / "a" / "task.json", {"kind": "sts"})
    made.put(tmp_path / "a" / "pairs.jsonl", *[{"text1": "x", "text2": "y", "score": 1}] * 3)
    with pytest.raises(ReadError, match="same score"):
        load(tmp_path / "a")
    made.put(tmp_path / "a" / "pairs.jsonl", {"text1": "x", "text2": "y", "score": 1})
    with pytest.raises(ReadError, match="holds 1 rows; 3 or more"):
        load(tmp_path / "a")
    (made.retrieval(tmp_path / "b") / "qrels.tsv").unlink()
    with pytest.raises(ReadError, match=r"nor qrels/test\.tsv"):
        load(tmp_path / "b")
    (tmp_path / "b" / "qrels.tsv").write_text("q9 0 d1 1\n")
    with pytest.raises(ReadError, match="lacks 1 judged queries, the first 'q9'"):
        load(tmp_path / "b")
    with pytest.raises(ReadError, match="is no task"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadError, match="is no task"):
        load(tmp_path / "empty")
