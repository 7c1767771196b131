"""StyleGAN3, configs T (translation) and R (rotation), on the authors' sets or any images.

    python -m stylegan_jax.main --config=configs/stylegan3.py:model=t,data=FOLDER,res=256 \\
        --workdir=runs/mine

Arguments, joined with commas:

    model=r             equivariant to rotation, too; default t, to translation alone
    data=ffhq           or ffhqu, metfaces, metfacesu, afhqv2: mirrored, with the authors' numbers
                        at their size; or the name or path of any images
    res=256             their size, or height x width; default 1024, of afhqv2 512
    gamma=2             weight of R1; default the authors', or 2 at 256 px, four times as much at
                        twice the size: try twice and half of it
    aug=none            or fixed; default ada, none for the 70,000 faces of ffhq and ffhqu
    mirror              images and their mirror images, of a set of one's own
    labels              class-conditional
    init=FILE.pkl       begin with the networks of a checkpoint: far less time for small sets
    freezed=10          so many layers of D stand still (Freeze-D), for transfer
    smoke               the same recipe shrunken: tiny networks, built-in flags, seconds on a CPU

Hardware in the paper: 8 V100 or A100; 25,000 kimg at 1024 px take 5.8 days (T) and 6.8 (R) on A100,
5,000 kimg from ffhq or ffhqu do for metfaces. Expected FID (T, R): ffhqu 3.67, 3.66; ffhq 2.79,
3.07; metfacesu 18.75, 18.75; metfaces 15.11, 15.33; afhqv2 4.04, 4.40; ffhqu at 256 px 4.62, 4.50.
Source: Karras et al. 2021 (StyleGAN3), section 4 and appendix F.
"""

from ml_collections import ConfigDict

from stylegan_jax.configs.common import parse_arg, shrink, stylegan3_defaults

# Names of the prepared sets, their full size, and whether they are augmented.
_SETS = {
    "ffhq": ("ffhq", 1024, "none"),
    "ffhqu": ("ffhq_u", 1024, "none"),
    "metfaces": ("metfaces", 1024, "ada"),
    "metfacesu": ("metfaces_u", 1024, "ada"),
    "afhqv2": ("afhqv2/all", 512, "ada"),
}
# Weights of R1 at full size, of T and of R.
_GAMMAS = {
    "ffhq": (32.8, 32.8),
    "ffhqu": (32.8, 32.8),
    "metfaces": (6.6, 3.3),
    "metfacesu": (16.4, 6.6),
    "afhqv2": (8.2, 16.4),
}


def get_config(arg: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    args = parse_arg(
        arg,
        model="t",
        data="ffhq",
        res="",
        gamma=0.0,
        aug="",
        mirror=False,
        labels=False,
        init="",
        freezed=0,
        smoke=False,
    )
    dataset, full_size, aug = _SETS.get(args.data, (args.data, 1024, "ada"))
    size = int(args.res) if args.res.isdecimal() else args.res or full_size
    config = stylegan3_defaults(args.model, size)
    is_known = args.data in _SETS
    config.data.dataset = dataset
    config.data.mirror = is_known or args.mirror
    config.data.labels = args.labels
    config.init_from = args.init
    config.augment.mode = args.aug or aug
    config.optimizer.freeze_d = args.freezed

    if is_known and size == full_size:
        config.loss.r1_gamma = _GAMMAS[args.data]["tr".index(args.model)]
    if args.data == "ffhqu" and size == 256:
        _ablation(config)
    if args.gamma:
        config.loss.r1_gamma = args.gamma
    if args.init:
        config.schedule.total_kimg = 5000.0  # far less than from scratch
    config.metrics.names, config.metrics.kimg = "swd16k", 200.0
    if args.smoke:
        shrink(config)
    return config.lock()


def _ablation(config: ConfigDict) -> None:
    """The networks and numbers with which the paper compares configs A to R at 256 px."""
    for net in (config.G, config.D):
        net.channel_base //= 2
    config.schedule.batch_size = 64
    config.schedule.ema_kimg *= 2
    config.loss.blur_fade_kimg *= 2
    config.loss.r1_gamma = 1.0
    config.optimizer.D_lr = 0.0025
