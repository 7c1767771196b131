"""The part of `bench_data` that needs TensorFlow, and how both parts measure.

Runs alone, with nothing of ours, in an interpreter that need only have TensorFlow:
`python bench_data_tf.py FOLDER BATCH_SIZE SECONDS` prints JSON.
"""

import json
import multiprocessing
import os
import pathlib
import sys
import time

# What any pipeline has read ahead is used up, and its threads are all at work, by then.
WARM_UP_SEC = 1.0


def measure(batches, batch_size: int, seconds: float) -> tuple[float, float]:
    """Images per second, and CPU milliseconds per image of this process and its children.

    Args:
        batches: An endless iterator.
        batch_size: Images in each.
        seconds: How long to read, at least; much longer than what is read ahead takes.
    """
    wanted = WARM_UP_SEC
    for _ in range(2):
        start, cpu, count = time.perf_counter(), _cpu_seconds(), 0
        while (elapsed := time.perf_counter() - start) < wanted:
            next(batches)
            count += batch_size
        wanted = seconds
    return count / elapsed, 1000 * (_cpu_seconds() - cpu) / count


def _cpu_seconds() -> float:
    """CPU time of this process and its children that live."""
    total = time.process_time()
    for child in multiprocessing.active_children():
        stat = pathlib.Path(f"/proc/{child.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return total


def main(folder: str, batch_size: int, seconds: float) -> None:
    """Measures every way of tf.data."""
    import tensorflow as tf

    files = sorted(str(path) for path in pathlib.Path(folder).glob("*.png"))
    records = f"{folder}.tfrecords"
    if not os.path.exists(records):
        with tf.io.TFRecordWriter(records) as writer:
            for path in files:
                writer.write(pathlib.Path(path).read_bytes())

    def decode(encoded):
        return tf.image.random_flip_left_right(tf.io.decode_png(encoded, channels=3))

    ways = {
        "PNG files": tf.data.Dataset.from_tensor_slices(files).repeat().map(tf.io.read_file),
        "PNG in TFRecords": tf.data.TFRecordDataset(records).repeat(),
    }
    results = {}
    for name, encoded in ways.items():
        for parallel, words in ((1, "1 at a time"), (tf.data.AUTOTUNE, "AUTOTUNE")):
            batches = encoded.map(decode, num_parallel_calls=parallel).batch(batch_size)
            batches = iter(batches.prefetch(parallel).as_numpy_iterator())
            results[f"tf.data, {name}, {words}"] = measure(batches, batch_size, seconds)
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
