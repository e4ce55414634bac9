"""A few steps of that network, with its weights collected at the ends of two cycles."""

from reid_jax import config as run_config


def get_config(arg=None):
    """Returns the run's config."""
    config = run_config.default("tiny_network:Tiny")
    config.dataset = "synthetic:train_identities=6,test_identities=4,cameras=2,images_per_camera=2"
    config.image_size = (32, 16)
    config.batch.identities, config.batch.images = 4, 2
    config.augment.pad = 2
    config.schedule.name = "cyclic_cosine"
    config.schedule.cycle_epochs = 1.0
    config.schedule.peak = 0.05
    config.epochs = 2.0
    config.eval_every = config.checkpoint_every = 1.0
    config.swag.collect = True
    config.swag.samples = 2
    config.sheet_queries = 2
    return config
