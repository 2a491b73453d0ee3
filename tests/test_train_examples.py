"""Training examples: MEDI's form in and out, by the line and as one array, and rows of another form refused by name."""

import json

import pytest
from tiny_training import answering, kept, labelled, written

from instructsearch.errors import ReadError, StorageError
from instructsearch.train import rows
from instructsearch.train.examples import Example, Examples, medi, write

PAIR = Example(("Represent the question;", "who?"), ("Represent the text;", "he"), ("Represent the text;", "she"), "7")
ROW = {"query": ["Represent é;", "who [is\n] it?"], "pos": ["i", '\U0001f600 "yes"'], "neg": ["i", "}{"], "task_id": 7}


def lines(path, *made):
    path.write_text("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in made), "utf-8")
    return path


def test_what_is_written_is_read_back(tmp_path):
    made = [PAIR, *labelled("ab"), *kept("ab"), *answering("ab")]
    examples = written(tmp_path / "e.jsonl", made)
    assert len(examples) == len(made)
    assert list(examples) == made
    assert examples[3:5] == made[3:5]
    assert examples[-1] == made[-1]
    assert {task: len(found) for task, found in examples.tasks.items()} == {
        **{"7": 1, "labels/thing": 12, "labels/colour": 12, "keep/all": 12},
        **{"answers/thing": 12, "answers/colour": 12},
    }
    assert examples.tasks["keep/all"].tolist() == list(range(25, 37))
    assert (examples.kinds["7"], examples.kinds["labels/thing"], examples.kinds["keep/all"]) == (
        *("pairs", "labels", "keep"),
    )


def test_a_plain_row_has_the_fields_of_medi_and_no_other(tmp_path):
    write(tmp_path / "e.jsonl", [PAIR])
    assert json.loads((tmp_path / "e.jsonl").read_text()) == {
        "query": ["Represent the question;", "who?"],
        "pos": ["Represent the text;", "he"],
        "neg": ["Represent the text;", "she"],
        "task_id": "7",
    }


def test_answers_are_tasks_whose_positives_have_no_instruction(tmp_path):
    half = Example(("who?", "a"), ("", "he"), None, "half")
    rest = Example(("who?", "b"), ("the person", "she"), None, "half")
    examples = written(tmp_path / "e.jsonl", [PAIR, *kept("ab"), *answering("ab"), half, rest])
    assert examples.answering == {"answers/thing", "answers/colour"}


def test_the_instructions_of_a_task_are_known(tmp_path):
    examples = written(tmp_path / "e.jsonl", [PAIR, *answering("ab")])
    assert examples.instructions == {
        "7": {"Represent the question;", "Represent the text;"},
        "answers/thing": {"sentence", "the sentence", ""},
        "answers/colour": {"colour", "the colour", ""},
    }


def test_texts_of_every_kind_survive(tmp_path):
    texts = ["", "  ", "two\nlines\u2028three\r\n", "\x00\x7f", "naïve 東京 \U0001f600", '"[{\\', "\ud800 alone"]
    made = [Example((text, "a"), ("b", text), None, "t") for text in texts]
    assert list(written(tmp_path / "e.jsonl", made)) == made


@pytest.mark.parametrize("chunk", [1, 3, 50, 1 << 22])
@pytest.mark.parametrize("indent", [None, 1])
def test_the_array_that_medi_was_published_as_is_read_as_it_is(chunk, indent, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "_CHUNK", chunk)
    path = tmp_path / "medi-data.json"
    array = [{**ROW, "query": ["Represent é;", f"question {at}"], "task_id": at // 2} for at in range(5)]
    path.write_text(json.dumps(array, ensure_ascii=False, indent=indent), "utf-8")
    examples = Examples(path)
    assert [each.query[1] for each in examples] == [f"question {at}" for at in range(5)]
    assert examples[2].positive == ("i", '\U0001f600 "yes"')
    assert {task: found.tolist() for task, found in examples.tasks.items()} == {"0": [0, 1], "1": [2, 3], "2": [4]}
    assert list(medi(path)) == list(examples)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "example 1: is not JSON"),
        ("[]", "holds no example"),
        (f"[{json.dumps(ROW)}", "example 2: is not JSON: no comma"),
        (f"[{json.dumps(ROW)} {json.dumps(ROW)}]", "example 2: is not JSON: no comma"),
        (f"[{json.dumps(ROW)},]", "example 2: is not JSON"),
        (f'[{json.dumps(ROW)}, {{"query": ["a", "b', "example 2: is not JSON"),
        (f"[{json.dumps(ROW)}, 7]", "example 2: an example needs query and pos"),
        ("[" * 100_000, "example 1: is not JSON"),
    ],
)
def test_an_array_that_is_none_is_refused_by_the_number_of_the_example(text, reason, tmp_path):
    path = tmp_path / "medi-data.json"
    path.write_text(text)
    with pytest.raises(ReadError, match=reason):
        Examples(path)


def test_an_element_without_an_end_is_not_read_to_the_end_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "_CHUNK", 100)
    monkeypatch.setattr(rows, "_LONGEST", 1000)
    path = tmp_path / "medi-data.json"
    path.write_text('[{"query": "' + "a" * 100_000)
    held = []
    more = rows._Window._more
    monkeypatch.setattr(rows._Window, "_more", lambda window: held.append(len(window._text)) or more(window))
    with pytest.raises(ReadError, match="example 1: is not JSON"):
        Examples(path)
    assert max(held) < 1200


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "is not JSON"),
        ("null", "needs query and pos"),
        ({"query": ["a", "b"]}, "needs query and pos"),
        ({**ROW, "query": "a"}, "list of two strings"),
        ({**ROW, "pos": ["a", 1]}, "list of two strings"),
        ({**ROW, "pos": ["a", "b", "c"]}, "list of two strings"),
        ({**ROW, "neg": []}, "list of two strings"),
        ({**ROW, "kind": "other"}, "no kind of example is called 'other'"),
        ({**ROW, "kind": ["pairs"]}, "no kind of example"),
        ({**ROW, "labels": None}, "labels are a list"),
        ({**ROW, "labels": [1, 2, 3]}, "labels are a list"),
        ({**ROW, "kind": "labels", "labels": ["a", "b"]}, "needs the labels of"),
        ({**ROW, "kind": "labels"}, "needs the labels of"),
        ({**ROW, "task_id": {}}, "task_id is a name or a number"),
        ({**ROW, "kind": "keep"}, "is of kind 'keep', and task '7' of 'pairs' before"),
    ],
)
def test_a_row_of_another_form_is_refused_by_its_line(row, reason, tmp_path):
    with pytest.raises(ReadError, match=reason) as caught:
        Examples(lines(tmp_path / "e.jsonl", ROW, "", row, ROW))
    assert caught.value.where == f"{tmp_path / 'e.jsonl'}:3"


def test_a_negative_may_lack_and_a_task_too(tmp_path):
    bare = {"query": ["", "a"], "pos": ["", "b"]}
    examples = Examples(lines(tmp_path / "e.jsonl", bare, {**bare, "neg": None, "task_id": "x"}))
    assert [(each.negative, each.task) for each in examples] == [(None, "all"), (None, "x")]


def test_a_file_without_examples_or_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ReadError, match="holds no example"):
        Examples(lines(tmp_path / "e.jsonl", "", " "))
    with pytest.raises(ReadError, match=r"none\.jsonl: cannot be read: No such file"):
        Examples(tmp_path / "none.jsonl")


def test_a_file_that_changed_since_it_was_opened_is_an_error_and_no_other_example(tmp_path):
    examples = written(tmp_path / "e.jsonl", [PAIR, PAIR, PAIR])
    lines(tmp_path / "e.jsonl", ROW)
    with pytest.raises(ReadError, match="example 3: is not JSON"):
        examples[2]
    (tmp_path / "e.jsonl").unlink()
    with pytest.raises(ReadError, match="cannot be read"):
        examples[0]


def test_nothing_is_written_over_a_file_and_a_failure_leaves_nothing(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_text("mine")
    with pytest.raises(StorageError, match="is there already"):
        write(path, [PAIR])
    assert path.read_text() == "mine"

    def broken():
        yield PAIR
        raise ReadError("source.jsonl:2", "is not JSON")

    with pytest.raises(ReadError, match=r"source\.jsonl:2"):
        write(tmp_path / "new.jsonl", broken())
    assert [each.name for each in tmp_path.iterdir()] == ["e.jsonl"]


def test_what_a_killed_run_left_is_no_hindrance(tmp_path):
    (tmp_path / "e.jsonl.tmp").write_text('{"query": ["a", ')
    assert list(written(tmp_path / "e.jsonl", [PAIR])) == [PAIR]
    assert [each.name for each in tmp_path.iterdir()] == ["e.jsonl"]
