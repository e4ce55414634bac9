"""The attention network of arXiv 1910.07038 (Table 1, section 3.2) and its presets, HA-CNN among them.

A global stream of three stages, each followed by harmonious attention, and a local stream of regions, four in the
paper, that the hard attention places. Both end in a vector; the descriptor is the two, normalised and concatenated.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from reid_jax.errors import InputError
from reid_jax.models import ops
from reid_jax.models.attention import HarmoniousAttention
from reid_jax.models.blocks import (
    ConvNorm,
    InceptionA,
    InceptionB,
    InstanceNorm,
    ShuffleABranch,
    ShuffleB,
    ShuffleBBranches,
)
from reid_jax.models.chain import chain_layout
from reid_jax.models.fields import DTYPE, require_fields
from reid_jax.models.heads import RANGES as HEAD_RANGES
from reid_jax.models.heads import read_out, require_reader, scale_defaults
from reid_jax.models.output import Output
from reid_jax.models.pooling import POOLINGS, Pooling
from reid_jax.ranges import Numbers, Range, Switch, choice, real, whole

_ARRAYS_OF_A_UNIT = 15  # of `blocks.ShuffleA`: three convolutions, and what normalises each


class Stage(nn.Module):
    """One stage of the global stream: [n, h, w, ci] -> [n, h / 2, w / 2, features].

    Shuffle: B at stride 1, A `repeats` times, B at stride 2. Inception: A, then B at stride 2.
    """

    block: str
    features: int
    repeats: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if self.block == "inception":
            x = InceptionA(self.features, self.dtype, name="a")(x, train)
            return InceptionB(self.features, self.dtype, name="b")(x, train)
        layout = chain_layout(self.features // 2, self.repeats)
        *inputs, last = layout.inputs
        first, second = ShuffleBBranches(self.features, dtype=self.dtype, name="widen")(x, train)
        pieces = layout.cut(0, first) | layout.cut(1, second)
        for index, unit_input in enumerate(inputs, 1):
            unit = ShuffleABranch(unit_input.order, self.dtype, name=f"unit{index}")
            pieces |= layout.cut(index + 1, unit(unit_input.concatenated(pieces), train))
        return ShuffleB(self.features, 2, last.order, self.dtype, name="halve")(last.concatenated(pieces), train)


class AttentionNetwork(nn.Module):
    """Robust-ReID and its relatives; every switch of the paper's ablation and of section 3.3 is a field.

    `__call__(image float [n, h, w, 3], train) -> Output`, with h and w multiples of 32 (160 and 64 in the
    paper) and `image` normalised. Initialise with `train=True`, so that the classifiers get their parameters.

    Fields:
      identities: classes of the classifiers; 0 leaves the classifiers out.
      block: 'shuffle' or 'inception'; stem, widths, repeats: channels of Conv1 and of the stages, Shuffle-A
        units per stage (inception stages have one A and one B whatever `repeats` says).
      global_width, local_width: the two stream vectors' lengths.
      regions: whether there is a local stream.
      region_count: how many regions the hard attention places; at first evenly from head to feet.
      region_size: (height, width) of the crops at the first level, halved at each further one; region_scale: a
        region's height as a part of the feature map's (its width is the whole one).
      pooling: 'gem', 'average', 'max' or 'average_max'; gem_per_channel: one p a channel instead of one a stream.
      normalisation, classifier_reads, classifier_bias, logit_scale, logit_scale_learned: see `heads.HeadFields`.
      crop_align_corners: the grid of the region crop; see `ops.crop_regions`.
      instance_norms: after how many of Conv1 and the first stages an instance normalisation stands (none in the
        paper), on the part `instance_share` of the channels: for images of cameras that training has not seen.
      dtype: of the activations and convolutions, on a CPU of matrix products alone; parameters, statistics and vectors
        stay float32.
    Raises InputError for a field or an image size outside these.
    """

    identities: int
    block: str = "shuffle"
    stem: int = 32
    widths: tuple[int, int, int] = (128, 256, 384)
    repeats: tuple[int, int, int] = (7, 10, 7)
    global_width: int = 512
    local_width: int = 512
    regions: bool = True
    region_count: int = 4
    region_size: tuple[int, int] = (24, 28)
    region_scale: float = 0.25
    pooling: str = "gem"
    gem_per_channel: bool = False
    normalisation: str = "l2"
    classifier_reads: str = "normalised"
    classifier_bias: bool = False
    logit_scale: float = 1.0
    logit_scale_learned: bool = False
    crop_align_corners: bool = True
    instance_norms: int = 0
    instance_share: float = 0.5
    dtype: Any = jnp.float32

    # arXiv 1910.07038, Table 1, and HA-CNN's public re-implementation.
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "robust_reid_1x": {},
        # The printed FC-local width is unreadable; 1280 is the multiple of 64 that gives the paper's 6.4M parameters.
        "robust_reid_2x": dict(stem=36, widths=(240, 320, 480), repeats=(8, 11, 8), global_width=960, local_width=1280),
        "robust_reid_2x_table": dict(
            stem=36, widths=(240, 320, 480), repeats=(8, 11, 8), global_width=960, local_width=960
        ),
        "hacnn": dict(block="inception", pooling="average", normalisation="inference", classifier_bias=True),
        # For laptops and tests: the same plan, small.
        "nano": dict(stem=16, widths=(64, 96, 128), repeats=(1, 2, 1), global_width=128, local_width=128),
    }
    RANGES: ClassVar[dict[str, Range]] = {
        "dtype": DTYPE,
        "block": choice(("shuffle", "inception")),
        "stem": whole(1, 4096),
        # Halves in the shuffle units, a sixteenth of them in the channel attention.
        "widths": Numbers(whole(16, 8192, multiple=2), 3),
        "repeats": Numbers(whole(0, 64), 3),
        "global_width": whole(1, 16_384),
        "local_width": whole(1, 16_384),
        "regions": Switch(),
        "region_count": whole(1, 16),
        "region_size": Numbers(whole(8, 256), 2),  # a quarter of it at the third level, halved once more there
        "region_scale": real(0, 1, above=True),
        "pooling": choice(POOLINGS),
        "gem_per_channel": Switch(),
        "crop_align_corners": Switch(),
        "instance_norms": whole(0, 3),
        "instance_share": real(0, 1, above=True),
        **HEAD_RANGES,
    }
    # Five halvings, the last one in the spatial attention.
    IMAGE_SIZE: ClassVar[Range] = Numbers(whole(32, 1024, multiple=32), 2)
    COMPONENTS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("conv1", "conv1"),
        (r"stage(\d)", r"stage\1"),
        (r"attention(\d)/soft", r"soft attention \1"),
        (r"attention(\d)/hard", r"hard attention \1"),
        (r"local(\d)", r"local\1"),
        ("instance_norm", "instance normalisation"),
        ("pool_", "pooling"),
        (r"fc_(\w+)", r"fc \1"),
        ("neck_", "necks"),
    )

    def __post_init__(self):
        require_fields(self)
        if self.block == "inception" and any(width % 4 for width in self.widths):
            raise InputError(f"model.widths is {self.widths}; inception blocks have four streams: give multiples of 4")
        require_reader(self)
        super().__post_init__()

    def config_defaults(self) -> dict[str, Any]:
        """Returns {field: its value in a config with these other fields that does not set it}."""
        return scale_defaults(self)

    def least_size(self) -> dict[str, tuple[int, int]]:
        """Returns (numbers, arrays) that the variables have at the least by a field, for each that makes them many."""
        # Each has a vector of so many numbers or more, each stage a square matrix over half of its channels.
        least = {"stem": (self.stem, 0), "global_width": (self.global_width, 0)}
        if self.regions:
            least["local_width"] = (self.local_width, 0)
            least["region_count"] = (self.region_count, 0)
        least["widths"] = (max(width**2 // 4 for width in self.widths), 0)
        if self.block == "shuffle":
            least["repeats"] = (0, sum(self.repeats) * _ARRAYS_OF_A_UNIT)
        return least

    @property
    def streams(self) -> tuple[int, ...]:
        """The widths of the vectors that the descriptor concatenates."""
        return (self.global_width, self.local_width) if self.regions else (self.global_width,)

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> Output:
        if image.ndim != 4 or image.shape[3] != 3 or not self.IMAGE_SIZE.holds(image.shape[1:3]):
            raise InputError(
                f"the network got images of shape {tuple(image.shape)}; it takes [n, height, width, 3] with "
                f"height and width each {self.IMAGE_SIZE.each} (160 and 64 in the paper)"
            )
        biased = self.block == "inception"
        normalised = self.instance_norms > 0
        x = ConvNorm(self.stem, 3, 2, relu=not normalised, use_bias=biased, dtype=self.dtype, name="conv1")(
            image, train
        )
        if normalised:
            x = InstanceNorm(self.instance_share, relu=True, name="instance_norm1")(x)
        local = None
        for level, (features, repeats) in enumerate(zip(self.widths, self.repeats, strict=True), 1):
            x, cropped = ops.share(x)
            y = Stage(self.block, features, repeats, self.dtype, name=f"stage{level}")(x, train)
            regions = self.region_count if self.regions else 0
            attention = HarmoniousAttention(regions, biased, self.dtype, name=f"attention{level}")
            soft, centres = attention(y, train)
            if self.regions:
                height, width = (-(-side // 2 ** (level - 1)) for side in self.region_size)
                # The crop reads what this stage read: Conv1's output, later the last attended output. The
                # regions share their weights, so they are folded into the batch.
                region = ops.crop_regions(cropped, centres, height, width, self.region_scale, self.crop_align_corners)
                local = region if local is None else region + local
                local = self._local_block(level, features, local, train)
            x = y * soft
            if level < self.instance_norms:
                x = InstanceNorm(self.instance_share, name=f"instance_norm{level + 1}")(x)

        pooled = {"global": Pooling(self.pooling, self.gem_per_channel, name="pool_global")(x)}
        widths = {"global": self.global_width}
        if self.regions:
            per_region = Pooling(self.pooling, self.gem_per_channel, name="pool_local")(local)
            pooled["local"] = per_region.reshape(image.shape[0], self.region_count * per_region.shape[-1])
            widths["local"] = self.local_width

        return read_out(self, pooled, widths, train)

    def _local_block(self, level, features, x, train):
        if self.block == "inception":
            return InceptionB(features, self.dtype, name=f"local{level}")(x, train)
        return ShuffleB(features, 2, dtype=self.dtype, name=f"local{level}")(x, train)
