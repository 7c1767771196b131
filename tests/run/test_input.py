"""What a run reads: labels that are left off are named, and waiting for data is noticed."""

import json
import time

import jax
import numpy as np
import pytest

from stylegan_jax.configs.quickstart import get_config
from stylegan_jax.run import input as run_input
from stylegan_jax.run.input import (
    InputStream,
    image_shape,
    open_companion,
    open_config_source,
    tell_what_is_not_used,
)
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.sharding import make_mesh
from tests.data.foreign import drawings, write_folder

LEVEL = Level(8, 0, 4, 0.0, 0.0)


@pytest.fixture
def config(tmp_path):
    names = [f"{'ab'[i % 2]}/{i}.png" for i in range(8)]
    write_folder(tmp_path / "letters", drawings(8, 8), names)
    config = get_config("fast")
    config.data.dataset, config.data.resolution = str(tmp_path / "letters"), 8
    return config


def test_unused_labels_are_named(config, capsys):
    source = open_config_source(config)
    assert capsys.readouterr().out == ""
    tell_what_is_not_used(source)
    out = capsys.readouterr().out
    assert "NOTE: letters has 2 classes, which this run does not use" in out
    assert "--config.data.labels" in out and image_shape(source).c_dim == 0
    config.data.labels = True
    source = open_config_source(config)
    tell_what_is_not_used(source)
    assert image_shape(source).c_dim == 2
    assert capsys.readouterr().out == ""


def test_labels_by_names_and_silent_channels_are_told(config, capsys, tmp_path):
    grey = np.repeat(drawings(4, 8)[..., :1], 3, axis=3)
    write_folder(tmp_path / "grey", grey, [f"{i}.png" for i in range(4)])
    named = {name: {"labels": [[f"{i}.png", i % 2] for i in range(4)]} for name in ("role", "tone")}
    content = {"labels": None, "named_labels": named}
    (tmp_path / "grey" / "dataset.json").write_text(json.dumps(content))
    config.data.dataset = str(tmp_path / "grey")
    tell_what_is_not_used(open_config_source(config))
    out = capsys.readouterr().out
    assert "Labels by names, to train with: --config.data.labels=role|tone\n" in out
    assert "NOTE: grey: all 4 images have the same red, green and blue" in out
    config.data.labels, config.data.channels = "tone", 1
    source = open_config_source(config)
    tell_what_is_not_used(source)
    assert (source.c_dim, source.img_channels, capsys.readouterr().out) == (2, 1, "")
    # Another set is opened as the run opens its own: here without its silent channels.
    assert open_companion(config, str(tmp_path / "grey")).img_channels == 1


def test_waiting_is_measured_and_much_of_it_is_said_once(config, capsys, monkeypatch):
    source = open_config_source(config)

    def slow(*args, **kwargs):
        while True:
            time.sleep(0.02)
            yield {"image": np.zeros((4, 8, 8, 3), np.uint8)}

    monkeypatch.setattr(run_input, "make_iterator", slow)
    stream = InputStream(0, config, source, LEVEL, make_mesh(jax.devices()[:1]))
    capsys.readouterr()
    start = time.monotonic()
    next(stream), next(stream)  # the first was there already
    share = stream.report(time.monotonic() - start)["Timing/data_wait"]
    assert 0.5 < share <= 1
    out = capsys.readouterr().out
    assert "WARNING: input-bound" in out and "num_workers" in out
    next(stream)
    stream.report(0.02)
    assert capsys.readouterr().out == ""
    assert stream.report(10.0)["Timing/data_wait"] == 0
    next(stream)
    stream.report(0.02)
    assert "WARNING: input-bound" in capsys.readouterr().out
