"""What a resolution did, in counts: no clear value leaves through here."""

from __future__ import annotations

import pandas as pd

from cdpkit.identity.metrics import agreement
from cdpkit.identity.resolution import Resolution


def audit(
    resolution: Resolution, truth: pd.DataFrame | None = None, top: int = 20
) -> dict[str, pd.DataFrame]:
    """Report the largest persons, the identifiers set aside and the links refused.

    Parameters
    ----------
    resolution : Resolution
        What to report on.
    truth : DataFrame, optional
        ``source, record_id, person``: the true person of some records.
    top : int
        Rows of the lists.

    Returns
    -------
    dict of str to DataFrame
        ``totals`` (name, value); ``largest`` (person_id, n_nodes, n_sources); ``sizes`` (n_nodes,
        n_persons); ``set_aside`` (id_type, status, reason, n_values, n_records, most_records: on the
        busiest value); ``links`` (rule, state, n); ``refused`` (rule, refused_by, n); and with truth
        ``agreement`` (name, value; see `cdpkit.identity.metrics.agreement`).

    Examples
    --------
    >>> from cdpkit.identity import resolve
    >>> records = pd.DataFrame({"source": "s", "record_id": ["a", "b"], "email": ["na", "na"]})
    >>> report = audit(resolve(records, run_id="r1"))
    >>> report["set_aside"][["id_type", "status", "reason", "n_records"]].to_numpy().tolist()
    [['email', 'blocked', 'placeholder', 2]]
    """
    persons, links, status = resolution.persons, resolution.links, resolution.identifier_status
    aside = status[status["status"] != "ok"]
    refused = links[links["state"] == "refused"]
    events = resolution.person_events["event"].value_counts().sort_index()
    totals = {
        "records": len(resolution.nodes),
        "persons": len(persons),
        "persons of one record": int((persons["n_nodes"] == 1).sum()),
        "persons in several sources": int((persons["n_sources"] > 1).sum()),
        "links refused": len(refused),
        "identifiers set aside": len(aside),
    } | {f"persons {event}": int(n) for event, n in events.items()}
    by = ["id_type", "status", "reason"]
    out = {
        "totals": _named(totals),
        "largest": persons.sort_values(["n_nodes", "person_id"], ascending=[False, True])
        .head(top)[["person_id", "n_nodes", "n_sources"]]
        .reset_index(drop=True),
        "sizes": persons.groupby("n_nodes").size().rename("n_persons").reset_index(),
        "set_aside": aside.groupby(by, dropna=False)
        .agg(
            n_values=("n_records", "size"), n_records=("n_records", "sum"), most_records=("n_records", "max")
        )
        .reset_index(),
        "links": links.groupby(["rule", "state"]).size().rename("n").reset_index(),
        "refused": refused.groupby(["rule", "refused_by"]).size().rename("n").reset_index(),
    }
    if truth is not None:
        keyed = truth[["source", "record_id", "person"]].astype({"source": "str", "record_id": "str"})
        both = resolution.as_of().merge(keyed, on=["source", "record_id"])
        out["agreement"] = _named(agreement(both["person_id"], both["person"]))
    return out


def _named(values: dict[str, float] | dict[str, int]) -> pd.DataFrame:
    """Return name and value columns."""
    return pd.DataFrame({"name": list(values), "value": list(values.values())})
