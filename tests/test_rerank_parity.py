"""Every kind of reranker against its reference implementation, on tiny random checkpoints of the real architectures."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_families as tiny
import tiny_rerankers
import torch
import transformers
from sentence_transformers import CrossEncoder as Reference
from tiny_rerankers import PASSAGES, QUERY

from instructsearch import rerank
from instructsearch.rerank.cross import CrossEncoder
from instructsearch.rerank.verdict import CausalVerdict, Seq2SeqVerdict

EXACT = {"device": "cpu", "precision": "float32"}
FAMILIES = ["bert", "electra", "xlm-roberta", "deberta", "modernbert", "qwen3"]
INSTRUCTION = "Represent the cats, not the dogs"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTRUCTSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder for checkpoints, each made once."""
    base = tmp_path_factory.mktemp("models")

    def made(name, maker, *arguments):
        folder = base / name
        return folder if folder.exists() else maker(folder, *arguments)

    return made


def reference(folder, query=QUERY, texts=PASSAGES, **arguments):
    with tiny.quiet():
        model = Reference(str(folder), device="cpu")
        return model.predict([(query, text) for text in texts], show_progress_bar=False, **arguments)


# --- cross-encoders against sentence-transformers


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cross_encoder_equals_sentence_transformers(models, family):
    folder = models(family, tiny_rerankers.cross, family)
    ours = CrossEncoder(rerank.find(str(folder)), **EXACT)
    expected = reference(folder)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(ours.score(QUERY, "", PASSAGES), expected, atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "modernbert"])
def test_a_passage_beyond_the_window_is_cut_as_sentence_transformers_cuts_it(models, family):
    folder = models(family, tiny_rerankers.cross, family)
    texts = ["the cat sat on the mat " * 40, "the dog " * 300, "short"]
    ours = CrossEncoder(rerank.find(str(folder)), **EXACT)
    np.testing.assert_allclose(ours.score(QUERY, "", texts), reference(folder, texts=texts), atol=1e-4)


@pytest.mark.parametrize("activation", ["Identity", "Sigmoid", "Tanh"])
def test_the_activation_that_a_folder_names_is_applied(models, tmp_path, activation):
    base = models("bert", tiny_rerankers.cross, "bert")
    folder = tiny_rerankers.saved(base, tmp_path / "saved", activation_fn=getattr(torch.nn, activation)())
    ours = CrossEncoder(rerank.find(str(folder)), **EXACT)
    np.testing.assert_allclose(ours.score(QUERY, "", PASSAGES), reference(folder), atol=1e-4)


def test_a_prompt_that_a_folder_always_puts_before_the_query_is_put_there(models, tmp_path):
    base = models("bert", tiny_rerankers.cross, "bert")
    folder = tiny_rerankers.saved(base, tmp_path / "saved", prompts={"ask": "red: "}, default_prompt_name="ask")
    ours = CrossEncoder(rerank.find(str(folder)), **EXACT)
    np.testing.assert_allclose(ours.score(QUERY, "", PASSAGES), reference(folder), atol=1e-4)
    plain = CrossEncoder(rerank.find(str(base)), **EXACT).score(QUERY, "", PASSAGES)
    assert np.abs(np.subtract(ours.score(QUERY, "", PASSAGES), plain)).max() > 1e-3


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
@pytest.mark.parametrize(("precision", "near"), [("float32", 1e-4), ("bfloat16", 0.05)])
def test_the_fused_network_gives_the_scores_of_the_plain_one(models, family, precision, near):
    profile = rerank.find(str(models(family, tiny_rerankers.cross, family)))
    fused = CrossEncoder(profile, device="cpu", precision=precision)
    plain = CrossEncoder(profile, **EXACT, fused=False)
    np.testing.assert_allclose(fused.score(QUERY, "", PASSAGES), plain.score(QUERY, "", PASSAGES), atol=near)


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_gives_nearly_the_same_scores_and_no_more_ties(models, family):
    profile = replace(rerank.find(str(models(family, tiny_rerankers.cross, family))), activation="identity")
    texts = [f"the cat sat on {n} mats" for n in range(120)]
    rough, exact = (CrossEncoder(profile, device="cpu", precision=each) for each in ("bfloat16", "float32"))
    found, expected = (np.array(each.score(QUERY, "", texts)) for each in (rough, exact))
    assert np.abs(found - expected).max() < 0.2 * max(1, np.abs(expected).max())
    assert len(set(found)) >= 0.9 * len(set(expected))


# --- Qwen3-Reranker against the recipe of its model card


def qwen3_card(folder, query, texts, task):
    """The transformers recipe of the model card, its steps in its order."""
    with tiny.quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    system = (
        "Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the"
        ' answer can only be "yes" or "no".'
    )
    prefix = tokenizer.encode(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n", add_special_tokens=False)
    suffix = tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", add_special_tokens=False)
    pairs = [f"<Instruct>: {task}\n<Query>: {query}\n<Document>: {text}" for text in texts]
    rows = tokenizer(pairs, padding=False, return_attention_mask=False)["input_ids"]
    inputs = tokenizer.pad({"input_ids": [prefix + row + suffix for row in rows]}, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[:, -1, :]
    two = logits[:, [tokenizer.convert_tokens_to_ids("no"), tokenizer.convert_tokens_to_ids("yes")]]
    return torch.softmax(two, dim=1)[:, 1].numpy()


def test_qwen3_reranker_gives_the_probability_of_yes_of_its_model_card(models):
    folder = models("qwen3-reranker", tiny_rerankers.qwen3_reranker)
    ours = CausalVerdict(rerank.find(f"qwen3-reranker-0.6b={folder}"), **EXACT)
    expected = qwen3_card(folder, QUERY, PASSAGES, INSTRUCTION)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(ours.score(QUERY, INSTRUCTION, PASSAGES), expected, atol=1e-4)


def test_qwen3_reranker_without_an_instruction_gets_the_one_of_its_model_card(models):
    folder = models("qwen3-reranker", tiny_rerankers.qwen3_reranker)
    ours = CausalVerdict(rerank.find(f"qwen3-reranker-0.6b={folder}"), **EXACT)
    task = "Given a web search query, retrieve relevant passages that answer the query"
    expected = qwen3_card(folder, QUERY, PASSAGES, task)
    np.testing.assert_allclose(ours.score(QUERY, "", PASSAGES), expected, atol=1e-4)
    assert np.abs(np.subtract(ours.score(QUERY, INSTRUCTION, PASSAGES), expected)).max() > 1e-3


# --- mxbai-rerank v2 against the recipe of its package


def mxbai_card(folder, query, texts, instruction):
    """The steps of mxbai_rerank_v2.py: each piece is tokenised by itself, and padding is to a multiple of 8."""
    with tiny.quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    task = (
        "You are a search relevance expert who evaluates how well documents match search queries. For each"
        " query-document pair, carefully analyze the semantic relationship between them, then provide your binary"
        " relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
    )
    prefix = ids(
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n"
    )
    tail = ids("\n") + ids(task) + ids("<|im_end|>\n<|im_start|>assistant\n")
    asked = f"instruction: {instruction}\nquery: {query}" if instruction else f"query: {query}"
    rows = [prefix + ids(asked) + ids("\n") + ids(f"document: {text}") + tail for text in texts]
    inputs = tokenizer.pad({"input_ids": rows}, pad_to_multiple_of=8, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[:, -1]
    return (logits[:, ids("1")[0]] - logits[:, ids("0")[0]]).numpy()


@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
@pytest.mark.parametrize("query", [QUERY, "what is it?", "blanks at the end  "])
def test_mxbai_rerank_v2_gives_the_logits_of_its_package(models, query, instruction):
    folder = models("mxbai", tiny_rerankers.mxbai_reranker)
    ours = CausalVerdict(rerank.find(f"mxbai-rerank-base-v2={folder}"), **EXACT)
    expected = mxbai_card(folder, query, PASSAGES, instruction)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(ours.score(query, instruction, PASSAGES), expected, atol=1e-4)


def test_bge_reranker_gemma_gives_the_logit_of_yes(models):
    folder = models("gemma", tiny_rerankers.gemma_reranker)
    ours = CausalVerdict(rerank.find(f"bge-reranker-v2-gemma={folder}"), **EXACT)
    with tiny.quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    ask = (
        "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a"
        " prediction of either 'Yes' or 'No'."
    )
    expected = []
    for text in PASSAGES:
        row = [tokenizer.bos_token_id, *ids(f"A: {QUERY}"), *ids("\n"), *ids(f"B: {text}"), *ids("\n"), *ids(ask)]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row])).logits[0, -1]
        expected.append(float(logits[tokenizer.convert_tokens_to_ids("Yes")]))
    np.testing.assert_allclose(ours.score(QUERY, "", PASSAGES), expected, atol=1e-4)


# --- monoT5 against the recipe of its authors' code


def test_monot5_gives_the_log_probability_of_true_of_its_authors_code(models):
    folder = models("monot5", tiny_rerankers.monot5)
    ours = Seq2SeqVerdict(rerank.find(f"monot5-base={folder}"), **EXACT)
    with tiny.quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompts = [f"Query: {QUERY} Document: {text} Relevant:" for text in PASSAGES]
    inputs = tokenizer(prompts, padding=True, return_tensors="pt")
    start = torch.full((len(prompts), 1), model.config.decoder_start_token_id)
    with torch.no_grad():
        logits = model(**inputs, decoder_input_ids=start).logits[:, -1]
    two = logits[:, tokenizer.convert_tokens_to_ids(["▁false", "▁true"])]
    expected = torch.log_softmax(two, dim=1)[:, 1].numpy()
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(ours.score(QUERY, "", PASSAGES), expected, atol=1e-4)
