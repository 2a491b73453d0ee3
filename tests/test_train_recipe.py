"""Recipes: read whole, refused by the table and the field, and the ones that come with the package are sound."""

from importlib import resources
from pathlib import Path

import pytest

from instructsearch.errors import ReadError
from instructsearch.train.data.recipe import Answers, Keep, Labels, Pairs, Recipe, read
from instructsearch.train.data.wording import Aspect
from instructsearch.train.run import plan

SHIPPED = sorted(Path(str(resources.files("instructsearch.train"))).glob("recipes/*.toml"))
LABELS = '[[labels]]\nname = "mood"\nfiles = ["a.jsonl"]\nnouns = ["mood"]\n'
FULL = """
seed = 3
similarity = "hash"
characters = 100
traits = 5
plain = 0.25

[profile]
base = "minilm"

[training]
steps = 7

[[labels]]
name = "mood"
files = ["a.jsonl", "b/c.jsonl.gz"]
nouns = ["mood"]
types = ["post"]
domains = [""]
questions = ["How?"]
wordings = ["Feel it"]
text = "said"
label = "felt"
most = 9
[labels.names]
joy = "glad"

[[answers]]
name = "tasks"
files = ["t.jsonl"]
tasks = "licences.jsonl"
refused = ["NC"]
output = "answer"

[[pairs]]
name = "qa"
files = ["q.jsonl"]
queries = ["Find"]
passages = ["Text"]
leave = ["msmarco"]

[[keep]]
name = "topic"
wordings = ["topic"]
"""


def made(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_recipe_is_read_whole(tmp_path):
    aspect = Aspect(("mood",), ("post",), ("",), ("How?",), ("Feel it",))
    assert read(made(tmp_path, FULL)) == Recipe(
        seed=3,
        similarity="hash",
        characters=100,
        traits=5,
        plain=0.25,
        labels=(Labels("mood", ("a.jsonl", "b/c.jsonl.gz"), aspect, "said", "felt", {"joy": "glad"}, 9),),
        answers=(Answers("tasks", ("t.jsonl",), "licences.jsonl", ("NC",), output="answer"),),
        pairs=(Pairs("qa", ("q.jsonl",), ("Find",), ("Text",), leave=("msmarco",)),),
        keep=(Keep("topic", ("topic",)),),
        profile={"base": "minilm"},
        training={"steps": 7},
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("seed = ", "is no recipe"),
        ("seed = [[" + "[" * 5000, "is no recipe"),
        ("a = 1", "no field is called 'a'; there are: answers, characters"),
        ("seed = '1'", "seed must be a whole number"),
        ("seed = true", "seed must be a whole number"),
        ("traits = -1", "traits must be a whole number, 0 or more"),
        ("plain = 1.5", "plain must be a number from 0 to 1"),
        ("profile = 'minilm'", "profile must be a table"),
        ("labels = 3", r"labels are tables, each begun by \[\[labels\]\]"),
        ("[labels]\nname = 'a'", r"labels are tables, each begun by \[\[labels\]\]"),
        (LABELS.replace("nouns", "types"), r"\[\[labels\]\] mood needs nouns"),
        (LABELS.replace('["mood"]', '"mood"'), r"\[\[labels\]\] mood: nouns must be a list of strings"),
        (LABELS.replace('["a.jsonl"]', "[1]"), r"\[\[labels\]\] mood: files must be a list of strings"),
        (LABELS.replace('["a.jsonl"]', "[]"), r"\[\[labels\]\] mood: files is empty"),
        (LABELS + "domains = []", r"\[\[labels\]\] mood: domains is empty"),
        (LABELS + "most = 'all'", r"\[\[labels\]\] mood: most must be a whole number"),
        (LABELS + "extra = 1", r"\[\[labels\]\] mood: no field is called 'extra'"),
        (LABELS + "[labels.names]\na = 1", r"\[\[labels\]\] mood: names must be a table of strings"),
        (LABELS.replace('name = "mood"', ""), r"\[\[labels\]\]: name is missing"),
        (LABELS.replace("a.jsonl", "../a.jsonl"), r"\.\./a\.jsonl does not lie below the folder"),
        (LABELS.replace("a.jsonl", "/etc/passwd"), "/etc/passwd does not lie below the folder"),
        ("[[keep]]\nname = 'a'", r"\[\[keep\]\] a: wordings is missing"),
        ("[[pairs]]\nname = 'a'\nfiles = ['b']\nqueries = ['q']", r"\[\[pairs\]\] a: passages is missing"),
    ],
)
def test_what_is_no_recipe_is_refused_by_table_and_field(text, reason, tmp_path):
    with pytest.raises(ReadError, match=reason) as caught:
        read(made(tmp_path, text))
    assert caught.value.where == str(tmp_path / "r.toml")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ReadError, match=r"none\.toml: is no recipe: .*No such file"):
        read(tmp_path / "none.toml")


def test_lists_that_may_be_empty_may_be(tmp_path):
    found = read(made(tmp_path, LABELS + "questions = []\nwordings = []"))
    assert found.labels[0].aspect.questions == ()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_recipe_of_the_package_can_be_trained_and_names_nothing_non_commercial(path):
    recipe = read(path)
    assert plan(recipe, {}).settings.steps > 0
    files = {file for each in (*recipe.labels, *recipe.answers, *recipe.pairs) for file in each.files}
    assert not [file for file in files if "agnews" in file or "yelp" in file]
    assert all("NC" in each.refused for each in recipe.answers)
    for tables in (recipe.labels, recipe.mentions, recipe.keep):
        assert len({each.name for each in tables}) == len(tables)
