"""Every benchmark runs, shrunken; what it measures is not looked at."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from benchmarks import bench_data_tf, bench_ops
from stylegan_jax.data import sources
from stylegan_jax.models.pretrained import FeatureNetwork
from stylegan_jax.models.pretrained.inception import Conv, Layer
from stylegan_jax.plan import planner, targets, wire, worker
from tests.commands import ROOT, run_module

SMALLEST_RECIPE = "--config=configs/ffhq.py:smoke,config=E,G=skip,D=skip"
SMALLEST = ["--config.data.resolution=4", "--config.loss.pl_weight=0", "--config.loss.r1_gamma=0"]
SMALLEST += ["--config.metrics.kimg=0"]


@pytest.fixture
def table(monkeypatch, capsys):
    """Runs a benchmark and returns what it printed."""

    def run(name, *options, **changes):
        run_module(monkeypatch, [f"benchmarks.{name}", *options], **changes)
        return capsys.readouterr().out

    return run


def test_none_is_forgotten():
    text = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    for path in (ROOT / "benchmarks").glob("*.py"):
        assert re.search(rf'"{path.stem}"|import.* {path.stem}\b', text), path.name


def test_a_step(table):
    """Alone, and beside the same recipe with other settings, which has a program more."""
    against = "--against=augment.mode=fixed,augment.p=0.2,augment.pipe=color"
    options = ["--repeats=1", against, *SMALLEST]
    out = table("bench_step", SMALLEST_RECIPE, *options)
    assert len(re.findall(r"4 px, batch 16\n.*\n +Gmain .*\n +Dmain ", out)) == 2
    averages = r"average iteration \d+\.\d ms, \d+\.\d images/s; compiled in"
    assert len(re.findall(averages, out)) == 2
    assert re.search(r"the second takes [\d.]+ times the first, [\d.]+ by its own time", out)


@pytest.mark.slow
def test_growth(table):
    out = table("growth", "--model=progan", "--resolution=4", "--seconds")
    # A network of one resolution is the same, grown or not.
    assert re.search(r"^ +4 +\d+\.\d +1\.00 +\d+\.\d +1\.00 +\d+\.\d +\d+\.\d\d$", out, re.M)


def test_ops(monkeypatch, capsys):
    every = list(bench_ops.formulations())
    x, weight = np.ones((1, 8, 8, 2), np.float32), np.ones((3, 3, 2, 2), np.float32)
    for _, _, op in every:
        for function in bench_ops.derivatives(op):
            jax.eval_shape(function, x, weight)
    monkeypatch.setattr(bench_ops, "formulations", lambda: every[3:6:2])
    monkeypatch.setattr("sys.argv", ["bench_ops", "--batch_size=1", "--sides=8", "--channels=2"])
    bench_ops.main()
    out = capsys.readouterr().out
    assert len(re.findall(r"^\| conv 3x3 up \| 8, 2 \|", out, re.M)) == 2


def test_filtered_ops(monkeypatch, capsys):
    small = [layer._replace(channels=1) for layer in bench_ops.FILTERED_LAYERS]
    for layer in small[1::2]:
        x = np.ones((1, layer.side, layer.side, 1), np.float32)
        shapes = {jax.eval_shape(op, x).shape for _, op in bench_ops.filtered_ops(layer)}
        assert len(shapes) == 1
    every = list(bench_ops.filtered_ops(small[0]))
    monkeypatch.setattr(bench_ops, "filtered_ops", lambda layer: every[1:3])
    monkeypatch.setattr(bench_ops, "FILTERED_LAYERS", small[:1])
    monkeypatch.setattr("sys.argv", ["bench_ops", "--filtered", "--batch_size=1"])
    bench_ops.main()
    assert len(re.findall(r"^\| T, 36 px \|", capsys.readouterr().out, re.M)) == 2


def test_data(table, monkeypatch):
    monkeypatch.setattr(bench_data_tf, "WARM_UP_SEC", 0.01)
    monkeypatch.setattr(sources, "CACHE_LIMIT_BYTES", 70 * 3 * 16 * 16)
    options = ["--resolutions=16", "--seconds=0.01", "--repeats=2"]
    out = table("bench_data", *options, WORKERS=(0,))
    for encoding in ("PNG", "QOI", "raw"):
        assert f"| 16 px, {encoding}, 0 workers |" in out


class _Compiler(planner.Compiler):
    """Finds the same for every program, and fits up to four images per device."""

    def survey(self):
        num_devices = np.prod(self._target.shape).item() * self._target.num_slices
        program = dict(level=0, program="Gmain", label="Gmain", interval=1, reads_batch=True)
        found = dict(num_devices=num_devices, num_batch_devices=num_devices, num_hosts=1)
        found |= dict(memory_bytes=2**34, state_bytes=2**20, checkpoint_bytes=2**20)
        return found | dict(host_checkpoint_bytes=2**19, programs=[program])

    def run(self, jobs, memory_bytes, *, config=None, only_memory=False):
        batch = self._config.schedule.batch_size // self.survey()["num_devices"]
        found = dict(fits=batch <= 4, total_bytes=2**30, model_flops=1e12, flops=2e12)
        found |= dict(traffic_bytes=1e9, wire=wire.Wire(3e7, 0.002, 1e7, 0.001)._asdict())
        if not only_memory:
            found["schedule_sec"] = 0.1
        return [job | found for job in jobs]


@pytest.fixture
def no_compilers(monkeypatch):
    """Those of TPUs and GPUs, which this machine need not have, are stood in for."""
    monkeypatch.setattr(planner, "Compiler", _Compiler)
    monkeypatch.setattr(targets, "check_installed", lambda target: None)


@pytest.mark.usefixtures("no_compilers")
def test_plans(table):
    options = ["--topologies=v5e:2x2,h100:1x4", "--resolutions=16"]
    out = table("bench_plan", "--config=configs/ffhq.py:smoke", *options)
    # Eight images per device do not fit, four do.
    assert re.search(r"^\| v5e:2x2 \| 16 \| tpu \| 4 \| 1\.00 \| \d", out, re.M)
    assert re.search(r"^\| h100:1x4 \| 16 \| plain \| 4 \| 1\.00 \| \d", out, re.M)


@pytest.mark.usefixtures("no_compilers")
def test_pods(table, tmp_path):
    results = f"--results={tmp_path / 'pods.json'}"
    options = ["--config=configs/ffhq.py:smoke", results, "--resolutions=16"]
    options += ["--batch_per_device=4", "--topologies=v5e:2x2", "--chips=v5e", "--most_devices=16"]
    out = table("bench_pods", *options, "--tables=plan,times,scaling")
    assert re.search(r"^\| v5e:2x2 \| 16 \| 16 \| 1\.00 \| 16\.00 \|", out, re.M)
    assert re.search(r"^\| v5e:2x4 \| 16 \| \d+\.\d \|$", out, re.M)
    assert re.search(r"^\| 16 \| v5e:4x4 \| 16 \| 64 \|.*%", out, re.M)
    assert len(json.loads((tmp_path / "pods.json").read_text())) == 4
    again = table("bench_pods", *options, "--tables=scaling", "--compute_ms=16:100")
    assert "| 100.0 |" in again


def test_metrics(table, monkeypatch):
    """A network of two layers, one of them written twice; no compiler of TPUs need be here."""

    class Tiny(nnx.Module):
        def __init__(self, *, rngs):
            self.conv = Conv(3, Layer(2, (3, 3)), rngs=rngs)
            self.last = Conv(2, Layer(2, (1, 1)), rngs=rngs)

    def apply(module, img):
        x = img.astype(jnp.float32)
        return {"features": module.last(module.conv(x) + module.conv(x))}

    network = FeatureNetwork("tiny", Tiny, apply, {"features": (8, 8, 2)}, None, {})
    options = ["--networks=tiny", "--batch=2", "--resolution=8", "--repeats=1"]
    out = table("bench_metrics", *options, NETWORKS={"tiny": network})
    assert re.search(r"^\| tiny \| 8 px \| 2 \| [\d.]+ \| [\d.]+ \| [\d.]+ \| 2 \| ", out, re.M)

    precisions = []

    def compile_lowered(lowered, target):
        precisions.append("HIGHEST" in lowered.as_text())
        parts = dict.fromkeys(("argument_bytes", "temp_bytes", "output_bytes"), 2**28)
        return parts | dict(fits=True, schedule_sec=0.01, roofline_sec=0.005)

    monkeypatch.setattr(targets, "check_installed", lambda target: None)
    monkeypatch.setattr(targets, "topology_devices", lambda target: jax.devices())
    monkeypatch.setattr(targets, "worker_environment", lambda target: {})
    monkeypatch.setattr(worker, "compile_lowered", compile_lowered)
    options = ["--networks=tiny", "--batch=2,4", "--resolution=8", "--topology=v5e:1x1"]
    out = table("bench_metrics", *options, NETWORKS={"tiny": network})
    assert precisions == [True, False] * 2
    # 50,000 images, two in a hundredth of a second: 250 s; 98 calls of 256 chips.
    assert "| tiny | 8 px | 2 | float32 | 200 | 400 | 0.75 | 4m 10s | 1.0 s | " in out
    assert "| tiny | 8 px | 4 | bfloat16 | 400 | 800 | 0.75 | 2m 05s | 0.5 s | " in out


@pytest.mark.slow
def test_equivariance(table):
    """Of the cheapest network; that it is far from equivariant is the paper's finding."""
    options = ["--networks=stylegan2-b", "--resolution=16", "--channels=8", "--num_images=8"]
    out = table("bench_equivariance", *options, METRICS="eqt{0}_int")
    (found,) = re.findall(r"^\| stylegan2-b \| (\S+) dB \|$", out, re.M)
    assert 0 < float(found) < 20


def test_sampling(table):
    """The first pictures are drawn by processes of their own; here, two of them at 4 px."""
    out = table("bench_sampling", "--resolution=4", "--batches=2", "--repeats=1")
    assert re.search(
        r"empty cache: [\d.]+ s\n.*filled cache: [\d.]+ s\nan image: [\d.]+ GFLOP; "
        r"a product: [\d.]+ GFLOP/s\nbatch 2: [\d.]+ images/s, [\d.]+ of a product's rate",
        out,
    )
    assert out.count("7 images, ") == 2


def test_augmentation(table):
    options = ["--size=12x8", "--batch_size=2", "--channel_base=16", "--repeats=1", "--pipe=blit"]
    out = table("bench_augment", *options, STRENGTHS=(0.5,))
    assert re.search(r"12x8 px, batch 2, pipe blit\n(.*\n){3}\| without \| 0\.5 \|", out)
    assert re.search(r"^\| by_image \| 0\.5 \| \d.*\n\| gather \| 0\.5 \| \d", out, re.M)


def test_small_data(table, tmp_path):
    """Two runs of each kind, of which one came further; nothing is trained, or drawn."""

    def train(folder, data, mode, seed, kimg):
        assert data == "few" and kimg == 20
        (folder / "samples").mkdir(parents=True)
        Image.new("RGB", (512, 256)).save(folder / "samples" / "fakes_000020.png")
        ticks = [{"kimg": 0, "swd2k": 90, "swd2k_floor": 3, "swd2k_split": 9}]
        ticks[0]["lite0_fd1k_full"] = 300
        for at in range(1, 21 - 5 * seed):
            values = {"Loss/signs/real": 0.9 if mode == "none" else 0.6, "kimg": at}
            values |= {"Loss/scores/fake": -2.0}
            ticks += [values | ({"Augment/p": at / 20} if mode == "ada" else {})]
            scores = {"kimg": at, "swd2k": 50 + seed, "lite0_fd1k_full": 99}
            ticks += [scores] if at % 10 == 0 else []
        lines = "\n".join(map(json.dumps, ticks))
        (folder / "metrics.jsonl").write_text(lines)

    def of_checkpoints(value):
        """Of the one that is there, or of both; what D says goes by the set."""
        return lambda folder, images: (
            np.arange(10, 30 - 10 * int(folder.name[-1]), 10),
            np.full(2 - int(folder.name[-1]), value + images),
        )

    options = [f"--workdir={tmp_path}", "--seeds=0,1", "--kimg=20", "--grid_kimg=20"]
    out = table(
        *("ada_small_data", *options),
        train=train,
        read_set=lambda folder, name: len(name.rpartition("/")[2]),  # unseen: 6, seen: 4
        judge=of_checkpoints(0),
        score_against=of_checkpoints(30),
    )
    assert "| 10 | without | 2 | 50.5 (50.0 to 51.0) | 34.0 (34.0 to 34.0) |" in out
    assert "| 20 | with ADA | 1 | 50.0 | 34.0 | 99.0 | 0.60 | 6.0 | 4.0 | -2.0 | 1.00 |" in out
    with Image.open(tmp_path / "ada_few.png") as figure:
        assert figure.size == (900, 774)
