"""An LSUN category: car at 512 px, cat, church, horse, bedroom at 256 px.

    python -m stylegan_jax.tools.dataset prepare --name=lsun --variant=church --resolution=256 \\
        --source=FOLDER
    python -m stylegan_jax.main --config=configs/lsun.py:category=church --workdir=runs/church

FOLDER holds church_outdoor_train_lmdb, as published. Cars (--variant=car --resolution=512) are
letterboxed from 512x384 into 512x512, the others cropped at the centre. Arguments, joined with
commas:

    category=car        or cat, church, horse, bedroom; default church
    model=stylegan1     or progan; default stylegan2, its config F
    smoke               the same recipe shrunken: tiny networks, built-in flags, seconds on a CPU

Expected FID50k: StyleGAN2 car 2.32, cat 6.93, church 3.86, horse 3.43; StyleGAN car 3.27, cat 8.53,
church 4.21, bedroom 2.65; ProGAN cat 37.52, church 6.42, bedroom 8.34. Source: Karras et al. 2020
(StyleGAN2), table 3; lengths and gammas of the authors' reproduction runs on 8 V100; Karras et al.
2019 (StyleGAN), appendix C; Karras et al. 2018 (ProGAN), table 5.
"""

from typing import NamedTuple

from ml_collections import ConfigDict

from stylegan_jax.configs.common import (
    parse_arg,
    progan_defaults,
    shrink,
    stylegan1_defaults,
    stylegan2_defaults,
)

_MODELS = {
    "progan": progan_defaults,
    "stylegan1": stylegan1_defaults,
    "stylegan2": stylegan2_defaults,
}


class _Category(NamedTuple):
    resolution: int
    total_kimg: float  # StyleGAN2
    r1_gamma: float  # StyleGAN2
    stylegan1_kimg: float = 70000.0


_CATEGORIES = {
    "car": _Category(512, 57000.0, 10.0, stylegan1_kimg=46000.0),
    "cat": _Category(256, 88000.0, 10.0),
    "church": _Category(256, 88000.0, 100.0),  # the paper's text says 48M images
    "horse": _Category(256, 100000.0, 100.0),
    # Not among the StyleGAN2 runs: the length is StyleGAN's, gamma that of the other scenes.
    "bedroom": _Category(256, 70000.0, 100.0),
}


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(arg, category="church", model="stylegan2", smoke=False)
    for name, known in (("category", _CATEGORIES), ("model", _MODELS)):
        if args[name] not in known:
            raise ValueError(f"{name}={args[name]!r}: choose one of {', '.join(known)}.")
    category = _CATEGORIES[args.category]
    config = _MODELS[args.model]()

    config.data.dataset = f"lsun/{args.category}"
    config.data.resolution = category.resolution
    config.data.mirror = False  # the official LSUN runs do not mirror

    if args.model == "stylegan2":
        config.loss.r1_gamma = category.r1_gamma
        config.optimizer.G_lr = config.optimizer.D_lr = 0.002
        config.schedule.total_kimg = category.total_kimg
        config.schedule.batch_size = 32
    if args.model == "stylegan1":
        config.schedule.total_kimg = category.stylegan1_kimg

    config.metrics.kimg = 1000.0
    config.io.tick_kimg = {256: 8.0, 512: 6.0}[category.resolution]  # StyleGAN2's official ticks
    if args.smoke:
        shrink(config)
    return config.lock()
