"""Tensors out of PyTorch checkpoint files, without PyTorch and without running what is pickled in them.

A checkpoint is a pickle, a program that can call anything. Here its opcodes are interpreted by a small
machine that calls nothing: the few names that describe tensors have a meaning, all others become
placeholders. Formats: the zip archive of PyTorch 1.6 and later, and the older stream of pickles and raw
storages, as `torch.serialization` documents and writes them. Also reads `.safetensors`.

What a file may take is bounded by what it holds: its opcodes in number, the elements of all its tensors together by a
few times its size (tied weights and views are stored once), its archive as in `reid_jax.files.archive`.
"""

import dataclasses
import io
import math
import pickletools
import re
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from reid_jax.errors import InputError, first_few, shown
from reid_jax.files.archive import open_archive, read_member

# What all tensors, and what all members of the archive, may take in memory, of the file's bytes; small files apart.
_TIMES = 8
_SMALL = 2**24
_MOST_STEPS = 2_000_000  # of the machine, in one pickle: a checkpoint of ten thousand tensors takes a third of them
_MOST_AXES = 64  # NumPy's
_LONGEST_NAME = 1000  # of a class or function
_LONGEST_REFERENCE = 8
_LARGEST_SIZE = 2**63 - 1
_LARGEST_KEY = 2**61 - 2  # of whole numbers as keys: larger ones may share one hash, and a million such take hours

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

_STORAGE_DTYPES = {
    "torch.DoubleStorage": np.float64,
    "torch.FloatStorage": np.float32,
    "torch.HalfStorage": np.float16,
    "torch.BFloat16Storage": ml_dtypes.bfloat16,
    "torch.LongStorage": np.int64,
    "torch.IntStorage": np.int32,
    "torch.ShortStorage": np.int16,
    "torch.CharStorage": np.int8,
    "torch.ByteStorage": np.uint8,
    "torch.BoolStorage": np.bool_,
    "torch.UntypedStorage": np.uint8,
    "torch.storage.UntypedStorage": np.uint8,
}
_TENSOR_DTYPES = {
    "torch.float64": np.float64,
    "torch.float32": np.float32,
    "torch.float16": np.float16,
    "torch.bfloat16": ml_dtypes.bfloat16,
    "torch.int64": np.int64,
    "torch.int32": np.int32,
    "torch.int16": np.int16,
    "torch.int8": np.int8,
    "torch.uint64": np.uint64,
    "torch.uint32": np.uint32,
    "torch.uint16": np.uint16,
    "torch.uint8": np.uint8,
    "torch.bool": np.bool_,
}
_SAFETENSORS_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a model from a PyTorch checkpoint or a `.safetensors` file.

    The state dict may be the file's whole content or stand under a name such as 'state_dict', 'model' or 'net', beside
    anything else (epoch, optimiser, NumPy scalars, objects of unknown classes), which is neither needed nor run.
    'module.', 'model.' and the like in front of all names, as wrappers leave them, are cut off. Entries that are not
    tensors are left out.

    Args:
      path: the file; a name ending in '.safetensors' decides for that format.

    Returns:
      name -> array of the tensor's own shape and dtype (bfloat16 as in `ml_dtypes`), each with its own
      memory.

    Raises:
      InputError: no such file, not a PyTorch file, damaged or truncated, or without tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is no file: give a checkpoint (.pth, .pt, .pth.tar) or a .safetensors file")
    try:
        tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if not tensors:
        raise InputError(f"{path} holds no tensors: give a file that was saved from model.state_dict()")
    return _unwrapped(tensors)


def is_torch_file(path: str | Path) -> bool:
    """Whether a file begins as `torch.save` begins it: as a zip archive or a pickle."""
    with Path(path).open("rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x80"))


# What the machine makes of a pickle: plain Python values and these.


@dataclasses.dataclass(frozen=True, eq=False)
class _Placeholder:
    """A name that the pickle refers to, or whatever calling it would have made."""

    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Storage:
    """A reference to raw data: `count` elements from element `start` on of the storage `key`."""

    kind: str
    key: str
    count: int
    start: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class _Tensor:
    """A strided view of a storage; offset and strides in elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str | None = None  # None: the storage's


class _MalformedError(Exception):
    """The pickle does not say what a checkpoint's pickle would."""


# What a damaged pickle raises in `pickletools` or in the machine.
_UNREADABLE = (_MalformedError, ValueError, LookupError, TypeError, OverflowError, MemoryError, struct.error)


# Names under which training code saves a model, in the order they are looked for: a running average comes last.
_SAVED_AS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "backbone",
    "weights",
    "params",
    "state_dict_ema",
    "model_ema",
    "ema",
)
# What wrapping a network puts before its tensors' names.
_WRAPPERS = {"module", "model", "net", "network", "backbone", "base", "encoder", "_orig_mod", "state_dict"}
_MOST_GROUPS = 100


def _state_dict(content: Any, path: Path) -> dict[str, _Tensor]:
    """The tensors of the state dict within what the file's pickle describes."""
    if isinstance(content, _Placeholder):
        raise InputError(
            f"{path} holds a whole object ({shown(content.name)}), which only its own code can load: "
            "save its state_dict() instead"
        )
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, not a state dict: save model.state_dict() instead")
    tensors = _find_tensors(content, set())
    if not tensors:
        found = [f"{key} ({getattr(value, 'name', type(value).__name__)})" for key, value in content.items()]
        raise InputError(
            f"{path} holds no tensors, but {first_few(found) or 'nothing'}: save model.state_dict() instead"
        )
    return tensors


def _find_tensors(content: dict, seen: set[int]) -> dict[str, _Tensor]:
    """The tensors under the names that models are saved by, else those of `content` itself, else those of one group.

    `seen` holds the groups looked into: a pickle may put one into itself.
    """
    if id(content) in seen or len(seen) == _MOST_GROUPS:
        return {}
    seen.add(id(content))
    groups = {key: value for key, value in content.items() if isinstance(value, dict)}
    for key in _SAVED_AS:
        if key in groups and (found := _find_tensors(groups.pop(key), seen)):
            return found
    own = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, _Tensor)}
    if own:
        return own
    others = [value for key, value in groups.items() if isinstance(key, str) and "optim" not in key]
    found = [tensors for value in others if (tensors := _find_tensors(value, seen))]
    return found[0] if len(found) == 1 else {}


def _unwrapped(tensors: dict[str, Any]) -> dict[str, Any]:
    """The same without what wrappers put before the names, once or several times, where all names have it."""
    while True:
        first = {name.partition(".")[0] for name in tensors}
        if len(first) != 1 or not first & _WRAPPERS or not all("." in name for name in tensors):
            return tensors
        tensors = {name.partition(".")[2]: value for name, value in tensors.items()}


def _array(tensor: _Tensor, storages: Callable[[str], memoryview], path: Path) -> np.ndarray:
    """The tensor's elements, checked to lie within its storage."""
    storage = tensor.storage
    stored = _dtype(storage.kind, _STORAGE_DTYPES, path)
    dtype = _dtype_of(tensor, path)
    data = storages(storage.key)
    begin, end = storage.start * stored.itemsize, (storage.start + storage.count) * stored.itemsize
    if end > len(data):
        raise InputError(
            f"{path}: storage {shown(storage.key)!r} has {len(data)} bytes where {end} are needed: the file is damaged"
        )
    data = data[begin:end]
    reach = 0
    if 0 not in tensor.size:
        steps = sum((size - 1) * stride for size, stride in zip(tensor.size, tensor.stride, strict=True))
        reach = (tensor.offset + steps + 1) * dtype.itemsize
    if reach > len(data):
        raise InputError(
            f"{path}: a tensor of shape {shown(tensor.size)} reaches byte {reach} of storage {shown(storage.key)!r}, "
            f"which has {len(data)}: the file is damaged"
        )
    if not reach:
        return np.empty(tensor.size, dtype)
    flat = np.frombuffer(data, dtype, count=len(data) // dtype.itemsize)[tensor.offset :]
    strides = [stride * dtype.itemsize for stride in tensor.stride]
    return np.lib.stride_tricks.as_strided(flat, tensor.size, strides).copy(order="C")


def _within_bounds(tensors: Mapping[str, _Tensor], size: int, path: Path) -> None:
    """Raises InputError where the tensors of a file of `size` bytes are far more than it can hold."""
    taken = 0
    for name, tensor in tensors.items():
        taken += math.prod(tensor.size) * _dtype_of(tensor, path).itemsize
        if taken > max(_SMALL, _TIMES * size):
            raise InputError(
                f"{path}: up to {shown(name)!r} of shape {shown(tensor.size)} its tensors have {taken:,} bytes, more "
                f"than {_TIMES} times the {size:,} of the file: save tensors that are not expanded"
            )


def _dtype_of(tensor: _Tensor, path: Path) -> np.dtype:
    if tensor.dtype is None:
        return _dtype(tensor.storage.kind, _STORAGE_DTYPES, path)
    return _dtype(tensor.dtype, _TENSOR_DTYPES, path)


def _dtype(name: str, known: dict[str, Any], path: Path) -> np.dtype:
    if name not in known:
        raise InputError(f"{path} holds a tensor of type {shown(name)}: save real numbers, integers or booleans")
    return np.dtype(known[name])


# Files


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise InputError(f"{path} is no readable .safetensors file: {_one_line(error)}") from error
    # Not by safetensors.numpy, which knows no bfloat16.
    tensors = {}
    for name, entry in entries:
        dtype, shape = _dtype(entry["dtype"], _SAFETENSORS_DTYPES, path), entry["shape"]
        if len(shape) > _MOST_AXES:
            raise InputError(f"{path}: {shown(name)!r} has {len(shape):,} axes; at most {_MOST_AXES} are read")
        tensors[name] = np.frombuffer(entry["data"], dtype).reshape(shape).copy()
    return tensors


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    try:
        content, storage_bytes = (_read_zip if data[:4] == b"PK\x03\x04" else _read_legacy)(data, path)
        tensors = _state_dict(content, path)
        _within_bounds(tensors, len(data), path)
        return {name: _array(tensor, storage_bytes, path) for name, tensor in tensors.items()}
    except InputError:
        raise
    except _UNREADABLE as error:
        message = f"{path} is a damaged PyTorch file or holds no state dict: {_one_line(error)}"
        raise InputError(message) from error


def _read_zip(data: bytes, path: Path) -> tuple[Any, Callable[[str], memoryview]]:
    """PyTorch 1.6 and later: NAME/data.pkl, NAME/data/KEY for each storage, NAME/byteorder."""
    try:
        archive = open_archive(io.BytesIO(data), _TIMES)
    except InputError as error:
        raise InputError(f"{path} is a damaged or truncated PyTorch file: it {error}") from error

    def read_file(name: str) -> bytes:
        try:
            return read_member(archive, name, _TIMES)
        except InputError as error:
            raise InputError(f"{path} is a damaged PyTorch file: {error}") from error

    names = set(archive.namelist())
    pickles = [name for name in archive.namelist() if re.fullmatch(r"([^/]+/)?data\.pkl", name)]
    if not pickles:
        raise InputError(f"{path} is a zip archive without data.pkl, not a PyTorch file")
    root = pickles[0].removesuffix("data.pkl")
    content, storages = _interpret(io.BytesIO(read_file(f"{root}data.pkl")))
    order = read_file(f"{root}byteorder").decode() if f"{root}byteorder" in names else "little"
    if order not in ("little", "big"):
        raise _MalformedError(f"a byte order called {shown(order)!r}")
    kinds = {storage.key: storage.kind for storage in storages}
    read = {}

    def storage_bytes(key: str) -> memoryview:
        if key not in read:
            name = f"{root}data/{key}"
            if name not in names:
                raise InputError(f"{path}: storage {shown(key)!r} is missing from the archive: the file is damaged")
            read[key] = _native(read_file(name), order, _dtype(kinds[key], _STORAGE_DTYPES, path).itemsize)
        return read[key]

    return content, storage_bytes


def _read_legacy(data: bytes, path: Path) -> tuple[Any, Callable[[str], memoryview]]:
    """Before PyTorch 1.6: pickles (magic number, protocol, system, content, keys), then raw storages."""
    stream = io.BytesIO(data)
    try:
        magic = _interpret(stream)[0]
    except _UNREADABLE:
        magic = None
    if magic != _LEGACY_MAGIC:
        raise InputError(f"{path} is not a PyTorch file: give one written by torch.save, or a .safetensors file")
    protocol = _interpret(stream)[0]
    if protocol != _LEGACY_PROTOCOL:
        raise _MalformedError("unknown version of the file format")
    _interpret(stream)  # sizes of C types on the machine that saved it; the data are little-endian everywhere
    content, storages = _interpret(stream)
    keys = _interpret(stream)[0]
    kinds = {storage.key: storage.kind for storage in storages}
    read = {}
    for key in keys:
        if key not in kinds:
            raise _MalformedError("a storage without a tensor")
        width = _dtype(kinds[key], _STORAGE_DTYPES, path).itemsize
        head = stream.read(8)
        count = struct.unpack("<q", head)[0] if len(head) == 8 else -1
        begin = stream.tell()
        if count < 0 or begin + count * width > len(data):
            raise InputError(f"{path} is truncated: the data of storage {shown(key)!r} are not all there")
        read[key] = _native(data[begin : begin + count * width], "little", width)
        stream.seek(begin + count * width)

    def storage_bytes(key: str) -> memoryview:
        if key not in read:
            raise InputError(f"{path}: storage {shown(key)!r} is missing: the file is damaged")
        return read[key]

    return content, storage_bytes


def _native(raw: bytes, order: str, width: int) -> memoryview:
    """The bytes with elements of `width` bytes turned to this machine's order."""
    if order != sys.byteorder and width > 1:
        raw = np.frombuffer(raw, f"u{width}").byteswap().tobytes()
    return memoryview(raw)


def _one_line(error: Exception) -> str:
    return shown(" ".join(str(error).split()) or type(error).__name__)


# The machine


def _interpret(stream: io.BytesIO) -> tuple[Any, list[_Storage]]:
    """Reads one pickle up to its STOP and calls nothing.

    Returns what it describes and the storages it refers to. Opcodes that are not listed here end the reading.
    Values that only foreign objects could hold (set items, attributes, dictionary keys that are no plain
    scalars) are dropped. A step is an opcode, or an item of what one passes to a function: a list that the memo hands
    out again and again costs its length each time.
    """
    stack, marks, memo, storages = [], [], {}, []
    steps = 0

    def since_mark() -> list[Any]:
        nonlocal stack
        items, stack = stack, marks.pop()
        return items

    def pop(count: int) -> list[Any]:
        if len(stack) < count:
            raise _MalformedError("the pickle takes more from its stack than there is")
        items = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return items

    for opcode, argument, _ in pickletools.genops(stream):
        steps += 1
        if steps > _MOST_STEPS:
            raise _MalformedError(f"a pickle of more than {_MOST_STEPS:,} steps")
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return pop(1)[0], storages
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "INT" | "BININT" | "BININT1" | "BININT2" | "LONG" | "LONG1" | "LONG4" | "FLOAT" | "BINFLOAT":
                stack.append(argument)
            case "UNICODE" | "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                stack.append(argument)
            case "STRING" | "BINSTRING" | "SHORT_BINSTRING":  # Python 2; decoded as latin-1
                stack.append(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                stack.append(argument)

            case "MARK":
                marks.append(stack)
                stack = []
            case "POP":
                pop(1) if stack else since_mark()
            case "POP_MARK":
                since_mark()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])

            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(pop(int(opcode.name[-1]))))
            case "TUPLE":
                items = since_mark()
                stack.append(tuple(items))
            case "EMPTY_LIST":
                stack.append([])
            case "LIST":
                items = since_mark()
                stack.append(items)
            case "APPEND":
                _extend(stack[-2], pop(1))
            case "APPENDS":
                items = since_mark()
                _extend(stack[-1], items)
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                items = since_mark()
                stack.append(_update({}, items))
            case "SETITEM":
                _update(stack[-3], pop(2))
            case "SETITEMS":
                items = since_mark()
                _update(stack[-1], items)
            case "EMPTY_SET":
                stack.append(_Placeholder("set"))
            case "ADDITEMS":
                since_mark()
            case "FROZENSET":
                since_mark()
                stack.append(_Placeholder("frozenset"))

            case "GLOBAL":
                stack.append(_named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(_named(*pop(2)))
            case "REDUCE" | "NEWOBJ":
                function, arguments = pop(2)
                steps += _length(arguments)
                stack.append(_describe(function, arguments))
            case "NEWOBJ_EX":
                function = pop(3)[0]
                stack.append(_describe(function, None))
            case "OBJ":
                items = since_mark()
                stack.append(_describe(items[0], None))
            case "INST":
                since_mark()
                stack.append(_named(*argument.split(" ", 1)))
            case "BUILD":  # attributes of an object: a state dict's metadata, or something foreign
                pop(1)
            case "BINPERSID":
                found = _persistent(pop(1)[0])
                if isinstance(found, _Storage):
                    storages.append(found)
                stack.append(found)
            case _:
                raise _MalformedError(f"opcode {opcode.name} does not belong in a checkpoint")
    raise _MalformedError("the pickle has no end")


def _named(module: Any, name: Any) -> _Placeholder:
    if len(_expect(module, str)) + len(_expect(name, str)) > _LONGEST_NAME:
        raise _MalformedError(f"a class or function whose name has more than {_LONGEST_NAME} letters")
    return _Placeholder(f"{module}.{name}")


def _length(arguments: Any) -> int:
    if not isinstance(arguments, tuple):
        return 0
    return len(arguments) + sum(len(value) for value in arguments if isinstance(value, list | tuple))


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, _Placeholder):
        raise _MalformedError("items appended to what is no list")


def _update(target: Any, items: list[Any]) -> Any:
    """Sets alternating keys and values. Keys other than scalars are dropped: hashing them may recurse."""
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, int) and abs(key) > _LARGEST_KEY:
                raise _MalformedError("a number as a key that is too large for one")
            if key is None or isinstance(key, str | bytes | int | float):
                target[key] = value
    elif not isinstance(target, _Placeholder):
        raise _MalformedError("items set on what is no dictionary")
    return target


def _persistent(reference: Any) -> Any:
    """What ('storage', type, key, device, count[, view]) or ('module', class, source...) refers to."""
    reference = _expect(reference, tuple)
    if len(reference) > _LONGEST_REFERENCE:
        raise _MalformedError("a reference of too many parts")
    if reference[0] == "module":
        return reference[1]
    if reference[0] != "storage":
        raise _MalformedError("a reference to what is no storage")
    kind, key, _, count, *view = reference[1:]
    kind, start = _expect(kind, _Placeholder).name, 0
    key = key if isinstance(key, str) else str(_natural(key))
    if view and view[0] is not None:
        _, start, count = _expect(view[0], tuple)
    return _Storage(kind, key, _natural(count), _natural(start))


def _describe(function: Any, arguments: Any) -> Any:
    """What calling `function` would have made: one of the known few, or a placeholder."""
    if not isinstance(function, _Placeholder):
        return _Placeholder(type(function).__name__)
    if function.name not in _KNOWN or arguments is None:
        return _Placeholder(function.name)
    return _KNOWN[function.name](*_expect(arguments, tuple))


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    flat = []
    for pair in _expect(pairs, list | tuple):
        if len(_expect(pair, list | tuple)) != 2:
            raise _MalformedError("a dictionary's item that is no pair")
        flat += pair
    return _update({}, flat)


def _rebuild_tensor(storage, offset, size, stride, *_) -> _Tensor:
    return _make_tensor(storage, offset, size, stride, None)


def _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, *_) -> _Tensor:
    return _make_tensor(storage, offset, size, stride, _expect(dtype, _Placeholder).name)


def _make_tensor(storage, offset, size, stride, dtype) -> _Tensor:
    if len(_expect(size, list | tuple)) != len(_expect(stride, list | tuple)) or len(size) > _MOST_AXES:
        raise _MalformedError("a tensor with an impossible shape")
    size, stride = (tuple(map(_natural, value)) for value in (size, stride))
    return _Tensor(_expect(storage, _Storage), _natural(offset), size, stride, dtype)


def _rebuild_parameter(data, *_) -> _Tensor:
    return _expect(data, _Tensor)


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
        raise _MalformedError(f"a {type(value).__name__.strip('_')} in a place where a checkpoint has none")
    return value


def _natural(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value <= _LARGEST_SIZE:
        raise _MalformedError("a size that is no whole number of 63 bits")
    return value
