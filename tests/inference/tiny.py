"""Fixtures of one tiny checkpoint: noise strengths that show, or no noise inputs."""

import functools

import jax
import pytest
from flax import nnx

from stylegan_jax.configs import ffhq
from stylegan_jax.inference import Generator
from stylegan_jax.models.fourier_input import FourierInput
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import make_setup


def make_waves(shape):
    """The parameters of Fourier features in place of a constant `[h, w, c]`."""
    size, rate = shape[:2], float(min(shape[:2]))
    sizes = dict(size=size, sampling_rate=rate, bandwidth=rate / 2)
    waves = FourierInput(16, shape[2], **sizes, rngs=nnx.Rngs(0))
    return nnx.to_pure_dict(nnx.state(waves, nnx.Param))


@pytest.fixture(scope="session")
def make_generator(tmp_path_factory):
    """Loads a shrunken network: noise strength (None: no noise inputs), names of classes, input."""
    config = ffhq.get_config("smoke").unlock()
    # Programs are compared with layers called one by one, which round bfloat16 more often.
    config.G.num_bf16_res = config.D.num_bf16_res = 0

    @functools.cache
    def init_state(c_dim):
        _, init = make_setup(config, ImageShape(16, 16, 3, c_dim))
        return jax.jit(init)(jax.random.key(0))

    def make(noise_strength, class_names=(), input="const"):
        state = init_state(len(class_names))
        # As training moves it: away from zero.
        w_avg = 0.1 * jax.random.normal(jax.random.key(1), state.stats["w_avg"].shape)
        data = {"height": 16, "width": 16, "img_channels": 3}
        data |= {"c_dim": len(class_names), "class_names": list(class_names)}

        def edit(tree):
            if not isinstance(tree, dict):
                return tree
            kept = {k: v for k, v in tree.items() if k != "noise_strength"}
            edited = {name: edit(branch) for name, branch in kept.items()}
            if "noise_strength" in tree and noise_strength is not None:
                edited["noise_strength"] = jax.numpy.float32(noise_strength)
            if "const" in tree and input == "fourier":
                edited["input"] = make_waves(edited.pop("const").shape)
            return edited

        workdir = tmp_path_factory.mktemp("edited")
        use_noise = noise_strength is not None
        changed = {"use_noise": use_noise, "input": input}
        made_with = config.to_dict() | {"G": config.G.to_dict() | changed}
        with CheckpointStore(workdir) as store:
            stats = state.stats | {"w_avg": w_avg}
            saved = {"G_ema": edit(state.G_ema), "stats": stats}
            store.save(saved, 16, {"config": made_with, "data": data})
        return workdir, Generator(str(workdir))

    return make


@pytest.fixture(scope="session")
def noisy(make_generator):
    """A workdir and its generator, whose noise is as strong as its features."""
    return make_generator(0.5)


@pytest.fixture(scope="session")
def movable(make_generator):
    """The same with Fourier features as input: its images can be moved."""
    return make_generator(0.5, input="fourier")


@pytest.fixture
def workdir(noisy):
    return noisy[0]


@pytest.fixture
def generator(noisy):
    return noisy[1]
