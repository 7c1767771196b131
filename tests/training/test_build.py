"""What a config becomes, and what is refused before anything is compiled."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from stylegan_jax.configs.common import (
    progan_defaults,
    shrink,
    stylegan1_defaults,
    stylegan2_defaults,
)
from stylegan_jax.models.blocks import broadcast_ws
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import (
    check_config,
    check_grows,
    level_at,
    make_config_levels,
    make_float32_generator,
    make_generator,
    make_setup,
)

SHAPE = ImageShape(16, 16, 3, 0)


def small(defaults=stylegan2_defaults, **changes):
    """A shrunken recipe with settings changed, `section__key=value`."""
    config = defaults()
    shrink(config)
    for name, value in changes.items():
        section, key = name.split("__")
        config[section][key] = value
    return config


def test_a_setup_is_that_of_the_first_level():
    setup, init = make_setup(small(stylegan1_defaults), SHAPE)
    assert setup.level.resolution == 8 and setup.level.lod == 1
    levels = make_config_levels(small(stylegan1_defaults))
    assert setup.at(levels[-1]).level.resolution == 16
    assert hash(setup) == hash(setup.at(setup.level))
    state = jax.eval_shape(init, jax.random.key(0))
    assert set(state.stats) == {"w_avg", "pl_mean", "G", "D", "noise_const"}
    assert state.G == state.G_ema


def test_scores_look_into_a_generator_of_float32():
    """The same network as one that was made so, whatever it is trained in."""
    config = small(G__num_bf16_res=4)
    exact = make_float32_generator(config, SHAPE)
    assert exact == make_generator(small(), SHAPE)[0] != make_generator(config, SHAPE)[0]
    assert config.G.num_bf16_res == 4


def test_which_networks_can_be_moved():
    for value, can in (("const", False), ("fourier", True)):
        setup, _ = make_setup(small(G__input=value), SHAPE)
        assert setup.networks.takes_transform == can


@pytest.mark.parametrize("recipe", [progan_defaults, stylegan1_defaults, stylegan2_defaults])
def test_networks_take_any_channels(recipe):
    setup, init = make_setup(small(recipe), ImageShape(16, 16, 16, 0))

    def draw(key):
        state = init(key)
        G, D = nnx.merge(setup.networks.G, state.G), nnx.merge(setup.networks.D, state.D)
        z, c = jnp.zeros((4, setup.networks.z_dim)), jnp.zeros((4, 0))
        ws = broadcast_ws(G.mapping(z, c), G.num_ws)
        img, _ = G.synthesis(ws, None, state.stats["G"])
        return img, D(img, c, state.stats["D"])[0]

    img, logits = jax.eval_shape(draw, jax.random.key(0))
    assert img.shape == (4, 16, 16, 16) and logits.shape[0] == 4


def test_where_a_run_stands():
    config = small(stylegan1_defaults)
    assert [level_at(config, nimg).resolution for nimg in (0, 32, 96)] == [8, 8, 16]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss__adversarial": "ls"}, "loss.adversarial='ls': give one of .*hinge"),
        ({"schedule__net_order": "D"}, "schedule.net_order='D'"),
        ({"G__name": "vae"}, "G.name='vae': give one of .*stylegan2"),
        ({"io__tick_kimg": 0.0}, "io.tick_kimg=0.0: give a number above 0 to"),
        ({"schedule__batch_size": 10}, "schedule.batch_size=10 cannot be split over 4 devices"),
        ({"D__mbstd_group_size": 3}, "D.mbstd_group_size=3 does not divide"),
        ({"loss__pl_batch_shrink": 3}, "loss.pl_batch_shrink=3 does not divide"),
        ({"schedule__total_kimg": -1.0}, "schedule.total_kimg=-1.0"),
        ({"health__abort_sec": -1.0}, "health.abort_sec=-1.0: give a number from 0 to"),
    ],
)
def test_settings_that_cannot_run(changes, message):
    with pytest.raises(ValueError, match=message):
        check_config(small(**changes), num_devices=4)


def test_settings_that_a_network_does_not_have():
    config = small()
    config.G.use_clouds = True
    with pytest.raises(ValueError, match="G.name='stylegan2' has no setting use_clouds.*It knows"):
        make_setup(config, SHAPE)


@pytest.mark.parametrize("defaults", [stylegan2_defaults, stylegan1_defaults, progan_defaults])
def test_configs_without_the_newer_keys_mean_the_same_networks(defaults):
    """Checkpoints from before a key keep their config; a structure holds every static number."""
    today, before = small(defaults), small(defaults)
    for net in (before.G, before.D):
        for key in {"act", "epilogue_act", "mapping_act", "mapping_lr_multiplier"} & set(net):
            del net[key]
    assert "act" in today.G and "act" in today.D
    want = make_setup(today, SHAPE)[0].networks
    got = make_setup(before, SHAPE)[0].networks
    assert (got.G, got.D) == (want.G, want.D)
    today.G.act = today.D.act = "tanh"
    other = make_setup(today, SHAPE)[0].networks
    assert other.G != want.G and other.D != want.D


def test_networks_that_cannot_grow():
    config = small(growth__init_resolution=8)
    config.growth.training_kimg = config.growth.transition_kimg = 0.01
    setup, init = make_setup(config, SHAPE)
    with pytest.raises(ValueError, match="G and D cannot work below full size"):
        check_grows(setup, init, make_config_levels(config))
