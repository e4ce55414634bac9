"""OSNet at all that is done with a network: trained, averaged, scored, embedded, drawn, measured and reported."""

import json

import numpy as np
import pytest
from PIL import Image
from places import ROOT

from reid_jax import config as run_config
from reid_jax.main import main
from reid_jax.train import train_and_evaluate
from reid_jax.weights import AVERAGED, load_weights

CONFIG = f"--config={ROOT / 'configs' / 'osnet.py'}:size=x0_25,runlocal"
SMALL = {
    "dataset": "synthetic:train_identities=6,test_identities=4,cameras=2,images_per_camera=2",
    "val_identities": "0",
    "image_size": "(32,16)",
    "model.repeats": "(1,1,1)",
    "model.scales": "2",
    "batch.images": "2",
    "augment.pad": "2",
    "schedule.name": "cyclic_cosine",
    "schedule.cycle_epochs": "1.0",
    "schedule.peak": "0.02",
    "swag.collect": "True",
    "swag.samples": "2",
    "sheet_queries": "2",
}


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    """The config of the smallest OSNet, cut down to a block of two streams a stage and a few steps on small images."""
    settings = SMALL | {"data_dir": tmp_path_factory.mktemp("data")}
    return [CONFIG, *(f"--config.{key}={value}" for key, value in settings.items())]


@pytest.fixture(scope="module")
def workdir(overrides, tmp_path_factory):
    """What the run leaves."""
    folder = tmp_path_factory.mktemp("runs") / "osnet"
    file, *rest = overrides
    assert train_and_evaluate(run_config.load(file.removeprefix("--config="), rest), folder)
    return folder


def test_it_is_trained_scored_and_averaged(workdir):
    (scores,) = json.loads((workdir / "results.json").read_text()).values()
    assert set(scores) == {"untrained", "trained", "swa", "swag"}
    last, averaged = load_weights(workdir), load_weights(workdir, AVERAGED)
    assert last.config.model.name == "osnet_x0_25"
    assert (last.identities, last.network.streams, last.network.classifier_bias) == (6, (512,), True)
    assert averaged.moments.count == 2
    kernel = averaged.variables["params"]["stage1"]["block1"]["stream2_lite2"]["pointwise"]["kernel"]
    assert kernel.shape == (16, 16)
    assert np.any(kernel != last.variables["params"]["stage1"]["block1"]["stream2_lite2"]["pointwise"]["kernel"])


def test_the_verbs_take_it(workdir, overrides, tmp_path, capsys):
    Image.fromarray(np.full((40, 20, 3), 90, np.uint8)).save(tmp_path / "a.png")
    for arguments in (
        ["evaluate", f"--weights={workdir / AVERAGED}", "--swag_samples=2"],
        ["embed", f"--weights={workdir}", f"--images={tmp_path}", f"--out={tmp_path / 'a.npz'}"],
        ["summary", *overrides],
        ["bench", "embed", *overrides, "--images=8", "--rounds=1"],
        ["report", str(workdir), f"--out={tmp_path / 'report'}"],
    ):
        assert main(arguments) == 0, capsys.readouterr().err
    assert "stage3" in capsys.readouterr().out
    assert "osnet" in (tmp_path / "report" / "report.md").read_text().replace("&#95;", "_")


def test_it_is_drawn_without_attention(workdir, tmp_path, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    assert main(["visualize", "page", f"--weights={workdir}", f"--out={tmp_path / 'a.html'}", "--rows=1"]) == 0
    page = (tmp_path / "a.html").read_text()
    assert 'id="ranked"' in page
    assert 'id="attention"' not in page
    assert main(["visualize", "ranked", f"--weights={workdir}", f"--out={tmp_path / 'a.png'}"]) == 0
    assert Image.open(tmp_path / "a.png").size[0] > 100
    capsys.readouterr()
    assert main(["visualize", "attention", f"--weights={workdir}", f"--out={tmp_path / 'b.png'}"]) == 2
    assert "OSNet has no attention maps to draw" in capsys.readouterr().err
