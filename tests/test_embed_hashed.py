"""The hash embedder: computable, deterministic, and turned by its instruction."""

import numpy as np
import pytest

from instructsearch import embed
from instructsearch.errors import TooLong

hashed = embed.load("hash")


def similarity(left: str, right: str, instruction: str = "") -> float:
    first, second = hashed.encode([left, right], instruction)
    return float(first @ second)


def test_rows_are_unit_float32_and_contiguous():
    vectors = hashed.encode(["a red car", "", "🙂 \ud800"])
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert vectors.shape == (3, hashed.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_no_texts_give_no_rows():
    assert hashed.encode([]).shape == (0, hashed.dim)


def test_vectors_are_the_same_on_every_machine():
    np.testing.assert_array_equal(
        np.sign(hashed.encode(["cat"])[0, :16]), [1, 1, -1, -1, -1, -1, 1, -1, 1, -1, -1, -1, 1, 1, -1, -1]
    )


def test_the_instruction_decides_who_is_near():
    colour, thing = "Sort by colour: red or blue.", "Sort by thing: car or house."
    assert similarity("a red car", "the red house", colour) > similarity("a red car", "the blue car", colour)
    assert similarity("a red car", "the blue car", thing) > similarity("a red car", "the red house", thing)


def test_instructions_that_name_nothing_still_differ():
    first, second = hashed.encode(["a red car"] * 2, ["one", "two"])
    assert 0.9 < first @ second < 0.9999


def test_words_beyond_the_window_are_cut_and_told(caplog):
    words = [f"w{at}" for at in range(300)]
    long, cut = hashed.encode([" ".join(words), " ".join(words[: hashed.room()])])
    np.testing.assert_array_equal(long, cut)
    assert "1 of 2 texts" in caplog.text


def test_an_instruction_that_fills_the_window_is_refused():
    with pytest.raises(TooLong):
        hashed.encode(["text"], "word " * 256)


def test_it_needs_no_tokenizer():
    assert hashed.tokenizer is None
    assert hashed.count(["one two", ""]) == [2, 0]
