"""A run's records on disk: written at once, cut where a run resumes, damaged lines left out."""

import json
import sys

import pytest

from reid_jax.errors import InputError
from reid_jax.training.metric_writer import MetricWriter, read_records, require_tensorboard


def write(workdir, steps, resume_step=0):
    writer = MetricWriter(workdir, resume_step, tensorboard=False)
    for step in steps:
        writer.write(step, step / 10, {"loss": 1 / step})
    writer.close()
    return writer


def test_records_are_json_lines_with_step_epoch_and_numbers(tmp_path):
    writer = write(tmp_path, [4, 8])
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 4, "epoch": 0.4, "loss": 0.25},
        {"step": 8, "epoch": 0.8, "loss": 0.125},
    ]
    assert writer.records == read_records(tmp_path / "metrics.jsonl")


def test_a_record_is_on_disk_before_the_next_step(tmp_path):
    writer = MetricWriter(tmp_path, 0, tensorboard=False)
    writer.write(4, 0.4, {"loss": 1.0})
    assert [record["step"] for record in read_records(tmp_path / "metrics.jsonl")] == [4]
    writer.close()


def test_resuming_cuts_records_after_the_step_and_writes_the_same_bytes(tmp_path):
    write(tmp_path, [4, 8, 12])
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    writer = MetricWriter(tmp_path, 8, tensorboard=False)
    assert [record["step"] for record in writer.records] == [4, 8]
    assert [record["step"] for record in read_records(tmp_path / "metrics.jsonl")] == [4, 8]
    writer.write(12, 1.2, {"loss": 1 / 12})
    writer.close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_torn_last_line_is_dropped(tmp_path):
    write(tmp_path, [4, 8, 12])
    file = tmp_path / "metrics.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    assert [record["step"] for record in read_records(file)] == [4, 8]
    write(tmp_path, [12], resume_step=8)
    assert file.read_bytes() == whole


BROKEN_LINES = [
    b"",
    b"{",
    b'{"step": 8, "epoch": 0.8, "lo',
    b"5",
    b"[8]",
    b"null",
    b'{"epoch": 0.8}',
    b'{"step": "8"}',
    b'{"step": 8.0}',
    b'{"step": true}',
    b'{"step": 8, "loss": [1]}',
    b'{"step": 8, "loss": "1"}',
    b'{"step": 8, "loss": NaN}',
    b'{"step": 8, "loss": 1e999}',
    b'{"step": 8, "loss": 1' + b"0" * 400 + b"}",
    b'{"step": 8, "loss": 1' + b"0" * 5_000 + b"}",
    b'{"step": 8, "\xff": 1}',
    b'{"step": 8, "loss": ' + b"[" * 200_000,
    bytes(60),
]


@pytest.mark.parametrize("line", BROKEN_LINES, ids=lambda line: line[:30])
def test_a_broken_line_costs_no_other(tmp_path, line):
    write(tmp_path, [4, 8, 12])
    file = tmp_path / "metrics.jsonl"
    first, _, last = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join((first, line, last, b"")))
    assert [record["step"] for record in read_records(file)] == [4, 12]
    writer = write(tmp_path, [16], resume_step=12)
    assert writer.damaged == 1
    assert [record["step"] for record in read_records(file)] == [4, 12, 16]
    assert write(tmp_path, [], resume_step=16).damaged == 0


def test_records_hold_null_for_what_is_not_finite(tmp_path):
    writer = MetricWriter(tmp_path, 0, tensorboard=False)
    writer.write(4, 0.4, {"loss": float("nan")})
    writer.close()
    assert writer.records == read_records(tmp_path / "metrics.jsonl") == [{"step": 4, "epoch": 0.4, "loss": None}]


def test_records_that_cannot_be_read_are_told(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(InputError, match=r"cannot read .*metrics\.jsonl: Is a directory"):
        read_records(tmp_path / "metrics.jsonl")


def test_a_new_run_starts_with_no_records(tmp_path):
    write(tmp_path, [4])
    assert write(tmp_path, [], resume_step=0).records == []
    assert read_records(tmp_path / "absent.jsonl") == []


def test_tensorboard_gets_the_same_numbers_where_it_is_installed(tmp_path):
    pytest.importorskip("tensorboardX")
    writer = MetricWriter(tmp_path, 0, tensorboard=True)
    writer.write(4, 0.4, {"loss": 1.0})
    writer.close()
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_tensorboard_that_is_missing_is_told_by_every_process(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    for tell in (require_tensorboard, lambda: MetricWriter(tmp_path, 0, tensorboard=True)):
        with pytest.raises(InputError, match=r"needs tensorboardX; pip install 'reid_jax\[tensorboard\]'"):
            tell()
