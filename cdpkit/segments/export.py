"""The file that leaves: tried first, with a manifest that accounts for everyone, and a log."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from cdpkit.errors import ConsentError, FaultsError, NotEnoughDataError
from cdpkit.identity.hashing import identifier_hash, text_hash
from cdpkit.normalise import phone_key
from cdpkit.segments import contact, ledger, people
from cdpkit.segments.audience import REASONS, Audience, AudienceResult
from cdpkit.segments.destinations import SAID, SCORED, Column, Destination, Processor, destination
from cdpkit.segments.sheets import clear_addresses, render

if TYPE_CHECKING:
    from cdpkit.engine import Engine
    from cdpkit.run import Run

_LEAVING = "_leaving"


@dataclass(frozen=True)
class Handover:
    """A file tried before it leaves.

    Attributes
    ----------
    result : AudienceResult
        The audience.
    persons : Series
        Person of each row.
    content : bytes
        The file.
    manifest : dict
        What it says of itself; `faults` in it say why it may not leave.
    batches : tuple of bytes
        The file as it is delivered: one part, or several where the destination takes so many rows at most.
    """

    result: AudienceResult
    persons: pd.Series
    content: bytes
    manifest: dict[str, Any]
    batches: tuple[bytes, ...] = ()

    @property
    def faults(self) -> list[str]:
        """Why it may not leave."""
        return self.manifest["faults"]


def plan(
    engine: Engine,
    result: AudienceResult,
    *,
    to: str,
    purpose: str = "activation",
    recipient: str = "",
    processor: Processor | None = None,
    value_model: str = "",
    currency: str = "EUR",
    sent_on: pd.Timestamp | None = None,
) -> Handover:
    """Make the file of an audience for one destination, and say what stops it: nothing is written.

    Permission is asked again, now and for each key: a phone leaves under the agreement to be written to
    by SMS, an e-mail address under its own. Who has no key or no value left is out, and counted.

    Parameters
    ----------
    engine : Engine
        As for `cdpkit.segments.build`.
    result : AudienceResult
        The audience, its candidates and its waterfall.
    to : str
        A key of `cdpkit.segments.destinations.DESTINATIONS`.
    purpose : str
        What the file is for.
    recipient : str
        Who receives it; the destination's name by default.
    processor : Processor, optional
        Needed where addresses leave in clear.
    value_model : str
        Model whose score is the value, the tier and the decile of the file; the audience's by default.
    currency : str
        Of the predicted value, which scores hold in minor units and the file in whole ones.
    sent_on : Timestamp, optional
        The day it leaves; the audience's by default. Who is suspended or has reached a cap on that day is
        out, whatever was so when the audience was built.

    Returns
    -------
    Handover
        The file, its manifest and its faults.

    Raises
    ------
    ConsentError
        When the purpose is none of the destination's, or a clear file has no processor declared for it.
    CdpkitError
        When the destination is unknown.
    """
    place = destination(to)
    _permit(place, purpose, processor)
    audience = result.audience
    columns = place.resolved(audience.channel)
    kept = result.candidates.loc[result.candidates["included"], ["person_id"]].astype("str")
    day = pd.Timestamp(sent_on or result.sent_on or result.as_of)
    kept, resting = _awake(engine, audience, kept, day)
    engine.register(_LEAVING, kept)
    said = {
        "audience": audience.name,
        "as_of": result.as_of.date().isoformat(),
        "surface": place.surface,
        "currency": currency,
    }
    model = value_model or audience.model or ""
    raw, asked = _raw(engine, columns, result.as_of, audience, model, said)
    frame = pd.DataFrame(
        {c.name: [_cell(c, v, place.scheme) for v in raw[c.take]] for c in columns}, dtype=object
    )
    for column in columns:
        if column.channel:
            frame.loc[~raw[f"may_{column.channel}"], column.name] = None
    keys = [c.name for c in columns if c.key]
    keyless = frame[keys].isna().all(axis=1)
    twice = frame.duplicated(keys) & ~keyless
    valued = [c.name for c in columns if c.how == "value"]
    unvalued = frame[valued].isna().any(axis=1) & ~(keyless | twice)
    stays = ~(keyless | twice | unvalued)
    frame = frame[stays].assign(_p=raw.loc[stays, "person_id"]).sort_values(keys, na_position="last")
    persons, frame = frame.pop("_p").reset_index(drop=True), _typed(frame.reset_index(drop=True))
    faults = _faults(place, frame, model, value_model)
    about = {**said, "destination": to}
    content = render(frame, place.form, about)
    cuts = range(0, max(len(frame), 1), place.batch or max(len(frame), 1))
    batches = [content]
    if len(cuts) > 1:
        batches = [render(frame.iloc[at : at + place.batch], place.form, about) for at in cuts]
    steps: list[dict] = [*result.waterfall.to_dict(orient="records")]
    counted = {"no_key": int(keyless.sum()), "same_key": int(twice.sum()), "no_value": int(unvalued.sum())}
    steps += _steps(len(kept) + sum(resting.values()), **resting, **counted)
    manifest = {
        "audience": audience.name,
        "as_of": result.as_of.isoformat(),
        "sent_on": day.isoformat(),
        "purpose": purpose,
        "purposes": [purpose],
        "channel": audience.channel,
        "to": to,
        "destination": recipient or place.en,
        "processor": processor.name if processor is not None and place.clear else None,
        "clear": place.clear,
        "scheme": place.scheme,
        "form": place.form,
        "columns": list(frame.columns),
        "schema": [{"name": c.name, "type": str(frame[c.name].dtype), "how": c.how} for c in columns],
        "consent": asked,
        "rule": {
            "model": audience.model,
            "where": audience.where,
            "quiet_days": audience.quiet_days,
            "caps": [asdict(cap) for cap in audience.caps],
        },
        "inputs": {"scores": model or None, "as_of": result.as_of.isoformat()},
        "counts": {
            "candidates": len(result.candidates),
            "included": len(frame),
            "control": int((result.candidates["excluded_by"] == "control").sum()),
        },
        "batches": [
            {"rows": len(frame.iloc[at : at + (place.batch or len(frame))]), "sha256": _digest(part)}
            for at, part in zip(cuts, batches, strict=True)
        ],
        "waterfall": steps,
        "decided_by": sorted(result.candidates["decided_by"].unique().tolist()),
        "faults": faults,
        "sha256": _digest(content),
    }
    return Handover(result, persons, content, manifest, tuple(batches))


def export(run: Run, result: AudienceResult, *, to: str = "matching", **options: Any) -> dict:
    """Write an audience's file and manifest, and log who was handed over.

    The files lie under the activation's id, which the published page names: what a run that failed
    left behind is never offered.

    Parameters
    ----------
    run : Run
        The run that writes.
    result : AudienceResult
        The audience, its candidates and its waterfall.
    to : str
        The destination. A hash hides an address from a reader, not from someone who tries addresses:
        the file is personal data.
    **options
        As for `plan`, which says what would be written.

    Returns
    -------
    dict
        The manifest: audience, as_of, purpose, channel, destination, columns, consent, counts, waterfall,
        decided_by and the file's SHA-256.

    Raises
    ------
    FaultsError
        When the file may not leave: too few rows, a clear address, no score.
    """
    handover = plan(run.engine(), result, to=to, **options)
    if handover.faults:
        raise FaultsError(f"the export of {result.audience.name!r} to {to}", handover.faults)
    activation_id = f"{run.run_id}-{result.audience.name}" + ("" if to == "matching" else f"-{to}")
    file = f"audience.{handover.manifest['form']}"
    manifest = {"activation_id": activation_id, "file": file, **handover.manifest}
    folder = run.workspace.exports / activation_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(handover.content)
    if len(handover.batches) > 1:
        for number, (part, told) in enumerate(zip(handover.batches, manifest["batches"], strict=True), 1):
            told["file"] = f"audience-{number:04d}.{handover.manifest['form']}"
            (folder / told["file"]).write_bytes(part)
    (folder / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=1), "utf-8")
    _log(run, handover, activation_id)
    return manifest


def stored(engine: Engine, name: str) -> AudienceResult:
    """Return an audience as the lake keeps it, at its last date.

    Parameters
    ----------
    engine : Engine
        Sees ``audiences`` and ``reports``, where its rule and channel are.
    name : str
        Its name.

    Raises
    ------
    NotEnoughDataError
        When no run stored it, or none said its rule.
    """
    engine.register("_asked", pd.DataFrame({"name": [name]}).astype("str"))
    found = engine.query(
        """SELECT a.* FROM audiences AS a JOIN _asked ON a.audience = _asked.name
           QUALIFY a.as_of = max(a.as_of) OVER () ORDER BY person_id"""
    ).to_pandas()
    told = engine.query(
        """SELECT r.content FROM reports AS r JOIN _asked ON r.name = _asked.name
           WHERE r.model = 'audiences' ORDER BY r.as_of DESC LIMIT 1"""
    ).to_pandas()
    if found.empty or told.empty:
        raise NotEnoughDataError("an audience to export must be stored", name, "Run the audiences notebook")
    said = json.loads(json.loads(told["content"].iloc[0])[0]["content"])
    rule = said["rule"]
    caps = tuple(ledger.Cap(**cap) for cap in rule.get("caps", ()))
    audience = Audience(name, rule["model"], rule["where"], channel=said["channel"], caps=caps)
    found["included"] = found["included"].astype(bool)
    left, rows = len(found), [("candidates", 0, len(found))]
    for reason in REASONS:
        out = int((found["excluded_by"] == reason).sum())
        left -= out
        rows.append((reason, out, left))
    waterfall = pd.DataFrame(rows, columns=["reason", "n_out", "n_left"])
    return AudienceResult(audience, pd.Timestamp(found["as_of"].iloc[0]), found, waterfall)


def _awake(
    engine: Engine, audience: Audience, kept: pd.DataFrame, day: pd.Timestamp
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Leave out who is suspended, or has had enough, on the day of sending; count them by reason."""
    out = {"suspended_that_day": ledger.suspended(engine, day, channel=audience.channel)}
    if audience.caps:
        out["capped_that_day"] = ledger.capped(engine, day, channel=audience.channel, caps=audience.caps)
    counted = {}
    for reason, frame in out.items():
        gone = kept["person_id"].isin(frame["person_id"].astype("str"))
        counted[reason], kept = int(gone.sum()), kept[~gone].reset_index(drop=True)
    return kept, counted


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _permit(place: Destination, purpose: str, processor: Processor | None) -> None:
    """Refuse a use nobody declared."""
    if purpose not in place.purposes:
        raise ConsentError(
            "an export's purpose must be one of its destination's",
            repr(purpose)[:40],
            f"One of {', '.join(place.purposes)}",
        )
    if place.clear and (processor is None or not processor.may(place.name, purpose)):
        raise ConsentError(
            f"clear addresses must go to a processor declared for {place.name} and {purpose}",
            "none" if processor is None else processor.name,
            "Declare it in data/processors.toml",
        )


def _raw(
    engine: Engine,
    columns: tuple[Column, ...],
    as_of: pd.Timestamp,
    audience: Audience,
    model: str,
    said: dict[str, str],
) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    """Return the values the columns take and whether each channel may be used, a row a person."""
    rows = engine.query(f"SELECT person_id FROM {_LEAVING} ORDER BY person_id").to_pandas().astype("str")
    held = engine.query(
        f"SELECT person_id, attribute, value FROM golden JOIN {_LEAVING} USING (person_id)"
    ).to_pandas()
    for take in dict.fromkeys(c.take for c in columns):
        if take in SAID:
            rows[take] = said[take]
        elif take not in SCORED:
            mine = held[held["attribute"] == take].set_index("person_id")["value"]
            rows[take] = rows["person_id"].map(mine)
    scores = engine.query(
        f"""SELECT person_id, score, tier, decile FROM scores JOIN {_LEAVING} USING (person_id)
            WHERE model = '{model.replace("'", "''")}' AND as_of = {people.literal(as_of)}"""
    ).to_pandas()
    rows = rows.merge(scores.drop_duplicates("person_id"), on="person_id", how="left")
    asked = {}
    for channel in dict.fromkeys(c.channel for c in columns if c.channel):
        may = contact.allowed(engine, channel, _LEAVING, as_of, audience.barred_sources)
        rows[f"may_{channel}"] = rows["person_id"].isin(may["person_id"])
        asked[channel] = {"asked": len(rows), "granted": int(rows[f"may_{channel}"].sum())}
    return rows, asked


def _cell(column: Column, value: Any, scheme: str) -> Any:
    """Return what one cell says."""
    if value is None or pd.isna(value):
        return None
    if column.how == "hash":
        if column.take in ("email", "phone"):
            return identifier_hash(column.take, value, scheme)
        return text_hash(value, fold=column.take in ("first_name", "last_name"))
    if column.how == "value":
        return round(value / 100, 2)
    if column.how == "clear" and column.take == "phone":
        return phone_key(value, "FR")
    return value


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Give each column its type, so that an empty file has the same schema as a full one."""
    kinds = {"score": "float64", "Conversion Value": "float64", "decile": "Int64"}
    return frame.astype({name: kinds.get(str(name), "str") for name in frame})


def _faults(place: Destination, frame: pd.DataFrame, model: str, value_model: str) -> list[str]:
    """Say why a file may not leave."""
    faults = []
    if len(frame) < place.minimum:
        faults.append(f"{place.name} needs {place.minimum} rows or more; got {len(frame)}")
    if any(c.take == "score" for c in place.columns) and not model:
        faults.append(f"{place.name} needs a model's score; the audience has none")
    if any(c.how == "value" for c in place.columns) and not value_model:
        faults.append(f"{place.name} needs `value_model`: a chance is not a value")
    if not place.clear and (found := clear_addresses(frame)):
        faults.append(f"no clear address may leave to {place.name}; found in {', '.join(found)}")
    return faults


def _steps(left: int, **out: int) -> list[dict[str, Any]]:
    """Continue the waterfall down to the rows of the file."""
    steps = []
    for reason, n in out.items():
        left -= n
        if n:
            steps.append({"reason": reason, "n_out": n, "n_left": left})
    return steps


def _log(run: Run, handover: Handover, activation_id: str) -> None:
    """Write the activation log: who was handed over and who is the control."""
    candidates, manifest = handover.result.candidates, handover.manifest
    control = candidates["excluded_by"] == "control"
    named = candidates[candidates["person_id"].isin(handover.persons) | control]
    log = pd.DataFrame(
        {
            "activation_id": activation_id,
            "person_id": named["person_id"],
            "audience": manifest["audience"],
            "as_of": handover.result.as_of,
            "purpose": manifest["purpose"],
            "channel": manifest["channel"],
            "destination": manifest["destination"],
            "decided_by": named["decided_by"],
            "is_control": (named["excluded_by"] == "control").to_numpy(dtype=bool),
            "run_id": run.run_id,
        }
    )
    run.lake.write("activation_log", log, replace={"activation_id": activation_id})
