"""The search for styles and noise: Adam on both, with the schedule of StyleGAN2's projection.

Source: Karras et al. 2020 (StyleGAN2), appendix D.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from jaxtyping import Array, Float
from tqdm import tqdm

from stylegan_jax.inference.generator import Generator
from stylegan_jax.inference.programs import draw_images
from stylegan_jax.models.blocks import Noise
from stylegan_jax.ops.normalize import normalize_2nd_moment
from stylegan_jax.tools.latents import sample_w
from stylegan_jax.tools.project.distance import Distance, noise_correlation, pyramid_distance

# One style for all layers, or one for each.
SPACES = ("w", "w+")
# Latents that tell the mean and the spread of styles.
_NUM_SAMPLES = 10_000
# Steps from one look at the state to the next, at most.
_MOST_STEPS = 25


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to search; defaults are the paper's.

    Attributes:
        space: One of `SPACES`.
        num_steps: Steps of Adam.
        seed: Of the first noise, and of what is added to styles on the way.
        lr: Learning rate between the ramps.
        ramp_up: Share of the steps in which it rises linearly ...
        ramp_down: ... and in which it falls as a cosine.
        w_noise: Of what is added to styles at first, in units of their spread.
        w_noise_ramp: Share of the steps after which nothing is added.
        noise_weight: Weight of `noise_correlation`.
        optimise_noise: Search for the noise too; False: the network's own stays.
    """

    space: str = "w"
    num_steps: int = 1000
    seed: int = 303
    lr: float = 0.1
    ramp_up: float = 0.05
    ramp_down: float = 0.25
    w_noise: float = 0.05
    w_noise_ramp: float = 0.75
    noise_weight: float = 1e5
    optimise_noise: bool = True

    def __post_init__(self):
        """Checks words and numbers.

        Raises:
            ValueError: One of them is not known or out of range.
        """
        if self.space not in SPACES:
            raise ValueError(f"space={self.space!r}: choose one of {', '.join(SPACES)}.")
        if self.num_steps < 1:
            raise ValueError(f"num_steps={self.num_steps}: give 1 or more.")


class _State(NamedTuple):
    """What the search moves."""

    ws: Float[Array, "1 l w"]  # l is 1 where all layers share a style
    noise: Noise
    adam: Any


class Progress(NamedTuple):
    """What the search has found so far.

    Attributes:
        steps: How many are done.
        ws: float32 `[1, num_ws, w_dim]`.
        noise: `{block: {layer: [1, h, w, 1]}}`.
        image: uint8 `[h, w, c]`, drawn from both.
        distance: Of that image to the target.
    """

    steps: int
    ws: np.ndarray
    noise: Noise
    image: np.ndarray
    distance: float


def learning_rate(share: Array | float, settings: Settings) -> Array:
    """Returns the rate after a share of the steps: up, level, and down along a cosine to 0."""
    down = jnp.minimum(1, (1 - share) / settings.ramp_down)
    up = jnp.minimum(1, share / settings.ramp_up)
    return settings.lr * (0.5 - 0.5 * jnp.cos(jnp.pi * down)) * up


def saturate(img: Float[Array, "n h w c"], goal: Float[Array, "#n h w c"]) -> Array:
    """Takes away what lies beyond black and white where the goal is as black or white.

    A picture cannot show it. Elsewhere it stays, as its gradient leads back.
    """
    img = jnp.where(goal >= 1, jnp.minimum(img, 1), img)
    return jnp.where(goal <= -1, jnp.maximum(img, -1), img)


def project(
    generator: Generator,
    target: np.ndarray,
    settings: Settings,
    *,
    distance: Distance = pyramid_distance,
    class_idx: int | str | None = None,
) -> Iterator[Progress]:
    """Searches for the styles and noise whose image is nearest to a target.

    The search begins at the mean style. A network whose layers read no styles is searched on the
    sphere of its latents, from one of them on: their mean is no latent.

    Args:
        generator: Any network.
        target: uint8 `[h, w, c]`, of the network's size and channels.
        settings: How to search.
        distance: What is made small, `(img, target) -> [n]` of images in [-1, 1]. One with
            weights is a `jax.tree_util.Partial` of them, as `lpips_to` returns.
        class_idx: Class whose mean style is the beginning; None: of all.

    Yields:
        What is found, from the beginning on, at least every 25 steps.

    Raises:
        ValueError: The target has another size, or the network no such class.
    """
    wanted = (*generator.shape.size, generator.shape.img_channels)
    if target.shape != wanted:
        raise ValueError(f"Got a target {list(target.shape)}, the network draws {list(wanted)}.")
    run, look = _make_programs(generator, target, settings, distance)
    state, spread = _begin(generator, settings, class_idx)

    # As many steps in every part, so that one program makes all.
    size = max(n for n in range(1, _MOST_STEPS + 1) if settings.num_steps % n == 0)
    yield look(0, state)
    with tqdm(total=settings.num_steps, desc="projecting", unit=" steps", disable=None) as bar:
        for start in range(0, settings.num_steps, size):
            state = run(generator.params, generator.moving, state, spread, start, size)
            progress = look(start + size, state)
            bar.update(size)
            bar.set_postfix_str(f"distance {progress.distance:.4f}", refresh=False)
            yield progress


def _begin(
    generator: Generator, settings: Settings, class_idx: int | str | None
) -> tuple[_State, float]:
    """Returns the first state and the spread of styles, sqrt(E |w - mean|^2)."""
    w = sample_w(generator, _NUM_SAMPLES, class_idx=class_idx)  # [n, w_dim]
    mean = w.mean(axis=0, dtype=np.float64)
    spread = float(np.sqrt(np.mean(np.sum((w - mean) ** 2, axis=-1))))
    num_ws = generator.num_ws if settings.space == "w+" else 1
    first = mean if generator.has_styles else w[settings.seed % len(w)]
    ws = jnp.broadcast_to(jnp.float32(first), (1, num_ws, len(first)))

    # New noise to search in, or what was drawn with the network.
    drawn = generator.random_noise([settings.seed])
    noise = drawn if settings.optimise_noise else generator.stored_noise()
    searched = (ws, noise if settings.optimise_noise else {})
    return _State(ws, noise, optax.scale_by_adam().init(searched)), spread


def _make_programs(
    generator: Generator, target: np.ndarray, settings: Settings, distance: Distance
) -> tuple[Callable[..., _State], Callable[[int, _State], Progress]]:
    """Compiles on first use: some steps, and a look at what they have found."""
    goal = jnp.float32(target)[None] / 127.5 - 1
    key = jax.random.key(settings.seed)
    adam = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)
    # Arrays that a distance holds are arguments, not constants, of the programs.
    measure = distance if isinstance(distance, Partial) else Partial(distance)

    def draw(params: Any, moving: Any, ws: Array, noise: Noise) -> Array:
        every = jnp.broadcast_to(ws, (1, generator.num_ws, ws.shape[-1]))
        return saturate(draw_images(generator.structure, params, moving, every, noise), goal)

    def loss(
        searched: tuple[Array, Noise],
        added: Array,
        noise: Noise,
        params: Any,
        moving: Any,
        measure: Distance,
    ) -> Array:
        """Distance of what is drawn, and how far the noise is from noise."""
        ws, searched_noise = searched
        img = draw(params, moving, ws + added, searched_noise or noise)
        correlations = [noise_correlation(leaf) for leaf in jax.tree.leaves(searched_noise)]
        return measure(img, goal)[0] + settings.noise_weight * sum(correlations)

    def step(
        params: Any, moving: Any, measure: Distance, state: _State, spread: Array, number: Array
    ) -> _State:
        # t goes from 0 to 1; the first step has a rate of 0.
        share = number / settings.num_steps
        ramp = jnp.maximum(0, 1 - share / settings.w_noise_ramp) ** 2
        normal = jax.random.normal(jax.random.fold_in(key, number), state.ws.shape)
        added = normal * spread * settings.w_noise * ramp

        # Adam, on styles and noise at once.
        searched = (state.ws, state.noise if settings.optimise_noise else {})
        gradient = jax.grad(loss)(searched, added, state.noise, params, moving, measure)
        update, moments = adam.update(gradient, state.adam)
        rate = learning_rate(share, settings)
        ws, noise = jax.tree.map(lambda x, u: x - rate * u, searched, update)
        if not generator.has_styles:
            ws = normalize_2nd_moment(ws)
        return _State(ws, jax.tree.map(_standardise, noise) or state.noise, moments)

    @jax.jit
    def scan(
        params: Any, moving: Any, measure: Distance, state: _State, spread: Array, numbers: Array
    ) -> _State:
        def body(state: _State, number: Array) -> tuple[_State, None]:
            return step(params, moving, measure, state, spread, number), None

        return jax.lax.scan(body, state, numbers)[0]

    @jax.jit
    def see(params: Any, moving: Any, measure: Distance, state: _State) -> Array:
        return measure(draw(params, moving, state.ws, state.noise), goal)

    def run(params: Any, moving: Any, state: _State, spread: float, start: int, size: int):
        numbers = np.arange(start, start + size, dtype=np.int32)
        return scan(params, moving, measure, state, spread, numbers)

    def look(steps: int, state: _State) -> Progress:
        found = see(generator.params, generator.moving, measure, state)
        shape = (1, generator.num_ws, state.ws.shape[-1])
        ws = np.array(np.broadcast_to(np.asarray(state.ws), shape))
        # By the program that draws them again from a file: to the pixel.
        image = generator.synthesis(ws, state.noise)[0]
        return Progress(steps, ws, state.noise, image, float(found[0]))

    return run, look


def _standardise(noise: Float[Array, "1 h w 1"]) -> Float[Array, "1 h w 1"]:
    """Gives a noise map zero mean and unit variance again."""
    noise = noise - noise.mean()
    return noise * jax.lax.rsqrt(jnp.mean(noise**2))
