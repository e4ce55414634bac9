"""Zips that lie: about sizes, names and versions; each is one line, and takes no more memory than it may."""

import io
import struct
import tracemalloc
import zipfile

import pytest

from reid_jax.errors import InputError
from reid_jax.files.archive import open_archive, read_member

MEBIBYTE = 2**20


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def claiming(data, size):
    """The same zip, whose only member says in both of its headers that it inflates to `size` bytes."""
    central = data.rindex(b"PK\1\2")
    data = bytearray(data)
    data[22:26] = data[central + 24 : central + 28] = struct.pack("<I", size)
    return bytes(data)


def read(data, name="a", times=100, most=None):
    with open_archive(io.BytesIO(data), times) as archive:
        return read_member(archive, name, times, most)


def refused(data, match, **bounds):
    tracemalloc.start()
    with pytest.raises(InputError, match=match) as caught:
        read(data, **bounds)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    return peak


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_whole(compression):
    content = bytes(range(256)) * 20_000
    assert read(zipped({"a": content, "b": b""}, compression)) == content
    assert read(zipped({"a": content, "b": b""}, compression), "b") == b""


def test_a_member_that_inflates_beyond_its_bounds_is_refused():
    bomb = zipped({"a": bytes(64 * MEBIBYTE)})
    assert refused(bomb, "has members of 67,108,864 bytes together, more than 100 times") < MEBIBYTE
    padded = zipped({"a": bytes(64 * MEBIBYTE)})
    with zipfile.ZipFile(file := io.BytesIO(padded), "a") as archive:
        archive.writestr("c", bytes(MEBIBYTE), zipfile.ZIP_STORED)  # the whole is of an honest size, the member is not
    assert refused(file.getvalue(), r"member a claims 67,108,864 bytes, packed into 6\d,\d+; at most") < 3 * MEBIBYTE
    assert len(read(zipped({"a": bytes(8 * MEBIBYTE)}))) == 8 * MEBIBYTE  # small: no ratio is asked
    refused(zipped({"a": bytes(4 * MEBIBYTE)}), "at most 1,048,576 are read", most=MEBIBYTE)


def test_a_member_of_more_bytes_than_it_claims_is_cut_short():
    bomb = claiming(zipped({"a": bytes(64 * MEBIBYTE)}), 1000)
    assert refused(bomb, "member a cannot be read .*CRC") < 4 * MEBIBYTE


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_whose_output_nothing_bounds(compression):
    refused(zipped({"a": b"1"}, compression), "member a is packed by another method than deflate")


@pytest.mark.parametrize("name", ["", "/etc/a.jpg", "../a.jpg", "a/../../b.jpg", "a\0.jpg", "a/.."])
def test_names_that_are_none_inside_an_archive(name):
    data = zipped({"x" * max(len(name), 1): b"1"})
    if name:
        data = data.replace(b"x" * len(name), name.encode())
    else:  # zipfile writes no empty name
        data = data.replace(struct.pack("<HH", 1, 0) + b"x", struct.pack("<HH", 0, 0), 1)
        central = data.rindex(b"PK\1\2")
        head = bytearray(data[central : central + 46])
        head[28:30] = b"\0\0"
        end = bytearray(data[central + 47 :])
        end[12:20] = struct.pack("<II", 46, central)
        data = data[:central] + bytes(head) + bytes(end)
    refused(data, "has a member called '.*', which is no name inside an archive")


@pytest.mark.parametrize("name", ["a/" * 30_000, "a/" * 33 + "b.jpg", "a\\" * 33 + "b.jpg", "a" * 5000])
def test_names_that_are_too_long_or_too_deep(name):
    refused(zipped({name: b""}), "has a member 'a.*', whose name is too long or lies too deep")
    assert read(zipped({"a/" * 32 + "b.jpg": b"1"}), "a/" * 32 + "b.jpg") == b"1"


def changed(data, place, value, of=b"PK\1\2"):
    start = data.rindex(of) + place
    return data[:start] + value + data[start + len(value) :]


@pytest.mark.parametrize(
    ("place", "value", "match"),
    [
        (6, b"\xff\xff", "cannot be read as a zip .*version"),
        (8, b"\x01\0", "member a cannot be read .*encrypted"),
        (8, b"\x20\0", "member a cannot be read .*patch"),
        (8, b"\x41\0", "member a cannot be read .*encr"),
        (10, b"\x63\0", "member a is packed by another method"),
        (16, b"\0\0\0\0", "member a cannot be read .*CRC"),
        (42, b"\xff\xff\xff\x7f", "member a cannot be read"),
    ],
    ids=["version", "encrypted", "patch", "strong encryption", "compression", "checksum", "place"],
)
def test_headers_that_nothing_reads(place, value, match):
    data = changed(zipped({"a": b"abc"}), place, value)
    if place == 8:
        data = changed(data, 6, value, b"PK\3\4")
    refused(data, match)


def test_a_name_that_is_not_in_its_encoding():
    data = zipped({"ö": b"1"}).replace("ö".encode(), b"\xff\xff")
    refused(data, "cannot be read as a zip")


def test_a_missing_member_is_named_in_one_line():
    refused(zipped({"a": b"1"}), r"it has no member b\\nb", name="b\nb")
