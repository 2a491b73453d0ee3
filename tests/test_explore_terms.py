"""Groups named by words: class-based tf-idf, what is left out, and what goes together."""

import math
from collections import Counter

import pytest

from instructsearch.explore import label
from instructsearch.explore.grouping import ALONE
from instructsearch.explore.terms import STOP_WORDS

SHIPS = ["The ship left the harbour", "A ship in a harbour at night", "Ships need a harbour and a crew"]
CATS = ["The cat slept at night", "A cat and a mouse", "My cat is asleep, the mouse is not"]


def test_terms_are_what_sets_a_group_apart():
    ships, cats = label([*SHIPS, *CATS], [0, 0, 0, 1, 1, 1])
    assert ships[0] == "harbour"
    assert cats[:2] == ("cat", "mouse")
    assert "night" not in ships + cats  # as common in both


def test_the_order_is_that_of_class_based_tf_idf_over_texts():
    texts = ["alpha beta", "alpha beta", "alpha gamma", "beta delta", "delta gamma", "delta epsilon"]
    labels = [0, 0, 0, 1, 1, 1]
    (first, _) = label(texts, labels)
    inside = Counter(word for text in texts[:3] for word in text.split())
    overall = Counter(word for text in texts for word in text.split())
    mean = sum(overall.values()) / 2
    weight = {word: inside[word] * math.log(1 + mean / overall[word]) for word in inside}
    # gamma is as common outside the group as in it
    expected = sorted((word for word in inside if word != "gamma"), key=lambda word: -weight[word])
    assert [word for term in first for word in term.split()] == expected


def test_a_text_that_repeats_itself_names_no_group():
    texts = ["buy " * 500 + "apples", "apples are ripe", "apples fall", "pears are ripe", "pears fall", "a pear"]
    first, _ = label(texts, [0, 0, 0, 1, 1, 1])
    assert first[0] == "apples"


def test_no_term_is_a_stop_word_a_number_or_the_rest_of_a_contraction():
    texts = [
        "Don't you think that it's 1984 and the 2nd of them?",
        "They aren't what I'm after, he'd say: http://www.x",
    ]
    terms = {word for each in label(texts, [0, 1]) for term in each for word in term.split()}
    assert terms == {"think", "nd"}


def test_words_that_mean_something_are_kept_though_other_lists_stop_them():
    texts = ["a fire in the system", "fire, system", "a bill with interest", "the bill, the interest"]
    first, second = label(texts, [0, 0, 1, 1])
    assert {*first, *second} == {"fire", "system", "bill", "interest"}


def test_a_text_of_stop_words_alone_has_no_term():
    assert label([" ".join(sorted(STOP_WORDS))], [0]) == [()]


def test_every_term_is_in_a_text_of_its_group():
    texts = [*SHIPS, *CATS, "new york city", "new york state", "in New York"]
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for number, terms in enumerate(label(texts, labels)):
        mine = " | ".join(text.lower() for text, one in zip(texts, labels, strict=True) if one == number)
        assert terms
        for term in terms:
            assert term in mine


def test_two_words_that_mostly_stand_together_are_one_term():
    texts = ["new york city", "the New York state", "in New York", "old town", "old house", "an old door"]
    first, second = label(texts, [0, 0, 0, 1, 1, 1])
    assert first[0] == "new york"
    assert second[0] == "old"  # beside another word each time


def test_forms_of_one_word_are_not_repeated():
    texts = ["cluster one", "clusters two", "clustering three", "a cluster", "other", "another thing"]
    first, _ = label(texts, [0, 0, 0, 0, 1, 1])
    assert sum("cluster" in term for term in first) == 1


def test_what_is_common_everywhere_is_no_term_in_any_language():
    finnish = ["kissa ja koira", "kissa ja hiiri", "kissa ja lintu"]
    ships = ["laiva ja satama", "laiva ja meri", "laiva ja tuuli"]
    for terms in label([*finnish, *ships], [0, 0, 0, 1, 1, 1]):
        assert "ja" not in {word for term in terms for word in term.split()}


def test_scripts_without_blanks_are_named_by_pairs_of_characters():
    first, second = label(["数据库索引", "数据库备份", "天气预报", "天气很好"], [0, 0, 1, 1])
    assert "数据" in first
    assert "天气" in second


def test_accents_and_other_alphabets_are_words():
    first, second = label(["Ääkköset ääkköset", "Привет мир", "Привет снова"], [0, 1, 1])
    assert first[0] == "ääkköset"
    assert "привет" in second


def test_a_group_without_any_word_has_no_term_and_one_like_the_others_has_its_best():
    nothing, same, other = label(["12 34", "red red", "red"], [0, 1, 2])
    assert nothing == ()
    assert (same, other) == (("red",), ("red",))


def test_texts_in_no_group_name_none_but_count_for_what_is_common():
    alone = [ALONE] * 3
    (terms,) = label(["red ship", "red ship", "red", "red", "red"], [0, 0, *alone])
    assert terms == ("ship",)
    assert label(["a text"], [ALONE]) == []


def test_as_many_terms_as_asked_for():
    texts = ["alpha beta gamma delta epsilon zeta eta theta", "other words here"]
    assert len(label(texts, [0, 1], count=2)[0]) == 2
    assert len(label(["kilo lima mike november oscar papa quebec romeo".replace(" ", " 1 "), "x"], [0, 1])[0]) == 6


def test_very_long_words_and_texts_are_no_trouble():
    texts = ["x" * 100_000, "word " * 100_000, "<script>alert(1)</script>"]
    first, second, third = label(texts, [0, 1, 2])
    assert (first, second) == ((), ("word",))
    assert set(" ".join(third).split()) == {"script", "alert"}


def test_labels_and_texts_must_be_as_many():
    with pytest.raises(ValueError, match="shorter"):
        label(["a", "b"], [0])
