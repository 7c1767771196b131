"""Random access to the images of a data set: a folder of image files, or a prepared TFDS data set.

Every source looks alike to the pipeline: `len(source)`, `source[i]`, `source.labels()`, and the
attributes that the networks are built from. A source may be pickled and sent to a worker process.
"""

import abc
import collections
import concurrent.futures
import functools
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from stylegan_jax.data.builders import prepare_openmoji

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

# Decoded images are kept in memory, in each process that reads, where all of them fit in this.
CACHE_LIMIT_BYTES = 2**30

_PIL_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_CHANNELS_OF_MODE = {"1": 1, "L": 1, "RGB": 3, "RGBA": 4}
_READ_THREADS = 8
_SHOWN_PROBLEMS = 5


class ImageSource(abc.ABC):
    """Square images of one size, with or without classes; the common part of all sources.

    Attributes:
        name: What to call the data set in logs.
        img_resolution: Width and height in pixels.
        img_channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        class_names: Names of the classes, empty where labels are not used.
        fingerprint: 16 hexadecimal digits that change when the data set does. They depend on names,
            sizes and labels, not on where the data set lies nor on a scan of the pixels.
    """

    def __init__(
        self,
        *,
        name: str,
        img_resolution: int,
        img_channels: int,
        labels: np.ndarray,
        class_names: Sequence[str],
        identity: Any,
    ):
        """Checks the labels and sets the attributes.

        Args:
            name: What to call the data set in logs and errors.
            img_resolution: Width and height in pixels.
            img_channels: 1, 3 or 4.
            labels: int32 [n], a class number per image, or -1 for each without classes.
            class_names: Names of the classes, empty for none.
            identity: JSON value that is equal for equal data sets only, for the fingerprint.

        Raises:
            ValueError: Classes are asked for, and all images are of one class.
        """
        if class_names and len(np.unique(labels)) < 2:
            raise ValueError(
                f"{name}: labels are asked for, but all {len(labels)} images are of the class "
                f"{class_names[labels[0]]!r}. Train without labels, or give two classes or more."
            )
        self.name = name
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        self.class_names = tuple(class_names)
        summary = [img_resolution, img_channels, list(class_names), labels.tolist(), identity]
        self.fingerprint = hashlib.sha256(json.dumps(summary).encode()).hexdigest()[:16]
        self._labels = labels.astype(np.int32)
        self._labels.setflags(write=False)
        self._cache: dict[int, np.ndarray] = {}

    @property
    def c_dim(self) -> int:
        """Number of classes, 0 where labels are not used."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One image and its label.

        Args:
            index: Position in the data set's fixed order.

        Returns:
            `image`: uint8 [h, w, c], read-only; `label`: int32 scalar, -1 without classes.

        Raises:
            IndexError: There is no such image.
            ValueError: The image cannot be decoded; the message names the file.
        """
        index = range(len(self))[index]
        image = self._cache.get(index)
        if image is None:
            image = self._read(index)
            image.setflags(write=False)
            if self._fits_in_memory():
                self._cache[index] = image
        return {"image": image, "label": self._labels[index]}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, fingerprint={self.fingerprint!r})"

    def labels(self) -> np.ndarray:
        """Labels of all images: int32 [n], -1 where labels are not used."""
        return self._labels

    def verify(self) -> None:
        """Decodes every image once.

        Raises:
            ValueError: Images that cannot be decoded; the message names the first few.
        """
        with concurrent.futures.ThreadPoolExecutor(_READ_THREADS) as pool:
            problems = [p for p in pool.map(self._find_damage, range(len(self))) if p]
        _raise_problems(self.name, problems, len(self), "Replace or remove these images.")

    def _find_damage(self, index: int) -> str | None:
        """The error of decoding an image, if any."""
        try:
            self._read(index)
        except ValueError as error:
            return str(error)
        return None

    def _fits_in_memory(self) -> bool:
        """Whether all images together, decoded, are within the limit of the cache."""
        image_bytes = self.img_resolution**2 * self.img_channels
        return len(self) * image_bytes <= CACHE_LIMIT_BYTES

    def _read(self, index: int) -> np.ndarray:
        """Reads and decodes one image."""
        encoded, origin = self._read_encoded(index)
        return _decode(encoded, self.img_resolution, self.img_channels, origin)

    @abc.abstractmethod
    def _read_encoded(self, index: int) -> tuple[bytes, str]:
        """One image file's content, and what to call it in errors."""


class FolderSource(ImageSource):
    """The image files of a folder and its subfolders, sorted by path.

    Pixels are used as they are stored: a rotation that a camera notes beside them is not applied.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, resolution: int | None = None, labels: bool = False
    ):
        """Lists the folder and checks the header of every file.

        Args:
            path: Folder of PNG, JPEG, WebP or BMP files. Hidden files are skipped, files of other
                types ignored.
            resolution: Width and height in pixels that the images must have. Default: the
                commonest among them.
            labels: Use the subfolder directly below `path` as the class of an image.

        Raises:
            ValueError: There is no such folder or it holds no image; an image is unreadable, not
                square, or of another size or number of channels than wanted; with `labels`, an
                image lies in no class folder. The message names the first few files.
        """
        self._root = pathlib.Path(path).expanduser()
        self._files = _list_images(self._root)
        img_resolution, img_channels = _check_headers(self._root, self._files, resolution)
        classes: list[str] = []
        class_numbers = np.full(len(self._files), -1, np.int32)
        if labels:
            classes, class_numbers = _classes_from_folders(self._root, self._files)
        sizes = [(self._root / file).stat().st_size for file in self._files]
        super().__init__(
            name=self._root.resolve().name,
            img_resolution=img_resolution,
            img_channels=img_channels,
            labels=class_numbers,
            class_names=classes,
            identity=[self._files, sizes],
        )

    def _read_encoded(self, index: int) -> tuple[bytes, str]:
        path = self._root / self._files[index]
        return path.read_bytes(), str(path)


class TfdsSource(ImageSource):
    """A data set that TFDS has prepared as ArrayRecord files, read without TensorFlow.

    It must have a feature `image` of fixed shape and, for labels, a feature `label` with classes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        labels: bool = False,
        split: str = "train",
        name: str | None = None,
    ):
        """Opens the record files.

        Args:
            path: Folder of one prepared version, where `dataset_info.json` lies.
            labels: Use the feature `label`; reads every record once to collect them.
            split: Name of the split to read.
            name: What to call the data set. Default: TFDS's name with config and version.

        Raises:
            ValueError: Nothing is prepared there, the split or the feature that it needs is
                missing, or the images are not square.
        """
        path = pathlib.Path(path).expanduser()
        if not (path / "dataset_info.json").is_file():
            raise ValueError(f"{path} holds no prepared TFDS data set (no dataset_info.json).")
        info = tfds.builder_from_directory(path).info
        if split not in info.splits:
            raise ValueError(f"{path} has no split {split!r}, only {', '.join(info.splits)}.")
        shape = info.features["image"].shape if "image" in info.features else None
        if shape is None or None in shape or shape[0] != shape[1] or shape[2] not in _PIL_MODES:
            raise ValueError(
                f"{path}: the feature 'image' has shape {shape}; "
                "[resolution, resolution, 1, 3 or 4] is needed."
            )
        self._path, self._split = path, split
        class_numbers = np.full(info.splits[split].num_examples, -1, np.int32)
        classes: list[str] = []
        if labels:
            is_labelled = "label" in info.features
            if not is_labelled or not isinstance(info.features["label"], tfds.features.ClassLabel):
                raise ValueError(f"{path} has no feature 'label' with classes: leave labels off.")
            classes = info.features["label"].names
            class_numbers = np.array([r["label"] for r in self._records], np.int32)
        super().__init__(
            name=name or info.full_name,
            img_resolution=shape[0],
            img_channels=shape[2],
            labels=class_numbers,
            class_names=classes,
            identity=[info.full_name, split, info.splits[split].num_bytes],
        )

    @functools.cached_property
    def _records(self) -> Sequence[dict[str, Any]]:
        """TFDS's random access to the records, with the images left encoded."""
        builder = tfds.builder_from_directory(self._path)
        decoders = {"image": tfds.decode.SkipDecoding()}
        return builder.as_data_source(self._split, decoders=decoders)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_records", None)  # each process opens the files itself
        return state

    def _read_encoded(self, index: int) -> tuple[bytes, str]:
        return self._records[index]["image"], f"{self._path} (record {index})"


def _open_openmoji(
    subset: str, *, resolution: int, labels: bool, data_dir: str | os.PathLike[str]
) -> TfdsSource:
    """Prepares and opens a subset of OpenMoji."""
    if labels and subset == "flags":
        raise ValueError("openmoji/flags has no classes: train without labels, or on openmoji/all.")
    path = prepare_openmoji(data_dir, resolution=resolution, subset=subset)
    return TfdsSource(path, labels=labels, name=f"openmoji/{subset}")


# Data sets with a name: called with the keywords resolution, labels and data_dir.
DATASETS: dict[str, Callable[..., ImageSource]] = {
    "openmoji/all": functools.partial(_open_openmoji, "all"),
    "openmoji/flags": functools.partial(_open_openmoji, "flags"),
}


def open_source(
    dataset: str,
    *,
    resolution: int,
    labels: bool = False,
    data_dir: str | os.PathLike[str] = "~/.cache/stylegan_jax/data",
) -> ImageSource:
    """Opens a data set by name or a folder of images, and checks that it is what is wanted.

    Args:
        dataset: A key of `DATASETS`, or the path of a folder. A key wins over a folder of that
            name; `./` in front means the folder.
        resolution: Width and height in pixels.
        labels: Use the data set's classes.
        data_dir: Folder where data sets with a name are prepared, once.

    Returns:
        The source.

    Raises:
        ImportError: A package that the data set is made from is missing.
        ValueError: There is no such data set or folder, or its images do not fit.
    """
    if dataset in DATASETS:
        return DATASETS[dataset](resolution=resolution, labels=labels, data_dir=data_dir)
    if pathlib.Path(dataset).expanduser().is_dir():
        return FolderSource(dataset, resolution=resolution, labels=labels)
    raise ValueError(
        f"There is no data set {dataset!r}: it is neither an existing folder nor one of "
        f"{', '.join(sorted(DATASETS))}."
    )


def _list_images(root: pathlib.Path) -> list[str]:
    """Relative POSIX paths of all image files that are not hidden, sorted."""
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; give the folder that holds the images.")
    files = []
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        images = [n for n in names if n.lower().endswith(IMAGE_SUFFIXES) and not n.startswith(".")]
        files += [pathlib.Path(folder, name).relative_to(root).as_posix() for name in images]
    if not files:
        raise ValueError(f"{root} holds no image files ({', '.join(IMAGE_SUFFIXES)}).")
    return sorted(files)


def _read_header(path: pathlib.Path) -> tuple[int, int, int] | str:
    """Width, height and channels of an image file, or what is wrong with it."""
    try:
        with Image.open(path) as image:
            mode, (width, height) = image.mode, image.size
            if mode in ("P", "PA"):
                mode = "RGBA" if mode == "PA" or "transparency" in image.info else "RGB"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "not a readable image"
    if mode not in _CHANNELS_OF_MODE:
        return f"colour mode {mode}, wanted 8-bit grey, RGB or RGBA"
    return width, height, _CHANNELS_OF_MODE[mode]


def _check_headers(root: pathlib.Path, files: list[str], resolution: int | None) -> tuple[int, int]:
    """The resolution and the number of channels that all files share."""
    with concurrent.futures.ThreadPoolExecutor(_READ_THREADS) as pool:
        headers = list(pool.map(_read_header, [root / file for file in files]))
    # The commonest kind is taken as meant, so that the message names the odd ones out.
    sizes = collections.Counter(h[0] for h in headers if not isinstance(h, str) and h[0] == h[1])
    channels = collections.Counter(h[2] for h in headers if not isinstance(h, str))
    if resolution is None and sizes:
        resolution = sizes.most_common(1)[0][0]
    img_channels = channels.most_common(1)[0][0] if channels else 3
    problems = []
    for file, header in zip(files, headers):
        if isinstance(header, str):
            problems.append(f"{file}: {header}")
        elif resolution is None or header[:2] != (resolution, resolution):
            wanted = "square" if resolution is None else f"{resolution}x{resolution}"
            problems.append(f"{file}: {header[0]}x{header[1]} pixels, wanted {wanted}")
        elif header[2] != img_channels:
            problems.append(f"{file}: {header[2]} channel(s), but most files have {img_channels}")
    advice = "Crop and resize the images beforehand, convert them to one colour mode, or remove"
    _raise_problems(root, problems, len(files), f"{advice} these files.")
    return int(resolution or 0), img_channels


def _classes_from_folders(root: pathlib.Path, files: list[str]) -> tuple[list[str], np.ndarray]:
    """Sorted names of the class folders, and each file's class number."""
    stray = [f"{file}: in no class folder" for file in files if "/" not in file]
    _raise_problems(
        root, stray, len(files), "Move them to a folder per class, or leave labels off."
    )
    folders = [file.split("/")[0] for file in files]
    class_names = sorted(set(folders))
    numbers = {name: number for number, name in enumerate(class_names)}
    return class_names, np.array([numbers[folder] for folder in folders], np.int32)


def _raise_problems(
    where: str | pathlib.Path, problems: list[str], total: int, advice: str
) -> None:
    """Raises a ValueError that lists the first few problems, if there are any."""
    if not problems:
        return
    shown = "\n".join(f"  {problem}" for problem in problems[:_SHOWN_PROBLEMS])
    if len(problems) > _SHOWN_PROBLEMS:
        shown += f"\n  ... and {len(problems) - _SHOWN_PROBLEMS} more"
    raise ValueError(f"{where}: {len(problems)} of {total} images do not fit:\n{shown}\n{advice}")


def _decode(encoded: bytes, resolution: int, channels: int, origin: str) -> np.ndarray:
    """Decodes an image file's content to uint8 [resolution, resolution, channels]."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            pixels = np.array(image.convert(_PIL_MODES[channels]))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"{origin}: the image is damaged ({error}). Replace or remove it."
        ) from error
    pixels = pixels.reshape(*pixels.shape[:2], channels)
    if pixels.shape[:2] != (resolution, resolution):
        raise ValueError(
            f"{origin}: {pixels.shape[1]}x{pixels.shape[0]} pixels, "
            f"but {resolution}x{resolution} when the data set was opened. Start again."
        )
    return pixels
