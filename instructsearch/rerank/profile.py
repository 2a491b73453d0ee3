"""RerankProfile: everything about a reranker that changes a score, as data with a fingerprint.

Knows nothing of files, tokens or tensors; it is as light as the standard library.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, get_args

from instructsearch.errors import BadProfile
from instructsearch.records import fingerprint

Side = Literal["right", "left"]
Activation = Literal["identity", "sigmoid", "log_sigmoid", "tanh"]
Graph = Literal["", "float32", "int8"]

_FIELD = re.compile(r"\{(\w*)\}")
_DESCRIPTIVE = frozenset({"name", "description", "licence", "aliases", "refused", "weight"})
_TWO_PARTS = frozenset({"cross", "late"})
_VERDICT = frozenset({"causal", "seq2seq"})


@dataclass(frozen=True)
class RerankProfile:
    """One reranker and exactly how it is to be asked. Frozen; equal profiles give equal scores.

    `kind` names the plugin that scores: `cross` (a cross-encoder with a head of one output), `causal` and `seq2seq`
    (a language model that answers by one of two tokens), `late` (MaxSim over token vectors), `ltr` (a learned sum of
    features of the list of candidates), `overlap`, or that of an installed package. `model` is
    `package:MODULE/FOLDER`, a hub id or a local folder, `revision` a hub commit; `files` maps names in its folder to
    their SHA-256. `delta` names a folder of what training changed in it (see `delta.py`), whose digests are
    `delta_files`.

    `template` holds `{query}` and `{text}` once each and `{instruction}` at most once, in parts. For `cross` and `late`
    the parts are two, with the passage in the second: the sides of the tokenizer's pair, or what is encoded apart. For
    language models each part is tokenised by itself, since a tokenizer that sees them joined may merge across the
    seam. `plain_template` serves when there is no instruction; where it is empty, one with `{instruction}` gets
    `instruction`, the model's own.

    The score is the head's logit (`cross`), that of `true_token` less that of `false_token` if there is one (language
    models), or the sum of greatest cosines (`late`), through `activation`; all are monotone, so none changes an order.
    `max_tokens` counts everything; only the passage is ever cut, to `document_tokens` of its own where that is given.

    For `ltr`, `model` is a folder of weights, and `embedder` the embedder of texts that come without vectors.

    For `late`, `embedder` names the embedder whose token vectors are compared. Or `model` is a ColBERT checkpoint:
    `projection` names its folder with a Dense layer, or a weight in its own file; `markers` are tokens of the template
    that the tokenizer must keep whole; a query is filled up with mask tokens to `query_tokens`, which are attended to
    if `attends_fill`; `document_tokens` counts its markers and special tokens too. `counts_special` says whether the
    tokens are compared that the tokenizer puts around a text, `counts_punctuation` whether a passage's punctuation is.

    On a CPU a `cross` with a `graph` scores without torch, by a graph of its network that is made once and cached: in
    `float32`, or in `int8`, which is faster and a little coarser.

    `weight` is the share of this reranker in the final order, the rest being the first stage's: it changes no score,
    nor do the fields that describe. `refused` says why this package cannot reproduce the model.

    Raises:
        BadProfile: a field is missing, contradicts another or has the wrong type.
    """

    name: str
    kind: str = "cross"
    model: str = ""
    revision: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    delta: str = ""
    delta_files: Mapping[str, str] = field(default_factory=dict)
    template: tuple[str, ...] = ("{query}", "{text}")
    plain_template: tuple[str, ...] = ()
    instruction: str = ""
    true_token: str = ""
    false_token: str = ""
    activation: Activation = "identity"
    padding_side: Side = "right"
    max_tokens: int = 512
    graph: Graph = ""
    embedder: str = ""
    projection: str = ""
    markers: tuple[str, ...] = ()
    query_tokens: int = 0
    document_tokens: int = 0
    attends_fill: bool = False
    counts_special: bool = True
    counts_punctuation: bool = True
    weight: float = 1.0
    description: str = ""
    licence: str = ""
    aliases: tuple[str, ...] = ()
    refused: str = ""

    def __post_init__(self) -> None:
        for each in fields(self):
            _check_type(self.name, each.name, getattr(self, each.name))
        if not self.name:
            raise BadProfile("a reranker's profile needs a name")
        if self.max_tokens < 1 or self.query_tokens < 0 or self.document_tokens < 0:
            raise BadProfile(f"reranker {self.name!r}: max_tokens must be positive, and no other number negative")
        if not 0 < self.weight <= 1:
            raise BadProfile(f"reranker {self.name!r}: weight is {self.weight}; it must be above 0 and at most 1")
        if self.kind in _VERDICT and not self.true_token:
            raise BadProfile(f"reranker {self.name!r}: kind {self.kind} needs the true_token that its model answers by")
        self._check_template("template", self.template)
        if self.plain_template:
            self._check_template("plain_template", self.plain_template)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def _check_template(self, name: str, parts: tuple[str, ...]) -> None:
        allowed = [["query", "text"], *([["instruction", "query", "text"]] if name == "template" else [])]
        if sorted(_FIELD.findall(" ".join(parts))) not in allowed:
            wanted = " and ".join("{" + each + "}" for each in allowed[-1])
            raise BadProfile(
                f"reranker {self.name!r}: {name} must hold {wanted} once each, and no other: {list(parts)}"
            )
        if self.kind in _TWO_PARTS and (len(parts) != 2 or "{query}" in parts[1] or not parts[1].endswith("{text}")):
            raise BadProfile(
                f"reranker {self.name!r}: {name} of kind {self.kind} has two parts, and the second ends in {{text}}"
            )

    @property
    def takes_instruction(self) -> bool:
        """Whether the template passes an instruction on to the model."""
        return any("{instruction}" in part for part in self.template)

    def parts(self, query: str, instruction: str) -> list[tuple[str, str | None]]:
        """Return what stands in each part before the passage and after it; None where the passage is not in the part.

        Neither query nor instruction can bring in a placeholder: each is put in its place once.
        """
        chosen = self.template
        if not instruction:
            chosen = self.plain_template or chosen
            instruction = self.instruction
        values = {"query": query, "instruction": instruction}
        made: list[tuple[str, str | None]] = []
        for part in chosen:
            head, found, tail = part.partition("{text}")
            head, tail = (_FIELD.sub(lambda match: values[match[1]], each) for each in (head, tail))
            made.append((head, tail if found else None))
        return made

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that changes a score, and of nothing that does not.

        Fields at their defaults are left out. Where the files' digests are known, it does not matter from where the
        model was loaded.
        """
        skipped = _DESCRIPTIVE | ({"model", "revision"} if self.files else set())
        skipped |= {"delta"} if self.delta_files else set()
        return fingerprint({name: value for name, value in self.to_dict().items() if name not in skipped})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as plain JSON-ready data."""
        facts: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != _DEFAULTS.get(each.name):
                plain = dict(value) if isinstance(value, Mapping) else value
                facts[each.name] = list(plain) if isinstance(plain, tuple) else plain
        return facts

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "RerankProfile":
        """Make a profile of plain data, such as a table of a TOML file.

        Raises:
            BadProfile: a field is unknown, missing or of the wrong type; the message names it.
        """
        name = facts.get("name", "unnamed")
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(facts) - known):
            raise BadProfile(
                f"reranker {name!r}: unknown field {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )
        if "name" not in facts:
            raise BadProfile("a reranker's profile needs a name")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()
        }
        if type(values.get("weight")) is int:
            values["weight"] = float(values["weight"])
        return cls(**values)


_CHOICES: dict[str, tuple[str, ...]] = {
    "activation": get_args(Activation),
    "graph": get_args(Graph),
    "padding_side": get_args(Side),
}
_DEFAULTS: dict[str, Any] = {
    each.name: each.default if each.default_factory is MISSING else each.default_factory()
    for each in fields(RerankProfile)
    if each.default is not MISSING or each.default_factory is not MISSING
}


def _check_type(profile: str, name: str, value: Any) -> None:
    sample = _DEFAULTS.get(name, "")
    wanted = Mapping if isinstance(sample, Mapping) else type(sample)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise BadProfile(f"reranker {profile!r}: {name} must be {wanted.__name__.lower()}, not {value!r}")
    held = (*value, *value.values()) if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
    if not all(isinstance(each, str) for each in held):
        raise BadProfile(f"reranker {profile!r}: {name} must hold text, not {value!r}")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise BadProfile(f"reranker {profile!r}: {name} is {value!r}; it must be one of {', '.join(_CHOICES[name])}")
