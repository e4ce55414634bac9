"""The smallest run that exercises everything: a few synthetic people, a tiny network, eight epochs."""

from reid_jax import config as run_config


def get_config(arg=None):
    """Returns the run's config."""
    config = run_config.default()
    config.dataset = "synthetic:train_identities=14,test_identities=8,cameras=3,images_per_camera=3"
    config.val_identities = 4
    config.image_size = (64, 32)
    config.model.name = "nano"
    config.model.stem = 8
    config.model.widths = (16, 16, 32)
    config.model.repeats = (1, 0, 0)  # units more take longer to compile
    config.model.global_width = config.model.local_width = 16
    config.batch.identities, config.batch.images = 4, 2
    # A tenth of the recipe's rate, which with batches of eight makes descriptors that share no feature: their distances
    # tie to the last bit, and rounding orders them.
    config.schedule.peak = 3e-3
    config.schedule.warmup_epochs = 1.0
    config.schedule.boundaries = (4.0, 6.0)
    config.epochs = 8.0
    config.steps_per_dispatch = 4
    config.eval_every = config.checkpoint_every = 2.0
    config.sheet_queries = 3
    return config
