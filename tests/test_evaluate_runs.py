"""Runs, qrels and queries: what is written is read again, and a bad row is named by its place."""

import gzip
import math
import random

import pytest

from instructsearch.errors import ReadError, StorageError
from instructsearch.evaluate import files
from instructsearch.evaluate.ranking import order
from instructsearch.evaluate.runs import read_qrels, read_queries, read_run, write_qrels, write_run


def put(folder, text, name="file"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("seed", range(20))
def test_a_run_is_read_as_it_was_written(tmp_path, seed):
    source = random.Random(seed)
    run = {
        f"q{n}": {f"d{source.randrange(99)}-{m}": source.uniform(-3, 3) for m in range(source.randint(1, 9))}
        for n in range(5)
    }
    write_run(tmp_path / "r.trec", run, "mine")
    assert read_run(tmp_path / "r.trec") == run
    lines = [line.split() for line in (tmp_path / "r.trec").read_text().splitlines()]
    for query, scores in run.items():
        mine = [line for line in lines if line[0] == query]
        assert [line[2] for line in mine] == order(scores)
        assert [line[3] for line in mine] == [str(rank) for rank in range(1, len(mine) + 1)]
    assert {(line[1], line[5]) for line in lines} == {("Q0", "mine")}


def test_blanks_in_ids_do_not_break_the_columns(tmp_path):
    write_run(tmp_path / "r", {"q 1": {"a b\tc": 1.0}})
    assert read_run(tmp_path / "r") == {"q%201": {"a%20b%09c": 1.0}}


@pytest.mark.parametrize("seed", range(20))
def test_judgements_are_read_as_they_were_written(tmp_path, seed):
    source = random.Random(seed)
    qrels = {f"q{n}": {f"doc {m}": source.randint(-1, 4) for m in range(source.randint(1, 6))} for n in range(4)}
    write_qrels(tmp_path / "qrels.tsv", qrels)
    assert read_qrels(tmp_path / "qrels.tsv") == qrels


@pytest.mark.parametrize(
    "text",
    [
        "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n",
        "q1\td1\t1\nq1\td2\t0\n",
        "q1 0 d1 1\nq1 0 d2 0\n",
        "q1\t0\td1\t1\n\n  \nq1 Q0 d2 0\r\n",
        "\ufeffquery-id\tcorpus-id\tscore\r\nq1\td1\t+1\r\nq1\td2\t0",
    ],
    ids=["BEIR", "no header", "TREC", "tabs and blank lines", "Windows"],
)
def test_judgements_of_either_kind_are_understood(tmp_path, text):
    assert read_qrels(put(tmp_path, text)) == {"q1": {"d1": 1, "d2": 0}}
    packed = tmp_path / "qrels.tsv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert read_qrels(packed) == {"q1": {"d1": 1, "d2": 0}}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("q1 0 d1 1\nq1 0 d1 2\n", ":2", "judged twice"),
        ("q1 0 d1 1\nq1 d2 1\n", ":2", "3 columns, where the first line has 4"),
        ("q1 0 d1 relevant\n", ":1", "'relevant' is not a whole number"),
        ("q1 0 d1 1.5\n", ":1", "not a whole number"),
        ("q1 0 d1 99999999999\n", ":1", "not a whole number"),
        ("a\tb\tc\n", ":1", "neither a judgement nor the header"),
        ("one two\n", ":1", "2 columns"),
        ("", "", "holds no judgement"),
        ("query-id\tcorpus-id\tscore\n", "", "holds no judgement"),
        (b"q1 0 d\xff 1\n", ":1", "not UTF-8"),
    ],
)
def test_a_bad_judgement_is_named(tmp_path, text, place, words):
    path = put(tmp_path, text)
    with pytest.raises(ReadError) as caught:
        read_qrels(path)
    assert caught.value.where == f"{path}{place}"
    assert words in caught.value.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("q1 Q0 d1 1 0.5\n", "5 columns"),
        ("q1 Q0 d1 1 nan x\n", "not a finite number"),
        ("q1 Q0 d1 1 inf x\n", "not a finite number"),
        ("q1 Q0 d1 1 1_0 x\n", "not a finite number"),
        ("q1 Q0 d1 1 high x\n", "not a finite number"),
        ("q1 Q0 d1 first 1 x\n", "rank 'first'"),
        ("q1 Q0 d1 1 1 x\nq1 Q0 d1 2 0 x\n", "comes twice"),
        ("\n", "holds no line"),
    ],
)
def test_a_bad_line_of_a_run_is_named(tmp_path, text, words):
    with pytest.raises(ReadError, match=words):
        read_run(put(tmp_path, text))


def test_queries_come_in_the_order_of_the_file(tmp_path):
    path = put(tmp_path, '{"_id": "b", "text": "two"}\n{"id": 1, "text": "one", "more": null}\n')
    assert list(read_queries(path).items()) == [("b", "two"), ("1", "one")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}', "comes twice"),
        ('{"_id": "a b", "text": "x"}', "without blanks"),
        ('{"_id": true, "text": "x"}', "needs an _id"),
        ('{"text": "x"}', "needs an _id"),
        ('{"_id": "a", "text": "  "}', "not empty"),
        ('{"_id": "a", "text": 3}', "must be text"),
        ('{"_id": "a"}', "needs the field 'text'"),
        ("[1]", "not a JSON object"),
        ("{", "not JSON"),
        ('{"_id": "a", "text": "x", "score": NaN}', "NaN is not a number of JSON"),
        ('{"_id": ' + "[" * 100_000, "not JSON"),
        ("", "holds no query"),
    ],
)
def test_a_bad_query_is_named(tmp_path, text, words):
    with pytest.raises(ReadError, match=words):
        read_queries(put(tmp_path, text))


def test_lone_surrogates_become_question_marks(tmp_path):
    assert read_queries(put(tmp_path, '{"_id": "a", "text": "x \\ud800 y"}')) == {"a": "x ? y"}


@pytest.mark.parametrize(
    "content", [b"not gzip", gzip.compress(b"q1 0 d1 1\n" * 999, mtime=0)[:30], b"\x1f\x8b" + b"\0" * 40]
)
def test_a_damaged_archive_is_an_error_of_ours(tmp_path, content):
    with pytest.raises(ReadError, match=r"q.tsv.gz: cannot be read"):
        read_qrels(put(tmp_path, content, "q.tsv.gz"))


def test_an_endless_line_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LONGEST", 100)
    assert read_qrels(put(tmp_path, "q1 0 d1 1" + " " * 80)) == {"q1": {"d1": 1}}
    with pytest.raises(ReadError, match="longer than 100 bytes"):
        read_qrels(put(tmp_path, "q" * 101))


def test_a_missing_file_is_an_error_of_ours(tmp_path):
    with pytest.raises(ReadError, match="No such file"):
        read_run(tmp_path / "none")


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = put(tmp_path, "before")

    def parts():
        yield "half"
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        files.write(path, parts())
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    with pytest.raises(StorageError):
        files.write(tmp_path / "no folder" / "file", ["x"])


def test_scores_are_written_to_the_last_bit(tmp_path):
    value = math.nextafter(0.1, 1)
    write_run(tmp_path / "r", {"q": {"d": value}})
    assert read_run(tmp_path / "r")["q"]["d"] == value
