"""Chains of shuffle units without a shuffle: which channels of earlier outputs each unit reads.

A unit (`reid_jax.models.blocks.ShuffleA`) keeps the first half of its channels and interleaves it with what it makes of
the second half. Eight channels through two units, where a and b are the two outputs of the Shuffle-B before, unit 1
makes c and unit 2 makes d:

    before unit 1    a0 b0 a1 b1 | a2 b2 a3 b3      unit 1 reads        a2 a3, b2 b3
    after unit 1     a0 c0 b0 c1 | a1 c2 b1 c3      unit 2 reads        a1, b1, c2 c3
    after unit 2     a0 d0 c0 d1   b0 d2 c1 d3      what follows reads  a0, b0, c0 c1, d0 d1 d2 d3

The interleaved rows need never be formed. A channel that is kept moves from position p to 2 p, so the lower it stands
the later it is read, and of each earlier output a unit reads one contiguous slice. Its input is the concatenation of
these slices: with h channels a half, h are copied where the shuffle moves 2 h. They come in another order than in the
row above (a2 a3 b2 b3, not a2 b2 a3 b3), and the unit's weights, which are small, are put in that order instead
(`ConvNorm`'s `order`): parameters, and so weights files, keep the plain order.

Every channel is read once, so the slices cut an output into pieces, and the gradient to it is the concatenation of the
gradients to the pieces: left to slice each time, differentiation would pad every gradient to the whole output and add
them up.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax

from reid_jax.models import ops

Slice = tuple[int, int, int]  # output, start, stop


@dataclasses.dataclass(frozen=True)
class UnitInput:
    """What one unit reads: slices of earlier outputs, and for each of their channels its index in the plain input."""

    slices: tuple[Slice, ...]
    order: tuple[int, ...]

    def concatenated(self, pieces: Mapping[Slice, jax.Array]) -> jax.Array:
        """Concatenates its slices, which are among the `pieces` [..., c] that `ChainLayout.cut` made."""
        return ops.keep_gradient(ops.concatenate([pieces[each] for each in self.slices]))


@dataclasses.dataclass(frozen=True)
class ChainLayout:
    """What each unit of a chain reads; outputs 0 and 1 are the halves of the Shuffle-B before, then one a unit.

    `inputs[k]` is what Shuffle-A k reads, and the last of them what follows the chain, all channels.
    """

    inputs: tuple[UnitInput, ...]

    def cut(self, index: int, output: jax.Array) -> dict[Slice, jax.Array]:
        """Cuts output `index` [..., c] into the pieces that are read of it."""
        slices = sorted(each for unit_input in self.inputs for each in unit_input.slices if each[0] == index)
        pieces = ops.split(ops.keep_gradient(output), [stop - start for _, start, stop in slices])
        return dict(zip(slices, pieces, strict=True))


@functools.cache
def chain_layout(half: int, units: int) -> ChainLayout:
    """Lays out a chain of `units` Shuffle-A on 2 * `half` channels that begin as the two outputs of a Shuffle-B."""
    row = [(position % 2, position // 2) for position in range(2 * half)]  # at each position: (output, channel)
    inputs = []
    for unit in range(units):
        kept, wanted = row[:half], row[half:]
        inputs.append(_input_of(wanted))
        row = [pair for channel, earlier in enumerate(kept) for pair in (earlier, (unit + 2, channel))]
    return ChainLayout((*inputs, _input_of(row)))


def _input_of(wanted: Sequence[tuple[int, int]]) -> UnitInput:
    """The fewest slices that hold the `wanted` (output, channel) pairs, by output and channel."""
    slices: list[Slice] = []
    for output, channel in sorted(wanted):
        if slices and slices[-1][0] == output and slices[-1][2] == channel:
            slices[-1] = (output, slices[-1][1], channel + 1)
        else:
            slices.append((output, channel, channel + 1))
    return UnitInput(tuple(slices), tuple(sorted(range(len(wanted)), key=lambda index: wanted[index])))
