"""Many instructions on the same texts: read once, and the same vectors as when each is asked alone."""

import random

import numpy as np
import pytest
import torch
from tiny_answer_models import TEMPLATE, WINDOW, profile, tiny_llama, tiny_opt, tiny_roberta

from instructsearch.embed.answer import AnswerEmbedder
from instructsearch.embed.answer_branches import join, length, trunk
from instructsearch.embed.answer_network import AnswerNetwork
from instructsearch.embed.tokens import Tokens

LIKE = {
    "opt": "inbedder-opt-1.3b",
    "llama": "inbedder-llama2-7b",
    "mistral": "inbedder-llama2-7b",
    "roberta": "inbedder-roberta-large",
}
CAUSAL = ["opt", "llama"]
QUESTIONS = ["What is the colour of the house?", "Who is angry?", "Who is happy?", "How does the customer feel?"]
TEXTS = [
    "the cat sat on the mat",
    "a",
    "",
    "yes\n",
    "mat\n\n### Instr",
    "naïve 東京 \t\n",
    "the house of stone, and the cat",
    "the house of stone " * 200,
    "the cat sat on the mat",
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small only lose by sharing the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("answers")
    return {
        "opt": tiny_opt(base / "opt"),
        "llama": tiny_llama(base / "llama"),
        "mistral": tiny_llama(base / "mistral", window=24),
        "roberta": tiny_roberta(base / "roberta"),
    }


@pytest.fixture
def embedder(folders, request):
    return AnswerEmbedder(profile(folders[request.param], LIKE[request.param]), device="cpu", precision="float32")


@pytest.fixture
def seen(monkeypatch):
    """Every batch of branches that a network is given, as numpy arrays."""
    batches = []
    inner = AnswerNetwork.branch

    def spy(self, *arguments):
        batches.append([each.cpu().numpy() for each in arguments])
        return inner(self, *arguments)

    monkeypatch.setattr(AnswerNetwork, "branch", spy)
    return batches


def assert_same_as_alone(embedder, texts, instructions, role="document"):
    together = embedder.encode_many(texts, instructions, role)
    assert len(together) == len(instructions)
    for vectors, instruction in zip(together, instructions, strict=True):
        assert vectors.dtype == np.float32
        assert vectors.flags.c_contiguous
        np.testing.assert_allclose(vectors, embedder.encode(texts, instruction, role), atol=1e-5)


@pytest.mark.parametrize("embedder", CAUSAL, indirect=True)
@pytest.mark.parametrize("role", ["document", "query"])
def test_shared_reading_gives_the_vectors_of_whole_prompts(embedder, role):
    assert_same_as_alone(embedder, TEXTS, [*QUESTIONS, "", QUESTIONS[0]], role)
    assert embedder._proven == {role: True}


@pytest.mark.parametrize("embedder", CAUSAL, indirect=True)
def test_a_text_is_read_once_for_all_instructions(embedder, seen):
    embedder.encode_many(TEXTS[:1], QUESTIONS)
    seen.clear()
    embedder.encode_many(TEXTS[:1] * 3, QUESTIONS)
    [(ids, _, owners, _)] = seen
    whole = [embedder._tokeniser.tokenise([(each, TEXTS[0])], "document")[0] for each in QUESTIONS]
    shared = trunk(whole)
    assert ids.shape == (1, shared + sum(len(prompt.ids) - shared for prompt in whole))
    assert (owners == 0).sum() == shared
    text_and_head = embedder.count(["### Input:\n" + TEXTS[0]])[0]
    assert shared >= text_and_head  # and the words that every question follows


@pytest.mark.parametrize("budget", [1, 150, 100_000])
@pytest.mark.parametrize("embedder", CAUSAL, indirect=True)
def test_batches_keep_the_budget_and_do_not_change_the_vectors(embedder, budget, seen):
    expected = embedder.encode_many(TEXTS, QUESTIONS)
    seen.clear()
    embedder.budget = budget
    np.testing.assert_allclose(embedder.encode_many(TEXTS, QUESTIONS), expected, atol=1e-5)
    assert all(len(ids) == 1 or ids.size <= budget for ids, *_ in seen)


@pytest.mark.parametrize("embedder", ["llama"], indirect=True)
def test_the_order_of_texts_and_instructions_changes_no_vector(embedder):
    texts = [f"{text} {number}" for text in TEXTS[:7] for number in range(3)]
    shuffled = random.Random(1).sample(texts, len(texts))
    places = [shuffled.index(text) for text in texts]
    expected = embedder.encode_many(texts, QUESTIONS)
    for vectors, again in zip(expected, embedder.encode_many(shuffled, QUESTIONS), strict=True):
        np.testing.assert_array_equal(vectors, again[places])
    for vectors, again in zip(expected[::-1], embedder.encode_many(texts, QUESTIONS[::-1]), strict=True):
        np.testing.assert_allclose(vectors, again, atol=1e-6)


@pytest.mark.parametrize("embedder", ["opt"], indirect=True)
def test_more_instructions_than_fit_make_several_rounds(embedder, seen):
    embedder.spread = 40
    many = [f"{question} {number}" for question in QUESTIONS for number in range(4)]
    assert_same_as_alone(embedder, TEXTS[:7], many)
    rounds = {batch[3].shape[1] for batch in seen}
    assert max(rounds) < len(many)
    assert max((batch[2] > 0).sum(axis=1).max() for batch in seen) <= 40


@pytest.mark.parametrize("embedder", ["llama"], indirect=True)
def test_where_the_tokenizer_merges_text_and_template_the_shared_part_ends_before(embedder):
    head, tail = embedder.profile.around(QUESTIONS[0], "document")
    apart = [*embedder.tokenizer.encode(head + "yes\n").ids, *embedder.tokenizer.encode(tail).ids[1:]]
    prompts = [embedder._tokeniser.tokenise([(each, "yes\n")], "document")[0] for each in QUESTIONS]
    assert apart != prompts[0].ids.tolist()  # the border moved, so that caching the text's own tokens would be wrong
    assert_same_as_alone(embedder, ["yes\n", "mat\n\n### Instr", "mat "], QUESTIONS)


@pytest.mark.parametrize("embedder", ["llama"], indirect=True)
def test_texts_that_were_cut_are_asked_one_by_one_and_told_once(embedder, caplog, seen):
    assert_same_as_alone(embedder, [TEXTS[7], TEXTS[0]], QUESTIONS)
    assert all(len(ids) == 1 for ids, *_ in seen)
    caplog.clear()
    embedder.encode_many([TEXTS[7], TEXTS[0]], QUESTIONS)
    assert [f"{len(QUESTIONS)} of {len(QUESTIONS)} texts are longer" in each for each in caplog.messages] == [True]


@pytest.mark.parametrize("embedder", ["roberta"], indirect=True)
def test_a_model_that_looks_ahead_is_found_out_and_asked_one_by_one(embedder, seen, caplog):
    caplog.set_level("INFO", "instructsearch.embed")
    assert_same_as_alone(embedder, TEXTS, QUESTIONS)
    assert sum("reads a text anew for each instruction" in each for each in caplog.messages) == 1
    assert embedder._proven == {"document": False}
    assert len(seen) == 1  # the trial


@pytest.mark.parametrize("embedder", ["opt"], indirect=True)
def test_a_model_that_takes_no_mask_from_outside_is_asked_one_by_one(embedder, monkeypatch):
    def refuse(*_):
        raise TypeError("forward() got an unexpected keyword argument 'position_ids'")

    monkeypatch.setattr(AnswerNetwork, "branch", refuse)
    assert_same_as_alone(embedder, TEXTS, QUESTIONS)


@pytest.mark.parametrize("embedder", ["mistral"], indirect=True)
def test_texts_beyond_a_sliding_window_are_asked_one_by_one(embedder, seen):
    texts = ["a", "", "the house of 東京 and of 東京"]
    prompts = embedder._tokeniser.tokenise([(QUESTIONS[1], text) for text in texts], "document")
    assert [len(prompt.ids) > 24 for prompt in prompts] == [False, False, True]
    assert_same_as_alone(embedder, texts, QUESTIONS[1:3])
    assert all(ids.shape[0] == 2 for ids, *_ in seen)


def test_an_instruction_before_the_text_leaves_nothing_to_share(folders, seen):
    template = TEMPLATE.replace("{text}", "X").replace("{instruction}", "{text}").replace("X", "{instruction}")
    first = AnswerEmbedder(
        profile(folders["opt"], LIKE["opt"], document_template=template), device="cpu", precision="float32"
    )
    assert_same_as_alone(first, TEXTS, QUESTIONS)
    assert not seen


@pytest.mark.parametrize("embedder", ["opt"], indirect=True)
def test_other_poolings_share_too(folders, embedder):
    mean = AnswerEmbedder(profile(folders["opt"], LIKE["opt"], pooling="weighted"), device="cpu", precision="float32")
    assert_same_as_alone(mean, TEXTS, QUESTIONS)
    assert mean._proven == {"document": True}
    assert np.abs(mean.encode(TEXTS[:1], "Who?") - embedder.encode(TEXTS[:1], "Who?")).max() > 0.001


@pytest.mark.parametrize("embedder", ["opt"], indirect=True)
def test_progress_counts_every_vector_once(embedder):
    embedder.budget = 100
    told = []
    embedder.encode_many(TEXTS, [*QUESTIONS, ""], progress=told.append)
    assert len(told) > 3
    assert sum(told) == 5 * len(TEXTS)


@pytest.mark.parametrize("embedder", ["opt"], indirect=True)
def test_nothing_asked_gives_nothing(embedder):
    assert embedder.encode_many(TEXTS, []) == []
    assert [each.shape for each in embedder.encode_many([], QUESTIONS)] == [(0, 32)] * 4


@pytest.mark.parametrize("embedder", ["opt"], indirect=True)
@pytest.mark.parametrize(
    ("texts", "instructions"), [("one", ["a"]), (["one"], "a"), (["one"], [1]), ([b"one"], ["a", "b"])]
)
def test_what_is_no_list_of_strings_is_a_type_error(embedder, texts, instructions):
    with pytest.raises(TypeError):
        embedder.encode_many(texts, instructions)


def test_bfloat16_stays_as_near_as_whole_prompts_do(folders):
    halved = AnswerEmbedder(profile(folders["llama"], LIKE["llama"]), device="cpu", precision="bfloat16")
    for vectors, each in zip(halved.encode_many(TEXTS, QUESTIONS), QUESTIONS, strict=True):
        assert (vectors * halved.encode(TEXTS, each)).sum(axis=1).min() > 0.998


def test_a_tree_is_laid_out_trunk_first_and_each_branch_counts_on_from_it():
    prompts = [Tokens(np.array(ids, np.int32), 0, len(ids)) for ids in ([5, 6, 7, 8], [5, 6, 9], [5, 6, 7])]
    assert trunk(prompts) == 2
    assert length(prompts) == 2 + 2 + 1 + 1
    last = {id(prompt): np.eye(len(prompt.ids), dtype=np.float32)[-1] for prompt in prompts}
    batch = join(np.array([0, 1]), [prompts, prompts[:1] * 3], lambda prompt: last[id(prompt)], 99)
    assert batch.ids[0].tolist() == [5, 6, 7, 8, 9, 7]
    assert batch.positions[0].tolist() == [0, 1, 2, 3, 2, 2]
    assert batch.owners[0].tolist() == [0, 0, 1, 1, 2, 3]
    assert [row.tolist().index(1) for row in batch.weights[0]] == [3, 4, 5]
    assert batch.ids[1].tolist() == [5, 6, 7, 8, 8, 8]  # equal prompts: all but the last token is shared
    assert batch.owners[1].tolist() == [0, 0, 0, 1, 2, 3]


def test_the_window_holds_for_each_branch_and_not_for_their_sum(folders):
    embedder = AnswerEmbedder(profile(folders["opt"], LIKE["opt"]), device="cpu", precision="float32")
    many = [f"Who is angry? {number}" for number in range(20)]
    prompts = [embedder._tokeniser.tokenise([(each, TEXTS[0])], "document")[0] for each in many]
    assert length(prompts) > WINDOW + 10  # more than the learned positions of the model
    assert_same_as_alone(embedder, TEXTS[:2], many)
