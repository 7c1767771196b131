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
        )
    )
    config.optimizer = ConfigDict(
        dict(G_lr=0.002, D_lr=0.002, beta1=0.0, beta2=0.99, eps=1e-8, absent_grads="zero")
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
    # Scores, each with its interval in kimg; 0: never.
    config.metrics = ConfigDict(
        dict(
            best="swd",  # decides which checkpoint is the best, and about alarms and going back
            swd_kimg=0.0,
            swd_num_images=16384,
            memory_kimg=0.0,
            memory_num_images=256,
            memory_unseen="",  # a data set of the same kind that is not trained on
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
    config.G.update(model, architecture="skip", use_noise=True, z_dim=512, w_dim=512)
    config.D.update(model, architecture="resnet", epilogue_act="lrelu", **_MBSTD)
    config.loss.pl_weight, config.loss.style_mixing_prob = 2.0, 0.9
    config.schedule.g_reg_interval, config.schedule.d_reg_interval = 4, 16
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
    for net in (config.G, config.D):
        net.channel_base, net.channel_max = 256, 16
        if "mapping_layers" in net:
            net.mapping_layers = min(net.mapping_layers, 2)
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
    config.metrics.swd_kimg, config.metrics.swd_num_images = 0.064, 64
    config.metrics.memory_kimg = 0.0
    config.io.tick_kimg = config.io.sample_kimg = config.io.checkpoint_kimg = 0.032
    config.io.grid_cols, config.io.grid_rows = 4, 4
