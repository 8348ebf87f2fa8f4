"""What a world has once, whatever its persons: catalogue, prices and stock, places, days, parameters."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from cdpkit.world import ads, columns, history, places, registers
from cdpkit.world.draws import Draws
from cdpkit.world.plan import DAY, Plan


def raw(plan: Plan) -> dict[str, pa.Table]:
    """Return the exports that are no person's."""
    tables = {
        "products": registers.products(plan),
        "prices_stock": prices_stock(plan),
        "weather": plan.weather.table(plan.first, plan.days),
        "holidays": places.holiday_table(plan.start, plan.days),
        "areas": places.area_table(plan.seed),
    }
    if plan.rules.sector.crm_fields:
        tables["crm_fields"] = history.fields_table(plan)
    return tables


def prices_stock(plan: Plan) -> pa.Table:
    """Return prices and stock levels: at the start, at each change of price, out of stock and back."""
    shop, n = plan.shop, len(plan.shop.ids)
    product, day = [np.arange(n)], [np.zeros(n, np.int64)]
    changed, rung = np.nonzero(shop.change_days < plan.days)
    product.append(changed)
    day.append(shop.change_days[changed, rung])
    turns = np.diff(shop.outs.astype(np.int8), axis=1, prepend=0)
    moved, at = np.nonzero(turns)
    product.append(moved)
    day.append(at)
    key = np.unique(np.concatenate(product) * 100_000 + np.concatenate(day))
    which, when = key // 100_000, key % 100_000
    out = shop.out(which, when)
    left = Draws(plan.seed, which).uniform("stock", when)
    stock = np.where(out, 0, 20 + (180 * left).astype(np.int64))
    return pa.table(
        {
            "product_id": columns.words(which, shop.ids),
            "valid_from": columns.iso(plan.first + when * DAY),
            "price": columns.amounts(shop.price(which, when)),
            "currency": columns.words(np.zeros(len(which), np.int64), ["EUR"]),
            "stock": pa.array(stock),
        }
    )


def truth(plan: Plan) -> dict[str, pa.Table]:
    """Return what is true of the whole world: channels, products, pairs, days, parameters."""
    rules, shop = plan.rules, plan.shop
    days = np.arange(plan.days)
    pairs = np.flatnonzero(shop.complement >= 0)
    return {
        "channels": pa.table(
            {
                "ad_channel": pa.array(list(ads.CHANNELS)),
                "effect": pa.array(rules.ads.effect, pa.float64()),
                "half_life_days": pa.array(rules.ads.half_life, pa.float64()),
                "follows_intent": pa.array([k >= ads.RETARGETING for k in range(len(ads.CHANNELS))]),
            }
        ),
        "products": pa.table(
            {
                "of_product": pa.array(shop.ids),
                "group": pa.array(shop.group),
                "true_quality": pa.array(shop.quality),
                "days_out": pa.array(shop.outs.sum(axis=1)),
            }
        ),
        "complements": pa.table(
            {
                "group": pa.array(pairs),
                "complement": pa.array(shop.complement[pairs]),
                "share": pa.array(np.full(len(pairs), float(rules.orders.complement))),
            }
        ),
        "days": pa.table(
            {
                "on_day": columns.iso_date(plan.first // DAY + days),
                "season": pa.array([plan.season(int(day)) for day in days]),
                "rain": pa.array([float(plan.weather.rain_on(int(day)).mean()) for day in days]),
                "holiday": pa.array([plan.off(int(day)) for day in days]),
                "drifted": pa.array((days >= rules.drift.at * plan.days) & (rules.drift.at < 1)),
                **{
                    f"flight_{name}": pa.array([float(ads.flights(plan, int(day) // 7)[k]) for day in days])
                    for k, name in enumerate(ads.CHANNELS)
                },
            }
        ),
        "parameters": pa.table(
            {
                "section": pa.array([section for section, _, _ in _rows(plan)]),
                "parameter": pa.array([name for _, name, _ in _rows(plan)]),
                "setting": pa.array([json.dumps(value) for _, _, value in _rows(plan)]),
            }
        ),
    }


def _rows(plan: Plan) -> list[tuple[str, str, object]]:
    sections = vars(plan.rules)
    return [
        (section, name, value) for section, rule in sections.items() for name, value in vars(rule).items()
    ]
