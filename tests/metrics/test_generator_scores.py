"""Scores of generators that are simple enough to know the answers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from stylegan_jax.metrics.generator_scores import (
    Classifiers,
    MsssimScore,
    PairDistance,
    PathLengthScore,
    SeparabilityScore,
)
from stylegan_jax.metrics.ms_ssim import SMALLEST_PX
from stylegan_jax.metrics.names import parse_name

KEY = jax.random.key(1)


@dataclasses.dataclass(frozen=True)
class Linear:
    """w = M z + c, and an image of 16 px whose three colours are the first numbers of w."""

    z_dim: int = 4
    has_styles: bool = True
    takes_transform: bool = False

    def mapping(self, snapshot, z, c):
        return z @ snapshot["M"] + c

    def synthesis(self, snapshot, w, key):
        noise = snapshot["noise"] * jax.random.normal(key, (1, 16, 16, 1))
        return jnp.broadcast_to(w[:, None, None, :3], (len(w), 16, 16, 3)) + noise


@dataclasses.dataclass
class LinearGenerator:
    """What metrics are given; labels are of one length with w."""

    functions: Linear
    snapshot: dict

    def draw_labels(self, seeds, count):
        rng = [np.random.default_rng(seed) for seed in seeds]
        rows = [r.integers(0, 2, (count, 1)) * np.ones((1, 4)) for r in rng]
        return np.stack(rows).astype(np.float32)


def make_generator(matrix=None, noise=0.0, **functions):
    matrix = np.eye(4) if matrix is None else matrix
    snapshot = {"M": jnp.asarray(matrix, jnp.float32), "noise": jnp.float32(noise)}
    return LinearGenerator(Linear(**functions), snapshot)


def make_sharding(devices=1):
    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    return NamedSharding(mesh, PartitionSpec("data"))


def mean_square(params, a, b):
    return params * jnp.mean((a - b) ** 2, axis=(1, 2, 3))


DISTANCE = PairDistance(mean_square, jnp.float32(1.0), {"network": "mean square"})


def path_length(name, generator, devices=1):
    score = PathLengthScore(parse_name(name), DISTANCE, make_sharding(devices))
    return score.evaluate(generator, KEY), score


def test_paths_in_w_are_as_long_as_the_line():
    """d / eps^2 = mean (127.5 (w1 - w0))^2 of colours, of which the middle 98 percent are."""
    values, score = path_length("ppl2_wend_512", make_generator())
    # Differences of two normal numbers have variance 2.
    assert values["ppl2_wend_512"] == pytest.approx(2 * 127.5**2, rel=0.1)
    assert score.describe(values).startswith("ppl2_wend_512 3")
    about = score.protocol(parse_name("ppl2_wend_512"))
    assert about["network"] == "mean square" and about["crop"] == "none" and about["space"] == "w"
    # Twice the matrix, four times the square.
    longer, _ = path_length("ppl2_wend_512", make_generator(2 * np.eye(4)))
    assert longer["ppl2_wend_512"] == pytest.approx(4 * values["ppl2_wend_512"], rel=1e-3)


def test_noise_is_shared_by_both_ends():
    quiet, _ = path_length("ppl2_wend_64", make_generator())
    noisy, _ = path_length("ppl2_wend_64", make_generator(noise=0.5))
    assert noisy["ppl2_wend_64"] == pytest.approx(quiet["ppl2_wend_64"], rel=0.05)


@pytest.mark.parametrize("name", ["ppl_zfull_24", "ppl2_wend_40"])
def test_paths_are_the_same_on_any_devices(name):
    found = [path_length(name, make_generator(), devices)[0] for devices in (1, 2, 4)]
    assert found[0] == found[1] == found[2]


def test_paths_in_w_of_a_network_without_styles():
    with pytest.raises(ValueError, match='network without a mapping network.*space="z"'):
        path_length("ppl2_wend_8", make_generator(has_styles=False))
    assert path_length("ppl2_zend_8", make_generator(has_styles=False))[0]["ppl2_zend_8"] > 0


def test_images_have_no_paths():
    with pytest.raises(ValueError, match="ppl2_wend_8 looks into a generator, and got images"):
        path_length("ppl2_wend_8", lambda n: iter([np.zeros((n, 16, 16, 3), np.uint8)]))


# The first two colours of an image tell an attribute each.
CLASSIFIERS = Classifiers(
    lambda params, img: jnp.mean(img, axis=(1, 2)) @ params,
    [jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 1.0, 0.0])],
    ("red", "green"),
    {"network": "colours"},
)


def separate(generator, num=256, devices=1):
    name = parse_name(f"ls_{num}")
    score = SeparabilityScore(name, CLASSIFIERS, make_sharding(devices))
    return score.evaluate(generator, KEY), score


def test_attributes_that_planes_separate():
    """Colours are linear in z and w: nothing is open. Without labels, which z does not know."""
    generator = make_generator()
    generator.draw_labels = lambda seeds, count: np.zeros((len(seeds), count, 4), np.float32)
    values, score = separate(generator)
    assert values == {"ls_256_z": pytest.approx(1, abs=0.1), "ls_256_w": pytest.approx(1, abs=0.1)}
    assert (
        "in z" in score.describe(values) and score.protocol(parse_name("ls_256"))["attributes"] == 2
    )


def test_attributes_that_no_plane_of_z_separates():
    """Labels move w, and colours with it, by an amount that z says nothing of."""
    generator = make_generator(0.3 * np.eye(4))
    generator.draw_labels = lambda seeds, count: np.stack(
        [np.random.default_rng(s).normal(size=(count, 4)).astype(np.float32) for s in seeds]
    )
    values, _ = separate(generator)
    assert values["ls_256_w"] < 1.2 < 2 < values["ls_256_z"]


def test_separability_wants_styles_and_a_generator():
    with pytest.raises(ValueError, match="compares z with styles, and this has none"):
        separate(make_generator(has_styles=False), 8)
    with pytest.raises(ValueError, match="looks into a generator, and got images"):
        separate(lambda n: iter([]), 8)


def test_ms_ssim_streams_pairs():
    """Equal pairs give 1, whatever batches are filled up with; the last image goes uncounted."""
    rng = np.random.default_rng(0)
    one = rng.integers(0, 256, (3, SMALLEST_PX, SMALLEST_PX, 1), dtype=np.uint8)
    pairs = np.repeat(one, 2, axis=0)

    def draw(num_images):
        yield jnp.asarray(pairs[:4])
        # Filled up with what is no pair.
        yield jnp.asarray(np.concatenate([pairs[4:], 255 - pairs[:2]]))

    name = parse_name("msssim6")
    values = MsssimScore(name).evaluate(draw, KEY)
    assert values == {"msssim6": pytest.approx(1, abs=1e-5)}
    assert MsssimScore(name).describe(values) == "msssim6 1.0000"
