"""Folders of runs: whole ones, those of runs that still write or were killed, and no runs."""

import json
import shutil

import pytest

from stylegan_jax.tools.report.reading import read_runs


def read(*folders):
    return read_runs([str(folder) for folder in folders])


def test_a_whole_run(make_run, config):
    folder = make_run(settings={"seed": 5})
    (folder / ".run.json").write_text('{"host": "vm", "process": 3}')
    (folder / "events.out.tfevents.1700000100.host.b.0002").touch()
    (folder / "events.out.tfevents.1700000000.host.a").touch()
    (run,) = read(folder)
    assert run.name == "run" and run.path == folder
    assert run.given == str(folder)
    assert run.config == config and run.config["seed"] == 5 and run.environment == {}
    assert len(run.records) == 6 and run.log.facts["devices"] == "8 x TPU v5 lite"
    assert run.owner == {"host": "vm", "process": 3}
    assert run.started == 1700000000 and run.hosts == ("host.a", "host.b")
    assert run.changed >= (folder / "metrics.jsonl").stat().st_mtime - 1
    assert run.checkpoints == () and run.evaluations == [] and run.notes == ()


def test_a_run_that_is_being_written(make_run):
    folder = make_run()
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"kimg": 2.5, "swd": "inf"}\n[1]\n{"kimg": 3.0, "swd": 1\xc3')
    with (folder / "log.txt").open("ab") as file:
        file.write(b"2.5/3.0 kimg  8 img/s \xf0\x9f")
    (run,) = read(folder)
    assert len(run.records) == 7 and run.records[-1] == {"kimg": 2.5, "swd": float("inf")}
    assert run.log.tail[-1].startswith("2.5/3.0 kimg") and run.notes == ()


def test_a_checkpoint_alone(workdir):
    """No config, no numbers: the checkpoint has the config. A damaged one is told."""
    folder = workdir
    shutil.copytree(folder / "checkpoints" / "16", folder / "checkpoints" / "9.diverged")
    (folder / "checkpoints" / "32").mkdir()
    (folder / "checkpoints" / "tmp.orbax-checkpoint-tmp").mkdir()
    (run,) = read(folder)
    found = [(one.nimg, one.state) for one in run.checkpoints]
    assert found == [(9, "diverged"), (16, "kept"), (32, "unreadable")]
    assert run.config["G"]["name"] == "stylegan2" and "jax" in run.checkpoints[1].versions
    assert len(run.notes) == 1 and "checkpoint 32 cannot be read" in run.notes[0]
    assert run.records == [] and run.log.num_lines == 0


def test_evaluations_are_read_with_care(make_run):
    folder = make_run()
    whole = {
        "metric": "fid50k_full",
        "nimg": 2000,
        "checkpoint": "checkpoints/2000",
        "values": {"fid50k_full": 12.5},
        "protocol": {"num_images": 50000},
        "seconds": 10.5,
        "images_per_sec": 100.0,
        "time": "2026-01-01T00:00:00+00:00",
    }
    strange = {"metric": "kid", "values": [1], "nimg": "many", "protocol": None, "time": 17.5}
    lines = [json.dumps(whole), "{}", json.dumps(strange), '{"metric": 3}', '{"metric": "f']
    (folder / "evaluations.jsonl").write_text("\n".join(lines))
    assert read(folder)[0].evaluations == [whole, {"metric": "kid", "time": 17.5}]


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null"])
def test_a_damaged_config_is_a_note(make_run, text):
    folder = make_run()
    (folder / "config.json").write_text(text)
    (run,) = read(folder)
    assert run.config == {} and len(run.notes) == 1 and "config.json" in run.notes[0]


def test_names_tell_runs_apart(make_run):
    first, second, other = make_run("a/run"), make_run("b/run"), make_run("b/other")
    assert [run.name for run in read(first, second, other)] == ["a/run", "b/run", "b/other"]
    assert [run.name for run in read(first, other)] == ["run", "other"]


def test_what_is_no_run(make_run, tmp_path, monkeypatch):
    folder = make_run()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    wrong = {
        "gone": "gone does not exist: give the --workdir",
        "run/log.txt": "log.txt is a file: give the folder of a run",
        "empty": "empty is not the folder of a run, as it holds none of config.json, .*--workdir",
        "run/samples": rf"holds none of .*: give {folder.name}",
        "s3://bucket/run": "neither a local path nor in a bucket",
        "gs://bucket/r*n": "without the letters",
    }
    for text, message in wrong.items():
        with pytest.raises((ValueError, OSError), match=message):
            read(folder, text)
    with pytest.raises(ValueError, match="run is given twice"):
        read("run", "run/../run")
