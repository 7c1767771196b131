"""What one setting may be, and how that is said."""

import dataclasses
import math
from typing import Any

from stylegan_jax.sizes import Size, is_made, name_size, nearest_sizes, parse_size

_MOST_TAPS = 64


@dataclasses.dataclass(frozen=True)
class Setting:
    """What one key may be.

    Attributes:
        kind: `int`, `float`, `bool`, `str`, `taps` (a tuple of finite numbers), `labels` (a bool
            or a name) or `size` (the side of a square, or text such as `48x32`).
        text: What it is, for the docs.
        unit: Of a number; empty: none.
        low: Least number.
        high: Largest number.
        above_low: Whether `low` itself is too little.
        below_high: Whether `high` itself is too much.
        choices: Values that are allowed; empty: any within the range.
        optional: Whether None is allowed.
    """

    kind: str
    text: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    above_low: bool = False
    below_high: bool = False
    choices: tuple[Any, ...] = ()
    optional: bool = False

    def accepts(self, value: Any) -> bool:
        """Tells whether a value is allowed."""
        if value is None:
            return self.optional
        # What Python takes for equal, such as True and 1, is not the same setting.
        if self.choices:
            return value in self.choices and (self.kind == "str" or self._is_number(value))
        if self.kind in ("int", "float"):
            return self._is_number(value) and self._is_in_range(value)
        if self.kind == "taps":
            return self._are_taps(value)
        if self.kind == "size":
            size = _read_size(value)
            return size is not None and is_made(size)
        return isinstance(value, {"bool": bool, "str": str, "labels": (bool, str)}[self.kind])

    def _is_number(self, value: Any) -> bool:
        """Bools are no numbers; whole numbers are floats, too."""
        kinds = int if self.kind == "int" else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool)

    def _is_in_range(self, value: float) -> bool:
        """NaN is in no range."""
        if isinstance(value, float) and not math.isfinite(value):
            return False
        enough = value > self.low if self.above_low else value >= self.low
        return enough and (value < self.high if self.below_high else value <= self.high)

    def _are_taps(self, value: Any) -> bool:
        """A filter that sums to something, so that it can be normalised."""
        if not isinstance(value, (tuple, list)) or not 1 <= len(value) <= _MOST_TAPS:
            return False
        numbers = all(isinstance(tap, (int, float)) and math.isfinite(tap) for tap in value)
        return numbers and all(abs(tap) <= 1e6 for tap in value) and sum(value) != 0

    def describe(self) -> str:
        """Says what is allowed."""
        if self.choices:
            words = "one of " + ", ".join(map(str, self.choices))
        elif self.kind == "taps":
            words = f"1 to {_MOST_TAPS} numbers in brackets with a sum other than 0"
        elif self.kind in ("int", "float"):
            words = self._describe_range()
        else:
            words = {
                "bool": "true or false",
                "str": "text",
                "labels": "true, false or a name",
                "size": "the side of squares, such as 256, or height x width, such as 48x32, of a "
                "size that networks make",
            }[self.kind]
        return words + (", or none" if self.optional else "")

    def hint(self, value: Any) -> str:
        """Says which values near a wrong one are right; nothing where that is not known."""
        # Networks make sizes by doubling: between two of them there is none.
        size = _read_size(value) if self.kind == "size" else None
        near = nearest_sizes(size) if size else []
        return f" (the nearest are {' and '.join(map(name_size, near))})" if near else ""

    def _describe_range(self) -> str:
        """Says the kind of number, its range and its unit."""
        name = "a whole number" if self.kind == "int" else "a number"
        low = f"above {_number(self.low)}" if self.above_low else f"from {_number(self.low)}"
        high = f"below {_number(self.high)}" if self.below_high else f"to {_number(self.high)}"
        return f"{name} {low} {high}" + (f" ({self.unit})" if self.unit else "")


def _read_size(value: Any) -> Size | None:
    """A size; None where it is none."""
    try:
        return parse_size(value)
    except ValueError:
        return None


def _number(value: float) -> str:
    """A number as people write it."""
    # Whole numbers up to 2^33 in full; 1e+09 would be hard to compare with what was given.
    return f"{value:g}" if abs(value) >= 2**33 or value != int(value) else str(int(value))
