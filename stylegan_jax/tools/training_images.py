"""The images that a network was trained with, for tools that look at them."""

import copy

from ml_collections import ConfigDict


def move_data(config: ConfigDict, dataset: str | None, data_dir: str | None) -> ConfigDict:
    """Returns a config whose data lie elsewhere; None: as the run was told.

    A run may have been trained on another machine.
    """
    config = copy.deepcopy(config)
    if dataset is not None:
        config.data.dataset = dataset
    if data_dir is not None:
        config.data.data_dir = data_dir
    return config
