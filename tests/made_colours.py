"""Images of one colour, a network that describes an image by its mean colour, and what is asked of a server of them."""

import dataclasses
import io
import threading
import time
import types
import zipfile

import jax.numpy as jnp
from PIL import Image

COLOURS = {"red": (220, 20, 30), "rose": (220, 60, 70), "green": (20, 200, 40), "blue": (20, 30, 220)}
SIZE = (16, 8)


@dataclasses.dataclass(frozen=True)
class MeanColour:
    """A network that describes an image by its mean colour: it compiles in no time."""

    streams = (3,)

    def apply(self, variables, image, train):
        del variables, train
        # `normalise` was applied; the colours lie apart without it.
        colour = jnp.maximum(image.mean((1, 2)) * 0.25 + 0.5, 1e-3)
        return types.SimpleNamespace(embedding=colour / jnp.linalg.norm(colour, axis=1, keepdims=True))


class Slow:
    """An encoder that waits for `go` before it describes, and remembers how many images came at once."""

    def __init__(self, encoder):
        self.encoder, self.go, self.sizes = encoder, threading.Event(), []
        self.image_size, self.mesh = encoder.image_size, encoder.mesh
        self.streams, self.digest = encoder.streams, encoder.digest

    def describe(self, images, flip=False):
        assert self.go.wait(20)
        self.sizes.append(len(images))
        return self.encoder.describe(images, flip)


def picture(colour, size=(8, 16), kind="PNG"):
    """An image file of one colour, a name or (r, g, b); size is (width, height)."""
    file = io.BytesIO()
    Image.new("RGB", size, COLOURS.get(colour, colour)).save(file, kind)
    return file.getvalue()


def packed(files):
    """A zip of {name: bytes}."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def search(client, *colours, **data):
    """The answer to a search with photos of these colours."""
    files = [("image", (f"{colour}.png", picture(colour))) for colour in colours]
    return client.post("/api/search", files=files, data=data)


def finished(client, id, seconds=20):
    """The state of a zip once it is done."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        state = client.get(f"/api/archives/{id}").json()
        if state["state"] not in ("waiting", "adding"):
            return state
        time.sleep(0.02)
    raise AssertionError(state)
