"""The joins: a fact by place, day or hashed key; no row multiplied, no first-party value touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cdpkit.enrich.feeds import Feed
from cdpkit.errors import CdpkitError
from cdpkit.identity.hashing import identifier_hash
from cdpkit.normalise import fold, keys
from cdpkit.schema import TABLES, Column, Table
from cdpkit.sources.clean import postcode

if TYPE_CHECKING:
    import pandas as pd

#: What is counted of each feed, and the terms under which each added column is held.
COUNTS = ("feed", "rows", "with_key", "matched", "coverage")
TERMS = ("column", "feed", "provenance", "licence", "vintage")


@dataclass(frozen=True)
class Enriched:
    """A frame with outside facts beside its own.

    Parameters
    ----------
    frame : DataFrame
        The rows given, in their order, with columns ``feed__column`` added.
    provenance : DataFrame
        ``column, feed, provenance, licence, vintage``, a row an added column.
    coverage : DataFrame
        ``feed, rows, with_key, matched, coverage``; coverage is of all rows.
    unmatched : dict of str to list of str
        Keys that found nothing, by feed: postcodes and places as such, of hashed keys only how many.

    Examples
    --------
    >>> import pandas as pd
    >>> area = Feed("area", pd.DataFrame({"postcode": ["75011"], "income": [24_000]}), ["postcode"],
    ...             ["income"], "open_data", "Licence Ouverte 2.0", "2021")
    >>> people = Enriched.of(pd.DataFrame({"person_id": ["a", "b"], "postcode": ["75 011", "13001"]}))
    >>> done = areas(people, area)
    >>> done.frame["area__income"].tolist(), done.unmatched["area"]
    ([24000.0, nan], ['13001'])
    """

    frame: pd.DataFrame
    provenance: pd.DataFrame
    coverage: pd.DataFrame
    unmatched: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Enriched:
        """Return a frame before any enrichment."""
        import pandas as pd

        return cls(frame, pd.DataFrame(columns=list(TERMS)), pd.DataFrame(columns=list(COUNTS)))

    def names(self, *provenances: str) -> list[str]:
        """Return the added columns, of these provenances or of all."""
        held = self.provenance
        if provenances:
            held = held[held["provenance"].isin(provenances)]
        return held["column"].tolist()

    def without(self, *provenances: str) -> Enriched:
        """Return the frame without the columns of these provenances: the one switch.

        Parameters
        ----------
        *provenances : str
            Such as ``"third_party"``; none drops nothing.
        """
        gone = self.names(*provenances) if provenances else []
        kept = self.provenance[~self.provenance["column"].isin(gone)].reset_index(drop=True)
        feeds = set(kept["feed"])
        coverage = self.coverage[self.coverage["feed"].isin(feeds)].reset_index(drop=True)
        unmatched = {name: found for name, found in self.unmatched.items() if name in feeds}
        return Enriched(self.frame.drop(columns=gone), kept, coverage, unmatched)

    def write(self, run: Any, as_of: Any) -> Table:
        """Write the added columns, a row a person, to table ``features_enriched``, in place of all others.

        A column that was dropped is in the table no more: what was bought leaves with its switch.

        Parameters
        ----------
        run : Run
            Holds the workspace's lock.
        as_of : datetime
            Date of the rows.

        Returns
        -------
        Table
            Of the lake; the meaning of each column is its feed, with licence and vintage.
        """
        import pandas as pd

        rows = self.frame[["person_id", *self.names()]].assign(as_of=pd.Timestamp(as_of))
        terms = self.provenance.set_index("column")
        own = [TABLES["labels"]["person_id"], TABLES["labels"]["as_of"]]
        for name in self.names():
            number = pd.api.types.is_numeric_dtype(rows[name])
            rows[name] = rows[name].astype("float64" if number else "str")
            said = ", ".join(str(terms.loc[name, word]) for word in ("provenance", "licence", "vintage"))
            own.append(Column(name, "float64" if number else "string", f"{name}: {said}", f"{name} : {said}"))
        en, fr = "Outside facts beside a person's own", "Des faits extérieurs à côté de ceux de la personne"
        table = Table("features_enriched", ("person_id", "as_of"), tuple(own), en, fr)
        run.lake.write(table, rows[list(table.names)], mode="overwrite")
        return table

    def join(self, feed: Feed, ours: pd.DataFrame, theirs: pd.DataFrame, *, tell: bool = True) -> Enriched:
        """Add the columns of a feed by keys made on both sides.

        Parameters
        ----------
        feed : Feed
            What is added, and its terms.
        ours, theirs : DataFrame
            Key columns of the frame's rows and of the feed's, under the same names.
        tell : bool
            Whether unmatched keys may be listed; a hashed address may not.

        Raises
        ------
        CdpkitError
            When a column of this name is there already: nothing is ever overwritten.
        """
        import pandas as pd

        names = {column: f"{feed.name}__{column}" for column in feed.columns}
        if taken := [name for name in names.values() if name in self.frame]:
            raise CdpkitError(
                "an enrichment must add columns of its own", got=f"already there: {', '.join(taken)}"
            )
        on = list(ours.columns)
        right = theirs.assign(**{names[c]: feed.frame[c].to_numpy() for c in feed.columns}, _found=True)
        right = right.dropna(subset=on).drop_duplicates(on)
        found = ours.reset_index(drop=True).merge(right, on=on, how="left", validate="many_to_one")
        added = found[list(names.values())].set_index(self.frame.index)
        matched, with_key = found["_found"].notna(), ours.notna().all(axis=1).to_numpy()
        lost = ours.reset_index(drop=True)[with_key & ~matched.to_numpy()].drop_duplicates().astype("str")
        listed = sorted(" ".join(row) for row in lost.itertuples(index=False))
        share = float(matched.mean()) if len(ours) else 0.0
        counts = (feed.name, len(ours), int(with_key.sum()), int(matched.sum()), share)
        line = pd.DataFrame([counts], columns=list(COUNTS))
        terms = [(name, feed.name, feed.provenance, feed.licence, feed.vintage) for name in names.values()]
        return Enriched(
            pd.concat([self.frame, added], axis=1),
            pd.concat([self.provenance, pd.DataFrame(terms, columns=list(TERMS))], ignore_index=True),
            pd.concat([self.coverage, line], ignore_index=True) if len(self.coverage) else line,
            {**self.unmatched, feed.name: listed if tell else [f"{len(listed)} hashed keys"] * bool(listed)},
        )


def attributes(engine: Any, as_of: Any) -> pd.DataFrame:
    """Return what outside facts are joined by: place and address of each person, as known at a date.

    Parameters
    ----------
    engine : Engine
        On the lake, with its golden record.
    as_of : datetime
        Values learned later are left out, UTC.

    Returns
    -------
    DataFrame
        ``person_id, postcode, city, country, email``; missing where nobody said.
    """
    import pandas as pd

    names = ("postcode", "city", "country", "email")
    picked = ", ".join(f"max(value) FILTER (attribute = '{name}') AS {name}" for name in names)
    return engine.query(
        f"SELECT person_id, {picked} FROM golden WHERE known_at < TIMESTAMP '{pd.Timestamp(as_of)}'"
        " GROUP BY person_id ORDER BY person_id"
    ).to_pandas()


def areas(rows: Enriched, feed: Feed, *, on: str = "postcode") -> Enriched:
    """Add facts of the area a postcode lies in.

    Parameters
    ----------
    rows : Enriched
        With column `on`, in any spelling.
    feed : Feed
        Keyed by ``postcode``.
    on : str
        Column of the frame.
    """
    return rows.join(feed, _keys(rows.frame[[on]], {on: postcode}, [feed.key[0]]),
                     _keys(feed.frame[list(feed.key)], {feed.key[0]: postcode}))  # fmt: skip


def weather(rows: Enriched, feed: Feed, *, place: str = "city", at: str = "as_of", days: int = 7) -> Enriched:
    """Add the mean weather of a place over the days before a date: never of that day or later.

    Parameters
    ----------
    rows : Enriched
        With a place and a date.
    feed : Feed
        Keyed by ``place`` and ``day``.
    place, at : str
        Columns of the frame: the place as written, and the date.
    days : int
        How many past days the mean is over: `[at - days, at)`.
    """
    import pandas as pd

    if days < 1:
        raise CdpkitError("`days` must be at least 1", got=str(days))
    where = "place"
    daily = feed.frame.copy()
    daily[where] = pd.Series(keys(feed.frame[where], fold).array(), index=feed.frame.index).astype("str")
    daily["_day"] = pd.to_datetime(feed.frame["day"]).astype("datetime64[us]").dt.normalize()
    asked = pd.to_datetime(rows.frame[at]).astype("datetime64[us]")
    # A date inside a day knows that day's past only through the days before it.
    ours = pd.DataFrame(
        {where: pd.Series(keys(rows.frame[place], fold).array(), index=rows.frame.index).astype("str"),
         "day": asked.dt.normalize()}
    )  # fmt: skip
    wanted = ours.dropna().drop_duplicates()
    spans = [
        wanted.assign(_day=wanted["day"] - pd.Timedelta(days=back), _back=back) for back in range(1, days + 1)
    ]
    columns = list(feed.columns)
    if spans and len(wanted):
        past = pd.concat(spans, ignore_index=True).merge(
            daily[[where, "_day", *columns]], on=[where, "_day"], how="inner"
        )
    else:
        past = daily.head(0).assign(day=daily["_day"].head(0))[[where, "day", *columns]]
    means = past.groupby([where, "day"], as_index=False)[columns].mean()
    summed = Feed(feed.name, means, [where, "day"], columns, feed.provenance, feed.licence, feed.vintage)
    return rows.join(summed, ours, means[[where, "day"]])


def holidays(
    rows: Enriched, feed: Feed, *, at: str = "as_of", country: str | None = None, default: str = "FR"
) -> Enriched:
    """Add the days to the next public holiday and since the last one; calendars are known in advance.

    Parameters
    ----------
    rows : Enriched
        With a date.
    feed : Feed
        Keyed by ``country`` and ``day``.
    at : str
        Column of the date.
    country : str, optional
        Column of ISO countries; every row is of `default` without it.
    default : str
        ISO country of rows that name none.
    """
    import numpy as np
    import pandas as pd

    day = pd.to_datetime(rows.frame[at]).astype("datetime64[us]").dt.normalize()
    land = pd.Series(default, index=rows.frame.index) if country is None else rows.frame[country]
    ours = pd.DataFrame({"country": land.fillna(default).astype("str"), "day": day})
    wanted = ours.dropna().drop_duplicates().reset_index(drop=True)
    told = feed.frame.assign(day=pd.to_datetime(feed.frame["day"]).astype("datetime64[us]"))
    parts = []
    for name, asked in wanted.groupby("country"):
        known = np.sort(told.loc[told["country"] == name, "day"].to_numpy())
        if not len(known):
            continue
        moments = asked["day"].to_numpy()
        after = np.searchsorted(known, moments, side="left")
        before = np.searchsorted(known, moments, side="right") - 1
        one = np.timedelta64(1, "D")
        ahead = np.where(
            after < len(known), (known[np.minimum(after, len(known) - 1)] - moments) / one, np.nan
        )
        since = np.where(before >= 0, (moments - known[np.maximum(before, 0)]) / one, np.nan)
        parts.append(asked.assign(days_to_next=ahead, days_since_last=since))
    columns = ["days_to_next", "days_since_last"]
    frame = (
        pd.concat(parts, ignore_index=True) if parts else wanted.head(0).assign(**dict.fromkeys(columns, 0.0))
    )
    summed = Feed(feed.name, frame, ["country", "day"], columns, feed.provenance, feed.licence, feed.vintage)
    return rows.join(summed, ours, frame[["country", "day"]])


def third_party(rows: Enriched, feed: Feed, *, email: str = "email", scheme: str = "google") -> Enriched:
    """Add bought facts by hashed address; the hash is made here and kept nowhere.

    Parameters
    ----------
    rows : Enriched
        With a column of addresses.
    feed : Feed
        Made by `third_party_feed`.
    email : str
        Column of the addresses.
    scheme : str
        How the seller hashes, see `cdpkit.identity.hashing.identifier_hash`.
    """
    import pandas as pd

    made = keys(rows.frame[email], lambda value: identifier_hash("email", value, scheme)).array()
    key = feed.key[0]
    ours = pd.DataFrame({key: pd.Series(made, index=rows.frame.index).astype("str")})
    return rows.join(feed, ours, feed.frame[[key]].astype("str"), tell=False)


def _keys(
    frame: pd.DataFrame, rules: Mapping[str, object], names: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the key columns in one spelling."""
    import pandas as pd

    made = {
        name: pd.Series(keys(frame[column], rule).array(), index=frame.index).astype("str")  # type: ignore[arg-type]
        for name, (column, rule) in zip(names or list(rules), rules.items(), strict=True)
    }
    return pd.DataFrame(made)
