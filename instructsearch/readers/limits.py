"""How much a single file may ask for before it is refused.

Knows sizes only; what they are held against is each reader's business.
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may take. A file beyond a limit is refused as a whole, by name; it is never read in part.

    `file_bytes`    size of a file that is read whole: everything but the rows of JSONL and CSV (default 100 MB)
    `row_bytes`     size of one JSONL or CSV row; a longer one is refused, those after it are read (default 10 MB)
    `pages`         pages of a PDF, slides of a presentation (default 5,000)
    `seconds`       time to parse one PDF, DOCX, PPTX, HTML, IPYNB or MDX file, in a process of its own (default 60)
    `characters`    text that one file may turn into (default 20 million)
    `memory_bytes`  address space that this process may take for one file beyond what it has (default 1 GB)
    `expansion`     how many times its size a compressed file may become, where that is over 10 MB (default 200)

    Raises:
        ValueError: a limit is not above zero.
    """

    file_bytes: int = 100_000_000
    row_bytes: int = 10_000_000
    pages: int = 5_000
    seconds: float = 60.0
    characters: int = 20_000_000
    memory_bytes: int = 1_000_000_000
    expansion: int = 200

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"the limit {field.name} must be above zero, not {getattr(self, field.name)}")
