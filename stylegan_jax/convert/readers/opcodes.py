"""Reads pickles without running them: an interpreter of their opcodes that builds inert data.

A pickle is a program for a small stack machine. Python's own machine can be told which globals to
hand out (`pickle.Unpickler.find_class`), and that keeps foreign code from running, but not a small
file from taking all memory and time: a memo index makes it allocate gigabytes, dict keys that
share parts are hashed in exponential time, allowed classes are called with any arguments, BUILD
writes into their attributes. This machine has the opcodes that `pickle` writes and no others. A
global is a record with a name, "calling" it picks a function of ours that looks at its arguments
first, keys are texts and numbers, and every step and copied byte is counted. There is nothing in
it that could be run, and what it does can be read in one sitting.

Opcodes: the documentation of `pickletools`.
"""

import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from stylegan_jax.convert.readers.arrays import Dtype, fill_array
from stylegan_jax.convert.readers.records import (
    Budget,
    CheckpointFileError,
    Instance,
    ScriptObject,
)

# The highest protocol that is read; Python 3.8 to 3.14 write up to this one.
_NEWEST_PROTOCOL = 5
# Digits of a number and letters of a name in text opcodes; bytes of an integer in binary ones.
_LONGEST_NUMBER = 64
_LONGEST_NAME = 256
_LONGEST_INTEGER = 32
# Within these no two integers have the same hash: keys that collide would take quadratic time.
_LARGEST_KEY = 2**60
# Bytes in which the end of a line is first looked for.
_LINE_STEP = 256

# What a text of Python 2 may hold behind a backslash.
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.?)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\", b"'": b"'", b'"': b'"'}

# Classes of TorchScript have the names that they had where they were written, below this.
SCRIPT_CLASS = ("__torch__", "*")

_MARK = object()


class Global(NamedTuple):
    """A class or function that a pickle names, and what stands for a call of it here."""

    module: str
    name: str
    call: Callable[[tuple[Any, ...], Budget], Any]


Allowed = Mapping[tuple[str, str], Callable[[tuple[Any, ...], Budget], Any]]


class Interpreter:
    """The stack machine; `load` reads one pickle and moves `position` behind it."""

    def __init__(
        self,
        data: memoryview,
        allowed: Allowed,
        budget: Budget,
        *,
        position: int = 0,
        persistent: Callable[[Any], Any] | None = None,
    ):
        """Sets up the machine.

        Args:
            data: The file, or the part of it that holds pickles.
            allowed: What may be named, by module and name.
            budget: What may still be done.
            position: First byte of the pickle.
            persistent: Reads a persistent id; None: there must be none.
        """
        self.data = data
        self.position = position
        self._allowed = allowed
        self._budget = budget
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Reads one pickle.

        Raises:
            CheckpointFileError: It names what is not allowed, is damaged, or asks for too much.
        """
        self._stack = []
        self._memo = {}
        while True:
            self._budget.steps -= 1
            if self._budget.steps < 0:
                raise CheckpointFileError(
                    "The file takes more steps to read than any checkpoint: it is damaged or made "
                    "to harm."
                )
            code = self._take(1)[0]
            if code == ord("."):
                break
            step = _STEPS.get(code)
            if step is None:
                raise CheckpointFileError(
                    f"Opcode {code:#04x} at byte {self.position - 1}: checkpoints have none of "
                    "these. The file is damaged, no pickle, or made to harm."
                )
            step(self)
        result = self._pop()
        if self._stack:
            raise CheckpointFileError("The pickle ends with values left over: it is damaged.")
        return result

    # Bytes.

    def _take(self, count: int) -> memoryview:
        """Returns the next bytes, no copy."""
        start = self.position
        if count > len(self.data) - start:
            raise CheckpointFileError(
                f"The file ends at byte {len(self.data)}, in the middle of a pickle: it was not "
                "copied or downloaded to its end."
            )
        self.position += count
        return self.data[start : self.position]

    def _number(self, layout: str) -> Any:
        """Reads a number of `struct`'s layout."""
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _block(self, layout: str) -> memoryview:
        """Reads bytes that a count of this layout stands before."""
        count = self._number(layout)
        if count < 0:
            raise CheckpointFileError("A pickle with a negative count of bytes: it is damaged.")
        return self._take(count)

    def _line(self, longest: int | None = None) -> bytes:
        """Reads up to the end of a line; text opcodes have no counts."""
        start = self.position
        size = _LINE_STEP
        while True:
            chunk = bytes(self.data[start : start + size])
            end = chunk.find(b"\n")
            if end < 0 and size >= len(self.data) - start:
                raise CheckpointFileError("The file ends in the middle of a line of a pickle.")
            if longest is not None and (end if end >= 0 else len(chunk)) > longest:
                raise CheckpointFileError("A number or name of absurd length in a pickle.")
            if end >= 0:
                self.position = start + end + 1
                return chunk[:end]
            size *= 4

    # Stack and memo.

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        """Takes the topmost value."""
        if not self._stack or self._stack[-1] is _MARK:
            raise CheckpointFileError("A pickle takes a value that is not there: it is damaged.")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        """Takes all values above the last mark, and the mark."""
        values = []
        while self._stack:
            value = self._stack.pop()
            if value is _MARK:
                return values[::-1]
            values.append(value)
        raise CheckpointFileError("A pickle has no mark where it needs one: it is damaged.")

    def _top(self, kind: type) -> Any:
        """Returns the topmost value, which stays, and is of this type."""
        top = self._stack[-1] if self._stack else None
        if type(top) is not kind:
            raise CheckpointFileError(
                f"A pickle adds items to {type(top).__name__} where {kind.__name__} is wanted."
            )
        return top

    def _remember(self, index: int) -> None:
        """Notes the topmost value; a dict as memo takes no memory for indices between."""
        if not 0 <= index < _LARGEST_KEY or not self._stack or self._stack[-1] is _MARK:
            raise CheckpointFileError("A pickle notes a value that is not there: it is damaged.")
        self._memo[index] = self._stack[-1]

    def _recall(self, index: int) -> None:
        """Pushes a noted value."""
        if index not in self._memo:
            raise CheckpointFileError("A pickle recalls a value that it never noted.")
        self._push(self._memo[index])

    # Numbers and texts.

    def _push_integer_text(self) -> None:
        """INT and LONG of protocol 0, booleans among them."""
        text = self._line(_LONGEST_NUMBER)
        if text in (b"00", b"01"):
            return self._push(text == b"01")
        try:
            self._push(int(text.removesuffix(b"L")))
        except ValueError:
            raise CheckpointFileError("A pickle with a number that is none.") from None

    def _push_float_text(self) -> None:
        """FLOAT of protocol 0."""
        try:
            self._push(float(self._line(_LONGEST_NUMBER)))
        except ValueError:
            raise CheckpointFileError("A pickle with a number that is none.") from None

    def _push_integer_bytes(self, layout: str) -> None:
        """LONG1 and LONG4: two's complement."""
        count = self._number(layout)
        if not 0 <= count <= _LONGEST_INTEGER:
            raise CheckpointFileError(f"A pickle with an integer of {count} bytes.")
        self._push(int.from_bytes(self._take(count), "little", signed=True))

    def _push_text(self, raw: memoryview | bytes, encoding: str) -> None:
        """Unicode, and texts of Python 2, which may hold bytes: latin-1 keeps them."""
        errors = "surrogatepass" if encoding == "utf-8" else "strict"
        try:
            self._push(str(raw, encoding, errors))
        except ValueError:
            raise CheckpointFileError("A pickle with a text that is none: damaged.") from None

    def _push_quoted_text(self) -> None:
        """STRING of protocol 0, as Python 2 prints it."""
        line = self._line()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise CheckpointFileError("A pickle with a text without quotes: it is damaged.")
        self._push_text(_ESCAPE.sub(_unescape, line[1:-1]), "latin-1")

    def _index(self) -> int:
        """Reads the memo index of a text opcode."""
        line = self._line(_LONGEST_NUMBER)
        if not line.isdigit():
            raise CheckpointFileError("A pickle with a memo index that is no number: damaged.")
        return int(line)

    # Containers.

    def _push_dict_to_mark(self) -> None:
        """DICT of protocol 0."""
        items = self._pop_to_mark()
        self._push({})
        self._set_items(items)

    def _append(self, items: list[Any]) -> None:
        """APPEND, APPENDS, ADDITEMS: a set is a list here, since nothing is hashed."""
        self._top(list).extend(items)

    def _set_items(self, items: list[Any]) -> None:
        """SETITEM, SETITEMS; keys are texts, small numbers, booleans or None."""
        target = self._top(dict)
        if len(items) % 2:
            raise CheckpointFileError("A pickle with a key without a value: it is damaged.")
        for key, value in zip(items[::2], items[1::2]):
            known = type(key) in (str, bool, type(None))
            if not known and not (type(key) is int and abs(key) < _LARGEST_KEY):
                raise CheckpointFileError(
                    f"A dict with a {type(key).__name__} as key: checkpoints have none."
                )
            target[key] = value

    def _set_item(self) -> None:
        value = self._pop()
        self._set_items([self._pop(), value])

    # What Python would run.

    def _push_global(self, module: Any, name: Any) -> None:
        """Looks a global up in the list of those that are allowed; others end the reading."""
        call = None
        if type(module) is str and type(name) is str:
            call = self._allowed.get((module, name))
            if call is None and module.split(".", 1)[0] == SCRIPT_CLASS[0]:
                call = self._allowed.get(SCRIPT_CLASS)
        if call is None:
            shown = f"{module}.{name}" if isinstance(module, str) else type(module).__name__
            names = ", ".join(sorted({f"{m}.{n}" for m, n in self._allowed}))
            raise CheckpointFileError(
                f"The pickle names {shown[:_LONGEST_NAME]!r}, which is not among what checkpoints "
                f"of this family need ({names}). Nothing was run. If you trust the file, load it "
                "where it was made and save its tensors alone, as .safetensors."
            )
        self._push(Global(str(module), str(name), call))

    def _push_global_text(self) -> None:
        """GLOBAL: two lines."""
        try:
            module = self._line(_LONGEST_NAME).decode()
            name = self._line(_LONGEST_NAME).decode()
        except UnicodeDecodeError:
            raise CheckpointFileError("A pickle with a name that is no text: damaged.") from None
        self._push_global(module, name)

    def _push_global_stacked(self) -> None:
        """STACK_GLOBAL: two texts on the stack."""
        name = self._pop()
        self._push_global(self._pop(), name)

    def _call(self) -> None:
        """REDUCE and NEWOBJ: what stands for the call here is asked."""
        args = self._pop()
        function = self._pop()
        if not isinstance(function, Global) or type(args) is not tuple:
            raise CheckpointFileError(
                f"A pickle calls {type(function).__name__} with {type(args).__name__}."
            )
        self._push(function.call(args, self._budget))

    def _build(self) -> None:
        """BUILD: gives a state to an array, a dtype, or an object whose attributes are kept."""
        state = self._pop()
        target = self._stack[-1] if self._stack else None
        match target, state:
            case ((Instance() | ScriptObject()), dict()):
                target.state = state
            case dict(), dict():
                pass  # attributes of an OrderedDict: versions of torch's modules
            case Dtype(), (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
                target.order = order
            case np.ndarray(), tuple():
                fill_array(target, state, self._budget)
            case _:
                raise CheckpointFileError(
                    f"A pickle gives {type(target).__name__} a state of type "
                    f"{type(state).__name__}, as no checkpoint does."
                )

    def _push_persistent(self) -> None:
        """BINPERSID."""
        if self._persistent is None:
            raise CheckpointFileError("A pickle refers to a part outside of it: there is none.")
        self._push(self._persistent(self._pop()))

    def _check_protocol(self) -> None:
        """PROTO."""
        protocol = self._take(1)[0]
        if protocol > _NEWEST_PROTOCOL:
            raise CheckpointFileError(
                f"Pickle protocol {protocol} is not known; up to {_NEWEST_PROTOCOL} are read."
            )


def _unescape(match: re.Match[bytes]) -> bytes:
    """Returns the byte that an escape stands for."""
    code = match[1]
    if code[:1] == b"x" and len(code) == 3:
        return bytes([int(code[1:], 16)])
    if code not in _ESCAPED:
        raise CheckpointFileError("A pickle with a text that is none: it is damaged.")
    return _ESCAPED[code]


def _tuple_step(count: int) -> Callable[[Interpreter], None]:
    """TUPLE1 to TUPLE3."""

    def step(machine: Interpreter) -> None:
        values = [machine._pop() for _ in range(count)]
        machine._push(tuple(values[::-1]))

    return step


_STEPS: dict[int, Callable[[Interpreter], Any]] = {
    # Numbers.
    ord("N"): lambda m: m._push(None),
    0x88: lambda m: m._push(True),
    0x89: lambda m: m._push(False),
    ord("K"): lambda m: m._push(m._number("<B")),
    ord("M"): lambda m: m._push(m._number("<H")),
    ord("J"): lambda m: m._push(m._number("<i")),
    ord("G"): lambda m: m._push(m._number(">d")),
    0x8A: lambda m: m._push_integer_bytes("<B"),
    0x8B: lambda m: m._push_integer_bytes("<i"),
    ord("I"): Interpreter._push_integer_text,
    ord("L"): Interpreter._push_integer_text,
    ord("F"): Interpreter._push_float_text,
    # Texts and bytes.
    0x8C: lambda m: m._push_text(m._block("<B"), "utf-8"),
    ord("X"): lambda m: m._push_text(m._block("<I"), "utf-8"),
    0x8D: lambda m: m._push_text(m._block("<Q"), "utf-8"),
    ord("V"): lambda m: m._push_text(m._line(), "raw-unicode-escape"),
    ord("U"): lambda m: m._push_text(m._block("<B"), "latin-1"),
    ord("T"): lambda m: m._push_text(m._block("<i"), "latin-1"),
    ord("S"): Interpreter._push_quoted_text,
    ord("C"): lambda m: m._push(m._block("<B")),
    ord("B"): lambda m: m._push(m._block("<I")),
    0x8E: lambda m: m._push(m._block("<Q")),
    0x96: lambda m: m._push(m._block("<Q")),
    # Containers.
    ord("("): lambda m: m._push(_MARK),
    ord(")"): lambda m: m._push(()),
    ord("t"): lambda m: m._push(tuple(m._pop_to_mark())),
    0x85: _tuple_step(1),
    0x86: _tuple_step(2),
    0x87: _tuple_step(3),
    ord("]"): lambda m: m._push([]),
    ord("l"): lambda m: m._push(m._pop_to_mark()),
    ord("a"): lambda m: m._append([m._pop()]),
    ord("e"): lambda m: m._append(m._pop_to_mark()),
    ord("}"): lambda m: m._push({}),
    ord("d"): Interpreter._push_dict_to_mark,
    ord("s"): Interpreter._set_item,
    ord("u"): lambda m: m._set_items(m._pop_to_mark()),
    0x8F: lambda m: m._push([]),
    0x90: lambda m: m._append(m._pop_to_mark()),
    0x91: lambda m: m._push(m._pop_to_mark()),
    # Stack and memo.
    ord("0"): lambda m: m._stack.pop() if m._stack else None,
    ord("1"): Interpreter._pop_to_mark,
    ord("p"): lambda m: m._remember(m._index()),
    ord("q"): lambda m: m._remember(m._number("<B")),
    ord("r"): lambda m: m._remember(m._number("<I")),
    0x94: lambda m: m._remember(len(m._memo)),
    ord("g"): lambda m: m._recall(m._index()),
    ord("h"): lambda m: m._recall(m._number("<B")),
    ord("j"): lambda m: m._recall(m._number("<I")),
    # Frames say how much is read at once: here all of it is there.
    0x80: Interpreter._check_protocol,
    0x95: lambda m: m._number("<Q"),
    # What Python would run.
    ord("c"): Interpreter._push_global_text,
    0x93: Interpreter._push_global_stacked,
    ord("R"): Interpreter._call,
    0x81: Interpreter._call,
    ord("b"): Interpreter._build,
    ord("Q"): Interpreter._push_persistent,
}
