"""The truth: apart from the exports, without clear identifiers, and true."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cdpkit.errors import CdpkitError
from cdpkit.world import World

MONTHS = ("2025-06-01", "2025-10-01", "2026-02-01", "2026-05-01")


def _realised(world: World, as_of: str, days: int = 30) -> pd.Series:
    """Whether each person had an order that shows in the window."""
    orders = world.truth["orders"]
    start = pd.Timestamp(as_of)
    orders = orders[
        orders.attributable & orders.ordered_at.between(start, start + pd.Timedelta(days=days), "left")
    ]
    return orders.groupby("person").size() > 0


@pytest.fixture(scope="module")
def outcomes(retail: World) -> pd.DataFrame:
    """p_convert and what happened, at four dates."""
    parts = []
    for as_of in MONTHS:
        frame = retail.p_convert(as_of, 30, replicates=32)
        frame["y"] = frame.person.map(_realised(retail, as_of)).fillna(False).astype(bool)
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def test_p_convert_is_calibrated(outcomes: pd.DataFrame) -> None:
    """In every fifth of p_convert the share who order is the mean of p_convert, within four errors."""
    fifth = pd.qcut(outcomes.p_convert, 5, labels=False)
    table = outcomes.groupby(fifth).agg(p=("p_convert", "mean"), y=("y", "mean"), n=("y", "size"))
    error = np.sqrt(table.p * (1 - table.p) / table.n)
    assert ((table.y - table.p).abs() < 4 * error + 0.002).all(), table


def test_p_convert_ranks_far_better_than_recency(retail: World, outcomes: pd.DataFrame) -> None:
    """The latent oracle beats the recency rule clearly, and neither is perfect."""
    sessions = retail.truth["sessions"]
    frame = outcomes[outcomes.as_of == pd.Timestamp(MONTHS[2])]
    last = sessions[sessions.started_at < MONTHS[2]].groupby("person").started_at.max()
    frame = frame.assign(last=frame.person.map(last))
    frame = frame[frame["last"] > pd.Timestamp(MONTHS[2]) - pd.Timedelta(days=90)]
    oracle = roc_auc_score(frame.y, frame.p_convert)
    rule = roc_auc_score(frame.y, frame["last"].astype("int64"))
    assert 0.8 < oracle < 0.95 and 0.6 < rule < oracle - 0.05
    assert 0.06 < frame.y.mean() < 0.2


def test_the_error_of_p_convert_is_the_one_stated(retail: World) -> None:
    """Two sets of futures differ by what the stated errors allow."""
    few = retail.p_convert("2026-01-01", 30, replicates=16)
    many = retail.p_convert("2026-01-01", 30, replicates=96)
    z = (few.p_convert - many.p_convert) / np.hypot(few.se, many.se).clip(lower=1e-4)
    assert z.abs().mean() < 1.2 and few.se.mean() > many.se.mean()


def test_a_longer_horizon_is_likelier(retail: World) -> None:
    """The chance grows with the horizon, and a horizon of no day is refused."""
    short, long = (retail.p_convert("2026-01-01", days, replicates=4) for days in (7, 60))
    assert (long.p_convert >= short.p_convert - 1e-12).all()
    with pytest.raises(CdpkitError, match="horizon"):
        retail.p_convert("2026-01-01", 0)
    with pytest.raises(CdpkitError, match="as_of"):
        retail.p_convert("2030-01-01")


def test_every_event_belongs_to_somebody_there(retail: World) -> None:
    """An event is a bot's, an anonymous visitor's, or a person's between birth and leaving."""
    events = retail.raw["web_events"].drop_duplicates("event_id")[["event_id", "cookie_id", "ts"]]
    owned = events.merge(retail.truth["events"], on="event_id", how="left", validate="one_to_one")
    assert owned.person.notna().all() and len(owned) == len(events)
    owned = owned.merge(retail.truth["persons"], on="person", how="left", validate="many_to_one")
    assert set(owned.kind) == {"person", "visitor", "bot"}
    person = owned[owned.kind == "person"]
    assert (person.ts >= person.born_at).all()
    assert (person.gone_at.isna() | (person.ts < person.gone_at)).all()


def test_every_record_and_fact_has_a_known_owner(retail: World) -> None:
    """Contacts, accounts, cards, cookies, addresses and numbers are in the identities; orders in the orders."""
    raw, truth = retail.raw, retail.truth
    known = truth["identities"].groupby("source").record_id.agg(set)
    digest = lambda values: {sha256(v.encode()).hexdigest() for v in values.dropna().unique()}  # noqa: E731
    assert known["crm"] == set(raw["crm_contacts"].contact_id)
    assert known["shop"] == set(raw["shop_accounts"].account_id)
    assert known["store"] == set(raw["store_cards"].loyalty_id)
    assert known["web"] >= set(raw["web_events"].cookie_id)
    assert known["email"] == digest(raw["email_log"].recipient)
    assert known["calls"] == digest(raw["calls"].phone)
    assert set(raw["shop_orders"].order_id) | set(raw["store_tickets"].ticket_id) == set(
        truth["orders"].query("exported").order_id
    )
    assert set(raw["store_tickets"].loyalty_id.dropna()) <= known["store"]


def test_persons_have_several_records_and_some_records_several_persons(retail: World) -> None:
    """Persons are split over records; family tablets and family addresses are shared."""
    found = retail.truth["identities"]
    found = found[found.person < 2000]
    assert found.groupby("person").size().mean() > 3
    owners = found.groupby(["source", "record_id"]).person.nunique()
    assert (owners["web"] > 1).any() and (owners["email"] > 1).any()
    assert (owners["crm"] == 1).all() and (owners["shop"] == 1).all()


def test_truth_holds_no_clear_identifier(retail: World) -> None:
    """No value of the truth is a name, an address, a phone number or a text of the exports."""
    raw = retail.raw
    clear: set[str] = set()
    for name, columns in {
        "crm_contacts": ["last_name", "email", "phone", "street"],
        "shop_accounts": ["email", "last_name", "phone"],
        "store_cards": ["email", "last_name", "phone"],
        "email_log": ["recipient"],
        "calls": ["phone", "text"],
    }.items():
        for column in columns:
            clear |= set(raw[name][column].dropna().str.strip().str.lower())
    for name, frame in retail.truth.items():
        for column in frame.select_dtypes("str"):
            values = frame[column].dropna()
            assert not values.str.contains("@", regex=False).any(), (name, column)
            assert not clear & set(values.str.lower()), (name, column)


def test_exports_hold_no_truth(retail: World) -> None:
    """No export has a column of the truth, or a number that follows the person's."""
    latent: set[str] = set()
    for frame in retail.truth.values():
        latent |= set(frame.columns)
    # What both sides need to be joined in a test, and the facts any order has.
    latent -= {"event_id", "cookie_id", "order_id", "message_id", "call_id", "channel", "ordered_at"}
    latent -= {"contact_id", "touch_id", "partner_cookie_id", "quote_id", "contract_id", "review_id"}
    latent -= {"response_id", "handle", "kind"}
    for name, frame in retail.raw.items():
        assert not set(frame.columns) & latent, name
    known = retail.truth["identities"].query("source == 'crm'").sort_values("person")
    rank = known.record_id.str[1:].astype(int).rank()
    assert abs(np.corrcoef(rank, known.person)[0, 1]) < 0.1


def test_planted_causes_show_in_what_happened(retail: World) -> None:
    """Projects and appetence drive orders, views concentrate on what is wanted, trouble makes people leave."""
    sessions = retail.truth["sessions"].query("person < 2000")
    project = sessions.groupby("project").ordered.mean()
    assert project[True] > 3 * project[False]
    high = sessions.z > sessions.z.median()
    assert sessions.ordered[high].mean() > 1.3 * sessions.ordered[~high].mean()
    states = retail.truth["states"]
    left = retail.truth["departures"]
    unhappy = states[(states.unhappy > 0.3) & states.alive]
    content = states[(states.unhappy < 0.05) & states.alive]

    def leaves(frame: pd.DataFrame) -> float:
        joined = frame.merge(left, on="person")
        soon = (joined.left_at >= joined.as_of) & (joined.left_at < joined.as_of + pd.Timedelta(days=30))
        return joined[soon].drop_duplicates(["person", "as_of"]).shape[0] / len(frame)

    assert leaves(unhappy) > 1.3 * leaves(content)


def test_propensities_are_those_of_the_sends(retail: World) -> None:
    """A tenth of the contacts is in the random arm at one half; the others depend on recent visits."""
    sent = (
        retail.truth["messages"].merge(retail.raw["email_log"], on="message_id").dropna(subset="propensity")
    )
    assert (sent.loc[sent.random_arm, "propensity"] == 0.5).all()
    biased = sent[~sent.random_arm]
    assert biased.propensity.std() > 0.02
    # Sends weighted by the inverse of their propensity recover the contacts of each arm: one in ten.
    weight = 1 / sent.propensity
    assert abs(weight[sent.random_arm].sum() / weight.sum() - 0.10) < 0.01
