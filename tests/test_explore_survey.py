"""Things, their groups in several views, and how far those agree."""

import csv
import io
import json
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from test_explore_grouping import bundles, unit

from instructsearch.errors import BadQuery
from instructsearch.explore import Agreement, agreement, means, survey, things


@dataclass
class Passage:
    chunk: int
    document: str
    text: str
    title: str = ""
    metadata: dict = field(default_factory=dict)


COLOURS, SHAPES = ("red", "green", "blue"), ("ship", "cat")


@pytest.fixture(scope="module")
def crossed():
    """Two views of 120 passages: one groups them by colour, the other by shape, and neither knows of the other."""
    random = np.random.default_rng(2)
    passages, colour, shape = [], [], []
    for number in range(120):
        one, other = COLOURS[number % 3], SHAPES[number // 3 % 2]
        data = {"colour": one, "shape": other, "year": number} if number % 10 else {"colour": one}
        passages.append(Passage(100 + number, f"d{number // 2}", f"a {one} {other}, number {number}", "", data))
        colour.append(np.eye(8)[number % 3])
        shape.append(np.eye(8)[3 + number // 3 % 2])
    noise = 0.05 * random.normal(size=(120, 8))
    return passages, {"by colour": unit(np.array(colour) + noise), "by shape": unit(np.array(shape) + noise)}


@pytest.fixture(scope="module")
def surveyed(crossed):
    passages, matrices = crossed
    return survey(things(passages)[0], matrices, against="colour")


# --- agreement


def test_agreement_of_the_same_groups_under_other_names_is_one():
    found = agreement([0, 0, 1, 1, 2, 2], ["c", "c", "a", "a", "b", "b"])
    assert (found.v_measure, found.adjusted_mutual_information, found.rows) == (1, 1, 6)


def test_v_measure_is_that_of_rosenberg_and_hirschberg():
    # two groups of two against one group of four: all completeness, no homogeneity but what entropy is left
    first, second = [0, 0, 1, 1], [0, 1, 0, 1]
    assert agreement(first, second).v_measure == pytest.approx(0)
    homogeneous = agreement([0, 1, 2, 3], [0, 0, 1, 1])  # homogeneity 1, completeness 1 / 2
    assert homogeneous.v_measure == pytest.approx(2 * 0.5 / 1.5)


def test_many_groups_by_chance_raise_v_measure_but_not_the_adjusted_score():
    random = np.random.default_rng(0)
    found = agreement(random.integers(0, 60, 300).tolist(), random.integers(0, 60, 300).tolist())
    assert found.v_measure > 0.5
    assert abs(found.adjusted_mutual_information) < 0.05


def test_agreement_needs_as_many_labels():
    with pytest.raises(ValueError, match="2 labels"):
        agreement([0, 1], [0])


def test_a_score_that_rounds_to_nothing_is_no_minus_zero():
    scores = Agreement(0.0, -1e-9, 3).to_dict()
    assert str(scores["adjusted_mutual_information"]) == "0.0"


def test_agreement_of_a_single_thing_is_a_number():
    assert all(math.isfinite(value) for value in agreement([0], [0]).to_dict().values())


# --- things


def test_passages_are_things_of_their_own():
    made, which = things([Passage(4, "a", "one", "T", {"x": 1}), Passage(9, "a", "two")])
    assert (list(made.chunks), list(made.texts), list(made.titles)) == ([4, 9], ["one", "two"], ["T", ""])
    assert (which.tolist(), made.of_chunk) == ([0, 1], {4: 0, 9: 1})


def test_a_document_is_all_its_passages_in_the_order_of_the_first():
    passages = [Passage(1, "b", "one", "B", {"x": 1}), Passage(2, "a", "two"), Passage(5, "b", "three", "B", {"x": 2})]
    made, which = things(passages, "document")
    assert (list(made.documents), list(made.texts)) == (["b", "a"], ["one\nthree", "two"])
    assert (which.tolist(), made.of_chunk) == ([0, 1, 0], {1: 0, 2: 1, 5: 0})
    assert made.values("x") == [1, None]


def test_a_mean_is_the_mean_of_its_rows_at_unit_length():
    rows = unit(np.random.default_rng(1).normal(size=(6, 5)))
    which = np.array([0, 1, 0, 2, 1, 0])
    found = means(rows, which)
    assert found.dtype == np.float32
    for number in range(3):
        mean = rows[which == number].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(found[number], mean / np.linalg.norm(mean), atol=1e-6)


def test_rows_that_undo_each_other_leave_the_first():
    rows = unit([[1, 0], [-1, 0], [0, 1]])
    assert means(rows, np.array([0, 0, 1])).tolist() == [[1, 0], [0, 1]]


def test_one_row_each_is_not_copied():
    rows = unit(np.eye(3))
    assert means(rows, np.arange(3)) is rows


def test_a_field_is_found_by_name_or_inside_objects_and_title_and_document_are_always_there():
    data = [{"a": {"b": 1}, "x.y": "dotted", "x": {"y": "nested"}}, {"a": 3}]
    made, _ = things([Passage(n, f"d{n}", "text", f"t{n}", each) for n, each in enumerate(data)])
    assert made.values("a.b") == [1, None]
    assert made.values("x.y") == ["dotted", None]
    assert made.values("title") == ["t0", "t1"]
    assert made.values("document") == ["d0", "d1"]


def test_a_field_that_none_has_is_refused_with_those_there_are():
    made, _ = things([Passage(1, "a", "text", "", {"kind": 1, **{f"f{n:02}": 1 for n in range(40)}})])
    with pytest.raises(BadQuery, match=r"no passage has a field 'colour'; there are: document, f00, .*, \.\.\."):
        made.values("colour")


# --- surveys


def test_two_views_that_see_different_things_do_not_agree(surveyed):
    (pair,) = surveyed.facts()["agreement"]
    assert pair["views"] == ["by colour", "by shape"]
    assert pair["adjusted_mutual_information"] < 0.05


def test_a_view_agrees_with_the_field_it_sees_and_the_other_does_not(surveyed):
    against = surveyed.facts()["against"]
    assert (against["field"], against["values"]) == ("colour", 3)
    colour, shape = against["views"]
    assert (colour["v_measure"], colour["rows"]) == (1, 120)
    assert shape["v_measure"] < 0.05


def test_things_without_the_field_are_left_out_of_its_comparison(crossed):
    passages, matrices = crossed
    against = survey(things(passages)[0], matrices, k=2, against="shape").facts()["against"]
    assert [one["rows"] for one in against["views"]] == [108, 108]
    assert against["views"][1]["v_measure"] == 1


def test_groups_are_named_by_what_their_view_sees(surveyed):
    first, second = (surveyed.views[view] for view in ("by colour", "by shape"))
    assert {terms[0] for terms in first.terms} == set(COLOURS)
    assert {terms[0] for terms in second.terms} == set(SHAPES)
    assert first.titles(1)[0] == f"0: {first.terms[0][0]}"


def test_each_group_is_told_with_its_share_and_its_most_central_texts(surveyed):
    named = surveyed.views["by shape"]
    rows = list(named.rows())
    assert [row["cluster"] for row in rows] == [0, 1]
    assert sum(row["share"] for row in rows) == 1
    for row in rows:
        assert len(row["central"]) == 3
        similarities = [one["similarity"] for one in row["central"]]
        assert similarities == sorted(similarities, reverse=True)
        assert row["closeness"] <= similarities[0] <= 1
        assert all(row["terms"][0] in one["text"] for one in row["central"])
        assert set(row["central"][0]) == {"document", "chunk", "title", "text", "similarity"}
    json.dumps(rows)


def test_equal_texts_are_shown_once_and_long_ones_cut():
    passages = [Passage(n, f"d{n}", "the same" if n < 5 else f"text {n} " * 100) for n in range(7)]
    named = survey(things(passages)[0], {"v": unit(np.ones((7, 3)))}, k=1).views["v"]
    (row,) = named.rows()
    texts = [one["text"] for one in row["central"]]
    assert texts[0] == "the same"
    assert len(set(texts)) == 3
    assert max(map(len, texts)) == 300


def test_the_facts_say_how_the_groups_were_made(surveyed, crossed):
    facts = surveyed.views["by colour"].facts()
    assert (facts["method"], facts["clusters"], facts["alone"], facts["sampled"]) == ("kmeans", 3, 0, 120)
    assert max(facts["silhouettes"], key=facts["silhouettes"].get) == "3"
    passages, matrices = crossed
    given = survey(things(passages)[0], matrices, k=4).views["by colour"].facts()
    assert given == {"method": "kmeans", "clusters": 4, "alone": 0}


def test_a_single_view_and_no_field_have_nothing_to_be_compared_with(crossed):
    passages, matrices = crossed
    assert survey(things(passages)[0], {"v": matrices["by shape"]}, k=2).facts() == {"agreement": []}


def test_the_table_has_a_row_for_each_thing_and_view(surveyed):
    rows = list(csv.DictReader(io.StringIO(surveyed.table("csv"))))
    lines = [json.loads(line) for line in surveyed.table("jsonl").splitlines()]
    assert len(rows) == len(lines) == 240
    assert list(rows[0]) == ["view", "cluster", "label", "similarity", "document", "chunk"]
    for row, line in zip(rows, lines, strict=True):
        assert row == {name: str(value) for name, value in line.items()}
    labels = surveyed.views["by colour"].grouping.labels.tolist()
    assert [line["cluster"] for line in lines[:120]] == labels
    assert lines[0]["chunk"] == 100


def test_a_table_of_documents_has_no_chunks_and_hostile_keys_stay_in_their_cells():
    keys = ['a,"b"\n=1+1', "plain", "</script>"]
    passages = [Passage(n, key, "text") for n, key in enumerate(keys)]
    found = survey(things(passages, "document")[0], {"v": unit(np.eye(3))}, k=3)
    rows = list(csv.DictReader(io.StringIO(found.table("csv"))))
    assert [row["document"] for row in rows] == keys
    assert "chunk" not in rows[0]


def test_things_in_no_group_have_no_label_in_the_table():
    rows, _ = bundles([30, 30], noise=0.03)
    stray = unit(np.random.default_rng(9).normal(size=(6, 24)))
    matrix = np.concatenate([rows, stray])
    passages = [Passage(n, f"d{n}", "text") for n in range(66)]
    found = survey(things(passages)[0], {"v": matrix}, min_size=10)
    lines = [json.loads(line) for line in found.table("jsonl").splitlines()]
    alone = [line for line in lines if line["cluster"] == -1]
    assert alone
    assert {(line["label"], line["similarity"]) for line in alone} == {("", 0)}
    assert found.views["v"].facts()["alone"] == len(alone)
