"""Rehearsals: what a compiled program's text tells, the model's times, the hardware named, and the verb's figures."""

import argparse
import dataclasses
import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from places import TINY_CONFIG

from reid_jax import config as run_config
from reid_jax import parallel
from reid_jax.bench.rehearsal import kernels, model, programs
from reid_jax.bench.rehearsal.hardware import HARDWARE
from reid_jax.bench.rehearsal.hlo import elements, parse, size
from reid_jax.bench.rehearsal.kernels import Kernel, kernels_of
from reid_jax.bench.rehearsal.rehearse import rehearse
from reid_jax.bench.rehearsal.target import Target, target
from reid_jax.errors import InputError
from reid_jax.main import main

# A loop over steps with a sum, a loop of 3 rounds with a product, a sum over devices and an update in place; a copy
# before the loop and a conditional behind it.
PROGRAM = """\
HloModule jit_chunk, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %ab = f32[] add(%a, %b)
}

%fused_sum (p: bf16[32,64], q: f32[64]) -> f32[64] {
  %p = bf16[32,64]{1,0} parameter(0)
  %q = f32[64]{0} parameter(1)
  %wide = f32[32,64]{1,0} convert(%p)
  %zero = f32[] constant(0)
  %sums = f32[64]{0} reduce(%wide, %zero), dimensions={0}, to_apply=%add
  ROOT %all = f32[64]{0} add(%sums, %q)
}

%fused_update (whole: f32[100,64], row: bf16[1,64], at: s32[]) -> f32[100,64] {
  %whole = f32[100,64]{1,0} parameter(0)
  %narrow = bf16[1,64]{1,0} parameter(1)
  %row = f32[1,64]{1,0} convert(%narrow)
  %at = s32[] parameter(2)
  %none = s32[] constant(0)
  ROOT %new = f32[100,64]{1,0} dynamic-update-slice(%whole, %row, %at, %none)
}

%fused_slice (source: f32[100,64]) -> bf16[1,64] {
  %source = f32[100,64]{1,0} parameter(0)
  %cut = f32[1,64]{1,0} slice(%source), slice={[3:4], [0:64]}
  %twice = f32[1,64]{1,0} add(%cut, %cut)
  ROOT %rounded = bf16[1,64]{1,0} convert(%twice)
}

%three_body (state.1: (s32[], f32[64,64])) -> (s32[], f32[64,64]) {
  %state.1 = (s32[], f32[64,64]{1,0}) parameter(0)
  %x.1 = f32[64,64]{1,0} get-tuple-element(%state.1), index=1
  %product = (f32[64,64]{1,0}, s8[4194304]{0}) custom-call(%x.1, %x.1), custom_call_target="__cublas$gemm", \
backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}}
  ROOT %t.1 = (s32[], f32[64,64]{1,0}) tuple(%x.1)
}

%steps_body (state: (s32[], f32[100,64])) -> (s32[], f32[100,64]) {
  %state = (s32[], f32[100,64]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %history = f32[100,64]{1,0} get-tuple-element(%state), index=1
  %image = bf16[32,64]{1,0} constant({...})
  %q.1 = f32[64]{0} constant({...})
  %sum.1 = f32[64]{0} fusion(%image, %q.1), kind=kInput, calls=%fused_sum, metadata={op_name="jit(chunk)/norm/sum"}, \
backend_config={"estimated_cycles":"700"}
  %everywhere = f32[64]{0} all-reduce-start(%sum.1), channel_id=1, to_apply=%add
  %done = f32[64]{0} all-reduce-done(%everywhere)
  %seen = bf16[1,64]{1,0} fusion(%history), kind=kLoop, calls=%fused_slice
  %kept = f32[100,64]{1,0} fusion(%history, %seen, %i), kind=kLoop, calls=%fused_update
  %start.1 = (s32[], f32[64,64]{1,0}) tuple(%i)
  %three = (s32[], /*index=1*/f32[64,64]{1,0}) while(%start.1), condition=%c, body=%three_body, \
backend_config={"known_trip_count":{"n":"3"}}
  ROOT %next = (s32[], f32[100,64]{1,0}) tuple(%i, %kept)
}

%yes (y: f32[100,64]) -> f32[100,64] {
  %y = f32[100,64]{1,0} parameter(0)
  ROOT %negated = f32[100,64]{1,0} negate(%y)
}

%no (n: f32[100,64]) -> f32[100,64] {
  ROOT %n = f32[100,64]{1,0} parameter(0)
}

ENTRY %main (given: f32[100,64]) -> f32[100,64] {
  %given = f32[100,64]{1,0} parameter(0)
  %laid = f32[100,64]{0,1} copy(%given), backend_config={"window_config":{},"estimated_cycles":"5000"}
  %begin = (s32[], f32[100,64]{1,0}) tuple(%laid)
  %steps = (s32[], f32[100,64]{1,0}) while(%begin), condition=%c, body=%steps_body
  %after = f32[100,64]{1,0} get-tuple-element(%steps), index=1
  ROOT %end = f32[100,64]{1,0} conditional(%p, %after, %after), branch_computations={%yes, %no}
}
"""


def test_shapes_are_measured_in_bytes_and_elements():
    assert size("bf16[32,64]{1,0}") == 4096
    assert size("(f32[8]{0}, pred[3]{0}, f8e4m3fn[10]{0}, s32[])") == 32 + 3 + 10 + 4
    assert elements("(u8[2,3]{1,0}, f32[100]{0})") == 6
    assert size("token[]") == elements("token[]") == 0


def test_a_program_is_read_into_computations():
    module = parse(PROGRAM)
    assert module.entry == "main"
    assert [each.opcode for each in module.computations["main"]][1:4] == ["copy", "tuple", "while"]
    *_, three, _ = module.computations["steps_body"]
    assert (three.trip_count, three.called("body"), three.shape) == (3, "three_body", "(s32[], f32[64,64]{1,0})")
    assert module.computations["main"][-1].branches() == ["yes", "no"]
    assert module.shape_of("laid") == "f32[100,64]{0,1}"
    assert module.shape_of("product#1") == "s8[4194304]"
    sums = next(each for each in module.computations["steps_body"] if each.name == "sum.1")
    assert sums.scope == "jit(chunk)/norm/sum"
    with pytest.raises(ValueError, match="no ENTRY"):
        parse("HloModule nothing")


def test_kernels_are_counted_a_step_with_what_they_move():
    found = [(each.kind, each.moved, each.operations, each.times) for each in kernels_of(parse(PROGRAM), steps=10)]
    whole, row = 100 * 64 * 4, 64 * 4
    assert found == [
        (kernels.COPIES, 2 * whole, 0, 0.1),
        (kernels.SUMS, 32 * 64 * 2 + row + row, 0, 1.0),
        ("all-reduce", 2 * row, 0, 1.0),
        (kernels.ELEMENTWISE, row + row // 2, 0, 1.0),  # reads as far as its slice goes, writes what it rounded
        (kernels.ELEMENTWISE, row // 2 + row + 4, 0, 1.0),  # writes the row alone, and reads where to
        (kernels.PRODUCTS, 2 * 64 * 64 * 4, 2 * 64**3, 3.0),  # its factors are one array; no scratch space
        (kernels.ELEMENTWISE, 2 * whole, 0, 0.1),
    ]


def test_the_cycles_that_a_compiler_estimates_come_with_the_kernels():
    found = kernels_of(parse(PROGRAM), steps=10)
    assert [each.cycles for each in found] == [5000, 700, 0, 0, 0, 0, 0]
    assert sum(each.times * each.cycles for each in found) == 5000 / 10 + 700


def test_a_loop_of_unknown_length_within_a_step_counts_once():
    text = PROGRAM.replace('"known_trip_count":{"n":"3"}', "")
    assert [each.times for each in kernels_of(parse(text), steps=10)] == [0.1, 1, 1, 1, 1, 1, 0.1]


def test_the_kernels_of_a_program_without_a_loop_count_once():
    text = jax.jit(lambda x: jnp.sin(x).sum(0)).lower(jnp.ones((8, 16))).compile().as_text()
    found = kernels_of(parse(text))
    assert found
    assert {each.times for each in found} == {1.0}
    assert sum(each.moved for each in found) >= 8 * 16 * 4


def test_the_models_times_follow_its_formulas():
    gpu, tpu = HARDWARE["gpu"]["h100"], HARDWARE["tpu"]["v5e"]
    assert model.kernel_seconds(Kernel("a", kernels.ELEMENTWISE, "", 100, 0, 1), gpu, "bfloat16") == model.FLOOR
    large = Kernel("a", kernels.SUMS, "", 3_352_000_000, 0, 1)
    assert model.kernel_seconds(large, gpu, "bfloat16") == pytest.approx(1e-6 + 1e-3 / 0.50)
    product = Kernel("a", kernels.PRODUCTS, "", 10, 989 * 10**9, 1)
    assert model.kernel_seconds(product, gpu, "bfloat16") == pytest.approx(1e-6 + 1e-3 / 0.4)
    assert model.kernel_seconds(product, gpu, "float32") == pytest.approx(1e-6 + 2e-3 / 0.4)
    assert model.roofline_seconds(197e9, 1, tpu, "bfloat16") == pytest.approx(1e-3)
    assert model.roofline_seconds(1, 819e6, tpu, "float32") == pytest.approx(1e-3)
    assert model.collective_seconds([(200_000_000, 2)], 4, tpu) == pytest.approx(2 * (10e-6 + 1.5 * 1e-3))
    assert model.collective_seconds([(200_000_000, 2)], 1, tpu) == pytest.approx(2 * 10e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cpu", "tpu:KIND:SHAPE"),
        ("tpu:v9", "v5e, v5p, v6e"),
        ("gpu:h10", "did you mean h100"),
        ("gpu:h100:9", "1 to 8"),
        ("gpu:h100:", None),
        ("gpu:h100:two", "1 to 8"),
        ("tpu:v5e", "tpu:v5e:2x2"),
        ("tpu:v5e:2by2", "tpu:v5e:2x2"),
        ("tpu:v6e:4x4", None),
        ("gpu:h200:2", None),
    ],
)
def test_targets_are_read_or_refused_with_what_there_is(text, said):
    if said is None:
        assert str(target(text)) == (text + "1" if text.endswith(":") else text)
    else:
        with pytest.raises(argparse.ArgumentTypeError, match=said):
            target(text)


@pytest.mark.parametrize(("text", "extra"), [("tpu:v5e:2x2", "tpu"), ("gpu:h100", "cuda")])
def test_a_compiler_that_is_missing_is_named_in_one_line(text, extra, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["rehearse", f"--config={TINY_CONFIG}", f"--target={text}"]) == 2
    told = capsys.readouterr().err
    assert f"pip install 'reid_jax[{extra}]'" in told
    assert told.count("\n") == 1


def test_a_rehearsal_gathers_memory_kernels_and_a_time():
    def chunk(x, steps):
        return jax.lax.fori_loop(0, steps, lambda _, x: jnp.tanh(x @ x), x)

    lowered = jax.jit(chunk).lower(jnp.ones((64, 64)), 3)
    told = rehearse(programs.Program(lowered, 1, 5, 32, gflop=2.0), Target("tpu", "v5e", "1x1"), "float32")
    figures = json.loads(json.dumps(told.figures()))
    assert figures["memory"]["arguments"] >= 64 * 64 * 4
    assert figures["fits"] is True
    assert figures["kernels"] >= 1
    assert figures["moved"] >= 2 * 64 * 64 * 4
    assert figures["estimated_cycles"] is None  # a CPU's compiler says nothing of them
    assert figures["seconds"] == pytest.approx(max(2e9 / 197e12, figures["counted_bytes"] / 819e9))
    assert "text" not in figures
    assert "fits" in str(told)
    assert "TFLOP/s" in str(told)
    assert "collectives" not in str(told)
    sent = (("all-gather", 2**20, 1.0), ("all-reduce", 2**20, 2.0), ("all-reduce", 2**21, 1.0))
    several = str(dataclasses.replace(told, devices=4, collectives=sent))
    assert "collectives 3 all-reduce of 4 MiB, 1 all-gather of 1 MiB\n" in several


def test_the_programs_of_a_config_are_lowered_from_shapes_alone():
    config, mesh = run_config.load(str(TINY_CONFIG), []), parallel.one_device()
    train, embed = programs.training(config, 8, mesh), programs.embedding(config, mesh)
    assert (train.steps, train.images) == (config.steps_per_dispatch, config.batch.identities * config.batch.images)
    assert (embed.steps, embed.images) == (1, 256)
    assert train.gflop / train.images == pytest.approx(3 * embed.gflop / embed.images)
    state, batches, *_ = train.lowered.in_avals[0]
    assert batches.image.shape == (8 * 16, *config.image_size, 3)
    assert batches.image.rows.dtype == np.uint8
    assert state.step.shape == ()


def test_a_batch_that_does_not_divide_over_the_devices_is_refused():
    config = run_config.load(str(TINY_CONFIG), [])

    class Three:
        size = 3

    with pytest.raises(InputError, match="does not divide over 3 devices"):
        programs.training(config, 8, Three())


@pytest.mark.parametrize(
    ("text", "package", "extra"),
    [("tpu:v5e:2x2", "libtpu", "tpu"), ("gpu:h100", "jax_cuda12_plugin", "cuda")],
)
def test_the_verb_compiles_for_hardware_that_is_not_here(text, package, extra, tmp_path, command):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the compiler that pip install 'reid_jax[{extra}]' brings")
    given = [f"--config={TINY_CONFIG}", f"--target={text}", "--identities=8", f"--json={tmp_path / 'told.json'}"]
    ran = command("rehearse", *given, "--config.model.dtype=bfloat16", f"--text={tmp_path}")
    assert ran.returncode == 0, ran.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    for work in ("train", "embed"):
        assert told[work]["fits"] is True
        assert told[work]["kernels"] > 10
        assert (told[work]["estimated_cycles"] is not None) == (extra == "tpu")
        assert told[work]["seconds"] > 0
        assert parse((tmp_path / f"{work}.hlo.txt").read_text())
    chips = 4 if extra == "tpu" else 1
    assert told["train"]["devices"] == chips
    assert bool(told["train"]["collectives"]) == (chips > 1)
    assert "compiled, not run" in ran.stdout
