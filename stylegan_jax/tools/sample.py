"""Draws images from a checkpoint: a grid, or single files.

    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-63 --out=grid.png
    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-9 --out=images/

On labelled networks `--class=3` or `--class=NAME` draws one class.
Sweeps of truncation and the other figures of the papers: `stylegan_jax.tools.figures`.
"""

import math
from collections.abc import Sequence

from absl import app, flags, logging
from etils import epath

from stylegan_jax.run.images import make_grid, save_png
from stylegan_jax.tools import command
from stylegan_jax.tools.generator import NOISE_MODES, Generator, parse_seeds


def write_images(generator: Generator, seeds: Sequence[int], out: epath.PathLike, **kwargs) -> None:
    """Writes a grid to `out` if it names a PNG file, else one file per seed into that folder."""
    out = epath.Path(out)
    images = generator.images(seeds, **kwargs)

    # One square grid, or a file for each.
    if out.suffix.lower() == ".png":
        save_png(out, make_grid(images, math.ceil(math.sqrt(len(images)))))
        print(f"wrote {out}: {len(images)} images")
        return
    for seed, img in zip(seeds, images):
        save_png(out / f"seed{seed:04d}.png", make_grid(img[None], 1))
    print(f"wrote {len(images)} files into {out}")


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
