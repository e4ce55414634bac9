"""Person re-identification in JAX: networks, training, evaluation and pictures."""
