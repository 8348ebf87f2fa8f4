"""The byte scan: physical records of a delimited file, found and checked before anything parses it.

Default readers lose rows silently (a giant line, a stray quote, a repaired row). Here the record
boundaries, quotes, field counts, control bytes and encoding are established on the bytes themselves,
so that the parser only ever sees records known to be sound, and their number is known beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from cdpkit.errors import ContractError

#: Reasons for which a record is set aside before conversion.
TOO_FEW, TOO_MANY = "too few fields", "too many fields"
STRAY, CONTROL = "a quote where none may stand", "a control character"
BYTES, LONG = "bytes that are not in the declared encoding", "a record longer than allowed"

_LF, _CR, _TAB = 10, 13, 9
#: Characters that make text read in another order than it is stored.
_BIDI = re.compile(rb"\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]")
_BLANKS = re.compile(rb"[ \t]+")
#: What UTF-8 read as Latin-1 and written again looks like: the first letter of `Ã©`, `Â°`, `â€™`.
_TWICE = re.compile(rb"\xc3[\x82\x83]\xc2[\x80-\xbf]|\xc3\xa2\xe2\x82\xac")


@dataclass(frozen=True)
class Layout:
    """What the scan must know of a file.

    Parameters
    ----------
    delimiter : bytes or None
        One byte; None for runs of blanks.
    quote : bytes or None
        One byte; None when nothing is quoted.
    encoding : str
        A superset of ASCII; others are transcoded before the scan.
    fields : int
        Fields of every record.
    max_record_bytes, max_newlines : int
        Limits of one record.
    """

    delimiter: bytes | None
    quote: bytes | None
    encoding: str
    fields: int
    max_record_bytes: int = 1_000_000
    max_newlines: int = 200


@dataclass
class Block:
    """Consecutive records of a file.

    Parameters
    ----------
    starts, ends : ndarray
        Offsets of the records in the file, without their line ends.
    lines : ndarray
        Physical line each record begins on, from 1.
    faults : dict of int to list of str
        Reasons by position of the record in the block.
    text : bytes
        The sound records in UTF-8, ready to parse.
    multiline : bool
        Whether a field holds a line end.
    twice : int
        Records that look decoded twice, such as ``HÃ©lÃ¨ne``.
    ended : bool
        Whether the last record ends its line.
    """

    starts: np.ndarray
    ends: np.ndarray
    lines: np.ndarray
    text: bytes = b""
    multiline: bool = False
    twice: int = 0
    ended: bool = True
    faults: dict[int, list[str]] = field(default_factory=dict)

    def blame(self, positions: np.ndarray | list[int], reason: str) -> None:
        """Add a reason to some records, once."""
        for position in positions:
            reasons = self.faults.setdefault(int(position), [])
            if reason not in reasons:
                reasons.append(reason)

    @property
    def good(self) -> np.ndarray:
        """Positions of the records without a fault."""
        keep = np.ones(len(self.starts), dtype=bool)
        keep[list(self.faults)] = False
        return np.flatnonzero(keep)


def scan(data, layout: Layout, offset: int = 0, line: int = 1, window: int = 32 << 20) -> Iterator[Block]:
    r"""Yield the records of a delimited file, block by block, each checked.

    Parameters
    ----------
    data : bytes or mmap
        The file.
    layout : Layout
        How it is written.
    offset, line : int
        Where the records begin: after the header.
    window : int
        Bytes looked at together.

    Raises
    ------
    ContractError
        When a quote is never closed, a field spans more lines than allowed, line ends are of two kinds,
        or the file stops in the middle of a record.

    Examples
    --------
    >>> blocks = list(scan(b'1;a\n2;"b;\nc"\n3\n', Layout(b";", b'"', "utf-8", 2)))
    >>> len(blocks[0].starts), blocks[0].faults
    (3, {2: ['too few fields']})
    """
    size = len(data)
    while offset < size:
        reach = window
        while True:
            stop = min(offset + reach, size)
            chunk = np.frombuffer(data, np.uint8, stop - offset, offset)
            cut = _cut(chunk, layout, line, final=stop == size)
            if cut is not None:
                break
            reach *= 2  # one record larger than the window
        block = _check(data, offset, line, chunk, cut, layout)
        yield block
        line += cut.n_lines
        offset += cut.size
        del chunk


@dataclass
class _Cut:
    """Record ends inside a chunk, relative to it, and what was met on the way."""

    size: int
    n_lines: int
    ends: np.ndarray
    newlines: np.ndarray
    delimiters: np.ndarray
    control: np.ndarray
    lone: np.ndarray
    stray: list[int]
    ended: bool = True


def _cut(chunk: np.ndarray, layout: Layout, line: int, *, final: bool) -> _Cut | None:
    """Find the whole records of a chunk; None when it holds none."""
    quote = ord(layout.quote) if layout.quote else -1
    delimiter = ord(layout.delimiter) if layout.delimiter else -1
    wanted = np.zeros(256, dtype=bool)
    wanted[:32] = True
    wanted[127] = True
    wanted[_TAB] = delimiter == _TAB
    for byte in (quote, delimiter):
        if byte >= 0:
            wanted[byte] = True
    special = np.flatnonzero(wanted[chunk])
    values = chunk[special]
    newlines = special[values == _LF]
    quotes = special[values == quote]
    delimiters = special[values == delimiter]
    stray: list[int] = []
    opens = closes = np.empty(0, np.int64)
    if len(quotes):
        opens, closes, stray = _regions(chunk, quotes, delimiter)
    ends = newlines if not len(opens) else newlines[~_inside(newlines, opens, closes)]
    size, ended = len(chunk), True
    if final:
        if len(opens) > len(closes):
            at = line + int(np.searchsorted(newlines, opens[-1]))
            raise ContractError("file", [f"every quote must be closed; the one opened on line {at} never is"])
        if not len(ends) or ends[-1] != size - 1:
            ends, ended = np.append(ends, size), False
    else:
        if not len(ends):
            return None
        size = int(ends[-1]) + 1
    below = delimiters < size
    delimiters = delimiters[below]
    if len(opens):
        delimiters = delimiters[~_inside(delimiters, opens, closes)]
    returns = special[values == _CR]
    lone = returns[chunk[np.minimum(returns + 1, len(chunk) - 1)] != _LF]
    if len(opens):
        lone = lone[~_inside(lone, opens, closes)]
    odd = special[((values < 32) & (values != _LF) & (values != _CR) & (values != _TAB)) | (values == 127)]
    lone = lone[lone < size]
    control = np.concatenate([odd[odd < size], lone])
    inner = newlines[newlines < size]
    return _Cut(
        size, len(inner), ends, inner, delimiters, control, lone, [s for s in stray if s < size], ended
    )


def _inside(positions: np.ndarray, opens: np.ndarray, closes: np.ndarray) -> np.ndarray:
    """Tell which positions lie between an opening quote and its closing one."""
    return np.searchsorted(opens, positions) > np.searchsorted(closes, positions)


def _regions(
    chunk: np.ndarray, quotes: np.ndarray, delimiter: int
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return where quoted regions open and close, and the quotes that stand where none may."""
    opens, closes = quotes[0::2], quotes[1::2]
    before = np.where(opens > 0, chunk[opens - 1], _LF)
    doubled = np.zeros(len(opens), dtype=bool)
    doubled[1:] = opens[1:] == closes[: len(opens) - 1] + 1
    after = chunk[np.minimum(closes + 1, len(chunk) - 1)]
    last = closes == len(chunk) - 1
    reopened = np.zeros(len(closes), dtype=bool)
    follow = opens[1 : len(closes) + 1]
    reopened[: len(follow)] = follow == closes[: len(follow)] + 1
    legal_open = (before == delimiter) | (before == _LF) | doubled
    legal_close = (after == delimiter) | (after == _LF) | (after == _CR) | last | reopened
    if legal_open.all() and legal_close.all():
        return opens, closes, []
    return _regions_slowly(chunk, quotes, delimiter)


def _regions_slowly(
    chunk: np.ndarray, quotes: np.ndarray, delimiter: int
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Walk the quotes one by one: some of them open nothing, or close in mid-field."""
    opens: list[int] = []
    closes: list[int] = []
    stray: list[int] = []
    size, skip, quote = len(chunk), -1, int(chunk[quotes[0]])
    for position in quotes.tolist():
        if position == skip:
            continue
        if len(opens) == len(closes):
            if position == 0 or chunk[position - 1] in (delimiter, _LF):
                opens.append(position)
            else:
                stray.append(position)
            continue
        after = int(chunk[position + 1]) if position + 1 < size else _LF
        if after == quote:
            skip = position + 1
            continue
        closes.append(position)
        if after not in (delimiter, _LF, _CR):
            stray.append(position)
    return np.array(opens, np.int64), np.array(closes, np.int64), stray


def _check(data, offset: int, line: int, chunk: np.ndarray, cut: _Cut, layout: Layout) -> Block:
    """Build the block of a cut: blank lines dropped, faults found, sound text put together."""
    starts = np.concatenate([[0], cut.ends[:-1] + 1]).astype(np.int64)
    ends = cut.ends.astype(np.int64)
    returned = (ends > starts) & (chunk[np.maximum(ends - 1, 0)] == _CR)
    ends = ends - returned
    lines = line + np.searchsorted(cut.newlines, starts)
    spans = np.searchsorted(cut.newlines, ends) - np.searchsorted(cut.newlines, starts)
    if spans.max(initial=0) > layout.max_newlines:
        at = lines[int(np.argmax(spans))]
        raise ContractError(
            "file", [f"no record may span over {layout.max_newlines} lines; the one on line {at} does"]
        )
    filled = ends > starts
    block = Block(starts[filled], ends[filled], lines[filled], multiline=bool(spans.any()), ended=cut.ended)
    starts, ends = block.starts, block.ends
    block.blame(np.flatnonzero(ends - starts > layout.max_record_bytes), LONG)
    for positions, reason in ((cut.control, CONTROL), (np.array(cut.stray, np.int64), STRAY)):
        block.blame(np.unique(_record_of(positions, starts)), reason)
    _check_bytes(chunk[: cut.size], block, layout.encoding)
    if layout.delimiter is not None:
        fields = np.searchsorted(cut.delimiters, ends) - np.searchsorted(cut.delimiters, starts) + 1
        block.blame(np.flatnonzero(fields < layout.fields), TOO_FEW)
        block.blame(np.flatnonzero(fields > layout.fields), TOO_MANY)
        _refuse_two_line_ends(cut, block, layout.fields)
        if not cut.ended and len(fields) and fields[-1] < layout.fields:
            what = f"the one on line {block.lines[-1]} stops after {fields[-1]} of {layout.fields} fields"
            raise ContractError("file", [f"the last record must be whole; {what}: the file was cut"])
    block.starts, block.ends = starts + offset, ends + offset
    if layout.delimiter is None:
        _split_blanks(data, block, layout.fields)
    else:
        block.text = _join(data, block)
    if layout.encoding != "utf-8":
        block.text = block.text.decode(layout.encoding).encode()
    return block


def _refuse_two_line_ends(cut: _Cut, block: Block, fields: int) -> None:
    """Refuse a file where a carriage return alone ends a record: others would be read as part of it."""
    if not len(cut.lone) or not len(block.starts):
        return
    for record in np.unique(_record_of(cut.lone, block.starts)):
        start, end = block.starts[record], block.ends[record]
        inside = cut.lone[(cut.lone >= start) & (cut.lone < end)]
        edges = np.concatenate([[start], inside, [end]])
        if (np.diff(np.searchsorted(cut.delimiters, edges)) == fields - 1).all() and fields > 1:
            at = block.lines[record]
            raise ContractError("file", [f"line ends must be of one kind; line {at} holds several records"])


def _record_of(positions: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.maximum(np.searchsorted(starts, positions, side="right") - 1, 0)


def _check_bytes(chunk: np.ndarray, block: Block, encoding: str) -> None:
    """Blame the records whose bytes are not in the encoding, or turn the reading order around."""
    if not len(chunk) or chunk.max() < 128 or not len(block.starts):
        return
    view = bytes(chunk)
    if not _decodes(view, encoding):
        starts, ends = block.starts, block.ends
        spoken = np.unique(_record_of(np.flatnonzero(chunk >= 128), starts))
        block.blame([r for r in spoken if not _decodes(view[starts[r] : ends[r]], encoding)], BYTES)
    if encoding == "utf-8" and (b"\xc3\x83" in view or b"\xc3\x82" in view or b"\xc3\xa2" in view):
        twice = np.array([match.start() for match in _TWICE.finditer(view)], np.int64)
        block.twice = len(np.unique(_record_of(twice, block.starts)))
    if encoding == "utf-8" and (b"\xe2\x80" in view or b"\xe2\x81" in view):
        found = np.array([match.start() for match in _BIDI.finditer(view)], np.int64)
        block.blame(np.unique(_record_of(found, block.starts)), CONTROL)


def _decodes(view: bytes, encoding: str) -> bool:
    try:
        view.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _join(data, block: Block) -> bytes:
    """Put the sound records together, a line end after each."""
    if not len(block.starts):
        return b""
    bad = sorted(block.faults)
    if not bad:
        return bytes(data[block.starts[0] : block.ends[-1]])
    edges = [-1, *bad, len(block.starts)]
    runs = [(a + 1, b - 1) for a, b in pairwise(edges) if b - a > 1]
    return b"\n".join(bytes(data[block.starts[a] : block.ends[b]]) for a, b in runs)


def _split_blanks(data, block: Block, fields: int) -> None:
    """Write runs of blanks as one tab, and blame the records with another number of fields."""
    if not len(block.starts):
        return
    text = bytes(data[block.starts[0] : block.ends[-1]])
    rows = [_BLANKS.sub(b"\t", row.strip()) for row in text.split(b"\n")]
    rows = [row for row in rows if row]
    counts = np.array([row.count(b"\t") + 1 for row in rows])
    block.blame(np.flatnonzero(counts < fields), TOO_FEW)
    block.blame(np.flatnonzero(counts > fields), TOO_MANY)
    block.text = b"\n".join(rows[position] for position in block.good)
