"""What every recipe shares: the sections, and the defaults that belong to no recipe."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def parse_arg(arg: str | None, **known: object) -> ConfigDict:
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


def stylegan2_defaults() -> ConfigDict:
    """All sections of a StyleGAN2 run, with the settings that its recipes agree on."""
    config = ConfigDict()
    config.seed = 0
    # Virtual CPU devices where there is no accelerator; 0 leaves jax's default of one.
    config.cpu_devices = 0

    config.data = ConfigDict(
        dict(
            dataset="",  # openmoji/flags, openmoji/all, or a folder of images
            data_dir="~/.cache/stylegan_jax/data",
            resolution=0,
            labels=False,
            mirror=False,
            num_workers=0,
        )
    )
    model = dict(
        name="stylegan2",
        channel_base=32768,
        channel_max=512,
        resample_filter=(1, 3, 3, 1),
        conv_clamp=placeholder(float),
        num_bf16_res=0,
        mapping_layers=8,
    )
    config.G = ConfigDict(dict(model, architecture="skip", use_noise=True, z_dim=512, w_dim=512))
    config.D = ConfigDict(
        dict(
            model,
            architecture="resnet",
            mbstd_group_size=4,
            mbstd_num_channels=1,
            mbstd_grouping="contiguous",
        )
    )
    config.loss = ConfigDict(
        dict(
            r1_gamma=10.0,
            pl_weight=2.0,
            pl_decay=0.01,
            pl_batch_shrink=2,
            style_mixing_prob=0.9,
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
            g_reg_interval=4,
            d_reg_interval=16,
            ema_kimg=10.0,
            ema_rampup=placeholder(float),
            w_avg_beta=0.995,
            w_avg_update="every_pass",
        )
    )
    config.metrics = ConfigDict(dict(swd_kimg=0.0, swd_num_images=16384))
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


def shrink(config: ConfigDict) -> None:
    """Cuts a recipe down to a smoke test: its settings, but tiny networks and a few iterations."""
    config.data.dataset = "openmoji/all" if config.data.labels else "openmoji/flags"
    config.data.resolution = 16
    for net in (config.G, config.D):
        net.channel_base, net.channel_max, net.mapping_layers = 256, 16, 2
    config.G.z_dim = config.G.w_dim = 16
    config.schedule.batch_size = 16
    config.schedule.total_kimg = 0.064
    config.metrics.swd_kimg, config.metrics.swd_num_images = 0.064, 64
    config.io.tick_kimg = config.io.sample_kimg = config.io.checkpoint_kimg = 0.032
    config.io.grid_cols, config.io.grid_rows = 4, 4
