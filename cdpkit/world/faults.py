"""What goes wrong between a system and its export: a month lost, columns that change shape."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdpkit.world.plan import DAY, Plan


def web(plan: Plan, table: pa.Table) -> dict[str, pa.Table]:
    """Return the web export, less a lost month, and after a change of schema in another file.

    The second shape renames `page` to `page_name`, tells times spent in seconds and adds `consent_mode`.
    """
    rule = plan.rules.faults
    ts = table["ts"].cast(pa.int64()).to_numpy()
    if rule.missing_month:
        month = ts.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
        first = np.datetime64(plan.start, "M").astype(int) + rule.missing_month - 1
        keep = month != first
        table, ts = table.filter(pa.array(keep)), ts[keep]
    if rule.schema_change >= 1:
        return {"web_events": table}
    after = ts >= plan.first + int(rule.schema_change * plan.days) * DAY
    later = table.filter(pa.array(after))
    seconds = pc.divide(later["dwell_ms"].cast(pa.float64()), 1000.0)
    later = later.set_column(later.schema.get_field_index("dwell_ms"), "dwell_s", seconds)
    later = later.rename_columns(["page_name" if name == "page" else name for name in later.column_names])
    later = later.append_column(
        "consent_mode", pa.array(np.full(later.num_rows, "granted", dtype=object), pa.string())
    )
    return {"web_events": table.filter(pa.array(~after)), "web_events_v2": later}
