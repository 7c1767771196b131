"""The evaluate tool: checkpoints and sets of images, what it prints, keeps and refuses."""

import json
import re

import numpy as np
import pytest
from absl import app
from etils import epath
from PIL import Image

from stylegan_jax.convert.export import write_export
from stylegan_jax.run.networks import load_networks
from stylegan_jax.tools.evaluate import subjects
from stylegan_jax.tools.evaluate.subjects import results_path
from tests.commands import run_module
from tests.data.foreign import drawings, write_folder
from tests.run.frozen import TinyFrozen


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(subjects, "FrozenNetworks", TinyFrozen)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Twelve drawings of two classes, twelve others, and twelve of another size."""
    path = tmp_path_factory.mktemp("images")
    names = [f"{'ab'[i % 2]}/{i:02d}.png" for i in range(12)]
    images = drawings(24, 16)
    write_folder(path / "reals", images[:12], names)
    write_folder(path / "others", images[12:], names)
    rng = np.random.default_rng(0)
    (path / "wide").mkdir()
    for i in range(12):
        pixels = rng.integers(0, 256, (10, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / "wide" / f"{i}.png")
    return path


@pytest.fixture(scope="module")
def labelled(make_generator):
    """A network of two classes."""
    return make_generator(0.5, ("a", "b"))[0]


def evaluate(monkeypatch, tmp_path, *words):
    """Runs the tool and returns the results that it printed."""
    printed = []
    monkeypatch.setattr("builtins.print", lambda *args, **_: printed.append(" ".join(args)))
    words = [*words, f"--cache_dir={tmp_path}/cache"]
    run_module(monkeypatch, ["stylegan_jax.tools.evaluate", *words])
    return [json.loads(line) for line in printed if line.startswith("{")]


def refused(monkeypatch, tmp_path, *words):
    """The error that the tool ends with."""
    with pytest.raises((ValueError, OSError, app.UsageError)) as caught:
        evaluate(monkeypatch, tmp_path, *words)
    return str(caught.value)


def test_a_checkpoint(monkeypatch, tmp_path, workdir, folders):
    """Values, and all that makes them comparable; the same again, and on disk."""
    out = tmp_path / "new" / "results.jsonl"
    words = (
        f"--checkpoint={workdir}",
        f"--data={folders}/reals",
        "--metrics=fid12_full,kid12,is12,pr12_full,ppl2_wend_8,swd12,lite0_fd12_full",
        f"--out={out}",
    )
    first = evaluate(monkeypatch, tmp_path, *words)
    by_name = {result["metric"]: result for result in first}
    assert list(by_name) == [
        *("fid12_full", "kid12", "is12", "pr12_full", "ppl2_wend_8", "swd12", "lite0_fd12_full")
    ]
    fid = by_name["fid12_full"]
    assert fid["values"].keys() == {"fid12_full"} and fid["values"]["fid12_full"] > 0
    assert fid["checkpoint"] == str(workdir) and fid["nimg"] == 16 and fid["size"] == "16x16x3"
    about = fid["protocol"]
    assert about["num_images"] == 12 and about["reals"] == 12 and about["seed"] == 0
    assert about["network"] == "tiny inception" and len(about["data_fingerprint"]) == 16
    assert about["mirror"] is False and about["title"] == "Frechet Inception distance"
    assert fid["seconds"] > 0 and fid["images_per_sec"] > 0
    assert by_name["pr12_full"]["values"].keys() == {*("pr12_full_precision", "pr12_full_recall")}
    assert "lite0_fd12_full_split" in by_name["lite0_fd12_full"]["values"]

    # The reals' side was kept, and everything is drawn from one seed.
    again = evaluate(monkeypatch, tmp_path, *words)
    for one, two in zip(first, again, strict=True):
        assert one["values"] == two["values"] and one["protocol"] == two["protocol"]
    assert [json.loads(line) for line in out.read_text().splitlines()] == [*first, *again]
    other = evaluate(monkeypatch, tmp_path, *words, "--seed=1")
    assert other[0]["values"] != first[0]["values"]
    assert other[0]["protocol"]["seed"] == 1


def test_equivariance(monkeypatch, tmp_path, workdir, movable):
    """Of networks that can be moved; no data are needed. One of few pixels is not equivariant."""
    (eqt,) = evaluate(
        monkeypatch,
        tmp_path,
        *(f"--checkpoint={movable[0]}", "--metrics=eqt4_int", f"--out={tmp_path}/out.jsonl"),
    )
    assert 0 < eqt["values"]["eqt4_int"] < 20
    assert eqt["protocol"]["unit"] == "dB" and eqt["protocol"]["images_per_move"] == 4
    message = refused(monkeypatch, tmp_path, f"--checkpoint={workdir}", "--metrics=eqr4")
    assert "eqr4: this 'stylegan2' takes no transform" in message


def test_what_is_there_is_not_lost(monkeypatch, tmp_path, folders):
    """Results are added; a set that is damaged on the way leaves those that were taken."""
    out = tmp_path / "results.jsonl"
    out.write_text('{"metric": "old"}\n')
    words = (f"--images={folders}/reals", f"--data={folders}/others", f"--out={out}")
    evaluate(monkeypatch, tmp_path, *words, "--metrics=fid")
    assert refused(monkeypatch, tmp_path, *words, "--metrics=swd12,fid13_full")
    lines = [json.loads(line)["metric"] for line in out.read_text().splitlines()]
    assert lines == ["old", "fid"]


def test_sets_of_images(monkeypatch, tmp_path, folders):
    """Without a number all images are looked at; their sizes may differ."""
    (same,) = evaluate(
        monkeypatch,
        tmp_path,
        *(f"--images={folders}/reals", f"--data={folders}/reals", "--metrics=fid_full"),
    )
    assert abs(same["values"]["fid_full"]) < 1e-6 and same["protocol"]["num_images"] == 12
    fid, kid = evaluate(
        monkeypatch,
        tmp_path,
        *(f"--images={folders}/wide", f"--data={folders}/reals", "--metrics=fid,kid"),
    )
    assert fid["values"]["fid"] > 0.01 and kid["values"]["kid"] > 0
    assert (fid["size"], fid["data_size"]) == ("10x30x3", "16x16x3")
    (alone,) = evaluate(monkeypatch, tmp_path, *(f"--images={folders}/wide", "--metrics=is"))
    assert alone["values"]["is_mean"] > 1 and alone["data"] is None


def test_classes(monkeypatch, tmp_path, labelled, folders):
    """Each class against its own reals, after all of them together."""
    results = evaluate(
        monkeypatch,
        tmp_path,
        *(f"--checkpoint={labelled}", f"--data={folders}/reals", "--metrics=fid4_full"),
        "--per_class",
    )
    assert [result.get("class") for result in results] == [None, "a", "b"]
    assert [result["protocol"]["reals"] for result in results] == [12, 6, 6]
    values = [result["values"]["fid4_full"] for result in results]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metrics=fid5"], "Give --checkpoint=.*or --images=..., one of both"),
        (["--images=A", "--checkpoint=B", "--metrics=fid5"], "one of both"),
        (["--images=A", "--metrics=fido"], "'fido' is no metric"),
        (["--images={0}/reals", "--data={0}/no", "--metrics=fid5"], "There is no .*no"),
        (["--images={0}/reals", "--metrics=fid5"], "fid5 compares with reals, and there are none"),
        (["--images={0}/reals", "--data={0}/others", "--metrics=fid50k"],
         "fid50k looks at 50000 images, and .* has 12: name as many"),
        (["--images={0}/reals", "--data={0}/others", "--metrics=fid13_full"],
         "fid13_full looks at 13 images, and .* has 12"),
        (["--images={0}/reals", "--data={0}/others", "--metrics=ppl2_wend_8"],
         "ppl2_wend_8 looks into a generator, and got images"),
        (["--images={0}/reals", "--data={0}/others", "--metrics=memory5"], "only a run says which"),
        (["--images={0}/reals", "--data={0}/wide", "--metrics=swd12"], "10x30"),
        (["--images={0}/reals", "--per_class", "--metrics=fid5"], "--per_class wants a --check"),
        (["--images={0}/reals", "--metrics=is12", "--out={0}/x.txt"], "ends in .jsonl"),
        (["--checkpoint={0}/reals", "--metrics=is12"], "checkpoint"),
        (["--checkpoint={0}/nothing", "--metrics=is12"], "does not exist"),
        (["--images={0}/reals", "extra", "--metrics=is12"], "Unexpected arguments"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(monkeypatch, tmp_path, folders, words, message):
    words = [word.format(folders) for word in words]
    assert re.search(message, refused(monkeypatch, tmp_path, *words))


def test_networks_and_data_that_do_not_go_together(
    monkeypatch, tmp_path, workdir, labelled, folders
):
    metrics = "--metrics=fid5"
    run = f"--checkpoint={workdir}"
    # An export has no data of its own, and labels come from data.
    export = tmp_path / "labelled.safetensors"
    write_export(epath.Path(export), load_networks(labelled, networks=["G_ema"]))
    classes = f"--checkpoint={export}"
    assert "as often as they occur in its data: give --data" in refused(
        monkeypatch, tmp_path, classes, metrics
    )
    names = [f"{'abc'[i % 3]}/{i}.png" for i in range(12)]
    write_folder(tmp_path / "three", drawings(12, 16), names)
    assert "labels of length 3, the network wants 2" in refused(
        monkeypatch, tmp_path, classes, metrics, f"--data={tmp_path}/three"
    )
    assert "--per_class wants a network that was trained on classes" in refused(
        monkeypatch, tmp_path, run, metrics, f"--data={folders}/reals", "--per_class"
    )
    assert "10x30" in refused(monkeypatch, tmp_path, run, metrics, f"--data={folders}/wide")
    grey = [image[..., :1] for image in drawings(12, 16)]
    write_folder(tmp_path / "grey", grey, [f"{i}.png" for i in range(12)])
    assert "1 channel(s), the network draws 3" in refused(
        monkeypatch, tmp_path, run, metrics, f"--data={tmp_path}/grey"
    )


def test_where_results_of_a_run_are_kept(tmp_path):
    (tmp_path / "run" / "checkpoints" / "16").mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text("{}")
    wanted = tmp_path / "run" / "evaluations.jsonl"
    for path in ("run", "run/checkpoints", "run/checkpoints/16"):
        assert str(results_path(str(tmp_path / path), None)) == str(wanted)
    assert results_path(str(tmp_path), None) is None
    assert results_path(str(tmp_path / "G.pkl"), None) is None
    assert results_path(None, None) is None
    assert str(results_path("anything", "here.jsonl")) == "here.jsonl"
