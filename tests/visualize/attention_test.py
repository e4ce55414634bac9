"""Attention: the maps are those that the network multiplies in, and regions are drawn where the crop reads."""

import dataclasses
import functools
import itertools
import json
import os
import sys
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_evaluation import Watched, split
from made_variables import made_variables
from PIL import ImageColor

from reid_jax import parallel
from reid_jax.data.augment import normalise
from reid_jax.describe import Encoder
from reid_jax.errors import InputError
from reid_jax.models import ops
from reid_jax.models.attention import HardAttention, HarmoniousAttention
from reid_jax.models.attention_maps import attention_maps, has_attention_maps, region_boxes
from reid_jax.models.attention_network import AttentionNetwork
from reid_jax.models.output import Output
from reid_jax.models.registry import create_network
from reid_jax.visualize import attention, attention_sheet
from reid_jax.visualize.attention import attend, place_bars, soft_ranges
from reid_jax.visualize.attention_sheet import draw_regions, overlay, write_attention

SIZE = (64, 32)
TINY = dict(stem=8, widths=(16, 16, 32), repeats=(1, 1, 1), global_width=8, local_width=12)


@functools.cache
def _network(**fields):
    network = create_network("nano", 0, **{**TINY, **fields})
    variables = made_variables(network, SIZE)
    if network.regions:
        # Regions where fresh weights put them.
        for level, channels in enumerate(TINY["widths"], start=1):
            fresh = HardAttention(4).init(jax.random.key(0), jnp.zeros((1, 1, 1, channels)))
            variables["params"][f"attention{level}"]["hard"] = fresh["params"]
    return network, variables


def _encoder():
    return Encoder(*_network(), SIZE, parallel.one_device())


@pytest.fixture(scope="module")
def images():
    drawn = split([5, 6, 7], "query", (0, 0, 0), SIZE)
    drawn.image[:] = np.random.default_rng(0).integers(0, 256, drawn.image.shape)
    return drawn


@pytest.fixture(scope="module")
def shown(images):
    watched = Watched(images)
    shown = attend(_encoder(), watched, [2, 0])
    assert watched.selected == [[2, 0]]  # nothing else is decoded
    return shown


def test_attention_costs_nothing_where_it_is_not_asked_for(images):
    network, variables = _network()
    assert set(variables) == {"params", "batch_stats"}
    image = normalise(images.image)

    def run(mutable):
        return jax.make_jaxpr(lambda v, i: network.apply(v, i, train=True, mutable=mutable))(variables, image)

    plain, collected = run(["batch_stats"]), run(["batch_stats", "intermediates"])
    # Six more results, and not one operation: asked for or not, the same is computed.
    assert len(collected.jaxpr.outvars) == len(plain.jaxpr.outvars) + 6
    assert [str(e.primitive) for e in collected.jaxpr.eqns] == [str(e.primitive) for e in plain.jaxpr.eqns]


@pytest.mark.parametrize(
    "fields",
    [{}, dict(block="inception", pooling="average", classifier_bias=True), dict(regions=False)],
    ids=["shuffle", "inception", "no regions"],
)
def test_maps_are_those_of_the_network(images, fields):
    network, variables = _network(**fields)
    image = normalise(images.image)
    maps = attention_maps(network, variables, image)
    assert [level.shape for level in maps.soft] == [(3, 16, 8), (3, 8, 4), (3, 4, 2)]

    # What the attention module returned, seen from outside by its name.
    @jax.jit
    def capture(variables, image):
        def attends(module, _):
            return isinstance(module, HarmoniousAttention)

        return network.apply(variables, image, train=False, capture_intermediates=attends, mutable=["intermediates"])

    _, state = capture(variables, image)
    for level in range(3):
        ((soft, centres),) = state["intermediates"][f"attention{level + 1}"]["__call__"]
        np.testing.assert_allclose(maps.soft[level], np.mean(np.asarray(soft, np.float64), -1), rtol=1e-5)
        assert maps.soft[level].dtype == np.float32
        assert (maps.soft[level] >= 0.5).all()
        assert (maps.soft[level] < 1).all()
        if network.regions:
            np.testing.assert_allclose(maps.centres[level], centres, rtol=1e-5, atol=1e-6)
    if network.regions:
        # Fresh weights put the regions one below the other over the whole width.
        for boxes in maps.boxes:
            np.testing.assert_allclose(boxes[..., 0], 0, atol=1e-4)
            np.testing.assert_allclose(boxes[..., 2], SIZE[1], rtol=1e-5)
            assert (np.diff(boxes[..., 1]) > 0).all()
    else:
        assert maps.centres == maps.boxes == ()


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_boxes_end_where_the_crop_samples_first_and_last(level, align_corners):
    cell = 2**level
    height, width = 160 // cell, 64 // cell
    # A feature map that holds its own row and column numbers tells where the crop reads.
    row, column = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    numbers = jnp.asarray(np.stack([row, column], -1)[None], jnp.float32)
    # Inside of the image, where no zeros from beyond it are mixed in; moved aside, one edge is outside.
    centres = jnp.array([[[0.0, -0.6], [0.0, 0.11], [0.2, 0.3], [-0.3, 0.0]]])
    crop = np.asarray(ops.crop_regions(numbers, centres, 24, 28, 0.25, align_corners))
    boxes = region_boxes(np.asarray(centres), level, (160, 64), 0.25, align_corners)[0]
    for region, (left, top, right, bottom) in zip(crop, boxes, strict=True):
        middle = 14  # any column well inside
        assert top / cell == pytest.approx(region[0, middle, 0], abs=1e-3)
        assert bottom / cell - 1 == pytest.approx(region[-1, middle, 0], abs=1e-3)
        if left >= 0:
            assert left / cell == pytest.approx(region[12, 0, 1], abs=1e-3)
        if right <= 64:
            assert right / cell - 1 == pytest.approx(region[12, -1, 1], abs=1e-3)
        assert bottom - top == pytest.approx(160 / 4, abs=cell)


def test_regions_are_drawn_on_the_rows_that_the_geometry_says():
    image = np.full((160, 64, 3), 128, np.uint8)
    boxes = np.float32([[0, 8, 64, 48], [0, 60, 64, 100], [16, 104, 80, 144], [-16, 125, 48, 165]])
    drawn = np.asarray(draw_regions(image, boxes, height=320))  # twice as large: every pixel is two
    inside = drawn[:, attention_sheet.gutter(4) : attention_sheet.gutter(4) + 128]

    def rows_of(color, column):
        return np.flatnonzero((inside[:, column] == ImageColor.getrgb(color)).all(1))

    first, second, third, fourth = attention_sheet.REGION_COLORS
    assert rows_of(first, 60).tolist() == [15, 16, 17, 95, 96, 97]
    assert rows_of(second, 60).tolist() == [119, 120, 121, 199, 200, 201]
    # The third is open to the right, the fourth to the left and below: there they leave the image.
    assert len(rows_of(third, 33)) > 60
    assert len(rows_of(third, 127)) <= 2 * attention_sheet.LINE
    assert len(rows_of(fourth, 95)) + len(rows_of(fourth, 96)) > 60
    assert rows_of(fourth, 20).tolist() == [row for row in rows_of(fourth, 20) if row < 255]
    # A region of its own colour, and a bar as high as the region beside the image.
    left = drawn[:, : attention_sheet.gutter(4)]
    bar = (left == ImageColor.getrgb(first)).all(2)
    assert 80 <= bar.any(1).sum() <= 84
    assert np.flatnonzero(bar.any(1))[0] in (15, 16)


def test_bars_and_numbers_keep_apart_even_where_regions_coincide():
    for boxes in (np.tile([[0, 0, 32, 10]], (4, 1)), np.tile([[0, 90, 32, 130]], (4, 1)), np.zeros((4, 4)) - 50):
        placed = place_bars(np.float32(boxes), 100.0)
        assert [lane for lane, *_ in placed] == [0, 0, 1, 1]
        for one, other in ((0, 2), (1, 3)):
            assert abs(placed[one][3] - placed[other][3]) >= 16
        assert all(8 <= text <= 92 for *_, text in placed)
        assert all(0 <= top <= bottom < 100 for _, top, bottom, _ in placed)


@pytest.mark.parametrize("count", [1, 2, 5, 6, 16])
def test_any_number_of_regions_has_lanes_and_numbers_that_keep_apart(count):
    for boxes in (np.zeros((count, 4)), np.linspace([0, -20, 64, 10], [0, 90, 64, 120], count)):
        placed = place_bars(np.float32(boxes), 100.0)
        assert [lane for lane, *_ in placed] == [number // 2 for number in range(count)]
        for side in (placed[::2], placed[1::2]):
            centres = sorted(text for *_, text in side)
            assert all(b - a > min(16, 100 / len(side)) - 1e-4 for a, b in itertools.pairwise(centres))
            assert all(0 <= text <= 100 for text in centres)
    drawn = draw_regions(np.zeros((80, 32, 3), np.uint8), np.float32(boxes), height=160)
    assert drawn.size == (64 + 2 * attention_sheet.gutter(count), 160)


def test_overlay_shows_each_cell_in_the_colour_of_its_value():
    image = np.full((40, 20, 3), 128, np.uint8)
    soft = np.float32([[0.5, 0.6], [0.7, 0.8]])
    drawn = np.asarray(overlay(image, soft, 0.5, 0.8, height=40)).astype(int)
    legend = attention_sheet.legend_colors(4).astype(int)
    for place, color in zip(((5, 5), (5, 15), (35, 5), (35, 15)), legend, strict=True):
        assert np.abs(drawn[place] - color).max() <= 2
    assert (drawn[:20, :10] == drawn[0, 0]).all()


def test_colours_span_what_all_images_take_and_never_blow_up_a_flat_map(shown):
    ranges = soft_ranges(shown)
    for level, (low, high) in enumerate(ranges):
        values = np.concatenate([one.soft[level].ravel() for one in shown])
        assert low == pytest.approx(values.min())
        assert high == pytest.approx(max(values.max(), low + attention.SMALLEST_RANGE))
    flat = [dataclasses.replace(shown[0], soft=tuple(np.full((2, 2), 0.5, np.float32) for _ in range(3)))]
    assert soft_ranges(flat) == [(0.5, 0.5 + attention.SMALLEST_RANGE)] * 3


def test_files_hold_the_numbers(images, shown, tmp_path):
    write_attention(tmp_path / "attention.png", shown)
    assert sorted(os.listdir(tmp_path)) == ["attention.png", "attention.png.json"]
    held = json.loads((tmp_path / "attention.png.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in held["images"]] == [images.name[2], images.name[0]]
    np.testing.assert_allclose(held["images"][0]["soft"][1], shown[0].soft[1], atol=1e-4)
    np.testing.assert_allclose(held["images"][1]["boxes"][2], shown[1].boxes[2], atol=1e-3)
    without = [dataclasses.replace(one, boxes=(), centres=()) for one in shown]
    write_attention(tmp_path / "without.png", without)
    assert attention_sheet.attention_sheet(without).width < attention_sheet.attention_sheet(shown).width


def test_a_network_without_attention_is_named(images):
    class Plain:
        pass

    assert not has_attention_maps(Plain(), {}, SIZE)
    with pytest.raises(InputError, match="Plain has no attention maps"):
        attend(types.SimpleNamespace(network=Plain(), variables={}), images, [0])


class WithoutAttention(AttentionNetwork):
    """A user's own: another forward pass, of less than the class that it is derived from."""

    streams = (8,)

    @nn.compact
    def __call__(self, image, train):
        x = nn.Dense(8, name="layer")(image.mean((1, 2)))
        return Output(x, (x,), ())


def test_a_derived_network_that_keeps_no_maps_has_none(images):
    assert has_attention_maps(*_network(), SIZE)
    network = WithoutAttention(0)
    variables = {"params": {"layer": {"kernel": np.ones((3, 8), np.float32), "bias": np.zeros(8, np.float32)}}}
    assert not has_attention_maps(network, variables, SIZE)
    with pytest.raises(InputError, match="WithoutAttention has no attention maps"):
        attend(types.SimpleNamespace(network=network, variables=variables), images, [0])


@pytest.mark.parametrize(("count", "numbers"), [(1, ["1"]), (3, ["1", "2", "3"]), (6, ["1, 5", "2, 6", "3", "4"])])
def test_the_legend_lists_the_regions_that_there_are(count, numbers):
    assert [text for text, _ in attention_sheet.legend_of_regions(count)] == numbers


def test_what_is_wrong_is_named(images, shown, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="at least 1 row"):
        attend(_encoder(), images, [])
    with pytest.raises(InputError, match="from 0 to 3, but there are 3 images"):
        attend(_encoder(), images, [0, 3])
    with pytest.raises(InputError, match=r"a\.jpg; let it end in \.png"):
        write_attention(tmp_path / "a.jpg", shown)
    attention_sheet.color_table.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match="matplotlib"):
        write_attention(tmp_path / "a.png", shown)
    assert not os.listdir(tmp_path)
