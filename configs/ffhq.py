"""StyleGAN2 on FFHQ at 1024 px, configs E and F.

    python -m stylegan_jax.main --config=configs/ffhq.py --workdir=runs/ffhq \\
        --config.data.dataset=/data/ffhq-1024

`/data/ffhq-1024` is a folder with the 70,000 PNG files. Arguments, joined with commas:

    config=E            the smaller networks; default F
    G=orig D=skip ...   an architecture pair of table 2: orig, skip or resnet each (config E there)
    smoke               the same recipe shrunken: tiny networks, built-in flags, seconds on a CPU

Hardware in the paper: 8 V100, 9 days for F. Expected FID50k after 25,000 kimg: F 2.84, E 3.31;
table 2 (rows G, columns D orig / skip / resnet): orig 4.32 4.18 3.58, skip 4.33 3.77 3.31,
resnet 4.35 3.96 3.79. Source: Karras et al. 2020 (StyleGAN2), tables 1 and 2, appendix B.
"""

from ml_collections import ConfigDict

from configs.common import parse_arg, shrink, stylegan2_defaults


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(arg, config="F", G="skip", D="resnet", smoke=False)
    if args.config not in ("E", "F"):
        raise ValueError(f"config={args.config!r}: choose E or F.")
    is_large = args.config == "F"
    config = stylegan2_defaults()

    config.data.dataset = "data/ffhq-1024"
    config.data.resolution = 1024
    config.data.mirror = True  # faces are symmetric; the official runs mirror FFHQ

    # Feature maps: config F doubles those of config E (fmap_base 16384 and 8192 there).
    config.G.channel_base = config.D.channel_base = 32768 if is_large else 16384
    config.G.architecture, config.D.architecture = args.G, args.D

    config.loss.r1_gamma = 10.0 if is_large else 100.0  # appendix B
    config.optimizer.G_lr = config.optimizer.D_lr = 0.002
    config.schedule.total_kimg = 25000.0
    config.schedule.batch_size = 32

    config.metrics.swd_kimg = 1000.0
    config.io.tick_kimg = 4.0  # the official tick at 1024 px
    if args.smoke:
        shrink(config)
    return config.lock()
