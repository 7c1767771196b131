"""What is brought together from devices and processes."""

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from stylegan_jax.metrics import features, gather_features

ROWS = np.arange(24.0, dtype=np.float32).reshape(8, 3)


def spread(spec):
    mesh = jax.make_mesh((4,), ("data",), (AxisType.Auto,))
    return jax.device_put(ROWS, NamedSharding(mesh, spec))


def test_parts_come_together_in_order():
    for spec in (PartitionSpec("data"), PartitionSpec()):
        np.testing.assert_array_equal(gather_features(spread(spec)), ROWS)


def test_other_processes_are_asked_for_theirs(monkeypatch):
    """Only where this one does not have the whole: a split array of several processes."""

    class Shared:
        is_fully_addressable, is_fully_replicated = False, False

    calls = []

    def process_allgather(x, tiled):
        calls.append(tiled)
        return ROWS

    monkeypatch.setattr(features.multihost_utils, "process_allgather", process_allgather)
    np.testing.assert_array_equal(features.gather_features.__wrapped__(Shared()), ROWS)
    gather_features(spread(PartitionSpec("data")))
    assert calls == [True]
