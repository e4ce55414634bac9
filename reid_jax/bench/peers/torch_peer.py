"""PyTorch at the work of a bench: eager or compiled, in both memory layouts, on all cores or on the GPU.

What favours it: batches lie in memory, normalised; in training they are the same few, without augmentation.
"""

import copy
import itertools
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
import torch
from ml_collections import ConfigDict
from torch import nn

from reid_jax.bench.against import Task
from reid_jax.bench.agreement import check
from reid_jax.bench.contest import Contestant
from reid_jax.bench.peers.torch_network import TorchNetwork, load_variables, objective, optimizer

LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def trainers(task: Task, compiled: bool = False) -> Iterator[Contestant]:
    """Yields our network in PyTorch as it trains, in each layout."""
    yield from module_trainers("torch", network_of(task), task, compiled)


def embedders(task: Task, compiled: bool = False) -> Iterator[Contestant]:
    """Yields our network in PyTorch as it embeds, in each layout."""
    yield from module_embedders("torch", network_of(task), task, compiled)


def network_of(task: Task) -> TorchNetwork:
    """The task's network and weights in PyTorch, on the CPU, in inference mode; its descriptors are ours."""
    network = TorchNetwork(task.network).eval()
    load_variables(network, task.variables)
    check("torch", describe(network, task.sample), task.embedding)
    return network


def module_trainers(name: str, network: nn.Module, task: Task, compiled: bool) -> Iterator[Contestant]:
    """Yields steps of forward pass, loss, backward pass and SGD on `network`: see `TorchNetwork` for its results."""
    difference = check(name, describe(network, task.sample), task.embedding)
    for layout, options in _ways(compiled):
        trained = copy.deepcopy(network).to(device(), memory_format=LAYOUTS[layout]).train()
        descent = optimizer(trained, task.config)
        batches = [
            (_on_device(image, LAYOUTS[layout]), torch.from_numpy(label).to(device()))
            for image, label in zip(task.batches, task.label, strict=True)
        ]

        def loss_of(image, label, trained=trained):
            return objective(*trained(image), label, task.config)

        if compiled:
            loss_of = torch.compile(loss_of, **options)

        def step(image, label, loss_of=loss_of, descent=descent):
            with _precision(task.config):
                loss = loss_of(image, label)
            descent.zero_grad(set_to_none=True)
            loss.backward()
            descent.step()

        def work(step=step, batches=batches):
            for batch in itertools.islice(itertools.cycle(batches), task.passes):
                step(*batch)
            _synchronise()

        seconds = _compile_seconds(lambda step=step, batch=batches[0]: step(*batch)) if compiled else None
        yield Contestant(_name(name, layout, options, compiled), work, task.images, difference, seconds)


def module_embedders(name: str, network: nn.Module, task: Task, compiled: bool) -> Iterator[Contestant]:
    """Yields descriptors of `network`, on the host at the end of a round."""
    for layout, options in _ways(compiled):
        forward = copy.deepcopy(network).to(device(), memory_format=LAYOUTS[layout])
        if compiled:
            forward = torch.compile(forward, **options)
        batches = [_on_device(image, LAYOUTS[layout]) for image in task.batches]

        def embed(batches, forward=forward):
            with torch.inference_mode(), _precision(task.config):
                # Cloned: CUDA graphs write every batch's result to the same place.
                return torch.cat([forward(batch).float().clone() for batch in batches]).cpu().numpy()

        def work(embed=embed, batches=batches):
            return embed(itertools.islice(itertools.cycle(batches), task.passes))

        seconds = _compile_seconds(lambda embed=embed, batch=batches[0]: embed([batch])) if compiled else None
        label = _name(name, layout, options, compiled)
        difference = check(label, embed(batches[:1]), task.embedding, exact(task.config))
        yield Contestant(label, work, task.images, difference, seconds)


def device() -> torch.device:
    """The GPU where JAX works on one and PyTorch finds it, else the CPU."""
    return torch.device("cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu")


def exact(config: ConfigDict) -> bool:
    """Whether results are float32's: a GPU multiplies in fewer digits by default."""
    return config.model.dtype == "float32" and device().type == "cpu"


def describe(network: nn.Module, image: np.ndarray) -> np.ndarray:
    """The descriptors float32 [n, d] of normalised images float32 [n, h, w, 3], on the CPU."""
    with torch.inference_mode():
        return network(torch.from_numpy(image).permute(0, 3, 1, 2)).numpy()


def _ways(compiled: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """Layouts with the options of `torch.compile`."""
    modes: list[dict[str, str]] = [{}]
    if compiled and device().type == "cuda":
        modes.append({"mode": "reduce-overhead"})  # CUDA graphs
    yield from itertools.product(LAYOUTS, modes)


def _name(name: str, layout: str, options: dict[str, str], compiled: bool) -> str:
    return f"{name}{' compiled' if compiled else ''} {layout}{' CUDA graphs' if options else ''}"


def _precision(config: ConfigDict) -> torch.autocast:
    return torch.autocast(device().type, torch.bfloat16, enabled=config.model.dtype == "bfloat16")


def _on_device(image: np.ndarray, layout: torch.memory_format) -> torch.Tensor:
    return torch.from_numpy(image).permute(0, 3, 1, 2).to(device()).contiguous(memory_format=layout)


def _compile_seconds(call: Callable[[], object]) -> float:
    """What a first call takes more than a later one."""
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        call()
        _synchronise()
        seconds.append(time.perf_counter() - begin)
    return seconds[0] - seconds[1]


def _synchronise() -> None:
    if device().type == "cuda":
        torch.cuda.synchronize()
