"""Attention by pieces against torch's own: every row, every column, and none that is not used."""

import pytest
import torch
from torch.nn import functional

from instructsearch.embed import attention


def states(rows, length, heads=3, depth=8):
    generator = torch.Generator().manual_seed(2)
    return [torch.randn((rows, length, heads, depth), generator=generator) for _ in range(3)]


def used(lengths, side, length):
    places = torch.arange(length)[None]
    counts = torch.tensor(lengths)[:, None]
    return places < counts if side == "right" else places >= length - counts


@pytest.mark.parametrize("cached", [1, 4000, 3 << 20])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    "lengths", [[40, 40, 40], [40], [40, 39, 17, 16, 3, 1], [5, 33, 2, 40], [40, 0, 7], [0, 0], [21, 20]], ids=str
)
def test_what_a_used_token_reads_is_what_torch_says(lengths, side, cached, monkeypatch):
    monkeypatch.setattr(attention, "CACHED", cached)
    query, key, value = states(len(lengths), 40)
    mask = used(lengths, side, 40)
    read = attention.attend(query * 8**-0.5, key, value, attention.pieces(mask, 3, torch.float32))
    exact = functional.scaled_dot_product_attention(
        *(each.transpose(1, 2) for each in (query, key, value)), attn_mask=mask[:, None, None, :]
    ).transpose(1, 2)
    torch.testing.assert_close(read[mask], exact[mask], atol=1e-6, rtol=0)
    assert torch.isfinite(read).all()  # padding is multiplied by 0 in the pooling, which would keep a NaN


@pytest.mark.parametrize("cached", [1, 4000])
def test_pieces_cover_each_row_once_in_order_and_hold_their_columns(cached, monkeypatch):
    monkeypatch.setattr(attention, "CACHED", cached)
    mask = used([40, 38, 38, 12, 0, 9, 3], "left", 40)
    parts = attention.pieces(mask, 3, torch.bfloat16)
    assert [row for part in parts for row in range(*part.rows.indices(7))] == list(range(7))
    for part in parts:
        outside = mask[part.rows].clone()
        outside[:, part.columns] = False
        assert not outside.any()
        within = mask[part.rows, part.columns]
        assert (part.bias is None) == bool(within[within.any(1)].all())
