"""CIFAR-10: found packed and unpacked."""

import numpy as np

from stylegan_jax.data.builders import DATASET_SPECS, cifar10
from tests.data import foreign


def test_cifar10(tmp_path, monkeypatch):
    images = foreign.drawings(12, 32)
    files = foreign.cifar_batches(images, [i % 10 for i in range(12)])
    foreign.write_cifar10(tmp_path / "cifar-10-python.tar.gz", files)
    unpacked = tmp_path / "unpacked" / "cifar-10-batches-py"
    unpacked.mkdir(parents=True)
    for name, content in files.items():
        (unpacked / name).write_bytes(content)
    monkeypatch.setattr(cifar10, "COUNT", 10)
    for path in (tmp_path, tmp_path / "cifar-10-python.tar.gz", tmp_path / "unpacked", unpacked):
        archive = DATASET_SPECS["cifar10"].open(path, "", (32, 32))
        assert archive.labels.values.tolist() == list(range(10))
        np.testing.assert_array_equal(archive.read_pixels(9), images[9])
