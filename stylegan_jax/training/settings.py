"""What every setting of a run may be, and which settings do not go together.

One table: the check before a run, its errors and `docs/settings.md` are made from it.
"""

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ml_collections import ConfigDict

from stylegan_jax.augment.ada_pipe import PIPES
from stylegan_jax.augment.diffaugment import POLICIES
from stylegan_jax.errors import UserError
from stylegan_jax.losses.adversarial import ADVERSARIAL_LOSSES
from stylegan_jax.models import DISCRIMINATORS, GENERATORS
from stylegan_jax.ops.bias_act import ACTIVATIONS
from stylegan_jax.sizes import RESOLUTIONS, Size, find_base_grid, parse_size
from stylegan_jax.training.setting import Setting

# The image counter is a signed number of 32 bits.
_MOST_KIMG = 2e6
# Further apart than any run is long.
_MOST_INTERVAL_KIMG = 1e9
_MOST_WEIGHT = 1e9
_MOST_FEATURES = 2**16


class SettingsError(UserError, ValueError):
    """Settings that cannot run; the message is one line that names the key and what would do."""


def _int(text: str, low: int, high: int, unit: str = "", **kwargs: Any) -> Setting:
    return Setting("int", text, unit, low, high, **kwargs)


def _float(text: str, low: float, high: float, unit: str = "", **kwargs: Any) -> Setting:
    return Setting("float", text, unit, low, high, **kwargs)


def _bool(text: str) -> Setting:
    return Setting("bool", text)


def _str(text: str, choices: Iterable[str] = ()) -> Setting:
    return Setting("str", text, choices=tuple(choices))


def _kimg(text: str, *, never: bool = False) -> Setting:
    """An interval; with `never`, 0 means that it never comes."""
    text += "; 0: never" if never else ""
    return _float(text, 0, _MOST_INTERVAL_KIMG, "kimg", above_low=not never)


def _weight(text: str) -> Setting:
    return _float(text + "; 0: none", 0, _MOST_WEIGHT)


_RUN = {
    "seed": _int("of everything random", 0, 2**32 - 1),
    "init_from": _str("workdir, export or file whose networks the run begins with; empty: none"),
    "reasons": _str("why a recipe's rule chose its values, a line `KEY: WHY` each; printed"),
    "cpu_devices": _int("virtual devices where there is no accelerator; 0: one", 0, 256),
    "mesh.fsdp": _int("devices that share one copy of the state", 1, 2**16),
    "mesh.spatial": _int("devices that share the rows of an image", 1, 2**16),
    "data.dataset": _str("name of a prepared or built-in data set, or a path"),
    "data.data_dir": _str("folder of prepared data sets, local or gs://"),
    "data.resolution": Setting("size", "size of the images", "px"),
    "data.labels": Setting("labels", "train with labels, or with those of a name"),
    "data.channels": _int("drop channels that say nothing; 0: as stored", 0, 16),
    "data.subset": _int("images to draw from the data set; 0: all", 0, 2**40, "images"),
    "data.mirror": _bool("show every image mirrored as often as not"),
    "data.num_workers": _int("processes that read images; 0: this one", 0, 256),
    "loss.adversarial": _str("loss of G and D", ADVERSARIAL_LOSSES),
    "loss.r1_gamma": _weight("weight of R1"),
    "loss.r2_gamma": _weight("weight of R2"),
    "loss.gp_weight": _weight("weight of the gradient penalty of WGAN-GP"),
    "loss.gp_target": _float("gradient norm that it does not penalise", 0, 1e6),
    "loss.drift_weight": _weight("weight of the squared logits of reals"),
    "loss.pl_weight": _weight("weight of the path length"),
    "loss.pl_decay": _float("rate of the mean path length", 0, 1, above_low=True),
    "loss.pl_batch_shrink": _int("path lengths are measured on this fraction", 1, 2**20),
    "loss.style_mixing_prob": _float("probability that an iteration mixes two latents", 0, 1),
    "loss.blur_init_sigma": _float("blur of D's images before the first; 0: none", 0, 1000, "px"),
    "loss.blur_fade_kimg": _kimg("after which they are blurred no more"),
    "optimizer.G_lr": _float("learning rate of G", 0, 1e3),
    "optimizer.D_lr": _float("learning rate of D", 0, 1e3),
    "optimizer.beta1": _float("Adam's decay of the mean gradient", 0, 1, below_high=True),
    "optimizer.beta2": _float("Adam's decay of the mean square", 0, 1, below_high=True),
    "optimizer.eps": _float("added to its root", 0, 1, above_low=True),
    "optimizer.absent_grads": _str("parameters without a gradient", ("zero", "skip")),
    "optimizer.freeze_d": _int("layers of D, from the images on, that stand still", 0, 100),
    "schedule.total_kimg": _float("length of the run", 0.001, _MOST_KIMG, "kimg"),
    "schedule.batch_size": _int("images of an iteration, over all devices", 1, 2**20, "images"),
    "schedule.num_micro_batches": _int("parts of a batch whose gradients are summed", 1, 2**20),
    "schedule.net_order": _str("who steps first", ("GD", "DG")),
    "schedule.g_reg_interval": _int(
        "iterations between path lengths; none: in every one", 1, 10**6, optional=True
    ),
    "schedule.d_reg_interval": _int(
        "iterations between penalties of D; none: in every one", 1, 10**6, optional=True
    ),
    "schedule.ema_kimg": _float("half-life of the average of G", 0, _MOST_KIMG, "kimg"),
    "schedule.ema_rampup": _float(
        "half-life as a share of the images so far, at most", 0, 1e6, optional=True
    ),
    "schedule.ema_decay": _float(
        "share of the average kept per iteration, in place of a half-life",
        0,
        1,
        below_high=True,
        optional=True,
    ),
    "schedule.w_avg_beta": _float("decay of the mean style", 0, 1),
    "schedule.w_avg_update": _str("when it and the averages in G move", ("every_pass", "Dmain")),
    "schedule.magnitude_ema_kimg": _kimg("half-life of the magnitudes of StyleGAN3's layers"),
    "growth.init_resolution": _int(
        "resolution of the first block that draws; none: whole from the start",
        4,
        2**14,
        "px",
        choices=RESOLUTIONS,
        optional=True,
    ),
    "growth.training_kimg": _float("images between two fades", 0, _MOST_KIMG, "kimg"),
    "growth.transition_kimg": _float("images of a fade", 0, _MOST_KIMG, "kimg"),
    "growth.batch_sizes.*": _int("batch at a resolution: b4, b8, ...", 1, 2**20, "images"),
    "growth.learning_rates.*": _float("learning rate at a resolution: b4, b8, ...", 0, 1e3),
    "augment.mode": _str("who decides how strong it is", ("none", "ada", "fixed", "schedule")),
    "augment.pipe": _str("which transformations images go through", (*PIPES, *POLICIES)),
    "augment.p": _float("strength: of mode fixed, and before the first image", 0, 100),
    "augment.p_max": _float("largest strength of mode ada", 0, 100),
    "augment.p_end": _float("strength at the end of mode schedule", 0, 100),
    "augment.target": _float("mean sign of D's logits of reals that ada aims at", 0, 1),
    "augment.interval": _int("iterations between two steps of ada", 1, 10**6),
    "augment.kimg": _float(
        "in which p can go from 0 to 1; none: 500, or 100 after init_from",
        0,
        _MOST_KIMG,
        "kimg",
        above_low=True,
        optional=True,
    ),
    "metrics.names": _str("scores, with commas between: swd16k, fid50k_full (docs/metrics.md)"),
    "metrics.kimg": _kimg("interval of the scores", never=True),
    "metrics.best": _str("score that decides which checkpoint is the best; none: the first"),
    "metrics.patience_kimg": _kimg("ends a run whose best score is so old", never=True),
    "metrics.memory_unseen": _str("data set of the same kind that is not trained on"),
    "metrics.cache_dir": _str("folder where statistics of reals are kept"),
    "health.rollback": _bool("go back to the best checkpoint after a divergence"),
    "health.max_rollbacks": _int("how often", 0, 1000),
    "health.abort_sec": _float("end a process that hangs for so long; 0: never", 0, 1e7, "s"),
    "io.tick_kimg": _kimg("interval of lines in the log"),
    "io.sample_kimg": _kimg("interval of sample grids"),
    "io.checkpoint_kimg": _kimg("interval of checkpoints"),
    "io.keep_newest": _int("checkpoints that stay, besides the best", 1, 10**6),
    "io.grid_cols": _int("columns of the sample grid; 0: as fit a screen", 0, 1024),
    "io.grid_rows": _int("rows of the sample grid; 0: as fit a screen", 0, 1024),
}

_FEATURES = _int("", 1, _MOST_FEATURES, optional=True)
_CLAMP = _float("clamp of activations; none: unlimited", 0, 1e9, above_low=True, optional=True)
# Of both networks, as far as their architecture has them.
_NETWORK = {
    "channel_base": _int("feature maps times resolution", 1, 2**24),
    "channel_max": _int("most feature maps", 1, 2**14),
    "num_bf16_res": _int("highest resolutions that compute in bfloat16", 0, 13),
    "grows": _bool("whether it has a way to colours at every resolution"),
    "mapping_layers": _int("layers of the mapping network", 0, 64),
    "mapping_lr_multiplier": _float("its share of the learning rate", 0, 100, above_low=True),
    "mapping_act": _str("its activation", ACTIVATIONS),
    "embed_features": dataclasses.replace(_FEATURES, text="features of an embedded label"),
    "layer_features": dataclasses.replace(_FEATURES, text="features of mapping layers"),
    "resample_filter": Setting("taps", "filter of up- and down-sampling"),
    "blur_filter": Setting("taps", "filter of up- and down-sampling", optional=True),
    "conv_clamp": _CLAMP,
}
_ARCHITECTURES = ("orig", "skip", "resnet", "progressive")
_GENERATOR = {
    "name": _str("generator", GENERATORS),
    "z_dim": _int("numbers of a latent", 1, _MOST_FEATURES),
    "w_dim": _int("numbers of a style", 1, _MOST_FEATURES),
    "architecture": _str("of StyleGAN2", _ARCHITECTURES),
    "input": _str("what StyleGAN2 begins with: a constant or waves", ("const", "fourier")),
    "use_noise": _bool("noise inputs"),
    "const_input": _bool("a learned constant in place of the latent as input"),
    "use_pixel_norm": _bool("pixel norm"),
    "use_instance_norm": _bool("instance norm"),
    "use_styles": _bool("styles"),
    "num_layers": _int("layers of StyleGAN3 before ToRGB", 1, 64),
    "num_critical": _int("of these, the last, which are sampled critically", 0, 63),
    "first_cutoff": _float(
        "highest frequency of the first", 0, 1e4, "cycles/image", above_low=True
    ),
    "first_stopband": _float("from where on it lets nothing pass", 0.5, 1e4, "cycles/image"),
    "last_stopband_rel": _float("the last one's, per its cutoff", 0, 100, above_low=True),
    "margin_size": _int("feature maps beyond the image on each side", 0, 1024, "px"),
    "conv_kernel": _int("side of the kernels of StyleGAN3: 3 (T), 1 (R)", 1, 15),
    "filter_size": _int("taps per sample of StyleGAN3's filters", 1, 32),
    "lrelu_upsampling": _int("zoom in which its nonlinearity works", 1, 8),
    "use_radial_filters": _bool("filters that are alike in all directions (R)"),
    "output_scale": _float("factor on its image", 0, 1e3, above_low=True),
    "act": _str("activation of the synthesis network", ACTIVATIONS),
}
_DISCRIMINATOR = {
    "name": _str("discriminator", DISCRIMINATORS),
    "architecture": _str("of StyleGAN2", _ARCHITECTURES),
    "act": _str("activation of the blocks", ACTIVATIONS),
    "epilogue_act": _str("activation at 4x4, in StyleGAN2's discriminator", ACTIVATIONS),
    "fused_scale": _bool("convolve and average at once"),
    "score_by_label": _bool("one score per class"),
    "cmap_dim": dataclasses.replace(_FEATURES, text="features that a label is compared by"),
    "mbstd_group_size": _int(
        "images that share a minibatch deviation; none: the batch", 1, 2**20, optional=True
    ),
    "mbstd_num_channels": _int("its feature maps; 0: none", 0, 512),
    "mbstd_grouping": _str("neighbours, or the originals' groups", ("contiguous", "strided")),
}

# Every key, in the order of the docs. `growth.*.*` are by resolution.
SETTINGS: dict[str, Setting] = {
    **_RUN,
    **{f"G.{key}": setting for key, setting in (_GENERATOR | _NETWORK).items()},
    **{f"D.{key}": setting for key, setting in (_DISCRIMINATOR | _NETWORK).items()},
}


# ----------------------------------------------------------------------------------------------
# Settings that are right alone and wrong together


@dataclasses.dataclass(frozen=True)
class Pair:
    """Settings that do not go together.

    Attributes:
        keys: Which.
        is_wrong: Whether they have values that do not go together.
        text: What is wrong with them, and what would do.
    """

    keys: tuple[str, ...]
    is_wrong: Callable[[ConfigDict], bool]
    text: str


def image_size(config: ConfigDict) -> Size:
    """Returns height and width of the config's images."""
    return parse_size(config.data.resolution)


def img_resolution(config: ConfigDict) -> int:
    """Returns the resolution of the block that draws the config's images."""
    return find_base_grid(image_size(config))[0]


def _is_too_small_for_D(config: ConfigDict) -> bool:
    plain = config.D.get("architecture") in ("orig", "resnet")
    return img_resolution(config) == 4 and config.D.name == "stylegan2" and plain


def _scores(config: ConfigDict, family: str) -> bool:
    """Tells whether a score of a family is taken."""
    names = config.metrics.names.split(",")
    return config.metrics.kimg > 0 and any(name.strip().startswith(family) for name in names)


def _smallest_batch(config: ConfigDict) -> int:
    """Images of a micro-batch where it is smallest."""
    batches = [config.schedule.batch_size]
    if config.growth.init_resolution:
        batches += config.growth.batch_sizes.values()
    return min(batches) // config.schedule.num_micro_batches


PAIRS = (
    Pair(
        ("growth.init_resolution", "data.resolution"),
        lambda c: (c.growth.init_resolution or 4) > img_resolution(c),
        "growing begins above the full size: give a smaller first resolution",
    ),
    Pair(
        ("data.resolution", "D.architecture"),
        _is_too_small_for_D,
        "such images are a single block: give skip or progressive, or larger images",
    ),
    *(
        Pair(
            (f"{net}.channel_base", "data.resolution"),
            lambda c, net=net: c[net].channel_base < img_resolution(c),
            "no feature map is left at full size: give a base of at least the resolution",
        )
        for net in ("G", "D")
    ),
    Pair(
        ("data.subset", "schedule.batch_size"),
        lambda c: 0 < c.data.subset < c.schedule.batch_size,
        "a batch would hold images twice: give a subset of at least a batch, or 0 for all",
    ),
    Pair(
        ("schedule.batch_size", "schedule.num_micro_batches"),
        lambda c: _smallest_batch(c) < 1,
        "more micro-batches than images: give at most as many as the smallest batch has images",
    ),
    Pair(
        ("D.mbstd_num_channels", "schedule.batch_size", "schedule.num_micro_batches"),
        lambda c: c.D.get("mbstd_num_channels", 1) > 0 and _smallest_batch(c) == 1,
        "one image has no deviation from others: give two images per micro-batch, or no channels",
    ),
    Pair(
        ("G.name", "loss.style_mixing_prob"),
        lambda c: c.G.name == "progan" and c.loss.style_mixing_prob > 0,
        "it has no styles to mix: give a probability of 0",
    ),
    Pair(
        ("augment.mode", "augment.pipe"),
        lambda c: c.augment.mode in ("ada", "schedule") and c.augment.pipe in POLICIES,
        "DiffAugment has no strength that could move: give augment.mode=fixed",
    ),
    Pair(
        ("augment.mode", "augment.p"),
        lambda c: c.augment.mode == "fixed" and not c.augment.p and c.augment.pipe not in POLICIES,
        "nothing would ever happen to an image: give a strength, such as augment.p=0.2",
    ),
    Pair(
        ("augment.p", "augment.p_max"),
        lambda c: c.augment.mode == "ada" and c.augment.p > c.augment.p_max,
        "it begins above its limit: give a smaller p",
    ),
    Pair(
        ("metrics.names", "metrics.kimg", "data.resolution"),
        lambda c: _scores(c, "swd") and min(image_size(c)) < 16,
        "swd needs 16 px on both sides: leave it out, or all scores with metrics.kimg=0",
    ),
    Pair(
        ("metrics.names", "metrics.memory_unseen"),
        lambda c: _scores(c, "memory") and not c.metrics.memory_unseen,
        "name a data set of the same kind that is not trained on, or leave memory out",
    ),
    Pair(
        ("metrics.names", "metrics.memory_unseen", "data.dataset"),
        lambda c: _scores(c, "memory") and c.metrics.memory_unseen == c.data.dataset,
        "unseen images are compared with those that are trained on: name another data set",
    ),
    Pair(
        ("metrics.patience_kimg", "metrics.kimg"),
        lambda c: c.metrics.patience_kimg > 0 and not 0 < c.metrics.kimg <= c.metrics.patience_kimg,
        "patience is counted from score to score: give at least metrics.kimg, which is not 0",
    ),
)


# ----------------------------------------------------------------------------------------------
# The check


def check_settings(config: ConfigDict) -> None:
    """Refuses settings that cannot run, whatever the devices and the data.

    Raises:
        SettingsError: In one line: the key, its value, and what would do.
    """
    values = dict(flatten(config))
    for key, value in values.items():
        setting = find_setting(key)
        if setting is None:
            raise SettingsError(describe_unknown(key, values))
        if not setting.accepts(value):
            wanted = setting.describe() + setting.hint(value)
            raise SettingsError(f"{key}={value!r}: give {wanted}.")
    for pair in PAIRS:
        if all(key in values for key in pair.keys) and pair.is_wrong(config):
            given = ", ".join(f"{key}={values[key]!r}" for key in pair.keys)
            raise SettingsError(f"{given}: {pair.text}.")


def find_setting(key: str) -> Setting | None:
    """Returns what a key may be; None: there is none of that name."""
    by_resolution = re.fullmatch(r"(growth\.\w+)\.b(\d+)", key)
    if by_resolution and int(by_resolution[2]) in RESOLUTIONS:
        return SETTINGS.get(f"{by_resolution[1]}.*")
    return None if key.endswith("*") else SETTINGS.get(key)


def describe_unknown(key: str, known: Iterable[str]) -> str:
    """Says in a line that there is no such key, and which names are nearest."""
    known = [name for name in known if name != key]
    if key.startswith(("growth.batch_sizes.", "growth.learning_rates.")):
        return f"There is no setting {key}: resolutions are b4, b8, b16 and so on."
    # By the whole name, then by its last part: sections are mixed up, too.
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.7)
    last = {name.rpartition(".")[2]: name for name in known}
    for part in difflib.get_close_matches(key.rpartition(".")[2], last, n=3, cutoff=0.7):
        near += [last[part]] if last[part] not in near else []
    hint = f"the nearest are {', '.join(near[:3])}" if near else "docs/settings.md lists all"
    return f"There is no setting {key} in this recipe: {hint}."


def flatten(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields `("schedule.batch_size", 32)` and so on."""
    for name in config:
        value = config[name]
        if isinstance(value, ConfigDict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
