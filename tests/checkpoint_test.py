"""Checkpoints: the latest and the best stay, and a new process finds them and their metric."""

import jax
import jax.numpy as jnp
import numpy as np

from reid_jax import parallel
from reid_jax.checkpoint import Checkpoints
from reid_jax.state import TrainState


def state(step):
    return TrainState(jnp.int32(step), {"kernel": jnp.full(3, step, jnp.float32)}, {}, {})


def saved(folder, scores, keep=2):
    """Saves one checkpoint a step of `scores` (None: without a metric), as a run does, and ends."""
    checkpoints = Checkpoints(folder, keep)
    for step, score in scores.items():
        checkpoints.save(state(step), score)
    checkpoints.close()
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def test_the_latest_stay_and_the_best_besides(tmp_path):
    assert saved(tmp_path, {5: None, 10: 0.5, 15: None, 20: 0.3, 30: 0.2, 33: None}) == [10, 30, 33]
    assert saved(tmp_path, {40: 0.1, 50: 0.6, 60: 0.1, 70: None}) == [50, 60, 70]


def test_without_a_metric_only_the_latest_stay(tmp_path):
    assert saved(tmp_path, {10: None, 20: None, 30: None}) == [20, 30]
    assert Checkpoints(tmp_path, 2).best() is None


def test_a_new_process_restores_the_latest_and_knows_the_best(tmp_path):
    saved(tmp_path, {10: 0.5, 20: 0.3, 30: None})
    checkpoints = Checkpoints(tmp_path, 2)
    assert (checkpoints.latest, checkpoints.best()) == (30, 0.5)
    mesh = parallel.create_mesh()
    restored = checkpoints.restore(state(0), mesh)
    assert restored.step == 30
    np.testing.assert_array_equal(restored.params["kernel"], [30, 30, 30])
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(restored))


def test_an_empty_folder_has_none(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2)
    assert (checkpoints.latest, checkpoints.best()) == (None, None)
