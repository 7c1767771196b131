"""StyleGAN2 on FFHQ at 1024 px, configs A to F.

    python -m stylegan_jax.tools.dataset prepare --name=ffhq --resolution=1024 --source=FOLDER
    python -m stylegan_jax.main --config=configs/ffhq.py --workdir=runs/ffhq

FOLDER holds images1024x1024, as published. Arguments, joined with commas:

    config=E            a row of table 1; default F, the large networks. A is StyleGAN 1 in this
                        schedule, B has demodulation, C lazy regularisation, D path length; A to D
                        grow from 8x8
    G=orig,D=skip ...   an architecture pair of table 2: orig, skip or resnet each (config E there)
    smoke               the same recipe shrunken: tiny networks, built-in flags, seconds on a CPU

Hardware in the paper: 8 V100, 9 days for F. Expected FID50k after 25,000 kimg: A 4.40, B 4.39,
C 4.38, D 4.34, E 3.31, F 2.84; table 2 (rows G, columns D orig / skip / resnet):
orig 4.32 4.18 3.58, skip 4.33 3.77 3.31, resnet 4.35 3.96 3.79.
Source: Karras et al. 2020 (StyleGAN2), tables 1 and 2, appendix B.
"""

from ml_collections import ConfigDict

from stylegan_jax.configs.common import (
    parse_arg,
    progressive_schedule,
    shrink,
    stylegan1_defaults,
    stylegan2_defaults,
)


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(arg, config="F", G="skip", D="resnet", smoke=False)
    if args.config not in tuple("ABCDEF"):
        raise ValueError(f"config={args.config!r}: choose one of A, B, C, D, E, F.")
    grows = args.config in "ABCD"
    if grows and (args.G, args.D) != ("skip", "resnet"):
        raise ValueError(
            f"config={args.config} has networks of its own: give G={args.G},D={args.D} with "
            "config=E or F."
        )
    config = stylegan1_defaults() if args.config == "A" else stylegan2_defaults()

    config.data.dataset = "ffhq"
    config.data.resolution = 1024
    config.data.mirror = True  # faces are symmetric; the official runs mirror FFHQ

    # Feature maps: config F doubles those of the others (fmap_base 16384 and 8192 there).
    config.G.channel_base = config.D.channel_base = 32768 if args.config == "F" else 16384
    if args.config != "A":
        config.G.architecture = "progressive" if grows else args.G
        config.D.architecture = "progressive" if grows else args.D

    # The four highest resolutions compute in bfloat16, as those of StyleGAN2-ADA do in float16.
    config.G.num_bf16_res = config.D.num_bf16_res = 4

    config.loss.r1_gamma = 100.0 if args.config == "E" else 10.0  # appendix B
    if args.config in "ABC":
        config.loss.pl_weight = 0.0
    config.optimizer.G_lr = config.optimizer.D_lr = 0.002
    config.schedule.total_kimg = 25000.0
    config.schedule.batch_size = 32
    config.schedule.net_order = "GD"
    if args.config in "AB":
        config.schedule.g_reg_interval = config.schedule.d_reg_interval = None
    if grows:
        progressive_schedule(config)
        config.growth.init_resolution = 8

    config.metrics.kimg = 1000.0
    config.io.tick_kimg = 4.0  # the official tick at 1024 px
    if args.smoke:
        shrink(config)
    return config.lock()
