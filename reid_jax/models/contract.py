"""What a class must be to be a network here, and the checks that tell a user's own class where it is not.

A network is a Flax module (`flax.linen`, a class of its own) with

  identities: int              a field: classes of the classifiers, 0 for none
  __call__(image, train)       normalised images float [n, h, w, 3], whether in training -> `Output`
  streams: tuple[int, ...]     a property: widths of the vectors that the descriptor concatenates, in their order

- Every other field has a default. Those that are switches, numbers, texts or tuples of numbers are keys of a config,
  `config.model.FIELD`; a field `dtype` is that of the computation, 'float32' or 'bfloat16'. Parameters, statistics and
  what `Output` holds are float32.
- `Output.embedding` is of unit norm, a part for each stream. In training `Output.logits` has an array for each stream
  where `identities` is above 0, and is () otherwise; `Output.features` has one for each stream.
- Variables are the collections 'params' and, with BatchNorm, 'batch_stats'. BatchNorm is `flax.linen.BatchNorm` or
  `reid_jax.models.blocks.BatchNorm`: averaged weights need its statistics computed anew. Images are its first axis.
- What depends on `identities` are the parameters of the modules called 'classifier' or 'classifier_...', created in
  training alone: starting from other weights leaves these out where the people are others.
- Parameters are called kernel, bias, scale, p or log_scale, as the optimiser's rules know them
  (`reid_jax.training.optim.default_rules`).

Optional attributes of the class, each absent without harm:

  PRESETS: dict[str, dict[str, Any]]    name -> fields that differ from the class's defaults (classes in the package)
  RANGES: dict[str, Range]              field -> what it may be, see `reid_jax.ranges`; else what its default's type is
  CONFIG_DEFAULTS: dict[str, Any]       field -> its value in a config that does not set it; else the preset's
  config_defaults() -> dict             a method: the same, of those that depend on the other fields
  IMAGE_SIZE: Range                     what (height, width) may be, in pixels; else each any from 8 to 1,024
  COMPONENTS: tuple[tuple[str, str]]    rows of the cost table, in order: (regular expression that a module's path
                                        'a/b' begins with, row, which may hold \\1); else a row for each module of the
                                        network, in the order of their calls
  least_size() -> dict                  a method: field -> (numbers, arrays) that weights of these fields have at the
                                        least; bounds the time that reading a damaged weights file takes. A class
                                        with a __call__ of its own inherits none

Attention maps are those of `reid_jax.models.attention_maps`, a size in the paper's terms that of
`reid_jax.reporting.paper`, converters stand in `reid_jax.convert.formats`, peers in `reid_jax.bench.against`: tables by
class, which classes derived from those there share, and which other networks do without.
"""

import dataclasses
import functools
import inspect
import traceback
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from reid_jax.errors import InputError, did_you_mean, first_few, shown
from reid_jax.models.fields import fields_of
from reid_jax.models.output import Output

_COLLECTIONS = {"params", "batch_stats"}


def require_class(name: str, network_class: type) -> None:
    """Raises InputError, naming the class and what it lacks, where a class is no network by its fields and methods."""

    def refuse(what: str) -> None:
        raise InputError(f"model.name is {shown(name)!r}, which is no network: {what}; see reid_jax/models/contract.py")

    if not issubclass(network_class, nn.Module):
        refuse("it is no flax.linen.Module")
    names = [field.name for field in fields_of(network_class)]
    if "identities" not in names:
        refuse("it has no field identities")
    bare = [
        field.name
        for field in fields_of(network_class)
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        and field.name != "identities"
    ]
    if bare:
        refuse(f"its field {bare[0]} has no default")
    if not hasattr(network_class, "streams"):
        refuse("it has no property streams")
    try:
        inspect.signature(network_class.__call__).bind(None, None, train=True)
    except TypeError:
        refuse("its __call__ does not take (image, train)")
    for attribute in ("RANGES", "CONFIG_DEFAULTS"):
        for field in getattr(network_class, attribute, {}):
            if field not in names:
                refuse(f"{attribute} names {field!r}, which is no field{did_you_mean(str(field), names)}")


@functools.cache
def require_network(name: str, network: nn.Module, image_size: tuple[int, int]) -> None:
    """Raises InputError where a network of this class cannot be built or returns what the contract does not say.

    Nothing is computed: the network is traced for two images of (height, width), with classifiers and without, in
    training and in inference.
    """
    where = f"model.name is {shown(name)!r}, which on images of {image_size[0]}x{image_size[1]}"
    try:
        few, more, bare = (_shapes(network.clone(identities=count), image_size) for count in (2, 3, 0))
    except Exception as error:  # the user's own code: it may raise anything
        if isinstance(error, InputError):
            raise
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
        line = f", line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""
        reason = shown(str(error).partition("\n")[0])
        raise InputError(f"{where} cannot be built: {type(error).__name__}{line}: {reason}") from error

    def refuse(what: str) -> None:
        raise InputError(f"{where} {what}; see reid_jax/models/contract.py")

    foreign = sorted(set(few.variables) - _COLLECTIONS)
    if foreign or "params" not in few.variables:
        refuse(f"has the variables {first_few(foreign or sorted(few.variables))}; they are 'params' and 'batch_stats'")
    single = [(p, leaf.dtype) for p, leaf in _paths(few.variables).items() if leaf.dtype != jnp.float32]
    if single:
        refuse(f"has the variable {single[0][0]} of type {single[0][1]}; variables are float32")
    for output, identities in ((few.train, 2), (few.infer, 0), (bare.train, 0), (bare.infer, 0)):
        if not isinstance(output, Output):
            refuse(f"returns {type(output).__name__}; it returns reid_jax.models.output.Output")
        streams = few.streams
        wanted = Output(
            (2, sum(streams)),
            tuple((2, None) for _ in streams),
            tuple((2, identities) for _ in streams) if identities else (),
        )
        for field, shapes in wanted._asdict().items():
            said = "in training " if output in (few.train, bare.train) else "in inference "
            _require_arrays(refuse, f"{said}returns {field}", getattr(output, field), shapes)
    a, b, none = (_paths(each.variables["params"]) for each in (few, more, bare))
    depend = [path for path, leaf in a.items() if path not in b or leaf.shape != b[path].shape or path not in none]
    unnamed = [path for path in depend if not is_classifier(path)]
    if unnamed:
        refuse(f"has {unnamed[0]} by the number of identities; call its module classifier or classifier_...")


def is_classifier(path: str) -> bool:
    """Whether a parameter's path 'classifier_global/kernel' is that of a classifier."""
    module = path.partition("/")[0]
    return module == "classifier" or module.startswith("classifier_")


@dataclasses.dataclass(frozen=True)
class _Shapes:
    variables: dict[str, Any]
    train: Any
    infer: Any
    streams: tuple[int, ...]


def _shapes(network: nn.Module, image_size: tuple[int, int]) -> _Shapes:
    image = jax.ShapeDtypeStruct((2, *image_size, 3), jnp.float32)
    variables = jax.eval_shape(lambda i: network.init(jax.random.key(0), i, train=True), image)
    train = jax.eval_shape(lambda v, i: network.apply(v, i, train=True, mutable=["batch_stats"])[0], variables, image)
    infer = jax.eval_shape(lambda v, i: network.apply(v, i, train=False), variables, image)
    return _Shapes(dict(variables), train, infer, tuple(network.streams))


def _paths(tree: Any) -> dict[str, Any]:
    return flatten_dict(tree, sep="/")


def _require_arrays(refuse, said: str, value: Any, wanted: Any) -> None:
    """Checks one array's shape, or those of a tuple of arrays; None in a shape is any length."""
    if wanted and isinstance(wanted[0], int):
        value, wanted = (value,), (wanted,)
    if not isinstance(value, tuple) or len(value) != len(wanted):
        refuse(f"{said} of {len(value) if isinstance(value, tuple) else type(value).__name__}; it is of {len(wanted)}")
    for array, shape in zip(value, wanted, strict=True):
        have = getattr(array, "shape", None)
        right = have is not None and len(have) == len(shape)
        if not right or any(b is not None and a != b for a, b in zip(have, shape, strict=True)):
            text = str(shape).replace("None", "width")
            refuse(f"{said} of shape {have}; it is of {text}")
        if array.dtype != jnp.float32:
            refuse(f"{said} of type {array.dtype}; it is float32")
