"""The page of maps: what is in the file, and that nothing a document says can be more than text."""

import base64
import hashlib
import io
import json
import re
import struct
from html.parser import HTMLParser

import numpy as np
import pytest

from instructsearch.errors import MissingExtra
from instructsearch.explore import Things, atlas
from instructsearch.explore.colouring import Colouring, Entry, by_value
from instructsearch.explore.page import INSTRUCTION, LABEL, SPAN, TEXT, TITLE, Panel, clean, embedded, page, short
from instructsearch.explore.picture import picture

HOSTILE = [
    "</script><script>window.broken = 1</script>",
    '<img src=x onerror="window.broken = 1">',
    "<!-- <script> -->",
    "]]>",
    "\"'`${window.broken = 1}{data}{script}",
    "\u202egnp.exe\u202c \u2066isolated\u2069 \u2028line\u2029paragraph",
    "half \ud800 a pair \udfff",
    "\x00\x1b[31m\x07 controls \x85\x9f",
    "&lt;b&gt; &amp; &#x3c;",
    "x" * 100_000,
    "word " * 50_000,
    "$\\frac{1}$ $$ _^ \\",
    "",
]


def made(texts=("one", "two", "three"), *, views=("v",), instruction="Represent it:", hits=()):
    count = len(texts)
    points = np.random.default_rng(0).normal(size=(count, 2))
    colouring = by_value("kind", [text or None for text in texts])
    things = Things("passage", range(count), list(texts), list(texts), list(texts), [{}] * count, {})
    panels = [Panel(view, instruction, points, ["a fact"], hits) for view in views]
    return panels, things, [colouring]


class Parsed(HTMLParser):
    """What a browser makes of a page: its elements, and the text of its scripts."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.attributes, self.scripts, self.styles = [], [], [], []
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside == "style":
            self.styles.append(data)


def data_of(text):
    return json.loads(Parsed(text).scripts[0])


# --- the file


def test_the_file_fetches_nothing_and_lets_only_its_own_script_run():
    text = page("notes", *made())
    parsed = Parsed(text)
    assert not [one for one in parsed.attributes if one[1] in ("src", "href", "action", "srcset", "background")]
    assert not re.search(r"https?://|@import|url\(", text)
    policy = next(value for tag, name, value in parsed.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    for kind, source in (("script", parsed.scripts[1]), ("style", parsed.styles[0])):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert len(parsed.scripts) == 2


def test_there_are_no_handlers_or_styles_in_attributes_since_the_policy_forbids_them():
    parsed = Parsed(page("notes", *made()))
    assert not [one for one in parsed.attributes if one[1].startswith("on") or one[1] == "style"]


def test_texts_never_become_markup_in_the_script():
    script = Parsed(page("notes", *made())).scripts[1]
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert way not in script


def test_the_data_is_what_was_given():
    data = data_of(page("notes", *made(views=("a", "b"), hits=(2, 0)), summary="3 passages", notes=["mind"]))
    assert (data["name"], data["summary"], data["notes"], data["noun"]) == ("notes", "3 passages", ["mind"], "passage")
    assert [panel["view"] for panel in data["panels"]] == ["a", "b"]
    assert data["panels"][0]["instruction"] == "Represent it:"
    assert data["panels"][0]["hits"] == [2, 0]
    assert data["texts"] == ["one", "two", "three"]
    (colouring,) = data["colourings"]
    assert [colouring["entries"][at]["label"] for at in colouring["numbers"]] == ["one", "two", "three"]


def test_points_keep_their_shape_within_the_coordinates():
    points = np.array([[0, 0], [10, 0], [10, 5], [2.5, 2.5]])
    panels, things, colourings = made(("a", "b", "c", "d"))
    panel = data_of(page("n", [Panel("v", "", points)], things, colourings))["panels"][0]
    assert (panel["x"], panel["y"]) == ([0, SPAN, SPAN, 16384], [0, 0, 32768, 16384])
    assert (len(panels), panel["hits"]) == (1, [])


def test_a_single_point_and_equal_points_have_coordinates():
    panels, things, colourings = made(("a",))
    assert data_of(page("n", panels, things, colourings))["panels"][0]["x"] == [0]


# --- hostile texts


def test_nothing_in_a_text_ends_the_data_or_starts_an_element():
    plain = Parsed(page("notes", *made())).elements
    for text in HOSTILE:
        parsed = Parsed(page(text, *made((text, "b", "c"), views=(text,), instruction=text)))
        assert parsed.elements == plain
        assert len(parsed.scripts) == 2


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_comes_out_of_the_data_as_it_is_or_cut_or_without_what_is_invisible(text):
    file = page("notes", *made((text, "b", "c"), views=(text,), instruction=text), summary=text, notes=[text])
    file.encode("utf-8")
    data = data_of(file)
    visible = " ".join(clean(text).split())
    for shown, most in (
        (data["titles"][0], TITLE),
        (data["texts"][0], TEXT),
        (data["documents"][0], TITLE),
        (data["panels"][0]["view"], TITLE),
        (data["panels"][0]["instruction"], INSTRUCTION),
    ):
        assert shown == visible if len(visible) <= most else shown.endswith("…")
        assert len(shown) <= most
        assert shown.removesuffix("…").rstrip() == visible[: len(shown.removesuffix("…"))].rstrip()
    labels = [entry["label"] for entry in data["colourings"][0]["entries"]]
    assert max(map(len, labels)) <= LABEL


def test_bidi_overrides_controls_and_halves_are_taken_out_and_other_scripts_kept():
    text = "\u202eevil\u202c \u2066x\u2069 \x1b[2J\x00\x85 \ud800 \ufeff"
    assert clean(text) == "evil x [2J \ufffd "
    for fine in ("مرحبا \u200f بالعالم", "שלום", "日本語", "नमस्ते", "e\u0301", "👩\u200d👩\u200d👧", "tab\tline\nend"):
        assert clean(fine) == fine


def test_cutting_keeps_single_blanks_and_marks_what_is_missing():
    assert short("a  b\n\nc", 10) == "a b c"
    assert short("a" * 11, 10) == "a" * 9 + "…"
    assert short("a" * 10, 10) == "a" * 10
    assert short(" " * 1_000_000 + "late", 10) == "…"


def test_embedded_json_has_no_character_that_means_something_to_html():
    value = {"</script>": ["<!--", "&", "\u2028", "\u2029", 'quote " and \\ back']}
    text = embedded(value)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == value


def test_numbers_that_json_lacks_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        embedded([float("nan")])


# --- the picture


def size_of(png):
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


def shades(png):
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    return {f"#{red:02x}{green:02x}{blue:02x}" for _, (red, green, blue) in image.getcolors(1 << 24)}


def test_the_picture_has_the_colours_of_the_legend():
    panels, things, (colouring,) = made(["a"] * 30 + ["b"] * 20 + ["c"])
    png = picture("notes", panels, colouring, dpi=80)
    assert {"#2751cd", "#e06a11", "#309e88", "#f7f7f5"} <= shades(png)
    assert "#8b3b7c" not in shades(png)
    assert len(things) == 51


def test_the_picture_grows_with_the_panels_and_breaks_the_row_after_three():
    sizes = {}
    for count in (1, 3, 4):
        panels, _, (colouring,) = made(views=[f"v{number}" for number in range(count)])
        sizes[count] = size_of(picture("notes", panels, colouring, dpi=30))
    assert sizes[1][0] < sizes[3][0] == sizes[4][0]
    assert sizes[3][1] < sizes[4][1]


def test_the_picture_is_the_same_each_time():
    panels, _, (colouring,) = made(hits=(1,))
    assert picture("n", panels, colouring, dpi=40) == picture("n", panels, colouring, dpi=40)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_drawn_as_it_is_and_no_formula(text):
    panels, _, (colouring,) = made((text, "日本語", "c"), views=(text,), instruction=text, hits=(0, 1, 2))
    assert size_of(picture(text, panels, colouring, summary=text, dpi=30))[0] > 100


def test_scales_and_absent_values_are_drawn():
    panels, _, _ = made([str(number) for number in range(40)])
    ordered = by_value("year", [None, *range(39)])
    assert ordered.ordered
    assert {"#be8112", "#14065f", "#7d7d78"} <= shades(picture("n", panels, ordered, dpi=200))
    rare = Colouring("kind", (Entry("a", 0), Entry("others", -1)), np.array([0] * 20 + [1] * 20))
    assert "#7d7d78" in shades(picture("n", panels, rare, dpi=200))


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    panels, _, (colouring,) = made()
    monkeypatch.setattr("instructsearch.explore.installed.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"matplotlib: pip install 'instructsearch\[explore\]'"):
        picture("n", panels, colouring)


# --- both together


def test_an_atlas_offers_fields_first_then_each_views_groups():
    rows = np.eye(12, dtype=np.float32)[[0] * 10 + [1] * 10]
    kinds = [{"kind": "x" if number < 10 else "y"} for number in range(20)]
    texts = ["red ship"] * 10 + ["blue cat"] * 10
    things = Things("passage", range(20), [""] * 20, ["d"] * 20, texts, kinds, {})
    found = atlas(
        *("notes", things, {"a": rows, "b": rows[::-1]}, {"a": "By colour:", "b": ""}),
        **{"fields": ["kind", "kind"], "method": "pca", "query": "ship", "hits": {"a": [3]}, "left_out": 5},
    )
    assert [one.name for one in found.colourings] == ["kind", "clusters of a", "clusters of b"]
    assert found.colourings[1].entries[0].label == "0: red ship"
    assert found.summary == "20 passages, a sample of 25 · PCA · query: ship"
    assert [(panel.view, panel.instruction, panel.hits) for panel in found.panels] == [
        ("a", "By colour:", [3]),
        ("b", "", ()),
    ]
    assert any("adjusted mutual information of 1.00" in note for note in found.notes)
    assert data_of(found.page())["panels"][0]["facts"][0] == "shows 100% of the variance"
    assert size_of(found.picture())[0] > 500
