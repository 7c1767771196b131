import pytest

from stylegan_jax.models.stylegan3_schedule import plan_layers

# Sizes and channels of config T as the paper's networks have them.
TABLES = {
    256: "36_512 36_512 36_512 52_512 52_512 84_512 84_512 148_512 148_512 148_362 276_256 276_181 "
    "276_128 256_128 256_3",
    512: "36_512 36_512 52_512 52_512 84_512 84_512 148_512 148_483 276_323 276_215 532_144 532_96 "
    "532_64 512_64 512_3",
    1024: "36_512 36_512 52_512 52_512 84_512 148_512 148_512 276_323 276_203 532_128 1044_81 "
    "1044_51 1044_32 1024_32 1024_3",
}
R = dict(conv_kernel=1, use_radial_filters=True, channel_base=65536, channel_max=1024)


@pytest.mark.parametrize("resolution", TABLES)
def test_layers_of_config_t(resolution):
    names = [plan.name for plan in plan_layers(resolution, 3)]
    assert names == [f"L{i}_{rest}" for i, rest in enumerate(TABLES[resolution].split())]


def test_numbers_of_1024_px():
    plans = plan_layers(1024, 3, num_bf16_res=4)
    cutoffs = [plan.target.cutoff for plan in plans]
    assert cutoffs[:4] == pytest.approx([2, 3.1748, 5.0397, 8], rel=1e-4)
    assert cutoffs[-3:] == [512, 512, 512]
    assert [plan.is_bf16 for plan in plans] == [False] * 5 + [True] * 10
    assert [plan.is_critical for plan in plans] == [False] * 12 + [True] * 3
    # The same rate, a doubling, the crop of the margin, and ToRGB.
    assert [plans[i].padding[:2] for i in (1, 2, 13, 14)] == [(9, 8), (-6, -9), (-11, -12), (0, 0)]
    assert [(p.up, p.down, p.up_taps, p.down_taps) for p in plans[1:3]] == [
        (2, 2, 12, 12),
        (4, 2, 24, 12),
    ]
    assert (plans[14].up, plans[14].up_taps, plans[14].kernel_size) == (1, 1, 1)
    of_r = plan_layers(1024, 3, **R)
    assert [plan.target.channels for plan in of_r[5:]] == [
        *(1024, 1024, 645, 406, 256, 161, 102, 64, 64, 3)
    ]
    assert [of_r[i].padding[:2] for i in (1, 2, 13, 14)] == [(11, 10), (-2, -5), (-9, -10), (0, 0)]
    assert [plan.is_radial for plan in of_r] == [True] * 12 + [False] * 3


def test_every_layer_gives_what_the_next_reads():
    """The padding leaves as many samples as planned, for any options and shape."""
    options = [
        dict(img_resolution=64, num_layers=5, num_critical=0, margin_size=3),
        dict(img_resolution=32, num_layers=6, filter_size=4, lrelu_upsampling=4, base_grid=(6, 4)),
        dict(img_resolution=128, num_layers=3, first_stopband=2.0**3, conv_kernel=5),
        dict(img_resolution=16, num_layers=4, last_stopband_rel=2.0, base_grid=(5, 7)),
    ]
    for given in options:
        plans = plan_layers(img_channels=3, **given)
        for i, plan in enumerate(plans):
            assert plan.source == plans[max(i - 1, 0)].target or i == 0
            x0, x1, y0, y1 = plan.padding
            for axis, pad in ((0, y0 + y1), (1, x0 + x1)):
                zoomed = (plan.source.size[axis] + plan.kernel_size - 1) * plan.up + pad
                left = zoomed - plan.up_taps - plan.down_taps + 2
                assert (left - 1) // plan.down + 1 == plan.target.size[axis]
        height, width = plans[-1].target.size
        base = given.get("base_grid", (4, 4))
        resolution = given["img_resolution"]
        assert (height, width) == (resolution * base[0] // 4, resolution * base[1] // 4)


def test_pixels_of_other_shapes_are_as_long_along_both_axes():
    tall = plan_layers(64, 3, base_grid=(6, 4))
    square = plan_layers(64, 3)
    assert tall[0].name == "L0_44x36_512" and tall[-1].target.size == (96, 64)
    assert [p.target._replace(size=(0, 0)) for p in tall] == [
        p.target._replace(size=(0, 0)) for p in square
    ]
    assert [p.padding for p in tall[:-2]] == [p.padding for p in square[:-2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(img_resolution=48), "power of two"),
        (dict(num_critical=14), "num_layers=14, num_critical=14"),
        (dict(first_cutoff=9.0, img_resolution=32), "cutoff 9 is not below its stop band"),
        (dict(channel_base=16), "channel_base=16.*no feature map left"),
        (dict(first_stopband=0.1), "first_stopband=0.1"),
    ],
)
def test_what_has_no_schedule(options, message):
    with pytest.raises(ValueError, match=message):
        plan_layers(**dict(img_resolution=64, img_channels=3) | options)
