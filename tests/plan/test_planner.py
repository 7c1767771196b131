import dataclasses
import json
import subprocess
import types

import numpy as np
import pytest
from jax.sharding import PartitionSpec

from stylegan_jax.configs import ffhq, progan_celebahq
from stylegan_jax.plan import planner, report, targets, wire, worker
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import make_config_levels, make_setup
from stylegan_jax.training.objectives import make_steps
from stylegan_jax.training.step import COUNT

SHAPE = ImageShape(16, 16, 3, 0)
HARDWARE = {
    "num_devices": 4,
    "num_batch_devices": 4,
    "num_hosts": 1,
    "memory_bytes": 2**34,
    "state_bytes": 2**20,
    "checkpoint_bytes": 2**20,
    "host_checkpoint_bytes": 2**19,
}


@pytest.mark.parametrize("limit", [0, 1, 3, 8, 16, 23, 24, 25, 31, 100])
@pytest.mark.parametrize("now", [1, 4, 8, 16])
def test_the_largest_batch_is_found(now, limit):
    """Against a search through every candidate."""
    tried = []

    def fits(per_device):
        tried.append(per_device)
        return per_device <= limit

    got = planner._largest(now, fits, now_fits=now <= limit)
    halves = [now // 2**k for k in range(1, 5) if now // 2**k >= 1]
    above = [b for b in range(8, 4 * now + 8, 8) if now < b <= max(4 * now, 8)]
    allowed = [b for b in (above + [now] if now <= limit else halves) if b <= limit]
    assert got == max(allowed, default=0)
    assert len(tried) <= 6


def test_a_batch_that_cannot_be_split_becomes_eight_per_device(capsys):
    config = ffhq.get_config("smoke")
    assert planner._fit_batch(config, HARDWARE).schedule.batch_size == 16
    many = HARDWARE | {"num_devices": 256, "num_batch_devices": 256, "num_hosts": 64}
    assert planner._fit_batch(config, many).schedule.batch_size == 2048
    assert "--config.schedule.batch_size=2048" in capsys.readouterr().out
    assert config.schedule.batch_size == 16
    with config.unlocked():
        config.schedule.total_kimg = -1.0
    with pytest.raises(ValueError, match="total_kimg"):
        planner._fit_batch(config, many)


def programs_of(config, **values):
    """What the compiler would have found, the same for every program."""
    setup, _ = make_setup(config, SHAPE)
    found = dict(fits=True, total_bytes=2**30, model_flops=1e12, flops=2e12, traffic_bytes=1e9)
    found |= dict(schedule_sec=0.1, roofline_sec=0.05, collectives={}, output_bytes=0)
    found |= dict(wire=wire.Wire(3e7, 0.002, 1e7, 0.001)._asdict()) | values
    levels = range(len(make_config_levels(config)))
    return [
        {"level": i, "program": step.name, "interval": step.interval}
        | {"reads_batch": step.reads_batch}
        | found
        for i in levels
        for step in make_steps(setup)
        if step.name != COUNT
    ]


def test_averages_are_those_of_the_lazy_cycle():
    config, target = ffhq.get_config("smoke"), targets.parse_topology("v5e:2x2")
    planned = report.assemble(config, target, HARDWARE, SHAPE, programs_of(config))
    (cycle,) = planned["levels"]
    # Gmain, Dmain and the average every time, Greg every 4th, Dreg every 16th.
    seconds = 0.1 * (3 + 1 / 4 + 1 / 16)
    assert cycle["schedule"]["iteration_sec"] == pytest.approx(seconds)
    assert cycle["schedule"]["img_per_sec"] == pytest.approx(16 / seconds)
    assert cycle["schedule"]["img_per_sec_per_device"] == pytest.approx(4 / seconds)
    flops = 1e12 * (3 + 1 / 4 + 1 / 16)
    assert cycle["schedule"]["share_of_peak"] == pytest.approx(flops / seconds / 197e12)
    images = config.schedule.total_kimg * 1000
    assert planned["days"]["schedule"] == pytest.approx(images / (16 / seconds) / 86400)
    Gmain = planned["programs"][0]
    assert Gmain["batch_bytes"] == 4 * 16 * 16 * 3
    assert Gmain["activation_bytes"] == 2**30 - 2**20 - Gmain["batch_bytes"]
    assert planned["fits"] and json.dumps(planned)
    text = report.table(planned)
    assert "Everything fits" in text and "100.0" in text
    assert f"{2**19 / 1e6 / 30:.1f} MB/s to be done within the 30 s" in text
    assert Gmain["wire_bytes"] == 4e7 and Gmain["wire_sec"] == pytest.approx(0.003)
    assert cycle["wire"]["between_bytes"] == pytest.approx(1e7 * (3 + 1 / 4 + 1 / 16))
    assert "on the wire: 132.5 MB and 9.94 ms per iteration (33.1 MB and 3.31 ms of it" in text
    assert "3.0% of the schedule if nothing overlaps" in text


@pytest.mark.parametrize(("fsdp", "most"), [(1, 80 + 4), (2, 80 + 4), (4, 40 + 4)])
def test_the_busiest_host_of_a_checkpoint(fsdp, most):
    """Four devices on two hosts; one array is split over `fsdp`, the other is not."""
    hosts = [types.SimpleNamespace(process_index=i // 2) for i in range(4)]
    devices = np.array(hosts).reshape(4 // fsdp, fsdp, 1)
    specs = [PartitionSpec("fsdp") if fsdp > 1 else PartitionSpec(), PartitionSpec()]
    state = [
        types.SimpleNamespace(
            size=size, dtype=np.dtype("float32"), sharding=types.SimpleNamespace(spec=spec)
        )
        for size, spec in zip((20, 1), specs)
    ]
    assert worker._most_written(state, devices) == most


def test_what_does_not_fit_is_named_and_has_no_speed():
    config, target = ffhq.get_config("smoke"), targets.parse_topology("v5e:2x2")
    programs = programs_of(config)
    programs[1] = {
        k: programs[1][k] for k in ("level", "program", "interval", "reads_batch")
    }  # nothing else is known
    programs[1] |= {"fits": False, "total_bytes": 3 * 2**33, "message": "over by much"}
    planned = report.assemble(config, target, HARDWARE, SHAPE, programs)
    text = report.table(planned)
    assert not planned["fits"] and "Does not fit: Greg at 16 px is 8.00 GiB over" in text
    assert "over by much" in text and not {"schedule", "wire"} & set(planned["levels"][0])


def test_every_level_of_a_growing_run_is_planned():
    config, target = progan_celebahq.get_config("smoke"), targets.parse_topology("h100:1x4")
    programs = programs_of(config)
    for program in programs:
        del program["schedule_sec"], program["roofline_sec"]
    planned = report.assemble(config, target, HARDWARE, SHAPE, programs)
    assert [level["resolution"] for level in planned["levels"]] == [8, 16]
    # Without the compiler's estimate the slower of products and memory traffic counts.
    chip = dataclasses.asdict(target.chip)
    assert planned["programs"][0]["roofline_sec"] == 2e12 / chip["peak_flops"]
    assert "roofline" in planned["levels"][1] and "schedule" not in planned["levels"][1]


@pytest.mark.parametrize(
    ("chip", "text_name"),
    [("v5e:1x4", "_after_buffer_assignment.txt"), ("h100:1x4", ".txt")],
)
def test_memory_alone_comes_with_the_collectives(tmp_path, capsys, chip, text_name):
    """As soon as both files of the dump are there, the second one whole."""
    watch = planner._Watch(targets.parse_topology(chip), "Gmain 16 px", 2**30, True)
    line = "%r = f32[8]{0} all-reduce(%p), replica_groups={{0,1,2,3}}"
    text = f"HloModule m\n\nENTRY %main () -> f32[8] {{\n  {line}\n}}\n\n"
    stem = tmp_path / "dump" / "module_0003.jit_phase_Gmain.after_optimizations"
    stem.parent.mkdir()
    assert watch.look(tmp_path) is None
    stem.with_name(stem.name + "-memory-usage-report.txt").write_text("Total bytes: 1024 (1KiB)")
    stem.with_name(stem.name + text_name).write_text(text[:-3])
    assert watch.look(tmp_path) is None
    stem.with_name(stem.name + text_name).write_text(text)
    found = watch.look(tmp_path)
    assert (found["fits"], found["total_bytes"]) == (True, 1024)
    assert found["collectives"] == {"all-reduce": {"count": 1, "bytes": 32, "wire_bytes": 48.0}}
    assert found["wire"]["inside_bytes"] == 48
    assert "fits: 0.00 GiB of 1.00 GiB" in capsys.readouterr().out


def test_what_does_not_fit_waits_for_nothing(tmp_path):
    watch = planner._Watch(targets.parse_topology("v5e:1x4"), "Gmain 16 px", 1000, True)
    (tmp_path / "dump").mkdir()
    report_path = tmp_path / "dump" / "x.after_optimizations-memory-usage-report.txt"
    report_path.write_text("Total bytes: 1024 (1KiB)")
    assert watch.look(tmp_path) == {"fits": False, "total_bytes": 1024}


@pytest.mark.parametrize(
    ("log", "error", "words"),
    [
        ("Traceback\nValueError: not in that shape\n", ValueError, "^not in that shape$"),
        (
            "F1122 17:08:38 1 target.cc:1736] Check failed: Topology()->chip_bounds().x <= 16 (32 "
            "vs. 16) \nDumping core",
            ValueError,
            "--topology=v5e:32x32: the compiler refuses it: .*x <= 16",
        ),
        ("Killed", RuntimeError, "The compiler failed:\nKilled"),
    ],
)
def test_a_compiler_that_stops_says_why(tmp_path, log, error, words):
    target = targets.parse_topology("v5e:32x32")
    compiler = planner.Compiler(target, ffhq.get_config("smoke"), SHAPE)
    (tmp_path / "stderr").write_text(log)
    with pytest.raises(error, match=words):
        compiler._wait(subprocess.Popen(["true"]), str(tmp_path), None)


@pytest.mark.slow
@pytest.mark.skipif(not targets._is_installed("libtpu"), reason="the plan extra is not installed")
def test_a_plan_for_a_tpu(tmp_path, monkeypatch):
    """The whole way, with the real compiler."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XLA_FLAGS")  # those of tests are for CPUs
    config = ffhq.get_config("smoke").unlock()
    # Losses and penalties in one program for each network.
    config.schedule.g_reg_interval = config.schedule.d_reg_interval = None
    planned = planner.plan(config.lock(), "v5e:2x2", str(tmp_path))
    assert planned["fits"] and planned["hardware"]["memory_bytes"] == int(15.75 * 2**30)
    Gboth = planned["programs"][0]
    assert set(Gboth["collectives"]) == {"all-reduce"}
    # The gradients of four devices and their statistics; no axis of 2x2 is a ring.
    assert Gboth["wire_bytes"] == 1.5 * Gboth["collectives"]["all-reduce"]["bytes"] > 0
    assert Gboth["wire_sec"] == pytest.approx(Gboth["wire_bytes"] / (2 * 45e9))
    assert json.loads((tmp_path / "plan_v5e_2x2.json").read_text())["fits"]
