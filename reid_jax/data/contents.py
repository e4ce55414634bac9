"""What is inside a data set's image files: their bytes' digest, size and kind, or why they cannot be decoded."""

import dataclasses
import hashlib
import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from reid_jax.cpu import cores
from reid_jax.data.builders.source import Source
from reid_jax.data.decode import decode, kind
from reid_jax.data.image_kinds import FORMATS_OF
from reid_jax.errors import InputError
from reid_jax.progress import progress_bar

_AT_ONCE = 512  # files in work: bounds the memory
_DIGEST_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Contents:
    """What was found in n files, in their order.

    digest: void [n], 16 bytes of BLAKE2b, equal for equal bytes.
    size: int32 [n, 2], height and width as shown; 0 where the file cannot be decoded.
    misnamed: bool [n], whether the content is of another kind than the name says.
    wrong: the row of each file that cannot be decoded -> why.
    """

    digest: np.ndarray
    size: np.ndarray
    misnamed: np.ndarray
    wrong: dict[int, str]


def look_inside(source: Source, names: Sequence[str], progress: str) -> Contents:
    """Reads and decodes the files called `names` on all cores, some of them at a time; `progress` names a bar."""
    digest = np.zeros((len(names), _DIGEST_BYTES), np.uint8)
    size = np.zeros((len(names), 2), np.int32)
    misnamed = np.zeros(len(names), bool)

    def look(row: int) -> str | None:
        try:
            data = read(names[row])
            digest[row] = np.frombuffer(hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest(), np.uint8)
            size[row] = decode(data).shape[:2]
        except InputError as error:
            return str(error)
        ending = posixpath.splitext(names[row])[1].lower()
        misnamed[row] = ending in FORMATS_OF and kind(data) not in FORMATS_OF[ending]
        return None

    wrong = {}
    with source.reader() as read, ThreadPoolExecutor(cores()) as pool, progress_bar(len(names), progress) as bar:
        for start in range(0, len(names), _AT_ONCE):
            rows = range(start, min(start + _AT_ONCE, len(names)))
            reasons = zip(rows, pool.map(look, rows), strict=True)
            wrong |= {row: reason for row, reason in reasons if reason is not None}
            bar.update(len(rows))
    return Contents(digest.view(f"V{_DIGEST_BYTES}")[:, 0], size, misnamed, wrong)
