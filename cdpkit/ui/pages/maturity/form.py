"""The assessment form: one anchored question a criterion, "I do not know" allowed, saved as a decision."""

from __future__ import annotations

from collections.abc import Mapping

from cdpkit.maturity.criteria import Criterion, criteria, scales
from cdpkit.ui.kit import Html, data, element, section
from cdpkit.ui.messages import Text, text

#: What the form may say after a save.
OUTCOMES = ("working", "saved", "refused", "offline", "incomplete")


def form(answers: Mapping[str, int | None]) -> Html:
    """Return the form, the present answers checked.

    Parameters
    ----------
    answers : mapping of str to int
        The last answers taken in; empty before the first.
    """
    groups = []
    for factor, words in scales()["factors"].items():
        asked = [_question(c, answers) for c in criteria() if c.factor == factor]
        groups.append(element("details", element("summary", words), *asked, class_="card factor"))
    said: dict[str, Text] = {
        "working": text("maturity.form.working"),
        "saved": text("maturity.form.saved"),
        "refused": text("maturity.form.refused"),
        "offline": text("maturity.form.offline"),
        "incomplete": text("maturity.form.incomplete"),
    }
    who = element(
        "label",
        text("maturity.form.author"),
        element(
            "input", type="text", name="author", required="required", autocomplete="name", maxlength="80"
        ),
    )
    body = element(
        "form",
        data(said, "form-words"),
        *groups,
        who,
        element("button", text("maturity.form.save"), type="submit", class_="button"),
        element("p", class_="outcome", role="status", aria_live="polite"),
        class_="answers",
        data_post="/maturity/answers",
    )
    return section("form", text("maturity.form.title"), text("maturity.form.lead"), body)


def _question(criterion: Criterion, answers: Mapping[str, int | None]) -> Html:
    """Ask one criterion: five facts, or not knowing."""
    present = answers.get(criterion.id)
    options: list[tuple[str, Text, bool]] = [
        (str(level), words, present == level) for level, words in enumerate(criterion.answers)
    ]
    options.append(("", text("maturity.form.unknown"), present is None))
    choices = [
        element(
            "label",
            element(
                "input",
                type="radio",
                name=criterion.id,
                value=value,
                **({"checked": "checked"} if checked else {}),
            ),
            element("span", words),
            class_="choice",
        )
        for value, words, checked in options
    ]
    return element("fieldset", element("legend", criterion.question), *choices)
