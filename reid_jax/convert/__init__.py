"""PyTorch weight files turned into weights of reid_jax, without PyTorch and without unpickling."""
