"""A line of pixels while the image changes: details that stick to the pixels leave streaks.

Source: Karras et al. 2021 (StyleGAN3), figure 1, right.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from stylegan_jax.inference.generator import Generator
from stylegan_jax.inference.programs import CHUNK
from stylegan_jax.run.images import show_channels
from stylegan_jax.sizes import describe_pixels
from stylegan_jax.tools.figures.picture import Figure, check_cells
from stylegan_jax.tools.interpolation import make_track
from stylegan_jax.tools.latents import mean_w


def texture_sticking(
    generator: Generator,
    *,
    beside: Sequence[Generator] = (),
    seeds: Sequence[int] = (0, 1),
    line: float = 0.5,
    truncation_psi: float = 1.0,
    class_idx: int | str | None = None,
) -> Figure:
    """Draws, for each network, an image and what one of its columns shows as the latent moves on.

    The column of pixels is taken out of each frame of an interpolation through the seeds, as many
    frames as the image is wide, and these columns stand side by side: time goes to the right. What
    moves with the image leaves wavy traces; what stays where it is, horizontal streaks.

    Args:
        generator: A network.
        beside: Other networks of images of the same size, a row each.
        seeds: Keyframes, 2 or more; stored noise.
        line: Which column, as a share of the width; marked in the image.
        truncation_psi: Factor on the distance to the mean style.
        class_idx: Class of every image, by number or name; None draws one per seed.

    Raises:
        ValueError: A single seed, a line outside the image, or networks of several sizes.
    """
    if len(seeds) < 2:
        raise ValueError(f"seeds={list(seeds)}: give 2 or more, between which the latent moves.")
    if not 0 <= line <= 1:
        raise ValueError(f"line={line}: give a share of the width, 0 to 1.")
    networks = [generator, *beside]
    sizes = {G.size for G in networks}
    if len(sizes) > 1:
        given = " and ".join(map(describe_pixels, sorted(sizes)))
        raise ValueError(f"Networks of {given} have no common figure: give those of one size.")
    check_cells(len(networks), 2, generator.size)

    rows = []
    for G in networks:
        ws = G.styles(seeds, truncation_psi=truncation_psi, class_idx=class_idx)
        column = min(int(line * G.size[1]), G.size[1] - 1)
        first, lines = _draw_lines(G, ws, column)
        rows.append(np.stack([_mark(first, column), lines]))
    names = [pathlib.PurePath(str(G.origin.path)).stem for G in networks]
    columns = [f"seed {seeds[0]}", f"column {column}, seed {seeds[0]} to {seeds[-1]}"]
    return Figure(np.stack(rows), names, columns)


def _draw_lines(generator: Generator, ws: np.ndarray, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first frame, and the columns of all frames side by side, `[h, w, 3]`."""
    width = generator.size[1]
    centre = mean_w(generator)
    # Networks without styles keep the length of their latents.
    kind = "spline" if generator.has_styles else "slerp"
    track = make_track(ws - centre, kind, loop=False)
    times = np.linspace(0, len(ws) - 1, width)
    first = np.zeros(0)
    lines = []
    with tqdm(total=width, desc="drawing", unit=" frames", disable=None) as bar:
        for start in range(0, width, CHUNK):
            part = times[start : start + CHUNK]
            frames = np.stack([track(time) for time in part]) + centre
            images = show_channels(generator.synthesis(frames.astype(np.float32)))
            first = first if start else images[0]
            lines.append(images[:, :, column])  # [n, h, c]
            bar.update(len(part))
    # Grey and coloured networks may stand beside each other.
    found = first, np.concatenate(lines).transpose(1, 0, 2)
    first, lines = (np.broadcast_to(x, (*x.shape[:2], 3)) for x in found)
    return first, lines


def _mark(img: np.ndarray, column: int) -> np.ndarray:
    """Draws ticks where the column begins and ends, in what is seen on the image there."""
    marked = img.copy()
    length = max(1, len(img) // 16)
    for rows in (slice(0, length), slice(len(img) - length, None)):
        marked[rows, column] = np.where(img[rows, column].mean() < 128, 255, 0)
    return marked
