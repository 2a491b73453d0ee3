"""Chunks end where a text pauses: at headings, paragraphs, functions and sentences, and know their place."""

import pytest

from instructsearch.chunking import Chunker, Chunking
from instructsearch.records import Document, Mark


def cut(text, tokens, *, form="text", marks=(), overlap=0):
    """Chunk with words as tokens, so that every size can be counted by eye."""
    return Chunker(Chunking(tokens, overlap)).chunk(Document("d", text, format=form, marks=marks))


def texts(*args, **kwargs):
    return [chunk.text for chunk in cut(*args, **kwargs)]


def test_prose_is_cut_between_paragraphs_before_lines():
    assert texts("a b c\nd e\n\nf g h\ni j", 8) == ["a b c\nd e", "f g h\ni j"]


def test_a_wrapped_line_is_a_weaker_pause_than_a_line_that_ends_a_sentence():
    assert texts("a b c.\nd e f\ng h\ni j", 9) == ["a b c.", "d e f\ng h\ni j"]


def test_a_long_paragraph_is_cut_between_sentences():
    assert texts('one two three. "Four five six." Seven eight nine! Ten', 7) == [
        'one two three. "Four five six."',
        "Seven eight nine! Ten",
    ]


def test_a_sentence_too_long_is_cut_between_words():
    assert texts("a b c d e f g h i j", 4) == ["a b c d", "e f g h", "i j"]


def test_text_without_spaces_is_cut_after_its_own_full_stops():
    assert texts("一二三。" * 40, 4) == ["一二三。" * 4] * 10


def test_markdown_is_cut_at_headings_and_the_stronger_one_wins():
    text = "# A\n\none two\n\n## B\n\nthree four\n\n# C\n\nfive six\n\n## D\n\nseven eight"
    assert texts(text, 13, form="markdown") == [text[: text.index("# C")].strip(), text[text.index("# C") :]]


def test_a_heading_stays_with_what_it_heads():
    text = "intro " * 12 + "\n\n## Heading\n\n" + "body " * 15
    assert texts(text, 16, form="markdown")[1] == ("## Heading\n\n" + "body " * 11).strip()


def test_a_hash_inside_a_fence_is_no_heading():
    fenced = "```sh\nrun it\n# comment here\nagain now\n```"
    assert texts(f"{fenced}\n\nafter the fence", 11, form="markdown") == [fenced, "after the fence"]


def test_a_list_is_cut_between_items():
    assert texts("- a b c\n  d\n- e f\n  g h\n- i j", 8, form="markdown") == ["- a b c\n  d", "- e f\n  g h\n- i j"]


def test_a_thematic_break_pauses_like_a_paragraph():
    assert texts("a b c\nd e f\n***\ng h\ni j", 10, form="markdown") == ["a b c\nd e f", "***\ng h\ni j"]


PYTHON = '''import os


def first(a):
    """Say."""
    b = a

    return b


class Second:
    def third(self):
        return 1

    def fourth(self):
        return 2
'''


def test_code_is_cut_between_functions():
    first, second = PYTHON.index("def first"), PYTHON.index("class Second")
    assert texts(PYTHON, 15, form="code:python") == [
        PYTHON[:second].strip(),
        PYTHON[second:].strip(),
    ]
    assert PYTHON[first:second].strip() in texts(PYTHON, 9, form="code:python")


def test_a_class_too_long_is_cut_between_methods():
    methods = texts(PYTHON[PYTHON.index("class") :], 9, form="code:python")
    assert methods == ["class Second:\n    def third(self):\n        return 1", "def fourth(self):\n        return 2"]


def test_marks_pause_where_the_text_shows_nothing():
    text = "a b c\nd e f\ng h i"
    heading = Mark(text.index("g"), "heading", "G")
    assert texts(text, 8, marks=(heading,)) == ["a b c\nd e f", "g h i"]


def test_a_chunk_knows_the_marks_in_force_where_it_starts():
    text = "a b c d\n\ne f g h\n\ni j k l"
    marks = (Mark(9, "heading", "E"), Mark(0, "page", 1), Mark(18, "page", 2), Mark(18, "heading", "E > I"))
    assert [dict(chunk.metadata) for chunk in cut(text, 4, marks=marks)] == [
        {"page": 1},
        {"page": 1, "heading": "E"},
        {"page": 2, "heading": "E > I"},
    ]


def test_overlap_repeats_the_end_of_the_chunk_before():
    assert texts("a b. c d. e f. g h. i j.", 6, overlap=2) == ["a b. c d. e f.", "e f. g h. i j."]


def test_overlap_breaks_up_a_long_end_rather_than_repeat_nothing():
    assert texts("a b c d e f g h i j", 4, overlap=1) == ["a b c d", "d e f g", "g h i j"]


def test_overlap_does_not_reach_across_sections():
    text = "# A\n\none two three\n\n# B\n\nfour five six"
    assert texts(text, 5, form="markdown", overlap=2) == ["# A\n\none two three", "# B\n\nfour five six"]


def test_the_last_chunk_is_no_crumb():
    chunks = texts("\n\n".join(["one two three four"] * 5 + ["end"]), 20)
    assert [len(chunk.split()) for chunk in chunks] == [16, 5]


@pytest.mark.parametrize("newline", ["\n", "\n\n", "\n \t\n"])
def test_blank_lines_and_indentation_never_begin_or_end_a_chunk(newline):
    for chunk in cut(f"{newline}   a b{newline}   c d   {newline}", 2):
        assert chunk.text == chunk.text.strip()
