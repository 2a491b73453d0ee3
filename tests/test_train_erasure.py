"""What some words bring into vectors is found and taken out, and nothing else."""

import torch

from instructsearch.train.erasure import erasing

WIDTH = 24


def spread(rows, seed=0):
    """Return vectors (rows, d) that are spread more in some directions than in others."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(rows, WIDTH, generator=random) * torch.linspace(0.2, 1, WIDTH)


def test_what_is_lost_with_words_is_taken_out_and_nothing_else():
    usual = spread(4000)
    random = torch.Generator().manual_seed(1)
    lost = torch.zeros(500, WIDTH)
    lost[:, 3:5] = torch.randn(500, 2, generator=random)
    down, up = erasing(lost, usual, 8)
    assert down.shape == (2, WIDTH) and up.shape == (WIDTH, 2)
    moved = usual - usual @ down.T @ up.T
    assert (lost - lost @ down.T @ up.T).abs().max() < 0.05
    others = [at for at in range(WIDTH) if at not in (3, 4)]
    torch.testing.assert_close(moved[:, others], usual[:, others], atol=0.2, rtol=0)


def test_what_goes_with_the_words_by_chance_stays():
    usual = spread(4000, 2)
    usual[:, 10] = usual[:, 3] + 0.3 * usual[:, 10]  # a subject that goes with a country
    lost = torch.zeros(400, WIDTH)
    lost[:, 3] = torch.randn(400, generator=torch.Generator().manual_seed(3))
    down, up = erasing(lost, usual, 8)
    moved = usual - usual @ down.T @ up.T
    torch.testing.assert_close(moved[:, 10], usual[:, 10], atol=0.05, rtol=0)
    assert (lost - lost @ down.T @ up.T).abs().max() < 0.05


def test_nothing_lost_erases_nothing():
    down, up = erasing(torch.zeros(10, WIDTH), spread(100), 8)
    assert down.shape == (0, WIDTH) and up.shape == (WIDTH, 0)
