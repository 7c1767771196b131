"""What a prepared data set's records hold, and how an image becomes one."""

import contextlib
import dataclasses
import hashlib
import io
import json
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from stylegan_jax.data.archives import Archive
from stylegan_jax.data.channels import drop_channels
from stylegan_jax.data.codecs import ENCODINGS, ImageFormat, encode, keeps_bytes, read_format
from stylegan_jax.data.formats import MOST_CHANNELS, WITH_ALPHA
from stylegan_jax.data.labels import Labels
from stylegan_jax.data.preparation.transforms import Transform

# How images are stored: "source" keeps the bytes of files that fit as they are.
STORED_AS = ("source", "png", "qoi", "raw")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is done with each image.

    Attributes:
        transform: Crop and size.
        channels: 1 to 16. Up to 4: grey is copied to RGB, an alpha is added opaque and taken away
            by laying the image on white, and RGB of which all channels are equal becomes grey.
        dtype: `"uint8"` or `"uint16"`; the levels of others are scaled to its range.
        encoding: One of `STORED_AS`.
    """

    transform: Transform
    channels: int
    dtype: str = "uint8"
    encoding: str = "source"

    def format(self) -> ImageFormat:
        """Returns the size and type of the prepared images."""
        return ImageFormat(*self.transform.size, self.channels, self.dtype)


def make_recipe(
    archive: Archive,
    transform: Transform,
    *,
    channels: int | None = None,
    bits: int | None = None,
    encoding: str = "source",
) -> Recipe:
    """Makes an archive's recipe.

    Args:
        archive: The images.
        transform: Crop and size.
        channels: 1 to 16. Default: those of the first readable image.
        bits: 8 or 16 per channel. Default: likewise.
        encoding: One of `STORED_AS`. Of more than 4 channels, which no file holds that TFDS
            reads, `"source"` stores the pixels.

    Raises:
        ValueError: The encoding is unknown, or does not hold such images; or they do not become
            images of so many channels.
    """
    if encoding not in STORED_AS:
        raise ValueError(f"encoding={encoding!r}: choose one of {', '.join(STORED_AS)}.")
    if channels is not None and not 1 <= channels <= MOST_CHANNELS:
        raise ValueError(
            f"channels={channels}: give 1 (grey), 2 (with alpha), 3 (RGB), 4 (RGBA), or up to "
            f"{MOST_CHANNELS}."
        )
    if bits not in (None, 8, 16):
        raise ValueError(f"bits={bits}: give 8 or 16.")
    # What is not asked for stays as the images have it.
    first = _first_format(archive)
    dtype = f"uint{bits}" if bits else first.dtype
    channels = channels or first.channels
    _check_conversion(first.channels, channels)
    if encoding == "source" and channels not in ENCODINGS["png"]:
        encoding = "raw"
    recipe = Recipe(transform, channels, dtype, encoding)
    _check_encoding(recipe)
    return recipe


def _check_conversion(given: int, wanted: int) -> None:
    """Refuses to make channels of which nobody knows what they mean.

    Raises:
        ValueError: They are more than 4, or shall become so.
    """
    if given != wanted and max(given, wanted) > 4:
        raise ValueError(
            f"{given} channel(s) do not become {wanted}: 1 to 4 are converted to one another (grey "
            f"and RGB, with and without alpha). Leave channels at {given}, or choose the channels "
            "beforehand."
        )


def _check_encoding(recipe: Recipe) -> None:
    """Refuses an encoding that does not hold the images.

    Raises:
        ValueError: Says which does.
    """
    form = recipe.format()
    if recipe.encoding == "png" and form.channels not in ENCODINGS["png"]:
        raise ValueError(
            f"encoding='png' holds 1 to 4 channels, but these images are {form}: take 'raw'."
        )
    if recipe.encoding == "qoi":
        if form.channels not in ENCODINGS["png"]:
            raise ValueError(
                f"encoding='qoi' holds RGB and RGBA, but these images are {form}: take 'raw'."
            )
        if form.channels not in ENCODINGS["qoi"] or form.dtype != "uint8":
            raise ValueError(
                f"encoding='qoi' holds RGB and RGBA of 8 bits, but these images are {form}: "
                "take 'png' or 'raw', or convert them with channels=3 and bits=8."
            )


def _first_format(archive: Archive) -> ImageFormat:
    """Returns the size and type of the first image whose header can be read."""
    reason = ""
    for index in range(len(archive)):
        with contextlib.suppress(ValueError):
            return archive.read_format(index)
        # Headers alone do not tell what it becomes where it is converted.
        try:
            content = archive.read(index)
            if isinstance(content, bytes):
                return read_format(io.BytesIO(content), convert=True)
        except ValueError as error:
            reason = reason or f" The first is {archive.names[index]}: {error}."
    raise ValueError(f"{archive.name}: none of the {len(archive)} images can be read.{reason}")


def preparation_facts(archive: Archive, recipe: Recipe) -> dict[str, Any]:
    """Returns what a prepared data set remembers of its making; equal for equal ones."""
    labels = archive.labels
    facts = [archive.identity(), labels.kind, labels.class_names, labels.digest]
    # Only where they are: sets without them keep the identity that older releases gave them.
    if archive.named_labels:
        facts.append([[name, some.digest] for name, some in sorted(archive.named_labels.items())])
    version = {"source_version": archive.version} if archive.version else {}
    return version | {
        "source": archive.name,
        "source_identity": hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16],
        "source_images": len(archive),
        "transform": recipe.transform.facts(),
        "format": dataclasses.asdict(recipe.format()),
        "encoding": recipe.encoding,
    }


def convert_image(pixels: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Crops, resizes and brings an image to the recipe's channels and type.

    Raises:
        ValueError: The image is too small, or has colours where the recipe is grey.
    """
    pixels = _convert_channels(recipe.transform(pixels), recipe.channels)
    if pixels.dtype == recipe.dtype:
        return pixels
    # The last of steps, as 16 bits lose nothing in those before. 65535 = 255 * 257.
    if recipe.dtype == "uint8":
        return np.rint(pixels / np.float32(257)).astype(np.uint8)
    return pixels.astype(np.uint16) * np.uint16(257)


def _convert_channels(pixels: np.ndarray, wanted: int) -> np.ndarray:
    """Makes grey or RGB, with or without alpha; other channels stay as they are."""
    given = pixels.shape[2]
    if given == wanted:
        return pixels
    _check_conversion(given, wanted)
    full = np.iinfo(pixels.dtype).max
    # Colours, and what stands for their alpha where none is given: opaque.
    alpha = np.full((*pixels.shape[:2], 1), full, pixels.dtype)
    colours = pixels
    if given in WITH_ALPHA:
        colours = pixels[..., :-1]
        alpha = pixels[..., -1:]
    # On white: x * alpha + (1 - alpha).
    if given in WITH_ALPHA and wanted not in WITH_ALPHA:
        share = alpha.astype(np.float32) / full
        colours = np.rint(colours * share + full * (1 - share)).astype(pixels.dtype)
    # Grey that is stored as colours; which of the many ways to make it is not ours to choose.
    if wanted <= 2:
        try:
            colours = drop_channels(colours, 1)
        except ValueError as error:
            raise ValueError(
                f"{error}: convert the images to grey beforehand, or take channels={wanted + 2}"
            ) from error
    elif colours.shape[2] == 1:
        colours = colours.repeat(3, axis=2)
    return np.concatenate([colours, alpha], axis=2) if wanted in WITH_ALPHA else colours


def encode_record(
    content: bytes | np.ndarray, before: np.ndarray, after: np.ndarray, encoding: str
) -> bytes | io.BytesIO | np.ndarray:
    """Returns what is stored as `image`: an encoded file, or pixels."""
    if encoding == "raw":
        return after
    # Files that fit keep their bytes: JPEG stays JPEG.
    is_unchanged = before.dtype == after.dtype and np.array_equal(before, after)
    is_kept = encoding == "source" and is_unchanged
    if is_kept and isinstance(content, bytes) and keeps_bytes(content):
        encoded = content
    else:
        encoded = encode(after, "qoi" if encoding == "qoi" else "png")
    # TFDS knows no QOI, which is a text to it, and takes files of images as such.
    return encoded if encoding == "qoi" else io.BytesIO(encoded)


def make_features(recipe: Recipe, labels: Labels) -> tfds.features.FeaturesDict:
    """Describes a record to TFDS: `image`, `name` and, with labels, `label` or `caption`."""
    form = recipe.format()
    shape = (form.height, form.width, form.channels)
    dtype = np.dtype(form.dtype)
    # The image as it is stored.
    if recipe.encoding == "raw":
        encoding = tfds.features.Encoding.BYTES
        image = tfds.features.Tensor(shape=shape, dtype=dtype, encoding=encoding)
    elif recipe.encoding == "qoi":
        image = tfds.features.Text(doc="An image in QOI format.")
    else:
        # Left open where records keep files of several formats. Grey with alpha is in PNG alone.
        is_png = recipe.encoding == "png" or dtype == np.uint16 or form.channels == 2
        file_format = "png" if is_png else None
        image = tfds.features.Image(shape=shape, dtype=dtype, encoding_format=file_format)

    # Its name and label.
    features = {"image": image, "name": tfds.features.Text()}
    if labels.kind == "classes":
        features["label"] = tfds.features.ClassLabel(names=list(labels.class_names))
    elif labels.kind == "vectors":
        features["label"] = tfds.features.Tensor(shape=(labels.c_dim,), dtype=np.float32)
    elif labels.kind == "captions":
        features["caption"] = tfds.features.Text()
    return tfds.features.FeaturesDict(features)
