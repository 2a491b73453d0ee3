"""The linear ranker: what it makes of evidence, where it gets that, what a hit says of it, and damaged weights."""

import json

import numpy as np
import pytest

from instructsearch import Collection, Document, Query, embed, plugins, rerank
from instructsearch.embed.weights import digest
from instructsearch.errors import BadProfile, ModelDamaged, ModelNotFound
from instructsearch.fit import DEFAULT_EMBEDDER
from instructsearch.rerank import weights
from instructsearch.rerank.evidence import Evidence
from instructsearch.rerank.features import bm25, features
from instructsearch.rerank.files import locate
from instructsearch.rerank.protocol import ListReranker

WEIGHTS = {"dense": 1.5, "words": 0.5, "neighbours": 0.25, "phrases": -0.125}
TEXTS = ["a red ship", "a blue ship at sea", "a red car", "the sea", "a tree"]


@pytest.fixture
def folder(tmp_path):
    weights.write(tmp_path / "mine", WEIGHTS, "hash")
    return tmp_path / "mine"


@pytest.fixture
def ranker(folder):
    return rerank.load(str(folder))


@pytest.fixture
def collection(tmp_path):
    made = Collection.create("things", tmp_path / "indexes", embedder="hash")
    made.add([Document(str(at), text) for at, text in enumerate(TEXTS)])
    return made


@pytest.fixture
def seen(monkeypatch):
    """A reranker that keeps what it is given and changes no order."""
    monkeypatch.setattr(plugins, "_registered", {})
    given = []

    class Recorder:
        takes_instruction = False

        def __init__(self, profile, *, device="auto"):
            self.name = profile.name

        def score(self, query, instruction, texts):
            pytest.fail("there was evidence")

        def score_listed(self, query, instruction, texts, evidence):
            given.append((query, instruction, list(texts), evidence))
            return [-float(at) for at in range(len(texts))]

    plugins.register("rerankers", "recorder", Recorder)
    return given


def some(count=5, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count + 1, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Evidence(rng.random(count) * 5, rows[0], rows[1:])


# --- what it scores


def test_a_score_is_the_weighted_sum_of_the_features(ranker):
    found = features("red ship", TEXTS, some())
    expected = sum(weight * found[name] for name, weight in WEIGHTS.items())
    assert isinstance(ranker, ListReranker)
    assert ranker.score_listed("red ship", "", TEXTS, some()) == pytest.approx(list(expected))


@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_candidates_come_does_not_matter(ranker, seed):
    given = some(seed=seed)
    there = np.random.default_rng(seed).permutation(len(TEXTS))
    moved = Evidence(given.words[there], given.query, given.vectors[there])
    scores = ranker.score_listed("red ship", "", TEXTS, given)
    again = ranker.score_listed("red ship", "", [TEXTS[at] for at in there], moved)
    assert again == pytest.approx([scores[at] for at in there], abs=1e-6)


def test_the_same_list_twice_has_the_same_scores(ranker):
    assert ranker.score_listed("red", "", TEXTS, some()) == ranker.score_listed("red", "", TEXTS, some())
    assert ranker.score("red", "", TEXTS) == ranker.score("red", "", TEXTS)


def test_texts_alone_are_embedded_by_the_profiles_embedder_under_the_instruction(ranker):
    model = embed.load("hash")
    asked = model.encode(["red ship"], "about the sea", "query")[0]
    given = Evidence(bm25("red ship", TEXTS), asked, model.encode(TEXTS, "", "document"))
    assert ranker.takes_instruction
    expected = ranker.score_listed("red ship", "", TEXTS, given)
    assert ranker.score("red ship", "about the sea", TEXTS) == pytest.approx(expected)
    assert ranker.score("red ship", "", TEXTS) != pytest.approx(expected)


def test_no_texts_have_no_scores_and_one_stands_alone(ranker):
    assert ranker.score("red", "", []) == []
    assert ranker.score_listed("red", "", [], some(0)) == []
    assert ranker.score("red", "", ["red ship"]) == [0.0]


def test_surrogates_empty_and_foreign_texts_are_scored(ranker):
    assert len(ranker.score("Grüße 東京", "", ["", "\ud800 red", "Grüße aus 東京", "🙂"])) == 4


# --- what a search hands over


def test_a_search_hands_over_vectors_and_bm25_of_its_candidates(collection, seen):
    hits = collection.search("red ship", rerank="recorder")
    ((query, instruction, texts, evidence),) = seen
    assert (query, instruction) == ("red ship", "")
    assert texts == [hit.text for hit in hits]
    held = collection.vectors("default")
    rows = [list(held.chunks).index(hit.chunk) for hit in hits]
    assert np.array_equal(evidence.vectors, held.matrix[rows])
    assert np.array_equal(evidence.query, embed.load("hash").encode(["red ship"], "", "query")[0])
    scores = {hit.document: hit.score for hit in collection.search("red ship", mode="bm25")}
    assert [scores.get(hit.document, pytest.approx(np.nan, nan_ok=True)) for hit in hits] == list(evidence.words)
    assert any(np.isnan(evidence.words))


def test_several_views_stand_side_by_side_as_the_mean_of_their_cosines(collection, seen):
    collection.add_view("colour", instruction="red", query_instruction="red")
    list(collection.search_many([Query("red ship", views=("default", "colour"), rerank="recorder")]))
    collection.search("red ship", view="default", rerank="recorder")
    collection.search("red ship", view="colour", rerank="recorder")
    both, one, other = (dict(zip(texts, ev.vectors @ ev.query, strict=True)) for _, _, texts, ev in seen)
    assert both == pytest.approx({text: (one[text] + other[text]) / 2 for text in both}, abs=1e-6)


def test_bm25_alone_hands_over_no_vectors_and_meaning_alone_no_bm25(collection, seen):
    collection.search("red ship", mode="bm25", rerank="recorder")
    collection.search("red ship", mode="dense", rerank="recorder")
    words, meaning = seen[0][3], seen[1][3]
    assert words.vectors.shape == (len(words.words), 0)
    assert np.isfinite(words.words).all()
    assert meaning.vectors.shape[1] > 0
    assert np.isnan(meaning.words).all()


def test_more_hits_change_no_order_of_the_first(tmp_path, ranker, folder):
    made = Collection.create("many", tmp_path / "indexes", embedder="hash")
    made.add([Document(f"{at:03}", f"word{at % 37} shared thing{at % 11} of {at}") for at in range(300)])
    few, many = (
        [hit.document for hit in made.search("shared word3 thing5", k=k, rerank=str(folder))] for k in (10, 100)
    )
    assert few == many[:10]


def test_a_hit_says_whether_the_instruction_was_heard(collection, folder):
    told = collection.search("red", instruction="blue", rerank=str(folder))[0].rerank
    assert (told["instruction"], told["takes_instruction"]) == ("blue", True)
    assert collection.search("red", rerank=str(folder))[0].rerank["takes_instruction"] is True
    deaf = collection.search("red", instruction="blue", mode="bm25", rerank=str(folder))[0].rerank
    assert (deaf["instruction"], deaf["takes_instruction"]) == ("", False)


# --- the default


def test_what_ships_is_whole_and_loads_by_its_name():
    profile = rerank.find("ltr")
    assert profile.files == {weights.FILE: digest(locate(profile) / weights.FILE)}
    assert rerank.load("ltr").weights
    assert (locate(profile) / "README.md").is_file()


def test_the_shipped_ranker_takes_instructions_as_the_default_embedder_does():
    assert rerank.find("ltr").embedder == DEFAULT_EMBEDDER
    assert rerank.load("ltr").takes_instruction


# --- weights


def test_weights_come_back_as_they_were_written(folder):
    assert weights.read("mine", folder) == WEIGHTS
    profile = rerank.find(str(folder))
    assert (profile.kind, profile.embedder, profile.name) == ("ltr", "hash", "mine")
    assert set(profile.files) == {weights.FILE}


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{", "does not hold weights"),
        ("[]", "does not hold weights"),
        ("{}", "does not hold weights"),
        ('{"weights": []}', "must give a weight by feature"),
        ('{"weights": {}}', "must give a weight by feature"),
        ('{"weights": {"dense": 1, "smell": 2}}', "names smell; the features are dense"),
        ('{"weights": {"dense": NaN}}', "weight of dense is no finite number"),
        ('{"weights": {"dense": "1"}}', "weight of dense is no finite number"),
        ('{"weights": {"dense": true}}', "weight of dense is no finite number"),
    ],
)
def test_damaged_weights_are_refused_by_name(folder, written, words):
    (folder / weights.FILE).write_text(written)
    with pytest.raises(ModelDamaged, match=words):
        rerank.load(str(folder))


def test_weights_that_are_not_there_or_not_those_of_the_profile_are_refused(folder):
    profile = rerank.find(str(folder))
    (folder / weights.FILE).write_text(json.dumps({"weights": {"dense": 2}}))
    with pytest.raises(ModelDamaged, match="not the file that the profile names"):
        rerank.load(profile)
    (folder / weights.FILE).unlink()
    with pytest.raises(ModelDamaged, match=r"weights\.json"):
        rerank.load(profile)


def test_what_is_no_weight_is_not_written(tmp_path):
    for wrong in ({"smell": 1.0}, {"dense": float("nan")}):
        with pytest.raises(BadProfile):
            weights.write(tmp_path / "no", wrong, "hash")
    assert not (tmp_path / "no").exists()


def test_a_profile_without_a_known_embedder_is_refused(folder):
    (folder / "profile.toml").write_text('kind = "ltr"\nmodel = "."\n')
    with pytest.raises(BadProfile, match="needs an embedder"):
        rerank.load(str(folder))
    (folder / "profile.toml").write_text('kind = "ltr"\nmodel = "."\nembedder = "nothing"\n')
    with pytest.raises(ModelNotFound, match="nothing"):
        rerank.load(str(folder))
