"""The table of pipes."""

import math

import pytest

from stylegan_jax.augment.ada_pipe import PIPES, TRANSFORMATIONS, Pipe, find_pipe


def test_pipes_add_categories():
    has = {name: [t for t in TRANSFORMATIONS if getattr(pipe, t)] for name, pipe in PIPES.items()}
    assert has["bgcfnc"] == list(TRANSFORMATIONS) and len(TRANSFORMATIONS) == 15
    assert has["bg"] == has["blit"] + has["geom"]
    assert has["bgc"] == has["bg"] + has["color"]
    assert has["bgcf"] == has["bgc"] + ["imgfilter"]
    assert has["bgcfn"] == has["bgcf"] + ["noise"]
    assert has["bgcfnc"] == has["bgcfn"] + has["cutout"]
    assert PIPES["r3gan"].hue == 0.5 and PIPES["r3gan"].cutout == PIPES["r3gan"].xflip == 1
    assert not PIPES["r3gan"].imgfilter
    assert [name for name, pipe in PIPES.items() if not pipe.moves_pixels] == [
        "color",
        "filter",
        "noise",
        "cutout",
    ]
    assert find_pipe("bgc") is PIPES["bgc"]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"hue": -1.0}, "hue=-1.0: give a number of at least 0"),
        ({"scale_std": math.nan}, "scale_std=nan"),
        ({"noise_std": math.inf}, "noise_std=inf"),
        ({"imgfilter_bands": (1.0, 1.0, 1.0)}, "give four multipliers"),
        ({"imgfilter_bands": (1.0, 1.0, 1.0, -1.0)}, r"imgfilter_bands\[3\]=-1.0"),
    ],
)
def test_numbers_that_mean_nothing(numbers, message):
    with pytest.raises(ValueError, match=message):
        Pipe(**numbers)


def test_unknown_pipes():
    with pytest.raises(ValueError, match="no augmentation pipe 'bcg': choose one of blit, geom"):
        find_pipe("bcg")
