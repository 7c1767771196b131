"""A first StyleGAN2 on the images that pip brings: country flags at 32 px, on a laptop's CPU.

    python -m stylegan_jax.main --config=configs/quickstart.py --workdir=runs/quickstart

About ten minutes on 2 CPU cores. Ends with `samples/fakes_*.png`, a grid of invented flags, and
with the sliced Wasserstein distance in `metrics.jsonl`. Arguments, joined with commas:

    fast                about one minute: a first glimpse, frames and colours at best
    labels              class-conditional on all 2,460 drawings, one class per row of the grid
    smoke               a few iterations of tiny networks, for tests
"""

from ml_collections import ConfigDict

from configs.common import parse_arg, shrink, stylegan2_defaults


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(arg, fast=False, labels=False, smoke=False)
    config = stylegan2_defaults()
    # Two devices keep two cores busy in every operation: 1.5 times the speed of one device.
    config.cpu_devices = 2

    config.data.dataset = "openmoji/all" if args.labels else "openmoji/flags"
    config.data.resolution = 32
    config.data.labels = args.labels

    for net in (config.G, config.D):
        net.channel_base, net.channel_max = 512, 64
        net.mapping_layers = 2  # as StyleGAN2-ADA's preset for small images
    config.G.z_dim = config.G.w_dim = 128
    config.G.use_noise = False  # flat drawings have no grain; with noise, trials had speckles

    # 259 images are learned by heart within minutes: a strong penalty and a slower D hold it back.
    # In trials of 8 kimg SWD stood at 167 with gamma 0.02 and equal rates, and at 130 to 133 with
    # gamma 5 and a G that learns two to three times as fast as D.
    config.loss.r1_gamma = 5.0
    config.optimizer.G_lr, config.optimizer.D_lr = 0.008, 0.003
    # Path length and mixing order the latent space over millions of images, not in minutes.
    config.loss.pl_weight = 0.0
    config.loss.style_mixing_prob = 0.0

    config.schedule.total_kimg = 3.0 if args.fast else 90.0
    config.schedule.batch_size = 16  # steps count more than images here
    config.schedule.ema_kimg = 2.0
    config.schedule.ema_rampup = 0.1

    config.metrics.swd_kimg = 3.0 if args.fast else 15.0
    config.metrics.swd_num_images = 256 if args.fast else 512
    config.io.tick_kimg = 0.5 if args.fast else 1.0
    config.io.sample_kimg = 1.0 if args.fast else 5.0
    config.io.checkpoint_kimg = 1.0 if args.fast else 5.0
    config.io.grid_cols, config.io.grid_rows = 16, 9 if args.labels else 8  # a row per class
    if args.smoke:
        shrink(config)
    return config.lock()
