"""Tracks between keyframes: one value per frame, of vectors of any length."""

from collections.abc import Callable

import numpy as np

# What lies between two keys; each is explained in `make_track`.
KINDS = ("spline", "linear", "slerp")


def make_track(keys: np.ndarray, kind: str, *, loop: bool) -> Callable[[float], np.ndarray]:
    """Returns a function of time that passes key i at time i.

        linear   a + (b - a) t
        slerp    on the sphere: direction by a constant angle per time, length linear
        spline   the cubic spline through all keys, with continuous second derivatives

    Args:
        keys: float `[k, ..., w]`; vectors lie along the last axis.
        kind: One of `KINDS`.
        loop: After the last key comes the first, at time k, and the spline is periodic. Otherwise
            times end at k - 1, and the spline's second derivative is 0 at both ends.

    Raises:
        ValueError: An unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"interpolation={kind!r}: choose one of {', '.join(KINDS)}.")
    bends = _spline_bends(keys, loop=loop) if kind == "spline" else None

    def at(time: float) -> np.ndarray:
        # Between keys i and j, and how far; the last key itself where a track ends.
        i = min(int(time), len(keys) - 1)
        j = (i + 1) % len(keys) if loop else min(i + 1, len(keys) - 1)
        t = time - i
        if kind == "slerp":
            return slerp(keys[i], keys[j], t)
        line = (1 - t) * keys[i] + t * keys[j]
        if bends is None:
            return line
        # S(t) = line + ((1 - t)^3 - (1 - t)) M_i / 6 + (t^3 - t) M_j / 6
        return line + (((1 - t) ** 3 - (1 - t)) * bends[i] + (t**3 - t) * bends[j]) / 6

    return at


def _spline_bends(keys: np.ndarray, *, loop: bool) -> np.ndarray:
    """Solves for the second derivatives M of a cubic spline at its keys, one unit apart.

    M_{i-1} + 4 M_i + M_{i+1} = 6 (y_{i-1} - 2 y_i + y_{i+1})
    """
    k = len(keys)
    matrix = np.zeros((k, k))
    y = keys.reshape(k, -1).astype(np.float64)
    bends = np.zeros_like(y)
    for i in range(k):
        for shift, factor in ((-1, 1), (0, 4), (1, 1)):
            matrix[i, (i + shift) % k] += factor
    right = 6 * (np.roll(y, 1, axis=0) - 2 * y + np.roll(y, -1, axis=0))
    if loop:
        bends = np.linalg.solve(matrix, right)
    elif k > 2:
        # M is 0 at both ends; the equations of the keys between them.
        bends[1:-1] = np.linalg.solve(matrix[1:-1, 1:-1], right[1:-1])
    return bends.reshape(keys.shape)


def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Turns a into b along the great circle of their directions; their length changes linearly.

    Source: Shoemake 1985, for unit vectors. Vectors of one direction, and opposite ones, between
    which no circle is the shortest, are mixed linearly.

    Args:
        a: float `[..., w]`.
        b: Likewise.
        t: 0 gives a, 1 gives b.
    """
    length_a = np.linalg.norm(a, axis=-1, keepdims=True)
    length_b = np.linalg.norm(b, axis=-1, keepdims=True)
    lengths = length_a * length_b
    cosine = np.sum(a * b, axis=-1, keepdims=True) / np.where(lengths > 0, lengths, 1)
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine = np.sin(angle)
    is_turned = (sine > 1e-6) & (lengths > 0)

    # (sin((1 - t) angle) a / |a| + sin(t angle) b / |b|) / sin(angle), at the length between.
    safe = np.where(is_turned, sine, 1)
    unit_a = a / np.where(length_a > 0, length_a, 1)
    unit_b = b / np.where(length_b > 0, length_b, 1)
    direction = (np.sin((1 - t) * angle) * unit_a + np.sin(t * angle) * unit_b) / safe
    turned = ((1 - t) * length_a + t * length_b) * direction
    return np.where(is_turned, turned, (1 - t) * a + t * b)
