"""A training run by recipe: the profile to train, the settings, and from checkpoints to a saved model.

Knows how the parts of training are put together; each part's work is its own.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from instructsearch.embed import Profile, find
from instructsearch.errors import BadProfile, ReadError
from instructsearch.train import save
from instructsearch.train.answers import AnswerLearner
from instructsearch.train.curve import draw
from instructsearch.train.data.recipe import Recipe
from instructsearch.train.examples import Examples
from instructsearch.train.learner import Learner, Method
from instructsearch.train.loop import LOG, Progress, train
from instructsearch.train.reader import ReaderLearner
from instructsearch.train.settings import BY_TASK, Settings

_OWN = ("method", "rank", "length", "hidden")  # settings of the plan, not of the steps
RUN, MODEL, CURVE = "run", "model", "curve.png"
log = logging.getLogger("instructsearch.train")


@dataclass(frozen=True)
class Plan:
    """What a run needs besides its data: the profile trained, how, and at which rank it is saved.

    `rank` 0 saves the change whole, in 8 bits a weight; method `lora`, whose updates are saved at their own rank, takes
    it for 64. `length` is how many tokens of a prompt are seen in training; 0 is the profile's own window. `hidden` is
    how many units a reader has, all of whose weights are trained, and saved in 8 bits.

    Raises:
        ValueError: the method is none, or a number is out of bounds.
    """

    profile: Profile
    settings: Settings
    method: Method = "matrices"
    rank: int = 0
    length: int = 128
    hidden: int = 1024

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"method is {self.method!r}; it must be one of {', '.join(get_args(Method))}")
        for name in ("rank", "length", "hidden"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} is {value!r}; it must be a whole number, 0 or more")

    def learner(self, device: str) -> Learner | ReaderLearner:
        """Return the model as it is before the first step, of the profile's kind."""
        if self.profile.kind == ReaderLearner.kind:
            seed = self.settings.seed
            return ReaderLearner(self.profile, hidden=self.hidden, length=self.length, seed=seed, device=device)
        maker = AnswerLearner if self.profile.kind == AnswerLearner.kind else Learner
        return maker(self.profile, method=self.method, rank=self.rank or 64, length=self.length, device=device)


def plan(recipe: Recipe, changes: Mapping[str, Any]) -> Plan:
    """Return the plan of a recipe; `changes` overrule what its table `training` says.

    Raises:
        ReadError: the recipe has no profile, or names a setting that there is none of, or one that cannot be.
        BadProfile, ModelNotFound: the profile cannot be had.
    """
    facts = dict(recipe.profile)
    base = facts.pop("base", None)
    if base is None:
        raise ReadError("the recipe", "needs a table [profile] with base, the model to start from")
    theirs = find(str(base)).to_dict()
    moved = {"files", "revision"} if "model" in facts else set()
    theirs = {name: value for name, value in theirs.items() if name not in {"aliases", *moved}}
    said = {"name": f"{base}-trained", "description": f"trained from {base}"}
    profile = Profile.from_dict({**theirs, **said, **facts})
    wanted = {**recipe.training, **changes}
    known = {each.name for each in fields(Settings)} | set(_OWN)
    if unknown := sorted(set(wanted) - known):
        raise ReadError("the recipe", f"training has no setting {unknown[0]!r}; there are: {', '.join(sorted(known))}")
    own = {name: wanted.pop(name) for name in _OWN if name in wanted}
    try:
        wanted |= {name: tuple(sorted(wanted.get(name, {}).items())) for name in BY_TASK}
        settings = Settings(**wanted)
        return Plan(profile, settings, **own)
    except (ValueError, AttributeError) as error:
        raise ReadError("the recipe", f"in its table [training], {error}") from None


def run(
    plan: Plan,
    data: Path,
    folder: Path,
    *,
    device: str = "auto",
    progress: Callable[[Progress], None] = lambda _: None,
    stop_seconds: float = math.inf,
) -> float | None:
    """Train, going on from what the folder holds, and save the model; return its least cosine when loaded again.

    None means that it stopped before the last step, after `stop_seconds`; the same call goes on from there.

    Raises:
        BadProfile: the folder holds a saved model already.
        ReadError: the data, or a checkpoint, cannot be read.
        ModelDamaged: the saved model is not the trained one; the run is kept, to be saved at another rank.
    """
    if (folder / MODEL).exists():
        raise BadProfile(f"{folder / MODEL} is there already; train into another folder")
    examples = Examples(data)
    learner = plan.learner(device)
    step = train(learner, examples, plan.settings, folder / RUN, progress=progress, stop_seconds=stop_seconds)
    least = None
    if step == plan.settings.steps:
        if isinstance(learner, ReaderLearner):
            learner.finish(examples)
        rank = learner.rank if plan.method == "lora" else plan.rank
        least = save.save(learner, folder / MODEL, plan.profile.name, rank=rank)
    try:
        draw(folder / RUN / LOG, folder / CURVE)
    except OSError as error:
        log.warning("no picture of the run: %s cannot be written (%s)", folder / CURVE, error)
    return least
