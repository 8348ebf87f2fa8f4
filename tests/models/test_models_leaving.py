"""What people say and read before they leave: heard in two languages, and worth something to the model."""

from __future__ import annotations

import re
import unicodedata
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cdpkit import models
from cdpkit.engine import DuckDBEngine
from cdpkit.features import FeatureSet, catalogue
from cdpkit.features.lexicon import pattern
from cdpkit.world.catalogue import words

T = pd.Timestamp("2026-03-31")
DAY = pd.Timedelta(days=1)
PEOPLE = 2400
#: Beside the generated sentences: what customers write about leaving, and what only sounds like it.
LEAVING = (
    "Quelles sont les démarches pour la résiliation de mon abonnement ?", "Merci de clôturer mon dossier.",
    "Je pars chez un concurrent, comment mettre fin au contrat ?", "Je souhaite QUITTER votre enseigne.",
    "How do I cancel my subscription?", "Please close my account today.", "I want to end my contract.",
    "I am thinking of leaving you for another brand.", "Je ne serai plus cliente à partir de juin.",
)  # fmt: skip
STAYING = (
    "Le bouton de paiement ne répond pas.", "Pouvez-vous remplir le dossier à ma place ?",
    "Do you deliver on Saturdays?", "Is the parcel still at the depot?", "Où en est ma livraison ?",
    "La taille est trop petite, je veux l'échanger.", "My invoice is missing.", "Ravi de mon achat, merci !",
    "I would like a larger model.",
)  # fmt: skip


def _plain(text: str) -> str:
    """Drop the accents, as many do when they write from a telephone."""
    split = unicodedata.normalize("NFD", text)
    return "".join(letter for letter in split if not unicodedata.combining(letter))


def _spoken() -> tuple[list[str], list[str]]:
    """Return sentences about leaving and about other things, in both languages."""
    calls = [words()["calls"][language] for language in ("fr", "en")]
    leaving = [text for by in calls for text in by["cancel"]]
    others = [text for by in calls for about, some in by.items() if about != "cancel" for text in some]
    return [*leaving, *LEAVING], [*others, *STAYING]


@pytest.mark.req("MOD-21")
def test_the_way_out_is_heard_in_two_languages_with_and_without_accents() -> None:
    """Of sentences and names of pages, those about leaving are found and no other: precision on the fixture."""
    leaving, others = _spoken()
    said, pages = re.compile(pattern("cancel")), re.compile(pattern("way_out"))
    for written in (str.lower, lambda text: _plain(text).lower()):
        found = [bool(said.search(written(text))) for text in [*leaving, *others]]
        hits = sum(found[: len(leaving)])
        assert hits / sum(found) >= 0.95 and hits / len(leaving) >= 0.9
    for page in (
        "cancellation",
        "/mon-compte/résiliation",
        "/aide/resilier",
        "cgv",
        "Terms of sale",
        "/unsubscribe",
    ):
        assert pages.search(page.lower()), page
    for page in ("checkout", "product", "/soldes", "delivery", "account", "/closed-toe-shoes"):
        assert not pages.search(page), page


@pytest.fixture(scope="module")
def leavers() -> SimpleNamespace:
    """Customers of whom some decide to leave: they read about it, call or write, and mostly go."""
    rng = np.random.default_rng(0)
    leaving, others = _spoken()
    decided = rng.random(PEOPLE) < 0.15
    left = rng.random(PEOPLE) < np.where(decided, 0.75, 0.15)
    calls = rng.random(PEOPLE) < np.where(decided, 0.45, 0.25)
    about = [rng.choice(leaving if d and rng.random() < 0.9 else others) for d in decided]
    node = np.arange(1, PEOPLE + 1)
    reads = rng.random(PEOPLE) < np.where(decided, 0.5, 0.02)
    when = T - DAY * rng.integers(1, 28, PEOPLE)
    base = {"source": "test", "node_id": node, "event_time": when, "known_at": when}
    contacts = pd.DataFrame(base | {"contact_id": [f"c{k}" for k in node], "text": about})[calls]
    contacts["channel"] = rng.choice(["call", "email"], len(contacts))
    visits = pd.DataFrame(base | {"event_id": [f"e{k}" for k in node], "event_type": "Page Viewed"})
    visits["touchpoint"] = np.where(
        reads, rng.choice(["cancellation", "/resiliation", "cgv"], PEOPLE), "home"
    )
    orders = pd.DataFrame(base | {"order_id": [f"o{k}" for k in node], "amount_minor": 4000}).assign(
        event_time=T - DAY * rng.integers(1, 300, PEOPLE), currency="EUR"
    )
    orders["known_at"] = orders["event_time"]
    members = pd.DataFrame({"node_id": node, "person_id": [f"p{k:05d}" for k in node]})
    members["known_from"], members["known_to"] = T - 900 * DAY, pd.NaT
    told = ("n_contacts", "days_since_contact", "n_says_cancel", "n_says_complaint", "n_pages_way_out")
    asked = [f for f in catalogue.complete().features if f.name in (*told, "days_since_order")]
    frames = {"contacts": contacts, "events": visits, "orders": orders, "membership": members}
    engine = DuckDBEngine(frames=frames)
    built = FeatureSet("leaving", asked).build(engine, T, consent=False)
    rows = built.to_pandas().sort_values("person_id").reset_index(drop=True)
    later = slice(0, PEOPLE // 2), slice(PEOPLE // 2, None)
    return SimpleNamespace(
        rows=rows, left=left, decided=decided, names=built.drop_empty().names, halves=later
    )


@pytest.mark.req("MOD-20")
@pytest.mark.req("MOD-21")
def test_calls_and_e_mails_and_pages_on_the_way_out_are_worth_their_columns(leavers: SimpleNamespace) -> None:
    """Without what is said, and without the pages read, the model does worse; the decision planted is found."""
    names = leavers.names
    spoken = [n for n in names if n.startswith("contact__") and "way_out" not in n]
    pages = [n for n in names if "way_out" in n]
    parts = [(leavers.rows.loc[:, names].iloc[half], leavers.left[half]) for half in leavers.halves]
    families = {"calls and e-mails": spoken, "pages": pages}
    told = models.ablation(models.ChurnClassifier("logistic"), families, *parts).set_index("family")
    assert told["worth_it"].all(), told
    model = models.ChurnClassifier("logistic").fit(*parts[0])
    later = leavers.rows[names].iloc[leavers.halves[1]]
    chance, decided = model.predict_proba(later)[:, 1], leavers.decided[leavers.halves[1]]
    known = later[[*pages, "contact__n_says_cancel__90d"]].fillna(0).sum(axis=1).to_numpy() > 0
    assert decided[known].mean() > 0.8
    assert chance[known & decided].mean() == pytest.approx(0.75, abs=0.1)
    told_why = models.top_reasons(model.contributions(later[known]), later[known])
    first = [person[0].feature for person in told_why]
    assert np.mean([name in (*pages, "contact__n_says_cancel__90d") for name in first]) > 0.8


def test_nothing_said_is_worth_nothing(leavers: SimpleNamespace) -> None:
    """Where departures do not depend on what is said, the same columns earn no place."""
    alarms, spoken = 0, {"said": [n for n in leavers.names if n.startswith("contact__")]}
    for seed in range(6):
        left = np.random.default_rng(seed).permutation(leavers.left)
        parts = [(leavers.rows[leavers.names].iloc[half], left[half]) for half in leavers.halves]
        model = models.ChurnClassifier("logistic", calibration="identity")
        alarms += models.ablation(model, spoken, *parts)["worth_it"].item()
    assert alarms <= 1
