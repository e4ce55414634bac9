import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from reid_jax.errors import InputError
from reid_jax.training.optim import (
    cyclic_cosine_schedule,
    default_rules,
    format_rules,
    format_schedule,
    optimizer,
    resolve_rules,
    turn_of,
    warmup_step_schedule,
)

SPE = 360  # steps per epoch on Market-1501


def at_epoch(schedule, epoch):
    """The rate of the step that completes `epoch`, i.e. t = epoch."""
    return float(schedule(round(epoch * SPE) - 1))


def after_epoch(schedule, epoch):
    return float(schedule(round(epoch * SPE)))


def paper_schedule(**changes):
    return warmup_step_schedule(**{"peak": 3e-2, "steps_per_epoch": SPE, **changes})


@pytest.mark.parametrize(
    ("read", "epoch", "rate"),
    [
        (after_epoch, 0, 3e-2 / (10 * SPE)),
        (at_epoch, 5, 1.5e-2),
        (at_epoch, 10, 3e-2),
        (after_epoch, 10, 3e-2),
        (at_epoch, 150, 3e-2),
        (after_epoch, 150, 3e-3),
        (at_epoch, 225, 3e-3),
        (after_epoch, 225, 3e-4),
        (at_epoch, 350, 3e-4),
    ],
)
def test_equation_1(read, epoch, rate):
    np.testing.assert_allclose(read(paper_schedule(), epoch), rate, rtol=1e-6)


def test_warmup_is_linear_in_the_step_and_can_be_off():
    rates = paper_schedule()(np.arange(10 * SPE))
    np.testing.assert_allclose(rates, 3e-2 * np.arange(1, 10 * SPE + 1) / (10 * SPE), rtol=1e-5)
    assert float(paper_schedule(warmup_epochs=0)(0)) == np.float32(3e-2)


def test_boundaries_inside_an_epoch_and_none_at_all():
    schedule = warmup_step_schedule(peak=1.0, steps_per_epoch=4, warmup_epochs=0.5, boundaries=(1.5,), factor=0.5)
    np.testing.assert_allclose(schedule(np.arange(8)), [0.5, 1, 1, 1, 1, 1, 0.5, 0.5])
    schedule = warmup_step_schedule(peak=1.0, steps_per_epoch=4, warmup_epochs=0, boundaries=())
    np.testing.assert_array_equal(schedule(np.arange(8)), np.ones(8))


def test_cosine_cycles():
    schedule = cyclic_cosine_schedule(peak=3e-2, cycle_epochs=35, steps_per_epoch=SPE)
    length = 35 * SPE
    for cycle in range(15):
        np.testing.assert_allclose(schedule(cycle * length), 3e-2 * 0.7**cycle, rtol=1e-5)
        np.testing.assert_allclose(schedule(cycle * length + length // 2), 1.5e-2 * 0.7**cycle, rtol=1e-4)
        assert 0 <= float(schedule((cycle + 1) * length - 1)) < 1e-6
    np.testing.assert_allclose(schedule(14 * length), 2.0347e-4, rtol=1e-4)


def test_cosine_never_leaves_its_floor():
    schedule = cyclic_cosine_schedule(peak=1.0, cycle_epochs=2, decay=0.1, floor=0.05, steps_per_epoch=5)
    rates = np.asarray(schedule(np.arange(40)))
    assert rates.min() >= 0.05
    np.testing.assert_allclose(rates[[0, 10, 20, 30]], [1.0, 0.1, 0.05, 0.05], rtol=1e-5)


@pytest.mark.parametrize(
    "schedule",
    [paper_schedule(), cyclic_cosine_schedule(peak=3e-2, cycle_epochs=35, steps_per_epoch=SPE)],
    ids=["step", "cosine"],
)
def test_schedules_trace_and_are_float32(schedule):
    rate = jax.jit(schedule)(jnp.int32(54_000))
    assert rate.shape == ()
    assert rate.dtype == jnp.float32
    np.testing.assert_allclose(rate, schedule(54_000), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: paper_schedule(boundaries=(225, 150)), r"boundaries are \(225, 150\)"),
        (lambda: paper_schedule(boundaries=(5, 150)), "after the warm-up"),
        (lambda: paper_schedule(steps_per_epoch=0), "steps_per_epoch is 0"),
        (lambda: paper_schedule(warmup_epochs=-1), "warmup_epochs is -1"),
        (lambda: cyclic_cosine_schedule(peak=1, cycle_epochs=0, steps_per_epoch=1), "cycle_epochs is 0"),
        (lambda: cyclic_cosine_schedule(peak=1, cycle_epochs=1, steps_per_epoch=1, floor=2), "floor is 2"),
    ],
)
def test_schedule_arguments_out_of_range(make, match):
    with pytest.raises(InputError, match=match):
        make()


def params_of_every_kind():
    rng = np.random.default_rng(0)
    return {
        "conv1": {
            "conv": {"kernel": rng.normal(size=(2, 3))},
            "bn": {"scale": rng.normal(size=3), "bias": rng.normal(size=3)},
        },
        "fc": {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)},
        "pool": {"p": rng.normal(size=())},
        "head": {"log_scale": rng.normal(size=())},
        "attention1": {"hard": {"linear": {"kernel": rng.normal(size=(2, 8)), "bias": rng.normal(size=8)}}},
    }


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_optimizer_is_sgd_of_pytorch(nesterov, momentum):
    params = params_of_every_kind()
    rules = default_rules(scale_rate=0.1, regions_rate=0.2, pooling_rate=0.5)
    schedule = warmup_step_schedule(peak=0.3, steps_per_epoch=2, warmup_epochs=1, boundaries=(2,))
    tx = optimizer(schedule, params=params, momentum=momentum, nesterov=nesterov, weight_decay=0.1, rules=rules)

    decay = {"kernel": 0.1, "bias": 0.0, "scale": 0.0, "p": 0.0, "log_scale": 0.0}
    multiple = {"kernel": 1.0, "bias": 1.0, "scale": 1.0, "p": 0.5, "log_scale": 0.1}
    rates = [0.15, 0.3, 0.3, 0.3, 0.03, 0.03]
    rng = np.random.default_rng(1)
    gradients = [jax.tree.map(lambda p: rng.normal(size=p.shape), params) for _ in rates]

    def by_loop(path, param):
        kind, buffer = path[-1].key, 0.0
        for rate, gradient in zip(rates, gradients, strict=True):
            for step in path:
                gradient = gradient[step.key]
            gradient = gradient + decay[kind] * param
            buffer = momentum * buffer + gradient
            direction = gradient + momentum * buffer if nesterov else buffer
            param = param - (0.2 if path[0].key == "attention1" else multiple[kind]) * rate * direction
        return param

    expected = jax.tree_util.tree_map_with_path(by_loop, params)

    @jax.jit
    def step(params, state, gradient):
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    params = jax.tree.map(jnp.float32, params)
    state = tx.init(params)
    for gradient in gradients:
        params, state = step(params, state, gradient)
    jax.tree.map(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6), params, expected)


def test_optimizer_accepts_shapes():
    params = params_of_every_kind()
    shapes = jax.eval_shape(lambda: jax.tree.map(jnp.float32, params))
    tx = optimizer(optax.constant_schedule(1.0), params=shapes, weight_decay=0.0, momentum=0.0)
    gradient = jax.tree.map(np.ones_like, params)
    updates, _ = tx.update(gradient, tx.init(params), params)
    np.testing.assert_allclose(updates["fc"]["kernel"], -1)
    np.testing.assert_allclose(updates["head"]["log_scale"], -0.1)


def test_all_parameters_can_be_decayed():
    usual, all_of_them = (resolve_rules(params_of_every_kind(), default_rules(decayed=of)) for of in ("kernels", "all"))
    assert {decayed for decayed, _ in usual.values()} == {True, False}
    assert all_of_them == {path: (True, multiple) for path, (_, multiple) in usual.items()}


def test_default_rules_by_kind():
    assert resolve_rules(params_of_every_kind(), default_rules()) == {
        "attention1/hard/linear/bias": (False, 0.01),
        "attention1/hard/linear/kernel": (True, 0.01),
        "conv1/bn/bias": (False, 1.0),
        "conv1/bn/scale": (False, 1.0),
        "conv1/conv/kernel": (True, 1.0),
        "fc/bias": (False, 1.0),
        "fc/kernel": (True, 1.0),
        "head/log_scale": (False, 0.1),
        "pool/p": (False, 1.0),
    }


def test_first_match_wins_and_unused_rules_are_fine():
    rules = [("^conv1/", False, 0.0), ("^stage9/", True, 9.0), ("", True, 2.0)]
    resolved = resolve_rules(params_of_every_kind(), rules)
    assert resolved["conv1/conv/kernel"] == (False, 0.0)
    assert resolved["fc/bias"] == (True, 2.0)


def test_parameter_without_a_rule_is_an_input_error():
    params = params_of_every_kind() | {"temperature": np.ones(())}
    with pytest.raises(InputError, match="'temperature' matches none"):
        optimizer(optax.constant_schedule(1.0), params=params)


def test_malformed_rule_is_an_input_error():
    with pytest.raises(InputError, match=r"'\(kernel'"):
        resolve_rules(params_of_every_kind(), [("(kernel", True, 1.0)])


def test_format_rules_counts_tensors_and_parameters():
    lines = format_rules(params_of_every_kind()).splitlines()
    cells = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert cells["(^|/)hard/linear/kernel$"] == ["1", "16", "yes", "x0.01"]
    assert cells["(^|/)kernel$"] == ["2", "12", "yes", "x1"]
    assert cells["(^|/)(bias|scale)$"] == ["3", "8", "no", "x1"]
    assert cells["(^|/)log_scale$"] == ["1", "1", "no", "x0.1"]


def test_format_schedule_shows_both_sides_of_a_turn():
    lines = format_schedule(paper_schedule(), steps=(3600, 54000), steps_per_epoch=SPE).splitlines()
    assert lines[1].split() == ["0", "0", "-", "8.333e-06"]
    assert lines[3].split() == ["150", "54000", "3.000e-02", "3.000e-03"]


@pytest.mark.parametrize("epoch", [1.5, 5.571428571428571, 8.357142857142858, 10 / 3])
def test_a_turn_within_an_epoch_is_the_step_from_which_on_the_rate_is_lower(epoch):
    schedule = warmup_step_schedule(peak=1.0, steps_per_epoch=361, warmup_epochs=0, boundaries=(epoch,), factor=0.1)
    turn = turn_of(epoch, 361)
    np.testing.assert_allclose(schedule(np.array([turn - 1, turn])), [1.0, 0.1])
    assert format_schedule(schedule, steps=[turn], steps_per_epoch=361).split()[-2:] == ["1.000e+00", "1.000e-01"]
