import numpy as np
import pytest

from stylegan_jax.convert.networks import (
    check_names,
    check_resolutions,
    check_stated,
    count_layers,
    fit_channels,
    make_loaded,
    number,
    shorten,
)
from stylegan_jax.convert.readers.records import CheckpointFileError


@pytest.mark.parametrize(
    ("channels", "stated", "want"),
    [
        # As stated, though other bases give the same widths.
        ({4: 512, 8: 512}, (32768, 512), (32768, 512)),
        ({4: 512, 64: 512, 128: 256, 1024: 32}, (None, None), (32768, 512)),
        # What is stated is not what is there.
        ({4: 24, 8: 24, 16: 24, 32: 24, 64: 12}, (32768, 512), (768, 24)),
        ({4: 8, 8: 8}, (None, None), (64, 8)),
        # Rounded down: 100 // 32.
        ({4: 10, 8: 10, 16: 6, 32: 3}, (100, 10), (100, 10)),
        ({4: 10, 8: 10, 16: 6, 32: 3}, (None, None), (96, 10)),
    ],
)
def test_widths_of_feature_maps(channels, stated, want):
    base, most = want
    assert fit_channels(channels, stated) == dict(channel_base=base, channel_max=most)


def test_widths_without_a_rule():
    with pytest.raises(CheckpointFileError, match="follow no rule"):
        fit_channels({4: 8, 8: 16, 16: 4}, (None, None))


def test_resolutions():
    assert check_resolutions([16, 4, 8, 8]) == 16
    for found in ([], [8, 16], [4, 16], [4, 8, 12], [2**k for k in range(2, 16)]):
        with pytest.raises(CheckpointFileError, match="without gap"):
            check_resolutions(found)


def test_numbered_layers():
    arrays = {f"fc{i}": np.zeros(1) for i in range(3)}
    assert count_layers(arrays, r"fc(\d+)") == 3
    assert count_layers(arrays, r"conv(\d+)") == 0
    del arrays["fc1"]
    with pytest.raises(CheckpointFileError, match="0, 2: not numbered"):
        count_layers(arrays, r"fc(\d+)")


def test_names_and_axes():
    ranks = {r"a\.weight": 2, "b": None}
    check_names({"a.weight": np.zeros((1, 2)), "b": np.zeros(3)}, ranks)
    odd = {"a.weight": np.zeros(3), "c": np.zeros((1, 2)), "b": np.zeros((2, 0))}
    with pytest.raises(CheckpointFileError, match=r"3 of 3 .*a\.weight \[3\], b \[2, 0\], c \[1"):
        check_names(odd, ranks)


def test_long_lists_are_cut():
    assert shorten("cab") == "a, b, c"
    assert shorten(map(str, range(20))).endswith("and 8 more")


@pytest.mark.parametrize("value", [None, True, "1", float("inf"), float("nan"), [1]])
def test_numbers(value):
    with pytest.raises(CheckpointFileError, match="no number"):
        number(value, "It")


KWARGS = dict(c_dim=0, img_resolution=4, img_channels=1, channel_base=8, channel_max=2)


def test_what_does_not_fit_is_told():
    params = {"b4": {"conv": {"weight": np.zeros((3, 3, 1, 2))}, "new": np.zeros(2)}}
    with pytest.raises(CheckpointFileError) as error:
        make_loaded("stylegan2", KWARGS, params, {}, is_generator=False)
    text = str(error.value)
    assert "missing are b4/conv/bias, b4/fc/bias" in text and "left over are b4/new" in text
    assert "b4/conv/weight (3, 3, 1, 2) instead of (3, 3, 3, 2)" in text


def test_options_that_are_not_there():
    with pytest.raises(CheckpointFileError, match="has future=3: 'stylegan2' here has no such"):
        make_loaded("stylegan2", KWARGS | {"future": 3}, {}, {}, is_generator=False)


def test_settings_that_no_network_takes():
    with pytest.raises(CheckpointFileError, match="No 'stylegan2' can be made with .*'round'"):
        kwargs = KWARGS | {"architecture": "round"}
        make_loaded("stylegan2", kwargs, {}, {}, is_generator=False)


def test_stated_sizes():
    names = {"latent_size": "z_dim", "other": "none", "depth": "layers"}
    check_stated({"z_dim": 8}, {"latent_size": 8, "other": 3, "depth": 4}, names)
    check_stated({"z_dim": 8}, {"latent_size": None}, names)
    with pytest.raises(CheckpointFileError, match="latent_size=9, but its tensors are those of 8"):
        check_stated({"z_dim": 8}, {"latent_size": 9}, names)
