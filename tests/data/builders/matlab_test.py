"""MATLAB files as they come from elsewhere: each is read, or is one line, though its reader crash or eat memory."""

import base64
import io
import pathlib
import struct
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from reid_jax.data.builders import matlab, matlab_reader
from reid_jax.data.builders.files import FileTree
from reid_jax.errors import InputError

# A MARS info file with one byte changed: its reader in SciPy follows a wild pointer, or divides by zero.
WILD = base64.b64decode(
    "TUFUTEFCIDUuMCBNQVQtZmlsZSBQbGF0Zm9ybTogcG9zaXgsIENyZWF0ZWQgb246IFNhdCBOb3YgMjggMTg6NDY6MDIgMjAyNgAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABSU0OAAAAcAAAAAYAAAAIAAAADAAAAAAA"
    "AAAFAAAACAAAAAMAAAAEAAAAAQAAABAAAAB0cmFja190cmFpbl9pbmZvBf8AADAAAAABAAAABAAAABgAAAADAAAAFwAAABgAAAAB"
    "AAAAAQAAAAUAAAABAAAAAgAAAAYAAAA="
)


def saved(**variables):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables, do_compression=True)
    return buffer.getvalue()


def cells(*values):
    array = np.empty((len(values), 1), object)
    array[:, 0] = values
    return array


def read(folder, data, *variables):
    (folder / "info.mat").write_bytes(data)
    return matlab.read_mat(FileTree(folder), "info.mat", variables, "fetch it again")


def test_numbers_and_cells_come_out_of_the_other_process(tmp_path):
    tracks = np.arange(8, dtype=np.uint16).reshape(2, 4)
    data = saved(tracks=tracks, names=cells("1_001.png", "ü", 5.0, cells("deeper"), ""), other=np.ones(3))
    found = read(tmp_path, data, "tracks", "names")
    assert list(found) == ["tracks", "names"]
    np.testing.assert_array_equal(found["tracks"], tracks)
    assert found["tracks"].dtype == np.uint16
    assert found["names"].tolist() == [["1_001.png"], ["ü"], [""], [""], [""]]
    assert not found["tracks"].flags.writeable  # whoever asks again gets the same
    assert read(tmp_path, data, "tracks", "names")["tracks"] is found["tracks"]
    with pytest.raises(InputError, match="has no variable tracts; fetch it again"):
        read(tmp_path, data, "tracts")


def refused(folder, data, match):
    with pytest.raises(
        InputError, match=rf"info.mat cannot be read as a MATLAB file .{match}.*fetch it again"
    ) as caught:
        read(folder, data, "track_train_info")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_file_whose_reader_crashes_is_one_line(tmp_path):
    refused(tmp_path, WILD, "")


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "its reader ended with SIGSEGV"),
        ("import os; os.abort()", "its reader ended with SIGABRT"),
        ("raise MemoryError", "MemoryError"),
    ],
)
def test_however_the_reader_ends(tmp_path, monkeypatch, body, match):
    (tmp_path / "reader.py").write_text(body)
    monkeypatch.setattr(matlab_reader, "__file__", str(tmp_path / "reader.py"))
    refused(tmp_path, saved(track_train_info=np.ones((1, 4))) + body.encode(), match)


def element(kind, body):
    return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)


def test_a_file_that_inflates_takes_no_more_memory_than_it_may(tmp_path, monkeypatch):
    """Only 40 MiB of zeros, and a limit lowered to fit, so that the test is fast."""
    count = 5 * 2**20
    matrix = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", count, 1)) + element(1, b"x")
    matrix += struct.pack("<II", 9, 8 * count)
    packed = zlib.compress(struct.pack("<II", 14, len(matrix) + 8 * count) + matrix + bytes(8 * count))
    data = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x100, 0x4D49) + struct.pack("<II", 15, len(packed))
    source = pathlib.Path(matlab_reader.__file__).read_text()
    assert matlab_reader.read_variables(data + packed, ["x"])["x"].shape == (count, 1)
    (tmp_path / "reader.py").write_text(source.replace("_SMALL = 2**28", "_SMALL = 2**22"))
    monkeypatch.setattr(matlab_reader, "__file__", str(tmp_path / "reader.py"))
    with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
        read(tmp_path, data + packed, "x")


@pytest.mark.parametrize(
    "value",
    [scipy.sparse.csc_matrix(np.eye(3)), {"field": 1.0}, np.array([(1, 2)], [("a", "O"), ("b", "O")])],
    ids=["sparse", "structure", "structures"],
)
def test_variables_of_other_kinds_are_refused(value):
    with pytest.raises(ValueError, match="x holds neither numbers nor text nor cells"):
        matlab_reader.read_variables(saved(x=value), ["x"])


@pytest.mark.parametrize("values", [[0.5], [np.nan], [np.inf], [1e300], [2.0**53], [1j], ["1"], [2**63]])
def test_what_is_no_whole_number(values):
    with pytest.raises(InputError, match="here holds something other than whole numbers below 2.53; fetch"):
        matlab.whole_numbers(np.array(values), "here", "fetch")
    assert matlab.whole_numbers(np.array([2.0**53 - 1, -3]), "here", "fetch").tolist() == [2**53 - 1, -3]
