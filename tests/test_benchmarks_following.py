"""What the benchmark of following asks is whole: every wording, none twice in a set, wrong ones from other sets."""

import re
import tomllib
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent / "benchmarks" / "following.toml"
ASKED = tomllib.loads(FILE.read_text(encoding="utf-8"))
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
