"""Makes a copy of a model whose weights were published as pickle, with the same weights as safetensors.

The one place that reads pickle, when asked by name, through torch's reader that builds tensors and nothing else. Knows
the files of a model folder; nothing of what they mean.
"""

import logging
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from instructsearch.embed.catalog import find
from instructsearch.embed.weights import fetch_pickle, is_hub_id, model_folder
from instructsearch.errors import ModelDamaged, StorageError

log = logging.getLogger("instructsearch.embed")
_COPIED = ("*.json", "*.txt", "*.model", "*.toml", "*.safetensors")


def convert(model: str, target: str | Path) -> Path:
    """Copy a model into a new folder with every `pytorch_model*.bin` in it turned into safetensors; return the folder.

    `model` is a folder, a hub id or the name of a built-in profile; afterwards `NAME=FOLDER` is that profile with these
    weights. Nothing but tensors is ever built from the pickles.

    Raises:
        ModelNotFound: the model is not here and cannot be fetched.
        ModelDamaged: its weights are not plain tensors.
        StorageError: the target exists, or cannot be written.
    """
    source = _source(model)
    target = Path(target).expanduser()
    pickles = sorted(source.rglob("pytorch_model*.bin"))
    if not pickles:
        raise ModelDamaged(f"{source} has no pytorch_model*.bin; there is nothing to convert")
    try:
        target.mkdir(parents=True)
        for path in (path for pattern in _COPIED for path in source.rglob(pattern) if path.is_file()):
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        for folder in sorted({path.parent for path in pickles}):
            _rewrite([path for path in pickles if path.parent == folder], target / folder.relative_to(source))
    except FileExistsError:
        raise StorageError(f"{target} exists; name a folder that does not") from None
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error}") from error
    return target


def _source(model: str) -> Path:
    if Path(model).expanduser().is_dir():
        return Path(model).expanduser()
    if is_hub_id(model):
        return fetch_pickle(model, "")
    profile = find(model)
    return (
        fetch_pickle(profile.model, profile.revision)
        if is_hub_id(profile.model)
        else model_folder(profile.model, profile.revision)
    )


def _rewrite(pickles: list[Path], folder: Path) -> None:
    weights: dict[str, Tensor] = {}
    for path in pickles:
        try:
            read = torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:  # a pickle that holds anything but tensors ends here
            raise ModelDamaged(f"{path} is not a plain set of tensors: {str(error).partition(chr(10))[0]}") from None
        weights |= {name: each for name, each in read.items() if isinstance(each, Tensor)}
    folder.mkdir(parents=True, exist_ok=True)
    log.info("writing %d weights into %s", len(weights), folder)
    apart = {name: each.clone().contiguous() for name, each in weights.items()}  # tied ones share memory
    save_file(apart, folder / "model.safetensors", {"format": "pt"})
    (folder / "pytorch_model.bin.index.json").unlink(missing_ok=True)
