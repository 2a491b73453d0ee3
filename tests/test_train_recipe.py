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


def written(tmp_path, **files):
    (tmp_path / "words").mkdir()
    for name, content in files.items():
        (tmp_path / "words" / f"{name}.txt").write_bytes(content)


def test_whole_instructions_are_read_from_files_beside_the_recipe(tmp_path):
    written(tmp_path, mood=b"How do they feel?\n\n  mood: \nHow do they feel?\n", shape=b"Wie lang?\n")
    words = '[words]\n"labels/mood" = ["mood.txt", "shape.txt"]\n"traits/length" = ["shape.txt"]\n'
    assert read(made(tmp_path, LABELS + words)).words == {
        "labels/mood": ("How do they feel?", "mood:", "Wie lang?"),
        "traits/length": ("Wie lang?",),
    }


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("words = 3", r"r\.toml: words is a table of lists of file names"),
        ('[words]\n"labels/mood" = "mood.txt"', r"r\.toml: words is a table of lists of file names"),
        ('[words]\n"labels/mod" = ["mood.txt"]', r"words: no task is called 'labels/mod'; there are: labels/mood, tr"),
        ('[words]\n"labels/mood" = ["../r.toml"]', r"words: \.\./r\.toml does not lie in the folder of words"),
        ('[words]\n"labels/mood" = ["/etc/passwd"]', r"words: /etc/passwd does not lie in the folder of words"),
        ('[words]\n"labels/mood" = [".."]', r"cannot be read: .*directory"),
        ('[words]\n"labels/mood" = ["none.txt"]', r"none\.txt: cannot be read: .*No such file"),
        ('[words]\n"labels/mood" = ["bytes.txt"]', r"bytes\.txt: cannot be read: .*utf-8"),
    ],
)
def test_words_that_cannot_be_had_are_refused_by_name(table, reason, tmp_path):
    written(tmp_path, mood=b"mood\n", bytes=b"\xff\n")
    with pytest.raises(ReadError, match=reason):
        read(made(tmp_path, table + "\n" + LABELS if table.startswith("words") else LABELS + table))


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


@pytest.mark.parametrize("path", sorted(SHIPPED[0].parent.glob("words/*.txt")), ids=lambda path: path.stem)
def test_every_file_of_words_is_used_and_says_nothing_twice(path):
    lines = path.read_text("utf-8").splitlines()
    assert len(set(lines)) == len(lines) >= 20
    assert all(line == line.strip() and line for line in lines)
    assert any(set(lines) <= set(words) for recipe in map(read, SHIPPED) for words in recipe.words.values())
