"""StyleGAN2-ADA on AFHQ: about 5,000 cats, dogs or wild animals at 512 px.

    python -m stylegan_jax.tools.dataset prepare --name=afhqv2 --variant=cat --resolution=512 \\
        --source=FOLDER
    python -m stylegan_jax.main --config=configs/afhq.py:class=cat --workdir=runs/cats

FOLDER holds train/cat and so on, as published. Arguments, joined with commas:

    class=dog           or wild; default cat
    init=ffhq.pkl       networks to begin with; default none: from scratch
    freezed=10          so many layers of D stand still (Freeze-D); default 0
    smoke               the same recipe shrunken: tiny networks, built-in flags, seconds on a CPU

Hardware in the paper: 8 V100. Expected FID and KID x 1000, on the first version of the images: cats
3.55 and 0.66, dogs 7.40 and 1.16, wild animals 3.05 and 0.45. Source: Karras et al. 2020
(StyleGAN2-ADA), figure 9.
"""

from ml_collections import ConfigDict

from stylegan_jax.configs.common import parse_arg, shrink, stylegan2_ada_defaults


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(arg, **{"class": "cat"}, init="", freezed=0, smoke=False)
    kind = args["class"]
    if kind not in ("cat", "dog", "wild"):
        raise ValueError(f"class={kind!r}: choose one of cat, dog, wild.")
    config = stylegan2_ada_defaults("paper512", 512)
    config.data.dataset = f"afhqv2/{kind}"
    config.data.mirror = True  # animals have no sides
    config.init_from = args.init
    config.optimizer.freeze_d = args.freezed
    if args.init:
        config.schedule.total_kimg = 5000.0  # far less than from scratch
    config.metrics.names, config.metrics.kimg = "swd16k", 200.0
    if args.smoke:
        shrink(config)
    return config.lock()
