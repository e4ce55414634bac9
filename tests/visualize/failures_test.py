"""What the pictures share: whatever goes wrong in drawing is one line, and settings of Matplotlib change no picture."""

import os
import subprocess
import sys

import pytest
from places import ROOT

from reid_jax import visualize
from reid_jax.errors import InputError
from reid_jax.visualize import failures

RECORDS = [{"step": step, "epoch": step / 4, "loss": 1 / step} for step in (1, 2, 3)]


@pytest.mark.parametrize(
    "error",
    [ValueError("bad\nvalue"), MemoryError(), OSError(28, "No space left on device"), RuntimeError("no latex")],
    ids=lambda error: type(error).__name__,
)
def test_whatever_goes_wrong_is_one_line_that_names_the_picture(tmp_path, monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(visualize.training, "training_figure", fails)
    with pytest.raises(InputError, match=rf"curves\.png cannot be drawn: {type(error).__name__}") as raised:
        visualize.training_curves(tmp_path / "curves.png", RECORDS)
    assert "\n" not in str(raised.value)
    assert not any(tmp_path.iterdir())


def test_what_is_wrong_with_the_input_is_told_as_it_is(tmp_path):
    with pytest.raises(InputError, match=r"^none of 1 records"):
        visualize.training_curves(tmp_path / "curves.png", [{"step": 1}])


def test_a_broken_package_is_told(monkeypatch):
    def broken(name):
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    monkeypatch.setattr(failures.importlib, "import_module", broken)
    for package in ("matplotlib", "scikit-learn"):
        with pytest.raises(InputError, match=f"{package} cannot be loaded: UnicodeDecodeError"):
            failures.require(package)


def test_settings_of_matplotlib_change_no_byte(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    visualize.training_curves(tmp_path / "a.png", RECORDS)
    with matplotlib.rc_context({"text.usetex": True, "font.size": 40, "font.family": "no such font"}):
        visualize.training_curves(tmp_path / "b.png", RECORDS)
        assert matplotlib.rcParams["font.size"] == 40
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_notebooks_backend_that_is_missing_here_is_no_hindrance(tmp_path):
    pytest.importorskip("matplotlib")
    program = (
        "import sys; from reid_jax import visualize\n"
        "visualize.training_curves(sys.argv[1], [{'step': 1, 'loss': 1.0}, {'step': 2, 'loss': 0.5}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.png"],
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": "module://no_such_package.backend"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").stat().st_size
