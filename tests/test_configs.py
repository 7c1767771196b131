"""Every recipe and argument: its numbers, and that its step can be traced."""

import itertools
import sys

import jax
import pytest

from stylegan_jax.configs import (
    afhq,
    brecahad,
    cifar10,
    ffhq,
    lsun,
    metfaces,
    progan_celebahq,
    quickstart,
    stylegan1_ffhq,
    stylegan2_ada,
    stylegan3,
)
from stylegan_jax.configs.common import parse_arg
from stylegan_jax.recipes import define_recipe_flag
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import (
    check_config,
    check_grows,
    make_config_levels,
    make_hyperparameters,
    make_setup,
)
from stylegan_jax.training.objectives import make_phases
from stylegan_jax.training.programs import trace_steps
from stylegan_jax.training.settings import flatten, image_size
from stylegan_jax.training.sharding import make_mesh
from tests.commands import own_flags


def test_config_f_has_the_papers_numbers():
    config = ffhq.get_config()
    assert config.data.resolution == 1024 and config.data.mirror
    assert config.G.channel_base == config.D.channel_base == 32768
    assert (config.G.architecture, config.D.architecture) == ("skip", "resnet")
    assert config.loss.r1_gamma == 10 and config.loss.pl_weight == 2
    assert config.schedule.total_kimg == 25000 and config.schedule.batch_size == 32
    large, small = ffhq.get_config("config=F"), ffhq.get_config("config=E")
    assert large.to_dict() == config.to_dict()
    assert small.G.channel_base == 16384 and small.loss.r1_gamma == 100


@pytest.mark.parametrize(
    ("category", "resolution", "kimg", "gamma"),
    [("car", 512, 57000, 10), ("cat", 256, 88000, 10), ("church", 256, 88000, 100),
     ("horse", 256, 100000, 100), ("bedroom", 256, 70000, 100)],
)  # fmt: skip
def test_lsun_has_the_authors_numbers(category, resolution, kimg, gamma):
    config = lsun.get_config(f"category={category}")
    assert config.data.resolution == resolution and not config.data.mirror
    assert config.schedule.total_kimg == kimg and config.loss.r1_gamma == gamma


@pytest.mark.parametrize(
    ("gpus", "res", "batch", "gamma"),
    [(1, 128, 32, 0.1024), (2, 128, 64, 0.0512), (8, 128, 64, 0.0512), (1, 256, 16, 0.8192),
     (2, 256, 32, 0.4096), (8, 256, 64, 0.2048), (1, 512, 8, 6.5536), (8, 512, 64, 0.8192),
     (1, 1024, 4, 52.4288), (4, 1024, 16, 13.1072), (8, 1024, 32, 6.5536), (1, 64, 32, 0.0256),
     (2, 32, 64, 0.0032)],
)  # fmt: skip
def test_the_automatic_preset_is_the_authors_rule(gpus, res, batch, gamma):
    config = stylegan2_ada.get_config(f"res={res},gpus={gpus}")
    assert config.schedule.batch_size == batch
    assert config.loss.r1_gamma == pytest.approx(gamma)
    assert config.schedule.ema_kimg == batch * 10 / 32 and config.schedule.ema_rampup == 0.05
    assert config.D.mbstd_group_size == min(batch // gpus, 4)
    assert config.G.mapping_layers == config.D.mapping_layers == 2
    assert config.G.channel_base == (32768 if res >= 512 else 16384)
    assert config.optimizer.G_lr == (0.002 if res >= 1024 else 0.0025)
    assert (config.augment.mode, config.augment.pipe, config.augment.target) == ("ada", "bgc", 0.6)


def test_presets_of_the_ada_paper():
    for preset, res, batch, maps, gamma in [
        ("paper256", 256, 64, 16384, 1), ("paper512", 512, 64, 32768, 0.5),
        ("paper1024", 1024, 32, 32768, 2), ("stylegan2", 1024, 32, 32768, 10),
    ]:  # fmt: skip
        config = stylegan2_ada.get_config(f"preset={preset},res={res}")
        assert config.schedule.batch_size == batch and config.G.channel_base == maps
        assert config.loss.r1_gamma == gamma and config.G.mapping_layers == 8
        assert config.schedule.ema_rampup is None and config.loss.pl_weight == 2
    config = cifar10.get_config("labels")
    assert config.loss.r1_gamma == 0.01 and config.schedule.total_kimg == 100000
    assert config.loss.pl_weight == config.loss.style_mixing_prob == 0
    assert config.D.architecture == "orig" and config.data.labels and not config.data.mirror
    with pytest.raises(ValueError, match="preset=.paper128.: choose one of auto, stylegan2"):
        stylegan2_ada.get_config("preset=paper128")
    with pytest.raises(ValueError, match="class='cow': choose one of cat, dog, wild"):
        afhq.get_config("class=cow")


def test_the_automatic_preset_gives_its_reasons():
    """Of every value that follows from the size and the number of GPUs; others have no rule."""
    config = stylegan2_ada.get_config("res=256,gpus=4")
    reasons = dict(line.split(": ", 1) for line in config.reasons.splitlines())
    values = dict(flatten(config))
    other = dict(flatten(stylegan2_ada.get_config("res=1024,gpus=1")))
    moved = {key for key, value in values.items() if other[key] != value}
    assert moved <= {"data.resolution", "reasons", *reasons} <= set(values) | {"data.resolution"}
    assert reasons["loss.r1_gamma"].startswith("0.0002 * 65536 px / batch")
    assert not stylegan2_ada.get_config("preset=paper256").reasons
    assert not stylegan2_ada.get_config("smoke").reasons


@pytest.mark.parametrize("recipe", [metfaces, afhq, brecahad])
def test_small_sets_begin_with_another_network(recipe):
    config = recipe.get_config("init=ffhq.pkl,freezed=10")
    assert config.init_from == "ffhq.pkl" and config.optimizer.freeze_d == 10
    assert config.schedule.total_kimg == 5000 and config.data.mirror
    assert recipe.get_config().schedule.total_kimg == 25000
    # A shrunken one begins with nothing, and so do others' sizes.
    assert recipe.get_config("init=ffhq.pkl,smoke").init_from == ""


@pytest.mark.parametrize(
    ("arg", "size", "gammas", "mode"),
    [("data=ffhqu", 1024, (32.8, 32.8), "none"), ("data=metfaces", 1024, (6.6, 3.3), "ada"),
     ("data=metfacesu", 1024, (16.4, 6.6), "ada"), ("data=afhqv2", 512, (8.2, 16.4), "ada"),
     ("data=mine,res=128", 128, (0.5, 0.5), "ada"), ("data=ffhq,res=512", 512, (8, 8), "none"),
     ("data=mine,res=512x1024,gamma=3", "512x1024", (3, 3), "ada")],
)  # fmt: skip
def test_stylegan3_has_the_authors_numbers(arg, size, gammas, mode):
    for model, gamma in zip("tr", gammas):
        config = stylegan3.get_config(f"model={model},{arg}")
        assert config.data.resolution == size and config.data.mirror == ("mine" not in arg)
        assert config.loss.r1_gamma == pytest.approx(gamma) and config.augment.mode == mode
        assert (config.G.channel_base, config.D.channel_base) == (
            (65536, 32768) if model == "r" else (32768, 32768)
        )
        assert config.loss.blur_init_sigma == (10 if model == "r" else 0)
        assert (config.optimizer.G_lr, config.optimizer.D_lr) == (0.0025, 0.002)
        assert [p.name for p in make_phases(make_hyperparameters(config))] == [
            *("Gmain", "Dmain", "Dreg")
        ]
        # Trained networks need no blur, nor an average that forgets its beginning.
        begun = make_hyperparameters(stylegan3.get_config(f"model={model},{arg},init=x.pkl"))
        assert begun.blur_init_sigma == 0 and begun.ema_rampup is None


def test_the_paper_compares_smaller_networks():
    config = stylegan3.get_config("model=r,data=ffhqu,res=256")
    assert (config.G.channel_base, config.D.channel_base) == (32768, 16384)
    assert config.schedule.batch_size == 64 and config.loss.r1_gamma == 1
    assert config.schedule.ema_kimg == 20 and config.loss.blur_fade_kimg == 400


ARCHITECTURES = ("orig", "skip", "resnet")
SAME = [(ffhq, f"config=E,G={name},D={name}") for name in ARCHITECTURES]
MIXED = [(ffhq, f"config=E,G={G},D={D}") for G, D in itertools.permutations(ARCHITECTURES, 2)]
OTHERS = [
    *((ffhq, f"config={row}") for row in "ABCD"),
    *((stylegan1_ffhq, f"row={row}") for row in "ABCDEF"),
]
NETWORKS = SAME + MIXED + OTHERS + [(stylegan3, f"model={model}") for model in "tr"]
SCHEDULES = [
    *((lsun, f"category=cat,model={model}") for model in ("progan", "stylegan1")),
    *((progan_celebahq, f"preset={preset}") for preset in ("v1", "v2")),
]


@pytest.mark.parametrize(("recipe", "arg"), SAME + OTHERS)
def test_every_variant_lowers_at_every_level(recipe, arg):
    """Lowering goes through every line of the step without the cost of compiling it."""
    for trace in traces(recipe, arg):
        trace().lower()


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "arg"), MIXED)
def test_every_mixture_traces(recipe, arg):
    """Its operations are those of networks of the same architecture, which are lowered."""
    for trace in traces(recipe, arg):
        trace()


def traces(recipe, arg):
    """What traces each step of each level of a shrunken variant."""
    config = recipe.get_config(f"{arg},smoke")
    check_config(config, num_devices=1)
    shape = ImageShape(*image_size(config), 3, 0)
    setup, init = make_setup(config, shape)
    state = jax.eval_shape(init, jax.random.key(0))
    levels = make_config_levels(config)
    check_grows(setup, init, levels)
    mesh = make_mesh(jax.devices()[:1])
    for level in levels:
        for _, trace in trace_steps(setup.at(level), mesh, state, shape):
            yield trace


QUICKSTARTS = [
    (quickstart, ",".join(filter(None, arg)))
    for arg in itertools.product(
        ("", "model=stylegan1", "model=progan", "model=stylegan3"),
        ("", "fast"),
        ("", "res=64"),
        ("", "labels=role"),
    )
]


@pytest.mark.parametrize(("recipe", "arg"), NETWORKS + SCHEDULES + QUICKSTARTS)
def test_every_full_size_variant_is_accepted(recipe, arg):
    config = recipe.get_config(arg)
    check_config(config, num_devices=1)


def test_rows_of_stylegan2_table_1():
    phases = {
        row: [p.name for p in make_phases(make_hyperparameters(ffhq.get_config(f"config={row}")))]
        for row in "ABCDEF"
    }
    assert phases["A"] == phases["B"] == ["Gmain", "Dboth"]
    assert phases["C"] == ["Gmain", "Dmain", "Dreg"]
    assert phases["D"] == phases["E"] == phases["F"] == ["Gmain", "Greg", "Dmain", "Dreg"]


def test_growth_has_the_authors_numbers():
    levels = make_config_levels(stylegan1_ffhq.get_config())
    assert [level.resolution for level in levels] == [8, 16, 32, 64, 128, 256, 512, 1024]
    assert [level.batch_size for level in levels] == [256, 128, 64, 32, 32, 32, 32, 32]
    assert [level.G_lr for level in levels[-4:]] == [0.0015, 0.002, 0.003, 0.003]
    # Fades of StyleGAN at 1024 px begin and end here, in kimg.
    fades = [(level.fade_start / 1000, level.fade_nimg / 1000) for level in levels[1:]]
    assert fades == [(start, 600) for start in range(600, 8400, 1200)]
    levels = make_config_levels(progan_celebahq.get_config("preset=v1"))
    assert [level.batch_size for level in levels] == [16] * 6 + [14, 6, 3]
    assert [level.fade_start for level in levels[:3]] == [0, 800_000, 2_400_000]


@pytest.mark.parametrize(
    ("recipe", "arg", "message"),
    [
        (quickstart, "quick", "'quick'.*fast, labels"),
        (ffhq, "config=G", "config='G'"),
        (ffhq, "config=D,G=orig", "config=D has networks of its own"),
        (lsun, "category=dog", "category='dog'.*car, cat"),
        (lsun, "model=vae", "model='vae'.*progan, stylegan1"),
        (stylegan1_ffhq, "row=G", "row='G'"),
        (progan_celebahq, "preset=v3", "preset='v3'"),
        (stylegan3, "model=s", "model='s': choose t or r"),
    ],
)
def test_unknown_arguments(recipe, arg, message):
    with pytest.raises(ValueError, match=message):
        recipe.get_config(arg)


def test_arguments_keep_their_types():
    args = parse_arg("gamma=2,fast", gamma=1.0, fast=False, slow=True)
    assert args.gamma == 2.0 and args.fast and args.slow
    with pytest.raises(ValueError, match="type float"):
        parse_arg("gamma=big", gamma=1.0)
    with pytest.raises(ValueError, match="true, false"):
        parse_arg("fast=yes", fast=False)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--config.data.labels", True),
        ("--config.data.labels=true", True),
        ("--config.data.labels=false", False),
        ("--noconfig.data.labels", False),
        ("--config.data.labels=role", "role"),
        ("--config.data.mirror", False),
    ],
)
def test_labels_are_on_off_or_a_name(monkeypatch, argument, expected):
    argv = ["main", f"--config={quickstart.__file__}", argument]
    monkeypatch.setattr(sys, "argv", argv)
    with own_flags(monkeypatch) as values:
        define_recipe_flag()
        values(argv)
    assert values.config.data.labels == expected
    assert values.config.to_dict()["data"]["labels"] == expected
