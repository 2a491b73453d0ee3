"""Cross-encoder folders: read by their own files, refused by the name of what is missing; windows, batches, deltas."""

import json
import shutil

import numpy as np
import pytest
import tiny_families as tiny
import tiny_rerankers
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import tiny_bert
from tiny_rerankers import PASSAGES, QUERY, write

from instructsearch import rerank
from instructsearch.embed.delta import write as write_changes
from instructsearch.errors import BadProfile, ModelDamaged, TooLong
from instructsearch.rerank import RerankProfile
from instructsearch.rerank.cross import CrossEncoder
from instructsearch.rerank.verdict import CausalVerdict, Seq2SeqVerdict

EXACT = {"device": "cpu", "precision": "float32"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTRUCTSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_rerankers.cross(tmp_path_factory.mktemp("models") / "bert", "bert")


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return tiny_rerankers.qwen3_reranker(tmp_path_factory.mktemp("models") / "qwen")


@pytest.fixture
def copy(bert, tmp_path):
    return shutil.copytree(bert, tmp_path / "copy")


# --- what a folder says


def test_a_folder_says_its_window_and_its_activation(copy):
    assert (rerank.find(str(copy)).max_tokens, rerank.find(str(copy)).activation) == (80, "sigmoid")
    write(copy, "config.json", {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"})
    write(copy, "sentence_bert_config.json", {"max_seq_length": 48})
    profile = rerank.find(str(copy))
    assert (profile.max_tokens, profile.activation, profile.name) == (48, "identity", "copy")
    write(copy, "config.json", {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}})
    assert rerank.find(str(copy)).activation == "tanh"


@pytest.mark.parametrize(
    ("name", "facts", "said"),
    [
        ("config.json", {"architectures": ["BertModel"]}, "is a BertModel, and no cross-encoder: it has no head"),
        ("config.json", {"architectures": None}, "of no architecture that config.json names"),
        ("config.json", {"architectures": ["Qwen3ForCausalLM"]}, "for any other reranker, write a profile.toml"),
        ("config.json", {"id2label": {"0": "no", "1": "yes", "2": "maybe"}}, "gives 3 labels a pair"),
        (
            "config.json",
            {"auto_map": {"AutoModelForSequenceClassification": "modeling_x.X"}},
            "brings its own code (modeling_x.X)",
        ),
        ("config.json", {"sbert_ce_default_activation_function": "own.Code"}, "its activation 'own.Code' is not one"),
        (
            "modules.json",
            [{"type": "sentence_transformers.models.Transformer", "path": ""}, {"type": "x.LogitScore", "path": "1"}],
            "has the modules Transformer, LogitScore, and this version reproduces a lone Transformer",
        ),
        ("modules.json", [{"type": "custom.Own", "path": ""}], "brings code of its own for custom.Own"),
        ("sentence_bert_config.json", {"modality_config": {"message": {}}}, "puts its pairs into a chat template"),
        (
            "config_sentence_transformers.json",
            {"prompts": {"a": "{x} "}, "default_prompt_name": "a"},
            "holds braces",
        ),
    ],
)
def test_a_folder_that_cannot_be_reproduced_is_refused_by_the_name_of_what_is_missing(copy, name, facts, said):
    write(copy, name, facts)
    with pytest.raises(BadProfile, match=r"profile\.toml|a reranker gives one|does not run|is not one of") as refused:
        rerank.find(str(copy))
    assert said in str(refused.value)


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(BadProfile, match=r"has no config\.json"):
        rerank.find(str(tmp_path))


@pytest.mark.parametrize("name", ["config.json", "modules.json"])
def test_a_file_that_is_not_json_is_named(copy, name):
    (copy / name).write_text("{")
    with pytest.raises(BadProfile, match=rf"{name} is not JSON"):
        rerank.find(str(copy))


# --- what loading refuses


def test_pickle_is_never_read(copy):
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelDamaged, match=r"no \*\.safetensors, and pickle is not read"):
        rerank.load(str(copy), device="cpu")


def test_missing_weights_are_never_made_up(copy):
    weights = load_file(copy / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelDamaged, match=r"lacks 1 weights, classifier\.weight among them"):
        rerank.load(str(copy), device="cpu")


def test_weights_that_are_not_finite_are_named(copy):
    weights = load_file(copy / "model.safetensors")
    weights["classifier.weight"].fill_(torch.nan)
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelDamaged, match=r"not finite numbers, in classifier\.weight"):
        rerank.load(str(copy), device="cpu")


def test_an_architecture_without_the_head_is_named(tmp_path):
    folder = tiny.t5(tmp_path / "t5")
    profile = RerankProfile("x", model=str(folder), kind="causal", template=("{query}{text}",), true_token="a")
    with pytest.raises(BadProfile, match="no causal lm head for the architecture 't5'"):
        rerank.load(profile, device="cpu")


def test_a_token_that_the_tokenizer_has_not_is_named(qwen):
    profile = rerank.find(f"mxbai-rerank-base-v2={qwen}")
    with pytest.raises(BadProfile, match="its tokenizer has no token 'nowhere'"):
        rerank.load(RerankProfile.from_dict({**profile.to_dict(), "true_token": "nowhere"}), device="cpu")


def test_a_window_beyond_the_models_positions_is_refused(bert):
    facts = {**rerank.find(str(bert)).to_dict(), "max_tokens": 500}
    with pytest.raises(BadProfile, match="the model has positions for 96"):
        rerank.load(RerankProfile.from_dict(facts), device="cpu")


# --- scores


def rerankers(bert, qwen, tmp_path_factory=None):
    yield CrossEncoder(rerank.find(str(bert)), **EXACT)
    yield CausalVerdict(rerank.find(f"qwen3-reranker-0.6b={qwen}"), **EXACT)
    yield CausalVerdict(
        RerankProfile.from_dict({**rerank.find(f"mxbai-rerank-base-v2={qwen}").to_dict(), "padding_side": "right"}),
        **EXACT,
    )


def test_a_passage_is_scored_alike_alone_among_others_and_in_small_batches(bert, qwen):
    for reranker in rerankers(bert, qwen):
        alone = [reranker.score(QUERY, "", [text])[0] for text in PASSAGES]
        for reranker.budget in (1, 500, 100_000):
            np.testing.assert_allclose(reranker.score(QUERY, "", PASSAGES), alone, atol=1e-5)
            np.testing.assert_allclose(reranker.score(QUERY, "", PASSAGES[::-1]), alone[::-1], atol=1e-5)
        assert reranker.score(QUERY, "", []) == []


def test_a_long_passage_is_cut_and_neither_query_instruction_nor_template(qwen):
    facts = {**rerank.find(f"qwen3-reranker-0.6b={qwen}").to_dict(), "max_tokens": 400, "name": "short"}
    reranker = CausalVerdict(RerankProfile.from_dict(facts), **EXACT)
    instruction, passage = "only cats", "the dog sat on the mat " * 100
    [row] = reranker._prompt.sequences(QUERY, instruction, [passage])
    assert len(row.ids) == 400
    assert row.cut
    text = reranker._prompt.tokenizer.decode(row.ids, skip_special_tokens=False)
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert f"<Instruct>: {instruction}\n<Query>: {QUERY}\n<Document>: the dog sat" in text
    [whole] = reranker._prompt.sequences(QUERY, instruction, ["the dog"])
    assert not whole.cut
    at = reranker._prompt.tokenizer.decode(row.ids).index("<Document>")
    assert reranker._prompt.tokenizer.decode(whole.ids)[:at] == reranker._prompt.tokenizer.decode(row.ids)[:at]


def test_a_passage_in_the_middle_of_a_template_is_cut_at_its_own_end(tmp_path):
    folder = tiny_rerankers.monot5(tmp_path / "monot5")
    facts = {**rerank.find(f"monot5-base={folder}").to_dict(), "max_tokens": 60}
    reranker = Seq2SeqVerdict(RerankProfile.from_dict(facts), **EXACT)
    [row] = reranker._prompt.sequences("what is red", "", ["blue colours and cats " * 50])
    assert len(row.ids) == 60
    text = reranker._prompt.tokenizer.decode(row.ids, skip_special_tokens=False)
    assert text.startswith("Query: what is red ")
    assert "ocument: blue colours and cats blue" in text
    assert text.endswith("Relevant:</s>")


def test_passages_may_be_given_less_than_the_window(bert, qwen):
    passage = "the dog sat on the mat " * 5
    for name, kind, most in ((str(bert), CrossEncoder, "pairs"), (f"qwen3-reranker-0.6b={qwen}", CausalVerdict, None)):
        facts = rerank.find(name).to_dict()
        short = kind(RerankProfile.from_dict({**facts, "document_tokens": 8}), **EXACT)
        rows = getattr(short._prompt, most or "sequences")(QUERY, "", [passage, "the dog", ""])
        assert [row.cut for row in rows] == [True, False, False]
        assert len(rows[0].ids) == len(rows[2].ids) + 8
        assert short.score(QUERY, "", [passage]) == short.score(QUERY, "", [passage + "and more"])


def test_a_query_that_leaves_no_room_for_a_passage_is_refused(bert, qwen):
    for reranker in rerankers(bert, qwen):
        with pytest.raises(TooLong, match=r"fill .*'s window of .* tokens and leave none for a passage: 'cat cat"):
            reranker.score("cat " * 9000, "", ["a"])


def test_the_instruction_reaches_a_model_whose_template_has_a_place_for_it(bert, qwen):
    facts = rerank.find(str(bert)).to_dict()
    facts |= {"template": ["{instruction} {query}", "{text}"], "plain_template": ["{query}", "{text}"]}
    asked = CrossEncoder(RerankProfile.from_dict(facts), **EXACT)
    plain = CrossEncoder(rerank.find(str(bert)), **EXACT)
    assert (asked.takes_instruction, plain.takes_instruction) == (True, False)
    np.testing.assert_allclose(asked.score(QUERY, "", PASSAGES), plain.score(QUERY, "", PASSAGES), atol=1e-6)
    told = asked.score(QUERY, "red or blue", PASSAGES)
    np.testing.assert_allclose(told, plain.score(f"red or blue {QUERY}", "", PASSAGES), atol=1e-6)
    assert np.abs(np.subtract(told, asked.score(QUERY, "", PASSAGES))).max() > 1e-3


def test_an_instruction_that_reaches_nobody_is_logged_once(bert, caplog):
    reranker = CrossEncoder(rerank.find(str(bert)), **EXACT)
    for _ in range(2):
        reranker.score(QUERY, "by a colour that nobody named", ["a"])
    assert caplog.text.count("ignores instructions: 'by a colour that nobody named'") == 1


def test_a_lone_surrogate_is_read_as_a_question_mark(bert):
    reranker = CrossEncoder(rerank.find(str(bert)), **EXACT)
    assert reranker.score("a \udcff", "", ["b \ud800"]) == reranker.score("a ?", "", ["b ?"])


def test_what_is_no_list_of_texts_is_a_programmers_mistake(bert):
    reranker = CrossEncoder(rerank.find(str(bert)), **EXACT)
    with pytest.raises(TypeError, match="put the one text in a list"):
        reranker.score(QUERY, "", "one")
    with pytest.raises(TypeError, match="must be strings, not int"):
        reranker.score(QUERY, "", [1])


# --- a trained part over a base


@pytest.fixture
def trained(tmp_path):
    """A plain BERT without a head, a delta of LoRA weights and a head, and the same model merged by hand."""
    base = tiny_bert(tmp_path / "base")
    with tiny.quiet():
        config = transformers.AutoConfig.from_pretrained(base)
        config.num_labels = 1
        model = transformers.BertForSequenceClassification.from_pretrained(base, config=config)
    delta = tmp_path / "delta"
    pairs = tiny.write_adapter(delta, model, ("query", "value"))
    head = {}
    with torch.no_grad():
        for name, layer in model.named_modules():
            if name in pairs:
                first, second = pairs[name]
                layer.weight += 16 / 4 * (second @ first)
        for name, weight in model.named_parameters():
            if name.startswith("classifier") or "pooler" in name:
                weight += 0.3 * torch.randn_like(weight)
                head[name] = weight.clone()
    save_file(head, delta / "head.safetensors")
    merged = tmp_path / "merged"
    with tiny.quiet():
        model.save_pretrained(merged)
    for path in base.glob("tokenizer*"):
        shutil.copy(path, merged)
    (tmp_path / "mine.toml").write_text(
        'model = "base"\ndelta = "delta"\nmax_tokens = 40\ntemplate = ["{instruction} {query}", "{text}"]\n'
        'plain_template = ["{query}", "{text}"]\n'
    )
    return tmp_path


def test_a_delta_over_a_base_gives_the_scores_of_the_merged_model(trained):
    (trained / "merged.toml").write_text('model = "merged"\nmax_tokens = 40\n')
    ours = CrossEncoder(rerank.find(str(trained / "mine.toml")), **EXACT)
    merged = CrossEncoder(rerank.find(str(trained / "merged.toml")), **EXACT)
    expected = merged.score(QUERY, "", PASSAGES)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(ours.score(QUERY, "", PASSAGES), expected, atol=1e-4)
    np.testing.assert_allclose(
        ours.score(QUERY, "red", PASSAGES), merged.score(f"red {QUERY}", "", PASSAGES), atol=1e-4
    )


def test_a_delta_may_hold_its_changes_in_eight_bits(trained):
    (trained / "merged.toml").write_text('model = "merged"\nmax_tokens = 40\n')
    base, merged = (load_file(trained / name / "model.safetensors") for name in ("base", "merged"))
    layers = [name.removesuffix(".weight") for name in merged if name.endswith(("query.weight", "value.weight"))]
    write_changes(
        {name: merged[f"{name}.weight"] - base[f"{name.removeprefix('bert.')}.weight"] for name in layers},
        trained / "delta",
    )
    for path in (trained / "delta").glob("adapter_*"):
        path.unlink()
    ours = CrossEncoder(rerank.find(str(trained / "mine.toml")), **EXACT)
    expected = CrossEncoder(rerank.find(str(trained / "merged.toml")), **EXACT).score(QUERY, "", PASSAGES)
    np.testing.assert_allclose(ours.score(QUERY, "", PASSAGES), expected, atol=0.01)


def test_a_delta_is_known_by_its_digests(trained):
    profile = rerank.find(str(trained / "mine.toml"))
    assert set(profile.delta_files) == {"adapter_model.safetensors", "adapter_config.json", "head.safetensors"}
    weights = load_file(trained / "delta" / "head.safetensors")
    save_file({name: weight + 1 for name, weight in weights.items()}, trained / "delta" / "head.safetensors")
    with pytest.raises(ModelDamaged, match=r"head\.safetensors is not the file that the profile names"):
        rerank.load(profile, device="cpu")


def test_a_delta_that_leaves_out_the_head_is_refused(trained):
    weights = load_file(trained / "delta" / "head.safetensors")
    del weights["classifier.bias"]
    save_file(weights, trained / "delta" / "head.safetensors")
    with pytest.raises(ModelDamaged, match=r"lacks 1 weights, classifier\.bias among them"):
        rerank.load(str(trained / "mine.toml"), device="cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: save_file({"nowhere": torch.ones(2)}, folder / "head.safetensors"), "nowhere .* does not fit"),
        (lambda folder: (folder / "head.safetensors").write_bytes(b"none"), "head.safetensors cannot be read"),
        (
            lambda folder: (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "IA3"})),
            "only plain LoRA",
        ),
    ],
    ids=["does not fit", "no safetensors", "another adapter"],
)
def test_a_delta_that_cannot_be_laid_over_is_named(trained, change, said):
    change(trained / "delta")
    with pytest.raises((ModelDamaged, BadProfile), match=said):
        rerank.load(str(trained / "mine.toml"), device="cpu")


def test_a_folder_that_is_no_delta_is_named(trained):
    for path in (trained / "delta").iterdir():
        path.unlink()
    with pytest.raises(ModelDamaged, match=r"is no delta: it has none of head\.safetensors, delta\.safetensors and"):
        rerank.load(str(trained / "mine.toml"), device="cpu")
