"""The peers that a bench compares with, by name: what each takes, and which networks have a form there.

The modules under `peers` import packages that whoever measures installs, so they are imported when a peer is asked for.
"""

import dataclasses
import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from reid_jax.bench.contest import Contestant
from reid_jax.bench.quantities import format_bytes
from reid_jax.errors import InputError
from reid_jax.models.attention_network import AttentionNetwork
from reid_jax.models.osnet import OSNet
from reid_jax.models.registry import create_network

# What each kind of work is compared with.
TRAINING = ("torch", "torch_compiled", "torchreid")
_EXPORTED = ("onnxruntime", "openvino")  # which take any network, as `reid_jax.export` writes it
EMBEDDING = (*TRAINING, *_EXPORTED)
RETRIEVAL = ("torchreid",)
GALLERY = ("faiss",)

_PACKAGES = {
    "torch": ("torch",),
    "torch_compiled": ("torch",),
    "onnxruntime": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "openvino"),
    "torchreid": ("torch", "torchreid"),
    "faiss": ("faiss",),
}
_INSTALL = {
    "torch": "pip install torch",
    "onnx": "pip install 'reid_jax[export]'",
    "onnxruntime": "pip install 'reid_jax[export]'",
    "openvino": "pip install openvino",
    "faiss": "pip install faiss-cpu",
    "torchreid": "install it from its public repository, KaiyangZhou/deep-person-reid, which compiles its ranking",
}

# The fields that a network has where `peers.torch_network` has a form of it.
_TORCH_NETWORK: dict[str, Any] = dict(
    block="shuffle",
    pooling="gem",
    gem_per_channel=False,
    normalisation="l2",
    classifier_reads="normalised",
    classifier_bias=False,
    logit_scale_learned=True,
    regions=True,
    region_count=4,
    crop_align_corners=True,
)
_HACNN_FIELDS = (
    "block",
    "stem",
    "widths",
    "global_width",
    "local_width",
    "regions",
    "region_count",
    "region_size",
    "region_scale",
    "pooling",
    "normalisation",
)
_HACNN = create_network("hacnn", 0)
# torchreid's OSNet has any widths, depths and image size.
_OSNET_FIELDS = ("scales", "pooling", "normalisation", "classifier_bias", "logit_scale", "logit_scale_learned")
_OSNET = create_network("osnet_x1_0", 0)


@dataclasses.dataclass(frozen=True)
class Form:
    """What a network has to be for a peer to have it too: fields -> values, and the image size where only one is."""

    name: str
    fields: dict[str, Any]
    image_size: tuple[int, int] | None = None


# Class of the network, and of those derived from it -> peer -> its form of such a network. Without one there is none.
FORMS: dict[type, dict[str, Form]] = {
    AttentionNetwork: {
        **dict.fromkeys(("torch", "torch_compiled"), Form("network", _TORCH_NETWORK)),
        "torchreid": Form("HA-CNN", {field: getattr(_HACNN, field) for field in _HACNN_FIELDS}, (160, 64)),
    },
    OSNet: {"torchreid": Form("OSNet", {field: getattr(_OSNET, field) for field in _OSNET_FIELDS})},
}
# Its re-ranking, for each pair of items: float32 distances and encodings, and the order of all items, int64 and int32.
_TORCHREID_RERANKING_BYTES = 20


@dataclasses.dataclass(frozen=True)
class Task:
    """What peers work on: our network with its weights, and batches that lie in memory, normalised.

    variables: {'params', 'batch_stats'} of numpy arrays. batches: float32 [n, h, w, 3], worked on one after the other,
    again from the first where a round takes more; label: int64 [n] of each, for training. passes: batches in a round.
    embedding: float32 [m, d], the descriptors here, in float32, of the first m images of the first batch: what a peer
    is held against before it is timed.
    """

    config: ConfigDict
    network: Any
    variables: dict[str, Any]
    embedding: np.ndarray
    batches: Sequence[np.ndarray]
    passes: int
    label: Sequence[np.ndarray] = ()

    @property
    def images(self) -> int:
        """Images in a round."""
        return self.passes * len(self.batches[0])

    @property
    def sample(self) -> np.ndarray:
        """The images float32 [m, h, w, 3] that `embedding` describes."""
        return self.batches[0][: len(self.embedding)]


def check(names: Sequence[str]) -> None:
    """Raises InputError where what a peer takes is missing; nothing is imported for it."""
    for name in names:
        for package in _PACKAGES[name]:
            if importlib.util.find_spec(package) is None:
                raise InputError(f"--against={name} needs {package}, which is missing; {_INSTALL[package]}")


def check_network(names: Sequence[str], network: Any, config: ConfigDict, trains: bool = False) -> None:
    """Raises InputError where a peer has no form of the network, or of the loss if it trains."""
    forms = next((forms for network_class, forms in FORMS.items() if isinstance(network, network_class)), {})
    for name in names:
        if name in _EXPORTED:
            continue
        if name not in forms:
            others = f" (it can be compared with {', '.join(forms)})" if forms else ""
            raise InputError(f"--against={name} has no form of {type(network).__name__}{others}; leave this peer out")
        form = forms[name]
        if form.image_size and tuple(config.image_size) != form.image_size:
            raise InputError(
                f"--against={name}: its {form.name} takes images of {form.image_size}; config.image_size is "
                f"{tuple(config.image_size)}"
            )
        for field, value in form.fields.items():
            if getattr(network, field) != value:
                raise InputError(
                    f"--against={name} has networks with {field}={value!r} only, and config.model's is "
                    f"{getattr(network, field)!r}; leave this peer out"
                )
        loss = config.loss
        soft = loss.mining == "batch_soft" and loss.soft_margin and not loss.detach_weights and not loss.nonzero_mean
        if trains and loss.triplet_weight and not soft:
            raise InputError(
                f"--against={name} trains with the batch-soft, soft-margin triplet loss or none; set "
                "config.loss.mining=batch_soft, soft_margin=True, detach_weights=False and nonzero_mean=False"
            )


def check_reranking(names: Sequence[str], items: int) -> None:
    """Raises InputError where this machine's memory cannot hold what a peer makes of so many items by as many."""
    need, have = _TORCHREID_RERANKING_BYTES * items**2, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if "torchreid" in names and need > have:
        raise InputError(
            f"--against=torchreid: its re-ranking of {items:,} items takes {format_bytes(need)}, and this machine "
            f"has {format_bytes(have)}; leave this peer out or give a smaller --size"
        )


def training_peers(names: Sequence[str], task: Task) -> list[Contestant]:
    """Makes the peers that train, each held against our descriptors first."""
    return [contestant for name in names for contestant in _module_of(name).trainers(task, **_OPTIONS.get(name, {}))]


def embedding_peers(names: Sequence[str], task: Task) -> list[Contestant]:
    """Makes the peers that embed, each held against our descriptors first."""
    return [contestant for name in names for contestant in _module_of(name).embedders(task, **_OPTIONS.get(name, {}))]


_OPTIONS = {"torch_compiled": {"compiled": True}}


def _module_of(name: str):
    module = {"torch_compiled": "torch"}.get(name, name)
    return importlib.import_module(f"reid_jax.bench.peers.{module}_peer")
