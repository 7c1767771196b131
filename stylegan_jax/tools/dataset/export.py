"""Data sets written as the zips that NVIDIA's StyleGAN repositories train from."""

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator
from typing import Any

from etils import epath

from stylegan_jax.data.archives import Archive, ArchiveError
from stylegan_jax.data.archives.image_files import LABEL_FILE
from stylegan_jax.data.codecs import ImageFormat, encode
from stylegan_jax.data.labels import Labels
from stylegan_jax.sizes import Size, describe_pixels, is_made
from stylegan_jax.tools.dataset.scanning import format_of, map_images, read_named


def export_zip(
    archive: Archive, out: epath.PathLike, *, num_threads: int | None = None
) -> epath.Path:
    """Writes images and labels as a zip of PNG files, neither of them compressed.

    The images become `00000/img00000000.png` and so on, in order, the labels `dataset.json`; names
    of images and classes have no place there. Labels that go by a name stand in an entry of their
    own, which NVIDIA's repositories pass over. Equal images and labels give equal files.

    Args:
        archive: The data set; images of one size that networks make, grey or RGB of 8 bits.
        out: The file to write, local or in a bucket. It appears when it is whole.
        num_threads: See `map_images`.

    Returns:
        `out`.

    Raises:
        ArchiveError: `out` exists, is no name of a zip, or the format does not hold the images.
    """
    out = epath.Path(out).expanduser()
    if out.suffix.lower() != ".zip":
        raise ArchiveError(f"{out}: give the name of a zip file.")
    labels = archive.labels
    # The first image stands for all; another one ends the export.
    form = format_of(read_named(archive, 0))
    images = map_images(
        lambda index: _encode(archive, index, form),
        range(len(archive)),
        doing="exporting",
        num_threads=num_threads,
    )
    with _new_file(out) as file, zipfile.ZipFile(file, "w") as members:
        names = []
        for index, png in enumerate(images):
            names.append(f"{index // 1000:05d}/img{index:08d}.png")
            members.writestr(_member(names[-1]), png)
        # Numbers and texts, and `null` where there are no labels.
        content = {"labels": _pairs(names, labels)}
        if archive.named_labels:
            content["named_labels"] = {
                name: {
                    "class_names": some.class_names,
                    "columns": some.columns,
                    "labels": _pairs(names, some),
                }
                for name, some in archive.named_labels.items()
            }
        members.writestr(_member(LABEL_FILE), json.dumps(content))
    return out


def note_on_size(size: Size) -> str:
    """Says where NVIDIA's repositories do not train on images of a size; nothing where they do."""
    height, width = size
    if height == width and height & (height - 1) == 0:
        return ""
    return (
        f"images of {describe_pixels(size)} are read here and by programs that make such; NVIDIA's "
        "repositories take squares with a power of two as their side."
    )


def _pairs(names: list[str], labels: Labels) -> Any:
    """Returns pairs of name and label as JSON holds them; None for no labels."""
    return None if labels.kind == "none" else list(zip(names, labels.values.tolist()))


def _encode(archive: Archive, index: int, form: ImageFormat) -> bytes:
    """Encodes one image as a PNG without compression, if the zip can hold it."""
    pixels = read_named(archive, index)
    found = format_of(pixels)
    if not is_made(form.size) or form.channels not in (1, 3) or form.dtype != "uint8":
        # More channels are not converted, by `prepare` neither.
        advice = ": prepare the data set first" if found.channels <= 4 else ""
        raise ArchiveError(
            f"{archive.where(index)}: {found}. This format holds images of a size that networks "
            f"make, grey or RGB of 8 bits{advice}."
        )
    if found != form:
        raise ArchiveError(
            f"{archive.where(index)}: {found}, but the first image has {form}. This format holds "
            "images of one size and type: prepare the data set first, or `check` lists all others."
        )
    return encode(pixels, level=0)


def _member(name: str) -> zipfile.ZipInfo:
    """Makes a zip's entry without a trace of the time and system that it was written by."""
    # A date of 1980; Unix, a file that all may read.
    member = zipfile.ZipInfo(name)
    member.create_system = 3
    member.external_attr = 0o644 << 16
    return member


@contextlib.contextmanager
def _new_file(path: epath.Path) -> Iterator[Any]:
    """Opens a file for writing that appears under its name when all went well.

    Raises:
        ArchiveError: It exists.
    """
    if path.exists():
        raise ArchiveError(f"{path} exists: remove it first, or choose another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".{path.name}.{os.getpid()}.partial"
    try:
        with partial.open("wb") as file:
            yield file
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
