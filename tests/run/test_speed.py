import threading
import time

import jax
import pytest

from stylegan_jax.configs import ffhq
from stylegan_jax.cost.chips import CHIPS, find_chip
from stylegan_jax.run import speed as module
from stylegan_jax.run.speed import SpeedMeter, memory_report, model_flops_per_image
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import make_config_levels
from stylegan_jax.training.sharding import make_mesh


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("TPU v5 lite", "v5e"),
        ("TPU v5", "v5p"),
        ("TPU v5p", "v5p"),
        ("TPU v6 lite", "v6e"),
        ("TPU v4", "v4"),
        ("TPU7x", "tpu7x"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
    ],
)
def test_known_chips(kind, name):
    assert find_chip(kind) is CHIPS[name]


@pytest.mark.parametrize("kind", ["cpu", "TPU v4 lite", "NVIDIA H100 PCIe", "Tesla T4", ""])
def test_unknown_chips(kind):
    assert find_chip(kind) is None


@pytest.fixture(scope="module")
def run():
    config = ffhq.get_config("smoke")
    return config, ImageShape(16, 16, 3, 0), make_config_levels(config)[0]


def test_flops_do_not_depend_on_batch_or_devices(run):
    config, shape, level = run
    whole = model_flops_per_image(config, shape, level, make_mesh())
    assert whole == model_flops_per_image(config, shape, level, make_mesh(jax.devices()[:1]))
    assert 1e6 < whole < 1e9


def test_every_step_counts_by_its_interval(run, monkeypatch):
    config, shape, level = run
    # Gmain, Greg (every 4th), Dmain, Dreg (every 16th), the average of G, the counter.
    counts = iter([8e6, 40e6, 16e6, 160e6, 0, 0])
    monkeypatch.setattr(module, "count_flops", lambda jaxpr: next(counts))
    flops = model_flops_per_image(config, shape, level, make_mesh(jax.devices()[:1]))
    assert flops == (8e6 + 10e6 + 16e6 + 10e6) / level.batch_size


def test_a_ticks_numbers(run, monkeypatch):
    config, shape, level = run
    may_end = threading.Event()
    monkeypatch.setattr(module, "model_flops_per_image", lambda *args: may_end.wait(10) * 1e9)
    meter = SpeedMeter(config, shape, make_mesh(), chip=CHIPS["v5e"])
    meter.begin(level)
    assert "Timing/mfu" not in meter.report(1600, level, 2.0), "nobody waits for it"
    may_end.set()
    while "Timing/mfu" not in meter.report(1600, level, 2.0):
        time.sleep(0.001)
    found = meter.report(1600, level, 2.0)
    assert found["Timing/img_per_sec"] == 800 and found["Timing/sec_per_kimg"] == 1.25
    assert found["Timing/img_per_sec_per_chip"] == 200
    assert found["Timing/sec_per_step"] == level.batch_size / 800
    assert found["Timing/mfu"] == pytest.approx(800e9 / (4 * 197e12))


def test_a_cpu_has_no_peak(run, monkeypatch):
    config, shape, level = run
    monkeypatch.setattr(module, "model_flops_per_image", pytest.fail)
    meter = SpeedMeter(config, shape, make_mesh())
    meter.begin(level)
    assert "Timing/mfu" not in meter.report(16, level, 1.0)


def test_memory(monkeypatch):
    found = memory_report()
    assert 0.05 < found["Memory/host_gib"] < 500 and "Memory/device_gib" not in found

    class Device:
        def __init__(self, used):
            self.used = used

        def memory_stats(self):
            return {"bytes_in_use": self.used * 2**30, "peak_bytes_in_use": 3 * 2**30}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device(1), Device(2)])
    found = memory_report()
    assert found["Memory/device_gib"] == 2 and found["Memory/device_peak_gib"] == 3
