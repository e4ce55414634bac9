"""What was not finite first in a step whose loss or gradient is not: that step is taken once more and looked into."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from reid_jax import parallel
from reid_jax.data.augment import Augmentation
from reid_jax.state import TrainState
from reid_jax.steps import Objective, draw_batch, gradients_of, norm_of

# A chunk takes over the memory of the state that it begins with: this is a copy, where that lies.
keep = jax.jit(lambda state: jax.tree.map(jnp.copy, state))

_LOSSES = ("cross_entropy", "triplet", "loss")


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Looks into one step of a chunk. The fields are what the run trains with.

    `chunk` as `steps.compile_chunk` returns it, with `image`, `label` and `key` as it takes them.
    """

    chunk: Callable[..., tuple[TrainState, Any]]
    network: Any
    objective: Objective
    augmentation: Augmentation
    mesh: Mesh
    image: jax.Array
    label: jax.Array
    key: jax.Array

    def __call__(self, begin: TrainState, indices: np.ndarray, number: int) -> str:
        """Returns what was not finite first in step `number`, from 0, of the chunk that began with the state `begin`.

        Such as 'the output of stage1/halve/reduce/norm' or 'the gradient of pool_global/gem/p', in the order in which a
        step computes: parameters, what modules read and return, losses, gradients (the last module's first), their
        norm. At most a chunk is taken again; `begin` is donated to it. All processes call this alike.
        """
        state, _ = self.chunk(begin, self.image, self.label, indices, number, self.key)
        split = self.image, self.label, indices[number], self.key
        findings = jax.device_get(_look(self.network, self.objective, self.augmentation, self.mesh, state, *split))
        found = next((name for name, good in zip(findings.names, findings.finite, strict=True) if not good), None)
        return found or "nothing that is found when the step is taken once more: it is at the edge of float32"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Findings:
    """A pytree: whether all numbers of what is named are finite, bool scalars."""

    finite: list[jax.Array]
    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})


def _findings(named: list[tuple[str, Any]]) -> _Findings:
    return _Findings([_all_finite(tree) for _, tree in named], tuple(name for name, _ in named))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _look(network, objective, augmentation, mesh, state, image, label, indices, key) -> _Findings:
    """Looks at all that a step computes, in its order."""
    modules: list[str] = []  # in the order of the forward pass
    forward: list[tuple[str, Any]] = []

    def record(call, arguments, options, context):
        if context.method_name != "__call__":
            return call(*arguments, **options)
        modules.append("/".join(context.module.path))
        name = modules[-1] or "the network"
        forward.append((f"the input of {name}", arguments))
        result = call(*arguments, **options)
        forward.append((f"the output of {name}", result))
        return result

    def observed(output, label):
        loss, metrics = objective(output, label)
        return loss, _findings(
            forward + [(f"the {name} of the batch", metrics[name]) for name in _LOSSES if name in metrics]
        )

    with nn.intercept_methods(record):
        batch = draw_batch(image, label, indices, augmentation, mesh, key, state.step)
        gradients, (found, _) = gradients_of(network, observed, state, *batch)
    place = {module: number for number, module in enumerate(modules)}

    def in_order(what: str, tree: Any) -> list[tuple[str, jax.Array]]:
        leaves = [
            (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        ]
        leaves.sort(key=lambda leaf: place.get(leaf[0].rpartition("/")[0], 0))
        return [(f"the {what} {name}", leaf) for name, leaf in leaves]

    before = _findings(in_order("parameter", state.params))
    after = _findings(
        [*reversed(in_order("gradient of", gradients)), ("the norm of the gradients", norm_of(gradients))]
    )
    every = _Findings(before.finite + found.finite + after.finite, before.names + found.names + after.names)
    return jax.lax.with_sharding_constraint(every, parallel.replicated(mesh))


def _all_finite(tree: Any) -> jax.Array:
    """Whether all numbers of the arrays of a tree are finite; what is no array does not count."""
    arrays = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    return jnp.all(jnp.array([jnp.isfinite(array).all() for array in arrays]))
