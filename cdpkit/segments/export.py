"""The file that leaves: hashed keys, a manifest that accounts for everyone, and a log."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pandas as pd
from sqlglot import exp

from cdpkit.identity.hashing import identifier_hash
from cdpkit.segments.audience import ADDRESSES, AudienceResult

if TYPE_CHECKING:
    from cdpkit.run import Run


def export(run: Run, result: AudienceResult, *, destination: str, scheme: str = "google") -> dict:
    """Write an audience's file and manifest, and log who was handed over.

    The files lie under the activation's id, which the published page names: what a run that failed
    left behind is never offered.

    Parameters
    ----------
    run : Run
        The run that writes.
    result : AudienceResult
        The audience, its candidates and its waterfall.
    destination : str
        Who receives the file; part of the manifest and of the log.
    scheme : str
        How this destination wants addresses hashed; see `cdpkit.identity.hashing`. A hash hides an
        address from a reader, not from someone who tries addresses: the file is personal data.

    Returns
    -------
    dict
        The manifest: audience, as_of, purpose, channel, destination, columns, counts, waterfall,
        decided_by and the file's SHA-256.
    """
    audience, kept = result.audience, result.candidates[result.candidates["included"]]
    attribute = ADDRESSES[audience.channel]
    scores = run.engine().query(_file_query(audience.model, attribute, result.as_of)).to_pandas()
    rows = kept[["person_id"]].merge(scores, on="person_id", how="left")
    key = f"{attribute}_sha256"
    file = pd.DataFrame(
        {
            key: [identifier_hash(attribute, value, scheme) for value in rows["address"]],
            "tier": rows["tier"],
            "decile": rows["decile"],
        }
    ).sort_values(key)
    content = file.to_csv(index=False, lineterminator="\n").encode()
    activation_id = f"{run.run_id}-{audience.name}"
    manifest = {
        "activation_id": activation_id,
        "audience": audience.name,
        "as_of": result.as_of.isoformat(),
        "purpose": "activation",
        "purposes": ["activation"],
        "channel": audience.channel,
        "destination": destination,
        "scheme": scheme,
        "columns": list(file.columns),
        "rule": {"model": audience.model, "where": audience.where, "quiet_days": audience.quiet_days},
        "counts": {
            "candidates": len(result.candidates),
            "included": len(file),
            "control": int((result.candidates["excluded_by"] == "control").sum()),
        },
        "waterfall": result.waterfall.to_dict(orient="records"),
        "decided_by": sorted(result.candidates["decided_by"].unique().tolist()),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    folder = run.workspace.exports / activation_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audience.csv").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=1), "utf-8")
    _log(run, result, activation_id, destination)
    return manifest


def _file_query(model: str | None, attribute: str, as_of: pd.Timestamp) -> exp.Select:
    """Select the columns of the file: addresses, and scores where a model chose."""
    moment = exp.cast(exp.Literal.string(as_of.isoformat(sep=" ")), "TIMESTAMP")
    scored = exp.and_(
        exp.column("person_id", "g").eq(exp.column("person_id", "s")),
        exp.column("model", "s").eq(exp.Literal.string(model or "")),
        exp.column("as_of", "s").eq(moment),
    )
    return (
        exp.select("g.person_id", "s.tier", "s.decile", "g.value AS address")
        .from_("golden AS g")
        .join("scores AS s", on=scored, join_type="left")
        .where(exp.column("attribute", "g").eq(exp.Literal.string(attribute)))
    )


def _log(run: Run, result: AudienceResult, activation_id: str, destination: str) -> None:
    """Write the activation log: who was handed over and who is the control."""
    candidates = result.candidates
    named = candidates[candidates["included"] | (candidates["excluded_by"] == "control")]
    log = pd.DataFrame(
        {
            "activation_id": activation_id,
            "person_id": named["person_id"],
            "audience": result.audience.name,
            "as_of": result.as_of,
            "purpose": "activation",
            "channel": result.audience.channel,
            "destination": destination,
            "decided_by": named["decided_by"],
            "is_control": (named["excluded_by"] == "control").to_numpy(dtype=bool),
            "run_id": run.run_id,
        }
    )
    run.lake.write("activation_log", log, replace={"activation_id": activation_id})
