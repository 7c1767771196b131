"""Scores a checkpoint, or a set of images, with the metrics of the papers.

    python -m stylegan_jax.tools.evaluate --checkpoint=runs/ffhq --metrics=fid50k_full,kid50k_full
    python -m stylegan_jax.tools.evaluate --checkpoint=ffhq.pkl --data=ffhq --metrics=pr50k3_full
    python -m stylegan_jax.tools.evaluate --images=samples.zip --data=reals/ --metrics=fid,kid

A line of JSON per metric: its values, the protocol that made them (reals, weights, resizing, seed),
time and throughput. Of a run they are added to `WORKDIR/evaluations.jsonl`, which a report shows.
`docs/metrics.md` lists the names. Statistics of the reals are kept for the next time. On several
hosts start it on each, as training.
"""

import dataclasses
import datetime
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from absl import flags
from etils import epath

from stylegan_jax import __version__
from stylegan_jax.metrics.feature_scores import FeatureScore
from stylegan_jax.metrics.names import FAMILIES, MetricName, parse_names
from stylegan_jax.run.processes import all_or_none, as_first_process
from stylegan_jax.run.scores import Score, make_metrics
from stylegan_jax.tools import command
from stylegan_jax.tools.evaluate.processes import define_process_flags, joined_processes
from stylegan_jax.tools.evaluate.progress import Bars, counted
from stylegan_jax.tools.evaluate.subjects import (
    Subject,
    make_key,
    open_generator,
    open_image_sets,
    results_path,
)


def evaluate(subject: Subject, names: Sequence[MetricName], seed: int) -> Iterator[dict[str, Any]]:
    """Takes metrics of a subject, and yields a result for each name.

    Args:
        subject: What is scored.
        names: The metrics.
        seed: Of what metrics draw themselves.

    Yields:
        `metric`, `values`, `protocol`, `seconds`, `images_per_sec` and what `Subject.about` says.

    Raises:
        ValueError: A metric that these images cannot have.
    """
    bars = Bars()
    watched = counted(subject, bars)
    with all_or_none("opening what the metrics look through"):
        scores = make_metrics([_fill_count(name, subject) for name in names], watched.context)
    key = make_key(seed, 1, subject.context.frozen.mesh)
    for score in scores:
        start = time.monotonic()
        with bars.showing(**_totals(score)):
            # What is decided by a score must not differ in a last bit between processes.
            values = as_first_process(score.metric.evaluate(watched.draw, key))
        seconds = time.monotonic() - start
        suffix = "" if subject.class_name is None else f" of class {subject.class_name}"
        print(score.metric.describe(values) + suffix, flush=True)
        for name in score.names:
            yield {
                "metric": name.text,
                **subject.about,
                "values": {k: v for k, v in values.items() if k.startswith(name.text)},
                "protocol": _protocol(name, score.metric, seed),
                # Metrics that share a pass share its time.
                "seconds": round(seconds, 3),
                "images_per_sec": round((name.num_images or 0) / seconds, 2),
                "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "version": __version__,
            }


def _totals(score: Score) -> dict[str, int | None]:
    """Returns how many images are looked at, as far as that is known."""
    fakes = max(name.num_images or 0 for name in score.names)
    if not isinstance(score.metric, FeatureScore):
        return {"fakes": fakes}
    # Every process reads its own.
    reals = [score.metric.protocol(name).get("reals", 0) for name in score.names]
    return {"fakes": fakes, "reals": max(reals) // jax.process_count()}


def _fill_count(name: MetricName, subject: Subject) -> MetricName:
    """Without a number a metric looks at all images, where there are only so many.

    Raises:
        ValueError: It wants more than there are.
    """
    there = subject.num_images
    if there is None:
        return name
    if name.num_images is None:
        return dataclasses.replace(name, num_images=there)
    if name.num_images > there:
        raise ValueError(
            f"{name.text} looks at {name.num_images} images, and {subject.about['images']} has "
            f"{there}: name as many, or leave the number out."
        )
    return name


def _protocol(name: MetricName, metric: Any, seed: int) -> dict[str, Any]:
    """Says what makes values comparable."""
    common = {
        "title": FAMILIES[name.family].title,
        "num_images": name.num_images,
        "seed": seed,
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }
    return common | metric.protocol(name)


def add_results(path: epath.Path, results: Sequence[dict[str, Any]]) -> None:
    """Adds lines to a file of results, where this is the first process; what is there stays."""
    if jax.process_index():
        return
    lines = "".join(json.dumps(result) + "\n" for result in results)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(lines)


def define_flags() -> None:
    """Declares the options."""
    text = "Workdir, checkpoints folder, one step, export or official pickle; gs:// too."
    flags.DEFINE_string("checkpoint", None, text)
    flags.DEFINE_string("step", "latest", "Of a run: image count, 'latest' or 'best'.")
    flags.DEFINE_enum("network", "G_ema", ["G_ema", "G"], "The average, or the one it is of.")
    flags.DEFINE_string("images", None, "A folder, zip or other set of images to score instead.")
    flags.DEFINE_string("metrics", None, "Names with commas between: fid50k_full.", required=True)
    flags.DEFINE_string("data", None, "Reals: name or path. Default: those of the run.")
    flags.DEFINE_string("data_dir", None, "Folder of prepared data sets.")
    flags.DEFINE_bool("mirror", None, "Mirror images count as reals, too. Default: as in training.")
    flags.DEFINE_bool("per_class", False, "Score each class, too: its fakes against its reals.")
    flags.DEFINE_integer("seed", 0, "Of latents, noise, labels and subsets.", lower_bound=0)
    flags.DEFINE_string("out", None, "File of results. Default: evaluations.jsonl of the run.")
    flags.DEFINE_string("cache_dir", "~/.cache/stylegan_jax/metrics", "Statistics of reals.")
    define_process_flags()


def open_subjects() -> tuple[Subject, ...]:
    """Opens what the flags name.

    Raises:
        ValueError: Neither a checkpoint nor images are given, or both.
    """
    FLAGS = flags.FLAGS
    if (FLAGS.checkpoint is None) == (FLAGS.images is None):
        raise ValueError("Give --checkpoint=..., a trained network, or --images=..., one of both.")
    common = dict(data=FLAGS.data, mirror=FLAGS.mirror, cache_dir=FLAGS.cache_dir)
    if FLAGS.images is not None:
        if FLAGS.per_class:
            raise ValueError("--per_class wants a --checkpoint: images are of no known class.")
        return open_image_sets(FLAGS.images, **common)
    return open_generator(
        FLAGS.checkpoint,
        step=int(FLAGS.step) if FLAGS.step.isdigit() else FLAGS.step,
        network=FLAGS.network,
        data_dir=FLAGS.data_dir,
        per_class=FLAGS.per_class,
        seed=FLAGS.seed,
        **common,
    )


def main(argv: list[str]) -> None:
    """Reads the flags, and takes the metrics together with the other processes, if any."""
    command.begin(argv)
    names = parse_names(flags.FLAGS.metrics)
    with joined_processes():
        take(names)


def take(names: Sequence[MetricName]) -> None:
    """Takes metrics of what the flags name, prints and keeps the results."""
    FLAGS = flags.FLAGS
    # What cannot be written is refused before anything is read.
    out = results_path(FLAGS.checkpoint, FLAGS.out)
    if FLAGS.out is not None:
        command.check_output(FLAGS.out, ".jsonl")
    with all_or_none("opening what is scored"):
        subjects = open_subjects()
    results = []
    for subject in subjects:
        for result in evaluate(subject, names, FLAGS.seed):
            print(json.dumps(result), flush=True)
            # Kept at once: the next metric may take hours.
            if out is not None:
                add_results(out, [result])
            results.append(result)
    if out is not None:
        print(f"{len(results)} results added to {out}")


if __name__ == "__main__":
    define_flags()
    command.run(main)
