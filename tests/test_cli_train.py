"""The train commands: data by recipe and from MEDI, a model that stops and goes on, and clear refusals."""

import contextlib
import json
import logging

import numpy as np
import pytest
import torch
from tiny_training import TEMPLATE, crossing, roomy_bert

from instructsearch import embed
from instructsearch.cli import _run
from instructsearch.train.examples import Examples

RECIPE = f"""
seed = 5
similarity = "hash"
traits = 20

[profile]
name = "mine"
base = "bert"
query_template = "{TEMPLATE}"
document_template = "{TEMPLATE}"
pooling = "mean and mask"
pool_includes_instruction = false
adapters_need_instruction = true

[training]
steps = 6
batch = 4
length = 240
rate = 3e-3

[[labels]]
name = "thing"
files = ["things.jsonl"]
label = "thing"
nouns = ["thing"]

[[labels]]
name = "colour"
files = ["things.jsonl"]
label = "colour"
nouns = ["colour"]

[[keep]]
name = "meaning"
wordings = ["sentence"]
most = 10
"""


class Done:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def row(self):
        (line,) = self.out.splitlines()
        return json.loads(line)

    def refused(self, *words, code=1):
        """Hold the command to its exit code, nothing on stdout, and one line on stderr that has the words."""
        assert (self.code, self.out) == (code, ""), self.err
        lines = self.err.splitlines()
        assert lines[-1].lower().startswith("error: ")
        assert len(lines) == 1 or code == 2
        for word in words:
            assert word in self.err


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small only lose by sharing the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a recipe, its base, its data and the examples made of them, that no test changes."""
    folder = tmp_path_factory.mktemp("train")
    roomy_bert(folder / "bert")
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "data").mkdir()
    rows = [{"text": text, "thing": thing, "colour": colour} for text, thing, colour in crossing("abcd")]
    (folder / "data" / "things.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with contextlib.chdir(folder):
        assert _run(["train", "data", "--recipe", "recipe.toml", "--from", "data", "--out", "examples.jsonl"]) == 0
    return folder


@pytest.fixture
def run(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    logging.getLogger("instructsearch").setLevel(logging.WARNING)

    def call(*arguments):
        capsys.readouterr()
        code = _run([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return call


MODEL = ["train", "model", "--recipe", "recipe.toml", "--data", "examples.jsonl", "--device", "cpu"]


# --- data


def test_data_is_built_by_recipe_and_each_task_told_of(run, place, tmp_path):
    done = run("train", "data", "--recipe", "recipe.toml", "--from", "data", "--out", tmp_path / "e.jsonl")
    assert (done.code, done.out) == (0, "")
    told = done.err.splitlines()
    assert "colour: 48" in told and "keep/meaning: 10" in told
    found = Examples(tmp_path / "e.jsonl")
    assert told[-1] == f"{len(found)} examples in {tmp_path / 'e.jsonl'}"
    assert {"labels/thing", "labels/colour", "names/colour", "keep/meaning"} <= set(found.tasks)
    assert (tmp_path / "e.jsonl").read_bytes() == (place / "examples.jsonl").read_bytes()


def test_data_as_json_is_one_line(run, tmp_path):
    command = ["train", "data", "--recipe", "recipe.toml", "--from", "data", "--out", tmp_path / "e.jsonl", "--json"]
    assert run(*command).row == {"examples": len(Examples(tmp_path / "e.jsonl")), "out": str(tmp_path / "e.jsonl")}


MEDI = [
    {"query": ["Represent;", f"q{at}"], "pos": ["Represent;", "p"], "neg": ["Represent;", "n"], "task_id": at % 2}
    for at in range(6)
]


def test_medi_as_it_was_published_becomes_lines_and_trains_as_it_is_too(run, tmp_path):
    medi = tmp_path / "medi-data.json"
    medi.write_text(json.dumps(MEDI))
    assert run("train", "data", "--medi", medi, "--out", tmp_path / "e.jsonl", "--json").row["examples"] == 6
    assert list(Examples(tmp_path / "e.jsonl")) == list(Examples(medi))
    base = ["train", "model", "--recipe", "recipe.toml", "--device", "cpu", "--steps", "2", "--json"]
    for number, data in enumerate((medi, tmp_path / "e.jsonl")):
        assert run(*base, "--data", data, "--out", tmp_path / f"out{number}").row["cosine"] > 0.999
    first, second = ((tmp_path / f"out{at}" / "model" / "adapter" / "delta.safetensors").read_bytes() for at in (0, 1))
    assert first == second


@pytest.mark.parametrize("given", [[], ["--from", "data", "--medi", "examples.jsonl"]])
def test_data_comes_from_one_place(given, run, tmp_path):
    run("train", "data", *given, "--out", tmp_path / "e.jsonl").refused("give --from FOLDER, or --medi FILE", code=2)


def test_a_bad_file_is_named_and_leaves_nothing(run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "things.jsonl").write_text('{"text": "a", "thing": "b", "colour": "c"}\n{"text"\n')
    command = ["train", "data", "--recipe", "recipe.toml", "--from", tmp_path / "data", "--out", tmp_path / "e.jsonl"]
    run(*command).refused("things.jsonl:2: cannot be read")
    (tmp_path / "medi.json").write_text(json.dumps([MEDI[0], {}]))
    run("train", "data", "--medi", tmp_path / "medi.json", "--out", tmp_path / "e.jsonl").refused(
        "example 2: an example"
    )
    assert not (tmp_path / "e.jsonl").exists()


def test_what_is_there_is_not_written_over(run, place):
    before = (place / "examples.jsonl").read_bytes()
    run("train", "data", "--recipe", "recipe.toml", "--from", "data", "--out", "examples.jsonl").refused(
        "is there already"
    )
    assert (place / "examples.jsonl").read_bytes() == before


def test_a_recipe_that_is_none_is_named_with_those_there_are(run, tmp_path):
    command = ["train", "data", "--from", "data", "--out", tmp_path / "e.jsonl", "--recipe"]
    run(*command, "mini").refused("mini: is no recipe's file", "instruct-minilm")
    run(*command, "examples.jsonl").refused("examples.jsonl: is no recipe")


# --- a model


def test_a_model_is_trained_saved_and_taken_by_embedder(run, place, tmp_path):
    done = run(*MODEL, "--out", tmp_path / "out", "--json")
    assert done.row == {"model": str(tmp_path / "out" / "model"), "cosine": pytest.approx(1, abs=1e-3)}
    last = done.err.splitlines()[-1]
    assert last.startswith("step 6 of 6, ") and "loss" in last and "texts/s" in last and last.endswith("0 min left")
    (tmp_path / "rows.jsonl").write_text('{"text": "a red cat"}\n')
    vectors = tmp_path / "x.npy"
    for said in ((), ("--instruction", "colour")):
        out = run("embed", tmp_path / "rows.jsonl", "--embedder", tmp_path / "out" / "model", *said, "--out", vectors)
        assert out.code == 0, out.err
        expected = embed.load(str(tmp_path / "out" / "model"), device="cpu").encode(
            ["a red cat"], said[1] if said else ""
        )
        np.testing.assert_allclose(np.load(vectors), expected, atol=1e-5)


def test_without_json_stdout_is_empty_and_the_last_line_says_where_the_model_is(run, tmp_path):
    done = run(*MODEL, "--out", tmp_path / "out")
    assert (done.code, done.out) == (0, "")
    assert f"the model is in {tmp_path / 'out' / 'model'}" in done.err.splitlines()[-1]


def test_a_run_stops_after_its_minutes_and_the_same_command_goes_on(run, tmp_path):
    whole = run(*MODEL, "--out", tmp_path / "whole", "--json").row
    command = [*MODEL, "--out", tmp_path / "parts", "--minutes", "1e-9"]
    first = run(*command, "--json")
    assert (first.code, first.row) == (0, {"model": None, "cosine": None})
    second = run(*command)
    assert "stopped before the last step; the same command goes on from" in second.err.splitlines()[-1]
    done = run(*MODEL, "--out", tmp_path / "parts", "--json")
    assert done.row["cosine"] == whole["cosine"]
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]
    files = [(tmp_path / name / "model" / "adapter" / "delta.safetensors").read_bytes() for name in ("whole", "parts")]
    assert files[0] == files[1]


def test_options_overrule_the_recipe(run, tmp_path):
    options = ["--steps", "3", "--batch", "2", "--rate", "1e-3", "--method", "lora", "--rank", "4", "--seed", "9"]
    assert run(*MODEL, "--out", tmp_path / "out", *options).code == 0
    [checkpoint] = (tmp_path / "out" / "run").glob("step-*")
    facts = json.loads((checkpoint / "step.json").read_text())
    assert facts["step"] == 3
    settings = facts["settings"]
    assert {key: settings[key] for key in ("batch", "rate", "method", "rank", "seed")} == {
        **{"batch": 2, "rate": 1e-3, "method": "lora", "rank": 4, "seed": 9}
    }
    assert json.loads((tmp_path / "out" / "model" / "adapter" / "adapter_config.json").read_text())["r"] == 4


def test_all_weights_may_be_trained(run, tmp_path):
    assert run(*MODEL, "--out", tmp_path / "out", "--method", "full", "--json").row["cosine"] > 0.999
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()


def test_what_cannot_be_trained_is_refused_in_a_line(run, tmp_path):
    assert run(*MODEL, "--out", tmp_path / "out").code == 0
    run(*MODEL, "--out", tmp_path / "out").refused("is there already; train into another folder")
    run(*MODEL, "--out", tmp_path / "new", "--seed", "-3").refused("seed must be 0 or more, not -3")
    (tmp_path / "bad.jsonl").write_text("{}\n")
    command = [*MODEL, "--out", tmp_path / "new"]
    command[command.index("examples.jsonl")] = tmp_path / "bad.jsonl"
    run(*command).refused("bad.jsonl:1: an example needs query and pos")
    assert not (tmp_path / "new" / "model").exists()


def test_a_folder_of_other_settings_is_refused_by_what_differs(run, tmp_path):
    assert run(*MODEL, "--out", tmp_path / "out", "--minutes", "1e-9").code == 0
    run(*MODEL, "--out", tmp_path / "out", "--rate", "0.5").refused("is of a run with rate 0.003, and now it is 0.5")


def test_an_interruption_keeps_what_was_done(run, tmp_path, monkeypatch):
    from instructsearch.train.learner import Learner

    own, taken = Learner.backward, []

    def interrupted(learner, some, settings):
        taken.append(1)
        if len(taken) == 4:
            raise KeyboardInterrupt
        return own(learner, some, settings)

    monkeypatch.setattr(Learner, "backward", interrupted)
    done = run(*MODEL, "--out", tmp_path / "out")
    assert done.code == 130 and "the same command goes on from there" in done.err
    assert [path.name for path in (tmp_path / "out" / "run").glob("step-*")] == ["step-0000003"]
