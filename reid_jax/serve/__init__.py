"""The page on which a gallery is searched, added to and erased, and its JSON interface: `reid-jax serve`."""
