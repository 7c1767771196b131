"""CelebA-HQ: folders of images, TFRecords, and what cannot be read."""

import numpy as np
import pytest

from stylegan_jax.data.archives import ArchiveError
from stylegan_jax.data.builders import DATASET_SPECS, celebahq
from tests.data import foreign

N = 6
SMALL, LARGE = foreign.drawings(N, 16), foreign.drawings(N, 32)
# Thousand-folders in small: two images each.
NUMBERED = [f"{index // 2 * 2:05d}/{index:05d}.png" for index in range(N)]


def test_celebahq(tmp_path, monkeypatch):
    monkeypatch.setattr(celebahq, "COUNT", N)
    foreign.write_folder(tmp_path / "mask" / "CelebA-HQ-img", LARGE, [f"{i}.jpg" for i in range(N)])
    foreign.write_folder(tmp_path / "plain", LARGE, NUMBERED)
    foreign.write_tfrecords(tmp_path / "tf", "celebahq", LARGE)
    for folder in ("mask", "plain", "tf"):
        archive = DATASET_SPECS["celebahq"].open(tmp_path / folder, "", (32, 32))
        assert archive.name == "celebahq" and len(archive) == N
    monkeypatch.setattr(celebahq, "COUNT", N + 1)
    with pytest.raises(ArchiveError, match="has 6 of 7 images.*allow_partial"):
        DATASET_SPECS["celebahq"].open(tmp_path / "plain", "", (32, 32))
    monkeypatch.setattr(celebahq, "COUNT", N - 1)
    with pytest.raises(ArchiveError, match="has 6 images, but only 5 were published"):
        DATASET_SPECS["celebahq"].open(tmp_path / "plain", "", (32, 32), allow_partial=True)
    np.save(tmp_path / "imgHQ00000.npy", np.moveaxis(LARGE[:1], 3, 1))
    (tmp_path / "npy").mkdir()
    (tmp_path / "imgHQ00000.npy").rename(tmp_path / "npy" / "imgHQ00000.npy")
    with pytest.raises(ArchiveError, match="has 1 of 5 images(.|\n)*NumPy files .* will not"):
        DATASET_SPECS["celebahq"].open(tmp_path / "npy", "", (32, 32))
