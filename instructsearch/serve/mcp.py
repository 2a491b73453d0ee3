"""Collections as tools of an agent, over the Model Context Protocol: see what there is, search it, read on.

Read-only. An agent names collections, views, documents and passages; files go by their names below the folder that the
collection's files share, never by their paths, and no model or file that an agent makes up is looked at. What comes out
of documents is marked as data. No instruction or text of a collection gets into a tool's description, which agents
trust more than results. Knows the protocol's SDK, not how a search is made.
"""

import hmac
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

import instructsearch
from instructsearch import rerank as rerankers
from instructsearch.collection import Collection
from instructsearch.embed import Profile
from instructsearch.errors import (
    BadFilter,
    BadQuery,
    CollectionNotFound,
    InstructSearchError,
    MissingExtra,
    TooLong,
    ViewNotFound,
)
from instructsearch.records import Query
from instructsearch.serve.catalogue import Catalogue, Served
from instructsearch.serve.listening import KEEP_ALIVE, address, listen
from instructsearch.serve.mcp_answers import (
    NOTICE,
    Asked,
    Hit,
    Neighbourhood,
    Overview,
    Passage,
    Results,
    Shelf,
    Text,
    View,
)
from instructsearch.serve.naming import Names
from instructsearch.serve.pool import Pool, Sharing
from instructsearch.serve.settings import Settings, loopback
from instructsearch.store import Place, ViewRow
from instructsearch.store.documents import Stored

try:
    import uvicorn
    from mcp.server import MCPServer
    from mcp.server.auth.provider import AccessToken
    from mcp.server.auth.settings import AuthSettings
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.server.transport_security import TransportSecuritySettings
    from mcp_types import ToolAnnotations
except ImportError as error:
    raise MissingExtra("the MCP server needs the MCP SDK: pip install 'instructsearch[mcp]'") from error

log = logging.getLogger("instructsearch.serve.mcp")

PATH = "/mcp"
PORT = 8766
BODY = 1_000_000  # bytes of a request
MOST_HITS = 50
MOST_CHARACTERS = 20_000
MOST_AROUND = 10
MOST_MODELS = 8  # kept loaded
_SAMPLE = 200  # documents whose metadata is looked at to say what can be filtered by
_PRIVATE = "_instructsearch"  # metadata that adapters keep for themselves

INSTRUCTIONS = (
    "Search in document collections where one says what similarity means. A collection has views: each holds the same"
    " documents, embedded under an instruction of its own. Call list_collections first, choose the view whose"
    " instruction fits what is asked (what a text is about, how it sounds, what it asks for), then search. Cite what"
    " you use by `document`, `start` and `end`. " + NOTICE
)

# what errors may say to an agent: about its own question, never about this machine
_ANSWERABLE = (BadFilter, BadQuery, TooLong, ViewNotFound)


class Library:
    """The collections of a root that are offered, each opened when it is first asked for; their models are shared."""

    def __init__(self, root: Path, offered: Sequence[str] = (), device: str = "auto") -> None:
        """Offer collections by name, or all that are there, now and later.

        Raises:
            CollectionNotFound: one of the names is not there.
        """
        self._offered = tuple(offered)
        self._catalogue = Catalogue(root, Pool(device, (), Sharing(), most=MOST_MODELS))
        for name in self._offered:
            Collection.open(name, root)

    def names(self) -> list[str]:
        """Return the names of the collections that are offered and there."""
        there = self._catalogue.names()
        return [name for name in there if name in self._offered] if self._offered else there

    def collection(self, name: str) -> Served:
        """Return a collection; no other name is looked for on the disk.

        Raises:
            ToolError: it is not offered.
        """
        known = self.names()
        if name not in known:
            raise ToolError(f"no collection {name[:100]!r}; there are: {', '.join(known) or 'none'}")
        return self._catalogue.get(name)


def create_server(
    root: Path, collections: Sequence[str] = (), *, device: str = "auto", settings: Settings | None = None
) -> MCPServer:
    """Return a server with four tools over the collections of a root: all of them, or those named.

    `settings` has the token for HTTP.

    Raises:
        CollectionNotFound: one that is named is not there.
    """
    library = Library(root, collections, device)
    auth: dict[str, Any] = {}
    if settings is not None and settings.token is not None:
        # the SDK wants an issuer; there is none: the token is this service's own
        address = f"http://{settings.host if ':' not in settings.host else f'[{settings.host}]'}:{settings.port}"
        auth = {
            "auth": AuthSettings(issuer_url=address, resource_server_url=None),
            "token_verifier": _Token(settings.token),
        }
    server = MCPServer(
        "instructsearch",
        title="instructsearch",
        version=instructsearch.__version__,
        instructions=INSTRUCTIONS,
        log_level="WARNING",
        **auth,
    )
    reading = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
    for tool in _tools(library):
        server.add_tool(tool, annotations=reading, structured_output=True)
    return server


def serve_stdio(server: MCPServer) -> None:
    """Answer on standard input and output until the other side closes them."""
    server.run("stdio")


def serve_http(server: MCPServer, settings: Settings, told: Callable[[str], None] = lambda address: None) -> None:
    """Answer over streamable HTTP until SIGTERM or SIGINT; `told` hears the address once it listens there.

    Raises:
        ServiceError: it cannot listen there.
    """
    local = ["127.0.0.1", "localhost", "[::1]"]
    own = [] if loopback(settings.host) else [f"[{settings.host}]" if ":" in settings.host else settings.host]
    hosts = [*local, *own, *settings.hosts]
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=BODY,
        transport_security=TransportSecuritySettings(
            allowed_hosts=[form for host in hosts for form in (host, f"{host}:*")],
            allowed_origins=[*(f"http://{host}:*" for host in local), *settings.origins],
        ),
    )
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=10
    )
    with listen(settings.host, settings.port) as listener:
        told(address(settings.host, listener) + PATH)
        uvicorn.Server(config).run(sockets=[listener])


class _Token:
    """The SDK's token verifier for one token that does not expire."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Say who shows this token: its owner, or nobody."""
        right = hmac.compare_digest(token.encode("utf-8", "replace"), self._token)
        return AccessToken(token=token, client_id="token", scopes=[]) if right else None


Name = Annotated[str, Field(description="A collection's name, as list_collections has it.")]
Document = Annotated[str, Field(description="A document's id, as a hit has it.")]


def _tools(library: Library) -> list[Callable[..., BaseModel]]:
    def list_collections() -> Overview:
        """List the collections, their views and what each view takes for similar.

        Call this before searching. Each view says in words what similarity means in it: choose the one that fits the
        question, or several to join their answers. `fields` shows what can be filtered by.
        """
        return Overview(collections=[_shelf(library, name) for name in library.names()])

    def search(
        collection: Name,
        query: Annotated[str, Field(description="What to look for, in natural language.")],
        views: Annotated[
            list[str] | None, Field(description="Views to search; several are fused. Left out: the first.")
        ] = None,
        instruction: Annotated[
            str | None,
            Field(
                description="What the query is embedded under, instead of the view's own, such as 'Represent the"
                " question for finding tickets that sound alike:'. Leave it out unless the view's does not fit."
            ),
        ] = None,
        k: Annotated[int, Field(description="How many hits.", ge=1, le=MOST_HITS)] = 8,
        mode: Annotated[
            Literal["hybrid", "dense", "bm25"],
            Field(description="By meaning and words (hybrid), by meaning alone (dense), or by words alone (bm25)."),
        ] = "hybrid",
        where: Annotated[
            dict[str, Any] | None,
            Field(
                description='A filter on metadata: {"year": {"$gte": 2020}}, with $eq $ne $gt $gte $lt $lte $in $nin'
                " $exists $and $or $not. Values are compared by type."
            ),
        ] = None,
        rerank: Annotated[bool, Field(description="Let a slower model put the best hits in a better order.")] = False,
        by_document: Annotated[bool, Field(description="Only the best passage of each document.")] = False,
        fold: Annotated[
            float | None,
            Field(description="Tell passages so alike (a cosine, such as 0.95) once.", ge=0, le=1),
        ] = None,
    ) -> Results:
        """Find the passages of a collection that answer a query, best first.

        A view decides what is similar: choose it by its meaning in list_collections. If the hits are about the right
        thing in the wrong sense, another view fits better, not another wording. Use read_around to see more around a
        hit, and read_document for the whole text.
        """
        with _told(collection):
            found = library.collection(collection)
            called = found.names()
            asked = Query(
                *(query, instruction, tuple(views or ()), k, mode, called.where(where), by_document),
                rerank=rerankers.DEFAULT if rerank else None,
                fold=fold,
            )
            hits = found.search(asked)
        under = {
            view: Asked(document_instruction=both["document"], query_instruction=both["query"])
            for view, both in (hits[0].instructions if hits else {}).items()
        }
        return Results(collection=collection, views=under, hits=[_hit(called.hit(hit)) for hit in hits])

    def read_document(
        collection: Name,
        document: Document,
        start: Annotated[int, Field(description="Where to begin, in characters.", ge=0)] = 0,
        length: Annotated[int, Field(description="How many characters.", ge=1, le=MOST_CHARACTERS)] = 4_000,
    ) -> Text:
        """Read a document's text, or a part of it: from `start`, at most `length` characters."""
        with _told(collection):
            found = library.collection(collection)
            called = found.names()
            # only by the name that it is told by: that a path is right must not be found out by trying
            known = found.documents(list(called.keys(document)))
            stored = next((each for each in known if called.document(each.key, each.source) == document), None)
        if stored is None:
            raise ToolError(f"no document {document[:200]!r} in {collection}; use the `document` of a hit")
        part = stored.text[start : start + length]
        return Text(
            **_about(called, stored), characters=stored.characters, start=start, end=start + len(part), text=part
        )

    def read_around(
        collection: Name,
        chunk: Annotated[int, Field(description="A passage's id, as a hit has it.")],
        before: Annotated[int, Field(description="How many passages before it.", ge=0, le=MOST_AROUND)] = 1,
        after: Annotated[int, Field(description="How many passages after it.", ge=0, le=MOST_AROUND)] = 1,
    ) -> Neighbourhood:
        """Read a hit's neighbourhood: the passage and those next to it in its document, in the order of the text."""
        with _told(collection):
            found = library.collection(collection)
            called = found.names()
            (place,) = found.passages([chunk])
            (stored,) = found.documents([place.document], texts=False)
            at = stored.chunks.index(chunk)
            places = found.passages(stored.chunks[max(0, at - before) : at + after + 1])
        return Neighbourhood(
            document=called.document(stored.key, stored.source),
            position=at + 1,
            of=len(stored.chunks),
            passages=[_passage(called, each) for each in places],
        )

    return [list_collections, search, read_document, read_around]


@contextmanager
def _told(collection: str) -> Iterator[None]:
    """Tell an agent what is wrong with its question, and the log what is wrong with this machine."""
    try:
        yield
    except _ANSWERABLE as error:
        raise ToolError(str(error)) from None
    except InstructSearchError as error:
        log.error("%s: %s", collection, error)
        kind = "is no longer there" if isinstance(error, CollectionNotFound) else "cannot answer this now"
        raise ToolError(
            f"collection {collection!r} {kind} ({type(error).__name__}); the server's log says why"
        ) from None


def _shelf(library: Library, name: str) -> Shelf:
    try:
        with _told(name):
            return _described(library.collection(name))
    except ToolError as error:
        # one that is damaged must not hide the others
        return Shelf(name=name, documents=0, passages=0, views=[], fields={}, problem=str(error))


def _described(collection: Served) -> Shelf:
    counts = collection.status()
    called = collection.names()
    fields: dict[str, list[Any]] = {}
    for stored in islice(collection.documents(texts=False), _SAMPLE):
        for name, value in _open(called.metadata(stored.metadata, stored.source)).items():
            examples = fields.setdefault(name, [])
            if len(examples) < 3 and value not in examples and len(str(value)) <= 60:
                examples.append(value)
    views = [_view(row) for row in collection.views() if row.ready]
    return Shelf(
        name=collection.name, documents=counts["documents"], passages=counts["chunks"], views=views, fields=fields
    )


def _view(row: ViewRow) -> View:
    said = f"texts that are alike under: {row.instruction}" if row.instruction else "texts about the same things"
    return View(
        name=row.name,
        meaning=said,
        document_instruction=row.instruction,
        query_instruction=row.query_instruction,
        follows_instructions=Profile.from_dict(row.profile).heeds("query"),
    )


def _about(called: Names, stored: Stored) -> dict[str, Any]:
    return {
        "document": called.document(stored.key, stored.source),
        "title": stored.title or Path(stored.source).name,
        "metadata": _open(called.metadata(stored.metadata, stored.source)),
    }


def _passage(called: Names, place: Place) -> Passage:
    return Passage(
        chunk=place.chunk,
        document=called.document(place.document, place.source),
        title=place.title or Path(place.source).name,
        start=place.start,
        end=place.end,
        text=place.text,
        metadata=_open(called.metadata(place.metadata, place.source)),
    )


def _hit(facts: Mapping[str, Any]) -> Hit:
    known = {name: facts[name] for name in Hit.model_fields if name in facts}
    return Hit(**{**known, "metadata": _open(facts["metadata"])})


def _open(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if name != _PRIVATE}
