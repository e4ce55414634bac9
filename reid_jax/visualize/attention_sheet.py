"""A sheet of images with what the network attends to in them: soft maps in colours, and the boxes of the regions."""

import functools
import math
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from reid_jax.errors import InputError
from reid_jax.files.json_files import write_json
from reid_jax.visualize.attention import Attention, place_bars, soft_ranges
from reid_jax.visualize.drawing import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    RULE,
    font,
    path_beside,
    png_path,
    require_drawable,
    save_image,
    shorten,
)
from reid_jax.visualize.failures import one_line_failures, require

COLOR_MAP = "viridis"  # perceptually uniform, and even in the common colour blindnesses
OPACITY = 0.6  # of the map over the image in grey
REGION_COLORS = (ORANGE, BLUE, GREEN, PURPLE)  # regions 1 to 4, and again from 5; each has its number beside it

# Pixels of a sheet.
IMAGE_HEIGHT = 240
MARGIN = 28
GAP = 14
GROUP_GAP = 36
HEADER = 122
CAPTION = 30
LINE = 3
LANE = 7  # of one bar beside an image with regions
NUMBER = 20  # beside the lanes


@one_line_failures
def write_attention(path: str | os.PathLike, shown: Sequence[Attention]) -> None:
    """Writes `attention_sheet` as PNG, and its numbers as PATH.json beside it.

    The JSON holds {"ranges": [[low, high], ...] a level, "images": [{"name", "identity", "camera", "soft": [rows of
    numbers a level], "centres": [[tx, ty] a region] a level, "boxes": [[left, top, right, bottom] a region] a
    level}]}.

    Raises:
      InputError: no images, Matplotlib is missing (its colour map), or the path does not end in .png.
    """
    path = png_path(path)
    if not shown:
        raise InputError("there is no image to draw attention of; give at least 1 row")
    sheet = attention_sheet(shown)
    images = [
        {
            "name": image.name,
            "identity": image.identity,
            "camera": image.camera,
            **{key: [np.round(level, 4).tolist() for level in _wide(getattr(image, key))] for key in _ARRAYS},
        }
        for image in shown
    ]
    write_json(path_beside(path, ".json"), {"ranges": soft_ranges(shown), "images": images})
    save_image(path, sheet)


_ARRAYS = ("soft", "centres", "boxes")


def _wide(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays in float64: rounded in float32, numbers are printed with all of its digits."""
    return [np.asarray(array, np.float64) for array in arrays]


def attention_sheet(shown: Sequence[Attention]) -> Image.Image:
    """Draws a row for each image: the image, its soft maps of levels 1 to 3, its regions of levels 1 to 3.

    The legend above tells which colours stand for which values: one scale a level, shared by all rows.
    """
    ranges = soft_ranges(shown)
    height, width = shown[0].image.shape[:2]
    size = (round(width * IMAGE_HEIGHT / height), IMAGE_HEIGHT)
    levels, with_regions = len(ranges), bool(shown[0].boxes)
    soft_left = MARGIN + size[0] + GROUP_GAP
    regions_left = soft_left + levels * (size[0] + GAP) - GAP + GROUP_GAP
    regions = len(shown[0].boxes[0]) if with_regions else 0
    beside = gutter(regions)
    region_width = size[0] + 2 * beside
    right = regions_left + levels * (region_width + GAP) - GAP if with_regions else regions_left - GROUP_GAP
    row_height = size[1] + CAPTION
    sheet_size = max(right + MARGIN, 560), HEADER + len(shown) * row_height + MARGIN // 2
    require_drawable(*sheet_size, f"a sheet of {len(shown):,} images (--rows)")
    sheet = Image.new("RGB", sheet_size, PAPER)
    draw = ImageDraw.Draw(sheet)
    title, text, small = font(20), font(14), font(12)
    draw.text((MARGIN, 34), "image", INK, title, anchor="ls")
    draw.text((soft_left, 34), "soft attention", INK, title, anchor="ls")
    if with_regions:
        draw.text((regions_left + beside, 34), "regions of the hard attention", INK, title, anchor="ls")
        draw.text((regions_left + beside, 56), f"what each of the {regions} reads", MUTED, text, anchor="ls")
    draw.text((soft_left, 56), "mean factor on the features", MUTED, text, anchor="ls")
    for level, (low, high) in enumerate(ranges):
        x = soft_left + level * (size[0] + GAP)
        draw.text((x + size[0] / 2, 78), f"level {level + 1}", INK, text, anchor="ms")
        sheet.paste(_gradient(size[0], 10), (x, 86))
        draw.text((x, 110), f"{low:.2f}", INK, small, anchor="ls")
        draw.text((x + size[0], 110), f"{high:.2f}", INK, small, anchor="rs")
        if with_regions:
            x = regions_left + level * (region_width + GAP)
            draw.text((x + region_width / 2, 78), f"level {level + 1}", INK, text, anchor="ms")
    if with_regions:
        x = regions_left + beside
        for numbers, color in legend_of_regions(regions):
            draw.rectangle((x, 96, x + 22, 96 + LINE), fill=color)
            draw.text((x + 28, 103), numbers, INK, text, anchor="ls")
            x += 48 + round(draw.textlength(numbers, text))
    for line, attention in enumerate(shown):
        y = HEADER + line * row_height
        sheet.paste(Image.fromarray(attention.image).resize(size, Image.Resampling.BICUBIC), (MARGIN, y))
        for level, soft in enumerate(attention.soft):
            sheet.paste(overlay(attention.image, soft, *ranges[level]), (soft_left + level * (size[0] + GAP), y))
        for level, boxes in enumerate(attention.boxes):
            sheet.paste(draw_regions(attention.image, boxes), (regions_left + level * (region_width + GAP), y))
        name = shorten(draw, attention.name, small, sheet.width - 2 * MARGIN)
        draw.text((MARGIN, y + size[1] + 16), name, MUTED, small, anchor="ls")
        if line:
            draw.line((MARGIN, y - 6, sheet.width - MARGIN, y - 6), RULE, 1)
    return sheet


def overlay(image: np.ndarray, soft: np.ndarray, low: float, high: float, height: int = IMAGE_HEIGHT) -> Image.Image:
    """Draws a soft map in colours over the image in grey, each cell of the map as the block of pixels it stands for."""
    size = (round(image.shape[1] * height / image.shape[0]), height)
    grey = Image.fromarray(image).convert("L").convert("RGB").resize(size, Image.Resampling.BICUBIC)
    value = np.clip((soft - low) / (high - low), 0, 1)
    colors = color_table()[np.round(value * 255).astype(int)]
    return Image.blend(grey, Image.fromarray(colors).resize(size, Image.Resampling.NEAREST), OPACITY)


def region_colors(count: int) -> list[str]:
    """Returns the colours of regions 1 to `count`."""
    return [REGION_COLORS[number % len(REGION_COLORS)] for number in range(count)]


def legend_of_regions(count: int) -> list[tuple[str, str]]:
    """Returns (numbers, colour) of regions 1 to `count`: '1, 5' is two of one colour."""
    numbers: dict[str, list[str]] = {}
    for number, color in enumerate(region_colors(count), 1):
        numbers.setdefault(color, []).append(str(number))
    return [(", ".join(of_color), color) for color, of_color in numbers.items()]


def gutter(regions: int) -> int:
    """Returns the pixels on each side of an image for the bars of its regions: half of their lanes, and a number."""
    return LANE * -(-regions // 2) + NUMBER


def draw_regions(image: np.ndarray, boxes: np.ndarray, height: int = IMAGE_HEIGHT) -> Image.Image:
    """Draws the boxes [r, 4] of one level on the image, with numbered bars as high as the boxes beside it.

    Boxes overlap, and the bars tell which lines belong together: 1, 3, ... to the left, 2, 4, ... to the right. The
    image stands `gutter(r)` pixels from the left. A box that leaves the image is open there: outside it reads zeros.
    """
    beside, colors = gutter(len(boxes)), region_colors(len(boxes))
    scale = height / image.shape[0]
    size = (round(image.shape[1] * scale), height)
    canvas = Image.new("RGB", (size[0] + 2 * beside, size[1]), PAPER)
    canvas.paste(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), (beside, 0))
    draw = ImageDraw.Draw(canvas)
    typeface = font(15)
    for box, color in zip(boxes, colors, strict=True):
        left, top, right, bottom = (float(edge) * scale for edge in box)
        inside = _edges(left, top, right, bottom, size)
        for width, paint in ((LINE + 2, PAPER), (LINE, ImageColor.getrgb(color))):  # a light seam around every line
            for a, b in inside:
                _draw_edge(draw, a, b, width, paint, size, beside)
    for number, (x, top, bottom, text) in enumerate(place_bars(boxes * scale, size[1]), 1):
        left = number % 2 == 1
        inwards = LANE * x + LINE + 1
        lane = beside - inwards if left else beside + size[0] + inwards - 1
        draw.line((lane, top, lane, bottom), ImageColor.getrgb(colors[number - 1]), LINE)
        outside = NUMBER - 2 if left else size[0] + 2 * beside - NUMBER + 2
        draw.text((outside, text), str(number), INK, typeface, anchor="rm" if left else "lm")
    return canvas


@functools.cache
def color_table() -> np.ndarray:
    """The colours of the maps, uint8 [256, 3], from the least value to the largest; InputError without Matplotlib."""
    require("matplotlib")
    from matplotlib import colormaps

    return colormaps[COLOR_MAP](np.arange(256), bytes=True)[:, :3]


def legend_colors(count: int) -> np.ndarray:
    """The colours from the least value to the largest as they look over mid-grey: uint8 [count, 3]."""
    colors = color_table()[np.linspace(0, 255, count).round().astype(int)]
    return np.round(OPACITY * colors + (1 - OPACITY) * 128).astype(np.uint8)


def _gradient(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.broadcast_to(legend_colors(width), (height, width, 3)).copy())


def _edges(left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> list[tuple]:
    """The sides of a box that lie inside an image of (width, height), as pairs of points clipped to it."""
    width, height = size
    clip_x, clip_y = (lambda x: min(max(x, 0), width)), (lambda y: min(max(y, 0), height))
    sides = []
    for y in (top, bottom):
        if -0.5 <= y <= height + 0.5:
            sides.append(((clip_x(left), y), (clip_x(right), y)))
    for x in (left, right):
        if -0.5 <= x <= width + 0.5:
            sides.append(((x, clip_y(top)), (x, clip_y(bottom))))
    return sides


def _draw_edge(draw: ImageDraw.ImageDraw, a, b, width: int, paint, size: tuple[int, int], beside: int) -> None:
    """A straight line of `width` pixels centred on a-b, kept inside the image, which stands `beside` from the left."""
    half = width / 2
    (x0, y0), (x1, y1) = a, b
    box = [x0 - half, y0 - half, x1 + half, y1 + half]
    # At the image's own edge the line moves inwards, so that it keeps its width.
    for axis, limit in ((0, size[0]), (1, size[1])):
        low, high = box[axis], box[axis + 2]
        if high - low <= width + 0.01:
            shift = max(0 - low, 0) - max(high - limit, 0)
            box[axis], box[axis + 2] = low + shift, high + shift
        else:
            box[axis], box[axis + 2] = max(low, 0), min(high, limit)
    left, top, right, bottom = (math.floor(edge + 0.5) for edge in box)  # round() would make some lines thicker
    draw.rectangle((left + beside, top, right + beside - 1, bottom - 1), fill=paint)
