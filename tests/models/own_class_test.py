"""Classes from outside the package by name: where they are looked for, and one line for what is not there."""

import sys

import pytest

from reid_jax import config as run_config
from reid_jax.errors import InputError
from reid_jax.models import own_class as module
from reid_jax.models.own_class import own_class

CLASS = """
import flax.linen as nn


class Net(nn.Module):
    identities: int
    depth: int = {depth}
    dtype: str = "float32"
    activation: object = None

    streams = (4,)

    def __call__(self, image, train):
        return image
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Leaves no module and no class behind."""
    monkeypatch.setattr(module, "_imported", {})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_in_the_working_directory_is_found_though_the_command_does_not_look_there(tmp_path, monkeypatch):
    (tmp_path / "net_of_here.py").write_text(CLASS.format(depth=2))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    found = own_class("net_of_here:Net")
    assert found(0).depth == 2
    assert str(tmp_path) not in sys.path
    assert own_class("net_of_here:Net") is found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere_at_all:Net", "there is no module nowhere_at_all; start from the folder that has it"),
        ("net_of_there:Nett", "net_of_there has no class Nett; did you mean Net"),
        ("net_of_there:nn", "net_of_there has no class nn"),
        ("broken_net:Net", "importing broken_net fails: ZeroDivisionError, broken_net.py line 2: division by zero"),
        ("needs_more:Net", "importing needs_more fails: ModuleNotFoundError, needs_more.py line 1: .*not_installed"),
        ("os:system", "os is a module of Python's own"),
        ("a/b.py:Net", "a class of your own is named MODULE:CLASS"),
        ("a:b:c", "a class of your own is named MODULE:CLASS"),
        (":", "a class of your own is named MODULE:CLASS"),
        ("a b:__import__('os')", "a class of your own is named MODULE:CLASS"),
        pytest.param(f"{'x' * 5000}:Net", "x…x", id="5,000 letters"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(tmp_path, monkeypatch, name, words):
    (tmp_path / "net_of_there.py").write_text(CLASS.format(depth=1))
    (tmp_path / "broken_net.py").write_text("one = 1\none / 0\n")
    (tmp_path / "needs_more.py").write_text("import not_installed\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        own_class(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def config_of(folder, text):
    (folder / "run.py").write_text(
        "from reid_jax import config\n\n\ndef get_config(arg=None):\n" + "".join(f"    {line}\n" for line in text)
    )
    return str(folder / "run.py")


def test_a_class_beside_the_config_is_found_by_its_file_and_by_the_command_line(tmp_path):
    (tmp_path / "net_beside.py").write_text(CLASS.format(depth=3))
    by_default = config_of(tmp_path, ["return config.default('net_beside:Net')"])
    assert set(run_config.load(by_default).model) == {"name", "depth", "dtype"}
    assert run_config.load(by_default, ["--config.model.depth=5"]).model.depth == 5
    # Of another class than the file's: its fields take the place of those that the file set, but for dtype.
    other = config_of(
        tmp_path, ["c = config.default()", "c.model.stem, c.model.dtype = 8, 'bfloat16'", "c.seed = 7", "return c"]
    )
    switched = run_config.load(
        other, ["--config.model.depth=4", "--config.seed=8", "--config.model.name=net_beside:Net"]
    )
    assert switched.model.to_dict() == {"name": "net_beside:Net", "depth": 4, "dtype": "bfloat16"}
    assert switched.seed == 8
    assert switched.is_locked
    back = run_config.load(by_default, ["--config.model.name=nano", "--config.model.widths=(16,16,16)"])
    assert back == run_config.check(back)
    assert (back.model.name, back.model.widths, back.model.logit_scale) == ("nano", (16, 16, 16), 16.0)


def test_only_the_name_of_another_class_brings_its_fields_and_those_of_another_are_refused(tmp_path):
    (tmp_path / "net_named.py").write_text(CLASS.format(depth=3))
    named = ["c = config.default()", "c.model.name = 'net_named:Net'", "{}", "return c"]
    plain = config_of(tmp_path, [line.format("c.model.dtype = 'bfloat16'") for line in named])
    assert run_config.load(plain).model.to_dict() == {"name": "net_named:Net", "depth": None, "dtype": "bfloat16"}
    changed = config_of(tmp_path, [line.format("c.model.stem = 8") for line in named])
    with pytest.raises(
        InputError, match=r"config\.model\.stem is no field of the network net_named:Net.*default\('net"
    ):
        run_config.load(changed)


def test_two_modules_of_one_name_are_told_apart(tmp_path):
    for depth in (1, 2):
        folder = tmp_path / str(depth)
        folder.mkdir()
        (folder / "net_twice.py").write_text(CLASS.format(depth=depth))
        config_of(folder, ["return config.default('net_twice:Net')"])
    run_config.load(str(tmp_path / "1" / "run.py"))
    run_config.load(str(tmp_path / "1" / "run.py"))
    with pytest.raises(
        InputError, match="net_twice:Net', which is in .*1/net_twice.py and in .*2/net_twice.py; rename"
    ):
        run_config.load(str(tmp_path / "2" / "run.py"))
