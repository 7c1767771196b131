"""The search: what it finds again, its schedule, and that it is the same each time."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from stylegan_jax.inference.saved import read_styles, write_styles
from stylegan_jax.tools.project import optimise
from stylegan_jax.tools.project.optimise import Settings, learning_rate, project, saturate


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    monkeypatch.setattr(optimise, "_NUM_SAMPLES", 64)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_an_image_of_the_network_is_found_again(generator, space):
    target = generator.sample([3])[0]
    settings = Settings(space=space, num_steps=100, optimise_noise=False)
    found = list(project(generator, target, settings))
    assert [progress.steps for progress in found] == [0, 25, 50, 75, 100]
    first, last = found[0], found[-1]
    assert last.distance < 0.1 * first.distance
    # What is returned draws the image that is shown.
    assert last.ws.shape == (1, 6, 16) and last.ws.dtype == np.float32
    drawn = generator.synthesis(last.ws, last.noise)[0]
    np.testing.assert_array_equal(drawn, last.image)
    assert np.abs(drawn.astype(int) - target).mean() < 8
    # It begins at the mean style, the same for all layers; in W it stays so.
    mean = np.mean([generator.styles([seed])[0, 0] for seed in range(64)], axis=0)
    np.testing.assert_allclose(first.ws[0], np.broadcast_to(mean, (6, 16)), rtol=0, atol=1e-5)
    assert np.all(last.ws == last.ws[:, :1]) == (space == "w")


def test_noise_is_searched_and_stays_noise(generator, tmp_path):
    target = generator.sample([3])[0]
    runs = [list(project(generator, target, Settings(num_steps=6)))[-1] for _ in range(2)]
    first = generator.random_noise([303])
    for block, layer in generator.noise_layers():
        noise = np.asarray(runs[0].noise[block][layer])
        assert abs(noise.mean()) < 1e-6 and abs(noise.std() - 1) < 1e-5
        assert np.abs(noise - first[block][layer]).max() > 0.01
        np.testing.assert_array_equal(noise, runs[1].noise[block][layer])
    # In a file: the picture is drawn again from it.
    write_styles(tmp_path / "x.npz", generator, runs[0].ws, runs[0].noise)
    saved = read_styles([tmp_path / "x.npz"], generator)
    np.testing.assert_array_equal(generator.synthesis(saved.ws, saved.noise)[0], runs[0].image)
    assert np.any(generator.synthesis(saved.ws)[0] != runs[0].image)
    # The same seed finds the same, another one something else.
    np.testing.assert_array_equal(runs[0].ws, runs[1].ws)
    other = list(project(generator, target, Settings(num_steps=6, seed=1)))[-1]
    assert np.any(other.ws != runs[0].ws)


def test_a_distance_of_one_s_own(generator):
    """What is made small is an argument, with weights of its own: here the mean red."""
    target = np.zeros((16, 16, 3), np.uint8)
    settings = Settings(num_steps=10, optimise_noise=False)

    def brightness(weights, img, goal):
        return (img @ weights).mean(axis=(1, 2))

    redness = Partial(brightness, jnp.float32([1, 0, 0]))
    found = list(project(generator, target, settings, distance=redness))
    assert found[-1].image[..., 0].mean() < found[0].image[..., 0].mean() - 5


def test_latents_stay_on_their_sphere(generator, monkeypatch):
    """Of networks whose layers read no styles."""
    monkeypatch.setattr(generator, "has_styles", False)
    settings = Settings(num_steps=4, seed=5, optimise_noise=False)
    found = list(project(generator, generator.sample([3])[0], settings))
    np.testing.assert_allclose(found[0].ws[0], generator.styles([5])[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.mean(found[-1].ws ** 2), 1, rtol=1e-5)


def test_the_schedule():
    settings = Settings()
    rates = [float(learning_rate(t, settings)) for t in (0, 0.025, 0.05, 0.5, 0.75, 0.875, 1)]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.1, 0.1, 0.05, 0], rtol=0, atol=1e-7)


def test_what_no_picture_shows():
    img = jnp.float32([1.3, -1.3, 1.3, -1.3, 0.5]).reshape(1, 1, 5, 1)
    goal = jnp.float32([1, -1, -1, 0.9, 1]).reshape(1, 1, 5, 1)
    got = saturate(img, goal).ravel()
    np.testing.assert_array_equal(got, np.float32([1, -1, 1.3, -1.3, 0.5]))


def test_bad_options(generator):
    with pytest.raises(ValueError, match="space='z': choose one of w, w"):
        Settings(space="z")
    with pytest.raises(ValueError, match="num_steps=0"):
        Settings(num_steps=0)
    with pytest.raises(ValueError, match=r"target \[8, 16, 3\], the network draws \[16, 16, 3\]"):
        next(project(generator, np.zeros((8, 16, 3), np.uint8), Settings()))
