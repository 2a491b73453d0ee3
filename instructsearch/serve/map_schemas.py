"""What maps are asked and answered over HTTP.

Knows shapes, not how a map is drawn.
"""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from instructsearch.serve.schemas import Answered, Asked, Progress


class Chunks(Asked):
    """Ids of passages, as hits show them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"chunks": [1, 2]}]})

    chunks: Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1, max_length=1000)]


class Entry(Answered):
    """One line of a legend; `style` counts from 0, -1 is what is rare, -2 what has no value."""

    label: str
    style: int


class Colouring(Answered):
    """What points are coloured by: for each point the number of its entry."""

    name: str
    ordered: bool
    entries: list[Entry]
    numbers: list[int]


class Panel(Answered):
    """The points of a view, whole numbers from 0 to 65535, y upwards."""

    view: str
    instruction: str
    facts: list[str]
    x: list[int]
    y: list[int]
    hits: list[int]


class Drawn(Answered):
    """A map: point i is passage `chunks[i]`. Titles and texts are cut to what a reader takes in at a glance."""

    name: str
    summary: str
    notes: list[str]
    noun: str
    panels: list[Panel]
    colourings: list[Colouring]
    chunks: list[int]
    titles: list[str]
    texts: list[str]
    documents: list[str]
    left_out: int
    palettes: dict[str, Any]


class Map(Answered):
    """The newest map there is. `current` is false while it is of an older generation, or not there yet."""

    collection: str
    view: str
    method: str
    generation: int | None
    current: bool
    progress: Progress | None
    map: Drawn | None


class Place(Answered):
    """Where a passage lies; `drawn` says whether it is a point of the map, or lies between those most like it."""

    chunk: int
    x: int
    y: int
    drawn: bool


class Places(Answered):
    """The passages that are there."""

    places: list[Place]
