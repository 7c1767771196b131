"""Pictures of any number of channels."""

import numpy as np
import pytest

from stylegan_jax.inference import to_pil


@pytest.mark.parametrize(
    ("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA"), (6, "RGB")]
)
def test_modes_and_pixels(rng, channels, mode):
    images = rng.integers(256, size=(2, 6, 4, channels), dtype=np.uint8)
    pictures = to_pil(images)
    assert [(p.mode, p.size) for p in pictures] == [(mode, (4, 6))] * 2
    shown = np.asarray(pictures[1]).reshape(6, 4, -1)
    np.testing.assert_array_equal(shown, images[1, :, :, : shown.shape[2]])


def test_what_is_no_picture():
    with pytest.raises(ValueError, match="float32 and shape .* wanted uint8"):
        to_pil(np.zeros((1, 4, 4, 3), np.float32))
    with pytest.raises(ValueError, match=r"shape \[4, 4, 3\]; wanted"):
        to_pil(np.zeros((4, 4, 3), np.uint8))
