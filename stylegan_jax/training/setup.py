"""What is static in a step: networks, numbers of the losses, where the networks stand."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from flax import nnx
from jaxtyping import Array, Float, Int

from stylegan_jax.augment.ada_control import Controller
from stylegan_jax.models.blocks import BaseGenerator, NoiseLayers
from stylegan_jax.ops.packing import UNPACKED, Packing
from stylegan_jax.sizes import SQUARE_BASE, Size, size_at
from stylegan_jax.training.optimizer import Optimizer
from stylegan_jax.training.schedules import Level

Net = Literal["G", "D"]


@dataclasses.dataclass(frozen=True)
class Networks:
    """The static half of a training run: network structures, their sizes, their optimisers.

    `takes_transform`: G can be told to move its image. `base_grid` is the size of the first block;
    `packings` are those of D's images by resolution;
    none is named: unpacked.
    """

    G: nnx.GraphDef[BaseGenerator]
    D: nnx.GraphDef
    opt_G: Optimizer
    opt_D: Optimizer
    z_dim: int
    num_ws: int
    noise_layers: NoiseLayers
    takes_transform: bool = False
    base_grid: Size = SQUARE_BASE
    packings: tuple[tuple[int, Packing], ...] = ()

    def packing(self, resolution: int) -> Packing:
        """How D holds images of a resolution, and so how they are handed over."""
        return dict(self.packings).get(resolution, UNPACKED)


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """Numbers of the losses and averages; all static.

    Attributes:
        net_order: Whose phases come first, `GD` or `DG`; the average of G follows those of D.
        num_micro_batches: Gradients are averaged over this many parts of the batch.
        adversarial: A key of `ADVERSARIAL_LOSSES`.
        r1_gamma: Weight of R1 (the loss is gamma / 2 * penalty).
        r2_gamma: Weight of R2, likewise.
        gp_weight: Weight of the gradient penalty of WGAN-GP.
        gp_target: Gradient norm that it does not penalise.
        drift_weight: Weight of the squared logits of reals.
        pl_weight: Weight of the path length penalty; 0: no such phase.
        pl_decay: Rate of the moving mean of path lengths.
        pl_batch_shrink: Path lengths are measured on this fraction of the batch.
        style_mixing_prob: Probability that an iteration mixes two latents.
        w_avg_beta: Decay of the mean style.
        w_avg_update: `every_pass` moves it, and the averages in G, in each pass (StyleGAN2-ADA),
            `Dmain` in that phase alone (StyleGAN3).
        magnitude_ema_kimg: Half-life of the magnitudes of feature maps (StyleGAN3).
        blur_init_sigma: Of the blur of D's images before the first one, in pixels; 0: none.
        blur_fade_kimg: Images after which nothing is blurred any more.
        ema_kimg: Half-life of `G_ema`.
        ema_rampup: See `ema_beta`.
        ema_decay: Share of the average kept per iteration, whatever the batch (ProGAN); None: as
            half-life and ramp-up have it.
        g_reg_interval: Iterations between `Greg` phases; None: regularised in every main phase.
        d_reg_interval: Iterations between `Dreg` phases; None: likewise.
    """

    # Order and size of the steps.
    net_order: Literal["GD", "DG"]
    num_micro_batches: int
    # Losses.
    adversarial: str
    r1_gamma: float
    r2_gamma: float
    gp_weight: float
    gp_target: float
    drift_weight: float
    pl_weight: float
    pl_decay: float
    pl_batch_shrink: int
    # Styles, and their mean.
    style_mixing_prob: float
    w_avg_beta: float
    w_avg_update: Literal["every_pass", "Dmain"]
    magnitude_ema_kimg: float
    # What D sees.
    blur_init_sigma: float
    blur_fade_kimg: float
    # The average of G.
    ema_kimg: float
    ema_rampup: float | None
    ema_decay: float | None
    # Lazy regularisation.
    g_reg_interval: int | None
    d_reg_interval: int | None


class Augmentation(NamedTuple):
    """What happens to images on their way to D.

    Attributes:
        draw: `(key, n, size, channels) -> draws`: everything random in it, for n images of that
            height and width, as arrays `[n, ...]`.
        apply: `(img [n, h, w, c], draws, stats) -> img`, differentiable; `stats` are the moving
            values of the state.
        controller: Who decides how strong it is, in `stats["augment"]`; None: it has no strength.
    """

    draw: Callable[[Array, int, Size, int], Any]
    apply: Callable[[Array, Any, dict[str, Any]], Array]
    controller: Controller | None = None


@dataclasses.dataclass(frozen=True)
class Setup:
    """All that a step is compiled for; hashable.

    Attributes:
        networks: Structures, sizes and optimisers.
        hyper: Numbers of the losses and averages.
        level: Resolution, batch and learning rates.
        augmentation: Of the images that D sees; None: it sees them as they are.
        frozen_D: Paths of the layers of D that stand still, as `("b256", "conv0")`.
    """

    networks: Networks
    hyper: Hyperparameters
    level: Level
    augmentation: Augmentation | None = None
    frozen_D: tuple[tuple[str, ...], ...] = ()

    @property
    def size(self) -> Size:
        """Height and width of the level's images."""
        return size_at(self.level.resolution, self.networks.base_grid)

    @property
    def packing(self) -> Packing:
        """How images of the level are held: as D holds them."""
        return self.networks.packing(self.level.resolution)

    def fade(self, nimg: Int[Array, ""] | int) -> Float[Array, ""] | None:
        """Share of the resolution below after `nimg` images; None where nothing is faded."""
        return self.level.fade(nimg)

    def at(self, level: Level) -> "Setup":
        """The same networks at another level."""
        return dataclasses.replace(self, level=level)


class Phase(NamedTuple):
    """Which terms a step of a network's loss has.

    Attributes:
        name: What the step is called in logs.
        net: Whose step it is.
        main: Whether it has the adversarial loss.
        reg: Whether it has the regularisers.
        interval: Iterations from one such step to the next; regularisers are that much stronger.
    """

    name: str
    net: Net
    main: bool
    reg: bool
    interval: int
