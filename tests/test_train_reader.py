"""Training a reader: it learns to follow, stays at the base where it should, and is saved as it was trained."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_bert
from tiny_training import answering, crossing, kept, labelled, written

from instructsearch import embed
from instructsearch.embed import reader_file
from instructsearch.errors import BadProfile
from instructsearch.train.data.recipe import Recipe
from instructsearch.train.examples import Example
from instructsearch.train.reader import ReaderLearner
from instructsearch.train.run import MODEL, plan, run

TRAINING = {
    "steps": 300,
    "batch": 16,
    "together": 2,
    "rate": 3e-3,
    "hidden": 48,
    "length": 40,
    "temperature": 0.1,
    "weights": {"keep/": 0.5, "qa/": 0.5},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small only lose by sharing the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    base = tmp_path_factory.mktemp("reader")
    tiny_bert(base / "bert", max_tokens=48)
    retrieval = [Example(("represent", row[0]), ("the mat", row[1]), None, "qa/all") for row in crossing("abcd")]
    written(base / "data.jsonl", [*labelled("abcdefgh"), *answering(), *kept(), *retrieval])
    return base


@pytest.fixture
def recipe(place):
    facts = {"base": str(place / "bert"), "name": "mine", "kind": "reader", "adapters_need_instruction": True}
    return Recipe(profile=facts, training=TRAINING)


@pytest.fixture(scope="module")
def trained(place, tmp_path_factory):
    facts = {"base": str(place / "bert"), "name": "mine", "kind": "reader", "adapters_need_instruction": True}
    folder = tmp_path_factory.mktemp("out")
    least = run(plan(Recipe(profile=facts, training=TRAINING), {}), place / "data.jsonl", folder, device="cpu")
    assert least > 0.999
    return folder / MODEL


def agreement(vectors, labels):
    """Return how much nearer texts of one label are than texts of two."""
    alike = vectors @ vectors.T
    same = np.equal.outer(labels, labels)
    return alike[same & ~np.eye(len(labels), dtype=bool)].mean() - alike[~same].mean()


def test_it_follows_instructions_on_texts_that_it_was_not_trained_on(trained):
    model = embed.load(str(trained), device="cpu")
    texts, things, colours = zip(*crossing("uvwxyz"), strict=True)
    thing, colour = (model.encode(texts, each) for each in ("sentence", "colour"))
    assert agreement(thing, things) > agreement(thing, colours) + 0.5
    assert agreement(colour, colours) > agreement(colour, things) + 0.5


def test_without_an_instruction_it_is_the_base_and_under_a_kept_one_nearly(trained, place):
    model, base = (embed.load(str(each), device="cpu") for each in (trained, place / "bert"))
    texts = [row[0] for row in crossing("uvwxyz")]
    assert np.array_equal(model.encode(texts), base.encode(texts))
    kept_there = (model.encode(texts, "represent") * base.encode(texts)).sum(1)
    assert kept_there.mean() > 0.8 > (model.encode(texts, "colour") * base.encode(texts)).sum(1).mean()


def test_what_words_take_with_them_is_left_out_of_other_texts_too_where_it_is_asked_for(place, recipe, tmp_path):
    letters = "abcdefghijklmnopqrst"
    rows = [
        Example(("beside the colour", text), ("", text.removesuffix(f" {colour}")), None, "keep/thing", "keep")
        for text, _, colour in crossing(letters)
    ]
    unsaid = [Example(("", row[0]), ("", row[0]), None, "keep/unsaid", "keep") for row in crossing("ab")]
    written(tmp_path / "data.jsonl", [*rows, *kept(), *unsaid, *labelled("abcdefgh")])
    run(plan(recipe, {"steps": 150}), tmp_path / "data.jsonl", tmp_path / "out", device="cpu")
    model, base = (embed.load(str(each), device="cpu") for each in (tmp_path / "out" / MODEL, place / "bert"))
    texts = [text for text, _, _ in crossing("uvwxyz")]
    before, after, same = base.encode(texts), model.encode(texts, "beside the colour"), model.encode(texts, "represent")
    apart, things = (
        [1 - (some * others).sum(1).mean() for some, others in pairs]
        for pairs in (
            [(each[::2], each[1::2]) for each in (before, after, same)],  # red and blue
            [(each[::6], each[2::6]) for each in (before, after, same)],  # a cat and a dog
        )
    )
    shares = [one / other for one, other in zip(apart, things, strict=True)]
    assert shares[1] < 0.6 * shares[0] and shares[2] > 0.7 * shares[0]


def test_a_search_is_asked_in_a_more_even_spread_and_what_is_kept_is_not(place, recipe, tmp_path):
    searches = [
        Example((said, row[0]), ("", row[0]), None, "keep/search", "search")
        for row in crossing("abcdefgh")
        for said in ("find", "look up")
    ]
    written(tmp_path / "data.jsonl", [*searches, *kept(), *labelled("abcdefgh")])
    run(plan(recipe, {"steps": 150}), tmp_path / "data.jsonl", tmp_path / "out", device="cpu")
    model, base = (embed.load(str(each), device="cpu") for each in (tmp_path / "out" / MODEL, place / "bert"))
    texts = [text for text, _, _ in crossing("uvwxyz")]
    before, same, found = base.encode(texts), model.encode(texts, "represent"), model.encode(texts, "find")

    def lead(vectors):
        spread = np.linalg.svd(vectors - vectors.mean(0), compute_uv=False)
        return spread[0] ** 2 / (spread**2).sum()

    assert lead(found) < 0.9 * lead(before) < lead(same)


def test_what_is_said_of_nothing_leaves_the_learners_own_vectors_at_the_base_too(place, recipe, tmp_path):
    searches = [Example(("find", row[0]), ("", row[0]), None, "keep/search", "search") for row in crossing("abcd")]
    examples = written(tmp_path / "data.jsonl", [*searches, *labelled("abcdefgh")])
    learner = plan(recipe, {}).learner("cpu")
    learner.tasks(examples)
    learner.finish(examples)
    texts = [row[0] for row in crossing("uvwxyz")]
    with torch.no_grad():
        torch.testing.assert_close(learner([("", text) for text in texts], "query"), learner._based(texts))
        assert (learner([("find", text) for text in texts], "query") - learner._based(texts)).abs().max() > 1e-3


def test_the_base_is_not_changed_and_not_saved(trained):
    files = {path.name for path in trained.rglob("*") if path.is_file()}
    assert files == {"profile.toml", reader_file.FILE}


def test_a_run_that_was_broken_off_ends_as_one_that_was_not(place, recipe, tmp_path):
    made = plan(recipe, {"steps": 6})
    run(made, place / "data.jsonl", tmp_path / "whole", device="cpu")
    assert run(made, place / "data.jsonl", tmp_path / "broken", device="cpu", stop_seconds=0.0) is None
    run(made, place / "data.jsonl", tmp_path / "broken", device="cpu")
    whole, broken = (
        (tmp_path / name / MODEL / "adapter" / reader_file.FILE).read_bytes() for name in ("whole", "broken")
    )
    assert whole == broken


def test_several_tasks_make_up_a_step(place, recipe, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        ReaderLearner,
        "backward",
        lambda self, examples, settings: asked.append({each.task for each in examples}) or (0.0, len(examples)),
    )
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.zeros(()))
    run(plan(recipe, {"steps": 5}), place / "data.jsonl", tmp_path / "out", device="cpu")
    assert len(asked) == 10 and all(len(tasks) == 1 for tasks in asked)


def test_texts_are_read_once_in_a_run(place, recipe):
    learner = plan(recipe, {}).learner("cpu")
    read = []
    inner = learner._base.through
    learner._base = type(
        "Counted", (), {"through": lambda self, ids, used: read.append(len(ids)) or inner(ids, used)}
    )()
    pairs = [("colour", "a cat"), ("sentence", "a cat"), ("colour", "a dog")]
    learner(pairs, "document")
    learner(pairs, "query")
    assert sum(read) == 4  # two texts and two instructions


def test_another_kind_of_profile_is_refused(place):
    with pytest.raises(BadProfile, match="is of kind 'encoder'"):
        ReaderLearner(embed.find(str(place / "bert")))
