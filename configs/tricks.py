"""What else the paper tried (arXiv 1910.07038, sections 3.2 and 3.3), each on the 1x run, column g of Table 2.

  reid-jax train --config=configs/tricks.py:trick=bnneck --workdir=runs/bnneck

  trick             in place of                       with
  max_pooling       GeM                               maximum alone
  average_max       GeM                               average and maximum, concatenated in both streams
  bnneck            L2 normalisation                  a bias-free BatchNorm between triplet and classifier
  batch_hard        the soft triplet, soft margin     hardest positive and negative, hinge of 0.3 (eq. 3)
  no_l2             L2 normalisation                  none in training, so no scale on the logits either
  no_soft_margin    the soft margin                   a hinge of 0.3 (eq. 4)
  longer            350 epochs                        875: as many as with a second phase of 15 x 35
  cyclic            equation 1                        15 cycles of 35 epochs from scratch, each peak 0.7 of the last

Arguments: trick, size=paper (nano), data=market1501, epochs=350 (fewer compress every schedule by the same factor, the
longer ones too), val=0 (training identities held out to choose by), seed=0, runlocal (a trial on synthetic people).
"""

from common import compress, parse_arg, run_local

from reid_jax import config as run_config
from reid_jax.errors import InputError
from reid_jax.reporting import paper

CYCLES = 15  # [P 3.1, 4, 4.2]
FIRST_PHASE, SECOND_PHASE = 350.0, 525.0  # epochs [P eq. 1; 3.1, 4, 4.2]


def get_config(arg=None):
    """Returns the run's config."""
    arg = parse_arg(arg, trick="", size="paper", data="market1501", epochs=FIRST_PHASE, val=0, seed=0, runlocal=False)
    for key, known in (("trick", TRICKS), ("size", paper.SIZES)):
        if arg[key] not in known:
            raise InputError(f"config argument {key} is {arg[key]!r}; choose one of {', '.join(known)}")
    config = paper.set_switches(run_config.default(), paper.COLUMNS["g"], arg["size"])
    config.dataset = arg["data"]
    config.val_identities = arg["val"]
    config.seed = arg["seed"]
    if arg["epochs"] != FIRST_PHASE:
        compress(config, arg["epochs"])
    TRICKS[arg["trick"]](config)
    if arg["runlocal"]:
        run_local(config)
        config.schedule.cycle_epochs = 1.0
    return config


def max_pooling(config):
    config.model.pooling = "max"


def average_max(config):
    config.model.pooling = "average_max"


def bnneck(config):
    config.model.normalisation = "bnneck"
    _unscaled(config)


def batch_hard(config):
    config.loss.mining = "batch_hard"
    config.loss.soft_margin = False


def no_l2(config):
    config.model.normalisation = "inference"
    _unscaled(config)


def no_soft_margin(config):
    config.loss.soft_margin = False


def longer(config):
    compress(config, config.epochs * (1 + SECOND_PHASE / FIRST_PHASE))


def cyclic(config):
    config.epochs *= SECOND_PHASE / FIRST_PHASE
    config.schedule.name = "cyclic_cosine"
    config.schedule.cycle_epochs = config.epochs / CYCLES


TRICKS = {
    trick.__name__: trick
    for trick in (max_pooling, average_max, bnneck, batch_hard, no_l2, no_soft_margin, longer, cyclic)
}


def _unscaled(config):
    config.model.logit_scale = 1.0
    config.model.logit_scale_learned = False
