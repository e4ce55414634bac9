"""Benches: contests compare round by round, figures add up, each kind of work runs to its JSON, bad input is told."""

import importlib.util
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from places import TINY_CONFIG

from reid_jax import config as run_config
from reid_jax import parallel
from reid_jax.bench import against, contest, made, measure
from reid_jax.bench.compilation import CompileTimes, compile_times
from reid_jax.bench.contest import OURS, Contest, Contestant, Result
from reid_jax.bench.input import index_seconds
from reid_jax.bench.made import make_images, make_variables
from reid_jax.bench.quantities import format_bytes, format_rate, format_seconds
from reid_jax.data.sampler import IdentitySampler
from reid_jax.describe import Encoder
from reid_jax.errors import InputError
from reid_jax.main import main
from reid_jax.models import summary
from reid_jax.models.registry import create_network, network_of
from reid_jax.text_table import format_table


def test_rounds_go_in_turn_and_the_first_is_not_counted():
    order = []
    seconds = measure.in_turn([lambda: order.append("a"), lambda: order.append("b")], 2)
    assert order == ["a", "b"] * 3
    assert [len(its) for its in seconds] == [2, 2]
    assert all(spent >= 0 for its in seconds for spent in its)


def test_a_timed_call_can_follow_on_an_uncounted_one():
    order = []
    seconds = measure.in_turn([lambda: order.append("a"), lambda: order.append("b")], 2, preceded=True)
    assert "".join(order) == "ab" + "aabb" * 2
    assert [len(its) for its in seconds] == [2, 2]


def test_a_ratio_is_the_median_of_the_rounds_not_of_the_medians():
    # The machine slows down eightfold in the middle of the second round, and stays so.
    assert contest.median_ratio(theirs=[2, 16, 16], ours=[1, 1, 8]) == 2
    assert contest.median_ratio(theirs=[1, 3], ours=[2, 2]) == 1


def test_contestants_with_other_amounts_of_work_are_compared_by_item(monkeypatch):
    monkeypatch.setattr(contest, "in_turn", lambda works, rounds, preceded: [(1.0, 2.0, 4.0), (2.0, 4.0, 8.0)])
    ran = contest.run_contest(
        [Contestant(OURS, None, 100), Contestant("other", None, 50)], 3, "images", gflop=2.0, peak=500
    )
    assert ran.results[1].ratio == 4
    ours, other = ran.figures()
    assert (ours["images_per_second"], ours["gflops"], ours["share_of_peak"]) == (50, 100, 0.2)
    assert (other["images_per_second"], other["median_seconds"], other["ratio"]) == (12.5, 4, 4)


def test_the_table_of_a_contest():
    results = (
        Result(Contestant(OURS, None, 64), (0.5, 0.25, 1.0), 1.0),
        Result(Contestant("torch NCHW", None, 64, difference=3e-7), (1.0, 0.5, 2.0), 2.0),
    )
    head, ours, theirs = Contest(results, "images", gflop=1.5, peak=400.0).table().splitlines()
    assert re.split(r"\s{2,}", head.strip()) == [
        *("a round", "from - to", "images/s", "GFLOP/s", "of peak", "reid_jax is", "differs by")
    ]
    assert re.split(r"\s{2,}", ours) == ["reid_jax", "500 ms", "250 ms - 1.00 s", "128", "192", "48.0 %"]
    assert re.split(r"\s{2,}", theirs)[-2:] == ["2.00x", "3e-07"]
    assert len(head) == len(theirs)
    alone = Contest(results[:1], "queries").table()
    assert "queries/s" in alone
    for absent in ("GFLOP", "peak", "is", "differs"):
        assert absent not in alone


def test_quantities_have_three_digits():
    assert [format_seconds(s) for s in (12.34, 1.0, 0.0561, 0.00091, 999.0)] == [
        *("12.3 s", "1.00 s", "56.1 ms", "910 us", "999 s")
    ]
    assert [format_rate(rate) for rate in (9.999, 24.56, 1059.4)] == ["10.00", "24.6", "1,059"]
    assert [format_bytes(count) for count in (423 * 2**20, 3 * 2**29)] == ["423 MiB", "1.50 GiB"]
    assert (
        format_table([("", "head"), ("row", "1"), ("longer", "23456")]) == "         head\nrow         1\nlonger  23456"
    )


def test_compile_times_are_cold_then_out_of_a_cache_that_is_gone_afterwards(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    traced, folders = [], []

    @jax.jit
    def function(x):
        traced.append(1)
        return jax.numpy.sin(x) @ x

    def compile_once():
        folders.append(jax.config.jax_compilation_cache_dir)
        return function.lower(np.ones((4, 4), np.float32)).compile()

    compiled, times = compile_times(compile_once)
    assert len(traced) == 2  # the second time nothing was left in memory
    assert times.cold > 0
    assert times.cached > 0
    assert folders[0] == folders[1] != before
    assert jax.config.jax_compilation_cache_dir == before
    assert not Path(folders[0]).exists()
    np.testing.assert_allclose(compiled(np.ones((4, 4), np.float32)), 4 * np.sin(1), rtol=1e-5)
    assert CompileTimes(3.0, 1.0).less(1.5) == CompileTimes(1.5, 0.0)
    assert "keeps none" in str(CompileTimes(3.0, None).less(1.0))


def test_index_seconds_are_those_of_epochs_drawn_anew(monkeypatch):
    sampler = IdentitySampler(np.repeat(np.arange(8), 8), 4, 4)
    drawn = []
    monkeypatch.setattr(sampler, "indices", lambda seed, step: drawn.append((seed, step)))
    assert index_seconds(sampler, 3) > 0
    assert len(drawn) == len(set(drawn)) == 3 * sampler.steps_per_epoch


def test_made_weights_tell_images_apart():
    config = run_config.load(str(TINY_CONFIG))
    network = network_of(config, 0)
    variables = make_variables(network, config.image_size)
    mesh = parallel.create_mesh()
    embedding = Encoder(network, variables, config.image_size, mesh).describe(make_images(8, config.image_size))
    assert np.isfinite(embedding).all()
    assert (embedding.std(0) > 1e-3).mean() > 0.3


# The tiny config's network without its local stream, which compiles in half the time.
NETWORK = (f"--config={TINY_CONFIG}", "--config.model.regions=False")


def run(tmp_path, *arguments):
    """Runs a bench in this process; returns its JSON."""
    out = tmp_path / "bench.json"
    assert main(["bench", *map(str, arguments), f"--json={out}"]) == 0
    return json.loads(out.read_text())


def test_bench_train_measures_a_step(tmp_path, capsys):
    options = ["--config.batch.identities=2", "--identities=4", "--steps=2", "--rounds=1", "--kernels"]
    report = run(tmp_path, "train", *NETWORK, *options)
    (ours,) = report["contestants"]
    assert ours["name"] == OURS
    assert ours["images"] == report["steps"] * report["batch"] == 2 * 4
    assert report["step_seconds"] == ours["median_seconds"] / 2 > 0
    config = run_config.load(str(TINY_CONFIG), NETWORK[1:])
    costs = summary.component_costs(network_of(config, 0), config.image_size)
    gflop = 2 * 3 * summary.total(costs).multiply_adds / 1e9
    assert ours["gflops"] == pytest.approx(gflop * ours["images_per_second"])
    assert ours["share_of_peak"] == pytest.approx(ours["gflops"] / report["machine"]["gflops"]["float32"])
    assert report["compile"]["cold"] > report["compile"]["cached"] > 0
    assert report["memory"]["arguments"] > 16 * 4 * 64 * 32 * 3  # the images lie on the device
    assert report["overrides"] == [NETWORK[1], options[0]]
    assert (report["dtype"], report["network"], report["identities"]) == ("float32", "nano", 4)
    assert report["kernels"]["by_kind"]["matrix products"]["seconds"] > 0
    said = capsys.readouterr().out
    assert "batches of 4, 2 steps a round, 4 identities" in said
    assert re.search(r"^compiling   .* cold, from the persistent cache ", said, re.MULTILINE)
    assert re.search(r"^a step .* image numbers, .* %$", said, re.MULTILINE)


def test_bench_embed_measures_descriptors(tmp_path, capsys):
    report = run(tmp_path, "embed", *NETWORK, "--images=8", "--rounds=1", "--kernels")
    (ours,) = report["contestants"]
    assert (ours["images"], report["images"], len(ours["seconds"])) == (8, 8, 1)
    assert ours["images_per_second"] == pytest.approx(8 / ours["seconds"][0])
    assert report["host_memory"] > 0
    assert report["machine"]["memory"] > 0
    assert report["kernels"]["by_kind"]["matrix products"]["seconds"] > 0
    said = capsys.readouterr().out
    assert "reid_jax" in said
    assert "kernels     of a dispatch: " in said


def test_bench_data_measures_each_part_and_both_at_once(tmp_path, data_dir, capsys):
    made = "synthetic:train_identities=14,test_identities=8,cameras=3,images_per_camera=3"
    report = run(tmp_path, "data", *NETWORK, f"--dataset={made}", f"--data_dir={data_dir}", "--rounds=1")
    decoding, network, together = report["rounds"]
    assert [row["name"] for row in report["rounds"]] == ["decoding", "network", "together"]
    assert decoding["images"] == report["images"] == 14 * 3 * 3
    slower = max(decoding["seconds"][0], network["seconds"][0])
    assert report["overlap_percent"] == pytest.approx(100 * slower / together["seconds"][0])
    assert report["index_seconds"] > 0
    assert "for a batch's image numbers" in capsys.readouterr().out


@pytest.mark.parametrize("work", ["rank", "verify", "rerank"])
def test_bench_of_retrieval_writes_what_it_measured(tmp_path, monkeypatch, work):
    monkeypatch.setitem(made.SIZES, "market1501", made.Size(12, 40, 5, 3, 4))
    report = run(tmp_path, work, "--dimensions=8", "--rounds=2")
    assert (report["work"], report["size"]["gallery"], len(report["seconds"])) == (work, 40, 2)
    assert report["median_seconds"] == pytest.approx(np.mean(report["seconds"]))


def told(capsys, *arguments) -> str:
    """The one line on stderr of a bench that is refused."""
    try:
        code = main(["bench", *map(str, arguments)])
    except SystemExit as exit_:
        code = exit_.code
    line = capsys.readouterr().err
    assert (code, line.count("\n")) == (2, 1)
    return line


@pytest.mark.parametrize(
    ("peer", "package", "words"),
    [
        ("torch", "torch", ("--against=torch needs torch, which is missing; pip install torch",)),
        ("torch_compiled", "torch", ("--against=torch_compiled needs torch",)),
        ("onnxruntime", "onnxruntime", ("needs onnxruntime", "reid_jax[export]")),
        ("openvino", "openvino", ("needs openvino", "pip install openvino")),
        ("torchreid", "torchreid", ("needs torchreid", "KaiyangZhou/deep-person-reid")),
    ],
)
def test_a_missing_package_is_told_before_anything_runs(capsys, monkeypatch, peer, package, words):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else object())
    line = told(capsys, "embed", f"--config={TINY_CONFIG}", f"--against={peer}")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", f"--config={TINY_CONFIG}", "--steps=0"], ("--steps", "0")),
        (["train", f"--config={TINY_CONFIG}", "--identities=-1"], ("--identities", "-1")),
        (["train", f"--config={TINY_CONFIG}", "--identities=3"], ("4 identities", "has 3")),
        (["train", f"--config={TINY_CONFIG}", "--against=openvino"], ("openvino", "torch_compiled")),
        (["train"], ("--config",)),
        (["embed", f"--config={TINY_CONFIG}", "--images=0"], ("--images", "0")),
        (["embed", f"--config={TINY_CONFIG}", "--config.model.widht=3"], ("widht", "width")),
        (["embed", f"--config={TINY_CONFIG}", "--image=3"], ("--image=3",)),
        (["data", "--config.model.name=nano"], ("--config.model.name=nano", "--config=FILE.py")),
        (["data", "--dataset=markt1501"], ("markt1501", "market1501")),
        (["rank", "--against=torch"], ("'torch'", "torchreid")),
        (["rerank", "--against=numpy"], ("'numpy'", "torchreid")),
        (["verify", "--against=torchreid"], ("--against",)),
        (["learn"], ("'learn'", "train")),
    ],
)
def test_what_is_wrong_is_told_in_one_line(capsys, arguments, words):
    line = told(capsys, *arguments)
    for word in words:
        assert word in line


def test_more_items_than_a_peer_finds_memory_for_are_told_before_anything_runs(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(made.SIZES, "msmt17", made.Size(10**6, 10**7, 750, 6))
    line = told(capsys, "rerank", "--size=msmt17", "--against=torchreid")
    for words in ("11,000,000 items", "GiB", "--size"):
        assert words in line
    against.check_reranking([], 10**9)


def test_networks_and_losses_that_a_peer_has_not_are_told():
    config = run_config.default()
    ours = create_network("robust_reid_1x", 751, logit_scale_learned=True)
    against.check_network(["torch", "torch_compiled", "openvino", "onnxruntime"], ours, config, trains=True)
    with pytest.raises(InputError, match=r"--against=torch has networks with block='shuffle' only.* 'inception'"):
        against.check_network(["torch"], create_network("hacnn", 751), config)
    against.check_network(["torchreid"], create_network("hacnn", 751, crop_align_corners=False), config)
    with pytest.raises(InputError, match=r"--against=torchreid has networks with block='inception' only"):
        against.check_network(["torchreid"], ours, config)
    config.loss.mining = "batch_hard"
    against.check_network(["torch"], ours, config)
    with pytest.raises(InputError, match="--against=torch trains with the batch-soft"):
        against.check_network(["torch"], ours, config, trains=True)
    config.loss.triplet_weight = 0.0
    against.check_network(["torch"], ours, config, trains=True)
    config.image_size = (96, 32)
    with pytest.raises(InputError, match=r"torchreid: its HA-CNN takes images of \(160, 64\).* \(96, 32\)"):
        against.check_network(["torchreid"], create_network("hacnn", 751), config)
