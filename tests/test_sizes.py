"""Which sizes networks make, and what is said of others."""

import itertools

import pytest

from stylegan_jax import sizes


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((4, 4), (4, (4, 4))),
        ((1024, 1024), (1024, (4, 4))),
        ((1024, 1792), (1024, (4, 7))),
        ((1792, 1024), (1024, (7, 4))),
        ((48, 32), (32, (6, 4))),
        ((96, 96), (64, (6, 6))),
        ((256, 2048), (256, (4, 32))),
        ((5, 7), (4, (5, 7))),
    ],
)
def test_base_grids(size, wanted):
    assert sizes.find_base_grid(size) == wanted
    assert sizes.size_at(*wanted) == size


def test_a_size_has_one_base_grid_and_all_blocks_halve_it():
    for size in itertools.product(range(4, 130), repeat=2):
        if not sizes.is_made(size):
            # No other base would do: a base has 4 to 7 px on its shorter side.
            bases = ((size[0] / 2**k, size[1] / 2**k) for k in range(6))
            assert not any(h == int(h) and w == int(w) and 4 <= min(h, w) <= 7 for h, w in bases), (
                size
            )
            continue
        resolution, base = sizes.find_base_grid(size)
        assert 4 <= min(base) <= 7
        at = [sizes.size_at(res, base) for res in sizes.RESOLUTIONS if res <= resolution]
        assert at[0] == base and at[-1] == size
        assert all((2 * h, 2 * w) == finer for (h, w), finer in zip(at, at[1:]))


def test_the_nearest_are_the_largest_crops():
    for size in itertools.product(range(4, 40), repeat=2):
        made = [s for s in itertools.product(range(4, size[0] + 1), range(4, size[1] + 1))]
        areas = sorted((h * w for h, w in made if sizes.is_made((h, w))), reverse=True)
        near = sizes.nearest_sizes(size)
        assert all(sizes.is_made(other) for other in near)
        # The best crop there is comes first.
        assert near[0][0] * near[0][1] == areas[0], size
    assert sizes.nearest_sizes((1080, 1920)) == [(1024, 1792), (896, 1920)]
    assert sizes.nearest_sizes((50, 50)) == [(48, 48), (40, 40)]
    assert sizes.nearest_sizes((1000, 1000)) == [(896, 896), (768, 768)]
    assert sizes.nearest_sizes((3, 100)) == []


def test_a_size_that_is_not_made_names_the_nearest():
    with pytest.raises(ValueError, match="1080x1920 px.*--resolution=1024x1792 or .*=896x1920"):
        sizes.find_base_grid((1080, 1920))
    with pytest.raises(ValueError, match="shorter than 4 px"):
        sizes.find_base_grid((3, 64))
    with pytest.raises(ValueError, match="16384"):
        sizes.find_base_grid((2**15, 2**15))


@pytest.mark.parametrize(
    ("value", "size"), [(32, (32, 32)), ("32", (32, 32)), ("48x32", (48, 32)), ("7x5", (7, 5))]
)
def test_sizes_are_read(value, size):
    assert sizes.parse_size(value) == size
    assert sizes.parse_size(sizes.name_size(size)) == size


@pytest.mark.parametrize("value", ["", "48x", "x32", "48*32", "-4", 4.0, None, True, "1x2x3", [4]])
def test_other_values_are_no_sizes(value):
    with pytest.raises(ValueError, match="height x width"):
        sizes.parse_size(value)


def test_the_order_is_said_where_it_counts():
    assert sizes.describe_pixels((48, 32)) == "48x32 pixels (height x width)"
    assert sizes.describe_pixels((32, 32)) == "32x32 pixels"
