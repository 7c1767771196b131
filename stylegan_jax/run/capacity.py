"""What a picture and this machine's memory can hold: known before anything is drawn or computed."""

import os
import pathlib

# Pixels of a picture: 400 MB as RGB, and several times that while it is put together and encoded.
# PIL, and with it most viewers in Python, does not open pictures of a third more.
_MOST_PICTURE_PX = 2**27
# Images of a picture, however small: no screen shows them, and each is drawn.
_MOST_CELLS = 2**14

# Limits of containers, by the two versions of Linux's control groups.
_CGROUP_LIMITS = (
    pathlib.Path("/sys/fs/cgroup/memory.max"),
    pathlib.Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def most_cells(height: int, width: int) -> int:
    """Returns how many images of a size one picture holds, at least 1.

    Args:
        height: Of an image and what surrounds it, in pixels.
        width: Likewise.
    """
    return max(1, min(_MOST_CELLS, _MOST_PICTURE_PX // (height * width)))


def host_memory_bytes() -> int:
    """Returns the memory that processes of this machine, or container, may use together."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _CGROUP_LIMITS:
        # A group without a limit says `max`, or more than the machine has.
        text = path.read_text().strip() if path.exists() else ""
        if text.isdecimal():
            found.append(int(text))
    return min(found)
