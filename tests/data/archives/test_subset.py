"""Parts of archives."""

import pickle

from stylegan_jax.data.archives import (
    SubsetArchive,
    open_archive,
)
from stylegan_jax.data.labels import class_labels
from tests.data import foreign

N, PX = 7, 16
IMAGES = foreign.drawings(N, PX)
NAMES = [f"{index:05d}.png" for index in range(N)]


def folder(path):
    foreign.write_folder(path / "images", IMAGES, NAMES)
    return path / "images"


def test_subset(tmp_path):
    whole = open_archive(folder(tmp_path))
    part = SubsetArchive(whole, [5, 0, 2], labels=class_labels([1, 0, 1], ["a", "b"]))
    assert part.names == [NAMES[5], NAMES[0], NAMES[2]] and part.where(0) == whole.where(5)
    foreign.assert_holds(pickle.loads(pickle.dumps(part)), IMAGES[[5, 0, 2]])
    assert part.labels.values.tolist() == [1, 0, 1]
    assert SubsetArchive(whole, [0]).labels.kind == "none"
    assert part.identity() != SubsetArchive(whole, [0, 5, 2]).identity()
