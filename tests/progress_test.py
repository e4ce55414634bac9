"""Progress on stderr: bars after a delay, on process 0 alone, and notes once."""

import sys

import pytest

from reid_jax import progress


class Joined:
    """What progress asks of JAX, as on one of several processes."""

    def __init__(self, index):
        self.distributed = self
        self.process_index = lambda: index

    @staticmethod
    def is_initialized():
        return True


@pytest.fixture
def no_delay(monkeypatch):
    monkeypatch.setattr(progress, "_DELAY", 0)


def test_a_bar_counts_and_shows_its_name_and_unit(no_delay, capsys):
    with progress.progress_bar(4, "decoding") as bar:
        bar.update(3)
        bar.update()
        assert bar.n == 4
    assert list(progress.with_progress(iter("abc"), "ranking", "tiles", 3)) == ["a", "b", "c"]
    said = capsys.readouterr()
    assert said.out == ""
    assert "decoding: 100%" in said.err
    assert "4/4" in said.err
    assert "ranking: 100%" in said.err
    assert " tiles/s" in said.err


def test_short_work_and_work_without_a_name_show_nothing(capsys):
    list(progress.with_progress([1, 2], "quick", "blocks"))
    with progress.progress_bar(1, "") as bar:
        bar.update()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("index", [0, 1])
def test_of_several_processes_the_first_alone_speaks(no_delay, capsys, monkeypatch, index):
    monkeypatch.setitem(sys.modules, "jax", Joined(index))
    assert list(progress.with_progress([1], "ranking", "tiles")) == [1]
    progress.announce("placing 8 descriptors")
    progress.tell(f"seen by {index}")
    said = capsys.readouterr().err
    for words in ("ranking", "placing 8 descriptors\n", f"note: seen by {index}\n"):
        assert (words in said) == (index == 0)


def test_a_note_is_written_once(capsys):
    for _ in range(2):
        progress.tell("the folder has another name")
    assert capsys.readouterr().err == "note: the folder has another name\n"
