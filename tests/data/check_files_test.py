"""What equal bytes say of files."""

import numpy as np

from reid_jax.data import check_files


def test_bytes_are_compared_as_a_slow_search_does():
    rng = np.random.default_rng(0)
    digest, identity = rng.integers(0, 12, 40), rng.integers(0, 3, 40)
    in_train, sound = rng.random(40) < 0.5, rng.random(40) < 0.8
    copied, contradictory = check_files._compare_bytes(digest.view("V8"), identity, in_train, sound)
    for row in range(40):
        same = [n for n in range(40) if digest[n] == digest[row] and sound[n]] if sound[row] else []
        assert copied[row] == (in_train[row] and any(not in_train[n] for n in same))
        assert contradictory[row] == any(identity[n] != identity[row] for n in same if in_train[n] == in_train[row])
