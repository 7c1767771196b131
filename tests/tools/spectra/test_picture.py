"""Heat maps and curves."""

import numpy as np

from stylegan_jax.metrics.spectrum import make_profiles
from stylegan_jax.tools.spectra.picture import decibels, draw_spectra, heat_map


def test_heat_maps_have_steps_of_five_decibels():
    levels = [heat_map(np.full((8, 8), 10 ** (db / 10)))[0, 0].tolist() for db in
              (-90, -39, -36, -34, 2, 16, 60)]  # fmt: skip
    assert levels[0] == levels[1] == levels[2] and levels[2] != levels[3]
    assert levels[5] == levels[6] == [255, 255, 230]
    assert sum(levels[3]) < sum(levels[4]) < sum(levels[5])
    assert decibels(np.array([100, 0])).tolist() == [20, -200]


def test_a_picture_of_both(rng):
    flat = np.ones((48, 32)) + 0.01 * rng.random((48, 32))
    spectra = {"reals": flat, "fakes": flat / 100}
    profiles = {name: make_profiles(spectrum) for name, spectrum in spectra.items()}
    picture = draw_spectra(spectra, profiles)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    # The maps have the colours of 0 and -20 dB.
    maps = [heat_map(spectrum)[0, 0] for spectrum in spectra.values()]
    for colour in maps:
        assert np.sum(np.all(picture == colour, axis=-1)) > 320 * 200
    # Both curves are drawn in each of four plots.
    for colour in ((0x1F, 0x6F, 0xB4), (0xD9, 0x54, 0x1E)):
        columns = np.flatnonzero(np.any(np.all(picture == colour, axis=-1), axis=0))
        assert np.sum(np.diff(columns) > 20) >= 2 and len(columns) > 3 * 200
