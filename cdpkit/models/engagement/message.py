"""What is wrong with a message before it leaves: authentication, unsubscription, content, reputation."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parseaddr
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pandas as pd

from cdpkit.models.engagement.providers import COMPLAINTS_GOOD, COMPLAINTS_MOST
from cdpkit.models.engagement.wording import FINDINGS, SHORTENERS, WORDS

#: DNS text records, by name: what `dig TXT name` answers, fetched by whoever runs the check.
Records = Mapping[str, Sequence[str]]

#: Bytes beyond which Gmail clips a message; shares beyond which bounces and silent recipients count.
CLIPPED, BOUNCES_MOST, SILENT_MOST = 102_400, 0.02, 1 / 3

_UNSUBSCRIBE = re.compile(r"unsubscri|désabonn|desabonn|désinscri|desinscri|opt.?out", re.I)
# Suffixes under which anyone registers a name: their organisational domain is one label longer.
_LONG_SUFFIX = re.compile(r"\.(co|com|org|net|gov|ac|asso|gouv)\.[a-z]{2}$")


class _Page(HTMLParser):
    """Links with what they show, images with their alternative, and the text one reads."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.images: list[str] = []
        self.text: list[str] = []
        self._href: str | None = None
        self._shown: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "a":
            self._href, self._shown = told.get("href") or "", []
        elif tag == "img":
            self.images.append((told.get("alt") or "").strip())
        elif tag in ("style", "script"):
            self._silent += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._href is not None:
            self.links.append((self._href, " ".join(self._shown).strip()))
            self._href = None
        elif tag in ("style", "script"):
            self._silent = max(self._silent - 1, 0)

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text.append(data)
            self._shown.append(data)


def check_message(
    message: bytes | EmailMessage,
    records: Records,
    *,
    envelope: str = "",
    rates: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    r"""Return what would keep a message from the inbox, and what to do about each, the gravest first.

    Parameters
    ----------
    message : bytes or EmailMessage
        As it would leave, with its headers; signed, where it will be.
    records : mapping of str to list of str
        DNS text records of the domains it names. Nothing is looked up here: a check reads no network.
    envelope : str
        Domain of the return path; by default that of the header, else of the sender.
    rates : mapping, optional
        Of the last weeks: ``complaint``, ``bounce`` (shares of the messages), ``silent`` (share of the
        recipients who long clicked on nothing).

    Returns
    -------
    DataFrame
        ``finding, field`` (authentication, unsubscribe, content or reputation), ``points`` it takes off,
        ``fix_fr, fix_en``. See `message_score`.

    Notes
    -----
    Google's guidelines for senders of over 5,000 messages a day ask for SPF, DKIM and DMARC with the visible
    sender aligned, for unsubscription in one click (RFC 8058), and for reported spam under 0.1 %, never
    0.3 % or more.

    Examples
    --------
    >>> note = b"From: News <news@shop.example>\nSubject: FREE!!!\n\nClick here http://bit.ly/x"
    >>> check_message(note, {})["finding"].head(3).tolist()
    ['dkim_missing', 'dmarc_missing', 'spf_missing']
    """
    mail = message_from_bytes(message, policy=policy.default) if isinstance(message, bytes) else message
    size = len(message) if isinstance(message, bytes) else len(bytes(message))
    found = {*_authentication(mail, records, envelope), *_content(mail, size), *_reputation(rates or {})}
    rows = [(name, field, points, fr, en) for name, (points, field, fr, en) in FINDINGS.items()]
    table = pd.DataFrame(rows, columns=["finding", "field", "points", "fix_fr", "fix_en"])
    table = table[table["finding"].isin(found)]
    return table.sort_values(["points", "finding"], ascending=[False, True]).reset_index(drop=True)


def message_score(findings: pd.DataFrame) -> float:
    """Return 0 to 100: what is left of 100 once the points of the findings are taken off.

    Examples
    --------
    >>> message_score(pd.DataFrame({"points": [15, 8]}))
    77.0
    """
    return float(max(0, 100 - findings["points"].sum()))


def organisational(domain: str) -> str:
    """Return the domain somebody registered: what two names must share to be aligned.

    Examples
    --------
    >>> organisational("mail.shop.co.uk"), organisational("e.shop.fr")
    ('shop.co.uk', 'shop.fr')
    """
    labels = domain.strip(". ").lower().split(".")
    return ".".join(labels[-3 if _LONG_SUFFIX.search("." + ".".join(labels)) else -2 :])


def _tags(record: str) -> dict[str, str]:
    pairs = (part.split("=", 1) for part in record.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def _authentication(mail: EmailMessage, records: Records, envelope: str) -> set[str]:
    known = {name.lower().rstrip("."): list(values) for name, values in records.items()}
    sender = parseaddr(str(mail.get("From", "")))[1].rpartition("@")[2].lower()
    path = parseaddr(str(mail.get("Return-Path", "")))[1].rpartition("@")[2].lower()
    bounce_to = envelope.lower() or path or sender
    found, spf = _spf(known.get(bounce_to, []))
    keys = set()
    for signature in mail.get_all("DKIM-Signature", []):
        told = _tags(re.sub(r"\s", "", str(signature)))
        published = known.get(f"{told.get('s', '')}._domainkey.{told.get('d', '')}".lower(), [])
        state = _key(published)
        found |= {state} - {""}
        if not state or state == "dkim_weak":
            keys.add(told.get("d", "").lower())
    if not mail.get_all("DKIM-Signature"):
        found.add("dkim_missing")
    policies = [
        r
        for name in (sender, organisational(sender))
        for r in known.get(f"_dmarc.{name}", [])
        if r.lower().startswith("v=dmarc1")
    ]
    if not policies:
        found.add("dmarc_missing")
    elif _tags(policies[0]).get("p", "none").lower() == "none":
        found.add("dmarc_none")
    aligned = {organisational(name) for name in keys | ({bounce_to} if spf else set())}
    # What is missing altogether is told once, and not again as out of line.
    if aligned and organisational(sender) not in aligned:
        found.add("alignment")
    return found


def _spf(values: Sequence[str]) -> tuple[set[str], bool]:
    """Return what is wrong with the SPF records of a domain, and whether they can pass."""
    spf = [value for value in values if value.lower().split(" ")[0] == "v=spf1"]
    if not spf:
        return {"spf_missing"}, False
    if len(spf) > 1:
        return {"spf_several"}, False
    terms = spf[0].lower().split()
    found = set()
    if not {"-all", "~all"} & set(terms) and not any(t.startswith("redirect=") for t in terms):
        found.add("spf_open")
    asks = sum(bool(re.match(r"[+?~-]?(include:|a\b|mx\b|ptr\b|exists:)|redirect=", t)) for t in terms)
    if asks > 10:
        found.add("spf_lookups")
    return found, asks <= 10


def _key(published: Sequence[str]) -> str:
    """Return what is wrong with a DKIM key, empty where nothing is."""
    keys = [_tags(re.sub(r"\s", "", record)) for record in published]
    keys = [told for told in keys if told.get("p")]
    if not keys:
        return "dkim_key"
    if keys[0].get("k", "rsa").lower() != "rsa":
        return ""
    try:
        # An RSA key of 1024 bits is 162 bytes once encoded, one of 2048 bits 294.
        size = len(base64.b64decode(keys[0]["p"], validate=True))
    except ValueError:
        return "dkim_key"
    return "dkim_weak" if size < 290 else ""


def _content(mail: EmailMessage, size: int) -> set[str]:
    html, plain = (mail.get_body((kind,)) for kind in ("html", "plain"))
    page = _Page()
    if html is not None:
        page.feed(html.get_content())
    note = plain.get_content() if plain is not None else ""
    text = " ".join(page.text) or note
    links = [*page.links, *((url, "") for url in re.findall(r"https?://[^\s<>\"]+", note))]
    subject = str(mail.get("Subject", "")).strip()
    found = set()
    listed, post = str(mail.get("List-Unsubscribe", "")), str(mail.get("List-Unsubscribe-Post", ""))
    if not listed:
        found.add("unsubscribe_missing")
    elif "https:" not in listed.lower() or "one-click" not in post.lower():
        found.add("unsubscribe_one_click")
    shown = any(_UNSUBSCRIBE.search(f"{href} {label}") for href, label in links)
    if not shown and not (links and _UNSUBSCRIBE.search(text)):
        found.add("unsubscribe_body")
    found |= {"text_missing"} if html is not None and plain is None else set()
    found |= {"image_only"} if page.images and len(text.split()) < 20 * len(page.images) else set()
    found |= {"image_silent"} if page.images and not all(page.images) else set()
    found |= {"heavy"} if size > CLIPPED else set()
    return found | _subject(subject, bool(mail.get("In-Reply-To"))) | _words(subject, text) | _links(links)


def _subject(subject: str, answers: bool) -> set[str]:
    letters = [c for c in subject if c.isalpha()]
    loud = len(letters) >= 4 and sum(c.isupper() for c in letters) > 0.6 * len(letters)
    found = set() if subject else {"subject_empty"}
    found |= {"subject_loud"} if loud or re.search(r"!\s*!|\${2}|€{2}", subject) else set()
    feigned = re.match(r"(re|fwd?|tr)\s*:", subject, re.I) and not answers
    return found | ({"subject_reply"} if feigned else set())


def _words(subject: str, text: str) -> set[str]:
    read = re.sub(r"\s+", " ", f"{subject} {text}").lower()
    return {"words"} if sum(word in read for word in WORDS) >= 2 else set()


def _links(links: list[tuple[str, str]]) -> set[str]:
    found = set()
    for href, label in links:
        told = urlsplit(href)
        host = (told.hostname or "").lower()
        if host in SHORTENERS:
            found.add("link_shortened")
        if told.scheme == "http":
            found.add("link_plain")
        named = re.search(r"(?:https?://)?((?:[\w-]+\.)+[a-z]{2,})(?:/|\s|$)", label.lower())
        if host and named and organisational(named.group(1)) != organisational(host):
            found.add("link_lies")
    return found


def _reputation(rates: Mapping[str, float]) -> set[str]:
    complaint = rates.get("complaint", 0.0)
    found = set()
    if complaint >= COMPLAINTS_MOST:
        found.add("complaints_over")
    elif complaint >= COMPLAINTS_GOOD:
        found.add("complaints_raised")
    if rates.get("bounce", 0.0) >= BOUNCES_MOST:
        found.add("bounces")
    return found | ({"inactivity"} if rates.get("silent", 0.0) > SILENT_MOST else set())
