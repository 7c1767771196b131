"""Draws the figures of the StyleGAN papers, and two more: a labelled PNG each.

    python -m stylegan_jax.tools.figures --figure=style_mixing --checkpoint=DIR --out=mixing.png
    python -m stylegan_jax.tools.figures --figure=truncation --checkpoint=DIR --out=truncation.png
    python -m stylegan_jax.tools.figures --figure=noise --checkpoint=DIR --out=noise.png
    python -m stylegan_jax.tools.figures --figure=stddev --checkpoint=DIR --out=stddev.png
    python -m stylegan_jax.tools.figures --figure=nearest --checkpoint=DIR --out=nearest.png
    python -m stylegan_jax.tools.figures --figure=texture_sticking --checkpoint=DIR --out=slices.png
    python -m stylegan_jax.tools.figures --figure=augmentations --data=NAME --out=augmented.png

    style_mixing  figure 3: row images with coarse, middle or fine styles of the column's image
    truncation    figure 8: seeds x psi; psi 0 is the mean image, negative psi the "anti-image"
    noise         figure 5: stored noise in all layers, in none, in fine ones, in coarse ones
    stddev        figure 4: what random noise changes: crops, and the deviation of each pixel
    nearest       samples, below each the nearest training image, and how far it is in grey levels
    texture_sticking  StyleGAN3's figure 1: a column of pixels while the latent moves, over time;
                  of several networks with --beside=DIR
    augmentations images of a data set, augmented in each way, and in all at three strengths

Seeds, psis and numbers of images are the paper's unless given. The paper's 18 layers are split into
coarse (0-3), middle (4-7) and fine (8-17); other numbers of layers in the same proportions, or as
`--boundaries=4,8` says. StyleGAN2's mixing figure copies the same layers in every row:

    ... --figure=style_mixing --row_seeds=85,100,75,458,1500 --col_seeds=55,821,1789,293 \\
        --copied_styles=0-6

Source: Karras et al. 2019 (StyleGAN), figures 3, 4, 5 and 8; 2021 (StyleGAN3), figure 1.
"""

import inspect
from collections.abc import Callable

from absl import app, flags

from stylegan_jax.inference.generator import load
from stylegan_jax.inference.seeds import parse_seeds
from stylegan_jax.run.images import describe_hidden, picture_text, save_png
from stylegan_jax.tools import command
from stylegan_jax.tools.figures.augmentations import augmentations
from stylegan_jax.tools.figures.nearest import nearest_images
from stylegan_jax.tools.figures.picture import Figure, render
from stylegan_jax.tools.figures.stylegan import noise, stddev, style_mixing, truncation
from stylegan_jax.tools.figures.texture_sticking import texture_sticking
from stylegan_jax.tools.training_images import define_data_flags

# By the name of `--figure`; the arguments of each are its options.
FIGURES: dict[str, Callable[..., Figure]] = {
    "style_mixing": style_mixing,
    "truncation": truncation,
    "noise": noise,
    "stddev": stddev,
    "nearest": nearest_images,
    "texture_sticking": texture_sticking,
    "augmentations": augmentations,
}


# The options of the figures; those with a list are read by a function, the others by absl.
_OPTIONS: dict[str, Callable[[str, str], list] | None] = {
    "seeds": parse_seeds,
    "row_seeds": parse_seeds,
    "col_seeds": parse_seeds,
    "copied_styles": parse_seeds,
    "boundaries": parse_seeds,
    "psis": command.parse_numbers,
    "truncation_psi": None,
    "num_noise": None,
    "class_idx": None,
    "data": None,
    "data_dir": None,
    "size": None,
    "pipe": None,
    "num_images": None,
    "beside": None,
    "line": None,
}


def define_flags() -> None:
    """Declares the options; not on import, as two tools share names."""
    text = flags.DEFINE_string
    number = flags.DEFINE_integer
    # What every figure takes.
    flags.DEFINE_enum("figure", None, list(FIGURES), "Which figure.", required=True)
    command.define_checkpoint_flags(required=False)
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
    command.define_class_flag()
    define_data_flags("nearest, augmentations: ")
    text("size", None, "augmentations: of the images, 64 or 48x32; default 64.")
    text("pipe", None, "augmentations: which of them, as bgc; default all, bgcfnc.")
    flags.DEFINE_multi_string("beside", None, "texture_sticking: another network; may be repeated.")
    flags.DEFINE_float(
        "line", None, "texture_sticking: column as a share of the width; default .5."
    )
    number("num_images", None, "augmentations: one column each; default 8.")


def needs_network(figure: str, checkpoint: str | None) -> bool:
    """Whether a network draws a figure.

    Raises:
        UsageError: It does and none is given, or the reverse.
    """
    needs = "generator" in inspect.signature(FIGURES[figure]).parameters
    if needs and checkpoint is None:
        raise app.UsageError(f"A network draws --figure={figure}: give --checkpoint.")
    if not needs and checkpoint is not None:
        raise app.UsageError(f"--figure={figure} has no option --checkpoint.")
    return needs


def main(argv: list[str]) -> None:
    """Reads the flags and writes the figure."""
    FLAGS = flags.FLAGS
    command.begin(argv)

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
    out = command.check_output(FLAGS.out, ".png")
    if needs_network(FLAGS.figure, FLAGS.checkpoint):
        options["generator"] = load(FLAGS.checkpoint, step=FLAGS.step)
    if "beside" in options:
        options["beside"] = [load(path) for path in options["beside"]]
    figure = draw(**options)
    rows, cols, _, _, channels = figure.cells.shape
    save_png(out, render(figure), text=picture_text(channels))
    hidden = describe_hidden(channels)
    print(f"wrote {FLAGS.out}: {rows} rows x {cols} columns" + f", {hidden}" * bool(hidden))


if __name__ == "__main__":
    define_flags()
    command.run(main)
