"""Where a run's figures go: JSON lines, TensorBoard where asked for, and files that are complete or not there."""

import contextlib
import errno
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from reid_jax.errors import InputError, shown
from reid_jax.json_text import parse_json
from reid_jax.leftovers import temporary_file


def replace_file(path: str | os.PathLike, write: Callable[[Path], object]) -> None:
    """Calls `write` with a temporary path beside `path`, of the same suffix, then renames: complete or not at all.

    Raises InputError where the folder cannot be written.
    """
    path = Path(path)
    temporary = temporary_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; give a file in a writable folder") from error
    finally:
        with contextlib.suppress(OSError):  # a parent that is a file, which the error above tells
            temporary.unlink(missing_ok=True)


def require_writable(option: str, path: str | os.PathLike, ending: str = "") -> None:
    """Raises InputError, naming the option, where a file could not be written at `path` later, or ends otherwise.

    Nothing is made: the nearest folder that is there is tried with a file without a name.
    """
    name = os.fspath(path)
    if name and ending and Path(name).suffix.lower() != ending:
        raise InputError(f"{option} is {shown(name)!r}; it must end in {ending}")
    with _refusing(option, name):
        path = Path(name)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder; give a file")
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is no plain file")
        _look_at(path.with_name(f".{os.getpid()}.{path.name}"))  # as `replace_file` names it first
        _try_to_write(path.parent)


def require_writable_folder(option: str, path: str | os.PathLike) -> None:
    """Raises InputError, naming the option, where files could not be written into the folder `path` later."""
    name = os.fspath(path)
    with _refusing(option, name):
        _look_at(Path(name))
        _try_to_write(Path(name))


@contextlib.contextmanager
def _refusing(option: str, name: str) -> Iterator[None]:
    try:
        if not name:
            raise ValueError("name the place to write to")
        yield
    except (OSError, ValueError) as error:  # a ValueError is a name with a NUL in it, too
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{option} is {shown(name)!r}, which cannot be written: {reason}") from error


def _look_at(path: Path) -> None:
    """Raises OSError or ValueError for what no file can be called."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.lstat()


def _try_to_write(folder: Path) -> None:
    """Raises OSError where no file can be made in the folder, or in the nearest one above it that is there."""
    folder = folder.absolute()
    present = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    tempfile.TemporaryFile(dir=present).close()


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON, complete or not at all; raises InputError where it cannot be written.

    Numbers that are not finite become null: JSON has no word for them.
    """
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: str | os.PathLike) -> Any:
    """Reads a JSON file; None where there is none. Raises InputError where it is no JSON or cannot be read."""
    path = Path(path)
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot read {shown(path)}: {error.strerror or error}") from error
    except InputError as error:
        raise InputError(f"{shown(path)} {error}") from error


def read_records(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads JSON lines {'step': whole number, 'epoch': number, name: number or null...}; other lines are left out.

    Raises InputError where the file cannot be read.
    """
    return _read_records(Path(path))[0]


def is_number(value: Any) -> bool:
    """Whether a value read from JSON is a number that a float can hold."""
    return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max


def _read_records(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records, and how many lines are none; a last one that a killed process left unfinished is not counted."""
    try:
        *lines, unfinished = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise InputError(f"cannot read {shown(path)}: {error.strerror or error}") from error
    records = [_record(line) for line in (*lines, unfinished)]
    return [record for record in records if record is not None], records[:-1].count(None)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = parse_json(line)
    except InputError:
        return None
    if not isinstance(record, dict) or not all(value is None or is_number(value) for value in record.values()):
        return None
    step, epoch = record.get("step"), record.get("epoch")
    return record if type(step) is int and step >= 0 and epoch is not None and epoch >= 0 else None


def require_tensorboard() -> None:
    """Raises InputError where tensorboardX is missing: an extra, known before long work."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise InputError(
            "config.tensorboard needs tensorboardX; pip install 'reid_jax[tensorboard]', or switch it off"
        ) from error


class MetricWriter:
    """Appends one record {'step', 'epoch', name: number...} a call to `metrics.jsonl`, and to TensorBoard.

    Records after `resume_step` are taken out first: a resumed run writes them again, the same. So are `damaged` lines,
    their number: those that are no records. Only process 0 writes.
    """

    def __init__(self, workdir: Path, resume_step: int, tensorboard: bool):
        """Raises InputError where `tensorboard` asks for what `require_tensorboard` misses, or a file is unwritable."""
        records, self.damaged = _read_records(workdir / "metrics.jsonl")
        self.records = [record for record in records if record["step"] <= resume_step]
        self._file = self._board = None
        if jax.process_index() != 0:
            return
        path = workdir / "metrics.jsonl"
        text = "".join(json.dumps(record) + "\n" for record in self.records)
        replace_file(path, lambda temporary: temporary.write_text(text))
        self._file = path.open("a")
        if tensorboard:
            require_tensorboard()
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=resume_step + 1)

    def write(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        """Writes the metrics of `step`; they are on disk when it returns."""
        record = _finite({"step": step, "epoch": epoch, **{name: float(value) for name, value in metrics.items()}})
        self.records.append(record)
        if self._file is not None:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        if self._board is not None:
            for name, value in metrics.items():
                self._board.add_scalar(name, float(value), step)

    def close(self) -> None:
        """Closes the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
