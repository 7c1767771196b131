"""Names of metrics: all of the originals', any number of images, and what is none."""

import pytest

from stylegan_jax.metrics.names import FAMILIES, parse_name, parse_names


@pytest.mark.parametrize(
    ("text", "family", "num_images", "options"),
    [
        ("fid50k_full", "fid", 50_000, {"full": True}),
        ("fid50k", "fid", 50_000, {"full": False}),
        ("fid10k", "fid", 10_000, {"full": False}),
        ("fid512", "fid", 512, {"full": False}),
        ("fid", "fid", None, {"full": False}),
        ("fid_full", "fid", None, {"full": True}),
        ("kid50k_full", "kid", 50_000, {"full": True}),
        ("is50k", "is", 50_000, {}),
        ("pr50k3_full", "pr", 50_000, {"full": True, "neighbours": 3}),
        ("pr50k3", "pr", 50_000, {"full": False, "neighbours": 3}),
        ("pr10k5", "pr", 10_000, {"full": False, "neighbours": 5}),
        ("pr500", "pr", 500, {"full": False, "neighbours": 3}),
        ("ppl2_wend", "ppl", 50_000, {"whole": True, "space": "w", "at": "end", "tf": False}),
        ("ppl_zfull", "ppl", 50_000, {"whole": False, "space": "z", "at": "full", "tf": False}),
        ("ppl_wend_tf_100k", "ppl", 100_000,
         {"whole": False, "space": "w", "at": "end", "tf": True}),
        ("ppl2_wfull_64", "ppl", 64, {"whole": True, "space": "w", "at": "full", "tf": False}),
        ("ls", "ls", 200_000, {}),
        ("ls_1k", "ls", 1000, {}),
        ("swd16k", "swd", 16_384, {}),
        ("swd512", "swd", 512, {}),
        ("memory256", "memory", 256, {}),
        ("eqt50k_int", "eqt", 50_000, {"step": "int"}),
        ("eqt5k_frac", "eqt", 5_000, {"step": "frac"}),
        ("eqt_int", "eqt", 50_000, {"step": "int"}),
        ("eqr50k", "eqr", 50_000, {}),
        ("eqr", "eqr", 50_000, {}),
        ("msssim20k", "msssim", 20_000, {}),
        ("lite0_fd5k_full", "lite0_fd", 5000, {"full": True}),
        ("lite0_kd512", "lite0_kd", 512, {"full": False}),
    ],
)  # fmt: skip
def test_names_say_what_is_measured(text, family, num_images, options):
    name = parse_name(text)
    assert (name.text, name.family, name.num_images) == (text, family, num_images)
    assert name.options == options


@pytest.mark.parametrize(
    "text",
    ["fid50k_ful", "FID50k", "fid-1", "fid5.5k", "pr50k3_4", "ppl3_wend", "xfid5", "eqt50k", ""],
)
def test_what_is_no_name_is_told_those_that_are(text):
    with pytest.raises(ValueError, match="is no metric: there are fid50k_full, kid50k_full, is50k"):
        parse_name(text)


def test_a_metric_of_no_images():
    with pytest.raises(ValueError, match="fid0k_full: no images; a name such as fid50k_full"):
        parse_name("fid0k_full")


def test_lists_of_names():
    names = parse_names(" fid50k_full, is50k,,fid50k_full ")
    assert [name.text for name in names] == ["fid50k_full", "is50k"]
    with pytest.raises(ValueError, match="No metric is named"):
        parse_names(" , ")


def test_which_value_tells_and_which_way():
    assert parse_name("fid50k").main == "fid50k" and not parse_name("fid50k").is_higher_better
    assert parse_name("is50k").main == "is50k_mean" and parse_name("is50k").is_higher_better
    assert parse_name("pr50k3").main == "pr50k3_precision" and parse_name("pr50k3").is_higher_better
    assert parse_name("ls").main == "ls_w"
    for family, kind in FAMILIES.items():
        assert parse_name(kind.example).family == family
