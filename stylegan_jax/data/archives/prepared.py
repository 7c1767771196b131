"""A data set that was prepared: ArrayRecord files with TFDS's metadata, read without TensorFlow."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.archives.example import parse_bytes, parse_example
from stylegan_jax.data.archives.listing import is_regular
from stylegan_jax.data.formats import MOST_CHANNELS, ImageFormat
from stylegan_jax.data.label_files import HEADER_FILE, read_labels, read_named_labels
from stylegan_jax.data.labels import Labels, class_labels, no_labels
from stylegan_jax.files import is_cloud

T = TypeVar("T")

INFO_FILE = "dataset_info.json"
SPLIT = "train"

_CHANNELS = range(1, MOST_CHANNELS + 1)


def is_prepared(path: epath.Path) -> bool:
    """Tells whether a folder holds a prepared data set."""
    return (path / INFO_FILE).exists()


def _check_regular(path: epath.Path) -> None:
    """Refuses what is no file, such as a pipe, which would be waited for."""
    if is_cloud(path):
        return
    # Links to nowhere are what whoever reads them says.
    there = [child for child in path.iterdir() if child.exists()]
    odd = [child for child in there if not is_regular(child) and not child.is_dir()]
    if odd:
        raise ArchiveError(f"{odd[0]} is not a file. Remove the folder and prepare it again.")


class PreparedArchive(Archive):
    """What `builders.ImageBuilder`, or TFDS alone, has written.

    One by TFDS alone must have a feature `image` of fixed shape and, for labels, a `label` with
    classes.
    """

    def __init__(self, path: epath.PathLike, *, split: str = SPLIT, name: str | None = None):
        """Reads the metadata.

        Args:
            path: Folder of one version, local or in a bucket, where `dataset_info.json` lies.
            split: Name of the split to read.
            name: What to call the data set. Default: TFDS's name with config and version.

        Raises:
            ArchiveError: Nothing is prepared there, or the split or a feature is missing.
        """
        self.path = epath.Path(path).expanduser()
        self._split = split
        if not is_prepared(self.path):
            raise ArchiveError(f"{path} holds no prepared data set (no {INFO_FILE}).")
        _check_regular(self.path)
        try:
            # TFDS does not say which features there are; ours are looked at by name.
            self._info: Any = tfds.builder_from_directory(self.path).info
            self._metadata = dict(self._info.metadata or {})
        # Errors of many types, as each of the files has its own reader.
        except Exception as error:
            raise ArchiveError(
                f"{path}: damaged metadata ({error}). Remove the folder and prepare it again."
            ) from error
        if split not in self._info.splits:
            there = ", ".join(self._info.splits)
            raise ArchiveError(f"{path} has no split {split!r}, only {there}.")
        self.name = name or self._info.full_name
        self.version = self._metadata.get("source_version", "")
        # The images' own names lie within the records, which are not read now.
        count = self._info.splits[split].num_examples
        if not count:
            raise ArchiveError(f"{path} is empty. Remove the folder and prepare it again.")
        self.names = [f"record {index}" for index in range(count)]
        self.sizes = [int(self._info.splits[split].num_bytes) // count] * count
        self._format = self._find_format()
        is_image = isinstance(dict(self._info.features).get("image"), tfds.features.Image)
        # None where only TFDS knows how pixels are stored.
        self._encoding = self._metadata.get("encoding", "source" if is_image else None)

    def read(self, index: int) -> bytes | np.ndarray:
        """Returns the image as it is stored."""
        try:
            return self._read(index)
        # The record library's error, TFDS's or the message's.
        except Exception as error:
            raise ArchiveError(
                f"{self.where(index)}: damaged ({error}). Remove the folder and prepare it again."
            ) from error

    def _read(self, index: int) -> bytes | np.ndarray:
        if self._encoding is None:
            return self._records[index]["image"]
        # TFDS would copy the image three times, which is half of the time of reading pixels.
        content = parse_bytes(parse_example(self._records.data_source[index])[b"image"])
        if self._encoding != "raw":
            return bytes(content)
        # Pixels as they are stored, not copied.
        form = self._format
        return np.frombuffer(content, form.dtype).reshape(form.height, form.width, form.channels)

    def where(self, index: int) -> str:
        """Returns the folder and the number of the record."""
        return f"{self.path} (record {index})"

    def read_format(self, index: int) -> ImageFormat:
        """Returns the same for all."""
        return self._format

    def uniform_format(self) -> ImageFormat:
        """Returns the size and type of all images, from the metadata."""
        return self._format

    def identity(self) -> Any:
        """Returns the fingerprint of the content, where it is known."""
        split = self._info.splits[self._split]
        name = [self._info.full_name, self._split, int(split.num_bytes)]
        return self._metadata.get("fingerprint") or name

    @functools.cached_property
    def _records(self) -> Any:
        """TFDS's random access to the records, with the images left encoded."""
        builder = cast(Any, tfds.builder_from_directory(self.path))
        is_image = isinstance(builder.info.features["image"], tfds.features.Image)
        decoders = {"image": tfds.decode.SkipDecoding()} if is_image else None
        return builder.as_data_source(self._split, decoders=decoders)

    def __getstate__(self) -> dict[str, Any]:
        # Each process opens the files itself.
        return {key: value for key, value in vars(self).items() if key not in ("_records", "_info")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _info=tfds.builder_from_directory(state["path"]).info)

    def find_fitting_labels(self) -> tuple[Labels, Mapping[str, Labels], list[str]]:
        """Returns all labels: they were made to fit, and where they do not the folder is damaged.

        Raises:
            ArchiveError: It is.
        """
        return self.labels, self.named_labels, []

    def _find_format(self) -> ImageFormat:
        """Finds size and type of the images in the metadata."""
        # Our own builder notes it; of TFDS's feature it is the shape.
        if "format" in self._metadata:
            return self._parse_format(self._metadata["format"])
        feature = cast(Any, dict(self._info.features).get("image"))
        shape = getattr(feature, "shape", None)
        if not shape or None in shape or len(shape) != 3 or shape[2] not in _CHANNELS:
            raise ArchiveError(
                f"{self.path}: the feature 'image' has shape {shape}; "
                f"[height, width, 1 to {MOST_CHANNELS}] is needed."
            )
        return ImageFormat(*shape, dtype=np.dtype(feature.np_dtype).name)

    def _parse_format(self, noted: Any) -> ImageFormat:
        """Reads what our builder notes."""
        try:
            form = ImageFormat(**noted)
            sizes = (form.height, form.width)
            is_known = all(type(size) is int and size > 0 for size in sizes)
            if is_known and form.channels in _CHANNELS and form.dtype in ("uint8", "uint16"):
                return form
        except TypeError:
            pass  # other keys
        raise ArchiveError(
            f"{self.path}: damaged metadata (images of the format {noted}). Remove the folder and "
            "prepare it again."
        )

    def _read_labels(self) -> Labels:
        """Reads the labels' files, or every record where TFDS alone wrote them."""
        if self._has_label_files():
            return self._read_label_files(read_labels)
        feature = dict(self._info.features).get("label")
        if not isinstance(feature, tfds.features.ClassLabel):
            return no_labels(len(self))
        return class_labels([record["label"] for record in self._records], feature.names)

    def _read_named_labels(self) -> Mapping[str, Labels]:
        return self._read_label_files(read_named_labels) if self._has_label_files() else {}

    def _has_label_files(self) -> bool:
        return (self.path / HEADER_FILE).exists()

    def _read_label_files(self, read: Callable[[epath.Path, int], T]) -> T:
        """Reads files beside the records, or says what to do about damaged ones."""
        try:
            return read(self.path, len(self))
        except ValueError as error:
            raise ArchiveError(f"{error} Remove the folder and prepare it again.") from error
