"""Enrichment: facts of places, days and third parties beside first-party ones, never in their stead."""

from cdpkit.enrich.bought import bought
from cdpkit.enrich.feeds import Feed, lake_feed, third_party_feed
from cdpkit.enrich.join import Enriched, areas, attributes, holidays, third_party, weather
from cdpkit.enrich.partner_visits import interest_gain, partner_visits, remove_source
from cdpkit.enrich.sample import sample
from cdpkit.enrich.signals import audience_signals

__all__ = [
    "Enriched",
    "Feed",
    "areas",
    "attributes",
    "audience_signals",
    "bought",
    "holidays",
    "interest_gain",
    "lake_feed",
    "partner_visits",
    "remove_source",
    "sample",
    "third_party",
    "third_party_feed",
    "weather",
]
