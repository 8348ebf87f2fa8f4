"""Cleaning: one form for each value, beside the value as received, with counts before and after."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cdpkit import normalise
from cdpkit.errors import CdpkitError

if TYPE_CHECKING:
    import pandas as pd

Rule = Callable[[object], str | None]
CountryRule = Callable[..., str | None]

#: Words and codes for each gender; 1 and 2 are those of ISO/IEC 5218.
_GENDERS = {
    "f": "f|femme|female|feminin|woman|w|mme|mlle|madame|mademoiselle|mrs|ms|miss|2",
    "m": "m|h|homme|male|masculin|man|mr|monsieur|1",
    "other": "other|autre|x|nb|non binaire|divers|d|9",
}
_GENDER = {word: code for code, words in _GENDERS.items() for word in words.split("|")}
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_PHONE = re.compile(r"\+\d{6,15}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_WORDS = re.compile(r"[^\W\d_]+")


def settled(rule: Rule) -> Rule:
    """Return a rule that says the same of its own answer, by asking until it does.

    Examples
    --------
    >>> settled(lambda text: str(text)[1:] or "a")("bcd")
    'a'
    """

    def apply(value: object) -> str | None:
        seen: list[str | None] = [rule(value)]
        while seen[-1] is not None and (again := rule(seen[-1])) not in seen:
            seen.append(again)
        return seen[-1]

    return apply


def name(value: object) -> str | None:
    """Return a name without odd spaces, in capitals and small letters when it was in one of them only.

    Examples
    --------
    >>> name("  JEAN-FRANÇOIS "), name("o'neil"), name("McDonald"), name("Zoe\u0301")
    ('Jean-François', "O'Neil", 'McDonald', 'Zoé')
    """
    text = normalise.clean(value)
    if text is None or not (text.isupper() or text.islower()):
        return text
    return _WORDS.sub(lambda word: word[0][0].title() + word[0][1:].lower(), text)


def gender(value: object) -> str | None:
    """Return f, m or other; None for what says nothing.

    Examples
    --------
    >>> gender("Mme"), gender("H"), gender("2"), gender("Non-binaire"), gender("?")
    ('f', 'm', 'f', 'other', None)
    """
    return _GENDER.get(normalise.fold(value) or "")


def day(value: object) -> str | None:
    """Return an ISO date, or None for what is no date; ``03/04/1980`` is read day first.

    Examples
    --------
    >>> day("31/12/1980"), day("1980-12-31 00:00:00"), day("31/02/1980")
    ('1980-12-31', '1980-12-31', None)
    """
    text = normalise.date_key(value)
    return text if text is not None and _DAY.fullmatch(text) else None


def postcode(value: object, country: str = "FR") -> str | None:
    """Return a postcode in the form of its country; a French one has five digits.

    Examples
    --------
    >>> postcode("1000"), postcode("75 011"), postcode("F-75011"), postcode("sw1a 1aa", "GB")
    ('01000', '75011', '75011', 'SW1A 1AA')
    >>> postcode("7501A") is None
    True
    """
    text = normalise.clean(value)
    if text is None:
        return None
    if country != "FR":
        return text.upper()
    digits = re.sub(r"^F-?|[\s.]", "", text.upper())
    return digits.zfill(5) if re.fullmatch(r"[0-9]{4,5}", digits) else None


def email(value: object) -> str | None:
    """Return an address in small letters, or None for what is none.

    Examples
    --------
    >>> email(" Zoe@Example.FR "), email("zoe at example")
    ('zoe@example.fr', None)
    """
    text = normalise.email_key(value)
    return text if text is not None and _EMAIL.fullmatch(text) else None


def phone(value: object, country: str = "FR") -> str | None:
    """Return a number in E.164, or None for what cannot be one.

    Examples
    --------
    >>> phone("06 12 34 56 78"), phone("020 7946 0958", "GB"), phone("12")
    ('+33612345678', '+442079460958', None)
    """
    text = normalise.phone_key(value, country)
    return text if text is not None and _PHONE.fullmatch(text) else None


#: How each attribute is cleaned.
RULES: dict[str, Rule] = {
    "first_name": settled(name),
    "last_name": settled(name),
    "gender": gender,
    "birth_date": day,
    "street": normalise.clean,
    "postcode": postcode,
    "city": settled(name),
    "email": settled(email),
    "phone": phone,
}

#: Attributes whose form depends on the country beside them.
BY_COUNTRY: dict[str, CountryRule] = {"postcode": postcode, "phone": phone}


@dataclass(frozen=True)
class Cleaned:
    """A frame once cleaned, and what cleaning did.

    Parameters
    ----------
    frame : DataFrame
        As given, attributes that have a rule replaced by their clean form.
    report : DataFrame
        ``attribute, rows, missing_before, missing_after, changed, unreadable, distinct_before,
        distinct_after``; `changed` counts values that became others, `unreadable` values that became
        missing.
    """

    frame: pd.DataFrame
    report: pd.DataFrame


def clean(frame: pd.DataFrame, rules: Mapping[str, Rule] | None = None, country: str = "FR") -> Cleaned:
    """Bring the known attributes of a frame into one form; the frame given is left as it is.

    Cleaning what is clean changes nothing. A value that cannot be read becomes missing and is counted:
    the value as received stays where it was.

    Parameters
    ----------
    frame : DataFrame
        Any of the attributes of `RULES` as columns; a column ``country`` is used where there is one.
    rules : mapping of str to callable, optional
        Other rules by column.
    country : str
        ISO country of rows that name none.

    Returns
    -------
    Cleaned

    Raises
    ------
    CdpkitError
        When no column has a rule.

    Examples
    --------
    >>> import pandas as pd
    >>> done = clean(pd.DataFrame({"gender": ["Mme", "f", "?"], "city": ["LYON", "Paris", None]}))
    >>> done.frame["gender"].tolist()[:2], done.frame["city"].tolist()[:2]
    (['f', 'f'], ['Lyon', 'Paris'])
    >>> done.report[["attribute", "changed", "unreadable", "missing_after"]].to_numpy().tolist()
    [['gender', 1, 1, 1], ['city', 1, 0, 1]]
    """
    import pandas as pd

    chosen = RULES | dict(rules or {})
    columns = [column for column in frame.columns if column in chosen]
    if not columns:
        raise CdpkitError("a frame to clean must have a column with a rule", got=", ".join(frame.columns))
    regions = _regions(frame, country)
    done, lines = frame.copy(), []
    for column in columns:
        before = frame[column]
        if column in BY_COUNTRY and column not in (rules or {}):
            after = _by_country(before, regions, BY_COUNTRY[column])
        else:
            after = pd.Series(normalise.keys(before, chosen[column]).array(), index=frame.index).astype("str")
        texts = before.astype("str").where(before.notna())
        was, now = before.notna(), after.notna()
        lines.append(
            {
                "attribute": column,
                "rows": len(frame),
                "missing_before": int((~was).sum()),
                "missing_after": int((~now).sum()),
                "changed": int((was & now & (texts != after)).sum()),
                "unreadable": int((was & ~now).sum()),
                "distinct_before": int(before.nunique()),
                "distinct_after": int(after.nunique()),
            }
        )
        done[column] = after
    return Cleaned(done, pd.DataFrame(lines))


def _regions(frame: pd.DataFrame, country: str) -> pd.Series:
    """Return the ISO country of each row."""
    import pandas as pd

    if "country" not in frame or frame["country"].isna().all():
        return pd.Series(country, index=frame.index, dtype="str")
    return frame["country"].map(normalise.regions(frame["country"])).fillna(country).astype("str")


def _by_country(column: pd.Series, regions: pd.Series, rule: CountryRule) -> pd.Series:
    """Clean a column country by country, each distinct value once."""
    import pandas as pd

    out = pd.Series(None, index=column.index, dtype="str")
    for region, values in column.groupby(regions):
        made = normalise.keys(values, settled(partial(rule, country=str(region))))
        out.loc[values.index] = pd.Series(made.array(), index=values.index).astype("str")
    return out


def clean_lake(run: Any) -> pd.DataFrame:
    """Clean what the records of the lake say, beside what they said.

    Table `cleaned` holds, for every value that cleaning changes, the value as received and its clean
    form; `profiles` and `identifiers` stay as received. Nothing is written when nothing changed.

    Parameters
    ----------
    run : Run
        Holds the workspace's lock.

    Returns
    -------
    DataFrame
        The counts of `clean`, by ``source`` and attribute.
    """
    import pandas as pd

    from cdpkit.schema import TABLES

    own = [column for column in RULES if column in TABLES["profiles"]]
    with run.engine() as engine:
        profiles = engine.query(
            f"SELECT node_id, source, {', '.join(own)}, country FROM profiles ORDER BY node_id, known_at"
        ).to_pandas()
        seen = engine.query("""
            SELECT i.node_id, i.source, id_type, value, country FROM identifiers AS i
            LEFT JOIN (SELECT node_id, arg_max(country, known_at) AS country FROM profiles GROUP BY 1) AS p
                USING (node_id)
            WHERE id_type IN ('email', 'phone') ORDER BY ALL
        """).to_pandas()
        stored = engine.query("SELECT * FROM cleaned ORDER BY node_id, attribute, given").to_pandas()
    frames = [(profiles, own)]
    for kind in ("email", "phone"):
        rows = seen[seen["id_type"] == kind].rename(columns={"value": kind})
        frames.append((rows.reset_index(drop=True), [kind]))
    reports, changes = [], []
    for frame, columns in frames:
        for source, rows in frame.groupby("source", sort=True):
            done = clean(rows[[*columns, "country"]])
            reports.append(done.report.assign(source=source))
            changes += [_changes(rows, done.frame, column) for column in columns]
    columns = ["node_id", "source", "attribute", "given", "value"]
    table = pd.concat(changes, ignore_index=True) if changes else pd.DataFrame(columns=columns)
    table = table.drop_duplicates(["node_id", "attribute", "given"]).sort_values(
        ["node_id", "attribute", "given"], ignore_index=True
    )
    if not TABLES["cleaned"].to_arrow(table).equals(TABLES["cleaned"].to_arrow(stored)):
        run.lake.write("cleaned", table, mode="overwrite")
    order = ["source", "attribute"]
    return (
        pd.concat(reports, ignore_index=True)[[*order, *(c for c in reports[0] if c not in order)]]
        if reports
        else pd.DataFrame(columns=order)
    )


def _changes(rows: pd.DataFrame, done: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the values of a column that cleaning changes, with their clean form."""
    given = rows[column].astype("str").where(rows[column].notna())
    value = done[column]
    moved = given.notna() & ((given != value) | value.isna())
    found = rows.loc[moved, ["node_id", "source"]]
    return found.assign(attribute=column, given=given[moved], value=value[moved])
