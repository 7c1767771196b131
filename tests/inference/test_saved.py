"""Styles and noise in a file: the same pictures, and whose they are."""

import io
import json

import numpy as np
import pytest

from stylegan_jax.inference.saved import read_styles, write_styles
from stylegan_jax.sizes import ImageShape


@pytest.fixture
def two(generator):
    """Styles of two images, and noise for each."""
    return generator.styles([3, 8]), generator.random_noise([5, 6])


def test_there_and_back(generator, two, tmp_path):
    ws, noise = two
    write_styles(tmp_path / "both.npz", generator, ws, noise)
    saved = read_styles([tmp_path / "both.npz"], generator)
    np.testing.assert_array_equal(saved.ws, ws)
    assert saved.notes == () and saved.ws.dtype == np.float32
    want = generator.synthesis(ws, noise)
    np.testing.assert_array_equal(generator.synthesis(saved.ws, saved.noise), want)
    # A reader of others finds what it knows, and what the file is of.
    with np.load(tmp_path / "both.npz") as arrays:
        assert arrays["w"].shape == (2, 6, 16) and arrays["noise/b8/conv0"].shape == (2, 8, 8, 1)
        about = json.loads(arrays["about"].tobytes())
    assert (about["family"], about["image"], about["kimg"]) == ("stylegan2", [16, 16, 3], 0.016)
    assert about["path"] == generator.origin.path


def test_several_files_with_and_without_noise(generator, two, tmp_path):
    ws, noise = two
    one = {block: {name: x[:1] for name, x in inner.items()} for block, inner in noise.items()}
    write_styles(tmp_path / "a.npz", generator, ws, one)  # one noise for both
    np.savez(tmp_path / "b.npz", w=ws[:1])  # of others
    saved = read_styles([tmp_path / "a.npz", tmp_path / "b.npz"], generator)
    np.testing.assert_array_equal(saved.ws, ws[[0, 1, 0]])
    for block, name in generator.noise_layers():
        own = generator.stored_noise()[block][name]
        want = np.concatenate([one[block][name]] * 2 + [own])
        np.testing.assert_array_equal(saved.noise[block][name], want)
    # What two images are of is the same only where styles and noise are.
    marks = [saved.fingerprint(i) for i in range(3)]
    assert len(set(marks)) == 3 and marks == [saved.fingerprint(i) for i in range(3)]


def test_an_input_without_noise_gets_none(generator, two, tmp_path):
    write_styles(tmp_path / "a.npz", generator, two[0], {"b8": two[1]["b8"]})
    noise = read_styles([tmp_path / "a.npz"], generator).noise
    np.testing.assert_array_equal(noise["b8"]["conv1"], two[1]["b8"]["conv1"])
    assert not noise["b16"]["conv1"].any() and noise["b16"]["conv1"].shape == (1, 16, 16, 1)


@pytest.mark.parametrize(
    ("changes", "here"),
    [
        (dict(num_ws=8), "16x16x3, 8 layers of 16 numbers"),
        (dict(w_dim=32), "16x16x3, 6 layers of 32 numbers"),
        (dict(shape=ImageShape(16, 24, 3, 0)), "16x24x3, 6 layers of 16 numbers"),
        (dict(shape=ImageShape(16, 16, 1, 0)), "16x16x1, 6 layers of 16 numbers"),
    ],
)
def test_another_network_is_refused(generator, two, tmp_path, monkeypatch, changes, here):
    write_styles(tmp_path / "a.npz", generator, two[0])
    for name, value in changes.items():
        monkeypatch.setattr(generator, name, value)
    there = "stylegan2 of 16x16x3, 6 layers of 16 numbers"
    message = f"a.npz has styles of another network: {there}; .* is stylegan2 of {here}. Give"
    with pytest.raises(ValueError, match=message) as info:
        read_styles([tmp_path / "a.npz"], generator)
    assert str(info.value).endswith(f"they are of, {generator.origin.path}.")


def test_another_family_and_other_weights(generator, make_generator, two, tmp_path):
    write_styles(tmp_path / "a.npz", generator, two[0])
    with np.load(tmp_path / "a.npz") as arrays:
        about = json.loads(arrays["about"].tobytes())
    text = json.dumps(about | {"family": "stylegan1"}).encode()
    np.savez(tmp_path / "b.npz", w=two[0], about=np.frombuffer(text, np.uint8))
    with pytest.raises(ValueError, match="another network: stylegan1 of .* is stylegan2 of"):
        read_styles([tmp_path / "b.npz"], generator)
    # Such as a later step of the run: it may be wanted, and is said.
    (note,) = read_styles([tmp_path / "a.npz"], make_generator(0.25)[1]).notes
    assert f"another network of this shape, {generator.origin.path}" in note


def test_shapes_of_others(generator, two, tmp_path):
    np.savez(tmp_path / "w.npz", w=two[0][:, :5])
    with pytest.raises(
        ValueError,
        match=r"another network: 5 layers of 16 numbers; .* checkpoint that they are of\.",
    ):
        read_styles([tmp_path / "w.npz"], generator)
    for ws in (two[0][0], two[0][:0], np.float32(1)):
        np.savez(tmp_path / "w.npz", w=ws)
        with pytest.raises(ValueError, match=r"w has the shape .*: wanted \[n, num_ws, w_dim\]"):
            read_styles([tmp_path / "w.npz"], generator)
    np.savez(tmp_path / "n.npz", **{"w": two[0], "noise/b4/conv1": np.zeros((1, 5, 4, 1))})
    with pytest.raises(ValueError, match="n.npz: noise for b4/conv1 has the shape"):
        read_styles([tmp_path / "n.npz"], generator)


def damaged():
    """Files that hold no styles, by name."""
    whole = io.BytesIO()
    np.savez(whole, w=np.zeros((1, 6, 16), np.float32))
    objects = io.BytesIO()
    np.savez(objects, w=np.asarray([{}, {}], object))
    other = io.BytesIO()
    np.savez(other, images=np.zeros(3))
    about = io.BytesIO()
    np.savez(about, w=np.zeros((1, 6, 16), np.float32), about=np.frombuffer(b"[1]", np.uint8))
    words = io.BytesIO()
    np.savez(words, w=np.asarray(["a"]))
    loud = io.BytesIO()
    np.savez(loud, **{"w": np.zeros((1, 6, 16)), "noise/b4/conv1": np.asarray(["a"])})
    bare = io.BytesIO()
    np.save(bare, np.zeros((1, 6, 16), np.float32))
    return {
        "empty": b"",
        "text": b"styles",
        "cut": whole.getvalue()[:200],
        "objects": objects.getvalue(),
        "other": other.getvalue(),
        "about": about.getvalue(),
        "words": words.getvalue(),
        "loud": loud.getvalue(),
        "npy": bare.getvalue(),
    }


@pytest.mark.parametrize("name", list(damaged()))
def test_what_is_no_file_of_styles(generator, tmp_path, name):
    (tmp_path / "x.npz").write_bytes(damaged()[name])
    with pytest.raises(ValueError, match="x.npz is no file of styles: give an .npz that"):
        read_styles([tmp_path / "x.npz"], generator)


def test_what_is_not_there_or_not_written(generator, two, tmp_path):
    for path in (tmp_path / "gone.npz", tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no file"):
            read_styles([path], generator)
    with pytest.raises(ValueError, match="No files of styles"):
        read_styles([], generator)
    with pytest.raises(ValueError, match="ends in .npz"):
        write_styles(tmp_path / "a.npy", generator, two[0])
    with pytest.raises(ValueError, match="ws has the shape"):
        write_styles(tmp_path / "a.npz", generator, two[0][0])
    with pytest.raises(ValueError, match="noise for b32/conv0"):
        write_styles(tmp_path / "a.npz", generator, two[0], {"b32": {"conv0": 0}})
    assert not list(tmp_path.iterdir())
