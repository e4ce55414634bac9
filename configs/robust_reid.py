"""Robust-ReID trained from scratch by the recipe of arXiv 1910.07038, sections 3.1 and 4, without the SWAG phase.

  reid-jax train --config=configs/robust_reid.py:size=1x --workdir=runs/1x --config.model.dtype=bfloat16

Arguments: size=1x (2x, 2x_table, nano), data=market1501, epochs=350 (fewer compress equation 1's schedule), val=0
(training identities held out to choose by), batch=1 (times the paper's 8 identities, for more devices), rate=linear
(how the rate's peak follows the batch: linear, root or same), runlocal (a trial on synthetic people, two epochs).

What was seen, and a command for a quarter of an hour on one CPU core: configs/RESULTS.md.
"""

from common import RATE_RULES, choose, compress, enlarge, parse_arg, run_local

from reid_jax import config as run_config

SIZES = {
    "1x": "robust_reid_1x",
    "2x": "robust_reid_2x",
    "2x_table": "robust_reid_2x_table",
    "nano": "nano",
}


def get_config(arg=None):
    """Returns the run's config."""
    arg = parse_arg(arg, size="1x", data="market1501", epochs=350.0, val=0, batch=1, rate="linear", runlocal=False)
    config = run_config.default()
    config.model.name = choose(arg, "size", SIZES)
    config.dataset = arg["data"]
    config.val_identities = arg["val"]
    if arg["epochs"] != config.epochs:
        compress(config, arg["epochs"])
    enlarge(config, arg["batch"], choose(arg, "rate", RATE_RULES))
    if arg["runlocal"]:
        run_local(config)
    return config
