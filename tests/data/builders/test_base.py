"""Preparing: what is stored, what a kill, a full disk or bad images leave, who waits for whom."""

import json
import os
import signal
import subprocess
import sys
import time

import filelock
import numpy as np
import pytest
import tensorflow_datasets as tfds

from stylegan_jax.data.archives import (
    FolderArchive,
)
from stylegan_jax.data.codecs import decode, encode
from stylegan_jax.data.label_files import read_labels
from stylegan_jax.data.labels import Labels, class_labels, no_labels, parse_labels
from stylegan_jax.data.preparation import shards
from tests.data.arrays import ArrayArchive, images_of, make_builder, open_prepared, prepare


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Four images in a shard."""
    monkeypatch.setattr(shards, "_MAX_SHARD_IMAGES", 4)


@pytest.mark.parametrize("encoding", ["source", "png", "qoi", "raw"])
def test_every_encoding_keeps_every_pixel(tmp_path, encoding):
    archive = ArrayArchive()
    folder = prepare(archive, tmp_path, encoding=encoding)
    np.testing.assert_array_equal(images_of(folder), archive.images)
    assert len(list(folder.glob("*array_record*"))) == 3
    assert not list(tmp_path.rglob("*unfinished*")) and not (tmp_path / "downloads").exists()


@pytest.mark.parametrize(
    ("channels", "dtype"),
    [(1, "uint8"), (2, "uint8"), (2, "uint16"), (4, "uint8"), (3, "uint16"), (6, "uint16")],
)
@pytest.mark.parametrize("encoding", ["source", "raw"])
def test_channels_and_bits_are_kept(tmp_path, channels, dtype, encoding):
    archive = ArrayArchive(channels=channels, dtype=dtype)
    source = open_prepared(prepare(archive, tmp_path, encoding=encoding))
    assert (source.img_channels, source.format.dtype) == (channels, dtype)
    np.testing.assert_array_equal(np.stack(list(source)), archive.images)


def test_files_that_fit_keep_their_bytes(tmp_path):
    archive = ArrayArchive()
    builder = make_builder(archive, tmp_path)
    builder.download_and_prepare()
    skip = {"image": tfds.decode.SkipDecoding()}
    records = builder.as_data_source("train", decoders=skip)
    assert [r["image"] for r in records] == [archive.read(i) for i in range(10)]
    assert [r["name"].decode() for r in records] == archive.names


def test_tfds_reads_what_is_prepared(tmp_path):
    labels = class_labels([i % 2 for i in range(10)], ["even", "odd"])
    archive = ArrayArchive(labels=labels)
    info = tfds.builder_from_directory(prepare(archive, tmp_path)).info
    assert info.full_name == "noise/8/1.0.0" and info.splits["train"].shard_lengths == [4, 4, 2]
    for i, record in enumerate(tfds.data_source("noise/8", data_dir=tmp_path, split="train")):
        np.testing.assert_array_equal(record["image"], archive.images[i])
        assert record["label"] == i % 2


@pytest.mark.parametrize(
    "labels",
    [
        class_labels([2, 0, 1], ["a", "b", "c"]),
        Labels("vectors", np.array([[0.5, 1], [0, 0], [1, 1]], np.float32)),
        parse_labels(["a cat", "ein Hund", "\u732b"]),
        no_labels(3),
    ],
    ids=lambda labels: labels.kind,
)
def test_labels_lie_beside_the_records(tmp_path, labels):
    folder = prepare(ArrayArchive(3, labels=labels), tmp_path / "data")
    found = read_labels(folder, len(labels))
    assert (found.kind, found.class_names) == (labels.kind, labels.class_names)
    assert found.values.tolist() == labels.values.tolist()


def test_fingerprint_is_that_of_the_content(tmp_path):
    archive = ArrayArchive()
    folders = [prepare(archive, tmp_path / e, encoding=e) for e in ("png", "qoi")]
    found = {open_prepared(folder).fingerprint for folder in folders}
    archive.images[3] ^= 1
    found.add(open_prepared(prepare(archive, tmp_path / "other")).fingerprint)
    assert len(found) == 2


def test_bad_images_are_all_listed_and_the_rest_is_kept(tmp_path):
    archive = ArrayArchive(bad=(1, 8))
    with pytest.raises(ValueError, match=r"2 of 10 images.*\n  0001.png: .*damaged.*\n  0008.png"):
        prepare(archive, tmp_path)
    assert not (tmp_path / "noise/8/1.0.0").exists()
    archive.bad, archive.num_reads = (), 0
    folder = prepare(archive, tmp_path)
    # The second shard was whole.
    assert archive.num_reads == 6
    np.testing.assert_array_equal(images_of(folder), archive.images)


def test_bad_images_are_left_out_when_asked(tmp_path):
    labels = class_labels(range(10), [f"class {i}" for i in range(10)])
    archive = ArrayArchive(bad=(1, 4, 5, 6, 7), labels=labels)
    folder = prepare(archive, tmp_path, skip_bad=True)
    kept = [0, 2, 3, 8, 9]
    np.testing.assert_array_equal(images_of(folder), archive.images[kept])
    assert read_labels(folder, len(kept)).values.tolist() == kept
    skipped = json.loads((folder / "skipped.json").read_text())
    assert [name for name, _ in skipped] == [archive.names[i] for i in archive.bad]
    with pytest.raises(ValueError, match="none of the 2 images can be used"):
        prepare(ArrayArchive(2, bad=(0, 1)), tmp_path, skip_bad=True, name="bad")


def test_names_of_any_bytes(tmp_path):
    archive = ArrayArchive(2)
    archive.names = ["\udcff.png", "\u00fc.png"]
    builder = make_builder(archive, tmp_path)
    builder.download_and_prepare()
    assert [record["name"] for record in builder.as_data_source("train")] == [
        b"\xff.png",
        "\u00fc.png".encode(),
    ]


def test_other_labels_are_another_data_set(tmp_path):
    prepare(ArrayArchive(3, labels=class_labels([2, 0, 1], "abc")), tmp_path)
    with pytest.raises(ValueError, match="holds something else .other images or labels"):
        prepare(ArrayArchive(3, labels=class_labels([0, 0, 1], "abc")), tmp_path)


def test_another_data_set_of_the_same_name_is_refused(tmp_path):
    folder = prepare(ArrayArchive(), tmp_path)
    before = images_of(folder)
    with pytest.raises(ValueError, match="holds something else .*encoding: 'source' there, 'qoi'"):
        prepare(ArrayArchive(), tmp_path, encoding="qoi")
    with pytest.raises(ValueError, match="holds something else .*source_images: 10 there, 9"):
        prepare(ArrayArchive(9), tmp_path)
    np.testing.assert_array_equal(images_of(folder), before)


COUNT = 300
SCRIPT = """
import sys
from stylegan_jax.data import prepare
from stylegan_jax.data.preparation import shards
shards._MAX_SHARD_IMAGES = 16
shards._FEW_IMAGES = 0
if __name__ == "__main__":
    source, data_dir, workers = sys.argv[1:]
    prepare("mine", source, size=(64, 64), encoding="png", num_workers=int(workers),
            crop="center-crop", data_dir=data_dir)
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of images that take a while."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    image = rng.integers(256, size=(64, 96, 3)).astype(np.uint8)
    for i in range(COUNT):
        image[0, 0] = i % 256, i // 256, 0
        (folder / f"{i:04d}.png").write_bytes(encode(image, level=1))
    return folder


def start(pictures, data_dir, script=SCRIPT, *, workers=0):
    """Runs the script in a process; workers need it as a file."""
    command = ["-c", script]
    if workers:
        file = data_dir.parent / "prepare_it.py"
        file.write_text(script)
        command = [str(file)]
    return subprocess.Popen(
        [sys.executable, *command, str(pictures), str(data_dir), str(workers)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Waits for a script; returns what it ended with and what it said."""
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def wait_for_shards(data_dir, count, process):
    deadline = time.monotonic() + 60
    while len(list(data_dir.rglob("shard-*.json"))) < count:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def check_whole(pictures, data_dir):
    folder = data_dir / "mine/64/1.0.0"
    source = open_prepared(folder)
    assert len(source) == COUNT
    archive = FolderArchive(pictures)
    for i in (0, 15, 16, 200, COUNT - 1):
        expected = decode(archive.read(i))[:, 16:80]
        np.testing.assert_array_equal(source[i], expected)
    assert sorted(path.name for path in folder.parent.iterdir()) == [".1.0.0.lock", "1.0.0"]


def test_killed_preparation_goes_on(pictures, tmp_path):
    data_dir = tmp_path / "data"
    first = start(pictures, data_dir, workers=2)
    wait_for_shards(data_dir, 3, first)
    first.send_signal(signal.SIGKILL)
    # Its pipe is closed once the workers have ended, too.
    finish(first)
    assert not (data_dir / "mine/64/1.0.0").exists()
    records = list(data_dir.rglob("shard-*.json"))
    kept = {path.with_suffix("").stat().st_ino for path in records}
    assert 3 <= len(kept) < 19
    code, said = finish(start(pictures, data_dir))
    assert code == 0 and "continuing in" in said, said
    check_whole(pictures, data_dir)
    # The shards that were whole got another name, and were not written again.
    assert kept <= {path.stat().st_ino for path in data_dir.rglob("*array_record*")}


def test_script_without_a_guard_does_not_wait_for_itself(pictures, tmp_path):
    unguarded = SCRIPT.replace('if __name__ == "__main__":', "if True:")
    code, said = finish(start(pictures, tmp_path / "data", unguarded, workers=1))
    assert code == 1
    assert "A worker process died" in said and 'under `if __name__ == "' in said


def test_two_at_once_prepare_one(pictures, tmp_path):
    # Both find the lock taken and wait, however slowly they start; then one waits for the other.
    folder = tmp_path / "data/mine/64"
    folder.mkdir(parents=True)
    with filelock.FileLock(folder / ".1.0.0.lock"):
        both = [start(pictures, tmp_path / "data") for _ in range(2)]
        for process in both:
            # Other lines are warnings of libraries; an empty one is the end of the process.
            said = iter(process.stderr.readline, "")
            assert any("another process prepares" in line for line in said)
    for process in both:
        code, said = finish(process)
        assert code == 0, said
    check_whole(pictures, tmp_path / "data")


def test_full_disk(pictures, tmp_path):
    # RLIMIT_FSIZE refuses more bytes of a file, as a full disk does.
    limited = (
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
    ) + SCRIPT.replace("_MAX_SHARD_IMAGES = 16", f"_MAX_SHARD_IMAGES = {COUNT}")
    code, said = finish(start(pictures, tmp_path / "data", limited))
    assert code == 1
    assert f"0 of {COUNT} images are done and kept: make room and run the same" in said
    assert not (tmp_path / "data/mine/64/1.0.0").exists()
    assert not list((tmp_path / "data").rglob("*.partial"))


def test_channels_that_say_nothing_are_told(tmp_path, capfd):
    archive = ArrayArchive(channels=4)
    archive.images[..., 3] = 255
    prepare(archive, tmp_path)
    assert capfd.readouterr().err.startswith("NOTE: all 10 images have an alpha channel that is op")
