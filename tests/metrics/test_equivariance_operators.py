"""Moves of images whose moved versions can be written down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.metrics.equivariance_operators import (
    bandlimit_filter,
    design_rotation,
    design_translation,
    design_whole_translation,
    rotation_matrix,
)

SIZE = (32, 40)  # one size, so that each operator is one program


def apply(motion, img):
    """Moved images, and the mask of what is known of them."""
    return jax.jit(lambda motion, img: motion.move(img))(motion, img), motion.known


def waves(shift=(0.0, 0.0), angle=0.0, cycles=0.06):
    """Low frequencies in pixels about the middle, after a translation in pixels or a rotation."""
    height, width = SIZE
    x = np.arange(width)[None, :] + 0.5 - width / 2 - shift[0]
    y = np.arange(height)[:, None] + 0.5 - height / 2 - shift[1]
    cos, sin = np.cos(angle), np.sin(angle)
    # Where these pixels come from: back by the angle, y pointing down.
    x, y = cos * x - sin * y, sin * x + cos * y
    img = np.stack([np.sin(2 * np.pi * cycles * (x + 0.3 * y)), np.cos(2 * np.pi * cycles * y)], -1)
    return jnp.asarray(img[None], jnp.float32)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (3, -2), (-5, 7), (40, 0), (0, -33)])
def test_whole_pixels(rng, x, y):
    img = rng.normal(size=(2, *SIZE, 3)).astype(np.float32)
    moved, mask = apply(design_whole_translation(np.array([x, y], float), SIZE), jnp.asarray(img))
    want, known = np.zeros_like(img), np.zeros(SIZE)
    for i in range(SIZE[0]):
        for j in range(SIZE[1]):
            if 0 <= i - y < SIZE[0] and 0 <= j - x < SIZE[1]:
                want[:, i, j], known[i, j] = img[:, i - y, j - x], 1
    np.testing.assert_array_equal(moved, want)
    np.testing.assert_array_equal(mask, known)


@pytest.mark.parametrize(("x", "y"), [(0.5, 0.25), (-2.75, 3.5), (0.0, 0.0), (1.0, -2.0)])
def test_parts_of_pixels(x, y):
    moved, mask = apply(design_translation(np.array([x, y], float), SIZE), waves())
    error = np.abs(np.asarray(moved) - np.asarray(waves((x, y)))) * mask[..., None]
    # Three lobes are no ideal filter; whole pixels go through their middle.
    assert error.max() < (1e-5 if x % 1 == y % 1 == 0 else 0.01)
    # Two rows more on one side and three on the other than the shift itself.
    rows, columns = int(mask.any(1).sum()), int(mask.any(0).sum())
    i, j = int(np.floor(y)), int(np.floor(x))
    assert rows == SIZE[0] - max(i + 3, 0) + min(i - 2, 0)
    assert columns == SIZE[1] - max(j + 3, 0) + min(j - 2, 0)


@pytest.mark.parametrize("angle", [0.0, 0.3, -2.0, np.pi / 2, np.pi])
def test_rotations(angle):
    """Counter-clockwise, about the middle, also where sides differ."""
    motion = design_rotation(angle, SIZE)
    moved, mask = apply(motion, waves())
    error = np.abs(np.asarray(moved) - np.asarray(waves(angle=angle))) * mask[..., None]
    assert error.max() < 0.01 and mask.sum() > 150
    # What rotating leaves out of these frequencies is nothing, here as in upright images.
    upright, known = motion.match(waves(angle=angle)), motion.also_known
    error = np.abs(np.asarray(upright) - np.asarray(waves(angle=angle))) * known[..., None]
    assert error.max() < 0.01 and known.sum() == (SIZE[0] - 10) * (SIZE[1] - 10)


def test_a_quarter_turn_to_the_left():
    """A bright top goes to the left."""
    img = np.zeros((1, *SIZE, 2), np.float32)
    img[:, : SIZE[0] // 2] = 1
    moved, mask = apply(design_rotation(np.pi / 2, SIZE), jnp.asarray(img))
    moved = np.asarray(moved)[0, ..., 0] + 2 * (mask == 0)
    middle = moved[SIZE[0] // 2]
    assert np.all(np.abs(middle[14:18] - 1) < 0.1) and np.all(np.abs(middle[22:26]) < 0.1)


def test_rotation_takes_the_corners_of_the_spectrum():
    """A checkerboard, turned by 45 degrees, has frequencies that no grid can hold."""
    board = np.indices(SIZE).sum(axis=0) % 2 * 2.0 - 1
    img = jnp.asarray(np.repeat(board[None, ..., None], 2, -1), jnp.float32)
    motion = design_rotation(np.pi / 4, SIZE)
    moved, mask = apply(motion, img)
    filtered, known = motion.match(img), motion.also_known
    assert np.abs(np.asarray(moved) * mask[..., None]).max() < 0.05
    assert np.abs(np.asarray(filtered) * known[..., None]).max() < 0.05


def test_filters():
    """Stored digits of two of them, their symmetry, and the sums of their phases."""
    taps = bandlimit_filter(rotation_matrix(0.5), up=4)
    got = taps[23, 23], taps[23, 30], taps[10, 20]
    np.testing.assert_allclose(got, [0.05303464, -0.00457546, -0.00041441], rtol=0, atol=2e-8)
    small = bandlimit_filter(rotation_matrix(-0.5), up=1)
    got = small[5, 5], small[5, 7], small[3, 6]
    np.testing.assert_allclose(got, [0.99958694, -0.00308726, 0.00804272], rtol=0, atol=2e-7)
    for filter_, side, up in ((taps, 47, 4), (small, 11, 1)):
        assert filter_.shape == (side, side) and filter_.dtype == np.float64
        np.testing.assert_allclose(filter_, filter_[::-1, ::-1], atol=1e-3)
        for y in range(up):
            for x in range(up):
                np.testing.assert_allclose(filter_[y::up, x::up].sum(), 1 / up**2, rtol=1e-12)
    # Turned not at all, both grids are one.
    np.testing.assert_array_equal(rotation_matrix(0), np.eye(2))
