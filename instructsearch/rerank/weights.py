"""The weights of a learned sum of features, as a file that people can read.

Knows the file and the names of features; not how weights were found, nor what they are applied to.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from instructsearch.errors import BadProfile, ModelDamaged
from instructsearch.rerank.features import NAMES

FILE, PROFILE = "weights.json", "profile.toml"


def read(name: str, folder: Path) -> dict[str, float]:
    """Return the weight of each feature, from the file in a reranker's folder.

    Raises:
        ModelDamaged: the file is missing, is not such a file, or names a feature that there is not.
    """
    path = folder / FILE
    try:
        found = json.loads(path.read_text("utf-8"))["weights"]
    except FileNotFoundError:
        raise ModelDamaged(f"{name}: {folder} has no {FILE}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelDamaged(f"{name}: {path} does not hold weights: {error!r}") from None
    if not isinstance(found, Mapping) or not found:
        raise ModelDamaged(f"{name}: {path} must give a weight by feature")
    if unknown := sorted(set(found) - set(NAMES)):
        raise ModelDamaged(f"{name}: {path} names {', '.join(unknown)}; the features are {', '.join(NAMES)}")
    if bad := [each for each, value in found.items() if type(value) not in {int, float} or not math.isfinite(value)]:
        raise ModelDamaged(f"{name}: {path}: the weight of {bad[0]} is no finite number")
    return {each: float(value) for each, value in found.items()}


def write(folder: Path, weights: Mapping[str, float], embedder: str) -> None:
    """Write weights to a folder, new or not, with a profile by which `find` makes a reranker of it.

    Raises:
        BadProfile: a weight is of no feature, or no finite number.
    """
    if bad := [name for name, value in weights.items() if name not in NAMES or not math.isfinite(value)]:
        raise BadProfile(f"{bad[0]!r}: {weights[bad[0]]} is no weight of one of the features {', '.join(NAMES)}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps({"weights": dict(weights)}, indent=1) + "\n", "utf-8")
    (folder / PROFILE).write_text(f'kind = "ltr"\nmodel = "."\nembedder = {json.dumps(embedder)}\n', "utf-8")
