"""Rules as sentences, in French and in English, and back: one controlled language, both ways.

Labels come from the fields, so that a new field is at once readable. Texts stand between quotation
marks, brackets say what belongs together, and numbers are written as each language does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from cdpkit.errors import FaultsError
from cdpkit.phrases import check_language
from cdpkit.segments.fields import Field
from cdpkit.segments.rule import Group, Leaf, Negation, Node, Value

#: Operators in words. No one begins another where both could follow a label.
_OPERATORS = {
    "fr": {
        "between": "va de", "in": "est parmi", "not in": "n'est pas parmi", ">=": "est au moins",
        "<=": "est au plus", ">": "dépasse", "<": "est sous", "<>": "n'est pas", "=": "est",
        "missing": "est sans valeur", "present": "a une valeur",
    },
    "en": {
        "between": "goes from", "in": "is one of", "not in": "is none of", ">=": "is at least",
        "<=": "is at most", ">": "is above", "<": "is below", "<>": "is not", "=": "is",
        "missing": "has no value", "present": "has a value",
    },
}  # fmt: skip
_JOINTS = {"fr": {"and": " et ", "or": " ou "}, "en": {"and": " and ", "or": " or "}}
_TO = {"fr": " à ", "en": " to "}
_NOT = {"fr": "il est faux que", "en": "it is false that"}
_FLAGS = {"fr": {True: "oui", False: "non"}, "en": {True: "yes", False: "no"}}
_QUOTES = {"fr": ("« ", " »"), "en": ("“", "”")}
#: What follows a number, by unit; money is followed by its currency.
_AFTER = {
    "fr": {"years": " ans", "days": " jours", "share": " %", "minutes": " minutes"},
    "en": {"years": " years", "days": " days", "share": "%", "minutes": " minutes"},
}
#: Numbers are shown in the unit a reader expects: shares as per cent, money in whole units.
_SCALE = {"share": Decimal(100), "money": Decimal("0.01")}


def write(node: Node, language: str, fields: Mapping[str, Field], currency: str = "EUR") -> str:
    """Say a condition.

    Parameters
    ----------
    node : Leaf, Group or Negation
    language : {"fr", "en"}
    fields : mapping of str to Field
    currency : str
        ISO 4217 code written after amounts.

    Examples
    --------
    >>> from cdpkit.segments.fields import vocabulary
    >>> write(Leaf("lifetime_value", ">", (Decimal(12050),)), "fr", vocabulary())
    'valeur vie client dépasse 120,5 EUR'
    """
    check_language(language)
    if isinstance(node, Negation):
        return f"{_NOT[language]} ({write(node.part, language, fields, currency)})"
    if isinstance(node, Group):
        parts = [write(part, language, fields, currency) for part in node.parts]
        bracketed = (
            f"({text})" if isinstance(part, Group) else text
            for part, text in zip(node.parts, parts, strict=True)
        )
        return _JOINTS[language][node.joint].join(bracketed)
    field = fields[node.field]
    start = f"{field.label(language)} {_OPERATORS[language][node.operator]}"
    values = [_shown(value, field, language, currency) for value in node.values]
    joint = _TO[language] if node.operator == "between" else " ; "
    return f"{start} {joint.join(values)}" if values else start


def read(sentence: str, language: str, fields: Mapping[str, Field], currency: str = "EUR") -> Node:
    """Read the condition a sentence says; the contrary of `write`.

    Raises
    ------
    FaultsError
        Saying where the sentence stops being understood.

    Examples
    --------
    >>> from cdpkit.segments.fields import vocabulary
    >>> read("age is at least 30 years", "en", vocabulary())
    Leaf(field='age', operator='>=', values=(Decimal('30'),))
    """
    reader = _Reader(sentence, check_language(language), fields, currency)
    node = reader.condition()
    if reader.rest:
        raise reader.lost("the end")
    return node


def _shown(value: Value, field: Field, language: str, currency: str) -> str:
    """Write one value."""
    if isinstance(value, bool):
        return _FLAGS[language][value]
    if isinstance(value, str):
        opening, closing = _QUOTES[language]
        word = field.words(language).get(value, value)
        return f"{opening}{word.replace(closing.strip(), 2 * closing.strip())}{closing}"
    number = f"{(value * _SCALE.get(field.unit, Decimal(1))).normalize():f}"
    after = f" {currency}" if field.unit == "money" else _AFTER[language].get(field.unit, "")
    return (number.replace(".", ",") if language == "fr" else number) + after


class _Reader:
    """Take words off the front of a sentence, longest first."""

    def __init__(self, text: str, language: str, fields: Mapping[str, Field], currency: str) -> None:
        self.rest, self.language, self.currency = text.strip(), language, currency
        self.labels = sorted(
            ((field.label(language), field) for field in fields.values()), key=lambda pair: -len(pair[0])
        )
        self.operators = sorted(_OPERATORS[language].items(), key=lambda pair: -len(pair[1]))

    def lost(self, wanted: str) -> FaultsError:
        """Say where reading stopped; a sentence holds no person's data."""
        return FaultsError("a rule's sentence", [f"{wanted} must come next; got {self.rest[:40]!r}"])

    def take(self, word: str) -> bool:
        """Take a word when it comes next."""
        if not self.rest.startswith(word):
            return False
        self.rest = self.rest[len(word) :].lstrip(" ") if not word.endswith(" ") else self.rest[len(word) :]
        return True

    def condition(self) -> Node:
        """Read parts joined by one word."""
        parts, joint = [self.part()], ""
        words = _JOINTS[self.language]
        while found := next((j for j, w in words.items() if self.rest.startswith(w.lstrip())), ""):
            if joint and found != joint:
                raise self.lost(f"the same joint ({words[joint].strip()}) or brackets")
            joint = found
            self.take(words[found].lstrip())
            parts.append(self.part())
        return parts[0] if not joint else Group(joint, tuple(parts))

    def part(self) -> Node:
        """Read a bracket, a contrary or a comparison."""
        if self.take(_NOT[self.language]):
            return Negation(self.bracket())
        return self.bracket() if self.rest.startswith("(") else self.leaf()

    def bracket(self) -> Node:
        """Read what stands between brackets."""
        if not self.take("("):
            raise self.lost("an opening bracket")
        node = self.condition()
        if not self.take(")"):
            raise self.lost("a closing bracket")
        return node

    def leaf(self) -> Leaf:
        """Read one comparison."""
        field = next((field for label, field in self.labels if self.take(label + " ")), None)
        if field is None:
            raise self.lost("a known field")
        operator = next((name for name, words in self.operators if self.take(words)), None)
        if operator is None:
            raise self.lost("a comparison")
        if operator in ("missing", "present"):
            return Leaf(field.name, operator)
        values = [self.value(field)]
        while self.take(_TO[self.language].strip() + " " if operator == "between" else ";"):
            values.append(self.value(field))
        return Leaf(field.name, operator, tuple(values))

    def value(self, field: Field) -> Value:
        """Read one value of a field."""
        self.rest = self.rest.lstrip(" ")
        if field.kind == "flag":
            for flag, word in _FLAGS[self.language].items():
                if self.take(word):
                    return flag
            raise self.lost("yes or no")
        return self.text(field) if field.kind == "text" else self.number(field)

    def text(self, field: Field) -> str:
        """Read a text between quotation marks; a doubled closing mark stands for one."""
        opening, closing = _QUOTES[self.language]
        mark = closing.strip()
        pattern = re.escape(opening) + rf"((?:[^{mark}]|{mark}{mark})*?)" + re.escape(closing) + f"(?!{mark})"
        found = re.match(pattern, self.rest, re.DOTALL)
        if not found:
            raise self.lost("a text between quotation marks")
        self.rest = self.rest[found.end() :].lstrip(" ")
        word = found.group(1).replace(2 * mark, mark)
        return next((code for code, shown in field.words(self.language).items() if shown == word), word)

    def number(self, field: Field) -> Decimal:
        """Read a number and its unit."""
        after = f" {self.currency}" if field.unit == "money" else _AFTER[self.language].get(field.unit, "")
        found = re.match(rf"(-?\d+(?:[.,]\d+)?){re.escape(after)}", self.rest)
        if not found:
            raise self.lost(f"a number{' followed by' + after if after else ''}")
        self.rest = self.rest[found.end() :].lstrip(" ")
        try:
            shown = Decimal(found.group(1).replace(",", "."))
        except InvalidOperation:  # pragma: no cover - the pattern lets only digits in
            raise self.lost("a number") from None
        return (shown / _SCALE.get(field.unit, Decimal(1))).normalize() + 0
