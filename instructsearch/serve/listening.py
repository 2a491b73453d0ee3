"""The socket that a service listens on. Knows addresses, not what is said there."""

import socket

from instructsearch.errors import ServiceError

KEEP_ALIVE = 75  # seconds that an idle connection stays open: longer than clients keep theirs, so that they hang up
BACKLOG = 512  # connections that wait to be taken


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on one address of a host; an empty host is every address, port 0 a free one.

    It is made with its protocol's number: of sockets without one asyncio does not know that they are TCP, and leaves
    them to gather small writes, which costs each answer on a kept connection 40 ms.

    Raises:
        ServiceError: it cannot listen there.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(address)
            made.listen(BACKLOG)
        except BaseException:
            made.close()
            raise
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ServiceError(f"cannot listen on {host} port {port}: {reason or error}") from error
    return made


def address(host: str, listener: socket.socket) -> str:
    """Return the URL that a listener is reached by."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
