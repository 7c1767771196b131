"""Draws images from a checkpoint: a grid, single files, or one array.

    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-63 --out=grid.png
    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-9 --out=images/
    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-9999 --out=images.npz

A grid is to be looked at: alpha lies on a checkerboard, and of more than 4 channels 3 show. Files
and arrays hold every channel, and are data sets that can be trained on: files are PNG, or TIFF of a
page per channel where there are more than 4; an .npz has the classes beside the images.

On labelled networks `--class=3` or `--class=NAME` draws one class.
Sweeps of truncation and the other figures of the papers: `stylegan_jax.tools.figures`.
"""

import json
import math
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epath
from PIL import ExifTags, Image
from tqdm import tqdm

from stylegan_jax.data.codecs import ENCODINGS
from stylegan_jax.data.formats import BinaryFile
from stylegan_jax.files import replacing
from stylegan_jax.inference.generator import NOISE_MODES, Generator, load
from stylegan_jax.inference.programs import CHUNK
from stylegan_jax.inference.seeds import parse_seeds
from stylegan_jax.run.capacity import most_cells
from stylegan_jax.run.images import (
    describe_hidden,
    make_grid,
    picture_text,
    save_png,
    save_tiff,
)
from stylegan_jax.sizes import name_size
from stylegan_jax.tools import command

# Under which a picture says what it shows.
_KEYWORD = "stylegan_jax"
# Of a single file, what else is a folder.
_GRID = ".png"
_ARRAYS = (".npy", ".npz")


def write_images(generator: Generator, seeds: Sequence[int], out: epath.PathLike, **kwargs) -> None:
    """Writes a grid to a PNG, one array to an `.npy` or `.npz`, else a file per seed into a folder.

    Files of the same seed, network and options that lie there already are kept, so that the same
    command goes on where it was stopped.

    Args:
        generator: What draws them.
        seeds: One image each.
        out: A file that ends in .png, .npy or .npz, or a folder.
        **kwargs: Options of `Generator.sample`, the same for all.

    Raises:
        ValueError: More images than one picture holds, or what `Generator.sample` refuses.
    """
    out = epath.Path(out)
    suffix = out.suffix.lower()
    if suffix == _GRID:
        _write_grid(generator, seeds, out, **kwargs)
    elif suffix in _ARRAYS:
        _write_array(generator, seeds, out, **kwargs)
    else:
        _write_files(generator, seeds, out, **kwargs)


def _write_grid(generator: Generator, seeds: Sequence[int], out: epath.Path, **kwargs) -> None:
    """Writes one picture, about as wide as high."""
    height, width = generator.shape.size
    most = most_cells(height, width)
    if len(seeds) > most:
        raise ValueError(
            f"{len(seeds)} seeds for one picture, which holds {most} images of "
            f"{name_size(generator.shape.size)} px: give at most so many, or a folder as --out for "
            "single files."
        )
    images = generator.sample(seeds, **kwargs)
    channels = images.shape[-1]
    # cols * width = rows * height, with cols * rows = n; of squares as many columns as rows.
    cols = math.ceil(math.sqrt(len(images) * height / width))
    grid = make_grid(images, min(cols, len(images)))
    save_png(out, grid, text=picture_text(channels))
    hidden = describe_hidden(channels)
    print(f"wrote {out}: {len(images)} images" + f", {hidden}" * bool(hidden))


def _write_array(generator: Generator, seeds: Sequence[int], out: epath.Path, **kwargs) -> None:
    """Writes all images as one array, uint8 [n, h, w, c]."""
    with replacing(out) as path:
        if out.suffix.lower() == ".npy":
            with path.open("wb") as file:
                _write_values(generator, seeds, file, **kwargs)
        else:
            labels = generator.labels(seeds, kwargs.get("class_idx"))
            # Stored, so that an image is read without the others. Entries of no date: equal
            # images give equal files.
            with zipfile.ZipFile(path, "w") as archive:
                with archive.open(zipfile.ZipInfo("images.npy"), "w", force_zip64=True) as file:
                    _write_values(generator, seeds, file, **kwargs)
                if labels is not None:
                    with archive.open(zipfile.ZipInfo("labels.npy"), "w") as file:
                        np.lib.format.write_array(file, labels)
    print(f"wrote {out}: {len(seeds)} images of {generator.shape.img_channels} channel(s)")


def _write_values(generator: Generator, seeds: Sequence[int], file: BinaryFile, **kwargs) -> None:
    """Writes images as an `.npy`, a few at a time: all need not fit in memory."""
    header: dict[str, Any] = {}
    for part in _parts(seeds):
        images = generator.sample(part, **kwargs)
        if not header:
            shape = (len(seeds), *images.shape[1:])
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(images.tobytes())


def _write_files(generator: Generator, seeds: Sequence[int], out: epath.Path, **kwargs) -> None:
    """Writes a file per seed, a few at a time, and leaves out what is there."""
    # Each file says what it shows; by its name alone it might be another network's.
    made_by = {"weights": generator.fingerprint(), **kwargs}
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    suffix = ".png" if generator.shape.img_channels in ENCODINGS["png"] else ".tif"

    kept = 0
    for part in _parts(seeds):
        paths = [out / f"seed{seed:04d}{suffix}" for seed in part]
        texts = [json.dumps({"seed": seed, **made_by}) for seed in part]
        if all(path.name in names and _says(path, text) for path, text in zip(paths, texts)):
            kept += len(part)
            continue
        for path, text, img in zip(paths, texts, generator.sample(part, **kwargs)):
            if suffix == ".png":
                save_png(path, img, text={_KEYWORD: text})
            else:
                save_tiff(path, img, text=text)
    print(f"wrote {len(seeds) - kept} files into {out}" + f", kept {kept}" * bool(kept))


def _parts(seeds: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yields some seeds at a time."""
    with tqdm(total=len(seeds), desc="drawing", unit=" images", disable=None) as bar:
        for start in range(0, len(seeds), CHUNK):
            part = seeds[start : start + CHUNK]
            yield part
            bar.update(len(part))


def _says(path: epath.Path, text: str) -> bool:
    """Tells whether a picture is what a text says; one that cannot be read is not."""
    try:
        with path.open("rb") as file, Image.open(file) as picture:
            found = picture.info.get(_KEYWORD)
            return (found or picture.getexif().get(ExifTags.Base.ImageDescription)) == text
    except OSError:
        return False


def define_flags() -> None:
    """Declares the options; not on import, as two tools share names."""
    text = flags.DEFINE_string
    number = flags.DEFINE_integer
    command.define_checkpoint_flags()
    text("seeds", "0-63", "Seeds: 0-63 or 1,5,7-9.")
    text(
        "out",
        None,
        "grid.png, images.npz (or .npy), or a folder for single files; gs:// too.",
        required=True,
    )
    flags.DEFINE_float("truncation_psi", 1.0, "Truncation; 1 for none.")
    number("truncation_cutoff", None, "Layers to truncate; all by default.")
    flags.DEFINE_enum("noise_mode", "const", NOISE_MODES, "Noise inputs.")
    command.define_class_flag()


def main(argv: list[str]) -> None:
    """Reads the flags and writes the images."""
    FLAGS = flags.FLAGS
    command.begin(argv)
    # What cannot be written or read is refused before the network is loaded.
    suffix = next((end for end in (_GRID, *_ARRAYS) if FLAGS.out.lower().endswith(end)), None)
    out = command.check_output(FLAGS.out, suffix)
    seeds = parse_seeds(FLAGS.seeds)
    write_images(
        load(FLAGS.checkpoint, step=FLAGS.step),
        seeds,
        out,
        truncation_psi=FLAGS.truncation_psi,
        truncation_cutoff=FLAGS.truncation_cutoff,
        noise_mode=FLAGS.noise_mode,
        class_idx=FLAGS["class"].value,
    )


if __name__ == "__main__":
    define_flags()
    command.run(main)
