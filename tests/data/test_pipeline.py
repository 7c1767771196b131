"""The pipeline: every batch is a function of seed and image count, whoever reads it."""

import itertools
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from stylegan_jax.data import ImageSource
from stylegan_jax.data.archives import Archive
from stylegan_jax.data.codecs import ImageFormat
from stylegan_jax.data.labels import Labels, class_labels
from stylegan_jax.data.pipeline import fixed_batch, make_dataset, make_iterator

SIZE = 10
PARITY = class_labels(np.arange(SIZE) % 2, ["even", "odd"])


class NumberedArchive(Archive):
    """Image i is filled with i in its left half and with 100 + i in its right half."""

    name = "numbered"
    dtype = "uint8"
    _labels = PARITY

    def __init__(self):
        self.names = [f"image {index}" for index in range(SIZE)]
        self.sizes = [16] * SIZE

    def read(self, index):
        image = np.full((4, 4, 1), index, self.dtype)
        image[:, 2:] += 100
        return image

    def read_format(self, index):
        return ImageFormat(4, 4, 1, self.dtype)

    def _read_labels(self):
        return self._labels


def make_source(archive=NumberedArchive, labels=True):
    return ImageSource(archive(), labels=labels)


def numbers_and_flips(batches):
    """The image numbers of some batches, and which images are mirrored."""
    corners = np.concatenate([batch["image"][:, 0, 0, 0] for batch in batches]).astype(int)
    return corners % 100, corners >= 100


def take(count, source=None, **options):
    dataset = make_dataset(source or make_source(), **{"batch_size": 4, "seed": 0, **options})
    return [dataset[i] for i in range(count)]


def assert_equal_batches(actual, expected):
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected):
        np.testing.assert_array_equal(a["image"], b["image"])
        np.testing.assert_array_equal(a["label"], b["label"])


def test_shapes_and_types():
    (batch,) = take(1)
    assert batch["image"].shape == (4, 4, 4, 1) and batch["image"].dtype == np.uint8
    assert batch["label"].shape == (4, 2) and batch["label"].dtype == np.float32
    (batch,) = take(1, make_source(labels=False))
    assert batch["label"].shape == (4, 0) and batch["label"].dtype == np.float32


def test_every_epoch_is_another_permutation():
    numbers, _ = numbers_and_flips(take(15))  # 6 epochs; batches of 4 reach across their ends
    epochs = numbers.reshape(6, SIZE)
    assert (np.sort(epochs, axis=1) == np.arange(SIZE)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_order_depends_on_the_seed():
    numbers, flips = numbers_and_flips(take(5, seed=0))
    assert not flips.any()
    other, _ = numbers_and_flips(take(5, seed=1))
    assert (other != numbers).any()


def test_an_epoch_with_mirroring_has_every_image_both_ways():
    numbers, flips = numbers_and_flips(take(15, mirror=True))  # 3 epochs of 20
    both = (numbers + SIZE * flips).reshape(3, 2 * SIZE)
    assert (np.sort(both, axis=1) == np.arange(2 * SIZE)).all()
    assert len({tuple(epoch) for epoch in both}) == 3


def test_16_bits_stay_16_bits():
    class DeepArchive(NumberedArchive):
        dtype = "uint16"

        def read(self, index):
            return super().read(index) * np.uint16(300)

    (batch,) = take(1, make_source(DeepArchive))
    assert batch["image"].dtype == np.uint16 and batch["image"].max() > 30_000
    (small,) = take(1, make_source(DeepArchive), size=(2, 2))
    np.testing.assert_array_equal(small["image"], batch["image"][:, ::2, ::2])


def test_label_vectors_are_used_as_they_are():
    class VectorArchive(NumberedArchive):
        _labels = Labels("vectors", np.arange(3 * SIZE, dtype=np.float32).reshape(SIZE, 3))

    (batch,) = take(1, make_source(VectorArchive))
    numbers, _ = numbers_and_flips([batch])
    np.testing.assert_array_equal(batch["label"][:, 0], 3 * numbers)
    assert batch["label"].shape == (4, 3)


def test_labels_belong_to_their_images():
    batches = take(10, mirror=True)
    numbers, _ = numbers_and_flips(batches)
    labels = np.concatenate([batch["label"] for batch in batches])
    np.testing.assert_array_equal(labels, np.eye(2)[numbers % 2])


@pytest.mark.parametrize("step", [1, 7, 12])
def test_resumed_at_a_step_the_batches_are_equal(step):
    assert_equal_batches(take(5, mirror=True, start=4 * step), take(step + 5, mirror=True)[step:])


def test_a_step_far_ahead_is_reached_at_once():
    (batch,) = take(1, start=4 * 10**9)
    assert batch["image"].shape == (4, 4, 4, 1)


@pytest.mark.parametrize("process_count", [1, 2, 4])
@pytest.mark.parametrize("start", [0, 24])
def test_any_number_of_processes_reads_the_same_batches(process_count, start):
    shares = [
        take(6, batch_size=8, mirror=True, start=start, rows=rows)
        for rows in np.arange(8).reshape(process_count, -1)
    ]
    joined = [
        {key: np.concatenate([share[key] for share in parts]) for key in ("image", "label")}
        for parts in zip(*shares)
    ]
    assert_equal_batches(joined, take(6, batch_size=8, mirror=True, start=start))


def test_batches_of_other_sizes_go_on_where_the_last_one_ended():
    (first,) = take(1, mirror=True)
    (second,) = take(1, mirror=True, start=4, batch_size=6)
    (both,) = take(1, mirror=True, batch_size=10)
    for name in both:
        joined = np.concatenate([first[name], second[name]])
        np.testing.assert_array_equal(joined, both[name])


def test_smaller_images_are_rounded_means_of_squares():
    class HalvesArchive(NumberedArchive):
        def read(self, index):
            return np.asarray([[0, 1, 3, 3], [1, 1, 3, 4]] * 2, np.uint8)[..., None]

    (batch,) = take(1, make_source(HalvesArchive), batch_size=1, size=(2, 2))
    # Means 0.75 and 3.25.
    np.testing.assert_array_equal(batch["image"][0, :, :, 0], [[1, 3], [1, 3]])
    assert batch["image"].dtype == np.uint8


@pytest.mark.parametrize("mirror", [False, True])
def test_batches_of_images_that_are_not_square(mirror):
    class WideArchive(NumberedArchive):
        def read(self, index):
            return np.arange(8 * 12, dtype=np.uint8).reshape(8, 12, 1) + np.uint8(index)

        def read_format(self, index):
            return ImageFormat(8, 12, 1)

    source = make_source(WideArchive)
    (whole,) = take(1, source, mirror=mirror)
    (small,) = take(1, source, mirror=mirror, size=(4, 6))
    assert whole["image"].shape == (4, 8, 12, 1) and small["image"].shape == (4, 4, 6, 1)
    means = whole["image"].reshape(4, 4, 2, 6, 2, 1).astype(float).mean((2, 4))
    # Exact means end in .5, which is rounded to the even number.
    np.testing.assert_array_equal(small["image"], np.rint(means))
    np.testing.assert_array_equal(fixed_batch(source, [3])["image"][0], source[3])
    for size in ((4, 12), (8, 6), (3, 4), (16, 24), (0, 0), (-8, -12)):
        with pytest.raises(ValueError, match="wanted the source's 8x12 divided by a whole number"):
            take(1, source, size=size)


def test_batch_larger_than_the_data_set():
    numbers, _ = numbers_and_flips(take(1, batch_size=3 * SIZE))
    assert (np.bincount(numbers) == 3).all()


@pytest.mark.parametrize("num_threads", [None, 1, 5])
def test_iterator_reads_in_order(num_threads):
    dataset = make_dataset(make_source(), batch_size=4, seed=0, mirror=True, start=8)
    batches = list(itertools.islice(make_iterator(dataset, num_threads=num_threads), 20))
    assert_equal_batches(batches, take(22, mirror=True)[2:])


READ = """
import hashlib, itertools, multiprocessing, sys, time
from absl import flags
from stylegan_jax.data import make_dataset, make_iterator, open_source

def digest(iterator):
    digest = hashlib.sha256()
    for batch in itertools.islice(iterator, 40):
        digest.update(batch["image"].tobytes() + batch["label"].tobytes())
    return digest.hexdigest()

def main():
    source = open_source("openmoji/flags", size=(8, 8), data_dir=sys.argv[1])
    dataset = make_dataset(source, batch_size=4, seed=0, mirror=True)
    print(digest(make_iterator(dataset)))
    iterator = make_iterator(dataset, num_workers=2)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    input()
    print(digest(iterator), flush=True)
    if sys.argv[2] == "waits":
        time.sleep(60)

if __name__ == "__main__":
    flags.FLAGS.mark_as_parsed()
    main()
"""


def is_running(pid):
    """Whether there is such a process, and it is no corpse that waits for its parent."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("end", ["returns", "waits"])
def test_workers_read_the_same_batches_and_end_with_their_parent(tmp_path, end):
    """Ctrl-C and a hang-up reach them, too: they go on until the run has saved."""
    script = tmp_path / "read.py"
    script.write_text(READ)
    reader = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), end],
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    alone = reader.stdout.readline()
    workers = [int(pid) for pid in reader.stdout.readline().split()]
    assert len(workers) == 2 and all(map(is_running, workers))
    for pid, number in itertools.product(workers, (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)):
        os.kill(pid, number)
    reader.stdin.write("\n")
    reader.stdin.flush()
    assert reader.stdout.readline() == alone != ""
    if end == "waits":
        reader.kill()
    _, errors = reader.communicate(timeout=60)
    assert reader.returncode == (0 if end == "returns" else -signal.SIGKILL)
    assert "Traceback" not in errors, errors

    deadline = time.monotonic() + 10
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)


def test_data_set_survives_pickling():
    dataset = make_dataset(make_source(), batch_size=4, seed=0, mirror=True)
    sent = pickle.loads(pickle.dumps(dataset))
    assert_equal_batches([sent[i] for i in range(3)], take(3, mirror=True))


def test_error_of_the_source_reaches_the_reader():
    class DamagedArchive(NumberedArchive):
        def read(self, index):
            return b"no image"

    dataset = make_dataset(make_source(DamagedArchive), batch_size=4, seed=0)
    with pytest.raises(ValueError, match="image .: not a readable image"):
        next(make_iterator(dataset))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"rows": []}, "rows are .., wanted some of 0 to 3"),
        ({"rows": [0, 4]}, "rows are .0, 4., wanted some of 0 to 3"),
        ({"seed": -1}, "seed is -1"),
        ({"start": -1}, "start is -1"),
        ({"size": (3, 3)}, "size is 3, wanted the source's 4 divided by a whole number"),
    ],
)
def test_numbers_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        take(1, **options)


def test_fixed_batch_is_what_was_asked_for():
    batch = fixed_batch(make_source(), [7, 0, 7])
    numbers, flips = numbers_and_flips([batch])
    assert numbers.tolist() == [7, 0, 7] and not flips.any()
    np.testing.assert_array_equal(batch["label"], [[0, 1], [1, 0], [0, 1]])
    assert fixed_batch(make_source(labels=False), np.arange(3))["label"].shape == (3, 0)


def test_fixed_batch_of_nothing():
    with pytest.raises(ValueError, match="at least one index"):
        fixed_batch(make_source(), [])
