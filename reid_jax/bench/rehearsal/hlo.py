"""The text of a compiled program, as XLA writes it, read into computations and their instructions.

%fused (p: bf16[8,64]) -> f32[64] {
  %p = bf16[8,64]{1,0} parameter(0)
  ROOT %sum = f32[64]{0} reduce(%p, %zero), dimensions={0}, to_apply=%add
}
ENTRY %main (...) -> ... {
  %x = f32[64]{0} fusion(%a), kind=kInput, calls=%fused, metadata={op_name="jit(chunk)/..."}
}
"""

import dataclasses
import functools
import math
import re

_BYTES = {"pred": 1, "s4": 1, "u4": 1, "bf16": 2, "f16": 2, "c64": 8, "c128": 16}
_SHAPE = re.compile(r"\b(pred|bf16|c64|c128|f8\w*|[fsu]\d+)\[([\d,]*)\]")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_NAMED = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_OPERAND = re.compile(r"%([\w.\-#]+)")
_COMMENT = re.compile(r"/\*.*?\*/")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction: `shape` as text (of a tuple all of them), and all that stands behind the operands."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    is_root: bool

    @property
    def scope(self) -> str:
        """Where in the traced program it comes from: 'jit(chunk)/while/body/.../conv1/norm/batch_norm/add'."""
        return self._found(r'op_name="([^"]*)"')

    @property
    def custom_call(self) -> str:
        """The library's function that it calls, '' where it calls none."""
        return self._found(r'custom_call_target="([^"]+)"')

    @property
    def trip_count(self) -> int | None:
        """How often a loop runs, where XLA knows it."""
        found = self._found(r'known_trip_count":\{"n":"(\d+)"')
        return int(found) if found else None

    @property
    def estimated_cycles(self) -> int:
        """What XLA for a TPU expects it to take, 0 where it does not say."""
        return int(self._found(r'"estimated_cycles":"(\d+)"') or 0)

    def called(self, role: str) -> str:
        """The computation that it calls as `role`: 'calls', 'body', 'to_apply'; '' where there is none."""
        return self._found(role + r"=%?([\w.\-]+)")

    def branches(self) -> list[str]:
        """The computations of which a conditional takes one."""
        several = self._found(r"branch_computations=\{([^}]*)\}")
        if several:
            return re.findall(r"[\w.\-]+", several)
        return [branch for role in ("true_computation", "false_computation") if (branch := self.called(role))]

    def _found(self, pattern: str) -> str:
        found = re.search(pattern, self.attributes)
        return found[1] if found else ""


@dataclasses.dataclass(frozen=True)
class Module:
    """A compiled program: {computation: its instructions, each behind those it uses}, and where it begins."""

    computations: dict[str, tuple[Instruction, ...]]
    entry: str

    @functools.cached_property
    def _shapes(self) -> dict[str, str]:
        return {each.name: each.shape for body in self.computations.values() for each in body}

    def shape_of(self, operand: str) -> str:
        """The shape of an operand as text; some versions write `tuple#3` for the element of a tuple."""
        name, _, element = operand.partition("#")
        shape = self._shapes.get(name, "")
        return "{}[{}]".format(*_SHAPE.findall(shape)[int(element)]) if element and shape else shape


def parse(text: str) -> Module:
    """Reads a program's text. Raises ValueError for a text without an entry."""
    computations: dict[str, list[Instruction]] = {}
    entry, body = "", None
    for line in text.splitlines():
        if head := _HEAD.match(line):
            body = computations.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif body is not None and (named := _NAMED.match(line)):
            body.append(_instruction(named[2], bool(named[1]), _COMMENT.sub("", line[named.end() :])))
    if not entry:
        raise ValueError("this is no text of a compiled program: it has no ENTRY")
    return Module({name: tuple(body) for name, body in computations.items()}, entry)


def _instruction(name: str, is_root: bool, rest: str) -> Instruction:
    end = _closing(rest, 0) + 1 if rest[0] == "(" else rest.index(" ")
    call = rest[end:].lstrip()
    opened = call.index("(")
    shut = _closing(call, opened)
    inside = call[opened + 1 : shut]
    operands = _OPERAND.findall(inside) or re.findall(r"[\w.\-]+", inside)
    return Instruction(name, rest[:end], call[:opened], tuple(operands), call[shut + 1 :], is_root)


def _closing(text: str, opened: int) -> int:
    """Where the bracket at `opened` closes."""
    depth = 0
    for place in range(opened, len(text)):
        depth += (text[place] in "({[") - (text[place] in ")}]")
        if not depth:
            return place
    raise ValueError(f"a bracket is not closed: {text[opened : opened + 60]}")


def arrays(shape: str) -> list[tuple[str, tuple[int, ...]]]:
    """The arrays of a shape, of a tuple all: (dtype, sizes)."""
    return [(dtype, tuple(int(n) for n in sizes.split(",") if n)) for dtype, sizes in _SHAPE.findall(shape)]


def elements(shape: str) -> int:
    """The elements of a shape's first array."""
    found = arrays(shape)
    return math.prod(found[0][1]) if found else 0


def size(shape: str) -> int:
    """The bytes of a shape, of a tuple those of all its arrays, without what a layout pads."""
    return sum(_width(dtype) * math.prod(sizes) for dtype, sizes in arrays(shape))


def _width(dtype: str) -> int:
    if dtype in _BYTES:
        return _BYTES[dtype]
    return 1 if dtype.startswith("f8") else int(dtype[1:]) // 8
