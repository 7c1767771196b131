"""Statistics of reals on disk: never of other data, never half, never of a damaged file."""

import numpy as np
import pytest

from stylegan_jax.metrics import statistics_cache
from stylegan_jax.metrics.statistics_cache import StatisticsCache

KEY = {"data": "abc", "images": 5, "mirrored": 0, "network": "inception"}


def test_what_is_kept_comes_back(tmp_path):
    cache = StatisticsCache(tmp_path / "deep" / "folder")
    assert cache.load(KEY) is None
    arrays = {"num": np.asarray(7), "mean": np.arange(3.0), "rows": np.ones((2, 2), np.float16)}
    cache.store(KEY, arrays)
    found = StatisticsCache(tmp_path / "deep" / "folder").load(dict(reversed(KEY.items())))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    # One file, and nothing half-written beside it.
    assert len(list((tmp_path / "deep" / "folder").iterdir())) == 1


@pytest.mark.parametrize("change", [{"data": "abd"}, {"images": 6}, {"network": "vgg16"}])
def test_other_reals_are_others(tmp_path, change):
    cache = StatisticsCache(tmp_path)
    cache.store(KEY, {"mean": np.zeros(2)})
    assert cache.load(KEY | change) is None


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_file_is_named(tmp_path, damage):
    cache = StatisticsCache(tmp_path)
    cache.store(KEY, {"mean": np.zeros(200)})
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    path.write_bytes({"cut": content[:300], "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(ValueError, match=f"{path.name}, kept statistics of reals, is damaged.*del"):
        cache.load(KEY)


def test_a_file_of_something_else_is_not_taken(tmp_path):
    """As where somebody renames files, or a hash is met twice."""
    cache = StatisticsCache(tmp_path)
    cache.store(KEY, {"mean": np.zeros(2)})
    (path,) = tmp_path.iterdir()
    other = KEY | {"data": "abd"}
    cache.store(other, {"mean": np.zeros(2)})
    (there,) = set(tmp_path.iterdir()) - {path}
    there.write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="holds statistics of .*abc.*wanted are those of .*abd"):
        cache.load(other)
    np.savez(there, mean=np.zeros(2))
    with pytest.raises(ValueError, match="holds statistics of something unknown"):
        cache.load(other)


def test_processes_take_what_all_have_or_give_up_together(tmp_path, monkeypatch):
    cache = StatisticsCache(tmp_path)
    cache.store(KEY, {"mean": np.zeros(2)})
    other = [False, False]  # has it; has damaged it

    def gather(state):
        return np.stack([state, np.asarray(other)])

    monkeypatch.setattr(statistics_cache.jax, "process_count", lambda: 2)
    monkeypatch.setattr(statistics_cache.multihost_utils, "process_allgather", gather)
    assert cache.load(KEY) is None
    other[:] = [True, False]
    assert cache.load(KEY) is not None
    assert cache.load(KEY | {"images": 6}) is None
    other[:] = [False, True]
    with pytest.raises(ValueError, match="What process 1 has kept of the reals is damaged"):
        cache.load(KEY)
    # Its own damage is told after the other has heard of it.
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{path.name}, kept statistics of reals, is damaged"):
        cache.load(KEY)
