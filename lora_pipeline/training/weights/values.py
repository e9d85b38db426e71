"""The values of tensors: finite or not, all zero or not, read in blocks without torch.

Types that numpy does not know (bfloat16, the 8-bit floats) are judged by their bits: a value is
NaN or infinite when all bits of its exponent are set, and zero when all but the sign are clear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

# type -> numpy type of its bits, bits that are all set in NaN and infinity, bits of a magnitude
_FLOATS = {
    "F64": ("<u8", 0x7FF0000000000000, 0x7FFFFFFFFFFFFFFF),
    "F32": ("<u4", 0x7F800000, 0x7FFFFFFF),
    "F16": ("<u2", 0x7C00, 0x7FFF),
    "BF16": ("<u2", 0x7F80, 0x7FFF),
    "F8_E4M3": ("u1", 0x7F, 0x7F),  # has no infinity, and NaN is all ones
    "F8_E5M2": ("u1", 0x7C, 0x7F),
}
_NATIVE = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_INTEGERS = {
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1",
}  # fmt: skip
_PIECE = 65536  # values


@dataclass
class ValueScan:
    """What was seen of one tensor's values so far.

    Attributes:
        not_finite: How many values are NaN or infinite.
        all_zero: Whether every value was zero.
        largest: Largest magnitude of the finite values.
        first: The first value, or None of an empty tensor.
        squares: Sum of the squares of the finite values; its root is the Frobenius norm.
    """

    not_finite: int = 0
    all_zero: bool = True
    largest: float = 0.0
    first: float | None = None
    squares: float = 0.0

    @property
    def norm(self) -> float:
        """The Frobenius norm of the finite values."""
        return math.sqrt(self.squares)

    def add(self, block: bytes, dtype: str) -> None:
        """Take in the next block of the tensor's data."""
        if not block:
            return
        import numpy

        if dtype in _FLOATS:
            bits_type, special, magnitude = _FLOATS[dtype]
            bits = numpy.frombuffer(block, dtype=bits_type)
            self.not_finite += int(numpy.count_nonzero((bits & special) == special))
            self.all_zero = self.all_zero and not (bits & magnitude).any()
        values = as_numbers(block, dtype)
        if self.first is None:
            self.first = float(values[0])
        if dtype not in _FLOATS:
            self.all_zero = self.all_zero and not values.any()
        finite = values[numpy.isfinite(values)] if self.not_finite else values
        if finite.size:
            # Halves of minimum and maximum need no copy of the block, as abs() would.
            low, high = float(finite.min()), float(finite.max())
            self.largest = max(self.largest, -low, high)
            self.squares += _squares(finite)


def _squares(values: numpy.ndarray[Any, Any]) -> float:
    """Return the sum of squares, in pieces that are small beside the block itself."""
    import numpy

    total = 0.0
    for start in range(0, values.size, _PIECE):
        piece = values[start : start + _PIECE].astype(numpy.float64)
        total += float(piece @ piece)
    return total


def as_numbers(block: bytes, dtype: str) -> numpy.ndarray[Any, Any]:
    """Return the values of a block as numpy numbers."""
    import numpy

    if dtype in _NATIVE:
        return numpy.frombuffer(block, dtype=_NATIVE[dtype])
    if dtype in _INTEGERS:
        return numpy.frombuffer(block, dtype=_INTEGERS[dtype])
    if dtype == "BF16":
        wide = numpy.frombuffer(block, dtype="<u2").astype("<u4") << 16
        return wide.view("<f4")
    table = numpy.array([_eight_bit(code, dtype) for code in range(256)], dtype="<f4")
    looked_up: numpy.ndarray[Any, Any] = table[numpy.frombuffer(block, dtype="u1")]
    return looked_up


def _eight_bit(code: int, dtype: str) -> float:
    exponent_bits, bias = (4, 7) if dtype == "F8_E4M3" else (5, 15)
    mantissa_bits = 7 - exponent_bits
    sign = -1.0 if code & 0x80 else 1.0
    exponent = (code & 0x7F) >> mantissa_bits
    mantissa = code & ((1 << mantissa_bits) - 1)
    if dtype == "F8_E4M3" and code & 0x7F == 0x7F:
        return math.nan
    if dtype == "F8_E5M2" and exponent == 31:
        return math.nan if mantissa else sign * math.inf
    if exponent == 0:
        return float(sign * math.ldexp(mantissa, 1 - bias - mantissa_bits))
    return float(
        sign * math.ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits)
    )
