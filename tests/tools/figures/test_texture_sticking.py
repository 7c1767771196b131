"""The slice picture: which pixels stand where, and what is refused."""

import numpy as np
import pytest

from stylegan_jax.tools.figures.texture_sticking import texture_sticking
from stylegan_jax.tools.latents import mean_w


def test_columns_over_time(generator, movable):
    """The first column is that of the first seed, the last one of the last; a row per network."""
    path, other = movable
    figure = texture_sticking(generator, beside=[other], seeds=[5, 3], line=0.25)
    assert figure.cells.shape == (2, 2, 16, 16, 3)
    assert figure.row_labels[1] == path.stem and len(figure.row_labels) == 2
    assert figure.col_labels == ["seed 5", "column 4, seed 5 to 3"]
    for row, G in zip(figure.cells, (generator, other)):
        first, last = G.sample([5, 3]).astype(int)
        np.testing.assert_allclose(row[1][:, 0], first[:, 4], atol=1)
        np.testing.assert_allclose(row[1][:, -1], last[:, 4], atol=1)
        # Between them the latent moves steadily: frame 5 of 15 steps is a third of the way.
        centre = mean_w(G)
        a, b = G.styles([5, 3]) - centre
        (third,) = G.synthesis((a + (b - a) / 3 + centre)[None]).astype(int)
        np.testing.assert_allclose(row[1][:, 5], third[:, 4], atol=1)
        # The image, but for two ticks.
        differs = (row[0] != first).any(-1)
        assert differs.sum() == 2 and differs[0, 4] and differs[-1, 4]


def test_refusals(generator):
    with pytest.raises(ValueError, match=r"seeds=\[5\]: give 2 or more"):
        texture_sticking(generator, seeds=[5])
    with pytest.raises(ValueError, match="line=1.5: give a share"):
        texture_sticking(generator, line=1.5)
