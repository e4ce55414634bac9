"""A Kalman filter of boxes that move at constant velocity, for all tracks at once.

A box is seen as z = (centre x, centre y, width / height, height), and a track's state is z with its velocity v, a frame
being the unit of time:

    z' = z + v + noise,    v' = v + noise,    measured = z + noise

Every noise is independent of the others, so that the eight-dimensional filter falls apart into four of two dimensions,
one for each number of z, and each has three numbers for a covariance: var z, cov(z, v), var v. The deviations of the
noise go with the height h of the box, which tells how near the person is.
"""

import dataclasses

import numpy as np

# The deviations of position and velocity as parts of the height, those of the aspect (width / height) as they are:
# Long et al. (ICME 2018), their public code, as of DeepSORT.
_POSITION = 1 / 20
_VELOCITY = 1 / 160
_ASPECT = 1e-2  # of the process, and of a new track
_ASPECT_VELOCITY = 1e-5
_ASPECT_MEASURED = 1e-1

# Of a new track, times those above.
_NEW_POSITION = 2
_NEW_VELOCITY = 10

HEIGHT = 3  # the place of the height in z


@dataclasses.dataclass(frozen=True)
class Motion:
    """The states of n tracks.

    position: float64 [n, 4], the expected z.
    velocity: float64 [n, 4], the expected v.
    covariance: float64 [n, 4, 3], for each number of z: its variance, its covariance with its velocity, that one's
      variance.
    """

    position: np.ndarray
    velocity: np.ndarray
    covariance: np.ndarray

    def __len__(self) -> int:
        return len(self.position)

    @property
    def boxes(self) -> np.ndarray:
        """The expected boxes, float64 [n, 4], (left, top, right, bottom)."""
        centre, height = self.position[:, :2], self.position[:, 3:]
        half = np.concatenate([self.position[:, 2:3] * height, height], axis=1) / 2
        return np.concatenate([centre - half, centre + half], axis=1)

    def select(self, index: np.ndarray) -> "Motion":
        """The tracks that `index` names, int [m] or bool [n]."""
        return Motion(self.position[index], self.velocity[index], self.covariance[index])

    def joined(self, other: "Motion") -> "Motion":
        """These tracks and the others behind them."""
        return Motion(
            np.concatenate([self.position, other.position]),
            np.concatenate([self.velocity, other.velocity]),
            np.concatenate([self.covariance, other.covariance]),
        )

    def replaced(self, index: np.ndarray, other: "Motion") -> "Motion":
        """These tracks with `other` in the places that `index`, int [m], names."""
        position, velocity, covariance = self.position.copy(), self.velocity.copy(), self.covariance.copy()
        position[index], velocity[index], covariance[index] = other.position, other.velocity, other.covariance
        return Motion(position, velocity, covariance)


def measure(box: np.ndarray) -> np.ndarray:
    """z of boxes (left, top, right, bottom): float64 [n, 4] of [n, 4]."""
    size = box[:, 2:] - box[:, :2]
    return np.column_stack([(box[:, :2] + box[:, 2:]) / 2, size[:, 0] / size[:, 1], size[:, 1]])


def start(box: np.ndarray) -> Motion:
    """New tracks at boxes float64 [n, 4], (left, top, right, bottom), that stand still as far as is known."""
    position = measure(box)
    height = position[:, HEIGHT]
    covariance = np.zeros((*position.shape, 3))
    covariance[..., 0] = _deviations(_NEW_POSITION * _POSITION * height, _ASPECT) ** 2
    covariance[..., 2] = _deviations(_NEW_VELOCITY * _VELOCITY * height, _ASPECT_VELOCITY) ** 2
    return Motion(position, np.zeros_like(position), covariance)


def predict(motion: Motion) -> Motion:
    """The states one frame later, before anything is measured there.

    With F = [[1, 1], [0, 1]] each number's covariance becomes F P Fᵀ + Q.
    """
    height = motion.position[:, HEIGHT]
    own, shared, velocity = np.moveaxis(motion.covariance, 2, 0)
    covariance = np.stack(
        [
            own + 2 * shared + velocity + _deviations(_POSITION * height, _ASPECT) ** 2,
            shared + velocity,
            velocity + _deviations(_VELOCITY * height, _ASPECT_VELOCITY) ** 2,
        ],
        axis=2,
    )
    return Motion(motion.position + motion.velocity, motion.velocity, covariance)


def update(motion: Motion, box: np.ndarray) -> Motion:
    """The states after boxes float64 [n, 4] were measured, one of each track.

    With S = var z + R and the gains K = (var z, cov(z, v)) / S, the state moves by K (measured − z), and its covariance
    becomes (I − K H) P.
    """
    own, shared, velocity = np.moveaxis(motion.covariance, 2, 0)
    expected = own + _measured_variance(motion)
    residual = measure(box) - motion.position
    gain, velocity_gain = own / expected, shared / expected
    covariance = np.stack([own - gain * own, shared - gain * shared, velocity - velocity_gain * shared], axis=2)
    return Motion(motion.position + gain * residual, motion.velocity + velocity_gain * residual, covariance)


def gating_distance(motion: Motion, box: np.ndarray) -> np.ndarray:
    """How far boxes float64 [m, 4] are from where each track expects its own: float64 [n, m].

    The squared Mahalanobis distance (measured − z)ᵀ S⁻¹ (measured − z), which 95 of 100 right boxes keep below
    9.4877, the quantile of χ² of four degrees of freedom.
    """
    expected = motion.covariance[..., 0] + _measured_variance(motion)
    residual = measure(box)[None] - motion.position[:, None]
    return np.einsum("nmz,nz->nm", residual**2, 1 / expected)


def _measured_variance(motion: Motion) -> np.ndarray:
    return _deviations(_POSITION * motion.position[:, HEIGHT], _ASPECT_MEASURED) ** 2


def _deviations(of_height: np.ndarray, of_aspect: float) -> np.ndarray:
    """[n, 4]: the same for the centre and the height, another for the aspect."""
    return np.column_stack([of_height, of_height, np.full_like(of_height, of_aspect), of_height])
