"""StyleGAN2-ADA on any images, from a few hundred on.

    python -m stylegan_jax.main --config=configs/stylegan2_ada.py:data=FOLDER --workdir=runs/mine

Arguments, joined with commas:

    data=FOLDER         name or path of the images; default ffhq
    res=256             their size, or height x width; default 256
    preset=paper256     or paper512, paper1024, stylegan2, cifar: settings of the paper's runs.
                        Default auto: batch, gamma, rates and averages by size and number of GPUs
    gpus=8              for which auto chooses the batch; default 8. One: 16 images at 256 px
    aug=fixed           strength that does not move (`--config.augment.p=0.2`), or none; default ada
    pipe=bgcfnc         transformations; default bgc: flips, turns and moves, scales, colours
    mirror              images and their mirror images
    labels              class-conditional
    init=FILE.pkl       begin with the networks of a checkpoint: far less time for small sets
    freezed=10          so many layers of D stand still (Freeze-D), for transfer
    smoke               the same recipe shrunken: tiny networks, built-in flags, seconds on a CPU

Hardware in the paper: 8 V100; 25,000 kimg take 1.4 days at 256 px and 10 at 1024 px, transfer needs
5,000 or fewer. Expected FID on 2,000, 10,000 and 140,000 images of FFHQ at 256 px (paper256):
16.49, 8.29, 3.88, without augmentation 78.80, 30.73, 3.66.
Source: Karras et al. 2020 (StyleGAN2-ADA), figure 7 and tables of the appendix.
"""

from ml_collections import ConfigDict

from stylegan_jax.configs.common import parse_arg, shrink, stylegan2_ada_defaults


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(
        arg,
        data="ffhq",
        res="256",
        preset="auto",
        gpus=8,
        aug="ada",
        pipe="bgc",
        mirror=False,
        labels=False,
        init="",
        freezed=0,
        smoke=False,
    )
    size = int(args.res) if args.res.isdecimal() else args.res
    config = stylegan2_ada_defaults(args.preset, size, args.gpus)
    config.data.dataset = args.data
    config.data.mirror = args.mirror
    config.data.labels = args.labels
    config.init_from = args.init
    config.augment.mode, config.augment.pipe = args.aug, args.pipe
    config.optimizer.freeze_d = args.freezed

    config.metrics.names, config.metrics.kimg = "swd16k", 200.0
    if args.smoke:
        shrink(config)
    return config.lock()
