"""Augmentation: each operation's reach, its independence from the batch, and the normalisation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from reid_jax.data.augment import MEAN, STD, Augmentation, augment, normalise

OFF = Augmentation(pad=0, flip_probability=0.0, erase_probability=0.0)
SIZE = (40, 16)


def _images(n):
    return np.random.default_rng(0).integers(1, 255, (n, *SIZE, 3), dtype=np.uint8)


def _augment(images, strength, seed=0):
    return np.asarray(jax.jit(augment, static_argnums=2)(jax.random.key(seed), images, strength))


def test_normalise_takes_the_mean_off():
    image = _images(2)
    want = (image / 255.0 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(normalise(jnp.asarray(image)), want, atol=1e-5)


def test_all_off_is_the_normalised_image():
    image = _images(3)
    np.testing.assert_allclose(_augment(image, OFF), normalise(jnp.asarray(image)), atol=1e-6)


def test_certain_flip_mirrors():
    image = _images(3)
    flipped = _augment(image, dataclasses.replace(OFF, flip_probability=1.0))
    np.testing.assert_allclose(flipped, normalise(jnp.asarray(image[:, :, ::-1])), atol=1e-6)


def test_crops_reach_every_offset_of_the_padding():
    # A single bright pixel in the middle tells where the crop was taken.
    image = np.zeros((200, *SIZE, 3), np.uint8)
    image[:, 20, 8] = 255
    out = _augment(image, dataclasses.replace(OFF, pad=2))[..., 0]
    place = np.array([np.unravel_index(np.argmax(one), SIZE) for one in out]) - [20, 8]
    assert {tuple(p) for p in place} == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def test_padding_is_black():
    image = np.full((20, *SIZE, 3), 255, np.uint8)
    out = _augment(image, dataclasses.replace(OFF, pad=3))
    black = np.asarray(normalise(jnp.zeros(3, jnp.uint8)))
    np.testing.assert_allclose(out.min((0, 1, 2)), black, atol=1e-6)


def test_erasing_fills_one_rectangle_of_the_drawn_size_with_the_mean():
    image = _images(300)
    strength = dataclasses.replace(OFF, erase_probability=0.5)
    out = _augment(image, strength)
    erased = np.all(out == 0, -1)
    assert 0.38 < np.mean(erased.any((1, 2))) < 0.62
    areas = []
    for mask in erased[erased.any((1, 2))]:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert mask.sum() == height * width
        assert 0.2 < height / width < 4.5  # 0.3 to 3.3, but for rounding to whole pixels
        areas.append(height * width / mask.size)
    assert 0.01 < min(areas) < 0.08
    assert 0.25 < max(areas) < 0.45
    np.testing.assert_allclose(out[~erased], normalise(jnp.asarray(image))[~erased], atol=1e-6)


def test_an_image_is_augmented_alike_whatever_follows_it_in_the_batch():
    image = _images(6)
    strength = Augmentation(pad=3)
    np.testing.assert_allclose(_augment(image, strength)[:2], _augment(image[:2], strength), atol=1e-6)
    assert not np.array_equal(_augment(image, strength, seed=1), _augment(image, strength))


def test_jitter_keeps_greys_nearly_grey_and_places_alike():
    grey = np.repeat(np.random.default_rng(2).integers(60, 190, (64, 8, 4, 1)).astype(np.uint8), 3, axis=-1)
    out = _augment(grey, dataclasses.replace(OFF, jitter=0.2)) * np.asarray(STD) + np.asarray(MEAN)
    plain = grey.astype(np.float64) / 255
    # Affine in each channel of each image: light, contrast and a cast; saturation leaves greys alone.
    for image, before in zip(out[:8], plain[:8], strict=True):
        for channel in range(3):
            unclipped = (image[..., channel] > 0.01) & (image[..., channel] < 0.99)
            slope, level = np.polyfit(before[..., channel][unclipped], image[..., channel][unclipped], 1)
            fitted = slope * before[..., channel] + level
            np.testing.assert_allclose(image[..., channel][unclipped], fitted[unclipped], atol=1e-4)
    means = out.mean((1, 2))
    assert 0.05 < np.log(means / plain.mean((1, 2))).std() < 0.4
    casts = np.log(means[:, 0] / means[:, 2])
    assert 0.08 < casts.std() < 0.2


def test_half_of_the_images_are_windows_of_enlarged_ones():
    """A ramp tells which place and scale a window has: its slope is the image's divided by the scale."""
    ramp = np.linspace(40, 200, SIZE[0])[:, None, None] + np.linspace(0, 40, SIZE[1])[:, None]
    image = np.broadcast_to(np.rint(ramp), (300, *SIZE, 3)).astype(np.uint8)
    plain = np.asarray(normalise(jnp.asarray(image[0])))
    out = _augment(image, dataclasses.replace(OFF, enlarge=1.25))
    same = np.isclose(out, plain, atol=1e-5).all((1, 2, 3))
    assert 0.38 < same.mean() < 0.62
    rise = (out[:, -3] - out[:, 2]).mean((1, 2)) / (plain[-3] - plain[2]).mean()
    np.testing.assert_allclose(rise[~same], 1 / 1.25, atol=0.03)
    level = out[~same].mean((1, 2, 3))
    assert level.min() < plain.mean() - 0.2
    assert level.max() > plain.mean() + 0.2
    assert out.min() >= plain.min() - 1e-5
    assert out.max() <= plain.max() + 1e-5


def test_erasing_can_fill_with_noise_like_the_images():
    image = _images(200)
    strength = dataclasses.replace(OFF, erase_probability=1.0, erase_area=(0.3, 0.4))
    mean = _augment(image, strength)
    noise = _augment(image, dataclasses.replace(strength, erase_fill="noise"))
    erased = np.all(mean == 0, -1)
    np.testing.assert_allclose(noise[~erased], mean[~erased], atol=1e-5)
    filled = noise[erased]
    assert abs(filled.mean()) < 0.02
    assert abs(filled.std() - 1) < 0.02
    assert len(np.unique(filled)) > 0.9 * filled.size
