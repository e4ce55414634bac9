"""Portable weights: one safetensors file with parameters, BatchNorm statistics and, in the header, the config.

Unlike a checkpoint it restores anywhere, whatever the devices, and any safetensors reader opens it. A file of averaged
weights (SWA) also carries the variance and the deviations around them that SWAG samples from.
"""

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from reid_jax import config as run_config
from reid_jax import zoo
from reid_jax.convert.torch_file import is_torch_file
from reid_jax.errors import InputError, shown
from reid_jax.files.json_text import parse_json
from reid_jax.files.writing import replace_file
from reid_jax.models.registry import network_of
from reid_jax.models.variables import require_sound
from reid_jax.swag import Moments

# The weights that a run leaves in its workdir.
LAST = "weights.safetensors"
STOPPED = "stopped.safetensors"  # of a run that SIGTERM stopped, until it has ended
BEST = "best.safetensors"  # on the held-out identities
AVERAGED = "swag.safetensors"  # the mean of those at the ends of the cycles, with SWAG's moments

_VERSION = 1
_TYPES = {"float32": "F32", "int32": "I32"}  # as safetensors calls them

_Claims = dict[str, tuple[str, tuple[int, ...]]]  # array -> type in safetensors' words, shape


@dataclasses.dataclass(frozen=True)
class Weights:
    """A trained network: its config, its identities (0 without classifiers) and its variables of numpy arrays.

    `moments` are SWAG's, with `variables['params']` as their mean, where the weights are an average; None otherwise.
    `people` is the digest of the identities that the classifiers tell apart
    (`training.init_from.people_digest`), '' where it is not known.
    """

    config: ConfigDict
    identities: int
    variables: dict[str, Any]
    moments: Moments | None = None
    people: str = ""

    @property
    def network(self) -> Any:
        """The network that takes these variables."""
        return network_of(self.config, self.identities)


def save_weights(path: str | os.PathLike, weights: Weights, half: bool = False) -> None:
    """Writes `weights` to `path`, complete or not at all; raises InputError where it cannot be written.

    With `half` the parameters are stored rounded to float16, which takes half the room; statistics and moments are not.
    What is read again is float32.
    """
    tree = dict(weights.variables)
    if weights.moments is not None:  # their mean is the parameters
        tree["swag"] = {"count": weights.moments.count, "variance": weights.moments.variance}
        if weights.moments.deviations is not None:
            tree["swag"]["deviations"] = weights.moments.deviations
    flat = {key: np.asarray(leaf, order="C") for key, leaf in flatten_dict(tree, sep="/").items()}
    if half:
        flat = {key: leaf.astype(np.float16) if key.startswith("params/") else leaf for key, leaf in flat.items()}
    # One entry: safetensors writes several in a random order, and equal weights are to be equal files.
    header = {"version": _VERSION, "identities": weights.identities, "config": run_config.to_dict(weights.config)}
    if half:
        header["half"] = True
    if weights.people:
        header["people"] = weights.people
    data = save({key: flat[key] for key in sorted(flat)}, {"reid_jax": json.dumps(header)})
    replace_file(path, lambda temporary: temporary.write_bytes(data))


def load_weights(path: str | os.PathLike, name: str = LAST) -> Weights:
    """Reads the weights in file `path`, or file `name` of a run where `path` is its workdir, by default the last ones.

    `path` may also be a name of the zoo, zoo:NAME; see `reid_jax.zoo`.

    Nothing is built or read before the header's claims agree with each other and with the file's size.

    Raises InputError for a missing or foreign file, and where the arrays are not those of the config's network: names,
    types and shapes, numbers that are not finite and negative variances.
    """
    path = _file_of(path, name)
    with _opened(path) as file:
        config, identities, people, half = _read_header(path, file.metadata() or {})
        entries = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        claims = {key: (entry.get_dtype(), tuple(entry.get_shape())) for key, entry in entries.items()}
        expected = _expected(path, config, identities, claims)
        if half:
            expected |= {key: ("F16", shape) for key, (_, shape) in expected.items() if key.startswith("params/")}
        _require(path, claims, expected)
        flat = {key: file.get_tensor(key) for key in claims}
    flat = {key: leaf.astype(np.float32) if leaf.dtype == np.float16 else leaf for key, leaf in flat.items()}
    try:
        require_sound(flat, lambda key: key.endswith("/var") or key.startswith("swag/variance/"))
    except InputError as error:
        raise InputError(f"{path}: {error}; its run went wrong, or the file is damaged") from error
    variables = {"batch_stats": {}, **unflatten_dict(flat, sep="/")}  # a network may have no BatchNorm
    moments = variables.pop("swag", None)
    weights = Weights(config, identities, variables, people=people)
    if moments is None:
        return weights
    moments = Moments(moments["count"], variables["params"], moments["variance"], moments.get("deviations"))
    return dataclasses.replace(weights, moments=moments)


def read_config(path: str | os.PathLike, name: str = LAST) -> ConfigDict:
    """Returns the config of the weights that `load_weights` would read: their header alone, nothing built or traced.

    Raises InputError for a missing or foreign file.
    """
    path = _file_of(path, name)
    with _opened(path) as file:
        return _read_header(path, file.metadata() or {})[0]


def without_classifiers(weights: Weights) -> Weights:
    """Returns the weights without what only training needs: classifiers, and the moments of an average."""
    kept = _shapes(network_of(weights.config, 0), weights.config.image_size)
    flat = flatten_dict(dict(weights.variables), sep="/")
    variables = {"batch_stats": {}, **unflatten_dict({key: flat[key] for key in kept}, sep="/")}
    return Weights(weights.config, 0, variables)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The safetensors file at `path`; InputError for what is none."""
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError) as error:
        if path.is_file() and is_torch_file(path):
            raise InputError(
                f"{path} is a PyTorch file; make weights of it by reid-jax convert --torch={path} --out=OUT.safetensors"
            ) from error
        if path.suffix.lower() in (".onnx", ".stablehlo"):
            raise InputError(
                f"{path} is an export, which embed and evaluate take; here give the weights that it was made of"
            ) from error
        raise InputError(f"{path} is no readable safetensors file: {shown(error)}") from error


def _file_of(path: str | os.PathLike, name: str) -> Path:
    """The file `path`, file `name` of the run whose workdir it is, or that of `zoo:NAME`."""
    path = zoo.file_of(os.fspath(path)) if zoo.is_name(path) else Path(os.path.expanduser(path))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"{path} is no workdir of a run: it has no config.json; name a run's or a weights file")
        if name == AVERAGED and not (path / name).is_file() and (path / LAST).is_file():
            raise InputError(f"{path} has no {name}: its run collected no weights; see configs/swag.py")
        if not (path / name).is_file():
            raise InputError(f"{path} has no {name} yet: its run has not ended; resume it by its command")
        return path / name
    if not path.is_file():
        raise InputError(f"{path} does not exist; name a run's workdir, a .safetensors file or zoo:NAME")
    return path


def _read_header(path: Path, metadata: dict[str, str]) -> tuple[ConfigDict, int, str, bool]:
    """(config, identities, digest of the identities, whether the parameters are float16)."""
    if "reid_jax" not in metadata:
        raise InputError(
            f"{path} is a safetensors file, but not one of reid_jax's; for PyTorch weights see `reid-jax convert`"
        )
    try:
        header = parse_json(metadata["reid_jax"])
    except InputError as error:
        raise InputError(f"{path}: its header {error}; fetch it again") from error
    header = header if isinstance(header, dict) else {}
    config, identities, people = header.get("config"), header.get("identities"), header.get("people", "")
    half = header.get("half", False)
    if not isinstance(config, dict) or type(identities) is not int or identities < 0 or not isinstance(people, str):
        raise InputError(f"{path}: its header has no readable config and identities; fetch it again")
    if not isinstance(half, bool):
        raise InputError(f"{path}: its header says of half precision {shown(half)}; fetch it again")
    try:
        return run_config.from_dict(config), identities, people, half
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _expected(path: Path, config: ConfigDict, identities: int, claims: _Claims) -> _Claims:
    """The arrays of the config's network, and SWAG's where the file has any of them."""
    try:
        network = network_of(config, identities)
        _require_room(network, claims)
        shapes = _shapes(network, config.image_size)
    except Exception as error:  # Flax and JAX raise many kinds for a network that nobody could mean
        reason = shown(str(error).partition("\n")[0] or type(error).__name__)
        raise InputError(f"{path}: the network of its config cannot be built ({reason}); fetch it again") from error
    expected = {key: (_TYPES[leaf.dtype.name], leaf.shape) for key, leaf in shapes.items()}
    if not any(key.startswith("swag/") for key in claims):
        return expected
    params = {key: shape for key, (_, shape) in expected.items() if key.startswith("params/")}
    swag = {"count": ("I32", ())}
    swag |= {key.replace("params", "variance", 1): ("F32", shape) for key, shape in params.items()}
    deviations = [shape for key, (_, shape) in claims.items() if key.startswith("swag/deviations/")]
    if deviations:
        rank = deviations[0][:1]
        swag |= {key.replace("params", "deviations", 1): ("F32", (*rank, *shape)) for key, shape in params.items()}
    return expected | {f"swag/{key}": claim for key, claim in swag.items()}


def _shapes(network: Any, image_size: tuple[int, int]) -> dict[str, jax.ShapeDtypeStruct]:
    """The network's arrays by path, as 'params/conv1/kernel'."""
    image = jax.ShapeDtypeStruct((2, *image_size, 3), np.float32)
    tree = jax.eval_shape(lambda i: network.init(jax.random.key(0), i, train=True), image)
    return flatten_dict(dict(tree), sep="/")


def _require_room(network: Any, claims: _Claims) -> None:
    """Checks that the file holds what a network of these fields has at the least: tracing takes time by them."""
    least = _least_size(network)
    least |= {"identities": (network.identities * len(network.streams), 0)}
    elements = sum(math.prod(shape) for _, shape in claims.values())
    for field, (numbers, arrays) in least.items():
        if numbers > elements:
            raise InputError(f"{field} asks for at least {numbers:,} numbers, and the file has {elements:,}")
        if arrays > len(claims):
            raise InputError(f"{field} ask for at least {arrays:,} arrays, and the file has {len(claims):,}")


def _least_size(network: Any) -> dict[str, tuple[int, int]]:
    """What the class says of which the forward pass is, or one derived from it: with another pass it may be smaller."""
    for known in type(network).__mro__:
        if "least_size" in vars(known):
            return network.least_size()
        if "__call__" in vars(known):
            break
    return {}


def _require(path: Path, claims: _Claims, expected: _Claims) -> None:
    def told(claim: tuple[str, tuple[int, ...]] | None, absent: str) -> str:
        return absent if claim is None else f"{shown(claim[1])} {claim[0]}"

    for key in sorted(expected.keys() | claims.keys()):
        if expected.get(key) != claims.get(key):
            have, want = told(claims.get(key), "absent"), told(expected.get(key), "none")
            raise InputError(f"{path}: array {shown(key)} is {have}, but the network of its config wants {want}")
