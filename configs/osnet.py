"""OSNet (Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019), trained from scratch.

  reid-jax train --config=configs/osnet.py:size=x1_0 --workdir=runs/osnet

Arguments: size=x1_0 (x0_75, x0_5, x0_25), data=market1501, epochs=350, val=0 (held-out identities), runlocal (a trial
on synthetic people, two epochs).

As in torchreid's recipe for it: images of 256x128, batches of 64, cross-entropy with label smoothing alone, and no
random erasing. Ours is the rest, that of configs/robust_reid.py: four images of each identity in a batch, padding and
cropping, and SGD with the warm-up and the steps of arXiv 1910.07038, equation 1.
"""

from common import choose, compress, parse_arg, run_local

from reid_jax import config as run_config

SIZES = {size: f"osnet_{size}" for size in ("x1_0", "x0_75", "x0_5", "x0_25")}


def get_config(arg=None):
    """Returns the run's config."""
    arg = parse_arg(arg, size="x1_0", data="market1501", epochs=350.0, val=0, runlocal=False)
    config = run_config.default(choose(arg, "size", SIZES))
    config.image_size = (256, 128)
    config.batch.identities = 16
    config.dataset = arg["data"]
    config.val_identities = arg["val"]
    config.augment.erase_probability = 0.0
    config.loss.triplet_weight = 0.0
    if arg["epochs"] != config.epochs:
        compress(config, arg["epochs"])
    if arg["runlocal"]:
        run_local(config)
        config.batch.identities = 4
        config.schedule.peak = 3e-3
    return config
