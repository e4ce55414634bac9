"""A file a verb of the command `reid-jax`: its options, its examples, and the call that does its work."""
