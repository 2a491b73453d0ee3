"""The page in a browser: a document at its place, files that are dropped, and a service that wants a token."""

import json
import threading

import page as pages
import pytest
import served
from page import Page

pytestmark = pages.marks
OUTSIDE = (-5, -5)


# --- the reader


def test_a_hit_opens_its_document_at_the_passage(page):
    page.open("#c=tickets&q=when+the+printer+is+on+fire")
    hit = page.client.search("when the printer is on fire", name="tickets")[0]
    assert hit["document"] == "guides/printer.md"
    assert hit["start"] > 1500  # behind many characters that take two units in a browser's strings
    page.click(".hit:first-child a.open")
    page.appears("#here")
    assert page.text("#here") == hit["text"]
    top, bottom = page.run(
        "(() => { const box = document.querySelector('#here').getBoundingClientRect();"
        " return [box.top, box.bottom]; })()"
    )
    assert 0 <= top < 900
    assert bottom > 0
    assert page.text("#reader h2") == "Printer guide"
    assert page.text("#reader .document").startswith("# Setup 🖨️🖨️")
    assert page.hash()["doc"] == "guides/printer.md"
    assert page.hash()["at"] == f"{hit['start']}-{hit['end']}"
    page.shot("reader")
    page.press("Escape")
    page.until("!document.querySelector('#reader').open")
    assert "doc" not in page.hash()
    assert page.run("document.activeElement.matches('.hit:first-child a.open')")
    assert page.browser.errors == []


def test_a_shared_address_opens_the_document_without_a_search(page):
    hit = page.client.search("when the printer is on fire", name="tickets")[0]
    page.open(f"#c=tickets&doc=guides%2Fprinter.md&at={hit['start']}-{hit['end']}", ready=False)
    page.appears("#here")
    assert page.text("#here") == hit["text"]


def test_the_reader_steps_through_the_hits_of_its_document(page):
    page.open("#c=tickets&q=toner+paper+fire&k=50")
    hits = [
        hit
        for hit in page.client.search("toner paper fire", name="tickets", k=50)
        if hit["document"] == "guides/printer.md"
    ]
    places = sorted({(hit["start"], hit["end"]) for hit in hits})
    assert len(places) > 2
    first = next(index for index, document in enumerate(page.documents()) if document == "guides/printer.md")
    page.click(f".hit:nth-child({first + 1}) a.open")
    page.appears("#here")
    at = places.index((hits[0]["start"], hits[0]["end"]))
    way, other = ("Next hit ›", at + 1) if at + 1 < len(places) else ("‹ Hit before", at - 1)
    page.click(".steps button", way)
    text = next(hit["text"] for hit in hits if (hit["start"], hit["end"]) == places[other])
    page.until(f"document.querySelector('#here').textContent === {json.dumps(text)}")
    assert page.text(".steps span") == f"{other + 1} of {len(places)} hits in this document"


def test_a_document_that_is_gone_says_so(page):
    page.open("#c=tickets&doc=nothere", ready=False)
    page.appears("#reader .notice.wrong")
    assert "“nothere” is not in tickets" in page.text("#reader .notice")


# --- adding


@pytest.fixture
def files(tmp_path):
    (tmp_path / "notes.md").write_text("# Giraffes\n\nA giraffe sleeps for half an hour a day.\n")
    (tmp_path / "rows.jsonl").write_text('{"_id": "r1", "text": "An okapi is a kind of giraffe."}\n')
    (tmp_path / "broken.pdf").write_bytes(b"this is no PDF")
    return [tmp_path / name for name in ("notes.md", "rows.jsonl", "broken.pdf")]


def test_files_that_are_dropped_are_added_and_found(page, files):
    page.client.collection("dropped")
    page.open("#c=dropped")
    page.browser.carry(files, (600, 600), (600, 500), OUTSIDE)
    assert not page.has(".job")
    page.browser.drop(files, 600, 600)
    assert page.run("document.querySelector('#drop').hidden")
    page.appears(".job.wrong")
    assert page.text(".job .line") == "2 added, 1 not read"
    assert page.text(".failures li").startswith("broken.pdf: ")
    page.until("document.querySelector('#collection').selectedOptions[0].textContent === 'dropped (2 documents)'")
    page.shot("added")
    page.fill("#query", "giraffe", enter=True)
    page.answered()
    assert sorted(page.documents()) == ["notes.md", "r1"]
    page.click(".job .close")
    assert not page.has(".job")


def test_a_place_to_drop_shows_while_files_are_dragged_over_the_page(page, files):
    page.open("#c=tickets")
    over = [(500, 500), (600, 10), (300, 300), (2, 890)]
    page.browser.carry(files, *over)
    page.appears("#drop")
    assert page.text("#drop") == "Drop files to add them to tickets"
    page.shot("drop")
    page.browser.carry(files, OUTSIDE, first="dragOver")
    page.until("document.querySelector('#drop').hidden")
    page.browser.carry(files, *over, OUTSIDE, (500, 500))  # away and back again
    page.appears("#drop")
    page.browser.carry(files, OUTSIDE, first="dragOver")
    page.until("document.querySelector('#drop').hidden")


def test_a_place_to_drop_goes_when_what_was_dragged_over_has_gone(page, files):
    page.open("#c=tickets")
    page.browser.carry(files, (200, 430), (200, 430))
    page.appears("#drop")
    page.run("document.querySelector('main').replaceChildren()")
    page.browser.carry(files, OUTSIDE, first="dragOver")
    page.until("document.querySelector('#drop').hidden")


def test_a_place_to_drop_goes_with_a_drag_whose_end_is_not_told(page, files):
    page.open("#c=tickets")
    page.browser.carry(files, (500, 500), (500, 510), end="dragCancel")
    page.appears("#drop")
    page.browser.mouse("mouseMoved", 300, 300)
    page.until("document.querySelector('#drop').hidden")


def test_files_can_be_chosen_with_the_keyboard_too(page, files):
    page.client.collection("chosen")
    page.open("#c=chosen")
    document = page.browser.send("DOM.getDocument")["root"]["nodeId"]
    field = page.browser.send("DOM.querySelector", nodeId=document, selector="#files")["nodeId"]
    page.browser.send("DOM.setFileInputFiles", nodeId=field, files=[str(files[0])])
    page.appears(".job.well")
    assert page.text(".job .line") == "1 added"


def test_a_job_shows_how_far_it_is_and_can_be_cancelled(page, files, monkeypatch):
    page.client.collection("slow")
    going = threading.Event()

    def slowly(self, documents, *, progress=None):
        for done in range(1000):
            progress("embed", done, 1000)
            going.wait(0.05)
        raise AssertionError("it was not cancelled")

    monkeypatch.setattr("instructsearch.collection.Collection.add", slowly)
    page.open("#c=slow")
    page.browser.drop(files[:1], 600, 600)
    # the bytes that were sent have moved the bar before
    page.until("document.querySelector('.job .line')?.textContent.startsWith('embed: ')")
    page.until("document.querySelector('.job progress').value > 2")
    page.shot("progress")
    page.click(".job button", "Cancel")
    page.until("document.querySelector('.job .line').textContent === 'cancelled'")


def test_a_first_collection_is_made_on_the_page(browser, tmp_path, files):
    with served.serving(tmp_path / "root") as client:
        client.post("/v1/embeddings", json={"model": "hash", "input": "a"})
        page = Page(browser, client)
        page.open()
        assert "There is no collection yet" in page.text("#columns")
        page.shot("first")
        page.click("#columns button", "New collection")
        page.type("animals")
        page.fill("#create-instruction", "Represent the animal:")
        page.shot("create")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("instructsearch.serve.catalogue.DEFAULT_EMBEDDER", "hash")
            page.press("Enter")
            page.until("document.querySelector('#collection').value === 'animals'")
        page.appears("#lenses .view")
        assert page.texts("#lenses .view .words") == ["Represent the animal:"]
        page.browser.drop(files[:1], 600, 600)
        page.appears(".job.well")


# --- a token


def test_a_service_that_wants_a_token_is_shown_it_until_the_tab_is_closed(browser, tmp_path):
    with served.serving(tmp_path / "root", token="s3cret-t0ken") as client:
        client.collection("guarded")
        client.add(("a", "the cat sat"), name="guarded")
        page = Page(browser, client)
        page.open("#c=guarded&q=cat", ready=False)
        page.appears("#token-field")
        page.shot("token")
        page.type("wrong")
        page.press("Enter")
        page.until("document.querySelector('#token h2')?.textContent === 'Wrong token'")
        page.type("s3cret-t0ken")
        page.press("Enter")
        page.answered()
        assert page.documents() == ["a"]
        assert page.run("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
        page.open("#c=guarded&q=the+cat")
        assert page.documents() == ["a"]
        assert not page.run("document.querySelector('#token').open")


def test_who_has_no_token_is_told_and_asked_again(browser, tmp_path):
    with served.serving(tmp_path / "root", token="s3cret-t0ken") as client:
        page = Page(browser, client)
        page.open(ready=False)
        page.appears("#token-field")
        page.press("Escape")
        page.appears("#columns .notice")
        assert "show the token" in page.text("#columns")
        page.click("#columns button", "Try again")
        page.appears("#token-field")
