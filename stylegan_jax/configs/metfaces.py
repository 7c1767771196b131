"""StyleGAN2-ADA on MetFaces: 1,336 faces of paintings at 1024 px.

    python -m stylegan_jax.main --config=configs/metfaces.py:init=ffhq.pkl --workdir=runs/metfaces

ffhq.pkl is an official network of FFHQ at 1024 px. Arguments, joined with commas:

    data=FOLDER         name or path of the published images; default metfaces
    init=ffhq.pkl       networks to begin with; default none: from scratch
    freezed=10          so many layers of D stand still (Freeze-D); default 0
    smoke               the same recipe shrunken: tiny networks, built-in flags, seconds on a CPU

Hardware in the paper: 8 V100. Expected FID and KID x 1000: from scratch 18.22 and 2.41; a KID of
0.81 from FFHQ. Source: Karras et al. 2020 (StyleGAN2-ADA), figure 9 and section 4.2.
"""

from ml_collections import ConfigDict

from stylegan_jax.configs.common import parse_arg, shrink, stylegan2_ada_defaults


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(arg, data="metfaces", init="", freezed=0, smoke=False)
    config = stylegan2_ada_defaults("paper1024", 1024)
    config.data.dataset = args.data
    config.data.mirror = True  # faces are symmetric
    config.init_from = args.init
    config.optimizer.freeze_d = args.freezed
    if args.init:
        config.schedule.total_kimg = 5000.0  # far less than from scratch
    config.metrics.names, config.metrics.kimg = "swd16k", 200.0
    if args.smoke:
        shrink(config)
    return config.lock()
