"""Figures 3, 4, 5 and 8 of the StyleGAN paper.

Source: Karras et al. 2019 (StyleGAN); the paper's seeds and numbers are the defaults.
"""

from collections.abc import Sequence

import numpy as np

from stylegan_jax.inference.generator import Generator
from stylegan_jax.run.capacity import most_cells
from stylegan_jax.run.images import lay_out
from stylegan_jax.sizes import name_size
from stylegan_jax.tools.figures.layers import check_boundaries, choose_copied_styles, span
from stylegan_jax.tools.figures.picture import Figure, check_cells, crop, deviation_map, enlarge

# Smaller images are seen whole; a crop of a quarter adds nothing.
_MIN_CROPPED_PX = 128


def _check_styles(generator: Generator, figure: str) -> None:
    """Refuses networks whose layers read no styles."""
    if not generator.has_styles:
        raise ValueError(
            f"--figure={figure} needs styles, and the layers of this {generator.origin.family!r} "
            f"read none: give the checkpoint of a StyleGAN."
        )


def _check_noise(generator: Generator, figure: str) -> None:
    """Refuses networks without noise inputs."""
    if not generator.noise_layers():
        raise ValueError(
            f"--figure={figure} needs noise inputs, and this {generator.origin.family!r} has "
            "none: give a checkpoint that was trained with them (G.use_noise)."
        )


def style_mixing(
    generator: Generator,
    *,
    row_seeds: Sequence[int] = (888, 829, 1898, 1733, 1614, 845),
    col_seeds: Sequence[int] = (639, 701, 687, 615, 2268),
    boundaries: Sequence[int] | None = None,
    copied_styles: Sequence[int] | None = None,
    truncation_psi: float = 1.0,
    class_idx: int | str | None = None,
) -> Figure:
    """Draws figure 3: images of the rows with some styles of the images of the columns.

    The first row shows the sources, the first column the destinations; stored noise. Of the rows,
    one half copies the coarse styles, one third the middle and one sixth the fine ones (nearest
    whole numbers; the paper: 3, 2, 1).

    Args:
        generator: A network with styles.
        row_seeds: Destinations.
        col_seeds: Sources.
        boundaries: Where middle and fine styles begin; default `layer_boundaries`.
        copied_styles: Copy these in every row, in place of the three bands.
        truncation_psi: Factor on the distance to the mean style.
        class_idx: Class of every image, by number or name; None draws one per seed.

    Returns:
        `len(row_seeds) + 1` rows and `len(col_seeds) + 1` columns; the corner is white.

    Raises:
        ValueError: The network has no styles, or not those that are asked for.
    """
    # Label and copied styles of each row.
    _check_styles(generator, "style_mixing")
    check_cells(len(row_seeds) + 1, len(col_seeds) + 1, generator.shape.size)
    copied = choose_copied_styles(generator.num_ws, len(row_seeds), boundaries, copied_styles)

    # Styles of destinations and sources, and of every pair of them.
    seeds = [*row_seeds, *col_seeds]
    ws = generator.styles(seeds, truncation_psi=truncation_psi, class_idx=class_idx)
    ws_rows = ws[: len(row_seeds)]
    ws_cols = ws[len(row_seeds) :]
    mixed = np.repeat(ws_rows[:, None], len(col_seeds), axis=1)  # [rows, cols, num_ws, w_dim]
    for row, (_, layers) in enumerate(copied):
        mixed[row][:, layers] = ws_cols[:, layers]

    # All in one call: first the images themselves, then the mixed ones.
    every = np.concatenate([ws, mixed.reshape(-1, *ws.shape[1:])])
    images = generator.synthesis(every, generator.stored_noise())

    # Destinations in the first column, sources in the first row, a white corner.
    cells = np.full((len(row_seeds) + 1, len(col_seeds) + 1, *images.shape[1:]), 255, np.uint8)
    cells[1:, 0] = images[: len(row_seeds)]
    cells[0, 1:] = images[len(row_seeds) : len(seeds)]
    cells[1:, 1:] = images[len(seeds) :].reshape(len(row_seeds), len(col_seeds), *images.shape[1:])
    rows = [f"seed {seed}, {label}" for seed, (label, _) in zip(row_seeds, copied)]
    return Figure(cells, ["source", *rows], ["destination", *(f"seed {s}" for s in col_seeds)])


def truncation(
    generator: Generator,
    *,
    seeds: Sequence[int] = (91, 388),
    psis: Sequence[float] = (1, 0.7, 0.5, 0, -0.5, -1),
    class_idx: int | str | None = None,
) -> Figure:
    """Draws figure 8: the distance of all styles to their mean is scaled, with stored noise.

    Args:
        generator: A network with styles.
        seeds: One row each.
        psis: One column each.
        class_idx: Class of every image, by number or name; None draws one per seed.

    Raises:
        ValueError: The network has no styles, or an unknown class.
    """
    _check_styles(generator, "truncation")
    check_cells(len(seeds), len(psis), generator.shape.size)

    # Row after row: each seed, mapped once, with every psi.
    ws = np.repeat(generator.styles(seeds, class_idx=class_idx), len(psis), axis=0)
    images = generator.synthesis(generator.truncate(ws, np.tile(psis, len(seeds)).tolist()))
    cells = images.reshape(len(seeds), len(psis), *images.shape[1:])
    return Figure(cells, [f"seed {s}" for s in seeds], [f"psi {p:g}" for p in psis])


def noise(
    generator: Generator,
    *,
    seeds: Sequence[int] = (1967, 1555),
    boundaries: Sequence[int] | None = None,
    truncation_psi: float = 1.0,
    class_idx: int | str | None = None,
) -> Figure:
    """Draws figure 5: the stored noise in all layers, in none, in the fine and in the coarse ones.

    Coarse noise goes up to where the fine styles begin. From 128 px on, each image is followed by
    an enlarged crop. The paper instead joins halves of the four kinds in one picture and mirrors
    the second image; here each kind is a column.

    Args:
        generator: A network with noise.
        seeds: One row each, or two with the crops.
        boundaries: Its second number is the first fine noise layer, counted from 0; default
            `layer_boundaries`.
        truncation_psi: Factor on the distance to the mean style.
        class_idx: Class of every image, by number or name; None draws one per seed.

    Raises:
        ValueError: The network has no noise, or no layers on one side of the boundary.
    """
    _check_noise(generator, "noise")
    # With the crops below each row; four kinds of noise.
    check_cells(2 * len(seeds), 4, generator.shape.size)

    # Noise layers are counted as style layers are, from low resolution up.
    layers = generator.noise_layers()
    fine = check_boundaries(generator.num_ws, boundaries)[1]
    if fine >= len(layers):
        raise ValueError(
            f"The fine layers begin at {fine}, but the noise layers are 0-{len(layers) - 1}: "
            f"choose a second number of at most {len(layers) - 1} for --boundaries."
        )

    # Which layers get noise, by the title of the column.
    kinds = {
        "all noise": layers,
        "no noise": [],
        f"fine {span(range(fine, len(layers)))}": layers[fine:],
        f"coarse {span(range(fine))}": layers[:fine],
    }

    # The same styles under each.
    ws = generator.styles(seeds, truncation_psi=truncation_psi, class_idx=class_idx)
    images = [generator.synthesis(ws, generator.stored_noise(kind)) for kind in kinds.values()]
    cells = np.stack(images, axis=1)  # [seeds, kinds, h, w, c]
    rows = [f"seed {s}" for s in seeds]

    # Below each row its crops, as large as the images.
    if min(generator.shape.size) >= _MIN_CROPPED_PX:
        crops = np.stack([enlarge(crop(kind), 4) for kind in images], axis=1)
        cells = np.stack([cells, crops], axis=1).reshape(-1, *cells.shape[1:])
        rows = [label for row in rows for label in (row, "crop, x4")]
    return Figure(cells, rows, list(kinds))


def stddev(
    generator: Generator,
    *,
    seeds: Sequence[int] = (1157, 1012),
    num_noise: int = 100,
    truncation_psi: float = 1.0,
    class_idx: int | str | None = None,
) -> Figure:
    """Draws figure 4: an image, crops under four other noises, and the deviation of each pixel.

    Args:
        generator: A network with noise.
        seeds: One row each.
        num_noise: Noise realisations, at least 5: the image shown, the four of the crops, more.
        truncation_psi: Factor on the distance to the mean style.
        class_idx: Class of every image, by number or name; None draws one per seed.

    Raises:
        ValueError: The network has no noise, or fewer than 5 realisations are asked for.
    """
    _check_noise(generator, "stddev")
    size = generator.shape.size
    check_cells(len(seeds), 3, size)
    # They lie in memory together.
    most = most_cells(*size)
    if not 5 <= num_noise <= most:
        raise ValueError(
            f"num_noise={num_noise}: 5 images are shown, so give at least 5, and at most {most} "
            f"of {name_size(size)} px."
        )

    # A row per latent: an image, crops of four more, and how all of them deviate.
    rows = []
    for seed in seeds:
        images = generator.sample(
            [seed] * num_noise,
            noise_mode="random",
            noise_seeds=range(num_noise),
            truncation_psi=truncation_psi,
            class_idx=class_idx,
        )
        # A crop has a quarter of the image's side: four of them at twice the size fill a cell.
        crops = lay_out(enlarge(crop(images[1:5]), 2), cols=2)
        rows.append([images[0], crops, deviation_map(images)])
    columns = ["image", "4 noises, crop x2", f"std of {num_noise}, x4"]
    return Figure(np.stack([np.stack(row) for row in rows]), [f"seed {s}" for s in seeds], columns)
