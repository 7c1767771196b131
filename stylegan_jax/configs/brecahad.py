"""StyleGAN2-ADA on BreCaHAD: 1,944 crops of stained tissue at 512 px.

    python -m stylegan_jax.main --config=configs/brecahad.py:data=FOLDER --workdir=runs/brecahad

Arguments, joined with commas:

    data=FOLDER         name or path of the crops; default brecahad
    init=ffhq.pkl       networks to begin with; default none: from scratch
    freezed=10          so many layers of D stand still (Freeze-D); default 0
    smoke               the same recipe shrunken: tiny networks, built-in flags, seconds on a CPU

Hardware in the paper: 8 V100. Expected FID and KID x 1000: 15.71 and 2.88 from scratch; a KID of
3.36 from FFHQ at 512 px, of 1.91 with Freeze-D besides. Source: Karras et al. 2020 (StyleGAN2-ADA),
figure 9.
"""

from ml_collections import ConfigDict

from stylegan_jax.configs.common import parse_arg, shrink, stylegan2_ada_defaults


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(arg, data="brecahad", init="", freezed=0, smoke=False)
    config = stylegan2_ada_defaults("paper512", 512)
    config.data.dataset = args.data
    config.data.mirror = True  # tissue has no sides
    config.init_from = args.init
    config.optimizer.freeze_d = args.freezed
    if args.init:
        config.schedule.total_kimg = 5000.0  # far less than from scratch
    config.metrics.names, config.metrics.kimg = "swd16k", 200.0
    if args.smoke:
        shrink(config)
    return config.lock()
