"""The page of maps in a real browser: seen, pointed at, clicked, typed into, touched; hostile texts held to text."""

import json
import time

import chromium
import numpy as np
import pytest

from instructsearch.explore import Things
from instructsearch.explore.colouring import by_group, by_value
from instructsearch.explore.page import Panel, page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.installed() is None, reason="no Chromium here: apt-get install chromium"),
]
HOSTILE = {
    "titles": ["</script><script>window.broken = 1</script>", "\u202egnp.exe", "<img src=x onerror='window.broken=1'>"],
    "texts": ["<svg onload=window.broken=1>", "{data}${window.broken=1}", "x" * 5000],
    "kinds": ["<b>bold</b>", "'\"`", "javascript:window.broken=1"],
    "instruction": "</script><iframe src='javascript:parent.broken=1'></iframe><script>window.broken = 1</script>",
    "view": "<h1>view</h1>",
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A page of two maps: 60 points in three rows by kind on the first, in one heap on the second."""
    random = np.random.default_rng(0)
    kinds = [("red", "green", "blue")[number % 3] for number in range(60)]
    rows = np.array([[number // 3, number % 3 * 8] for number in range(60)], float)
    panels = [
        Panel("by kind", "Represent the thing by its kind:", rows, ["a fact"], [4, 0]),
        Panel("by chance", "", random.normal(size=(60, 2)), [], [9]),
    ]
    texts = [f"a {kind} thing, number {number}" for number, kind in enumerate(kinds)]
    titles = [f"Title {number}" for number in range(60)]
    things = Things("passage", range(60), [f"doc{number}" for number in range(60)], titles, texts, [{}] * 60, {})
    colourings = [
        by_value("kind", kinds),
        by_value("number", list(range(60))),
        by_group("clusters of by kind", np.arange(60) % 2, ["0: odd", "1: even"]),
    ]
    path = tmp_path_factory.mktemp("page") / "map.html"
    path.write_text(page("Things", panels, things, colourings, summary="60 passages", notes=["Read me."]), "utf-8")
    return path


@pytest.fixture
def shown(browser, file):
    browser.size(1300, 900)
    browser.scheme("light")
    browser.open(f"file://{file}")
    yield browser
    assert browser.errors == []
    assert browser.requests == [f"file://{file}"]


def texts(browser, selector):
    return browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)")


def text(browser, selector):
    return browser.run(f"document.querySelector({json.dumps(selector)}).textContent")


def place(browser, number, panel=0):
    """Return where a point of a map is in the window: the fit of the page, computed here once more."""
    data = browser.run("JSON.parse(document.getElementById('data').textContent).panels")[panel]
    canvas = f"document.querySelectorAll('canvas[role]')[{panel}]"
    browser.run(f"{canvas}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    left, top, width, height = browser.run(
        f"(() => {{ const b = {canvas}.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }})()"
    )
    x, y = np.array(data["x"]), 65535 - np.array(data["y"])
    scale = min((width - 52) / max(1, np.ptp(x)), (height - 52) / max(1, np.ptp(y)))
    middle = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
    return (
        left + width / 2 + float(x[number] - middle[0]) * scale,
        top + height / 2 + float(y[number] - middle[1]) * scale,
    )


def ink(browser, panel=0):
    """Return how many pixels of a map are painted in each colour that is there at full strength."""
    return browser.run(
        f"(() => {{ const c = document.querySelectorAll('canvas[role]')[{panel}];"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const n = {};"
        " for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200) { const k = [d[i], d[i + 1], d[i + 2]]"
        ".map((v) => v.toString(16).padStart(2, '0')).join(''); n[k] = (n[k] || 0) + 1; } return n; })()"
    )


def wait(browser, condition):
    deadline = time.monotonic() + 10
    while not browser.run(condition):
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


# --- what is seen


def test_each_map_has_its_instruction_in_words_above_it(shown):
    assert text(shown, "h1") == "Things"
    assert texts(shown, "figcaption h2") == ["View: by kind", "View: by chance"]
    assert texts(shown, "figcaption .instruction") == ["Represent the thing by its kind:", "without an instruction"]
    assert texts(shown, "#notes li") == ["Read me."]


def test_the_points_are_drawn_in_the_colours_of_the_legend(shown):
    assert texts(shown, "#entries .label") == ["blue", "green", "red"]
    assert texts(shown, "#entries .count") == ["20", "20", "20"]
    for panel in (0, 1):
        assert sum(ink(shown, panel).values()) > 500


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height", "phone"), [(1300, 900, False), (390, 844, True)])
def test_the_page_fits_its_window_and_follows_the_systems_colours(browser, file, scheme, width, height, phone):
    browser.size(width, height, phone=phone)
    browser.scheme(scheme)
    browser.open(f"file://{file}")
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    back = browser.run("getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 22, 23)"}[scheme]
    small = "[...document.querySelectorAll('.bar button, .zoom button')].every((one) => one.offsetHeight >= 36)"
    assert browser.run(small)
    boxes = browser.run("[...document.querySelectorAll('canvas[role]')].map((one) => one.getBoundingClientRect().x)")
    assert (boxes[0] == boxes[1]) == phone
    assert browser.errors == []


def test_the_theme_button_overrides_the_system(shown):
    dark = "getComputedStyle(document.body).backgroundColor === 'rgb(22, 22, 23)'"
    for label, is_dark in (("Theme: dark", True), ("Theme: light", False), ("Theme: auto", False)):
        shown.click(*shown.middle("#theme"))
        assert (text(shown, "#theme"), shown.run(dark)) == (label, is_dark)


# --- the mouse


def test_pointing_at_a_point_tells_its_title_text_and_colour(shown):
    shown.mouse("mouseMoved", *place(shown, 7))
    shown.settle()
    assert text(shown, "#tip") == "Title 7a green thing, number 7green"
    assert shown.run("!document.querySelector('#tip').hidden")
    right, bottom = shown.run(
        "(() => { const b = document.querySelector('#tip').getBoundingClientRect(); return [b.right, b.bottom]; })()"
    )
    assert right <= 1300
    assert bottom <= 900
    shown.mouse("mouseMoved", 5, 5)
    shown.settle()
    assert shown.run("document.querySelector('#tip').hidden")


def test_a_click_pins_a_point_in_every_map_and_a_click_beside_lets_it_go(shown):
    before = [ink(shown, panel) for panel in (0, 1)]
    shown.click(*place(shown, 7))
    assert text(shown, "#detail h3") == "Title 7"
    assert texts(shown, "#detail dd")[:2] == ["doc7", "green"]
    shown.mouse("mouseMoved", 5, 5)
    shown.settle()
    for panel in (0, 1):
        assert ink(shown, panel) != before[panel]
    x, y = place(shown, 0)
    shown.click(x - 20, y - 20)
    assert text(shown, "#detail") == ""


def test_dragging_moves_and_the_wheel_zooms_where_the_pointer_is(shown):
    x, y = place(shown, 7)
    shown.drag([(x + 200, y + 60), (x + 190, y + 60), (x + 160, y + 30)])
    shown.mouse("mouseMoved", x - 40, y - 30)
    shown.settle()
    assert "Title 7" in text(shown, "#tip")
    shown.mouse("mouseWheel", x - 40, y - 30, deltaX=0, deltaY=-400)
    shown.settle()
    shown.mouse("mouseMoved", x - 39, y - 30)
    shown.settle()
    assert "Title 7" in text(shown, "#tip")  # it stays under the pointer while the others move apart
    shown.click(*shown.middle("#reset"))
    shown.mouse("mouseMoved", *place(shown, 7))
    shown.settle()
    assert "Title 7" in text(shown, "#tip")


def test_a_lasso_selects_its_points_and_says_what_they_are(shown):
    shown.click(*shown.middle("#lasso"))
    (left, top), (right, bottom) = place(shown, 2), place(shown, 32)
    shown.drag([
        (left - 12, top - 12), (left + 60, top - 12), (right + 3, top - 12), (right + 3, bottom + 12),
        (left + 60, bottom + 12), (left - 12, bottom + 12), (left - 12, top),
    ])  # fmt: skip
    assert text(shown, "#detail h3") == "11 of 60 passages selected, by kind"
    assert texts(shown, ".share .label") == ["blue"]
    assert "11 (100%)" in text(shown, ".share")
    assert len(texts(shown, "#detail li")) == 11
    shown.press("Escape")
    assert text(shown, "#detail") == ""


def test_the_legend_hides_shows_and_singles_out(shown):
    x, y = place(shown, 7)
    green = shown.run("[...document.querySelectorAll('#entries button')].findIndex((b) => b.title === 'green')")
    button = f"#entries li:nth-child({green + 1}) button"
    shown.click(*shown.middle(button))
    assert shown.run(f"document.querySelector({json.dumps(button)}).getAttribute('aria-pressed')") == "false"
    shown.mouse("mouseMoved", *place(shown, 7))
    shown.settle()
    assert "Title 7" not in text(shown, "#tip")
    assert (x, y) == place(shown, 7)
    shown.run(f"document.querySelector({json.dumps(button)}).dispatchEvent(new MouseEvent('dblclick'))")
    pressed = "[...document.querySelectorAll('#entries button')].map((b) => b.getAttribute('aria-pressed'))"
    assert shown.run(pressed).count("true") == 1
    shown.click(*shown.middle("#none"))
    assert shown.run(pressed) == ["false"] * 3
    shown.click(*shown.middle("#all"))
    assert shown.run(pressed) == ["true"] * 3


def test_colours_can_be_changed_to_ranges_and_to_clusters(shown):
    choose = "{{ const s = document.querySelector('#colour'); s.value = '{}'; s.dispatchEvent(new Event('change')); }}"
    shown.run(choose.format(1))
    assert texts(shown, "#entries .label")[0] == "0 to 8"
    shown.run(choose.format(2))
    assert texts(shown, "#entries .label") == ["0: odd", "1: even"]
    assert text(shown, "#legend-title") == "Legend: clusters of by kind"


def test_what_a_query_found_is_marked_and_listed_under_its_map(shown):
    assert texts(shown, "figure:first-child .hits li") == [
        "1Title 4: a green thing, number 4",
        "2Title 0: a red thing, number 0",
    ]
    shown.click(*shown.middle("figure:last-child .hits button"))
    assert text(shown, "#detail h3") == "Title 9"
    assert "number 1" in texts(shown, "#detail dd")


# --- the keyboard and the search field


def test_the_search_field_counts_marks_and_steps_through_what_it_finds(shown):
    shown.click(*shown.middle("#find"))
    shown.type("RED number 1")
    wait(shown, "document.querySelector('#found').textContent !== ''")
    assert text(shown, "#found") == "5 of 60"  # red are the multiples of three: 12, 15, 18, 21 and 51 have a 1
    shown.press("Enter")
    assert text(shown, "#detail h3") == "Title 12"
    shown.press("Enter")
    assert text(shown, "#detail h3") == "Title 15"
    shown.press("Enter", shift=True)
    assert text(shown, "#detail h3") == "Title 12"


def test_a_map_can_be_used_by_keys_alone(shown):
    shown.run("document.querySelector('canvas[role]').focus()")
    shown.press("n")
    assert text(shown, "#detail h3") == "Title 0"
    shown.press("n")
    shown.press("n")
    shown.press("p")
    assert text(shown, "#detail h3") == "Title 1"
    shown.press("Escape")
    for key in ("+", "+", "ArrowLeft", "ArrowUp", "-", "0"):
        shown.press(key)
    shown.press("Enter")
    # the middle of the map is the middle of the three rows
    assert text(shown, "#detail h3") in {"Title 28", "Title 31"}


def test_tab_reaches_every_control_and_each_has_a_name(shown):
    reached = []
    for _ in range(40):
        shown.press("Tab")
        name = shown.run(
            "(() => { const a = document.activeElement; return a === document.body ? null : a.id || a.tagName; })()"
        )
        if name is None or name in reached[:1]:
            break
        reached.append(name)
    assert {"find", "colour", "lasso", "names", "reset", "theme", "all", "none"} <= set(reached)
    assert reached.count("CANVAS") == 2
    tree = shown.send("Accessibility.getFullAXTree")["nodes"]
    for node in tree:
        if node["role"]["value"] in ("button", "combobox", "searchbox", "application") and not node.get("ignored"):
            assert node["name"]["value"], node
    names = [node["name"]["value"] for node in tree if node["role"]["value"] == "application"]
    assert names[0] == "Map of 60 passages in view by kind, Represent the thing by its kind:"


# --- touch


def test_a_tap_pins_and_two_fingers_zoom(browser, file):
    browser.size(390, 844, phone=True)
    browser.scheme("light")
    browser.open(f"file://{file}")
    x, y = place(browser, 31)
    browser.touch([(x, y)])
    assert text(browser, "#detail h3") == "Title 31"
    browser.press("Escape")
    x, y = place(browser, 31)
    browser.touch([(x - 20, y), (x + 20, y)], [(x - 60, y), (x + 60, y)], [(x - 100, y), (x + 100, y)])
    browser.touch([(x, y)])
    assert text(browser, "#detail h3") == "Title 31"
    x2, _ = place(browser, 34)
    browser.press("Escape")
    browser.touch([(x2, y)])
    assert text(browser, "#detail h3") != "Title 34"  # the neighbour has moved away from where it was
    assert browser.errors == []


# --- hostile texts, large pages


def test_hostile_texts_are_shown_as_text_and_run_nothing(browser, tmp_path):
    points = np.array([[0, 0], [1, 0], [0.5, 1]])
    view, instruction = HOSTILE["view"], HOSTILE["instruction"]
    titles, words = HOSTILE["titles"], HOSTILE["texts"]
    things = Things("passage", range(3), titles, titles, words, [{}] * 3, {})
    panels = [Panel(view, instruction, points, [instruction], [0, 1, 2])]
    file = tmp_path / "hostile.html"
    colourings = [by_value("<i>kind</i>", HOSTILE["kinds"])]
    file.write_text(page(titles[0], panels, things, colourings, summary=titles[0], notes=titles), "utf-8")
    browser.size(1300, 900)
    browser.open(f"file://{file}")
    for number in range(3):
        browser.click(*place(browser, number))
    assert text(browser, "h1") == titles[0]
    assert browser.run("document.title") == titles[0]
    assert text(browser, "figcaption h2") == f"View: {view}"
    assert text(browser, ".instruction") == instruction
    shown = texts(browser, ".hits button")
    assert shown[:2] == [f"{titles[0]}: {words[0]}", f"gnp.exe: {words[1]}"]
    assert shown[2].startswith(f"{titles[2]}: xxx")
    assert sorted(texts(browser, "#entries .label")) == sorted(HOSTILE["kinds"])
    assert browser.run("window.broken") is None
    assert browser.run("document.querySelectorAll('iframe, img, svg, b:not(#tip b), script').length") == 2
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert (browser.errors, browser.requests) == ([], [f"file://{file}"])


def test_the_policy_would_stop_a_script_or_a_picture_that_got_in(browser, file):
    browser.open(f"file://{file}")
    for kind, change in (("script", "textContent = 'window.broken = 1'"), ("img", "src = 'https://example.org/x.png'")):
        browser.run(f"{{ const one = document.createElement('{kind}'); one.{change}; document.body.append(one); }}")
    browser.settle()
    wait(browser, "document.querySelector('img').complete")
    assert browser.run("window.broken") is None
    assert len(browser.errors) == 2
    assert all("Content Security Policy" in error for error in browser.errors)


def test_twenty_thousand_points_move_without_being_painted_anew_each_frame(browser, tmp_path):
    count = 20_000
    random = np.random.default_rng(0)
    things = Things("passage", range(count), ["d"] * count, ["t"] * count, ["text " * 40] * count, [{}] * count, {})
    panels = [Panel(view, "", random.normal(size=(count, 2))) for view in "ab"]
    file = tmp_path / "large.html"
    groups = by_group("clusters", random.integers(0, 9, count), [str(number) for number in range(9)])
    file.write_text(page("large", panels, things, [groups]), "utf-8")
    browser.size(1300, 900)
    browser.open(f"file://{file}")
    drawn = browser.run(
        "new Promise(async (done) => { const times = []; const draw = Chart.prototype.draw;"
        " Chart.prototype.draw = function () { const t = performance.now(); draw.call(this);"
        " times.push(performance.now() - t); };"
        " const canvas = document.querySelector('canvas[role]');"
        " for (let i = 0; i < 30; i++) { canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: i % 2 ? -30 : 30,"
        " clientX: 300, clientY: 400, cancelable: true})); await new Promise((next) => requestAnimationFrame(next)); }"
        " Chart.prototype.draw = draw; done(times.sort((a, b) => a - b)); })"
    )
    assert len(drawn) >= 25
    assert drawn[len(drawn) // 2] < 16  # milliseconds: half the frames and more leave time for sixty a second
    assert browser.errors == []
