"""Instructions in many words, and the traits of a text that a rule can tell."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from instructsearch.train.data.traits import TRAITS
from instructsearch.train.data.wording import Aspect

FULL = Aspect(
    ("mood", "feeling of the writer"),
    types=("tweet", "message"),
    domains=("social media", ""),
    questions=("How does the writer feel?",),
    wordings=("Find messages of the same mood",),
)


def words(aspect, count=2000, seed=0):
    random = np.random.default_rng(seed)
    return [aspect.word(random) for _ in range(count)]


def test_an_aspect_is_asked_for_in_hundreds_of_ways():
    assert len(set(words(FULL))) > 200
    assert max(Counter(words(Aspect(("mood",)))).values()) < 100


def test_every_level_of_detail_is_there():
    said = words(Aspect(("mood",), ("tweet",)))
    assert {"mood", "Mood", "mood:", "[mood]"} <= set(said)  # a tag
    assert "Identify the mood." in said  # simple
    assert "Represent the tweet by its mood:" in said  # the unified template
    assert "What is the mood of this tweet?" in said  # a question
    assert any(each.startswith("Instruction: ") for each in said)
    tags = np.mean([len(each.split()) <= 2 for each in said])
    questions = np.mean([each.endswith("?") for each in said])
    assert 0.05 < tags < 0.2
    assert 0.2 < questions < 0.45


def test_an_aspects_own_sentences_are_said_as_they_are():
    said = Counter(words(FULL))
    assert said["How does the writer feel?"] == pytest.approx(2000 * 0.3 * 0.6, rel=0.2)
    assert said["Find messages of the same mood"] == pytest.approx(2000 * 0.7 * 0.6, rel=0.2)


def test_what_is_written_out_is_most_of_what_is_said_and_often_said_as_it_is():
    some = ("how they feel, whatever it is about", "Glum with glum.")
    said = Counter(words(replace(FULL, written=some)))
    for each in some:
        assert said[each] == pytest.approx(2000 * 0.75 / 2 * (0.7 + 0.3 / 4), rel=0.25)  # in one way it stays as it is
    assert said["How does the writer feel?"] > 0
    assert said["Instruction: Glum with glum."] > 0


def test_nothing_is_left_of_a_template():
    for each in {*words(FULL), *words(Aspect(("a b",), domains=("",)))}:
        assert "{" not in each and "  " not in each and each == each.strip() and each


def test_only_wordings_of_a_subject_itself_leave_the_subject_in_and_the_mood_out():
    said, topical = words(Aspect(("length",))), words(Aspect(("theme",), topical=True))
    assert any("the subject is of no interest" in each.lower() for each in said)
    assert not any("subject" in each or "are about" in each for each in topical)
    assert any("the theme counts, not the opinion" in each.lower() for each in topical)
    assert not any(word in each.lower() for each in said for word in ("liked", "opinion", "happy", "mood"))


def test_every_word_of_an_aspect_comes_up():
    said = " ".join(words(FULL))
    for each in (*FULL.nouns, *FULL.types, "social media"):
        assert each in said


def test_the_same_seed_says_the_same():
    assert words(FULL, 50, 3) == words(FULL, 50, 3) != words(FULL, 50, 4)


# --- traits

RULES = {trait.name: trait.rule for trait in TRAITS}
TOLD = {
    "length": {
        "": None,
        "one": "very short",
        "one two three four five six": "very short",
        "1 2 3 4 5 6 7": None,
        "1 2 3 4 5 6 7 8 9": "short",
        "w " * 25: "long",
        "w " * 45: "very long",
    },
    "form": {
        'Who is it?"': "a question",
        "who is it": "a question",
        "That is it!": "an exclamation",
        "Stop!": "an order",
        "tell me a joke": "an order",
        "It is.": "a statement",
        "no end": None,
        "!?!": None,
    },
    "person": {
        "I lost my keys": "first person",
        "we’re late": "first person",
        "You know your way": "second person",
        "She told him": "third person",
        "Rain fell": "no person",
        "I saw you": None,
    },
    "tense": {
        "He walked and she was gone": "past",
        "It will rain": "future",
        "They'll come": "future",
        "She is running": "present",
        "He said it is late": None,
        "a red bed": None,
    },
    "number": {"in 1999": "numbers", "in May": "no numbers", "x²": "no numbers"},
    "names": {"I met Anna there": "names people or places", "Who was that": "names nobody"},
    "negation": {
        "I can't go": "negated",
        "It isn’t so": "negated",
        "Never again": "negated",
        "Yes, always": "affirmed",
    },
    "asked": {
        "Who won it?": "a person",
        "which small town is it near": "a place",
        "In 1999, what was the year's best film?": "a work",
        "What is the age of the king?": "a time",
        "When is it?": "a time",
        "Why is that so?": "a reason",
        "How many are there?": "a number",
        "How is it done?": "a way",
        "What of it?": None,
        "How?": None,
        "Is it late?": "yes or no",
        "It is late": None,
        "The cat sat where?": None,
    },
    "style": {
        "lol that is so funny": "informal",
        "what a day it was!!": "informal",
        "The administration subsequently implemented regulations": "formal",
        "the cat sat on it": None,
        "lol": None,
    },
    "marks": {"see https://x.org #a @b": "a link", "so #tired @me": "a hashtag", "hi @me": "a mention", "hi": "plain"},
}


@pytest.mark.parametrize(
    ("trait", "text", "label"), [(trait, *row) for trait, rows in TOLD.items() for row in rows.items()]
)
def test_a_rule_tells_a_trait_or_says_that_it_cannot(trait, text, label):
    assert RULES[trait](text) == label


def test_every_trait_is_tried_above_and_can_be_asked_for():
    assert set(TOLD) == set(RULES)
    for trait in TRAITS:
        assert len({each for each in TOLD[trait.name].values() if each}) > 1
        assert len(set(words(trait.aspect, 300))) > 60


@pytest.mark.parametrize("text", ["", " ", "?", "\x00", "東京は大きい。", "'" * 50, "e" * 10_000, "\ud800"])
def test_a_rule_stands_any_text(text):
    for rule in RULES.values():
        found = rule(text)
        assert found is None or re.fullmatch(r"[a-z ]+", found)
