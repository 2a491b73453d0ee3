"""Late interaction: MaxSim against sentence-transformers and against arithmetic; which tokens count, and under what."""

import logging
import shutil
import string
from dataclasses import replace

import numpy as np
import pytest
import tiny_families as tiny
import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from tiny_models import tiny_bert, wordpiece
from tiny_rerankers import PASSAGES, QUERY

from instructsearch import embed, rerank
from instructsearch.embed.encoder import Encoder
from instructsearch.errors import BadProfile, ModelDamaged
from instructsearch.rerank.late import LateInteraction

EXACT = {"device": "cpu", "precision": "float32"}
COLBERT = {
    "kind": "late",
    "template": ("[Q] {query}", "[D] {text}"),
    "markers": ("[Q]", "[D]"),
    "projection": "1_Dense",
    "query_tokens": 24,
    "document_tokens": 20,
    "max_tokens": 60,
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTRUCTSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("models") / "bert")


def late(folder, **changes):
    profile = replace(rerank.find("late"), name="tiny", embedder=str(folder), **changes)
    return LateInteraction(profile, **EXACT)


# --- over any embedder


def states(folder, text):
    """Unit token vectors of a text, special tokens included, by transformers alone."""
    with tiny.quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        found = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=32)).last_hidden_state[0]
    return torch.nn.functional.normalize(found, dim=-1)


@pytest.mark.parametrize("special", [True, False])
def test_the_score_is_the_sum_of_each_query_tokens_greatest_cosine(folder, special):
    inner = slice(None) if special else slice(1, -1)
    asked = states(folder, QUERY)[inner]
    expected = [
        float((asked @ held.T).amax(1).sum()) if len(held := states(folder, text)[inner]) else -float(len(asked))
        for text in PASSAGES
    ]
    np.testing.assert_allclose(late(folder, counts_special=special).score(QUERY, "", PASSAGES), expected, atol=1e-4)


def test_a_passage_is_scored_alike_alone_among_others_and_in_small_batches(folder):
    reranker = late(folder)
    alone = [reranker.score(QUERY, "", [text])[0] for text in PASSAGES]
    for reranker.budget in (1, 40, 10_000):
        np.testing.assert_allclose(reranker.score(QUERY, "", PASSAGES), alone, atol=1e-5)
        np.testing.assert_allclose(reranker.score(QUERY, "", PASSAGES[::-1]), alone[::-1], atol=1e-5)
    assert reranker.score(QUERY, "", []) == []


def test_a_query_beyond_the_window_is_read_whole_in_windows(folder):
    reranker = late(folder)
    words = ["cat", "dog", "mat", "red", "blue"] * 20
    whole = reranker.score(" ".join(words), "", ["the cat sat on the mat"])[0]
    first = reranker.score(" ".join(words[:25]), "", ["the cat sat on the mat"])[0]
    assert whole > 2 * first > 0
    assert whole <= len(words)


def test_what_has_no_utf_8_form_is_read_as_a_question_mark(folder):
    reranker = late(folder)
    assert reranker.score("cat \udcff " * 30, "", ["b \ud800"]) == reranker.score("cat ? " * 30, "", ["b ?"])


def test_bfloat16_gives_nearly_the_scores_of_float32(folder):
    profile = replace(rerank.find("late"), embedder=str(folder))
    rough = LateInteraction(profile, device="cpu", precision="bfloat16").score(QUERY, "", PASSAGES)
    np.testing.assert_allclose(rough, late(folder).score(QUERY, "", PASSAGES), atol=0.1)


def test_an_embedder_that_ignores_instructions_makes_a_reranker_that_says_so(folder, caplog):
    reranker = late(folder)
    assert not reranker.takes_instruction
    with caplog.at_level(logging.WARNING):
        told = reranker.score(QUERY, "by the colour of the late one", PASSAGES)
    assert told == reranker.score(QUERY, "", PASSAGES)
    assert "the reranker tiny ignores instructions: 'by the colour of the late one'" in caplog.text


def test_the_instruction_is_read_with_the_query_and_its_tokens_are_not_compared(folder, tmp_path):
    (tmp_path / "asked.toml").write_text(f'base = "{folder}"\nquery_template = "{{instruction}}: {{text}}"\n')
    reranker = late(tmp_path / "asked.toml", counts_special=False)
    assert reranker.takes_instruction
    instruction = "represent the colour red or blue"
    plain, told = (reranker.score("cat dog", each, PASSAGES) for each in ("", instruction))
    assert np.abs(np.subtract(plain, told)).max() > 0.01
    assert max(told) <= 2  # a token each for cat and dog, none for the instruction
    asked = states(folder, f"{instruction}: cat dog")[-3:-1]
    held = states(folder, PASSAGES[0])[1:-1]
    np.testing.assert_allclose(told[0], float((asked @ held.T).amax(1).sum()), atol=1e-4)


def test_a_layer_that_an_embedder_puts_on_its_vectors_is_put_on_each_token(tmp_path):
    from tiny_models import add_dense

    folder = add_dense(tiny_bert(tmp_path / "dense"), 16)
    layer = Encoder(embed.find(str(folder)), device="cpu").network().post[0]
    with torch.no_grad():
        asked, held = (
            torch.nn.functional.normalize(layer(_raw(folder, text)[1:-1]), dim=-1) for text in (QUERY, PASSAGES[0])
        )
    np.testing.assert_allclose(
        late(folder).score(QUERY, "", PASSAGES[:1]), [float((asked @ held.T).amax(1).sum())], atol=1e-4
    )


def _raw(folder, text):
    with tiny.quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModel.from_pretrained(folder).eval()
    return model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]


def test_late_is_said_with_any_embedder_by_name():
    assert rerank.find("late").embedder == "minilm"
    assert rerank.find("late:e5-small-v2").embedder == "e5-small-v2"
    with pytest.raises(BadProfile, match="hash is no pooled embedder"):
        rerank.load("late:hash")


def test_minilm_ranks_the_passage_that_answers_first():
    texts = ["Cats sleep most of the day.", "A handler that rotates log files by size.", "Ships sail."]
    scores = rerank.load("late", device="cpu").score("how do I rotate a log file?", "", texts)
    assert max(scores) == scores[1]


# --- ColBERT checkpoints against sentence-transformers


@pytest.fixture(scope="module")
def colbert(tmp_path_factory):
    """A ColBERT as sentence-transformers makes it: markers, mask fill, punctuation left out, a projection."""
    base, folder = (tmp_path_factory.mktemp("colbert") / name for name in ("base", "colbert"))
    tokenizer = wordpiece()
    tokenizer.add_special_tokens({"additional_special_tokens": ["[Q]", "[D]"]})
    config = transformers.BertConfig(**tiny.SIZES, max_position_embeddings=64, initializer_range=0.3)
    tiny.checkpoint(base, config, tokenizer)
    with tiny.quiet():
        torch.manual_seed(3)
        expansion = {"strategy": "fixed", "attend": False, "length": 24}
        modules = [
            Transformer(str(base), max_seq_length=60, query_expansion=expansion, document_length=20),
            Dense(32, 16, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings"),
            MultiVectorMask(skiplist_words=list(string.punctuation)),
            Normalize(module_input_name="token_embeddings"),
        ]
        model = MultiVectorEncoder(modules=modules, device="cpu", prompts={"query": "[Q] ", "document": "[D] "})
        model.save_pretrained(str(folder), create_model_card=False)
    return folder, model


@pytest.mark.parametrize("attends", [False, True])
def test_a_colbert_checkpoint_equals_sentence_transformers(colbert, attends):
    folder, model = colbert
    model[0].query_expansion = {**model[0].query_expansion, "attend": attends}
    with tiny.quiet():
        asked = model.encode_query([QUERY], show_progress_bar=False)
        held = model.encode_document(PASSAGES, show_progress_bar=False)
        expected = model.similarity(asked, held)[0].numpy()
    facts = {**COLBERT, "name": "colbert", "model": str(folder), "counts_punctuation": False, "attends_fill": attends}
    ours = LateInteraction(rerank.RerankProfile(**facts), **EXACT)
    np.testing.assert_allclose(ours.score(QUERY, "", PASSAGES), expected, atol=1e-4)


def test_a_projection_in_the_checkpoints_own_file_is_the_same_as_one_in_a_folder(colbert, tmp_path):
    folder, _ = colbert
    flat = shutil.copytree(folder, tmp_path / "flat")
    weights = load_file(flat / "model.safetensors")
    weights["linear.weight"] = load_file(flat / "1_Dense" / "model.safetensors")["linear.weight"]
    save_file(weights, flat / "model.safetensors", {"format": "pt"})
    profile = rerank.RerankProfile(**{**COLBERT, "name": "colbert", "model": str(folder)})
    flattened = replace(profile, model=str(flat), projection="linear.weight")
    one, other = (LateInteraction(each, **EXACT).score(QUERY, "", PASSAGES) for each in (profile, flattened))
    np.testing.assert_allclose(one, other, atol=1e-6)
    with pytest.raises(ModelDamaged, match="neither a folder nor a weight 'nothing' to project with"):
        LateInteraction(replace(profile, projection="nothing"), **EXACT)


def test_a_marker_stays_one_token_whatever_the_tokenizer_would_make_of_it(colbert):
    folder, _ = colbert
    profile = rerank.RerankProfile(**{**COLBERT, "name": "colbert", "model": str(folder)})
    shattered = replace(profile, template=("sat cat {query}", "{text}"), markers=("sat cat",))
    ours = LateInteraction(shattered, **EXACT)
    [row] = ours._tokenisers["query"].tokenise([("", "dog")], "query")
    assert len(row.ids) == 4  # [CLS] marker dog [SEP]


def test_a_query_cannot_be_filled_up_without_a_mask_token(tmp_path):
    folder = tiny.llama(tmp_path / "llama")
    facts = {**COLBERT, "name": "colbert", "model": str(folder), "projection": "", "markers": ()}
    with pytest.raises(BadProfile, match="its tokenizer has none"):
        LateInteraction(rerank.RerankProfile(**facts), **EXACT)
