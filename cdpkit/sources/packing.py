"""The bytes of an export: unpacked to their very end, in an encoding whose records can be scanned."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import mmap
import os
import shutil
import tempfile
import zlib
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

from cdpkit.errors import ContractError

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
#: Endings that a packed file may add to its name.
SUFFIXES = (".gz", ".zst")
_CHUNK = 1 << 20


@cache
def scannable(encoding: str) -> bool:
    """Tell whether ASCII bytes mean themselves wherever they stand in text of this encoding.

    Records, quotes and delimiters can then be found on the bytes. UTF-8 and the one-byte encodings of
    the West are such; UTF-16, Shift JIS or EBCDIC are not.

    Examples
    --------
    >>> [scannable(name) for name in ("utf-8", "cp1252", "utf-16", "shift_jis", "cp500")]
    [True, True, False, False, False]
    """
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        return True
    for byte in range(256):
        one = bytes([byte])
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(one)
        except UnicodeDecodeError:
            if byte < 128:
                return False
            continue
        if len(text) != 1 or (byte < 128 and text != chr(byte)):
            return False
    return True


def read_bytes(path: Path, encoding: str) -> mmap.mmap:
    """Map a file in memory; unpacked, and in UTF-8, through a scratch file where needed.

    Parameters
    ----------
    path : Path
        Plain, gzip or zstd: recognised by the first bytes.
    encoding : str
        Declared encoding of the text inside.

    Raises
    ------
    ContractError
        When the packed file is cut or altered, the text is not in its encoding, or nothing is there.
    """
    with contextlib.ExitStack() as stack:
        stream: BinaryIO = stack.enter_context(path.open("rb"))
        magic = stream.read(4)
        stream.seek(0)
        unpack = _gunzip if magic[:2] == GZIP else _unzstd if magic == ZSTD else None
        if unpack is not None:
            scratch = cast(BinaryIO, stack.enter_context(tempfile.TemporaryFile()))
            unpack(stream, scratch)
            stream = scratch
        if not scannable(encoding):
            stream.seek(0)
            try:
                text = stream.read().decode(encoding)
            except UnicodeError:
                raise ContractError("file", [f"must be in {encoding}"]) from None
            stream = cast(BinaryIO, stack.enter_context(tempfile.TemporaryFile()))
            stream.write(text.encode())
        if stream.writable():
            stream.flush()
        if os.fstat(stream.fileno()).st_size == 0:
            raise ContractError("file", ["must not be empty; got 0 bytes"])
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _gunzip(stream: BinaryIO, scratch: BinaryIO) -> None:
    try:
        # To the end before a row is used: only there does the checksum tell a whole file.
        shutil.copyfileobj(gzip.GzipFile(fileobj=stream), scratch, _CHUNK)
    except (OSError, EOFError, zlib.error) as error:
        raise ContractError("file", [f"must be a whole gzip file: {error}"]) from None


def _unzstd(stream: BinaryIO, scratch: BinaryIO) -> None:
    try:
        import zstandard
    except ImportError:
        raise ContractError(
            "file", ["zstd needs the package `zstandard`; install cdpkit[workbench]"]
        ) from None

    reader = zstandard.ZstdDecompressor().decompressobj()
    try:
        while chunk := stream.read(_CHUNK):
            while chunk:
                if reader.eof:
                    reader = zstandard.ZstdDecompressor().decompressobj()
                scratch.write(reader.decompress(chunk))
                # Frames may follow one another.
                chunk = reader.unused_data if reader.eof else b""
    except zstandard.ZstdError as error:
        raise ContractError("file", [f"must be a whole zstd file: {error}"]) from None
    if not reader.eof:
        raise ContractError("file", ["must be a whole zstd file: it ends in the middle of a frame"])
