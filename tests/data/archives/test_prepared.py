"""Prepared data sets: by the builder of ours and by TFDS alone, whole and damaged."""

import io
import json
import os

import numpy as np
import pytest
import tensorflow_datasets as tfds

from stylegan_jax.data import ImageSource
from stylegan_jax.data.archives import (
    ArchiveError,
    PreparedArchive,
)
from stylegan_jax.data.builders.base import quiet_tfds
from stylegan_jax.data.codecs import encode
from stylegan_jax.data.labels import class_labels
from tests.data.arrays import ArrayArchive, open_prepared, prepare


def test_damaged_labels(tmp_path):
    folder = prepare(ArrayArchive(3, labels=class_labels([2, 0, 1], "abc")), tmp_path)
    (folder / "labels.json").write_text("{")
    with pytest.raises(ArchiveError, match="labels.json is damaged .* prepare it again"):
        open_prepared(folder)


def test_labels_as_the_first_releases_wrote_them(tmp_path):
    labels = class_labels([2, 0, 1], "abc")
    folder = prepare(ArrayArchive(3, labels=labels), tmp_path)
    expected = open_prepared(folder, labels=True)
    (folder / "labels.npy").unlink()
    content = {"kind": "classes", "class_names": ["a", "b", "c"], "values": [2, 0, 1]}
    (folder / "labels.json").write_text(json.dumps(content))
    source = open_prepared(folder, labels=True)
    assert source.labels.values.tolist() == [2, 0, 1] and source.class_names == ("a", "b", "c")
    assert source.fingerprint == expected.fingerprint


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json", "metadata.json"])
def test_damaged_metadata(tmp_path, file):
    folder = prepare(ArrayArchive(3), tmp_path)
    (folder / file).write_text("{")
    with pytest.raises(ArchiveError, match="damaged metadata .* prepare it again"):
        PreparedArchive(folder)


@pytest.mark.parametrize("encoding", ["source", "raw"])
def test_damaged_records_are_named(tmp_path, encoding):
    folder = prepare(ArrayArchive(3), tmp_path, encoding=encoding)
    (shard,) = folder.glob("*array_record*")
    content = bytearray(shard.read_bytes())
    content[content.index(b"0000.png")] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ArchiveError, match="record 0.: damaged .* prepare it again"):
        open_prepared(folder)[0]


def test_what_tfds_alone_wrote_is_read(tmp_path):
    archive = ArrayArchive(3, labels=class_labels([2, 0, 1], "abc"))
    folder = prepare(archive, tmp_path)
    for file in ("metadata.json", "labels.json"):
        (folder / file).unlink()
    source = open_prepared(folder, labels=True)
    np.testing.assert_array_equal(np.stack(list(source)), archive.images)
    assert source.labels.values.tolist() == [2, 0, 1] and source.class_names == ("a", "b", "c")


@pytest.mark.parametrize("as_file", [True, False])
def test_data_set_by_tfds_alone(tmp_path, rng, as_file):
    pixels = rng.integers(256, size=(5, 8, 8, 3), dtype=np.uint8)

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name, VERSION = "alone", tfds.core.Version("1.0.0")
        code_path = None  # nothing is downloaded

        def _info(self):
            image = tfds.features.Image(shape=(8, 8, 3), encoding_format="png")
            image = image if as_file else tfds.features.Tensor(shape=(8, 8, 3), dtype=np.uint8)
            label = tfds.features.ClassLabel(names=["cat", "dog"])
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for index, image in enumerate(pixels):
                stored = io.BytesIO(encode(image)) if as_file else image
                yield index, {"image": stored, "label": index % 2}

    with quiet_tfds():
        Builder(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    source = ImageSource(PreparedArchive(tmp_path / "alone" / "1.0.0"), labels=True)
    np.testing.assert_array_equal([source[i] for i in range(5)], pixels)
    assert source.labels.values.tolist() == [0, 1, 0, 1, 0]


def test_folder_without_a_prepared_data_set(tmp_path):
    with pytest.raises(ValueError, match="holds no prepared data set"):
        PreparedArchive(tmp_path)


def test_split_that_does_not_exist(tmp_path):
    with pytest.raises(ValueError, match="no split 'test', only train"):
        PreparedArchive(prepare(ArrayArchive(3), tmp_path), split="test")


@pytest.mark.parametrize(
    "noted",
    [
        {"height": "8", "width": 8, "channels": 3},
        {"height": 8, "width": 8, "channels": 17},
        {"height": 8, "width": 0, "channels": 3},
        {"height": 8, "width": 8, "channels": 3, "dtype": "object"},
        {"side": 8},
        [8, 8, 3],
        8,
    ],
)
def test_metadata_of_no_format(tmp_path, noted):
    folder = prepare(ArrayArchive(3), tmp_path)
    metadata = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(metadata | {"format": noted}))
    with pytest.raises(ArchiveError, match="damaged metadata .images of the format"):
        open_prepared(folder)


def test_what_is_no_file_in_a_prepared_folder(tmp_path):
    folder = prepare(ArrayArchive(3), tmp_path)
    (folder / "labels.json").unlink()
    os.mkfifo(folder / "labels.json")
    with pytest.raises(ArchiveError, match="labels.json is not a file"):
        open_prepared(folder)
