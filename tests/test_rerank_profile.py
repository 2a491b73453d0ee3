"""RerankProfile as data, names to profiles, and the list of what is built in."""

import re
from dataclasses import replace

import pytest
from tiny_rerankers import cross

from instructsearch import plugins, rerank
from instructsearch.embed.weights import is_hub_id
from instructsearch.errors import BadProfile, ModelDamaged, ModelNotFound, UnknownPlugin
from instructsearch.rerank import RerankProfile

BUILT_IN = pytest.mark.parametrize("profile", rerank.profiles(), ids=lambda profile: profile.name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cross(tmp_path_factory.mktemp("models") / "bert", "bert")


# --- what is built in


@BUILT_IN
def test_a_built_in_profile_says_all_that_a_user_asks_of_it(profile):
    assert profile.licence
    assert profile.description
    assert not profile.model or is_hub_id(profile.model) or profile.model.startswith("package:")
    assert re.fullmatch(r"[0-9a-f]{40}|", profile.revision)
    assert profile.max_tokens >= 256
    assert rerank.find(profile.name) is profile


@BUILT_IN
def test_a_built_in_kind_is_a_plugin(profile):
    assert profile.kind in plugins.BUILT_IN["rerankers"]


@pytest.mark.parametrize(
    ("name", "instruction", "expected"),
    [
        (
            "qwen3-reranker-8b",
            "I",
            "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct"
            ' provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
            "|<Instruct>: I\n<Query>: Q\n<Document>: T"
            "|<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
        (
            "mxbai-rerank-large-v2",
            "I",
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\n|instruction: I\nquery: Q|\n|document: T|\n|You are a search relevance expert who"
            " evaluates how well documents match search queries. For each query-document pair, carefully analyze the"
            " semantic relationship between them, then provide your binary relevance judgment (0 for not relevant, 1"
            " for relevant).\nRelevance:|<|im_end|>\n<|im_start|>assistant\n",
        ),
        ("monot5-3b", "", "Query: Q Document: T Relevant:"),
        ("overlap", "I", "I Q|T"),
        ("overlap", "", "Q|T"),
        ("bge-reranker-v2-m3", "", "Q|T"),
        ("colbertv2.0", "", "[unused0] Q|[unused1] T"),
    ],
)
def test_templates_are_those_of_the_families_to_the_blank(name, instruction, expected):
    parts = rerank.find(name).parts("Q", instruction)
    assert "|".join(head if tail is None else f"{head}T{tail}" for head, tail in parts) == expected


def test_the_three_sizes_of_a_family_are_asked_alike():
    for names in (["qwen3-reranker-0.6b", "qwen3-reranker-4b", "qwen3-reranker-8b"], ["monot5-base", "monot5-3b"]):
        first, *others = [rerank.find(name).to_dict() for name in names]
        for other in others:
            skipped = {"name", "model", "description"}
            assert {k: v for k, v in first.items() if k not in skipped} == {
                k: v for k, v in other.items() if k not in skipped
            }


def test_nothing_in_a_query_or_an_instruction_is_a_placeholder():
    [(head, tail), *_] = rerank.find("monot5-base").parts("what is {text} and {instruction}?", "")
    assert head + "T" + tail == "Query: what is {text} and {instruction}? Document: T Relevant:"
    [_, (head, _), _] = rerank.find("qwen3-reranker-4b").parts("{text}", "{query}")
    assert head == "<Instruct>: {query}\n<Query>: {text}\n<Document>: "


def test_only_templates_with_a_place_for_it_take_an_instruction():
    taking = {profile.name for profile in rerank.profiles() if profile.takes_instruction}
    assert taking == {
        *("overlap", "qwen3-reranker-0.6b", "qwen3-reranker-4b", "qwen3-reranker-8b"),
        *("mxbai-rerank-base-v2", "mxbai-rerank-large-v2"),
    }


# --- a profile as data


@BUILT_IN
def test_a_profile_survives_as_plain_data(profile):
    assert RerankProfile.from_dict(profile.to_dict()) == profile
    assert hash(RerankProfile.from_dict(profile.to_dict())) == hash(profile)


def test_the_fingerprint_knows_what_changes_a_score_and_nothing_else():
    profile = rerank.find("qwen3-reranker-0.6b")
    same = [{"name": "x"}, {"description": "x"}, {"licence": "x"}, {"aliases": ("x",)}, {"weight": 0.5}]
    other = [{"model": "x/y"}, {"instruction": "x"}, {"max_tokens": 9}, {"true_token": "x"}, {"delta": "x"}]
    assert {replace(profile, **change).fingerprint for change in same} == {profile.fingerprint}
    assert len({replace(profile, **change).fingerprint for change in other} | {profile.fingerprint}) == 6


def test_with_digests_it_does_not_matter_where_a_model_lies():
    files = {"model.safetensors": "0" * 64}
    one, other = (RerankProfile("x", model=place, files=files) for place in ("a", "b"))
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != replace(one, files={"model.safetensors": "1" * 64}).fingerprint
    lifted = [RerankProfile("x", files=files, delta=place, delta_files=files) for place in ("a", "b")]
    assert lifted[0].fingerprint == lifted[1].fingerprint != one.fingerprint


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"name": ""}, "needs a name"),
        ({"colour": 1}, "unknown field colour; known are activation"),
        ({"max_tokens": 0}, "max_tokens must be positive"),
        ({"max_tokens": "512"}, "max_tokens must be int, not '512'"),
        ({"max_tokens": True}, "max_tokens must be int"),
        ({"weight": 0}, "weight is 0.0; it must be above 0 and at most 1"),
        ({"weight": 1.5}, "at most 1"),
        ({"activation": "relu"}, "activation is 'relu'; it must be one of identity, sigmoid"),
        ({"padding_side": "top"}, "one of right, left"),
        ({"template": "{query} {text}"}, "template must be tuple, not"),
        ({"template": ["{query}", 3]}, "template must hold text"),
        ({"template": ["{query}", "no passage"]}, "must hold {instruction} and {query} and {text} once each"),
        ({"template": ["{query} {query}", "{text}"]}, "once each"),
        ({"template": ["{question}", "{text}"]}, "and no other"),
        ({"plain_template": ["{instruction} {query}", "{text}"]}, "plain_template must hold {query} and {text}"),
        ({"template": ["{query}", "{text} end"]}, "two parts, and the second ends in {text}"),
        ({"template": ["{query} {text}"]}, "two parts"),
        ({"kind": "late", "template": ["{text}", "{query}"]}, "two parts"),
        ({"kind": "causal", "template": ["{query} {text}"]}, "needs the true_token"),
        ({"files": {"model.safetensors": 1}}, "files must hold text"),
    ],
)
def test_a_profile_that_contradicts_itself_is_refused_by_the_field(facts, said):
    with pytest.raises(BadProfile, match=re.escape(said)):
        RerankProfile.from_dict({"name": "mine", **facts})


def test_a_profile_without_a_name_is_refused():
    with pytest.raises(BadProfile, match="needs a name"):
        RerankProfile.from_dict({})


# --- names


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Qwen/Qwen3-Reranker-4B", "qwen3-reranker-4b"),
        ("cross-encoder/ms-marco-MiniLM-L6-v2", "ms-marco-minilm-l6"),
        ("cross-encoder/ms-marco-MiniLM-L-6-v2", "ms-marco-minilm-l6"),
        ("BAAI/bge-reranker-v2-m3", "bge-reranker-v2-m3"),
        ("colbertv2", "colbertv2.0"),
    ],
)
def test_hub_ids_and_aliases_are_known(name, known):
    assert rerank.find(name).name == known


def test_what_is_built_in_names_no_model_of_a_strangers_choice(folder):
    assert rerank.built_in("late:e5-small-v2").embedder == "e5-small-v2"
    for name in (f"late:{folder}", "late:owner/model", "late:", str(folder), "owner/model", f"late={folder}"):
        assert rerank.built_in(name) is None
    assert rerank.find("late:owner/model").embedder == "owner/model"


def test_a_name_that_is_nearly_right_gets_a_hint():
    with pytest.raises(ModelNotFound, match=r"no reranker called 'qwen3-reranker'; did you mean qwen3-reranker-"):
        rerank.find("qwen3-reranker")
    with pytest.raises(ModelNotFound, match="known: ltr, late, overlap, "):
        rerank.find("zzz")


def test_a_known_profile_with_weights_of_ones_own(folder, tmp_path):
    profile = rerank.find(f"bge-reranker-base={folder}")
    assert (profile.model, profile.activation) == (str(folder), "sigmoid")
    assert set(profile.files) == {"model.safetensors", "config.json", "tokenizer.json"}
    with pytest.raises(ModelNotFound, match="there is no folder"):
        rerank.find(f"bge-reranker-base={tmp_path / 'nothing'}")


def test_a_folder_called_like_a_hub_id_is_that_model_downloaded(folder, tmp_path, monkeypatch):
    (tmp_path / "BAAI").mkdir()
    (tmp_path / "BAAI" / "bge-reranker-base").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    profile = rerank.find("BAAI/bge-reranker-base")
    assert profile.model == str(folder.resolve())
    assert profile.activation == "sigmoid"


def test_an_installed_plugin_needs_no_profile(monkeypatch):
    monkeypatch.setattr(plugins, "_registered", {("rerankers", "mine"): lambda profile, device: (profile, device)})
    profile = rerank.find("mine")
    assert (profile.name, profile.kind) == ("mine", "mine")
    assert rerank.load("mine", device="cpu") == (profile, "cpu")


def test_a_kind_that_nobody_brings_is_named():
    with pytest.raises(UnknownPlugin, match="no reranker called 'corss'; did you mean 'cross'"):
        rerank.load(RerankProfile("mine", kind="corss"))


# --- a user's profile


def test_a_profile_of_ones_own_is_one_toml_file(folder, tmp_path):
    (tmp_path / "mine.toml").write_text(
        f'model = "{folder}"\ntemplate = ["{{instruction}}: {{query}}", "{{text}}"]\nplain_template = ["{{query}}",'
        ' "{text}"]\nweight = 1\n'
    )
    profile = rerank.find(str(tmp_path / "mine.toml"))
    assert (profile.name, profile.kind, profile.takes_instruction, profile.weight) == ("mine", "cross", True, 1.0)
    assert profile.files["model.safetensors"]


def test_a_profile_starts_from_another_and_says_only_what_differs(folder, tmp_path):
    (tmp_path / "weights").symlink_to(folder)
    (tmp_path / "mine.toml").write_text('base = "monot5-base"\nmodel = "weights"\nmax_tokens = 64\n')
    profile = rerank.find(str(tmp_path / "mine.toml"))
    assert (profile.kind, profile.true_token, profile.max_tokens) == ("seq2seq", "▁true", 64)
    assert profile.model == str(folder.resolve())


def test_a_profile_in_a_models_folder_speaks_for_it(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "profile.toml").write_text('activation = "tanh"\nmax_tokens = 40\n')
    profile = rerank.find(str(tmp_path))
    assert (profile.name, profile.activation, profile.model) == (tmp_path.name, "tanh", str(tmp_path))
    assert len(rerank.load(profile, device="cpu").score("cat", "", ["dog", "mat"])) == 2


def test_a_file_that_is_no_profile_is_named(tmp_path):
    (tmp_path / "bad.toml").write_text("this is = = not toml")
    with pytest.raises(BadProfile, match=r"bad\.toml is not a profile"):
        rerank.find(str(tmp_path / "bad.toml"))


def test_weights_that_are_not_the_profiles_are_refused(folder):
    profile = replace(rerank.find(str(folder)), files={"model.safetensors": "0" * 64})
    with pytest.raises(ModelDamaged, match="is not the file that the profile names"):
        rerank.load(profile, device="cpu")
