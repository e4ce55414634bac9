"""Adds made entries to a gallery, a number of them or until it is killed: `add_forever.py GALLERY [N [NAME]]`.

An entry's source is its number, so that what was added tells what comes next; with a NAME it is NAME/number, from 0 on.
Prints how many there are after each addition, once that is confirmed.
"""

import sys
import types

import numpy as np

from reid_jax.gallery import Facts, open_gallery


def main() -> None:
    """Runs it."""
    described_by = types.SimpleNamespace(digest="ab" * 32, streams=(6, 4))
    most = int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize
    name = f"{sys.argv[3]}/" if len(sys.argv) > 3 else ""
    with open_gallery(sys.argv[1], described_by, create=True) as gallery:
        count = gallery.count() if not name else 0
        while count < most:
            numbers = range(count, min(count + 100, most))
            facts = [Facts(source=f"{name}{n}", digest=f"{n:064x}", person=f"p{n}", tags=("a",)) for n in numbers]
            vectors = np.stack([np.random.default_rng(n).standard_normal(10) for n in numbers])
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            gallery.add(facts, vectors, [b"\xff\xd8" + str(n).encode() * 50 for n in numbers])
            print(numbers.stop, flush=True)
            count = numbers.stop if name else gallery.count()


if __name__ == "__main__":
    main()
