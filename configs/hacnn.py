"""HA-CNN (Li et al., CVPR 2018), column "hacnn" of Table 2 in arXiv 1910.07038: inception blocks, cross-entropy.

  reid-jax train --config=configs/hacnn.py --workdir=runs/hacnn

Arguments: data=market1501, epochs=350, val=0 (held-out identities), runlocal (a trial on synthetic people, two epochs).
"""

from common import compress, parse_arg, run_local

from reid_jax import config as run_config


def get_config(arg=None):
    """Returns the run's config."""
    arg = parse_arg(arg, data="market1501", epochs=350.0, val=0, runlocal=False)
    config = run_config.default()
    config.model.name = "hacnn"
    config.model.logit_scale = 1.0  # its vectors are not normalised in training
    config.model.logit_scale_learned = False
    config.dataset = arg["data"]
    config.val_identities = arg["val"]
    # None of the bag of tricks, no triplet loss.
    config.augment.erase_probability = 0.0
    config.loss.label_smoothing = 0.0
    config.loss.triplet_weight = 0.0
    config.schedule.warmup_epochs = 0.0
    if arg["epochs"] != config.epochs:
        compress(config, arg["epochs"])
    if arg["runlocal"]:
        run_local(config)
        config.schedule.warmup_epochs = 0.0
    return config
