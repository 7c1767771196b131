"""Image grids and image files: what a run shows of its reals and fakes.

Arrays are NHWC; pictures are uint8 [height, width, channels]. Images have 1 to 16 channels, the
pictures of them 1 or 3.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from etils import epath
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from stylegan_jax.data.formats import WITH_ALPHA
from stylegan_jax.files import replacing
from stylegan_jax.sizes import Size

# PIL's modes by number of channels.
_CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
# Behind what is transparent: light greys, that black and white stand out from, and the squares of
# the shorter side.
_CHECKERS = (204, 238)
_SQUARES = 8
# What a PNG calls a note about its pixels.
_COMMENT = "Comment"


def to_uint8(images: np.ndarray | jax.Array) -> np.ndarray:
    """Maps network output to grey levels: rint((x + 1) * 127.5), clipped to 0..255.

    This is the rounding of training grids. Metrics and single-image tools of the papers truncate
    127.5 x + 128 instead.

    Args:
        images: Floating-point images of any shape in [-1, 1], or uint8, returned as they are, or
            uint16, of which the upper half is kept. NaN is drawn black, so that the pictures of a
            diverged run can still be seen.

    Returns:
        uint8 array on the host, same shape.

    Raises:
        ValueError: Neither floating-point nor uint8 nor uint16.
    """
    # Pixels of files.
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    if images.dtype == np.uint16:
        return (images >> 8).astype(np.uint8)

    # Output of networks.
    if not jax.numpy.issubdtype(images.dtype, np.floating):  # NumPy does not know bfloat16
        raise ValueError(
            f"Got {images.dtype} images; wanted uint8 in 0..255 or floating point in [-1, 1]."
        )
    # [-1, 1] -> 0 .. 255, each level the nearest.
    clipped = np.clip(np.nan_to_num(images.astype(np.float32), nan=-1), -1, 1)
    return np.rint((clipped + 1) * 127.5).astype(np.uint8)


def show_channels(images: np.ndarray) -> np.ndarray:
    """Makes opaque grey or RGB of any number of channels, which every viewer shows alike.

    Args:
        images: uint8 [..., h, w, c]. 2 and 4 channels are grey and RGB with alpha, and lie on a
            checkerboard; of more the first three are red, green and blue.

    Returns:
        uint8 [..., h, w, 1 or 3].
    """
    channels = images.shape[-1]
    if channels not in WITH_ALPHA:
        return images[..., :3] if channels > 3 else images
    # x * alpha + board * (1 - alpha), in whole numbers: 255 * 255 fits into 16 bits.
    alpha = images[..., -1:].astype(np.uint16)
    board = _checkerboard(*images.shape[-3:-1])[..., None]
    mixed = images[..., :-1] * alpha + board * (255 - alpha)
    return ((mixed + np.uint16(127)) // 255).astype(np.uint8)


def _checkerboard(height: int, width: int) -> np.ndarray:
    """Draws squares of two greys, uint16 [h, w]."""
    side = max(1, min(height, width) // _SQUARES)
    y, x = np.ogrid[:height, :width]
    return np.asarray(_CHECKERS, np.uint16)[(y // side + x // side) % 2]


def describe_hidden(channels: int) -> str:
    """Says what pictures leave out of images of so many channels; nothing where they show all."""
    if channels <= 4:
        return ""
    return f"channels 1 to 3 of {channels} shown as red, green and blue"


def picture_text(channels: int) -> dict[str, str]:
    """Returns what `save_png` notes in pictures of images of so many channels."""
    hidden = describe_hidden(channels)
    return {_COMMENT: hidden} if hidden else {}


def grid_size(
    size: Size,
    *,
    num_images: int | None = None,
    canvas_px: tuple[int, int] = (7680, 4320),
    min_cells: tuple[int, int] = (7, 4),
    max_cells: tuple[int, int] = (32, 32),
) -> tuple[int, int]:
    """Chooses how many images a training grid holds: as many as fill a large screen.

    cols = clip(canvas width // image width, 7, 32), rows = clip(canvas height // height, 4, 32).

    Args:
        size: Height and width of an image in pixels.
        num_images: If given, the grid holds at most this many images and is made squarer.
        canvas_px: (width, height) of the screen. StyleGAN 2 and later use 8K; StyleGAN 1 used
            (3840, 2160), ProGAN (1920, 1080) with min_cells=(3, 2).
        min_cells: Fewest (cols, rows), whatever the canvas.
        max_cells: Most (cols, rows).

    Returns:
        (cols, rows), each at least 1.

    Raises:
        ValueError: num_images below 1.
    """
    # As many as the canvas holds, within limits.
    height, width = size
    cols = int(np.clip(canvas_px[0] // width, min_cells[0], max_cells[0]))
    rows = int(np.clip(canvas_px[1] // height, min_cells[1], max_cells[1]))
    if num_images is None:
        return cols, rows
    if num_images < 1:
        raise ValueError(f"num_images is {num_images}; a grid holds at least one image.")

    # Fewer images: about as many columns as rows, and no row that is not full.
    if cols * rows > num_images:
        cols = min(cols, max(round(num_images**0.5), num_images // rows))
        rows = min(rows, num_images // cols)
    return cols, rows


def grid_indices(
    num_images: int,
    cols: int,
    rows: int,
    *,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Picks the dataset images that fill a grid: shuffled, or one class per row.

    Args:
        num_images: Size of the dataset.
        cols: Images per row.
        rows: Rows.
        labels: Class numbers [n] or label vectors [n, c_dim]. Rows then go through the distinct
            labels in sorted order, again from the first when they run out, with other images.
        seed: Seed of the shuffling.

    Returns:
        Indices [rows * cols], row after row; images repeat where there are too few.

    Raises:
        ValueError: The dataset is empty or `labels` has another length.
    """
    if num_images < 1:
        raise ValueError("The dataset is empty; a grid of reals needs at least one image.")
    # Without labels: any images, all of them once before any comes again.
    rng = np.random.default_rng(seed)
    if labels is None:
        return np.resize(rng.permutation(num_images), rows * cols)
    labels = np.asarray(labels)
    if len(labels) != num_images:
        raise ValueError(f"Got {len(labels)} labels for {num_images} images; wanted one each.")

    # The images of each class, shuffled.
    classes, members = np.unique(labels, axis=0, return_inverse=True)
    members = members.reshape(-1)  # NumPy 2.0 gives one more axis for vectors
    shuffled = [rng.permutation(np.flatnonzero(members == i)) for i in range(len(classes))]

    # Row r shows class r; when they run out, the first again with its next images.
    picked = []
    for row in range(rows):
        rounds, i = divmod(row, len(classes))
        offset = np.arange(cols) + rounds * cols
        picked.append(shuffled[i][offset % len(shuffled[i])])
    return np.concatenate(picked)


def make_grid(images: np.ndarray | jax.Array, cols: int) -> np.ndarray:
    """Lays images out in rows, as `show_channels` shows them; arguments as `lay_out`.

    Returns:
        uint8 picture [rows * h, cols * w, 1 or 3].
    """
    if np.ndim(images) == 4:
        images = show_channels(to_uint8(images))
    return lay_out(images, cols)


def lay_out(images: np.ndarray | jax.Array, cols: int) -> np.ndarray:
    """Lays images out in rows, with all their channels.

    Args:
        images: uint8, or floating point in [-1, 1], [n, h, w, c].
        cols: Images per row; the last row is filled up with black.

    Returns:
        uint8 [rows * h, cols * w, c].

    Raises:
        ValueError: Not four dimensions, no images, or cols below 1.
    """
    if np.ndim(images) != 4 or len(images) == 0 or cols < 1:
        raise ValueError(
            f"Got images of shape {np.shape(images)} and cols={cols}; wanted at least one image "
            f"[n, h, w, c] and at least one column."
        )
    # Filled up to whole rows.
    images = to_uint8(images)
    n, height, width, channels = images.shape
    rows = -(-n // cols)  # rounded up
    images = np.pad(images, [(0, rows * cols - n), (0, 0), (0, 0), (0, 0)])
    grid = images.reshape(rows, cols, height, width, channels)
    # [rows, cols, h, w, c] -> [rows, h, cols, w, c]
    return grid.transpose(0, 2, 1, 3, 4).reshape(rows * height, cols * width, channels)


def label_grid(
    grid: np.ndarray,
    row_labels: Sequence[str] = (),
    col_labels: Sequence[str] = (),
    *,
    font_px: int = 12,
) -> np.ndarray:
    """Adds text to the left of each row and above each column of a grid.

    Args:
        grid: uint8 picture [h, w, c] with 1 to 4 channels.
        row_labels: One line per row, or none; they must divide the height evenly.
        col_labels: One text per column, or none, of one line or several; they must divide the
            width evenly.
        font_px: Text height in pixels.

    Returns:
        uint8 picture with white margins for the text, same channels.

    Raises:
        ValueError: Labels do not divide the grid, or another number of channels.
    """
    height, width, channels = _check_picture(grid).shape
    if (row_labels and height % len(row_labels)) or (col_labels and width % len(col_labels)):
        raise ValueError(
            f"Got {len(row_labels)} row and {len(col_labels)} column labels for a grid of "
            f"{height}x{width} pixels; wanted one label per row and per column of images."
        )

    # Margins as wide as the longest text, and half a line above and below the highest.
    font = ImageFont.load_default(font_px)
    left = max((int(font.getlength(str(t))) + font_px for t in row_labels), default=0)
    lines = max((str(t).count("\n") + 1 for t in col_labels), default=-1)
    top = (lines + 1) * font_px

    # The grid on white, then the texts: right-aligned beside rows, centred above columns.
    canvas = Image.new(_CHANNELS[channels], (left + width, top + height), "white")
    canvas.paste(_to_pil(grid), (left, top))
    # Texts stand in the middle of their row or column; half a line from the images.
    draw = ImageDraw.Draw(canvas)
    for i, text in enumerate(row_labels):
        centre = top + (i + 0.5) * height / len(row_labels)
        draw.text((left - font_px // 2, centre), str(text), "black", font, anchor="rm")
    for i, text in enumerate(col_labels):
        centre = left + (i + 0.5) * width / len(col_labels)
        draw.text((centre, top / 2), str(text), "black", font, anchor="mm", align="center")
    return np.asarray(canvas).reshape(top + height, left + width, channels)


def save_png(
    path: epath.PathLike, picture: np.ndarray, *, text: Mapping[str, str] | None = None
) -> None:
    """Writes a PNG file; a killed run leaves either the whole file or none.

    Args:
        path: File to write or replace, local or in a bucket; missing folders are made.
        picture: uint8 [h, w, c] with 1 to 4 channels, or [h, w].
        text: What the file says of itself, by keyword.

    Raises:
        ValueError: Another shape or type.
    """
    picture = np.asarray(picture)
    image = _to_pil(_check_picture(picture[..., None] if picture.ndim == 2 else picture))
    info = PngInfo()
    for name, value in (text or {}).items():
        info.add_text(name, value)
    with replacing(path) as file:
        image.save(file, format="PNG", pnginfo=info)


def save_tiff(path: epath.PathLike, image: np.ndarray, *, text: str = "") -> None:
    """Writes a TIFF with a grey page for each channel, as wholly as `save_png`.

    Args:
        path: File to write or replace, local or in a bucket; missing folders are made.
        image: uint8 [h, w, c].
        text: What the file says of itself, ASCII.
    """
    pages = [Image.fromarray(np.ascontiguousarray(page)) for page in np.moveaxis(image, 2, 0)]
    options = {"compression": "tiff_deflate", "description": text}
    with replacing(path) as file:
        pages[0].save(file, format="TIFF", save_all=True, append_images=pages[1:], **options)


def _check_picture(picture: np.ndarray) -> np.ndarray:
    """Refuses what PNG cannot hold."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] not in _CHANNELS:
        raise ValueError(
            f"Got a picture of {picture.dtype} and shape {picture.shape}; wanted uint8 [h, w, c] "
            f"with 1 to 4 channels. Use to_uint8 and show_channels first."
        )
    return picture


def _to_pil(picture: np.ndarray) -> Image.Image:
    """Wraps a checked picture for PIL."""
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
