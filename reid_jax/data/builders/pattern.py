r"""Any set of images whose paths tell the labels: 'regex:REGEX', with named groups over paths below data_dir.

'regex:PRCC/rgb/(?P<split>train|query|gallery)/(?P<identity>\d+)/(?P<camera>[A-C])_.*' is such a name. Everything behind
the first ':' is the expression, in the syntax of Python's re. It must match the whole path of an image, relative to
data_dir and '/' separated; the Unicode forms of a letter count as the same. Groups: `identity` (or `pid`), which has
to be there, `split`, `camera` and `tracklet`; `text_labels` tells how their text becomes numbers.
Without `split` every image is for training; without `camera` cameras are unknown. An expression that backtracks without
end, such as '(a+)+b', is not cut short: Python's re has no time limit.
"""

import os
import pathlib
import re

from reid_jax.data.builders.files import FileTree, left_out_note
from reid_jax.data.builders.source import TRAIN
from reid_jax.data.builders.spelling import composed, speller
from reid_jax.data.builders.text_labels import LabelledFiles, TextLabels, split_of
from reid_jax.errors import InputError, nearest, shown

NAME = "regex"
GROUPS = ("identity", "pid", "split", "camera", "tracklet")  # pid: another word for identity

_PREPARED = "prepared/"  # where records are written, see `records.prepare`
# ValueError: flags that exclude each other; OverflowError: a{99999999999}.
_NO_PATTERN = (re.error, ValueError, OverflowError, RecursionError, MemoryError)
_EXAMPLE = r"'regex:(?P<split>train|query|gallery)/(?P<identity>\d+)_(?P<camera>\d+).*'"


class Pattern(LabelledFiles):
    """Images below a folder whose whole paths match."""

    description = "Images labelled by their paths."


def find(name: str, data_dir: str | os.PathLike) -> Pattern:
    """Finds the images below `data_dir`, a folder or a zip, that 'regex:REGEX' matches.

    `data_dir`/prepared is left out. What is hidden, files that are no images by their ending, and images that do not
    match are left out and counted in a note.

    Raises:
      InputError: a bad expression, a missing or unknown group, a split value that means none, or no match at all.
    """
    pattern = _compile(name)
    base = pathlib.Path(os.path.expanduser(data_dir))
    tree = FileTree(base, "") if base.is_file() else FileTree(base)
    folder = literal_folder(pattern.pattern)
    if not tree.has_folder(folder):
        folder = speller(tree, composed)(folder) or folder
    if not tree.has_folder(folder):
        raise InputError(
            f"{shown(name)!r}: folder {tree.location(folder)} does not exist; mend data_dir or the pattern"
        )
    images, left_out = tree.images(folder)
    images = [entry for entry in images if not entry.name.startswith(_PREPARED)]
    left_out = {path: reason for path, reason in left_out.items() if not path.startswith(_PREPARED)}
    if not images:
        raise InputError(
            f"{shown(name)!r}: there is no image below {tree.location(folder)}; mend data_dir or the pattern"
        )
    rows, misfits = [], []
    for entry in images:
        match = pattern.fullmatch(composed(entry.name))
        if match is None:
            misfits.append(entry.name)
            continue
        groups = {group: text or "" for group, text in match.groupdict().items()}
        identity = groups.get("identity", groups.get("pid"))
        if not identity:
            raise InputError(
                f"{shown(name)!r}: {shown(entry.name)!r} matches with an empty identity; let the group match something"
            )
        split = split_of(groups["split"], f"{shown(name)!r}: {shown(entry.name)!r}") if "split" in groups else TRAIN
        rows.append(TextLabels(entry, split, identity, groups.get("camera", ""), groups.get("tracklet", "")))
    if not rows:
        raise InputError(
            f"{shown(name)!r}: none of the {len(images)} image(s) below {tree.location(folder)} matches; the first is "
            f"{shown(misfits[0])!r}, and {shown(pattern.pattern)!r} has to match all of it; mend the pattern"
        )
    notes = [left_out_note(left_out)] if left_out else []
    if misfits:
        counted = f"{len(misfits)} of {len(images)} images"
        notes.append(f"{counted} do not match and are left out, such as {shown(misfits[0])!r}")
    return Pattern(name, tree.location(), tree, rows, tuple(notes))


def _compile(name: str) -> re.Pattern[str]:
    _, _, text = name.partition(":")
    if not text:
        raise InputError(f"data set {shown(name)!r} has no pattern; write one, such as {_EXAMPLE}")
    try:
        pattern = re.compile(composed(text))
    except _NO_PATTERN as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else shown(error)
        raise InputError(f"{shown(name)!r} is no regular expression: {reason}; mend it, or see {_EXAMPLE}") from error
    for group in pattern.groupindex:
        if group not in GROUPS:
            close = nearest(group, GROUPS)
            hint = f"did you mean {close}?" if close else "use (?:...) for a group that is no label"
            raise InputError(f"{shown(name)!r}: group {shown(group)!r} is none of {', '.join(GROUPS)}; {hint}")
    given = [group for group in GROUPS[:2] if group in pattern.groupindex]
    if len(given) != 1:
        wrong = "has both groups identity and pid" if given else "has no group (?P<identity>...)"
        raise InputError(f"{shown(name)!r} {wrong}; one of them is needed, as in {_EXAMPLE}")
    return pattern


def literal_folder(pattern: str) -> str:
    """The folder that every match of a regular expression lies in, as far as its literal beginning tells; '' if none.

    'PRCC/rgb/(?P<split>train|test)/.*' gives 'PRCC/rgb': nothing else needs to be walked through.
    """
    prefix, ended = "", False
    depth = i = 0
    while i < len(pattern):
        char = pattern[i]
        literal = None
        if char == "\\" and i + 1 < len(pattern):
            i += 1
            literal = None if pattern[i].isalnum() else pattern[i]
        elif char == "[":
            i += 1 + pattern.startswith("^", i + 1)
            # ']' right after the opening bracket is a member of the class.
            i += 1
            while i < len(pattern) and pattern[i] != "]":
                i += 2 if pattern[i] == "\\" else 1
        elif char == "|" and depth == 0:
            return ""  # the branches begin differently
        elif char in "()":
            depth += 1 if char == "(" else -1
        elif char in "?*+{":
            if not ended:
                prefix = prefix[:-1]  # what stands before may be left out
        elif char not in ".^$|}":
            literal = char
        if literal is None:
            ended = True
        elif not ended:
            prefix += literal
        i += 1
    return prefix.rpartition("/")[0]
