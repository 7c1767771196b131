"""StyleGAN 1 on FFHQ at 1024 px, grown from 8x8; the ablation of its table 1 as an argument.

    python -m stylegan_jax.tools.dataset prepare --name=ffhq --resolution=1024 --source=FOLDER
    python -m stylegan_jax.main --config=configs/stylegan1_ffhq.py --workdir=runs/stylegan1

FOLDER holds images1024x1024, as published. Arguments, joined with commas:

    row=F               a row of table 1; default F, the whole of it:
                        A  ProGAN as it was, WGAN-GP
                        B  bilinear resampling, logistic loss with R1, longer training
                        C  mapping network and styles
                        D  a learned constant instead of the latent as input
                        E  noise inputs
                        F  mixing regularisation
    mixing=0.9          probability of mixing in row F (the paper tries 0, 0.5, 0.9 and 1)
    smoke               the same recipe shrunken: tiny networks, built-in flags, seconds on a CPU

Hardware in the paper: 8 V100, 6 days 14 hours. Expected FID50k after 25,000 kimg: A 8.04, B 5.25,
C 4.85, D 4.88, E 4.42, F 4.40. Source: Karras et al. 2019 (StyleGAN), table 1 and appendix C.
"""

from ml_collections import ConfigDict

from stylegan_jax.configs.common import parse_arg, progan_defaults, shrink, stylegan1_defaults


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(arg, row="F", mixing=0.9, smoke=False)
    if args.row not in tuple("ABCDEF"):
        raise ValueError(f"row={args.row!r}: choose one of A, B, C, D, E, F.")
    config = progan_defaults() if args.row == "A" else stylegan1_defaults()

    config.data.dataset = "ffhq"
    config.data.resolution = 1024
    config.data.mirror = True  # faces are symmetric; the official runs mirror FFHQ

    if args.row == "B":
        config.G.use_styles = config.G.use_instance_norm = False
        config.G.use_pixel_norm = True
        config.G.mapping_layers = 0
    if args.row in "BC":
        config.G.const_input = False
    if args.row in "BCD":
        config.G.use_noise = False
    config.loss.style_mixing_prob = args.mixing if args.row == "F" else 0.0

    config.schedule.total_kimg = 12000.0 if args.row == "A" else 25000.0
    config.metrics.kimg = 1000.0
    config.io.tick_kimg = 20.0  # the official tick at 1024 px
    if args.smoke:
        shrink(config)
    return config.lock()
