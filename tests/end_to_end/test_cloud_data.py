"""Data sets in buckets: prepared into one, and read from it by name, as a folder and as a zip."""

import os
import subprocess
import sys

import pytest

from tests.data.foreign import drawings, write_folder, write_zip
from tests.gcs import serve

pytestmark = pytest.mark.slow

# The libraries read their environment when they are loaded: a process of its own.
_SCRIPT = """
import sys
import numpy as np
from stylegan_jax.data import make_dataset, make_iterator, open_source, prepare
from stylegan_jax.data.archives import open_archive

folder, data_dir = sys.argv[1:]
expected = np.stack(list(open_source(folder, size=(16, 16))))

def check(source):
    np.testing.assert_array_equal(np.stack(list(source)), expected)
    print(source.name)

prepared = prepare("mine", folder, size=(16, 16), data_dir=data_dir)
assert str(prepared) == "gs://bucket/data/mine/16/1.0.0", prepared
check(open_source("mine", size=(16, 16), data_dir=data_dir))
check(open_source("gs://bucket/data/mine/16/1.0.0", size=(16, 16)))
check(open_source("gs://bucket/pictures", size=(16, 16)))
check(open_source("gs://bucket/pictures.zip", size=(16, 16)))
prepare("again", "gs://bucket/pictures.zip", size=(16, 16), data_dir=data_dir)
source = open_source("again", size=(16, 16), data_dir=data_dir)
batch = next(make_iterator(make_dataset(source, batch_size=4, seed=0)))
print(batch["image"].shape)
for missing in ("gs://bucket/nothing", "gs://absent/data"):
    try:
        open_source(missing, size=(16, 16))
    except (ValueError, OSError) as error:
        print(error)
"""


@pytest.fixture(scope="module")
def images():
    return drawings(6, 16)


def test_data_sets_in_a_bucket(tmp_path, images):
    folder = tmp_path / "pictures"
    names = [f"{number:02d}.png" for number in range(len(images))]
    write_folder(folder, images, names)
    write_zip(tmp_path / "pictures.zip", images, names)
    with serve("bucket") as gcs:
        for path in sorted(folder.rglob("*.png")):
            gcs.write("bucket", str(path.relative_to(tmp_path)), path.read_bytes())
        gcs.write("bucket", "pictures.zip", (tmp_path / "pictures.zip").read_bytes())
        env = os.environ | gcs.environment() | {"HOME": str(tmp_path)}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        command = [sys.executable, "-c", _SCRIPT, str(folder), "gs://bucket/data"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[:5] == ["mine", "mine/16/1.0.0", "pictures", "pictures", "(4, 16, 16, 3)"]
        assert "There is no data set 'gs://bucket/nothing'" in done.stdout
        assert "There is no bucket gs://absent" in done.stdout
        names = [name for name in gcs.names("bucket") if "data/mine" in name]
        assert any(name.endswith("dataset_info.json") for name in names)
    # What was prepared on the way is cleared.
    assert not any((tmp_path / ".cache/stylegan_jax/upload").rglob("*array_record*"))
