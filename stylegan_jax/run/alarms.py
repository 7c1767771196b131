"""Rules of the alarms: what was seen, what it usually means, what to change.

A rule looks at one tick's means, or at a score; a further alarm is a further row of `RULES`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from ml_collections import ConfigDict

# In sound runs, growing ones included, losses stay below 4 times their median and gradients
# below 7 while the resolution stays the same.
EXPLOSION_RATIO = 10.0
# A logistic loss of 10 calls every image wrong with a certainty of 0.99995.
MIN_EXPLODED_LOSS = 10.0
# Sound runs stay below 0.9; from 0.95 on at most 1 image in 40 is judged wrongly.
STRONG_SIGN = 0.95
STRONG_TICKS = 5
# Logits this far apart leave a logistic loss without a slope; sound runs have 1 to 5. Critics
# (WGAN) have no scale: theirs must also have grown a lot.
WIDE_GAP = 20.0
WIDE_RATIO = 2.0
WIDE_CRITIC_GAP = 100.0
WIDE_CRITIC_RATIO = 10.0
# The smallest gap in sound runs is 0.25, in the first fade of a growing one.
EQUAL_GAP = 0.05
EQUAL_TICKS = 20
# G's gradient has never been seen below a quarter of its median.
VANISHED_RATIO = 0.01
VANISHED_TICKS = 2
# A penalty that weighs more than the adversarial loss (about 1) and has grown tenfold.
PENALTY_RATIO = 10.0
MIN_HEAVY_PENALTY = 1.0
# Above it, images that are never shown unchanged may be learned as they are (ADA, section 2.3).
LEAKING_P = 0.8
# Scores of a sound run (swd) fall, and vary by a few per cent: twice the best is no chance.
SCORE_RATIO = 2.0


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a rule looks at: one tick, or one score.

    Attributes:
        config: The run's config.
        resolution: At which the networks work.
        means: The tick's metrics.
        medians: Of absolute values in the ticks before; empty while they are too few.
        skipped: Updates left out in this tick, per network.
        iterations: Of this tick.
        score_name: The one that decides; `-` before one that is the better the higher.
        score: Its value.
        best_score: The best one so far.
    """

    config: ConfigDict
    resolution: int
    means: Mapping[str, float]
    medians: Mapping[str, float]
    skipped: Mapping[str, int]
    iterations: int
    score_name: str = ""
    score: float = math.nan
    best_score: float = math.nan

    @property
    def is_critic(self) -> bool:
        """Tells whether logits have neither a zero nor a scale."""
        return self.config.loss.adversarial == "wgan"

    @property
    def gap(self) -> float:
        """Returns how much higher reals are scored than fakes; NaN where it was not measured."""
        real, fake = (self.means.get(f"Loss/scores/{kind}", math.nan) for kind in ("real", "fake"))
        return real - fake

    def ratio(self, name: str) -> float:
        """Returns a value in medians of its past; 0 where there is no past."""
        median = self.medians.get(name, 0.0)
        if median <= 0 or name not in self.means:
            return 0.0
        return abs(self.means[name]) / median


# ----------------------------------------------------------------------------------------------
# What is seen: words, or nothing


def _non_finite(seen: Seen) -> str:
    """Looks for updates that the step left out, and for means that are not finite."""
    # Means of losses, and updates of either network.
    bad = [name for name, mean in seen.means.items() if not math.isfinite(mean)]
    parts = [
        f"{count} of about {seen.iterations} updates of {net} left out, gradients not finite"
        for net, count in seen.skipped.items()
        if count > 0
    ]
    if bad:
        parts.append(f"not finite: {', '.join(bad)}")
    return "; ".join(parts)


def _explosion(seen: Seen) -> str:
    """Looks for losses and gradients far above what they usually are."""
    found = []
    for name, value in seen.means.items():
        is_loss = name in ("Loss/G/loss", "Loss/D/loss")
        if is_loss and (seen.is_critic or abs(value) < MIN_EXPLODED_LOSS):
            continue  # a critic's loss has no scale, and a small one may vary by any factor
        # An infinite ratio is the business of the alarm above.
        if (is_loss or name.startswith("Grad/")) and EXPLOSION_RATIO < seen.ratio(name) < math.inf:
            found.append(f"{name} is {value:.3g}, usually {seen.medians[name]:.3g}")
    return "; ".join(found)


def _strong_signs(seen: Seen) -> str:
    """Looks whether nearly all reals and fakes are told apart: signs of logits are 1 and -1."""
    real, fake = (seen.means.get(f"Loss/signs/{kind}", 0.0) for kind in ("real", "fake"))
    if seen.is_critic or real < STRONG_SIGN or fake > -STRONG_SIGN:
        return ""
    return f"Loss/signs/real is {real:.3f} and Loss/signs/fake {fake:.3f}: nearly all are told"


def _wide_gap(seen: Seen) -> str:
    """Looks whether the scores of reals and fakes are far apart, and farther than usual."""
    least = WIDE_CRITIC_GAP if seen.is_critic else WIDE_GAP
    ratio = WIDE_CRITIC_RATIO if seen.is_critic else WIDE_RATIO
    usual = seen.medians.get("gap", math.inf)
    # `not >`: a gap that is NaN, since no step was logged, raises nothing.
    if not seen.gap > max(least, ratio * usual):
        return ""
    return f"reals are scored {seen.gap:.3g} above fakes, usually {usual:.3g}"


def _equal_scores(seen: Seen) -> str:
    """Looks whether scores are the same for reals and fakes."""
    is_equal = abs(seen.gap) < EQUAL_GAP
    return f"reals and fakes are scored alike, {seen.gap:.3g} apart" if is_equal else ""


def _leaking(seen: Seen) -> str:
    """Looks whether images are augmented so strongly that G may learn the augmentation."""
    p = seen.means.get("Augment/p", 0.0)
    return f"Augment/p is {p:.2f}" if p > LEAKING_P else ""


def _vanished(seen: Seen) -> str:
    """Looks for a gradient of G that is nearly zero."""
    # That of the main step, or of the only one where regularisers have none of their own.
    for name in ("Grad/Gmain", "Grad/Gboth"):
        if name in seen.medians and seen.ratio(name) < VANISHED_RATIO:
            return f"{name} is {seen.means.get(name, 0):.3g}, usually {seen.medians[name]:.3g}"
    return ""


def _heavy(names_and_weights: Callable[[ConfigDict], dict[str, float]]) -> Callable[[Seen], str]:
    """Looks for penalties that have grown and weigh more than the loss."""

    def look(seen: Seen) -> str:
        # The weight turns the penalty as logged into its share of the loss.
        found = [
            f"{name} is {seen.means[name]:.3g}, usually {seen.medians[name]:.3g}"
            for name, weight in names_and_weights(seen.config.loss).items()
            if seen.ratio(name) > PENALTY_RATIO and weight * seen.means[name] > MIN_HEAVY_PENALTY
        ]
        return "; ".join(found)

    return look


def worse_score(seen: Seen) -> str:
    """Says that a score is far from the best one, or nothing."""
    worse, better = seen.score, seen.best_score
    if seen.score_name.startswith("-"):
        worse, better = better, worse
    # Estimates without bias, as KID, may fall below zero: no ratio speaks of them.
    if not worse > SCORE_RATIO * better or better <= 0 and seen.best_score <= 0:
        return ""
    name = seen.score_name.removeprefix("-")
    return f"{name} is {seen.score:.4g}, and was {seen.best_score:.4g} at its best"


# ----------------------------------------------------------------------------------------------
# What to change: config keys with values


def _stronger_penalty(seen: Seen) -> str:
    """Advises three times the weight of the penalty that the run has."""
    loss = seen.config.loss
    for name in ("r1_gamma", "gp_weight"):
        if loss[name]:
            return f"raise loss.{name} from {loss[name]:g} to {3 * loss[name]:g}"
    return "set loss.r1_gamma=10"


def _slower(net: Literal["G", "D"]) -> Callable[[Seen], str]:
    """Advises half the learning rate of a network."""

    def advise(seen: Seen) -> str:
        key = f"optimizer.{net}_lr"
        rate = seen.config.optimizer[f"{net}_lr"]
        # A growing run may have a rate for the resolution, which counts for both networks.
        rates = seen.config.growth.learning_rates
        block = f"b{seen.resolution}"
        if block in rates:
            key = f"growth.learning_rates.{block}"
            rate = rates[block]
        return f"lower {key} from {rate:g} to {rate / 2:g}"

    return advise


def _more_images(seen: Seen) -> str:
    """Advises a larger data set, be it by mirroring."""
    advice = "a D that wins early has often learnt a small data set by heart: use more images"
    if not seen.config.data.mirror:
        advice += ", or data.mirror=True"
    return advice if seen.config.augment.mode != "none" else f"{advice}, or augment.mode=ada"


def _limited_augmentation(seen: Seen) -> str:
    """Advises a limit of the strength, or fewer transformations."""
    advice = "use more images"
    if seen.config.augment.mode == "ada":
        advice += f", or lower augment.p_max from {seen.config.augment.p_max:g} to {LEAKING_P:g}"
    return f"{advice}; samples that show turned or tinted images are a leak"


def _weaker_path_length(seen: Seen) -> str:
    """Advises a quarter of the weight of path lengths."""
    weight = seen.config.loss.pl_weight
    return f"lower loss.pl_weight from {weight:g} to {weight / 4:g}"


def _wider_numbers(seen: Seen) -> str:
    """Advises what keeps numbers in range: a clamp first, then float32 everywhere."""
    if not max(seen.config.G.num_bf16_res, seen.config.D.num_bf16_res):
        return "JAX_DEBUG_NANS=True names the operation (slowly)"
    for net in ("G", "D"):
        if "conv_clamp" in seen.config[net] and not seen.config[net].conv_clamp:
            return f"set {net}.conv_clamp=256"
    return "set G.num_bf16_res=0 and D.num_bf16_res=0"


def _roll_back(seen: Seen) -> str:
    """Advises to go back to the best checkpoint."""
    if seen.config.health.rollback:
        return "nothing: health.rollback is on"
    return "health.rollback=True goes back to the best checkpoint by itself"


class Rule(NamedTuple):
    """An alarm: when it is raised, after how many ticks in a row, and its words."""

    name: str
    title: str
    look: Callable[[Seen], str]
    ticks: int
    meaning: str
    advice: tuple[Callable[[Seen], str], ...]


# Looked at in this order at each tick.
RULES = (
    Rule(
        "non_finite",
        "losses or gradients are not finite",
        _non_finite,
        1,
        "such updates are left out, so a few do no harm; if they go on, numbers have overflowed "
        "and the run stands still",
        (_wider_numbers, _slower("G"), _slower("D"), _roll_back),
    ),
    Rule(
        "explosion",
        "a loss or a gradient has exploded",
        _explosion,
        1,
        "steps are too long, or the discriminator has become too steep; often the beginning of a "
        "divergence",
        (_slower("G"), _slower("D"), _stronger_penalty),
    ),
    Rule(
        "D_too_strong",
        "D is too strong",
        _strong_signs,
        STRONG_TICKS,
        "D tells nearly every image, so G learns little from it; samples will soon repeat or decay",
        (_stronger_penalty, _slower("D"), _more_images),
    ),
    Rule(
        "wide_gap",
        "the scores of reals and fakes drift apart",
        _wide_gap,
        STRONG_TICKS,
        "D has become so sure that its loss has hardly a slope left for G to follow",
        (_stronger_penalty, _slower("D"), _more_images),
    ),
    Rule(
        "D_collapsed",
        "D tells nothing",
        _equal_scores,
        EQUAL_TICKS,
        "D has collapsed, or a penalty holds it down: G gets no direction",
        (
            lambda seen: (
                f"lower loss.r1_gamma from {seen.config.loss.r1_gamma:g} to "
                f"{seen.config.loss.r1_gamma / 10:g}"
                if seen.config.loss.r1_gamma
                else _slower("G")(seen)
            ),
            lambda seen: "look at reals.png: are these the images that were meant?",
        ),
    ),
    Rule(
        "leaking",
        "images are augmented very strongly",
        _leaking,
        1,
        "D hardly sees an image as it is, and G may begin to draw augmented ones; the data set is "
        "too small, or D is far too strong for it",
        (_limited_augmentation, _stronger_penalty),
    ),
    Rule(
        "G_vanishing",
        "the gradient of G has vanished",
        _vanished,
        VANISHED_TICKS,
        "D no longer tells G what to change, mostly since it has won",
        (_stronger_penalty, _slower("D")),
    ),
    Rule(
        "R1_growing",
        "the gradient penalty of D grows",
        _heavy(
            lambda loss: {"Loss/r1_penalty": loss.r1_gamma / 2, "Loss/gp_penalty": loss.gp_weight}
        ),
        1,
        "D becomes steep faster than its penalty flattens it; it comes before most divergences",
        (_slower("D"), _stronger_penalty),
    ),
    Rule(
        "PL_diverging",
        "path lengths diverge",
        _heavy(lambda loss: {"Loss/pl_penalty": loss.pl_weight}),
        1,
        "G changes its images ever faster with the latents; its regulariser now outweighs its loss",
        (_slower("G"), _weaker_path_length),
    ),
)
# Looked at when a score was taken.
SCORE_RULE = Rule(
    "score_worse",
    "samples have become worse",
    worse_score,
    1,
    "the run has passed its best point or has collapsed; the best checkpoint is kept",
    (_roll_back, _stronger_penalty, _slower("G")),
)
