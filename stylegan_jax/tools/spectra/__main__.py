"""Compares the average power spectra of training images and of what a network draws.

    python -m stylegan_jax.tools.spectra --checkpoint=DIR --out=spectra.png

A grid of bright points, or a cross, in the fakes' heat map that the reals do not have is a pattern
that the network adds everywhere, as of aliasing. Below the maps are curves along rings, both axes
(slices at 0 and 90 degrees) and the diagonals (45 degrees): fakes that fall below the reals at high
frequencies lack detail. Levels are in dB of white noise with the standard deviation of the reals'
pixels.

Beside the picture lies an .npz with the same name: `reals` and `fakes` [4 h, 4 w] as power, their
profiles (`reals_radial`, ...), `frequency` in cycles per pixel, `mean` and `std` in grey levels.

A run says what it was trained with; for other files, and where the images lie elsewhere now,
`--data` is the name or path of any data set of the network's size.

Source: Karras et al. 2021 (StyleGAN3), appendix B.3.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import flags
from etils import epath
from tqdm import tqdm

from stylegan_jax.data.formats import WITH_ALPHA
from stylegan_jax.files import replacing
from stylegan_jax.inference.arguments import NOISE_MODES
from stylegan_jax.inference.generator import Generator, load
from stylegan_jax.inference.programs import CHUNK
from stylegan_jax.inference.seeds import check_seeds
from stylegan_jax.metrics import Images
from stylegan_jax.metrics.spectrum import (
    Profiles,
    average_spectrum,
    make_profiles,
    measure_levels,
)
from stylegan_jax.run.fakes import GreyLevels
from stylegan_jax.run.images import save_png
from stylegan_jax.tools import command
from stylegan_jax.tools.spectra.picture import draw_spectra
from stylegan_jax.tools.training_images import define_data_flags, open_training_images


def drop_alpha(images: np.ndarray) -> np.ndarray:
    """Leaves the colours: alpha is no brightness. uint8 `[..., c]`."""
    return images[..., :-1] if images.shape[-1] in WITH_ALPHA else images


def draw_fakes(generator: Generator, num_images: int, seed: int, **kwargs) -> Iterator[np.ndarray]:
    """Yields batches of uint8 images of the seeds `seed`, `seed + 1`, ...; options of `images`."""
    check_seeds([seed + num_images - 1])
    for start in _starts(num_images, "drawing"):
        # As many in every batch, so that one program draws all.
        seeds = range(seed + start, seed + start + CHUNK)
        yield drop_alpha(generator.sample(seeds, **kwargs)[: num_images - start])


def read_reals(images: Images, order: np.ndarray, doing: str) -> Iterator[np.ndarray]:
    """Yields batches of uint8 images at the given positions."""
    for start in _starts(len(order), doing):
        yield drop_alpha(np.stack([images[int(i)] for i in order[start : start + CHUNK]]))


def _starts(num_images: int, doing: str) -> Iterator[int]:
    """Yields where batches begin, with a bar."""
    with tqdm(total=num_images, desc=doing, unit=" images", disable=None) as bar:
        for start in range(0, num_images, CHUNK):
            yield start
            bar.update(min(CHUNK, num_images - start))


def compare(
    generator: Generator,
    reals: Images,
    *,
    num_images: int = 1000,
    seed: int = 0,
    **kwargs,
) -> tuple[dict[str, np.ndarray], float, float]:
    """Measures both spectra on the reals' scale.

    Args:
        generator: Any network.
        reals: Its training images.
        num_images: How many of either; of reals all, where there are fewer.
        seed: Of the choice of reals, and the first of fakes.
        **kwargs: Options of `Generator.sample`.

    Returns:
        `{"reals": ..., "fakes": ...}` as `average_spectrum` has them, and the reals' mean and
        standard deviation in grey levels.

    Raises:
        ValueError: The reals are all of one colour, or `num_images` is below 1.
    """
    if num_images < 1:
        raise ValueError(f"num_images={num_images}: give 1 or more.")
    order = np.random.default_rng(seed).permutation(len(reals))[:num_images]
    mean, std = measure_levels(read_reals(reals, order, "measuring"))
    batches = read_reals(reals, order, "reading")
    fakes = draw_fakes(generator, num_images, seed, **kwargs)
    spectra = {
        "reals": average_spectrum(batches, mean=mean, std=std),
        "fakes": average_spectrum(fakes, mean=mean, std=std),
    }
    return spectra, mean, std


def write_arrays(
    out: epath.Path,
    spectra: dict[str, np.ndarray],
    profiles: dict[str, Profiles],
    mean: float,
    std: float,
) -> None:
    """Writes the numbers beside the picture."""
    arrays: dict[str, Any] = {**spectra, "mean": mean, "std": std}
    for name, found in profiles.items():
        values = dataclasses.asdict(found)
        arrays["frequency"] = values.pop("frequency")
        arrays |= {f"{name}_{curve}": value for curve, value in values.items()}
    with replacing(out.with_suffix(".npz")) as path, path.open("wb") as file:
        np.savez(file, **arrays)


def define_flags() -> None:
    """Declares the options; not on import, as two tools share names."""
    text = flags.DEFINE_string
    number = flags.DEFINE_integer
    command.define_checkpoint_flags()
    text("out", None, "The PNG; an .npz goes beside it.", required=True)
    number("num_images", 1000, "Of reals and of fakes.", lower_bound=1)
    number("seed", 0, "Of the choice of reals, and of the first fake.", lower_bound=0)
    flags.DEFINE_float("truncation_psi", 1.0, "Truncation; 1 for none.")
    flags.DEFINE_enum("noise_mode", "random", NOISE_MODES, "Noise inputs.")
    define_data_flags()


def main(argv: list[str]) -> None:
    """Reads the flags and writes picture and numbers."""
    FLAGS = flags.FLAGS
    command.begin(argv)
    # What cannot be written is refused before the network is loaded.
    out = command.check_output(FLAGS.out, ".png")
    generator = load(**command.checkpoint_options())
    source = open_training_images(generator, FLAGS.data, FLAGS.data_dir).shown
    spectra, mean, std = compare(
        generator,
        GreyLevels(source),
        num_images=FLAGS.num_images,
        seed=FLAGS.seed,
        truncation_psi=FLAGS.truncation_psi,
        noise_mode=FLAGS.noise_mode,
    )
    profiles = {name: make_profiles(spectrum) for name, spectrum in spectra.items()}
    save_png(out, draw_spectra(spectra, profiles))
    write_arrays(out, spectra, profiles, mean, std)

    # How far the fakes are from the reals in the upper half of frequencies.
    upper = profiles["reals"].frequency >= 0.25
    ratio = profiles["fakes"].radial[upper].mean() / profiles["reals"].radial[upper].mean()
    print(
        f"wrote {out} and .npz: {min(FLAGS.num_images, len(source))} reals, {FLAGS.num_images} "
        f"fakes; above 0.25 cycles per pixel fakes have {10 * np.log10(ratio):+.1f} dB"
    )


if __name__ == "__main__":
    define_flags()
    command.run(main)
