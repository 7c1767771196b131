"""What methods are given: shapes, numbers and noise; the errors of whole calls are elsewhere."""

import numpy as np
import pytest

from stylegan_jax.inference import arguments
from stylegan_jax.models.blocks import NoiseLayer

LAYERS = (NoiseLayer("b4", "conv1", 4, (4, 6)), NoiseLayer("b8", "conv0", 8, (8, 12)))


@pytest.mark.parametrize("n", [1, 3])
def test_noise_that_fits(n):
    for count in {1, n}:
        noise = {"b4": {"conv1": np.zeros((count, 4, 6, 1))}}
        arguments.check_noise(noise, LAYERS, n)  # the other layer gets none
    for words in ("const", "random", "none", None, {}):
        arguments.check_noise(words, LAYERS, n)
        arguments.check_noise(words, (), n)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ("white", "noise='white': choose const, random, none"),
        ({"b4": {"conv0": 0}}, "noise for b4/conv0: .* this network are b4/conv1, b8/conv0"),
        ({"b16": {"conv0": 0, "conv1": 0}}, "noise for b16/conv0, b16/conv1: the noise inputs"),
        ({"b4": {"conv1": np.zeros((2, 4, 6, 1))}}, r"b4/conv1 has the shape \[2, 4, 6, 1\]"),
        ({"b4": {"conv1": np.zeros((1, 4, 4, 1))}}, r"wanted is \[1 or 3, 4, 6, 1\]"),
        ({"b8": {"conv0": np.zeros((3, 8, 12))}}, r"b8/conv0 has the shape \[3, 8, 12\]"),
    ],
)
def test_noise_that_does_not_fit(noise, message):
    with pytest.raises(ValueError, match=message):
        arguments.check_noise(noise, LAYERS, 3)


def test_a_network_without_noise():
    with pytest.raises(ValueError, match="the noise inputs of this network are none"):
        arguments.check_noise({"b4": {"conv1": np.zeros((1, 4, 4, 1))}}, (), 1)


def test_the_noise_of_some_images():
    noise = {"b4": {"conv1": np.arange(3), "conv0": np.arange(1)}}
    part = arguments.part_of_noise(noise, np.asarray([2, 0]))
    assert part["b4"]["conv1"].tolist() == [2, 0] and part["b4"]["conv0"].tolist() == [0]
