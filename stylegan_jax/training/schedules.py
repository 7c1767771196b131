"""Schedules in images: EMA half-life, lazy regularisation, progressive growing; pure functions."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def ema_beta(
    nimg: Int[Array, ""], *, batch_size: int, ema_kimg: float, ema_rampup: float | None
) -> Float[Array, ""]:
    """Share of the old average that one iteration keeps.

    Args:
        nimg: Images seen before this iteration.
        batch_size: Images per iteration.
        ema_kimg: Half-life of the average, in thousands of images.
        ema_rampup: The half-life is at most this share of `nimg`, so that the random start is
            forgotten soon (the first iteration copies); None: constant half-life.

    Source: Karras et al. 2018 (ProGAN), section 6.2 (average); StyleGAN2-ADA (ramp-up).
    Checked: tests/parity, cases `train_*`.
    """
    half_life = jnp.float32(ema_kimg * 1000)  # images
    if ema_rampup is not None:
        half_life = jnp.minimum(half_life, nimg.astype(jnp.float32) * ema_rampup)
    # beta^(half_life / batch_size) = 1/2; the floor keeps 0 / 0 from the first iteration.
    return jnp.exp2(-batch_size / jnp.maximum(half_life, 1e-8))


def lazy_adam(
    learning_rate: float, betas: tuple[float, float], reg_interval: int | None
) -> tuple[float, tuple[float, float]]:
    """Corrects Adam for the extra steps that lazy regularisation takes.

    With a regularisation step every k iterations, k + 1 steps happen where k would: rates and
    decays are raised to `c = k / (k + 1)`.

    Source: Karras et al. 2020 (StyleGAN2), appendix B. Checked: tests/training/test_schedules.py.
    """
    if not reg_interval:
        return learning_rate, betas
    # k + 1 steps are to move as far, and to forget as much, as k did.
    c = reg_interval / (reg_interval + 1)
    return learning_rate * c, (betas[0] ** c, betas[1] ** c)


@dataclasses.dataclass(frozen=True)
class Level:
    """What stays the same while the networks work at one resolution.

    Networks that do not grow have a single level.

    Attributes:
        resolution: That of the block whose images are made and judged.
        lod: Level of detail: halvings of the full resolution.
        batch_size: Real images per iteration, over all devices.
        G_lr: Learning rate of G.
        D_lr: Learning rate of D.
        fade_start: Image count from which the resolution is faded in.
        fade_nimg: Images that the fade takes; 0: none.
    """

    resolution: int
    lod: int
    batch_size: int
    G_lr: float
    D_lr: float
    fade_start: int = 0
    fade_nimg: int = 0

    @property
    def first_nimg(self) -> int:
        """First image count at this level: a fade that has not begun belongs to the one before."""
        return self.fade_start + (1 if self.fade_nimg else 0)

    def fade(self, nimg: Int[Array, ""] | int) -> Float[Array, ""] | None:
        """Share of the resolution below, from 1 down to 0; None where nothing is faded."""
        if self.fade_nimg == 0:
            return None
        # Traced: the image count moves within one compiled program.
        done = (nimg - self.fade_start) / jnp.float32(self.fade_nimg)
        return jnp.clip(1 - done, 0.0, 1.0).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Span:
    """Iterations from one event to the next; the optimisers start anew at its begin.

    Events are the begin and the end of a fade.

    Attributes:
        level: Where the iterations happen.
        start_nimg: Image count before the first one.
        end_nimg: Image count after the last one.
        first_iteration: Its number, from 0 at the start of the run.
    """

    level: Level
    start_nimg: int
    end_nimg: int
    first_iteration: int

    def iteration(self, nimg: int) -> int:
        """Number of the iteration that begins at an image count."""
        return self.first_iteration + (nimg - self.start_nimg) // self.level.batch_size


def make_levels(
    img_resolution: int,
    *,
    init_resolution: int | None,
    training_nimg: int,
    transition_nimg: int,
    batch_size: int,
    G_lr: float,
    D_lr: float,
    batch_sizes: Mapping[int, int] | None = None,
    learning_rates: Mapping[int, float] | None = None,
) -> tuple[Level, ...]:
    """The levels of a run, lowest resolution first.

    Each resolution is trained for a while, then the next one is faded in, and so on.

    Args:
        img_resolution: Resolution of the last block.
        init_resolution: That of the first one that draws; None: no growing.
        training_nimg: Images between two fades.
        transition_nimg: Images of a fade.
        batch_size: Images per iteration, at resolutions that `batch_sizes` does not name.
        G_lr: Learning rate of G, where `learning_rates` has none.
        D_lr: Learning rate of D, likewise.
        batch_sizes: Images per iteration by resolution.
        learning_rates: Learning rate of both networks by resolution.

    Raises:
        ValueError: The first resolution does not lead to the last one, or images are negative.

    Source: Karras et al. 2018 (ProGAN), section 3 and appendix A.
    Checked: tests/training/test_schedules.py against the closed form of lod.
    """
    # Halvings from the first resolution to the last.
    first = img_resolution if init_resolution is None else init_resolution
    lod = (img_resolution // max(first, 1)).bit_length() - 1
    if first < 4 or first << max(lod, 0) != img_resolution:
        raise ValueError(
            f"Growing from resolution {first} does not reach {img_resolution} by doubling: "
            "give a power of two from 4 to the full resolution."
        )
    if training_nimg < 0 or transition_nimg < 0:
        raise ValueError(
            f"{training_nimg} images of training and {transition_nimg} of transition per "
            "resolution: give numbers that are not negative."
        )

    # training, (fade, training), (fade, training), ...: level i begins with its fade.
    batch_sizes = batch_sizes or {}
    learning_rates = learning_rates or {}
    levels = []
    for i in range(lod + 1):
        resolution = first << i
        rate = learning_rates.get(resolution)
        levels.append(
            Level(
                resolution=resolution,
                lod=lod - i,
                batch_size=batch_sizes.get(resolution, batch_size),
                G_lr=G_lr if rate is None else rate,
                D_lr=D_lr if rate is None else rate,
                fade_start=i * training_nimg + max(i - 1, 0) * transition_nimg,
                fade_nimg=transition_nimg if i > 0 else 0,
            )
        )
    return tuple(levels)


def make_spans(levels: Sequence[Level], total_nimg: int) -> tuple[Span, ...]:
    """Every iteration of a run, in spans; a pure function, so that a resume finds its place.

    Raises:
        ValueError: A batch is empty, a level is skipped, or the run ends before the networks are
            whole.
    """
    for level in levels:
        if level.batch_size < 1:
            raise ValueError(
                f"Batch of {level.batch_size} images at resolution {level.resolution}: give 1 "
                "or more."
            )
    # Networks must be whole before the run ends.
    whole = levels[-1].fade_start + levels[-1].fade_nimg
    if total_nimg <= whole > 0:
        raise ValueError(
            f"A run of {total_nimg / 1000:g} kimg ends before the networks have grown to "
            f"resolution {levels[-1].resolution}, at {whole / 1000:g} kimg: train for longer, or "
            "shorten the training and transition per resolution."
        )

    # Events need not fall between two batches: the iteration that passes one ends the span.
    spans: list[Span] = []
    nimg = iteration = 0
    for i, level in enumerate(levels):
        end = levels[i + 1].first_nimg if i + 1 < len(levels) else total_nimg
        for event in sorted({level.fade_start + level.fade_nimg, end}):
            count = -(-(event - nimg) // level.batch_size)  # rounded up
            if count <= 0:  # the iteration before went beyond this event
                continue
            spans.append(Span(level, nimg, nimg + count * level.batch_size, iteration))
            nimg = spans[-1].end_nimg
            iteration += count
        if not any(span.level is level for span in spans):
            raise ValueError(
                f"No iteration falls to resolution {level.resolution}: batches of "
                f"{level.batch_size} images leap over it. Train longer per resolution or make "
                "batches smaller."
            )
    return tuple(spans)


def spans_from(spans: Sequence[Span], nimg: int) -> tuple[Span, ...]:
    """Lists the spans that still have iterations after `nimg` images."""
    return tuple(span for span in spans if span.end_nimg > nimg)


def find_span(spans: Sequence[Span], nimg: int) -> Span:
    """The span that the iteration beginning at `nimg` belongs to; after the end, the last."""
    return next((span for span in spans if nimg < span.end_nimg), spans[-1])
