"""The page in a browser: what is asked, what is answered, two lenses side by side, filters, and why a hit is there."""

import json
from urllib.parse import quote

import page as pages
import pytest

pytestmark = pages.marks


def filtered(*rows):
    return "".join(f"&f={quote(json.dumps(row))}" for row in rows)


def test_a_search_shows_the_services_hits_with_the_querys_words_marked(page):
    page.open("#c=tickets")
    assert page.texts("#lenses .view .name") == ["topic", "tone"]
    assert page.texts("#lenses .view .words") == [pages.TOPIC, pages.TONE]
    page.fill("#query", "printers jamming", enter=True)
    page.answered()
    wanted = page.client.search("printers jamming", name="tickets")
    assert page.documents() == [hit["document"] for hit in wanted]
    marked = {text.lower() for text in page.texts(".hit mark")}
    assert {"printer", "jams"} <= marked <= {"printer", "jams"}
    assert page.text("#told").startswith("10 hits in ")
    assert page.hash() == {"c": "tickets", "q": "printers jamming", "v": "topic"}
    assert page.run("document.title") == "printers jamming · tickets · instructsearch"
    assert page.browser.errors == []


def test_nothing_but_the_service_is_asked(page):
    page.open("#c=tickets&q=printer")
    assert page.browser.requests
    assert all(address.startswith(page.base + "/") for address in page.browser.requests)


def test_an_address_says_everything_and_is_read_back(page):
    address = "#c=tickets&q=refund&v=topic&i=&w=tone&w=topic&j=by+mood&compare=1&mode=dense&documents=1&k=5&any=1"
    page.open(address + filtered(["mood", "$eq", "calm"], ["priority", "$gte", "2"]))
    assert page.run("document.getElementById('query').value") == "refund"
    checked = "[...document.querySelectorAll('.lens{} .view input:checked')].map((one) => one.value)"
    assert page.run(checked.format(".a")) == ["topic"]
    assert page.run(checked.format(".b")) == ["topic", "tone"]
    assert page.run("document.querySelector('#instruction-A').disabled")
    assert page.run("document.querySelector('#instruction-B').value") == "by mood"
    assert page.run("document.querySelector('[name=mode]:checked').value") == "dense"
    assert page.run("document.querySelector('#documents').checked && document.querySelector('#k').value === '5'")
    where = {"$or": [{"mood": {"$eq": "calm"}}, {"priority": {"$gte": 2}}]}
    options = {"mode": "dense", "k": 5, "by_document": True, "where": where}
    for column, more in enumerate(
        [{"views": ["topic"], "instruction": ""}, {"views": ["tone", "topic"], "instruction": "by mood"}]
    ):
        wanted = page.client.search("refund", name="tickets", **options, **more)
        assert page.documents(column) == [hit["document"] for hit in wanted]


def test_going_back_shows_the_question_before(page):
    page.open("#c=tickets&q=printer")
    before = page.documents()
    page.fill("#query", "parcel in the rain", enter=True)
    page.answered()
    assert page.documents() != before
    page.run("history.back()")
    page.until("document.getElementById('query').value === 'printer'")
    page.answered()
    assert page.documents() == before


def test_a_view_its_instruction_the_mode_and_the_switches_reach_the_service(page):
    page.open("#c=tickets&q=printer")
    page.click("#lenses .view:nth-child(2)")
    page.click("#lenses .view:nth-child(1)")
    page.answered()
    assert page.hash()["v"] == "tone"
    assert page.run("document.querySelector('#instruction-A').placeholder") == pages.TONE
    page.fill("#instruction-A", "Represent the thing:", enter=True)
    page.answered()
    wanted = page.client.search("printer", name="tickets", views=["tone"], instruction="Represent the thing:")
    assert page.documents() == [hit["document"] for hit in wanted]
    page.click("#modes label:nth-child(3)")
    page.answered()
    page.click("#documents")
    page.answered()
    wanted = page.client.search("printer", name="tickets", views=["tone"], mode="bm25", by_document=True)
    assert page.documents() == [hit["document"] for hit in wanted]
    assert page.hash()["mode"] == "bm25"


def test_at_least_one_view_stays_chosen(page):
    page.open("#c=tickets&q=printer")
    page.click("#lenses .view:nth-child(1)")
    assert page.run("document.querySelector('#lenses input').checked")


def test_two_instructions_stand_side_by_side_and_each_hit_says_where_the_other_has_it(page):
    page.open("#c=tickets&q=fed+up+with+the+printer&k=5")
    page.click("#compare")
    page.answered()
    assert page.texts("#lenses legend") == ["A Lens A", "B Lens B"]
    assert page.run("document.activeElement.id") == "instruction-B"
    page.fill("#instruction-B", "Represent the mood:", enter=True)
    page.answered()
    page.click(".lens.b .view:nth-child(2)")
    page.click(".lens.b .view:nth-child(1)")
    page.answered()
    page.until("document.querySelectorAll('.column .other').length === 10")
    found = []
    for column in (0, 1):
        view, instruction = [("topic", None), ("tone", "Represent the mood:")][column]
        wanted = page.client.search(
            "fed up with the printer", name="tickets", k=5, views=[view], instruction=instruction
        )
        assert page.documents(column) == [hit["document"] for hit in wanted]
        found.append([hit["chunk"] for hit in wanted])
    a, b = found
    assert page.texts(".column:first-child .other") == [
        f"#{b.index(one) + 1} in B" if one in b else "only in A" for one in a
    ]
    shared = len(set(a) & set(b))
    page.until(f"document.getElementById('told').textContent.startsWith('{shared} of 5 hits of A are also in B.')")
    assert page.texts(".lensname")[1] == "BRepresent the mood:"
    left, right = page.run("[...document.querySelectorAll('.column')].map((one) => one.getBoundingClientRect().x)")
    assert left < right
    page.click("#compare")
    page.answered()
    assert page.documents(1) == []


@pytest.mark.parametrize(
    ("row", "where"),
    [
        (["priority", "$gte", "2"], {"priority": {"$gte": 2}}),
        (["mood", "$in", "calm, furious"], {"mood": {"$in": ["calm", "furious"]}}),
        (["open", "$eq", "true"], {"open": {"$eq": True}}),
        (["thing", "$ne", "printer"], {"thing": {"$ne": "printer"}}),
        (["mood", "$missing", ""], {"mood": {"$exists": False}}),
        (["", "$contains", "rain"], {"$contains": "rain"}),
    ],
)
def test_a_filters_row_is_the_services_operator(page, row, where):
    page.open("#c=tickets&q=ticket&k=50" + filtered(row))
    wanted = page.client.search("ticket", name="tickets", k=50, where=where)
    assert wanted
    assert len(wanted) < 20
    assert page.documents() == [hit["document"] for hit in wanted]
    assert page.text("#filter-count") == "1"


def test_filters_are_made_joined_and_taken_away_by_hand(page):
    page.open("#c=tickets&q=ticket&k=50")
    page.click("#filters > summary")
    page.click("#filter-add")
    page.type("mood")
    page.fill("#filter-rows .value", "calm", enter=True)
    page.answered()
    assert len(page.documents()) == 6
    page.click(".hit .chip", "thing: parcel")
    page.answered()
    assert len(page.documents()) == 2
    page.choose("#filter-any", "any")
    page.answered()
    assert len(page.documents()) == 10
    assert page.run("[...document.querySelectorAll('#fields option')].map((one) => one.value)").count("priority") == 1
    page.click("#filter-rows .gone")
    page.click("#filter-rows .gone")
    page.answered()
    assert len(page.documents()) > 18


def test_values_are_read_as_the_command_line_reads_them(page):
    page.open("#c=tickets")
    given = ["2", "2.5", "true", "maybe", '"2"', "12345678901234567890", " 7 "]
    found = page.run(f"import('/pages/filter.js').then((it) => {json.dumps(given)}.map(it.value))")
    assert found == [2, 2.5, True, "maybe", "2", "12345678901234567890", 7]
    back = page.run("import('/pages/filter.js').then((it) => [2, true, '2', 'maybe'].map(it.written).map(it.value))")
    assert back == [2, True, "2", "maybe"]


def test_quotes_and_exclusions_are_read_where_that_is_switched_on(page):
    page.open("#c=tickets&q=" + quote("printer -jams") + "&understand=1&k=50")
    wanted = page.client.search("printer -jams", name="tickets", k=50, understand=True)
    assert page.documents() == [hit["document"] for hit in wanted]
    assert "T-1" not in page.documents()
    assert {text.lower() for text in page.texts(".hit mark")} == {"printer"}


def test_why_a_hit_is_there(page):
    page.open("#c=tickets&q=printer+jams&v=topic&v=tone" + filtered(["thing", "$eq", "printer"]))
    page.click(".hit:nth-child(2) .why summary")
    page.appears(".hit:nth-child(2) .explain")
    hit = page.client.search(
        "printer jams", name="tickets", views=["topic", "tone"], where={"thing": "printer"}, explain=True
    )[1]
    rows = page.run(
        "[...document.querySelectorAll('.hit:nth-child(2) .explain tbody tr')]"
        ".map((one) => [...one.children].map((cell) => cell.textContent))"
    )
    assert [row[0] for row in rows] == ["view topic", "view tone", "words (BM25)", "fused by rank"]
    assert [row[1] for row in rows] == [f"#{stage['rank']}" for stage in hit["explain"]["stages"].values()]
    assert [float(row[2]) for row in rows] == pytest.approx(
        [stage["score"] for stage in hit["explain"]["stages"].values()], rel=1e-3
    )
    told = page.text(".hit:nth-child(2) .explain dl")
    assert pages.TOPIC in told
    assert pages.TONE in told
    assert '{"thing":{"$eq":"printer"}}' in told
    assert "total" in told
    page.shot("why")


def test_a_reranker_is_asked_for_by_a_switch_and_an_error_is_told_with_a_way_out(page, monkeypatch):
    page.open("#c=tickets&q=printer")
    monkeypatch.setattr("instructsearch.serve.pool.rerank.DEFAULT", "overlap")
    page.click("#rerank")
    page.answered()
    wanted = page.client.search("printer", name="tickets", rerank="overlap")
    assert page.documents() == [hit["document"] for hit in wanted]
    page.click(".why summary")
    page.appears(".explain")
    assert "reranker" in page.texts(".explain th")
    monkeypatch.setattr("instructsearch.serve.pool.rerank.DEFAULT", "nothere")
    page.fill("#query", "refund", enter=True)
    page.appears(".notice.wrong")
    assert "nothere" in page.text(".notice.wrong")
    page.shot("error")
    monkeypatch.setattr("instructsearch.serve.pool.rerank.DEFAULT", "overlap")
    page.click(".notice.wrong button", "Try again")
    page.until("document.querySelectorAll('.hit').length > 0")


def test_texts_that_look_like_markup_stay_text(page):
    page.open("#c=tickets&q=zebra")
    assert page.text(".hit h3 a") == pages.HOSTILE
    page.click(".hit h3 a")
    page.appears("#reader .document")
    assert pages.HOSTILE in page.text("#reader .document")
    assert page.run("window.broken") is None
    assert not page.run("document.querySelectorAll('main img, dialog img').length")
    assert page.browser.errors == []


def test_what_is_empty_or_gone_says_what_to_do(page):
    page.open("#c=empty")
    assert "Drop files anywhere" in page.text("#columns")
    page.shot("empty")
    page.open("#c=tickets&q=qqq&mode=bm25")
    assert "Nothing found" in page.text("#columns")
    page.shot("nothing")
    page.open("#c=tickets&q=printer" + filtered(["mood", "$eq", "bored"]))
    page.click("#columns button", "Search without them")
    page.answered()
    assert len(page.documents()) == 10
    page.open("#c=gone")
    assert "There is no such collection" in page.text("#columns")
    other = page.texts("#columns button.plain")[-1]  # one of the first five, which others may have made meanwhile
    page.click("#columns button.plain", other)
    page.until(f"document.querySelector('#collection').value === {json.dumps(other)}")
