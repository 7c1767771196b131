"""Cells of a figure, and the picture of them with its labels."""

import dataclasses
import math

import numpy as np
from PIL import ImageFont

from stylegan_jax.data.formats import WITH_ALPHA
from stylegan_jax.run.capacity import most_cells
from stylegan_jax.run.images import label_grid, make_grid, show_channels
from stylegan_jax.sizes import Size, name_size

# Smaller images are enlarged.
_MIN_CELL_PX = 128


@dataclasses.dataclass(frozen=True)
class Figure:
    """Images in rows and columns.

    Attributes:
        cells: uint8 `[rows, cols, h, w, c]`.
        row_labels: One line per row.
        col_labels: One text per column, of one line or several.
    """

    cells: np.ndarray
    row_labels: list[str]
    col_labels: list[str]


def check_cells(rows: int, cols: int, size: Size) -> None:
    """Refuses, before anything is drawn, more images than one picture holds.

    Raises:
        ValueError: Says how many are possible.
    """
    zoom = math.ceil(_MIN_CELL_PX / size[1])
    height = zoom * size[0]
    width = zoom * size[1]
    most = most_cells(height, width)
    if rows * cols > most:
        raise ValueError(
            f"The figure would have {rows} rows x {cols} columns, and one picture holds {most} "
            f"images of {name_size((height, width))} px: give fewer seeds."
        )


def enlarge(images: np.ndarray, zoom: int) -> np.ndarray:
    """Repeats every pixel: `[n, h, w, c] -> [n, h * zoom, w * zoom, c]`."""
    return images.repeat(zoom, axis=1).repeat(zoom, axis=2)


def render(figure: Figure) -> np.ndarray:
    """Draws a figure with its labels; images too small for them are enlarged by whole pixels.

    Returns:
        uint8 picture `[height, width, 1 or 3]`.
    """
    # Text in proportion to the images, and room for the longest above its column.
    cells = show_channels(figure.cells)
    _, cols, height, width, channels = cells.shape
    font_px = max(12, width // 20)
    font = ImageFont.load_default(font_px)
    lines = [line for text in figure.col_labels for line in text.splitlines()]
    widest = max(int(font.getlength(line)) + font_px for line in lines)
    zoom = math.ceil(max(widest, _MIN_CELL_PX) / width)
    cells = enlarge(cells.reshape(-1, height, width, channels), zoom)
    return label_grid(make_grid(cells, cols), figure.row_labels, figure.col_labels, font_px=font_px)


def crop(images: np.ndarray) -> np.ndarray:
    """Cuts out what figure 4 enlarges: at 1024 px (650, 180) to (906, 436), left and top first.

    Args:
        images: `[n, h, w, c]`; other sizes than 1024 are cut in proportion.

    Returns:
        `[n, h // 4, w // 4, c]`.
    """
    _, height, width, _ = images.shape
    top = round(height * 180 / 1024)
    left = round(width * 650 / 1024)
    return images[:, top : top + height // 4, left : left + width // 4]


def deviation_map(images: np.ndarray) -> np.ndarray:
    """Draws four times the standard deviation of each pixel's grey level, 0 to 255, over images.

    A pixel that is always the same is black; one that deviates by 64 levels or more is white. Grey
    is the mean of the colours, without alpha and of what pictures show; the deviation is the
    population's (over n, not n - 1).

    Args:
        images: uint8 `[n, h, w, c]`.

    Returns:
        uint8 `[h, w, c]`, grey.
    """
    # std over images of the mean of the colours, times four.
    has_alpha = images.shape[-1] in WITH_ALPHA
    colours = images[..., :-1] if has_alpha else images[..., :3]
    grey = colours.mean(axis=-1, dtype=np.float32)
    levels = np.clip(4 * grey.std(axis=0) + 0.5, 0, 255).astype(np.uint8)  # + 0.5 rounds

    # The same level in every colour; what is transparent in one image must not hide the map.
    picture = np.repeat(levels[..., None], images.shape[-1], axis=-1)
    if has_alpha:
        picture[..., -1] = 255
    return picture
