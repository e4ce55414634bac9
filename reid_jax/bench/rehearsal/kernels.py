"""What a compiled program launches: its kernels, how often, what each reads and writes, and of which kind it is."""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from reid_jax.bench.rehearsal.hlo import Instruction, Module, arrays, elements, size

# Instructions that launch nothing, and the second halves of those that are begun and awaited.
_NO_KERNEL = frozenset(
    ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id")
    + ("opt-barrier", "add-dependency", "async-update")
)
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective-permute", "collective-broadcast")
_READ_WHOLE = frozenset(
    ("reduce", "concatenate", "pad", "dot", "convolution", "reduce-window", "sort", "scatter", "select-and-scatter")
)
_PLACE_OF_UPDATE = {"dynamic-update-slice": 1, "scatter": 2}

PRODUCTS, CONVOLUTIONS, SUMS, SCATTERS = "matrix products", "convolutions", "sums", "scatters, sorts"
COPIES, ELEMENTWISE, OTHERS = "copies", "element-wise", "library calls"


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One launch, of the instruction `name`, which happens `times` a step: a fraction where it is beside the steps.

    moved: bytes that it reads and writes, each array once, of one updated in place the update alone. operations: of a
    matrix product called from a library. cycles: what XLA for a TPU expects it to take, 0 for what it moves beside
    others.
    """

    name: str
    kind: str
    scope: str
    moved: int
    operations: int
    times: float
    cycles: int = 0


def kernels_of(module: Module, steps: int = 1) -> list[Kernel]:
    """Returns the kernels of one step of a program that loops over `steps` steps, or of a whole one without a loop.

    The loop over the steps is the one whose number of rounds XLA does not know. What stands beside it is counted
    1 / `steps` times.
    """
    return list(_kernels(module, module.entry, 1.0, steps))


def _kernels(module: Module, name: str, times: float, steps: int) -> Iterator[Kernel]:
    body = module.computations[name]
    has_steps = steps > 1 and any(each.opcode == "while" and each.trip_count is None for each in body)
    within = times
    times = times / steps if has_steps else times
    steps = 1 if has_steps else steps  # loops of unknown length within a step are counted once
    for each in body:
        if each.opcode == "while":
            count = each.trip_count
            yield from _kernels(module, each.called("body"), within if count is None else times * count, steps)
        elif each.opcode == "conditional":
            yield from _kernels(module, each.branches()[0], times, steps)
        elif each.opcode == "call":
            yield from _kernels(module, each.called("to_apply"), times, steps)
        elif each.opcode not in _NO_KERNEL and not each.opcode.endswith("-done"):
            yield _kernel(module, each, times)


def _kernel(module: Module, each: Instruction, times: float) -> Kernel:
    fused = module.computations.get(each.called("calls"), ())
    if fused:
        moved = _written(module, fused) + sum(_read(fused).values())
    else:
        moved = _of_results(each.shape) + sum(size(module.shape_of(operand)) for operand in set(each.operands))
    library = each.custom_call or next((inner.custom_call for inner in fused if inner.custom_call), "")
    opcodes = {inner.opcode for inner in fused} or {each.opcode}
    operations = _product(module, each) if "gemm" in library or "cublas" in library else 0
    kind = _kind(each.opcode, opcodes, library)
    return Kernel(each.name, kind, each.scope, moved, operations, times, each.estimated_cycles)


def _kind(opcode: str, opcodes: set[str], library: str) -> str:
    if opcode.removesuffix("-start") in COLLECTIVES:
        return opcode.removesuffix("-start")
    if "dot" in opcodes or "gemm" in library or "cublas" in library:
        return PRODUCTS
    if "convolution" in opcodes or "cudnn" in library:
        return CONVOLUTIONS
    if opcodes & {"scatter", "sort", "select-and-scatter"}:
        return SCATTERS
    if opcodes & {"reduce", "reduce-window"}:
        return SUMS
    if opcode == "custom-call":
        return OTHERS
    if opcode in ("copy", "copy-start", "slice-start", "transpose") or opcodes <= {
        "copy", "transpose", "bitcast", "parameter", "concatenate", "pad", "slice", "constant", "reshape"
    }:  # fmt: skip
        return COPIES
    return ELEMENTWISE


def _of_results(shape: str) -> int:
    """Bytes of a call's results without a library's scratch space: bytes, in one long row."""
    return size(re.sub(r"[su]8\[\d{5,}\]", "", shape))


def _read(fused: Sequence[Instruction]) -> Mapping[int, int]:
    """{number of a parameter: bytes that a fused computation reads of it}.

    Elements are computed as they are asked for: what lies before a slice is read as far as the slice goes, and an
    update in place does not read what it leaves as it is.
    """
    names = {each.name for each in fused}
    count = {each.name: elements(each.shape) for each in fused}
    asked = collections.Counter({each.name: count[each.name] for each in fused if each.is_root})
    for each in reversed(fused):  # those that use a value stand behind it
        wanted = min(asked[each.name], count[each.name])
        for place, operand in enumerate(each.operands):
            if operand not in names:
                continue
            if each.opcode == "tuple":
                asked[operand] = count[operand]
            elif each.opcode in _READ_WHOLE:
                asked[operand] += count[operand] * wanted / max(1, count[each.name])
            elif not (each.opcode == "dynamic-update-slice" and place == 0):
                asked[operand] += min(wanted, count[operand])
    return {
        int(each.operands[0]): round(size(each.shape) * min(1, asked[each.name] / max(1, count[each.name])))
        for each in fused
        if each.opcode == "parameter"
    }


def _written(module: Module, fused: Sequence[Instruction]) -> int:
    """Bytes that a fused computation writes: an update in place writes the update."""
    by_name = {each.name: each for each in fused}
    root = next(each for each in fused if each.is_root)
    total = 0
    for name in root.operands if root.opcode == "tuple" else [root.name]:
        result = updated = by_name[name]
        while updated.opcode in ("bitcast", "convert") and updated.operands[0] in by_name:
            updated = by_name[updated.operands[0]]
        place = _PLACE_OF_UPDATE.get(updated.opcode)
        total += size(result.shape if place is None else module.shape_of(updated.operands[place]))
    return total


def _product(module: Module, each: Instruction) -> int:
    """Operations of a matrix product: 2 m n k."""
    contracted = re.search(r'lhs_contracting_dim(?:ensions"?:\[|s=\{)"?([\d",]+)', each.attributes)
    left = arrays(module.shape_of(each.operands[0]))
    if not (contracted and left):
        return 0
    depth = math.prod(left[0][1][int(number)] for number in re.findall(r"\d+", contracted[1]))
    return 2 * depth * elements(each.shape)
