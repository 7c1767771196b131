"""Seeds as users write them; the latents of the originals."""

import numpy as np
import pytest

from stylegan_jax.inference.seeds import draw_latents, parse_seeds


def test_seeds():
    assert parse_seeds("1,5,7-9") == [1, 5, 7, 8, 9]
    for bad in ("a", "3-", "5-2"):
        with pytest.raises(ValueError, match="seeds="):
            parse_seeds(bad)
    with pytest.raises(ValueError, match="row_seeds='a'"):
        parse_seeds("a", "row_seeds")


def test_a_seed_is_the_latent_of_the_originals():
    z, classes = draw_latents([7, 85], 512)
    assert z.dtype == np.float32 and classes.tolist() == [0, 0]
    np.testing.assert_array_equal(z[1], np.random.RandomState(85).randn(512).astype(np.float32))
