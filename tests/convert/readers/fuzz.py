"""Reads damaged and hostile files: `python -m tests.convert.readers.fuzz COUNT [SEED]`.

A process of its own, whose memory the system bounds, and in which nothing may be compiled, run or
started while a file is read. Any other end of a reading than data or CheckpointFileError is an
error. Prints what became of the files, as JSON.
"""

import collections
import functools
import json
import random
import resource
import struct
import sys
import time
from collections.abc import Callable

import numpy as np

from stylegan_jax.convert.readers.files import FileContents, read_bytes
from stylegan_jax.convert.readers.records import (
    CheckpointFileError,
    Instance,
    Module,
    ScriptObject,
    plain,
)
from stylegan_jax.convert.readers.trees import (
    flatten_module,
    flatten_script,
    flatten_variables,
    to_arrays,
)
from tests.convert.writing import (
    EasyDict,
    Script,
    Tensor,
    join_script,
    make_module,
    make_network,
    make_script,
    split_tail,
    write_pickle,
    write_script,
    write_stream,
    write_zip,
)

# What is damaged, and what makes a file of it.
Seed = tuple[bytes, Callable[[bytes], bytes]]
# Opcodes of an object whose class is in memo 0.
_NEW = b"h\x00)\x81"
# Of the whole process, libraries included.
_MOST_MEMORY_BYTES = 2**30
_LONGEST_SEC = 10.0
# What Python tells its hooks when code runs; sources of checkpoints would cause the first two.
_RUNNING = ("compile", "exec", "pickle.find_class", "os.", "subprocess.", "socket.", "ctypes.")


def seeds() -> list[Seed]:
    """Small files of every format: what is damaged of each, and what makes a file of that."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((2, 3, 2, 2)).astype(np.float32)
    arrays = {
        "a.b.weight": weight,
        "a.last": np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        "a.half": weight.astype(np.float16),
    }
    kwargs = {"dim": np.float64(3), "sizes": np.arange(2), "options": EasyDict(up=2)}
    files = []
    for protocol in (0, 2, 3, 4, 5):
        module = make_module(arrays, _init_kwargs=kwargs, _init_args=(), gain=np.float64(1.5))
        files.append(write_pickle({"G": module, "augment_pipe": None}, protocol))
        variables = {
            "lod": np.float32(0),
            "G_mapping/weight": weight,
            "x": np.asfortranarray(weight),
        }
        network = make_network("G", "G_main", variables, {"fmap_base": 16})
        files.append(write_pickle((network,) * 3, protocol, is_old=True))
    state = {"g_ema": collections.OrderedDict((k, Tensor(v)) for k, v in arrays.items())}
    files += [write_stream(state), write_zip(state), write_safetensors(arrays)]
    # Damage to a pickle within a zip, which the sums of the zip would else tell.
    script = make_script(arrays, training=False, names=["a"], scale=0.5)
    pickled, storages = split_tail(script)
    wrap = functools.partial(join_script, storages=storages)
    return [*((file, bytes) for file in files), (write_script(script), bytes), (pickled, wrap)]


def write_safetensors(arrays: dict[str, np.ndarray], **changes: object) -> bytes:
    """Returns a safetensors file; `changes` go into the entry of every tensor."""
    names = {"float32": "F32", "float16": "F16"}
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, array in arrays.items():
        offsets = [len(body), len(body) + array.nbytes]
        entry = dict(dtype=names[array.dtype.name], shape=array.shape, data_offsets=offsets)
        header[name] = entry | changes
        body += array.tobytes()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def consume(contents: FileContents) -> None:
    """Looks at everything that was read."""
    most_bytes = 4 * contents.num_bytes
    root = contents.root
    parts = list(root.values()) if isinstance(root, dict) else [root]
    parts = list(root) if isinstance(root, tuple) else parts
    for part in parts[:100]:
        if isinstance(part, Module):
            tensors, _ = flatten_module(part)
            to_arrays(tensors, most_bytes)
            plain(part.state)
        elif isinstance(part, Instance):
            to_arrays(flatten_variables(part), most_bytes)
            plain(part.state)
        elif isinstance(part, ScriptObject):
            to_arrays(flatten_script(part), most_bytes)
            plain(part.state)
        elif isinstance(part, dict):
            to_arrays(part, most_bytes)
    if isinstance(root, dict):
        to_arrays(root, most_bytes)
    plain(root)


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Returns a file with a few random damages."""
    mutated = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        at = draw.randrange(len(mutated) + 1)
        length = draw.choice((1, 1, 2, 4, 8, 64))
        other = draw.randrange(len(mutated) + 1)
        match draw.randrange(8):
            case 0:
                mutated[at : at + 1] = bytes([draw.randrange(256)])
            case 1:
                del mutated[at:]
            case 2:
                del mutated[at : at + length]
            case 3:
                mutated[at:at] = draw.randbytes(length)
            case 4:
                # Opcodes and counts from elsewhere in the file, again.
                mutated[at:at] = mutated[other : other + length]
            case 5:
                mutated[at : at + length] = mutated[other : other + length]
            case 6:
                mutated[at : at + 4] = draw.choice((b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f"))
            case 7:
                mutated[at : at + 1] = draw.choice((b"R", b"b", b"\x81", b"c", b"0", b"t", b"u"))
        if not mutated:
            mutated += b"\x80"
    return bytes(mutated)


def twice(levels: int) -> bytes:
    """A list that holds a list twice, which holds one twice, ...: 2**levels lists in few bytes."""
    levels_of = (b"0]\x94h%ch%c" % (i, i) for i in range(levels))
    return b"\x80\x04]\x94" + b"".join(part[:5] + b"a" + part[5:] + b"a" for part in levels_of)


def modules_twice(levels: int) -> bytes:
    """A module that has a module under two names, which has one under two names, ..."""
    module = make_module({"weight": np.zeros(2, np.float32)}, **{"x" * 150: 1})
    for _ in range(levels):
        parent = make_module({})
        parent.state["_modules"] = {"a": module, "b" * 100: module}
        module = parent
    return write_pickle({"G": module})


def scripts(body: bytes) -> bytes:
    """An archive of TorchScript around a pickle; memo 0 is a class, `_NEW` makes an object."""
    return join_script(b"\x80\x02c__torch__\nNet\nq\x000" + body + b".", [])


def one_tensor_of_many_names(count: int) -> Module:
    """A module that has a large tensor under many names."""
    tensor = Tensor(np.zeros(10**5, np.float32))
    module = make_module({})
    module.state["_buffers"] = {str(i): tensor for i in range(count)}
    return module


def bombs() -> dict[str, bytes]:
    """Files of a few bytes, to a megabyte, that ask for very much."""
    text = b"X" + (10**5).to_bytes(4, "little") + b"a" * 10**5
    pairs = b"ccollections\nOrderedDict\nq\x00]q\x01(" + b"U\x01aN\x86" * 10**4 + b"e"
    large = Tensor(np.zeros(10**5, np.float32))
    named = Script("Net", **dict.fromkeys(map(str, range(5000)), large))
    variables = dict.fromkeys(map(str, range(5000)), np.zeros(10**5, np.float32))
    return {
        # An index that Python's own unpickler makes room for.
        "memo": b"\x80\x04Nr\xff\xff\xff\xff.",
        "steps": b"\x80\x04" + b"N0" * 600_000 + b"N.",
        "dicts": b"\x80\x04" + b"}" * 1_100_000 + b".",
        "lists in lists": b"\x80\x04" + b"]" * 400_000 + b"a" * 399_999 + b".",
        "tuples in tuples": b"\x80\x04)" + b"\x85" * 900_000 + b".",
        # Values that hold another one twice, which holds one twice, and so on.
        "twice": twice(60) + b".",
        "twice as key": twice(60) + b"\x85}h\x3cNs.",
        "modules": modules_twice(40),
        "itself": b"\x80\x04}\x94U\x01Gh\x00s.",
        "long texts": write_pickle({"settings": ["a" * 10**5] * 10**4}),
        # The same large value under many names, or changed again and again.
        "names": write_pickle({"G": one_tensor_of_many_names(5000)}),
        "variables": write_pickle((make_network("G", "G", variables, {}),) * 3),
        "texts": b"\x80\x04c_codecs\nencode\nq\x00"
        + (text + b"q\x01" + b"0h\x00h\x01U\x06latin1\x86R" * 2000 + b"."),
        "scripts in scripts": scripts((_NEW + b"}U\x01a") * 20_000 + _NEW + b"sb" * 20_000),
        "scripts twice": scripts(_NEW + (b"q\x010" + _NEW + b"}(U\x01ah\x01U\x01bh\x01ub") * 60),
        "script itself": scripts(_NEW + b"q\x01}U\x01ah\x01sb"),
        "script names": write_script(named),
        "pairs": b"\x80\x04" + pairs + b"0h\x00h\x01\x85R" * 2000 + b".",
    }


def forbid_running(event: str, args: tuple) -> None:
    """A hook that Python asks before it runs something."""
    if event.startswith(_RUNNING):
        raise AssertionError(f"{event} while a file was read")


def read(data: bytes) -> str:
    """Reads a file; says what became of it."""
    start = time.process_time()
    try:
        consume(read_bytes(data))
        end = "read"
    except CheckpointFileError:
        end = "refused"
    if time.process_time() - start > _LONGEST_SEC:
        raise AssertionError(f"took {time.process_time() - start:.1f} s")
    return end


def main(count: int, seed: int) -> None:
    """Reads every bomb, then `count` damaged files."""
    files = seeds()
    assert {read(make(whole)) for whole, make in files} == {"read"}
    sys.addaudithook(forbid_running)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))
    ends = collections.Counter(_told(read, data, name) for name, data in bombs().items())
    draw = random.Random(seed)
    for i in range(count):
        whole, make = draw.choice(files)
        data = make(mutate(whole, draw))
        ends[_told(read, data, f"seed {seed}, file {i}")] += 1
    print(json.dumps(ends))


def _told(function: Callable[[bytes], str], data: bytes, name: str) -> str:
    """Calls a function on a file; an error says which file it was."""
    try:
        return function(data)
    except BaseException:
        print(f"{name}: {data[:200]!r}", file=sys.stderr)
        raise


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
