"""Profiles: what they accept, what their fingerprint covers, how they are found."""

from dataclasses import replace

import pytest

from instructsearch import embed
from instructsearch.embed.profile import Profile
from instructsearch.errors import BadProfile, ModelNotFound


def profile(**facts) -> Profile:
    return Profile.from_dict({"name": "p", "model": "owner/model", "dim": 8, **facts})


@pytest.mark.parametrize(
    "change",
    [
        {"model": "owner/other"},
        {"revision": "abc"},
        {"kind": "answer"},
        {"files": {"model.safetensors": "0" * 64}},
        {"query_template": "q: {text}"},
        {"document_template": "{instruction} {text}"},
        {"plain_query_template": "query {text}"},
        {"plain_document_template": "passage {text}"},
        {"pooling": "cls"},
        {"pool_includes_instruction": False},
        {"padding_side": "left"},
        {"truncation_side": "left"},
        {"add_bos": True},
        {"add_eos": True},
        {"eos_token": "<end>"},
        {"query_end": "?"},
        {"lowercase": True},
        {"attention": "causal"},
        {"query_adapter": "owner/adapter"},
        {"document_adapter": "owner/adapter"},
        {"post": ["layer_norm"]},
        {"dim": 4},
        {"max_tokens": 99},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_a_vector_changes_the_fingerprint(change):
    assert profile(**change).fingerprint != profile().fingerprint


@pytest.mark.parametrize(
    "change",
    [
        *({"name": "q"}, {"description": "d"}, {"licence": "l"}, {"query_instruction": "i"}),
        *({"aliases": ["a"]}, {"dims": [4, 8]}, {"refused": "why"}),
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_no_vector_leaves_the_fingerprint(change):
    assert profile(**change).fingerprint == profile().fingerprint


def test_known_weights_are_the_same_wherever_they_lie():
    files = {"model.safetensors": "0" * 64}
    assert profile(files=files).fingerprint == profile(files=files, model="/some/folder").fingerprint


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("minilm", "030eb05e6fd15c8374f03c823fa87242f0499ed6c84f8ab2845679ba0f271018"),
        ("hash", "21f95f9eabd5fbf3a2248868564b79108f9aa08c9534a110c0d40530cbbb1b22"),
    ],
)
def test_fingerprints_of_the_built_in_profiles_are_those_of_old(name, golden):
    assert embed.find(name).fingerprint == golden


@pytest.mark.parametrize("known", embed.profiles(), ids=lambda known: known.name)
def test_a_profile_survives_its_dictionary(known):
    again = Profile.from_dict(known.to_dict())
    assert again == known
    assert hash(again) == hash(known)


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"name": "p"}, "dim"),
        ({"dim": 8}, "name"),
        ({"name": "p", "dim": 8, "colour": "red"}, "colour"),
        ({"name": "p", "dim": "8"}, "dim"),
        ({"name": "p", "dim": True}, "dim"),
        ({"name": "p", "dim": 0}, "dim"),
        ({"name": "p", "dim": 8, "pooling": "max"}, "pooling"),
        ({"name": "p", "dim": 8, "files": ["x"]}, "files"),
        ({"name": "p", "dim": 8, "dims": ["8"]}, "dims"),
        ({"name": "p", "dim": 8, "post": [2]}, "post"),
        ({"name": "p", "dim": 8, "attention": "sideways"}, "attention"),
        ({"name": "p", "dim": 8, "query_template": "no text"}, "query_template"),
        ({"name": "p", "dim": 8, "query_template": "{text} {text}"}, "query_template"),
        ({"name": "p", "dim": 8, "document_template": "{text} {title}"}, "document_template"),
        ({"name": "p", "dim": 8, "plain_query_template": "{instruction} {text}"}, "plain_query_template"),
    ],
)
def test_a_bad_profile_is_refused_by_the_name_of_the_field(facts, named):
    with pytest.raises(BadProfile, match=named):
        Profile.from_dict(facts)


def test_around_puts_the_instruction_in_its_place_and_nothing_else():
    asked = profile(query_template="Instruct: {instruction}\nQuery:{text}", plain_query_template="{text}!")
    assert asked.around("find {text}", "query") == ("Instruct: find {text}\nQuery:", "")
    assert asked.around("", "query") == ("", "!")
    assert asked.around("x", "document") == ("", "")
    assert replace(asked, plain_query_template="").around("", "query") == ("", "")
    assert replace(asked, query_template="search: {text}").around("", "query") == ("", "!")
    assert replace(asked, document_template="passage: {text}").around("", "document") == ("passage: ", "")
    assert asked.heeds("query")
    assert not asked.heeds("document")
    assert asked.takes_instruction


@pytest.mark.parametrize(
    ("text", "instruction", "role", "expected"),
    [
        ("cats", "only tabbies", "query", "cats?"),
        ("cats. ", "only tabbies", "query", "cats. "),
        ("cats!", "only tabbies", "query", "cats!"),
        ("", "only tabbies", "query", ""),
        ("cats", "", "query", "cats"),
        ("cats", "only tabbies", "document", "cats"),
    ],
)
def test_a_query_is_ended_only_where_an_instruction_follows_it(text, instruction, role, expected):
    assert profile(query_end="?", query_template="{text} {instruction}").ended(text, instruction, role) == expected
    assert profile().ended(text, instruction, role) == text


def test_minilm_says_truthfully_that_it_takes_no_instruction():
    minilm = embed.find("minilm")
    assert not minilm.takes_instruction
    assert minilm.sha256.startswith("53aa51172d14")


@pytest.mark.parametrize(
    ("name", "hint"), [("minilmm", "did you mean minilm"), ("nonesuch", "known: minilm, instruct-minilm")]
)
def test_an_unknown_name_is_answered_with_what_there_is(name, hint):
    with pytest.raises(ModelNotFound, match=hint):
        embed.find(name)


def test_a_users_toml_file_is_a_profile(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('model = "owner/model"\ndim = 12\nquery_template = "q: {text}"\n')
    assert embed.find(str(path)) == Profile("mine", model="owner/model", dim=12, query_template="q: {text}")


def test_a_profile_beside_weights_means_its_own_folder(tmp_path):
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "profile.toml").write_text("dim = 12\n")
    assert embed.find(str(folder)) == Profile("trained", model=str(folder), dim=12)


@pytest.mark.parametrize("text", ["dim = ", "colour = 1\ndim = 2"], ids=["not TOML", "unknown field"])
def test_a_broken_toml_file_is_refused(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(BadProfile):
        embed.find(str(path))


def test_replace_makes_another_fingerprint_of_its_own():
    first = profile()
    assert first.fingerprint != replace(first, dim=4).fingerprint
