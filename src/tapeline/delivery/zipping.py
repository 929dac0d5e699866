"""The bytes of a ZIP file around what is stored in it, for files of any number and size, written from the front to the end.

Files are stored, not compressed: audio does not shrink. A file whose CRC is known when it begins has it in its header, any other in
a descriptor behind it. Nothing grows with the number of files: the directory, which comes last, waits in a file that is given. Sizes
and places beyond 4 GiB, and more than 65,534 files, are told by ZIP64's fields (APPNOTE 6.3.10, section 4). Does no I/O but with that
file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from tapeline.core.clock import utc

__all__ = ["ZipLayout"]

_UTF8, _DESCRIPTOR = 0x0800, 0x0008  # 4.4.4
_PLAIN, _ZIP64 = 20, 45  # 4.4.3: the version needed
_MADE_BY = 3 << 8 | _ZIP64  # 4.4.2: a UNIX file
_BIG = 0xFFFFFFFF
_MANY = 0xFFFF
_MODE = 0o100644 << 16
_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Begun:
    name: bytes
    moment: tuple[int, int]
    size: int
    offset: int
    flags: int
    needed: int


class ZipLayout:
    """For each file: `begin`, its bytes, `finish`. Then `end`. All give bytes to be written in that order."""

    def __init__(self, directory: IO[bytes]) -> None:
        """`directory` is empty, and is written and read by nobody else."""
        self._directory = directory
        self._begun: _Begun | None = None
        self.count = 0
        self.offset = 0  # bytes so far

    def begin(self, name: str, wall: float, size: int, crc: int | None = None) -> bytes:
        """The header of the file `name` of `size` bytes."""
        assert self._begun is None, "the file before is not finished"
        encoded = name.encode()
        big = size >= _BIG
        flags = _UTF8 | (_DESCRIPTOR if crc is None else 0)
        self._begun = begun = _Begun(encoded, _dos(wall), size, self.offset, flags, _ZIP64 if big else _PLAIN)
        shown = 0 if crc is None else size
        extra = struct.pack("<HHQQ", 1, 16, shown, shown) if big else b""
        header = struct.pack(
            "<IHHHHHIIIHH", 0x04034B50, begun.needed, flags, 0, *begun.moment, crc or 0, _BIG if big else shown, _BIG if big else shown,
            len(encoded), len(extra),
        )  # fmt: skip
        self.offset += len(header) + len(encoded) + len(extra) + size
        return header + encoded + extra

    def finish(self, crc: int) -> bytes:
        """What follows the file's last byte: nothing, where its header said the CRC."""
        begun = self._begun
        assert begun is not None, "no file has begun"
        self._begun = None
        behind = b""
        if begun.flags & _DESCRIPTOR:
            sizes = "QQ" if begun.needed == _ZIP64 else "II"
            behind = struct.pack(f"<II{sizes}", 0x08074B50, crc, begun.size, begun.size)
            self.offset += len(behind)
        self._directory.write(_entry(begun, crc))
        self.count += 1
        return behind

    def end(self) -> Iterator[bytes]:
        """The directory and the end of the file."""
        assert self._begun is None, "the file before is not finished"
        start, size = self.offset, self._directory.tell()
        self._directory.seek(0)
        while piece := self._directory.read(_PIECE):
            yield piece
        last = b""
        if self.count >= _MANY or start >= _BIG or size >= _BIG:
            last = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, _MADE_BY, _ZIP64, 0, 0, self.count, self.count, size, start)
            last += struct.pack("<IIQI", 0x07064B50, 0, start + size, 1)
        count = min(self.count, _MANY)
        last += struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, min(size, _BIG), min(start, _BIG), 0)
        self.offset += size + len(last)
        yield last


def _entry(begun: _Begun, crc: int) -> bytes:
    """One file's record in the directory (4.3.12)."""
    size, offset = min(begun.size, _BIG), min(begun.offset, _BIG)
    more = struct.pack("<QQ", begun.size, begun.size) if size == _BIG else b""
    more += struct.pack("<Q", begun.offset) if offset == _BIG else b""
    extra = struct.pack("<HH", 1, len(more)) + more if more else b""
    needed = _ZIP64 if more else _PLAIN
    record = struct.pack(
        "<IHHHHHHIIIHHHHHII", 0x02014B50, _MADE_BY, needed, begun.flags, 0, *begun.moment, crc, size, size,
        len(begun.name), len(extra), 0, 0, 0, _MODE, offset,
    )  # fmt: skip
    return record + begun.name + extra


def _dos(wall: float) -> tuple[int, int]:
    """Time and date as MS-DOS has them, in UTC: from 1980 to 2107, to two seconds."""
    moment = utc(min(max(wall, 315532800.0), 4354819198.0))
    return moment.hour << 11 | moment.minute << 5 | moment.second // 2, (moment.year - 1980) << 9 | moment.month << 5 | moment.day
