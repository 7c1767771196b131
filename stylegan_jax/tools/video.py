"""Writes a video that passes from seed to seed, in one cell or in a grid of them.

    python -m stylegan_jax.tools.video --checkpoint=DIR --seeds=0-7 --out=video.mp4
    python -m stylegan_jax.tools.video --checkpoint=DIR --seeds=0-31 --grid=2x4 --out=grid.webp

Keyframes are the images of the seeds, with the stored noise; between them the styles move along a
periodic cubic spline, so that the video can be repeated for ever (`--noloop`: from the first seed
to the last). `--grid=2x4` is 2 rows of 4 cells: each has its own keyframes, seeds in order. Frames
smaller than 256 px are enlarged by whole pixels.

`--motion=rotate` also turns the images of a StyleGAN3 once around, `translate` shifts them to and
fro, `circle` leads them around the middle. With one seed in each cell nothing else moves:

    python -m stylegan_jax.tools.video --checkpoint=DIR --seeds=0-1 --grid=1x2 --motion=rotate \\
        --w_frames=240 --out=turning.mp4

`--ws=projected_w.npz --ws=...` takes saved styles as keyframes, in place of seeds. The noise is the
network's own there, too: each projection has found another.

MP4 is H.264 and needs `pip install -e '.[video]'`; WebP, GIF and folders of PNG files need nothing.
"""

import re
from collections.abc import Callable, Iterator

import numpy as np
from absl import flags
from tqdm import tqdm

from stylegan_jax.inference.generator import Generator, load
from stylegan_jax.inference.programs import CHUNK
from stylegan_jax.inference.saved import read_styles
from stylegan_jax.inference.seeds import parse_seeds
from stylegan_jax.run.capacity import most_cells
from stylegan_jax.run.images import describe_hidden, make_grid
from stylegan_jax.sizes import describe_pixels, name_size
from stylegan_jax.tools import command
from stylegan_jax.tools.frames import check_frames_output, choose_zoom, write_frames
from stylegan_jax.tools.interpolation import KINDS, make_track
from stylegan_jax.tools.latents import mean_w
from stylegan_jax.tools.motion import MOTIONS, make_motion

_NOISE_MODES = ("const", "none")


def interpolate(
    generator: Generator,
    ws: np.ndarray,
    *,
    grid: tuple[int, int] = (1, 1),
    num_keyframes: int | None = None,
    w_frames: int = 120,
    interpolation: str | None = None,
    loop: bool = True,
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the styles of all cells as a function of frames.

    Cell (y, x) has as keyframe k the styles number `(y * cols + x) * num_keyframes + k`, counted
    around the list.

    Args:
        generator: Any network.
        ws: Styles of the keyframes, `[n, num_ws, w_dim]`.
        grid: Rows and columns.
        num_keyframes: Keyframes per cell; None: all styles in equal parts.
        w_frames: Frames from one keyframe to the next.
        interpolation: `spline`, `linear` or `slerp` (around the mean style); None: `slerp` for
            networks without styles, whose latents all have the same length, else `spline`.
        loop: The last keyframe is followed by the first.

    Returns:
        `frames [n] -> ws [n * rows * cols, num_ws, w_dim]`; frame `k * w_frames` is keyframe k.

    Raises:
        ValueError: Styles and cells do not go together.
    """
    rows, cols = grid
    cells = rows * cols
    if num_keyframes is None:
        num_keyframes = _share_keyframes(len(ws), grid)
    if num_keyframes < 1 or w_frames < 1:
        raise ValueError(
            f"num_keyframes={num_keyframes}, w_frames={w_frames}: give 1 or more of both."
        )

    # [cells, keys] -> [keys, cells, num_ws, w_dim]
    numbers = np.arange(cells * num_keyframes).reshape(cells, num_keyframes).T % len(ws)
    keys = ws[numbers]

    # Around the mean, where angles mean something.
    kind = interpolation or ("spline" if generator.has_styles else "slerp")
    centre = mean_w(generator)
    track = make_track(keys - centre, kind, loop=loop)

    def at(frames: np.ndarray) -> np.ndarray:
        ws = np.concatenate([track(frame / w_frames) for frame in frames]) + centre
        return ws.astype(np.float32)

    return at


def count_frames(num_keyframes: int, w_frames: int, *, loop: bool) -> int:
    """Returns how many frames a video has: without `loop` the last keyframe is the last one."""
    return num_keyframes * w_frames if loop else (num_keyframes - 1) * w_frames + 1


def _share_keyframes(num: int, grid: tuple[int, int]) -> int:
    """Returns how many keyframes each cell gets.

    Raises:
        ValueError: The cells do not share them evenly.
    """
    cells = grid[0] * grid[1]
    if num % cells:
        raise ValueError(
            f"{num} keyframes for a grid of {grid[0]}x{grid[1]}: give a multiple of {cells}, or "
            "say --num_keyframes, and they are taken again."
        )
    return num // cells


def draw_frames(
    generator: Generator,
    styles: Callable[[np.ndarray], np.ndarray],
    num_frames: int,
    *,
    cols: int,
    cells: int,
    noise_mode: str = "const",
    motion: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Iterator[np.ndarray]:
    """Yields frames as they are drawn, a few at a time.

    Args:
        generator: Any network.
        styles: As `interpolate` returns.
        num_frames: How many.
        cols: Cells side by side.
        cells: All cells.
        noise_mode: `const` (the stored noise) or `none`.
        motion: Transforms of frames, as `make_motion` returns; None: images stay where they are.

    Yields:
        uint8 `[h, w, 1 or 3]`.
    """
    noise = generator.stored_noise() if noise_mode == "const" else None
    # As many frames in every part, so that one program draws all.
    size = max(1, CHUNK // cells)
    for start in tqdm(range(0, num_frames, size), desc="drawing", unit=" parts", disable=None):
        frames = np.minimum(np.arange(start, start + size), num_frames - 1)
        transform = None if motion is None else motion(frames).repeat(cells, axis=0)
        images = generator.synthesis(styles(frames), noise, transform=transform)
        images = images.reshape(size, cells, *images.shape[1:])
        for frame in images[: num_frames - start]:
            picture = make_grid(frame, cols)
            zoom = choose_zoom(*picture.shape[:2])
            yield picture.repeat(zoom, axis=0).repeat(zoom, axis=1)


def parse_grid(text: str) -> tuple[int, int]:
    """Reads rows and columns, `"2x4"`.

    Raises:
        ValueError: Something else.
    """
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if match is None:
        raise ValueError(f"grid={text!r}: give rows x columns, as 2x4 for 2 rows of 4 images.")
    return int(match[1]), int(match[2])


def define_flags() -> None:
    """Declares the options; not on import, as two tools share names."""
    text = flags.DEFINE_string
    number = flags.DEFINE_integer
    command.define_checkpoint_flags()
    text("out", None, "video.mp4, .webp, .gif, or a folder for PNG files.", required=True)
    text("seeds", "0-7", "Seeds of the keyframes: 0-7 or 1,5,7-9.")
    command.define_ws_flag()
    number("shuffle_seed", None, "Shuffle the seeds.")
    text("grid", "1x1", "Rows x columns of images.")
    number("num_keyframes", None, "Keyframes of each cell; default: all seeds in equal parts.")
    number("w_frames", 120, "Frames from one keyframe to the next.", lower_bound=1)
    flags.DEFINE_float("fps", 60.0, "Frames per second.", lower_bound=0.1, upper_bound=1000)
    flags.DEFINE_enum("interpolation", None, KINDS, "Default: spline; slerp without styles.")
    flags.DEFINE_enum("motion", None, MOTIONS, "Move the images, too: StyleGAN3 alone can.")
    flags.DEFINE_bool("loop", True, "End where the video begins.")
    flags.DEFINE_float("truncation_psi", 1.0, "Truncation; 1 for none.")
    number("truncation_cutoff", None, "Layers to truncate; all by default.")
    flags.DEFINE_enum("noise_mode", "const", _NOISE_MODES, "Noise inputs.")
    command.define_class_flag()


def main(argv: list[str]) -> None:
    """Reads the flags and writes the video."""
    FLAGS = flags.FLAGS
    command.begin(argv)
    # What cannot be written or read is refused before the network is loaded.
    out = check_frames_output(FLAGS.out)
    seeds = parse_seeds(FLAGS.seeds)
    rows, cols = parse_grid(FLAGS.grid)
    if FLAGS.shuffle_seed is not None:
        seeds = np.random.RandomState(FLAGS.shuffle_seed).permutation(seeds).tolist()
    command.check_ws_flag()
    # Of files it is seen when they are read.
    if not FLAGS.ws and FLAGS.num_keyframes is None:
        _share_keyframes(len(seeds), (rows, cols))

    generator = load(**command.checkpoint_options())
    most = most_cells(*generator.shape.size)
    if rows * cols > most:
        raise ValueError(
            f"--grid={FLAGS.grid}: one frame holds {most} images of "
            f"{name_size(generator.shape.size)} px."
        )
    if FLAGS.ws:
        saved = read_styles(FLAGS.ws, generator)
        for note in saved.notes:
            print(f"NOTE: {note}")
        ws = saved.ws
    else:
        ws = generator.styles(seeds, class_idx=FLAGS["class"].value)
    num_keyframes = FLAGS.num_keyframes
    if num_keyframes is None:
        num_keyframes = _share_keyframes(len(ws), (rows, cols))
    styles = interpolate(
        generator,
        generator.truncate(ws, FLAGS.truncation_psi, FLAGS.truncation_cutoff),
        grid=(rows, cols),
        num_keyframes=num_keyframes,
        w_frames=FLAGS.w_frames,
        interpolation=FLAGS.interpolation,
        loop=FLAGS.loop,
    )
    num_frames = count_frames(num_keyframes, FLAGS.w_frames, loop=FLAGS.loop)
    frames = draw_frames(
        generator,
        styles,
        num_frames,
        cols=cols,
        cells=rows * cols,
        noise_mode=FLAGS.noise_mode,
        motion=None if FLAGS.motion is None else make_motion(FLAGS.motion, num_frames),
    )
    count, size = write_frames(out, frames, fps=FLAGS.fps)
    hidden = describe_hidden(generator.shape.img_channels)
    print(
        f"wrote {out}: {count} frames of {describe_pixels(size)}, {count / FLAGS.fps:.1f} s"
        + f", {hidden}" * bool(hidden)
    )


if __name__ == "__main__":
    define_flags()
    command.run(main)
