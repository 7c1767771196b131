"""Moves of images: the matrices, what is refused, and what a network draws."""

import numpy as np
import pytest

from stylegan_jax.inference.transforms import check_transform, make_transform


def test_the_inverse_of_what_happens():
    """A point to the right of the middle goes up with a quarter turn, then right and down."""
    np.testing.assert_array_equal(make_transform(), np.eye(3))
    forward = np.linalg.inv(make_transform((0.1, 0.2), 90))
    np.testing.assert_allclose(forward @ [0.5, 0, 1], [0.1, -0.3, 1], atol=1e-6)
    np.testing.assert_allclose(make_transform((0.1, 0.2))[:2, 2], [-0.1, -0.2], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.1],), "translate=.*give x and y"),
        (([0.1, float("nan")],), "translate=.*give x and y"),
        (([0, 0], float("inf")), "rotate=inf: give degrees"),
    ],
)
def test_what_is_no_motion(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_transform(*arguments)


def test_what_is_no_transform():
    fine = np.diag([3.0, 0.01, 1.0])
    assert check_transform(fine, 4).shape == (4, 3, 3)
    assert check_transform(np.stack([fine] * 2), 2).dtype == np.float32
    for wrong, message in (
        (np.eye(2), r"shape \[2, 2\]: give \[3, 3\] or \[2, 3, 3\]"),
        (np.stack([fine] * 3), r"shape \[3, 3, 3\]"),
        (np.full((3, 3), np.nan), "finite"),
        (np.ones((3, 3)), "0, 0, 1 in the last row"),
        (np.array([[1, 2, 0], [2, 4, 0], [0, 0, 1]]), "no inverse"),
        (np.diag([0.0, 0.0, 1.0]), "no inverse"),
    ):
        with pytest.raises(ValueError, match=message):
            check_transform(wrong, 2)


def test_images_move_as_they_are_told(movable, generator):
    _, G = movable
    assert G.takes_transform and not generator.takes_transform
    ws = G.styles([3, 4])
    turns = np.stack([np.eye(3), make_transform((0.2, 0), 30)])
    still, moved = G.synthesis(ws), G.synthesis(ws, transform=turns)
    # 16 px of bfloat16: nothing moves but the second image.
    np.testing.assert_array_equal(moved[0], still[0])
    assert np.abs(moved[1].astype(int) - still[1]).mean() > 5
    # One for all; and by name.
    all_moved = G.synthesis(ws, transform=turns[1])
    np.testing.assert_array_equal(all_moved[1], moved[1])
    np.testing.assert_array_equal(G.sample([3, 4], translate=(0.2, 0), rotate=30), all_moved)
    z, c = G.latents([3, 4])
    np.testing.assert_array_equal(G(z, c, transform=turns), moved)
    # What does not move is no move.
    assert generator.sample([0], translate=(0, 0), rotate=0).any()
    with pytest.raises(ValueError, match="'stylegan2' takes no transform.*StyleGAN3 can.*G.input"):
        generator.sample([0], rotate=1.0)
