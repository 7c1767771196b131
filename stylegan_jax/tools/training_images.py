"""The images that a network was trained with, for tools that look at them."""

from typing import NamedTuple

from absl import flags
from ml_collections import ConfigDict

from stylegan_jax.data import DATA_DIR, ImageSource, open_source
from stylegan_jax.inference.generator import Generator
from stylegan_jax.run.input import open_companion, open_config_source
from stylegan_jax.run.restore import read_meta
from stylegan_jax.sizes import name_size


class TrainingImages(NamedTuple):
    """Images that a network has seen, and such that it has not.

    Attributes:
        shown: Its training images.
        unseen: Those that the run compared with (`metrics.memory_unseen`); None: not known.
    """

    shown: ImageSource
    unseen: ImageSource | None


def define_data_flags(prefix: str = "") -> None:
    """Declares `--data` and `--data_dir`; their texts begin with `prefix`."""
    text = "name or path of the training images; default: the run's."
    flags.DEFINE_string("data", None, prefix + text)
    flags.DEFINE_alias("dataset", "data")
    flags.DEFINE_string("data_dir", None, f"{prefix}folder of prepared data sets; default: theirs.")


def open_training_images(
    generator: Generator, data: str | None = None, data_dir: str | None = None
) -> TrainingImages:
    """Opens the images that a network was trained with.

    A run says which these are, and an export as long as its run is there. Other files do not.

    Args:
        generator: What they trained.
        data: Name or path of the images; None: as the run was told.
        data_dir: Folder of prepared data sets; None: that of the run, or the usual one.

    Raises:
        ValueError: Nobody says which images, they cannot be opened, or the network makes others.
    """
    config = _find_config(generator)
    if config is None:
        if data is None:
            path, source = generator.origin.path, generator.origin.source
            missing = "does not say with what it was trained"
            if source != path:
                missing = f"is of {source}, and there is no such run here"
            raise ValueError(
                f"{path} {missing}: give --data, the name or path of images of "
                f"{_describe(generator)}."
            )
        # Channels that say nothing are dropped as a run would do it.
        channels = generator.img_channels if generator.img_channels <= 3 else 0
        folder = data_dir or DATA_DIR
        shown = open_source(data, size=generator.size, channels=channels, data_dir=folder)
        unseen = None
    else:
        shown, unseen = _open_those_of_run(generator, config, data, data_dir)

    # Images of another run that lies where the run of an export was.
    if (shown.size, shown.img_channels) != (generator.size, generator.img_channels):
        raise ValueError(
            f"{shown.name} has images of {name_size(shown.size)} px and {shown.img_channels} "
            f"channel(s); {generator.origin.path} makes {_describe(generator)}: give their --data."
        )
    return TrainingImages(shown, unseen)


def _find_config(generator: Generator) -> ConfigDict | None:
    """Returns the config of the run that trained a network; None if it is not there."""
    try:
        return ConfigDict(read_meta(generator.origin.source)["config"])
    except (FileNotFoundError, NotADirectoryError):
        return None


def _open_those_of_run(
    generator: Generator, config: ConfigDict, data: str | None, data_dir: str | None
) -> TrainingImages:
    """Opens what a run was told, or what lies in its place."""
    # A run may have been trained on another machine. Labels are not looked at.
    config.data.labels = False
    if data is not None:
        config.data.dataset = data
    if data_dir is not None:
        config.data.data_dir = data_dir
    try:
        shown = open_config_source(config)
    except ValueError as error:
        if data is not None:
            raise
        raise ValueError(
            f"The training images of {generator.origin.source} cannot be opened: {error} "
            "If they are elsewhere now: --data=NAME or PATH."
        ) from error
    name = config.metrics.memory_unseen
    return TrainingImages(shown, open_companion(config, name) if name else None)


def _describe(generator: Generator) -> str:
    """Says what a network draws."""
    return f"{name_size(generator.size)} px and {generator.img_channels} channel(s)"
