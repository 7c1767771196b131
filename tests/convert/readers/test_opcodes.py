import pickle

import pytest

from stylegan_jax.convert.readers.allowed import ALLOWED
from stylegan_jax.convert.readers.files import read_bytes
from stylegan_jax.convert.readers.opcodes import Interpreter
from stylegan_jax.convert.readers.records import Budget, CheckpointFileError
from tests.convert.writing import MAGIC

VALUES = {
    "none": None,
    "flags": [True, False],
    "counts": [0, 255, 256, 65536, -1, 2**31, MAGIC],
    "floats": (1.5, -0.0, 1e300),
    "texts": ["", "é", "\\ \n '", "x" * 300, "日本"],
    "raw": bytes(range(256)),
    "nested": {"a": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]},
}


def read(data: bytes):
    """One pickle with the real allow-list."""
    return Interpreter(memoryview(data), ALLOWED, Budget.of_file(len(data))).load()


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_of_every_protocol(protocol):
    got = read(pickle.dumps(VALUES, protocol))
    got["raw"] = bytes(got["raw"])
    assert got == VALUES


def test_texts_of_python_2():
    assert read(b"S'a\\x41\\n\\\\'\np0\n.") == "aA\n\\"
    assert read(b"U\x02\xe9a.") == "éa"
    with pytest.raises(CheckpointFileError, match="a text"):
        read(b"S'\\q'\n.")


def test_shared_values_stay_one():
    first, second = read(pickle.dumps([[1], None][:1] * 2))
    assert first is second


SOURCE = b"raise SystemExit"
HOSTILE = {
    "system": (b"cposix\nsystem\n(S'echo'\ntR.", "names 'posix.system'"),
    "eval": (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "names 'builtins.eval'"),
    "file": (b"cnumpy.core.multiarray\nfromfile\n.", "numpy.core.multiarray.fromfile"),
    "dotted": (b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.", "numpy.dtype.__init__"),
    "module is no text": (b"\x80\x04]\x8c\x04eval\x93.", "names 'list'"),
    "extension 1": (b"\x80\x02\x82\x01.", "Opcode 0x82"),
    "extension 2": (b"\x80\x02\x83\x01\x00.", "Opcode 0x83"),
    "extension 4": (b"\x80\x02\x84\x01\x00\x00\x00.", "Opcode 0x84"),
    "old instance": (b"(ios\nsystem\n.", "Opcode 0x69"),
    "old object": (b"(cos\nsystem\no.", "os.system"),
    "keyword object": (b"\x80\x04)\x8c\x01a\x92.", "Opcode 0x92"),
    "buffer": (b"\x80\x05\x97.", "Opcode 0x97"),
    "twice": (b"\x80\x022.", "Opcode 0x32"),
    "persistent text": (b"Pname\n.", "Opcode 0x50"),
    "persistent": (b"\x80\x02NQ.", "outside of it"),
    "protocol": (b"\x80\x06N.", "protocol 6"),
    "page": (b"<!DOCTYPE html><html></html>", "Opcode 0x3c"),
    "nothing": (b"", "ends at byte 0"),
    "cut": (b"\x80\x02X\x05\x00\x00\x00ab", "not copied or downloaded to its end"),
    "no value": (b"\x80\x02.", "value that is not there"),
    "mark as value": (b"\x80\x02(.", "value that is not there"),
    "left over": (b"\x80\x02NN.", "left over"),
    "no mark": (b"\x80\x02Nt.", "no mark"),
    "append to none": (b"\x80\x02NNa.", "adds items to NoneType"),
    "odd items": (b"\x80\x02}(Nu.", "key without a value"),
    "memo": (b"\x80\x02h\x07.", "never noted"),
    "memo text": (b"Npx\n.", "memo index"),
    "memo of a mark": (b"\x80\x02(q\x00.", "value that is not there"),
    "length": (b"\x80\x04\x8e" + b"\xff" * 8, "ends at byte"),
    "text length": (b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f", "ends at byte"),
    "negative length": (b"T\xff\xff\xff\xff.", "negative count"),
    "long integer": (b"\x80\x02\x8b\x00\x00\x00\x40.", "integer of 1073741824 bytes"),
    "negative integer": (b"\x80\x02\x8b\xff\xff\xff\xff.", "integer of -1 bytes"),
    "digits": (b"I" + b"1" * 9999 + b"\n.", "absurd length"),
    "number": (b"I1_0x\n.", "number that is none"),
    "not utf-8": (b"\x80\x02X\x01\x00\x00\x00\xff.", "text that is none"),
    "tuple as key": (b"\x80\x02}N\x85Ns.", "tuple as key"),
    "float as key": (b"\x80\x02}G" + bytes(8) + b"Ns.", "float as key"),
    "colliding key": (b"\x80\x02}\x8a\x08" + (2**61 - 1).to_bytes(8, "little") + b"Ns.", "as key"),
    "call of a text": (b"\x80\x02U\x01a)R.", "calls str with tuple"),
    "arguments in a list": (b"\x80\x02ctorch\nSize\n]R.", "calls Global with list"),
    "call of a storage": (b"\x80\x02ctorch\nFloatStorage\n)R.", "no function"),
    "new array": (b"\x80\x02cnumpy\nndarray\nK\x05\x85\x81.", "no function"),
    "state of a tuple": (b"\x80\x02)}b.", "gives tuple a state"),
    "state of a class": (b"\x80\x02ctorch\nSize\n}b.", "gives Global a state"),
    "state of a dict": (b"\x80\x02}Nb.", "gives dict a state of type NoneType"),
    "objects": (b"\x80\x02cnumpy\ndtype\nU\x02O8\x85R.", "none of b1"),
    "records": (b"\x80\x02cnumpy\ndtype\nU\x02V8\x85R.", "none of b1"),
    "codec": (b"\x80\x02c_codecs\nencode\nU\x01aU\x04zlib\x86R.", "calls bytes with 2"),
    "source": (
        b"\x80\x02ctorch_utils.persistence\n_reconstruct_persistent_obj\n}"
        b"(U\x04typeU\x06moduleU\nmodule_srcU\x10" + SOURCE + b"u\x85R.",
        "calls _reconstruct_persistent_obj",
    ),
}


@pytest.mark.parametrize(("data", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_refused(data, message):
    with pytest.raises(CheckpointFileError, match=message):
        read_bytes(data)


def test_refusal_says_what_to_do():
    with pytest.raises(CheckpointFileError) as error:
        read(b"cos\nsystem\n.")
    text = str(error.value)
    assert "os.system" in text and "torch._utils._rebuild_tensor_v2" in text
    assert "Nothing was run" in text and "safetensors" in text


def test_budget_is_that_of_the_whole_file():
    budget = Budget(steps=10, copied_bytes=0)
    machine = Interpreter(memoryview(b"N.N.N.N.N.N."), ALLOWED, budget)
    for _ in range(5):
        machine.load()
    with pytest.raises(CheckpointFileError, match="more steps"):
        machine.load()
