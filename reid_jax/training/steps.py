"""Pure training steps, and the chunk of them that runs in one dispatch."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from reid_jax import parallel
from reid_jax.data.augment import Augmentation, augment
from reid_jax.models import ops
from reid_jax.models.pooling import gem_exponents
from reid_jax.training.batch_groups import forward_in_groups
from reid_jax.training.batches import Batches, Resident
from reid_jax.training.losses import Objective
from reid_jax.training.state import TrainState


def train_step(
    network,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    state: TrainState,
    image: jax.Array,
    label: jax.Array,
    groups: int = 1,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Takes one step on normalised images [n, h, w, 3] and labels int32 [n]: (next state, metrics).

    BatchNorm's statistics are those of each of `groups` parts of the batch, as in `forward_in_groups`.
    """
    gradients, (metrics, batch_stats) = gradients_of(network, objective, state, image, label, groups)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics["gradient_norm"] = norm_of(gradients)
    metrics |= gem_exponents(state.params)
    state = dataclasses.replace(state, step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state)
    return state, metrics


def gradients_of(
    network,
    objective: Callable[..., tuple[jax.Array, Any]],
    state: TrainState,
    image: jax.Array,
    label: jax.Array,
    groups: int = 1,
) -> tuple[Any, tuple[Any, Any]]:
    """Returns (gradients, (what the objective returns beside the loss, next BatchNorm statistics)) of a step."""

    def loss_of(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        output, batch_stats = forward_in_groups(network, variables, image, groups)
        loss, metrics = objective(output, label)
        return loss, (metrics, batch_stats)

    return jax.grad(loss_of, has_aux=True)(state.params)


def norm_of(gradients: Any) -> jax.Array:
    """Returns the Euclidean norm of all gradients together."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(each)) for each in jax.tree.leaves(gradients)))


def draw_batch(
    batches: Batches,
    offset: Any,
    augmentation: Augmentation,
    mesh: Mesh,
    key: jax.Array,
    step: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Returns the images of step `offset` of a chunk, augmented by fold_in(key, step), and their labels.

    Both are spread over the mesh; `step` counts from the run's beginning.
    """
    image, label = batches.at(offset, mesh)
    batch = augment(jax.random.fold_in(key, step), image, augmentation)
    return jax.lax.with_sharding_constraint(batch, parallel.by_example(mesh)), label


def compiler_options(platform: str) -> dict[str, str]:
    """Returns XLA's options for training on a platform.

    XLA for a CPU takes optimization barriers away before it fuses: what a barrier in `reid_jax.models.ops` has written
    to memory once, each reader would compute anew, in slower code. Without that pass they stand.
    """
    return {"xla_disable_hlo_passes": "cse_barrier_expander"} if platform == "cpu" else {}


def compile_chunk(
    network,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    augmentation: Augmentation,
    mesh: Mesh,
    kind: type[Batches] = Resident,
    groups: int = 1,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """Returns the jitted `chunk(state, batches, steps, key)` that takes `steps` steps in one dispatch.

    `batches`, of that kind, are those of up to k steps, of which the first `steps` are used, so that a shorter chunk
    runs the same compiled code. Returns (state, {metric: float32 [k]}). The state is donated. Step s draws its
    augmentation from fold_in(key, s), and has BatchNorm's statistics from each of `groups` parts of its batch.
    """
    whole = parallel.replicated(mesh)
    platform = mesh.devices.flat[0].platform

    @ops.traced_for(platform, mesh.size)
    def chunk(state: TrainState, batches: Batches, steps: Any, key: Any):
        def take_step(offset, carry):
            state, history = carry
            batch = draw_batch(batches, offset, augmentation, mesh, key, state.step)
            state, metrics = train_step(network, optimizer, objective, state, *batch, groups)
            return state, jax.tree.map(lambda values, new: values.at[offset].set(new), history, metrics)

        history = {name: jnp.zeros(batches.count) for name in metric_names(objective, state.params)}
        return jax.lax.fori_loop(0, steps, take_step, (state, history))

    return jax.jit(
        chunk,
        donate_argnums=0,
        in_shardings=(whole, kind.sharding(mesh), whole, whole),
        out_shardings=(whole, whole),
        compiler_options=compiler_options(platform),
    )


def metric_names(objective: Objective, params: Any) -> tuple[str, ...]:
    """Returns the names of the metrics of a step that moves `params`, in the order they are shown."""
    triplet = ("triplet",) if objective.triplet_weight else ()
    return ("loss", "cross_entropy", *triplet, "accuracy", "gradient_norm", *gem_exponents(params))
