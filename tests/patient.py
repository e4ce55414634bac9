"""The command `reid-jax`, but for a run that waits after its second step until it is told to stop, unless it resumed.

`python tests/patient.py train ...`: a run of a few steps can so be told to stop while it trains, on any machine.
"""

import sys
import time

from reid_jax.main import main
from reid_jax.processes import signals
from reid_jax.training.checkpoint import Checkpoints

_asked = Checkpoints.stop_requested
_AGREED = 3.0  # seconds in which JAX tells all processes where to stop, while this one keeps them from going on


def _patient(self: Checkpoints) -> bool:
    stop = _asked(self)
    if self.latest is None and self._chunks == 2:
        while signals._noticed is None:
            time.sleep(0.05)
        time.sleep(_AGREED)
    return stop


def be_patient() -> None:
    """Has runs of this process wait."""
    Checkpoints.stop_requested = _patient


if __name__ == "__main__":
    be_patient()
    sys.exit(main())
