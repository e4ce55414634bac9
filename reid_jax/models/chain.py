"""Chains of shuffle units without a shuffle: the channels that each unit reads, and the order in which it writes them.

A Shuffle-A passes half of its channels on and interleaves them with what it made of the other half. Nobody needs the
interleaved tensor: which unit reads which channel is known beforehand. Channel i of what a unit makes stands at 2i + 1
of the 2h channels then; a channel below h is passed on by the next unit, to twice its place, and one from h on is read
by it. So each unit writes its channels by how many units they will pass, and a unit's input is the concatenation of a
few contiguous slices of earlier outputs: h channels are copied where the shuffle moves 2h. Every channel is read once,
so the slices cut an output into pieces, and the gradient to it is the concatenation of the gradients to the pieces:
left to slice each time, differentiation would pad every gradient to the whole output and add them up.

Parameters keep the plain order: `ConvNorm` reorders them, which are small, instead of activations.
"""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from reid_jax.models import ops

Slice = tuple[int, int, int]  # output, start, stop


@dataclasses.dataclass(frozen=True)
class Read:
    """Slices of earlier outputs, and which channel of the plain input each of theirs is."""

    slices: tuple[Slice, ...]
    channels: tuple[int, ...]

    def of(self, pieces: Mapping[Slice, jax.Array]) -> jax.Array:
        """Concatenates its slices, which are among the `pieces` [..., c] that `Chain.cut` made."""
        return ops.keep_gradient(jnp.concatenate([pieces[each] for each in self.slices], -1))


@dataclasses.dataclass(frozen=True)
class Chain:
    """The plan of a chain: outputs 0 and 1 are the halves of the Shuffle-B before it, then comes one a Shuffle-A.

    `writes[k]` lists output k's channels in the order they are stored. `reads[k]` is what Shuffle-A k reads, and the
    last of them what follows the chain, all channels.
    """

    writes: tuple[tuple[int, ...], ...]
    reads: tuple[Read, ...]

    def cut(self, number: int, output: jax.Array) -> dict[Slice, jax.Array]:
        """Cuts output `number` [..., c] into the pieces that are read of it."""
        slices = sorted(each for read in self.reads for each in read.slices if each[0] == number)
        pieces = lax.split(ops.keep_gradient(output), [stop - start for _, start, stop in slices], output.ndim - 1)
        return dict(zip(slices, pieces, strict=True))


@functools.cache
def plan_chain(half: int, units: int) -> Chain:
    """Plans a chain of `units` Shuffle-A on 2 * `half` channels that begin as the two outputs of a Shuffle-B."""
    stored_at = [{} for _ in range(units + 2)]  # for each output: channel -> its place in the stored order
    writes = []
    for output in range(units + 2):
        place = 2 * np.arange(half) + (output > 0)
        order = np.argsort([-_passes(p, half, units) for p in place], kind="stable")
        writes.append(tuple(order.tolist()))
        stored_at[output] = {channel: column for column, channel in enumerate(order.tolist())}

    # What stands at each of the 2h places: (output, channel).
    standing = [(number % 2, number // 2) for number in range(2 * half)]
    reads = []
    for unit in range(units):
        reads.append(_read(standing[half:], stored_at))
        passed = standing[:half]
        standing = [pair for i in range(half) for pair in (passed[i], (unit + 2, i))]
    reads.append(_read(standing, stored_at))
    return Chain(tuple(writes), tuple(reads))


def _passes(place: int, half: int, units: int) -> int:
    """How many units pass on the channel at `place` before one reads it: it doubles until it crosses `half`."""
    count = 0
    while place < half and count < units:
        place, count = 2 * place, count + 1
    return count


def _read(wanted: list[tuple[int, int]], stored_at: list[dict[int, int]]) -> Read:
    """The fewest slices that hold the `wanted` (output, channel) pairs, in the order of storage."""
    columns = sorted((output, stored_at[output][channel], number) for number, (output, channel) in enumerate(wanted))
    slices: list[Slice] = []
    for output, column, _ in columns:
        if slices and slices[-1][0] == output and slices[-1][2] == column:
            slices[-1] = (output, slices[-1][1], column + 1)
        else:
            slices.append((output, column, column + 1))
    return Read(tuple(slices), tuple(number for *_, number in columns))
