"""The glossary: one word per idea, in both languages."""

from __future__ import annotations

import pytest

from cdpkit.glossary import glossary


@pytest.mark.req("MAT-16")
def test_personalisation_is_not_customisation() -> None:
    """Both have their entry, and the second says that nothing here models it."""
    terms = glossary()
    assert (
        "cdpkit" in terms["customisation"].meaning["fr"] and "cdpkit" in terms["customisation"].meaning["en"]
    )
    assert terms["personalisation"].meaning != terms["customisation"].meaning


def test_one_word_per_idea_in_both_languages() -> None:
    """No word stands for two ideas, and each has a meaning in French and English."""
    terms = glossary().values()
    for language in ("fr", "en"):
        words = [term.word[language] for term in terms]
        assert len(words) == len(set(words))
        assert all(term.meaning[language].endswith(".") for term in terms)
