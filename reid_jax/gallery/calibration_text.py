"""A calibration as text within a gallery, in the form that `reid-jax track calibrate --json` writes."""

import dataclasses
import json

from reid_jax.errors import InputError, shown
from reid_jax.files.json_files import finite
from reid_jax.files.json_text import parse_json
from reid_jax.tracking.thresholds import Calibration, calibration_from


def text_of(calibration: Calibration) -> str:
    """Returns it as JSON."""
    return json.dumps(finite(dataclasses.asdict(calibration)), ensure_ascii=False, allow_nan=False)


def calibration_of(text: str, address: str) -> Calibration:
    """Reads what `text_of` returned; raises InputError, naming the gallery, where somebody changed it."""
    try:
        calibration = calibration_from(parse_json(text))
    except InputError:
        calibration = None
    if calibration is None:
        raise InputError(
            f"the thresholds that are kept in {shown(address)} cannot be read; attach them again by reid-jax gallery "
            "add --calibration=FILE"
        )
    return calibration
