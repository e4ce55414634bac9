"""The data sets by name: 'market1501', 'msmt17:version=2,val=train', sets joined by '+', and where each is found."""

import os
import re
from collections.abc import Callable

from reid_jax.data.builders import (
    cuhk03,
    dukemtmcreid,
    market1501,
    mars,
    msmt17,
    pattern,
    street_people,
    synthetic_people,
    table,
)
from reid_jax.data.builders.source import Source
from reid_jax.errors import InputError, did_you_mean, shown

# Each entry: (name with its options, data_dir) -> the source that was found there.
DATASETS: dict[str, Callable[[str, str | os.PathLike], Source]] = {
    market1501.NAME: market1501.find,
    dukemtmcreid.NAME: dukemtmcreid.find,
    msmt17.NAME: msmt17.find,
    cuhk03.NAME: cuhk03.find,
    mars.NAME: mars.find,
    synthetic_people.NAME: synthetic_people.find,
    street_people.NAME: street_people.find,
    pattern.NAME: pattern.find,
    table.NAME: table.find,
}


def split_names(name: str) -> list[str]:
    """The data sets of a joined name: 'a+b:x=1' -> ['a', 'b:x=1'].

    A '+' separates only where the name of a data set follows, so that it may stand in a regular expression.
    """
    known = "|".join(map(re.escape, DATASETS))
    return re.split(rf"\+(?=(?:{known})(?:[:+]|$))", name)


def check_name(name: str) -> list[str]:
    """`split_names`, each with a known data set before its ':'; raises InputError otherwise."""
    names = split_names(name)
    for full_name in names:
        key = full_name.partition(":")[0]
        if key not in DATASETS:
            unknown = next(joined for joined in key.split("+") if joined not in DATASETS)
            hint = did_you_mean(unknown, DATASETS)
            raise InputError(f"unknown data set {shown(unknown)!r}{hint}; known: {', '.join(DATASETS)}")
    return names


def find_source(name: str, data_dir: str | os.PathLike) -> Source:
    """Finds one data set below `data_dir`; raises InputError for an unknown name or where it is not there."""
    names = check_name(name)
    if len(names) > 1:
        raise InputError(f"{shown(name)!r} joins {len(names)} data sets where one is wanted; name them one by one")
    return DATASETS[name.partition(":")[0]](name, os.fspath(data_dir))
