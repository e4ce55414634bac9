"""Every key of a run's config: its default, what it may be, and where the default comes from.

[P] marks a number printed in arXiv 1910.07038, with the section, equation or table; the others are ours, and
`configs/README.md` gives the reasons. `model.name` decides which keys there are under `model`: the fields of that
network's class, whose ranges and defaults stand beside them, as do those of the optimiser's arguments.
"""

from collections.abc import Iterable
from typing import Any

from reid_jax.data.augment import FILLS, MEAN_FILL
from reid_jax.models import registry
from reid_jax.ranges import Numbers, Range, Switch, Text, choice, real, whole
from reid_jax.training import optim, residence
from reid_jax.training.losses import MININGS

_EPOCHS = real(0, 1e9, above=True)  # between two events; more than a run has: at its end alone
_PROBABILITY = real(0, 1)
_LOSS_WEIGHT = real(0, 1e4)

# Those of every run; `keys_of` has those of its network too.
KEYS: dict[str, tuple[Any, Range]] = {
    # JAX's keys take the lower 32 bits of the seed, the sampler all of them.
    "seed": (0, whole(0, 2**63 - 1)),
    "dataset": ("market1501", Text(filled=True)),  # see `reid_jax.data.datasets`; 'a+b' joins sets for training
    # What is scored, several sets joined by '+' one by one; empty: those of `dataset` with a test.
    "test_dataset": ("", Text()),
    "data_dir": ("data", Text()),
    "init_from": ("", Text()),  # weights to start from: a run's workdir, a file or zoo:NAME; empty: from scratch
    # Where the training images lie: on every device, whole, or on disk, streamed; auto goes by their size.
    "train_images": (residence.AUTO, choice(residence.CHOICES)),
    "stream_workers": (0, whole(0, 1024)),  # processes that decode what is streamed; 0: threads of the run's own
    # Training identities held out to choose by; the paper's runs train on all of them.
    "val_identities": (0, whole(0, 10**7)),
    "image_size": ((160, 64), registry.image_size_of(registry.DEFAULT)),  # height, width [P 4]
    "model.name": (registry.DEFAULT, Text(filled=True)),  # of `registry.NETWORKS`, or MODULE:CLASS
    "batch.identities": (8, whole(2, 4096)),  # [P 4]; a triplet needs two
    "batch.images": (4, whole(1, 4096)),  # of each identity [P 4]
    # Parts of a batch that BatchNorm normalises by their own statistics; as many as devices: each device by its own.
    "batch.groups": (1, whole(1, 4096)),
    # Of joined sets: identities of a batch that each gives; empty mixes them by their size.
    "batch.shares": ((), Numbers(whole(1, 4096))),
    "augment.pad": (10, whole(0, 1023)),  # pixels on each side before the random crop
    # How much larger half of the images are made before a window is cut out; 1: none; torchreid's crop: 1.125.
    "augment.enlarge": (1.0, real(1, 4)),
    "augment.flip_probability": (0.5, _PROBABILITY),
    "augment.erase_probability": (0.5, _PROBABILITY),  # random erasing [P 3.1]
    "augment.erase_area": ((0.02, 0.4), Numbers(real(0, 1, above=True, below=True), 2)),  # part of the image [P 3.1]
    "augment.erase_aspect": ((0.3, 3.3), Numbers(real(0, 1000, above=True), 2)),  # height over width [P 3.1]
    "augment.erase_fill": (MEAN_FILL, choice(FILLS)),
    # Other light, contrast, saturation and cast: standard deviation of their logarithms; the paper has none.
    "augment.jitter": (0.0, real(0, 2)),
    "loss.cross_entropy_weight": (1.0, _LOSS_WEIGHT),
    # The smoothing is the paper's (Table 2, "bag of tricks"), its size that of Bag of Tricks.
    "loss.label_smoothing": (0.1, real(0, 1, below=True)),
    "loss.triplet_weight": (1.0, _LOSS_WEIGHT),  # 0 leaves the triplet term out
    "loss.mining": ("batch_soft", choice(MININGS)),  # original (eq. 2), batch_hard (eq. 3), batch_soft (eq. 4) [P 3.1]
    "loss.soft_margin": (True, Switch()),  # eq. 5 [P 3.1]
    "loss.margin": (0.3, real(0, 100)),  # of the hinge, where soft_margin is off
    "loss.detach_weights": (False, Switch()),  # no gradient through batch_soft's weights
    "loss.nonzero_mean": (False, Switch()),  # average over the triplet terms above zero only
    "optimizer.momentum": (0.9, optim.RANGES["momentum"]),
    "optimizer.nesterov": (False, Switch()),
    "optimizer.weight_decay": (5e-4, optim.RANGES["weight_decay"]),
    # What it is for: kernels, so none on BatchNorm, biases, GeM's p and the logit scale; or all of these too.
    "optimizer.decayed": (optim.KERNELS, choice(optim.DECAYED)),
    # Multiple of the learning rate for GeM's p; 0 leaves it at 3.
    "optimizer.pooling_rate": (1.0, optim.RANGES["pooling_rate"]),
    # Multiple of the learning rate for the logit scale's logarithm.
    "optimizer.logit_scale_rate": (0.1, optim.RANGES["scale_rate"]),
    # The same for the centres of the hard attention's regions.
    "optimizer.regions_rate": (0.01, optim.RANGES["regions_rate"]),
    "schedule.name": ("warmup_step", choice(("warmup_step", "cyclic_cosine"))),  # eq. 1, or section 3.1's cycles
    "schedule.peak": (3e-2, optim.RANGES["peak"]),  # [P eq. 1]; of a second phase's first cycle ours
    "schedule.warmup_epochs": (10.0, optim.RANGES["warmup_epochs"]),  # [P eq. 1]
    "schedule.boundaries": ((150.0, 225.0), optim.RANGES["boundaries"]),  # epochs after which the rate falls [P eq. 1]
    "schedule.factor": (0.1, optim.RANGES["factor"]),  # [P eq. 1]
    "schedule.cycle_epochs": (35.0, optim.RANGES["cycle_epochs"]),  # [P 3.1, 4, 4.2]
    "schedule.cycle_decay": (0.7, optim.RANGES["decay"]),  # of the peak from cycle to cycle [P 3.1, 4, 4.2]
    "schedule.floor": (0.0, optim.RANGES["floor"]),
    "epochs": (350.0, real(0, 1e6, above=True)),  # [P eq. 1]
    # With schedule.name='cyclic_cosine': the weights at the end of each cycle are collected, and their mean (SWA) and
    # samples (SWAG) scored [P 3.1, 4, 4.2].
    "swag.collect": (False, Switch()),
    "swag.rank": (0, whole(0, 1000)),  # last deviations kept for the low-rank term; 0: the diagonal, as in the paper
    "swag.samples": (30, whole(1, 100_000)),
    "swag.scale": (1.0, real(0, 1e6)),  # of the samples' covariance
    "swag.variance_floor": (1e-30, real(0, 1)),
    "steps_per_dispatch": (20, whole(1, 10_000)),  # steps the device runs before the host hears of it
    "eval_every": (10.0, _EPOCHS),  # epochs between evaluations on the held-out identities
    "checkpoint_every": (10.0, _EPOCHS),  # epochs
    "keep_checkpoints": (2, whole(1, 10_000)),  # the latest; the best by validation mAP is kept besides
    "sheet_queries": (10, whole(1, 10_000)),  # rows of the picture of ranked results
    "tensorboard": (False, Switch()),
}

# What other libraries call a key, or nearly so.
OTHER_NAMES = {
    "lr": "schedule.peak",
    "base_lr": "schedule.peak",
    "max_lr": "schedule.peak",
    "learning_rate": "schedule.peak",
    "gamma": "schedule.factor",
    "stepsize": "schedule.boundaries",
    "milestones": "schedule.boundaries",
    "warmup": "schedule.warmup_epochs",
    "warmup_steps": "schedule.warmup_epochs",
    "scheduler": "schedule.name",
    "lr_scheduler": "schedule.name",
    "epoch": "epochs",
    "max_epoch": "epochs",
    "max_epochs": "epochs",
    "num_epochs": "epochs",
    "total_epochs": "epochs",
    "steps": "epochs",
    "wd": "optimizer.weight_decay",
    "batch_size": "batch.identities",
    "bs": "batch.identities",
    "num_ids": "batch.identities",
    "num_instances": "batch.images",
    "num_instance": "batch.images",
    "arch": "model.name",
    "backbone": "model.name",
    "network": "model.name",
    "width": "image_size",
    "height": "image_size",
    "size": "image_size",
    "size_train": "image_size",
    "res": "image_size",
    "model.width": "model.widths",
    "flip": "augment.flip_probability",
    "erasing": "augment.erase_probability",
    "random_erasing": "augment.erase_probability",
    "smoothing": "loss.label_smoothing",
    "label_smooth": "loss.label_smoothing",
    "root": "data_dir",
    "data": "dataset",
    "sources": "dataset",
    "targets": "test_dataset",
    "precision": "model.dtype",
    "half": "model.dtype",
    "pretrained": "init_from",
    "weights": "init_from",
    "load_weights": "init_from",
    "eval_freq": "eval_every",
    "eval_period": "eval_every",
    "ckpt_steps": "checkpoint_every",
    "checkpoint_period": "checkpoint_every",
}


def keys_of(name: str) -> dict[str, tuple[Any, Range]]:
    """Returns every key of a run with the network `name`: key -> (default, range).

    A default of None under `model` takes the preset's value. Raises InputError where there is no such network.
    """
    keys = dict(KEYS)
    keys["image_size"] = (KEYS["image_size"][0], registry.image_size_of(name))
    keys["model.name"] = (name, KEYS["model.name"][1])
    return keys | registry.model_keys(name)


def keys_meant(name: str, keys: Iterable[str] | None = None) -> list[str]:
    """The ones of `keys` that `name` names without being one: by another library's word, or by the last part alone.

    Without `keys` those of a run with the default network.
    """
    keys = keys_of(registry.DEFAULT) if keys is None else keys
    name = name.casefold().replace("-", "_")
    last = name.rpartition(".")[2]
    for known in (name, last):
        if OTHER_NAMES.get(known) in keys:
            return [OTHER_NAMES[known]]
    return [key for key in keys if key.rpartition(".")[2] == last]
