"""The columns of Table 2, the setups of Table 3 and the further tricks: what each config switches on, and nothing else.

`pytest -s tests/ablation_test.py` prints what sets each column apart from the one before it.
"""

import dataclasses
import json

import pytest
from places import ROOT

from reid_jax import config as run_config
from reid_jax.errors import InputError
from reid_jax.models.registry import network_of
from reid_jax.reporting import paper
from reid_jax.training.optim import warmup_step_schedule

ABLATION, TRICKS = ROOT / "configs" / "ablation.py", ROOT / "configs" / "tricks.py"

# Table 2 as printed, column by column: x is a tick.
PRINTED = """
                    hacnn  a  b  c  d  e  f  g  h  i  robust
bag of tricks       .      x  x  x  x  x  x  x  x  x  x
soft triplet        .      .  .  x  x  x  x  x  x  x  x
L2 normalisation    .      .  x  .  x  x  x  x  x  x  x
shuffle blocks      .      .  x  x  .  x  x  x  x  x  x
soft margin         .      .  .  x  x  .  x  x  x  x  x
GeM                 .      .  x  x  x  x  .  x  x  x  x
deeper and wider    .      .  x  x  x  x  x  .  .  x  x
SWAG                .      .  .  .  .  .  .  .  x  .  x
"""

# The keys that a row of the table is made of. The triplet loss is off in columns hacnn and a, original in b.
KEYS = {
    "bag of tricks": {
        "augment.erase_probability",
        "loss.label_smoothing",
        "schedule.warmup_epochs",
        "model.classifier_bias",
    },
    "soft triplet": {"loss.triplet_weight", "loss.mining"},
    "L2 normalisation": {"model.normalisation", "model.logit_scale", "model.logit_scale_learned"},
    "shuffle blocks": {"model.block"},
    "soft margin": {"loss.soft_margin"},
    "GeM": {"model.pooling"},
    "deeper and wider": {
        "model.name",
        "model.stem",
        "model.widths",
        "model.repeats",
        "model.global_width",
        "model.local_width",
    },
}


def printed() -> dict[str, set[str]]:
    """Column -> the rows that are ticked."""
    header, *lines = [line for line in PRINTED.splitlines() if line.strip()]
    columns = header.split()
    table = {column: set() for column in columns}
    for line in lines:
        row, ticks = line[:20].strip(), line[20:].split()
        for column, tick in zip(columns, ticks, strict=True):
            if tick == "x":
                table[column].add(row)
    return table


FROM_SCRATCH = [column for column in printed() if column not in ("h", "robust")]


def column(name, **arguments):
    text = ",".join(f"{key}={value}" for key, value in {"column": name, **arguments}.items())
    return run_config.load(f"{ABLATION}:{text}")


def ticked(config) -> set[str]:
    """The rows of the table that a config has, read from its keys and its network."""
    network = network_of(config, 10)
    tricks = [
        config.schedule.warmup_epochs == 10,
        config.augment.erase_probability == 0.5,
        config.loss.label_smoothing == 0.1,
        not network.classifier_bias,
    ]
    assert len(set(tricks)) == 1, "a part of the bag of tricks"
    rows = {
        "bag of tricks": tricks[0],
        "soft triplet": config.loss.triplet_weight == 1 and config.loss.mining == "batch_soft",
        "L2 normalisation": network.normalisation == "l2",
        "shuffle blocks": network.block == "shuffle",
        "soft margin": config.loss.triplet_weight > 0 and config.loss.soft_margin,
        "GeM": network.pooling == "gem",
        "deeper and wider": network.widths == (240, 320, 480),
        "SWAG": config.swag.collect,
    }
    return {row for row, on in rows.items() if on}


def changed_keys(old, new) -> set[str]:
    return {line.partition(":")[0] for line in run_config.differences(old.to_dict(), new.to_dict())}


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_a_column_has_the_printed_switches(name):
    assert ticked(column(name)) == printed()[name]


def test_neighbours_differ_in_the_printed_switches_alone():
    table, configs = printed(), {name: column(name) for name in FROM_SCRATCH}
    for before, after in zip(FROM_SCRATCH, FROM_SCRATCH[1:], strict=False):
        rows = table[before] ^ table[after]
        changed = changed_keys(configs[before], configs[after])
        print(f"\n{before} -> {after}: {', '.join(sorted(rows))}")
        for line in run_config.differences(configs[before].to_dict(), configs[after].to_dict()):
            print(f"    {line}")
        allowed = set().union(*(KEYS[row] for row in rows))
        if (before, after) == ("a", "b"):
            allowed |= KEYS["soft triplet"] | KEYS["soft margin"]  # from no triplet loss to the original one
        assert changed <= allowed
        assert all(changed & KEYS[row] for row in rows)


@pytest.mark.parametrize(
    ("name", "row"), [("c", "L2"), ("d", "shuffle"), ("e", "margin"), ("f", "GeM"), ("g", "wider")]
)
def test_columns_c_to_g_are_i_with_one_switch_off(name, row):
    changed = changed_keys(column("i"), column(name))
    (keys,) = [keys for label, keys in KEYS.items() if row in label]
    assert changed
    assert changed <= keys


def test_the_details_that_the_table_leaves_open():
    hacnn, a, b, c, d, g = (column(name) for name in ("hacnn", "a", "b", "c", "d", "g"))
    assert hacnn.loss.triplet_weight == a.loss.triplet_weight == 0
    assert (b.loss.mining, b.loss.soft_margin, b.loss.margin) == ("original", False, 0.3)
    for config in (hacnn, a, c):  # without L2 nothing is normalised in training, and nothing bounds the logits
        assert (config.model.normalisation, config.model.logit_scale) == ("inference", 1.0)
        assert not config.model.logit_scale_learned
    assert (network_of(hacnn, 1).classifier_bias, network_of(a, 1).classifier_bias) == (True, False)
    assert (network_of(a, 1).block, network_of(a, 1).pooling) == ("inception", "average")
    network = network_of(d, 1)  # inception blocks with the widths and vectors of 2x
    assert (network.block, network.widths, network.global_width, network.local_width) == (
        "inception",
        (240, 320, 480),
        960,
        1280,
    )
    assert dataclasses.replace(network_of(g, 1)) == network_of(run_config.load(str(ROOT / "configs/robust_reid.py")), 1)


def test_column_hacnn_is_configs_hacnn():
    ours, other = column("hacnn"), run_config.load(str(ROOT / "configs" / "hacnn.py"))
    assert network_of(ours, 5) == network_of(other, 5)
    assert changed_keys(ours, other) <= {
        f"model.{key}" for key in ("name", "block", "pooling", "normalisation", "classifier_bias")
    }
    assert paper.switches_of(other) == paper.COLUMNS["hacnn"]


@pytest.mark.parametrize("size", paper.SIZES)
@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_switches_are_read_back_from_the_config_whatever_its_size_and_epochs(name, size):
    for config in (column(name, size=size, data="synthetic", epochs=20, val=5, seed=3), column(name, size=size)):
        assert paper.switches_of(config) == paper.COLUMNS[name]
        assert paper.size_of(config) == size
        stored = run_config.from_dict(run_config.to_dict(config))
        assert paper.switches_of(stored) == paper.COLUMNS[name]


@pytest.mark.parametrize(
    "keys", [{"augment.erase_probability": 0.0}, {"model.widths": (64, 64, 64)}, {"init_from": "a"}]
)
def test_what_is_between_two_columns_is_none(keys):
    config = column("g")
    config.update_from_flattened_dict(keys)
    assert paper.switches_of(config) is None


def test_setups_of_table3():
    for setup, switches in paper.SETUPS.items():
        assert paper.switches_of(run_config.load(f"{ABLATION}:setup={setup}")) == switches
    assert changed_keys(run_config.load(f"{ABLATION}:setup=2"), column("g")) == set()
    assert changed_keys(run_config.load(f"{ABLATION}:setup=3"), column("i")) == set()
    first = ticked(run_config.load(f"{ABLATION}:setup=1"))
    assert first == printed()["i"] - {"GeM", "shuffle blocks", "deeper and wider"}


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_arguments_compress_and_cut_the_schedule(name):
    short = column(name, epochs=35, val=50, seed=2)
    assert (short.epochs, short.val_identities, short.seed) == (35.0, 50, 2)
    assert short.schedule.boundaries == pytest.approx((15.0, 22.5))
    assert short.schedule.warmup_epochs == (0.0 if name == "hacnn" else 1.0)
    local = run_config.load(f"{ABLATION}:column={name},size=nano,runlocal")
    assert local.epochs == 2
    assert local.dataset.startswith("synthetic:")
    s = local.schedule  # equation 1 takes it
    warmup_step_schedule(peak=s.peak, steps_per_epoch=5, warmup_epochs=s.warmup_epochs, boundaries=s.boundaries)


@pytest.mark.parametrize(
    ("first", "second"),
    [("column=g", "column=h"), ("column=i", "column=robust"), *[(f"setup={n}",) * 2 for n in "123"]],
)
def test_a_second_phase_takes_its_runs_config_and_adds_swag(tmp_path, monkeypatch, first, second):
    begun = run_config.load(f"{ABLATION}:{first},size=nano,epochs=35,seed=4,val=5")
    (tmp_path / "config.json").write_text(json.dumps(run_config.to_dict(begun)))
    monkeypatch.setenv("HOME", str(tmp_path))
    config = run_config.load(f"{ABLATION}:{second},from=~/,cycles=5,cycle_epochs=3")
    assert changed_keys(begun, config) == {
        "init_from",
        "schedule.name",
        "schedule.cycle_epochs",
        "epochs",
        "swag.collect",
        "eval_every",
        "checkpoint_every",
    }
    assert (config.schedule.name, config.epochs, config.seed) == ("cyclic_cosine", 15.0, 4)


def test_a_second_phase_of_another_column_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(run_config.to_dict(column("e"))))
    with pytest.raises(InputError, match="not the first phase of column h"):
        column("h", **{"from": tmp_path})


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("", "column=c or setup=1"),
        ("column=a,setup=1", "one of them"),
        ("column=j", "choose one of hacnn, a"),
        ("setup=4", "choose one of 1, 2, 3"),
        ("column=a,size=3x", "choose one of paper, nano"),
        ("column=h", "second phase on a finished run of column g; add from=RUN"),
        ("column=robust", "of column i"),
        ("column=a,from=runs/b", "trained from scratch"),
        ("column=h,from=/nowhere", "/nowhere.*no run's workdir"),
        ("colum=h", "'colum' is unknown"),
    ],
)
def test_bad_arguments_are_named(argument, words):
    with pytest.raises(InputError, match=words):
        run_config.load(f"{ABLATION}:{argument}")


CHANGED = {
    "max_pooling": {"model.pooling"},
    "average_max": {"model.pooling"},
    "bnneck": KEYS["L2 normalisation"],
    "batch_hard": {"loss.mining", "loss.soft_margin"},
    "no_l2": KEYS["L2 normalisation"],
    "no_soft_margin": {"loss.soft_margin"},
    "longer": {"epochs", "schedule.warmup_epochs", "schedule.boundaries", "eval_every", "checkpoint_every"},
    "cyclic": {"epochs", "schedule.name"},
}


@pytest.mark.parametrize("trick", CHANGED)
def test_a_trick_changes_its_keys_on_column_g_and_no_others(trick):
    config = run_config.load(f"{TRICKS}:trick={trick}")
    assert changed_keys(column("g"), config) == CHANGED[trick]
    small = run_config.load(f"{TRICKS}:trick={trick},size=nano,epochs=35,seed=1,val=5")
    assert small.model.name == "nano"
    assert (small.seed, small.val_identities) == (1, 5)
    assert run_config.load(f"{TRICKS}:trick={trick},size=nano,runlocal").epochs == 2


def test_tricks_in_numbers():
    config = {trick: run_config.load(f"{TRICKS}:trick={trick}") for trick in CHANGED}
    assert config["max_pooling"].model.pooling == "max"
    assert config["average_max"].model.pooling == "average_max"
    assert (config["bnneck"].model.normalisation, config["no_l2"].model.normalisation) == ("bnneck", "inference")
    assert (config["batch_hard"].loss.mining, config["batch_hard"].loss.soft_margin) == ("batch_hard", False)
    assert (config["longer"].epochs, config["longer"].schedule.boundaries) == (875.0, (375.0, 562.5))
    cyclic = config["cyclic"]
    assert (cyclic.schedule.name, cyclic.epochs, cyclic.schedule.cycle_epochs) == ("cyclic_cosine", 525.0, 35.0)
    short = run_config.load(f"{TRICKS}:trick=cyclic,epochs=35")
    assert short.epochs / short.schedule.cycle_epochs == pytest.approx(15)
    with pytest.raises(InputError, match="choose one of max_pooling"):
        run_config.load(f"{TRICKS}:trick=luck")
