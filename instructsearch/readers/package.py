"""Office packages (ZIP with XML in it), looked over before anything in them is parsed.

Knows archives and what is wrong with them; does not know documents.
"""

from io import BytesIO
from pathlib import PurePosixPath
from zipfile import BadZipFile, ZipFile

from instructsearch.errors import ReadError
from instructsearch.readers.limits import Limits
from instructsearch.readers.lines import EXPANSION_FROM

_MOST_PARTS = 10_000
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def check_package(data: bytes, path: str, limits: Limits) -> None:
    """Refuse a package that is encrypted, broken, a bomb, or names parts outside of itself.

    Sizes are those that the archive states; nobody who reads it by Python's zipfile gets more.

    Raises:
        ReadError: always with the reason.
    """
    if data.startswith(_OLE):
        raise ReadError(path, "protected by a password, or of the old binary format: save it anew without")
    try:
        with ZipFile(BytesIO(data)) as package:
            parts = package.infolist()
            if len(parts) > _MOST_PARTS:
                raise ReadError(path, f"holds {len(parts):,} parts, more than the limit of {_MOST_PARTS:,}")
            total = sum(part.file_size for part in parts)
            if total > max(EXPANSION_FROM, limits.expansion * len(data)):
                raise ReadError(path, f"expands to {total:,} bytes, as only a bomb does (the limit expansion)")
            for part in parts:
                if (
                    part.filename.startswith(("/", "\\"))
                    or ".." in PurePosixPath(part.filename.replace("\\", "/")).parts
                ):
                    raise ReadError(path, f"names a part outside of itself: {part.filename[:100]!r}")
                if part.flag_bits & 1:
                    raise ReadError(path, "protected by a password: save it without")
                if part.filename.endswith((".xml", ".rels")):
                    with package.open(part) as xml:
                        if b"<!DOCTYPE" in xml.read(4096):
                            raise ReadError(
                                path, f"its {part.filename[:100]} declares entities, which Office never does"
                            )
    except (BadZipFile, EOFError, NotImplementedError, OSError, ValueError) as error:
        raise ReadError(path, f"broken: {' '.join(str(error).split())[:200].lower()}") from None
