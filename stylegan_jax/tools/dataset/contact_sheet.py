"""A picture of some images of a data set, as they are, with what the data set says of them."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stylegan_jax.data.archives import Archive, ArchiveError
from stylegan_jax.data.codecs import ImageFormat
from stylegan_jax.data.labels import Labels
from stylegan_jax.run.capacity import most_cells
from stylegan_jax.run.images import describe_hidden, show_channels, to_uint8
from stylegan_jax.sizes import Size, describe_pixels, describe_size
from stylegan_jax.tools.dataset.scanning import map_images

_MAX_COLS = 16
# The longer side of images as they are shown, and the width that the text below them wants.
_LARGEST_PX = 256
_SMALLEST_PX = 96
_GAP_PX = 6
_LINE_PX = 17
_FONT_PX = 13
_CAPTION_LINES = 3
# Greys show where an image ends, be its edge black or white.
_PAPER = (232, 232, 232)
_BACKGROUND = (128, 128, 128)
_DAMAGED = (150, 40, 40)


@dataclasses.dataclass(frozen=True)
class _Row:
    """Images side by side, and the text to their left."""

    text: str
    indices: Sequence[int]


def contact_sheet(
    archive: Archive, *, count: int = 64, seed: int = 0, labels: bool | str = False
) -> tuple[np.ndarray, str]:
    """Draws images chosen at random; damaged ones become red cells.

    Images are shrunk to 256 px on their longer side, or all enlarged by one whole number if none is
    96 px wide. Unequal ones, and very narrow ones, are centred on grey. Channels show as in a run's
    pictures; of 16 bits the upper 8 show.

    Args:
        archive: The data set.
        count: Images, as far as there are so many; a few more if that fills the rows of classes.
        seed: Of the choice.
        labels: Show them, or those of a name: one class per row (or more, as many images as they
            get), with its name to the left; captions and vectors below the images. Otherwise their
            names are there.

    Returns:
        uint8 picture [h, w, 3], and a line that says what it shows.

    Raises:
        ArchiveError: Labels are wanted, and there are none or they are damaged.
        ValueError: `count` is below 1, or more than one picture holds.
    """
    if count < 1:
        raise ValueError(f"count={count}: a sheet shows at least one image.")
    shown = archive.choose_labels(labels)
    kind = shown.kind if labels else ""
    if kind == "none":
        raise ArchiveError(f"{archive.name} has no labels: leave --labels off.")

    # Which images, in which rows.
    rng = np.random.default_rng(seed)
    rows = _class_rows(shown, count, rng) if kind == "classes" else _rows(archive, count, rng)
    indices = [index for row in rows for index in row.indices]
    forms = {index: _read_format(archive, index) for index in indices}
    sizes = {index: form.size if form else None for index, form in forms.items()}
    cell, zoom = _cell_size([size for size in sizes.values() if size])
    most = most_cells(cell[0] + _GAP_PX + _CAPTION_LINES * _LINE_PX, cell[1] + _GAP_PX)
    if len(indices) > most:
        raise ValueError(
            f"count={count}: one picture holds {most} of these images: give at most so many."
        )

    # Their cells, made as they are read: photographs as they are would fill the memory. The texts
    # below them.
    def make_cell(index: int) -> tuple[Image.Image, bool]:
        image = _read(archive, index)
        return _fit(image, cell, zoom), image is None

    made = dict(zip(indices, map_images(make_cell, indices, doing="reading")))
    cells = {index: cell for index, (cell, _) in made.items()}
    damaged = sum(is_damaged for _, is_damaged in made.values())
    texts: dict[int, list[str]] = {}
    if kind in ("captions", "vectors"):
        texts = {i: _wrap(_label_text(shown, i), cell[1], _CAPTION_LINES) for i in indices}
    elif not kind:
        texts = {i: [_shorten(_without_suffix(archive.names[i]), cell[1])] for i in indices}

    # What the picture shows, for its head and the terminal.
    note = _describe(archive, list(sizes.values()), damaged, cell, zoom)
    hidden = describe_hidden(max((form.channels for form in forms.values() if form), default=1))
    note += f", {hidden}" * bool(hidden)
    if kind == "classes":
        note += f", {len({row.text for row in rows if row.text})} of {shown.describe()}"
    return _draw(rows, cells, texts, note), note


def _rows(archive: Archive, count: int, rng: np.random.Generator) -> list[_Row]:
    """Draws about as many rows as columns, in the data set's order."""
    chosen = np.sort(rng.permutation(len(archive))[:count]).tolist()
    cols = min(_MAX_COLS, math.ceil(math.sqrt(len(chosen))))
    return [_Row("", chosen[i : i + cols]) for i in range(0, len(chosen), cols)]


def _class_rows(labels: Labels, count: int, rng: np.random.Generator) -> list[_Row]:
    """Draws equally many images of each class; of some classes, if there are too many."""
    classes, sizes = np.unique(labels.values, return_counts=True)
    per_class = math.ceil(count / len(classes))
    # One image tells little of a class: rather show fewer classes.
    wanted = min(4, count, int(sizes.max()))
    if per_class < wanted:
        per_class = wanted
        classes = np.sort(rng.permutation(classes)[: math.ceil(count / per_class)])
    cols = min(_MAX_COLS, per_class)
    rows = []
    for number in classes:
        members = np.flatnonzero(labels.values == number)
        members = np.sort(rng.permutation(members)[:per_class]).tolist()
        name = labels.class_names[number]
        for start in range(0, len(members), cols):
            rows.append(_Row("" if start else name, members[start : start + cols]))
    return rows


def _read_format(archive: Archive, index: int) -> ImageFormat | None:
    """Reads an image's size and type alone; None if it is damaged."""
    try:
        return archive.read_format(index)
    except ValueError:
        return None


def _read(archive: Archive, index: int) -> Image.Image | None:
    """Reads an image as RGB; None if it is damaged."""
    try:
        pixels = archive.read_pixels(index)
    except ValueError:
        return None
    shown = np.ascontiguousarray(show_channels(to_uint8(pixels)))
    return Image.fromarray(shown[..., 0] if shown.shape[2] == 1 else shown).convert("RGB")


def _cell_size(sizes: Sequence[Size]) -> tuple[Size, int]:
    """Chooses the size of a cell and by what whole number to enlarge all images."""
    sizes = sizes or [(_SMALLEST_PX, _SMALLEST_PX)]
    highest = max(height for height, _ in sizes)
    widest = max(width for _, width in sizes)
    zoom = max(1, min(math.ceil(_SMALLEST_PX / widest), _LARGEST_PX // highest))
    # The largest of what is shown; one line of text beside it, and one below it, have room.
    shown = [_shown_size(size, zoom) for size in sizes]
    height = max(_LINE_PX, *(size[0] for size in shown))
    width = max(_SMALLEST_PX, *(size[1] for size in shown))
    return (height, width), zoom


def _shown_size(size: Size, zoom: int) -> Size:
    """Returns at what size an image is shown."""
    height, width = size[0] * zoom, size[1] * zoom
    scale = min(1, _LARGEST_PX / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _fit(image: Image.Image | None, cell_size: Size, zoom: int) -> Image.Image:
    """Makes a cell with the image in its middle."""
    rows, columns = cell_size
    cell = Image.new("RGB", (columns, rows), _BACKGROUND if image else _DAMAGED)
    if image is None:
        centre = (columns // 2, rows // 2)
        ImageDraw.Draw(cell).text(centre, "damaged", "white", _font(), anchor="mm")
        return cell
    # Enlarged without smoothing, so that pixels show; shrunk with it.
    height, width = _shown_size((image.height, image.width), zoom)
    if (height, width) != (image.height, image.width):
        filter = Image.Resampling.NEAREST if zoom > 1 else Image.Resampling.LANCZOS
        image = image.resize((width, height), filter)
    cell.paste(image, ((columns - width) // 2, (rows - height) // 2))
    return cell


def _describe(
    archive: Archive,
    sizes: Sequence[Size | None],
    num_damaged: int,
    cell: Size,
    zoom: int,
) -> str:
    """Says what the sheet shows and how; sizes are None where even a header is damaged."""
    known = sorted({size for size in sizes if size})
    note = f"{archive.name}: {len(sizes)} of {len(archive)} images"
    if len(known) == 1:
        note += f", {describe_pixels(known[0])}"
    elif known:
        note += f", {len(known)} sizes centred in cells of {describe_size(cell)}"
    if zoom > 1:
        note += f", enlarged {zoom} times"
    elif known and max(map(max, known)) > _LARGEST_PX:
        note += f", shrunk to {_LARGEST_PX} pixels where larger"
    return note + (f", {num_damaged} damaged" if num_damaged else "")


def _label_text(labels: Labels, index: int) -> str:
    """Returns a caption, the words of a vector's ones, or the vector in three digits."""
    label = labels.item(index)
    if labels.columns:
        return ", ".join(word for word, value in zip(labels.columns, label) if value)
    return label if isinstance(label, str) else ", ".join(f"{value:.3g}" for value in label)


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FONT_PX)


def _without_suffix(name: str) -> str:
    return name.rsplit(".", 1)[0]


def _shorten(text: str, width_px: int) -> str:
    """Cuts the middle of a text that is too wide: names differ at their ends."""
    if _font().getlength(text) <= width_px:
        return text
    kept = len(text) - 1
    while kept > 2 and _font().getlength(_without_middle(text, kept)) > width_px:
        kept -= 1
    return _without_middle(text, kept)


def _without_middle(text: str, kept: int) -> str:
    """Keeps a third of `kept` characters at the start and the others at the end."""
    head = kept // 3
    return f"{text[:head]}\u2026{text[len(text) - (kept - head) :]}"


def _wrap(text: str, width_px: int, max_lines: int) -> list[str]:
    """Breaks a text into lines; what does not fit is left out."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if _font().getlength(longer) <= width_px:
            lines[-1] = longer
        elif lines[-1]:
            lines.append(_shorten(word, width_px))
        else:
            lines[-1] = _shorten(word, width_px)
    # An ellipsis in place of what does not fit.
    if len(lines) > max_lines:
        lines = lines[:max_lines]
        while lines[-1] and _font().getlength(lines[-1] + "\u2026") > width_px:
            lines[-1] = lines[-1][:-1]
        lines[-1] += "\u2026"
    return lines


def _draw(
    rows: Sequence[_Row],
    cells: Mapping[int, Image.Image],
    texts: Mapping[int, Sequence[str]],
    note: str,
) -> np.ndarray:
    """Puts note, rows and texts on one picture."""
    # Sizes: names of classes to the left, lines of text below each cell, the note above all.
    cell_width, cell_height = next(iter(cells.values())).size
    step_x = cell_width + _GAP_PX
    text_px = max(int(_font().getlength(row.text)) for row in rows)
    left = _GAP_PX + (text_px + 2 * _GAP_PX if text_px else 0)
    width = left + step_x * max(len(row.indices) for row in rows)
    width = max(width, 2 * _LARGEST_PX)
    lines = max((len(text) for text in texts.values()), default=0)
    step_y = cell_height + lines * _LINE_PX + _GAP_PX
    title = _wrap(note, width - 2 * _GAP_PX, 3)
    top = 2 * _GAP_PX + len(title) * _LINE_PX

    # The note.
    sheet = Image.new("RGB", (width, top + step_y * len(rows)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(title):
        draw.text((_GAP_PX, _GAP_PX + number * _LINE_PX), line, "black", _font())

    # The rows.
    for number, row in enumerate(rows):
        y = top + number * step_y
        draw.text(
            (left - 2 * _GAP_PX, y + cell_height // 2), row.text, "black", _font(), anchor="rm"
        )
        for column, index in enumerate(row.indices):
            x = left + column * step_x
            sheet.paste(cells[index], (x, y))
            for line, text in enumerate(texts.get(index, ())):
                middle = (x + cell_width // 2, y + cell_height + line * _LINE_PX)
                draw.text(middle, text, "black", _font(), anchor="ma")
    return np.asarray(sheet)
