"""torchreid (Zhou and Xiang, arXiv 1910.10093): HA-CNN and OSNet, compiled ranking, re-ranking."""

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchreid.metrics import compute_distance_matrix, rank
from torchreid.models.hacnn import HACNN
from torchreid.models.osnet import OSBlock
from torchreid.models.osnet import OSNet as TorchreidOSNet
from torchreid.utils.rerank import re_ranking

from reid_jax.bench.against import Task
from reid_jax.bench.contest import Contestant
from reid_jax.bench.made import MadeEmbeddings
from reid_jax.bench.peers.torch_peer import module_embedders, module_trainers
from reid_jax.convert.formats import convert_weights
from reid_jax.errors import InputError
from reid_jax.models.osnet import OSNet
from reid_jax.models.registry import create_network

_MOST_DIFFERENCE = 1e-4  # in mAP: distances that are all but equal may change places
# Of re-ranked distances, the share that may differ by more than rounding does: an item that changes places with another
# at all but the same distance changes the encodings of those that have it as a neighbour.
_MOST_CHANGED, _ROUNDING = 1e-3, 1e-5


class Hacnn(nn.Module):
    """HA-CNN with the results of `TorchNetwork`: unit descriptors, in training (vectors, logits)."""

    def __init__(self, identities: int):
        super().__init__()
        self.original = HACNN(identities, loss="triplet", use_gpu=False)

    def forward(self, image):
        self.original.use_gpu = image.is_cuda
        if not self.training:
            return self.original(image) / 2**0.5
        logits, vectors = self.original(image)
        return vectors, logits


class Osnet(nn.Module):
    """OSNet of the widths and depths of `like`, with the results of `TorchNetwork`."""

    def __init__(self, identities: int, like: OSNet):
        super().__init__()
        channels = [like.stem, *like.widths]
        blocks = [OSBlock] * len(like.widths)
        width = like.global_width
        self.original = TorchreidOSNet(
            identities, blocks, list(like.repeats), channels, feature_dim=width, loss="triplet"
        )

    def forward(self, image):
        if not self.training:
            return F.normalize(self.original(image))
        logits, vector = self.original(image)
        return [vector], [logits]


def trainers(task: Task) -> Iterator[Contestant]:
    """Yields its network as it trains, in each layout, with weights of its own."""
    yield from module_trainers("torchreid", *_network_of(task), compiled=False)


def embedders(task: Task) -> Iterator[Contestant]:
    """Yields its network as it embeds, in each layout, with weights of its own."""
    yield from module_embedders("torchreid", *_network_of(task), compiled=False)


def ranker(made: MadeEmbeddings, ours: float) -> Contestant:
    """Returns torchreid's ranking: distances, CMC and mAP, the latter held against `ours`.

    Raises InputError where its ranking is not compiled: it falls back on Python, many times slower. Raises RuntimeError
    where it gives another mAP: it would be other work.
    """
    if not rank.IS_CYTHON_AVAI:
        raise InputError(
            "--against=torchreid: its ranking is not compiled; in its folder run python setup.py build_ext --inplace"
        )
    query, gallery = torch.from_numpy(made.query), torch.from_numpy(made.gallery)
    names = ("query_identity", "gallery_identity", "query_camera", "gallery_camera")
    labels = [getattr(made.labels, name) for name in names]

    def work():
        return rank.evaluate_rank(compute_distance_matrix(query, gallery).numpy(), *labels)

    difference = abs(float(work()[1]) - ours)
    if not difference < _MOST_DIFFERENCE:
        raise RuntimeError(f"torchreid and reid_jax differ by {difference:.1e} in the mAP of the same embeddings")
    return Contestant("torchreid compiled", work, len(query), difference)


def reranker(made: MadeEmbeddings, ours: np.ndarray) -> Contestant:
    """Returns torchreid's re-ranking, its distances included, held against `ours`, float32 [queries, gallery].

    Raises RuntimeError where it gives other distances: it would be other work. See `against.check_reranking` for the
    memory that it takes.
    """
    query, gallery = torch.from_numpy(made.query), torch.from_numpy(made.gallery)

    def distance(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
        # It squares what it is given, and its distances are squared already.
        return compute_distance_matrix(first, second).clamp_(min=0).sqrt_().numpy()

    def work() -> np.ndarray:
        return re_ranking(distance(query, gallery), distance(query, query), distance(gallery, gallery))

    difference = np.abs(work() - ours)
    changed = np.mean(difference > _ROUNDING)
    if not changed < _MOST_CHANGED:
        raise RuntimeError(f"torchreid and reid_jax differ in {changed:.1%} of the re-ranked distances")
    return Contestant("torchreid", work, len(query), float(difference.max()))


def _network_of(task: Task) -> tuple[nn.Module, Task]:
    """A network, and the task with our descriptors by its weights in place of its own."""
    torch.manual_seed(0)
    identities = max(1, task.network.identities)
    network = Osnet(identities, task.network) if isinstance(task.network, OSNet) else Hacnn(identities)
    network.eval()
    for module in network.modules():  # as in `made.make_variables`
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.1, 0.25)
    for name, parameter in network.named_parameters():
        if name.endswith("hard_attn.fc.weight"):
            nn.init.normal_(parameter, 0, 0.05)
    state = {name: value.numpy() for name, value in network.original.state_dict().items()}
    # PyTorch's grid since 1.3, which torchreid leaves to it.
    fields, variables, _ = convert_weights(state, crop_align_corners=False)
    same = create_network(**fields)
    with jax.default_matmul_precision("highest"):
        embedding = jax.jit(lambda v, x: same.apply(v, x, train=False).embedding)(variables, task.sample)
    return network, dataclasses.replace(task, embedding=np.asarray(embedding))
