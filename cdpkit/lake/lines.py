"""Text files of any origin, read without loss: their encoding, their records, their cells."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from typing import IO

# Four bytes before two: the mark of UTF-32 begins like that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_DELIMITERS = ";,\t|~^"
# A quoted record of more lines than this is a stray quote, as in a file that no loader accepts.
_RECORD_LINES = 1_000
_LOOKED_AT = 4_096


class Reading:
    """How the bytes of one file become text, and whether all of them did.

    Attributes
    ----------
    mark : bytes
        Byte order mark it begins with.
    wide : str
        Codec of several bytes a character; empty for the others, which are told apart record by
        record: UTF-8 where they are, cp1252 elsewhere.
    whole : bool
        Whether everything read so far could be searched.
    loose : bool
        Whether it only looks like a table.
    """

    def __init__(self) -> None:
        self.mark, self.wide, self.whole, self.loose = b"", "", True, False

    def begin(self, old: IO[bytes], strict: bool) -> None:
        """Look at the first bytes, and stand behind the mark.

        Raises
        ------
        UnicodeError
            When this is no text; if `strict`, neither UTF-8 nor marked.
        """
        head = old.read(_LOOKED_AT)
        self.mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
        self.wide = _MARKS.get(self.mark, "")
        if b"\0" in head and not self.wide:
            raise UnicodeError("neither text nor marked")
        if strict and not self.mark:
            decoder = codecs.getincrementaldecoder("utf-8")()
            while head:
                decoder.decode(head)
                head = old.read(1 << 20)
            decoder.decode(b"", final=True)
        old.seek(len(self.mark))

    def lines(self, old: IO[bytes]) -> Iterator[bytes]:
        """Yield the lines as their own bytes."""
        if not self.wide:
            yield from old
            return
        stream = io.TextIOWrapper(old, self.wide, newline="\n")  # type: ignore[type-var]
        try:
            for line in stream:
                yield line.encode(self.wide)
        finally:
            stream.detach()

    def codecs(self, raw: bytes) -> tuple[str, ...]:
        """Return the codecs these bytes may be in, the likeliest first."""
        if self.wide:
            return (self.wide,)
        try:
            raw.decode("utf-8")
            return ("utf-8",)
        except UnicodeDecodeError:
            pass
        try:
            raw.decode("cp1252")
        except UnicodeDecodeError:
            self.whole = False
        return "cp1252", "utf-8"

    def texts(self, raw: bytes) -> tuple[str, ...]:
        """Return what bytes may say: two readings where they are not UTF-8."""
        return tuple(raw.decode(codec, "surrogateescape") for codec in self.codecs(raw))


def records(lines: Iterator[bytes], reading: Reading) -> Iterator[bytes]:
    """Yield records, joining the lines of a quoted cell."""
    pending: list[bytes] = []
    open_quote = False
    for line in lines:
        pending.append(line)
        quotes = line.decode(reading.wide).count('"') if reading.wide else line.count(b'"')
        open_quote ^= quotes % 2 == 1
        if not open_quote:
            yield b"".join(pending)
            pending.clear()
        elif len(pending) > _RECORD_LINES:
            yield from pending
            pending, open_quote = [], False
    yield from pending


def columns_of(header: str) -> tuple[list[str], str]:
    """Return the cells of a first line and what separates them; blanks, where nothing else does.

    Examples
    --------
    >>> columns_of("client_id~n")
    (['client_id', 'n'], '~')
    >>> columns_of(" 00001  19970101  1")
    (['00001', '19970101', '1'], ' ')
    """
    delimiter = max(_DELIMITERS, key=header.count)
    delimiter = delimiter if delimiter in header else " "
    return split(header, delimiter), delimiter


def split(record: str, delimiter: str) -> list[str]:
    """Return the cells of one record; a broken one is its text."""
    if delimiter == " ":
        return record.split()
    try:
        return next(csv.reader([record], delimiter=delimiter), [])
    except csv.Error:
        return [record]


def looks_tabular(old: IO[bytes], reading: Reading) -> bool:
    """Tell whether the first lines have as many cells each; leave the file where it was."""
    at = old.tell()
    head = old.read(_LOOKED_AT)
    old.seek(at)
    text = head.decode(reading.wide or "cp1252", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    lines = lines[:-1] if len(head) == _LOOKED_AT else lines
    if len(lines) < 2 or lines[0].lstrip()[:1] in ("{", "[", "<", "#"):
        return False
    cells, delimiter = columns_of(lines[0])
    rows = [split(line, delimiter) for line in lines[1:20]]
    if delimiter == " " and not all(any(cell[:1].isdigit() for cell in row) for row in rows):
        return False  # two sentences of as many words
    return len(cells) > 1 and all(len(row) == len(cells) for row in rows)
