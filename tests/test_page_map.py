"""The page in a browser: the map of the collection under a view, with the hits marked on it."""

import json
from threading import Event

import numpy as np
import page as pages
import pytest

from instructsearch.errors import InstructSearchError

pytestmark = pages.marks
ADDRESS = "#c=tickets&q=printer+on+fire&k=5&map=1&method=pca"


def rings(page):
    """Return the places of the map's hits in the window, as the page's own chart has them."""
    return page.run("import('/pages/main.js').then((it) => it.atlas.chart.hits.map((i) => it.atlas.chart.screen(i)))")


def mapped(page, address=ADDRESS, **how):
    page.open(address, **how)
    page.appears("#map canvas[role]")
    page.until("import('/pages/main.js').then((it) => it.atlas.chart.hits.length > 0)")
    page.browser.settle()
    return page


def test_the_hits_are_marked_where_their_passages_lie(page):
    mapped(page)
    told = page.client.get("/collections/tickets/views/topic/map", params={"method": "pca"}).json()["map"]
    hits = page.client.search("printer on fire", name="tickets", k=5)
    numbers = [told["chunks"].index(hit["chunk"]) for hit in hits]
    x, y = np.array(told["panels"][0]["x"]), 65535 - np.array(told["panels"][0]["y"])
    left, top, width, height = page.run(
        "(() => { const box = document.querySelector('#map canvas').getBoundingClientRect();"
        " return [box.x, box.y, box.width, box.height]; })()"
    )
    scale = min((width - 52) / np.ptp(x), (height - 52) / np.ptp(y))
    middle = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
    wanted = [(width / 2 + (x[at] - middle[0]) * scale, height / 2 + (y[at] - middle[1]) * scale) for at in numbers]
    assert np.allclose(rings(page), wanted, atol=0.5)
    page.run("document.querySelector('#map canvas').scrollIntoView({block: 'center'})")
    left, top = page.run(
        "(() => { const b = document.querySelector('#map canvas').getBoundingClientRect(); return [b.x, b.y]; })()"
    )
    page.browser.click(left + wanted[0][0], top + wanted[0][1])
    assert page.text(".pinned h3") == f"1. {hits[0]['title']}"
    page.click(".pinned button", "Open it at this place")
    page.appears("#here")
    assert page.text("#here") == hits[0]["text"]
    assert page.browser.errors == []


def test_a_new_search_moves_the_marks_and_not_the_map(page):
    mapped(page)
    before = rings(page)
    page.run("window.kept = document.querySelector('#map canvas')")
    page.fill("#query", "parcel in the rain", enter=True)
    page.answered()
    page.until(
        "import('/pages/main.js').then((it) => JSON.stringify(it.atlas.chart.hits.map((i) =>"
        f" it.atlas.chart.screen(i))) !== JSON.stringify({json.dumps(before)}))"
    )
    assert page.run("window.kept === document.querySelector('#map canvas')")
    assert rings(page) != before


def test_marks_are_painted(page):
    mapped(page)
    ink = (
        "(() => { const c = document.querySelector('#map canvas'), r = it.atlas.chart.ratio;"
        " const [x, y] = it.atlas.chart.screen(it.atlas.chart.hits[0]);"
        " const d = c.getContext('2d').getImageData((x - 12) * r, (y - 12) * r, 24 * r, 24 * r).data; let n = 0;"
        " for (let i = 0; i < d.length; i += 4) n += d[i] < 60 && d[i + 1] < 60 && d[i + 2] < 60 && d[i + 3] > 200;"
        " return n; })()"
    )
    assert page.run(f"import('/pages/main.js').then((it) => {ink})") > 20


def test_a_map_can_be_coloured_flattened_otherwise_and_used_by_keys(page):
    mapped(page)
    options = page.run(
        "[...document.querySelectorAll('#map .tools label:last-child option')].map((one) => one.textContent)"
    )
    assert options[0] == "clusters of topic"
    assert {"mood", "thing", "priority"} <= set(options)
    page.choose("#map .tools label:last-child select", str(options.index("mood")))
    page.click(".legend summary")
    labels = page.texts(".entries .label")
    assert {"calm", "furious", "grateful"} <= set(labels)
    page.click(".entries button", "calm6")
    assert page.run("document.querySelector('.entries [aria-pressed=false]').textContent") == "calm6"
    page.run("document.querySelector('#map canvas').focus()")
    page.press("n")
    first = page.text(".pinned h3")
    assert first.startswith("1. ")
    page.press("n")
    assert page.text(".pinned h3").startswith("2. ")
    page.press("p")
    assert page.text(".pinned h3") == first
    page.click("#map .close")
    assert not page.run("document.querySelector('#map').checkVisibility()")
    assert page.run("document.activeElement.id") == "show-map"
    assert "map" not in page.hash()


def test_with_two_lenses_the_hits_of_either_are_marked(page):
    mapped(page, "#c=tickets&q=fed+up&k=5&compare=1&v=topic&w=tone&map=1&method=pca")
    marked = "import('/pages/main.js').then((it) => it.atlas.chart.hits.map((i) => it.atlas.drawn.chunks[i]))"
    topic, tone = (
        [hit["chunk"] for hit in page.client.search("fed up", name="tickets", k=5, views=[view])]
        for view in ("topic", "tone")
    )
    assert topic != tone
    assert page.text("#map h2") == "Map of view topic"
    assert page.run(marked) == topic
    page.choose("#map .tools select", "1")
    page.until("document.querySelector('#map h2').textContent === 'Map of view tone'")
    page.appears("#map canvas[role]")
    page.until(
        f"{marked}.then((found) => JSON.stringify(found) === {json.dumps(json.dumps(tone, separators=(',', ':')))})"
    )


def test_hits_that_a_sample_left_out_are_placed_among_their_likes(page, monkeypatch):
    monkeypatch.setattr("instructsearch.serve.drawing.POINTS", 12)
    page.client.collection("many")
    page.client.add(
        *[(f"d{number}", f"{('red', 'green', 'blue')[number % 3]} thing {number}") for number in range(60)], name="many"
    )
    mapped(page, "#c=many&q=green+thing&k=20&map=1&method=pca")
    page.until("import('/pages/main.js').then((it) => it.atlas.chart.hits.length === 20)")
    drawn, extra = page.run(
        "import('/pages/main.js').then((it) => [it.atlas.drawn.chunks.length, it.atlas.extra.length])"
    )
    assert drawn == 12
    assert extra >= 8
    assert "a sample of 60" in page.text(".how summary")


def test_a_map_in_the_making_shows_how_far_it_is(page, monkeypatch):
    going = Event()

    def slowly(collection, view, method, progress):
        while not going.wait(0.05):
            progress("flatten", 30, 100)
        raise InstructSearchError("it was stopped on purpose")

    monkeypatch.setattr(page.client.service.maps, "_draw", slowly)
    try:
        page.client.collection("waiting")
        page.client.add(("a", "one"), ("b", "two"), name="waiting")
        page.open("#c=waiting&map=1")
        page.until("document.querySelector('#map').textContent.includes('flattening, 30 %')")
        assert page.run("document.querySelector('#map progress').value") == 30
        page.shot("map-waiting")
    finally:
        going.set()
    page.appears("#map .wrong")
    assert "it was stopped on purpose" in page.text("#map .wrong")


def test_without_the_extra_the_page_says_what_to_install(page, monkeypatch):
    monkeypatch.setattr("instructsearch.explore.installed.find_spec", lambda name: None)
    page.open("#c=tickets&q=printer&map=1")
    page.appears("#map .wrong")
    assert "Maps are not installed on this server" in page.text("#map")
    assert "instructsearch[explore]" in page.text("#map")
    assert len(page.documents()) == 10
    page.shot("map-missing")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_map_is_painted_in_the_pages_colours(page, scheme):
    mapped(page, scheme=scheme)
    plot = page.run("import('/pages/main.js').then((it) => it.atlas.points.colours.plot)")
    assert plot == {"light": "#f7f7f5", "dark": "#1e1e20"}[scheme]
    page.shot(f"map-{scheme}")
