"""Every recipe and argument: its numbers, and that its step can be traced."""

import itertools

import jax
import pytest

from configs import ffhq, lsun, quickstart
from configs.common import parse_arg
from stylegan_jax.training.build import (
    ImageShape,
    check_config,
    make_hyperparameters,
    make_networks,
)
from stylegan_jax.training.programs import lower_programs
from stylegan_jax.training.sharding import make_mesh


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


@pytest.mark.parametrize("pair", list(itertools.product(("orig", "skip", "resnet"), repeat=2)))
def test_nine_architecture_pairs_trace(pair):
    """Lowering goes through every line of the step without the cost of compiling it."""
    config = ffhq.get_config("smoke,config=E,G={},D={}".format(*pair))
    check_config(config, num_devices=1, num_processes=1)
    shape = ImageShape(config.data.resolution, 3, 0)
    networks, init = make_networks(config, shape)
    state = jax.eval_shape(init, jax.random.key(0))
    mesh = make_mesh(jax.devices()[:1])
    hyper = make_hyperparameters(config)
    for _, lower in lower_programs(networks, hyper, mesh, state, shape, num_labels=1):
        lower()


@pytest.mark.parametrize(
    ("recipe", "arg", "message"),
    [
        (quickstart, "quick", "'quick'.*fast, labels"),
        (ffhq, "config=G", "config='G'"),
        (lsun, "category=dog", "category='dog'.*car, cat"),
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
