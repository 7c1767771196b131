import pytest

from stylegan_jax.plan import wire
from stylegan_jax.plan.hlo import Message
from stylegan_jax.plan.targets import parse_topology


def estimate(name, op, wire_bytes, group, times=1):
    topology = parse_topology(name)
    message = Message(op, 0, wire_bytes, tuple(group), times)
    return wire.estimate([message], topology, topology.chip.links)


@pytest.mark.parametrize(
    ("name", "group", "ways"),
    [
        # Both axes are rings; one is; neither is.
        ("v5e:16x16", range(256), 4),
        ("v5e:8x16", range(128), 3),
        ("v5e:4x4", range(16), 2),
        # Along one axis of two; through a part of an axis; over an axis that is not there.
        ("v5e:16x16", range(16), 2),
        ("v5e:16x16", range(8), 1),
        ("v5e:1x4", range(4), 1),
        # Three axes, all rings or none.
        ("v4:4x4x8", range(128), 6),
        ("v4:2x4x4", range(32), 3),
    ],
)
def test_a_torus_sends_over_all_its_axes(name, group, ways):
    found = estimate(name, "all-reduce", 45e9, group, times=3)
    assert found.inside_bytes == 3 * 45e9 and found.between_bytes == 0
    assert found.inside_sec == pytest.approx(3 / ways)


def test_a_partner_is_reached_over_one_link():
    assert estimate("v6e:16x16", "collective-permute", 9e9, (0, 1, 1, 0)).inside_sec == 0.1


def test_slices_send_over_the_network():
    found = estimate("4*v6e:16x16", "send", 25e9, (1, 2, 3, 4))
    assert found == wire.Wire(between_bytes=25e9, between_sec=2.0)


def test_hosts_of_gpus_send_what_their_parts_take():
    """Of a ring among 4 hosts of 8, against the two all-reduces that it is made of."""
    total, gpus, hosts = 1e9, 8, 4
    ring = 2 * (gpus * hosts - 1) / (gpus * hosts) * total
    found = estimate("h100:4x8", "all-reduce", ring, range(gpus * hosts))
    assert found.inside_bytes == pytest.approx(2 * (gpus - 1) / gpus * total)
    assert found.between_bytes == pytest.approx(2 * (hosts - 1) / hosts * total / gpus)
    assert found.inside_sec == pytest.approx(found.inside_bytes / 450e9)
    assert found.between_sec == pytest.approx(found.between_bytes / 50e9)


def test_a_group_inside_a_host_stays_there():
    assert estimate("h100:2x8", "all-gather", 1.0, range(8, 16)).between_bytes == 0
    assert estimate("h100:2x8", "all-gather", 1.0, (0, 8)).inside_bytes == 0
    assert estimate("h100:2x8", "all-reduce", 0.0, (3,)) == wire.Wire()
    assert estimate("h100:2x8", "collective-permute", 1.0, (0, 1, 6, 7)).between_bytes == 0
    assert estimate("h100:2x8", "collective-permute", 1.0, (6, 7, 7, 8)).between_bytes == 1


def test_nothing_is_said_of_links_that_are_not_known():
    text = "ENTRY %main () -> f32[] {\n  ROOT %c = f32[] constant(0)\n}\n"
    assert wire.find_collectives(text, parse_topology("v2:2x2")) == {"collectives": {}}
    assert wire.find_collectives(text, parse_topology("v5e:2x2"))["wire"] == wire.Wire()._asdict()
