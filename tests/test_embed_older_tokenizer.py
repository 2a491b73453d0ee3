"""Folders without tokenizer.json: converted as transformers does, or refused with what would help."""

import json

import pytest
import transformers
from tiny_answer_models import tiny_opt, tiny_roberta

from instructsearch.embed import older_tokenizer as module
from instructsearch.embed.older_tokenizer import older_tokenizer
from instructsearch.errors import ModelNotFound

TEXTS = ["the cat sat on the mat", "", "naïve 東京 \t\n", "### Response:<mask><mask></s>"]


@pytest.mark.parametrize("make", [tiny_opt, tiny_roberta], ids=["opt", "roberta"])
def test_vocabulary_and_merges_give_the_ids_that_transformers_gives(make, tmp_path):
    make(tmp_path)
    assert not (tmp_path / "tokenizer.json").exists()
    expected = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert [each.ids for each in older_tokenizer("m", tmp_path).encode_batch(TEXTS)] == expected(TEXTS)["input_ids"]


def test_a_folder_with_no_tokenizer_at_all_is_refused(tmp_path):
    with pytest.raises(ModelNotFound, match=r"^m: .* has no tokenizer\.json; save the model with a fast tokenizer$"):
        older_tokenizer("m", tmp_path)


def test_a_sentencepiece_file_names_the_package_it_takes(tmp_path, monkeypatch):
    (tmp_path / "tokenizer.model").write_bytes(b"")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ModelNotFound, match=r"reading its tokenizer\.model takes a package: pip install sentencepiece"):
        older_tokenizer("m", tmp_path)


def test_files_that_cannot_be_converted_are_refused_in_one_line(tmp_path):
    (tmp_path / "vocab.json").write_text("not JSON", "utf-8")
    (tmp_path / "merges.txt").write_text("", "utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "opt"}), "utf-8")
    with pytest.raises(ModelNotFound, match="cannot be converted") as caught:
        older_tokenizer("m", tmp_path)
    assert "\n" not in str(caught.value)
