"""A saved model is the trained one, with its profile or not at all; what was altered since is refused."""

import json
import shutil
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import add_dense, tiny_bert
from tiny_training import answering, kept, labelled, profile, written

from instructsearch import embed
from instructsearch.embed import delta
from instructsearch.embed.profile import Profile
from instructsearch.errors import BadProfile, ModelDamaged, ModelNotFound
from instructsearch.train import loop, save
from instructsearch.train.change import CONFIG, WEIGHTS, change, write_adapter
from instructsearch.train.learner import Learner
from instructsearch.train.settings import Settings

TEXTS = ["the cat sat on the mat", "red", "a blue dog?", "naïve: what is it"]
SAID = ["colour", "represent the sentence", "colour", "the mat"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small only lose by sharing the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("save")


@pytest.fixture(scope="module")
def tiny(place):
    return profile(place / "bert")


@pytest.fixture(scope="module")
def data(place):
    return written(place / "data.jsonl", [*labelled("abcd"), *answering(), *kept()])


def trained(tiny, data, folder, method="matrices", steps=12, rate=5e-3, **options):
    learner = Learner(tiny, method=method, rank=8, device="cpu", **options)
    loop.train(learner, data, Settings(steps=steps, batch=6, rate=rate), folder)
    return learner


@pytest.fixture(scope="module")
def learners(place, tiny, data):
    return {
        method: trained(tiny, data, place / f"run-{method}", method, length=20)
        for method in ("matrices", "lora", "full")
    }


@pytest.fixture(scope="module")
def models(place, learners):
    """The folders of models saved in each way that there is."""
    folders = {
        name: place / f"model-{name}" for name in ("matrices", "matrices at rank 32", "lora", "lora at rank 8", "full")
    }
    for name, folder in folders.items():
        method, _, rank = name.partition(" at rank ")
        least = save.save(learners[method], folder, name, rank=int(rank or 0), facts={"description": "a test's"})
        assert 0.999 < least <= 1
    return folders


def vectors(learner, role="document"):
    with torch.no_grad(), learner.exactly():
        return learner(list(zip(SAID, TEXTS, strict=True)), role).numpy()


def loaded(folder):
    found = embed.load(str(folder), device="cpu")
    parts = [found.part(instructed=True), found.part(instructed=False)] if hasattr(found, "part") else [found]
    for each in parts:
        each.precision = "float32"
    return found


NAMES = ["matrices", "matrices at rank 32", "lora", "lora at rank 8", "full"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ["query", "document"])
def test_a_model_loaded_again_gives_the_vectors_that_were_trained(name, role, models, learners):
    learner = learners[name.partition(" ")[0]]
    found = loaded(models[name]).encode(TEXTS, SAID, role)
    cosines = (found * vectors(learner, role)).sum(1)
    assert cosines.min() > (0.99999 if "rank" in name or name == "full" else 0.9995)
    before = learner.base.encode(TEXTS, SAID)
    assert (found * before).sum(1).min() < 0.99, "nothing was trained"


@pytest.mark.parametrize("name", NAMES[:-1])
def test_without_an_instruction_it_is_the_base_bit_for_bit(name, models, tiny):
    base = embed.load(replace(tiny.part(instructed=False), name="base"), device="cpu")
    assert np.array_equal(embed.load(str(models[name]), device="cpu").encode(TEXTS), base.encode(TEXTS))


def test_with_all_weights_trained_there_is_no_bare_model_beside_it(models, learners):
    found = loaded(models["full"])
    assert not found.profile.adapters_need_instruction
    with torch.no_grad(), learners["full"].exactly():
        expected = learners["full"]([("", text) for text in TEXTS], "document").numpy()
    np.testing.assert_allclose(found.encode(TEXTS), expected, atol=1e-5)


def test_a_model_of_all_weights_stands_alone(models, place, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(models["full"], moved)
    expected = loaded(models["full"]).encode(TEXTS, SAID)
    (place / "bert").rename(place / "gone")
    try:
        assert np.array_equal(loaded(moved).encode(TEXTS, SAID), expected)
    finally:
        (place / "gone").rename(place / "bert")
    assert {path.name for path in moved.iterdir()} == {
        *("config.json", "model.safetensors", "profile.toml", "tokenizer.json", "tokenizer_config.json")
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_profile_names_the_digest_of_every_other_file(name, models):
    facts = tomllib.loads((models[name] / "profile.toml").read_text())
    files = {path.relative_to(models[name]).as_posix() for path in models[name].rglob("*") if path.is_file()}
    named = set(facts["files"]) if name == "full" else {f"adapter/{each}" for each in facts["adapter_files"]}
    assert named == files - {"profile.toml"}
    assert (facts["name"], facts["description"]) == (name, "a test's")


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_its_profile_is_none(name, models, tmp_path):
    shutil.copytree(models[name], tmp_path / "model")
    (tmp_path / "model" / "profile.toml").unlink()
    with pytest.raises(BadProfile, match=r"write a profile\.toml"):
        embed.load(str(tmp_path / "model"), device="cpu")


@pytest.mark.parametrize(
    ("name", "file"),
    [("matrices", "adapter/delta.safetensors"), ("lora at rank 8", f"adapter/{CONFIG}"), ("full", "model.safetensors")],
)
def test_an_altered_file_is_refused_by_its_digest_when_the_model_is_loaded(name, file, models, tmp_path):
    shutil.copytree(models[name], tmp_path / "model")
    path = tmp_path / "model" / file
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelDamaged, match=f"{path.name} is not the file that the profile names"):
        embed.load(str(tmp_path / "model"), device="cpu")
    path.unlink()
    with pytest.raises((ModelDamaged, ModelNotFound)):
        embed.load(str(tmp_path / "model"), device="cpu")


def test_a_rank_too_low_is_refused_and_leaves_nothing(learners, tmp_path):
    with pytest.raises(ModelDamaged, match=r"cosine 0\.\d+.*a change of rank 1 does not hold .* use a higher --rank"):
        save.save(learners["matrices"], tmp_path / "model", "low", rank=1)
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_wrong_is_refused_and_leaves_nothing(learners, tmp_path, monkeypatch):
    def broken(learner, folder):
        write(learner, folder)
        weights = load_file(folder / "model.safetensors")
        weights["encoder.layer.1.output.dense.weight"] *= 1.5
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    write = save._write_model
    monkeypatch.setattr(save, "_write_model", broken)
    with pytest.raises(ModelDamaged, match="its files are not what was trained"):
        save.save(learners["full"], tmp_path / "model", "broken")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_as_it_is(learners, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("mine")
    with pytest.raises(OSError, match="not empty"):
        save.save(learners["matrices"], tmp_path / "model", "x")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine"]


def test_saving_changes_nothing_of_the_learner(learners, models):
    for method, learner in learners.items():
        before = vectors(learner)
        name = {"matrices": "matrices", "lora": "lora", "full": "full"}[method]
        weights = {key: weight.detach().clone() for key, weight in learner.trained.items()}
        save.save(learner, models[name].with_name("again"), "again")
        shutil.rmtree(models[name].with_name("again"))
        assert np.array_equal(vectors(learner), before)
        assert all(
            torch.equal(weights[key], weight) and weight.requires_grad for key, weight in learner.trained.items()
        )


def test_training_may_go_on_from_a_saved_model(models, data, place, tmp_path):
    again = trained(embed.find(str(models["matrices"])), data, tmp_path / "run", steps=6)
    start = loaded(models["matrices"]).encode(TEXTS, SAID)
    save.save(again, tmp_path / "model", "twice", rank=32)
    found = loaded(tmp_path / "model")
    assert (found.encode(TEXTS, SAID) * vectors(again)).sum(1).min() > 0.9999
    assert (found.encode(TEXTS, SAID) * start).sum(1).min() < 0.9999
    base = embed.load(embed.find(str(place / "bert")), device="cpu")
    assert np.array_equal(embed.load(str(tmp_path / "model"), device="cpu").encode(TEXTS), base.encode(TEXTS))


def test_layers_behind_the_pooling_are_trained_and_saved_too(place, data, tmp_path):
    folder = add_dense(tiny_bert(tmp_path / "dense", max_tokens=48), 16)
    facts = {"query_template": "{instruction}[SEP]{text}", "document_template": "{instruction}[SEP]{text}"}
    start = replace(embed.find(str(folder)), name="dense", **facts)
    learner = trained(start, data, tmp_path / "run", "full", rate=3e-4)
    assert "post.0.linear.weight" in learner.trained
    save.save(learner, tmp_path / "model", "dense")
    np.testing.assert_allclose(loaded(tmp_path / "model").encode(TEXTS, SAID), vectors(learner), atol=1e-5)
    before = load_file(folder / "2_Dense" / "model.safetensors")["linear.weight"]
    assert not torch.equal(load_file(tmp_path / "model" / "2_Dense" / "model.safetensors")["linear.weight"], before)


# --- what a learner takes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"kind": "hash"}, "of kind 'hash'"), ({"query_adapter": "a"}, "has a network for queries and one for documents")],
)
def test_a_profile_that_cannot_be_trained_is_refused(changes, reason, tiny):
    with pytest.raises(BadProfile, match=reason):
        Learner(replace(tiny, **changes), device="cpu")


def test_a_method_trains_the_weights_it_names_and_no_other(tiny, data, tmp_path):
    names = {method: set(Learner(tiny, method=method, rank=4).trained) for method in ("matrices", "lora", "full")}
    assert len(names["matrices"]) == 2 * 6
    assert all(name.endswith(".weight") and "Norm" not in name for name in names["matrices"])
    assert len(names["lora"]) == 2 * len(names["matrices"])
    assert all(".lora_" in name for name in names["lora"])
    assert names["full"] > names["matrices"]
    assert "backbone.embeddings.word_embeddings.weight" in names["full"]
    learner = Learner(tiny, device="cpu")
    before = {name: weight.clone() for name, weight in learner.network.named_parameters()}
    loop.train(learner, data, Settings(steps=3, batch=4, rate=1e-2), tmp_path)
    moved = {name for name, weight in learner.network.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == names["matrices"]


def test_bare_texts_among_others_are_the_bases_and_stay_in_place(tiny, data, learners):
    pairs = [("", "red cat"), ("colour", "red cat"), ("", "blue"), ("colour", "blue")]
    found = learners["matrices"](pairs, "query")
    base = learners["matrices"].base.encode(["red cat", "blue"], role="query")
    assert torch.equal(found[[0, 2]].detach(), torch.from_numpy(base))
    assert found.requires_grad
    alone = learners["matrices"]([pairs[1]], "query")
    torch.testing.assert_close(found[1:2], alone, atol=0.02, rtol=0)
    assert not learners["matrices"](pairs[:1], "query").requires_grad


# --- the change as files


def test_the_change_is_what_was_added_to_each_matrix(learners, tiny, place):
    weights = load_file(place / "bert" / "model.safetensors")
    for method in ("matrices", "lora"):
        found = change(learners[method])
        assert len(found) == 12
        name = "encoder.layer.0.attention.self.query"
        layer = learners[method].network.backbone.encoder.layer[0].attention.self.query
        if method == "matrices":
            assert torch.equal(found[name], layer.weight.detach() - weights[f"{name}.weight"])
        else:
            first, second = (getattr(layer, side)["default"].weight.detach() for side in ("lora_A", "lora_B"))
            torch.testing.assert_close(found[name], second @ first, atol=1e-6, rtol=1e-4)
            assert torch.linalg.matrix_rank(found[name], rtol=1e-4) <= 8


def product(folder, name):
    weights, facts = load_file(folder / WEIGHTS), json.loads((folder / CONFIG).read_text())
    first, second = (weights[f"base_model.model.{name}.lora_{side}.weight"].float() for side in "AB")
    assert first.shape[0] == second.shape[1] == facts["r"] == facts["lora_alpha"]
    return second @ first


def test_an_adapter_is_the_best_approximation_at_its_rank(tmp_path):
    torch.manual_seed(0)
    wide = torch.randn(20, 30)
    write_adapter({"a.wide": wide}, tmp_path, 5)
    left, values, right = np.linalg.svd(wide.numpy(), full_matrices=False)
    best = (left[:, :5] * values[:5]) @ right[:5]
    np.testing.assert_allclose(product(tmp_path, "a.wide").numpy(), best, atol=0.02)


def test_matrices_of_unlike_sizes_have_one_rank_and_one_scale(tmp_path):
    torch.manual_seed(0)
    added = {"a.small": torch.randn(4, 30), "b.large": torch.randn(20, 30)}
    write_adapter(added, tmp_path, 64)
    for name, difference in added.items():
        torch.testing.assert_close(product(tmp_path, name), difference, atol=0.02, rtol=0)
    assert json.loads((tmp_path / CONFIG).read_text())["r"] == 20


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # by PEFT
def test_peft_itself_reads_the_adapter_as_we_do(place, learners, models):
    peft = pytest.importorskip("peft")
    from instructsearch.embed.backbone import load_backbone

    bare = profile(place / "bert").part(instructed=False)
    theirs = load_backbone(bare, place / "bert", "document")
    folder = models["matrices at rank 32"] / "adapter"
    merged = peft.PeftModel.from_pretrained(theirs, folder).merge_and_unload()
    ours = load_backbone(replace(bare, document_adapter=str(folder)), place / "bert", "document")
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(merged.get_parameter(name), weight, atol=1e-5, rtol=0)


def test_a_change_in_8_bits_is_off_by_half_a_level_of_its_row_at_most(tmp_path):
    torch.manual_seed(0)
    layer = torch.nn.Linear(30, 4)
    model = torch.nn.ModuleDict({"a": layer})
    before = layer.weight.detach().clone()
    added = torch.randn(4, 30) * torch.tensor([1e-4, 1.0, 100.0, 0.0])[:, None]
    delta.write({"a": added}, tmp_path)
    with torch.no_grad():
        delta.merge(model, tmp_path)
    off = (layer.weight.detach().double() - before.double() - added.double()).abs().amax(1)
    level = added.abs().amax(1).double() / 127
    assert (off <= 0.51 * level + 1e-5 * added.abs().amax(1) + 1e-7).all()
    assert torch.equal(layer.weight[3], before[3])


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (lambda t: t.pop("a.scale"), "something else than changes"),
        (lambda t: t.update(other=torch.zeros(1)), "something else than changes"),
        (lambda t: t.update({"b.change": t["a.change"], "b.scale": t["a.scale"]}), "its b .* does not fit"),
        (lambda t: t.update({"a.change": t["a.change"].float()}), "its a .* does not fit"),
        (lambda t: t.update({"a.change": t["a.change"][:, :3].contiguous()}), "its a .* does not fit"),
        (lambda t: t.update({"a.scale": t["a.scale"][:1]}), "not one finite number a row"),
        (lambda t: t.update({"a.scale": t["a.scale"] * torch.nan}), "not one finite number a row"),
    ],
)
def test_a_change_that_does_not_fit_the_model_is_refused(alter, reason, tmp_path):
    delta.write({"a": torch.randn(4, 30)}, tmp_path)
    tensors = load_file(tmp_path / delta.FILE)
    alter(tensors)
    save_file({name: each.clone() for name, each in tensors.items()}, tmp_path / delta.FILE)
    with pytest.raises(ModelDamaged, match=reason):
        delta.merge(torch.nn.ModuleDict({"a": torch.nn.Linear(30, 4)}), tmp_path)


# --- the profile as TOML


def test_a_profile_written_as_toml_is_read_back(tmp_path):
    made = Profile(
        name='quote " and \\ and \x7f and 東京 \U0001f600',
        query_template="a\n\t{instruction} {text}",
        post=("2_Dense", "normalize"),
        dims=(8, 16),
        dim=32,
        add_eos=True,
        files={'a "b"/c.safetensors': "00", "d": "11"},
        adapter_files={"e": "22"},
    )
    text = save.to_toml(made.to_dict())
    assert Profile.from_dict(tomllib.loads(text)) == made
