"""Draws images from a checkpoint: a grid, single files, or one array.

    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-63 --out=grid.png
    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-9 --out=images/
    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-9999 --out=images.npz
    python -m stylegan_jax.tools.sample --checkpoint=DIR --ws=projected_w.npz --out=again.png

A grid is to be looked at: alpha lies on a checkerboard, and of more than 4 channels 3 show. Files
and arrays hold every channel, and are data sets that can be trained on: files are PNG, or TIFF of a
page per channel where there are more than 4; an .npz has the classes beside the images.

`--ws` draws styles that were saved, with the noise that was saved beside them, in place of seeds;
it may be given several times. A projection is drawn again to the pixel.

`--translate=0.1,-0.05 --rotate=30` shift and turn what a StyleGAN3 draws, or a StyleGAN2 that
begins with waves: to the right and down, in sides of the image, and counter-clockwise.

On labelled networks `--class=3` or `--class=NAME` draws one class.
Sweeps of truncation and the other figures of the papers: `stylegan_jax.tools.figures`.
"""

import dataclasses
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epath
from PIL import ExifTags, Image
from tqdm import tqdm

from stylegan_jax.data.codecs import ENCODINGS
from stylegan_jax.data.formats import BinaryFile
from stylegan_jax.files import replacing
from stylegan_jax.inference.arguments import NOISE_MODES, part_of_noise
from stylegan_jax.inference.generator import Generator, load
from stylegan_jax.inference.programs import CHUNK
from stylegan_jax.inference.saved import read_styles
from stylegan_jax.inference.seeds import parse_seeds
from stylegan_jax.inference.transforms import make_transform
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


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """Images that are to be drawn, in order.

    Attributes:
        what: What they are of, as errors say it: `9 seeds`.
        names: Of their single files, without suffix.
        texts: What each says of itself beside the network.
        draw: Positions to uint8 `[n, h, w, c]`.
        labels: Gives their class numbers, None without labels.
    """

    what: str
    names: list[str]
    texts: list[dict[str, Any]]
    draw: Callable[[Sequence[int]], np.ndarray]
    labels: Callable[[], np.ndarray | None]

    def __len__(self) -> int:
        return len(self.names)


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
    wanted = _Wanted(
        f"{len(seeds)} seeds",
        [f"seed{seed:04d}" for seed in seeds],
        [{"seed": seed, **kwargs} for seed in seeds],
        lambda part: generator.sample([seeds[i] for i in part], **kwargs),
        lambda: generator.labels(seeds, kwargs.get("class_idx")),
    )
    _write(generator, wanted, epath.Path(out))


def write_saved(
    generator: Generator,
    paths: Sequence[epath.PathLike],
    out: epath.PathLike,
    *,
    truncation_psi: float = 1.0,
    truncation_cutoff: int | None = None,
    noise_mode: str = "const",
    translate: Sequence[float] = (0.0, 0.0),
    rotate: float = 0.0,
) -> None:
    """Writes images of saved styles, `ws0000` and so on; see `write_images`.

    Args:
        generator: What draws them.
        paths: Files of styles, and of noise (`inference/saved.py`).
        out: As in `write_images`.
        truncation_psi: As in `Generator.truncate`.
        truncation_cutoff: As in `Generator.truncate`.
        noise_mode: `const` is the saved noise, the network's own where none is saved; `random` or
            `none`.
        translate: As in `Generator.sample`.
        rotate: As in `Generator.sample`.

    Raises:
        OSError: There is no such file.
        ValueError: What `read_styles`, `Generator.truncate` or `write_images` refuse.
    """
    saved = read_styles(paths, generator)
    for note in saved.notes:
        print(f"NOTE: {note}")
    ws = generator.truncate(saved.ws, truncation_psi, truncation_cutoff)
    moves = any(translate) or rotate != 0
    transform = make_transform(translate, rotate) if moves else None

    def draw(part: Sequence[int]) -> np.ndarray:
        index = np.asarray(part)
        noise = part_of_noise(saved.noise, index) if noise_mode == "const" else noise_mode
        return generator.synthesis(ws[index], noise, noise_seeds=part, transform=transform)

    options = {"truncation_psi": truncation_psi, "truncation_cutoff": truncation_cutoff}
    options["noise_mode"] = noise_mode
    options |= {"translate": list(translate), "rotate": rotate} if moves else {}
    wanted = _Wanted(
        f"{len(ws)} styles",
        [f"ws{i:04d}" for i in range(len(ws))],
        [{"ws": saved.fingerprint(i), "number": i, **options} for i in range(len(ws))],
        draw,
        lambda: None,
    )
    _write(generator, wanted, epath.Path(out))


def _write(generator: Generator, wanted: _Wanted, out: epath.Path) -> None:
    """Writes images as the name of a file or folder says."""
    suffix = out.suffix.lower()
    if suffix == _GRID:
        _write_grid(generator, wanted, out)
    elif suffix in _ARRAYS:
        _write_array(generator, wanted, out)
    else:
        _write_files(generator, wanted, out)


def _write_grid(generator: Generator, wanted: _Wanted, out: epath.Path) -> None:
    """Writes one picture, about as wide as high."""
    height, width = generator.shape.size
    most = most_cells(height, width)
    if len(wanted) > most:
        raise ValueError(
            f"{wanted.what} for one picture, which holds {most} images of "
            f"{name_size(generator.shape.size)} px: give at most so many, or a folder as --out for "
            "single files."
        )
    images = wanted.draw(range(len(wanted)))
    channels = images.shape[-1]
    # cols * width = rows * height, with cols * rows = n; of squares as many columns as rows.
    cols = math.ceil(math.sqrt(len(images) * height / width))
    grid = make_grid(images, min(cols, len(images)))
    save_png(out, grid, text=picture_text(channels))
    hidden = describe_hidden(channels)
    print(f"wrote {out}: {len(images)} images" + f", {hidden}" * bool(hidden))


def _write_array(generator: Generator, wanted: _Wanted, out: epath.Path) -> None:
    """Writes all images as one array, uint8 [n, h, w, c]."""
    labels = wanted.labels() if out.suffix.lower() == ".npz" else None
    with replacing(out) as path:
        if out.suffix.lower() == ".npy":
            with path.open("wb") as file:
                _write_values(wanted, file)
        else:
            # Stored, so that an image is read without the others. Entries of no date: equal
            # images give equal files.
            with zipfile.ZipFile(path, "w") as archive:
                with archive.open(zipfile.ZipInfo("images.npy"), "w", force_zip64=True) as file:
                    _write_values(wanted, file)
                if labels is not None:
                    with archive.open(zipfile.ZipInfo("labels.npy"), "w") as file:
                        np.lib.format.write_array(file, labels)
    print(f"wrote {out}: {len(wanted)} images of {generator.shape.img_channels} channel(s)")


def _write_values(wanted: _Wanted, file: BinaryFile) -> None:
    """Writes images as an `.npy`, a few at a time: all need not fit in memory."""
    header: dict[str, Any] = {}
    for part in _parts(wanted):
        images = wanted.draw(part)
        if not header:
            shape = (len(wanted), *images.shape[1:])
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(images.tobytes())


def _write_files(generator: Generator, wanted: _Wanted, out: epath.Path) -> None:
    """Writes a file per image, a few at a time, and leaves out what is there."""
    # Each file says what it shows; by its name alone it might be another network's.
    weights = generator.fingerprint()
    there = {path.name for path in out.iterdir()} if out.exists() else set()
    suffix = ".png" if generator.shape.img_channels in ENCODINGS["png"] else ".tif"

    kept = 0
    for part in _parts(wanted):
        paths = [out / f"{wanted.names[i]}{suffix}" for i in part]
        texts = [json.dumps({"weights": weights, **wanted.texts[i]}) for i in part]
        if all(path.name in there and _says(path, text) for path, text in zip(paths, texts)):
            kept += len(part)
            continue
        for path, text, img in zip(paths, texts, wanted.draw(part)):
            if suffix == ".png":
                save_png(path, img, text={_KEYWORD: text})
            else:
                save_tiff(path, img, text=text)
    print(f"wrote {len(wanted) - kept} files into {out}" + f", kept {kept}" * bool(kept))


def _parts(wanted: _Wanted) -> Iterator[range]:
    """Yields some positions at a time."""
    with tqdm(total=len(wanted), desc="drawing", unit=" images", disable=None) as bar:
        for start in range(0, len(wanted), CHUNK):
            part = range(start, min(start + CHUNK, len(wanted)))
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
    command.define_ws_flag()
    text(
        "out",
        None,
        "grid.png, images.npz (or .npy), or a folder for single files; gs:// too.",
        required=True,
    )
    flags.DEFINE_float("truncation_psi", 1.0, "Truncation; 1 for none.")
    number("truncation_cutoff", None, "Layers to truncate; all by default.")
    flags.DEFINE_enum("noise_mode", "const", NOISE_MODES, "Noise inputs.")
    text("translate", None, "X,Y: shift images right and down, in sides of the image.")
    flags.DEFINE_float("rotate", None, "Turn images counter-clockwise, in degrees.")
    command.define_class_flag()


def main(argv: list[str]) -> None:
    """Reads the flags and writes the images."""
    FLAGS = flags.FLAGS
    command.begin(argv)
    # What cannot be written or read is refused before the network is loaded.
    suffix = next((end for end in (_GRID, *_ARRAYS) if FLAGS.out.lower().endswith(end)), None)
    out = command.check_output(FLAGS.out, suffix)
    seeds = parse_seeds(FLAGS.seeds)
    command.check_ws_flag()
    options = {
        "truncation_psi": FLAGS.truncation_psi,
        "truncation_cutoff": FLAGS.truncation_cutoff,
        "noise_mode": FLAGS.noise_mode,
    }
    # A file says how its image was moved only where it was.
    if FLAGS.translate is not None:
        options["translate"] = command.parse_numbers(FLAGS.translate, "--translate")
    if FLAGS.rotate is not None:
        options["rotate"] = FLAGS.rotate
    make_transform(options.get("translate", (0, 0)), options.get("rotate", 0))
    generator = load(**command.checkpoint_options())
    if FLAGS.ws:
        write_saved(generator, FLAGS.ws, out, **options)
    else:
        write_images(generator, seeds, out, class_idx=FLAGS["class"].value, **options)


if __name__ == "__main__":
    define_flags()
    command.run(main)
