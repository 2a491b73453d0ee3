"""Labels that are merged, chosen and counted, aspects that words tell, and wordings made for what is to be kept."""

import json

import pytest

from instructsearch import embed
from instructsearch.errors import ReadError
from instructsearch.train.data import recipe as recipes
from instructsearch.train.data.build import Builder
from instructsearch.train.data.recipe import Keep, Labels, Mentions, Recipe
from instructsearch.train.data.wording import Aspect

ROWS = [
    *({"text": f"A went to Paris in {year}", "label": "joy", "task": "task1_a"} for year in range(14)),
    *({"text": f"B saw the Rhine at Bonn in {year}", "label": "love", "task": "task1_b"} for year in range(14)),
    *({"text": f"a train from Bonn to Paris, number {year}", "label": "fear", "task": "task2"} for year in range(7)),
    {"text": "nobody knows", "label": "rare", "task": "task1_a"},
]
ASPECT = Aspect(("country",), questions=("Which country?",))
MOOD = Labels("mood", ("rows.jsonl",), Aspect(("mood",)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("data")
    (base / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return base


def built(folder, **sources):
    return list(Builder(Recipe(**sources), folder, embed.load("hash").encode, lambda task, count: None).examples())


def labels_of(examples, task):
    return {side[1]: label for each in examples if each.task == task
            for side, label in zip((each.query, each.positive, each.negative), each.labels, strict=True)}  # fmt: skip


def changed(**facts):
    return Labels(MOOD.name, MOOD.files, MOOD.aspect, **facts)


def test_labels_are_merged_and_those_merged_into_nothing_left_out(folder):
    found = labels_of(
        built(folder, labels=(changed(merge={"joy": "good", "love": "good", "rare": ""}),)), "labels/mood"
    )
    assert set(found.values()) == {"good", "fear"} and "nobody knows" not in found


def test_only_the_rows_that_begin_so_count(folder):
    found = labels_of(built(folder, labels=(changed(only={"task": "task1"}),)), "labels/mood")
    assert {"joy", "love"} <= set(found.values()) and "fear" not in found.values()


def test_a_label_of_too_few_texts_is_left_out(folder):
    found = labels_of(built(folder, labels=(changed(fewest=7),)), "labels/mood")
    assert set(found.values()) == {"joy", "love", "fear"}


def test_a_text_that_names_one_member_is_labelled_with_it_and_one_that_names_two_with_none(folder):
    members = {"France": "paris lyon", "Germany": "bonn rhine", "Spain": "madrid"}
    examples = built(folder, labels=(MOOD,), mentions=(Mentions("country", ASPECT, members),))
    found = labels_of(examples, "mentions/country")
    assert {text.split()[3] if "Paris" in text else "Rhine": label for text, label in found.items()} == {
        "Paris": "France",
        "Rhine": "Germany",
    }
    assert not any(text.startswith("a train") for text in found)
    names = {each.positive[1] for each in examples if each.task == "names/mention-country"}
    assert names == {"France", "Germany"}
    assert any("country" in each.query[0].lower() for each in examples if each.task == "mentions/country")


def test_a_text_that_names_none_has_the_label_for_the_others_and_one_that_names_two_still_has_none(folder):
    members = {"France": "paris", "Germany": "bonn"}
    mentions = Mentions("country", ASPECT, members, otherwise="elsewhere")
    rows = [*ROWS, *({"text": f"nobody went anywhere in {year}", "label": "joy"} for year in range(14))]
    (folder / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Labels(MOOD.name, ("more.jsonl",), MOOD.aspect)
    found = labels_of(built(folder, labels=(source,), mentions=(mentions,)), "mentions/country")
    assert {label for text, label in found.items() if text.startswith("nobody")} == {"elsewhere"}
    assert {"France", "Germany"} < set(found.values()) and not any(text.startswith("a train") for text in found)


def test_what_is_kept_is_asked_in_given_words_and_in_words_made_from_an_aspect(folder):
    keep = Keep("topic", ("what it is about",), aspect=Aspect(("subject",)))
    said = [each.query[0] for each in built(folder, labels=(MOOD,), keep=(keep,))]
    said = [each for each in said if "mood" not in each.lower()]
    assert "what it is about" in said and any("subject" in each.lower() for each in said)


def test_what_is_kept_without_a_lists_words_is_to_lie_where_the_text_does_without_them(folder):
    members = {"France": "paris lyon", "Germany": "bonn rhine"}
    keep = Keep("topic", ("topic",), 20, without="country")
    made = built(folder, labels=(MOOD,), mentions=(Mentions("country", ASPECT, members),), keep=(keep,))
    kept = {each.query[1]: each.positive for each in made if each.kind == "keep"}
    assert kept["nobody knows"] == ("", "nobody knows")
    named = {text: less for text, less in kept.items() if text != "nobody knows"}
    assert len(named) == 10  # half of what is kept at most
    for text, less in named.items():
        bare = text.replace("Paris", "").replace("Rhine", "").replace("Bonn", "")
        assert less == ("", " ".join(bare.split())) and bare != text


@pytest.mark.parametrize(("search", "kind"), [(True, "search"), (False, "keep")])
def test_instructions_of_searches_are_named_as_such(folder, search, kind):
    keep = Keep("retrieval", ("find",), 20, search=search)
    made = built(folder, labels=(MOOD,), keep=(keep,))
    assert {each.kind for each in made if each.task == "keep/retrieval"} == {kind}


RECIPE = """
[[labels]]
name = "mood"
files = ["rows.jsonl"]
nouns = ["mood"]
only = { task = "task1" }
fewest = 3
[labels.merge]
joy = "good"

[[mentions]]
name = "country"
nouns = ["country"]
[mentions.members]
France = "paris"

[[keep]]
name = "topic"
wordings = ["topic"]
nouns = ["subject"]
"""


def test_a_recipe_says_all_of_it(tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    made = recipes.read(tmp_path / "recipe.toml")
    assert made.labels[0].merge == {"joy": "good"} and made.labels[0].only == {"task": "task1"}
    assert made.mentions[0].members == {"France": "paris"} and made.mentions[0].aspect.nouns == ("country",)
    assert made.keep[0].wordings == ("topic",) and made.keep[0].aspect == Aspect(
        ("subject",), wordings=("topic",), topical=True
    )


@pytest.mark.parametrize(
    "change",
    [
        ('nouns = ["country"]', ""),
        ("France =", "France = 3 #"),
        ("[mentions.members]", ""),
        ('wordings = ["topic"]', 'wordings = ["topic"]\nwithout = "mood"'),
        ('wordings = ["topic"]', 'wordings = ["topic"]\nsearch = "yes"'),
    ],
)
def test_a_recipe_that_lacks_something_is_refused(tmp_path, change):
    (tmp_path / "recipe.toml").write_text(RECIPE.replace(*change))
    with pytest.raises(ReadError):
        recipes.read(tmp_path / "recipe.toml")
