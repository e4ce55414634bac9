"""`reid-jax visualize`: help of each action, one line for whatever is wrong, and each picture from real weights."""

import json
import os
import re
import sys

import pytest
from made_variables import made_variables
from PIL import Image
from places import TINY_CONFIG

from reid_jax import config as run_config
from reid_jax.main import main
from reid_jax.models.registry import network_of
from reid_jax.verbs.visualize import ACTIONS, page
from reid_jax.verbs.visualize.options import labels
from reid_jax.weights import Weights, load_weights, save_weights

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")


def run(capsys, *arguments):
    """Runs the command in this process: (exit code, stdout, stderr)."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as left:  # how argparse leaves
        code = left.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """What a run on a handful of synthetic people leaves, with weights that were never trained."""
    folder = tmp_path_factory.mktemp("runs") / "few"
    config = run_config.load(str(TINY_CONFIG), [])
    config.dataset = "synthetic:train_identities=2,test_identities=4,cameras=2,images_per_camera=2"
    config.data_dir = str(tmp_path_factory.mktemp("data"))
    network = network_of(config, 2)
    save_weights(folder / "weights.safetensors", Weights(config, 2, made_variables(network, config.image_size)))
    (folder / "config.json").write_text(json.dumps(run_config.to_dict(config)))
    records = [{"step": step, "epoch": step / 2, "loss": 3.0 / step} for step in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.mark.parametrize("action", ACTIONS)
def test_help_of_each_action_shows_examples_that_parse(capsys, action):
    code, out, _ = run(capsys, "visualize", action, "--help")
    assert code == 0
    examples = [line.split() for line in out.split("examples:\n")[1].splitlines() if line.startswith("  reid-jax ")]
    assert examples
    for _, verb, named, *options in examples:
        assert (verb, named) == ("visualize", action)
        for option in options:
            name = option.partition("=")[0]
            assert not name.startswith("--") or name in out
    assert f"    {action} " in run(capsys, "visualize", "--help")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ("{page,ranked,attention,map,curves,training}",)),
        (["pgae"], ("'pgae'", "page")),
        (["page", "--weights=a"], ("--out",)),
        (["page", "--weights=a", "--out=a.png"], ("a.png", ".html")),
        (["page", "--weights=a", "--out=a.html", "--rows=0"], ("--rows", "0")),
        (["page", "--weights=a", "--out=a.html", "--items=3"], ("--items", "3", "8")),
        (["page", "--weights=a", "--out=a.html", "--rerank_weight=2"], ("--rerank_weight", "2")),
        (["page", "--weights=a", "--out=a.html", "--query_height=8,0"], ("--query_height", "'8,0'")),
        (["page", "--weights=a", "--out=a.html", "--query_height=8", "--multi_query"], ("--query_height", "single")),
        (["ranked", "--weights=a", "--out=a.jpg"], ("a.jpg", ".png")),
        (["ranked", "--weights=a", "--out=a.png", "--top=0"], ("--top", "0")),
        (["ranked", "--weights=a", "--out=a.png", "--order=middle"], ("'middle'", "worst")),
        (["ranked", "--weights=/nowhere/a", "--out=a.png"], ("/nowhere/a", "does not exist")),
        (["attention", "--weights=a", "--out=a.png", "--seed=-1"], ("--seed", "-1")),
        (["map", "--weights=a", "--out=a.png", "--identities=0"], ("--identities", "from 1 to 42")),
        (["curves", "--weights=a", "--weights=./a", "--out=a.png"], ("named twice",)),
        (["map", "--weights=a", "--out=a.png", "--color=shoes"], ("'shoes'", "camera")),
        (["curves", "--weights", "a", "./a", "--out=a.png"], ("named twice",)),
        (["training", "--workdir=/nowhere/run", "--out=a.png"], ("/nowhere/run", "metrics.jsonl")),
        (["training", "--workdir=a", "--out=a.png", "--rows=3"], ("--rows=3",)),
    ],
)
def test_what_is_wrong_is_told_in_one_line(capsys, arguments, words):
    code, out, err = run(capsys, "visualize", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


def test_missing_packages_are_told_before_anything_is_computed(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    code, _, err = run(capsys, "visualize", "map", "--weights=/nowhere/a", "--out=a.png")
    assert code == 2
    assert "scikit-learn" in err
    assert "reid_jax[plot]" in err


@pytest.mark.parametrize(
    ("action", "options", "files"),
    [
        ("page", ["--rows=1", "--flip", "--query_height=32,16"], ["out.html"]),
        ("ranked", ["--order=best", "--rows=2"], ["out.png", "out.png.csv", "out.png.json"]),
        ("attention", ["--rows=2", "--split=train"], ["out.png", "out.png.json"]),
        ("map", ["--items=16", "--color=camera"], ["out.png", "out.png.csv", "out.png.json"]),
        ("curves", [], ["out.png", "out.png.json"]),
        ("training", [], ["out.png"]),
    ],
)
def test_each_action_writes_its_files(capsys, workdir, tmp_path, action, options, files):
    source = "--workdir" if action == "training" else "--weights"
    out = tmp_path / ("out.html" if action == "page" else "out.png")
    code, told, err = run(capsys, "visualize", action, f"{source}={workdir}", f"--out={out}", *options)
    assert code == 0, err
    assert str(out) in told
    assert sorted(os.listdir(tmp_path)) == files
    if action == "page":
        text = out.read_text(encoding="utf-8")
        assert "<h1>few on synthetic</h1>" in text
        assert "flipped images averaged" in text
        assert '<section id="training">' in text
        assert '<section id="attention">' in text
        heights = text.partition('<section id="height">')[2].partition("</section>")[0]
        assert re.findall(r'<th scope="row" class="number">(\d+)</th>', heights) == ["64", "32", "16"]
        return
    with Image.open(out) as image:
        assert image.format == "PNG"
    if action == "ranked":
        assert len(json.loads((tmp_path / "out.png.json").read_text())["rows"]) == 2
    if action == "map":
        items = json.loads((tmp_path / "out.png.json").read_text())["items"]
        assert {item["side"] for item in items} == {"query", "gallery"}
    if action == "curves":
        assert list(json.loads((tmp_path / "out.png.json").read_text())) == ["few"]


def test_queries_are_not_scaled_up(capsys, workdir, tmp_path):
    out = tmp_path / "out.html"
    code, _, err = run(capsys, "visualize", "page", f"--weights={workdir}", f"--out={out}", "--query_height=32,64")
    assert code == 2
    assert "--query_height has 64, but" in err
    assert "images of 64 rows" in err


def test_several_runs_are_named_as_short_as_they_differ(tmp_path):
    assert labels(["runs/1x", "runs/2x.safetensors"]) == ["1x", "2x"]
    assert labels(["a/1x", "b/1x", "b/v2.0"]) == ["a/1x", "b/1x", "b/v2.0"]
    assert labels(["runs/1x"]) == ["1x"]


def test_a_picture_replaces_no_table_and_no_results(capsys, workdir, tmp_path):
    for name in ("shop.csv", "shop.json"):
        (tmp_path / name).write_text("mine")
    code, _, err = run(capsys, "visualize", "ranked", f"--weights={workdir}", f"--out={tmp_path / 'shop.png'}")
    assert code == 0, err
    assert {(tmp_path / name).read_text() for name in ("shop.csv", "shop.json")} == {"mine"}


@pytest.mark.parametrize("split", ["query", "train"])
def test_a_picture_does_not_replace_the_table_of_its_images(capsys, workdir, tmp_path, split):
    table, image = tmp_path / "people.png", tmp_path / "a.jpg"
    Image.new("RGB", (32, 64)).save(image)
    table.write_text("path,identity,camera,split\na.jpg,1,1,train\na.jpg,1,1,query\na.jpg,1,1,gallery\n")
    arguments = (f"--weights={workdir}", f"--out={table}", f"--dataset=csv:{table}", f"--split={split}")
    code, _, err = run(capsys, "visualize", "attention", *arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert "people.png" in err
    assert table.read_text().startswith("path,identity")


def test_a_page_has_the_curves_of_no_other_run(workdir, tmp_path, monkeypatch):
    weights = load_weights(workdir)
    assert page._workdir_of(str(workdir), weights) == workdir
    assert page._workdir_of(str(workdir / "weights.safetensors"), weights) == workdir
    other = tmp_path / "weights.safetensors"
    save_weights(other, weights)
    assert page._workdir_of(str(other), weights) is None
    settings = json.loads((workdir / "config.json").read_text())
    for text in ("{", "5", json.dumps({**settings, "seed": settings["seed"] + 1})):
        (tmp_path / "config.json").write_text(text)
        assert page._workdir_of(str(other), weights) is None
    monkeypatch.chdir(workdir)
    assert page._workdir_of("zoo:street", weights) is None
