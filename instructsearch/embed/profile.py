"""Profile: everything about a model that changes a vector, as data with a fingerprint.

Knows nothing of files, tokens or tensors; it is as light as the standard library.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, get_args

from instructsearch.errors import BadProfile
from instructsearch.records import Role, fingerprint

Pooling = Literal["mean", "cls", "last", "weighted", "mask", "mean and mask"]
Side = Literal["right", "left"]
Attention = Literal["as configured", "causal", "bidirectional"]

READER = "reader"  # the kind whose instructions are no part of a template

_FIELD = re.compile(r"\{(\w*)\}")
_DESCRIPTIVE = frozenset(
    {"name", "description", "licence", "query_instruction", "remote_code", "refused", "aliases", "dims"}
)


@dataclass(frozen=True)
class Profile:
    """One embedding model and exactly how it is to be asked. Frozen; equal profiles give equal vectors.

    `model` is `package:MODULE/FOLDER`, a hub id or a local folder, and `revision` a hub commit. `files` maps names in
    the model's folder to their SHA-256: where it is given, the weights are known by it wherever they lie.
    `kind` names the plugin that embeds (`encoder`, `hash`, ...).

    Templates hold `{text}` once and `{instruction}` at most once. The plain ones serve when no instruction is given;
    where they are empty, a template with `{instruction}` gives way to the text alone. Pooling weighs the last hidden
    states: `mean`, `cls` (first token), `last`, `weighted` (by position, SGPT), `mask` (the mean over mask tokens) or
    `mean and mask` (half a mean over the text, half one over the mask tokens behind it, where there are any).
    `layer` takes them from a layer before the last (kind `answer`). Where `pool_includes_instruction` is false, tokens
    of the template around the text are left out. Left truncation spares what stands before the text in the template,
    unless it `truncates_head`, as a tokenizer does that is given the whole prompt.
    `add_bos` and `add_eos` enforce the token where the tokenizer's own files forget it; `eos_token` names it where it
    is not the tokenizer's own. `query_end` is put after a query that ends in none of `.?!` when an instruction
    follows. `lowercase` folds what a tokenizer's files leave as it is. `attention` overrules a configuration that does
    not say how the model was trained. `query_adapter` and `document_adapter` are LoRA weights merged into the model
    for that role: a folder in it, any other folder, or a hub id with `@revision`. `adapter_files` maps names in their
    folders to SHA-256. Where `adapters_need_instruction`, a text without an instruction is embedded as if there were
    no adapters, by the model that they were trained on. Of kind `reader`, a text is always read by that model alone,
    and both adapters name the folder of the reader that asks it under an instruction, which is no part of a template.

    `post` names what is applied to the pooled vector in order: folders of the model with a Dense or LayerNorm,
    `layer_norm` (without weights), `normalize`; `{dim}` in them stands for the dimension. `dim` may be less than the
    model's own width, if it was trained so (Matryoshka): then `dims` lists what may be chosen. `max_tokens` counts the
    template and the special tokens too.

    `name`, `aliases`, `description`, `licence`, `dims` and the `query_instruction` that is suggested where the user
    gives none change no vector; nor do, where `files` is given, `model` and `revision`, and where `adapter_files` is,
    which folders the adapters lie in. `refused` says why this package cannot reproduce the model; it is listed, and
    never loaded.

    Raises:
        BadProfile: a field is missing, contradicts another or has the wrong type.
    """

    name: str
    kind: str = "encoder"
    model: str = ""
    revision: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    query_template: str = "{text}"
    document_template: str = "{text}"
    plain_query_template: str = ""
    plain_document_template: str = ""
    pooling: Pooling = "mean"
    layer: int = 0
    pool_includes_instruction: bool = True
    padding_side: Side = "right"
    truncation_side: Side = "right"
    truncates_head: bool = False
    add_bos: bool = False
    add_eos: bool = False
    eos_token: str = ""
    query_end: str = ""
    lowercase: bool = False
    attention: Attention = "as configured"
    query_adapter: str = ""
    document_adapter: str = ""
    adapter_files: Mapping[str, str] = field(default_factory=dict)
    adapters_need_instruction: bool = False
    post: tuple[str, ...] = ()
    dim: int = 0
    dims: tuple[int, ...] = ()
    max_tokens: int = 512
    remote_code: bool = False
    query_instruction: str = ""
    description: str = ""
    licence: str = ""
    aliases: tuple[str, ...] = ()
    refused: str = ""

    def __post_init__(self) -> None:
        for each in fields(self):
            _check_type(self.name, each.name, getattr(self, each.name))
        if not self.name:
            raise BadProfile("a profile needs a name")
        if self.dim < 1 or self.max_tokens < 1:
            raise BadProfile(f"profile {self.name!r}: dim and max_tokens must be positive")
        if self.layer and self.kind == "encoder":
            raise BadProfile(f"profile {self.name!r}: a layer before the last is read by kind 'answer' only")
        if self.pooling == "mean and mask" and self.pool_includes_instruction:
            raise BadProfile(f"profile {self.name!r}: pooling 'mean and mask' needs pool_includes_instruction = false")
        for each in fields(self):
            if each.name.endswith("_template"):
                self._check_template(each.name, getattr(self, each.name))

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def _check_template(self, name: str, template: str) -> None:
        plain = name.startswith("plain_")
        if plain and not template:
            return
        found = _FIELD.findall(template)
        allowed = {"text"} if plain else {"text", "instruction"}
        if found.count("text") != 1 or found.count("instruction") > 1 or set(found) - allowed:
            wanted = " and ".join("{" + each + "}" for each in sorted(allowed, reverse=True))
            raise BadProfile(
                f"profile {self.name!r}: {name} {template!r} must hold {wanted} once, and nothing else in {{}}"
            )

    def heeds(self, role: Role) -> bool:
        """Say whether an instruction given for this role reaches the model at all."""
        return self.kind == READER or "{instruction}" in self._template(role)

    @property
    def takes_instruction(self) -> bool:
        """Whether the model is given the instruction for at least one role."""
        return self.heeds("query") or self.heeds("document")

    def _template(self, role: Role) -> str:
        return self.query_template if role == "query" else self.document_template

    def _plain(self, role: Role) -> str:
        """Return the template of a text without an instruction."""
        plain = self.plain_query_template if role == "query" else self.plain_document_template
        return plain or ("{text}" if self.heeds(role) else self._template(role))

    def adapter(self, role: Role) -> str:
        """Return the LoRA weights for this role, or an empty string."""
        return self.query_adapter if role == "query" else self.document_adapter

    def part(self, *, instructed: bool) -> "Profile":
        """Return the profile of the texts with an instruction, or of those without, where adapters need one."""
        if instructed:
            return replace(self, adapters_need_instruction=False)
        return replace(
            self,
            kind="encoder" if self.kind == READER else self.kind,
            query_template=self._plain("query"),
            document_template=self._plain("document"),
            plain_query_template="",
            plain_document_template="",
            query_adapter="",
            document_adapter="",
            adapter_files={},
            adapters_need_instruction=False,
        )

    def at(self, dim: int) -> "Profile":
        """Return this profile at another of the dimensions that its model was trained for.

        Raises:
            BadProfile: it was not trained for that one.
        """
        if dim == self.dim:
            return self
        if dim not in self.dims:
            offered = f"it has {', '.join(map(str, self.dims))}" if self.dims else f"it has only {self.dim}"
            raise BadProfile(f"{self.name} was not trained for dimension {dim}; {offered}")
        return replace(self, name=f"{self.name}@{dim}", dim=dim)

    def around(self, instruction: str, role: Role) -> tuple[str, str]:
        """Return what stands before and after a text under this instruction."""
        template = self._template(role) if instruction else self._plain(role)
        head, _, tail = template.partition("{text}")
        return head.replace("{instruction}", instruction), tail.replace("{instruction}", instruction)

    def ended(self, text: str, instruction: str, role: Role) -> str:
        """Return the text with the `query_end` that the template asks for before an instruction."""
        if role == "document" or not instruction or not self.query_end or text.rstrip()[-1:] in {"", ".", "?", "!"}:
            return text
        return text + self.query_end

    @property
    def sha256(self) -> str:
        """The digest of the weights, where the profile knows it; otherwise empty."""
        return self.files.get("model.safetensors", "")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that changes a vector, and of nothing that does not.

        Fields at their defaults are left out, so that a field added later leaves older fingerprints as they are. Where
        the files' digests are known, it does not matter from where the model was loaded.
        """
        skipped = set(_DESCRIPTIVE)
        skipped |= {"model", "revision"} if self.files else set()
        skipped |= {"query_adapter", "document_adapter"} if self.adapter_files else set()
        facts = {name: value for name, value in self.to_dict().items() if name not in skipped}
        return fingerprint(facts)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as plain JSON-ready data."""
        facts: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != _default(each.name):
                facts[each.name] = dict(value) if isinstance(value, Mapping) else _plain(value)
        return facts

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "Profile":
        """Make a profile of plain data, such as a table of a TOML file.

        Raises:
            BadProfile: a field is unknown, missing or of the wrong type; the message names it.
        """
        name = facts.get("name", "unnamed")
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(facts) - known):
            raise BadProfile(
                f"profile {name!r}: unknown field {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )
        for needed in ("name", "dim"):
            if needed not in facts:
                raise BadProfile(f"profile {name!r}: the field {needed} is missing")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()
        }
        return cls(**values)


_CHOICES: dict[str, tuple[Any, ...]] = {
    "pooling": get_args(Pooling),
    "padding_side": get_args(Side),
    "truncation_side": get_args(Side),
    "attention": get_args(Attention),
}
_ELEMENTS: dict[str, type] = {"post": str, "aliases": str, "dims": int}


def _default(name: str) -> Any:
    return _DEFAULTS.get(name)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check_type(profile: str, name: str, value: Any) -> None:
    sample = _DEFAULTS.get(name, "")
    wanted = Mapping if isinstance(sample, Mapping) else type(sample)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise BadProfile(f"profile {profile!r}: {name} must be {wanted.__name__.lower()}, not {value!r}")
    if name in _ELEMENTS and not all(type(each) is _ELEMENTS[name] for each in value):
        raise BadProfile(f"profile {profile!r}: {name} must hold {_ELEMENTS[name].__name__}s, not {list(value)!r}")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise BadProfile(f"profile {profile!r}: {name} is {value!r}; it must be one of {', '.join(_CHOICES[name])}")


_DEFAULTS: dict[str, Any] = {
    each.name: each.default if each.default_factory is MISSING else each.default_factory()
    for each in fields(Profile)
    if each.default is not MISSING or each.default_factory is not MISSING
}
