"""What was not finite first: planted in a parameter, a layer, a gradient or their norm, in any step of a chunk."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from reid_jax import parallel
from reid_jax.data.augment import Augmentation
from reid_jax.data.resident import ResidentImages
from reid_jax.models.blocks import ConvNorm
from reid_jax.models.heads import Classifier, Vector
from reid_jax.models.output import Output
from reid_jax.models.pooling import Pooling
from reid_jax.training.batches import Resident
from reid_jax.training.losses import Objective
from reid_jax.training.not_finite import Diagnosis, copy_state
from reid_jax.training.state import create_state, init_variables
from reid_jax.training.steps import compile_chunk

SIZE = (8, 8)
STEPS = 4
EXPLODES = 1  # the step, from 0, at whose end an enormous rate spoils the parameters


class OneStage(nn.Module):
    """The modules of a network, one of each."""

    @nn.compact
    def __call__(self, image, train):
        x = ConvNorm(4, 3, 2, name="conv1")(image, train)
        x = Pooling("gem", name="pool_global")(x)
        x = Vector(8, name="fc_global")(x, train)
        logits = Classifier(4, False, 16.0, True, name="classifier_global")(x)
        return Output(x, (x,), (logits,))


@dataclasses.dataclass(frozen=True)
class Steep(Objective):
    """An objective with a term of enormous slope: gradients are finite, their squares are not."""

    slope: float = 0.0

    def __call__(self, output, label):
        loss, metrics = super().__call__(output, label)
        return loss + self.slope * output.features[0].sum(), metrics


@functools.cache
def setup(slope=0.0, groups=1):
    """(state, diagnosis, batches) of one compiled chunk."""
    network, mesh, augmentation = OneStage(), parallel.create_mesh(), Augmentation(pad=2)
    random, whole, objective = np.random.default_rng(0), parallel.replicated(mesh), Steep(slope=slope)
    image = ResidentImages.of(random.integers(0, 256, (16, *SIZE, 3), np.uint8), mesh)
    label = jax.device_put(np.repeat(np.arange(4), 4).astype(np.int32), whole)
    indices = np.stack([random.permutation(16)[:8] for _ in range(STEPS)]).astype(np.int32)
    optimizer = optax.sgd(lambda step: jnp.where(step == EXPLODES, jnp.inf, 1e-3))
    state = create_state(init_variables(network, jax.random.key(0), SIZE), optimizer)
    chunk = compile_chunk(network, optimizer, objective, augmentation, mesh, groups=groups)
    diagnosis = Diagnosis(chunk, network, objective, augmentation, mesh, jax.random.key(1), groups)
    return jax.device_get(state), diagnosis, Resident(image, label, indices)


def first(changes, slope=0.0, groups=1):
    """The first step that is not finite, from 0, of a chunk from parameters with `changes` {path: value}; and why."""
    state, diagnosis, batches = setup(slope, groups)

    def changed(path, leaf):
        return np.full_like(leaf, changes.get(jax.tree_util.keystr(path, simple=True, separator="/"), leaf))

    state = dataclasses.replace(state, params=jax.tree_util.tree_map_with_path(changed, state.params))
    state = jax.device_put(state, parallel.replicated(diagnosis.mesh))
    begin = copy_state(state)
    _, history = diagnosis.chunk(state, batches, STEPS, diagnosis.key)
    finite = np.isfinite(history["loss"]) & np.isfinite(history["gradient_norm"])
    number = int(np.argmin(finite))
    assert not finite[number]
    return number, diagnosis(begin, batches, number)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"pool_global/gem/p": np.inf}, "the parameter pool_global/gem/p"),
        ({"classifier_global/kernel": np.nan, "fc_global/norm/bias": np.nan}, "the parameter fc_global/norm/bias"),
        ({"conv1/kernel": 3e38}, "the input of conv1/norm"),  # what the convolution makes
        ({"conv1/norm/scale": 3e38}, "the output of conv1/norm"),
        ({"fc_global/linear/kernel": 3e38}, "the output of fc_global/linear"),
        ({"classifier_global/log_scale": 100.0}, "the output of classifier_global"),
        # An exponent of 0 has a value, of which nothing is learnt; the gradients to all before it follow.
        ({"pool_global/gem/p": 0.0}, "the gradient of pool_global/gem/p"),
    ],
)
def test_the_first_of_a_step_is_named(changes, what):
    assert first(changes) == (0, what)


def test_with_batch_norm_by_groups_it_is_named_alike():
    assert first({"conv1/norm/scale": 3e38}, groups=2) == (0, "the output of conv1/norm")


def test_gradients_whose_squares_leave_float32_are_named_by_their_norm():
    assert first({}, slope=1e25) == (0, "the norm of the gradients")


def test_a_later_step_of_a_chunk_is_looked_into_with_its_own_parameters():
    assert first({}) == (EXPLODES + 1, "the parameter conv1/kernel")
