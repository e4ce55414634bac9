"""Augmentation on the device, and the normalisation that training and evaluation share.

In this order, which is ours: enlarge (not unless asked for), pad and crop, horizontal flip, colour jitter (none unless
asked for), normalise, random erasing (Zhong et al., AAAI 2020; its numbers as in arXiv 1910.07038, section 3.1).
"""

import dataclasses

import jax
import jax.numpy as jnp

MEAN = (0.485, 0.456, 0.406)  # ImageNet's, of RGB in [0, 1]
STD = (0.229, 0.224, 0.225)
_LUMA = (0.299, 0.587, 0.114)
_ERASE_ATTEMPTS = 16
MEAN_FILL, NOISE_FILL = FILLS = ("mean", "noise")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Strengths: padding in pixels, probabilities, the erased part of the image and its height over width.

    `enlarge`, where above 1, is how much larger half of the images are made before a window of their size is cut out,
    at a random place: torchreid's crop, with 1.125. `erase_fill` is one of `FILLS`: the mean, or noise in each pixel,
    with the images' mean and deviation. `jitter` is the standard deviation, as a natural logarithm, of an image's gain,
    contrast and saturation, and half that of each channel's gain against the others.
    """

    pad: int = 10
    flip_probability: float = 0.5
    erase_probability: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_aspect: tuple[float, float] = (0.3, 3.3)
    jitter: float = 0.0
    enlarge: float = 1.0
    erase_fill: str = MEAN_FILL


def normalise(image: jax.Array) -> jax.Array:
    """Maps uint8 RGB [..., 3] to float32 with the mean taken off and the standard deviation divided out."""
    return (image.astype(jnp.float32) / 255.0 - jnp.asarray(MEAN)) / jnp.asarray(STD)


def augment(key: jax.Array, image: jax.Array, strength: Augmentation, number: jax.Array | None = None) -> jax.Array:
    """Augments uint8 [n, h, w, 3] to normalised float32 [n, h, w, 3], each image with its own key.

    Image i's result depends on `key`, `number[i]` (int32, i itself where None) and the image alone, however the batch
    is spread over devices.
    """
    number = jnp.arange(image.shape[0]) if number is None else number
    keys = jax.vmap(lambda one: jax.random.fold_in(key, one))(number)
    return jax.vmap(lambda key, image: _augment_one(key, image, strength))(keys, image)


def _augment_one(key, image, strength):
    crop_key, flip_key, erase_key = jax.random.split(key, 3)
    if strength.enlarge > 1:
        image = _enlarge(jax.random.fold_in(key, 2), image, strength.enlarge)
    image = _pad_and_crop(crop_key, image, strength.pad)
    flip = jax.random.bernoulli(flip_key, strength.flip_probability)
    image = jnp.where(flip, image[:, ::-1], image)
    if strength.jitter:
        image = _jitter(jax.random.fold_in(key, 1), image, strength.jitter)
    # Once normalised, the images' mean is 0 and their deviation 1.
    fill = 0.0
    if strength.erase_fill == NOISE_FILL:
        fill = jax.random.normal(jax.random.fold_in(key, 3), image.shape)
    return jnp.where(_erased(erase_key, image.shape[:2], strength)[..., None], fill, normalise(image))


def _enlarge(key, image, times):
    """Float32 [h, w, 3] in 0..255: half of the time a window of 1 / `times` of height and width, scaled up to all."""
    chance_key, place_key = jax.random.split(key)
    size = jnp.asarray(image.shape[:2], jnp.float32)
    corner = jax.random.uniform(place_key, (2,)) * size * (times - 1)
    scale = jnp.full(2, times, jnp.float32)
    image = image.astype(jnp.float32)
    window = jax.image.scale_and_translate(image, image.shape, (0, 1), scale, -corner, "linear", antialias=False)
    return jnp.where(jax.random.bernoulli(chance_key), window, image)


def _pad_and_crop(key, image, pad):
    padded = jnp.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    top, left = jax.random.randint(key, (2,), 0, 2 * pad + 1)
    return jax.lax.dynamic_slice(padded, (top, left, 0), image.shape)


def _jitter(key, image, deviation):
    """Float32 [h, w, 3] in 0..255: other light, contrast, saturation and colour cast."""
    drawn = deviation * jax.random.normal(key, (6,))
    gain, contrast, saturation = jnp.exp(drawn[:3])
    image = image.astype(jnp.float32)
    grey = image @ jnp.asarray(_LUMA)
    image = grey[..., None] + saturation * (image - grey[..., None])
    image = grey.mean() + contrast * (image - grey.mean())
    return jnp.clip(image * gain * jnp.exp(drawn[3:] / 2), 0, 255)


def _erased(key, size, strength):
    """Mask [h, w] of the first drawn rectangle that fits the image; all False where none of the attempts fits."""
    height, width = size
    chance_key, area_key, aspect_key, place_key = jax.random.split(key, 4)
    area = jax.random.uniform(
        area_key, (_ERASE_ATTEMPTS,), minval=strength.erase_area[0], maxval=strength.erase_area[1]
    )
    aspect = jax.random.uniform(
        aspect_key, (_ERASE_ATTEMPTS,), minval=strength.erase_aspect[0], maxval=strength.erase_aspect[1]
    )
    rows = jnp.round(jnp.sqrt(area * height * width * aspect))
    columns = jnp.round(jnp.sqrt(area * height * width / aspect))
    fits = (rows < height) & (columns < width)
    first = jnp.argmax(fits)
    rows, columns = rows[first], columns[first]
    place = jax.random.uniform(place_key, (2,))
    top = jnp.floor(place[0] * (height - rows + 1))
    left = jnp.floor(place[1] * (width - columns + 1))
    y, x = jnp.arange(height)[:, None], jnp.arange(width)[None]
    inside = (y >= top) & (y < top + rows) & (x >= left) & (x < left + columns)
    return inside & fits.any() & jax.random.bernoulli(chance_key, strength.erase_probability)
