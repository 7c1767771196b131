"""Which layers are coarse, middle and fine, and which a row copies."""

import pytest

from stylegan_jax.tools.figures.layers import choose_copied_styles, layer_boundaries


@pytest.mark.parametrize(
    ("num_ws", "boundaries"),
    [
        (18, (4, 8)),
        (16, (4, 8)),
        (14, (4, 6)),
        (12, (2, 6)),
        (10, (2, 4)),
        (8, (2, 4)),
        (6, (2, 4)),
    ],
)
def test_layer_boundaries(num_ws, boundaries):
    assert layer_boundaries(num_ws) == boundaries


@pytest.mark.parametrize("num_ws", [1, 2, 4])
def test_too_few_layers_to_split(num_ws):
    with pytest.raises(ValueError, match=f"{num_ws} layers are too few.*--boundaries"):
        layer_boundaries(num_ws)


def test_the_paper_s_rows():
    rows = choose_copied_styles(18, 6, None, None)
    labels = ["coarse 0-3"] * 3 + ["middle 4-7"] * 2 + ["fine 8-17"]
    assert [label for label, _ in rows] == labels
    assert rows[0][1] == [0, 1, 2, 3] and rows[-1][1] == list(range(8, 18))
    for num_rows, names in ((1, "c"), (2, "cm"), (3, "cmf"), (4, "ccmf"), (12, "ccccccmmmmff")):
        rows = choose_copied_styles(18, num_rows, None, None)
        assert "".join(label[0] for label, _ in rows) == names
