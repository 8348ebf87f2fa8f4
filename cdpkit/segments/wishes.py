"""What people asked for themselves: by which channel, at which hour, how often and about what.

A wish is no consent and no refusal. It wins over anything inferred: scores take it as given, and an audience
leaves out whoever asked for another channel, another subject, or fewer messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.errors import CdpkitError
from cdpkit.features import facts

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: Kinds of wishes; a wish about a part of the day is one about its hour.
KINDS = ("channel", "hour", "frequency", "topic")

#: The hour that stands for a part of the day, in the person's own time.
PERIODS = {"morning": 9, "noon": 13, "afternoon": 16, "evening": 20, "night": 22}

#: Messages in four weeks that a word allows.
OFTEN = {"daily": 28, "weekly": 4, "monthly": 1, "never": 0}

#: Days over which a wished frequency is counted.
DAYS = 28


def declared(engine: Engine, kind: str, as_of: pd.Timestamp | str) -> pd.DataFrame:
    """Return the last wish of each person of one kind, as known at a date.

    Parameters
    ----------
    engine : Engine
        Sees ``preferences`` and ``membership``.
    kind : {"channel", "hour", "frequency", "topic"}
    as_of : timestamp

    Returns
    -------
    DataFrame
        ``person_id`` and the kind: ``channel`` (text), ``hour`` (0 to 23, local), ``frequency`` (messages in
        four weeks), or ``topic`` (text; a row a subject, where several were named with commas between). Words
        that mean nothing are left out.

    Raises
    ------
    CdpkitError
        For a kind that is none of `KINDS`.
    """
    if kind not in KINDS:
        raise CdpkitError(f"`kind` must be one of {', '.join(KINDS)}", got=repr(kind))
    # A person's wish about how to be written to is honoured whatever was agreed on profiling.
    told = facts(engine, "preferences", as_of, ["kind", "value"], consent=False)
    kinds = {"hour": ("hour", "period")}.get(kind, (kind,))
    told = told[told["kind"].isin(kinds)]
    word = told["value"].astype("str").str.strip().str.lower()
    if kind == "hour":
        number = pd.to_numeric(word.str.removesuffix("h"), errors="coerce")
        value: pd.Series = number.where(number.between(0, 23)).fillna(word.map(PERIODS)).round()
    elif kind == "frequency":
        number = pd.to_numeric(word, errors="coerce")
        value = number.where(number >= 0).fillna(word.map(OFTEN)).round()
    else:
        value = word.where(word != "")
    told = told.assign(**{kind: value}).dropna(subset=kind)
    if kind in ("hour", "frequency"):
        told = told.astype({kind: "int64"})
    told = told.drop_duplicates("person_id", keep="last")
    if kind == "topic":
        told = told.assign(topic=told["topic"].str.split(",")).explode("topic")
        told["topic"] = told["topic"].str.strip()
    return told[["person_id", kind]].sort_values("person_id").reset_index(drop=True)


def against(
    engine: Engine, as_of: pd.Timestamp | str, *, channel: str, topic: str = ""
) -> dict[str, pd.DataFrame]:
    """Return whom a message would go against the wish of, by the reason an audience gives.

    Parameters
    ----------
    engine : Engine
        Sees ``preferences, messages`` and ``membership``.
    as_of : timestamp
        Date of the message.
    channel : str
        How it would leave.
    topic : str
        What it is about; empty for no one subject.

    Returns
    -------
    dict of str to DataFrame
        ``person_id`` of `wished` (another channel, or other subjects) and of `capped` (the wished number of
        messages was reached within four weeks).
    """
    at = pd.Timestamp(as_of)
    channels = declared(engine, "channel", at)
    other = channels.loc[channels["channel"] != channel.lower(), ["person_id"]]
    if topic:
        topics = declared(engine, "topic", at)
        fine = topics.loc[topics["topic"] == topic.lower(), "person_id"]
        other = pd.concat([other, topics.loc[~topics["person_id"].isin(fine), ["person_id"]]])
    often = declared(engine, "frequency", at)
    reached = often.iloc[:0][["person_id"]]
    if len(often):
        sent = facts(engine, "messages", at, [], since=at - pd.Timedelta(days=DAYS), consent=False)
        messages = often["person_id"].map(sent["person_id"].value_counts()).fillna(0)
        reached = often.loc[messages >= often["frequency"], ["person_id"]]
    return {
        "wished": other.drop_duplicates().reset_index(drop=True),
        "capped": reached.reset_index(drop=True),
    }
