import jax
import pytest

from stylegan_jax.ops import formulation
from stylegan_jax.ops.formulation import FORMULATIONS, platform_formulation


@pytest.mark.parametrize(
    ("platform", "size", "channels", "packing"),
    [
        ("tpu", (1024, 1024), 32, (2, 2)),
        ("tpu", (512, 512), 64, (1, 2)),
        ("tpu", (64, 64), 128, (1, 1)),
        ("tpu", (1024, 1792), 32, (2, 2)),
        # Four pixels at most, and no small maps.
        ("tpu", (1024, 1024), 8, (2, 2)),
        ("tpu", (4, 4), 32, (1, 1)),
        ("tpu", (7, 64), 32, (1, 1)),
        # What does not divide a side does not pack it.
        ("tpu", (9, 10), 32, (1, 2)),
        ("tpu", (10, 9), 32, (1, 1)),
        ("cpu", (1024, 1024), 32, (1, 1)),
    ],
)
def test_few_channels_are_packed(platform, size, channels, packing):
    assert FORMULATIONS[platform].packing(size, channels) == packing


@pytest.mark.parametrize(
    ("size", "packing", "wanted"),
    [
        ((1024, 1024), (2, 2), (2, 16)),
        ((64, 64), (1, 1), (1, 8)),
        ((16, 16), (1, 1), (1, 2)),
        ((16, 64), (1, 1), (1, 8)),
        ((64, 36), (1, 1), (1, 4)),
    ],
)
def test_images_are_packed_along_rows(size, packing, wanted):
    """Three colours become 96 of 128 channels, while eight columns stay."""
    assert FORMULATIONS["tpu"].image_packing(size, 3, packing) == wanted


@pytest.mark.parametrize(
    ("backend", "wanted"), [("cpu", "cpu"), ("tpu", "tpu"), ("gpu", "gpu"), ("rocm", "gpu")]
)
def test_the_default_is_the_platforms(monkeypatch, backend, wanted):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert platform_formulation() is FORMULATIONS[wanted]


def test_sides_decide():
    tpu = FORMULATIONS["tpu"]
    assert [tpu.folds(side) for side in (256, 512)] == [False, True]
    assert [tpu.recomputes(side) for side in (512, 1024)] == [False, True]
    short = formulation.Formulation(
        packed_channels=0, max_packing=1, folded_from=None, matrix_up_to=16, longer_fir="shifts"
    )
    assert [short.fir(side) for side in (16, 17)] == ["matrix", "shifts"]
    assert not short.folds(4096) and not short.recomputes(4096)
