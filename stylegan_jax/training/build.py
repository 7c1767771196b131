"""From a config to networks, optimisers and hyperparameters; the only reader of model settings."""

import dataclasses
from typing import Any

import jax
from ml_collections import ConfigDict

from stylegan_jax.models import DISCRIMINATORS, GENERATORS, make_model
from stylegan_jax.training.optimizer import make_optimizer
from stylegan_jax.training.state import TrainState, init_state, init_stats
from stylegan_jax.training.step import Hyperparameters, Networks


@dataclasses.dataclass(frozen=True)
class ImageShape:
    """What the data says about the networks."""

    img_resolution: int
    img_channels: int
    c_dim: int


def make_generator(config: ConfigDict, shape: ImageShape):
    """Structure and initialiser of the config's generator; see `make_model`."""
    return _make_model(GENERATORS, config.G, shape)


def make_networks(config: ConfigDict, shape: ImageShape) -> tuple[Networks, Any]:
    """Builds what does not change during a run.

    Args:
        config: The run's config.
        shape: Sizes of images and labels.

    Returns:
        `(networks, init)`; `init(key)` is the state before the first image, a pure function.
    """
    G, init_G = make_generator(config, shape)
    D, init_D = _make_model(DISCRIMINATORS, config.D, shape)
    optimizers = {
        f"opt_{net}": make_optimizer(
            learning_rate=config.optimizer[f"{net}_lr"],
            betas=(config.optimizer.beta1, config.optimizer.beta2),
            eps=config.optimizer.eps,
            reg_interval=config.schedule[f"{net.lower()}_reg_interval"],
            absent_grads=config.optimizer.absent_grads,
        )
        for net in "GD"
    }
    networks = Networks(
        G=G,
        D=D,
        **optimizers,
        z_dim=config.G.z_dim,
        num_ws=num_ws(shape.img_resolution),
        img_resolution=shape.img_resolution,
    )

    def init(key: jax.Array) -> TrainState:
        key_G, key_D, key_noise = jax.random.split(key, 3)
        stats = init_stats(key_noise, w_dim=config.G.w_dim, img_resolution=shape.img_resolution)
        return init_state(init_G(key_G), init_D(key_D), *optimizers.values(), stats)

    return networks, init


def make_hyperparameters(config: ConfigDict) -> Hyperparameters:
    """Numbers of the losses and schedules."""
    schedule = config.schedule.to_dict()
    del schedule["total_kimg"]
    return Hyperparameters(**schedule, **config.loss.to_dict())


def _make_model(builders: dict[str, Any], settings: ConfigDict, shape: ImageShape):
    """Structure and initialiser of one network."""
    # A config that comes from a checkpoint's JSON has lists where the recipe had tuples.
    kwargs = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.to_dict().items()}
    return make_model(builders[kwargs.pop("name")], **kwargs, **dataclasses.asdict(shape))


def num_ws(img_resolution: int) -> int:
    """Styles of a StyleGAN2 synthesis network: one per convolution and one for the last ToRGB."""
    return 2 * (img_resolution.bit_length() - 1) - 2


def check_config(config: ConfigDict, num_devices: int, num_processes: int) -> None:
    """Refuses settings that cannot run, before anything is compiled.

    Args:
        config: The run's config.
        num_devices: Devices of all processes.
        num_processes: Hosts.

    Raises:
        ValueError: Names the keys, their values and what would do.
    """
    schedule = config.schedule
    batch, micro = schedule.batch_size, schedule.num_micro_batches
    group = config.D.mbstd_group_size
    if batch < 1 or batch % (micro * num_devices) or batch % num_processes:
        raise ValueError(
            f"schedule.batch_size={batch} cannot be split over {num_devices} devices x "
            f"schedule.num_micro_batches={micro}: give a multiple of {micro * num_devices}."
        )
    per_device = batch // (micro * num_devices)
    if config.D.mbstd_num_channels and group and per_device % min(group, per_device * num_devices):
        raise ValueError(
            f"D.mbstd_group_size={group} does not divide the {per_device} images per device and "
            f"micro-batch (schedule.batch_size={batch}, {num_devices} devices, {micro} "
            f"micro-batches): give a divisor of {per_device} or a larger batch."
        )
    shrink = config.loss.pl_batch_shrink
    if config.loss.pl_weight and per_device % shrink:
        raise ValueError(
            f"loss.pl_batch_shrink={shrink} does not divide the {per_device} images per device "
            f"and micro-batch: give a divisor (1: measure path lengths on every image)."
        )
    for name in ("tick_kimg", "sample_kimg", "checkpoint_kimg"):
        if config.io[name] <= 0:
            raise ValueError(f"io.{name}={config.io[name]}: give a positive number of kimg.")
    if schedule.total_kimg <= 0:
        raise ValueError(f"schedule.total_kimg={schedule.total_kimg}: give a positive number.")
    for net, names in (("G", GENERATORS), ("D", DISCRIMINATORS)):
        if config[net].name not in names:
            raise ValueError(f"{net}.name={config[net].name!r}: choose one of {sorted(names)}.")
