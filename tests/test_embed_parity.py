"""Every family of built-in profiles against sentence-transformers on the same weights, to 1e-5 in float32.

Each case writes the family's real architecture, tiny and random, and asks for the same texts: under the family's own
prompts, written out here and not taken from the profile, with none, in mixed batches, beyond the window, padded on
either side.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tiny_families as tiny
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, processors
from torch import nn

from instructsearch import embed
from instructsearch.embed.encoder import Encoder

WINDOW = 48
TEXTS = [
    "the cat sat on the mat",
    "a",
    "",
    "red, blue; colour? yes!",
    "zebra-crossing 42 naïve 東京 \t\n",
    "the dog is not what it was, " * 12,
    "where",
]
ASKED = ["Given a question, find what answers it", "is it about cats?"]


def fixed(prompt: str) -> Callable[[str], str]:
    """Return a prompt that no instruction changes."""
    return lambda instruction: prompt


def instructed(form: str, plain: str = "") -> Callable[[str], str]:
    """Return a prompt that holds the instruction, or `plain` where there is none."""
    return lambda instruction: form.format(instruction) if instruction else plain


@dataclass(frozen=True)
class Family:
    """One profile and what sentence-transformers is to be told to do the same."""

    profile: str
    base: Callable[[Path], Path]
    pooling: str
    query: Callable[[str], str]
    document: Callable[[str], str]
    include_prompt: bool = True
    bidirectional: bool = False
    ends: str = ""  # what the reference's tokenizer must be made to append
    dense: tuple = ()
    texts: tuple[str, ...] = tuple(TEXTS)

    def __str__(self) -> str:
        return self.profile


QWEN = instructed("Instruct: {}\nQuery:")
E5 = instructed("Instruct: {}\nQuery: ")
NONE = fixed("")
BGE = fixed("Represent this sentence for searching relevant passages: ")
GRIT = instructed("<|user|>\n{}\n<|embed|>\n", "<|embed|>\n")
FAMILIES = [
    Family(
        "instructor-large",
        tiny.t5,
        "mean",
        *(instructed("{}"), instructed("{}")),
        include_prompt=False,
        dense=((24, False, nn.Identity),),
    ),
    Family(
        "gritlm-7b",
        tiny.mistral,
        "mean",
        GRIT,
        GRIT,
        include_prompt=False,
        bidirectional=True,
        texts=(*TEXTS[:2], *TEXTS[3:]),
    ),
    Family("e5-mistral-7b", tiny.mistral, "lasttoken", E5, E5, ends="</s>"),
    Family("multilingual-e5-large-instruct", tiny.xlm_roberta, "mean", E5, E5),
    Family("qwen3-embedding-0.6b", tiny.qwen3, "lasttoken", QWEN, QWEN),
    Family("gte-qwen2-1.5b", tiny.qwen2, "lasttoken", E5, E5, ends="<|endoftext|>"),
    Family("gte-qwen2-7b", tiny.qwen2, "lasttoken", E5, E5, ends="<|endoftext|>", bidirectional=True),
    Family(
        "stella-1.5b",
        tiny.qwen2,
        "mean",
        E5,
        E5,
        ends="<|endoftext|>",
        bidirectional=True,
        dense=((24, True, nn.Identity),),
    ),
    Family(
        "embeddinggemma-300m",
        tiny.gemma3,
        "mean",
        instructed("task: {} | query: ", "task: search result | query: "),
        instructed("task: {} | query: ", "title: none | text: "),
        dense=((48, False, nn.Identity), (32, False, nn.Identity)),
    ),
    Family("e5-base-v2", tiny.bert, "mean", fixed("query: "), fixed("passage: ")),
    Family("multilingual-e5-small", tiny.xlm_roberta, "mean", fixed("query: "), fixed("passage: ")),
    Family("bge-base-en-v1.5", tiny.bert, "cls", BGE, NONE),
    Family("mxbai-embed-large", tiny.bert, "cls", BGE, NONE),
    Family("arctic-embed-m", tiny.bert, "cls", BGE, NONE),
    Family("arctic-embed-m-long", tiny.nomic_bert, "cls", BGE, NONE),
    Family("arctic-embed-l-v2", tiny.xlm_roberta, "cls", fixed("query: "), NONE),
    Family("modernbert-embed-base", tiny.modernbert, "mean", fixed("search_query: "), fixed("search_document: ")),
    Family("gte-modernbert-base", tiny.modernbert, "cls", NONE, NONE),
    Family("all-mpnet-base", tiny.mpnet, "mean", NONE, NONE),
    Family("gte-small", tiny.bert, "mean", NONE, NONE),
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Models this small are slower on many threads, and very slow on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Return a function that writes a family's base once."""
    made: dict[str, Path] = {}
    root = tmp_path_factory.mktemp("bases")

    def base(maker):
        if maker.__name__ not in made:
            made[maker.__name__] = maker(root / maker.__name__)
        return made[maker.__name__]

    return base


@pytest.fixture(scope="module")
def pair(request, bases, tmp_path_factory):
    """Return a family, its reference, and a function that makes ours of the same weights."""
    family: Family = request.param
    folder = tmp_path_factory.mktemp("models")
    plain = bases(family.base)
    told = shutil.copytree(plain, folder / "told")  # what the reference must be told and our profile says by itself
    if family.ends:
        _end_by(told, family.ends)
    if family.bidirectional:
        _edit(told / "config.json", is_causal=False)
    saved = tiny.sentence_transformer(
        told,
        folder / "reference",
        family.pooling,
        include_prompt=family.include_prompt,
        dense=family.dense,
        window=WINDOW,
    )
    reference = SentenceTransformer(str(saved), device="cpu")
    for path in saved.glob("*_Dense"):
        shutil.copytree(path, plain / path.name, dirs_exist_ok=True)
        shutil.copytree(path, plain / f"{path.name}_{family.dense[-1][0]}", dirs_exist_ok=True)
    return family, reference, lambda **changes: ours(family.profile, plain, reference, **changes)


def ours(name: str, folder: Path, reference: SentenceTransformer, **changes) -> Encoder:
    profile = replace(
        embed.find(name), model=str(folder), revision="", dim=reference.get_embedding_dimension(), max_tokens=WINDOW
    )
    return Encoder(replace(profile, **changes), device="cpu", precision="float32")


def _end_by(folder: Path, token: str) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    before = "<s> " if tokenizer.encode("a").ids[0] == tokenizer.token_to_id("<s>") else ""
    special = [(each, tokenizer.token_to_id(each)) for each in (before.strip(), token) if each]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{before}$A {token}", special_tokens=special)
    tokenizer.save(str(folder / "tokenizer.json"))


def _edit(path: Path, **facts) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def expected(reference: SentenceTransformer, texts, prompt: str) -> np.ndarray:
    return reference.encode(texts, prompt=prompt, normalize_embeddings=True, show_progress_bar=False)


every = pytest.mark.parametrize("pair", FAMILIES, indirect=True, ids=str)
instructable = pytest.mark.parametrize(
    "pair", [each for each in FAMILIES if embed.find(each.profile).takes_instruction], indirect=True, ids=str
)
ROTARY = (tiny.t5, tiny.nomic_bert, tiny.modernbert, tiny.mistral, tiny.qwen2, tiny.qwen3, tiny.gemma3)


@pytest.mark.parametrize(
    ("pair", "side"),
    [(each, side) for each in FAMILIES for side in ("right", "left") if side == "right" or each.base in ROTARY],
    indirect=["pair"],
    ids=str,
)
def test_every_instruction_role_and_padding_gives_the_reference_vectors(pair, side):
    family, reference, make = pair
    encoder = make(padding_side=side)
    texts = list(family.texts)
    for role, prompt in (("query", family.query), ("document", family.document)):
        for instruction in ("", *(ASKED if encoder.profile.heeds(role) else ())):
            theirs = expected(reference, texts, prompt(instruction))
            np.testing.assert_allclose(encoder.encode(texts, instruction, role), theirs, atol=1e-5, err_msg=role)


@instructable
def test_a_batch_of_mixed_instructions_gives_the_reference_vectors(pair):
    family, reference, make = pair
    encoder = make()
    pairs = [(each, text) for text in family.texts for each in ("", *ASKED)]
    mixed = encoder.encode([text for _, text in pairs], [each for each, _ in pairs], "query")
    for instruction in ("", *ASKED):
        rows = [at for at, (each, _) in enumerate(pairs) if each == instruction]
        theirs = expected(reference, [pairs[at][1] for at in rows], family.query(instruction))
        np.testing.assert_allclose(mixed[rows], theirs, atol=1e-5)


@every
def test_the_reference_is_told_apart_by_what_a_profile_says(pair):
    """A profile that says something else fails this comparison, or the comparison would prove nothing."""
    family, reference, make = pair
    changes: dict[str, object] = {"pooling": "cls" if family.pooling == "mean" else "mean"}
    if family.ends:
        changes = {"add_eos": False}
    elif family.bidirectional:
        changes = {"attention": "causal"}
    elif not family.include_prompt:
        changes = {"pool_includes_instruction": True}
    instruction = ASKED[0] if make().profile.heeds("query") else ""
    theirs = expected(reference, TEXTS[:2], family.query(instruction))
    assert np.abs(make(**changes).encode(TEXTS[:2], instruction, "query") - theirs).max() > 1e-3


@pytest.mark.parametrize("instruction", ["Represent the cat for retrieval: ", "Represent; ", "Represent the title:  "])
def test_instructor_joins_instruction_and_text_as_sentence_transformers_does(instructor, instruction):
    encoder, reference = instructor
    theirs = expected(reference, TEXTS, instruction)
    np.testing.assert_allclose(encoder.encode(TEXTS, instruction), theirs, atol=1e-5)


@pytest.mark.parametrize("instruction", ["Represent the Science title:", "Represent the mat"])
def test_without_a_blank_what_counts_as_the_text_is_where_its_characters_lie(instructor, instruction):
    encoder, _ = instructor
    row = encoder._tokeniser.tokenise([(instruction, "where")], "document")[0]
    spoken = [encoder.tokenizer.id_to_token(each) for each in row.ids[row.first : row.last]]
    assert "".join(spoken) == "where</s>"


@pytest.fixture(scope="module")
def instructor(bases, tmp_path_factory):
    saved = tiny.sentence_transformer(
        bases(tiny.t5),
        tmp_path_factory.mktemp("instructor") / "st",
        "mean",
        include_prompt=False,
        dense=((24, False, nn.Identity),),
        window=WINDOW,
    )
    reference = SentenceTransformer(str(saved), device="cpu")
    return ours("instructor-base", saved, reference), reference


def test_matryoshka_dimensions_equal_truncation_by_sentence_transformers(bases, tmp_path):
    saved = tiny.sentence_transformer(bases(tiny.qwen3), tmp_path / "st", "lasttoken", window=WINDOW)
    reference = SentenceTransformer(str(saved), device="cpu", truncate_dim=8)
    encoder = ours("qwen3-embedding-0.6b", saved, reference, dim=8)
    theirs = reference.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(encoder.encode(TEXTS), theirs, atol=1e-5)


def test_nomic_norms_its_layer_before_it_cuts_as_its_card_says(bases, tmp_path):
    saved = tiny.sentence_transformer(bases(tiny.nomic_bert), tmp_path / "st", "mean", normalize=False, window=WINDOW)
    reference = SentenceTransformer(str(saved), device="cpu")
    raw = reference.encode(TEXTS, prompt="search_query: ", convert_to_tensor=True, show_progress_bar=False)
    for dim in (32, 8):
        normed = nn.functional.layer_norm(raw, (32,))[:, :dim]
        encoder = ours("nomic-embed-v1.5", saved, reference, dim=dim)
        theirs = nn.functional.normalize(normed, dim=1).numpy()
        np.testing.assert_allclose(encoder.encode(TEXTS, role="query"), theirs, atol=1e-5)


@pytest.mark.parametrize("dim", [24, 40])
def test_stella_gives_each_dimension_by_a_head_of_its_own(bases, tmp_path, dim):
    plain = bases(tiny.qwen2)
    told = shutil.copytree(plain, tmp_path / "told")
    _end_by(told, "<|endoftext|>")
    _edit(told / "config.json", is_causal=False)
    heads = tmp_path / "heads"
    references = {}
    shutil.copytree(plain, heads, ignore=shutil.ignore_patterns("*_Dense*"))
    for width in (24, 40):
        saved = tiny.sentence_transformer(told, tmp_path / str(width), "mean", dense=((width, True, nn.Identity),))
        shutil.copytree(saved / "2_Dense", heads / f"2_Dense_{width}")
        references[width] = SentenceTransformer(str(saved), device="cpu")
    profile = replace(
        embed.find("stella-1.5b"), model=str(heads), revision="", dim=24, dims=(24, 40), max_tokens=WINDOW
    )
    encoder = Encoder(profile.at(dim), device="cpu", precision="float32")
    np.testing.assert_allclose(encoder.encode(TEXTS), expected(references[dim], TEXTS, ""), atol=1e-5)
