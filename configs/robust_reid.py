"""Robust-ReID trained from scratch by the recipe of arXiv 1910.07038, section 4.1, without the SWAG phase.

  reid-jax train --config=configs/robust_reid.py:size=1x --workdir=runs/1x --config.model.dtype=bfloat16

Arguments: size=1x (2x, 2x_table, nano), data=market1501, epochs=350 (fewer compress equation 1's schedule), val=0
(training identities held out to choose by), runlocal (a trial on synthetic people, two epochs).

Seen on two CPU cores: size=nano,epochs=9 with schedule.peak=0.1, warmup_epochs=1 and boundaries=(6., 8.) reaches rank-1
35.6 and mAP 20.3 on Market-1501's test split (on another machine 36.0 and 20.6, in 45 minutes, other work beside it;
untrained 2.4 and 1.2), the regions' centres learning at the full rate (optimizer.regions_rate=1).
The paper's 350 epochs of 1x take a GPU or a TPU; they have not been run here yet (the paper: rank-1 95.4, mAP 87.3).
"""

from common import choose, compress, parse_arg, run_local

from reid_jax import config as run_config

SIZES = {
    "1x": "robust_reid_1x",
    "2x": "robust_reid_2x",
    "2x_table": "robust_reid_2x_table",
    "nano": "nano",
}


def get_config(arg=None):
    """Returns the run's config."""
    arg = parse_arg(arg, size="1x", data="market1501", epochs=350.0, val=0, runlocal=False)
    config = run_config.default()
    config.model.name = choose(arg, "size", SIZES)
    config.dataset = arg["data"]
    config.val_identities = arg["val"]
    if arg["epochs"] != config.epochs:
        compress(config, arg["epochs"])
    if arg["runlocal"]:
        run_local(config)
    return config
