"""What the benchmark of following asks is whole: every wording, none twice in a set, wrong ones from other sets."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from instructsearch.train.data.recipe import read
from instructsearch.train.data.traits import TRAITS

RECIPE = Path(__file__).parent.parent / "instructsearch" / "train" / "recipes" / "instruct-minilm.toml"
LITTLE = frozenset("a an and at be by do does for in is it its of or that the this to what which with".split())
FILE = Path(__file__).parent.parent / "benchmarks" / "following.toml"
ASKED = tomllib.loads(FILE.read_text(encoding="utf-8"))
BLIND = tomllib.loads((FILE.parent / "blind.toml").read_text(encoding="utf-8"))
STYLES = ("template", "question", "free", "tag")
SETS = [
    *(
        (f"{part} {name}", facts)
        for part in ("labels", "retrieval", "similarity")
        for name, facts in ASKED[part].items()
    ),
    *((f"{name} {side}", facts[side]) for name, facts in ASKED["aspects"].items() for side in ("first", "second")),
]


@pytest.mark.parametrize(("name", "facts"), SETS, ids=[name for name, _ in SETS])
def test_every_set_is_asked_in_four_styles(name, facts):
    said = [facts[style] for style in STYLES]
    assert len(set(said)) == 4
    assert re.fullmatch(r"Represent the .+ for .+:", facts["template"])
    assert facts["question"].endswith("?")
    assert len(facts["tag"].split()) <= 5


def weighty(said):
    """Return the words of a wording that carry its meaning, without order and plurals."""
    return frozenset(word.rstrip("s") for word in re.findall(r"[a-z]+", said.lower()) if word not in LITTLE)


@pytest.fixture(scope="module")
def trained():
    """The wordings that the recipe trains on, by their weighty words: those it lists, and draws of the others."""
    recipe, random = read(RECIPE), np.random.default_rng(0)
    aspects = [each.aspect for each in (*recipe.labels, *recipe.mentions, *recipe.keep, *TRAITS) if each.aspect]
    said = [word for each in aspects for word in (*each.questions, *each.wordings)]
    said += [word for each in recipe.keep for word in each.wordings]
    said += [word for each in recipe.pairs for word in (*each.queries, *each.passages)]
    said += [word for words in recipe.words.values() for word in words]
    said += [each.word(random) for each in aspects for _ in range(600)]
    return {weighty(each): each for each in said}


@pytest.mark.parametrize(("name", "facts"), SETS, ids=[name for name, _ in SETS])
def test_no_wording_is_trained_on(name, facts, trained):
    for style in STYLES:
        assert weighty(facts[style]) not in trained, f"{facts[style]!r} and {trained[weighty(facts[style])]!r}"


def test_blind_wordings_are_of_every_set_and_all_are_asked():
    sets = {**{name: [aspect] for name, aspect in BLIND["labels"].items()}, **BLIND["aspects"]}
    assert BLIND["labels"].keys() <= ASKED["labels"].keys()
    assert BLIND["aspects"].keys() == ASKED["aspects"].keys()
    assert {aspect for aspects in sets.values() for aspect in aspects} == BLIND["wordings"].keys()
    said = [each for wordings in BLIND["wordings"].values() for each in wordings]
    assert len(set(said)) == len(said)
    assert min(map(len, BLIND["wordings"].values())) >= 12


@pytest.mark.parametrize("aspect", BLIND["wordings"])
def test_no_blind_wording_is_trained_on(aspect, trained):
    for said in BLIND["wordings"][aspect]:
        assert weighty(said) not in trained, f"{said!r} and {trained[weighty(said)]!r}"


@pytest.mark.parametrize("name", ASKED["labels"])
def test_wrong_wordings_come_from_at_least_three_other_sets(name):
    facts = ASKED["labels"][name]
    assert len(set(facts["wrong"])) >= 3
    for other in facts["wrong"]:
        assert ASKED["labels"][other]["file"] != facts["file"]


@pytest.mark.parametrize("name", ASKED["aspects"])
def test_every_pattern_is_one(name):
    patterns = ASKED["aspects"][name]["second"]["patterns"]
    assert len(patterns) >= 2
    for pattern in patterns.values():
        assert not re.compile(pattern).search("")
