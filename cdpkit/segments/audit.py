"""Where contacts are lost: tracked to activated, collected to personalised, view to payment."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.segments import contact
from cdpkit.segments.people import everybody_sql, literal, member_sql

if TYPE_CHECKING:
    from cdpkit.engine import Engine
    from cdpkit.segments.selection import Selection

#: Steps of the contact audit, in words, with what to do for those who stop before.
AUDIT = {
    "known": ("connus", "known", "", ""),
    "tracked": ("suivis", "tracked", "vérifier le plan de marquage", "check the tagging plan"),
    "resolved": ("identifiés", "resolved", "inviter à s'identifier", "invite to sign in"),
    "segmented": ("segmentés", "segmented", "calculer les scores", "compute the scores"),
    "reachable": (
        "joignables",
        "reachable",
        "demander un accord et une adresse",
        "ask for agreement and address",
    ),
    "activated": ("activés", "activated", "placer dans un scénario", "put into a scenario"),
}

#: Stages of the path to an order: event, words, and the next action for those who stop there.
FUNNEL = {
    "view": ("Product Viewed", "consultation", "view", "remontrer la fiche", "show it again"),
    "cart": ("Product Added", "panier", "cart", "relancer le panier", "remind of the cart"),
    "payment": ("Checkout Started", "paiement", "payment", "faciliter le paiement", "ease the payment"),
    "order": ("Order Completed", "commande", "order", "remercier, proposer la suite", "thank, propose more"),
}  # fmt: skip


def contact_audit(engine: Engine, as_of: object, *, channel: str = "email", days: int = 365) -> pd.DataFrame:
    """Test the contacts: tracked, resolved, segmented, reachable, activated.

    Parameters
    ----------
    engine : Engine
        Sees facts, ``membership, golden, scores, audiences, activation_log`` and what
        `contact.prepare` reads.
    as_of : timestamp-like
    channel : str
        Channel by which they would be reached.
    days : int
        How far back a trace or an activation counts.

    Returns
    -------
    DataFrame
        ``step, fr, en, n, share, lost, n_alone, action_fr, action_en``: `n` persons passed this step and
        all before it, ``lost`` stopped here, ``n_alone`` meet the step whatever the others.
    """
    t = literal(as_of)
    since = f"event_time < {t} AND event_time >= {t} - INTERVAL {int(days)} DAY"
    contact.prepare(engine, channel)
    known = f"known_from < {t} AND (known_to IS NULL OR known_to >= {t})"
    then = f"SELECT node_id, person_id FROM membership WHERE {known}"
    facts = " UNION ".join(
        f"SELECT node_id FROM {table} WHERE {since}" for table in ("events", "orders", "contacts")
    )
    tests = {
        "known": f"SELECT person_id FROM ({everybody_sql(as_of)}) AS everybody",
        "tracked": f"SELECT person_id FROM ({then}) AS m WHERE node_id IN ({facts})",
        "resolved": f"""SELECT person_id FROM golden WHERE known_at < {t}
                        AND attribute IN ('email', 'phone', 'account_id', 'loyalty_id')""",
        "segmented": f"""SELECT person_id FROM scores WHERE as_of <= {t}
                         UNION SELECT person_id FROM audiences WHERE as_of <= {t}""",
        "reachable": f"""SELECT person_id FROM {contact.CONTACT}
                         WHERE granted AND NOT unsubscribed AND NOT bounced AND address IS NOT NULL""",
        "activated": f"""SELECT person_id FROM activation_log WHERE NOT is_control
                         AND as_of <= {t} AND as_of >= {t} - INTERVAL {int(days)} DAY""",
    }
    steps = list(AUDIT)
    flags = ", ".join(f"person_id IN ({tests[step]}) AS is_{step}" for step in steps)
    nested = [" AND ".join(f"is_{s}" for s in steps[: i + 1]) for i in range(len(steps))]
    counts = [
        f"count(*) FILTER ({test}) AS n{i}, count(*) FILTER (is_{steps[i]}) AS alone{i}"
        for i, test in enumerate(nested)
    ]
    found = engine.query(
        f"""SELECT {", ".join(counts)}
            FROM (SELECT person_id, {flags} FROM ({everybody_sql(as_of)}) AS p) AS judged"""
    ).to_pandas().iloc[0]  # fmt: skip
    n = [int(found[f"n{i}"]) for i in range(len(steps))]
    lost = [0, *(before - after for before, after in pairwise(n))]
    rows = [
        (
            step,
            AUDIT[step][0],
            AUDIT[step][1],
            n[i],
            n[i] / max(n[0], 1),
            lost[i],
            int(found[f"alone{i}"]),
            *AUDIT[step][2:],
        )
        for i, step in enumerate(steps)
    ]
    columns = ["step", "fr", "en", "n", "share", "lost", "n_alone", "action_fr", "action_en"]
    return pd.DataFrame(rows, columns=columns)


def pyramid(engine: Engine, as_of: object, *, days: int = 365) -> pd.DataFrame:
    """Return the pyramid: whose data are collected, who can be segmented, who can be addressed personally.

    Parameters
    ----------
    engine : Engine
    as_of : timestamp-like
    days : int
        How far back a fact counts.

    Returns
    -------
    DataFrame
        ``stage, fr, en, n, share, n_only, share_only``: `n` reached this stage, ``n_only`` stopped there;
        ``share`` never rises, ``share_only`` sums to one. *Collect* is everybody, *segment* needs the
        permission to profile and a fact within the period, *personalise* a score of one's own besides.
    """
    t = literal(as_of)
    since = f"event_time < {t} AND event_time >= {t} - INTERVAL {int(days)} DAY"
    facts = " UNION ".join(
        f"SELECT node_id FROM {table} WHERE {since}" for table in ("events", "orders", "contacts")
    )
    found = engine.query(
        f"""WITH {member_sql(as_of)}, judged AS (
          SELECT person_id, person_id IN (SELECT person_id FROM member WHERE node_id IN ({facts})) AS may,
                 person_id IN (SELECT person_id FROM scores WHERE as_of <= {t}) AS scored
          FROM ({everybody_sql(as_of)}) AS everybody)
        SELECT count(*) AS collect, count(*) FILTER (may) AS segment, count(*) FILTER (may AND scored)
          AS personalise
        FROM judged"""
    ).to_pandas().iloc[0]  # fmt: skip
    words = {
        "collect": ("collecter", "collect"),
        "segment": ("segmenter", "segment"),
        "personalise": ("personnaliser", "personalise"),
    }
    n = [int(found[stage]) for stage in words]
    only = [n[0] - n[1], n[1] - n[2], n[2]]
    base = max(n[0], 1)
    rows = [
        (stage, *words[stage], n[i], n[i] / base, only[i], only[i] / base) for i, stage in enumerate(words)
    ]
    return pd.DataFrame(rows, columns=["stage", "fr", "en", "n", "share", "n_only", "share_only"])


def funnel(
    engine: Engine, as_of: object, audiences: Mapping[str, Selection] | None = None, *, days: int = 30
) -> pd.DataFrame:
    """Count who went how far towards an order, audience by audience.

    Parameters
    ----------
    engine : Engine
        Sees ``events, membership, consents``.
    as_of : timestamp-like
    audiences : mapping of str to Selection, optional
        Everybody, under ``all``, always comes first.
    days : int
        Length of the period.

    Returns
    -------
    DataFrame
        ``audience, stage, fr, en, n, share_of_first, stopped, drop_off, action_fr, action_en``: `n`
        persons reached this stage or a later one on line, ``stopped`` went no further, ``drop_off`` is
        their share, and the action is for them.
    """
    t, stages = literal(as_of), list(FUNNEL)
    case = " ".join(f"WHEN '{FUNNEL[stage][0]}' THEN {i + 1}" for i, stage in enumerate(stages))
    reached = engine.query(
        f"""WITH {member_sql(as_of)} SELECT person_id, max(CASE event_type {case} END) AS furthest
        FROM events JOIN member USING (node_id)
        WHERE event_time < {t} AND known_at < {t} AND event_time >= {t} - INTERVAL {int(days)} DAY
        GROUP BY person_id HAVING max(CASE event_type {case} END) IS NOT NULL"""
    ).to_pandas()
    rows = []
    for name, chosen in [("all", None), *(audiences or {}).items()]:
        furthest = (
            reached["furthest"]
            if chosen is None
            else reached.loc[reached["person_id"].isin(chosen.persons), "furthest"]
        )
        n = [int((furthest >= i + 1).sum()) for i in range(len(stages))]
        for i, stage in enumerate(stages):
            _, fr, en, action_fr, action_en = FUNNEL[stage]
            stopped = n[i] - n[i + 1] if i + 1 < len(stages) else n[i]
            drop = stopped / max(n[i], 1) if i + 1 < len(stages) else float("nan")
            rows.append((name, stage, fr, en, n[i], n[i] / max(n[0], 1), stopped, drop, action_fr, action_en))
    columns = [
        "audience",
        "stage",
        "fr",
        "en",
        "n",
        "share_of_first",
        "stopped",
        "drop_off",
        "action_fr",
        "action_en",
    ]
    return pd.DataFrame(rows, columns=columns)


def viewed_again(engine: Engine, as_of: object, *, more_than: int = 2, days: int = 30) -> pd.DataFrame:
    """Return who viewed one product more than so many times.

    Parameters
    ----------
    engine : Engine
    as_of : timestamp-like
    more_than, days : int
        Views of one product that are not yet enough, and the period they are counted in.

    Returns
    -------
    DataFrame
        ``person_id, product_id, n_views, last_view``, most viewed first.
    """
    t = literal(as_of)
    return engine.query(
        f"""WITH {member_sql(as_of)} SELECT person_id, product_id, count(*) AS n_views, max(event_time)
          AS last_view
        FROM events JOIN member USING (node_id)
        WHERE event_type = 'Product Viewed' AND product_id IS NOT NULL
          AND event_time < {t} AND known_at < {t} AND event_time >= {t} - INTERVAL {int(days)} DAY
        GROUP BY person_id, product_id HAVING count(*) > {int(more_than)} ORDER BY n_views DESC,
          person_id, product_id"""
    ).to_pandas()
