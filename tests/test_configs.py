"""Every recipe and argument: its numbers, and that its step can be traced."""

import itertools
import sys

import jax
import pytest

from stylegan_jax.configs import ffhq, lsun, progan_celebahq, quickstart, stylegan1_ffhq
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
from stylegan_jax.training.settings import image_size
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


ARCHITECTURES = ("orig", "skip", "resnet")
SAME = [(ffhq, f"config=E,G={name},D={name}") for name in ARCHITECTURES]
MIXED = [(ffhq, f"config=E,G={G},D={D}") for G, D in itertools.permutations(ARCHITECTURES, 2)]
OTHERS = [
    *((ffhq, f"config={row}") for row in "ABCD"),
    *((stylegan1_ffhq, f"row={row}") for row in "ABCDEF"),
]
NETWORKS = SAME + MIXED + OTHERS
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
        ("", "model=stylegan1", "model=progan"), ("", "fast"), ("", "res=64"), ("", "labels=role")
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
