"""What goes into a step: everything random in it, drawn from one key, and the real images."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from stylegan_jax.models.blocks import Noise, make_noise
from stylegan_jax.ops.packing import depth_to_space, space_to_depth
from stylegan_jax.ops.pyramid import average_pixels, fade_to, repeat_pixels
from stylegan_jax.training.setup import Phase, Setup
from stylegan_jax.training.sharding import split_over_data

# Real images `image` [n, h, w, c], uint8 or uint16, as large as the level's and packed as
# `Setup.packing` says, and their labels `label` [n, c_dim].
Batch = dict[str, Array]
# What all steps read and none changes: `labels` of the training images, frozen networks.
Constants = dict[str, Any]


class Latents(NamedTuple):
    """What n fakes are made of.

    Attributes:
        z: Latents [n, z_dim].
        c: Labels [n, c_dim].
        noise: Unit normal noise of the layers.
        z_mix: Latents that styles are mixed with [n, z_dim]; None: nothing is mixed.
        cutoff: First layer of the second style [n].
    """

    z: Float[Array, "n z"]
    c: Float[Array, "n c"]
    noise: Noise | None
    z_mix: Float[Array, "n z"] | None = None
    cutoff: Int[Array, " n"] | None = None


class Reals(NamedTuple):
    """Real images in [-1, 1], packed as D holds them, and their labels [n, c_dim]."""

    img: Float[Array, "n h w cf"]
    c: Float[Array, "n c"]


class Inputs(NamedTuple):
    """What one step reads besides the state; None where it has no need of it.

    Attributes:
        gen: Of the fakes that D judges.
        real: The reals that D judges.
        pl: Of the fakes whose path lengths are measured, a part of the batch.
        directions: Unit normal images [m, h, w, c], not packed: y of the path lengths.
        mix: Where between real and fake the gradient penalty is taken, in [0, 1), [n, 1, 1, 1].
        draws_fake: Of the augmentation of fakes.
        draws_real: Of the augmentation of reals.
    """

    gen: Latents | None = None
    real: Reals | None = None
    pl: Latents | None = None
    directions: Float[Array, "m h w c"] | None = None
    mix: Float[Array, "n 1 1 1"] | None = None
    draws_fake: Any = None
    draws_real: Any = None


def draw_inputs(
    key: Array,
    phase: Phase,
    batch: Batch,
    constants: Constants,
    setup: Setup,
    *,
    fade: Float[Array, ""] | None = None,
    mesh: Mesh | None = None,
) -> Inputs:
    """Draws everything random in a step from one key, and makes the reals from the batch.

    Args:
        key: Key of this iteration and step.
        phase: What the inputs are for.
        batch: Real images and their labels.
        constants: `labels` [m] (classes) or [m, c_dim] of the training images; without them, fakes
            get labels of the batch.
        setup: Sizes and numbers.
        fade: Share of their own averages in the real images; None: they are used as they are.
        mesh: Keeps the draws split over its devices.

    Returns:
        As much as the phase needs.
    """
    hyper = setup.hyper
    n = batch["image"].shape[0]

    # A key for everything, drawn or not: what a phase leaves out changes nothing else.
    key_gen, key_pl, key_directions, key_mix = jax.random.split(key, 4)
    key_fake, key_real = (jax.random.fold_in(key, role) for role in range(2))
    found: dict[str, Any] = {}

    # Fakes that D judges: in both networks' main steps, and where a penalty is taken at them.
    judges_fakes = phase.main or (phase.net == "D" and (hyper.r2_gamma or hyper.gp_weight))
    if judges_fakes:
        found["gen"] = _draw_latents(key_gen, n, batch, constants, setup)
        found["draws_fake"] = _draw_augmentation(key_fake, batch, setup)

    # Path lengths are measured on fakes of their own, fewer than a batch.
    if phase.net == "G" and phase.reg:
        m = n // hyper.pl_batch_shrink
        found["pl"] = _draw_latents(key_pl, m, batch, constants, setup)
        shape = (m, *setup.size, _img_channels(batch, setup))
        found["directions"] = jax.random.normal(key_directions, shape)

    # Reals, and the points between them and the fakes (WGAN-GP).
    if phase.net == "D":
        found["real"] = Reals(_read_images(batch["image"], fade, setup), batch["label"])
        found["draws_real"] = _draw_augmentation(key_real, batch, setup)
        if phase.reg and hyper.gp_weight:
            found["mix"] = jax.random.uniform(key_mix, (n, 1, 1, 1))
    return split_over_data(mesh, Inputs(**found))


def _draw_latents(key: Array, n: int, batch: Batch, constants: Constants, setup: Setup) -> Latents:
    """Latents, labels and noise of n fakes, and the latents that their styles are mixed with."""
    networks = setup.networks
    key, key_c = jax.random.split(key)
    key_z, key_mix, key_cutoff, key_noise = jax.random.split(key, 4)

    # Mixing regularisation (Karras et al. 2019, section 3.1).
    z_mix = cutoff = None
    if setup.hyper.style_mixing_prob > 0:
        z_mix = jax.random.normal(key_mix, (n, networks.z_dim))
        # One cutoff per micro-batch, as in the originals: image i is in micro-batch i mod m.
        cutoffs = _draw_cutoffs(key_cutoff, setup)  # [m]
        cutoff = jnp.repeat(cutoffs[None], n // len(cutoffs), 0).reshape(n)
    return Latents(
        z=jax.random.normal(key_z, (n, networks.z_dim)),
        c=_draw_labels(key_c, n, batch, constants),
        noise=make_noise(key_noise, n, networks.noise_layers, setup.level.resolution),
        z_mix=z_mix,
        cutoff=cutoff,
    )


def _draw_labels(key: Array, n: int, batch: Batch, constants: Constants) -> Float[Array, "n c"]:
    """Labels of fakes: each that of a uniformly drawn training image, or image of the batch."""
    known = constants.get("labels", batch["label"])
    c = known[jax.random.randint(key, (n,), 0, known.shape[0])]
    if jnp.issubdtype(known.dtype, jnp.integer):  # classes
        return jax.nn.one_hot(c, batch["label"].shape[1])
    return c


def _draw_cutoffs(key: Array, setup: Setup) -> Int[Array, " m"]:
    """First layer of the second style, one per micro-batch; after the last: nothing is mixed."""
    # With the probability of mixing, uniform among the layers that have grown.
    shape = (setup.hyper.num_micro_batches,)
    key_mix, key_cutoff = jax.random.split(key)
    num_ws = setup.networks.num_ws - 2 * setup.level.lod  # those that have grown
    cutoff = jax.random.randint(key_cutoff, shape, 1, num_ws)
    is_mixed = jax.random.uniform(key_mix, shape) < setup.hyper.style_mixing_prob
    return jnp.where(is_mixed, cutoff, num_ws)


def _draw_augmentation(key: Array, batch: Batch, setup: Setup) -> Any:
    """What is random in the augmentation of as many images as the batch; None: there is none."""
    if setup.augmentation is None:
        return None
    n = batch["image"].shape[0]
    return setup.augmentation.draw(key, n, setup.size, _img_channels(batch, setup))


def _read_images(
    image: Array, fade: Float[Array, ""] | None, setup: Setup
) -> Float[Array, "n h w cf"]:
    """Pixels in [-1, 1], as far as the networks have grown (Karras et al. 2018, figure 2)."""
    # 0 ... 255 or 65535 becomes -1 ... 1.
    img = image / (jnp.iinfo(image.dtype).max / 2) - 1.0
    if fade is None:
        return img
    # What G cannot draw yet must not give the reals away.
    img = depth_to_space(img, setup.packing)
    img = fade_to(img, repeat_pixels(average_pixels(img, 2), 2), fade)
    return space_to_depth(img, setup.packing)


def _img_channels(batch: Batch, setup: Setup) -> int:
    """Colours of the images, which a packed batch has several pixels' of side by side."""
    py, px = setup.packing
    return batch["image"].shape[3] // (py * px)


def split_micro_batches(inputs: Any, num_micro_batches: int) -> Any:
    """Deals images out, `[n, ...] -> [m, n / m, ...]`: image i goes to micro-batch i mod m.

    Every device keeps its own images, so no data moves.
    """

    def split(x: Array) -> Array:
        per_micro = x.shape[0] // num_micro_batches
        return jnp.swapaxes(x.reshape(per_micro, num_micro_batches, *x.shape[1:]), 0, 1)

    return jax.tree.map(split, inputs)
