"""Every setting with values that it must not have, and those that do not go together."""

import inspect
import math
import pathlib

import pytest

from stylegan_jax.configs.common import (
    progan_defaults,
    shrink,
    stylegan1_defaults,
    stylegan2_defaults,
)
from stylegan_jax.models import DISCRIMINATORS, GENERATORS
from stylegan_jax.recipes import load_recipe, recipe_names
from stylegan_jax.tools.settings import settings_page
from stylegan_jax.training.settings import (
    PAIRS,
    SETTINGS,
    SettingsError,
    check_settings,
    find_setting,
    flatten,
)

ROOT = pathlib.Path(__file__).parents[2]
# Recipes that together have every key of the sections, and most of the networks.
DEFAULTS = (stylegan2_defaults, stylegan1_defaults, progan_defaults)
NUMBERS = [key for key, setting in SETTINGS.items() if setting.kind in ("int", "float")]
NONSENSE = [math.nan, math.inf, -math.inf, -1, -0.5, 10**21, 2.0**80, [], (math.nan, 1)]


def small(defaults=stylegan2_defaults, **changes):
    config = defaults()
    shrink(config)
    for name, value in changes.items():
        *sections, key = name.split("__")
        part = config
        for section in sections:
            part = part[section]
        with part.ignore_type():
            part[key] = value
    return config


def with_value(key, value):
    """A sound config with one value, of whatever type; keys of networks are added."""
    key = key.replace("*", "b8")
    config = small(growth__init_resolution=8)
    section, _, name = key.rpartition(".")
    part = config
    for step in filter(None, section.split(".")):
        part = part[step]
    if name in part:
        del part[name]
    part[name] = value
    return config


@pytest.mark.parametrize("key", SETTINGS)
def test_values_that_no_key_may_have(key):
    config = with_value(key, -1)
    *sections, name = key.replace("*", "b8").split(".")
    part = config
    for section in sections:
        part = part[section]
    for value in NONSENSE:
        del part[name]
        part[name] = value
        with pytest.raises(SettingsError) as caught:
            check_settings(config)
        message = str(caught.value)
        assert message.startswith(f"{key.replace('*', 'b8')}={value!r}: give ")
        assert "\n" not in message


def test_zero_is_refused_where_it_means_nothing():
    for key in NUMBERS:
        if SETTINGS[key].accepts(0):
            continue
        with pytest.raises(SettingsError, match="=0: give .*(from|above|one of)"):
            check_settings(with_value(key, 0))


def test_words_and_types():
    for key, setting in SETTINGS.items():
        free = setting.kind == "labels" or setting.kind == "str" and not setting.choices
        assert setting.accepts("half") == free, key
        # A bool is a number for Python alone.
        assert setting.accepts(True) == (setting.kind in ("bool", "labels")), key
        assert setting.accepts(None) == setting.optional, key


def test_what_must_be_refused_whatever_the_table_says():
    for changes in (
        dict(optimizer__beta2=7.0), dict(loss__style_mixing_prob=7.0), dict(mesh__spatial=0),
        dict(schedule__num_micro_batches=0), dict(loss__pl_batch_shrink=0),
        dict(G__resample_filter=0), dict(G__resample_filter=(1, math.nan)),
        dict(G__resample_filter=(1, -1)), dict(schedule__w_avg_update="never"),
        dict(D__mbstd_grouping="half"), dict(io__grid_cols=2**31), dict(G__num_bf16_res=10**21),
        dict(data__resolution=50), dict(data__resolution="48x3"), dict(data__channels=17),
        dict(seed=-1), dict(cpu_devices=-1),
    ):  # fmt: skip
        with pytest.raises(SettingsError):
            check_settings(small(**changes))


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_are_in_the_table(name):
    check_settings(load_recipe(name))
    check_settings(load_recipe(f"{name}:smoke"))


def test_every_key_is_in_the_table_and_every_row_is_a_key():
    keys = set()
    for defaults in DEFAULTS:
        keys |= {key for key, _ in flatten(defaults())}
    for net, models in (("G", GENERATORS), ("D", DISCRIMINATORS)):
        for model in models.values():
            arguments = set(inspect.signature(model.__init__).parameters)
            arguments -= {"self", "rngs", "formulation", "c_dim"}
            arguments -= {"img_resolution", "img_channels", "base_grid"}
            keys |= {f"{net}.{name}" for name in arguments}
    rows = {row for key in keys for row, found in SETTINGS.items() if find_setting(key) is found}
    assert all(find_setting(key) for key in keys)
    # A row may be shared by name alone: by networks of either kind.
    unused = set(SETTINGS) - rows
    assert unused <= {key for key in SETTINGS if key.endswith("grows") or key.startswith("G.embed")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(growth__init_resolution=64), "data.resolution=16: growing begins"),
        (dict(data__resolution=4, metrics__kimg=0.0), "D.architecture='resnet': such images"),
        (dict(G__channel_base=8), "G.channel_base=8, data.resolution=16"),
        (dict(D__channel_base=8), "D.channel_base=8, data.resolution=16"),
        (dict(data__subset=15), "data.subset=15, schedule.batch_size=16"),
        (dict(schedule__num_micro_batches=32), "schedule.num_micro_batches=32: more micro-batches"),
        (dict(schedule__num_micro_batches=16), "D.mbstd_num_channels=1, schedule.batch_size=16"),
        (dict(G__name="progan", loss__style_mixing_prob=0.5), "loss.style_mixing_prob=0.5: it has"),
        (dict(augment__mode="ada", augment__pipe="diffaugment"), "='diffaugment': DiffAugment"),
        (dict(augment__mode="fixed"), "augment.mode='fixed', augment.p=0.0: nothing would"),
        (dict(augment__mode="ada", augment__p=2.0), "augment.p=2.0, augment.p_max=1.0: it"),
        (dict(data__resolution=8), "metrics.kimg=0.064, data.resolution=8"),
        (dict(metrics__names="memory5"), "metrics.memory_unseen='': name a data set"),
        (dict(metrics__names="swd64,memory5", metrics__memory_unseen="openmoji/flags"),
         "data.dataset='openmoji/flags': unseen images"),
        (dict(metrics__patience_kimg=0.01), "metrics.patience_kimg=0.01, metrics.kimg=0.064"),
    ],
)  # fmt: skip
def test_right_alone_and_wrong_together(changes, message):
    with pytest.raises(SettingsError) as caught:
        check_settings(small(**changes))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_every_pair_is_tested():
    cases = test_right_alone_and_wrong_together.pytestmark[0].args[1]
    assert len(cases) == len(PAIRS)


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("schedule.batchsize", "schedule.batch_size"),
        ("batch_size", "schedule.batch_size"),
        ("loss.G_lr", "optimizer.G_lr"),
        ("growth.batch_sizes.b5", "resolutions are b4, b8"),
        ("zzz", "docs/settings.md"),
    ],
)
def test_an_unknown_key_is_told_its_neighbours(key, near):
    with pytest.raises(SettingsError, match=f"no setting {key}.*{near}"):
        check_settings(with_value(key, 1))


def test_the_page_is_that_of_the_table():
    page = (ROOT / "docs" / "settings.md").read_text()
    assert page == settings_page(), "python -m stylegan_jax.tools.settings > docs/settings.md"
