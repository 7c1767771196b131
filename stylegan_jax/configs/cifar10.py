"""StyleGAN2-ADA on CIFAR-10, by class or without.

    python -m stylegan_jax.tools.dataset prepare --name=cifar10 --resolution=32 --source=FOLDER
    python -m stylegan_jax.main --config=configs/cifar10.py:labels --workdir=runs/cifar10

FOLDER holds cifar-10-python.tar.gz. Arguments, joined with commas:

    labels              class-conditional, a row of the grid per class
    smoke               the same recipe shrunken: tiny networks, built-in flags, seconds on a CPU

Hardware in the paper: 2 V100. Expected FID and Inception score, of the best of several runs: 2.42
and 10.14 by class, 2.92 and 9.83 without. Source: Karras et al. 2020 (StyleGAN2-ADA), figure 11.
"""

from ml_collections import ConfigDict

from stylegan_jax.configs.common import parse_arg, shrink, stylegan2_ada_defaults


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(arg, labels=False, smoke=False)
    config = stylegan2_ada_defaults("cifar", 32)
    config.data.dataset = "cifar10"
    config.data.labels = args.labels
    config.metrics.names, config.metrics.kimg = "swd16k", 500.0
    if args.smoke:
        shrink(config)
    return config.lock()
