"""Configs: the files load and carry the paper's numbers; whatever is wrong is told in one line."""

import json
import sys
from types import ModuleType

import numpy as np
import pytest
from places import ROOT

from reid_jax import config
from reid_jax.config_keys import OTHER_NAMES, keys_of
from reid_jax.errors import InputError
from reid_jax.models.registry import DEFAULT, NETWORKS
from reid_jax.training.assemble import plan_of
from reid_jax.weights import read_config

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
    "robust_reid.py:epochs=70",
    "hacnn.py",
    "hacnn.py:data=market1501,epochs=35,val=20",
    "hacnn.py:runlocal",
    "osnet.py",
    "osnet.py:size=x0_25,data=market1501,epochs=35,val=20",
    "osnet.py:runlocal",
    "joined.py",
    "joined.py:data=market1501+dukemtmcreid+msmt17,size=2x,epochs=70,val=20",
    "joined.py:data=market1501+msmt17,shares=4+2",
    "street.py:identities=40,epochs=2",
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


@pytest.mark.parametrize(("rule", "peak"), [("", 0.12), (",rate=root", 0.06), (",rate=same", 0.03)])
def test_the_peak_of_the_rate_follows_a_larger_batch_by_a_rule(rule, peak):
    larger, paper = (config.load(f"{ROBUST}:{arg}") for arg in (f"batch=4{rule}", ""))
    assert larger.batch.identities == 4 * paper.batch.identities
    assert larger.schedule.peak == pytest.approx(peak)
    changed = config.differences(config.to_dict(paper), config.to_dict(larger))
    assert {line.partition(":")[0] for line in changed} <= {"batch.identities", "schedule.peak"}


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


UNIT, RAW = (16.0, True), (1.0, False)


@pytest.mark.parametrize(
    ("file", "fields", "scale"),
    [
        ("robust_reid.py", "", UNIT),
        ("robust_reid.py", "normalisation=bnneck", RAW),
        ("robust_reid.py", "normalisation=inference", RAW),
        ("robust_reid.py", "classifier_reads=raw", RAW),
        ("robust_reid.py", "name=hacnn", RAW),
        ("osnet.py", "name=hacnn", RAW),
        ("osnet.py", "name=nano", UNIT),
        ("hacnn.py", "name=nano", UNIT),
        ("tricks.py:trick=bnneck", "normalisation=l2", UNIT),
        # What is set holds.
        ("robust_reid.py", "normalisation=bnneck logit_scale=16 logit_scale_learned=True", UNIT),
        ("robust_reid.py", "logit_scale=8 normalisation=bnneck", (8.0, False)),
    ],
)
def test_the_logits_have_a_scale_where_the_classifier_reads_unit_vectors(file, fields, scale):
    model = config.load(f"{CONFIGS}/{file}", [f"--config.model.{field}" for field in fields.split()]).model
    assert (model.logit_scale, model.logit_scale_learned) == scale
    assert model.is_locked


def test_a_networks_default_scale_is_that_of_its_vectors():
    for network, expected in (("robust_reid_1x", UNIT), ("nano", UNIT), ("hacnn", RAW)):
        model = config.default(network).model
        assert (model.logit_scale, model.logit_scale_learned) == expected


def test_a_config_lies_in_a_folder_with_a_colon_too(tmp_path):
    folder = tmp_path / "a:b"
    folder.mkdir()
    body = "from reid_jax import config\ndef get_config(arg='none'):\n    c = config.default()\n    c.init_from = arg\n"
    (folder / "c.py").write_text(f"{body}    return c\n")
    for arg, expected in (("", "none"), (":", ""), (":d:e.py", "d:e.py")):
        assert config.load(f"{folder}/c.py{arg}").init_from == expected
    with pytest.raises(InputError, match="a, which is no file"):
        config.load(f"{folder}/d.py:arg")


def test_numpys_numbers_become_pythons():
    c = config.default()
    c.schedule.boundaries = tuple(np.arange(100, 300, 100))
    c.augment.erase_area = tuple(np.array([0.25, 0.5], np.float32))
    c.image_size = tuple(np.array([160, 64]))
    plain = config.to_dict(config.check(c))
    assert (plain["schedule"]["boundaries"], plain["augment"]["erase_area"]) == ([100, 200], [0.25, 0.5])
    assert config.to_dict(config.from_dict(json.loads(json.dumps(plain)))) == plain


def test_a_start_is_the_same_however_its_place_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to("runs")

    def changed(old, new):
        return config.differences({"init_from": old}, {"init_from": new})

    for same in ("./runs/g", f"{tmp_path}/runs/g", "~/runs/g", "link/g"):
        assert changed("runs/g", same) == []
    for other in ("runs/h", "", "zoo:street"):
        assert changed("runs/g", other) == [f"init_from: runs/g -> {other}"]
    assert changed(7, "runs/g") == ["init_from: 7 -> runs/g"]


def test_quickstart_from_weights_that_there_are_differs_in_its_length_and_has_their_network():
    scratch, quick = config.load(str(QUICKSTART)), config.load(f"{QUICKSTART}:from=zoo:street")
    assert (quick.init_from, quick.epochs) == ("zoo:street", 5.0)
    assert max(quick.schedule.boundaries) < quick.epochs
    assert quick.model == read_config("zoo:street").model
    quick.model = scratch.model
    quick.init_from, quick.epochs, quick.schedule.boundaries = "", scratch.epochs, scratch.schedule.boundaries
    assert config.to_dict(quick) == config.to_dict(scratch)


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
        ("lr=1", ("config.lr", "no key", "did you mean schedule.peak?")),
        ("optimizer.lr=1", ("did you mean schedule.peak?",)),
        ("batch_size=32", ("did you mean batch.identities?",)),
        ("momentum=0.9", ("did you mean optimizer.momentum?",)),
        ("Epochs=3", ("did you mean epochs?",)),
        ("model=nano", ("write --config.model.name=nano",)),
        ("schedule=1", ("config.schedule", "no key", "--config.schedule.name=1")),
        ("batch=32", ("a group of keys: batch.identities, batch.images",)),
        ("model.width=(16,16,16)", ("did you mean model.widths?",)),
        ("zzzz=1", ("config.zzzz", "no key")),
        ("seed", ("config.seed", "=VALUE")),
        ("seed=abc", ("config.seed", "'abc'", "whole number")),
        ("seed=1.5", ("config.seed", "'1.5'", "whole number")),
        ("seed=1180591620717411303424", ("config.seed", "1180591620717411303424", "from 0 to")),
        pytest.param(f"seed={'9' * 5000}", ("config.seed", "9…9", "whole number"), id="5,000 digits"),
        pytest.param(f"epochs={'9' * 5000}", ("config.epochs", "not finite"), id="5,000 digits of a number"),
        pytest.param(f"image_size=({'9' * 5000},64)", ("config.image_size", "9…9"), id="5,000 digits in a tuple"),
        pytest.param(f"model.widths={'(' * 3000}", ("config.model.widths", "3 multiples of 2"), id="3,000 brackets"),
        ("dataset=", ("config.dataset", "''", "not empty")),
        ("dataset=a\0b", ("config.dataset",)),
        ("tensorboard=maybe", ("config.tensorboard", "'maybe'", "True or False")),
        ("val_identities=-1", ("config.val_identities", "-1", "from 0 to")),
        ("image_size=(160,)", ("config.image_size", "(160,)", "2 multiples of 32")),
        ("image_size=(160,64,3)", ("config.image_size", "(160, 64, 3)", "2 multiples of 32")),
        ("image_size=(160.5,64)", ("config.image_size", "multiples of 32")),
        ("image_size=(True,64)", ("config.image_size", "(True, 64)")),
        ("image_size=(150,64)", ("config.image_size", "150", "multiples of 32")),
        ("image_size=(640000,320000)", ("config.image_size", "each from 32 to 1,024")),
        ("model.stem=wide", ("config.model.stem", "'wide'", "whole number")),
        ("model.stem=0", ("config.model.stem", "from 1 to 4,096")),
        ("model.widths=(8,8)", ("config.model.widths", "3 multiples of 2")),
        ("model.widths=(15,17,31)", ("config.model.widths", "multiples of 2, each from 16")),
        ("model.widths=(0,16,32)", ("config.model.widths", "(0, 16, 32)")),
        ("model.widths=(-16,16,32)", ("config.model.widths", "(-16, 16, 32)")),
        ("model.repeats=(20000,1,1)", ("config.model.repeats", "3 whole numbers, each from 0 to 64")),
        ("model.global_width=0", ("config.model.global_width", "0", "from 1")),
        ("model.local_width=-1", ("config.model.local_width", "-1", "from 1")),
        ("model.name=resnet", ("config.model.name", "'resnet'", "hacnn")),
        ("model.block=residual", ("config.model.block", "shuffle, inception")),
        ("model.dtype=float16", ("config.model.dtype", "'float16'", "bfloat16")),
        ("model.logit_scale=0", ("config.model.logit_scale", "above 0")),
        ("batch.identities=1", ("config.batch.identities", "from 2")),
        ("batch.images=1000000", ("config.batch.images", "from 1 to 4,096")),
        ("batch.groups=5", ("config.batch.groups is 5", "8 x 4 = 32 images")),
        ("batch.groups=32", ("config.batch.groups is 32", "groups of at least two")),
        ("batch.shares=(4,2)", ("config.batch.shares", "add up to 6", "is 8")),
        ("batch.shares=(-4,12)", ("config.batch.shares", "(-4, 12)", "whole numbers, each from 1")),
        ("augment.pad=100000", ("config.augment.pad", "100000")),
        ("augment.pad=32", ("config.augment.pad", "32 pixels on a side", "(96, 32)")),
        ("augment.flip_probability=1.5", ("config.augment.flip_probability", "1.5", "from 0 to 1")),
        ("augment.erase_area=(0.1,0.2,0.3)", ("config.augment.erase_area", "2 numbers")),
        ("augment.erase_area=('a','b')", ("config.augment.erase_area", "numbers")),
        ("augment.erase_area=(0.4,0.02)", ("config.augment.erase_area", "the least first")),
        ("augment.erase_aspect=(3.3,0.3)", ("config.augment.erase_aspect", "the least first")),
        ("loss.triplet_weight=-1", ("config.loss.triplet_weight", "-1.0", "from 0")),
        ("loss.label_smoothing=1.0", ("config.loss.label_smoothing", "from 0, below 1")),
        ("loss.mining=hard", ("config.loss.mining", "'hard'", "batch_hard")),
        ("loss.margin=-1", ("config.loss.margin", "-1.0", "from 0")),
        ("optimizer.momentum=2", ("config.optimizer.momentum", "2.0", "below 1")),
        ("optimizer.momentum=-1", ("config.optimizer.momentum", "-1.0", "from 0")),
        ("optimizer.weight_decay=-1", ("config.optimizer.weight_decay", "-1.0", "from 0 to 1")),
        ("optimizer.logit_scale_rate=-1", ("config.optimizer.logit_scale_rate", "-1.0")),
        ("optimizer.regions_rate=-1", ("config.optimizer.regions_rate", "-1.0")),
        ("schedule.name=cosine", ("config.schedule.name", "'cosine'", "cyclic_cosine")),
        ("schedule.peak=nan", ("config.schedule.peak", "nan", "finite")),
        ("schedule.peak=-0.1", ("config.schedule.peak", "-0.1", "above 0")),
        ("schedule.warmup_epochs=-1", ("config.schedule.warmup_epochs", "-1.0", "from 0")),
        ("schedule.boundaries=(18.0,13.0)", ("config.schedule", "(18.0, 13.0)", "must increase")),
        ("schedule.boundaries=(0.5,13.0)", ("config.schedule", "(0.5, 13.0)", "after the warm-up")),
        ("schedule.boundaries=('a',)", ("config.schedule.boundaries", "numbers, each above 0")),
        ("schedule.factor=-0.1", ("config.schedule.factor", "-0.1", "from 0 to 1")),
        ("schedule.cycle_epochs=0.0", ("config.schedule.cycle_epochs", "0.0", "above 0")),
        ("schedule.cycle_decay=-1", ("config.schedule.cycle_decay", "-1.0", "above 0")),
        ("schedule.floor=-1", ("config.schedule.floor", "-1.0", "from 0")),
        ("epochs=-1.0", ("config.epochs", "-1.0", "above 0")),
        ("epochs=inf", ("config.epochs", "inf", "finite")),
        ("epochs=1e300", ("config.epochs", "1e+300", "at most")),
        ("swag.rank=1", ("config.swag.rank", "at least 2")),
        ("swag.rank=1000000000", ("config.swag.rank", "1000000000")),
        ("swag.scale=-1", ("config.swag.scale", "-1.0")),
        ("steps_per_dispatch=1000000000000", ("config.steps_per_dispatch", "from 1 to 10,000")),
        ("eval_every=0", ("config.eval_every", "above 0")),
        ("keep_checkpoints=0", ("config.keep_checkpoints", "from 1")),
    ],
)
def test_wrong_overrides_are_told_by_key_and_value(override, words):
    message = refused(QUICKSTART, f"--config.{override}")
    assert len(message) < 700
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("loss.cross_entropy_weight=0", "loss.triplet_weight=0"), "are both 0"),
        (("schedule.name=cyclic_cosine", "schedule.floor=1"), "floor of at most the peak"),
        (("model.block=inception", "model.widths=(18,18,18)"), "multiples of 4"),
        (("model.normalisation=bnneck", "model.classifier_reads=raw"), "without a reader"),
        (("batch.identities=4096", "batch.images=4096"), "pixels a step"),
    ],
)
def test_keys_that_do_not_go_together_are_told(overrides, words):
    # Set at once: an override is checked with those after it.
    assert words in refused(QUICKSTART, *[f"--config.{one}" for one in overrides])


def test_what_has_no_effect_may_be_anything_within_its_range():
    c = config.default()
    c.schedule.name, c.schedule.boundaries = "cyclic_cosine", (5.0,)  # of the other schedule
    config.check(c)
    c.schedule.name, c.schedule.boundaries, c.schedule.floor = "warmup_step", (15.0,), 1.0
    config.check(c)


def test_every_default_lies_within_its_range():
    for network in NETWORKS:
        keys = keys_of(network)
        for key, (value, allowed) in keys.items():
            assert value is None or allowed.holds(value), key
        config.check(config.default(network))
    assert set(OTHER_NAMES.values()) <= set(keys_of(DEFAULT))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("robust_reid.py:sise=1x", ("'sise'", "size, data")),
        ("robust_reid.py:size=3x", ("'3x'", "2x_table")),
        ("robust_reid.py:batch=0", ("batch is 0", "from 1 to 512")),
        ("robust_reid.py:batch=4,rate=log", ("'log'", "linear, root, same")),
        ("joined.py:size=3x", ("'3x'", "2x_table")),
        ("robust_reid.py:size", ("size needs a value",)),
        ("robust_reid.py:epochs=many", ("epochs", "'many'", "float")),
        ("robust_reid.py:epochs=0", ("config argument epochs", "0.0", "above 0")),
        ("robust_reid.py:runlocal=maybe", ("runlocal", "'maybe'")),
        ("robust_reid.py:epochs=5,runlocal", ("epochs", "5.0", "runlocal", "leave one of them out")),
        ("ablation.py:runlocal,column=a,val=3", ("val", "3", "runlocal")),
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
    with pytest.raises(InputError, match="seed='zero'; it takes a whole number"):
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
    # A key that came later has its default.
    assert config.differences({}, {"seed": 0, "image_size": [160, 64]}) == []
    assert config.differences({}, {"seed": 1}) == ["seed: 0 -> 1"]
    assert config.differences({"other": 1}, {"seed": 0}) == ["other: 1 -> absent"]
    # A field that came later takes its preset's value, as it did before it was there.
    assert config.differences({"model": {}}, {"model": {"region_count": None}}) == []
    assert config.differences({}, {"model": {"region_count": 6}}) == ["model.region_count: None -> 6"]


CALLS_COMMON = "import common\n\n\ndef get_config(arg=None):\n    return common.get_config()\n"
COMMON = "from reid_jax import config\n\n\ndef get_config():\n    c = config.default()\n    c.seed = {}\n    return c\n"


def write_folder(folder, seed, text=CALLS_COMMON):
    folder.mkdir(parents=True)
    (folder / "common.py").write_text(COMMON.format(seed))
    (folder / "mine.py").write_text(text)
    return folder / "mine.py"


def test_each_file_gets_the_modules_beside_it_and_leaves_none_behind(tmp_path):
    files = [write_folder(tmp_path / str(seed) / "configs", seed) for seed in (1, 2)]
    before = set(sys.modules)
    assert [config.load(str(file)).seed for file in (*files, *files)] == [1, 2, 1, 2]
    assert config.load(f"{ROBUST}:size=nano").model.name == "nano"  # another `common`
    assert "common" not in set(sys.modules) - before
    assert [path for path in sys.path if str(tmp_path) in path] == []


def test_a_config_that_reads_another_one_keeps_its_own_modules(tmp_path):
    inner = write_folder(tmp_path / "inner" / "configs", 3)
    text = (
        "from reid_jax import config\n\n\ndef get_config(arg=None):\n    import common\n\n"
        f"    inner = config.load({str(inner)!r})\n    import common as again\n\n"
        "    assert common is again\n    c = again.get_config()\n    c.val_identities = inner.seed\n    return c\n"
    )
    outer = write_folder(tmp_path / "outer" / "configs", 4, text)
    loaded = config.load(str(outer))
    assert (loaded.seed, loaded.val_identities) == (4, 3)


def test_modules_of_a_file_stand_aside_for_nothing_installed(tmp_path, monkeypatch):
    # A module called like an installed package, which the network needs while the file is read.
    file = write_folder(tmp_path / "configs", 5)
    for name in ("flax", "reid_jax", "json"):
        (file.parent / f"{name}.py").write_text("raise RuntimeError('the wrong module')\n")
    monkeypatch.setitem(sys.modules, "common", ModuleType("common"))  # of whoever calls
    sys.modules["common"].__file__ = str(tmp_path / "common.py")
    stranger = sys.modules["common"]
    assert config.load(str(file)).seed == 5
    assert sys.modules["common"] is stranger
    import flax

    assert hasattr(flax, "linen")


def test_a_file_that_fails_leaves_no_modules_behind(tmp_path):
    file = write_folder(tmp_path / "configs", 6, "import common\n\n\ndef get_config(arg=None):\n    return 1 / 0\n")
    assert "ZeroDivisionError" in refused(file)
    file.with_name("common.py").write_text(COMMON.format(7777))
    file.write_text(CALLS_COMMON)
    assert config.load(str(file)).seed == 7777


def test_a_run_of_more_steps_than_an_int32_counts_is_refused():
    c = config.default()
    c.epochs = 1e6
    assert plan_of(c, 2000).total == 2_000_000_000
    with pytest.raises(InputError, match="config.epochs is 1e.06, with 3,000 steps an epoch 3,000,000,000 steps"):
        plan_of(c, 3000)


def test_what_an_older_run_stored_still_loads():
    # Of a config without the keys that came later, and with the nonsense that had no effect on it.
    assert config.from_dict({"seed": 3, "schedule": {"name": "cyclic_cosine", "boundaries": [30, 20]}}).seed == 3
    assert config.from_dict({"model": {"repeats": [0, 0, 0]}}).model.repeats == (0, 0, 0)
    assert config.from_dict({"seed": 2**63 - 1}).seed == 2**63 - 1
