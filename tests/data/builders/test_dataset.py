"""Facts of the published data sets: complete, and told where files are missing."""

import pytest

from stylegan_jax.data.archives import ArchiveError
from stylegan_jax.data.builders import DATASET_SPECS
from stylegan_jax.data.preparation.transforms import CROPS

FETCHED = {name: spec for name, spec in DATASET_SPECS.items() if name != "openmoji"}


def test_registry_is_complete():
    assert set(FETCHED) == {"ffhq", "ffhq_u", "lsun", "celebahq", "afhqv2", "cifar10"}
    for name, spec in FETCHED.items():
        assert spec.name == name
        for variant in spec.variants or ("",):
            assert spec.default_crop(variant) in CROPS
            assert spec.resolve_variant(variant) == variant
        assert spec.homepage.startswith("https://") and spec.homepage.count("//") == 1
        assert spec.citation.startswith("@") and "https://" in spec.fetch
        assert 4 <= spec.resolutions[0] < spec.resolutions[1] <= 1024


def test_squares_have_their_usual_crop_and_other_shapes_the_largest_part():
    assert FETCHED["lsun"].choose_crop("car", (512, 512)) == "center-crop-wide"
    for spec in FETCHED.values():
        for variant in spec.variants or ("",):
            assert spec.choose_crop(variant, (64, 64)) == spec.default_crop(variant)
            assert {spec.choose_crop(variant, size) for size in ((48, 32), (32, 48))} == {
                "center-crop"
            }


@pytest.mark.parametrize("name", list(FETCHED))
def test_missing_files_are_explained(tmp_path, name):
    spec = DATASET_SPECS[name]
    variant = spec.variants[0] if spec.variants else ""
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ArchiveError) as error:
            spec.open(path, variant, (64, 64))
        assert str(path) in str(error.value) and spec.fetch in str(error.value)


def test_variants_are_checked():
    with pytest.raises(ValueError, match="lsun has no variant 'elephant'; choose one of bedroom,"):
        DATASET_SPECS["lsun"].resolve_variant("elephant")
    with pytest.raises(ValueError, match="lsun has no variant ''; choose"):
        DATASET_SPECS["lsun"].resolve_variant("")
    with pytest.raises(ValueError, match="ffhq has no variants, got 'x': write ffhq"):
        DATASET_SPECS["ffhq"].resolve_variant("x")
