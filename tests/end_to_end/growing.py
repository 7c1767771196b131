"""A recipe of runs that grow, as a config file: `--config=tests/end_to_end/growing.py:RECIPE`."""

import importlib

from ml_collections import ConfigDict


def get_config(arg):
    """8 px until 48 images, a fade until 112, 16 px until 160; batches of 16, then of 8.

    Args:
        arg: `RECIPE` or `RECIPE:ARG`, a recipe and what else its smoke test is given.
    """
    recipe, _, rest = arg.partition(":")
    module = importlib.import_module(f"stylegan_jax.configs.{recipe}")
    config = module.get_config(",".join(filter(None, ["smoke", rest]))).unlock()
    config.growth.training_kimg, config.growth.transition_kimg = 0.048, 0.064
    config.growth.batch_sizes = ConfigDict({"b16": 8})
    config.D.mbstd_group_size = 2  # two images fall to each of four devices
    config.schedule.total_kimg = 0.16
    config.metrics.kimg = 0.0
    return config.lock()
