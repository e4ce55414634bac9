"""The command: help with examples, one line for whatever is wrong, and what the short verbs print and write."""

import argparse
import importlib
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from places import ROOT, TINY_CONFIG

from reid_jax.main import VERBS, main

ROBUST = ROOT / "configs" / "robust_reid.py"
TRAIN = ["train", f"--config={TINY_CONFIG}", "--workdir=/nowhere/a"]


def run(capsys, *arguments) -> tuple[int, str, str]:
    """Runs the command in this process: (exit code, stdout, stderr)."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as left:  # how argparse leaves
        code = left.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments) -> str:
    """The one line on stderr of a command that exits with 2."""
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert err.startswith("reid-jax")
    return err


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_shows_examples_that_parse(capsys, verb):
    code, out, _ = run(capsys, *([verb] if verb else []), "--help")
    assert code == 0
    examples = out.split("examples:\n")[1].splitlines()
    assert examples
    assert any(line.startswith(f"  reid-jax {verb or ''}".rstrip() + " ") for line in examples)
    for line in filter(lambda line: line.startswith("  reid-jax "), examples):
        _, named, *options = line.split()
        help_of = run(capsys, named, "--help")[1]
        for option in options:
            name = option.partition("=")[0]
            if (
                name.startswith("--")
                and not name.startswith("--config.")
                and named not in ("data", "visualize", "bench", "track")
            ):
                assert name in help_of


def actions_of(parser):
    """What a parser takes, and what those of its actions do."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from actions_of(inner)
        else:
            yield action


@pytest.mark.parametrize("verb", VERBS)
def test_an_option_of_several_values_may_be_repeated(verb):
    parser = argparse.ArgumentParser()
    importlib.import_module(f"reid_jax.verbs.{verb}").add_arguments(parser)
    several = [action for action in actions_of(parser) if action.nargs == "+" and action.option_strings]
    for action in several:
        assert isinstance(action, argparse._ExtendAction), action.option_strings
        assert not action.default  # what is given would be added to it


def test_help_lists_every_verb(capsys):
    _, out, _ = run(capsys, "--help")
    for verb, text in VERBS.items():
        assert verb in out
        assert text.split()[0] in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ("VERB",)),
        (["tarin"], ("'tarin'", "train")),
        (["--verbose"], ("VERB",)),
        (["train"], ("--config", "--workdir")),
        (["train", f"--config={TINY_CONFIG}", "--workdir=/nowhere/a", "--wrokdir=b"], ("--wrokdir=b",)),
        (["train", f"--config={TINY_CONFIG}", "--workdir=/nowhere/a", "--config.seeed=1"], ("seeed", "mean seed?")),
        (["train", f"--config={TINY_CONFIG}", "--workdir=/nowhere/a", "--config.seed=x"], ("config.seed", "'x'")),
        (["train", "--config=configs/absent.py", "--workdir=/nowhere/a"], ("configs/absent.py", "no file")),
        (["evaluate", "--weights=a", "--config.seed=1"], ("evaluate", "--config.seed=1")),
        (["evaluate", "--weights=/nowhere/run"], ("/nowhere/run", "does not exist")),
        (["evaluate", f"--weights={ROOT / 'reid_jax'}"], ("no workdir of a run", "config.json")),
        (["evaluate", f"--weights={TINY_CONFIG}"], ("tiny_config.py", "no readable safetensors")),
        (["embed", "--weights=a", "--images=/nowhere/crops", "--out=a.npz"], ("/nowhere/crops", "no folder")),
        (["embed", "--weights=a", f"--images={TINY_CONFIG}", "--out=a.npz"], ("tiny_config.py", "no zip")),
        (["embed", "--weights=a", f"--images={ROOT / 'tests'}", "--out=a.npy"], ("a.npy", ".npz")),
        (["embed", "--weights=a", f"--images={ROOT / 'configs'}", "--out=a.npz"], ("configs", "no image")),
        (["convert", "--torch=/nowhere/a.pth", "--out=a.safetensors"], ("/nowhere/a.pth",)),
        (["summary", f"--config={ROBUST}", "--identities=many"], ("--identities", "'many'")),
        (["summary", f"--config={ROBUST}:size=9x"], ("'9x'", "2x_table")),
        (["summary", f"--config={ROBUST}", "--config.model.name=resnet"], ("'resnet'", "hacnn")),
        (["summary", f"--config={ROBUST}", "--config.image_size=(150,64)"], ("150", "multiples of 32")),
        (["visualize", "ranked", "--weights=a", "--out=a.jpg"], ("a.jpg", ".png")),
        (["visualize", "ranked", "--weights=a", "--out=a.png", "--rows=0"], ("--rows", "0")),
        (["visualize", "rankde"], ("'rankde'", "page")),
        (["evaluate", "--weights=a", "--query_height=80,x"], ("--query_height", "'80,x'")),
        (["evaluate", "--weights=a", "--height_curve=a.png"], ("--height_curve", "--query_height")),
        (["evaluate", "--weights=a", "--risk_curve=a.png"], ("--risk_curve", "--swag_samples")),
        (["evaluate", "--weights=a", "--query_height=8", "--height_curve=a.jpg"], ("a.jpg", ".png")),
        (["evaluate", "--weights=a", "--swag_samples=-1"], ("--swag_samples", "-1")),
        (["evaluate", "--weights=a", "--swag_samples=2", "--multi_query"], ("--swag_samples", "--multi_query")),
        (["evaluate", "--weights=a", "--embeddings=a.npy"], ("a.npy", ".npz")),
        (["evaluate", "--weights=a", "--rerank", "--single_gallery_shot"], ("--single_gallery_shot", "--rerank")),
        (["evaluate", "--weights=a", "--query_expansion=-1"], ("--query_expansion", "-1")),
        (["bench", "rank", "--rounds=0"], ("--rounds", "0")),
        (["bench", "rank", "--size=huge"], ("'huge'", "msmt17")),
        (["bench", "rank", "--dimensions=-1"], ("--dimensions", "'-1'", "from 1")),
        (["bench", "rank", f"--rounds={'9' * 5000}"], ("--rounds", "9…9", "from 1")),
        (["bench", "rank", "--json=/dev/null"], ("--json", "no plain file")),
        (["summary", f"--config={ROBUST}", "--identities=-1"], ("--identities", "'-1'", "from 0")),
        (["evaluate", "--weights=a", "--k1=0"], ("--k1", "'0'", "from 1")),
        (["evaluate", "--weights=a", "--rerank_weight=nan"], ("--rerank_weight", "'nan'", "from 0 to 1")),
        (["evaluate", "--weights=a", "--draws=1.5"], ("--draws", "'1.5'", "whole number")),
        (["evaluate", "--weights=a", f"--query_height={'9' * 5000}"], ("--query_height", "9…9", "80,40,20")),
        (["evaluate", "--weights=a", f"--json={TINY_CONFIG}/a.json"], ("--json", "tiny_config.py/a.json", "written")),
        (
            ["evaluate", "--weights=a", f"--embeddings={TINY_CONFIG}/a.npz"],
            ("--embeddings", "py/a.npz", "cannot be written"),
        ),
        (["evaluate", "--weights=a", "--jsn=a"], ("--jsn=a", "did you mean --json?")),
        (["embed", "--weights=a", f"--images={ROOT}", f"--out={TINY_CONFIG}/a.npz"], ("--out", "cannot be written")),
        (["convert", "--torch=a.pth", "--out=a.pth"], ("--out", ".safetensors")),
        (["visualize", "page", "--weights=a", f"--out={TINY_CONFIG}/a.html"], ("--out", "cannot be written")),
        (["visualize", "map", "--weights=a", "--out=a.png", "--items=1"], ("--items", "'1'")),
        (["data", "check", "--dataset=a", "--data_dir=b", f"--json={TINY_CONFIG}/a"], ("--json", "Not a directory")),
        (["data", "synthesize", "--out="], ("--out", "name the place")),
        (["data", "synthesize", f"--out={TINY_CONFIG}"], ("--out", "Not a directory")),
        (["report", str(ROOT), f"--out={TINY_CONFIG}"], ("--out", "Not a directory")),
        ([*TRAIN, "--config.epochs", "3"], ("write --config.epochs=3",)),
        ([*TRAIN, "-config.epochs=3"], ("-config.epochs=3", "did you mean --config.epochs?")),
        ([*TRAIN, "--epochs=3"], ("--epochs=3", "did you mean --config.epochs?")),
        ([*TRAIN, "--lr=3"], ("--lr=3", "did you mean --config.schedule.peak?")),
        ([*TRAIN, "--config.lr=3"], ("config.lr", "did you mean schedule.peak?")),
        ([*TRAIN, "--config.model=nano"], ("write --config.model.name=nano",)),
        (["train", f"--config={TINY_CONFIG}", "-workdir=a"], ("-workdir=a", "did you mean --workdir?")),
        (["train", f"--config={TINY_CONFIG}", "--WorkDir=a"], ("--WorkDir=a", "did you mean --workdir?")),
        (["data"], ("{check,prepare,synthesize}",)),
        (["data", "chekc"], ("'chekc'",)),
        (["data", "check", "--dataset=market", "--data_dir=/nowhere"], ("'market'", "market1501")),
        (["data", "prepare", "--dataset=market1501", "--data_dir=/nowhere"], ("/nowhere",)),
        (["data", "prepare", "--data_dir=/nowhere"], ("--dataset", "--prune")),
        (["data", "prepare", "--data_dir=/nowhere", "--prune"], ("/nowhere", "does not exist")),
    ],
)
def test_what_is_wrong_is_told_in_one_line(capsys, arguments, words):
    line = refused(capsys, *arguments)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "--weights=~/absent"],
        ["visualize", "training", "--workdir=~/absent", "--out=a.png"],
        ["embed", "--weights=a", "--images=~/absent", "--out=a.npz"],
        ["summary", "--config=~/absent"],
        ["convert", "--torch=~/absent", "--out=a.safetensors"],
        ["data", "prepare", "--dataset=market1501", "--data_dir=~/absent"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_tilde_behind_the_equals_sign_is_the_home_folder(capsys, monkeypatch, tmp_path, arguments):
    monkeypatch.setenv("HOME", str(tmp_path))  # libraries may write there
    assert f"{tmp_path}/absent" in refused(capsys, *arguments)


def test_the_command_itself_exits_with_2_and_no_traceback(command):
    done = command("evaluate", "--weights=/nowhere/run")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("reid-jax evaluate: error: /nowhere/run does not exist")
    assert done.stderr.count("\n") == 1


def test_pruning_tells_what_it_removes(capsys, tmp_path):
    left = tmp_path / ".synthetic-train14-abc"
    left.mkdir()
    (left / "half").write_bytes(bytes(2**20))
    for path in (left / "half", left):
        os.utime(path, (0, 0))
    code, out, _ = run(capsys, "data", "prepare", f"--data_dir={tmp_path}", "--prune")
    assert (code, left.exists()) == (0, False)
    assert out.splitlines() == [
        f"removed {left}, half-drawn by a process that has died: 1.0 MiB",
        f"removed 1 folder(s) of {tmp_path}, 1.0 MiB",
    ]


@pytest.mark.parametrize("platforms", ["nonsense", "cpu,nonsense"])
def test_a_platform_that_is_not_there_is_one_line(platforms):
    program = "import sys; from reid_jax import main; sys.argv = ['reid-jax', 'bench', 'rank']; sys.exit(main.main())"
    environment = {**os.environ, "JAX_PLATFORMS": platforms}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"reid-jax bench: error: JAX_PLATFORMS is '{platforms}', which JAX does not")
    assert "there is cpu" in done.stderr
    assert done.stderr.count("\n") == 1


def test_summary_shows_the_papers_network(capsys):
    code, out, _ = run(capsys, "summary", f"--config={ROBUST}:size=1x")
    assert code == 0
    (total,) = [line for line in out.splitlines() if line.startswith("total")]
    assert "2,910,596" in total
    assert "682,665,130" in total
    assert "classifiers, training only: 769,026 parameters" in out  # 2 x 512 x 751 and two scales


@pytest.fixture
def crops(tmp_path):
    folder = tmp_path / "crops"
    (folder / "night").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, size in (("b.jpg", (128, 64)), ("night/a.png", (64, 32)), ("c.PNG", (70, 31))):
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_embed_writes_unit_rows_in_the_order_of_names(command, tiny_run, crops, tmp_path):
    out = tmp_path / "new" / "crops.npz"
    done = command("embed", f"--weights={tiny_run}", f"--images={crops}", f"--out={out}")
    assert done.returncode == 0, done.stderr
    with np.load(out) as file:
        name, embedding = file["name"], file["embedding"]
    assert name.tolist() == ["b.jpg", "c.PNG", "night/a.png"]
    assert (embedding.dtype, embedding.shape) == (np.float32, (3, 32))
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-5)
    assert len(np.unique(embedding, axis=0)) == 3  # a single number may be 0 in all, behind the ReLU
    assert [path.name for path in out.parent.iterdir()] == ["crops.npz"]


def test_embed_names_a_file_that_is_no_image(capsys, tiny_run, crops, tmp_path):
    (crops / "night" / "broken.jpg").write_bytes((crops / "b.jpg").read_bytes()[:200])
    line = refused(capsys, "embed", f"--weights={tiny_run}", f"--images={crops}", f"--out={tmp_path / 'a.npz'}")
    assert "1 of 4 images" in line
    assert "cannot be decoded: night/broken.jpg (it is damaged" in line
    assert not (tmp_path / "a.npz").exists()


def test_no_module_imports_tensorflow():
    program = (
        "import importlib, pkgutil, sys, reid_jax\n"
        "for module in pkgutil.walk_packages(reid_jax.__path__, 'reid_jax.'):\n"
        "    if not module.name.startswith('reid_jax.bench.peers.'):\n"  # each needs the library it is named for
        "        try:\n"
        "            importlib.import_module(module.name)\n"
        "        except ModuleNotFoundError as error:\n"
        "            if error.name not in ('onnx', 'onnxruntime'):\n"  # of the extra 'export'
        "                raise\n"
        "assert 'reid_jax.data.split' in sys.modules and 'reid_jax.verbs.train' in sys.modules\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] in ('tensorflow', 'torch')]\n"
        "sys.exit(' '.join(loaded) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
