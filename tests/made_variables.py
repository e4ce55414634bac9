"""Variables of a network made of random numbers: nothing is compiled."""

import math

import jax
import jax.numpy as jnp
import numpy as np


def made_variables(network, size, seed=0):
    """{'params', 'batch_stats'} of float32 NumPy arrays that a pass can go through, for images of `size`.

    Kernels are drawn as the networks' own are, what multiplies lies near 1 and what adds near 0; nothing is zero.
    """
    random = np.random.default_rng(seed)

    def made(path, leaf):
        uniform = random.uniform(-1, 1, leaf.shape).astype(np.float32)
        match path[-1].key:
            case "kernel":
                return uniform / math.sqrt(math.prod(leaf.shape[:-1]))
            case "scale" | "var":
                return 1 + 0.2 * uniform
            case "p":
                return 3 + 0.2 * uniform
            case _:
                return 0.1 * uniform

    image = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    shapes = jax.eval_shape(lambda image: network.init(jax.random.key(0), image, train=True), image)
    return jax.tree_util.tree_map_with_path(made, {"params": shapes["params"], "batch_stats": shapes["batch_stats"]})
