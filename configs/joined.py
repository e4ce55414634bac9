"""One network for several data sets, people and cameras kept apart: the paper's tracking model (section 5).

  reid-jax train --config=configs/joined.py:data=market1501+dukemtmcreid+msmt17 --workdir=runs/joined

Arguments: data=market1501+msmt17 (any sets joined by '+'; sets with several options are named by --config.dataset),
shares=4+4 (identities of a batch from each set, in the order of the sets; 0, the default, mixes them by their size),
size=1x (2x, 2x_table, nano), epochs=350 (fewer compress equation 1's schedule), val=0 (held-out identities of all sets
together), runlocal (a trial on two sets of synthetic people, two epochs).

The paper joins Market-1501, DukeMTMC-reID and MSMT17. Every set with query and gallery is scored by itself at the end;
--config.test_dataset names others. With shares an epoch is one pass over the largest set.
"""

from common import choose, compress, parse_arg, run_local
from robust_reid import SIZES

from reid_jax import config as run_config
from reid_jax.errors import InputError, shown


def get_config(arg=None):
    """Returns the run's config."""
    arg = parse_arg(arg, data="market1501+msmt17", shares="0", size="1x", epochs=350.0, val=0, runlocal=False)
    config = run_config.default()
    config.model.name = choose(arg, "size", SIZES)
    config.dataset = arg["data"]
    config.val_identities = arg["val"]
    if arg["shares"] != "0":
        try:
            config.batch.shares = tuple(int(share) for share in arg["shares"].split("+"))
        except ValueError as error:
            raise InputError(
                f"config argument shares is {shown(arg['shares'])!r}; give whole numbers, as in 4+4"
            ) from error
        config.batch.identities = sum(config.batch.shares)
    if arg["epochs"] != config.epochs:
        compress(config, arg["epochs"])
    if arg["runlocal"]:
        run_local(config)
        config.dataset = f"{config.dataset}+{config.dataset},seed=1"
        config.batch.shares, config.batch.identities = (4, 4), 8
    return config
