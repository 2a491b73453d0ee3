"""What a service is told when it is made: where collections live, who may ask, and how much.

Plain frozen data. Knows nothing of HTTP.
"""

import ipaddress
import socket
from dataclasses import dataclass, field, fields
from pathlib import Path

from instructsearch.errors import ServiceError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the service takes on.

    `body_bytes`    size of a request's body (default 16 MB)
    `upload_bytes`  size of one upload of files, all of them together (default 1 GB)
    `files`         files in one upload (default 1,000)
    `documents`     documents in one request (default 10,000)
    `hits`          k of a search, and passages to rerank (default 1,000)
    `inputs`        texts of one embeddings request (default 2,048)
    `seconds`       time for one answer (default 60)
    `waiting`       requests that are answered or wait for it at the same time (default 256)
    `jobs`          jobs that wait for their turn (default 1,000)
    `models`        models that are kept loaded (default 8)

    Raises:
        ValueError: a limit is not above zero.
    """

    body_bytes: int = 16_000_000
    upload_bytes: int = 1_000_000_000
    files: int = 1_000
    documents: int = 10_000
    hits: int = 1_000
    inputs: int = 2_048
    seconds: float = 60.0
    waiting: int = 256
    jobs: int = 1_000
    models: int = 8

    def __post_init__(self) -> None:
        for each in fields(self):
            if not getattr(self, each.name) > 0:
                raise ValueError(f"the limit {each.name} must be above zero, not {getattr(self, each.name)}")


@dataclass(frozen=True, slots=True)
class Settings:
    """One service.

    `token` is what callers must show, None for nobody. `embedders` are models beside the built-in ones that it loads
    and that callers may name. `hosts` are names, beside its own addresses, that it is called by; `origins` are the
    other web pages that may call it from a browser. `batch` texts at most share one forward pass; one that may still
    wait for company does so for `patience` seconds at most; 1 turns sharing off.

    Raises:
        ServiceError: the token is empty or holds what no header can; or it is missing, and `host` is not this machine.
    """

    root: Path
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    token: str | None = field(default=None, repr=False)
    embedders: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    device: str = "auto"
    limits: Limits = field(default_factory=Limits)
    batch: int = 64
    patience: float = 0.003
    threads: int = 64

    def __post_init__(self) -> None:
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise ServiceError("the token must be printable ASCII, and not empty")
        if self.token is not None and " " in self.token:
            raise ServiceError("the token must not hold blanks")
        if self.token is None and not loopback(self.host):
            raise ServiceError(
                f"REFUSED: {self.host} can be reached from other machines, and without a token anyone there could read,"
                " change and delete every collection; give --token or $INSTRUCTSEARCH_TOKEN, or serve on 127.0.0.1"
            )


def loopback(host: str) -> bool:
    """Tell whether a host is this machine and nothing else; a name is looked up.

    Raises:
        ServiceError: the name stands for no address.
    """
    if not host:
        return False  # every address there is
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:
        raise ServiceError(f"cannot listen on {host!r}: it stands for no address of this machine") from error
    return all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found)
