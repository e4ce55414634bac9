"""A network of a user's own, in a file outside the package, at all that is done with one of the package."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from places import ROOT

from reid_jax import config as run_config
from reid_jax import parallel
from reid_jax.averaging.batch_statistics import recalibrate
from reid_jax.data.augment import normalise
from reid_jax.errors import InputError
from reid_jax.main import main
from reid_jax.models import own_class
from reid_jax.models.registry import create_network
from reid_jax.models.summary import component_costs, total
from reid_jax.train import train_and_evaluate
from reid_jax.training.state import init_variables
from reid_jax.weights import AVERAGED, load_weights

FOLDER = ROOT / "tests" / "own_network"
CONFIG = FOLDER / "config.py"
NAME = "tiny_network:Tiny"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """The config: reading it makes the class known, which is not importable otherwise."""
    return run_config.load(str(CONFIG), [f"--config.data_dir={tmp_path_factory.mktemp('data')}"])


@pytest.fixture(scope="module")
def workdir(settings, tmp_path_factory):
    """What a run of a few steps leaves."""
    folder = tmp_path_factory.mktemp("runs") / "own"
    assert train_and_evaluate(settings, folder)
    return folder


def test_its_fields_are_keys_of_the_config(settings):
    assert set(settings.model) == {"name", "width", "logit_scale"}
    assert run_config.from_dict(run_config.to_dict(settings)) == settings
    assert run_config.load(str(CONFIG), ["--config.model.width=4"]).model.width == 4
    for override, words in (
        (
            "model.widths=4",
            r"config of the network tiny_network:Tiny; did you mean model.width\?",
        ),
        ("model.stem=8", "model.stem is no key of the config of the network tiny_network:Tiny"),
        ("model.width=wide", "model.width is 'wide'; it takes a whole number"),
    ):
        with pytest.raises(InputError, match=words):
            run_config.load(str(CONFIG), [f"--config.{override}"])


def test_its_cost_is_counted_by_hand():
    costs = component_costs(create_network(NAME, 5), (32, 16))
    assert list(costs) == ["Conv 0", "BatchNorm 0", "Conv 1", "BatchNorm 1", "the network itself", "classifiers"]
    assert costs["Conv 0"].multiply_adds == (16 * 8 * 8) * (3 * 3 * 3)
    assert costs["Conv 1"].multiply_adds == (16 * 8 * 8) * (3 * 3)
    assert costs["Conv 1"].parameters == 3 * 3 * 8 + 8
    assert costs["classifiers"].parameters == 8 * 5
    whole = total(costs)
    assert (whole.parameters, whole.statistics) == (3 * 3 * 3 * 8 + 3 * 3 * 8 + 8 + 4 * 8, 4 * 8)
    assert (whole.batch_norm_elements, whole.relu_elements) == (2 * 16 * 8 * 8, 16 * 8 * 8)


def test_the_statistics_of_flaxs_batch_norm_are_computed_anew():
    network = create_network(NAME, 3)
    variables = init_variables(network, jax.random.key(0), (32, 16))
    image = np.random.default_rng(0).integers(0, 256, (12, 32, 16, 3), np.uint8)
    anew = recalibrate(network, variables["params"], image, parallel.create_mesh(), batch=12)
    # One step in training moves running statistics a tenth of the way from (0, 1) to those of the batch.
    _, stepped = network.apply(variables, normalise(image), train=True, mutable=["batch_stats"])
    before, after = variables["batch_stats"], stepped["batch_stats"]
    wanted = jax.tree.map(lambda new, old: (new - 0.9 * old) / 0.1, after, before)
    assert jax.tree.structure(anew) == jax.tree.structure(wanted)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), anew, wanted)


def test_it_is_trained_scored_and_averaged_and_its_weights_are_read_again(workdir):
    (scores,) = json.loads((workdir / "results.json").read_text()).values()
    assert set(scores) == {"untrained", "trained", "swa", "swag"}
    last, averaged = load_weights(workdir), load_weights(workdir, AVERAGED)
    assert last.config.model.name == NAME
    assert type(last.network).__name__ == "Tiny"
    assert len(last.people) == 64
    assert averaged.moments.count == 2
    kernel = averaged.variables["params"]["Conv_0"]["kernel"]
    assert kernel.shape == (3, 3, 3, 8)
    np.testing.assert_array_equal(kernel, averaged.moments.mean["Conv_0"]["kernel"])


def test_the_verbs_take_it(workdir, tmp_path, capsys):
    Image.fromarray(np.full((40, 20, 3), 90, np.uint8)).save(tmp_path / "a.png")
    for arguments in (
        ["evaluate", f"--weights={workdir / AVERAGED}", "--swag_samples=2"],
        ["embed", f"--weights={workdir}", f"--images={tmp_path}", f"--out={tmp_path / 'a.npz'}"],
        ["summary", f"--config={CONFIG}"],
        ["report", str(workdir), f"--out={tmp_path / 'report'}"],
    ):
        assert main(arguments) == 0, capsys.readouterr().err
    report = (tmp_path / "report" / "report.md").read_text()
    assert "tiny" in report.replace("&#95;", "_")
    assert "near" not in report.split("A letter is")[0]
    out = capsys.readouterr().out
    assert "Conv 1" in out

    assert main(["visualize", "attention", f"--weights={workdir}", f"--out={tmp_path / 'a.png'}"]) == 2
    assert "Tiny has no attention maps to draw" in capsys.readouterr().err
    assert main(["bench", "embed", f"--config={CONFIG}", "--images=8", "--rounds=1"]) == 0
    capsys.readouterr()


def test_the_page_leaves_the_attention_out(workdir, tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    assert main(["visualize", "page", f"--weights={workdir}", f"--out={tmp_path / 'a.html'}", "--rows=1"]) == 0
    page = (tmp_path / "a.html").read_text()
    assert 'id="attention"' not in page
    assert 'id="ranked"' in page


def test_peers_without_a_form_of_it_are_told(monkeypatch, capsys):
    monkeypatch.setattr("reid_jax.bench.against.check", lambda names: None)
    assert main(["bench", "embed", f"--config={CONFIG}", "--against=torch"]) == 2
    assert "--against=torch has no form of Tiny; leave this peer out" in capsys.readouterr().err


def test_a_module_that_is_imported_is_named_before_its_code_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "a_module_of_theirs.py").write_text("raise OSError('it was run')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="OSError.*line 1: it was run"):
        own_class.own_class("a_module_of_theirs:Net")
    assert f"a class of {tmp_path / 'a_module_of_theirs.py'}, whose code is run" in capsys.readouterr().err


def test_weights_whose_class_is_nowhere_are_told(workdir, monkeypatch):
    monkeypatch.setattr(own_class, "_imported", {})
    monkeypatch.delitem(sys.modules, "tiny_network", raising=False)
    with pytest.raises(
        InputError, match="config.model.name is 'tiny_network:Tiny', but there is no module tiny_network"
    ):
        load_weights(workdir)
    monkeypatch.chdir(FOLDER)
    assert load_weights(workdir).network.width == 8


def test_its_parameters_are_float32(workdir):
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(load_weights(workdir).variables))
