"""The score, of generators that are a formula: perfectly equivariant, or stuck to the pixels."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.metrics.equivariance import plan_move
from stylegan_jax.metrics.equivariance_score import EquivarianceScore
from stylegan_jax.metrics.names import parse_name
from tests.metrics.test_generator_scores import make_sharding

KEY = jax.random.key(2)
SIDE = 32


@dataclasses.dataclass(frozen=True)
class Waves:
    """Draws waves of phases w at transformed coordinates, and a share of them that does not follow.

    Attributes:
        noisy: Noise of the key is added, the same under every transform.
    """

    z_dim: int = 3
    has_styles: bool = True
    takes_transform: bool = True
    noisy: bool = False

    def mapping(self, snapshot, z, c):
        return z + c

    def synthesis(self, snapshot, w, key, transform=None):
        x = (jnp.arange(SIDE) + 0.5) / SIDE - 0.5
        upright = jnp.stack([*jnp.meshgrid(x, x), jnp.ones((SIDE, SIDE))], -1)
        stuck = snapshot["stuck"]

        def waves(at):
            argument = 2 * jnp.pi * 2 * (at[..., :1] + 0.5 * at[..., 1:2])
            return 0.5 * jnp.cos(argument + w[:, None, None, :])

        moved = upright if transform is None else upright @ transform.T
        img = (1 - stuck) * waves(moved) + stuck * waves(upright)
        noise = jax.random.normal(key, (1, SIDE, SIDE, 1)) if self.noisy else 0.0
        return img + noise


@dataclasses.dataclass
class WavesGenerator:
    """What the score is given."""

    functions: Waves
    snapshot: dict

    def draw_labels(self, seeds, count):
        rows = [np.random.default_rng(seed).uniform(0, 6, (count, 3)) for seed in seeds]
        return np.stack(rows).astype(np.float32)


@functools.cache
def make_score(name, devices):
    """A score compiles its program once."""
    return EquivarianceScore(parse_name(name), make_sharding(devices))


def measure(name, stuck=0.0, devices=1, functions=Waves()):
    generator = WavesGenerator(functions, {"stuck": jnp.float32(stuck)})
    score = make_score(name, devices)
    return score.evaluate(generator, KEY)[name], score


@pytest.mark.parametrize(("name", "least"), [("eqt10_int", 110), ("eqt10_frac", 55), ("eqr10", 60)])
def test_what_follows_scores_high_and_what_sticks_low(name, least):
    found, score = measure(name)
    assert found > least
    assert score.describe({name: found}).startswith(f"{name} {found:.2f} dB")
    assert score.protocol(parse_name(name))["unit"] == "dB"
    for stuck in (0.1, 1.0):
        last, found = found, measure(name, stuck)[0]
        assert found < last - 15


@pytest.mark.parametrize("name", ["eqt24_frac"])
def test_the_same_on_any_devices(name):
    """Moves, labels and latents are those of the batch's number; images beyond count for none."""
    one, four = (measure(name, 0.3, devices)[0] for devices in (1, 4))
    assert one == pytest.approx(four, abs=1e-4)


def test_noise_is_that_of_both_images():
    """Noise that does not move counts as what sticks; were it another one, it would count twice."""
    found, _ = measure("eqt40_int", functions=Waves(noisy=True))
    # Two independent normal numbers at every pixel, but where the move is 0: 2 of a square of 4.
    assert found == pytest.approx(10 * np.log10(4 / 2), abs=0.6)
    # The same noise in both: a move by nothing gives equal images.
    score = EquivarianceScore(parse_name("eqt8_int"), make_sharding())
    still = plan_move("eqt_int", np.zeros(2), (SIDE, SIDE))
    score._plan = lambda *_: jax.tree.map(lambda x: np.stack([x, x]), still)
    generator = WavesGenerator(Waves(noisy=True), {"stuck": jnp.float32(0)})
    assert score.evaluate(generator, KEY)["eqt8_int"] > 100


def test_networks_without_a_transform_are_refused():
    with pytest.raises(ValueError, match="eqr8: this generator takes no transform.*StyleGAN3"):
        measure("eqr8", functions=Waves(takes_transform=False))
    score = EquivarianceScore(parse_name("eqt8_int"), make_sharding())
    with pytest.raises(ValueError, match="eqt8_int looks into a generator, and got images"):
        score.evaluate(lambda n: iter([]), KEY)
