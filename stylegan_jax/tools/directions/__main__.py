"""Finds directions of styles along which images change, and shows what they do.

    python -m stylegan_jax.tools.directions --checkpoint=DIR --out=directions.png
    python -m stylegan_jax.tools.directions --checkpoint=DIR --method=sefa --layers=0-3 \\
        --out=sefa.png

    pca   GANSpace: the axes along which many styles vary most
    sefa  closed form: what the affine layers of `--layers` amplify most; no styles are needed

The picture has a row per direction and a column per strength, in standard deviations of styles
along the direction; only the styles of `--layers` move. Beside it lie an .npz with `directions`
float32 [k, w_dim], `share`, `scale` and `w_avg`, and a .json with the settings. An edited style is
`w + strength * scale[i] * directions[i]`.

Source: Haerkoenen et al. 2020 (GANSpace); Shen & Zhou 2021 (SeFa).
"""

import json
from collections.abc import Sequence

import numpy as np
from absl import flags
from etils import epath

from stylegan_jax.files import replacing
from stylegan_jax.inference.generator import Generator, load
from stylegan_jax.inference.seeds import parse_seeds
from stylegan_jax.run.images import describe_hidden, picture_text, save_png
from stylegan_jax.tools import command
from stylegan_jax.tools.directions.methods import (
    METHODS,
    Directions,
    factorise,
    layer_weights,
    principal_directions,
)
from stylegan_jax.tools.figures.layers import span
from stylegan_jax.tools.figures.picture import Figure, check_cells, render
from stylegan_jax.tools.latents import mean_w, sample_w


def find_directions(
    generator: Generator,
    method: str,
    *,
    layers: Sequence[int],
    num_directions: int = 8,
    num_samples: int = 10_000,
    class_idx: int | str | None = None,
) -> Directions:
    """Finds directions with one of the methods.

    Args:
        generator: Any network; for PCA one whose layers read styles.
        method: One of `METHODS`.
        layers: Those whose matrices SeFa takes apart; PCA reads none.
        num_directions: How many.
        num_samples: Styles whose variance is looked at, at least 2.
        class_idx: Class of all styles; None draws one per style.

    Raises:
        ValueError: The network has no styles to vary, or not so many directions.
    """
    if method == "pca" and not generator.has_styles:
        raise ValueError(
            f"--method=pca: latents of this {generator.origin.family!r} vary alike in all "
            "directions. Choose --method=sefa, which takes the first layer apart."
        )
    if num_samples < 2:
        raise ValueError(f"num_samples={num_samples}: give 2 or more; a variance needs them.")
    w = sample_w(generator, num_samples, class_idx=class_idx)
    if method == "pca":
        return principal_directions(w, num_directions)
    return factorise(layer_weights(generator, layers), w, num_directions)


def edit_figure(
    generator: Generator,
    found: Directions,
    *,
    seed: int,
    layers: Sequence[int],
    strengths: Sequence[float],
    truncation_psi: float = 1.0,
    class_idx: int | str | None = None,
) -> Figure:
    """Draws one image moved along each direction.

    Args:
        generator: Any network.
        found: Directions, a row each.
        seed: Of the image.
        layers: Styles that move.
        strengths: A column each, in standard deviations.
        truncation_psi: As in `Generator.styles`.
        class_idx: As in `Generator.styles`.
    """
    check_cells(len(found.vectors), len(strengths), generator.shape.size)
    ws = generator.styles([seed], truncation_psi=truncation_psi, class_idx=class_idx)
    # [rows, 1, w_dim] * [cols, 1] -> [rows, cols, w_dim]
    steps = (found.scale[:, None] * found.vectors)[:, None, :].astype(np.float32)
    moves = steps * np.asarray(strengths, np.float32)[:, None]
    # Styles of other layers stay those of the image: [rows, cols, num_ws, w_dim].
    edited = np.broadcast_to(ws, (*moves.shape[:2], *ws.shape[1:])).copy()
    edited[:, :, list(layers)] += moves[:, :, None]
    images = generator.synthesis(edited.reshape(-1, *ws.shape[1:]), generator.stored_noise())
    cells = images.reshape(*moves.shape[:2], *images.shape[1:])
    rows = [f"{i}, {100 * share:.3g} %" for i, share in enumerate(found.share)]
    return Figure(cells, rows, [f"{strength:+g}" for strength in strengths])


def write_arrays(
    out: epath.Path, found: Directions, w_avg: np.ndarray, settings: dict[str, object]
) -> None:
    """Writes the numbers beside the picture: an `.npz`, and the settings as `.json`."""
    with replacing(out.with_suffix(".npz")) as path, path.open("wb") as file:
        np.savez(file, directions=found.vectors, share=found.share, scale=found.scale, w_avg=w_avg)
    with replacing(out.with_suffix(".json")) as path:
        path.write_text(json.dumps(settings, indent=2) + "\n")


def choose_layers(generator: Generator, text: str | None) -> list[int]:
    """Reads the layers, `"0-3"`; None: all.

    Raises:
        ValueError: The network has no such layers.
    """
    last = generator.num_ws - 1
    layers = list(range(last + 1)) if text is None else parse_seeds(text, "layers")
    if max(layers) > last:
        raise ValueError(f"layers={text}: this network has the styles {span(range(last + 1))}.")
    return sorted(set(layers))


def define_flags() -> None:
    """Declares the options; not on import, as two tools share names."""
    text = flags.DEFINE_string
    number = flags.DEFINE_integer
    command.define_checkpoint_flags()
    text("out", None, "The PNG; an .npz and a .json go beside it.", required=True)
    flags.DEFINE_enum("method", "pca", METHODS, "How to find them.")
    number("num_directions", 8, "How many.", lower_bound=1)
    number("num_samples", 10_000, "Styles whose variance is looked at.", lower_bound=2)
    text("layers", None, "Styles that move, and for sefa are taken apart: 0-3. Default: all.")
    text("strengths", "-3,-2,-1,0,1,2,3", "A column each, in standard deviations.")
    number("seed", 0, "Of the image that is edited.")
    flags.DEFINE_float("truncation_psi", 1.0, "Truncation of that image; 1 for none.")
    command.define_class_flag()


def main(argv: list[str]) -> None:
    """Reads the flags and writes picture and numbers."""
    FLAGS = flags.FLAGS
    command.begin(argv)
    # What cannot be written or read is refused before the network is loaded.
    out = command.check_output(FLAGS.out, ".png")
    strengths = command.parse_numbers(FLAGS.strengths, "strengths")
    generator = load(**command.checkpoint_options())
    layers = choose_layers(generator, FLAGS.layers)
    class_idx = FLAGS["class"].value
    # The directions, and what each does to one image.
    found = find_directions(
        generator,
        FLAGS.method,
        layers=layers,
        num_directions=FLAGS.num_directions,
        num_samples=FLAGS.num_samples,
        class_idx=class_idx,
    )
    figure = edit_figure(
        generator,
        found,
        seed=FLAGS.seed,
        layers=layers,
        strengths=strengths,
        truncation_psi=FLAGS.truncation_psi,
        class_idx=class_idx,
    )

    # The picture, and beside it what others need to use the directions.
    channels = generator.shape.img_channels
    save_png(out, render(figure), text=picture_text(channels))
    settings = {
        "method": FLAGS.method,
        "layers": span(layers),
        "num_samples": FLAGS.num_samples,
        "class": class_idx,
        "weights": generator.fingerprint(),
    }
    write_arrays(out, found, mean_w(generator), settings)
    hidden = describe_hidden(channels)
    print(
        f"wrote {out}, .npz and .json: {len(found.vectors)} directions of {FLAGS.method}, "
        f"{100 * found.share.sum():.3g} % of the whole" + f", {hidden}" * bool(hidden)
    )


if __name__ == "__main__":
    define_flags()
    command.run(main)
