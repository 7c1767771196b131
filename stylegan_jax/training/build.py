"""From a config to networks, levels and hyperparameters; the only reader of model settings."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
from flax import nnx
from ml_collections import ConfigDict

from stylegan_jax.augment import ada, ada_draws, diffaugment
from stylegan_jax.augment.ada_control import Controller
from stylegan_jax.augment.ada_pipe import PIPES
from stylegan_jax.augment.diffaugment import POLICIES
from stylegan_jax.models import DISCRIMINATORS, GENERATORS, IN_FLOAT32, NetworkT, make_model
from stylegan_jax.models.blocks import BaseGenerator, Network, make_noise
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.sizes import RESOLUTIONS, ImageShape, Size
from stylegan_jax.training.objectives import init_stats
from stylegan_jax.training.optimizer import Optimizer, make_optimizer
from stylegan_jax.training.schedules import Level, find_span, make_levels, make_spans
from stylegan_jax.training.settings import SettingsError, check_settings, img_resolution
from stylegan_jax.training.setup import Augmentation, Hyperparameters, Networks, Setup
from stylegan_jax.training.state import Params, TrainState, init_state

# Arguments of a network that are no settings of a recipe.
_NOT_SETTINGS = {"self", "rngs", "formulation"}
# Arguments of a network that the data decides.
_FROM_DATA = ("img_resolution", "base_grid", "img_channels", "c_dim")


def make_generator(
    config: ConfigDict, shape: ImageShape, formulation: Formulation | None = None
) -> tuple[nnx.GraphDef[BaseGenerator], Callable[[jax.Array], dict[str, Any]]]:
    """Structure and initialiser of the config's generator; see `make_model`."""
    return _make_model(GENERATORS, config.G, "G", shape, formulation)


def make_float32_generator(config: ConfigDict, shape: ImageShape) -> nnx.GraphDef[BaseGenerator]:
    """Structure of the config's generator that computes in float32 alone, as some scores want."""
    settings = ConfigDict(config.G.to_dict() | IN_FLOAT32)
    return _make_model(GENERATORS, settings, "G", shape, None)[0]


def make_setup(
    config: ConfigDict, shape: ImageShape, formulation: Formulation | None = None
) -> tuple[Setup, Callable[[jax.Array], TrainState]]:
    """Builds what does not change during a run.

    Args:
        config: The run's config.
        shape: Sizes of images and labels.
        formulation: How the networks are computed; None: as suits the platform of this process.

    Returns:
        `(setup, init)`: the setup at the run's first level; `init(key)` is the state before the
        first image, a pure function.

    Raises:
        ValueError: A setting that the network does not have.
    """
    # Structures, and the networks as shapes alone, which know their own sizes.
    G, init_G = make_generator(config, shape, formulation)
    D, init_D = _make_model(DISCRIMINATORS, config.D, "D", shape, formulation)
    generator = nnx.merge(G, jax.eval_shape(init_G, jax.random.key(0)))
    discriminator = nnx.merge(D, jax.eval_shape(init_D, jax.random.key(0)))
    networks = Networks(
        G=G,
        D=D,
        opt_G=_make_optimizer(config, config.schedule.g_reg_interval),
        opt_D=_make_optimizer(config, config.schedule.d_reg_interval),
        z_dim=generator.z_dim,
        num_ws=generator.num_ws,
        noise_layers=generator.noise_layers,
        takes_transform=generator.takes_transform,
        base_grid=shape.base_grid,
        packings=tuple(
            (res, discriminator.packing_at(res)) for res in generator.synthesis.resolutions
        ),
    )

    augmentation = make_augmentation(config, formulation)
    controller = None if augmentation is None else augmentation.controller

    def init(key: jax.Array) -> TrainState:
        key_G, key_D, key_noise = jax.random.split(key, 3)
        # Moving values, and the noise that `noise_mode=const` shows, drawn once.
        stats = init_stats(
            w_dim=generator.w_dim,
            moving_G=generator.init_moving(),
            moving_D=discriminator.init_moving(),
            controller=controller,
        )
        noise = make_noise(key_noise, 1, generator.noise_layers, shape.img_resolution)
        stats["noise_const"] = noise
        return init_state(init_G(key_G), init_D(key_D), networks.opt_G, networks.opt_D, stats)

    first = make_config_levels(config)[0]
    frozen = frozen_layers(jax.eval_shape(init_D, jax.random.key(0)), config.optimizer.freeze_d)
    return Setup(networks, make_hyperparameters(config), first, augmentation, frozen), init


def frozen_layers(D: Params, count: int) -> tuple[tuple[str, str], ...]:
    """Lists the layers of D that Freeze-D keeps still, counted from the images on.

    In each block `fromrgb`, where it has one, `conv0`, `conv1`, and `skip` of residual networks;
    the block of the smallest feature maps, which decides, is never among them.

    Args:
        D: Parameters, or their shapes.
        count: How many layers.

    Raises:
        SettingsError: There are not so many.

    Source: Mo et al. 2020 (Freeze the Discriminator), section 3; counted as StyleGAN2-ADA does.
    """
    blocks = sorted((name for name in D if re.fullmatch(r"b\d+", name)), key=lambda b: -int(b[1:]))
    order = ("fromrgb", "conv0", "conv1", "skip")
    layers = [(block, layer) for block in blocks[:-1] for layer in order if layer in D[block]]
    if count > len(layers):
        raise SettingsError(
            f"optimizer.freeze_d={count}: this discriminator has {len(layers)} layers before its "
            "last block; give at most so many."
        )
    return tuple(layers[:count])


def make_augmentation(
    config: ConfigDict, formulation: Formulation | None = None
) -> Augmentation | None:
    """What happens to the images that D sees; None where nothing does.

    Args:
        config: The run's config.
        formulation: How images are moved; None: as suits the platform of this process.
    """
    augment = config.augment
    if augment.mode == "none":
        return None
    settings = augment.to_dict()
    # Networks that begin with weights of another run need less time (the paper's appendix).
    if settings["kimg"] is None:
        settings["kimg"] = 100.0 if config.get("init_from") else 500.0
    settings["total_kimg"] = config.schedule.total_kimg
    fields = {field.name for field in dataclasses.fields(Controller)}
    controller = Controller(**{name: value for name, value in settings.items() if name in fields})
    if augment.pipe in POLICIES:
        return _light_augmentation(POLICIES[augment.pipe])
    pipe = PIPES[augment.pipe]
    resampling = (formulation or platform_formulation()).resampling

    def draw(key: jax.Array, n: int, size: Size, channels: int) -> Any:
        return ada_draws.draw(key, n, pipe, size, channels)

    def apply(img: jax.Array, draws: Any, stats: dict[str, Any]) -> jax.Array:
        return ada.augment(img, draws, stats["augment"]["p"], pipe, resampling=resampling)

    return Augmentation(draw, apply, controller)


def _light_augmentation(policy: diffaugment.Policy) -> Augmentation:
    """DiffAugment, which has no strength: all of it happens to every image."""

    def draw(key: jax.Array, n: int, size: Size, channels: int) -> Any:
        return diffaugment.draw(key, n, policy, size, channels)

    def apply(img: jax.Array, draws: Any, stats: dict[str, Any]) -> jax.Array:
        del stats
        return diffaugment.augment(img, draws, policy)

    return Augmentation(draw, apply)


def _make_optimizer(config: ConfigDict, reg_interval: int | None) -> Optimizer:
    """Adam of one network, corrected for its lazy regularisation."""
    return make_optimizer(
        betas=(config.optimizer.beta1, config.optimizer.beta2),
        eps=config.optimizer.eps,
        reg_interval=reg_interval,
        absent_grads=config.optimizer.absent_grads,
    )


def make_hyperparameters(config: ConfigDict) -> Hyperparameters:
    """Reads the numbers of the losses and averages."""
    settings = config.loss.to_dict() | config.schedule.to_dict()
    if config.get("init_from"):
        # The ramp-up forgets the first weights, which here are not random; D knows what it sees.
        settings["ema_rampup"] = None
        settings["blur_init_sigma"] = 0.0
    fields = {field.name for field in dataclasses.fields(Hyperparameters)}
    return Hyperparameters(**{name: value for name, value in settings.items() if name in fields})


def make_config_levels(config: ConfigDict) -> tuple[Level, ...]:
    """The levels of the config's growth; a single one where the networks do not grow.

    Raises:
        ValueError: A resolution, batch or rate that does not fit; see `make_levels`.
    """
    growth = config.growth
    # Batches and rates by resolution, `b64` in a config standing for 64.
    overrides = {}
    for name in ("batch_sizes", "learning_rates"):
        # Recipes name more resolutions than a small run has.
        known = {f"b{res}": res for res in RESOLUTIONS}
        overrides[name] = {known[block]: value for block, value in growth[name].items()}
    return make_levels(
        img_resolution(config),
        init_resolution=growth.init_resolution,
        training_nimg=round(growth.training_kimg * 1000),
        transition_nimg=round(growth.transition_kimg * 1000),
        batch_size=config.schedule.batch_size,
        G_lr=config.optimizer.G_lr,
        D_lr=config.optimizer.D_lr,
        **overrides,
    )


def level_at(config: ConfigDict, nimg: int) -> Level:
    """Where a run's networks stand after `nimg` images."""
    levels = make_config_levels(config)
    return find_span(make_spans(levels, round(config.schedule.total_kimg * 1000)), nimg).level


def _make_model(
    builders: dict[str, type[NetworkT]],
    settings: ConfigDict,
    net: str,
    shape: ImageShape,
    formulation: Formulation | None,
) -> tuple[nnx.GraphDef[NetworkT], Callable[[jax.Array], dict[str, Any]]]:
    """Structure and initialiser of one network."""
    name, kwargs = _read_network(builders, settings, net, shape)
    return make_model(builders[name], **kwargs, formulation=formulation)


def network_arguments(
    config: ConfigDict, shape: ImageShape, net: Literal["G", "D"]
) -> tuple[str, dict[str, Any]]:
    """What the config's generator or discriminator is made with.

    Returns:
        `(name, kwargs)`: the key of `GENERATORS` or `DISCRIMINATORS`, and the arguments of its
        constructor, without `rngs` and `formulation`.

    Raises:
        ValueError: A setting that the network does not have.
    """
    builders = DISCRIMINATORS if net == "D" else GENERATORS
    return _read_network(builders, config[net], net, shape)


def _read_network(
    builders: Mapping[str, type[Network]], settings: ConfigDict, net: str, shape: ImageShape
) -> tuple[str, dict[str, Any]]:
    """Reads name and arguments of a network."""
    # A config that comes from a checkpoint's JSON has lists where the recipe had tuples.
    kwargs: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in settings.to_dict().items()
    }

    # The network's own signature says what a recipe may set.
    name = kwargs.pop("name")
    known = set(inspect.signature(builders[name].__init__).parameters) - _NOT_SETTINGS
    if unknown := sorted(set(kwargs) - known):
        raise ValueError(
            f"{net}.name={name!r} has no setting {', '.join(unknown)}: take a recipe of that "
            f"network. It knows {', '.join(sorted(known - set(_FROM_DATA)))}."
        )
    return name, kwargs | {name: getattr(shape, name) for name in _FROM_DATA}


def check_config(config: ConfigDict, num_devices: int) -> None:
    """Refuses settings that cannot run, before anything is compiled.

    Args:
        config: The run's config.
        num_devices: Devices of all processes.

    Raises:
        SettingsError: Names the keys, their values and what would do.
        ValueError: Levels of growth that do not fit the run.
    """
    check_settings(config)
    sharing = config.mesh.fsdp * config.mesh.spatial
    if num_devices % sharing:
        raise SettingsError(
            f"mesh.fsdp={config.mesh.fsdp} times mesh.spatial={config.mesh.spatial} does not "
            f"divide {num_devices} devices: give factors of that number."
        )
    # Batches, and the length of the run.
    levels = make_config_levels(config)
    for level in levels:
        _check_batch(config, level, num_devices // config.mesh.spatial)
    make_spans(levels, round(config.schedule.total_kimg * 1000))


def check_grows(setup: Setup, init: Any, levels: Sequence[Level]) -> None:
    """Refuses networks without a way to colours below full size, where a run begins there.

    Raises:
        ValueError: Names the networks and what would do.
    """
    state = jax.eval_shape(init, jax.random.key(0))
    G = nnx.merge(setup.networks.G, state.G).synthesis
    D = nnx.merge(setup.networks.D, state.D)
    fixed = [name for name, network in (("G", G), ("D", D)) if not network.grows]
    if len(levels) > 1 and fixed:
        raise ValueError(
            f"growth.init_resolution={levels[0].resolution}, but {' and '.join(fixed)} cannot "
            "work below full size: give it `grows=True` or architecture='progressive', or set "
            "growth.init_resolution=None."
        )


def _check_batch(config: ConfigDict, level: Level, num_devices: int) -> None:
    """Refuses a level's batch that devices, micro-batches or groups cannot share.

    Devices that share the rows of an image count as one.
    """
    batch, micro = level.batch_size, config.schedule.num_micro_batches
    key = "schedule.batch_size"
    if f"b{level.resolution}" in config.growth.batch_sizes:
        key = f"growth.batch_sizes.b{level.resolution}"
    if batch < 1 or batch % (micro * num_devices):
        raise SettingsError(
            f"{key}={batch} cannot be split over {num_devices} devices x "
            f"schedule.num_micro_batches={micro}: give a multiple of {micro * num_devices}."
        )
    # Groups of the minibatch stddev never cross a device.
    per_device = batch // (micro * num_devices)
    group = config.D.mbstd_group_size
    if config.D.mbstd_num_channels and group and per_device % min(group, per_device * num_devices):
        raise SettingsError(
            f"D.mbstd_group_size={group} does not divide the {per_device} images per device and "
            f"micro-batch ({key}={batch}, {num_devices} devices, {micro} micro-batches): give a "
            f"divisor of {per_device} or a larger batch."
        )
    shrink = config.loss.pl_batch_shrink
    if config.loss.pl_weight and per_device % shrink:
        raise SettingsError(
            f"loss.pl_batch_shrink={shrink} does not divide the {per_device} images per device "
            f"and micro-batch ({key}={batch}): give a divisor (1: measure path lengths on every "
            "image)."
        )
