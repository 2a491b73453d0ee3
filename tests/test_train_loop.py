"""The loop: it learns to follow, it stops and goes on without a trace, and what it has outlives what breaks."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_training import answering, crossing, kept, labelled, profile, written

from instructsearch.errors import BadVector, ReadError, StorageError, TooLong
from instructsearch.train import checkpoint, loop
from instructsearch.train.contrast import backward, label_numbers, same_texts
from instructsearch.train.examples import Example
from instructsearch.train.learner import Learner
from instructsearch.train.loss import contrastive, keep, supervised
from instructsearch.train.settings import Settings

FEW = Settings(steps=8, batch=4, rate=3e-3, temperature=0.1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small only lose by sharing the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("loop")


@pytest.fixture(scope="module")
def tiny(place):
    return profile(place / "bert")


@pytest.fixture(scope="module")
def data(place):
    return written(place / "data.jsonl", [*labelled("abcdef"), *answering(), *kept()])


@pytest.fixture
def learner(tiny):
    return exact(Learner(tiny, device="cpu"))


def exact(learner):
    learner.bfloat16 = False
    return learner


def weights(learner):
    return {name: weight.detach().clone() for name, weight in learner.trained.items()}


def same(one, other):
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


def train(learner, data, folder, settings=FEW, **options):
    loop.train(learner, data, settings, folder, **options)
    return weights(learner)


def nearest(vectors, labels, k=9):
    """Return the share of texts whose k nearest have mostly their label."""
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -2)
    found = [[labels[at] for at in row[:k]] for row in np.argsort(-alike)]
    return np.mean([max(set(row), key=row.count) == label for row, label in zip(found, labels, strict=True)])


# --- what is learned


def test_two_crossing_labels_are_told_apart_by_the_instruction_alone(place, tiny, tmp_path):
    learner, lines = exact(Learner(tiny, device="cpu")), []
    settings = Settings(steps=120, batch=12, rate=4e-3, temperature=0.1)
    train(learner, written(tmp_path / "e.jsonl", labelled()), tmp_path / "run", settings, progress=lines.append)
    assert lines[-1].running < lines[0].loss - 0.4
    texts = crossing("pqrstu")  # none of which was trained on
    with torch.no_grad():
        vectors = {each: learner([(each, text) for text, _, _ in texts], "document") for each in ("sentence", "colour")}
    scores = {
        (said, at): nearest(found.numpy(), [text[at] for text in texts])
        for said, found in vectors.items()
        for at in (1, 2)
    }
    right, wrong = scores["sentence", 1] + scores["colour", 2], scores["sentence", 2] + scores["colour", 1]
    assert right / 2 > 0.9
    assert right / 2 - wrong / 2 > 0.2
    bare = learner([("", text) for text, _, _ in texts], "document")
    assert torch.equal(bare, torch.from_numpy(learner.base.encode([text for text, _, _ in texts])))


def test_a_kept_instruction_returns_to_the_bases_vectors(learner, tmp_path):
    settings = Settings(steps=60, batch=4, rate=3e-3, warmup=0.0)
    lines = []
    train(learner, written(tmp_path / "e.jsonl", kept("abcdef")), tmp_path / "run", settings, progress=lines.append)
    assert np.mean([line.loss for line in lines[-10:]]) < 0.5 * np.mean([line.loss for line in lines[:10]])


# --- what a batch asks for

PAIRED = [
    Example(("colour", "red cat"), ("", "red"), ("", "blue"), "t"),
    Example(("colour", "red mat"), ("", "red"), None, "t"),
    Example(("colour", "blue dog"), ("sentence", "blue"), ("colour", "cat"), "t"),
    Example(("colour", "red cat"), ("", "cat"), None, "t"),
]


def vectors_of(learner, pairs, role):
    with torch.no_grad():
        return learner(pairs, role)


def test_pairs_are_contrasted_with_every_other_positive_and_every_negative(learner):
    query, positive = (
        vectors_of(learner, [getattr(each, side) for each in PAIRED], role)
        for side, role in (("query", "query"), ("positive", "document"))
    )
    negative = vectors_of(learner, [("", "blue"), ("colour", "cat")], "document")
    # columns: red, red, blue, cat; blue, cat. Rows 0 and 3 ask the same: both "red" and "cat" are right for them.
    right = [[1, 1, 0, 1, 0, 1], [1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 1, 0], [1, 1, 0, 1, 0, 1]]
    assert same_texts(PAIRED, [("", "blue"), ("colour", "cat")]).int().tolist() == right
    expected = contrastive(query, positive, negative, torch.tensor(right, dtype=bool), 0.1)
    loss, texts = backward(learner, PAIRED, FEW)
    assert (loss, texts) == (pytest.approx(float(expected), rel=1e-5), 10)


def test_labels_are_contrasted_over_queries_positives_and_negatives_together(learner):
    some = labelled("ab")[:4]
    pairs = [getattr(each, side) for side in ("query", "positive", "negative") for each in some]
    labels = [each.labels[at] for at in range(3) for each in some]
    numbers = label_numbers(some)
    assert [[one == other for other in labels] for one in labels] == (numbers[:, None] == numbers[None]).tolist()
    expected = supervised(vectors_of(learner, pairs, "document"), numbers, 0.1)
    assert backward(learner, some, FEW) == (pytest.approx(float(expected), rel=1e-5), 12)


def test_kept_texts_are_compared_with_the_bases_own_vectors(learner):
    some = kept("ab")[:5]
    base = torch.from_numpy(learner.base.encode([each.positive[1] for each in some]))
    expected = keep(vectors_of(learner, [each.query for each in some], "query"), base, FEW.keep_temperature)
    doubled = Settings(keep_weight=2.0)
    assert backward(learner, some, doubled) == (pytest.approx(2 * float(expected), rel=1e-4), 5)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_slice_of_any_size_gives_the_same_gradients(size, learner):
    for some in (PAIRED, labelled("ab")[:5], kept("ab")[:5]):
        found = []
        for each in (100, size):
            backward(learner, some, Settings(slice=each, temperature=0.1))
            found.append(torch.cat([weight.grad.flatten() for weight in learner.trained.values()]))
            for weight in learner.trained.values():
                weight.grad = None
        torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)
        assert found[0].abs().max() > 1e-4


def test_a_batch_of_nothing_but_bare_texts_is_no_error(learner, tmp_path):
    bare = [Example(("", f"{letter} cat"), ("", letter), None, "t") for letter in "abcdef"]
    before = weights(learner)
    assert same(before, train(learner, written(tmp_path / "e.jsonl", bare), tmp_path / "run"))


@pytest.mark.parametrize("kind", ["keep", "search"])
def test_a_kept_step_holds_three_times_the_examples(learner, tmp_path, kind):
    lines = []
    still = [replace(each, kind=kind) for each in kept("abcdef")]
    data = written(tmp_path / "e.jsonl", [*still, *labelled("abcdef")])
    seen, own = [], learner.backward
    learner.backward = lambda some, settings: seen.append((some[0].kind, len(some))) or own(some, settings)
    train(learner, data, tmp_path / "run", progress=lines.append)
    assert set(seen) == {(kind, 12), ("labels", 4)}


# --- stopping and going on


@pytest.fixture(scope="module")
def uninterrupted(tiny, data, tmp_path_factory):
    return {
        dropout: train(exact(Learner(tiny, device="cpu")), data, tmp_path_factory.mktemp("run"), of(dropout))
        for dropout in (False, True)
    }


def of(dropout):
    return Settings(steps=8, batch=4, rate=3e-3, temperature=0.1, slice=5, dropout=dropout)


@pytest.mark.parametrize("dropout", [False, True])
def test_an_interrupted_run_ends_with_the_weights_of_one_that_was_not(dropout, tiny, data, uninterrupted, tmp_path):
    def interrupt(at):
        if at.step == 3:
            raise KeyboardInterrupt

    first = exact(Learner(tiny, device="cpu"))
    with pytest.raises(KeyboardInterrupt):
        loop.train(first, data, of(dropout), tmp_path, progress=interrupt)
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-0000003"]
    second, lines = exact(Learner(tiny, device="cpu")), []
    assert same(train(second, data, tmp_path, of(dropout), progress=lines.append), uninterrupted[dropout])
    assert [line.step for line in lines] == [4, 5, 6, 7, 8]
    assert not same(uninterrupted[False], uninterrupted[True])


def test_stopping_after_every_step_changes_nothing(tiny, data, uninterrupted, tmp_path):
    for step in range(1, 9):
        learner = exact(Learner(tiny, device="cpu"))
        assert loop.train(learner, data, of(False), tmp_path, stop_seconds=1e-9) == step
    assert same(weights(learner), uninterrupted[False])


def test_an_interruption_within_the_update_keeps_no_half_of_it(tiny, data, uninterrupted, tmp_path, monkeypatch):
    step, taken = torch.optim.AdamW.step, []

    def broken(optimiser, *arguments):
        taken.append(1)
        if len(taken) == 5:
            with torch.no_grad():
                for weight in optimiser.param_groups[0]["params"][:2]:
                    weight.add_(1)
            raise KeyboardInterrupt
        return step(optimiser, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", broken)
    with pytest.raises(KeyboardInterrupt):
        loop.train(exact(Learner(tiny, device="cpu")), data, of(False), tmp_path, save_seconds=0)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-0000003", "step-0000004"]
    assert same(train(exact(Learner(tiny, device="cpu")), data, tmp_path, of(False)), uninterrupted[False])


def test_a_finished_run_has_nothing_more_to_do(learner, data, tiny, tmp_path):
    done = train(learner, data, tmp_path, save_seconds=0)
    again, lines = exact(Learner(tiny, device="cpu")), []
    assert same(done, train(again, data, tmp_path, progress=lines.append))
    assert lines == []


@pytest.mark.parametrize(
    ("change", "said"), [({"rate": 1e-3}, "rate 0.003, and now it is 0.001"), ({"seed": 1}, "seed 0, and now it is 1")]
)
def test_another_runs_folder_is_refused(change, said, learner, data, tmp_path):
    train(learner, data, tmp_path)
    facts = {"steps": 8, "batch": 4, "rate": 3e-3, "temperature": 0.1, **change}
    with pytest.raises(ReadError, match=said):
        loop.train(learner, data, Settings(**facts), tmp_path)


def test_other_data_another_method_and_another_length_are_refused(learner, data, tiny, place, tmp_path):
    train(learner, data, tmp_path)
    other = written(tmp_path / "other.jsonl", kept())
    for trainee, examples, said in (
        (learner, other, "other data"),
        (Learner(tiny, method="lora", device="cpu"), data, "method 'matrices'"),
        (Learner(tiny, length=20, device="cpu"), data, "length 48, and now it is 20"),
    ):
        with pytest.raises(ReadError, match=said):
            loop.train(trainee, examples, FEW, tmp_path)
    # the rank at which a change is saved is no part of learning it
    assert loop.train(Learner(tiny, rank=3, device="cpu"), data, FEW, tmp_path) == 8


def test_two_runs_do_not_share_a_folder(learner, data, tiny, tmp_path):
    inside, go = threading.Event(), threading.Event()

    def wait(at):
        inside.set()
        go.wait(30)

    runner = threading.Thread(target=train, args=(learner, data, tmp_path), kwargs={"progress": wait})
    runner.start()
    try:
        assert inside.wait(30)
        with pytest.raises(StorageError, match="another process trains in"):
            loop.train(Learner(tiny, device="cpu"), data, FEW, tmp_path)
    finally:
        go.set()
        runner.join(30)


def test_data_of_which_nothing_has_a_weight_is_refused(learner, data, tmp_path):
    nothing = Settings(weights=(("labels/", 0.0), ("answers/", 0.0), ("keep/", 0.0)))
    with pytest.raises(ReadError, match=r"data\.jsonl: no task is left"):
        loop.train(learner, data, nothing, tmp_path)


def test_an_instruction_without_room_for_a_text_is_refused_before_the_first_step(tiny, tmp_path):
    long = Example(("the colour of the mat " * 8, "red cat"), ("colour", "red"), None, "t")
    data = written(tmp_path / "e.jsonl", [*labelled("ab"), long])
    with pytest.raises(TooLong, match=r"leaves none for the text: 'the colour .*; train with a greater length"):
        loop.train(Learner(tiny, device="cpu"), data, FEW, tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


# --- when something breaks


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_what_was_learned(learner, data, tiny, tmp_path):
    own, taken = learner.backward, []

    def broken(some, settings):
        loss, count = own(some, settings)
        taken.append(weights(learner))
        return (float("nan") if len(taken) == 4 else loss), count

    learner.backward = broken
    with pytest.raises(BadVector, match=r"the loss of step 4 \(\w+/\w+\) is not finite; try another --rate"):
        loop.train(learner, data, FEW, tmp_path)
    kept_weights = exact(Learner(tiny, device="cpu"))
    optimiser = torch.optim.AdamW(kept_weights.trained.values())
    assert checkpoint.restore(tmp_path, kept_weights.trained, optimiser, {}) == 3
    assert same(weights(kept_weights), taken[-1])


def test_the_log_has_a_line_for_each_step_taken_and_no_other(learner, data, tiny, tmp_path):
    lines = []
    train(learner, data, tmp_path, progress=lines.append)
    log = tmp_path / loop.LOG
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in told] == list(range(1, 9))
    assert told[4]["loss"] == lines[4].loss
    assert (lines[-1].steps, lines[-1].eta) == (8, 0)
    assert all(line.texts_per_second > 0 and line.kind == data.kinds[line.task] for line in lines)
    assert lines[3].rate == FEW.rate_at(3)
    # a kill after the last checkpoint leaves lines that are done again, and a half one
    with log.open("a") as file:
        file.write(json.dumps({**told[-1], "step": 9}) + '\n{"step": 10, "lo')
    train(exact(Learner(tiny, device="cpu")), data, tmp_path)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == list(range(1, 9))


def test_a_log_without_a_checkpoint_is_begun_anew(learner, data, tmp_path):
    (tmp_path / loop.LOG).write_text('{"step": 3}\n[]\n7\n{}\n')
    train(learner, data, tmp_path)
    assert [json.loads(line)["step"] for line in (tmp_path / loop.LOG).read_text().splitlines()] == list(range(1, 9))
