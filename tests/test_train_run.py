"""A run by recipe: the plan it makes, the folder it leaves, and how it goes on from where it stopped."""

import builtins
import json
from dataclasses import asdict, replace

import pytest
import torch
from tiny_answer_models import tiny_opt
from tiny_models import tiny_bert
from tiny_training import TEMPLATE, answering, kept, labelled, written

from instructsearch import embed
from instructsearch.embed.profile import Profile
from instructsearch.errors import BadProfile, ModelDamaged, ModelNotFound, ReadError
from instructsearch.train.answers import AnswerLearner
from instructsearch.train.curve import draw
from instructsearch.train.data.recipe import Recipe
from instructsearch.train.learner import Learner
from instructsearch.train.loop import Progress
from instructsearch.train.run import CURVE, MODEL, RUN, plan, run
from instructsearch.train.settings import Settings

TRAINING = {"steps": 6, "batch": 4, "rate": 3e-3, "weights": {"keep/": 2.0, "a": 0.5}}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small only lose by sharing the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    base = tmp_path_factory.mktemp("run")
    tiny_bert(base / "bert", max_tokens=48)
    written(base / "data.jsonl", [*labelled("abcd"), *answering(), *kept()])
    return base


@pytest.fixture
def recipe(place):
    facts = {
        "base": str(place / "bert"),
        "name": "mine",
        "query_template": TEMPLATE,
        "document_template": TEMPLATE,
        "pooling": "mean and mask",
        "pool_includes_instruction": False,
        "adapters_need_instruction": True,
    }
    return Recipe(profile=facts, training=TRAINING)


# --- the plan


def test_a_plan_is_the_recipes_with_what_the_user_changed(recipe, place):
    made = plan(recipe, {"steps": 9, "method": "lora", "rank": 5})
    assert made.settings == Settings(steps=9, batch=4, rate=3e-3, weights=(("a", 0.5), ("keep/", 2.0)))
    assert (made.method, made.rank, made.length) == ("lora", 5, 128)
    base = embed.find(str(place / "bert"))
    facts = {"description": f"trained from {place / 'bert'}", **recipe.profile}
    assert made.profile == replace(base, **{key: value for key, value in facts.items() if key != "base"})


def test_without_a_name_the_model_is_called_after_its_base(recipe):
    made = plan(replace(recipe, profile={"base": "minilm", "adapters_need_instruction": True}), {})
    assert made.profile.name == "minilm-trained"
    assert made.profile.aliases == ()


def test_other_weights_are_not_known_by_the_bases_digests(recipe, place):
    made = plan(replace(recipe, profile={"base": "minilm", "model": str(place / "bert"), "dim": 32}), {})
    assert (made.profile.model, made.profile.files, made.profile.revision) == (str(place / "bert"), {}, "")


@pytest.mark.parametrize(
    ("method", "rank", "expected"), [("lora", 0, 64), ("lora", 5, 5), ("matrices", 0, 64), ("full", 7, 7)]
)
def test_rank_0_leaves_the_updates_of_lora_a_rank(method, rank, expected, recipe):
    learner = plan(recipe, {"method": method, "rank": rank, "length": 20}).learner("cpu")
    assert isinstance(learner, Learner) and not isinstance(learner, AnswerLearner)
    assert (learner.rank, learner.length) == (expected, 20)


def test_a_profile_of_kind_answer_has_the_learner_of_its_kind(recipe, tmp_path):
    facts = {"base": "inbedder-opt-1.3b", "model": str(tiny_opt(tmp_path / "opt")), "dim": 32, "max_tokens": 80}
    learner = plan(replace(recipe, profile=facts), {}).learner("cpu")
    assert isinstance(learner, AnswerLearner)
    assert learner.length == 80


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"speed": 1}, "training has no setting 'speed'; there are: batch, clip"),
        ({"steps": 0}, r"in its table \[training\], steps must be above 0"),
        ({"method": "magic"}, r"in its table \[training\], method is 'magic'; it must be one of lora"),
        ({"rank": -1}, "rank is -1; it must be a whole number, 0 or more"),
        ({"length": "long"}, "length is 'long'"),
        ({"weights": [1]}, r"in its table \[training\]"),
        ({"weights": {"a": "b"}}, "the weight of 'a' must be a number"),
        ({"fades": [1]}, r"in its table \[training\]"),
        ({"fades": {"a": "b"}}, "the fade of 'a' must be a number"),
        ({"batch": "4"}, "batch must be int"),
    ],
)
def test_a_setting_that_is_none_or_cannot_be_is_refused(changes, reason, recipe):
    with pytest.raises(ReadError, match=reason):
        plan(recipe, changes)


def test_a_recipe_needs_a_profile_that_can_be_had(recipe):
    with pytest.raises(ReadError, match=r"needs a table \[profile\] with base"):
        plan(Recipe(), {})
    with pytest.raises(ModelNotFound, match="no embedder called 'nothing'"):
        plan(Recipe(profile={"base": "nothing"}), {})
    with pytest.raises(BadProfile, match="unknown field other"):
        plan(Recipe(profile={"base": "minilm", "other": 1}), {})


# --- the run


def test_a_run_leaves_a_model_its_checkpoints_its_log_and_a_picture(recipe, place, tmp_path):
    least = run(plan(recipe, {}), place / "data.jsonl", tmp_path / "out", device="cpu")
    assert 0.999 < least <= 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [CURVE, MODEL, RUN]
    assert (tmp_path / "out" / CURVE).read_bytes().startswith(b"\x89PNG")
    found = embed.load(str(tmp_path / "out" / MODEL), device="cpu")
    assert found.profile.name == "mine"
    assert found.encode(["red cat"], "colour").shape == (1, 32)


def test_a_run_that_stops_goes_on_by_the_same_call_and_ends_alike(recipe, place, tmp_path):
    data, made = place / "data.jsonl", plan(recipe, {})
    run(made, data, tmp_path / "whole", device="cpu")
    found = [run(made, data, tmp_path / "parts", device="cpu", stop_seconds=1e-9) for _ in range(5)]
    assert found == [None] * 5
    assert not (tmp_path / "parts" / MODEL).exists()
    assert (tmp_path / "parts" / CURVE).is_file()
    assert run(made, data, tmp_path / "parts", device="cpu") > 0.999
    file = "adapter/delta.safetensors"
    assert (tmp_path / "parts" / MODEL / file).read_bytes() == (tmp_path / "whole" / MODEL / file).read_bytes()


def test_low_rank_updates_are_saved_at_their_own_rank(recipe, place, tmp_path):
    assert run(plan(recipe, {"method": "lora"}), place / "data.jsonl", tmp_path, device="cpu") > 0.9999
    facts = json.loads((tmp_path / MODEL / "adapter" / "adapter_config.json").read_text())
    assert facts["r"] == 32  # of matrices that have no more


def test_a_saved_model_is_not_written_over(recipe, place, tmp_path):
    (tmp_path / MODEL).mkdir()
    with pytest.raises(BadProfile, match="is there already; train into another folder"):
        run(plan(recipe, {}), place / "data.jsonl", tmp_path, device="cpu")


def test_what_was_learned_can_be_saved_at_another_rank_without_learning_again(recipe, place, tmp_path):
    with pytest.raises(ModelDamaged, match="use a higher --rank"):
        run(plan(recipe, {"rank": 1, "rate": 2e-2}), place / "data.jsonl", tmp_path, device="cpu")
    assert not (tmp_path / MODEL).exists()
    steps = []
    found = run(
        plan(recipe, {"rank": 32, "rate": 2e-2}), place / "data.jsonl", tmp_path, device="cpu", progress=steps.append
    )
    assert found > 0.999
    assert steps == []


def test_answers_are_trained_by_the_same_call(recipe, place, tmp_path):
    facts = {
        "base": "inbedder-opt-1.3b",
        "model": str(tiny_opt(tmp_path / "opt")),
        "query_template": "{text} {instruction}?",
        "document_template": "{text} {instruction}?",
        "dim": 32,
        "max_tokens": 80,
    }
    made = plan(replace(recipe, profile=facts), {"method": "full"})
    assert run(made, place / "data.jsonl", tmp_path / "out", device="cpu") > 0.999
    assert embed.load(str(tmp_path / "out" / MODEL), device="cpu").profile.kind == "answer"


# --- the picture


def log_of(path, *lines):
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def step(number, task="labels/a"):
    return asdict(Progress(number, 400, task, "labels", 3 / number, 1.0, 1e-3, 100.0, 5.0))


@pytest.mark.parametrize("count", [0, 1, 3, 400])
def test_a_log_of_any_length_is_drawn(count, tmp_path):
    lines = [step(number, task) for number in range(1, count + 1) for task in ("labels/a", "keep/b")]
    assert draw(log_of(tmp_path / "log.jsonl", *lines), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5000


def test_a_line_that_was_cut_off_hinders_nothing(tmp_path):
    assert draw(
        log_of(tmp_path / "log.jsonl", step(1), '{"step": 2, "ta', '{"step": 2}', "\udcff", step(3)),
        tmp_path / "curve.png",
    )


def test_without_matplotlib_there_is_a_line_and_no_picture(tmp_path, monkeypatch, caplog):
    own = builtins.__import__

    def none(name, *arguments):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return own(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", none)
    assert not draw(log_of(tmp_path / "log.jsonl", step(1)), tmp_path / "curve.png")
    assert "pip install 'instructsearch[train]'" in caplog.text
    assert not (tmp_path / "curve.png").exists()


def test_a_picture_that_cannot_be_written_costs_no_model(recipe, place, tmp_path, caplog):
    (tmp_path / CURVE).mkdir()
    assert run(plan(recipe, {}), place / "data.jsonl", tmp_path, device="cpu") > 0.999
    assert "no picture of the run" in caplog.text
    assert Profile.from_dict(embed.find(str(tmp_path / MODEL)).to_dict()).name == "mine"
