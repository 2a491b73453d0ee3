"""The bootstrap: the same every time, as wide as theory has it, and honest where nothing differs."""

import numpy as np
import pytest
from scipy import stats

from instructsearch.evaluate.bootstrap import interval, paired, statistic

DRAWN = np.random.default_rng(7).normal(0.3, 0.5, 400)


def test_the_same_numbers_give_the_same_interval():
    assert interval(DRAWN, seed=1) == interval(DRAWN, seed=1)
    assert interval(DRAWN, seed=1) != interval(DRAWN, seed=2)
    assert paired(DRAWN, DRAWN[::-1], seed=3) == paired(DRAWN, DRAWN[::-1], seed=3)


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    found = interval(DRAWN)
    error = DRAWN.std() / len(DRAWN) ** 0.5
    assert found.value == pytest.approx(DRAWN.mean())
    assert found.n == 400
    assert found.low == pytest.approx(DRAWN.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(DRAWN.mean() + 1.96 * error, abs=0.1 * error)


def test_the_interval_equals_scipys():
    theirs = stats.bootstrap(
        (DRAWN,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(0)
    ).confidence_interval
    found = interval(DRAWN)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    source = np.random.default_rng(5)
    held = 0
    for seed in range(200):
        found = interval(source.normal(1.0, 2.0, 60), resamples=500, seed=seed)
        held += found.low <= 1.0 <= found.high
    assert 0.89 <= held / 200 <= 0.99


def test_a_higher_level_gives_a_wider_interval():
    narrow, wide = interval(DRAWN, level=0.8), interval(DRAWN, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_value_or_equal_values_have_no_width():
    for values in ([0.5], [0.5] * 9):
        found = interval(values)
        assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_pairs_see_what_means_alone_cannot():
    # queries differ by far more than systems: unpaired the two could not be told apart
    hard = np.random.default_rng(1).uniform(0, 1, 100)
    better = np.clip(hard + 0.02, 0, 1)
    found = paired(better, hard)
    assert found.low > 0
    assert found.p < 0.001
    assert interval(better).low < interval(hard).value < interval(better).high
    assert (found.better, found.worse) == (int((better > hard).sum()), 0)


def test_where_nothing_differs_nothing_is_found():
    found = paired([0.1, 0.5, 0.9], [0.1, 0.5, 0.9])
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert (found.better, found.worse, found.same) == (0, 0, 3)


def test_p_is_rarely_small_where_there_is_no_difference():
    source = np.random.default_rng(11)
    low = sum(
        paired(source.normal(size=40), source.normal(size=40), resamples=400, seed=n).p < 0.05 for n in range(200)
    )
    assert low / 200 < 0.11


def test_p_is_about_the_t_tests():
    source = np.random.default_rng(2)
    one = source.normal(0.1, 0.5, 120)
    other = source.normal(0, 0.5, 120)
    assert paired(one, other).p == pytest.approx(stats.ttest_rel(one, other).pvalue, abs=0.02)


def test_values_by_query_are_paired_by_query():
    found = paired({"a": 1.0, "b": 0.0}, {"b": 0.5, "a": 0.5})
    assert (found.better, found.worse) == (1, 1)
    assert found.difference == 0
    with pytest.raises(ValueError, match="same queries"):
        paired({"a": 1.0}, {"b": 1.0})
    with pytest.raises(TypeError, match="two mappings"):
        paired({"a": 1.0}, [1.0])


def test_any_statistic_can_be_resampled():
    found = statistic(lambda places: float(np.median(DRAWN[places])), len(DRAWN))
    assert found.value == np.median(DRAWN)
    assert found.low < found.value < found.high
    nothing = statistic(lambda places: float("nan"), 3, resamples=5)
    assert str(nothing.value) == "nan"


@pytest.mark.parametrize("values", [[], [float("nan")], [float("inf"), 1.0], [[1.0]]])
def test_what_has_no_mean_is_refused(values):
    with pytest.raises(ValueError, match=r"mean needs|not finite"):
        interval(values)


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(ValueError, match="cannot be paired"):
        paired([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="nothing to resample"):
        statistic(lambda places: 0.0, 0)
