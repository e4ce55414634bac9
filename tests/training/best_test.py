"""The rule for a run's best weights."""

import pytest

from reid_jax.training.best import best_step


@pytest.mark.parametrize(
    ("scores", "step"),
    [
        ({}, None),
        ({10: None}, None),
        ({10: 0.2, 20: None}, 10),
        ({10: 0.2, 20: 0.3, 30: 0.1}, 20),
        ({30: 0.3, 20: 0.3, 10: 0.1}, 20),  # the earliest of equals, in whatever order they come
        ({10: 0.0, 20: None}, 10),  # a score of 0 is a score
    ],
)
def test_the_highest_score_is_the_best_and_the_earliest_of_equals(scores, step):
    assert best_step(scores) == step
