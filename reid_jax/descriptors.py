"""Descriptors on disk: one .npz file without pickle, which `reid-jax embed` and `evaluate --embeddings` write.

A file holds one set of descriptors, or several of different names, such as 'query' and 'gallery'. Of each set it has
the arrays of `Descriptors`: under their own names in a file of one set, as `query_embedding` and so on in a file of
several. Beside them are `streams`, `weights` and `version`, which all sets share.
"""

import dataclasses
import hashlib
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from reid_jax.errors import InputError, shown
from reid_jax.files.archive import open_archive, read_member
from reid_jax.files.writing import replace_file

UNKNOWN = -1  # an identity, or a camera

_VERSION = 1
_TIMES = 20  # what the arrays may hold, of the file's size: a compressed file's names shrink, descriptors hardly do
_SHARED = ("streams", "weights", "version")
_DIGEST_LETTERS = 64
_LAST_LETTER = 0x10FFFF  # of Unicode


@dataclasses.dataclass(frozen=True)
class Descriptors:
    """n descriptors, and what is known about each.

    name: str [n], an image's path relative to its folder, '/' separated.
    embedding: float32 [n, d], unit norm (a stream of a network that gives zeros adds nothing to it).
    streams: the widths of the vectors that a descriptor concatenates, which add up to d.
    weights: the digest of the weights that made them, see `digest_of`.
    identity, camera: int32 [n], `UNKNOWN` where nothing is known.
    spread: float32 [n], how far samples of the weights disagree, see `averaging.samples`; None without samples.
    """

    name: np.ndarray
    embedding: np.ndarray
    streams: tuple[int, ...]
    weights: str
    identity: np.ndarray
    camera: np.ndarray
    spread: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.embedding)

    @classmethod
    def unlabelled(
        cls, name: Sequence[str], embedding: np.ndarray, streams: tuple[int, ...], weights: str
    ) -> "Descriptors":
        """Returns descriptors of images of which only the names are known."""
        unknown = np.full(len(embedding), UNKNOWN, np.int32)
        return cls(np.asarray(name, str), embedding, streams, weights, unknown, unknown)


def digest_of(variables: Mapping[str, Any]) -> str:
    """Returns the digest of a network's variables {'params', 'batch_stats'}: SHA-256, 64 hexadecimal digits.

    It covers each array's path, type, shape and bytes, in the order of the paths: weights of the same digest are the
    same, whatever file they are read from and whichever devices they are on.
    """
    named = flatten_dict({key: variables[key] for key in ("params", "batch_stats")}, sep="/")
    digest = hashlib.sha256()
    for path in sorted(named):
        array = np.asarray(named[path])
        array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        digest.update(f"{path} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write_descriptors(path: str | os.PathLike, descriptors: Descriptors | Mapping[str, Descriptors]) -> None:
    """Writes one set of descriptors, or several by their names, to a .npz file: complete or not at all.

    Raises InputError where the sets are of different weights, or the file cannot be written.
    """
    several = isinstance(descriptors, Mapping)
    sets = {f"{name}_": one for name, one in descriptors.items()} if several else {"": descriptors}
    first, *others = sets.values()
    if any((other.streams, other.weights) != (first.streams, first.weights) for other in others):
        raise InputError(f"{path}: descriptors of different weights go into different files")
    arrays: dict[str, Any] = {
        f"{prefix}{field}": getattr(one, field) for prefix, one in sets.items() for field in _fields_of(one)
    }
    arrays |= {"streams": np.array(first.streams, np.int64), "weights": np.array(first.weights), "version": _VERSION}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # given a name, NumPy adds '.npz' where it ends in '.NPZ'
            np.savez(file, **arrays)

    replace_file(path, write)


def read_descriptors(path: str | os.PathLike, name: str = "") -> Descriptors:
    """Reads the only set of descriptors of a file, or set `name` of a file of several.

    Nothing is unpickled, and memory is bounded by the file's size.

    Raises:
      InputError: the file is missing or foreign, has no such set, or what it holds is not what `Descriptors` says:
        types, shapes, numbers that are not finite, norms above 1, streams that do not add up.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        raise InputError(f"{path} does not exist; name a .npz file that reid-jax embed or evaluate has written")
    try:
        with _open(path) as archive:
            members = {member.removesuffix(".npy") for member in archive.namelist() if member.endswith(".npy")}
            missing = [member for member in _SHARED if member not in members]
            if missing:
                raise InputError(f"it has no array {missing[0]}: it is no file of descriptors, or of an older version")
            version = _scalar(archive, "version", "iu")
            if version != _VERSION:
                raise InputError(f"it is of version {shown(version)}; this reid_jax reads {_VERSION}")
            prefix = _prefix(members, name)
            fields = [field for field in _FIELDS if field != "spread" or f"{prefix}spread" in members]
            arrays = {field: _array(archive, f"{prefix}{field}", _KINDS[field]) for field in fields}
            streams = tuple(_array(archive, "streams", "iu").reshape(-1).tolist())
            weights = str(_scalar(archive, "weights", "U"))
            return _checked(Descriptors(streams=streams, weights=weights, **arrays))
    except InputError as error:
        raise InputError(f"{path}: {error}; write it again by reid-jax embed or evaluate") from error


_FIELDS = ("name", "embedding", "identity", "camera", "spread")
_KINDS = {"name": "U", "embedding": "f", "identity": "iu", "camera": "iu", "spread": "f"}
_TYPES = {"embedding": np.float32, "identity": np.int32, "camera": np.int32, "spread": np.float32}


def _fields_of(descriptors: Descriptors) -> list[str]:
    return [field for field in _FIELDS if getattr(descriptors, field) is not None]


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return open_archive(path, _TIMES)
    except InputError as error:
        raise InputError(f"it {error}") from error


def _prefix(members: set[str], name: str) -> str:
    """What stands before the arrays' names of set `name`; InputError where the file has no such set."""
    sets = sorted(member.removesuffix("embedding") for member in members if member.endswith("embedding"))
    prefix = f"{name}_" if name else ""
    if prefix not in sets:
        names = ", ".join(shown(one.removesuffix("_")) for one in sets if one) or "one without a name"
        wanted = f"no set {shown(name)!r}" if name else "several sets"
        raise InputError(f"it has {wanted}; there is {names}")
    return prefix


def _array(archive: zipfile.ZipFile, member: str, kinds: str) -> np.ndarray:
    """An array of a zip, of one of NumPy's kinds of types; its claims are compared with what is there."""
    data = read_member(archive, f"{member}.npy", _TIMES)
    file = io.BytesIO(data)
    try:
        major, _ = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, column_major, dtype = read_header(file)
    except Exception as error:  # NumPy names no kind for what is no array
        raise InputError(f"array {member} cannot be read ({shown(error)})") from error
    if dtype.kind not in kinds or not dtype.itemsize:
        raise InputError(f"array {member} is of type {shown(dtype)}; it has to be of kind {' or '.join(kinds)}")
    start = file.tell()
    count = 1
    for side in shape:
        count *= side
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(data) - start:
        raise InputError(f"array {member} claims {shown(shape)} {dtype} and has {len(data) - start:,} bytes")
    if dtype.kind == "U":  # NumPy checks no letters, and Python ends badly on what is none
        letters = np.frombuffer(data, np.dtype(np.uint32).newbyteorder(dtype.byteorder), offset=start)
        if ((letters > _LAST_LETTER) | ((letters >= 0xD800) & (letters < 0xE000))).any():
            raise InputError(f"array {member} has text that is not Unicode")
    try:
        values = np.frombuffer(data, dtype, count, start).reshape(shape, order="F" if column_major else "C")
    except ValueError as error:  # a shape of no element may name sides of any length
        raise InputError(f"array {member} claims {shown(shape)} {dtype}: {shown(error)}") from error
    return values.astype(dtype.newbyteorder("="))


def _scalar(archive: zipfile.ZipFile, member: str, kinds: str) -> Any:
    values = _array(archive, member, kinds)
    if values.size != 1:
        raise InputError(f"array {member} has {values.size:,} values; it is to have one")
    return values.reshape(-1)[0]


def _checked(descriptors: Descriptors) -> Descriptors:
    """The same in the types that `Descriptors` has; InputError for what cannot be descriptors."""
    embedding = descriptors.embedding
    if embedding.ndim != 2:
        raise InputError(f"array embedding has shape {shown(embedding.shape)}; it has to be [n, d]")
    if min(descriptors.streams, default=0) < 1 or sum(descriptors.streams) != embedding.shape[1]:
        raise InputError(f"streams {shown(descriptors.streams)} do not add up to descriptors of {embedding.shape[1]}")
    if len(descriptors.weights) != _DIGEST_LETTERS or set(descriptors.weights) - set("0123456789abcdef"):
        raise InputError(f"weights are {shown(descriptors.weights)!r}, which is no digest")
    converted = {}
    for field in _fields_of(descriptors):
        values = getattr(descriptors, field)
        if field != "embedding" and values.shape != embedding.shape[:1]:
            raise InputError(f"array {field} has shape {shown(values.shape)} beside {len(embedding):,} descriptors")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"array {field} has numbers that are not finite")
        if values.dtype.kind in "iu" and values.size and not -(2**31) <= values.min() <= values.max() < 2**31:
            raise InputError(f"array {field} has numbers that do not fit 32 bits")
        converted[field] = values.astype(_TYPES.get(field, values.dtype), copy=False)
    norm = np.einsum("nd,nd->n", converted["embedding"], converted["embedding"])
    if (norm > 1.001).any():
        raise InputError(f"{np.count_nonzero(norm > 1.001):,} descriptors have a norm above 1")
    return dataclasses.replace(descriptors, **converted)
