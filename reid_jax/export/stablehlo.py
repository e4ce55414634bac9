"""Weights to StableHLO: the forward pass as it is, with its weights, for CPU, CUDA and TPU in one file."""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np
from jax import export

from reid_jax.describe import describe
from reid_jax.errors import InputError, shown
from reid_jax.export import parity
from reid_jax.export.facts import Facts
from reid_jax.export.tracing import for_any_number, images_of, plain
from reid_jax.files.json_files import read_json, write_json
from reid_jax.files.writing import replace_file
from reid_jax.models.registry import dtype_of
from reid_jax.weights import Weights

PLATFORMS = ("cpu", "cuda", "tpu")

_PROGRAM = "program"  # the SHA-256 of the file, in the JSON beside it


def export_stablehlo(
    weights: Weights, path: str | os.PathLike, *, thresholds: Mapping[str, float] | None = None
) -> parity.Written:
    """Writes `describe` with these weights, uint8 [n, h, w, 3] -> float32 [n, d], as `jax.export.deserialize` reads it.

    The number of images is open. FILE.metadata.json beside it has the `Facts`, and the program's SHA-256. Raises
    InputError where what was written and read again describes images otherwise than our forward pass: then no file is
    left.
    """
    path, image_size = Path(path), tuple(weights.config.image_size)
    network, variables = weights.network, {key: weights.variables[key] for key in ("params", "batch_stats")}
    forward = plain(lambda image: describe(network, variables, image))
    with for_any_number():
        exported = export.export(forward, platforms=PLATFORMS)(images_of(image_size, np.uint8))
    data = bytes(exported.serialize())
    batches = parity.made_batches(image_size)
    expected = parity.own_descriptors(weights, batches)
    facts = Facts.of(weights, True, dtype_of(weights.config), thresholds or {})
    most = parity.CLOSE if facts.precision == "float32" else parity.CLOSE_IN_BFLOAT16
    difference = 0.0

    def write(temporary: Path) -> None:
        nonlocal difference
        temporary.write_bytes(data)
        difference = parity.require_parity(path, batches, expected, _load(temporary.read_bytes(), facts), most)
        write_json(f"{path}.metadata.json", {**facts.texts(), _PROGRAM: hashlib.sha256(data).hexdigest()})

    replace_file(path, write)
    return parity.Written(path, len(data), difference, f"for {', '.join(PLATFORMS)}")


def open_stablehlo(path: Path) -> tuple[Facts, Callable[[np.ndarray], np.ndarray]]:
    """Reads a file and the JSON beside it: its facts, and its function, uint8 images [n, h, w, 3] -> float32 [n, d].

    Raises InputError where either is missing or damaged, or the two do not belong together.
    """
    beside = f"{path}.metadata.json"
    texts = read_json(beside)
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise InputError(f"{beside}, which tells of which weights it is, is missing or damaged; export it again")
    data, facts = path.read_bytes(), Facts.read(texts)
    digest = hashlib.sha256(data).hexdigest()
    if texts.get(_PROGRAM, digest) != digest:  # files from before it was told have none
        raise InputError(f"{beside} tells of another program than the one in this file; export it again")
    return facts, _load(data, facts)


def _load(data: bytes, facts: Facts) -> Callable[[np.ndarray], np.ndarray]:
    """The function that a file holds, compiled; InputError where it is none, or not what `facts` say."""
    try:
        exported = export.deserialize(bytearray(data))
        have = [(str(aval.dtype), list(aval.shape[1:])) for aval in (*exported.in_avals, *exported.out_avals)]
    except Exception as error:  # the reader of the format raises whatever it stumbles over
        raise InputError(f"it is no program that jax.export reads ({shown(error)}); export it again") from error
    wanted = [("uint8", [*facts.image_size, 3]), ("float32", [sum(facts.streams)])]
    if have != wanted:
        raise InputError(
            f"its input and output are {shown(have)}, and what lies beside it says {shown(wanted)}; export it again"
        )
    forward = jax.jit(exported.call)
    return lambda image: np.asarray(forward(image))
