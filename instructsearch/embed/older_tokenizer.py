"""Makes the tokenizer of a folder that was published without `tokenizer.json`, from the older files that it has.

Knows which files those are; not how the tokenizer is used. Transformers does the work, and is imported only for it.
"""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from instructsearch.errors import ModelNotFound

_OLDER = ("vocab.json", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")


def older_tokenizer(name: str, folder: Path) -> Tokenizer:
    """Return the tokenizer that the older files of a folder describe; `name` is the profile's.

    Raises:
        ModelNotFound: there are none, or they cannot be converted; the message says what would help.
    """
    if not any((folder / each).is_file() for each in _OLDER):
        raise ModelNotFound(f"{name}: {folder} has no tokenizer.json; save the model with a fast tokenizer")
    from transformers import AutoTokenizer

    try:
        found: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever the conversion of the day raises
        reason = str(error).strip().partition("\n")[0]
        raise ModelNotFound(
            f"{name}: {folder} has no tokenizer.json, and its older files cannot be converted ({reason});"
            " for a SentencePiece file, pip install sentencepiece"
        ) from None
    tokenizer = getattr(found, "backend_tokenizer", None)
    if not isinstance(tokenizer, Tokenizer):
        raise ModelNotFound(f"{name}: {folder} has no tokenizer.json, and its tokenizer has no fast form")
    return Tokenizer.from_str(tokenizer.to_str())
