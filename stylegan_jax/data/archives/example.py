"""tf.train.Example as it is serialised, read without TensorFlow and without copies.

Example.features.feature[name].kind_list.value: messages in messages, of which only the frames are
looked at. A message is a row of fields: a key (number of the field and type), then its value.
"""

from collections.abc import Iterator
from typing import Any

# Types of values on the wire.
_VARINT = 0
_BYTES = 2


def parse_example(data: bytes) -> dict[bytes, memoryview]:
    """Returns the list of values of each feature, not yet parsed.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: This is no such message.
    """
    features = {}
    for _, block in _fields(memoryview(data)):
        for _, entry in _fields(block):
            # An entry of a map: field 1 is the name, field 2 the feature.
            pair = dict(_fields(entry))
            # A feature has one of three lists; an empty one may be left out.
            lists = [values for _, values in _fields(pair[2])] or [memoryview(b"")]
            features[pair[1].tobytes()] = lists[0]
    return features


def parse_bytes(values: memoryview) -> memoryview:
    """Returns the one value of a list of byte strings."""
    ((_, value),) = _fields(values)
    return value


def parse_integers(values: memoryview) -> list[int]:
    """Reads a list of integers, packed or not."""
    integers = []
    for _, value in _fields(values):
        # Not packed: each integer is a field.
        if isinstance(value, int):
            integers.append(value)
            continue
        # Packed: one field with all integers, one after another.
        position = 0
        while position < len(value):
            integer, position = _varint(value, position)
            integers.append(integer)
    return integers


def _fields(message: Any) -> Iterator[tuple[int, Any]]:
    """Yields number and value of each field of a message: int, or memoryview not yet parsed."""
    if not isinstance(message, memoryview):
        raise ValueError("a number in place of a message")
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        if key & 7 == _VARINT:
            value, position = _varint(message, position)
        elif key & 7 == _BYTES:
            size, position = _varint(message, position)
            value = message[position : position + size]
            position += size
        else:
            raise ValueError(f"field of type {key & 7}")
        yield key >> 3, value


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Reads an integer of seven bits a byte; returns it and the position after it."""
    value = 0
    shift = 0
    while True:
        byte = message[position]
        value |= (byte & 127) << shift
        shift += 7
        position += 1
        # The upper bit says that more bytes follow.
        if byte < 128:
            return value, position
