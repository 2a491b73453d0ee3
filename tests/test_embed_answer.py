"""Embed-by-answer against the published recipe of InBedder in plain transformers, and what must not change a vector."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import transformers
from tiny_answer_models import TEMPLATE, WINDOW, profile, tiny_llama, tiny_opt, tiny_roberta

from instructsearch import embed, plugins
from instructsearch.embed.answer import AnswerEmbedder
from instructsearch.errors import BadProfile, TooLong

MODELS = {
    "opt": (tiny_opt, "inbedder-opt-1.3b"),
    "llama": (tiny_llama, "inbedder-llama2-7b"),
    "roberta": (tiny_roberta, "inbedder-roberta-large"),
}
CAUSAL = ["opt", "llama"]
TEXTS = [
    "the cat sat on the mat",
    "a",
    "",
    "Who is angry? ",
    "the house of stone " * 30,
    "naïve 東京 \t\n",
    "{instruction} is no slot here",
    "the cat sat on the mat.\n",
]
QUESTIONS = ["What is the colour of the house?", "Who is angry?", "How does the customer feel?"]


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
    return {name: make(base / name) for name, (make, _) in MODELS.items()}


@pytest.fixture(scope="module")
def embedders(folders):
    return {
        name: AnswerEmbedder(profile(folders[name], like), device="cpu", precision="float32")
        for name, (_, like) in MODELS.items()
    }


def normalised(states):
    return torch.nn.functional.normalize(states, dim=-1).numpy()


@cache
def loaded(kind, folder):
    return kind.from_pretrained(folder).eval()


@torch.inference_mode()
def causal(folder, prompts, layer=None):
    """Follow CausalLMEncoder with `fst_gen_layer_L`: the state of the last prompt token, as `generate` returns it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left", truncation_side="left")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id
    model = loaded(transformers.AutoModelForCausalLM, folder)
    features = tokenizer(prompts, padding=True, truncation=True, max_length=WINDOW, return_tensors="pt")
    features.pop("token_type_ids", None)
    outputs = model.generate(
        **features,
        max_new_tokens=2,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id,
        return_dict_in_generate=True,
        output_hidden_states=True,
    )
    return normalised(outputs.hidden_states[0][-1 if layer is None else layer][:, -1])


@torch.inference_mode()
def masked(folder, prompts, layer=None):
    """Follow MaskededLMEncoder with `avg_gen_layer_L`: the mean over three masks after the prompt."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="right", truncation_side="left")
    model = loaded(transformers.AutoModelForMaskedLM, folder)
    prompts = [prompt + tokenizer.mask_token * 3 for prompt in prompts]
    features = tokenizer(prompts, padding=True, truncation=True, max_length=WINDOW, return_tensors="pt")
    states = model(**features, output_hidden_states=True).hidden_states[-1 if layer is None else layer]
    places = features["input_ids"] == tokenizer.mask_token_id
    return normalised(torch.stack([row[place].mean(0) for row, place in zip(states, places, strict=True)]))


def reference(name, folder, prompts, layer=None):
    return (masked if name == "roberta" else causal)(folder, prompts, layer)


def asked(texts, question):
    return [TEMPLATE.replace("{instruction}", question).replace("{text}", text) for text in texts]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_vectors_equal_the_published_recipe(name, question, folders, embedders):
    ours = embedders[name].encode(TEXTS, question)
    np.testing.assert_allclose(ours, reference(name, folders[name], asked(TEXTS, question)), atol=1e-5)
    assert np.abs(ours[0] - ours[1]).max() > 0.01


@pytest.mark.parametrize("name", MODELS)
def test_without_an_instruction_the_text_alone_is_given_as_in_the_authors_evaluation(name, folders, embedders):
    np.testing.assert_allclose(embedders[name].encode(TEXTS), reference(name, folders[name], TEXTS), atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_one_question_for_each_text_in_one_batch_equals_the_published_recipe(name, folders, embedders):
    questions = [QUESTIONS[at % len(QUESTIONS)] for at in range(len(TEXTS))]
    prompts = [asked([text], question)[0] for text, question in zip(TEXTS, questions, strict=True)]
    np.testing.assert_allclose(
        embedders[name].encode(TEXTS, questions), reference(name, folders[name], prompts), atol=1e-5
    )


@pytest.mark.parametrize("name", MODELS)
def test_queries_are_asked_as_documents_are(name, embedders):
    both = [embedders[name].encode(TEXTS, QUESTIONS[0], role) for role in ("query", "document")]
    np.testing.assert_allclose(*both, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_text_alone_is_as_among_others(name, folders):
    embedder = AnswerEmbedder(profile(folders[name], MODELS[name][1]), device="cpu", precision="float32")
    alone = np.concatenate([embedder.encode([text], QUESTIONS[0]) for text in TEXTS])
    for budget in (1, 200, 10_000):
        embedder.budget = budget
        np.testing.assert_allclose(embedder.encode(TEXTS, QUESTIONS[0]), alone, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_question_changes_the_vector(name, embedders):
    vectors = [embedders[name].encode(["the cat sat on the mat"], each)[0] for each in ("", *QUESTIONS)]
    cosines = np.array(vectors) @ np.array(vectors).T
    assert cosines[~np.eye(len(vectors), dtype=bool)].max() < 0.999


@pytest.mark.parametrize("name", MODELS)
def test_a_long_text_loses_its_head_and_never_the_question_or_the_place_of_the_answer(name, embedders, caplog):
    tokeniser = embedders[name]._tokeniser
    text = "the cat sat on the mat " * 200 + "Who is angry?"
    [row] = tokeniser.tokenise([(QUESTIONS[0], text)], "document")
    kept = tokeniser.tokenizer.decode(row.ids.tolist(), skip_special_tokens=False)
    tail = "Who is angry?\n\n### Instruction:\nWhat is the colour of the house?\n\n### Response:"
    assert len(row.ids) == WINDOW
    assert row.cut
    assert kept.endswith(tail + "<mask><mask><mask></s>" * (name == "roberta"))
    assert row.ids[0] == {"opt": 2, "llama": 1, "roberta": 0}[name]
    assert tokeniser.weights(row).astype(bool).sum() == (3 if name == "roberta" else 1)
    embedders[name].encode([text], QUESTIONS[0])
    assert "1 of 1 texts are longer than the window" in caplog.text


@pytest.mark.parametrize("name", MODELS)
def test_a_question_that_fills_the_window_is_refused(name, embedders):
    with pytest.raises(TooLong, match="leaves none for the text"):
        embedders[name].encode(["a"], "Who is angry? " * 40)
    with pytest.raises(TooLong):
        embedders[name].encode_many(["a"], ["Who?", "Who is angry? " * 40])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_layer_before_the_last_equals_the_hidden_states_of_transformers(name, layer, folders):
    deep = AnswerEmbedder(profile(folders[name], MODELS[name][1], layer=layer), device="cpu", precision="float32")
    expected = reference(name, folders[name], asked(TEXTS, QUESTIONS[0]), layer)
    np.testing.assert_allclose(deep.encode(TEXTS, QUESTIONS[0]), expected, atol=1e-5)


@pytest.mark.parametrize("layer", [-1, 4])
def test_a_layer_that_the_model_does_not_have_is_refused(layer, folders):
    with pytest.raises(BadProfile, match=f"layer is {layer}, and the model has 3"):
        AnswerEmbedder(profile(folders["opt"], "inbedder-opt-1.3b", layer=layer), device="cpu")


def test_the_states_that_are_taken_are_part_of_the_fingerprint_and_are_not_for_every_kind(folders):
    plain = profile(folders["opt"], "inbedder-opt-1.3b")
    others = [replace(plain, layer=2), replace(plain, truncates_head=False), replace(plain, pooling="mean")]
    assert len({plain.fingerprint, *(each.fingerprint for each in others)}) == 4
    with pytest.raises(BadProfile, match="by kind 'answer' only"):
        replace(plain, layer=2, kind="encoder")


@pytest.mark.parametrize("masks", [1, 5])
def test_the_number_of_masks_is_the_templates(masks, folders, embedders):
    template = TEMPLATE + "<mask>" * masks
    other = AnswerEmbedder(
        profile(folders["roberta"], "inbedder-roberta-large", document_template=template, query_template=template),
        device="cpu",
    )
    [row] = other._tokeniser.tokenise([(QUESTIONS[0], "a cat")], "document")
    assert other._tokeniser.weights(row).astype(bool).sum() == masks
    three = embedders["roberta"].encode(["a cat"], QUESTIONS[0])
    assert np.abs(other.encode(["a cat"], QUESTIONS[0]) - three).max() > 0.001


def test_mask_pooling_without_a_mask_in_the_template_is_refused(folders):
    with pytest.raises(BadProfile, match="holds no mask token"):
        AnswerEmbedder(
            profile(folders["roberta"], "inbedder-roberta-large", document_template=TEMPLATE), device="cpu"
        ).encode(["a"], "Who?")


def test_the_kind_loads_by_name_and_the_profiles_say_which_states_they_take(folders):
    known = [each for each in embed.profiles() if each.kind == "answer"]
    assert {each.name: (each.pooling, each.padding_side, each.dim) for each in known} == {
        "inbedder-roberta-large": ("mask", "right", 1024),
        "inbedder-opt-1.3b": ("last", "left", 2048),
        "inbedder-opt-2.7b": ("last", "left", 2560),
        "inbedder-llama2-7b": ("last", "left", 4096),
    }
    assert plugins.load("embedders", "answer") is AnswerEmbedder
    assert isinstance(embed.load(profile(folders["opt"], "inbedder-opt-1.3b"), device="cpu"), AnswerEmbedder)
