"""The images that a network was trained with, for tools that look at them."""

from ml_collections import ConfigDict

from stylegan_jax.inference.generator import Generator
from stylegan_jax.run.restore import read_meta


def training_config(generator: Generator, dataset: str | None, data_dir: str | None) -> ConfigDict:
    """Returns the config of the run that trained a network, also that of an export.

    Args:
        generator: What it trained.
        dataset: Name or path of the images, where they lie elsewhere; None: as the run was told.
        data_dir: Folder of prepared data sets, likewise.

    Raises:
        OSError: The folder of the run is not there.
    """
    config = ConfigDict(read_meta(generator.origin.source)["config"])
    # A run may have been trained on another machine.
    if dataset is not None:
        config.data.dataset = dataset
    if data_dir is not None:
        config.data.data_dir = data_dir
    return config
