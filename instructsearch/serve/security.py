"""Guard: which requests are let in at all: by whom they call us, from which page, with which token and how much body.

The first ASGI layer. Knows headers, not routes beyond which of them everybody may see. A web page anywhere can make a
browser on this machine send requests here; a foreign Origin gives it away, and a foreign Host gives away a name that
was pointed at this machine (DNS rebinding). With a token, only who shows it is answered.
"""

import asyncio
import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from instructsearch.serve.failures import refusal
from instructsearch.serve.settings import Settings, loopback

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware that refuses what should not be let in. `open_paths` need no token."""

    def __init__(self, app: ASGIApp, settings: Settings, open_paths: Sequence[str]) -> None:
        self._app = app
        self._settings = settings
        self._open = frozenset(open_paths)
        self._anywhere = not loopback(settings.host)
        self._hosts = _LOCAL | {settings.host.lower().strip("[]"), *(host.lower() for host in settings.hosts)}
        self._token = _digest(settings.token.encode("ascii")) if settings.token is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a websocket: there are none here
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        refused = self._refused(scope, headers)
        if refused is not None:
            code, kind, message = refused
            challenge = {"WWW-Authenticate": "Bearer"} if code == 401 else {}
            await refusal(code, kind, message, {**challenge, **_HEADERS})(scope, receive, send)
            return
        await self._app(scope, self._limited(scope, receive), _hardened(send))

    def _refused(self, scope: Scope, headers: Headers) -> tuple[int, str, str] | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._ours(hosts[0]):
            return 421, "ForeignHost", "this service is not called by that Host; --allow-host adds a name"
        origin = headers.get("origin")
        if origin is not None and not self._may_call(origin, hosts[0]):
            return 403, "ForeignOrigin", "pages of that Origin may not call this service; --allow-origin adds one"
        preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        if self._token is not None and scope["path"] not in self._open and not preflight:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            # digests of equal length: how long the comparison takes tells nothing of the token
            right = hmac.compare_digest(_digest(given.strip().encode("latin-1", "replace")), self._token)
            if not (right and scheme.lower() == "bearer"):
                return 401, "Unauthorized", "show the token: Authorization: Bearer TOKEN"
        declared = headers.get("content-length", "0")
        if not (declared.isdecimal() and int(declared) <= self._most(scope)):
            return 413, "ContentTooLarge", f"a request's body may have {self._most(scope):,} bytes here"
        return None

    def _ours(self, host: str) -> bool:
        name = _hostname(f"//{host}")
        if name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # a page that was pointed here has a name, never a bare address
        return self._anywhere or address.is_loopback

    def _may_call(self, origin: str, host: str) -> bool:
        if origin in self._settings.origins:
            return True
        scheme, _, rest = origin.partition("://")
        return scheme in ("http", "https") and rest.lower() == host.lower()

    def _most(self, scope: Scope) -> int:
        limits = self._settings.limits
        upload = scope["method"] == "POST" and scope["path"].endswith("/files")
        return limits.upload_bytes if upload else limits.body_bytes

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Return a `receive` that stops a body that is longer than it may be, or does not come."""
        most, taken, whole = self._most(scope), 0, False

        async def limited() -> Message:
            nonlocal taken, whole
            if whole:
                return await receive()  # until the client leaves
            try:
                async with asyncio.timeout(self._settings.limits.seconds):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the rest of the request's body did not come") from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > most:
                raise HTTPException(413, f"a request's body may have {most:,} bytes here")
            return message

        return limited


def _hardened(send: Send) -> Send:
    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return hardened


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _hostname(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
