"""Training steps: many in one dispatch are the same steps, and a step is the losses, the optimiser and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reid_jax import parallel
from reid_jax.data.augment import Augmentation
from reid_jax.data.resident import ResidentImages
from reid_jax.models.output import Output
from reid_jax.models.registry import create_network
from reid_jax.training import losses, optim, steps
from reid_jax.training.batches import Resident
from reid_jax.training.losses import Objective
from reid_jax.training.state import create_state, init_variables
from reid_jax.training.steps import compile_chunk, metric_names

SIZE = (64, 32)
RATE, DECAY = 0.01, 0.5
STEPS = 3


@pytest.fixture(scope="module")
def setup():
    """One compiled chunk for the whole module: (start, chunk, indices, variables)."""
    mesh = parallel.create_mesh()
    fields = dict(stem=8, widths=(16, 16, 16), repeats=(1, 0, 0), global_width=8, local_width=8, regions=False)
    network = create_network("nano", 4, logit_scale=16.0, logit_scale_learned=True, **fields)
    variables = init_variables(network, jax.random.key(0), SIZE)
    optimizer = optim.optimizer(lambda step: RATE, params=variables["params"], momentum=0.9, weight_decay=DECAY)
    compiled = compile_chunk(network, optimizer, Objective(), Augmentation(pad=2), mesh)
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (16, *SIZE, 3), np.uint8)
    label = np.repeat(np.arange(4), 4).astype(np.int32)
    indices = np.stack([random.permutation(16)[:8] for _ in range(STEPS)]).astype(np.int32)
    resident = ResidentImages.of(image, mesh)
    start = jax.device_get(create_state(variables, optimizer))

    def chunk(state, indices, steps, label=label):
        state = jax.device_put(state, parallel.replicated(mesh))
        return jax.device_get(compiled(state, Resident(resident, label, indices), steps, jax.random.key(1)))

    return start, chunk, indices, jax.device_get(variables)


def padded(indices, fill=0):
    rows = np.full((STEPS, indices.shape[1]), fill, np.int32)
    rows[: len(indices)] = indices
    return rows


def assert_equal(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_steps_in_one_dispatch_are_the_same_as_single_ones(setup):
    start, chunk, indices, _ = setup
    at_once, history = chunk(start, indices, STEPS)
    state, rows = start, []
    for number in range(STEPS):
        state, row = chunk(state, padded(indices[number : number + 1]), 1)
        rows.append(jax.tree.map(lambda values: values[0], row))
        assert state.step == number + 1
    assert at_once.step == STEPS
    assert at_once.step.dtype == np.int32
    assert_equal(at_once, state)
    for name, values in history.items():
        np.testing.assert_array_equal(values, [row[name] for row in rows])


def test_on_a_cpu_barriers_stand_until_the_end_of_compilation():
    def function(x):
        return jax.lax.optimization_barrier(2 * x) + 1

    with jax.default_device(jax.devices("cpu")[0]):
        compiled = jax.jit(function, compiler_options=steps.compiler_options("cpu")).lower(1.0).compile()
    assert "opt-barrier" in compiled.as_text()


def test_what_pads_a_shorter_chunk_is_not_used(setup):
    start, chunk, indices, _ = setup
    one, history = chunk(start, padded(indices[:2]), 2)
    other, _ = chunk(start, padded(indices[:2], fill=5), 2)
    assert_equal(one, other)
    assert one.step == 2
    for values in history.values():
        assert values.shape == (STEPS,)
        assert values[2] == 0
    assert (history["loss"][:2] > 0).all()


def test_metrics_are_the_names_and_labels_count(setup):
    start, chunk, indices, _ = setup
    _, history = chunk(start, indices, STEPS)
    assert sorted(history) == sorted(metric_names(Objective(), start.params))
    assert all(np.isfinite(values).all() and values.dtype == np.float32 for values in history.values())
    exponent = np.asarray(start.params["pool_global"]["gem"]["p"])
    np.testing.assert_array_equal(history["gem_p_global"][:1], exponent)
    assert (history["gem_p_global"][1:] != exponent).all()
    _, relabelled = chunk(start, indices, STEPS, label=np.arange(16, dtype=np.int32) % 4)
    assert relabelled["loss"][0] != history["loss"][0]


def test_the_step_number_draws_the_augmentation(setup):
    start, chunk, indices, _ = setup
    _, first = chunk(start, padded(indices[:1]), 1)
    later = type(start)(start.step + 7, start.params, start.batch_stats, start.opt_state)
    state, other = chunk(later, padded(indices[:1]), 1)
    assert state.step == 8
    assert other["loss"][0] != first["loss"][0]


def test_a_step_is_gradient_plus_decay_of_kernels_alone(setup):
    start, chunk, indices, variables = setup
    state, history = chunk(start, padded(indices[:1]), 1)
    for old, new in zip(jax.tree.leaves(start.batch_stats), jax.tree.leaves(state.batch_stats), strict=True):
        assert (old != new).any()

    # The first step moves a parameter by rate x (gradient + decay x parameter). Taking the decay of kernels off
    # leaves a gradient, whose norm the history knows.
    squares = 0.0
    rules = optim.resolve_rules(variables["params"], optim.default_rules())
    for path, old in jax.tree_util.tree_leaves_with_path(variables["params"]):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        decays, multiple = rules[name]
        new = state.params
        for entry in path:
            new = new[entry.key]
        gradient = (old.astype(np.float64) - new) / (RATE * multiple) - DECAY * decays * old
        squares += np.sum(gradient**2)
        assert decays == name.endswith("kernel")
    np.testing.assert_allclose(np.sqrt(squares), history["gradient_norm"][0], rtol=1e-3)


def outputs(streams=2):
    random = np.random.default_rng(3)
    features = tuple(jnp.asarray(random.normal(size=(8, 6)), jnp.float32) for _ in range(streams))
    logits = tuple(jnp.asarray(random.normal(size=(8, 4)), jnp.float32) for _ in range(streams))
    return Output(jnp.zeros((8, 12)), features, logits), jnp.repeat(jnp.arange(4), 2)


def test_the_objective_is_the_weighted_sum_of_the_losses_over_the_streams():
    output, label = outputs()
    objective = Objective(
        cross_entropy_weight=0.5, label_smoothing=0.2, triplet_weight=2.0, mining="batch_hard", margin=0.3
    )
    loss, metrics = objective(output, label)
    cross_entropy = [losses.cross_entropy(logits, label, 0.2) for logits in output.logits]
    triplet = [losses.triplet_loss(v, label, mining="batch_hard", margin=0.3) for v in output.features]
    np.testing.assert_allclose(loss, 0.5 * sum(cross_entropy) + 2.0 * sum(triplet), rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], loss)
    np.testing.assert_allclose(metrics["cross_entropy"], np.mean(cross_entropy), rtol=1e-6)
    np.testing.assert_allclose(metrics["triplet"], np.mean(triplet), rtol=1e-6)
    right = [np.mean(np.argmax(logits, -1) == label) for logits in output.logits]
    np.testing.assert_allclose(metrics["accuracy"], np.mean(right))


def test_a_triplet_weight_of_zero_leaves_the_term_out():
    output, label = outputs(streams=1)
    objective = Objective(triplet_weight=0.0)
    loss, metrics = objective(output, label)
    assert {*metrics, "gradient_norm"} == set(metric_names(objective, {}))
    assert "triplet" not in metrics
    np.testing.assert_allclose(loss, losses.cross_entropy(output.logits[0], label, 0.1), rtol=1e-6)
