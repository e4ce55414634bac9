"""What describes boxes: histograms that tell colours, descriptors from files, and others' shapes by our network."""

import dataclasses
import sys
import types

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.appearance import Appearance, histogram, of_extractor, read_features


def frame_of(*colours):
    """A frame of vertical stripes, 10 pixels wide and 40 high."""
    return np.repeat(np.array([[colour] * 10 for colour in colours], np.uint8).reshape(1, -1, 3), 40, axis=0)


def test_histograms_tell_colours_apart_wherever_they_are():
    frame = frame_of((200, 30, 40), (30, 60, 200), (200, 30, 40))
    boxes = np.array([[0, 0, 10, 40], [10, 0, 20, 40], [20, 5, 30, 35]], float)
    found = histogram(frame, boxes)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    similar = found @ found.T
    assert similar[0, 2] == pytest.approx(1, abs=1e-5)
    assert similar[0, 1] < 0.1
    assert histogram(frame, np.zeros((0, 4))).shape == (0, 512)


def test_histograms_tell_trousers_from_coats():
    upside = np.concatenate([frame_of((200, 30, 40)), frame_of((30, 60, 200))])
    boxes = np.array([[0, 0, 10, 80]], float)
    assert histogram(upside, boxes)[0] @ histogram(upside[::-1].copy(), boxes)[0] < 0.2


@dataclasses.dataclass
class MeanColour:
    """Describes a box by its mean colour, and notes how it was called."""

    dimensions = 3

    def __post_init__(self):
        self.calls = []

    def __call__(self, frame, boxes, *, colour):
        self.calls.append((len(boxes), colour))
        pixels = frame if colour == "rgb" else frame[..., ::-1]
        sides = np.asarray(boxes, int)
        means = [pixels[top:bottom, left:right].mean((0, 1)) for left, top, right, bottom in sides]
        return (np.array(means) / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


def test_our_network_takes_the_trackers_shape_in_one_call():
    extractor = MeanColour()
    found = of_extractor(extractor)(frame_of((200, 0, 0), (0, 0, 200)), np.array([[0, 0, 10, 40], [10, 0, 20, 40]]))
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 0, 1]])
    assert extractor.calls == [(2, "rgb")]


def test_others_shapes_are_kept_with_their_colours():
    extractor = MeanColour()
    appearance = Appearance(extractor)
    frame = frame_of((200, 0, 0), (0, 0, 200))[..., ::-1]  # OpenCV's order
    boxes = np.array([[0, 0, 10, 40], [12, -5, 30, 60], [500, 0, 510, 9], [np.nan, 0, 1, 1]])
    expected = [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    detections = types.SimpleNamespace(xyxy=boxes)
    six = np.concatenate([boxes, np.ones((4, 2))], axis=1)  # with confidence and class
    for found in (
        appearance(frame, boxes),
        appearance.extract_embeddings(detections, frame),
        appearance.get_features(boxes, frame),
        appearance(frame, six),
    ):
        np.testing.assert_allclose(found, expected)
    assert extractor.calls == [(2, "bgr")] * 4  # one call a frame, only of what shows
    first, second = appearance.encode([frame, frame], [detections, []])
    np.testing.assert_allclose(first, expected)
    assert second.shape == (0, 3)
    assert appearance.extract_embeddings(types.SimpleNamespace(xyxy=np.zeros((0, 4))), frame).shape == (0, 0)
    assert appearance.embedding_dim == 3
    with pytest.raises(InputError, match=r"shape \[2, 3\]"):
        appearance(frame, np.zeros((2, 3)))


def test_tensors_are_taken_and_given_where_torch_is_loaded(monkeypatch):
    class Tensor:
        def __init__(self, array):
            self.array = array

        def cpu(self):
            return self.array

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(from_numpy=Tensor))
    (found,) = Appearance(MeanColour()).encode([frame_of((0, 0, 9))], [Tensor(np.array([[0, 0, 10, 40]]))])
    assert isinstance(found, Tensor)
    assert found.array.dtype == np.float32
    np.testing.assert_allclose(found.array, [[1, 0, 0]])


def test_frames_and_detections_of_boxmot_are_taken_as_they_are():
    extractor = MeanColour()
    appearance = Appearance(extractor)
    rgb = frame_of((200, 0, 0), (0, 0, 200))
    frame = types.SimpleNamespace(image=np.ascontiguousarray(np.moveaxis(rgb, 2, 0)))
    detections = types.SimpleNamespace(
        geometry=types.SimpleNamespace(values=np.array([[0, 0, 10, 40], [12, 0, 20, 40]]))
    )
    (found,) = appearance.encode([frame], [detections])
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 0, 1]])
    assert extractor.calls == [(2, "rgb")]
    assert appearance.requirements.masks is False


def test_descriptors_come_from_a_file(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", embedding=array, name=["a", "b"])
    for name in ("a.npy", "a.npz"):
        np.testing.assert_array_equal(read_features(tmp_path / name, 2), array)


def test_files_of_something_else_are_told(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    np.save(tmp_path / "flat.npy", np.zeros(6))
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    np.save(tmp_path / "pickled.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "other.npz", other=np.zeros(3))
    (tmp_path / "none.npy").write_bytes(b"")
    for name, reason in (
        ("a.npy", "has 2 descriptors, and there are 5 detections"),
        ("flat.npy", r"shape \[6\]"),
        ("text.npy", "give float"),
        ("pickled.npy", "cannot be loaded|can be read"),
        ("other.npz", "no array 'embedding', but other"),
        ("none.npy", "can be read"),
        ("absent.npy", "there is no file"),
    ):
        with pytest.raises(InputError, match=reason):
            read_features(tmp_path / name, 5)
