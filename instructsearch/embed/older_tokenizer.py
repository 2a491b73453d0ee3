"""Makes the tokenizer of a folder that was published without `tokenizer.json`, from the older files that it has.

Knows which files those are; not how the tokenizer is used. Transformers does the work, and is imported only for it.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from instructsearch.errors import ModelNotFound

_WORDS = ("vocab.json", "vocab.txt")
_SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")


def older_tokenizer(name: str, folder: Path) -> Tokenizer:
    """Return the tokenizer that the older files of a folder describe; `name` is the profile's.

    Raises:
        ModelNotFound: there are none, or they cannot be converted; the message says what would help.
    """
    lacks = f"{name}: {folder} has no tokenizer.json"
    if not any((folder / each).is_file() for each in (*_WORDS, *_SENTENCEPIECE)):
        raise ModelNotFound(f"{lacks}; save the model with a fast tokenizer")
    needed = next((each for each in _SENTENCEPIECE if (folder / each).is_file()), "")
    if needed and find_spec("sentencepiece") is None:
        raise ModelNotFound(f"{lacks}, and reading its {needed} takes a package: pip install sentencepiece")
    from transformers import AutoTokenizer

    try:
        found: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return Tokenizer.from_str(found.backend_tokenizer.to_str())
    except Exception as error:  # whatever the conversion of the day raises
        reason = str(error).strip().partition("\n")[0]
        raise ModelNotFound(
            f"{lacks}, and its older files cannot be converted ({reason}); save the model with a fast tokenizer"
        ) from None
