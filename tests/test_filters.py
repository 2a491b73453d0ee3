"""Filters: both notations, one tree, and clear refusals."""

import math

import pytest

from instructsearch.errors import BadFilter
from instructsearch.filters import All, Compare, Either, Not, expressions, parse


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("year=2020", Compare("year", "=", 2020)),
        ("year>=2020.5", Compare("year", ">=", 2020.5)),
        ("year<-3", Compare("year", "<", -3)),
        ("lang!=fi", Not(Compare("lang", "=", "fi"))),
        ("draft=true", Compare("draft", "=", True)),
        ("zip='01234'", Compare("zip", "=", "01234")),
        ('year="2020"', Compare("year", "=", "2020")),
        ("title=a = b", Compare("title", "=", "a = b")),
        ("tag in a,b", Compare("tag", "in", ("a", "b"))),
        ("tag in 'a,b', 3 ,true", Compare("tag", "in", ("a,b", 3, True))),
        ("path=/a/b in c", Compare("path", "=", "/a/b in c")),
        ("note=", Compare("note", "=", "")),
    ],
)
def test_an_expression_becomes_one_test(written, expected):
    assert parse(expressions([written])) == All((expected,))


@pytest.mark.parametrize("written", ["", "year", "=3", "year ~ 3", "in a,b"])
def test_what_is_no_expression_is_refused_with_the_forms_that_are(written):
    with pytest.raises(BadFilter, match="key=value"):
        expressions([written])


def test_no_expression_is_no_filter():
    assert expressions([]) is None
    assert parse(None) is None
    assert parse({}) is None


def test_operator_dictionaries_nest():
    where = {"$or": [{"year": {"$gte": 2020, "$lt": 2022}}, {"$not": {"lang": {"$nin": ["fi"]}}}], "a.b": None}

    assert parse(where) == All(
        (
            Either(
                (
                    All((Compare("year", ">=", 2020), Compare("year", "<", 2022))),
                    Not(Not(Compare("lang", "in", ("fi",)))),
                )
            ),
            Compare("a.b", "=", None),
        )
    )


@pytest.mark.parametrize(
    "where",
    [
        {"$nor": []},
        {"year": {"$near": 3}},
        {"year": {"$gt": True}},
        {"year": {"$in": "abc"}},
        {"year": {"$exists": 1}},
        {"year": math.nan},
        {"year": 2**70},
        {"year": [1]},
        {"year": {}},
        {"": 1},
        {'a"b': 1},
        {3: 1},
        {"$and": {"a": 1}},
        ["year"],
        {"year": {"$in": list(range(10_001))}},
        {"$contains": "?!"},
        {"$contains": 3},
        {"$not_contains": ["word"]},
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused(where):
    with pytest.raises(BadFilter):
        parse(where)


def test_endless_nesting_is_refused():
    where = {"a": 1}
    for _ in range(100):
        where = {"$not": where}
    with pytest.raises(BadFilter, match="deeper"):
        parse(where)
