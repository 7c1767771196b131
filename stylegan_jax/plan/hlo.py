"""What a compiled program's text says: collectives, the compiler's own cycles, memory traffic."""

import functools
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

# Per number, by the names of types in HLO.
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2}
_BYTES |= {"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}

# `%name (...) -> ... {` opens a computation, `%name = shape op(...)` is an instruction in it.
_COMPUTATION = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{\s*$", re.MULTILINE)
_INSTRUCTION = re.compile(
    r"^\s+(?:ROOT )?%?(?P<name>[\w.\-]+) = (?P<shape>.*?) (?P<op>[a-z][\w\-]*)\((?P<rest>.*)$",
    re.MULTILINE,
)
# `bf16[8,64,64,3]` in a shape, which may be a tuple of several.
_ARRAY = re.compile(r"\b(?P<dtype>pred|bf16|[sfu]\d+)\[(?P<dims>[\d,]*)\]")
# Without `-start` and `-done`, the halves of asynchronous ones.
_COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "ragged-all-to-all",
    "send",
)
# Instructions that run other computations.
_CALLERS = ("while", "fusion", "call", "conditional", "async-start", "custom-call")
# Where an instruction names them.
_CALLEES = re.compile(
    r"\b(?:calls|body|to_apply|true_computation|false_computation)=%?(?P<one>[\w.\-]+)"
    r"|\bbranch_computations=\{(?P<many>[^}]*)\}"
)
# `[4,4]<=[2,8]T(1,0)`: numbers counted in one shape, transposed, then read in another.
_IOTA = re.compile(r"\[(?P<dims>[\d,]+)\](?:<=\[(?P<source>[\d,]+)\])?(?:T\((?P<perm>[\d,]+)\))?")


class Message(NamedTuple):
    """A collective as one device sees it.

    Attributes:
        op: Name without `-start`; `send` is what a slice of TPUs gives the runtime of several
            slices (megascale), which sums it with the others'.
        num_bytes: What it gives back.
        wire_bytes: What the device sends, by a ring among the group.
        group: Devices of its first group, by their places in the mesh; the slices of a `send`;
            sources and targets by turns of a `collective-permute`.
        times: How often it runs in a step.
    """

    op: str
    num_bytes: int
    wire_bytes: float
    group: tuple[int, ...]
    times: int


def messages(text: str) -> list[Message]:
    """Lists every collective that a program runs.

    The TPU compiler spreads an asynchronous one over several fusions, each with a copy of the
    instruction, and gives the copies one `chain_id`: these are one. (Their `channel_id` says
    less: it is 1 for all that `jax.shard_map` makes.) One in two halves counts at its start.
    """
    # Devices of the program, for collectives that name no group.
    header = text.partition("\n")[0]
    counts = re.findall(r"\b(?:replica_count|num_partitions)=(\d+)", header)
    num_devices = math.prod(int(count) for count in counts)

    # `chains` holds those of which a copy has been seen.
    found: list[Message] = []
    chains: set[tuple[Any, ...]] = set()
    for name, match, times in _run(text):
        op = match["op"].removesuffix("-start")
        if op not in _COLLECTIVES or op == "send" and "megascale" not in match["rest"]:
            continue  # no other `send` goes to another slice
        if chain := re.search(r'\bchain_id="(\d+)"', match["rest"]):
            channel = re.search(r"\bchannel_id=(\d+)", match["rest"])
            key = (op, chain[1], channel and channel[1], times)
            if key in chains:
                continue
            chains.add(key)
        found.append(_message(op, name, match, times, num_devices))
    return found


def collectives(text: str) -> dict[str, dict[str, Any]]:
    """Sums `messages` by kind: `{op: {count, bytes, wire_bytes}}`."""
    sums: dict[str, dict[str, Any]] = {}
    for message in sorted(messages(text)):
        entry = sums.setdefault(message.op, {"count": 0, "bytes": 0, "wire_bytes": 0.0})
        entry["count"] += message.times
        entry["bytes"] += message.times * message.num_bytes
        entry["wire_bytes"] += message.times * message.wire_bytes
    return sums


def scheduled_cycles(text: str) -> int:
    """Counts the cycles of the TPU compiler's schedule, of the entry computation, loops unrolled.

    Where branches are chosen as the program runs, the longest counts. Asynchronous copies, which
    overlap with the rest, and collectives are not in it.
    """
    computations = dict(_computations(text))
    entry = next(match["name"] for match in _COMPUTATION.finditer(text) if match["entry"])

    @functools.cache
    def cycles(name: str) -> int:
        """Sums a computation's instructions."""
        total = 0
        for match in _INSTRUCTION.finditer(computations[name]):
            if match["op"] == "while":
                # A loop carries an estimate of its own, but those of its body are what counts.
                total += _trips(match, computations) * sum(map(cycles, _called(match)))
            elif match["op"] == "conditional":
                total += max(map(cycles, _called(match)))
            elif estimate := re.search(r'"estimated_cycles":"(\d+)"', match["rest"]):
                total += int(estimate[1])
        return total

    return cycles(entry)


def memory_traffic(text: str) -> int:
    """Counts the bytes that the entry computation's instructions read and write, one by one."""
    computations = dict(_computations(text))
    entry = next(match["name"] for match in _COMPUTATION.finditer(text) if match["entry"])

    # Fusions stand for what they hold: only what goes in and comes out passes through memory.
    sizes: dict[str, int] = {}
    total = 0
    for match in _INSTRUCTION.finditer(computations[entry]):
        written = sum(_array_bytes(a) for a in _ARRAY.finditer(match["shape"]))
        sizes[match["name"]] = written
        if match["op"] in ("parameter", "constant", "tuple", "get-tuple-element", "bitcast"):
            continue  # these move nothing
        operands = re.findall(r"%([\w.\-]+)", match["rest"].split("), ")[0])
        total += written + sum(sizes.get(name, 0) for name in operands)
    return total


def _run(text: str) -> Iterator[tuple[str, re.Match[str], int]]:
    """Walks from the entry through calls: `(computation, instruction, how often it runs)`."""
    computations = dict(_computations(text))
    entry = next(match["name"] for match in _COMPUTATION.finditer(text) if match["entry"])

    def walk(name: str, times: int) -> Iterator[tuple[str, re.Match[str], int]]:
        """Yields a computation's instructions, then those of what each of them calls."""
        for match in _INSTRUCTION.finditer(computations[name]):
            yield name, match, times
            if match["op"] in _CALLERS:
                inner = times * (_trips(match, computations) if match["op"] == "while" else 1)
                for called in _called(match):
                    yield from walk(called, inner)

    return walk(entry, 1)


def _called(match: re.Match[str]) -> list[str]:
    """Names the computations that an instruction runs."""
    return [
        name
        for callee in _CALLEES.finditer(match["rest"])
        for name in re.findall(r"[\w.\-]+", callee["one"] or callee["many"])
    ]


def _trips(loop: re.Match[str], computations: dict[str, str]) -> int:
    """Tells how often a loop runs: as noted, or up to the constant of its condition, or once."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop["rest"]):
        return int(known[1])
    # The TPU compiler notes nothing. JAX's loops count up from zero.
    condition = re.search(r"\bcondition=%?([\w.\-]+)", loop["rest"])
    body = computations.get(condition[1], "") if condition else ""
    compare = re.search(r"ROOT .* compare\(%?[\w.\-]+, %?([\w.\-]+)\), direction=LT", body)
    constants = re.findall(r"%?([\w.\-]+) = [su]32\[\]\S* constant\((\d+)\)", body)
    return int(dict(constants).get(compare[1], 1)) if compare else 1


def _message(
    op: str, computation: str, match: re.Match[str], times: int, num_devices: int
) -> Message:
    """Reads bytes and devices of a collective."""
    # What it gives back; the first half of an asynchronous one also lists what it takes.
    arrays = list(_ARRAY.finditer(match["shape"]))
    if match["op"].endswith("-start") and op != "all-reduce" or op == "send":
        # What is given back besides: flags of the hardware.
        while len(arrays) > (1 if op == "send" else 2) and arrays[-1][0] == "u32[]":
            arrays.pop()
        arrays = arrays[len(arrays) // 2 :]  # (operands, results)

    num_bytes = sum(_array_bytes(a) for a in arrays)
    group = _group(op, match["rest"], num_devices)
    if op == "all-reduce" and computation.startswith("all-reduce-scatter"):
        # The TPU compiler writes a reduce-scatter as a fusion of an all-reduce and a slice.
        op = "reduce-scatter"
        num_bytes //= len(group)

    # Between slices: what is summed goes around a ring, all else is sent once.
    passed_on = op == "send" and "ALL_REDUCE" not in match["rest"]
    share = 1.0 if passed_on else _shares(op, len(group))
    return Message(op, num_bytes, share * num_bytes, group, times)


def _shares(op: str, size: int) -> float:
    """Returns what each of a group sends around a ring, over what the collective gives back."""
    # n - 1 steps of a part 1 / n each; an all-reduce is a reduce-scatter and an all-gather.
    if op in ("all-reduce", "send"):
        return 2 * (size - 1) / size
    if op == "reduce-scatter":
        return size - 1.0
    return 1.0 if op in ("collective-permute", "collective-broadcast") else (size - 1) / size


def _group(op: str, rest: str, num_devices: int) -> tuple[int, ...]:
    """Reads the devices, or slices, among which a collective goes."""
    if op == "send":
        # "{1,2}x{0:3}": slices by the devices of each.
        target = re.search(r'_xla_megascale_target="\{([\d,]+)\}', rest)
        return _numbers(target[1]) if target else (0, 1)
    # Pairs, groups one by one, or groups by a rule.
    if pairs := re.search(r"source_target_pairs=\{([\d,{}]*)\}", rest):
        return _numbers(pairs[1])
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", rest):
        return _numbers(listed[1])
    if iota := re.search(rf"replica_groups={_IOTA.pattern}", rest):
        return tuple(_iota(iota)[0].tolist())

    # `mesh['data'=4,'fsdp'=2] {'data'}`: along the named axes; all devices where nothing is said.
    mesh = re.search(r"replica_groups=mesh\[([^\]]*)\](?P<ids>.*?) ?\{(?P<axes>'[^}]*)\}", rest)
    if mesh is None:
        return tuple(range(num_devices))

    # The group of the first device: all of the named axes, the first of the others.
    sizes = {axis: int(size) for axis, size in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
    order = re.search(rf"device_ids=\({_IOTA.pattern}\)", mesh["ids"])
    ids = _iota(order) if order else np.arange(math.prod(sizes.values()))
    axes = re.findall(r"'(\w+)'", mesh["axes"])
    first = tuple(slice(None) if axis in axes else 0 for axis in sizes)
    return tuple(ids.reshape(tuple(sizes.values()))[first].ravel().tolist())


def _iota(match: re.Match[str]) -> np.ndarray:
    """Reads `[4,4]<=[2,8]T(1,0)`, or `[4,4]T(1,0)`, whose shape is that before transposing."""
    dims = _numbers(match["dims"])
    ids = np.arange(math.prod(dims)).reshape(_numbers(match["source"] or match["dims"]))
    if match["perm"]:
        ids = ids.transpose(_numbers(match["perm"]))
    return ids.reshape(dims) if match["source"] else ids


def _numbers(text: str) -> tuple[int, ...]:
    """Reads all whole numbers of a text."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _computations(text: str) -> Iterator[tuple[str, str]]:
    """Yields name and body of every computation."""
    headers = list(_COMPUTATION.finditer(text))
    ends = [header.start() for header in headers[1:]] + [len(text)]
    for header, end in zip(headers, ends):
        yield header["name"], text[header.end() : end]


def _array_bytes(match: re.Match[str]) -> int:
    """Counts the bytes of one array of a shape."""
    dims = [int(d) for d in match["dims"].split(",") if d]
    return math.prod(dims) * _BYTES.get(match["dtype"], 4)
