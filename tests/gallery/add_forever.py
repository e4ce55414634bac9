"""Adds made entries to the gallery in a folder, a number of them or until it is killed: `add_forever.py FOLDER [N]`.

Prints how many there are after each addition, once that is confirmed.
"""

import sys
import types

import numpy as np

from reid_jax.gallery import Facts, open_gallery


def main() -> None:
    """Runs it; an entry's source is its number, so that what was added tells what comes next."""
    described_by = types.SimpleNamespace(digest="ab" * 32, streams=(6, 4))
    most = int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize
    with open_gallery(sys.argv[1], described_by, create=True) as gallery:
        while (count := gallery.count()) < most:
            numbers = range(count, min(count + 100, most))
            facts = [Facts(source=str(n), digest=f"{n:064x}", person=f"p{n}", tags=("a",)) for n in numbers]
            vectors = np.stack([np.random.default_rng(n).standard_normal(10) for n in numbers])
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            gallery.add(facts, vectors, [b"\xff\xd8" + str(n).encode() * 50 for n in numbers])
            print(numbers.stop, flush=True)


if __name__ == "__main__":
    main()
