"""What was not finite first in a step whose loss or gradient is not: that step is taken once more and looked into."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jax.sharding import Mesh

from reid_jax import parallel
from reid_jax.data.augment import Augmentation
from reid_jax.models.calls import Seen, recorded_calls
from reid_jax.training.batches import Batches
from reid_jax.training.losses import Objective
from reid_jax.training.state import TrainState
from reid_jax.training.steps import draw_batch, gradients_of, norm_of

# A chunk takes over the memory of the state that it begins with: this is a copy, where that lies.
copy_state = jax.jit(lambda state: jax.tree.map(jnp.copy, state))

_LOSSES = ("cross_entropy", "triplet", "loss")


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Looks into one step of a chunk. The fields are what the run trains with.

    `chunk` as `steps.compile_chunk` returns it, with `key` as it takes it.
    """

    chunk: Callable[..., tuple[TrainState, Any]]
    network: Any
    objective: Objective
    augmentation: Augmentation
    mesh: Mesh
    key: jax.Array
    groups: int = 1

    def __call__(self, begin: TrainState, batches: Batches, offset: int) -> str:
        """Returns what was not finite first in step `offset`, from 0, of the chunk that began with the state `begin`.

        Such as 'the output of stage1/halve/reduce/norm' or 'the gradient of pool_global/gem/p', in the order in which a
        step computes: parameters, what modules read and return, losses, gradients (the last module's first), their
        norm. At most a chunk is taken again; `begin` is donated to it. All processes call this alike.
        """
        state, _ = self.chunk(begin, batches, offset, self.key)
        fixed = self.network, self.objective, self.augmentation, self.mesh, self.groups
        findings = jax.device_get(_look(*fixed, state, batches, offset, self.key))
        first = next((name for name, good in zip(findings.names, findings.finite, strict=True) if not good), None)
        return first or "nothing that is found when the step is taken once more: it is at the edge of float32"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Findings:
    """A pytree: whether all numbers of what is named are finite, bool scalars."""

    finite: list[jax.Array]
    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})


def _findings(named: list[tuple[str, Any]]) -> _Findings:
    return _Findings([_all_finite(tree) for _, tree in named], tuple(name for name, _ in named))


def _in_turn(*parts: _Findings) -> _Findings:
    finite = [each for part in parts for each in part.finite]
    return _Findings(finite, tuple(name for part in parts for name in part.names))


@dataclasses.dataclass(frozen=True)
class _Watched:
    """A network that returns beside its output whether all is finite that `calls` saw while it was applied."""

    network: Any
    calls: list[Seen]

    def apply(self, *arguments, **options) -> tuple[tuple[Any, list[jax.Array]], Any]:
        output, changed = self.network.apply(*arguments, **options)
        return (output, [_all_finite(call.value) for call in self.calls]), changed


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _look(network, objective, augmentation, mesh, groups, state, batches, offset, key) -> _Findings:
    """Looks at all that a step computes, in its order."""
    with recorded_calls() as calls:

        def observed(watched, label):
            output, finite = watched  # each a value for every group
            loss, metrics = objective(output, label)
            names = tuple(f"the {side} of {path or 'the network'}" for path, side, _ in calls)
            losses = [(f"the {name} of the batch", metrics[name]) for name in _LOSSES if name in metrics]
            return loss, _in_turn(_Findings([jnp.all(each) for each in finite], names), _findings(losses))

        batch = draw_batch(batches, offset, augmentation, mesh, key, state.step)
        gradients, (forward, _) = gradients_of(_Watched(network, calls), observed, state, *batch, groups)
    order = {call.path: position for position, call in enumerate(calls) if call.side == "input"}

    def by_module(what: str, tree: Any) -> list[tuple[str, jax.Array]]:
        """The leaves of a tree like the parameters, in the order in which their modules are called."""
        leaves = flatten_dict(tree, sep="/")
        paths = sorted(leaves, key=lambda path: order.get(path.rpartition("/")[0], 0))
        return [(f"the {what} {path}", leaves[path]) for path in paths]

    before = _findings(by_module("parameter", state.params))
    backward = reversed(by_module("gradient of", gradients))
    after = _findings([*backward, ("the norm of the gradients", norm_of(gradients))])
    return jax.lax.with_sharding_constraint(_in_turn(before, forward, after), parallel.replicated(mesh))


def _all_finite(tree: Any) -> jax.Array:
    """Whether all numbers of the arrays of a tree are finite; what is no array does not count."""
    arrays = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    return jnp.all(jnp.array([jnp.isfinite(array).all() for array in arrays]))
