"""Values that may be shown on a screen: enough to recognise, not enough to use."""

from __future__ import annotations

_DOT = "•"


def mask(attribute: str, value: object) -> str | None:
    """Return a value of which only what tells it apart is left.

    Parameters
    ----------
    attribute : str
        A column of the golden record, or a type of identifier.
    value : object
        In clear; missing stays missing.

    Examples
    --------
    >>> mask("email", "zoe.martin@orange.fr"), mask("phone", "+33612345678"), mask("last_name", "Martin")
    ('z•••@o•••.fr', '•••78', 'M•••')
    >>> mask("birth_date", "1980-03-04"), mask("postcode", "69003"), mask("street", "3 rue X")
    ('1980-••-••', '69•••', '•••')
    >>> mask("gender", "f"), mask("cookie_id", "ck00ff12")
    ('f', 'ck•••12')
    """
    if value is None or value != value:
        return None
    text, hidden = str(value), 3 * _DOT
    if attribute in _SHOWN:
        return text
    if attribute == "email":
        local, _, domain = text.partition("@")
        end = domain.rpartition(".")[2]
        return f"{local[:1]}{hidden}@{domain[:1]}{hidden}.{end}" if domain else hidden
    if attribute == "phone":
        return hidden + text[-2:]
    if attribute in ("first_name", "last_name"):
        return text[:1] + hidden
    if attribute == "birth_date":
        return f"{text[:4]}-{2 * _DOT}-{2 * _DOT}"
    if attribute == "postcode":
        return text[:2] + hidden
    if attribute.endswith("_id"):
        return text[:2] + hidden + text[-2:] if len(text) > 6 else hidden
    return hidden


#: What says little of one person alone.
_SHOWN = ("gender", "country", "language")
