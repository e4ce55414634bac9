"""DukeMTMC-reID (Ristani et al., ECCVW 2016; Zheng et al., ICCV 2017): read where a user has it, never fetched."""

import os
import re

from reid_jax.data.builders.finding import find_tree
from reid_jax.data.builders.options import NoOptions, parse_options
from reid_jax.data.builders.source import GALLERY, QUERY, TRAIN, Counts
from reid_jax.data.builders.split_folders import SplitFolders, is_own_root, is_root

NAME = "dukemtmcreid"
# The usual names of torchreid, FastReID, BoxMOT and the lifelong benchmarks.
FOLDERS = (
    "DukeMTMC-reID",
    "dukemtmc-reid/DukeMTMC-reID",
    "dukemtmc-reid",
    "dukemtmcreid/DukeMTMC-reID",
    "dukemtmcreid",
    "DukeMTMC-reID/DukeMTMC-reID",
    "DukeMTMCreID",
    "dukemtmc",
    "duke",
)
ARCHIVES = ("DukeMTMC-reID.zip", "dukemtmc-reid/DukeMTMC-reID.zip", "dukemtmcreid/DukeMTMC-reID.zip")

_EXPECTED = {
    TRAIN: Counts(16522, 702, 8),
    QUERY: Counts(2228, 702, 8),
    GALLERY: Counts(17661, 1110, 8),  # 702 of the queries and 408 that no query is of
}


class DukeMTMCreID(SplitFolders):
    """The three folders of the set."""

    title = "DukeMTMC-reID"
    pattern = re.compile(r"(?P<identity>-1|\d{1,9})_c(?P<camera>\d{1,9})_f\d+(?:\.\w+)+")
    example = "0001_c2_f0046182.jpg"
    description = "DukeMTMC-reID: people seen by eight cameras on a campus. Its authors withdrew the set in 2019."
    homepage = "https://github.com/layumi/DukeMTMC-reID_evaluation"

    def expected(self, split: str) -> Counts | None:
        """The published counts."""
        return _EXPECTED[split]


def find(name: str, data_dir: str | os.PathLike) -> DukeMTMCreID:
    """Finds the set below `data_dir`; raises InputError where it is not there, or for options behind `name`."""
    parse_options(NoOptions, name)
    tree = find_tree(
        data_dir,
        title=DukeMTMCreID.title,
        is_root=is_root,
        is_own=is_own_root(DukeMTMCreID),
        folders=FOLDERS,
        archives=ARCHIVES,
        advice="its authors withdrew the set, so nothing fetches it; a copy that you hold is read from these places",
    )
    return DukeMTMCreID(tree, NAME)
