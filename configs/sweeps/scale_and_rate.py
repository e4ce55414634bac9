"""Choose the logits' scale and the peak of the learning rate, on 50 identities held out from training.

  python launch/sweep.py configs/sweeps/scale_and_rate.py --out=runs/choose --run
  reid-jax report runs/choose --out=report

The schedule is compressed to 60 epochs. Choose by the report's rows "held out"; the test split is scored at each run's
end, as always, and is not to be chosen by. Then train again on all identities.

Arguments: epochs=60, val=50 and the others of configs/robust_reid.py: size, data, runlocal.
"""

import robust_reid
from arguments import over

SCALES = (8.0, 16.0, 32.0)
PEAKS = (1e-2, 3e-2, 6e-2)  # 3e-2: equation 1


def get_config(arg=None):
    """Returns the config that the runs start from."""
    return robust_reid.get_config(over("epochs=60,val=50", arg))


def sweep(add, arg=None):
    """Adds the grid of learnt scales, from their first value, and rates, and each scale fixed at the paper's rate."""
    del arg  # the runs' own
    for scale in SCALES:
        for peak in PEAKS:
            add(f"scale{scale:g}-peak{peak:g}", **{"model.logit_scale": scale, "schedule.peak": peak})
        add(f"scale{scale:g}-fixed", **{"model.logit_scale": scale, "model.logit_scale_learned": False})
