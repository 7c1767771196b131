"""Motions come back to where they began, by the way that they promise."""

import numpy as np
import pytest

from stylegan_jax.tools.motion import MOTIONS, make_motion


@pytest.mark.parametrize("name", MOTIONS)
def test_motions_are_periodic(name):
    at = make_motion(name, 8)
    found = at(np.array([0, 1, 8, 9]))
    assert found.shape == (4, 3, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found[:2], found[2:], atol=1e-6)
    assert np.any(found[0] != found[1])


def test_where_they_lead():
    """What happens to the middle of the image, and to a point above it (y points down)."""

    def middle(name, frame, point=(0, 0)):
        return (np.linalg.inv(make_motion(name, 8)(np.array([frame]))[0]) @ [*point, 1])[:2]

    np.testing.assert_allclose(middle("rotate", 2, (0, -0.5)), [-0.5, 0], atol=1e-6)
    np.testing.assert_allclose(middle("translate", 2), [0.2, 0], atol=1e-6)
    np.testing.assert_allclose(middle("circle", 0), [0, -0.2], atol=1e-6)
    np.testing.assert_allclose(middle("circle", 2), [0.2, 0], atol=1e-6)
    with pytest.raises(ValueError, match="motion='jump': choose one of rotate, translate, circle"):
        make_motion("jump", 8)
