"""What a picture and the machine hold."""

import os

from stylegan_jax.run import capacity
from stylegan_jax.run.capacity import host_memory_bytes, most_cells


def test_pictures_hold_pixels_and_images():
    assert most_cells(1024, 1024) == 128 and most_cells(2048, 1024) == 64
    assert most_cells(4, 4) == most_cells(1, 1) == 2**14
    assert most_cells(2**14, 2**14) == 1


def test_memory_is_that_of_the_machine_or_the_container(tmp_path, monkeypatch):
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(capacity, "_CGROUP_LIMITS", (limit, tmp_path / "gone"))
    assert host_memory_bytes() == whole
    for text, expected in (("max\n", whole), (f"{2**62}\n", whole), (f"{2**20}\n", 2**20)):
        limit.write_text(text)
        assert host_memory_bytes() == expected
