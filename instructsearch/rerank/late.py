"""LateInteraction: each token of the query finds its nearest token of the passage, and the cosines are summed (MaxSim).

Knows how token vectors are made of an embedder's states, or of a ColBERT checkpoint's, at query time; stores none.
Source: Khattab and Zaharia 2020, "ColBERT", equation 3.

A query's instruction is read by the embedder together with the query, and its tokens are not compared themselves.
"""

import string
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from tokenizers import AddedToken
from torch import Tensor, nn

from instructsearch import embed
from instructsearch.embed.batches import plan
from instructsearch.embed.encoder import Encoder
from instructsearch.embed.layers import post_layers
from instructsearch.embed.profile import Profile
from instructsearch.embed.tokens import Tokeniser, Tokens
from instructsearch.errors import BadProfile, ModelDamaged
from instructsearch.records import Role
from instructsearch.rerank.files import as_embed
from instructsearch.rerank.profile import RerankProfile
from instructsearch.rerank.protocol import check_scores, check_texts, warn_ignored
from instructsearch.rerank.transformer import Precision, chosen

_SEAM = 4  # tokens that a piece of a long query may have more when it is tokenised by itself
_OPPOSITE = -1.0  # the cosine of a query's token with a passage that has none to compare


class LateInteraction:
    """MaxSim over the token vectors of a pooled embedder, or of a ColBERT checkpoint."""

    budget = 16_384  # padded tokens a batch

    def __init__(self, profile: RerankProfile, *, device: str = "auto", precision: Precision = "auto") -> None:
        self.profile = profile
        self.name = profile.name
        base = _base(profile)
        self.takes_instruction = base.heeds("query")
        self._encoder = Encoder(base, device=device, precision="float32", check=bool(profile.embedder))
        self.device = self._encoder.device
        self._bulk = chosen(precision, self.device)
        self._tokenisers: dict[Role, Tokeniser] = {
            "query": self._tokeniser(base),
            "document": self._tokeniser(replace(base, max_tokens=profile.document_tokens or base.max_tokens)),
        }
        self._skipped = self._punctuation() if not profile.counts_punctuation else np.zeros(0, np.int32)
        self._projection = _projection(profile, self._encoder)
        if profile.query_tokens and self._tokenisers["query"].mask_id is None:
            raise BadProfile(f"{self.name}: queries are filled up with mask tokens, and its tokenizer has none")

    def _tokeniser(self, base: Profile) -> Tokeniser:
        made = Tokeniser(replace(base, pool_includes_instruction=False), self._encoder.folder)
        marks = [AddedToken(mark, normalized=False, special=True) for mark in self.profile.markers]
        made.tokenizer.add_special_tokens(marks)
        return made

    def score(self, query: str, instruction: str, texts: Sequence[str]) -> list[float]:
        """Return one score a text, in their order: at most the number of the query's tokens. Texts beyond are cut.

        Raises:
            TooLong: the instruction leaves no room for the query.
            ModelDamaged: a score is not finite.
        """
        check_texts(query, instruction, texts)
        if not self.takes_instruction:
            warn_ignored(self.name, instruction)
        unique = list(dict.fromkeys(texts))
        scores = torch.empty(len(unique), dtype=torch.float64)
        with torch.inference_mode():
            asked = self._query(query, instruction) if unique else []
            for places, vectors, counted in self._passages(unique):
                scores[places] = sum(_maxsim(part, vectors, counted).double().cpu() for part in asked)
        by_text = dict(zip(unique, scores.tolist(), strict=True))
        return check_scores(self.name, [by_text[text] for text in texts], texts)

    def _query(self, query: str, instruction: str) -> list[Tensor]:
        """Return the vectors of a query's tokens, unit rows (tokens, width).

        One that is longer than the window is read a window at a time, since a query is never cut; hence a list.
        """
        query = query.encode("utf-8", "replace").decode()  # a lone surrogate has no UTF-8 form
        instruction = instruction if self.takes_instruction else ""
        tokeniser = self._tokenisers["query"]
        rows = tokeniser.tokenise([(instruction, query)], "query")
        if rows[0].cut:
            spans = tokeniser.tokenizer.encode(query, add_special_tokens=False).offsets
            size = max(1, tokeniser.room(instruction, "query") - _SEAM)
            starts = range(0, len(spans), size)
            pieces = [query[spans[at][0] : spans[min(at + size, len(spans)) - 1][1]] for at in starts]
            rows = tokeniser.tokenise([(instruction, piece) for piece in pieces], "query")
        return [self._query_row(row) for row in rows]

    def _query_row(self, tokens: Tokens) -> Tensor:
        counted = self._counted(tokens, "query")
        ids, attends = tokens.ids, np.ones(len(tokens.ids), np.int64)
        if missing := max(0, self.profile.query_tokens - len(ids)):
            ids = np.concatenate([ids, np.full(missing, self._tokenisers["query"].mask_id, np.int32)])
            attends = np.concatenate([attends, np.full(missing, int(self.profile.attends_fill))])
            counted = np.concatenate([counted, np.ones(missing, bool)])
        states = self._states(ids[None], attends[None], "query", torch.float32)[0]
        return states[torch.from_numpy(counted).to(self.device)]

    def _passages(self, texts: Sequence[str]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield a batch's places, its unit vectors (rows, length, width), and which of them count (rows, length)."""
        tokeniser = self._tokenisers["document"]
        rows = tokeniser.tokenise([("", text) for text in texts], "document")
        side, pad = self._encoder.profile.padding_side, tokeniser.pad_id
        for places in plan([len(row.ids) for row in rows], texts, self.budget):
            length = max(len(rows[at].ids) for at in places)
            ids = np.full((len(places), length), pad, np.int32)
            attends = np.zeros((len(places), length), np.int64)
            counted = np.zeros((len(places), length), bool)
            for here, at in enumerate(places):
                size = len(rows[at].ids)
                span = slice(0, size) if side == "right" else slice(length - size, length)
                ids[here, span], attends[here, span] = rows[at].ids, 1
                counted[here, span] = self._counted(rows[at], "document")
            vectors = self._states(ids, attends, "document", self._bulk)
            yield torch.from_numpy(places), vectors, torch.from_numpy(counted).to(self.device)

    def _states(self, ids: Any, attends: Any, role: Role, dtype: torch.dtype) -> Tensor:
        """Return unit vectors (rows, length, width) in float32, projected where the model is so trained."""
        network = self._encoder.network(dtype, role)
        ids, attends = (torch.from_numpy(each.astype(np.int64)).to(self.device) for each in (ids, attends))
        states = network.backbone(input_ids=ids, attention_mask=attends).last_hidden_state.float()
        for layer in (*network.post, *self._projection):
            states = layer(states)
        return nn.functional.normalize(states, dim=-1)

    def _counted(self, tokens: Tokens, role: Role) -> Any:
        """Return which tokens are compared, bool (length,): the text's own, and the special ones if they count."""
        tokeniser = self._tokenisers[role]
        before, after = len(tokeniser.before), len(tokeniser.after)
        first, last = tokens.first, tokens.last
        if self.profile.counts_special and not self.profile.embedder:
            first, last = 0, len(tokens.ids)
        elif not self.profile.counts_special:
            first, last = max(first, before), min(last, len(tokens.ids) - after)
        places = np.arange(len(tokens.ids))
        counted = (places >= first) & (places < last)
        if role == "document":
            counted &= ~np.isin(tokens.ids, self._skipped)
        return counted

    def _punctuation(self) -> Any:
        found = [self._tokenisers["document"].tokenizer.token_to_id(mark) for mark in string.punctuation]
        return np.asarray([each for each in found if each is not None], np.int32)


def _base(profile: RerankProfile) -> Profile:
    """Return the embedder's profile whose token vectors are compared."""
    if profile.embedder:
        base = embed.find(profile.embedder)
        if base.kind != "encoder":
            raise BadProfile(f"{profile.name}: {base.name} is no pooled embedder, so that it has no token vectors")
        # passages come without an instruction, and a query's vectors have to be of the same making
        return base.part(instructed=False) if base.adapters_need_instruction else base
    query, text = (part.replace("{query}", "{text}") for part in profile.template)
    return replace(as_embed(profile), query_template=query, document_template=text)


def _projection(profile: RerankProfile, encoder: Encoder) -> nn.ModuleList:
    """Return the layers, one or none, that a ColBERT checkpoint puts on each state."""
    name = profile.projection
    if not name:
        return nn.ModuleList()
    if (encoder.folder / name).is_dir():
        return post_layers(encoder.folder, (name,), encoder.width)[0].to(encoder.device)
    for path in sorted(encoder.folder.glob("*.safetensors")):
        with safe_open(path, "pt") as weights:
            if name in weights.keys():  # noqa: SIM118 - it is no dictionary
                weight = weights.get_tensor(name).float()
                layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
                layer.weight = nn.Parameter(weight, requires_grad=False)
                return nn.ModuleList([layer]).to(encoder.device)
    raise ModelDamaged(f"{profile.name}: {encoder.folder} has neither a folder nor a weight {name!r} to project with")


def _maxsim(query: Tensor, passages: Tensor, counted: Tensor) -> Tensor:
    """Return (rows,): the sum over the query's tokens (tokens, width) of the greatest cosine in each passage."""
    cosines: Tensor = passages @ query.T  # (rows, length, tokens)
    nearest = cosines.masked_fill(~counted[:, :, None], -torch.inf).amax(1)
    return nearest.masked_fill(~counted.any(1, keepdim=True), _OPPOSITE).sum(1)
