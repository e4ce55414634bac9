"""The one error of a network that cannot be written as ONNX."""

from typing import NoReturn

from reid_jax.errors import InputError

WAY_OUT = "export it with --out=NAME.stablehlo, which takes any network"


def refuse(what: str) -> NoReturn:
    """Raises InputError for a network that computes `what`, naming the way out."""
    raise InputError(f"the network computes {what}, which is not written as ONNX here; {WAY_OUT}")
