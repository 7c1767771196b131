"""ProGAN on CelebA-HQ at 1024 px, grown from 4x4.

    python -m stylegan_jax.tools.dataset prepare --name=celebahq --resolution=1024 --source=FOLDER
    python -m stylegan_jax.main --config=configs/progan_celebahq.py --workdir=runs/progan

FOLDER holds the 30,000 images, or their TFRecords. Arguments, joined with commas:

    preset=v2           the authors' later schedule (default), written for 8 GPUs
    preset=v1           the paper's own: one GPU, a month; its batches of 14, 6 and 3 need a single
                        device
    smoke               the same recipe shrunken: tiny networks, built-in flags, seconds on a CPU

Hardware of the authors: 8 V100, 2 days. Expected FID50k after 12,000 kimg: 7.3. Source: Karras et
al. 2018 (ProGAN), appendix A, and the presets of the authors' repository.
"""

from ml_collections import ConfigDict

from stylegan_jax.configs.common import parse_arg, progan_defaults, shrink


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(arg, preset="v2", smoke=False)
    if args.preset not in ("v1", "v2"):
        raise ValueError(f"preset={args.preset!r}: choose v1 or v2.")
    config = progan_defaults()

    config.data.dataset = "celebahq"
    config.data.resolution = 1024
    config.data.mirror = True

    if args.preset == "v1":
        config.D.mbstd_group_size = 16
        config.schedule.total_kimg = 19000.0
        config.schedule.batch_size = 16
        config.growth.training_kimg = config.growth.transition_kimg = 800.0
        config.growth.batch_sizes = ConfigDict(dict(b256=14, b512=6, b1024=3))
        config.growth.learning_rates = ConfigDict()

    config.metrics.kimg = 1000.0
    config.io.tick_kimg = 20.0  # the official tick at 1024 px
    if args.smoke:
        shrink(config)
    return config.lock()
