"""The look that the pictures share: colours that stay apart in colour blindness, figures, letters, PNG files."""

import itertools
import os
import pathlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from reid_jax.errors import InputError
from reid_jax.files.writing import replace_file
from reid_jax.visualize.failures import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# As red, green and blue: what Pillow takes.
INK = (34, 34, 34)
MUTED = (115, 115, 115)
RULE = (225, 225, 225)
PAPER = (255, 255, 255)

# Okabe and Ito (2008): distinct in the common colour blindnesses; in an order that keeps the first few far apart.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
# Lines beyond the colours differ by dashes, points beyond them by shape.
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Of figures: titles, the text of axes, the axis line, the grid, and points that belong to no group.
TITLE, LABEL, AXIS, GRID, GREY = "#222222", "#555555", "#bbbbbb", "#e4e4e4", "#c2c2c2"

# Of other alphabets, where they are installed.
_FURTHER_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "PingFang SC",
    "Hiragino Sans",
    "Arial Unicode MS",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Symbola",
)


MOST_PIXELS = 100_000_000  # of a sheet: 300 MB


def line_styles() -> Iterator[dict[str, str]]:
    """Yields the color and linestyle of one line after the other: 24 that differ, then these again."""
    styles = [{"color": color, "linestyle": dash} for dash in DASHES for color in COLORS]
    return itertools.cycle(styles)


def point_styles() -> Iterator[dict[str, str]]:
    """Yields the color and marker of one kind of point after the other: 42 that differ, then these again."""
    # Colour and shape move on together, so that neighbours in the list differ in both; their numbers have no common
    # divisor, so each pair comes once.
    for number in itertools.count():
        yield {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}


def new_figure(width: float, height: float, lines: int = 1, columns: int = 1) -> tuple["Figure", list["Axes"]]:
    """Returns an empty figure of (width, height) inches and its axes in reading order.

    Raises InputError where Matplotlib is missing or broken.
    """
    require("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    return figure, list(figure.subplots(lines, columns, squeeze=False).ravel())


def style_axes(axes: "Axes", title: str, across: str, up: str = "") -> None:
    """Gives the axes a title and labels, a light horizontal grid, and takes the frame away."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=TITLE)
    axes.set_xlabel(across, fontsize=9, color=LABEL)
    axes.set_ylabel(up, fontsize=9, color=LABEL)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", labelsize=9, colors=LABEL, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(AXIS)


def png_path(path: str | os.PathLike) -> pathlib.Path:
    """Returns the path; raises InputError where it does not end in .png."""
    path = pathlib.Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"pictures are written as PNG, but the path is {path}; let it end in .png")
    return path


def path_beside(path: pathlib.Path, ending: str) -> pathlib.Path:
    """Returns the path of what a picture shows in figures: 'shop.png' -> 'shop.png.csv', which no table is called."""
    return path.with_name(f"{path.name}{ending}")


def save_figure(path: str | os.PathLike, figure: "Figure") -> None:
    """Writes a figure as PNG, complete or not at all.

    Letters that Matplotlib's own font lacks come from another installed one; a box stands for those that none has.
    """
    import matplotlib
    from matplotlib.font_manager import fontManager

    take_names_as_written(figure)
    installed = {font.name for font in fontManager.ttflist}
    fonts = [*matplotlib.rcParams["font.sans-serif"], *(name for name in _FURTHER_FONTS if name in installed)]
    with matplotlib.rc_context({"font.sans-serif": fonts}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        replace_file(png_path(path), lambda temporary: figure.savefig(temporary, format="png"))


def take_names_as_written(figure: "Figure") -> None:
    """Makes no formula of '$', '_' and '^' in the names of a figure; numbers along a logarithmic axis stay formulas."""
    from matplotlib.text import Text

    axes = [axis for plot in figure.axes for axis in (plot.xaxis, plot.yaxis)]
    formulas = {label for axis in axes if axis.get_scale() == "log" for label in axis.get_ticklabels(which="both")}
    for text in set(figure.findobj(Text)) - formulas:
        text.set_parse_math(False)


def require_drawable(width: int, height: int, what: str) -> None:
    """Raises InputError where an image of so many pixels would take more memory than a sheet is worth."""
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{what} is a picture of {width:,}x{height:,} pixels, and at most {MOST_PIXELS:,} are drawn; give fewer"
        )


def save_image(path: str | os.PathLike, image: Image.Image) -> None:
    """Writes an image as PNG, complete or not at all."""
    replace_file(png_path(path), lambda temporary: image.save(temporary, format="PNG"))


def font(points: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Returns Pillow's own font, which is there on every machine."""
    return ImageFont.load_default(points)


def shorten(draw: ImageDraw.ImageDraw, text: str, typeface, width: float) -> str:
    """Returns the text, or its end behind an ellipsis where it is wider than `width` pixels."""
    if draw.textlength(text, typeface) <= width:
        return text
    while text and draw.textlength("…" + text, typeface) > width:
        text = text[1:]
    return "…" + text
