"""Models that nobody listed: read from their own sentence-transformers files, or refused by what is missing."""

import json
import shutil

import numpy as np
import pytest
import tiny_families as tiny
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from tiny_models import tiny_bert, write
from torch import nn

from instructsearch import embed
from instructsearch.embed.encoder import Encoder
from instructsearch.errors import BadProfile, ModelDamaged

TEXTS = ["the cat sat on the mat", "a", "", "red, blue; colour? yes!", "the dog " * 40, "naïve 東京 \t\n"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny.bert(tmp_path_factory.mktemp("base") / "bert")


def saved(folder, base, *after, pooling=None, window=32, **arguments):
    """Write a model of these modules as sentence-transformers does; return its folder."""
    with tiny.quiet():
        modules = [Transformer(str(base), max_seq_length=window, **arguments), pooling or Pooling(32, "mean"), *after]
        torch.manual_seed(5)
        for module in after:
            for weight in module.parameters():
                nn.init.normal_(weight, std=0.5)
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def ours(folder) -> Encoder:
    return Encoder(embed.find(str(folder)), device="cpu", precision="float32")


def theirs(folder, texts=TEXTS, **arguments):
    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(texts, normalize_embeddings=True, show_progress_bar=False, **arguments)


def edit(path, **facts):
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


@pytest.mark.parametrize("activation", [nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_a_dense_layer_equals_sentence_transformers(tmp_path, bert, activation, bias):
    folder = saved(tmp_path / "m", bert, Dense(32, 12, bias=bias, activation_function=activation()), Normalize())
    encoder = ours(folder)
    assert (encoder.profile.post, encoder.dim) == (("2_Dense",), 12)
    np.testing.assert_allclose(encoder.encode(TEXTS), theirs(folder), atol=1e-5)


@pytest.mark.parametrize(
    "after",
    [
        lambda: [Dense(32, 48, use_residual=True), Dense(48, 48, use_residual=True, activation_function=nn.ReLU())],
        lambda: [LayerNorm(32), Normalize(), Dense(32, 16), Normalize()],
        lambda: [],
    ],
    ids=["residuals", "layer norm, normalize, dense", "nothing"],
)
def test_layers_after_pooling_come_in_their_order(tmp_path, bert, after):
    folder = saved(tmp_path / "m", bert, *after())
    np.testing.assert_allclose(ours(folder).encode(TEXTS), theirs(folder), atol=1e-5)


@pytest.mark.parametrize(
    "mode", ["mean", ("mean",), "cls", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"], ids=str
)
def test_every_way_of_writing_a_pooling_is_understood(tmp_path, bert, mode):
    folder = saved(tmp_path / "m", bert, pooling=Pooling(32, "mean"))
    edit(folder / "1_Pooling" / "config.json", pooling_mode=mode)
    np.testing.assert_allclose(ours(folder).encode(TEXTS), theirs(folder), atol=1e-5)


def test_the_pooling_may_leave_out_the_prompt(tmp_path, bert):
    folder = saved(tmp_path / "m", bert, pooling=Pooling(32, "mean", include_prompt=False))
    edit(folder / "config_sentence_transformers.json", prompts={"query": "the red cat: ", "document": ""})
    texts = [text for text in TEXTS if text]
    np.testing.assert_allclose(
        ours(folder).encode(texts, role="query"), theirs(folder, texts, prompt_name="query"), atol=1e-5
    )


@pytest.mark.parametrize("key", ["document", "passage", "corpus"])
def test_prompts_go_to_the_roles_they_are_named_for(tmp_path, bert, key):
    folder = saved(tmp_path / "m", bert)
    edit(folder / "config_sentence_transformers.json", prompts={"query": "query: ", key: "passage: "})
    encoder = ours(folder)
    np.testing.assert_allclose(encoder.encode(TEXTS, role="query"), theirs(folder, prompt="query: "), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS), theirs(folder, prompt="passage: "), atol=1e-5)


def test_a_default_prompt_serves_both_roles_where_they_have_none(tmp_path, bert):
    folder = saved(tmp_path / "m", bert)
    facts = {"prompts": {"retrieval": "retrieve: "}, "default_prompt_name": "retrieval"}
    edit(folder / "config_sentence_transformers.json", **facts)
    for role in ("query", "document"):
        np.testing.assert_allclose(ours(folder).encode(TEXTS, role=role), theirs(folder), atol=1e-5)


@pytest.mark.parametrize("blank", ["", " "], ids=["Qwen3's", "E5's"])
def test_a_prompt_of_the_usual_form_leaves_a_place_for_the_instruction(tmp_path, blank):
    folder = saved(tmp_path / "m", tiny.qwen3(tmp_path / "base"), pooling=Pooling(32, "lasttoken"), window=96)
    prompt = f"Instruct: Given a query, find passages\nQuery:{blank}"
    edit(folder / "config_sentence_transformers.json", prompts={"query": prompt, "document": ""})
    encoder = ours(folder)
    assert encoder.profile.query_instruction == "Given a query, find passages"
    other = f"Instruct: is it a cat?\nQuery:{blank}"
    np.testing.assert_allclose(encoder.encode(TEXTS, role="query"), theirs(folder, prompt=prompt), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS, "is it a cat?", "query"), theirs(folder, prompt=other), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS), theirs(folder), atol=1e-5)


def test_lower_case_is_folded_where_the_settings_ask_for_it(tmp_path):
    folder = saved(tmp_path / "m", tiny.qwen3(tmp_path / "base"), pooling=Pooling(32, "lasttoken"))
    edit(folder / "sentence_bert_config.json", do_lower_case=True)
    assert ours(folder).profile.lowercase
    texts = ["The CAT sat", "ÉCLAIR"]
    np.testing.assert_allclose(ours(folder).encode(texts), theirs(folder, texts), atol=1e-5)
    assert np.abs(ours(folder).encode(texts) - ours(folder).encode([text.lower() for text in texts])).max() < 1e-5


def test_a_tokenizer_that_says_it_ends_texts_and_does_not_is_made_to(tmp_path):
    base = tiny.mistral(tmp_path / "base")
    folder = saved(tmp_path / "m", base, pooling=Pooling(32, "lasttoken"))
    edit(folder / "tokenizer_config.json", add_eos_token=True, add_bos_token=True)
    encoder = ours(folder)
    row = encoder._tokeniser.tokenise([("", "the cat")], "document")[0]
    assert [encoder.tokenizer.id_to_token(row.ids[at]) for at in (0, -1)] == ["<s>", "</s>"]


@pytest.mark.parametrize(
    ("settings", "tokenizer", "expected"),
    [
        ({"max_seq_length": 20}, {}, 20),
        ({"max_seq_length": None}, {"model_max_length": 24}, 24),
        ({}, {"model_max_length": 10**30}, 64),
    ],
    ids=["the settings", "the tokenizer", "the positions"],
)
def test_the_window_is_what_the_files_say(tmp_path, settings, tokenizer, expected):
    folder = tiny_bert(tmp_path)
    write(folder / "sentence_bert_config.json", settings)
    edit(folder / "tokenizer_config.json", **tokenizer)
    assert embed.find(str(folder)).max_tokens == expected


def test_positions_that_start_after_the_paddings_are_fewer_than_the_table_holds(tmp_path):
    folder = saved(tmp_path / "m", tiny.xlm_roberta(tmp_path / "base"), window=64)
    edit(folder / "config.json", pad_token_id=1)
    assert embed.find(str(folder)).max_tokens == 62


@pytest.mark.parametrize("name", ["xlm_roberta", "mpnet", "modernbert", "t5", "qwen2", "gemma3", "llama"])
def test_any_architecture_is_read_from_its_files(tmp_path, name):
    folder = saved(tmp_path / "m", getattr(tiny, name)(tmp_path / "base"), Normalize())
    texts = [text for text in TEXTS if text]  # nothing at all has no vector where no token is put around it
    np.testing.assert_allclose(ours(folder).encode(texts), theirs(folder, texts), atol=1e-5)


def test_a_model_is_the_same_wherever_it_lies_and_another_when_a_file_changes(tmp_path, bert):
    folder = saved(tmp_path / "m", bert, Dense(32, 12))
    profile = embed.find(str(folder))
    assert set(profile.files) == {
        "2_Dense/config.json", "2_Dense/model.safetensors", "config.json", "model.safetensors", "tokenizer.json"
    }  # fmt: skip
    assert embed.find(str(shutil.copytree(folder, tmp_path / "copy"))).fingerprint == profile.fingerprint
    edit(folder / "2_Dense" / "config.json", activation_function="torch.nn.modules.activation.ReLU")
    assert embed.find(str(folder)).fingerprint != profile.fingerprint


def _remove(name):
    return lambda folder: (folder / name).unlink()


def _modules(*kinds):
    def change(folder):
        listed = [
            {"idx": at, "name": str(at), "path": f"{at}_{each.rpartition('.')[2]}" if at else "", "type": each}
            for at, each in enumerate(kinds)
        ]
        write(folder / "modules.json", listed)

    return change


def _adapter(folder):
    (folder / "config.json").unlink()
    write(folder / "adapter_config.json", {"base_model_name_or_path": "owner/base"})


def _edited(name, **facts):
    return lambda folder: edit(folder / name, **facts)


ST = "sentence_transformers.models."
REFUSED = {
    "no config": (_remove("config.json"), r"has no config\.json"),
    "no modules": (_remove("modules.json"), r"has no modules\.json"),
    "no pooling": (_remove("1_Pooling/config.json"), r"has no config\.json"),
    "an adapter": (_adapter, r"LoRA adapter.*owner/base"),
    "not JSON": (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
    "a CNN": (_modules(ST + "Transformer", ST + "Pooling", ST + "CNN"), "CNN"),
    "a router": (_modules(ST + "Transformer", ST + "Router", ST + "Pooling"), "Router"),
    "a module's own code": (_modules("custom_st.Transformer", ST + "Pooling"), r"code of its own for custom_st\.Tr"),
    "dense on tokens": (_modules(ST + "Transformer", ST + "Dense", ST + "Pooling"), "Dense"),
    "no pooling module": (_modules(ST + "Transformer"), "one Transformer and one Pooling"),
    "max": (_edited("1_Pooling/config.json", pooling_mode="max"), "pooling max"),
    "two poolings": (_edited("1_Pooling/config.json", pooling_mode=["mean", "cls"]), "mean with cls"),
    "remote code": (_edited("config.json", auto_map={"AutoModel": "m.Own"}), r"its own code \(m\.Own\)"),
    "its own output": (
        _edited("sentence_bert_config.json", module_output_name="sentence_embedding"),
        "sentence_embedding",
    ),
    "braces": (_edited("config_sentence_transformers.json", prompts={"query": "{x}"}), "holds braces"),
}


@pytest.mark.parametrize(("change", "named"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_reproduced_is_refused_by_name(tmp_path, change, named):
    folder = tiny_bert(tmp_path / "m")
    change(folder)
    with pytest.raises(BadProfile, match=named):
        embed.find(str(folder))


@pytest.mark.parametrize(
    ("facts", "error", "named"),
    [
        ({"activation_function": "os.system"}, BadProfile, "'os.system' is not one of"),
        ({"activation_function": "torch.nn.modules.loss.L1Loss"}, BadProfile, "L1Loss"),
        ({"out_features": 13}, ModelDamaged, "size mismatch"),
        ({"in_features": 31}, ModelDamaged, "size mismatch"),
        ({"bias": False}, ModelDamaged, "linear.bias"),
    ],
)
def test_a_dense_layer_that_does_not_fit_is_refused_by_what_is_wrong(tmp_path, bert, facts, error, named):
    folder = saved(tmp_path / "m", bert, Dense(32, 12))
    edit(folder / "2_Dense" / "config.json", **facts)
    with pytest.raises(error, match=named):
        ours(folder)


def test_layers_that_do_not_fit_each_other_are_refused(tmp_path, bert):
    folder = saved(tmp_path / "m", bert, Dense(32, 12), Dense(12, 8))
    shutil.rmtree(folder / "3_Dense")
    shutil.copytree(folder / "2_Dense", folder / "3_Dense")
    with pytest.raises(ModelDamaged, match="3_Dense takes vectors of 32, and what comes before gives 12"):
        ours(folder)


def test_a_dense_layer_whose_weights_are_not_finite_is_refused(tmp_path, bert):
    folder = saved(tmp_path / "m", bert, Dense(32, 12))
    path = folder / "2_Dense" / "model.safetensors"
    weights = load_file(path)
    weights["linear.weight"][0, 0] = torch.inf
    save_file(weights, path)
    with pytest.raises(ModelDamaged, match=r"2_Dense.*not finite"):
        ours(folder)


def test_a_dense_layer_as_pickle_is_not_read_and_the_remedy_is_named(tmp_path, bert):
    folder = saved(tmp_path / "m", bert, Dense(32, 12))
    path = folder / "2_Dense" / "model.safetensors"
    torch.save(load_file(path), folder / "2_Dense" / "pytorch_model.bin")
    path.unlink()
    with pytest.raises(ModelDamaged, match=r"embed\.convert"):
        ours(folder)
