import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from stylegan_jax.ops.resize import (
    resize_area,
    resize_bicubic,
    resize_bilinear,
    resize_nearest,
    resize_pillow,
    resize_tf1,
)

RULES = {
    "tf1": resize_tf1,
    "bilinear": resize_bilinear,
    "bilinear antialias": functools.partial(resize_bilinear, antialias=True),
    "bicubic": functools.partial(resize_bicubic, antialias=False),
    "bicubic antialias": functools.partial(resize_bicubic, antialias=True),
    "area": resize_area,
    "nearest": resize_nearest,
}
# Columns of one row.
ROW = jnp.asarray([0.0, 4.0, 8.0, 4.0]).reshape(1, 1, 4, 1)


@pytest.mark.parametrize(
    ("rule", "length", "want"),
    [
        # Sources 0, 0.5, 1, ...: the last one lies beyond the end.
        ("tf1", 8, [0, 2, 4, 6, 8, 6, 4, 4]),
        ("tf1", 2, [0, 8]),
        # Sources -0.25, 0.25, 0.75, ...
        ("bilinear", 8, [0, 1, 3, 5, 7, 7, 5, 4]),
        ("bilinear", 2, [2, 6]),
        # Triangles of twice the width: weights 3, 3, 1 of 7 at the border.
        ("bilinear antialias", 2, [20 / 7, 40 / 7]),
        # Half way between pixels: -3/32, 19/32, 19/32, -3/32, with repeated ends.
        ("bicubic", 2, [(19 * 4 - 3 * 8) / 32, (19 * 12 - 3 * 8) / 32]),
        ("area", 3, [2, 6, 6]),
        ("area", 2, [2, 6]),
        ("nearest", 6, [0, 0, 4, 8, 8, 4]),
    ],
)
def test_numbers_by_hand(rule, length, want):
    np.testing.assert_allclose(RULES[rule](ROW, 1, length).ravel(), want, rtol=1e-6)
    # The same along the other axis.
    got = RULES[rule](ROW.reshape(1, 4, 1, 1), length, 1)
    assert got.shape == (1, length, 1, 1)
    np.testing.assert_allclose(got.ravel(), want, rtol=1e-6)


def test_the_slope_of_a_cubic_kernel():
    """With a = -0.5 the four weights half way are -1/16, 9/16, 9/16, -1/16."""
    got = resize_bicubic(ROW, 1, 2, antialias=False, a=-0.5)
    np.testing.assert_allclose(got.ravel(), [(9 * 4 - 8) / 16, (9 * 12 - 8) / 16], rtol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_even_images_stay_even_and_gradients_are_weights(rule):
    """Weights of an output sum to 1; the gradient of the sum is what each pixel gives."""
    img = jnp.full((1, 7, 5, 2), 3.0)
    run = functools.partial(RULES[rule], height=4, width=9)
    np.testing.assert_allclose(run(img), np.full((1, 4, 9, 2), 3.0), rtol=1e-5)
    gradient = jax.grad(lambda x: jnp.sum(run(x)))(img)
    assert float(jnp.sum(gradient)) == pytest.approx(4 * 9 * 2, rel=1e-5)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32, jnp.bfloat16])
def test_other_numbers_become_float32(dtype):
    got = resize_bilinear(ROW.astype(dtype), 1, 8)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, resize_bilinear(ROW, 1, 8))
    # The same size is the same image.
    assert resize_tf1(ROW.astype(dtype), 1, 4).dtype == jnp.float32


@pytest.mark.parametrize("rule", ["box", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("side", [13, 52])
def test_bytes_are_those_of_pillow(rule, side, rng):
    """Squares, which every version of Pillow resizes in the same order; extremes overshoot."""
    img = rng.choice([0, 1, 128, 254, 255], size=(31, 31, 3)).astype(np.uint8)
    want = Image.fromarray(img).resize((side, side), Image.Resampling[rule.upper()])
    got = resize_pillow(jnp.asarray(img)[None], side, side, rule)
    np.testing.assert_array_equal(got[0], np.asarray(want))


def test_bytes_of_the_same_size_are_left_alone(rng):
    img = jnp.asarray(rng.integers(0, 256, (1, 5, 6, 1)), jnp.uint8)
    np.testing.assert_array_equal(resize_pillow(img, 5, 6, "lanczos"), img)


@pytest.mark.parametrize("size", [(0, 3), (3, -1)])
def test_images_without_pixels(size):
    for rule in RULES.values():
        with pytest.raises(ValueError, match=f"1x4 cannot be resized to {size[0]}x{size[1]}"):
            rule(ROW, *size)
    with pytest.raises(ValueError, match="at least one pixel"):
        resize_pillow(jnp.zeros((1, 0, 3, 1), jnp.uint8), 2, 2, "box")
