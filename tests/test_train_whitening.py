"""A wide spread loses a share of its lead, an even one is left as it is, and lengths stay."""

import torch

from instructsearch.train.whitening import excess

WIDTH = 24


def drawn(*deviations, rows=20_000):
    """Return vectors (rows, d) of given standard deviations, turned so that no direction is an axis."""
    random = torch.Generator().manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(len(deviations), len(deviations), generator=random))
    return torch.randn(rows, len(deviations), generator=random) * torch.tensor(deviations) @ turn.T, turn


def test_each_direction_is_divided_by_a_power_of_its_variance():
    deviations = torch.linspace(0.5, 4, WIDTH)
    usual, turn = drawn(*deviations.tolist())
    moved = (usual - usual @ excess(usual).T) @ turn
    shares = moved.std(0) / deviations**0.7  # a deviation d, of variance d^2, is divided by d^0.3
    torch.testing.assert_close(shares / shares.mean(), torch.ones(WIDTH), atol=0.02, rtol=0)


def test_vectors_stay_as_long_as_they_are_on_average():
    usual, _ = drawn(*torch.linspace(0.1, 1, WIDTH).tolist())
    moved = usual - usual @ excess(usual).T
    torch.testing.assert_close(moved.norm(dim=1).mean(), usual.norm(dim=1).mean())


def test_an_even_spread_has_no_excess():
    usual, _ = drawn(*[1.0] * WIDTH)
    assert excess(usual).abs().max() < 0.02


def test_a_direction_in_which_nothing_differs_is_not_blown_up():
    usual, _ = drawn(*[1.0] * 8, *[0.0] * 8)
    found = excess(usual)
    assert torch.isfinite(found).all()
    assert found.abs().max() < 2  # divided by (1/1000)^0.15, some 2.8, and not by 0
