"""The gallery's bench: the same vectors every time, answers held against a peer's, figures and the command."""

import json

import numpy as np
import pytest

from reid_jax.bench import gallery as bench
from reid_jax.errors import InputError
from reid_jax.main import main


def test_made_vectors_are_unit_people_and_the_same_every_time(monkeypatch):
    monkeypatch.setattr(bench, "_BATCH", 40)
    rows, vectors = zip(*bench._made(100, 64), strict=True)
    assert [len(each) for each in rows] == [40, 40, 20]
    again = np.concatenate([each for _, each in bench._made(100, 64)])
    vectors = np.concatenate(vectors)
    np.testing.assert_array_equal(vectors, again)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    product = vectors @ vectors.T
    assert product[0, 1:10].min() > product[0, 10:].max()


def test_the_command_measures_and_writes(tmp_path, capsys):
    line = ["bench", "gallery", "--entries=300", "--dimensions=16", "--rounds=1", f"--gallery={tmp_path / 'g'}"]
    assert main([*line, f"--json={tmp_path / 'out.json'}"]) == 0
    said = capsys.readouterr().out
    assert "search one camera of 20, queries at a time: 32" in said
    figures = json.loads((tmp_path / "out.json").read_text())
    assert (figures["entries"], len(figures["searches"])) == (300, 4)
    assert figures["disk"] > 300 * 16 * 4
    assert main(line) == 2
    assert "holds entries already" in capsys.readouterr().err


def test_faiss_finds_the_same(tmp_path):
    pytest.importorskip("faiss", reason="pip install faiss-cpu")
    measured = bench.bench_gallery(str(tmp_path / "g"), 500, 32, 1, ["faiss"])
    assert [contest.results[1].contestant.difference for contest in measured.searches.values()] == [0, 0, 0, 0]


def test_a_server_without_an_index_says_so_before_it_is_filled(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "_fill", lambda *_: pytest.fail("it was filled"))
    with pytest.raises(InputError, match="has no index"):
        bench.bench_gallery(str(tmp_path / "g"), 10, 8, 1, [], approximate=True)
