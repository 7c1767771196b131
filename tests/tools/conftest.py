"""One tiny checkpoint for all tests of tools, with noise strengths that show or without noise."""

import jax
import pytest

from configs import ffhq
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.restore import restore_subtree
from stylegan_jax.tools.generator import Generator
from stylegan_jax.train import train


@pytest.fixture(scope="session")
def make_generator(tmp_path_factory):
    """Loads the shrunken run with a given noise strength; None: trained without noise inputs."""
    config = ffhq.get_config("smoke").unlock()
    config.data.data_dir = str(tmp_path_factory.mktemp("data"))
    config.schedule.total_kimg = 0.016
    config.metrics.swd_kimg = 0.0
    # Programs are compared with layers called one by one, which round bfloat16 more often.
    config.G.num_bf16_res = config.D.num_bf16_res = 0
    folder = tmp_path_factory.mktemp("run")
    train(config.lock(), str(folder))
    trees, meta = restore_subtree(str(folder), ["G_ema", "stats"])

    def make(noise_strength):
        def edit(tree):
            if not isinstance(tree, dict):
                return tree
            kept = {k: v for k, v in tree.items() if k != "noise_strength"}
            edited = {name: edit(branch) for name, branch in kept.items()}
            if "noise_strength" in tree and noise_strength is not None:
                edited["noise_strength"] = jax.numpy.float32(noise_strength)
            return edited

        workdir = tmp_path_factory.mktemp("edited")
        use_noise = noise_strength is not None
        config = meta["config"] | {"G": meta["config"]["G"] | {"use_noise": use_noise}}
        with CheckpointStore(workdir) as store:
            state = {"G_ema": edit(trees["G_ema"]), "stats": trees["stats"]}
            store.save(state, 16, {"config": config, "data": meta["data"]})
        return workdir, Generator(str(workdir))

    return make


@pytest.fixture(scope="session")
def noisy(make_generator):
    """A workdir and its generator, whose noise is as strong as its features."""
    return make_generator(0.5)


@pytest.fixture
def workdir(noisy):
    return noisy[0]


@pytest.fixture
def generator(noisy):
    return noisy[1]
