"""What reading images costs: the training pipeline by encoding and workers, and tf.data beside it.

    python -m benchmarks.bench_data [--resolutions=256,1024] [--images=N] [--repeats=3] \
        [--seconds=3] [--tensorflow_python=/path/to/python]

The images are synthetic, and compress as photographs that keep their grain do: noise of spectrum
1/f^1.2, strong in brightness and weak in colour, half covered by plain ellipses, with a sensor's
noise over all. As PNG they take about 142 KiB at 256 px and 2.1 MiB at 1024. 64 of them stand under
as many names as make the data set larger than the cache of decoded images, so that every image is
read and decoded. Files stay in the system's page cache: disks are not measured.

Prints a Markdown table: images per second (median, and least to most, of the repeats) and CPU
milliseconds per image, of this process and its workers together. Every repeat measures all ways one
after another, so that a busy machine disturbs all alike. tf.data reads the very same PNG files, and
the same bytes from one TFRecord file, decodes, mirrors, batches and prefetches; it does not
shuffle. It needs an interpreter that has TensorFlow, given as `--tensorflow_python`, and is left
out without. Linux only, where CPU times of workers can be read.
"""

import argparse
import collections
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import imagecodecs
import numpy as np
from absl import flags
from PIL import Image, ImageDraw

from benchmarks import bench_data_tf
from stylegan_jax.data import make_dataset, make_iterator, open_source, prepare, sources

BATCH_SIZE = 16
PICTURES = 64
# A folder's PNG files are kept as they are: what tf.data reads.
ENCODINGS = {"PNG": "source", "QOI": "qoi", "raw": "raw"}
WORKERS = (0, 1, 2)
TF_DATA = "tf.data, PNG files, 1 at a time"
Result = tuple[float, float]


def make_picture(side: int, seed: int) -> np.ndarray:
    """A synthetic photograph, uint8 [side, side, 3]."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = np.inf  # no mean
    spectrum = np.fft.rfft2(rng.normal(size=(4, side, side))) / frequency**1.2
    fields = np.moveaxis(np.fft.irfft2(spectrum, s=(side, side)), 0, -1)
    fields /= fields.std(axis=(0, 1))
    image = 120 + 45 * (fields[..., :1] + 0.25 * fields[..., 1:])
    drawing = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(drawing)
    for _ in range(8):
        left, top, width, height = rng.uniform(0, side, 4)
        colour = (*rng.integers(256, size=3).tolist(), 160)
        draw.ellipse((left, top, left + width / 2, top + height / 2), fill=colour)
    colours, alpha = np.split(np.asarray(drawing, np.float64), [3], axis=2)
    image += (colours - image) * alpha / 255
    image += rng.normal(scale=2, size=(side, side, 1)) + rng.normal(scale=0.6, size=image.shape)
    return np.ascontiguousarray(np.rint(image).clip(0, 255).astype(np.uint8))


def write_folder(folder: pathlib.Path, side: int, count: int) -> None:
    """Writes PNG files, of which all but the first few are links to these."""
    folder.mkdir()
    for index in range(count):
        path = folder / f"{index:06d}.png"
        if index < PICTURES:
            path.write_bytes(imagecodecs.png_encode(make_picture(side, index)))
        else:
            os.link(folder / f"{index % PICTURES:06d}.png", path)


def smallest_uncached(side: int) -> int:
    """Number of images that do not fit in the cache of decoded images."""
    return sources.CACHE_LIMIT_BYTES // (3 * side * side) + 1


@contextlib.contextmanager
def reading(data_dir: pathlib.Path, name: str, side: int, workers: int) -> Iterator[Iterator]:
    """Batches by the pipeline of training."""
    source = open_source(name, size=(side, side), data_dir=data_dir)
    dataset = make_dataset(source, batch_size=BATCH_SIZE, seed=0, mirror=True)
    batches = make_iterator(dataset, num_workers=workers)
    try:
        yield (batch["image"] for batch in batches)
    finally:
        batches.close()


def measure_ours(data_dir: pathlib.Path, side: int, seconds: float) -> dict[str, Result]:
    """Images per second and CPU milliseconds per image, by encoding and number of workers."""
    results = {}
    for encoding in ENCODINGS:
        for workers in WORKERS:
            with reading(data_dir, encoding.lower(), side, workers) as batches:
                result = bench_data_tf.measure(batches, BATCH_SIZE, seconds)
            results[f"{encoding}, {workers} workers"] = result
    return results


def measure_tf_data(python: str, folder: pathlib.Path, seconds: float) -> dict[str, Result]:
    """The same of tf.data, in a process of its own."""
    command = [python, bench_data_tf.__file__, str(folder), str(BATCH_SIZE), str(seconds)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def print_rows(side: int, repeats: dict[str, list[Result]]) -> None:
    """The part of the table for one resolution."""
    costs = {name: np.median([cost for _, cost in found]) for name, found in repeats.items()}
    for name, found in repeats.items():
        rates = sorted(rate for rate, _ in found)
        times = sorted(cost for _, cost in found)
        ratios = [f"{costs['PNG, 0 workers'] / costs[name]:.2f}"]
        ratios.append(f"{costs[TF_DATA] / costs[name]:.2f}" if TF_DATA in costs else "")
        cells = [
            f"{side} px, {name}",
            f"{np.median(rates):.0f} ({rates[0]:.0f} to {rates[-1]:.0f})",
        ]
        cells.append(f"{np.median(times):.2f} ({times[0]:.2f} to {times[-1]:.2f})")
        print(f"| {' | '.join(cells + ratios)} |", flush=True)


def main() -> None:
    """Measures everything at every resolution."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolutions", default="256,1024")
    parser.add_argument("--images", type=int, default=0, help="0: just more than are kept decoded")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--tensorflow_python", help="interpreter with TensorFlow, for tf.data")
    args = parser.parse_args()
    flags.FLAGS.mark_as_parsed()  # wanted by Grain's workers
    cpus = len(os.sched_getaffinity(0))
    print(f"batch {BATCH_SIZE}, {cpus} CPU(s); ratios of images per CPU second\n")
    print("| images | images/s | CPU ms per image | against PNG | against tf.data |")
    print("|---|---|---|---|---|")
    for side in map(int, args.resolutions.split(",")):
        with tempfile.TemporaryDirectory() as temporary:
            folder, data_dir = pathlib.Path(temporary, "png"), pathlib.Path(temporary, "prepared")
            count = args.images or smallest_uncached(side)
            if count < smallest_uncached(side):
                parser.error(f"--images: give {smallest_uncached(side)} or more at {side} px")
            write_folder(folder, side, count)
            for name, encoding in ENCODINGS.items():
                with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
                    prepare(
                        name.lower(),
                        folder,
                        size=(side, side),
                        encoding=encoding,
                        data_dir=data_dir,
                    )
            repeats = collections.defaultdict(list)
            for _ in range(args.repeats):
                results = measure_ours(data_dir, side, args.seconds)
                if args.tensorflow_python:
                    results |= measure_tf_data(args.tensorflow_python, folder, args.seconds)
                for name, result in results.items():
                    repeats[name].append(result)
            print_rows(side, repeats)
    if not args.tensorflow_python:
        print("\ntf.data: left out, no --tensorflow_python was given", file=sys.stderr)


if __name__ == "__main__":
    main()
