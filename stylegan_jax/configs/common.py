"""What every recipe shares: the sections, and the defaults that belong to no recipe."""

from typing import Any

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import placeholder


def parse_arg(arg: str | None, **known: Any) -> ConfigDict:
    """Reads a recipe's argument, `"labels,gamma=2"`, against the known names and defaults.

    Args:
        arg: Names and `name=value` pairs with commas between; a bare name means True.
        **known: Every name the recipe understands, with its default, whose type is kept.

    Raises:
        ValueError: A name the recipe does not know, or a value of another type.
    """
    parsed = ConfigDict(known)
    for part in filter(None, (arg or "").split(",")):
        name, _, value = part.partition("=")
        if name not in known:
            raise ValueError(
                f"Unknown recipe argument {name!r}; this recipe knows {', '.join(sorted(known))}."
            )
        default = known[name]
        if isinstance(default, bool):
            if value not in ("", "true", "false"):
                raise ValueError(f"{name}={value}: give true, false or the bare name.")
            parsed[name] = value != "false"
        else:
            try:
                parsed[name] = type(default)(value)
            except ValueError:
                wanted = type(default).__name__
                raise ValueError(f"{name}={value!r}: give a value of type {wanted}.") from None
    return parsed


def _sections() -> ConfigDict:
    """The sections of a run without its networks, with what all recipes agree on."""
    config = ConfigDict()
    config.seed = 0
    # A workdir, an export or a file of another project (docs/checkpoints.md) whose networks the
    # run begins with; empty: random ones.
    config.init_from = ""
    # What a rule that chose settings has to say of them, a line `KEY: WHY` each; a run prints it.
    config.reasons = ""
    # Virtual CPU devices where there is no accelerator; 0 leaves jax's default of one.
    config.cpu_devices = 0

    # Devices that share one copy of the state, and the rows of an image; the rest split the batch.
    config.mesh = ConfigDict(dict(fsdp=1, spatial=1))

    config.data = ConfigDict(
        dict(
            dataset="",  # a name such as ffhq, lsun/church or openmoji/portraits, or a path
            data_dir="~/.cache/stylegan_jax/data",
            # The side of squares, 256, or height x width, "48x32"; the command line sets either.
            resolution=FieldReference(0, field_type=object),
            # True, or a name that the data set has labels by: role, tone, ... of the portraits.
            # The type lets the command line set either.
            labels=FieldReference(False, field_type=object),
            channels=0,  # drop channels that say nothing until so many are left; 0: as stored
            subset=0,  # images to draw from the data set; 0: all
            mirror=False,
            num_workers=0,
        )
    )
    config.G, config.D = ConfigDict(), ConfigDict()
    config.loss = ConfigDict(
        dict(
            adversarial="logistic",  # or logistic_saturating, wgan, hinge
            r1_gamma=10.0,
            r2_gamma=0.0,
            gp_weight=0.0,
            gp_target=1.0,
            drift_weight=0.0,
            pl_weight=0.0,
            pl_decay=0.01,
            pl_batch_shrink=2,
            style_mixing_prob=0.0,
            blur_init_sigma=0.0,  # of the blur of D's images, which fades away; 0: none
            blur_fade_kimg=200.0,
        )
    )
    config.optimizer = ConfigDict(
        dict(
            G_lr=0.002,
            D_lr=0.002,
            beta1=0.0,
            beta2=0.99,
            eps=1e-8,
            absent_grads="zero",
            freeze_d=0,  # layers of D, from the images on, that stand still
        )
    )
    config.schedule = ConfigDict(
        dict(
            total_kimg=25000.0,
            batch_size=32,
            num_micro_batches=1,
            net_order="GD",
            g_reg_interval=placeholder(int),
            d_reg_interval=placeholder(int),
            ema_kimg=10.0,
            ema_rampup=placeholder(float),
            ema_decay=placeholder(float),
            w_avg_beta=0.995,
            w_avg_update="every_pass",
            magnitude_ema_kimg=20.0,  # of the feature maps of StyleGAN3
        )
    )
    # Networks are whole from the first image on, unless a first resolution is given.
    config.growth = ConfigDict(
        dict(
            init_resolution=placeholder(int),
            training_kimg=600.0,
            transition_kimg=600.0,
            batch_sizes={},  # b4, b8, ...: by resolution; schedule.batch_size at the others
            learning_rates={},  # likewise; optimizer.G_lr and D_lr at the others
        )
    )
    # What happens to the images that D sees (StyleGAN2-ADA).
    config.augment = ConfigDict(
        dict(
            mode="none",  # or ada, fixed, schedule
            pipe="bgc",
            p=0.0,  # strength: of mode fixed, and before the first image of the others
            p_max=1.0,  # the original has no limit; from 0.8 on what is added may be learned
            p_end=0.0,  # at the end of a schedule
            target=0.6,  # of r_t, the mean sign of D's logits of reals
            interval=4,  # iterations between two steps of p
            kimg=placeholder(float),  # in which p can go from 0 to 1; none: 500, or 100 after
            # init_from
        )
    )
    config.metrics = ConfigDict(
        dict(
            names="swd16k",  # with commas between: fid50k_full,kid50k_full,pr50k3_full ...
            kimg=0.0,  # interval of all of them; 0: never
            best="",  # decides which checkpoint is the best, about alarms and going back; "": first
            patience_kimg=0.0,  # ends a run whose best score is so old; 0: never
            memory_unseen="",  # of `memory256`: a set of the same kind that is not trained on
            cache_dir="~/.cache/stylegan_jax/metrics",  # statistics of reals
        )
    )
    config.health = ConfigDict(
        dict(
            rollback=False,  # a run that diverges goes back to its best checkpoint
            max_rollbacks=3,
            abort_sec=0.0,  # ends a process that has hung for so long; 0: never
        )
    )
    config.io = ConfigDict(
        dict(
            tick_kimg=4.0,
            sample_kimg=200.0,
            checkpoint_kimg=200.0,
            keep_newest=2,
            grid_cols=0,
            grid_rows=0,
        )
    )
    return config


# Minibatch standard deviation, the same in every discriminator.
_MBSTD = dict(mbstd_group_size=4, mbstd_num_channels=1, mbstd_grouping="contiguous")


def stylegan2_defaults() -> ConfigDict:
    """A StyleGAN2 run, with the settings that its recipes agree on."""
    config = _sections()
    model = dict(
        name="stylegan2",
        channel_base=32768,
        channel_max=512,
        resample_filter=(1, 3, 3, 1),
        conv_clamp=placeholder(float),
        num_bf16_res=0,
        act="lrelu",
        mapping_layers=8,
        mapping_lr_multiplier=0.01,
        mapping_act="lrelu",
    )
    config.G.update(model, input="const", architecture="skip", use_noise=True)
    config.G.z_dim = config.G.w_dim = 512
    config.D.update(model, architecture="resnet", epilogue_act="lrelu", **_MBSTD)
    config.loss.pl_weight, config.loss.style_mixing_prob = 2.0, 0.9
    config.schedule.g_reg_interval, config.schedule.d_reg_interval = 4, 16
    return config


# Presets of StyleGAN2-ADA: batch, mbstd group, feature maps of 32768, rate, gamma, half-life of
# G_ema in kimg, its ramp-up, mapping layers, length in kimg. Source: the official training presets.
_ADA_PRESETS: dict[str, tuple[int, int, float, float, float, float, float | None, int, float]] = {
    "stylegan2": (32, 4, 1.0, 0.002, 10.0, 10.0, None, 8, 25000.0),
    "paper256": (64, 8, 0.5, 0.0025, 1.0, 20.0, None, 8, 25000.0),
    "paper512": (64, 8, 1.0, 0.0025, 0.5, 20.0, None, 8, 25000.0),
    "paper1024": (32, 4, 1.0, 0.002, 2.0, 10.0, None, 8, 25000.0),
    "cifar": (64, 32, 1.0, 0.0025, 0.01, 500.0, 0.05, 2, 100000.0),
}
ADA_PRESETS = ("auto", *_ADA_PRESETS)


def _auto_preset(
    sides: list[int], num_gpus: int
) -> tuple[tuple[int, int, float, float, float, float, float | None, int, float], str]:
    """The authors' rule for data of any kind: a row of the presets, and its reasons."""
    longest, pixels = max(sides), sides[0] * sides[-1]
    batch = max(min(num_gpus * min(4096 // longest, 32), 64), num_gpus)
    maps = 1.0 if longest >= 512 else 0.5
    rate = 0.002 if longest >= 1024 else 0.0025
    row = (batch, min(batch // num_gpus, 4), maps, rate, 0.0002 * pixels / batch, batch * 10 / 32)
    wide = "all of FFHQ's at 1024 px" if maps == 1 else "half of FFHQ's at 1024 px, below 512 px"
    reasons = {
        "schedule.batch_size": f"{num_gpus} GPUs with 4096 / {longest} images each, 32 at most, "
        "and 64 in all at most",
        "D.mbstd_group_size": "as many images as a GPU has, 4 at most",
        "G.channel_base": f"feature maps, {wide}",
        "D.channel_base": f"feature maps, {wide}",
        "optimizer.G_lr": "0.002 from 1024 px on, 0.0025 below",
        "optimizer.D_lr": "as that of G",
        "loss.r1_gamma": f"0.0002 * {pixels} px / batch: R1 grows with the pixels, and small "
        "batches need more of it",
        "schedule.ema_kimg": "half-life of the average of G: 10 kimg at a batch of 32, and in "
        "proportion to it",
        "schedule.ema_rampup": "but at most this share of the images shown so far, as first "
        "weights are forgotten",
        "G.mapping_layers": "a shallow mapping; the paper's large runs have 8",
    }
    return (*row, 0.05, 2, 25000.0), "\n".join(f"{key}: {why}" for key, why in reasons.items())


def stylegan2_ada_defaults(preset: str, resolution: int | str, num_gpus: int = 8) -> ConfigDict:
    """A StyleGAN2-ADA run for images of a size.

    Args:
        preset: One of `ADA_PRESETS`.
        resolution: As `data.resolution`.
        num_gpus: Of the authors' machines that `auto` reckons with.

    Raises:
        ValueError: An unknown preset.

    Source: Karras et al. 2020 (StyleGAN2-ADA), appendix; official presets.
    """
    if preset not in ADA_PRESETS:
        raise ValueError(f"preset={preset!r}: choose one of {', '.join(ADA_PRESETS)}.")
    sides = [int(side) for side in str(resolution).split("x")]
    row, reasons = _auto_preset(sides, num_gpus) if preset == "auto" else (_ADA_PRESETS[preset], "")
    batch, group, maps, rate, gamma, ema_kimg, rampup, layers, kimg = row

    config = stylegan2_defaults()
    config.data.resolution = resolution
    config.reasons = reasons
    for net in (config.G, config.D):
        net.channel_base = round(32768 * maps)
        net.mapping_layers = layers
        net.num_bf16_res = 4
        net.conv_clamp = 256.0
    config.D.mbstd_group_size = group
    config.loss.r1_gamma = gamma
    config.optimizer.G_lr = config.optimizer.D_lr = rate
    config.schedule.batch_size = batch
    config.schedule.total_kimg = kimg
    config.schedule.ema_kimg, config.schedule.ema_rampup = ema_kimg, rampup
    config.augment.mode = "ada"
    if preset == "cifar":
        config.loss.pl_weight = config.loss.style_mixing_prob = 0.0
        config.D.architecture = "orig"
    return config


def stylegan3_defaults(model: str, resolution: int | str) -> ConfigDict:
    """A StyleGAN3 run for images of a size.

    Args:
        model: `t`, equivariant to translation, or `r`, to rotation as well.
        resolution: As `data.resolution`.

    Raises:
        ValueError: An unknown model.

    Source: Karras et al. 2021 (StyleGAN3), appendix F; official training options.
    """
    if model not in ("t", "r"):
        raise ValueError(f"model={model!r}: choose t or r.")
    config = _sections()
    config.data.resolution = resolution
    shared = dict(
        channel_base=32768,
        channel_max=512,
        conv_clamp=256.0,
        num_bf16_res=4,
        mapping_lr_multiplier=0.01,
        mapping_act="lrelu",
    )
    config.G.update(
        shared,
        name="stylegan3",
        z_dim=512,
        w_dim=512,
        mapping_layers=2,
        num_layers=14,
        num_critical=2,
        margin_size=10,
        conv_kernel=3,
        use_radial_filters=False,
    )
    config.D.update(
        shared,
        name="stylegan2",
        mapping_layers=8,
        architecture="resnet",
        act="lrelu",
        epilogue_act="lrelu",
        resample_filter=(1, 3, 3, 1),
        **_MBSTD,
    )
    if model == "r":
        # 1x1 kernels and round filters do not know a direction; twice the feature maps make up for
        # what smaller kernels lack. At first D must not see which way the pixels lie.
        config.G.conv_kernel, config.G.use_radial_filters = 1, True
        config.G.channel_base, config.G.channel_max = 65536, 1024
        config.loss.blur_init_sigma = 10.0

    sides = [int(side) for side in str(resolution).split("x")]
    config.loss.r1_gamma = 2.0 * sides[0] * sides[-1] / 256**2
    config.optimizer.G_lr, config.optimizer.D_lr = 0.0025, 0.002
    config.optimizer.absent_grads = "skip"
    config.schedule.d_reg_interval = 16
    config.schedule.ema_rampup = 0.05
    config.schedule.w_avg_beta, config.schedule.w_avg_update = 0.998, "Dmain"
    config.augment.mode = "ada"
    return config


def progressive_schedule(config: ConfigDict) -> None:
    """The growth that ProGAN (8 GPUs) and StyleGAN share: batches and rates by resolution.

    Source: the official training presets.
    """
    config.optimizer.G_lr = config.optimizer.D_lr = 0.001
    rates = dict(b128=0.0015, b256=0.002, b512=0.003, b1024=0.003)
    config.growth.learning_rates = ConfigDict(rates)
    sizes = dict(b4=512, b8=256, b16=128, b32=64, b64=32)
    config.growth.batch_sizes = ConfigDict(sizes)
    config.schedule.batch_size = 32


def stylegan1_defaults() -> ConfigDict:
    """A StyleGAN 1 run, grown from 8x8, with the settings that its recipes agree on."""
    config = _sections()
    model = dict(
        channel_base=16384, channel_max=512, blur_filter=(1, 2, 1), num_bf16_res=0, act="lrelu"
    )
    config.G.update(
        model,
        name="stylegan1",
        z_dim=512,
        w_dim=512,
        mapping_layers=8,
        mapping_lr_multiplier=0.01,
        mapping_act="lrelu",
        const_input=True,
        use_noise=True,
        use_pixel_norm=False,
        use_instance_norm=True,
        use_styles=True,
    )
    config.D.update(model, name="progressive", **_MBSTD)
    config.loss.style_mixing_prob = 0.9
    config.schedule.net_order = "DG"
    progressive_schedule(config)
    config.growth.init_resolution = 8
    return config


def progan_defaults() -> ConfigDict:
    """A ProGAN run, grown from 4x4, with the settings that its recipes agree on."""
    config = _sections()
    model = dict(channel_base=16384, channel_max=512, num_bf16_res=0, act="lrelu")
    config.G.update(model, name="progan", z_dim=512)
    config.D.update(model, name="progressive", blur_filter=None, **_MBSTD)
    config.loss.adversarial = "wgan"
    config.loss.r1_gamma, config.loss.gp_weight, config.loss.drift_weight = 0.0, 10.0, 0.001
    config.schedule.net_order = "DG"
    config.schedule.total_kimg = 12000.0
    config.schedule.ema_decay = 0.999
    progressive_schedule(config)
    config.growth.init_resolution = 4
    return config


def _shrink_size(resolution: int | str) -> int | str:
    """Halves a shape such as `48x32` until its shorter side has 16 to 31 px; squares become 16."""
    if isinstance(resolution, int):
        return 16
    height, width = map(int, resolution.split("x"))
    while min(height, width) >= 32:
        height //= 2
        width //= 2
    return f"{height}x{width}"


def shrink(config: ConfigDict) -> None:
    """Cuts a recipe down to a smoke test: its settings, but tiny networks and a few iterations."""
    # The smallest set that has such labels.
    by_name = "openmoji/portraits/seen" if isinstance(config.data.labels, str) else "openmoji/all"
    config.data.dataset = by_name if config.data.labels else "openmoji/flags"
    config.data.resolution = _shrink_size(config.data.resolution)
    config.init_from = config.reasons = ""
    config.D.mbstd_group_size = min(config.D.mbstd_group_size, 4)
    for net in (config.G, config.D):
        net.channel_base, net.channel_max = 256, 16
        if "mapping_layers" in net:
            net.mapping_layers = min(net.mapping_layers, 2)
    if "num_layers" in config.G:
        config.G.num_layers, config.G.margin_size = 4, 4
    config.G.z_dim = 16
    if "w_dim" in config.G:
        config.G.w_dim = 16
    config.schedule.batch_size = 16
    config.schedule.total_kimg = 0.064
    if config.growth.init_resolution:
        # 8x8 until 0.032, a fade until 0.064, 16x16 until 0.096.
        config.growth.init_resolution = 8
        config.growth.training_kimg = config.growth.transition_kimg = 0.032
        config.growth.batch_sizes, config.growth.learning_rates = ConfigDict(), ConfigDict()
        config.schedule.total_kimg = 0.096
    config.metrics.names, config.metrics.kimg = "swd64", 0.064
    config.io.tick_kimg = config.io.sample_kimg = config.io.checkpoint_kimg = 0.032
    config.io.grid_cols, config.io.grid_rows = 4, 4
