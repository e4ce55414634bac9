"""Configs: the files load and carry the paper's numbers; whatever is wrong is told in one line."""

import pytest
from conftest import ROOT

from reid_jax import config
from reid_jax.errors import InputError

CONFIGS = ROOT / "configs"
QUICKSTART = CONFIGS / "quickstart.py"
ROBUST = CONFIGS / "robust_reid.py"
# Each file with the arguments that its docstring documents.
FILES = [
    "quickstart.py",
    "robust_reid.py",
    "robust_reid.py:size=1x",
    "robust_reid.py:size=2x",
    "robust_reid.py:size=2x_table",
    "robust_reid.py:size=nano,data=market1501,val=50",
    "robust_reid.py:epochs=70,runlocal",
    "hacnn.py",
    "hacnn.py:data=market1501,epochs=35,val=20",
    "hacnn.py:runlocal",
    "joined.py",
    "joined.py:data=market1501+dukemtmcreid+msmt17,size=2x,epochs=70,val=20",
    "joined.py:data=market1501+msmt17,shares=4+2",
    "joined.py:shares=2+2,runlocal",
]
# Those that start from a run, and their variants, have tests of their own.
ELSEWHERE = {"swag.py", "ablation.py", "tricks.py"}


def refused(file, *overrides) -> str:
    with pytest.raises(InputError) as caught:
        config.load(str(file), overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize("file", FILES)
def test_files_load_and_survive_json(file):
    loaded = config.load(f"{CONFIGS}/{file}")
    assert loaded.is_locked
    assert config.from_dict(config.to_dict(loaded)) == loaded


def test_every_file_is_listed_above():
    assert {path.name for path in CONFIGS.glob("*.py")} - {"common.py"} - ELSEWHERE == {
        file.partition(":")[0] for file in FILES
    }


def test_robust_reid_carries_the_papers_numbers():
    paper = config.load(str(ROBUST))
    assert (paper.model.name, paper.dataset, paper.val_identities) == ("robust_reid_1x", "market1501", 0)
    assert paper.image_size == (160, 64)
    assert (paper.batch.identities, paper.batch.images) == (8, 4)
    assert (paper.schedule.name, paper.schedule.peak, paper.schedule.factor) == ("warmup_step", 3e-2, 0.1)
    assert (paper.schedule.warmup_epochs, paper.schedule.boundaries, paper.epochs) == (10.0, (150.0, 225.0), 350.0)
    assert (paper.schedule.cycle_epochs, paper.schedule.cycle_decay) == (35.0, 0.7)
    assert (paper.loss.mining, paper.loss.soft_margin, paper.loss.label_smoothing) == ("batch_soft", True, 0.1)
    assert (paper.augment.erase_area, paper.augment.erase_aspect) == ((0.02, 0.4), (0.3, 3.3))
    assert (paper.augment.pad, paper.augment.erase_probability, paper.augment.flip_probability) == (10, 0.5, 0.5)


def test_quickstart_shortens_the_run_and_keeps_the_recipe():
    paper, quick = config.load(str(ROBUST)), config.load(str(QUICKSTART))
    assert quick.model.name == "nano"
    assert quick.dataset.startswith("synthetic")
    assert quick.val_identities > 0
    for part in ("batch", "loss", "optimizer"):
        assert quick[part] == paper[part]
    assert quick.schedule.factor == paper.schedule.factor
    assert quick.schedule.warmup_epochs < min(quick.schedule.boundaries)
    assert max(quick.schedule.boundaries) < quick.epochs < 50


def test_fewer_epochs_shorten_the_schedule_by_the_same_factor():
    short = config.load(f"{ROBUST}:epochs=70")
    assert short.epochs == 70.0
    assert short.schedule.warmup_epochs == pytest.approx(2.0)
    assert short.schedule.boundaries == pytest.approx((30.0, 45.0))


def test_hacnn_has_no_triplet_and_no_tricks():
    hacnn = config.load(str(CONFIGS / "hacnn.py"))
    assert (hacnn.model.name, hacnn.model.logit_scale) == ("hacnn", 1.0)
    assert (hacnn.loss.triplet_weight, hacnn.loss.label_smoothing, hacnn.augment.erase_probability) == (0, 0, 0)


def test_shares_of_joined_sets_make_the_batch():
    joined = config.load(f"{CONFIGS}/joined.py:data=market1501+msmt17,shares=4+2")
    assert (joined.batch.shares, joined.batch.identities) == ((4, 2), 6)
    assert config.load(f"{CONFIGS}/joined.py:shares=2+2,runlocal").batch.identities == 8


def test_weights_are_collected_at_ends_of_cycles_that_are_there():
    c = config.default()
    c.swag.collect = True
    with pytest.raises(InputError, match="needs config.schedule.name 'cyclic_cosine'"):
        config.check(c)
    c.schedule.name, c.epochs = "cyclic_cosine", 34.0
    with pytest.raises(InputError, match="cycles of 35 epochs, but the run has 34"):
        config.check(c)
    c.epochs = 35.0
    config.check(c)


def test_overrides_are_read_as_their_keys_types():
    loaded = config.load(
        str(QUICKSTART),
        [
            "--config.seed=3",
            "--config.schedule.peak=1e-3",
            "--config.schedule.boundaries=(3.0, 4.0, 5.0)",
            "--config.model.regions=False",
            "--config.model.widths=(16,16,32)",
            "--config.dataset=market1501",
            "--config.seed=4",
        ],
    )
    assert (loaded.seed, loaded.schedule.peak, loaded.dataset) == (4, 1e-3, "market1501")
    assert loaded.schedule.boundaries == (3.0, 4.0, 5.0)
    assert (loaded.model.regions, loaded.model.widths) == (False, (16, 16, 32))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("schedule.peek=1", ("config.schedule.peek", "did you mean schedule.peak?")),
        ("lr=1", ("config.lr", "no key")),
        ("schedule=1", ("config.schedule", "no key")),
        ("seed", ("config.seed", "=VALUE")),
        ("seed=abc", ("config.seed", "'abc'", "int")),
        ("seed=1.5", ("config.seed", "'1.5'", "int")),
        ("tensorboard=maybe", ("config.tensorboard", "'maybe'", "bool")),
        ("model.stem=wide", ("config.model.stem", "'wide'", "int")),
        ("image_size=(160,)", ("config.image_size", "(160,)", "2 numbers")),
        ("image_size=(160,64,3)", ("config.image_size", "(160, 64, 3)", "2 numbers")),
        ("image_size=(160.5,64)", ("config.image_size", "whole numbers")),
        ("augment.erase_area=(0.1,0.2,0.3)", ("config.augment.erase_area", "2 numbers")),
        ("augment.erase_area=('a','b')", ("config.augment.erase_area", "numbers")),
        ("model.widths=(8,8)", ("config.model.widths", "3 numbers")),
        ("augment.flip_probability=1.5", ("config.augment.flip_probability", "1.5", "from 0 to 1")),
        ("loss.label_smoothing=1.0", ("config.loss.label_smoothing", "[0, 1)")),
        ("loss.mining=hard", ("config.loss.mining", "'hard'", "batch_hard")),
        ("model.dtype=float16", ("config.model.dtype", "'float16'", "bfloat16")),
        ("batch.identities=1", ("config.batch.identities", "at least 2")),
        ("batch.shares=(4,2)", ("config.batch.shares", "add up to 6", "is 8")),
        ("schedule.cycle_epochs=0.0", ("config.schedule.cycle_epochs", "0.0", "above 0")),
        ("swag.rank=1", ("config.swag.rank", "at least 2")),
        ("epochs=-1.0", ("config.epochs", "-1.0", "above 0")),
        ("epochs=inf", ("config.epochs", "inf", "finite")),
        ("schedule.peak=nan", ("config.schedule.peak", "nan", "finite")),
        ("val_identities=-1", ("config.val_identities", "-1", "0 or more")),
    ],
)
def test_wrong_overrides_are_told_by_key_and_value(override, words):
    message = refused(QUICKSTART, f"--config.{override}")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("robust_reid.py:sise=1x", ("'sise'", "size, data")),
        ("robust_reid.py:size=3x", ("'3x'", "2x_table")),
        ("joined.py:size=3x", ("'3x'", "2x_table")),
        ("robust_reid.py:size", ("size needs a value",)),
        ("robust_reid.py:epochs=many", ("epochs", "'many'", "float")),
        ("robust_reid.py:runlocal=maybe", ("runlocal", "'maybe'")),
    ],
)
def test_wrong_config_arguments_are_told(file, words):
    message = refused(CONFIGS / file)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_config(:\n", ("SyntaxError", "line 1")),
        ("def get_config(arg=None):\n    return 1 / 0\n", ("ZeroDivisionError", "line 2")),
        ("import no_such_module\n", ("ModuleNotFoundError", "line 1", "no_such_module")),
        ("number = 1\n", ("no get_config()",)),
        ("def get_config(arg=None):\n    pass\n", ("None", "ConfigDict")),
        (
            "from reid_jax import config\n\n\ndef get_config(arg=None):\n    c = config.default()\n"
            "    c.optimizer.momentun = 0.5\n    return c\n",
            ("line 6", "momentun"),
        ),
        (
            "import ml_collections\n\n\ndef get_config(arg=None):\n    return ml_collections.ConfigDict({'sead': 1})\n",
            ("config.sead", "did you mean seed?"),
        ),
    ],
)
def test_broken_config_files_are_told_by_name_and_line(tmp_path, text, words):
    file = tmp_path / "mine.py"
    file.write_text(text)
    message = refused(file)
    for word in words:
        assert word in message


def test_missing_file_is_named(tmp_path):
    for file in (tmp_path / "absent.py", f"{tmp_path}/absent.py:size=1x", tmp_path):
        assert "is no file" in refused(file)


def test_from_dict_refuses_what_another_version_wrote():
    values = config.to_dict(config.default())
    with pytest.raises(InputError, match=r"unknown key 'optimizer\.lookahead'"):
        config.from_dict({**values, "optimizer": {**values["optimizer"], "lookahead": 5}})
    with pytest.raises(InputError, match="seed='zero'"):
        config.from_dict({**values, "seed": "zero"})


def test_from_dict_keeps_what_was_set():
    c = config.default()
    c.model.widths, c.model.block, c.model.regions = (16, 16, 32), "inception", False
    again = config.from_dict(config.to_dict(c))
    assert again == c
    assert (again.model.widths, again.model.stem) == ((16, 16, 32), None)


def test_differences_name_key_and_both_values():
    old = config.to_dict(config.default())
    changed = config.default()
    changed.seed, changed.schedule.peak = 1, 0.5
    assert config.differences(old, config.to_dict(changed)) == ["schedule.peak: 0.03 -> 0.5", "seed: 0 -> 1"]
    assert config.differences(old, old) == []
    assert config.differences({}, {"seed": 0}) == ["seed: absent -> 0"]
