"""Tables, charts and pages: aligned, well-formed, self-contained, and deaf to what texts say."""

import math
import re
import xml.etree.ElementTree as XML
from html.parser import HTMLParser

import pytest

from instructsearch.evaluate import account
from instructsearch.evaluate.bootstrap import Interval
from instructsearch.evaluate.chart import WIDTH, Mark, Strip, differences, intervals, strips
from instructsearch.evaluate.exam import Score, Verdict
from instructsearch.evaluate.report import Section, page
from instructsearch.evaluate.table import number, signed, table, within

EVIL = '</title><script>alert("x")</script> & <img src=http://x>'


def score(group, value, said=""):
    return Score(group, said, Interval(value, value - 0.1, value + 0.1, 50), {"V-measure": 0.5})


VERDICT = Verdict(
    "a task",
    "labels",
    "10-NN accuracy",
    (score("none", 0.5), score("right", 0.8, EVIL), score("right", 0.7, "words"), score("wrong", 0.4, "no")),
)


def parsed(svg):
    root = XML.fromstring(svg)
    return root, list(root.iter())


class Whole(HTMLParser):
    """Collects tags, and holds every one that is opened to being closed in order."""

    VOID = ("meta",)

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(text):
    reader = Whole()
    reader.feed(text)
    assert reader.open == []
    return reader.seen


# --- tables


def test_columns_are_aligned_and_numbers_stand_to_the_right():
    made = table(["name", "value", "change"], [["a", "1.000", "+0.1"], ["longer", "10.000", "-0.25"], ["b", "", ""]])
    assert made.text().splitlines() == [
        "name     value  change",
        "a        1.000    +0.1",
        "longer  10.000   -0.25",
        "b",
    ]


def test_wide_and_combining_characters_do_not_shift_the_next_column():
    lines = table(["a", "b"], [["日本", "x"], ["e\u0301", "x"], ["abcd", "x"]]).text().splitlines()
    assert lines == ["a     b", "日本  x", "e\u0301     x", "abcd  x"]


def test_a_terminal_is_not_commanded_nor_flooded_by_a_cell():
    lines = table(["a"], [["x\x1b[2J\n\ty"], ["word " * 50]]).text().splitlines()
    assert lines[1] == "x [2J y"
    assert len(lines[2]) <= 60
    assert lines[2].endswith("…")
    assert len(lines) == 3


def test_numbers_as_text():
    assert (number(0.12345), number(None), number(float("nan")), signed(0.1), signed(-0.1)) == (
        *("0.123", "n/a", "n/a", "+0.100", "-0.100"),
    )
    assert within(Interval(0.5, 0.25, 0.75, 9)) == "0.500 [0.250 0.750]"


# --- charts


def test_an_interval_is_drawn_where_its_numbers_say():
    marks = [Mark("low", 0.2, 0.1, 0.3), Mark("high", 0.8, 0.7, 0.9, "hint")]
    _, nodes = parsed(intervals(marks, "t"))
    dots = [float(node.get("cx")) for node in nodes if node.tag == "circle"]
    ranges = [(float(node.get("x1")), float(node.get("x2"))) for node in nodes if node.get("class") == "range"]
    for dot, (start, end) in zip(dots, ranges, strict=True):
        assert dot == pytest.approx((start + end) / 2, abs=0.02)
        assert 0 < start < end < WIDTH
    ticks = {float(node.text): float(node.get("x")) for node in nodes if node.get("class") == "tick"}
    (a, at_a), (b, at_b), *_ = sorted(ticks.items())
    for dot, mark in zip(dots, marks, strict=True):
        assert dot == pytest.approx(at_a + (mark.value - a) / (b - a) * (at_b - at_a), abs=0.05)
    assert any(node.text and "hint: 0.800" in node.text for node in nodes if node.tag == "title")


@pytest.mark.parametrize(
    "values", [[0.0], [1.0], [0.3, 0.3], [-0.1, 0.2], [0.731, 0.7312], [1e-9, 2e-9], [0, 250.0], [-3.0]]
)
def test_ticks_are_even_within_the_picture_and_say_their_value(values):
    _, nodes = parsed(strips([Strip("row", tuple((value, "") for value in values))], "t"))
    ticks = [(float(node.text), float(node.get("x"))) for node in nodes if node.get("class") == "tick"]
    assert 2 <= len(ticks) <= 8
    assert len({value for value, _ in ticks}) == len(ticks)
    for spot in (float(node.get("cx")) for node in nodes if node.tag == "circle"):
        assert ticks[0][1] - 0.01 <= spot <= ticks[-1][1] + 0.01


def test_a_line_marks_zero_where_it_is_within():
    assert 'class="zero"' in intervals([Mark("a", 0.0, -0.1, 0.1)], "t")
    assert 'class="zero"' not in intervals([Mark("a", 0.5, 0.4, 0.6)], "t")


def test_a_strip_has_its_mean_and_keeps_apart_what_is_not_in_it():
    _, nodes = parsed(strips([Strip("row", ((0.2, "one"), (0.4, "two")), ((0.9, "none"),))], "t"))
    spots = [float(node.get("cx")) for node in nodes if node.get("class") == "spot"]
    (mean,) = [float(node.get("x1")) for node in nodes if node.get("class") == "mean"]
    assert mean == pytest.approx(sum(spots) / 2, abs=0.02)
    assert [node.get("class") for node in nodes if node.tag == "circle"] == ["spot", "spot", "hollow"]
    assert any(node.text == "0.300" for node in nodes)


def test_differences_are_bars_up_and_down_in_order():
    _, nodes = parsed(differences([-0.5, 0.25, 0.0, 0.5], "t"))
    bars = [(node.get("class"), float(node.get("height"))) for node in nodes if node.tag == "rect"]
    assert bars == [("better", 55.0), ("better", 27.5), ("worse", 55.0)]


def test_there_is_no_chart_of_nothing():
    assert intervals([], "t") == strips([], "t") == differences([], "t") == ""
    assert strips([Strip("row", ())], "t") == ""
    assert intervals([Mark("a", math.nan, 0, 0)], "t") == ""
    assert "rect" not in differences([0.0, 0.0], "t")


def test_labels_cannot_leave_their_place():
    for svg in (intervals([Mark(EVIL, 1, 1, 1, EVIL)], EVIL), strips([Strip(EVIL, ((1, EVIL),))], EVIL)):
        _, nodes = parsed(svg)
        assert {node.tag for node in nodes} <= {"svg", "g", "line", "circle", "text", "title"}
        assert any(node.text == EVIL for node in nodes if node.tag == "title")


# --- pages


def whole(sections):
    return "".join(page(EVIL, [("name", EVIL)], sections))


def test_a_page_fetches_nothing_and_runs_nothing():
    text = whole([Section(EVIL, EVIL, strips([Strip(EVIL, ((1, EVIL),))], EVIL), table([EVIL], [[EVIL]]))])
    seen = read(text)
    tags = {tag for tag, _ in seen}
    assert not tags & {"script", "img", "link", "iframe", "object", "a"}
    assert not [attrs for _, attrs in seen if {"src", "href", "onclick", "onload"} & set(attrs)]
    assert not re.search(r"url\(|@import|https?:", "".join(page("t", [], [Section("one", "two")])))
    policy = next(attrs["content"] for tag, attrs in seen if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_a_page_has_both_lights_and_every_section():
    text = whole([Section("One", "text", "", table(["a", "n"], [["x", "1"]])), Section("Two")])
    assert "prefers-color-scheme: dark" in text
    assert text.count("<section>") == 2
    assert '<td class="number">1</td>' in text
    assert "<figure>" not in text


def test_verdicts_are_told_as_a_table_and_as_sections():
    made = account.verdicts([VERDICT])
    row = dict(zip(made.columns, made.rows[0], strict=True))
    assert (row["none"], row["right: worst"], row["mean"], row["best"]) == ("0.500", "0.700", "0.750", "0.800")
    assert (row["wrong"], row["implicit"], row["right - wrong"]) == ("0.400", "", "+0.350")
    sections = list(account.of_verdicts([VERDICT]))
    assert [section.heading for section in sections] == ["Tasks", "a task"]
    assert [row[0] for row in sections[1].table.rows] == ["none", "right", "right", "wrong"]
    read("".join(page("t", [], sections)))
