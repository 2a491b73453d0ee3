"""What points are coloured by, and that the colours can be told apart by everyone."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from instructsearch.explore.colouring import BINS, CATEGORIES, NONE, OTHER, by_group, by_value, field, written
from instructsearch.explore.palette import PALETTES

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(colour):
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def oklab(colour, sight="normal"):
    return LAB @ np.cbrt(CONES @ np.clip(SIGHTS[sight] @ linear(colour), 0, 1))


def contrast(one, other):
    dark, light = sorted(linear(colour) @ (0.2126, 0.7152, 0.0722) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


# --- colours


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("paper", PALETTES)
def test_categories_can_be_told_apart_with_any_sight(paper, sight):
    colours = [oklab(colour, sight) for colour in PALETTES[paper]["categories"]]
    assert min(np.linalg.norm(one - other) for one, other in combinations(colours, 2)) > 0.1


@pytest.mark.parametrize("paper", PALETTES)
def test_every_colour_stands_out_from_its_paper(paper):
    palette = PALETTES[paper]
    for colour in [*palette["categories"], *palette["scale"], palette["other"], palette["none"]]:
        assert contrast(colour, palette["plot"]) >= 3, colour


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("paper", PALETTES)
def test_a_scale_goes_one_way_in_lightness_with_any_sight(paper, sight):
    steps = [float(after - before) for before, after in pairwise(oklab(c, sight)[0] for c in PALETTES[paper]["scale"])]
    assert all(step > 0.02 for step in steps) or all(step < -0.02 for step in steps)


# --- legends


def test_categories_come_the_commonest_first_and_ties_by_the_alphabet():
    found = by_value("kind", ["b", "a", "c", "c", "b", "a", "c", None])
    assert [(entry.label, entry.style) for entry in found.entries] == [
        ("c", 0),
        ("a", 1),
        ("b", 2),
        ("no kind", NONE),
    ]
    assert found.numbers.tolist() == [2, 1, 0, 0, 2, 1, 0, 3]
    assert not found.ordered


def test_rare_values_share_one_entry():
    values = [f"v{number:02}" for number in range(40) for _ in range(40 - number)]
    found = by_value("kind", values)
    assert len(found.entries) == CATEGORIES
    assert (found.entries[-1].label, found.entries[-1].style) == (f"{40 - CATEGORIES + 1} others", OTHER)
    assert [found.entries[at].label for at in found.numbers[:40]] == ["v00"] * 40
    assert found.numbers[-1] == CATEGORIES - 1


def test_as_many_values_as_there_are_styles_need_no_other():
    found = by_value("kind", [f"v{number:02}" for number in range(CATEGORIES)])
    assert [entry.style for entry in found.entries] == list(range(CATEGORIES))


def test_few_numbers_are_entries_and_many_are_ranges():
    few = by_value("year", [2019, 2020, 2020, 2021])
    assert ([entry.label for entry in few.entries], few.ordered) == (["2020", "2019", "2021"], False)
    many = by_value("year", list(range(100)))
    assert (len(many.entries), many.ordered) == (BINS, True)
    counts = np.bincount(many.numbers)
    assert counts.sum() == 100
    assert counts.max() - counts.min() <= 2
    assert many.entries[0].label == "0 to 14"
    assert many.numbers.tolist() == sorted(many.numbers.tolist())


def test_equal_numbers_are_in_one_range_and_every_range_says_what_is_in_it():
    random = np.random.default_rng(0)
    values = [0] * 300 + (random.integers(0, 50, 200) / 4).tolist() + [None, float("nan")]
    found = by_value("score", values)
    assert (found.entries[-1].label, found.entries[-1].style) == ("no score", NONE)
    for number, entry in enumerate(found.entries[:-1]):
        mine = [value for value, at in zip(values, found.numbers.tolist(), strict=True) if at == number]
        low, _, high = entry.label.partition(" to ")
        assert (min(mine), max(mine)) == (pytest.approx(float(low)), pytest.approx(float(high or low)))
    assert len({at for value, at in zip(values, found.numbers.tolist(), strict=True) if value == 0}) == 1


def test_numbers_among_words_are_words():
    found = by_value("mixed", [*range(20), "x"])
    assert not found.ordered
    assert len(found.entries) == 21


def test_groups_keep_their_numbers_and_those_beyond_the_styles_share_one():
    labels = np.array([0, 1, 2, -1, 0])
    found = by_group("clusters", labels, ["0: a", "1: b", "2: c"])
    assert [entry.style for entry in found.entries] == [0, 1, 2, NONE]
    assert found.numbers.tolist() == [0, 1, 2, 3, 0]
    many = by_group("clusters", np.arange(40), [str(number) for number in range(40)])
    assert (many.entries[-1].label, many.entries[-1].style) == ("17 other groups", OTHER)
    assert many.numbers.tolist() == [*range(23), *[23] * 17]
    assert labels.tolist() == [0, 1, 2, -1, 0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("", None),
        (None, None),
        (True, "true"),
        (1, "1"),
        (1.5, "1.5"),
        (float("inf"), None),
        (["only"], "only"),
        (["a", "b"], "a, b"),
        ([], None),
        ([None], None),
        ({"b": 1, "a": "ä"}, '{"a": "ä", "b": 1}'),
    ],
)
def test_a_value_is_shown_as_a_person_would_write_it(value, text):
    assert written(value) == text


def test_a_field_with_dots_is_looked_for_by_its_whole_name_first():
    assert field({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert field({"a": {"b": {"c": 3}}}, "a.b.c") == 3
    assert field({"a": [1]}, "a.b") is None
