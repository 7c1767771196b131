"""Folders as runs leave them, made of a few lines."""

import json

import numpy as np
import pytest

from stylegan_jax.configs import quickstart
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.images import save_png

LOG = """settings: loss.r1_gamma=7.0, optimizer.betas=(0.0, 0.99), seed=3
devices: 8 x TPU v5 lite
data: portraits, 499 images of 32x32 pixels, 3 channel(s), uint8, no labels
G (stylegan2): 246,076 parameters in 37 arrays
D (stylegan2): 218,449 parameters in 18 arrays
starting a new run
1.0/3.0 kimg  31.4 img/s  ETA 1m 04s  G 0.71  D 1.2
ALARM at 1.0 kimg: D is too strong
  seen:  Loss/signs/real is 0.972 and Loss/signs/fake -0.981: nearly all are told
  means: D tells nearly every image
  try:   raise loss.r1_gamma from 5 to 15; lower optimizer.D_lr from 0.003 to 0.0015
2.0/3.0 kimg  31.4 img/s  ETA 32s  G 0.71  D 1.2
alarm over at 2.0 kimg: D is too strong
"""


@pytest.fixture
def config():
    """Of a recipe, as `config.json` has it."""
    return json.loads(json.dumps(quickstart.get_config("fast").to_dict()))


@pytest.fixture
def workdir(tmp_path, config):
    """A checkpoint at 16 images and nothing else."""
    with CheckpointStore(tmp_path / "alone", best_metric="swd") as store:
        state = {"G_ema": {"weight": np.ones(3, np.float32)}}
        store.save(state, 16, {"config": config, "data": {}}, {"swd": 5.0})
    return tmp_path / "alone"


@pytest.fixture
def make_run(tmp_path, config):
    """Writes a run of 2 of 3 kimg: numbers, grids, log; returns its folder."""

    def make(name="run", *, lines=None, grids=(0, 1, 2), settings=None, log=LOG):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for key, value in (settings or {}).items():
            section, _, last = key.rpartition(".")
            (config[section] if section else config)[last] = value
        (folder / "config.json").write_text(json.dumps(config | {"environment": {}}))
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines or ticks())) + "\n")
        (folder / "log.txt").write_text(log)
        for kimg in grids:
            picture = np.full((32, 64, 3), 80 * kimg % 256, np.uint8)
            save_png(folder / "samples" / f"fakes_{kimg:06d}.png", picture)
        save_png(folder / "reals.png", np.full((32, 64, 3), 200, np.uint8))
        return folder

    return make


def ticks():
    """Lines of a short run: scores at both ends, a tick every half kimg."""
    lines = [{"kimg": 0.0, "swd": 200.0, "swd_floor": 7.0, "swd_16": 220.0}]
    for number in range(1, 5):
        lines.append(
            {
                "kimg": number / 2,
                "Loss/G/loss": 1.0 + number,
                "Loss/signs/real": 0.5,
                "Grad/Gmain": "nan" if number == 2 else 0.1 * number,
                "Timing/sec_per_kimg": 36.0,
                "Timing/img_per_sec": 27.8,
            }
        )
    return [*lines, {"kimg": 2.0, "swd": 50.0, "swd_floor": 7.0, "swd_16": 60.0}]
