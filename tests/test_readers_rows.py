"""Each row becomes a document or a reason, and no row spoils another."""

import gzip
import json
import os
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructsearch.errors import ReadError
from instructsearch.readers import File, Limits, read


def reading(path, limits=None):
    return list(read(File(str(path), str(path.parent), 0, 0), limits))


@pytest.fixture
def rows(tmp_path):
    """Write a file and return its documents by key, and its errors as (line or "", reason)."""

    def write(name, content, limits=None):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        results = reading(path, limits)
        errors = [entry for entry in results if isinstance(entry, ReadError)]
        assert all(entry.where == str(path) or entry.where.startswith(f"{path}:") for entry in errors)
        documents = [entry for entry in results if not isinstance(entry, ReadError)]
        assert all(document.source == str(path) for document in documents)
        return (
            {document.key.removeprefix(f"{path}"): document for document in documents},
            [(entry.where.removeprefix(f"{path}").removeprefix(":"), entry.reason) for entry in errors],
        )

    return write


def test_a_json_line_is_a_document_with_all_else_as_metadata(rows):
    documents, errors = rows(
        "a.jsonl", '{"_id": "x", "id": 7, "title": " A\\nT ", "text": "body", "n": {"a": [1, 2.5, null]}}'
    )
    document = documents["x"]
    assert errors == []
    assert (document.text, document.title, document.format, document.marks) == ("body", "A T", "text", ())
    assert document.metadata == {"id": 7, "n": {"a": [1, 2.5, None]}}


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({"id": 12}, "12"),
        ({"_id": "ä/b c"}, "ä/b c"),
        ({"id": 1.5}, "1.5"),
        ({"_id": None}, "#1"),
        ({"id": ""}, "#1"),
        ({}, "#1"),
    ],
)
def test_ids_are_text_and_rows_without_one_go_by_their_line(rows, row, key):
    assert list(rows("a.jsonl", json.dumps({**row, "text": "t"}))[0]) == [key]


def test_a_row_of_a_title_alone_is_its_title(rows):
    documents, errors = rows("a.jsonl", '{"id": 1, "title": "T", "text": "  "}\n{"id": 2, "title": "U"}')
    assert [(document.text, document.title) for document in documents.values()] == [("T", "T"), ("U", "U")]
    assert errors == []


def test_numbers_are_taken_as_text(rows):
    document = rows("a.jsonl", '{"id": 1, "title": 2, "text": 3.5}')[0]["1"]
    assert (document.title, document.text, document.metadata) == ("2", "3.5", {})


def test_the_text_is_kept_exactly_but_for_line_ends_and_control_characters(rows):
    text = "  a\r\nb\rc\tö\x00\x07\ud800 \x1b[31mred\u2028e\ufeff\x85f  "
    document = rows("a.jsonl", json.dumps({"text": text, "k\x00": "v\ud800\r\n"}))[0]["#1"]
    assert document.text == "  a\nb\nc\tö red\ne\nf  "
    assert document.metadata == {"k": "v\n"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("[1]", "row is a list, not an object with a text"),
        ('"text"', "row is text, not an object with a text"),
        ("null", "row is null, not an object with a text"),
        ("{}", "row has no text"),
        ('{"text": null}', "row has no text"),
        ('{"text": " \\n\\u0000", "title": " "}', "row has no text"),
        ('{"text": []}', "row has a list as text, not text"),
        ('{"text": true}', "row has true or false as text, not text"),
        ('{"text": "t", "_id": {}}', "row has an object as _id, not text or a number"),
        ('{"text": "t", "id": false}', "row has true or false as id, not text or a number"),
        ('{"text": "t", "v": NaN}', "not JSON: NaN is no number that JSON knows"),
        ('{"text": "t", "v": -Infinity}', "not JSON: -Infinity is no number that JSON knows"),
        ('{"text": "t", "v": [{"w": 1e999}]}', "row holds a number too large for JSON (infinity)"),
        ('{"text": "t"', "not JSON: expecting ',' delimiter at column 13"),
        ('{"text": "t", "v": ' + "9" * 5000 + "}", "not JSON: Exceeds the limit"),
        ('{"text": "t", "v": ' + "[" * 101 + "]" * 101 + "}", "row nested more than 100 levels deep"),
        ("[" * 200_000, "JSON nested too deeply to be read"),
        (b'{"text": "caf\xe9"}', "not UTF-8: byte 0xe9; convert it"),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_the_others_read(rows, row, reason):
    row = row if isinstance(row, bytes) else row.encode()
    documents, [(line, said)] = rows("a.jsonl", b'{"id": 1, "text": "a"}\n\n' + row + b'\n{"id": 2, "text": "b"}\n')
    assert list(documents) == ["1", "2"]
    assert line == "3"
    assert said.startswith(reason)


def test_an_id_given_twice_is_refused_the_second_time_naming_both_rows(rows):
    documents, errors = rows("a.jsonl", '{"_id": 1, "text": "a"}\n{"text": "b"}\n{"id": "1", "text": "c"}')
    assert [document.text for document in documents.values()] == ["a", "b"]
    assert errors == [("3", "row has the same id '1' as row 1, which is kept")]


def test_a_row_over_the_limit_is_refused_and_the_rows_around_it_read(rows):
    content = '{"id": 1, "text": "a"}\n{"id": 2, "text": "' + "x" * 300 + '"}\n{"id": 3, "text": "c"}'
    documents, errors = rows("a.jsonl", content, Limits(row_bytes=100))
    assert list(documents) == ["1", "3"]
    assert errors == [("2", "row longer than the limit of 100 bytes (row_bytes)")]


def test_a_line_of_a_gigabyte_is_passed_over_quickly_in_little_memory(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"id": 1, "text": "a"}\n' + b'{"text": "' + b"x" * 10_000)
        file.truncate(1_000_000_000)  # a hole, which takes no disk
        file.seek(0, os.SEEK_END)
        file.write(b'"}\n{"id": 2, "text": "b"}\n')
    started = time.monotonic()
    first, error, last = reading(path)
    assert (first.key, last.key) == ("1", "2")
    assert error.where == f"{path}:2"
    assert time.monotonic() - started < 20


def test_a_file_that_is_no_json_lines_at_all_is_refused_once(rows):
    documents, errors = rows("a.jsonl", "just prose\n" * 5000)
    assert documents == {}
    assert errors == [("", "not JSON Lines: none of the first 100 is; not JSON: expecting value at column 1")]


def test_bad_rows_at_the_start_of_a_good_file_are_named_singly(rows):
    documents, errors = rows("a.jsonl", "bad\n" * 99 + '{"id": 1, "text": "a"}\n' + "bad\n" * 150)
    assert list(documents) == ["1"]
    assert len(errors) == 249


def test_binary_called_jsonl_is_refused(rows):
    assert rows("a.jsonl", bytes(range(256)) * 10) == ({}, [("", "binary, not text")])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
def test_byte_order_marks_are_understood(rows, encoding):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    documents, errors = rows("a.csv", f"{mark}id,text\r\n1,näin\r\n".encode(encoding))
    assert (documents["1"].text, errors) == ("näin", [])


def test_json_is_read_as_rows_where_a_list_of_them_is_found(rows):
    listed = '[{"id": 1, "text": "a"}, {"id": 2}, 3, {"text": "d"}]'
    for content in (listed, '{"count": 3, "names": ["x"], "data": ' + listed + "}"):
        documents, errors = rows("a.json", content)
        assert list(documents) == ["1", "#4"]
        assert errors == [("2", "row has no text"), ("3", "row is a number, not an object with a text")]


@pytest.mark.parametrize(
    "value", [{"b": "näin", "a": [1]}, [{"name": "x"}], "text", {"a": [{"text": 1}], "b": [{"text": 2}]}]
)
def test_other_json_is_one_document_of_its_pretty_text(rows, value):
    documents, errors = rows("some.json", json.dumps(value))
    document = documents[""]
    assert errors == []
    assert json.loads(document.text) == value
    assert (document.title, document.format, document.metadata) == ("", "code:json", {"type": "json"})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"a": NaN}', "not JSON: NaN is no number that JSON knows"),
        ('{"a":\n 1e400}', "JSON holds a number too large"),
        ("[" * 100_000, "JSON nested too deeply"),
        ("[" * 300 + "]" * 300, "JSON nested more than 100 levels deep"),
        ('{"a": 1,\n}', "not JSON: "),
        ("", "not JSON: expecting value at column 1"),
        (b"\xff\x00\x01", "binary, not text"),
    ],
)
def test_broken_json_is_refused_as_a_file(rows, content, reason):
    documents, [(where, said)] = rows("a.json", content)
    assert (documents, where) == ({}, "")
    assert said.startswith(reason)


def test_csv_keeps_every_cell_as_the_text_that_it_is(rows):
    documents, errors = rows("a.csv", '_id,title,text,zip,empty\n007,T,"a, ""b""\nc",01234,\n')
    document = documents["007"]
    assert (document.text, document.title, errors) == ('a, "b"\nc', "T", [])
    assert document.metadata == {"zip": "01234", "empty": ""}


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("2020", 2020),
        ("-3", -3),
        ("0", 0),
        ("7.5", 7.5),
        ("1.0", 1.0),
        ("true", True),
        ("false", False),
        *(
            (text, text)
            for text in ("01234", "-0", "7.50", "1e5", "+3", "True", "1,000", ".5", "5.", "1" * 16, "NaN", "")
        ),
    ],
)
def test_a_csv_cell_is_a_number_only_if_nothing_is_lost(rows, cell, value):
    kept = rows("a.csv", f"id,text,k\n1,a,{chr(34)}{cell}{chr(34)}\n")[0]["1"].metadata["k"]
    assert (kept, type(kept)) == (value, type(value))


def test_csv_without_a_text_has_its_cells_by_name_as_text(rows):
    document = rows("a.csv", "id,name,city\n1,Ann,Oulu\n2,,Turku\n")[0]
    assert document["1"].text == "name: Ann\ncity: Oulu"
    assert document["1"].metadata == {"name": "Ann", "city": "Oulu"}
    assert document["2"].text == "city: Turku"


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_csv_may_be_separated_by_other_signs(rows, sign):
    assert rows("a.csv", f"id{sign}text\n1{sign}a b\n")[0]["1"].text == "a b"


def test_csv_headers_are_made_unique(rows):
    document = rows("a.csv", "id, text ,,k,k\n1,a,b,c,d\n")[0]["1"]
    assert document.metadata == {"column_3": "b", "k": "c", "k_5": "d"}


def test_csv_rows_too_long_are_refused_and_short_or_blank_ones_are_not(rows):
    documents, errors = rows("a.csv", "id,text,k\n1,a\n2,b,c,d\n\n,,\n3,c,k,,\n")
    assert {key: document.metadata for key, document in documents.items()} == {"1": {}, "3": {"k": "k"}}
    assert errors == [("3", "row has 4 cells where the header has 3")]


def test_a_csv_row_in_another_encoding_is_named_and_the_rest_read(rows):
    documents, errors = rows("a.csv", b"id,text\n1,a\n2,caf\xe9\n3,c\n")
    assert list(documents) == ["1", "3"]
    assert errors[0][0] == "3"


def test_a_quote_never_closed_costs_one_row(rows):
    documents, errors = rows("a.csv", 'id,text\n1,a\n2,"b\n3,c\n4,d\n')
    assert list(documents) == ["1", "3", "4"]
    assert errors == [("3", "a quote is opened and never closed")]


def test_a_quote_not_closed_within_the_limit_costs_one_row(rows):
    documents, errors = rows(
        "a.csv", 'id,text\n1,"b\n' + "".join(f"{n},c\n" for n in range(2, 100)), Limits(row_bytes=100)
    )
    assert list(documents) == [str(n) for n in range(2, 100)]
    assert errors == [("2", "a quote is not closed within the limit of 100 bytes (row_bytes)")]


def test_a_quote_open_where_a_line_cannot_be_read_costs_both(rows):
    documents, errors = rows("a.csv", b'id,text\n1,"b\n\xff\n2,c\n')
    assert list(documents) == ["2"]
    assert sorted(line for line, _ in errors) == ["2", "3"]


def test_csv_of_endless_open_quotes_ends(rows):
    started = time.monotonic()
    documents, errors = rows("a.csv", "id,text\n" + '1"b,"c\n' * 300_000, Limits(row_bytes=1_000_000))
    assert (documents, errors[-1]) == ({}, ("", "no CSV: up to row 6, too many quotes are opened and never closed"))
    assert time.monotonic() - started < 20


def test_cells_larger_than_pythons_own_limit_are_read(rows):
    assert len(rows("a.csv", f"id,text\n1,{'x' * 500_000}\n")[0]["1"].text) == 500_000


def test_tsv_rows_are_lines_whatever_their_quotes(rows):
    documents, errors = rows("a.tsv", 'id\ttext\n1\t"quoted\tcell"\n2\t"open\n3\ta "b" c\n4\t"a" b\n')
    assert [document.text for document in documents.values()] == ["quoted\tcell", '"open', 'a "b" c', '"a" b']
    assert errors == []


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.ndjson"])
def test_gzip_of_rows_reads_as_the_rows(rows, name):
    plain = {"csv": "id,text\n1,a", "tsv": "id\ttext\n1\ta", "json": '[{"id": 1, "text": "a"}]'}
    content = plain.get(name[2:], '{"id": 1, "text": "a"}')
    document = rows(f"{name}.gz", gzip.compress(content.encode()))[0]["1"]
    assert (document.text, document.metadata) == ("a", {})


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.json.gz", "a.csv.gz"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"plain text", "broken gzip file: not a gzipped file"),
        (gzip.compress(b"x" * 99, mtime=0)[:-9], "gzip file is cut short"),
    ],
)
def test_gzip_that_is_none_is_refused(rows, name, content, reason):
    documents, errors = rows(name, content)
    assert documents == {}
    assert errors[-1][0] == ""
    assert errors[-1][1].startswith(reason)


def test_rows_before_the_break_in_a_gzip_file_are_read(rows):
    rng = random.Random(1)
    content = b"".join(b'{"id": %d, "text": "%s"}\n' % (n, rng.randbytes(40).hex().encode()) for n in range(2000))
    packed = bytearray(gzip.compress(content))
    packed[-8:-4] = b"\0\0\0\0"  # the checksum
    documents, errors = rows("a.jsonl.gz", bytes(packed))
    assert len(documents) == 2000
    assert errors[-1][1].startswith("broken gzip file")


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.json.gz", "a.csv.gz"])
def test_a_gzip_bomb_is_left_alone(rows, name):
    documents, errors = rows(name, gzip.compress(b"x" * 30_000_000), Limits(file_bytes=50_000_000))
    assert documents == {}
    assert errors[-1] == ("", "expands to more than 10,000,000 bytes, as only a bomb does (the limit expansion)")


def test_json_over_the_limit_is_refused(rows):
    for name, content in (("a.json", b"[]" + b" " * 99), ("a.json.gz", gzip.compress(b"[]" + b" " * 99))):
        assert rows(name, content, Limits(file_bytes=50)) == (
            {},
            [("", "larger than the limit of 50 bytes (file_bytes)")],
        )


@settings(max_examples=150, deadline=None)
@given(
    content=st.one_of(st.binary(max_size=300), st.text('",\n\r\tab{}[]:\\1é\0', max_size=200).map(str.encode)),
    suffix=st.sampled_from([".csv", ".tsv", ".json", ".jsonl", ".jsonl.gz", ".txt", ".md", ".rst", ".py", ".unknown"]),
)
def test_no_bytes_make_reading_fall_over(tmp_path_factory, content, suffix):
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    path.write_bytes(content)
    for entry in reading(path):
        if isinstance(entry, ReadError):
            assert entry.where.startswith(str(path))
            assert "\n" not in entry.reason
        else:
            json.dumps([entry.text, entry.title, dict(entry.metadata)], allow_nan=False).encode()
            entry.text.encode()
            assert entry.text.strip()
            assert "\0" not in entry.text
            assert "\r" not in entry.text


def test_limits_must_be_above_zero():
    with pytest.raises(ValueError, match="the limit pages must be above zero, not 0"):
        Limits(pages=0)
