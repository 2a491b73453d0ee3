"""The page: files that come with the package, served as they are, under a policy that lets nothing else run.

What is served is what lies in `serve/pages` when the service is made, and the scripts that maps are drawn by, by name:
no request leads to another file.
"""

from functools import cache
from importlib import resources

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from instructsearch.serve.routes.health import OPEN

router = APIRouter(include_in_schema=False)
INDEX = "index.html"
MAP_SCRIPTS = ("points.js", "chart.js", "gestures.js")  # that the file of `instructsearch map` is drawn by too
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'"
)
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


@cache
def _pages() -> dict[str, tuple[bytes, str]]:
    """Return the bytes and content type of every file there is."""
    own = resources.files("instructsearch.serve").joinpath("pages")
    maps = resources.files("instructsearch.explore.page")
    found = {}
    for file in (*own.iterdir(), *(maps.joinpath(name) for name in MAP_SCRIPTS)):
        kind = _KINDS.get("." + file.name.rpartition(".")[2])
        if kind is not None and file.is_file():
            found[file.name] = (file.read_bytes(), kind)
    return found


def open_paths() -> tuple[str, ...]:
    """Return the paths that need no token: what they answer is the same for everybody."""
    return (*OPEN, "/", *(f"/pages/{name}" for name in _pages()))


@router.get("/")
async def index() -> Response:
    """The page."""
    return _file(INDEX)


@router.get("/pages/{name}")
async def asset(name: str) -> Response:
    """A script, style or picture of the page."""
    return _file(name)


def _file(name: str) -> Response:
    if name not in _pages():
        raise HTTPException(404)
    body, kind = _pages()[name]
    headers = {"Content-Type": kind, "Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response(body, headers=headers)
