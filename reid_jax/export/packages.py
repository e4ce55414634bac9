"""The packages that only ONNX needs, asked for before they are."""

import importlib.util

from reid_jax.errors import InputError


def require_onnx(*packages: str) -> None:
    """Raises InputError where one of 'onnx' and 'onnxruntime' is missing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise InputError(f"ONNX files need {package}, which is missing; pip install 'reid_jax[export]'")
