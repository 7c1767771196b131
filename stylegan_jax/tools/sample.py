"""Draws images from a checkpoint: a grid, or single files.

    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-63 --out=grid.png
    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-9 --out=images/

On labelled networks `--class=3` or `--class=NAME` draws one class.
Sweeps of truncation and the other figures of the papers: `stylegan_jax.tools.figures`.
"""

import json
import math
from collections.abc import Sequence

from absl import app, flags, logging
from etils import epath
from PIL import Image
from tqdm import tqdm

from stylegan_jax.run.capacity import most_cells
from stylegan_jax.run.images import make_grid, save_png
from stylegan_jax.sizes import name_size
from stylegan_jax.tools import command
from stylegan_jax.tools.generator import CHUNK, NOISE_MODES, Generator, parse_seeds

# Under which a picture says what it shows.
_KEYWORD = "stylegan_jax"


def write_images(generator: Generator, seeds: Sequence[int], out: epath.PathLike, **kwargs) -> None:
    """Writes a grid to `out` if it names a PNG file, else one file per seed into that folder.

    Files of the same seed, network and options that lie there already are kept, so that the same
    command goes on where it was stopped.

    Args:
        generator: What draws them.
        seeds: One image each.
        out: A file that ends in .png, or a folder.
        **kwargs: Options of `Generator.images`, the same for all.

    Raises:
        ValueError: More images than one picture holds, or what `Generator.images` refuses.
    """
    out = epath.Path(out)
    if out.suffix.lower() == ".png":
        _write_grid(generator, seeds, out, **kwargs)
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
    images = generator.images(seeds, **kwargs)
    # cols * width = rows * height, with cols * rows = n; of squares as many columns as rows.
    cols = math.ceil(math.sqrt(len(images) * height / width))
    save_png(out, make_grid(images, min(cols, len(images))))
    print(f"wrote {out}: {len(images)} images")


def _write_files(generator: Generator, seeds: Sequence[int], out: epath.Path, **kwargs) -> None:
    """Writes a file per seed, a few at a time, and leaves out what is there."""
    # Each file says what it shows; by its name alone it might be another network's.
    made_by = {"weights": generator.fingerprint(), **kwargs}
    names = {path.name for path in out.iterdir()} if out.exists() else set()

    # One program draws all: the last part is filled up with the last seed.
    size = max(1, min(len(seeds), CHUNK))
    kept = 0
    with tqdm(total=len(seeds), desc="drawing", unit=" images", disable=None) as bar:
        for start in range(0, len(seeds), size):
            part = seeds[start : start + size]
            paths = [out / f"seed{seed:04d}.png" for seed in part]
            texts = [json.dumps({"seed": seed, **made_by}) for seed in part]
            if all(path.name in names and _says(path, text) for path, text in zip(paths, texts)):
                kept += len(part)
            else:
                filled = [*part, *[part[-1]] * (size - len(part))]
                for path, text, img in zip(paths, texts, generator.images(filled, **kwargs)):
                    save_png(path, make_grid(img[None], 1), text={_KEYWORD: text})
            bar.update(len(part))
    print(f"wrote {len(seeds) - kept} files into {out}" + f", kept {kept}" * bool(kept))


def _says(path: epath.Path, text: str) -> bool:
    """Tells whether a picture is what a text says; one that cannot be read is not."""
    try:
        with path.open("rb") as file, Image.open(file) as picture:
            return picture.info.get(_KEYWORD) == text
    except OSError:
        return False


def define_flags() -> None:
    """Declares the options; not on import, as two tools share names."""
    text = flags.DEFINE_string
    number = flags.DEFINE_integer
    text("checkpoint", None, "Workdir, checkpoints folder or one step; gs:// too.", required=True)
    text("step", "latest", "Image count, 'latest' or 'best'.")
    text("seeds", "0-63", "Seeds: 0-63 or 1,5,7-9.")
    text("out", None, "grid.png, or a folder for single files; gs:// too.", required=True)
    flags.DEFINE_float("truncation_psi", 1.0, "Truncation; 1 for none.")
    number("truncation_cutoff", None, "Layers to truncate; all by default.")
    flags.DEFINE_enum("noise_mode", "const", NOISE_MODES, "Noise inputs.")
    command.define_class_flag()


def main(argv: list[str]) -> None:
    """Reads the flags and writes the images."""
    FLAGS = flags.FLAGS
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments {argv[1:]}; every option is --name=value.")
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # libraries report their every step below that
    # What cannot be written or read is refused before the network is loaded.
    is_grid = FLAGS.out.lower().endswith(".png")
    out = command.check_output(FLAGS.out, ".png" if is_grid else None)
    seeds = parse_seeds(FLAGS.seeds)
    write_images(
        Generator(FLAGS.checkpoint, step=FLAGS.step),
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
