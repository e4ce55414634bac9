"""Zip archives from elsewhere: what cannot be read is one line, and none takes more memory than its own size justifies.

A deflated byte may stand for a thousand, and a header may claim anything. So claims are compared with the archive's
size before anything is read, and members are read in pieces up to what they claim.
"""

import os
import struct
import zipfile
import zlib
from typing import BinaryIO

from reid_jax.errors import InputError, shown

_SMALL = 2**24  # bytes that anything may take: a ratio says little of what is small
_PIECE = 2**20
_LONGEST_NAME = 4096  # letters, as of a path on a disk
_DEEPEST = 32  # folders above a member: each is listed by its whole name
# Those whose output `zipfile` can bound. Of bzip2's, 200 bytes may become 256 MiB in one call.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# RuntimeError: a password, or a version that Python does not know; ValueError: names that are not in their encoding.
_BROKEN = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)


def open_archive(file: str | os.PathLike | BinaryIO, times: int) -> zipfile.ZipFile:
    """Opens a zip whose members claim at most `times` the archive's own size together, small ones apart.

    Raises:
      InputError: it is no zip, a member has no name, or one that leads out of the archive or is too long, or the
        claims are beyond the bound. The message goes on from the archive's name, which the caller puts before it.
    """
    try:
        archive = zipfile.ZipFile(file)
    except _BROKEN as error:
        raise InputError(f"cannot be read as a zip ({_reason(error)})") from error
    try:
        _check(archive, times)
    except InputError:
        archive.close()
        raise
    return archive


def read_member(archive: zipfile.ZipFile, name: str, times: int, most: int | None = None) -> bytes:
    """One member's bytes, at most `times` its compressed ones where it is not small, and at most `most`.

    Raises:
      InputError: there is no such member, it is damaged, encrypted, packed by another method than
        deflate, or beyond the bounds.
    """
    try:
        member = archive.getinfo(name)
    except KeyError as error:
        raise InputError(f"it has no member {shown(name)}") from error
    bound = max(_SMALL, times * member.compress_size)
    bound = bound if most is None else min(bound, most)
    if member.file_size > bound:
        raise InputError(
            f"member {shown(name)} claims {member.file_size:,} bytes, packed into {member.compress_size:,}; "
            f"at most {bound:,} are read"
        )
    if member.compress_type not in _METHODS:
        raise InputError(f"member {shown(name)} is packed by another method than deflate")
    try:
        with archive.open(member) as stream:
            return b"".join(iter(lambda: stream.read(_PIECE), b""))
    except _BROKEN as error:
        raise InputError(f"member {shown(name)} cannot be read ({_reason(error)})") from error


def _check(archive: zipfile.ZipFile, times: int) -> None:
    claimed = 0
    for member in archive.infolist():
        claimed += member.file_size
        name = member.orig_filename  # zipfile cuts a name at a NUL, which makes it another's
        if not name or "\0" in name or name.startswith("/") or (".." in name and ".." in name.split("/")):
            raise InputError(f"has a member called {shown(name)!r}, which is no name inside an archive")
        if len(name) > _LONGEST_NAME or name.count("/") + name.count("\\") > _DEEPEST:
            raise InputError(f"has a member {shown(name)!r}, whose name is too long or lies too deep")
    size = archive.fp.seek(0, os.SEEK_END)
    if claimed > max(_SMALL, times * size):
        raise InputError(f"has members of {claimed:,} bytes together, more than {times} times its own {size:,}")


def _reason(error: Exception) -> str:
    return shown(str(error) or type(error).__name__)
