"""Draws the figures of the StyleGAN paper from a checkpoint, each as one labelled PNG.

    python -m stylegan_jax.tools.figures --figure=style_mixing --checkpoint=DIR --out=mixing.png
    python -m stylegan_jax.tools.figures --figure=truncation --checkpoint=DIR --out=truncation.png
    python -m stylegan_jax.tools.figures --figure=noise --checkpoint=DIR --out=noise.png
    python -m stylegan_jax.tools.figures --figure=stddev --checkpoint=DIR --out=stddev.png

    style_mixing  figure 3: row images with coarse, middle or fine styles of the column's image
    truncation    figure 8: seeds x psi; psi 0 is the mean image, negative psi the "anti-image"
    noise         figure 5: stored noise in all layers, in none, in fine ones, in coarse ones
    stddev        figure 4: what random noise changes: crops, and the deviation of each pixel

Seeds, psis and numbers of images are the paper's unless given. The paper's 18 layers are split into
coarse (0-3), middle (4-7) and fine (8-17); other numbers of layers in the same proportions, or as
`--boundaries=4,8` says. StyleGAN2's mixing figure copies the same layers in every row:

    ... --figure=style_mixing --row_seeds=85,100,75,458,1500 --col_seeds=55,821,1789,293 \\
        --copied_styles=0-6

Source: Karras et al. 2019 (StyleGAN), figures 3, 4, 5 and 8.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable, Sequence

import numpy as np
from absl import app, flags, logging
from PIL import ImageFont

from stylegan_jax.files import as_path
from stylegan_jax.run.images import label_grid, make_grid, save_png
from stylegan_jax.tools.generator import Generator, parse_seeds

# Smaller images are enlarged.
_MIN_CELL_PX = 128
# Smaller images are seen whole; a crop of a quarter adds nothing.
_MIN_CROPPED_PX = 128


@dataclasses.dataclass(frozen=True)
class Figure:
    """Images in rows and columns.

    Attributes:
        cells: uint8 `[rows, cols, h, w, c]`.
        row_labels: One text per row.
        col_labels: One text per column.
    """

    cells: np.ndarray
    row_labels: list[str]
    col_labels: list[str]


def enlarge(images: np.ndarray, zoom: int) -> np.ndarray:
    """Repeats every pixel: `[n, h, w, c] -> [n, h * zoom, w * zoom, c]`."""
    return images.repeat(zoom, axis=1).repeat(zoom, axis=2)


def render(figure: Figure) -> np.ndarray:
    """Draws a figure with its labels; images too small for them are enlarged by whole pixels.

    Returns:
        uint8 picture `[height, width, c]`.
    """
    # Text in proportion to the images, and room for the longest above its column.
    _, cols, height, width, channels = figure.cells.shape
    font_px = max(12, width // 20)
    font = ImageFont.load_default(font_px)
    widest = max(int(font.getlength(text)) + font_px for text in figure.col_labels)
    zoom = math.ceil(max(widest, _MIN_CELL_PX) / width)
    cells = enlarge(figure.cells.reshape(-1, height, width, channels), zoom)
    return label_grid(make_grid(cells, cols), figure.row_labels, figure.col_labels, font_px=font_px)


def crop(images: np.ndarray) -> np.ndarray:
    """Cuts out what figure 4 enlarges: at 1024 px (650, 180) to (906, 436), left and top first.

    Args:
        images: Square images `[n, h, w, c]`; other sizes than 1024 are cut in proportion.

    Returns:
        `[n, h // 4, w // 4, c]`.
    """
    side = images.shape[1]
    left = round(side * 650 / 1024)
    top = round(side * 180 / 1024)
    return images[:, top : top + side // 4, left : left + side // 4]


def deviation_map(images: np.ndarray) -> np.ndarray:
    """Draws four times the standard deviation of each pixel's grey level, 0 to 255, over images.

    A pixel that is always the same is black; one that deviates by 64 levels or more is white. Grey
    is the mean of the colours; the deviation is the population's (over n, not n - 1).

    Args:
        images: uint8 `[n, h, w, c]`.

    Returns:
        uint8 `[h, w, c]`, grey.
    """
    # std over images of the mean of the colours, times four.
    grey = images[..., :3].mean(axis=-1, dtype=np.float32)
    levels = np.clip(4 * grey.std(axis=0) + 0.5, 0, 255).astype(np.uint8)  # + 0.5 rounds

    # The same level in every colour; what is transparent in one image must not hide the map.
    picture = np.repeat(levels[..., None], images.shape[-1], axis=-1)
    if images.shape[-1] == 4:
        picture[..., 3] = 255
    return picture


def layer_boundaries(num_ws: int) -> tuple[int, int]:
    """Chooses where middle and fine layers begin, at the paper's proportions: 18 gives (4, 8).

    The boundaries are 4/18 and 8/18 of `num_ws`, rounded to even numbers (two layers share a
    resolution), with at least two coarse and two middle layers.

    Raises:
        ValueError: So few layers that none is left for the fine ones.
    """
    first = max(2, 2 * round(num_ws * 4 / 18 / 2))
    second = max(first + 2, 2 * round(num_ws * 8 / 18 / 2))
    if second >= num_ws:
        raise ValueError(
            f"{num_ws} layers are too few for two coarse, two middle and some fine ones: choose "
            f"the layers where middle and fine begin, as in --boundaries=1,2."
        )
    return first, second


def _check_boundaries(num_ws: int, boundaries: Sequence[int] | None) -> tuple[int, int]:
    """Refuses boundaries that leave a band empty; None: chooses them."""
    if boundaries is None:
        return layer_boundaries(num_ws)
    if len(boundaries) != 2 or not 0 < boundaries[0] < boundaries[1] < num_ws:
        raise ValueError(
            f"boundaries={','.join(map(str, boundaries))}: give two numbers, the layers where "
            f"middle and fine begin, ascending and from 1 to {num_ws - 1}."
        )
    return boundaries[0], boundaries[1]


def _span(layers: Sequence[int]) -> str:
    """Writes layer numbers as a range where they are one."""
    if len(layers) > 1 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}-{layers[-1]}"
    return ",".join(map(str, layers))


def _copied_styles(
    num_ws: int,
    num_rows: int,
    boundaries: Sequence[int] | None,
    copied_styles: Sequence[int] | None,
) -> list[tuple[str, list[int]]]:
    """Chooses each row's label and the styles that it copies."""
    if copied_styles is not None:
        if boundaries is not None:
            raise ValueError(
                "Give copied_styles or boundaries, not both: the one replaces the other."
            )
        layers = sorted(set(copied_styles))
        if layers and not 0 <= layers[0] <= layers[-1] < num_ws:
            raise ValueError(
                f"copied_styles={_span(layers)}: this network has styles 0-{num_ws - 1}."
            )
        return [(f"styles {_span(layers)}", layers)] * num_rows

    # The three bands and their names.
    middle, fine = _check_boundaries(num_ws, boundaries)
    bands = [range(middle), range(middle, fine), range(fine, num_ws)]
    named = [
        (f"{name} {_span(b)}", list(b)) for name, b in zip(("coarse", "middle", "fine"), bands)
    ]
    # The first n of this pattern hold coarse, middle and fine as 3 : 2 : 1, for any n.
    return [named[band] for band in sorted(np.resize([0, 1, 2, 0, 1, 0], num_rows))]


def _check_styles(generator: Generator, figure: str) -> None:
    """Refuses networks whose layers read no styles."""
    if not generator.has_styles:
        raise ValueError(
            f"--figure={figure} needs styles, and the layers of this {generator.config.G.name!r} "
            f"read none: give the checkpoint of a StyleGAN."
        )


def _check_noise(generator: Generator, figure: str) -> None:
    """Refuses networks without noise inputs."""
    if not generator.noise_layers():
        raise ValueError(
            f"--figure={figure} needs noise inputs, and this {generator.config.G.name!r} has "
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
    class_idx: int | None = None,
) -> Figure:
    """Figure 3: gives the images of the rows some styles of the images of the columns.

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
        class_idx: Class of every image; None draws one per seed.

    Returns:
        `len(row_seeds) + 1` rows and `len(col_seeds) + 1` columns; the corner is white.

    Raises:
        ValueError: The network has no styles, or not those that are asked for.
    """
    # Label and copied styles of each row.
    _check_styles(generator, "style_mixing")
    copied = _copied_styles(generator.num_ws, len(row_seeds), boundaries, copied_styles)

    # Styles of the sources and destinations, and of every pair of them.
    seeds = [*row_seeds, *col_seeds]
    ws = generator.styles(seeds, truncation_psi=truncation_psi, class_idx=class_idx)
    ws_rows = ws[: len(row_seeds)]
    ws_cols = ws[len(row_seeds) :]
    mixed = np.repeat(ws_rows[:, None], len(col_seeds), axis=1)  # [rows, cols, num_ws, w_dim]
    for row, (_, layers) in enumerate(copied):
        mixed[row][:, layers] = ws_cols[:, layers]

    # All in one call: first the images themselves, then the mixed ones.
    every = np.concatenate([ws, mixed.reshape(-1, *ws.shape[1:])])
    images = generator.synthesize(every, generator.stored_noise())

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
    class_idx: int | None = None,
) -> Figure:
    """Figure 8: scales the distance of all styles to their mean, with stored noise.

    Args:
        generator: A network with styles.
        seeds: One row each.
        psis: One column each.
        class_idx: Class of every image; None draws one per seed.

    Raises:
        ValueError: The network has no styles, or an unknown class.
    """
    _check_styles(generator, "truncation")
    # Row after row: each seed with every psi.
    images = generator.images(
        np.repeat(seeds, len(psis)).tolist(),
        truncation_psi=np.tile(psis, len(seeds)).tolist(),
        class_idx=class_idx,
    )
    cells = images.reshape(len(seeds), len(psis), *images.shape[1:])
    return Figure(cells, [f"seed {s}" for s in seeds], [f"psi {p:g}" for p in psis])


def noise(
    generator: Generator,
    *,
    seeds: Sequence[int] = (1967, 1555),
    boundaries: Sequence[int] | None = None,
    truncation_psi: float = 1.0,
    class_idx: int | None = None,
) -> Figure:
    """Figure 5: the stored noise in all layers, in none, in the fine and in the coarse ones.

    Coarse noise goes up to where the fine styles begin. From 128 px on, each image is followed by
    an enlarged crop. The paper instead joins halves of the four kinds in one picture and mirrors
    the second image; here each kind is a column.

    Args:
        generator: A network with noise.
        seeds: One row each, or two with the crops.
        boundaries: Its second number is the first fine noise layer, counted from 0; default
            `layer_boundaries`.
        truncation_psi: Factor on the distance to the mean style.
        class_idx: Class of every image; None draws one per seed.

    Raises:
        ValueError: The network has no noise, or no layers on one side of the boundary.
    """
    _check_noise(generator, "noise")
    # Noise layers count as style layers do: two per resolution.
    layers = generator.noise_layers()
    fine = _check_boundaries(generator.num_ws, boundaries)[1]
    if fine >= len(layers):
        raise ValueError(
            f"The fine layers begin at {fine}, but the noise layers are 0-{len(layers) - 1}: "
            f"choose a second number of at most {len(layers) - 1} for --boundaries."
        )

    # Which layers get noise, by the title of the column.
    kinds = {
        "all noise": layers,
        "no noise": [],
        f"fine {_span(range(fine, len(layers)))}": layers[fine:],
        f"coarse {_span(range(fine))}": layers[:fine],
    }

    # The same styles under each.
    ws = generator.styles(seeds, truncation_psi=truncation_psi, class_idx=class_idx)
    images = [generator.synthesize(ws, generator.stored_noise(kind)) for kind in kinds.values()]
    cells = np.stack(images, axis=1)  # [seeds, kinds, h, w, c]
    rows = [f"seed {s}" for s in seeds]

    # Below each row its crops, as large as the images.
    if generator.shape.img_resolution >= _MIN_CROPPED_PX:
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
    class_idx: int | None = None,
) -> Figure:
    """Figure 4: an image, crops of it under four other noises, and the deviation of each pixel.

    Args:
        generator: A network with noise.
        seeds: One row each.
        num_noise: Noise realisations, at least 5: the image shown, the four of the crops, more.
        truncation_psi: Factor on the distance to the mean style.
        class_idx: Class of every image; None draws one per seed.

    Raises:
        ValueError: The network has no noise, or fewer than 5 realisations are asked for.
    """
    _check_noise(generator, "stddev")
    if num_noise < 5:
        raise ValueError(f"num_noise={num_noise}: 5 images are shown, so give at least 5.")
    rows = []
    for seed in seeds:
        # One latent under many noises.
        images = generator.images(
            [seed] * num_noise,
            noise_mode="random",
            noise_seeds=range(num_noise),
            truncation_psi=truncation_psi,
            class_idx=class_idx,
        )
        # A crop has a quarter of the image's side: four of them at twice the size fill a cell.
        crops = make_grid(enlarge(crop(images[1:5]), 2), cols=2)
        rows.append([images[0], crops, deviation_map(images)])
    columns = ["image", "4 noises, crop x2", f"std of {num_noise}, x4"]
    return Figure(np.stack([np.stack(row) for row in rows]), [f"seed {s}" for s in seeds], columns)


FIGURES: dict[str, Callable[..., Figure]] = {
    "style_mixing": style_mixing,
    "truncation": truncation,
    "noise": noise,
    "stddev": stddev,
}


def parse_numbers(text: str, name: str) -> list[float]:
    """Reads `"1,0.7,-0.5"`; `name` is what errors call it.

    Raises:
        ValueError: Something else than numbers with commas between.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"{name}={text!r}: give numbers with commas between, as 1,0.7,-0.5."
        ) from None


# The options of the figures; those with a list are read by a function, the others by absl.
_OPTIONS: dict[str, Callable[[str, str], list] | None] = {
    "seeds": parse_seeds,
    "row_seeds": parse_seeds,
    "col_seeds": parse_seeds,
    "copied_styles": parse_seeds,
    "boundaries": parse_seeds,
    "psis": parse_numbers,
    "truncation_psi": None,
    "num_noise": None,
    "class_idx": None,
}


def define_flags() -> None:
    """Declares the options; not on import, as two tools share names."""
    text = flags.DEFINE_string
    number = flags.DEFINE_integer
    # What every figure takes.
    flags.DEFINE_enum("figure", None, list(FIGURES), "Which figure.", required=True)
    text("checkpoint", None, "Workdir, checkpoints folder or one step.", required=True)
    text("step", "latest", "Image count, 'latest' or 'best'.")
    text("out", None, "The PNG file to write.", required=True)
    # What some of them take; without a value, as the figure has it.
    text("seeds", None, "One row each: 0-3 or 91,388. Default: the figure's in the paper.")
    text("row_seeds", None, "style_mixing: destinations. Default: the paper's.")
    text("col_seeds", None, "style_mixing: sources. Default: the paper's.")
    text("copied_styles", None, "style_mixing: layers copied in every row, as 0-6.")
    text("boundaries", None, "Layers where middle and fine begin; 4,8 of 18 in the paper.")
    text("psis", None, "truncation: one column each. Default: 1,0.7,0.5,0,-0.5,-1.")
    flags.DEFINE_float("truncation_psi", None, "Other figures: truncation; default 1, none.")
    number("num_noise", None, "stddev: noise realisations; default 100.")
    number("class_idx", None, "Class of every image, for labelled networks.")


def main(argv: list[str]) -> None:
    """Reads the flags and writes the figure."""
    FLAGS = flags.FLAGS
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments {argv[1:]}; every option is --name=value.")
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # libraries report their every step below that

    # The options that are given, if the figure has them: the names are those of its arguments.
    draw = FIGURES[FLAGS.figure]
    options = {}
    for name, read in _OPTIONS.items():
        value = FLAGS[name].value
        if value is not None:
            options[name] = read(value, name) if read else value
    unused = sorted(options.keys() - inspect.signature(draw).parameters.keys())
    if unused:
        raise app.UsageError(f"--figure={FLAGS.figure} has no option --{', --'.join(unused)}.")

    # Refused before the network is loaded and drawn.
    if not FLAGS.out.lower().endswith(".png"):
        raise app.UsageError(f"--out={FLAGS.out}: give the name of a PNG file.")
    out = as_path(FLAGS.out)
    figure = draw(Generator(FLAGS.checkpoint, step=FLAGS.step), **options)
    save_png(out, render(figure))
    rows, cols = figure.cells.shape[:2]
    print(f"wrote {FLAGS.out}: {rows} rows x {cols} columns")


if __name__ == "__main__":
    define_flags()
    app.run(main)
