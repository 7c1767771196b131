"""What a compiled program's text says: collectives, the compiler's own cycles, memory traffic."""

import math
import re
from collections import Counter
from collections.abc import Iterator

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2}
_BYTES |= {"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}

_COMPUTATION = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{\s*$", re.MULTILINE)
_INSTRUCTION = re.compile(
    r"^\s+(?:ROOT )?%?(?P<name>[\w.\-]+) = (?P<shape>.*?) (?P<op>[a-z][\w\-]*)\((?P<rest>.*)$",
    re.MULTILINE,
)
_ARRAY = re.compile(r"\b(?P<dtype>pred|bf16|[sfu]\d+)\[(?P<dims>[\d,]*)\]")
_COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "ragged-all-to-all",
)


def collectives(text: str) -> dict[str, dict[str, int]]:
    """Counts collectives and the bytes that they give back: `{op: {count, bytes}}`.

    Asynchronous ones are counted at their start.
    """
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for match in _INSTRUCTION.finditer(text):
        op = match["op"].removesuffix("-start")
        if op not in _COLLECTIVES:
            continue
        arrays = [_array_bytes(a) for a in _ARRAY.finditer(match["shape"])]
        if match["op"].endswith("-start") and op != "all-reduce":
            arrays = arrays[len(arrays) // 2 :]  # (operands, results)
        counts[op] += 1
        sizes[op] += sum(arrays)
    return {op: {"count": counts[op], "bytes": sizes[op]} for op in sorted(counts)}


def scheduled_cycles(text: str) -> int:
    """Cycles of the TPU compiler's schedule: those of the entry computation, loops unrolled.

    Asynchronous copies overlap with the rest and are not in it.
    """
    computations = dict(_computations(text))
    entry = next(match["name"] for match in _COMPUTATION.finditer(text) if match["entry"])

    def cycles(name: str) -> int:
        total = 0
        for match in _INSTRUCTION.finditer(computations[name]):
            line = match["rest"]
            if match["op"] == "while":
                trips = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', line)
                body = re.search(r"body=%?([\w.\-]+)", line)
                if body is not None:
                    total += int(trips[1] if trips else 1) * cycles(body[1])
            elif estimate := re.search(r'"estimated_cycles":"(\d+)"', line):
                total += int(estimate[1])
        return total

    return cycles(entry)


def memory_traffic(text: str) -> int:
    """Bytes that the entry computation's instructions read and write, each on its own."""
    computations = dict(_computations(text))
    entry = next(match["name"] for match in _COMPUTATION.finditer(text) if match["entry"])
    sizes: dict[str, int] = {}
    total = 0
    for match in _INSTRUCTION.finditer(computations[entry]):
        written = sum(_array_bytes(a) for a in _ARRAY.finditer(match["shape"]))
        sizes[match["name"]] = written
        if match["op"] in ("parameter", "constant", "tuple", "get-tuple-element", "bitcast"):
            continue
        operands = re.findall(r"%([\w.\-]+)", match["rest"].split("), ")[0])
        total += written + sum(sizes.get(name, 0) for name in operands)
    return total


def _computations(text: str) -> Iterator[tuple[str, str]]:
    """Name and body of every computation."""
    headers = list(_COMPUTATION.finditer(text))
    ends = [header.start() for header in headers[1:]] + [len(text)]
    for header, end in zip(headers, ends):
        yield header["name"], text[header.end() : end]


def _array_bytes(match: re.Match[str]) -> int:
    """Bytes of one array of a shape."""
    dims = [int(d) for d in match["dims"].split(",") if d]
    return math.prod(dims) * _BYTES.get(match["dtype"], 4)
