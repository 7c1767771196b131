import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.models.pretrained.images import to_rgb


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_grey_is_repeated_and_colours_are_kept(dtype, rng):
    img = rng.integers(0, 256, (2, 3, 4, 3)).astype(dtype)
    np.testing.assert_array_equal(to_rgb(jnp.asarray(img)), img.astype(np.float32))
    grey = to_rgb(jnp.asarray(img[..., :1]))
    assert grey.dtype == jnp.float32
    np.testing.assert_array_equal(grey, np.repeat(img[..., :1], 3, axis=3).astype(np.float32))


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_channels(channels):
    with pytest.raises(ValueError, match=rf"{channels} channels.*grey \(1\) or RGB \(3\)"):
        to_rgb(jnp.zeros((1, 2, 2, channels)))
