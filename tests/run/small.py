"""What tests of a run's pictures and scores share: a small data set, networks and a painter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from stylegan_jax.configs.common import shrink, stylegan2_defaults
from stylegan_jax.data.archives import Archive
from stylegan_jax.data.labels import class_labels
from stylegan_jax.data.sources import ImageSource
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import make_setup
from stylegan_jax.training.schedules import Level

SIDE = 8
LEVEL = Level(resolution=SIDE, lod=0, batch_size=16, G_lr=0.002, D_lr=0.002)


class NumberedArchive(Archive):
    """Image i is filled with i; even ones are of class 0, odd ones of class 1."""

    name = "numbered"

    def __init__(self, size, side):
        self.side = side
        self.names = [str(i) for i in range(size)]
        self.sizes = [side * side * 3] * size

    def read(self, index):
        return np.full((self.side, self.side, 3), index, np.uint8)

    def _read_labels(self):
        return class_labels(np.arange(len(self)) % 2, ("even", "odd"))


def numbered(size=10, side=SIDE):
    """The archive as a run reads it."""
    return ImageSource(NumberedArchive(size, side), labels=True)


def make_config():
    config = stylegan2_defaults()
    shrink(config)
    config.G.channel_max = config.D.channel_max = 8
    return config


@functools.cache
def make_state():
    """Networks of two classes, and a state of random numbers, without compiling anything."""
    setup, init = make_setup(make_config(), ImageShape(SIDE, SIDE, 3, 2))
    rng = np.random.default_rng(0)

    def fill(x):
        numbers = rng.normal(size=x.shape)
        return jnp.asarray(numbers if x.dtype == jnp.float32 else np.zeros(x.shape), x.dtype)

    return setup.networks, jax.tree.map(fill, jax.eval_shape(init, jax.random.key(0)))


def paint(z, c, noise):
    """What the painter makes of an image's inputs: colours of red, green and blue."""
    return jnp.stack([z[:, 0], c[:, 1], noise], axis=-1)


def make_painter(graphdef, mesh, *, out_sharding):
    """In place of a sampler: images of one colour, which shows what they are made of."""

    @functools.partial(jax.jit, static_argnames="resolution", out_shardings=out_sharding)
    def sample(G, stats, z, c, keys, fade, *, resolution):
        noise = jnp.zeros(len(z))
        if keys is not None:
            draw = functools.partial(jax.random.normal, shape=(len(z) // len(keys),))
            noise = jax.vmap(draw)(keys).reshape(-1)
        colours = paint(z, c, noise)[:, None, None]  # [n, 1, 1, 3]
        return jnp.broadcast_to(colours, (len(z), resolution, resolution, 3))

    return sample
