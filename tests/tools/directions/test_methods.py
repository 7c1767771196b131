"""Directions with known answers."""

import numpy as np
import pytest

from stylegan_jax.inference.generator import Generator
from stylegan_jax.tools.directions.methods import factorise, layer_weights, principal_directions


def test_planted_directions_come_back(rng):
    # 12 numbers that vary by 1, 3 along one direction and 2 along another.
    planted = np.linalg.qr(rng.normal(size=(12, 2)))[0].T
    deviations = np.array([6.0, 3.0])
    w = rng.normal(size=(20_000, 12)) + 5
    w += (rng.normal(size=(20_000, 2)) * deviations) @ planted
    found = principal_directions(w.astype(np.float32), 3)
    assert found.vectors.shape == (3, 12) and found.vectors.dtype == np.float32
    # Estimated from 20,000 samples: within two degrees.
    assert np.all(np.abs(np.sum(found.vectors[:2] * planted, axis=1)) > np.cos(np.pi / 90))
    variances = deviations**2 + 1
    np.testing.assert_allclose(found.scale[:2], np.sqrt(variances), rtol=0.03)
    np.testing.assert_allclose(found.share[:2], variances / (12 + 36 + 9), rtol=0.05)
    # Of either sign the one whose largest entry is positive.
    again = principal_directions(-w.astype(np.float32), 3)
    np.testing.assert_allclose(again.vectors, found.vectors, rtol=0, atol=1e-5)
    assert np.all(found.vectors.max(axis=1) == np.abs(found.vectors).max(axis=1))


def test_factors_are_numpy_s_singular_vectors(rng):
    weights = [rng.normal(size=(6, n)).astype(np.float32) for n in (4, 3, 9)]
    w = rng.normal(size=(50, 6)).astype(np.float32)
    found = factorise(weights, w, 6)
    A = np.concatenate([weight.T for weight in weights])  # [4 + 3 + 9, 6]
    _, singular, right = np.linalg.svd(A.astype(np.float64))
    np.testing.assert_allclose(np.abs(found.vectors), np.abs(right), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.share, singular**2 / np.sum(singular**2), rtol=1e-6)
    np.testing.assert_allclose(found.scale, (w @ found.vectors.T).std(axis=0), rtol=1e-5)
    for num in (0, 7):
        with pytest.raises(ValueError, match=f"num_directions={num}: styles have 6 numbers"):
            factorise(weights, w, num)


def network(synthesis, num_ws):
    """What `layer_weights` reads of a generator; each weight is its own number."""
    made = object.__new__(Generator)
    made.params = {"synthesis": synthesis}
    made.num_ws = num_ws
    made.has_styles = num_ws > 1
    return made


def styled(number):
    return {"affine": {"weight": np.full((2, 1), number)}, "bias": np.zeros(1)}


def test_layers_by_the_style_that_they_read(generator):
    """StyleGAN2: convolutions, and the last ToRGB; blocks by number, not by letters."""
    stylegan2 = {
        f"b{res}": {"conv0": styled(res), "conv1": styled(res + 1), "torgb": styled(-res)}
        for res in (16, 4, 8)
    }
    del stylegan2["b4"]["conv0"]
    found = layer_weights(network(stylegan2, 6), range(6))
    assert [weight[0, 0] for weight in found] == [5, 8, 9, 16, 17, -16]
    found = layer_weights(network(stylegan2, 6), [1, 4])
    assert [weight[0, 0] for weight in found] == [8, 17]
    # StyleGAN: two epilogues per block; ToRGB reads no style.
    stylegan1 = {
        f"b{res}": {
            "conv1": {"weight": 0},
            "epilogue0": styled(res),
            "epilogue1": styled(res + 1),
            "torgb": {"weight": 0},
        }
        for res in (4, 16, 8)
    }
    found = layer_weights(network(stylegan1, 6), range(6))
    assert [weight[0, 0] for weight in found] == [4, 5, 8, 9, 16, 17]
    # An input of waves shares the first convolution's style; in StyleGAN3 it has one of its own.
    stylegan2["b4"]["input"] = styled(1)
    found = layer_weights(network(stylegan2, 6), range(6))
    assert [weight[0, 0] for weight in found] == [5, 8, 9, 16, 17, -16]
    stylegan3 = {f"L{i}_16_4": styled(i) for i in (0, 2, 10, 1)} | {"input": styled(-1)}
    found = layer_weights(network(stylegan3, 5), range(5))
    assert [weight[0, 0] for weight in found] == [-1, 0, 1, 2, 10]
    # ProGAN: the layer that reads the latent.
    progan = {"b8": {"conv0": 0}, "b4": {"fc": {"weight": np.full((2, 1), 7)}}}
    assert layer_weights(network(progan, 1), [0])[0][0, 0] == 7
    # A real network: as many rows as styles have numbers.
    assert all(weight.shape[0] == 16 for weight in layer_weights(generator, range(6)))
