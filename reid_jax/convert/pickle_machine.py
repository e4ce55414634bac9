"""Pickles of PyTorch checkpoints, interpreted without calling anything that they name.

A pickle is a program for a machine with a stack: its opcodes put values there, and gather, name and "call" what lies on
it. Here an opcode is a small function in `_OPCODES`; the few names that describe tensors have a meaning, and all others
become placeholders. What a pickle may take is bounded by `_MOST_STEPS`. `pickletools` documents the opcodes, and
`torch.serialization` what PyTorch writes with them.
"""

import dataclasses
import io
import pickletools
import struct
from collections.abc import Callable
from typing import Any

_MOST_STEPS = 2_000_000  # of the machine, in one pickle: a checkpoint of ten thousand tensors takes a third of them
MOST_AXES = 64  # NumPy's
_LONGEST_NAME = 1000  # of a class or function
_LONGEST_REFERENCE = 8
_LARGEST_SIZE = 2**63 - 1
_LARGEST_KEY = 2**61 - 2  # of whole numbers as keys: larger ones may share one hash, and a million such take hours


# What the machine makes of a pickle: plain Python values and these.


@dataclasses.dataclass(frozen=True, eq=False)
class Placeholder:
    """A name that the pickle refers to, or whatever calling it would have made."""

    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
    """A reference to raw data: `count` elements from element `start` on of the storage `key`."""

    kind: str
    key: str
    count: int
    start: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A strided view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str | None = None  # None: the storage's


class MalformedError(Exception):
    """The pickle does not say what a checkpoint's pickle would."""


# What a damaged pickle raises in `pickletools` or in the machine.
UNREADABLE = (MalformedError, ValueError, LookupError, TypeError, OverflowError, MemoryError, struct.error)


@dataclasses.dataclass
class _Machine:
    """The state of the machine.

    stack: the values since the last mark. marks: the stacks below it, one for each mark that is open. memo: the values
    that are kept under a number. storages: those that the pickle has referred to. steps: an opcode each, and an item of
    what one passes to a function: a list that the memo hands out again and again costs its length each time.
    """

    stack: list[Any] = dataclasses.field(default_factory=list)
    marks: list[list[Any]] = dataclasses.field(default_factory=list)
    memo: dict[int, Any] = dataclasses.field(default_factory=dict)
    storages: list[Storage] = dataclasses.field(default_factory=list)
    steps: int = 0

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """Takes `count` values from the top of the stack, the topmost last."""
        if len(self.stack) < count:
            raise MalformedError("the pickle takes more from its stack than there is")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def pop_mark(self) -> list[Any]:
        """Takes all values since the last mark, and the mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items


def interpret(stream: io.BytesIO) -> tuple[Any, list[Storage]]:
    """Reads one pickle up to its STOP and calls nothing.

    Values that only foreign objects could hold (set items, attributes, dictionary keys that are no plain scalars) are
    dropped. Returns what it describes and the storages it refers to. Raises one of `UNREADABLE` for a pickle that is
    damaged, too long, or has opcodes that do not belong in a checkpoint.
    """
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(stream):
        machine.steps += 1
        if machine.steps > _MOST_STEPS:
            raise MalformedError(f"a pickle of more than {_MOST_STEPS:,} steps")
        if opcode.name == "STOP":
            return machine.pop(1)[0], machine.storages
        if opcode.name not in _OPCODES:
            raise MalformedError(f"opcode {opcode.name} does not belong in a checkpoint")
        _OPCODES[opcode.name](machine, argument)
    raise MalformedError("the pickle has no end")


# Opcodes: functions of the machine and the opcode's argument, None where it has none.


def _skip(machine: _Machine, _: Any) -> None:
    pass


def _push_argument(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


def _pushes(make: Callable[[], Any]) -> "Callable[[_Machine, Any], None]":
    return lambda machine, _: machine.push(make())


def _mark(machine: _Machine, _: Any) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _pop(machine: _Machine, _: Any) -> None:
    machine.pop(1) if machine.stack else machine.pop_mark()


def _pop_mark(machine: _Machine, _: Any) -> None:
    machine.pop_mark()


def _duplicate(machine: _Machine, _: Any) -> None:
    machine.push(machine.stack[-1])


def _put(machine: _Machine, number: Any) -> None:
    machine.memo[number] = machine.stack[-1]


def _memoize(machine: _Machine, _: Any) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _get(machine: _Machine, number: Any) -> None:
    machine.push(machine.memo[number])


def _tuple_of(count: int) -> "Callable[[_Machine, Any], None]":
    return lambda machine, _: machine.push(tuple(machine.pop(count)))


def _tuple(machine: _Machine, _: Any) -> None:
    items = machine.pop_mark()
    machine.push(tuple(items))


def _list(machine: _Machine, _: Any) -> None:
    items = machine.pop_mark()
    machine.push(items)


def _append(machine: _Machine, _: Any) -> None:
    _extend(machine.stack[-2], machine.pop(1))


def _appends(machine: _Machine, _: Any) -> None:
    items = machine.pop_mark()
    _extend(machine.stack[-1], items)


def _dict(machine: _Machine, _: Any) -> None:
    items = machine.pop_mark()
    machine.push(_update({}, items))


def _set_item(machine: _Machine, _: Any) -> None:
    _update(machine.stack[-3], machine.pop(2))


def _set_items(machine: _Machine, _: Any) -> None:
    items = machine.pop_mark()
    _update(machine.stack[-1], items)


def _frozenset(machine: _Machine, _: Any) -> None:
    machine.pop_mark()
    machine.push(Placeholder("frozenset"))


def _global(machine: _Machine, name: str) -> None:
    machine.push(_named(*name.split(" ", 1)))


def _stack_global(machine: _Machine, _: Any) -> None:
    machine.push(_named(*machine.pop(2)))


def _reduce(machine: _Machine, _: Any) -> None:
    function, arguments = machine.pop(2)
    machine.steps += _length(arguments)
    machine.push(_describe(function, arguments))


def _new_object_of_keywords(machine: _Machine, _: Any) -> None:
    machine.push(_describe(machine.pop(3)[0], None))


def _object(machine: _Machine, _: Any) -> None:
    items = machine.pop_mark()
    machine.push(_describe(items[0], None))


def _instance(machine: _Machine, name: str) -> None:
    machine.pop_mark()
    machine.push(_named(*name.split(" ", 1)))


def _build(machine: _Machine, _: Any) -> None:
    machine.pop(1)  # attributes of an object: a state dict's metadata, or something foreign


def _persistent_id(machine: _Machine, _: Any) -> None:
    value = _persistent(machine.pop(1)[0])
    if isinstance(value, Storage):
        machine.storages.append(value)
    machine.push(value)


# Those that are not here end the reading.
_OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _skip),
    # Scalars and texts; those of Python 2, STRING and the like, are decoded as latin-1.
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), _push_argument),
    **dict.fromkeys(("FLOAT", "BINFLOAT"), _push_argument),
    **dict.fromkeys(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), _push_argument),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _push_argument),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), _push_argument),
    "NONE": _pushes(lambda: None),
    "NEWTRUE": _pushes(lambda: True),
    "NEWFALSE": _pushes(lambda: False),
    # The stack, its marks and the memo.
    "MARK": _mark,
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "DUP": _duplicate,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
    "MEMOIZE": _memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    # Containers.
    "EMPTY_TUPLE": _pushes(tuple),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": _tuple,
    "EMPTY_LIST": _pushes(list),
    "LIST": _list,
    "APPEND": _append,
    "APPENDS": _appends,
    "EMPTY_DICT": _pushes(dict),
    "DICT": _dict,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "EMPTY_SET": _pushes(lambda: Placeholder("set")),
    "ADDITEMS": _pop_mark,
    "FROZENSET": _frozenset,
    # Names, and what would be calls.
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _reduce),
    "NEWOBJ_EX": _new_object_of_keywords,
    "OBJ": _object,
    "INST": _instance,
    "BUILD": _build,
    "BINPERSID": _persistent_id,
}


# What the opcodes work with.


def _named(module: Any, name: Any) -> Placeholder:
    if len(_expect(module, str)) + len(_expect(name, str)) > _LONGEST_NAME:
        raise MalformedError(f"a class or function whose name has more than {_LONGEST_NAME} letters")
    return Placeholder(f"{module}.{name}")


def _length(arguments: Any) -> int:
    if not isinstance(arguments, tuple):
        return 0
    return len(arguments) + sum(len(value) for value in arguments if isinstance(value, list | tuple))


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, Placeholder):
        raise MalformedError("items appended to what is no list")


def _update(target: Any, items: list[Any]) -> Any:
    """Sets alternating keys and values. Keys other than scalars are dropped: hashing them may recurse."""
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, int) and abs(key) > _LARGEST_KEY:
                raise MalformedError("a number as a key that is too large for one")
            if key is None or isinstance(key, str | bytes | int | float):
                target[key] = value
    elif not isinstance(target, Placeholder):
        raise MalformedError("items set on what is no dictionary")
    return target


def _persistent(reference: Any) -> Any:
    """What ('storage', type, key, device, count[, view]) or ('module', class, source...) refers to."""
    reference = _expect(reference, tuple)
    if len(reference) > _LONGEST_REFERENCE:
        raise MalformedError("a reference of too many parts")
    if reference[0] == "module":
        return reference[1]
    if reference[0] != "storage":
        raise MalformedError("a reference to what is no storage")
    kind, key, _, count, *view = reference[1:]
    kind, start = _expect(kind, Placeholder).name, 0
    key = key if isinstance(key, str) else str(_natural(key))
    if view and view[0] is not None:
        _, start, count = _expect(view[0], tuple)
    return Storage(kind, key, _natural(count), _natural(start))


def _describe(function: Any, arguments: Any) -> Any:
    """What calling `function` would have made: one of the known few, or a placeholder."""
    if not isinstance(function, Placeholder):
        return Placeholder(type(function).__name__)
    if function.name not in _KNOWN or arguments is None:
        return Placeholder(function.name)
    return _KNOWN[function.name](*_expect(arguments, tuple))


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    flat = []
    for pair in _expect(pairs, list | tuple):
        if len(_expect(pair, list | tuple)) != 2:
            raise MalformedError("a dictionary's item that is no pair")
        flat += pair
    return _update({}, flat)


def _rebuild_tensor(storage, offset, size, stride, *_) -> Tensor:
    return _make_tensor(storage, offset, size, stride, None)


def _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, *_) -> Tensor:
    return _make_tensor(storage, offset, size, stride, _expect(dtype, Placeholder).name)


def _make_tensor(storage, offset, size, stride, dtype) -> Tensor:
    if len(_expect(size, list | tuple)) != len(_expect(stride, list | tuple)) or len(size) > MOST_AXES:
        raise MalformedError("a tensor with an impossible shape")
    size, stride = (tuple(map(_natural, value)) for value in (size, stride))
    return Tensor(_expect(storage, Storage), _natural(offset), size, stride, dtype)


def _rebuild_parameter(data, *_) -> Tensor:
    return _expect(data, Tensor)


def _size(size=()) -> tuple[Any, ...]:
    return tuple(_expect(size, list | tuple))


_KNOWN: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch.Size": _size,
}


def _expect(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise MalformedError(f"a {type(value).__name__.strip('_')} in a place where a checkpoint has none")
    return value


def _natural(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value <= _LARGEST_SIZE:
        raise MalformedError("a size that is no whole number of 63 bits")
    return value
