"""The page that a service shows, in a browser: opened, filled in, clicked and read; and the collections it shows.

With SHOTS set to a folder, every picture that a test takes is kept there, to be looked at.
"""

import json
import os
import sys
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import chromium
import pytest
import served

AXE = Path(sys.prefix) / "axe.min.js"  # where `make test-browser` puts it
SHOTS = os.environ.get("SHOTS")
marks = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.installed() is None, reason="no Chromium here: apt-get install chromium"),
]
TOPIC = "Represent the support ticket by what it is about:"
TONE = "Represent the support ticket by the emotion it expresses:"
MOODS = {
    "furious": "I have had enough of this, it is outrageous!",
    "grateful": "Thank you, you helped so quickly.",
    "calm": "No hurry, whenever it suits you.",
}
THINGS = {
    "printer": "The printer jams on both sides of the paper.",
    "refund": "My refund has not arrived on the account.",
    "parcel": "The parcel was left in the rain.",
}
BEFORE, FIRE, AFTER = (
    "Paper goes into the tray. 🖨️ " * 90,
    "When the printer is on fire, leave the room.",
    "Toner is black. " * 160,
)
GUIDE = f"# Setup 🖨️🖨️\n\n{BEFORE}\n\n# Fire\n\n{FIRE}\n\n# Toner\n\n{AFTER}"
HOSTILE = "<img src=x onerror='window.broken=1'><script>window.broken=1</script>"


def tickets():
    """Return 18 tickets, each thing in each mood twice."""
    rows = []
    for number in range(2):
        for thing, about in THINGS.items():
            for mood, feeling in MOODS.items():
                id = f"T-{len(rows) + 1}"
                metadata = {"thing": thing, "mood": mood, "priority": len(rows) % 3 + 1, "open": number == 0}
                rows.append(
                    {"id": id, "title": f"Ticket {len(rows) + 1}", "text": f"{about} {feeling}", "metadata": metadata}
                )
    return rows


@contextmanager
def serving(root, **options):
    """Give a client of a service with `tickets` under two views, and `empty`."""
    with served.serving(root, **options) as client:
        client.collection("tickets", view="topic", instruction=TOPIC)
        guide = {
            "id": "guides/printer.md",
            "title": "Printer guide",
            "text": GUIDE,
            "format": "markdown",
            "metadata": {"thing": "printer"},
        }
        hostile = {"id": HOSTILE, "title": HOSTILE, "text": f"zebra {HOSTILE}", "metadata": {HOSTILE: HOSTILE}}
        done = client.post(
            "/collections/tickets/documents", params={"wait": 60}, json={"documents": [*tickets(), guide, hostile]}
        )
        assert done.json()["state"] == "done", done.text
        view = {"name": "tone", "instruction": TONE, "embedder": "hash"}
        assert client.post("/collections/tickets/views", params={"wait": 60}, json=view).json()["state"] == "done"
        client.collection("empty")
        yield client


class Page:
    """The page of one service in one browser."""

    _shots = count()

    def __init__(self, browser, client):
        self.browser = browser
        self.client = client
        self.base = str(client.base_url).rstrip("/")
        self.run, self.until, self.press, self.type = browser.run, browser.until, browser.press, browser.type

    def open(self, hash="", *, size=(1280, 900), scheme="light", ready=True):
        """Open the page at an address and wait until it shows what that says."""
        self.browser.size(*size, phone=size[0] < 600)
        self.browser.scheme(scheme)
        self.browser.send("Page.navigate", url="about:blank")
        self.browser.open(f"{self.base}/{hash}")
        if ready:
            self.answered()
        return self

    def answered(self):
        """Wait until nothing is searched any more."""
        self.until("document.querySelector('#columns')?.children.length > 0 && !document.querySelector('[aria-busy]')")
        self.browser.settle()

    def has(self, selector):
        return self.run(f"!!document.querySelector({json.dumps(selector)})")

    def appears(self, selector):
        self.until(f"!!document.querySelector({json.dumps(selector)})?.checkVisibility()")
        self.browser.settle()

    def texts(self, selector):
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)")

    def text(self, selector):
        return self.texts(selector)[0]

    def click(self, selector, text=None):
        """Click in the middle of an element, once it is there; of those with a text where one is given."""
        mark = "document.querySelectorAll('[data-clicked]').forEach((one) => delete one.dataset.clicked);"
        found = f"[...document.querySelectorAll({json.dumps(selector)})]"
        if text is not None:
            found += f".filter((one) => one.textContent.trim() === {json.dumps(text)})"
        self.until(f"{found}.length > 0")
        self.run(f"{{ {mark} {found}[0].dataset.clicked = ''; }}")
        self.browser.click(*self.browser.middle("[data-clicked]"))

    def fill(self, selector, text, *, enter=False):
        self.run(f"{{ const one = document.querySelector({json.dumps(selector)}); one.focus(); one.select(); }}")
        self.type(text)
        if enter:
            self.press("Enter")

    def choose(self, selector, value):
        """Choose in a select as the keyboard does: its value changes, then it says so."""
        self.run(
            f"{{ const one = document.querySelector({json.dumps(selector)}); one.value = {json.dumps(value)};"
            " one.dispatchEvent(new Event('change', {bubbles: true})); }"
        )

    def documents(self, column=0):
        """Return the documents of a column's hits, as their links name them."""
        return self.run(
            f"[...(document.querySelectorAll('.column')[{column}]?.querySelectorAll('a.open') ?? [])]"
            ".map((one) => new URLSearchParams(one.hash.slice(1)).get('doc'))"
        )

    def hash(self):
        return self.run("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")

    def shot(self, name):
        """Keep a picture of the window, where pictures are wanted."""
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            (Path(SHOTS) / f"{name}.png").write_bytes(self.browser.picture())

    def violations(self):
        """Return what axe finds wrong with the page as it stands, as one line each."""
        if not self.run("typeof axe === 'object'"):
            self.run(AXE.read_text("utf-8") + "; true")
        found = self.run(
            "axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa',"
            " 'wcag22aa', 'best-practice']}).then((told) => told.violations.flatMap((one) => one.nodes.map((node) =>"
            " `${one.id}: ${node.target.join(' ')}: ${node.failureSummary}`)))"
        )
        return [" ".join(one.split()) for one in found]
