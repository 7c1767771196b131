"""Pictures of runs: as they are, smaller and fewer, broken ones, titles."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.run.images import save_png
from stylegan_jax.tools.report.pictures import fill, find_pictures, title_of
from stylegan_jax.tools.report.reading import read_runs


def album(folder, **kwargs):
    return find_pictures(read_runs([str(folder)])[0], **kwargs)


def pixels(picture):
    head, _, text = picture.uri.partition(",")
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        assert head == f"data:image/{image.format.lower()};base64"
        assert image.size == (picture.width, picture.height)
        return np.asarray(image)


def size_of(*albums):
    shown = [p for a in albums for p in (*a.shown.values(), *(p for _, p in a.shown_grids))]
    return sum(len(picture.uri) for picture in shown)


def test_as_they_are(make_run):
    folder = make_run(grids=(0, 1, 20))
    save_png(folder / "samples" / "fakes_000000.500.png", np.zeros((8, 8, 3), np.uint8))
    save_png(folder / "samples" / "grown_0004.png", np.zeros((8, 8, 3), np.uint8))
    names = ("growth.png", "truncation.png", "figures/noise_a.png", "samples.PNG")
    for name in (*names, "figures/reals.png"):
        save_png(folder / name, np.full((16, 32, 1), 7, np.uint8))
    found = album(folder)
    assert fill([found], 10**6) == []
    assert [kimg for kimg, _ in found.shown_grids] == [0, 0.5, 1, 20]
    assert set(found.shown) == {
        *("growth", "reals", "samples", "truncation", "noise_a", "reals in figures")
    }
    titles = [title for title, _ in found.figures()]
    assert titles == ["samples", "Truncation", "Noise (noise_a)", "reals in figures"]
    assert (pixels(found.shown_grids[2][1]) == 80).all() and pixels(
        found.shown["growth"]
    ).max() == 7
    # Grids of a future that was given up.
    assert [kimg for kimg, _ in album(folder, last_kimg=1.2).grids] == [0, 0.5, 1]


def test_no_pictures(make_run):
    folder = make_run(grids=())
    (folder / "reals.png").unlink()
    found = album(folder)
    assert fill([found], 0) == [] and found.shown_grids == [] and found.figures() == []


@pytest.fixture
def noisy_run(make_run, rng):
    """20 grids of 16 x 3000 pixels that do not compress, and reals of another brightness each."""
    folder = make_run("noisy", grids=())
    for kimg in range(20):
        picture = rng.integers(0, 256, (16, 3000, 3), dtype=np.uint8)
        save_png(folder / "samples" / f"fakes_{kimg:06d}.png", picture)
    return folder


def test_smaller_and_fewer(noisy_run):
    whole = album(noisy_run)
    assert fill([whole], 5_000_000) == [] and size_of(whole) > 3_500_000

    narrow = album(noisy_run)
    (note,) = fill([narrow], 1_000_000)
    assert size_of(narrow) <= 1_000_000 and len(narrow.shown_grids) == 20
    assert "as WebP, at most 2048 pixels wide, to keep" in note
    assert {picture.width for _, picture in narrow.shown_grids} == {2048}
    assert pixels(narrow.shown["reals"]).shape == (32, 64, 3)  # small ones keep their pixels

    few = album(noisy_run)
    (note,) = fill([few], 60_000)
    assert 1 < len(few.shown_grids) < 20 and size_of(few) <= 60_000
    assert f"1024 pixels wide, and {len(few.shown_grids)} of 20 sample grids" in note
    kimg = [kimg for kimg, _ in few.shown_grids]
    assert kimg[0] == 0 and kimg[-1] == 19
    assert max(np.diff(kimg)) - min(np.diff(kimg)) <= 1

    none = album(noisy_run)
    (note,) = fill([none], 10)
    assert size_of(none) == 0 and "0 of 20 sample grids, without reals, to keep" in note


def test_two_runs_share_the_room(noisy_run, make_run):
    albums = [album(noisy_run), album(make_run(grids=range(30)))]
    fill(albums, 60_000)
    assert size_of(*albums) <= 60_000 and all(len(one.shown_grids) > 1 for one in albums)
    assert all("reals" in one.shown for one in albums)


@pytest.mark.parametrize("budget", [10**6, 1500])
def test_broken_pictures_are_noted(make_run, budget):
    folder = make_run(grids=(0, 1))
    whole = (folder / "samples" / "fakes_000001.png").read_bytes()
    (folder / "samples" / "fakes_000002.png").write_bytes(whole[:20])
    (folder / "samples" / "fakes_000003.png").write_bytes(b"")
    (folder / "page.png").write_text("<script>alert(1)</script>" * 100)
    Image.new("RGB", (4, 4)).save(folder / "other.png", format="BMP")
    found = album(folder)
    notes = fill([found], budget)
    assert [kimg for kimg, _ in found.shown_grids] == [0, 1]
    text = "\n".join(notes)
    assert all(name in text for name in ("fakes_000002.png", "fakes_000003.png", "page.png"))
    assert "page" not in found.shown
    # Only PNG is taken as it is; anything else is written anew.
    assert ("other" in found.shown) == (budget < 10**6)


def test_titles():
    assert title_of("truncation") == "Truncation" and title_of("my_picture") == "my_picture"
    assert title_of("truncation_2") == "Truncation (truncation_2)"
