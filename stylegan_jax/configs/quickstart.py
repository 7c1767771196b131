"""A first StyleGAN on the images that pip brings: portraits at 32 px, on a laptop's CPU.

    python -m stylegan_jax.main --config=configs/quickstart.py --workdir=runs/quickstart

About ten minutes on 2 CPU cores. Ends with `samples/fakes_*.png`, a page of people who do not
exist, and with two scores in `metrics.jsonl`: the sliced Wasserstein distance, and whether samples
are copies of what was shown. One combination of role, gender and skin tone in ten is never shown.
Arguments, joined with commas:

    model=stylegan1     or progan: grown from 4 to 32 px, with `growth.png`, one row of samples per
                        resolution; or stylegan3; default stylegan2
    fast                a first glimpse, heads in shades of skin and cloth: about one minute, a
                        growing model three
    data=flags          country flags instead, or all 2,460 drawings with data=all
    labels=role         class-conditional portraits, a row of the grid per class; or tone, gender,
                        attributes. Bare: all drawings, in nine classes
    res=64              portraits at 64 px, with clean lines: about twenty minutes, growing models
                        longer
    shape=48x32         images of another height and width, here passport photos; the shorter side
                        has 32 to 127 px
    smoke               a few iterations of tiny networks, for tests
"""

from ml_collections import ConfigDict

from stylegan_jax.configs.common import (
    parse_arg,
    progan_defaults,
    shrink,
    stylegan1_defaults,
    stylegan2_defaults,
    stylegan3_defaults,
)


def _stylegan2(fast: bool) -> ConfigDict:
    """Losses, rates and length for StyleGAN2."""
    config = stylegan2_defaults()
    for net in (config.G, config.D):
        net.mapping_layers = 2  # as StyleGAN2-ADA's preset for small images
    config.G.w_dim = 128
    config.G.use_noise = False  # flat drawings have no grain; with noise, trials had speckles

    # A few hundred images are learned by heart within minutes: a strong penalty and a slower D hold
    # it back. docs/quickstart.md has the trials.
    config.loss.r1_gamma = 5.0
    config.optimizer.G_lr, config.optimizer.D_lr = 0.008, 0.003
    # Path length and mixing order the latent space over millions of images, not in minutes.
    config.loss.pl_weight = 0.0
    config.loss.style_mixing_prob = 0.0

    config.schedule.total_kimg = 3.0 if fast else 100.0
    # Steps count, not images: batches of 4 came to an SWD of 15.4 where batches of 16 came to 18.6.
    config.schedule.batch_size = 4
    return config


def _stylegan3(fast: bool) -> ConfigDict:
    """Losses, rates and length for StyleGAN3, config T."""
    config = stylegan3_defaults("t", 32)
    # Less than half the layers, and a margin of a few pixels: most of a step goes into the canvas,
    # at twice its rate.
    config.G.num_layers, config.G.margin_size = 6, 4
    config.G.w_dim = 128
    for net in (config.G, config.D):
        net.mapping_layers = 2
        net.num_bf16_res, net.conv_clamp = 0, None
    config.augment.mode = "none"
    config.loss.r1_gamma = 5.0
    config.optimizer.G_lr, config.optimizer.D_lr = 0.006, 0.003
    config.schedule.total_kimg = 2.0 if fast else 30.0
    config.schedule.batch_size = 4
    config.schedule.magnitude_ema_kimg = 1.0
    return config


def _grow(config: ConfigDict, *, fast: bool, batch_size: int) -> None:
    """Four resolutions from 4 to 32 px, each faded in and trained for as many images."""
    config.growth.init_resolution = 4
    config.growth.training_kimg = config.growth.transition_kimg = 1.0 if fast else 6.0
    config.growth.batch_sizes, config.growth.learning_rates = ConfigDict(), ConfigDict()
    config.schedule.total_kimg = 8.0 if fast else 80.0
    config.schedule.batch_size = batch_size


def _stylegan1(fast: bool) -> ConfigDict:
    """Losses, rates and length for StyleGAN 1."""
    config = stylegan1_defaults()
    config.G.w_dim = 128
    config.G.mapping_layers = 2
    config.G.use_noise = False
    config.loss.style_mixing_prob = 0.0
    config.loss.r1_gamma = 5.0
    config.schedule.d_reg_interval = 8  # StyleGAN2's lazy R1 halves the time of an iteration
    config.optimizer.G_lr, config.optimizer.D_lr = 0.006, 0.003
    _grow(config, fast=fast, batch_size=4)
    return config


def _progan(fast: bool) -> ConfigDict:
    """Losses, rates and length for ProGAN."""
    config = progan_defaults()
    config.optimizer.G_lr = config.optimizer.D_lr = 0.002
    config.schedule.ema_decay = None
    _grow(config, fast=fast, batch_size=8)
    return config


_DATA = {
    "portraits": "openmoji/portraits/seen",
    "flags": "openmoji/flags",
    "all": "openmoji/all",
}
# Labels, and rows of the sample grid: one per class.
_LABELS = {
    "none": (False, 8),
    "": (True, 9),
    "role": ("role", 37),
    "tone": ("tone", 6),
    "gender": ("gender", 6),
    "attributes": ("attributes", 8),
}
# Sides of squares, and resolutions of the last block of other shapes.
_RESOLUTIONS = (32, 64)
_MODELS = {
    "progan": _progan,
    "stylegan1": _stylegan1,
    "stylegan2": _stylegan2,
    "stylegan3": _stylegan3,
}


def _read_shape(shape: str) -> tuple[int, int]:
    """Height and width of `48x32`."""
    sides = shape.split("x")
    if len(sides) != 2 or not all(side.isdecimal() for side in sides):
        raise ValueError(f"shape={shape!r}: give height x width, such as 48x32.")
    height, width = map(int, sides)
    return height, width


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(
        arg,
        model="stylegan2",
        data="portraits",
        labels="none",
        res=32,
        shape="",
        fast=False,
        smoke=False,
    )
    choices = dict(model=_MODELS, data=_DATA, labels=_LABELS, res=_RESOLUTIONS)
    for name, known in choices.items():
        if args[name] not in known:
            words = ", ".join(str(word) for word in known if word != "")
            raise ValueError(f"{name}={args[name]!r}: choose one of {words}.")
    height, width = _read_shape(args.shape) if args.shape else (args.res, args.res)
    # The last block goes by the power of two that the shorter side holds.
    resolution = 1 << (min(height, width).bit_length() - 1)
    if resolution not in _RESOLUTIONS:
        raise ValueError(f"shape={args.shape}: give a shorter side of 32 to 127 px.")
    config = _MODELS[args.model](args.fast)
    # So few images are not worth dividing: one device, whose operations use the cores there are.
    config.cpu_devices = 1
    # Bare `labels` means the classes that all drawings have, a name those of the portraits.
    labels, rows = _LABELS[args.labels]
    config.data.dataset = _DATA["all" if labels is True else args.data]
    config.data.resolution = args.shape or args.res
    config.data.labels = labels

    for net in (config.G, config.D):
        net.channel_base = 16 * resolution
        net.channel_max = 64
    # R1 grows with the pixels: twice as strong where there are four times as many.
    config.loss.r1_gamma *= (height * width) ** 0.5 / 32
    if resolution == 64 and not (args.fast or config.growth.init_resolution):
        config.schedule.total_kimg = 45.0
    if resolution == 64 and args.fast and config.growth.init_resolution:
        # One more resolution: its fade and its training.
        config.schedule.total_kimg += 2 * config.growth.training_kimg
    config.G.z_dim = 128
    config.schedule.ema_kimg = 2.0
    config.schedule.ema_rampup = 0.1

    config.metrics.kimg = 3.0 if args.fast else 15.0
    config.metrics.names = "swd256" if args.fast else "swd512"
    config.io.tick_kimg = 0.5 if args.fast else 1.0
    config.io.sample_kimg = 1.0 if args.fast else 5.0
    config.io.checkpoint_kimg = 1.0 if args.fast else 5.0
    config.io.grid_cols = 16
    config.io.grid_rows = rows

    # How new the samples are, beside the portraits that are left out.
    if config.data.dataset == _DATA["portraits"]:
        config.metrics.names += ",memory256"
        config.metrics.memory_unseen = "openmoji/portraits/unseen"
    if args.smoke:
        shrink(config)
    return config.lock()
