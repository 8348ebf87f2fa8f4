"""Each planted cause has its column in the truth, and is found again in what was exported."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit import world
from cdpkit.world import World
from cdpkit.world.ads import CHANNELS
from cdpkit.world.sending import WELCOME

DAY = pd.Timedelta(days=1)


@pytest.fixture(scope="module")
def made() -> World:
    """A retail world of 5,000 persons."""
    return world.generate(5000, seed=21)


@pytest.fixture(scope="module")
def sessions(made: World) -> pd.DataFrame:
    """The visits of persons, with their latents."""
    persons = made.truth["persons"].query("kind == 'person'")
    return made.truth["sessions"].merge(persons, on="person", validate="many_to_one")


@pytest.fixture(scope="module")
def account_of(made: World) -> pd.Series:
    """The person of each account."""
    known = made.truth["identities"].query("source == 'shop'")
    return known.set_index("record_id").person


def _paired(n: int = 1500, **changes: dict) -> World:
    return world.generate(n, seed=8, start="2025-06-01", end="2026-03-01", changes=changes)


@pytest.fixture(scope="module")
def base() -> World:
    """The world that paired worlds are compared with."""
    return _paired()


@pytest.mark.parametrize("channel", ["social", "search"])
def test_the_credit_of_a_channel_is_what_its_absence_costs(base: World, channel: str) -> None:
    """Orders lost in the same world without the channel are the credits' sum, within luck."""
    reach = list(base.plan.rules.ads.reach)
    reach[CHANNELS.index(channel)] = 0.0
    without = _paired(ads={"reach": reach})
    lost = len(base.truth["orders"]) - len(without.truth["orders"])
    credit = base.truth["credits"][f"credit_{channel}"].sum()
    changed = len(set(base.truth["orders"].order_id) ^ set(without.truth["orders"].order_id))
    assert credit > 10 and abs(lost - credit) < 3 * np.sqrt(changed) + 0.25 * credit


def test_retargeting_and_brand_search_look_better_than_they_are(made: World) -> None:
    """They are met by most of those about to order, and bring few of the orders; the others the reverse."""
    orders, credits = made.truth["orders"].query("channel == 'site'"), made.truth["credits"]
    touches = made.raw["ad_touches"].merge(made.truth["touches"], on="touch_id")
    touches = touches.assign(
        shown_at=pd.to_datetime(touches.shown_at).dt.tz_localize(None).astype("datetime64[us]")
    )
    last = pd.merge_asof(
        orders.sort_values("ordered_at"),
        touches.rename(columns={"channel": "ad"}).sort_values("shown_at"),
        left_on="ordered_at", right_on="shown_at", by="person", tolerance=7 * DAY,
    ).ad.value_counts()  # fmt: skip
    true = {name: credits[f"credit_{name}"].sum() for name in CHANNELS}
    follow = ["retargeting", "brand_search"]
    looks = last.reindex(follow).sum() / last.sum()
    assert looks > 2.5 * sum(true[name] for name in follow) / sum(true.values())
    table = made.truth["channels"].set_index("ad_channel")
    assert set(table.index[table.follows_intent]) == set(follow)


def test_spend_is_the_sum_of_the_touches(made: World) -> None:
    """A day's report of a campaign counts its impressions and clicks and what they cost."""
    touches, spend = made.raw["ad_touches"], made.raw["ad_spend"]
    cost = touches.groupby("campaign_id").cost.apply(lambda c: c.astype(float).sum())
    said = spend.groupby("campaign_id").cost.apply(lambda c: c.astype(float).sum())
    pd.testing.assert_series_equal(cost, said, check_exact=False)
    assert spend.clicks.sum() == (touches.kind == "click").sum()


def test_a_click_is_followed_by_its_visit(made: World) -> None:
    """Every click names the cookie of a landing a few seconds later."""
    clicks = made.raw["ad_touches"].query("kind == 'click'")
    landings = made.raw["web_events"].query("campaign_id.str.startswith('AD-', na=False)")
    assert set(zip(clicks.cookie_id, clicks.campaign_id, strict=True)) >= set(
        zip(landings.cookie_id, landings.campaign_id, strict=True)
    )


def test_partner_cookies_die_at_the_planted_rate(made: World) -> None:
    """What a matched pair has left to live is exponential with the planted mean."""
    pairs = made.raw["cookie_matches"].merge(made.truth["partner_cookies"], on="partner_cookie_id")
    met = (pd.to_datetime(pairs.matched_at).dt.tz_localize(None) - pd.Timestamp("2025-01-01")) / DAY
    left = pairs.born_day + pairs.life_days - met
    assert abs(left.mean() / 45 - 1) < 0.06 and abs((left > 45).mean() - np.exp(-1)) < 0.03


def test_no_pair_is_matched_without_consent(made: World) -> None:
    """A cookie in the match table has allowed advertising, and not withdrawn it before."""
    decisions = made.raw["web_consents"].query("purpose == 'activation'")
    given = decisions.query("status == 'granted'").groupby("cookie_id").decided_at.min()
    gone = decisions.query("status == 'denied'").groupby("cookie_id").decided_at.min()
    pairs = made.raw["cookie_matches"]
    assert (pairs.matched_at >= pairs.cookie_id.map(given)).all()
    assert not (pairs.matched_at > pairs.cookie_id.map(gone)).any()


def test_stock_outs_and_prices_hold_back_the_orders_of_projects(made: World, sessions: pd.DataFrame) -> None:
    """A project whose product is out, or dearer than at first, ends less often in an order."""
    project = sessions[sessions.project & (sessions.intent != "support")].copy()
    stock = made.raw["prices_stock"]
    stock = stock.assign(
        at=pd.to_datetime(stock.valid_from).dt.tz_localize(None).astype("datetime64[us]"),
        price=stock.price.astype(float),
    ).sort_values("at")
    first = stock.groupby("product_id").price.first()
    seen = pd.merge_asof(
        project.sort_values("started_at"),
        stock,
        left_on="started_at",
        right_on="at",
        left_by="wanted",
        right_by="product_id",
    )
    seen["dear"] = np.log(seen.price / seen.wanted.map(first))
    assert seen[seen.stock == 0].ordered.mean() < 0.5 * seen[seen.stock > 0].ordered.mean()
    there = seen[seen.stock > 0]
    assert there[there.dear > 0.03].ordered.mean() < there[there.dear < -0.03].ordered.mean()


def test_considered_buyers_take_longer(sessions: pd.DataFrame) -> None:
    """From first view of the wanted product to the order, the considered take longer by half at least."""
    project = sessions[sessions.project]
    span = project.groupby(["person", "project_no"]).agg(
        first=("started_at", "min"),
        last=("started_at", "max"),
        done=("ordered", "any"),
        slow=("considered", "first"),
    )
    span = span[span.done]
    days = (span["last"] - span["first"]) / DAY
    assert days[span.slow.astype(bool)].mean() > 1.5 * days[~span.slow.astype(bool)].mean()


def test_carts_show_why_they_were_left(made: World, sessions: pd.DataFrame) -> None:
    """Each cause has its sign: more views, less time, more removals, the checkout without the order."""
    events = made.raw["web_events"].drop_duplicates("event_id").merge(made.truth["events"], on="event_id")
    carts = sessions[sessions.cart_cause.notna()].sort_values("started_at")
    near = pd.merge_asof(
        events.sort_values("ts"), carts[["person", "cookie_id", "started_at", "session", "cart_cause", "cause_shows"]],
        left_on="ts", right_on="started_at", by=["person", "cookie_id"], tolerance=pd.Timedelta(hours=1),
    ).dropna(subset="session")  # fmt: skip
    count = near.pivot_table(
        index=["cart_cause", "session"], columns="event_type", values="ts", aggfunc="count"
    )
    count = count.fillna(0).groupby("cart_cause").mean()
    assert count["Product Viewed"].idxmax() == "comparing"
    assert count["Product Removed"].idxmax() == "price" and count["Checkout Started"].idxmax() == "delivery"
    assert near.groupby("cart_cause").dwell_ms.mean().idxmin() == "short of time"
    share = carts.cart_cause.value_counts(normalize=True)
    assert share.min() > 0.08 and 0.7 < carts.cause_shows.mean() < 0.9


def test_intents_show_in_pages(made: World, sessions: pd.DataFrame) -> None:
    """Visits to cancel and to complain open the pages made for it, and nobody orders in them."""
    n = sessions.intent.value_counts()
    assert set(n.index) == {"browse", "compare", "buy", "cancel", "support"} and n.min() > 30
    pages = made.raw["web_events"].drop_duplicates("event_id").merge(made.truth["events"], on="event_id")
    asked = pages[pages.page == "cancellation"].groupby("person").ts.min()
    cancel = sessions[sessions.intent == "cancel"].groupby("person").started_at.min()
    assert (asked.reindex(cancel.index).notna()).mean() > 0.97
    assert not sessions[sessions.intent.isin(["cancel", "support"])].ordered.any()


def test_those_who_leave_say_so_before(made: World, sessions: pd.DataFrame) -> None:
    """Visits to cancel, calls and letters about it come before the departure, within a fortnight."""
    left = made.truth["departures"].sort_values("left_at")
    cancel = sessions[sessions.intent == "cancel"].sort_values("started_at")
    after = pd.merge_asof(
        cancel[["person", "started_at"]], left, left_on="started_at", right_on="left_at", by="person",
        direction="forward", tolerance=16 * DAY,
    )  # fmt: skip
    assert after.left_at.notna().mean() > 0.9
    said = made.truth["calls"].query("leaving")
    wrote = set(made.raw["inbound_emails"].inbound_id)
    assert 20 < said.wrote.sum() < len(said) and set(said[said.wrote].call_id) <= wrote


def test_dated_changes_and_the_control_group(sessions: pd.DataFrame) -> None:
    """Visits go up or down at the date where planted, and not in the control group."""
    dated = sessions[sessions.changed_at.notna() & sessions.gone_at.isna()].copy()
    gap = (dated.started_at - dated.changed_at) / DAY
    dated["after"] = gap > 0
    dated = dated[gap.abs() < 150]
    n = dated.groupby(["change", "after"]).size().unstack()
    ratio = n[True] / n[False]
    assert ratio["visits up"] > 1.6 * ratio["control"] and ratio["visits down"] < 0.6 * ratio["control"]
    assert 0.75 < ratio["control"] < 1.25


def test_upgrades_lift_what_is_bought(made: World, account_of: pd.Series) -> None:
    """After the upgrade people buy higher rungs; in the weeks before, they look at them."""
    rung = made.raw["products"].drop_duplicates("product_id").set_index("product_id").tier
    rung = rung.map({"entry": 0, "mid": 1, "premium": 2, "top": 3})
    upgraded = made.truth["persons"].set_index("person").upgraded_at
    lines = made.raw["shop_order_lines"].assign(person=lambda d: d.account_id.map(account_of))
    at = lines.person.map(upgraded)
    lines = lines[at.notna()]
    after = pd.to_datetime(lines.ordered_at).dt.tz_localize(None) > at[at.notna()]
    bought = lines.product_id.map(rung)
    assert bought[after].mean() > bought[~after].mean() + 0.3
    views = (
        made.raw["web_events"]
        .query("event_type == 'Product Viewed'")
        .merge(made.truth["events"], on="event_id")
    )
    left = (views.person.map(upgraded) - views.ts) / DAY
    seen = views.product_id.map(rung)
    assert seen[(left > 0) & (left < 28)].mean() > seen[(left > 60) & (left < 240)].mean() + 0.1


def _lift(made: World) -> float:
    """The lift of planted pairs of groups in baskets."""
    lines = pd.concat([made.raw["shop_order_lines"][["order_id", "product_id"]],
                       made.raw["store_tickets"].rename(columns={"ticket_id": "order_id"})[["order_id", "product_id"]]])  # fmt: skip
    group = made.truth["products"].set_index("of_product").group
    baskets = pd.crosstab(lines.order_id, lines.product_id.map(group)) > 0
    pairs = made.truth["complements"]
    together = sum(
        (baskets[a] & baskets[b]).sum() for a, b in zip(pairs.group, pairs.complement, strict=True)
    )
    expected = sum(
        baskets[a].mean() * baskets[b].mean() for a, b in zip(pairs.group, pairs.complement, strict=True)
    )
    return together / (expected * len(baskets))


def test_complements_are_bought_together(made: World, null: World) -> None:
    """Planted pairs have a high lift, and none in the null world."""
    assert _lift(made) > 4 and _lift(null) < 3


def test_messages_are_best_at_the_own_hour_and_channel(made: World) -> None:
    """Opens are likelier in the person's own period, clicks on the own channel."""
    persons = made.truth["persons"].set_index("person")
    sent = made.truth["messages"].merge(
        made.raw["email_log"][["message_id", "sent_at", "bounced_at"]], on="message_id"
    )
    sent = sent[sent.bounced_at.isna() & sent.random_arm.notna()]
    hour = pd.to_datetime(sent.sent_at).dt.tz_convert("Europe/Paris").dt.hour
    period = pd.cut(
        hour,
        [0, 11, 14, 18, 22, 24],
        right=False,
        labels=["morning", "noon", "afternoon", "evening", "night"],
    )
    own = period.astype("str").to_numpy() == sent.person.map(persons.own_period).to_numpy()
    assert sent.human_open[own].mean() > sent.human_open[~own].mean() + 0.03
    direct = made.truth["messages"].merge(made.raw["direct_log"], on="message_id")
    clicked = pd.concat([direct[["fits_channel", "clicked_at"]],
                         made.truth["messages"].merge(made.raw["email_log"], on="message_id")[["fits_channel", "clicked_at"]]])  # fmt: skip
    rate = clicked.clicked_at.notna().groupby(clicked.fits_channel).mean()
    assert rate[True] > 1.15 * rate[False]


def test_declared_preferences_are_mostly_true(made: World) -> None:
    """Four of five declare the true channel and period; not everybody declares."""
    said = made.raw["crm_preferences"].merge(
        made.truth["identities"].query("source == 'crm'"), left_on="contact_id", right_on="record_id"
    ).merge(made.truth["persons"], on="person")  # fmt: skip
    assert 0.25 < len(said) / made.truth["persons"].own_channel.count() / 0.5 < 0.9
    assert 0.8 < (said.preferred_channel == said.own_channel).mean() < 0.95
    assert 0.75 < (said.preferred_period == said.own_period).mean() < 0.92


def test_the_welcome_series_has_a_best_order_and_gap(made: World) -> None:
    """A message is worth most at its planted place, and the series at its planted gap."""
    sent = made.truth["messages"].dropna(subset="welcome_place").merge(made.truth["persons"], on="person")
    place = sent.welcome_place.astype(int)
    letter = [order[p - 1] for order, p in zip(sent.welcome_order, place, strict=True)]
    value = sent.effect.groupby([pd.Series(letter, index=sent.index), place]).mean().unstack()
    best = [WELCOME.index(value[p].idxmax()) for p in range(1, 6)]
    assert best == made.plan.rules.welcome.best_order
    assert sent.groupby("welcome_gap").effect.mean().idxmax() == 3
    ids = set(made.raw["email_log"].query("campaign_id.str.startswith('WELCOME')").message_id)
    assert ids == set(sent.message_id)


def test_the_log_of_a_campaign_holds_those_not_sent(made: World) -> None:
    """Sent and held together are the eligible, each with the chance of what befell."""
    log = made.raw["assignments"]
    log = log[~log.test_id.str.contains(":|PROGRAMME")]
    assert set(log.arm) == {"sent", "held"}
    sent = log[log.arm == "sent"]
    mailed = (
        made.raw["email_log"].query("propensity.notna()"),
        made.raw["direct_log"].query("propensity.notna()"),
    )
    assert len(sent) == sum(len(part) for part in mailed)
    p = np.where(log.arm == "sent", log.propensity, 1 - log.propensity)
    assert abs((log.arm == "sent").mean() - p.mean()) < 0.01
    assert not log.duplicated(["test_id", "contact_id"]).any()
    hours = made.raw["assignments"].query("test_id.str.endswith(':hour')")
    assert hours.propensity.eq(1 / 8).all() and hours.arm.nunique() == 8


def test_vouchers_please_at_once_and_the_club_for_long() -> None:
    """The same persons under three programmes: vouchers win the first fortnight, the club what follows."""
    n = {}
    start = pd.Timestamp("2025-06-01") + int(0.35 * 273) * DAY
    for place, arm in enumerate(("control", "voucher", "club")):
        one = _paired(1500, programme={"shares": [float(k == place) for k in range(3)], "enrolled": 1.0})
        at = one.truth["orders"].ordered_at
        n[arm] = ((at >= start) & (at < start + 14 * DAY)).sum(), (at >= start + 45 * DAY).sum()
    assert n["voucher"][0] > n["control"][0] and n["voucher"][0] > n["club"][0]
    assert n["club"][1] > 1.1 * n["control"][1] and n["voucher"][1] < 0.95 * n["control"][1]


def test_interests_show_in_what_is_said(made: World) -> None:
    """Of those who interact often, most talk first of their planted interest."""
    said = made.raw["social"].merge(made.truth["social"], on="handle")
    top = said.groupby("person").topic.agg(["size", lambda t: t.mode()[0]])
    top.columns = ["n", "topic"]
    top = top[top.n >= 8].join(made.truth["persons"].set_index("person").interest)
    assert len(top) > 100 and (top.topic == top.interest).mean() > 0.6
    assert set(said.consent) == {"yes", "no"}


def test_dissatisfaction_is_told_and_has_consequences(made: World) -> None:
    """Answers and ratings fall after a problem, and those who answer low leave more."""
    asked = made.raw["surveys"].merge(made.truth["surveys"], on="response_id")
    after = asked[asked.survey == "after order"]
    assert (
        after[after.dissatisfaction > 0.5].value.mean() < after[after.dissatisfaction == 0].value.mean() - 1
    )
    rated = made.raw["reviews"].merge(made.truth["reviews"], on="review_id")
    assert rated[rated.trouble].rating.mean() < rated[~rated.trouble].rating.mean() - 1
    good, bad = (rated[~rated.trouble & (rated.true_quality * sign > 0.8)].rating.mean() for sign in (1, -1))
    assert good > bad + 0.4


def test_quotes_of_a_project_lead_to_its_order(made: World) -> None:
    """Some quotes are accepted, and those who refuse find things dear."""
    asked = made.raw["quotes"].merge(made.truth["quotes"], on="quote_id")
    assert (
        asked.accepted_at.notna() == asked.leads_to_order
    ).all() and 0.1 < asked.leads_to_order.mean() < 0.7
    open_ = asked[~asked.leads_to_order]
    assert (
        open_[open_.declined_at.notna()].finds_it_dear.mean()
        > open_[open_.declined_at.isna()].finds_it_dear.mean()
    )
    assert (asked.accepted_at.isna() | (asked.accepted_at > asked.asked_at)).all()


def test_watched_products_are_out_or_dear(made: World) -> None:
    """Stock alerts are set while the product is out."""
    alerts = made.raw["watchlists"].query("kind == 'stock alert'")
    stock = made.raw["prices_stock"].assign(at=lambda d: pd.to_datetime(d.valid_from)).sort_values("at")
    alerts = alerts.assign(at=pd.to_datetime(alerts.added_at)).sort_values("at")
    seen = pd.merge_asof(alerts, stock, on="at", by="product_id")
    assert len(seen) > 10 and (seen.stock == 0).all()


def test_merges_splits_and_recycled_numbers(made: World) -> None:
    """Merged contacts are one person's, and a number given up serves somebody else later."""
    merged = made.raw["crm_merges"]
    assert set(merged.event) == {"merged", "split"}
    person = made.truth["identities"].query("source == 'crm'").set_index("record_id").person
    pairs = merged[merged.event == "merged"]
    assert (pairs.contact_id.map(person) == pairs.into_contact_id.map(person)).all()
    lives = made.truth["addresses"]
    assert set(lives.kind_of_address) == {"email", "phone"} and len(made.raw["crm_updates"]) == len(lives)
    big = world.generate(4000, seed=2, changes={"history": {"phone_moves": 0.5, "recycled": 1.0}})
    assert big.truth["addresses"]["new_was_another's"].any()


def test_holidays_close_the_stores(made: World) -> None:
    """Stores sell next to nothing on public holidays."""
    days = made.truth["orders"].query("channel == 'store'").ordered_at.dt.strftime("%Y-%m-%d").value_counts()
    off = set(made.raw["holidays"].day)
    mean = days[~days.index.isin(off)].sum() / (made.plan.days - len(off))
    assert days.reindex(sorted(off)).fillna(0).mean() < 0.35 * mean
    assert len(made.raw["weather"]) == made.plan.days * made.raw["weather"].city.nunique()


def _rain_slope(made: World) -> float:
    """Log change of a city's visits by unit of rain, on the same day, beside the other cities of that day."""
    weather, homes = made.raw["weather"], made.truth["households"]
    areas = made.raw["areas"].assign(code=lambda d: d.postcode.astype(int)).set_index("code")
    sessions = made.truth["sessions"].merge(homes, on="person")
    sessions = sessions.assign(
        city=sessions.postcode_area.map(areas.city), day=sessions.started_at.dt.strftime("%Y-%m-%d")
    )
    people = homes.postcode_area.map(areas.city).value_counts()
    visits = sessions.groupby(["day", "city"]).size().rename("visits").reset_index()
    table = weather.merge(visits, on=["day", "city"], how="left").fillna({"visits": 0})
    table = table[table.city.map(people).fillna(0) > 0]
    rain = table.rain_mm / 6.0
    mean = table.city.map(table.groupby("city").visits.mean())
    day = table.groupby("day").visits.transform("sum") / mean.groupby(table.day).transform("sum")
    expected = mean * day
    centred = rain - (rain * expected).groupby(table.day).transform("sum") / expected.groupby(
        table.day
    ).transform("sum")
    return float((centred * (table.visits - expected)).sum() / (centred**2 * expected).sum())


def test_rain_sends_people_to_the_site_and_away_from_the_store(base: World) -> None:
    """The planted effect of a rainy day on visits is found again, city against city; none where none is."""
    wet = _paired(market={"rain_site": 0.5, "rain_store": -1.5})
    dry = _paired(market={"rain_site": 0.0, "rain_store": 0.0})
    assert abs(_rain_slope(wet) - 0.5) < 0.15 and abs(_rain_slope(dry)) < 0.12
    store = [int((made.truth["orders"].channel == "store").sum()) for made in (wet, base, dry)]
    assert store[0] < store[1] < store[2]


def test_social_and_search_do_more_together() -> None:
    """Their synergy brings orders that neither brings alone, and none where only one is shown."""
    reach = [0.0, 0.15, 0.0, 0.15, 0.0, 0.0]
    alone = [0.0, 0.15, 0.0, 0.0, 0.0, 0.0]

    def orders(shown: list[float], synergy: float) -> int:
        return len(_paired(900, ads={"reach": shown, "synergy": synergy}).truth["orders"])

    sum_of_both = orders(reach, 0.0)
    assert orders(reach, 2.0) > 1.1 * sum_of_both
    assert orders(alone, 2.0) == orders(alone, 0.0)


def test_people_of_a_company_need_alike() -> None:
    """In `b2b` colleagues are good customers together, and order on working days."""
    made = world.generate(1500, seed=7, preset="b2b", start="2025-06-01", end="2026-04-01")
    homes = made.truth["households"]
    people = made.truth["persons"].merge(homes[["person", "is_head"]], on="person")
    people = people[people.groupby("household").person.transform("size") > 1]
    rate = np.log(people.session_rate)
    mine = rate - rate.mean()
    alike = mine.groupby(people.household).transform("sum") - mine
    assert mine.corr(alike) > 0.3
    lone = world.generate(
        1500,
        seed=7,
        preset="b2b",
        start="2025-06-01",
        end="2025-06-02",
        changes={"population": {"shared_need": 0.0}},
    ).truth["persons"]
    lone = lone[lone.groupby("household").person.transform("size") > 1]
    other = np.log(lone.session_rate) - np.log(lone.session_rate).mean()
    assert abs(other.corr(other.groupby(lone.household).transform("sum") - other)) < 0.15
    weekday = made.truth["orders"].ordered_at.dt.day_of_week
    assert (weekday >= 5).mean() < 0.2
    assert homes.is_company.all()


def test_wealth_follows_the_area(made: World) -> None:
    """The facts of an area say something of who lives there, and wealth of what they buy."""
    persons = made.truth["persons"].merge(made.truth["households"], on="person")
    areas = made.raw["areas"].assign(code=lambda d: d.postcode.astype(int)).set_index("code")
    income = persons.postcode_area.map(areas.median_income)
    assert persons.wealth.corr(np.log(income)) > 0.45
    assert persons.wealth.corr(persons.preferred_tier) > 0.35
    assert persons.wealth.corr(np.log(persons.price_sensitivity)) < -0.4


def test_drift_lost_months_and_new_shapes() -> None:
    """In `drift` more visits end in an order after the date, a month is lost and columns change."""
    made = world.generate(1500, seed=4, preset="drift")
    date = made.truth["days"].query("drifted").on_day.min()
    sessions = made.truth["sessions"].query("person < 1500")
    after = sessions.started_at >= date
    assert sessions[after].ordered.mean() > 1.5 * sessions[~after].ordered.mean()
    corr = sessions.groupby(after)[["z", "ordered"]].apply(lambda f: f.z.corr(f.ordered.astype(float)))
    assert corr[True] < corr[False] + 0.02
    old, new = made.raw["web_events"], made.raw["web_events_v2"]
    months = set(old.ts.dt.strftime("%Y-%m"))
    assert "2025-05" not in months and {"2025-04", "2025-06"} <= months
    assert set(old.columns) - set(new.columns) == {"page", "dwell_ms"}
    assert set(new.columns) - set(old.columns) == {"page_name", "dwell_s", "consent_mode"}
    assert new.ts.min() >= old.ts.max()


def test_contracts_end_with_increases_and_trouble() -> None:
    """With an insurer, those told a higher increase cancel more, and whoever cancels leaves."""
    made = world.generate(3000, seed=6, preset="insurance")
    terms = made.truth["contracts"].query("decided")
    rate = terms.cancels.groupby(terms.rise).mean()
    assert rate.iloc[:2].mean() < rate.iloc[2:].mean() and rate.iloc[-1] > 1.5 * rate.iloc[0]
    assert abs(terms.cancels.mean() - terms.p_cancel.mean()) < 3 * (terms.p_cancel.mean() / len(terms)) ** 0.5
    raw = made.raw["contracts"].merge(made.truth["contracts"], on="contract_id")
    assert (raw.cancelled_at.notna() <= raw.cancels).all()
    last = raw.sort_values("starts_at").drop_duplicates("policy_id", keep="last")
    assert not raw[raw.cancels].contract_id.isin(set(raw.contract_id) - set(last.contract_id)).any()


@pytest.mark.parametrize("preset", ["null", "null_effects"])
def test_no_treatment_does_anything_in_the_null_worlds(preset: str) -> None:
    """Other ads, arms, hours, welcome messages: the same orders, person by person."""
    calm = world.generate(400, seed=4, preset=preset, start="2025-10-01", end="2026-02-01")
    loud = world.generate(
        400, seed=4, preset=preset, start="2025-10-01", end="2026-02-01",
        changes={
            "ads": {"reach": [0.2, 0.2, 0.2, 0.2, 0.2, 0.0]}, "programme": {"shares": [0.0, 0.5, 0.5]},
            "slots": {"random_hour": 0.9, "channels": [0.3, 0.4, 0.3]}, "welcome": {"share": 0.0},
            "messages": {"random_propensity": 0.9, "biased_logit": 1.0}, "contracts": {"rise": [0.5]},
        },
    )  # fmt: skip
    assert len(loud.raw["ad_touches"]) > 3 * len(calm.raw["ad_touches"])
    for name in ("shop_orders", "store_tickets"):
        pd.testing.assert_frame_equal(
            calm.raw[name].drop(columns="campaign_id", errors="ignore"),
            loud.raw[name].drop(columns="campaign_id", errors="ignore"),
        )
    assert calm.truth["credits"].filter(like="credit_").abs().to_numpy().max() < 1e-9


def test_nothing_is_to_be_found_in_the_null_world(null: World) -> None:
    """No rhythm, interest, change, upgrade or cause of a cart is planted there."""
    persons = null.truth["persons"].query("kind == 'person'")
    for latent in ("own_period", "preferred_tier", "price_sensitivity", "interest", "message_effect"):
        assert persons[latent].nunique() == 1, latent
    assert persons.upgraded_at.isna().all() and not null.truth["sessions"].cause_shows.any()
    said = null.raw["social"].merge(null.truth["social"], on="handle")
    top = said.groupby("person").topic.agg(lambda t: t.value_counts(normalize=True).max())
    assert top[said.groupby("person").size() > 10].mean() < 0.4
    sent = null.truth["messages"].merge(null.raw["email_log"], on="message_id")
    assert sent.clicked_at.notna().groupby(sent.fits_channel).mean().diff().abs().max() < 0.01
