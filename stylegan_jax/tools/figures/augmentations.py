"""Images of a data set through every augmentation, and through all of them at several strengths."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from stylegan_jax.augment.ada import augment
from stylegan_jax.augment.ada_draws import draw
from stylegan_jax.augment.ada_pipe import TRANSFORMATIONS, Pipe, find_pipe
from stylegan_jax.data import DATA_DIR, open_source
from stylegan_jax.run.fakes import GreyLevels
from stylegan_jax.run.images import to_uint8
from stylegan_jax.sizes import parse_size
from stylegan_jax.tools.figures.picture import Figure, check_cells

_STRENGTHS = (0.2, 0.5, 0.8)


def augmentations(
    *,
    data: str = "openmoji/portraits",
    data_dir: str = DATA_DIR,
    size: str = "64",
    pipe: str = "bgcfnc",
    num_images: int = 8,
) -> Figure:
    """Draws images, each transformation of a pipe by itself, always, and the pipe at strengths.

    Args:
        data: Name or path of images.
        data_dir: Folder of prepared data sets.
        size: Of the images, `64` or `48x32`.
        pipe: A name of `PIPES`.
        num_images: One column each, from the beginning of the data set to its end.

    Raises:
        ValueError: There is no such data set, pipe or size, or no image is asked for.
    """
    whole = find_pipe(pipe)
    if num_images < 1:
        raise ValueError(f"num_images={num_images}: give at least one.")
    rows = [(name, part, 1.0) for name, part in _parts(whole)]
    rows += [(f"p = {p}", whole, p) for p in _STRENGTHS]
    height_width = parse_size(size)
    check_cells(1 + len(rows), num_images, height_width)

    source = GreyLevels(open_source(data, size=height_width, data_dir=data_dir))
    chosen = np.linspace(0, len(source) - 1, num_images).round().astype(int)
    images = np.stack([source[i] for i in chosen])
    cells = [images]
    for number, (_, part, p) in enumerate(rows):
        # Draws of its own for every row.
        key = jax.random.fold_in(jax.random.key(0), number)
        augmented = _augment(jnp.asarray(images / 127.5 - 1, jnp.float32), key, p, pipe=part)
        cells.append(to_uint8(augmented))
    labels = ["images", *(name for name, _, _ in rows)]
    return Figure(np.stack(cells), labels, [f"image {i}" for i in chosen])


def _parts(pipe: Pipe) -> list[tuple[str, Pipe]]:
    """Pipes of one transformation each, always open; the four bands one by one."""
    off = dataclasses.replace(pipe, **dict.fromkeys(TRANSFORMATIONS, 0.0))
    parts = []
    for name in TRANSFORMATIONS:
        if not getattr(pipe, name):
            continue
        only = dataclasses.replace(off, **{name: 1.0})
        if name != "imgfilter":
            parts.append((name, only))
            continue
        for band in range(4):
            bands = tuple(float(i == band) for i in range(4))
            parts.append((f"{name} {band}", dataclasses.replace(only, imgfilter_bands=bands)))
    return parts


@functools.partial(jax.jit, static_argnames="pipe")
def _augment(images: Array, key: Array, p: Array | float, pipe: Pipe) -> Array:
    """Draws and applies."""
    n, height, width, channels = images.shape
    return augment(images, draw(key, n, pipe, (height, width), channels), p, pipe)
