"""The largest entries by groups, against a sort, ties and padding included."""

import jax
import numpy as np
import pytest
from jax import lax

from reid_jax.retrieval import top_k as module
from reid_jax.retrieval.top_k import top_k


@pytest.mark.parametrize(("columns", "k"), [(640, 5), (640, 1), (640, 30), (100, 7), (64, 64)])
def test_it_is_a_stable_sort_cut_off(columns, k):
    random = np.random.default_rng(0)
    for levels in (2, 9, 10_000):  # with few levels nearly all entries tie, within groups and across them
        score = random.integers(0, levels, (6, columns)).astype(np.float32)
        score[:, -50:] = -np.inf
        score[5, 3:] = -np.inf  # fewer finite entries than k
        value, column = jax.jit(top_k, static_argnums=1)(score, k)
        expected = np.argsort(-score, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(column, expected)
        np.testing.assert_array_equal(value, np.take_along_axis(score, expected, 1))


def test_long_rows_are_searched_by_groups(monkeypatch):
    sizes, whole = [], lax.top_k

    def counted(score, k):
        sizes.append(score.shape[1])
        return whole(score, k)

    monkeypatch.setattr(module.lax, "top_k", counted)
    jax.eval_shape(lambda score: top_k(score, 20), jax.ShapeDtypeStruct((2, 19328), np.float32))
    assert sizes == [19328 // 64, 20 * 64]
