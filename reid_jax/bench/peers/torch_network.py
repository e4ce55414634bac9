"""The shuffle networks of `models.attention_network` in PyTorch, written on their own: what a bench compares with.

Only what a bench needs: blocks of shuffle units, GeM, unit vectors in training, one learnt scale of the logits. The
modules have the names of our variables, so that `load_variables` copies one tree to the other, and the same weights
give the same descriptors, losses and gradients.
"""

import collections
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import nn

from reid_jax.models.attention_network import AttentionNetwork


class ConvNorm(nn.Module):
    """Convolution, BatchNorm and, unless told otherwise, ReLU."""

    def __init__(self, inputs, features, size=1, stride=1, depthwise=False, relu=True):
        super().__init__()
        groups = inputs if depthwise else 1
        self.conv = nn.Conv2d(inputs, features, size, stride, size // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(features)
        self.relu = relu

    def forward(self, x):
        x = self.norm(self.conv(x))
        return F.relu(x, inplace=True) if self.relu else x


def shuffle(first, second):
    """Interleaves the channels of two tensors [n, c, h, w]."""
    n, c, h, w = first.shape
    return torch.cat([first, second], 1).view(n, 2, c, h, w).transpose(1, 2).reshape(n, 2 * c, h, w)


class ShuffleA(nn.Module):
    """Shuffle unit of stride 1."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.reduce = ConvNorm(half, half)
        self.depthwise = ConvNorm(half, half, 3, depthwise=True, relu=False)
        self.expand = ConvNorm(half, half)

    def forward(self, x):
        kept, y = x.chunk(2, 1)
        return shuffle(kept, self.expand(self.depthwise(self.reduce(y))))


class ShuffleB(nn.Module):
    """Shuffle unit whose branches both read all channels."""

    def __init__(self, inputs, features, stride):
        super().__init__()
        half = features // 2
        self.shortcut_depthwise = ConvNorm(inputs, inputs, 3, stride, depthwise=True, relu=False)
        self.shortcut_expand = ConvNorm(inputs, half)
        self.reduce = ConvNorm(inputs, half)
        self.depthwise = ConvNorm(half, half, 3, stride, depthwise=True, relu=False)
        self.expand = ConvNorm(half, half)

    def forward(self, x):
        first = self.shortcut_expand(self.shortcut_depthwise(x))
        return shuffle(first, self.expand(self.depthwise(self.reduce(x))))


class Stage(nn.Module):
    """Shuffle B, A `repeats` times, B at stride 2."""

    def __init__(self, inputs, features, repeats):
        super().__init__()
        self.widen = ShuffleB(inputs, features, 1)
        self.units = [f"unit{number}" for number in range(1, repeats + 1)]
        for name in self.units:
            self.add_module(name, ShuffleA(features))
        self.halve = ShuffleB(features, features, 2)

    def forward(self, x):
        x = self.widen(x)
        for name in self.units:
            x = getattr(self, name)(x)
        return self.halve(x)


class SoftAttention(nn.Module):
    """Spatial times channel attention."""

    def __init__(self, channels):
        super().__init__()
        self.spatial_conv = ConvNorm(1, 1, 3, 2)
        self.spatial_scale = ConvNorm(1, 1)
        self.channel_reduce = ConvNorm(channels, channels // 16)
        self.channel_expand = ConvNorm(channels // 16, channels)
        self.combine = ConvNorm(channels, channels)

    def forward(self, x):
        spatial = self.spatial_conv(x.mean(1, keepdim=True))
        size = (2 * spatial.shape[2], 2 * spatial.shape[3])
        spatial = self.spatial_scale(F.interpolate(spatial, size, mode="bilinear", align_corners=True))
        channel = self.channel_expand(self.channel_reduce(x.mean((2, 3), keepdim=True)))
        return torch.sigmoid(self.combine(spatial * channel))


class HardAttention(nn.Module):
    """Centres of four regions."""

    def __init__(self, channels):
        super().__init__()
        self.linear = nn.Linear(channels, 8)

    def forward(self, x):
        return torch.tanh(self.linear(x.mean((2, 3)))).view(-1, 4, 2)


class HarmoniousAttention(nn.Module):
    """Both attentions of a feature map."""

    def __init__(self, channels):
        super().__init__()
        self.soft = SoftAttention(channels)
        self.hard = HardAttention(channels)

    def forward(self, x):
        return self.soft(x), self.hard(x)


class GeM(nn.Module):
    """Generalised mean of height and width."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x):
        return x.float().clamp(min=1e-6).pow(self.p).mean((2, 3)).pow(1 / self.p)


class Pooling(nn.Module):
    """Holds GeM under the name our tree has."""

    def __init__(self):
        super().__init__()
        self.gem = GeM()

    def forward(self, x):
        return self.gem(x)


class Vector(nn.Module):
    """Linear, BatchNorm, ReLU."""

    def __init__(self, inputs, features):
        super().__init__()
        self.linear = nn.Linear(inputs, features)
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        return F.relu(self.norm(self.linear(x)))


class Classifier(nn.Module):
    """Linear without bias, times a learnt scale."""

    def __init__(self, inputs, identities, scale):
        super().__init__()
        self.linear = nn.Linear(inputs, identities, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, x):
        return self.linear(x) * self.log_scale.exp()


class TorchNetwork(nn.Module):
    """The network of `like` on normalised images [n, 3, h, w]: the descriptor in eval mode, (vectors, logits) in train.

    `like` is one that `against.check_network` lets pass.
    """

    def __init__(self, like: AttentionNetwork):
        super().__init__()
        self.region_size, self.region_scale = like.region_size, like.region_scale
        self.conv1 = ConvNorm(3, like.stem, 3, 2)
        inputs = like.stem
        for level, (features, repeats) in enumerate(zip(like.widths, like.repeats, strict=True), 1):
            self.add_module(f"stage{level}", Stage(inputs, features, repeats))
            self.add_module(f"attention{level}", HarmoniousAttention(features))
            self.add_module(f"local{level}", ShuffleB(inputs, features, 2))
            inputs = features
        self.pool_global, self.pool_local = Pooling(), Pooling()
        self.fc_global = Vector(inputs, like.global_width)
        self.fc_local = Vector(4 * inputs, like.local_width)
        self.identities = like.identities
        if like.identities:
            self.classifier_global = Classifier(like.global_width, like.identities, like.logit_scale)
            self.classifier_local = Classifier(like.local_width, like.identities, like.logit_scale)

    def forward(self, image):
        x = self.conv1(image)
        local = None
        for level in (1, 2, 3):
            y = getattr(self, f"stage{level}")(x)
            soft, centres = getattr(self, f"attention{level}")(y)
            size = tuple(-(-side // 2 ** (level - 1)) for side in self.region_size)
            regions = self._crop(x, centres, size)
            local = getattr(self, f"local{level}")(regions if local is None else regions + local)
            x = y * soft
        pooled = self.pool_local(local).view(image.shape[0], -1)
        vectors = [F.normalize(self.fc_global(self.pool_global(x))), F.normalize(self.fc_local(pooled))]
        if not self.training:
            return torch.cat(vectors, 1) / math.sqrt(2)
        return vectors, [self.classifier_global(vectors[0]), self.classifier_local(vectors[1])]

    def _crop(self, x, centres, size):
        """The four regions, folded into the batch."""
        n, c, h, w = x.shape
        tx, ty = centres.float().reshape(n * 4, 2, 1, 1).unbind(1)
        columns = torch.linspace(-1, 1, w, device=x.device) + tx
        rows = torch.linspace(-1, 1, h, device=x.device)[:, None] * self.region_scale + ty
        # As `affine_grid` makes it with aligned corners, which OpenVINO does not know.
        grid = torch.stack([columns.expand(-1, h, -1), rows.expand(-1, -1, w)], -1)
        repeated = x[:, None].expand(n, 4, c, h, w).reshape(n * 4, c, h, w)
        cropped = F.grid_sample(repeated, grid, align_corners=True)
        return F.interpolate(cropped, size, mode="bilinear", align_corners=True)


def load_variables(network: TorchNetwork, variables: Mapping[str, Any]) -> None:
    """Copies our {'params', 'batch_stats'} into `network`, in place; a missing or unused array is a RuntimeError."""
    state = {}
    for path, value in _leaves(variables["params"]):
        module, leaf, value = path[:-1], path[-1], np.asarray(value)
        if leaf == "kernel" and value.ndim == 4:
            state[".".join((*module, "conv.weight"))] = value.transpose(3, 2, 0, 1)
        elif leaf == "kernel":
            linear = module if module[-1] == "linear" else (*module, "linear")
            state[".".join((*linear, "weight"))] = value.T
        else:
            state[".".join((*module, {"scale": "weight"}.get(leaf, leaf)))] = value
    for path, value in _leaves(variables["batch_stats"]):
        state[".".join((*path[:-1], {"mean": "running_mean", "var": "running_var"}[path[-1]]))] = np.asarray(value)
    state = {name: torch.tensor(np.array(value)) for name, value in state.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise RuntimeError(f"the trees differ: PyTorch alone has {missing}, ours alone {unexpected}")


def objective(vectors, logits, label, config: ConfigDict):
    """The loss of a batch as `config.loss` has it: smoothed cross-entropy and batch-soft, soft-margin triplet."""
    loss = sum(F.cross_entropy(stream, label, label_smoothing=config.loss.label_smoothing) for stream in logits)
    loss = config.loss.cross_entropy_weight * loss
    if not config.loss.triplet_weight:
        return loss
    same = label[:, None] == label[None]
    positive = same & ~torch.eye(len(label), dtype=torch.bool, device=label.device)
    for vector in vectors:
        vector = vector.float()
        distance = ((vector[:, None] - vector[None]).square().sum(-1) + 1e-12).sqrt()
        far = (distance.masked_fill(~positive, -1e30).softmax(1) * distance).sum(1)
        near = ((-distance).masked_fill(same, -1e30).softmax(1) * distance).sum(1)
        loss = loss + config.loss.triplet_weight * F.softplus(far - near).mean()
    return loss


def optimizer(network: nn.Module, config: ConfigDict, rate: float | None = None) -> torch.optim.SGD:
    """SGD at a constant `rate`, by default the schedule's peak, in the groups of `optim.default_rules`."""
    o = config.optimizer
    rate = config.schedule.peak if rate is None else rate
    groups = collections.defaultdict(list)
    for name, parameter in network.named_parameters():
        multiple = o.logit_scale_rate if name.endswith("log_scale") else o.regions_rate if ".hard" in name else 1.0
        groups[parameter.ndim > 1, multiple].append(parameter)
    return torch.optim.SGD(
        [
            {"params": parameters, "lr": rate * multiple, "weight_decay": o.weight_decay if decayed else 0.0}
            for (decayed, multiple), parameters in groups.items()
        ],
        momentum=o.momentum,
        nesterov=o.nesterov,
    )


def _leaves(tree, path=()):
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value
