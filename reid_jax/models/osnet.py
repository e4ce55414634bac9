"""OSNet: omni-scale features for re-identification (Zhou, Yang, Cavallaro, Xiang, ICCV 2019; arXiv 1905.00953).

Layers at 256x128 for width 1 (Table 1 of the paper); a block, below, is the residual bottleneck of its figure 4:

  layer              output     channels
  conv1 7x7, max     64 x 32    64         both of stride 2
  block x 2          64 x 32    256
  1x1, average 2x2   32 x 16    256        transition
  block x 2          32 x 16    384
  1x1, average 2x2   16 x 8     384        transition
  block x 2          16 x 8     512
  conv5 1x1          16 x 8     512
  average, linear    1 x 1      512
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from reid_jax.errors import InputError
from reid_jax.models import ops
from reid_jax.models.blocks import ConvNorm, kernel_init
from reid_jax.models.fields import DTYPE, require_fields
from reid_jax.models.heads import RANGES as HEAD_RANGES
from reid_jax.models.heads import read_out, require_reader
from reid_jax.models.output import Output
from reid_jax.models.pooling import POOLINGS, Pooling
from reid_jax.ranges import Numbers, Range, Switch, choice, whole

_BOTTLENECK = 4  # a block's channels over those within it
_GATE_REDUCTION = 16
_ARRAYS_OF_A_LITE = 6  # two kernels, and what normalises: scale, bias, mean and variance
_ARRAYS_OF_A_BLOCK = 14  # two convolutions with theirs, and two linear layers of the gate


class Pointwise(nn.Module):
    """1x1 convolution alone, neither bias nor BatchNorm: [n, h, w, ci] -> [n, h, w, features]."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", kernel_init, (x.shape[-1], self.features))
        return ops.pointwise_conv(x, kernel.astype(self.dtype))


class Lite(nn.Module):
    """Lite 3x3 convolution, the paper's factorisation: 1x1, then depth-wise 3x3, BatchNorm and ReLU; shape kept."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        features = x.shape[-1]
        x = Pointwise(features, self.dtype, name="pointwise")(x)
        return ConvNorm(features, 3, depthwise=True, dtype=self.dtype, name="depthwise")(x, train)


class AggregationGate(nn.Module):
    """Unified aggregation gate (equation 3): streams, each [n, h, w, c] -> their sum, each weighted by channel.

    The weights of a stream are sigmoid(W2 relu(W1 mean(stream))), over its own places: one small network, with a
    hidden layer of c / 16, for all the streams.
    """

    @nn.compact
    def __call__(self, streams: list[jax.Array]) -> jax.Array:
        channels = streams[0].shape[-1]
        # float32 [n, streams, c]
        pooled = jnp.stack([jnp.mean(stream, (1, 2), dtype=jnp.float32) for stream in streams], 1)
        hidden = nn.Dense(max(1, channels // _GATE_REDUCTION), kernel_init=kernel_init, name="reduce")(pooled)
        gate = nn.sigmoid(nn.Dense(channels, kernel_init=kernel_init, name="expand")(nn.relu(hidden)))
        gate = gate.astype(streams[0].dtype)
        return sum(stream * gate[:, number, None, None] for number, stream in enumerate(streams))


class OmniScaleBlock(nn.Module):
    """Omni-scale residual block (figure 4): [n, h, w, ci] -> [n, h, w, features].

    Stream t = 1..scales is t Lite 3x3 after one another, so that it sees 2t + 1 places to a side. All read one 1x1
    convolution of a quarter of the channels; the gate sums them, and a linear 1x1 convolution widens the sum again.
    """

    features: int
    scales: int = 4
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        shortcut = x
        if x.shape[-1] != self.features:
            shortcut = ConvNorm(self.features, relu=False, dtype=self.dtype, name="shortcut")(x, train)
        reduced = ConvNorm(self.features // _BOTTLENECK, dtype=self.dtype, name="reduce")(x, train)
        streams = []
        for scale in range(1, self.scales + 1):
            stream = reduced
            for layer in range(1, scale + 1):
                stream = Lite(self.dtype, name=f"stream{scale}_lite{layer}")(stream, train)
            streams.append(stream)
        x = AggregationGate(name="gate")(streams)
        x = ConvNorm(self.features, relu=False, dtype=self.dtype, name="expand")(x, train)
        with jax.named_scope("relu"):
            return nn.relu(x + shortcut)


class Stage(nn.Module):
    """`repeats` omni-scale blocks, and with `transition` a 1x1 convolution and half the size, rounded down.

    [n, h, w, ci] -> [n, h, w, features], or [n, h // 2, w // 2, features].
    """

    features: int
    repeats: int
    transition: bool
    scales: int = 4
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for number in range(1, self.repeats + 1):
            x = OmniScaleBlock(self.features, self.scales, self.dtype, name=f"block{number}")(x, train)
        if self.transition:
            x = ConvNorm(self.features, dtype=self.dtype, name="transition")(x, train)
            x = _halve(x)
        return x


def _halve(x: jax.Array) -> jax.Array:
    """Takes 2x2 means at stride 2, without the last row or column of an odd number."""
    n, height, width, c = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    x = x.reshape(n, height // 2, 2, width // 2, 2, c)
    return jnp.mean(x, (2, 4), dtype=jnp.float32).astype(x.dtype)


class OSNet(nn.Module):
    """Omni-scale network: one stream, of features of all scales from 1x1 places to whole bodies.

    `__call__(image float [n, h, w, 3], train) -> Output`, with h and w from 16 to 1,024 (256 and 128 in the paper)
    and `image` normalised. Initialise with `train=True`, so that the classifier gets its parameters.

    Fields:
      identities: classes of the classifier; 0 leaves it out.
      stem, widths, repeats: channels of conv1 and of the stages, omni-scale blocks per stage.
      scales: T, the streams of a block.
      global_width: the vector's length.
      pooling: 'average', as in the paper, 'gem', 'max' or 'average_max'; gem_per_channel: one p a channel.
      normalisation, classifier_reads, classifier_bias, logit_scale, logit_scale_learned: see `heads.HeadFields`. As
        published: raw vectors in training, a classifier with bias, no scale on its logits.
      dtype: of the activations and convolutions, on a CPU of matrix products alone; parameters, statistics, gates and
        vectors stay float32.
    Raises InputError for a field or an image size outside these.
    """

    identities: int
    stem: int = 64
    widths: tuple[int, int, int] = (256, 384, 512)
    repeats: tuple[int, int, int] = (2, 2, 2)
    scales: int = 4
    global_width: int = 512
    pooling: str = "average"
    gem_per_channel: bool = False
    normalisation: str = "inference"
    classifier_reads: str = "normalised"
    classifier_bias: bool = True
    logit_scale: float = 1.0
    logit_scale_learned: bool = False
    dtype: Any = jnp.float32

    # The width multipliers that the paper publishes.
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "osnet_x1_0": {},
        "osnet_x0_75": dict(stem=48, widths=(192, 288, 384)),
        "osnet_x0_5": dict(stem=32, widths=(128, 192, 256)),
        "osnet_x0_25": dict(stem=16, widths=(64, 96, 128)),
    }
    RANGES: ClassVar[dict[str, Range]] = {
        "dtype": DTYPE,
        "stem": whole(1, 4096),
        "widths": Numbers(whole(_BOTTLENECK, 8192, multiple=_BOTTLENECK), 3),
        "repeats": Numbers(whole(1, 64), 3),
        "scales": whole(1, 16),
        "global_width": whole(1, 16_384),
        "pooling": choice(POOLINGS),
        "gem_per_channel": Switch(),
        **HEAD_RANGES,
    }
    # Four halvings; a transition drops the last row or column of an odd number.
    IMAGE_SIZE: ClassVar[Range] = Numbers(whole(16, 1024), 2)
    COMPONENTS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("conv1", "conv1"),
        (r"stage(\d)", r"stage\1"),
        ("conv5", "conv5"),
        ("pool_", "pooling"),
        ("fc_", "fc"),
        ("neck_", "neck"),
    )

    def __post_init__(self):
        require_fields(self)
        require_reader(self)
        super().__post_init__()

    def least_size(self) -> dict[str, tuple[int, int]]:
        """Returns (numbers, arrays) that the variables have at the least by a field, for each that makes them many."""
        blocks = sum(self.repeats)
        return {
            "stem": (self.stem, 0),
            "global_width": (self.global_width, 0),
            "widths": (max(width**2 // _BOTTLENECK for width in self.widths), 0),
            "repeats": (0, blocks * _ARRAYS_OF_A_BLOCK),
            "scales": (0, blocks * self.scales * (self.scales + 1) // 2 * _ARRAYS_OF_A_LITE),
        }

    @property
    def streams(self) -> tuple[int, ...]:
        """The width of the one vector, which is the descriptor."""
        return (self.global_width,)

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> Output:
        if image.ndim != 4 or image.shape[3] != 3 or not self.IMAGE_SIZE.holds(image.shape[1:3]):
            raise InputError(
                f"the network got images of shape {tuple(image.shape)}; it takes [n, height, width, 3] with "
                f"height and width each {self.IMAGE_SIZE.each} (256 and 128 in the paper)"
            )
        x = ConvNorm(self.stem, 7, 2, dtype=self.dtype, name="conv1")(image, train)
        x = ops.max_pool(x)
        for level, (features, repeats) in enumerate(zip(self.widths, self.repeats, strict=True), 1):
            transition = level < len(self.widths)
            x = Stage(features, repeats, transition, self.scales, self.dtype, name=f"stage{level}")(x, train)
        x = ConvNorm(self.widths[-1], dtype=self.dtype, name="conv5")(x, train)
        pooled = Pooling(self.pooling, self.gem_per_channel, name="pool_global")(x)
        return read_out(self, {"global": pooled}, {"global": self.global_width}, train)
