import jax
import numpy as np
import pytest

from stylegan_jax.convert.pretrained.inception import graph_names, params_from_official
from stylegan_jax.convert.readers.records import CheckpointFileError
from tests.convert.pretrained.inception_files import graph_arrays, official_arrays, shapes


def test_normalisation_is_folded(rng):
    """A layer of one pixel: convolution, then (x - mean) / sqrt(var + 0.001) * gain + bias."""
    arrays = official_arrays() | {"Mixed_5c.branch1x1.bn.weight": np.float32([2, 3, 4, 5])}
    params = params_from_official(arrays)
    assert jax.tree.map(np.shape, params) == jax.tree.map(lambda x: x.shape, shapes())
    part = {n.rpartition(".")[2]: a for n, a in arrays.items() if "Mixed_5c.branch1x1.bn" in n}
    kernel = arrays["Mixed_5c.branch1x1.conv.weight"][:, :, 0, 0]
    x = rng.normal(size=kernel.shape[1])
    want = (kernel @ x - part["running_mean"]) / np.sqrt(part["running_var"] + 1e-3)
    want = want * [2, 3, 4, 5] + part["bias"]
    layer = params["mixed_5c"]["branch1x1"]
    np.testing.assert_allclose(x @ layer["weight"][0, 0] + layer["bias"], want, rtol=1e-5)
    # Axes: [out, in, kh, kw] and [out, in] there.
    kernel = arrays["Conv2d_2a_3x3.conv.weight"]
    ratio = params["conv2d_2a_3x3"]["weight"][2, 0, 1, 0] / kernel[0, 1, 2, 0]
    scale = 1 / np.sqrt(arrays["Conv2d_2a_3x3.bn.running_var"][0] + 1e-3)
    assert ratio == pytest.approx(scale, rel=1e-5)
    np.testing.assert_array_equal(params["fc"]["weight"], arrays["fc.weight"].T)


def test_both_namings_are_the_same_network():
    got, want = params_from_official(graph_arrays()), params_from_official(official_arrays())
    assert jax.tree.all(jax.tree.map(np.array_equal, got, want))
    # The graph's own words for parts that have no number of their own.
    assert graph_names()["mixed_8.tower_1.conv_3"] == ("mixed_7a", "branch7x7x3_4")
    assert graph_names()["mixed_10.tower_1.mixed.conv_1"] == ("mixed_7c", "branch3x3dbl_3b")


@pytest.mark.parametrize("official", [official_arrays, graph_arrays])
def test_files_that_do_not_fit(official):
    arrays = dict(official())
    name = next(n for n in arrays if "branch1x1" in n or n.startswith("layers.mixed_1.conv"))
    for change, message in (
        ({name: None}, "1 are missing.*could not be placed .none"),
        ({"AuxLogits.fc.weight": np.zeros((2, 2))}, "0 are missing.*AuxLogits.fc.weight"),
        ({"layers.mixed.odd.weight": np.zeros(3)}, "could not be placed .*layers.mixed.odd.weight"),
        ({name: np.zeros(3)}, r"does not fit Inception: .*conv.weight \[3\]"),
        ({name: np.zeros((3, 2, 1, 1))}, "other channels than its kernel"),
    ):
        changed = {n: a for n, a in (arrays | change).items() if a is not None}
        with pytest.raises(CheckpointFileError, match=message):
            params_from_official(changed)


def test_two_words_for_the_same_part():
    arrays = graph_arrays()
    arrays["layers.conv.moving_mean"] = arrays["layers.conv.mean"]
    with pytest.raises(CheckpointFileError, match="layers.conv.moving_mean"):
        params_from_official(arrays)
