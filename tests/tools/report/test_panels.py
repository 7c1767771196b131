"""Every number has its plot, those of tomorrow too."""

from stylegan_jax.tools.report.panels import GROUPS, arrange, is_detail, is_reference


def found(*names):
    return [(panel.group, panel.title, grouped) for panel, grouped in arrange(names)]


def test_numbers_of_runs():
    assert found("Loss/G/loss", "swd_floor", "swd", "Loss/r1_penalty", "Loss/D/reg", "swd_16") == [
        ("scores", "Sliced Wasserstein distance", ["swd", "swd_16", "swd_floor"]),
        ("losses", "Losses of G and D", ["Loss/G/loss"]),
        ("losses", "Regularisers", ["Loss/D/reg", "Loss/r1_penalty"]),
    ]
    assert found("eqt50k_int", "eqr1k", "eqt_frac") == [
        ("scores", "Equivariance", ["eqr1k", "eqt50k_int", "eqt_frac"]),
    ]
    assert found("memory", "memory_new", "memory_fakes_p50") == [
        ("scores", "Distance to the nearest training image", ["memory_fakes_p50"]),
        ("scores", "Copies and new combinations", ["memory_new"]),
        ("scores", "Memory", ["memory"]),
    ]


def test_numbers_that_nobody_knows():
    assert found("fid_floor", "fid", "Schedule/lr_G", "Schedule/lr_D", "Loss/aux", "Timing/x") == [
        ("scores", "fid", ["fid", "fid_floor"]),
        ("losses", "Loss/aux", ["Loss/aux"]),
        ("other", "Schedule", ["Schedule/lr_D", "Schedule/lr_G"]),
        ("speed", "Timing/x", ["Timing/x"]),
    ]
    assert arrange([]) == [] and {"scores", "other"} <= GROUPS.keys()


def test_references_and_parts():
    assert all(map(is_reference, ["swd_floor", "swd_split_16", "fid_floor"]))
    assert not any(map(is_reference, ["swd", "floor", "swd_flooring"]))
    assert is_detail("swd_32") and is_detail("swd_floor_16") and not is_detail("swd_floor")
