"""Non-local means for few-sample renderings, from two independent halves of the samples.

After Rousselle, Knaus and Zwicker, "Adaptive rendering with non-local means filtering" (2012): the difference
of the halves estimates the variance of each pixel; pixels are averaged whose surroundings differ no more than
that explains. It needs no GPU and no feature buffers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

PATCH = 2
FLOOR_VARIANCE = 2e-5


def denoise(first: np.ndarray, second: np.ndarray, reach: int = 5, strength: float = 0.9) -> np.ndarray:
    """Two renderings (height, width, 3) of linear radiance → one of the same shape."""
    halves = [compress(without_fireflies(half)) for half in (first, second)]
    image = (halves[0] + halves[1]) / 2
    variance = box(((halves[0] - halves[1]) ** 2 / 4).mean(axis=2), 2)
    total = image.copy()
    weight = np.ones(image.shape[:2], dtype=np.float32)
    for here, there in windows(image.shape[:2], reach):
        share = similarity(image, variance, here, there, strength)
        weight[here] += share
        weight[there] += share
        total[here] += share[..., None] * image[there]
        total[there] += share[..., None] * image[here]
    return expand(total / weight[..., None])


def compress(radiance: np.ndarray) -> np.ndarray:
    """Radiance → a scale on which noise is about as visible in the dark as in the light."""
    return np.log1p(4 * np.maximum(radiance, 0)).astype(np.float32)


def expand(compressed: np.ndarray) -> np.ndarray:
    """Undo `compress`."""
    return np.expm1(compressed) / 4


def windows(shape: tuple[int, int], reach: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Every pair of overlapping views of an image that lie a few pixels apart, each pair once."""
    height, width = shape
    for dy in range(reach + 1):
        for dx in range(-reach, reach + 1):
            if dy == 0 and dx <= 0:
                continue
            left, right = max(0, -dx), max(0, dx)
            here = (slice(0, height - dy), slice(left, width - right))
            there = (slice(dy, height), slice(right, width - left))
            yield here, there


def similarity(
    image: np.ndarray,
    variance: np.ndarray,
    here: tuple[slice, slice],
    there: tuple[slice, slice],
    strength: float,
) -> np.ndarray:
    """Weight 0..1 of each pixel for the one beside it; arrays of the overlap's shape."""
    noise = variance[here] + variance[there]
    apart = ((image[here] - image[there]) ** 2).mean(axis=2) - noise
    return np.exp(-np.maximum(box(apart / (FLOOR_VARIANCE + strength**2 * noise), PATCH), 0))


def box(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean over a square of (2 reach + 1)² pixels, the border repeated."""
    wide = 2 * reach + 1
    padded = np.pad(values, reach, mode="edge")
    rows = sum(padded[step : step + values.shape[0]] for step in range(wide))
    return np.asarray(sum(rows[:, step : step + values.shape[1]] for step in range(wide)) / wide**2)


def without_fireflies(radiance: np.ndarray) -> np.ndarray:
    """Single pixels far above their neighbours are bad luck: bring them near the second brightest."""
    padded = np.pad(radiance, ((1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = radiance.shape[:2]
    around = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    bright = np.partition(np.stack(around), 6, axis=0)[6]
    return np.minimum(radiance, 1.5 * bright + 0.05)
