"""Moved images against loops over their pixels."""

import functools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.augment import ada_resampling
from stylegan_jax.augment.ada_axis import LOW_PASS
from stylegan_jax.augment.ada_resampling import resample
from stylegan_jax.augment.ada_tiles import CUT, Cut, _num_windows, by_tiles
from stylegan_jax.ops.formulation import Resampling


def turn(degrees, zoom=(1, 1), move=(0, 0)):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotate = np.asarray([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return rotate @ [[zoom[0], 0, move[0]], [0, zoom[1], move[1]], [0, 0, 1]]


# Axes kept, swapped, and neither; images that are seen whole with much around them.
MATRICES = np.asarray(
    [
        turn(0, (-1, 1)),
        turn(90, (1.25, 0.7), (2, -1)),
        turn(33, (0.9, 1.1), (-1.5, 0.25)),
        turn(180, (1.5, 1.2), (3, 4.5)),
    ],
    np.float32,
)


def margins_of(G, size):
    """`(before, after)` for y and x, as far as corners reach."""
    found = []
    for axis, side in ((1, size[0]), (0, size[1])):
        cy, cx = (size[0] - 1) / 2, (size[1] - 1) / 2
        ends = [g[axis] @ [x, y, 1] for g in G for x in (-cx, cx) for y in (-cy, cy)]
        reached = np.asarray([-min(ends), max(ends)]) + 6 - (side - 1) / 2
        found.append(np.ceil(np.clip(reached, 0, side - 1)).astype(int))
    return found


def by_loops(image, G, margins):
    """Continues, zooms, reads and shrinks one channel."""
    height, width = image.shape
    (y0, y1), (x0, x1) = margins
    x = np.pad(image, ((y0, y1), (x0, x1)), mode="reflect")
    taps = np.asarray(LOW_PASS)
    zoomed = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
    zoomed[::2, ::2] = x
    for axis in (0, 1):
        padded = np.pad(zoomed, [(6, 5) if a == axis else (0, 0) for a in (0, 1)])
        filtered = [np.convolve(line, 2 * taps, "valid") for line in np.moveaxis(padded, axis, -1)]
        zoomed = np.moveaxis(np.asarray(filtered), -1, axis)
    rows, columns = zoomed.shape
    read = np.zeros((2 * height + 12, 2 * width + 12))
    for i, j in np.ndindex(read.shape):
        xo = ((j - (read.shape[1] - 1) / 2) + 0.5) / 2
        yo = ((i - (read.shape[0] - 1) / 2) + 0.5) / 2
        xi, yi, _ = G @ [xo, yo, 1]
        px = 2 * (xi + (x0 - x1) / 2) - 0.5 + (columns - 1) / 2
        py = 2 * (yi + (y0 - y1) / 2) - 0.5 + (rows - 1) / 2
        for k in (int(np.floor(py)), int(np.floor(py)) + 1):
            for m in (int(np.floor(px)), int(np.floor(px)) + 1):
                if 0 <= k < rows and 0 <= m < columns:
                    read[i, j] += zoomed[k, m] * (1 - abs(py - k)) * (1 - abs(px - m))
    read = read[1:-1, 1:-1]
    for axis in (0, 1):
        lines = [np.correlate(line, taps, "valid") for line in np.moveaxis(read, axis, -1)]
        read = np.moveaxis(np.asarray(lines)[:, ::2], -1, axis)
    return read


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(-1, 1, (4, 20, 14, 2)).astype(np.float32)


@pytest.mark.parametrize("margins", ["batch", "whole"])
def test_every_way_equals_loops(images, margins):
    _, height, width, channels = images.shape
    sides = margins_of(MATRICES, (height, width))
    if margins == "whole":
        sides = [(height - 1,) * 2, (width - 1,) * 2]
    else:
        assert any(side < height - 1 for side in sides[0])  # not all that there is
    wanted = [
        np.stack([by_loops(image[..., c], G, sides) for c in range(channels)], axis=-1)
        for image, G in zip(images.astype(np.float64), MATRICES)
    ]
    for way in get_args(Resampling):
        run = jax.jit(functools.partial(resample, margins=margins, resampling=way))
        # Positions of float32: 1e-6 of the image's width.
        np.testing.assert_allclose(run(images, MATRICES), wanted, atol=2e-5, err_msg=way)


def test_kinds_of_matrices():
    def kind(g, size=(9, 7)):
        return int(ada_resampling._kind(jnp.asarray(g, jnp.float32), size))

    assert [kind(g) for g in MATRICES] == [0, 1, 2, 0]
    assert kind(turn(90), (1024, 1024)) == 1


# Tiles and windows of a few pixels: one window, several, and as many as hold the whole image.
@pytest.mark.parametrize(
    ("cut", "zoom", "windows"),
    [(CUT, 1.25, (1, 1)), (CUT, 3, (2, 2)), (Cut(8, 16), 2.4, (2, 2)), (Cut(8, 16), 30, (6, 7))],
)
def test_tiles_read_what_reading_does(cut, zoom, windows):
    """Values and derivatives of any order."""
    image = np.random.default_rng(2).uniform(-1, 1, (1, 26, 36, 3)).astype(np.float32)
    G = jnp.asarray(turn(40, (zoom, 0.8 * zoom), (3, -2)), jnp.float32)[None]
    bounds = ada_resampling._whole_bounds((26, 36))
    assert tuple(int(n) for n in _num_windows(G[0], (26, 36), cut)) == windows

    def derived(way, weights):
        # The gradient of a squared gradient goes through the transpose's transpose.
        def power(x):
            y, back = jax.vjp(way, x)
            return jnp.sum(weights * back(y)[0][0])

        y, back = jax.vjp(way, image)
        return y, back(weights)[0], jax.grad(power)(image)

    ways = [
        lambda x: by_tiles(x[0], G[0], bounds, cut),
        lambda x: ada_resampling._by_reading(x, G, bounds)[0],
    ]
    run = jax.jit(derived, static_argnums=0)
    (y, *grads), (want, *want_grads) = (run(way, image[0]) for way in ways)
    np.testing.assert_allclose(y, want, atol=2e-5)  # positions of float32
    for grad, want_grad in zip(grads, want_grads):
        np.testing.assert_allclose(grad, want_grad, atol=5e-5 * np.abs(want_grad).max())


def test_r1_through_tiles(images):
    """Gradients of squared gradients, within the branches and loops around tiles."""
    weights = np.random.default_rng(3).uniform(-1, 1, images.shape).astype(np.float32)

    def penalty(x, way):
        G = jnp.asarray(MATRICES)
        grads = jax.grad(lambda x: jnp.sum(weights * resample(x, G, resampling=way) ** 2))
        return jnp.sum(jnp.square(grads(x)))

    run = jax.jit(jax.grad(penalty), static_argnums=1)
    want = np.asarray(run(images, "gather"))
    np.testing.assert_allclose(run(images, "by_tiles"), want, atol=1e-4 * np.abs(want).max())


def test_too_small_images():
    with pytest.raises(ValueError, match="images of 1x4 pixels have nothing to reflect"):
        resample(jnp.zeros((1, 1, 4, 3)), jnp.eye(3)[None])
