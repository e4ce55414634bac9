"""A run's metrics by step: `metrics.jsonl`, one JSON record a line, and TensorBoard where asked for."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from reid_jax.errors import InputError, shown
from reid_jax.files.json_files import finite, is_number
from reid_jax.files.json_text import parse_json
from reid_jax.files.writing import replace_file


def read_records(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads JSON lines {'step': whole number, 'epoch': number, name: number or null...}; other lines are left out.

    Raises InputError where the file cannot be read.
    """
    return _read_records(Path(path))[0]


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
        record = finite({"step": step, "epoch": epoch, **{name: float(value) for name, value in metrics.items()}})
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
