"""Finds the styles with which a network draws a photograph.

    python -m stylegan_jax.tools.project --checkpoint=DIR --target=photo.png --out=projection/
    python -m stylegan_jax.tools.project --checkpoint=DIR --target=photo.png --out=projection/ \\
        --space=w+ --num_steps=500 --video

The photograph is cropped to the network's proportions and resized; faces must lie as those that the
network was trained with. Into the folder go

    projection.png    the photograph, and what the network draws
    projected_w.npz   `w`, float32 [1, num_ws, w_dim], as the original repositories write it; the
                      noise by layer, and which network they are of: `tools.sample --ws` draws it
    progress.mp4      with `--video`: the photograph beside what was found on the way

The search is that of StyleGAN2 (1000 steps of Adam on one style for all layers and on the noise
inputs); `--space=w+` looks for a style per layer, which comes nearer and is harder to edit. What it
makes small is the paper's LPIPS where its weights are at hand, and a distance of Laplacian pyramids
where they are not; `--distance=lpips` downloads them.

Source: Karras et al. 2020 (StyleGAN2), section 5 and appendix D.
"""

from collections.abc import Iterator

import numpy as np
from absl import flags
from etils import epath

from stylegan_jax.data.preparation.transforms import CROPS
from stylegan_jax.inference.generator import Generator, load
from stylegan_jax.inference.saved import write_styles
from stylegan_jax.run.images import make_grid, picture_text, save_png
from stylegan_jax.tools import command
from stylegan_jax.tools.frames import check_mp4, choose_zoom, write_frames
from stylegan_jax.tools.project.distance import Distance, pyramid_distance
from stylegan_jax.tools.project.lpips import DISTANCES, choose_distance, load_lpips
from stylegan_jax.tools.project.optimise import SPACES, Progress, Settings, project
from stylegan_jax.tools.project.photograph import read_photograph

_FPS = 10


def write_projection(
    generator: Generator,
    target: np.ndarray,
    out: epath.Path,
    settings: Settings,
    *,
    distance: Distance = pyramid_distance,
    video: bool = False,
    class_idx: int | str | None = None,
) -> Progress:
    """Projects a target and writes what the command does; arguments as `project` has them.

    Args:
        generator: Any network.
        target: uint8 `[h, w, c]`.
        out: Folder.
        settings: How to search.
        distance: What is made small.
        video: Write the video too.
        class_idx: Class whose mean style is the beginning; None: of all.

    Returns:
        What was found in the end.
    """
    found: list[Progress] = []

    def pictures() -> Iterator[np.ndarray]:
        for progress in project(
            generator, target, settings, distance=distance, class_idx=class_idx
        ):
            # The first and the last are wanted afterwards.
            found[1:] = [progress]
            yield side_by_side(target, progress.image)

    if video:
        write_frames(out / "progress.mp4", pictures(), fps=_FPS)
    else:
        for _ in pictures():
            pass
    text = picture_text(target.shape[-1])
    save_png(out / "projection.png", side_by_side(target, found[-1].image), text=text)
    write_styles(out / "projected_w.npz", generator, found[-1].ws, found[-1].noise)
    print(
        f"wrote {out}: distance {found[-1].distance:.4f} after {found[-1].steps} steps, "
        f"{found[0].distance:.4f} at the beginning"
    )
    return found[-1]


def side_by_side(target: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Draws a target and an image, enlarged by whole pixels if they are small."""
    picture = make_grid(np.stack([target, image]), 2)
    zoom = choose_zoom(*picture.shape[:2])
    return picture.repeat(zoom, axis=0).repeat(zoom, axis=1)


def define_flags() -> None:
    """Declares the options; not on import, as two tools share names."""
    text = flags.DEFINE_string
    number = flags.DEFINE_integer
    command.define_checkpoint_flags()
    text("target", None, "The photograph: PNG, JPEG, WebP, TIFF, ...", required=True)
    text("out", None, "Folder to write into; gs:// too.", required=True)
    flags.DEFINE_enum("crop", "center-crop", CROPS, "How it gets the network's proportions.")
    flags.DEFINE_enum("space", "w", SPACES, "One style for all layers, or one for each.")
    flags.DEFINE_enum(
        "distance",
        "auto",
        DISTANCES,
        "What is made small; auto: LPIPS if its weights are here, which it never downloads.",
    )
    number("num_steps", 1000, "Steps of Adam.", lower_bound=1)
    number("seed", 303, "Of the noise.", lower_bound=0, upper_bound=2**32 - 1)
    flags.DEFINE_bool("optimise_noise", True, "Search for the noise inputs too.")
    flags.DEFINE_bool("video", False, "Write progress.mp4.")
    flags.DEFINE_alias("save_video", "video")
    command.define_class_flag()


def main(argv: list[str]) -> None:
    """Reads the flags and projects the photograph."""
    FLAGS = flags.FLAGS
    command.begin(argv)
    # What cannot be written is refused before the network is loaded.
    out = command.check_output(FLAGS.out, None)
    if FLAGS.video:
        check_mp4("--video")
    settings = Settings(
        space=FLAGS.space,
        num_steps=FLAGS.num_steps,
        seed=FLAGS.seed,
        optimise_noise=FLAGS.optimise_noise,
    )
    weights = load_lpips(FLAGS.distance)
    generator = load(**command.checkpoint_options())
    shape = generator.shape
    target = read_photograph(FLAGS.target, shape.size, shape.img_channels, crop=FLAGS.crop)
    write_projection(
        generator,
        target,
        out,
        settings,
        distance=choose_distance(FLAGS.distance, weights, target),
        video=FLAGS.video,
        class_idx=FLAGS["class"].value,
    )


if __name__ == "__main__":
    define_flags()
    command.run(main)
