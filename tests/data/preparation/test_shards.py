"""Shards: which images each has, and which are written again."""

import os

import pytest

from stylegan_jax.data.archives import (
    open_archive,
)
from stylegan_jax.data.preparation import shards
from stylegan_jax.data.preparation.records import (
    Recipe,
)
from stylegan_jax.data.preparation.shards import plan_shards, write_shards
from stylegan_jax.data.preparation.transforms import Transform
from tests.data import foreign
from tests.data.arrays import RESOLUTION, ArrayArchive


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Four images in a shard."""
    monkeypatch.setattr(shards, "_MAX_SHARD_IMAGES", 4)


def test_changed_images_are_written_again(tmp_path):
    archive, recipe = ArrayArchive(), Recipe(Transform((RESOLUTION, RESOLUTION)), 3)
    write_shards(archive, tmp_path, recipe)
    archive.num_reads = 0
    write_shards(archive, tmp_path, recipe)
    assert archive.num_reads == 0
    archive.sizes[5] += 1
    write_shards(archive, tmp_path, recipe)
    assert archive.num_reads == 4
    (tmp_path / "shard-00002.json").write_text("{")
    write_shards(archive, tmp_path, recipe)
    assert archive.num_reads == 6
    write_shards(archive, tmp_path, Recipe(Transform((RESOLUTION, RESOLUTION)), 3, encoding="qoi"))
    assert archive.num_reads == 16


def test_images_of_equal_size_are_told_apart(tmp_path):
    names, images = ["0.bmp", "1.bmp"], foreign.drawings(3, RESOLUTION)
    recipe = Recipe(Transform((RESOLUTION, RESOLUTION)), 3)
    foreign.write_folder(tmp_path / "a", images[:2], names)
    ((_, before),) = write_shards(open_archive(tmp_path / "a"), tmp_path / "work", recipe)
    foreign.write_folder(tmp_path / "a", images[1:], names)
    os.utime(tmp_path / "a/1.bmp", ns=(1, 1))  # whatever the clock's resolution
    ((_, after),) = write_shards(open_archive(tmp_path / "a"), tmp_path / "work", recipe)
    assert before.digests != after.digests


def test_shards_depend_on_the_data_alone():
    parts = plan_shards(ArrayArchive(10), Recipe(Transform((RESOLUTION, RESOLUTION)), 3))
    assert parts == [range(0, 4), range(4, 8), range(8, 10)]
