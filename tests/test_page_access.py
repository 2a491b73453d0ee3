"""The page in a browser: by keyboard alone, on a phone, light and dark, and held to axe's rules in every state."""

import json

import page as pages
import pytest

pytestmark = pages.marks
SEARCH = "#c=tickets&q=printer+on+fire"
COMPARE = "#c=tickets&q=fed+up&compare=1&v=topic&w=tone&j=by+mood&f=" + "%5B%22open%22%2C%22%24eq%22%2C%22true%22%5D"
# name -> address, and what to wait for or do
STATES = {
    "start": ("#c=tickets", None),
    "hits": (SEARCH, None),
    "explained": (SEARCH, "document.querySelectorAll('.why').forEach((one) => { one.open = true; })"),
    "compare": (COMPARE, None),
    "reader": (f"{SEARCH}&doc=guides%2Fprinter.md&at=2000-2400", "#here"),
    "map": (f"{SEARCH}&map=1&method=pca", "#map canvas[role]"),
    "empty collection": ("#c=empty", None),
    "nothing": ("#c=tickets&q=qqq&mode=bm25", None),
    "gone": ("#c=gone", None),
    "create": ("#c=empty", "document.querySelector('#collection').value = ''; "
               "document.querySelector('#collection').dispatchEvent(new Event('change'))"),
}  # fmt: skip


def shown(page, state, **how):
    address, more = STATES[state]
    page.open(address, **how)
    if more and more.startswith("#"):
        page.appears(more)
    elif more:
        page.run(f"{{ {more} }}")
        page.browser.settle()


@pytest.mark.skipif(not pages.AXE.exists(), reason="no axe-core here: `make test-browser` brings it")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_wrong(page, state, scheme):
    shown(page, state, scheme=scheme)
    page.shot(f"{state}-{scheme}")
    assert page.violations() == []


@pytest.mark.skipif(not pages.AXE.exists(), reason="no axe-core here: `make test-browser` brings it")
def test_axe_would_find_something(page):
    page.open(SEARCH)
    page.run("document.querySelector('#query').removeAttribute('placeholder')")
    page.run("document.querySelector('label[for=query]').remove()")
    assert any("label" in one for one in page.violations())


@pytest.mark.parametrize("state", STATES)
def test_on_a_phone_of_360_pixels_nothing_sticks_out_or_is_too_small_to_touch(page, state):
    shown(page, state, size=(360, 740))
    page.shot(f"{state}-phone")
    assert page.run("innerWidth") == 360
    assert page.run("document.documentElement.scrollWidth") == 360
    wide = "[...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() &&"
    wide += " one.getBoundingClientRect().right > 361 && !one.closest('.document, pre, .unseen'))"
    wide += ".map((one) => one.outerHTML.slice(0, 80))"
    assert page.run(wide) == []
    small = (
        "[...document.querySelectorAll('button, summary, select, .switch')].filter((one) => one.checkVisibility() &&"
    )
    small += " one.getBoundingClientRect().height < 24).map((one) => one.textContent)"
    assert page.run(small) == []  # WCAG 2.2, 2.5.8


def test_on_a_phone_the_hits_come_right_below_the_search_field(page):
    page.open(SEARCH, size=(360, 740))
    assert page.run("document.querySelector('.hit').getBoundingClientRect().top") < 300
    assert page.text("#refined") == "topic · both"
    page.click("#refined")
    page.appears("#lenses .view")


def test_the_page_follows_the_system_until_the_switch_says_otherwise(page):
    back = "getComputedStyle(document.body).backgroundColor"
    page.open("#c=tickets", scheme="dark")
    dark = page.run(back)
    page.browser.scheme("light")
    page.browser.settle()
    light = page.run(back)
    assert light == "rgb(255, 255, 255)"
    assert dark != light
    page.click("#theme")
    assert page.text("#theme") == "Theme: dark"
    assert page.run(back) == dark
    page.open("#c=tickets", scheme="light")
    assert page.run(back) == dark
    page.click("#theme")
    assert page.run(back) == light
    page.click("#theme")
    assert page.text("#theme") == "Theme: auto"
    assert page.run("localStorage.length") == 0


def focused(page):
    return page.run(
        "document.activeElement.closest('.hit')?.querySelector('.rank').lastChild.textContent"
        " ?? document.activeElement.id"
    )


def test_everything_can_be_done_with_keys(page):
    page.open(SEARCH)
    page.run("document.activeElement.blur()")
    page.press("/")
    assert focused(page) == "query"
    assert page.run("document.querySelector('#query').value") == "printer on fire"
    page.press("ArrowDown")
    assert focused(page) == "1"
    page.press("ArrowDown")
    page.press("ArrowDown")
    page.press("ArrowUp")
    assert focused(page) == "2"
    page.press("w")
    page.appears(".hit:nth-child(2) .explain")
    page.press("Enter")
    page.appears("#reader .document")
    page.press("ArrowDown")  # is the document's now
    page.press("Escape")
    page.until("!document.querySelector('#reader').open")
    assert focused(page) == "2"
    page.press("ArrowUp")
    page.press("ArrowUp")
    assert focused(page) == "query"


def test_arrows_go_from_column_to_column(page):
    page.open(COMPARE)
    page.press("/")
    page.press("ArrowDown")
    page.press("ArrowDown")
    page.press("ArrowRight")
    assert (
        page.run("[...document.querySelectorAll('.column')].findIndex((one) => one.contains(document.activeElement))")
        == 1
    )
    assert focused(page) == "2"
    page.press("ArrowLeft")
    assert page.run("document.querySelector('.column').contains(document.activeElement)")


def test_a_slash_that_is_typed_is_a_slash(page):
    page.open("#c=tickets")
    page.fill("#instruction-A", "by this")
    page.press("/")
    assert focused(page) == "instruction-A"
    assert page.run("document.querySelector('#instruction-A').value") == "by this/"


def test_tab_reaches_every_control_and_the_first_skips_to_the_hits(page):
    page.open(SEARCH)
    page.run("document.activeElement.blur()")
    reached = []
    for _ in range(45):
        page.press("Tab")
        reached.append(
            page.run(
                "document.activeElement.id || document.activeElement.textContent.trim() || document.activeElement.name"
            )
        )
    assert reached[0] == "skip"
    controls = {
        "collection",
        "add",
        "show-map",
        "theme",
        "query",
        "Search",
        "view-A",
        "instruction-A",
        "mode",
        "rerank",
    }
    assert controls | {"documents", "understand", "k", "compare", "Filters", "Why this hit"} <= set(reached)
    page.run("document.querySelector('#skip').focus()")
    page.press("Enter")
    assert page.run("document.activeElement.id") == "answer"
    assert page.hash()["q"] == "printer on fire"


def test_every_control_has_a_name(page):
    page.open(COMPARE + "&map=1&method=pca")
    page.appears("#map canvas[role]")
    tree = page.browser.send("Accessibility.getFullAXTree")["nodes"]
    roles = (
        "button",
        "combobox",
        "searchbox",
        "textbox",
        "checkbox",
        "radio",
        "link",
        "application",
        "region",
        "search",
    )
    named = [
        (node["role"]["value"], node["name"]["value"])
        for node in tree
        if not node.get("ignored") and node["role"]["value"] in roles
    ]
    assert len(named) > 60
    assert [role for role, name in named if not name] == []
    assert json.dumps(named).count("Remove this filter") == 1
