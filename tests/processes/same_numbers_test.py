"""The same numbers anywhere: on any number of devices and processes, also where a run goes on on others."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from places import ROOT
from safetensors.numpy import load_file

from reid_jax.files.json_files import read_json
from reid_jax.training.metric_writer import read_records

# On the first 1, 2, 4 and 8 of the devices that there are, or on all processes': two batches as they are drawn and
# augmented; on 1 and 8, or all processes', two steps on them, weights collected twice, and BatchNorm's statistics
# computed anew, and then two steps with BatchNorm by four groups; how many sums over devices a forward pass takes, with
# one group and with four.
PROGRAM = """
import hashlib, json, sys
import jax, numpy as np
from jax.sharding import AxisType, Mesh
from reid_jax import config as run_config, parallel, swag
from reid_jax.averaging.batch_statistics import recalibrate
from reid_jax.averaging.cycles import WeightAverages
from reid_jax.models.registry import network_of
from reid_jax.processes import joining
from reid_jax.training import assemble
from reid_jax.training.batch_groups import forward_in_groups
from reid_jax.training.batches import Resident
from reid_jax.training.sources import batch_indices
from reid_jax.training.state import create_state, init_variables
from reid_jax.training.steps import compile_chunk, draw_batch

config = run_config.load(sys.argv[1])
joining.initialize()
random = np.random.default_rng(0)
whole = random.integers(0, 256, (24, *config.image_size, 3), np.uint8)
label = np.repeat(np.arange(6), 4).astype(np.int32)
sampler = assemble.sampler_of(config, label, np.zeros(24, np.int32))
network, key = network_of(config, 6), jax.random.key(3)
if jax.process_count() > 1:
    meshes = [parallel.create_mesh()]
else:
    devices = np.array(jax.devices())
    meshes = [Mesh(devices[:n], ("data",), axis_types=(AxisType.Auto,)) for n in (1, 2, 4, 8)]
for mesh in meshes:
    image = parallel.place_whole(mesh, whole)
    given = Resident(image, label, batch_indices(sampler, 0, 0, 2, 2))
    augmentation, read = assemble.augmentation_of(config), parallel.replicate(mesh)
    drawn = jax.jit(lambda given, step: draw_batch(given, step, augmentation, mesh, key, step))
    batches = [read(drawn(given, step)) for step in range(2)]
    bits = hashlib.sha256(b"".join(np.asarray(each).tobytes() for batch in batches for each in batch)).hexdigest()
    if jax.process_count() == 1 and mesh.size in (2, 4):
        print(json.dumps({"devices": mesh.size, "bits": bits}))
        continue
    variables = init_variables(network, jax.random.key(0), config.image_size)
    optimizer = assemble.optimizer_of(config, lambda step: 0.01, variables["params"])
    state = parallel.place_whole(mesh, create_state(variables, optimizer))
    averages = WeightAverages(network, image, mesh, augmentation, swag.Settings(2, 2, 0, 0.5, 0.0))
    moments = averages.collect(averages.init(state.params), state.params)
    objective = assemble.objective_of(config)
    state, history = compile_chunk(network, optimizer, objective, augmentation, mesh)(state, given, 2, key)
    moments = averages.collect(moments, state.params)
    statistics = recalibrate(network, moments.mean, image, mesh, augmentation=augmentation, batch=8)
    trees = read((state.params, state.batch_stats, moments, statistics))
    numbers = {name: np.asarray(values).tolist() for name, values in history.items() if name != "accuracy"}
    in_groups = compile_chunk(network, optimizer, objective, augmentation, mesh, groups=4)(state, given, 2, key)[1]
    numbers["in_groups"] = np.asarray(in_groups["loss"]).tolist()
    numbers["norms"] = [float(np.linalg.norm(np.asarray(leaf, np.float64))) for leaf in jax.tree.leaves(trees)]
    sums = []
    shapes = jax.eval_shape(lambda: (variables, batches[0][0]))
    for groups in (1, 4):
        forward = lambda variables, image: forward_in_groups(network, variables, image, groups)[0]
        spread = jax.jit(forward, in_shardings=(parallel.replicated(mesh), parallel.by_example(mesh)))
        sums.append(spread.lower(*shapes).compile().as_text().count(" all-reduce("))
    if jax.process_index() == 0:
        numbers["sums"] = sums
        print(json.dumps({"devices": mesh.size, "bits": bits, **numbers}))
"""
CONFIG = ROOT / "tests" / "own_network" / "config.py"


def start(line, processes=1, devices=1, patient=()):
    """Starts a program as so many processes of so many devices each."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    started = []
    for number in range(processes):
        flags = "--xla_cpu_multi_thread_eigen=false"  # processes share few cores
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags} --xla_force_host_platform_device_count={devices}",
            "PYTHONPATH": str(ROOT),
        }
        if processes > 1:
            environment |= {
                "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
                "JAX_NUM_PROCESSES": str(processes),
                "JAX_PROCESS_ID": str(number),
            }
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        program = [sys.executable, *(["tests/patient.py"] if number in patient else line[:2]), *line[2:]]
        started.append(subprocess.Popen(program, env=environment, cwd=ROOT, **pipes))
    return started


def end(processes) -> str:
    """What process 0 printed on stdout, once all have ended well."""
    said = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said[0][0]


def test_batches_are_the_same_bit_for_bit_and_all_else_but_for_rounding():
    line = ["-c", PROGRAM, str(CONFIG)]
    eight, four = start(line, devices=8), start(line, processes=4)
    rows = [json.loads(line) for line in (end(eight) + end(four)).splitlines() if line.startswith("{")]
    assert [row.pop("devices") for row in rows] == [1, 2, 4, 8, 4]
    assert len({row.pop("bits") for row in rows}) == 1
    sums = [row.pop("sums") for row in rows if "sums" in row]
    assert sums[0] == [0, 0]
    assert sums[-1] == [2, 0]  # four processes: a group each, whose statistics stay there
    one, _, _, *others = rows
    assert {"loss", "triplet", "gradient_norm", "norms"} <= set(one)
    for row in others:
        for name, values in one.items():
            np.testing.assert_allclose(row[name], values, rtol=2e-4, atol=1e-5, err_msg=name)


def test_told_by_one_all_save_the_same_step_and_other_devices_go_on(data_dir, tmp_path):
    line = ["-m", "reid_jax.main", "train", f"--config={CONFIG}", f"--config.data_dir={data_dir}"]
    # The stop comes before weights were collected: what collects them is saved all the same.
    line += ["--config.schedule.cycle_epochs=2", "--config.steps_per_dispatch=1"]
    processes = start([*line, f"--workdir={tmp_path / 'two'}"], processes=2, patient=[1])
    for _ in range(6000):
        if read_records(tmp_path / "two" / "metrics.jsonl") or any(each.poll() is not None for each in processes):
            break
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    (stopped,) = re.findall(r"^stopped at step (\d) of 6 and saved", end(processes), re.MULTILINE)
    assert 2 <= int(stopped) <= 5
    saved = [path.name for path in (tmp_path / "two" / "checkpoints").iterdir() if path.name.isdigit()]
    assert max(saved) == stopped

    runs = {devices: shutil.copytree(tmp_path / "two", tmp_path / f"by_{devices}") for devices in (1, 4)}
    for devices, workdir in runs.items():
        assert f"resumed at step {stopped} of 6" in end(start([*line, f"--workdir={workdir}"], devices=devices))
    one, four = (read_records(workdir / "metrics.jsonl") for workdir in runs.values())
    assert [record["step"] for record in one if "loss" in record] == [1, 2, 3, 4, 5, 6]
    for a, b in zip(one, four, strict=True):
        if "loss" in a:
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-3)
    for name in ("weights.safetensors", "swag.safetensors"):
        by_one, by_four = (load_file(workdir / name) for workdir in runs.values())
        for tensor, values in by_one.items():
            np.testing.assert_allclose(values, by_four[tensor], rtol=1e-2, atol=1e-3, err_msg=tensor)
    assert read_json(runs[1] / "results.json").keys() == read_json(runs[4] / "results.json").keys()
