"""Draws images from a checkpoint: a grid, single files, or a truncation sweep.

    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-63 --out=grid.png
    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-9 --out=images/
    python -m stylegan_jax.tools.sample --checkpoint=DIR --seeds=0-3 --psi_sweep=1,0.7,0.5,0,-0.5 \\
        --out=sweep.png
"""

import math
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from absl import app, flags, logging
from ml_collections import ConfigDict

from stylegan_jax.training.build import ImageShape, make_generator
from stylegan_jax.training.checkpoint import restore_subtree
from stylegan_jax.training.images import label_grid, make_grid, save_png, to_uint8
from stylegan_jax.training.programs import make_sampler

_CHUNK = 32
_MIN_LABELLED_PX = 64


class Generator:
    """A trained generator: `images(seeds, ...)` draws what the command line asks for."""

    def __init__(self, checkpoint: str, *, step: int | str = "latest"):
        """Loads `G_ema` and its statistics.

        Args:
            checkpoint: Workdir, its checkpoints folder, or one step.
            step: Image count, `latest` or `best`.

        Raises:
            FileNotFoundError: There is no checkpoint.
        """
        (trees, meta) = restore_subtree(checkpoint, ["G_ema", "stats"], step=step)
        self._params, self._stats = trees["G_ema"], trees["stats"]
        self.config = ConfigDict(meta["config"])
        data = meta["data"]
        self.class_names: list[str] = data["class_names"]
        self.shape = ImageShape(data["img_resolution"], data["img_channels"], data["c_dim"])
        graphdef, _ = make_generator(self.config, self.shape)
        self._sample = make_sampler(graphdef, self.shape.img_resolution)

    def images(
        self,
        seeds: Sequence[int],
        *,
        truncation_psi: float | Sequence[float] = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: str = "const",
        class_idx: int | None = None,
    ) -> np.ndarray:
        """Draws one image per seed.

        Args:
            seeds: Seed n stands for the latent `numpy.random.RandomState(n).randn(z_dim)`.
            truncation_psi: Factor on the distance to the mean style; one, or one per seed.
            truncation_cutoff: Only the first layers are truncated; None: all.
            noise_mode: `const`, `random` or `none`.
            class_idx: Class of every image; None draws one per seed.

        Returns:
            uint8 `[n, h, w, c]`.

        Raises:
            ValueError: A class is asked for that the network does not know.
        """
        c_dim = self.shape.c_dim
        if class_idx is not None and not 0 <= class_idx < c_dim:
            known = f"0..{c_dim - 1} ({', '.join(self.class_names)})" if c_dim else "none"
            raise ValueError(f"class_idx={class_idx}: this network knows {known}.")
        draws = [np.random.RandomState(seed) for seed in seeds]
        z = np.stack([r.randn(self.config.G.z_dim) for r in draws]).astype(np.float32)
        classes = [r.randint(max(c_dim, 1)) if class_idx is None else class_idx for r in draws]
        c = np.eye(max(c_dim, 1), dtype=np.float32)[classes][:, :c_dim]
        psi = np.broadcast_to(np.asarray(truncation_psi, np.float32), len(z))
        images = []
        for start in range(0, len(z), _CHUNK):
            part = slice(start, start + _CHUNK)
            key = jax.random.key(seeds[start])
            img = self._sample(
                self._params,
                self._stats,
                z[part],
                c[part],
                key,
                psi[part],
                noise_mode=noise_mode,
                truncation_cutoff=truncation_cutoff,
            )
            images.append(to_uint8(img))
        return np.concatenate(images)


def parse_seeds(text: str) -> list[int]:
    """Reads `"0-63"`, `"1,5,7-9"` as a list of seeds.

    Raises:
        ValueError: Something else than numbers and ranges.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            seeds += range(int(first), int(last) + 1) if dash else [int(first)]
        except ValueError:
            raise ValueError(
                f"seeds={text!r}: give numbers and ranges, as 0-63 or 1,5,7-9."
            ) from None
    if not seeds:
        raise ValueError(f"seeds={text!r} holds no seed: give a range such as 0-63.")
    return seeds


def write_images(generator: Generator, seeds: Sequence[int], out: pathlib.Path, **kwargs) -> None:
    """Writes a grid to `out` if it names a PNG file, else one file per seed into that folder."""
    images = generator.images(seeds, **kwargs)
    if out.suffix.lower() == ".png":
        save_png(out, make_grid(images, math.ceil(math.sqrt(len(images)))))
        print(f"wrote {out}: {len(images)} images")
        return
    for seed, img in zip(seeds, images):
        save_png(out / f"seed{seed:04d}.png", make_grid(img[None], 1))
    print(f"wrote {len(images)} files into {out}")


def write_psi_sweep(
    generator: Generator, seeds: Sequence[int], psis: Sequence[float], out: pathlib.Path, **kwargs
) -> None:
    """Writes a labelled grid: one seed per row, one psi per column."""
    repeated = np.repeat(np.asarray(seeds), len(psis)).tolist()
    psi = np.tile(np.asarray(psis), len(seeds)).tolist()
    images = generator.images(repeated, truncation_psi=psi, **kwargs)
    # Small images are enlarged until the labels fit their columns.
    zoom = max(1, _MIN_LABELLED_PX // generator.shape.img_resolution)
    grid = make_grid(images.repeat(zoom, axis=1).repeat(zoom, axis=2), len(psis))
    labels = label_grid(grid, [f"seed {s}" for s in seeds], [f"psi {p:g}" for p in psis])
    save_png(out, labels)
    print(f"wrote {out}: {len(seeds)} seeds x {len(psis)} values of psi")


_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Workdir, checkpoints folder or one step.")
_STEP = flags.DEFINE_string("step", "latest", "Image count, 'latest' or 'best'.")
_SEEDS = flags.DEFINE_string("seeds", "0-63", "Seeds: 0-63 or 1,5,7-9.")
_OUT = flags.DEFINE_string("out", None, "grid.png, or a folder for single files.")
_PSI = flags.DEFINE_float("truncation_psi", 1.0, "Truncation; 1 for none.")
_CUTOFF = flags.DEFINE_integer("truncation_cutoff", None, "Layers to truncate; all by default.")
_NOISE = flags.DEFINE_enum("noise_mode", "const", ["const", "random", "none"], "Noise inputs.")
_CLASS = flags.DEFINE_integer("class_idx", None, "Class of every image, for labelled networks.")
_SWEEP = flags.DEFINE_list("psi_sweep", None, "Values of psi for a grid: seeds x psi.")


def main(argv: list[str]) -> None:
    """Reads the flags and writes the images."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments {argv[1:]}; every option is --name=value.")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # libraries report their every step below that
    step = int(_STEP.value) if _STEP.value.isdigit() else _STEP.value
    seeds, out = parse_seeds(_SEEDS.value), pathlib.Path(_OUT.value)
    generator = Generator(_CHECKPOINT.value, step=step)
    kwargs = dict(truncation_cutoff=_CUTOFF.value, noise_mode=_NOISE.value, class_idx=_CLASS.value)
    if _SWEEP.value:
        write_psi_sweep(generator, seeds, [float(p) for p in _SWEEP.value], out, **kwargs)
    else:
        write_images(generator, seeds, out, truncation_psi=_PSI.value, **kwargs)


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint", "out"])
    app.run(main)
