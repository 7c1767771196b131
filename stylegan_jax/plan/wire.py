"""What a program's collectives cost on the wire: bytes, and seconds by data sheet."""

import itertools
import math
from typing import Any, NamedTuple

from stylegan_jax.cost.chips import Links
from stylegan_jax.plan import hlo
from stylegan_jax.plan.targets import Topology


class Wire(NamedTuple):
    """What one device sends in a program, and how long that takes at the least.

    Attributes:
        inside_bytes: Over the links inside a slice of TPUs or a host of GPUs.
        inside_sec: Their time.
        between_bytes: Over the network between slices or hosts.
        between_sec: Its time.
    """

    inside_bytes: float = 0.0
    inside_sec: float = 0.0
    between_bytes: float = 0.0
    between_sec: float = 0.0


def find_collectives(text: str, topology: Topology) -> dict[str, Any]:
    """Finds a program's collectives by kind, and their cost on the wire where links are known.

    Args:
        text: The compiled program.
        topology: What it was compiled for.

    Returns:
        `{"collectives": {op: sums}, "wire": the fields of a Wire}`.
    """
    found: dict[str, Any] = {"collectives": hlo.collectives(text)}
    if topology.chip.links is not None:
        found["wire"] = estimate(hlo.messages(text), topology, topology.chip.links)._asdict()
    return found


def estimate(messages: list[hlo.Message], topology: Topology, links: Links) -> Wire:
    """Adds up the collectives of a program, one after the other.

    Bounds from data sheets: full bandwidth, no latency, no collective beside another or beside
    computation. A collective that spans a part of a slice is taken to lie along whole axes of the
    torus where their product allows it, one with a single partner to reach it over one link.

    Source: https://jax-ml.github.io/scaling-book/sharding ("A deeper dive into TPU communication
    primitives"), https://jax-ml.github.io/scaling-book/gpus (hosts of GPUs).
    """
    costs = (_cost(message, topology, links) for message in messages)
    return Wire(*(math.fsum(column) for column in zip(Wire(), *costs)))


def _cost(message: hlo.Message, topology: Topology, links: Links) -> Wire:
    """Estimates bytes and seconds of a collective, as often as it runs."""
    # Over which of the two it goes, in bytes of one run.
    if message.op == "send":
        inside = 0.0
        between = message.wire_bytes
    elif topology.platform == "tpu":
        inside = message.wire_bytes
        between = 0.0
    else:
        inside, between = _split_over_hosts(message, topology.shape[1])
    inside *= message.times
    between *= message.times

    # Seconds at full bandwidth.
    rate = _rate(message, links, topology.shape)
    return Wire(inside, inside / rate, between, between / links.network_bandwidth)


def _split_over_hosts(message: hlo.Message, gpus_per_host: int) -> tuple[float, float]:
    """Splits the bytes that a GPU sends into those inside its host and those to others.

    First every host by itself, then each GPU its part with its like of the other hosts: together
    as many bytes as around one ring.
    """
    # Devices are numbered host after host. In a permutation sources and targets take turns.
    hosts = [device // gpus_per_host for device in message.group]
    if message.op == "collective-permute":
        crosses = any(a != b for a, b in zip(hosts[::2], hosts[1::2]))
        return (0.0, message.wire_bytes) if crosses else (message.wire_bytes, 0.0)

    size = len(hosts)
    num_hosts = len(set(hosts))
    if size == 1:
        return 0.0, 0.0
    # Of the (size - 1) parts that go around, (num_hosts - 1) leave the host.
    between = message.wire_bytes * (num_hosts - 1) / (size - 1)
    return message.wire_bytes - between, between


def _rate(message: hlo.Message, links: Links, shape: tuple[int, ...]) -> float:
    """Returns the bytes per second that a device sends inside its slice or host."""
    if not links.torus_axes or message.op == "collective-permute":
        return links.bandwidth
    # Three axes are closed to rings only where all of them can be.
    is_mesh = links.torus_axes == 3 and any(side % links.ring for side in shape)
    # A ring is gone around both ways; on a line each device has half of that.
    sides = _axes(len(message.group), shape)
    return links.bandwidth * sum(1 if is_mesh or side % links.ring else 2 for side in sides)


def _axes(size: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Finds the sides of the torus that a group of devices spans; a part of an axis is a line."""
    sides = [side for side in shape if side > 1]
    if size >= math.prod(shape):
        return tuple(sides) or (1,)
    # The fewest whole axes whose product is the group.
    for count in range(1, len(sides)):
        for some in itertools.combinations(sides, count):
            if math.prod(some) == size:
                return some
    return (1,)
