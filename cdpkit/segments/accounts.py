"""Households and companies: accounts above persons, with figures that are the sums of their members'."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.errors import CdpkitError
from cdpkit.normalise import fold
from cdpkit.segments.people import literal, member_sql
from cdpkit.segments.selection import Selection

if TYPE_CHECKING:
    from cdpkit.engine import Engine

KINDS = ("household", "company")


def accounts(engine: Engine, as_of: object, kind: str = "household") -> pd.DataFrame:
    """Return who belongs to which account.

    Parameters
    ----------
    engine : Engine
        Sees ``golden``, or ``positions``, and ``membership, consents``.
    as_of : timestamp-like
    kind : {"household", "company"}
        A household is one surname at one street and postcode; a company is the last position held.

    Returns
    -------
    DataFrame
        ``account_id, person_id``, one row a person. A household's id is a digest: no address is shown.

    Raises
    ------
    CdpkitError
        For another kind.
    """
    if kind not in KINDS:
        raise CdpkitError(f"`kind` must be one of {', '.join(KINDS)}", got=repr(kind))
    t = literal(as_of)
    if kind == "company":
        return engine.query(
            f"""WITH {member_sql(as_of)} SELECT arg_max(company_id, (event_time, company_id)) AS
              account_id, person_id
                FROM positions JOIN member USING (node_id)
                WHERE event_time < {t} AND known_at < {t} GROUP BY person_id ORDER BY account_id, person_id"""
        ).to_pandas()
    held = engine.query(
        f"""WITH {member_sql(as_of)} SELECT person_id, max(value) FILTER (attribute = 'last_name') AS
          last_name,
                   max(value) FILTER (attribute = 'street') AS street, max(value) FILTER (attribute =
                     'postcode') AS postcode
            FROM golden WHERE known_at < {t} AND person_id IN (SELECT person_id FROM member)
            GROUP BY person_id HAVING count(DISTINCT attribute) FILTER (attribute IN ('last_name',
              'street', 'postcode')) = 3
            ORDER BY person_id"""
    ).to_pandas()
    keys = [
        hashlib.sha256("|".join(fold(part) or "" for part in row).encode()).hexdigest()[:16]
        for row in zip(held["last_name"], held["street"], held["postcode"], strict=True)
    ]
    frame = pd.DataFrame({"account_id": pd.Series(keys, dtype="str"), "person_id": held["person_id"]})
    return frame.sort_values(["account_id", "person_id"], ignore_index=True)


def roll_up(engine: Engine, members: pd.DataFrame, as_of: object, days: int = 365) -> pd.DataFrame:
    """Add up the members' figures by account.

    Parameters
    ----------
    engine : Engine
        Sees ``orders, events, quotes, membership, consents``.
    members : DataFrame
        ``account_id, person_id``.
    as_of : timestamp-like
    days : int
        Length of the period before it.

    Returns
    -------
    DataFrame
        ``account_id, currency, n_persons, n_buyers, n_orders, amount_minor, n_visit_days, n_quotes,
        last_order``, a row an account and currency in which it paid; visit days and quotes are the account's,
        repeated; a visit day is one person's. Accounts that bought nothing have no currency.
    """
    t = literal(as_of)
    window = f"event_time < {t} AND known_at < {t} AND event_time >= {t} - INTERVAL {int(days)} DAY"
    engine.register("_accounts", members[["account_id", "person_id"]].astype("str"))
    return engine.query(
        f"""WITH {member_sql(as_of)}, mine AS (SELECT account_id, person_id, node_id FROM _accounts JOIN
          member USING (person_id)),
        size AS (SELECT account_id, count(DISTINCT person_id) AS n_persons FROM _accounts GROUP BY
          account_id),
        paid AS (
          SELECT account_id, currency, count(DISTINCT person_id) AS n_buyers, count(*) AS n_orders,
                 sum(amount_minor)::BIGINT AS amount_minor, max(event_time) AS last_order
          FROM orders JOIN mine USING (node_id)
          WHERE {window} AND (cancelled_at IS NULL OR cancelled_at >= {t}) GROUP BY account_id, currency
        ), seen AS (SELECT account_id, count(*) AS n_visit_days FROM (
          SELECT DISTINCT account_id, person_id, event_time::DATE FROM events JOIN mine USING (node_id)
            WHERE {window}
        ) AS visits GROUP BY account_id),
        asked AS (SELECT account_id, count(*) AS n_quotes FROM quotes JOIN mine USING (node_id) WHERE
          {window} GROUP BY account_id)
        SELECT account_id, currency, n_persons, coalesce(n_buyers, 0) AS n_buyers, coalesce(n_orders, 0)
          AS n_orders,
               coalesce(amount_minor, 0) AS amount_minor, coalesce(n_visit_days, 0) AS n_visit_days,
               coalesce(n_quotes, 0) AS n_quotes, last_order
        FROM size LEFT JOIN paid USING (account_id) LEFT JOIN seen USING (account_id) LEFT JOIN asked
          USING (account_id)
        ORDER BY account_id, currency"""
    ).to_pandas()


def account_audience(
    name: str, members: pd.DataFrame, figures: pd.DataFrame, chosen: Callable[[pd.DataFrame], pd.Series]
) -> Selection:
    """Choose accounts by their figures, and return their members.

    Parameters
    ----------
    name : str
    members : DataFrame
        ``account_id, person_id``.
    figures : DataFrame
        As `roll_up` returns it.
    chosen : callable
        Figures to a boolean column.

    Examples
    --------
    >>> who = pd.DataFrame({"account_id": ["x", "x", "y"], "person_id": ["a", "b", "c"]})
    >>> sums = pd.DataFrame({"account_id": ["x", "y"], "n_orders": [4, 1]})
    >>> sorted(account_audience("busy", who, sums, lambda f: f["n_orders"] > 2))
    ['a', 'b']
    """
    wanted = set(figures.loc[chosen(figures), "account_id"])
    return Selection(name, frozenset(members.loc[members["account_id"].isin(wanted), "person_id"]))
