"""libtpu on a machine without a TPU, where it compiles for one (`reid-jax rehearse`) and is loaded by all else."""

import os


def tell_libtpu_that_it_is_alone() -> None:
    """Keeps an installed libtpu quiet where no chip is.

    JAX loads it all the same; it then asks a cloud's server what machine this is, warns that nobody answers and takes
    seconds for it. To be called behind `import jax`, which looks for chips, and before anything asks for devices.
    """
    if os.environ.get("TPU_SKIP_MDS_QUERY") == "1":  # JAX sets it where it finds no chip
        os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
        os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
