"""Tensors out of PyTorch checkpoint files, without PyTorch and without running what is pickled in them.

A checkpoint is a pickle, a program that can call anything: `pickle_machine` reads it and calls nothing. Formats: the
zip archive of PyTorch 1.6 and later, and the older stream of pickles and raw storages, as `torch.serialization`
documents and writes them. Also reads `.safetensors`.

What a file may take is bounded by what it holds: its opcodes in number, the elements of all its tensors together by a
few times its size (tied weights and views are stored once), its archive as in `reid_jax.files.archive`.
"""

import io
import math
import re
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from reid_jax.convert.pickle_machine import (
    MOST_AXES,
    UNREADABLE,
    MalformedError,
    Placeholder,
    Tensor,
    interpret,
)
from reid_jax.errors import InputError, first_few, shown
from reid_jax.files.archive import open_archive, read_member

# What all tensors, and what all members of the archive, may take in memory, of the file's bytes; small files apart.
_TIMES = 8
_SMALL = 2**24

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


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of the state dict within what the file's pickle describes."""
    if isinstance(content, Placeholder):
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


def _find_tensors(content: dict, seen: set[int]) -> dict[str, Tensor]:
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
    own = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
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


def _array(tensor: Tensor, storages: Callable[[str], memoryview], path: Path) -> np.ndarray:
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


def _within_bounds(tensors: Mapping[str, Tensor], size: int, path: Path) -> None:
    """Raises InputError where the tensors of a file of `size` bytes are far more than it can hold."""
    taken = 0
    for name, tensor in tensors.items():
        taken += math.prod(tensor.size) * _dtype_of(tensor, path).itemsize
        if taken > max(_SMALL, _TIMES * size):
            raise InputError(
                f"{path}: up to {shown(name)!r} of shape {shown(tensor.size)} its tensors have {taken:,} bytes, more "
                f"than {_TIMES} times the {size:,} of the file: save tensors that are not expanded"
            )


def _dtype_of(tensor: Tensor, path: Path) -> np.dtype:
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
        if len(shape) > MOST_AXES:
            raise InputError(f"{path}: {shown(name)!r} has {len(shape):,} axes; at most {MOST_AXES} are read")
        try:
            tensors[name] = np.frombuffer(entry["data"], dtype).reshape(shape).copy()
        except ValueError as error:  # sides beyond what NumPy counts, beside one of zero
            raise InputError(f"{path}: {shown(name)!r} has the shape {shown(shape)}, which no array has") from error
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
    except UNREADABLE as error:
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
    content, storages = interpret(io.BytesIO(read_file(f"{root}data.pkl")))
    order = read_file(f"{root}byteorder").decode() if f"{root}byteorder" in names else "little"
    if order not in ("little", "big"):
        raise MalformedError(f"a byte order called {shown(order)!r}")
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
        magic = interpret(stream)[0]
    except UNREADABLE:
        magic = None
    if magic != _LEGACY_MAGIC:
        raise InputError(f"{path} is not a PyTorch file: give one written by torch.save, or a .safetensors file")
    protocol = interpret(stream)[0]
    if protocol != _LEGACY_PROTOCOL:
        raise MalformedError("unknown version of the file format")
    interpret(stream)  # sizes of C types on the machine that saved it; the data are little-endian everywhere
    content, storages = interpret(stream)
    keys = interpret(stream)[0]
    kinds = {storage.key: storage.kind for storage in storages}
    read = {}
    for key in keys:
        if key not in kinds:
            raise MalformedError("a storage without a tensor")
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
