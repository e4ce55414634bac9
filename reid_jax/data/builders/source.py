"""What every builder reads from: a data set found on disk, as labelled image files per split."""

import abc
import contextlib
import dataclasses
import functools
import types
from collections.abc import Callable, Iterator, Mapping

from reid_jax.data.builders.files import Entry, left_out_note
from reid_jax.retrieval.protocol import JUNK

TRAIN, QUERY, GALLERY = "train", "query", "gallery"
SPLITS = (TRAIN, QUERY, GALLERY)
STILL = -1  # tracklet of an image that is no frame of a video


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a source and what is known about it; numbers are the data set's own, from 0.

    `identity` is `protocol.JUNK` for detections that overlap a person badly, which every protocol drops; `camera` may
    be `protocol.UNKNOWN_CAMERA`; frames of one video snippet share a `tracklet`, which is unique in its split. `size`
    and `stamp` change when the content does.
    """

    name: str
    identity: int
    camera: int
    size: int
    stamp: int
    tracklet: int = STILL

    @classmethod
    def of(cls, entry: Entry, identity: int, camera: int, tracklet: int = STILL) -> "ImageFile":
        """The labelled file of an entry."""
        return cls(entry.name, identity, camera, entry.size, entry.stamp, tracklet)


@dataclasses.dataclass(frozen=True)
class Counts:
    """Images (junk left out), identities (distractors left out) and cameras of a split; None where unspecified."""

    images: int | None
    identities: int | None
    cameras: int | None


class Source(abc.ABC):
    """A data set found on disk.

    Attributes:
      name: what names the set and its options in full, such as 'msmt17:version=1,val=train'.
      location: the folder or file it was found at, for messages.
      splits: those it has, such as ('train', 'query', 'gallery').
      distractor: the identity number of gallery images of no query's person; None where there is none.
      test_numbered_apart: whether the same number in training and in test names different people.
      image_size: (height, width) that every image should have; None where sizes vary.
      notes: what a reader should know of how the images were found, one line each.
      left_out: {name: why} of what lies beside the images of the splits whose `files` were listed so far.
      description, homepage: a line about the set, and where its authors tell of it.
    """

    name: str
    location: str
    splits: tuple[str, ...] = SPLITS
    distractor: int | None = None
    test_numbered_apart: bool = False
    image_size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = types.MappingProxyType({})
    description: str = ""
    homepage: str = ""

    def notes_so_far(self) -> list[str]:
        """`notes`, and a line about `left_out` where there is something."""
        return [*self.notes, *filter(None, (left_out_note(self.left_out),))]

    @property
    def key(self) -> str:
        """The set's name without its options."""
        return self.name.partition(":")[0]

    def files(self, split: str) -> list[ImageFile]:
        """The split's images sorted by name (frames by tracklet first), junk included; listed on disk once and kept.

        Raises:
          InputError: a folder, list or file is missing or holds no image, or a name does not match.
        """
        if split not in self._files_of:
            self._files_of[split] = self.list_files(split)
        return self._files_of[split]

    @functools.cached_property
    def _files_of(self) -> dict[str, list[ImageFile]]:
        return {}

    @abc.abstractmethod
    def list_files(self, split: str) -> list[ImageFile]:
        """Lists what `files` gives, on disk."""

    @abc.abstractmethod
    def reader(self) -> contextlib.AbstractContextManager[Callable[[str], bytes]]:
        """Gives a function from a file's name to its encoded bytes, which may be called from several threads.

        That function raises InputError for a file that cannot be read.
        """

    def expected(self, split: str) -> Counts | None:
        """What the split should hold as its authors published it; None where nothing is published."""
        return None


def drop_junk(files: list[ImageFile]) -> Iterator[ImageFile]:
    """The files that the protocol keeps: those whose identity is not -1."""
    return (file for file in files if file.identity != JUNK)
