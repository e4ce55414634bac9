"""Matplotlib figures as inline SVG for a page: its own text font, its own colours in the dark, names on points."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from reid_jax.visualize.drawing import AXIS, COLORS, GREY, GRID, LABEL, TITLE, take_names_as_written

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
# What a figure paints with, as the page's style sheet calls it; the style sheet has other values for the dark.
VARIABLES = {
    TITLE: "--ink",
    LABEL: "--muted",
    AXIS: "--axis",
    GRID: "--grid",
    GREY: "--other",
    "#ffffff": "--paper",
    **{color: f"--series-{number}" for number, color in enumerate(COLORS, 1)},
}


def inline_svg(figure: "Figure", name: str, label: str, titles: Mapping[str, Sequence[str]] | None = None) -> str:
    """Returns the figure as an <svg> element to stand in HTML5.

    Args:
      name: put before every id, so that several figures stand in one page.
      label: what the picture shows, for those who do not see it.
      titles: for the gid of a group of points, a name for each point, shown under the pointer.
    """
    import matplotlib

    take_names_as_written(figure)
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(text.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):  # a style would hold for the whole page
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        for key in list(element.attrib):
            value = element.attrib.pop(key)
            element.set(key.removeprefix(_XLINK).split("}")[-1], _renamed(key, value, name))
    for gid, names in (titles or {}).items():
        (group,) = (element for element in root.iter("g") if element.get("id") == f"{name}-{gid}")
        # Few points are drawn one by one, many by reference to one path in <defs>.
        points = list(group.iter("use")) or list(group.iter("path"))
        for point, title in zip(points, names, strict=True):
            ElementTree.SubElement(point, "title").text = title
    # The view box gives the shape: the page makes the picture as wide as there is room, between these.
    width = float(root.attrib.pop("width").removesuffix("pt"))
    root.attrib.pop("height")
    root.set("style", f"max-width:{round(1.5 * width)}px;min-width:{round(0.9 * width)}px")
    root.set("role", "img")
    root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _renamed(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href"):
        return f"#{name}-{value.removeprefix('#')}"
    value = re.sub(r"url\(#", f"url(#{name}-", value)
    if key in ("style", "fill", "stroke"):
        value = re.sub(r"#[0-9a-f]{6}", lambda match: _variable(match[0]), value)
        value = re.sub(r"font-family: [^;]+;? ?", "", value)  # the page's own
    return value


def _variable(color: str) -> str:
    return f"var({VARIABLES[color]}, {color})" if color in VARIABLES else color
