"""What the layout writes, another reader opens: names, sizes, sums, and what needs the 64-bit fields."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline.delivery.zipping import ZipLayout

FILES = st.lists(st.tuples(st.text("abc/äß漢 .", min_size=1, max_size=20), st.binary(max_size=200), st.booleans()), max_size=12)


def packed(files: list[tuple[str, bytes, bool]]) -> bytes:
    with tempfile.TemporaryFile() as directory:
        layout = ZipLayout(directory)
        out = bytearray()
        for name, data, known in files:
            crc = zlib.crc32(data)
            out += layout.begin(name, 1_768_469_402.0, len(data), crc if known else None) + data + layout.finish(crc)
        for piece in layout.end():
            out += piece
        assert layout.offset == len(out)
    return bytes(out)


@settings(max_examples=60, deadline=None)
@given(FILES)
def test_another_reader_finds_every_file(files: list[tuple[str, bytes, bool]]) -> None:
    named = [(f"{n}{name}", data, known) for n, (name, data, known) in enumerate(files)]
    with zipfile.ZipFile(io.BytesIO(packed(named))) as opened:
        assert opened.testzip() is None
        assert [(info.filename, info.compress_type) for info in opened.infolist()] == [(name, zipfile.ZIP_STORED) for name, _, _ in named]
        assert [opened.read(name) for name, _, _ in named] == [data for _, data, _ in named]
        assert all(info.date_time == (2026, 1, 15, 9, 30, 2) for info in opened.infolist())


def test_more_files_than_the_old_fields_can_count() -> None:
    with zipfile.ZipFile(io.BytesIO(packed([(f"{n}.wav", b"", True) for n in range(70_000)]))) as opened:
        assert len(opened.infolist()) == 70_000


class Sparse(io.RawIOBase):
    """A file of which only some pieces are there: what lies between is zeros."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.size = self.at = 0

    def put(self, data: bytes) -> None:
        self.pieces.append((self.size, data))
        self.size += len(data)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset if whence == 0 else self.at + offset if whence == 1 else self.size + offset
        return self.at

    def read(self, size: int = -1) -> bytes:
        end = self.size if size < 0 else min(self.size, self.at + size)
        out = bytearray(end - self.at)
        for start, data in self.pieces:
            low, high = max(start, self.at), min(start + len(data), end)
            if low < high:
                out[low - self.at : high - self.at] = data[low - start : high - start]
        self.at = end
        return bytes(out)


@pytest.mark.parametrize("known", [True, False])
def test_sizes_and_places_beyond_four_gigabytes(known: bool) -> None:
    file, size, crc = Sparse(), 5 * 1024**3, 0x1234ABCD
    with tempfile.TemporaryFile() as directory:
        layout = ZipLayout(directory)
        file.put(layout.begin("big.wav", 1.8e9, size, crc if known else None))
        file.size += size
        behind = layout.finish(crc)
        assert len(behind) == (0 if known else 24)
        file.put(behind)
        file.put(layout.begin("small.wav", 1.8e9, 3, zlib.crc32(b"abc")) + b"abc" + layout.finish(zlib.crc32(b"abc")))
        for piece in layout.end():
            file.put(piece)
    with zipfile.ZipFile(file) as opened:  # type: ignore[arg-type]
        assert [info.file_size for info in opened.infolist()] == [size, 3]
        assert crc == opened.infolist()[0].CRC and opened.read("small.wav") == b"abc"
        assert opened.infolist()[1].header_offset > size
    if known:
        assert struct.unpack_from("<QQ", file.pieces[0][1], 30 + len("big.wav") + 4) == (size, size)


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_has_nothing_to_complain_of(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(packed([("a.wav", b"abc" * 1000, True), ("b/ä.wav", b"x" * 5000, False), ("empty", b"", False)]))
    done = subprocess.run(["unzip", "-t", str(tmp_path / "x.zip")], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "No errors" in done.stdout, done.stdout + done.stderr
