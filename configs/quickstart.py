"""x"""

from reid_jax import config as reid_config


def get_config(arg=None):
    config = reid_config.default()
    config.dataset = "synthetic:train_identities=200,test_identities=100,images_per_camera=4"
    config.val_identities = 20
    config.model.name = "nano"
    config.schedule.warmup_epochs = 2.0
    config.schedule.boundaries = (10.0, 12.0)
    config.epochs = 14.0
    config.eval_every = 3.5
    config.checkpoint_every = 3.5
    return config
