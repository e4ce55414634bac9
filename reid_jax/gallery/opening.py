"""`open_gallery`: a folder, or a PostgreSQL server's address, to the gallery there."""

import os
from pathlib import Path
from typing import Protocol

from reid_jax.errors import InputError, shown
from reid_jax.gallery import folder as in_folder
from reid_jax.gallery.gallery import Gallery
from reid_jax.gallery.kind import Kind

POSTGRES = ("postgresql://", "postgres://")


class DescribedBy(Protocol):
    """What an `Extractor`, a `Describer` and a `Kind` have."""

    digest: str
    streams: tuple[int, ...]


def open_gallery(
    address: str | os.PathLike, described_by: DescribedBy | None = None, *, create: bool = False
) -> Gallery:
    """Opens the gallery at `address`: a folder, or postgresql://USER@HOST/DATABASE.

    Args:
      described_by: an extractor, or another gallery's kind; a gallery of other weights is refused. It is needed to
        make one.
      create: make an empty gallery where there is none.

    Raises InputError where there is no gallery, it is damaged, of a newer version or of other weights, or the server
    cannot be reached.
    """
    name = os.fspath(address)
    kind = None if described_by is None else Kind.of(described_by)
    if name.startswith(POSTGRES):
        from reid_jax.gallery import postgres  # only now: the extra may not be installed

        gallery = postgres.open_server(name, kind if create else None)
    else:
        gallery = _open_folder(Path(os.path.expanduser(name)), name, kind if create else None)
    if kind:
        try:
            gallery.kind.require_same(kind, gallery.address)
        except InputError:
            gallery.close()
            raise
    return gallery


def _open_folder(path: Path, name: str, kind: Kind | None) -> Gallery:
    if not name or "\0" in name:
        raise InputError(f"the gallery is {shown(name)!r}; name a folder or postgresql://…")
    if not in_folder.is_gallery(path):
        if kind is None:
            raise InputError(
                f"there is no gallery {shown(name)}; make one by reid-jax gallery add --gallery={shown(name)} "
                "--weights=WEIGHTS --images=FOLDER"
            )
        in_folder.create(path, kind)
    return in_folder.FolderGallery(path)
