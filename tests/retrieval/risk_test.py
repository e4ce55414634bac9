"""Risk against coverage: by a slow walk, at the two ends, and with ties."""

import itertools

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.retrieval.risk import risk_coverage


def test_it_is_the_share_of_wrong_answers_among_the_surest():
    random = np.random.default_rng(0)
    wrong, uncertainty = random.random(40) < 0.3, random.random(40)
    result = risk_coverage(wrong, uncertainty)
    order = sorted(range(40), key=lambda i: uncertainty[i])
    for k in range(1, 41):
        assert result.coverage[k - 1] == pytest.approx(k / 40)
        assert result.risk[k - 1] == pytest.approx(sum(wrong[i] for i in order[:k]) / k)
    assert result.area == pytest.approx(result.risk.mean())


def test_an_oracle_and_a_constant_are_the_two_ends():
    wrong = np.array([True, False, False, True, False])
    oracle = risk_coverage(wrong, wrong.astype(float))
    assert oracle.area == pytest.approx(oracle.oracle)
    constant = risk_coverage(wrong, np.ones(5))
    assert constant.area == pytest.approx(constant.random) == pytest.approx(0.4)
    assert risk_coverage(wrong, -wrong.astype(float)).area > constant.area > oracle.area


def test_ties_count_as_the_mean_over_their_orders():
    wrong, uncertainty = np.array([True, False, True, False]), np.array([1.0, 1.0, 1.0, 2.0])
    areas = []
    for order in itertools.permutations(range(3)):
        line = [*order, 3]
        areas.append(np.mean([wrong[line[:k]].mean() for k in range(1, 5)]))
    assert risk_coverage(wrong, uncertainty).area == pytest.approx(np.mean(areas))


@pytest.mark.parametrize(
    ("wrong", "uncertainty", "message"),
    [([], [], "one of each"), ([True], [1.0, 2.0], "one of each"), ([True, False], [1.0, np.nan], "not finite")],
)
def test_bad_input_is_named(wrong, uncertainty, message):
    with pytest.raises(InputError, match=message):
        risk_coverage(np.array(wrong, bool), np.array(uncertainty))
