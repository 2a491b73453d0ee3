"""The network in training: (instruction, text) pairs to unit vectors with a gradient, and the base model beside it.

Knows a profile and its network, and which of the weights are trained; nothing of losses or steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from instructsearch import embed
from instructsearch.embed import Embedder, Profile
from instructsearch.embed.batches import pad, plan
from instructsearch.embed.encoder import choose_device, native_bfloat16
from instructsearch.embed.network import Network
from instructsearch.embed.tokens import Tokeniser
from instructsearch.embed.weights import locate
from instructsearch.errors import BadProfile, MissingExtra, TooLong
from instructsearch.records import Role
from instructsearch.train import attention, contrast
from instructsearch.train.examples import Example, Examples, Pair
from instructsearch.train.settings import Settings

Method = Literal["lora", "matrices", "full"]
_ROLES: tuple[Role, ...] = ("query", "document")
BUDGET = 8192  # padded tokens that pass through the network at once


class Learner:
    """A pooled embedder whose weights are trained; `base` is the model as it was, which is never changed.

    `method` says what is trained: `lora` low-rank updates (PEFT), `matrices` the weights of every linear layer, from
    whose change a low-rank update is taken at the end, `full` everything. With `full` no bare model stays beside the
    trained one, so a profile whose adapters need an instruction becomes one whose texts are all embedded alike.

    Raises:
        BadProfile: the profile is not of this kind, or has another network for queries than for documents.
        MissingExtra: LoRA needs the extra `train`.
    """

    kind = "encoder"

    def __init__(
        self, profile: Profile, *, method: Method = "matrices", rank: int = 64, length: int = 0, device: str = "auto"
    ) -> None:
        if profile.kind != self.kind:
            raise BadProfile(
                f"{profile.name} is of kind {profile.kind!r}; here models of kind {self.kind!r} are trained"
            )
        if profile.query_adapter != profile.document_adapter:
            raise BadProfile(f"{profile.name} has a network for queries and one for documents; only one can be trained")
        self.profile = replace(profile, adapters_need_instruction=False) if method == "full" else profile
        self.method = method
        self.rank = rank
        self.device = choose_device(device)
        part = self.profile.part(instructed=True)
        self.folder = locate(part)
        self.length = min(length or part.max_tokens, part.max_tokens)
        self.tokeniser = Tokeniser(replace(part, max_tokens=self.length), self.folder)
        self.network: Any = self._network(part, self.folder).to(self.device)
        self.trained = self._free()
        self.bfloat16 = native_bfloat16(self.device)
        if self.bfloat16 and self.device == "cpu":
            attention.use(self.network.backbone)

    def _network(self, profile: Profile, folder: Path) -> nn.Module:
        return Network(profile, folder)

    @property
    def model(self) -> Any:
        """The transformer as it is saved when all of it was trained."""
        return self.network.backbone

    @cached_property
    def base(self) -> Embedder:
        """The embedder that training starts from, for texts without an instruction."""
        return embed.load(self.profile.part(instructed=False), device=self.device)

    def _free(self) -> dict[str, nn.Parameter]:
        """Let the weights that the method names be trained, and return them by name."""
        backbone: Any = self.network.backbone
        if self.method == "lora":
            _add_lora(backbone, self.rank)
        elif self.method == "matrices":
            for layer in backbone.encoder.modules() if hasattr(backbone, "encoder") else backbone.modules():
                if isinstance(layer, nn.Linear):
                    layer.weight.requires_grad_()
        else:
            self.network.requires_grad_()
        return {name: weight for name, weight in self.network.named_parameters() if weight.requires_grad}

    def train(self, mode: bool = True) -> None:
        """Turn dropout on or off."""
        self.network.train(mode)

    def tasks(self, examples: Examples) -> Mapping[str, NDArray[np.int64]]:
        """Return the rows of each task that can be learned: all of them.

        Raises:
            TooLong: an instruction leaves no room for a text; better now than hours from now.
        """
        refuse_long(self.tokeniser, set().union(*examples.instructions.values()))
        return examples.tasks

    def backward(self, examples: Sequence[Example], settings: Settings) -> tuple[float, int]:
        """Add the gradients of one batch, all of one task; return its loss and how many texts it held."""
        return contrast.backward(self, examples, settings)

    def __call__(self, pairs: Sequence[Pair], role: Role) -> Tensor:
        """Return unit rows (n, d), float32; where an instruction is empty, and adapters need one, the base model's."""
        bare = [row for row, (instruction, _) in enumerate(pairs) if not self._learns(instruction)]
        if len(bare) == len(pairs):
            return self.fixed(pairs, role)
        if not bare:
            return self._forward(pairs, role)
        ours = [row for row, (instruction, _) in enumerate(pairs) if self._learns(instruction)]
        parts = [self._forward([pairs[row] for row in ours], role), self.fixed([pairs[row] for row in bare], role)]
        return torch.cat(parts)[torch.tensor([*ours, *bare], device=self.device).argsort()]

    def fixed(self, pairs: Sequence[Pair], role: Role) -> Tensor:
        """Return the base model's unit rows (n, d) of the texts, without their instructions."""
        found = self.base.encode([text for _, text in pairs], role=role)
        return torch.from_numpy(found).to(self.device)

    def _learns(self, instruction: str) -> bool:
        return bool(instruction) or not self.profile.adapters_need_instruction

    def _forward(self, pairs: Sequence[Pair], role: Role) -> Tensor:
        tokeniser = self.tokeniser
        tokens = tokeniser.tokenise(pairs, role)
        rows: list[int] = []
        parts: list[Tensor] = []
        for some in plan([len(each.ids) for each in tokens], list(pairs), BUDGET):
            batch = pad(some, tokens, tokeniser.weights, tokeniser.pad_id, self.profile.padding_side)
            arrays = (batch.ids, batch.attention, batch.weights)
            with self.precision():
                parts.append(self.network(*(torch.from_numpy(each).to(self.device) for each in arrays)))
            rows += some.tolist()
        vectors = torch.cat(parts)[:, : self.profile.dim].float()
        return functional.normalize(vectors, dim=1)[torch.tensor(rows, device=self.device).argsort()]

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Have vectors in float32, of texts cut where the profile says, without dropout: as they are to be saved."""
        before = self.bfloat16, self.tokeniser
        self.bfloat16, self.tokeniser = False, Tokeniser(self.profile.part(instructed=True), self.folder)
        self.train(mode=False)
        try:
            yield
        finally:
            self.bfloat16, self.tokeniser = before

    def precision(self) -> AbstractContextManager[Any]:
        """Return the context in which products are in bfloat16, where the device multiplies it natively."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bfloat16)


def refuse_long(tokeniser: Tokeniser, instructions: set[str]) -> None:
    """Raise TooLong if the longest of the instructions leaves no room for a text."""
    found = sorted(instructions)
    longest = found[int(np.argmax(tokeniser.count(found)))]
    try:
        for role in _ROLES:
            tokeniser.room(longest, role)
    except TooLong as error:
        raise TooLong(f"{error}; train with a greater length, or leave it out of the data") from None


def _add_lora(backbone: Any, rank: int) -> None:
    try:
        import peft
    except ImportError:
        raise MissingExtra("LoRA training needs PEFT: pip install 'instructsearch[train]'") from None
    peft.inject_adapter_in_model(peft.LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear"), backbone)
