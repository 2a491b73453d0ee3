"""A real Chromium without a head, over its own DevTools pipe: pages are opened, looked at, clicked and typed into.

Needs nothing installed but the browser. Knows no page; `pytest.mark.browser` tests ask for it by the `browser` fixture.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"),
    *("--disable-extensions", "--remote-debugging-pipe"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no network but a service of this machine
)
# the browser reads commands from descriptor 3 and answers on 4
_TRAMPOLINE = (
    "import fcntl, os, sys\n"
    "read, write = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])\n"
    "os.dup2(read, 3); os.dup2(write, 4)\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)


def installed():
    """Return the browser's path, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Failed(AssertionError):
    """The page threw an error, or the browser refused a command."""


class Browser:
    """One browser with one page. `requests` lists every address that the page has asked for."""

    def __init__(self, read, write):
        self._read = os.fdopen(read, "rb", buffering=0)
        self._write = os.fdopen(write, "wb", buffering=0)
        self._number = 0
        self._buffer = b""
        self._session = None
        self.requests = []
        self.errors = []
        self._start()

    def _start(self):
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        """Send one command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._heard(answer)

    def _receive(self):
        while b"\0" not in self._buffer:
            data = self._read.read(1 << 20)
            if not data:
                raise Failed("the browser has gone")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _heard(self, event):
        what = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(what["exceptionDetails"].get("exception", {}).get("description", "an error"))
        elif event.get("method") == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.errors.append(what["entry"]["text"])

    def size(self, width, height, *, ratio=1, phone=False):
        """Set the size of the window in CSS pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=phone
        )
        self.send("Emulation.setTouchEmulationEnabled", enabled=phone)

    def scheme(self, name):
        """Set whether the user's system is `dark` or `light`."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, address):
        """Open an address, a file's for instance, and wait until it is there and has drawn itself."""
        self.requests, self.errors = [], []
        if error := self.send("Page.navigate", url=str(address)).get("errorText"):
            raise Failed(f"{address}: {error}")
        deadline = time.monotonic() + 60
        while self.run("document.readyState + location.href") == "completeabout:blank" or not self.run(
            "document.readyState === 'complete'"
        ):
            if time.monotonic() > deadline:
                raise Failed(f"{address} does not load")
        self.settle()

    def settle(self):
        """Wait until two frames have been drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def run(self, script):
        """Return the value of a JavaScript expression, awaited."""
        done = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise Failed(done["exceptionDetails"].get("exception", {}).get("description", script))
        return done["result"].get("value")

    def until(self, condition, seconds=60):
        """Wait until a JavaScript expression is true, and return its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(condition)):
            if time.monotonic() > deadline:
                raise Failed(f"never true: {condition}")
            time.sleep(0.02)
        return value

    def middle(self, selector):
        """Return where the middle of an element is in the window, after scrolling to it."""
        script = (
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " one.scrollIntoView({block: 'nearest', behavior: 'instant'}); const box = one.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return self.run(script)

    def mouse(self, kind, x, y, **more):
        """Send one mouse event: mouseMoved, mousePressed, mouseReleased or mouseWheel."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x, y):
        """Press and release the left button."""
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, button="left", clickCount=1, buttons=1)
        self.mouse("mouseReleased", x, y, button="left", clickCount=1)
        self.settle()

    def drag(self, points):
        """Press at the first point, move over the others and release at the last."""
        self.mouse("mouseMoved", *points[0])
        self.mouse("mousePressed", *points[0], button="left", clickCount=1, buttons=1)
        for point in points[1:]:
            self.mouse("mouseMoved", *point, button="left", buttons=1)
        self.mouse("mouseReleased", *points[-1], button="left", clickCount=1)
        self.settle()

    def carry(self, files, *points, first="dragEnter", end=None):
        """Drag files of this machine over places; those outside of the window are where the drag leaves it.

        `first` is `dragOver` where they are being dragged already; `end` is `drop` to let them go at the last, and
        `dragCancel` to end the drag without the page being told.
        """
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        steps = [("dragOver" if number else first, *point) for number, point in enumerate(points)]
        for kind, x, y in [*steps, *([(end, *points[-1])] if end else [])]:
            self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)
        self.settle()

    def drop(self, files, x, y):
        """Drag files of this machine over a place, and let them go there."""
        self.carry(files, (x, y), (x, y), end="drop")

    def touch(self, *frames):
        """Touch with one finger for each point of a frame, move through the frames, and let go."""
        for number, frame in enumerate(frames):
            points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(frame)]
            self.send("Input.dispatchTouchEvent", type="touchMove" if number else "touchStart", touchPoints=points)
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.settle()

    def press(self, key, *, shift=False):
        """Press and release a key, by its DOM name."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        codes = {
            "Enter": 13,
            "/": 191,
            "Escape": 27,
            "Tab": 9,
            "ArrowLeft": 37,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "ArrowDown": 40,
        }
        more = {"windowsVirtualKeyCode": codes.get(key, ord(key[0].upper())), "modifiers": 8 if shift else 0}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **more)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, **more)
        self.settle()

    def type(self, text):
        """Insert text where the focus is."""
        self.send("Input.insertText", text=text)
        self.settle()

    def picture(self, *, whole=False):
        """Return a PNG of the window, or of the whole page."""
        return base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=whole)["data"])


@contextmanager
def started(profile):
    """Give a browser that keeps its profile in a folder, and end it."""
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _TRAMPOLINE, str(command_read), str(answer_write)),
            *(installed(), *FLAGS, f"--user-data-dir={profile}", "about:blank"),
        ],
        pass_fds=(command_read, answer_write),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(command_read)
    os.close(answer_write)
    browser = Browser(answer_read, command_write)
    try:
        yield browser
    finally:
        browser._write.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        browser._read.close()
