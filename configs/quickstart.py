"""x"""
from reid_jax import config as reid_config


def get_config(arg=None):
    config = reid_config.default()
    config.dataset = "synthetic"
    config.model.name = "nano"
    return config
