"""Metrics on disk and averages on devices."""

import json
import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter

from stylegan_jax.run.meters import (
    MeanMeter,
    MetricWriter,
    read_metrics,
    truncate_metrics,
)
from stylegan_jax.run.progress import tee_log


def read_events(workdir):
    """Reads TensorBoard events: records of length, checksum, data, checksum."""
    events = []
    for path in sorted(workdir.glob("events.out.tfevents.*")):
        data, i = path.read_bytes(), 0
        while i < len(data):
            size = int.from_bytes(data[i : i + 8], "little")
            events.append(Event.FromString(data[i + 12 : i + 12 + size]))
            i += size + 16
    return events


def test_records_are_framed_as_read_here(tmp_path):
    """The reader above agrees with the library's writer."""
    writer = RecordWriter(str(tmp_path / "events.out.tfevents.0"))
    writer.write(Event(step=3).SerializeToString())
    writer.close()
    assert [event.step for event in read_events(tmp_path)] == [3]


def test_writer_accepts_every_kind_of_scalar(tmp_path):
    """Each line is strict JSON with kimg first; read_metrics gives the numbers back."""
    metrics = {
        "Loss/G": jnp.float32(0.5),
        "Loss/D": jnp.bfloat16(1.5),
        "n": np.int64(7),
        "zero_d": np.array(2.25),
        "nan": float("nan"),
        "inf": np.float32(np.inf),
        "minus": jnp.float32(-jnp.inf),
        "ok": True,
        "note": "text",
        "none": None,
    }
    with MetricWriter(tmp_path / "run") as writer:
        writer.write(12345, metrics)
        writer.write(20000, {"Loss/G": 1})
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()  # already on disk

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    first = json.loads(lines[0], parse_constant=refuse)
    assert next(iter(first)) == "kimg" and first["kimg"] == 12.345
    assert (first["nan"], first["inf"], first["minus"]) == ("nan", "inf", "-inf")
    record = read_metrics(writer.path)[0]
    assert math.isnan(record.pop("nan"))
    assert record == {
        "kimg": 12.345, "Loss/G": 0.5, "Loss/D": 1.5, "n": 7, "zero_d": 2.25,
        "inf": math.inf, "minus": -math.inf, "ok": True, "note": "text", "none": None,
    }  # fmt: skip
    assert read_metrics(writer.path)[1] == {"kimg": 20.0, "Loss/G": 1}


@pytest.mark.parametrize(
    ("value", "given"), [({"a": 1}, "dict"), ([1], "list"), (np.zeros(2), r"shape \(2,\)")]
)
def test_writer_refuses_nested_values(tmp_path, value, given):
    """A nested value names itself and what to do; nothing is written."""
    with MetricWriter(tmp_path) as writer:
        with pytest.raises(ValueError, match=f"'Loss'.*{given}.*Flatten"):
            writer.write(0, {"fine": 1, "Loss": value})
        with pytest.raises(ValueError, match="Rename"):
            writer.write(0, {"kimg": 1})
    assert read_metrics(writer.path) == []


def test_writer_feeds_tensorboard(tmp_path):
    """Finite scalars and images arrive at step nimg; a resumed run purges what lies beyond."""
    with MetricWriter(tmp_path) as writer:
        writer.write(1000, {"Loss/G": 0.5, "bad": math.nan, "note": "text"})
        writer.write_images(1000, {"fakes": np.zeros((4, 6, 3), np.uint8)})
    values = [(e.step, v) for e in read_events(tmp_path) for v in e.summary.value]
    assert [(step, v.tag) for step, v in values] == [(1000, "Loss/G"), (1000, "fakes")]
    assert values[0][1].simple_value == 0.5
    assert (values[1][1].image.height, values[1][1].image.width) == (4, 6)

    resumed = tmp_path / "resumed"
    MetricWriter(resumed, nimg=2000).close()
    assert any(e.session_log.status == e.session_log.START and e.step == 2001
               for e in read_events(resumed))  # fmt: skip


def test_resume_drops_later_and_torn_lines(tmp_path):
    """After kill -9 and resume, the file goes on from the checkpoint without duplicates."""
    with MetricWriter(tmp_path, nimg=0) as writer:
        for nimg in (1000, 2000, 3000):
            writer.write(nimg, {"run": 1})
    with writer.path.open("a") as file:
        file.write('{"kimg": 4.0, "run"')
    assert [r["kimg"] for r in read_metrics(writer.path)] == [1, 2, 3]
    with MetricWriter(tmp_path, nimg=2000) as writer:
        for nimg in (3000, 4000):
            writer.write(nimg, {"run": 2})
    records = [(r["kimg"], r["run"]) for r in read_metrics(writer.path)]
    assert records == [(1, 1), (2, 1), (3, 2), (4, 2)]
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_reopening_without_a_counter_keeps_whole_lines(tmp_path):
    """A tool that adds results later loses only the torn tail, even one that parses."""
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"kimg": 9.0}\n\xff\xfe\n[1]\n{"kimg": 10.5}\n{"kimg": 1}')
    with MetricWriter(tmp_path) as writer:
        writer.write(11000, {})
    assert [r["kimg"] for r in read_metrics(path)] == [9, 10.5, 11]
    before = path.stat().st_ino
    truncate_metrics(path, 11000)
    assert path.stat().st_ino == before  # nothing to drop: not rewritten
    truncate_metrics(path, 10500)
    assert path.read_text() == '{"kimg": 9.0}\n{"kimg": 10.5}\n'


def test_missing_and_disabled(tmp_path):
    """A missing file reads as empty; processes other than the first write nothing at all."""
    assert read_metrics(tmp_path / "metrics.jsonl") == []
    truncate_metrics(tmp_path / "metrics.jsonl", 5)
    with (
        MetricWriter(tmp_path / "run", enabled=False) as writer,
        tee_log(tmp_path / "run", enabled=False),
    ):
        writer.write(0, {"a": 1})
        writer.write_images(0, {"a": np.zeros((2, 2, 3), np.uint8)})
    assert list(tmp_path.iterdir()) == []


def test_mean_meter_counts_each_name():
    """Names that come seldom are averaged over their own reports; a fetch starts again."""
    meter = MeanMeter()
    for i in range(8):
        meter.add({"G": jnp.float32(i), "nested": {"a": jnp.bfloat16(2)}})
        if i % 4 == 0:
            meter.add({"pl": jnp.float32(i), "G": jnp.float32(100)})
    means = meter.means()
    assert means == {"G": pytest.approx((28 + 200) / 10), "nested/a": 2.0, "pl": 2.0}
    assert all(type(value) is float for value in means.values())
    assert meter.means() == {}
    meter.add({"G": jnp.float32(5)})
    assert meter.means() == {"G": 5.0}


def test_mean_meter_neither_syncs_nor_takes_buffers():
    """Adding moves nothing between host and device, and reports stay usable."""
    meter = MeanMeter()
    reports = [{"x": jnp.float32(i)} for i in range(5)]
    with jax.transfer_guard("disallow"):
        for report in reports:
            meter.add(report)
        assert meter.means() == {"x": 2.0}
    assert [float(report["x"]) for report in reports] == [0, 1, 2, 3, 4]


def test_mean_meter_on_all_devices():
    """Reports that are replicated over a mesh work, without warnings about donation."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    meter = MeanMeter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(3):
            meter.add({"x": jax.device_put(jnp.float32(i), everywhere)})
    assert meter.means() == {"x": 1.0}


def test_mean_meter_shows_nan_and_refuses_vectors():
    """NaN is not averaged away; only scalars are taken."""
    meter = MeanMeter()
    meter.add({"x": jnp.float32(jnp.nan)})
    meter.add({"x": jnp.float32(1)})
    assert math.isnan(meter.means()["x"])
    with pytest.raises(ValueError, match=r"'a/b' has shape \(3,\)"):
        meter.add({"a": {"b": jnp.zeros(3)}})
