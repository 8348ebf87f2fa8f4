"""What goes with what: the marketer's lists, which win, and the rules learned, which are proposed."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.errors import FaultsError
from cdpkit.models.recommend.interactions import Interactions


@dataclass(frozen=True)
class Complements:
    r"""The marketer's decisions on what to propose with a product.

    Parameters
    ----------
    lists : mapping of product to products
        What to propose with each, best first. A product with a list takes nothing from the rules: an
        empty list proposes nothing.
    never : mapping of product to products
        What never to propose with each.

    Examples
    --------
    >>> own = Complements.parse('[lists]\ntent = ["stove"]\n[never]\nlamp = ["mug"]')
    >>> rules = pd.DataFrame({"antecedent": ["tent", "lamp", "lamp"], "consequent": ["mug", "mug", "oil"]})
    >>> own.table(rules)
    {'lamp': ['oil'], 'tent': ['stove']}
    """

    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    never: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        faults = []
        for name in ("lists", "never"):
            for product, others in getattr(self, name).items():
                if isinstance(others, str) or not all(isinstance(o, str) for o in others):
                    faults.append(f"`{name}.{product}` must be a list of products")
                elif product in others:
                    faults.append(f"`{name}.{product}` must not name the product itself")
                elif len(set(others)) < len(others):
                    faults.append(f"`{name}.{product}` must name each product once")
        for product in sorted(set(self.lists) & set(self.never)):
            both = sorted(set(self.lists[product]) & set(self.never[product]))
            faults += [
                f"`{other}` must not be both proposed with and banned from `{product}`" for other in both
            ]
        if faults:
            raise FaultsError("the lists of complements", faults)

    @classmethod
    def parse(cls, text: str) -> Complements:
        """Read the marketer's file: TOML with the tables ``lists`` and ``never``.

        Raises
        ------
        FaultsError
            Where it is not TOML, holds another table, or does not hold together.
        """
        try:
            content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise FaultsError("the lists of complements", [f"must be TOML; {error}"]) from None
        unknown = sorted(set(content) - {"lists", "never"})
        if unknown:
            raise FaultsError(
                "the lists of complements", [f"table `{t}` must be lists or never" for t in unknown]
            )
        return cls(content.get("lists", {}), content.get("never", {}))

    @classmethod
    def read(cls, path: str | Path) -> Complements:
        """Read the marketer's file, or nothing where there is none yet."""
        path = Path(path)
        return cls.parse(path.read_text(encoding="utf-8")) if path.is_file() else cls()

    def check(self, products: Collection[str]) -> Complements:
        """Refuse products that the catalogue does not know.

        Raises
        ------
        FaultsError
            Naming each of them.

        Examples
        --------
        >>> Complements({"tent": ["stov"]}).check({"tent", "stove"})
        Traceback (most recent call last):
            ...
        cdpkit.errors.FaultsError: the lists of complements has 1 fault:
        - product `stov` must be in the catalogue
        """
        known = set(products)
        named = {
            p for table in (self.lists, self.never) for key, others in table.items() for p in (key, *others)
        }
        if named - known:
            faults = [f"product `{p}` must be in the catalogue" for p in sorted(named - known)]
            raise FaultsError("the lists of complements", faults)
        return self

    def table(self, rules: pd.DataFrame, most: int = 5) -> dict[str, list[str]]:
        """Return what goes with each product: the marketer's list where there is one, else the rules.

        Parameters
        ----------
        rules : DataFrame
            ``antecedent, consequent``, best first, as `association_rules` gives them.
        most : int
            Rules taken for a product without a list.
        """
        out: dict[str, list[str]] = {}
        for rule in rules[["antecedent", "consequent"]].itertuples(index=False):
            product, other = str(rule.antecedent), str(rule.consequent)
            if product in self.lists or other in self.never.get(product, ()):
                continue
            found = out.setdefault(product, [])
            if len(found) < most:
                found.append(other)
        out |= {product: list(others) for product, others in self.lists.items() if others}
        return dict(sorted(out.items()))

    def proposals(self, rules: pd.DataFrame, most: int = 20) -> pd.DataFrame:
        """Return the strongest rules that the marketer has not decided on: to approve or to ban.

        Returns
        -------
        DataFrame
            The rows of `rules` whose product has no list and whose pair is not banned.
        """
        open_ = [
            str(a) not in self.lists and str(b) not in self.never.get(str(a), ())
            for a, b in zip(rules["antecedent"], rules["consequent"], strict=True)
        ]
        return rules[pd.Series(open_, index=rules.index, dtype=bool)].head(most).reset_index(drop=True)

    def pins(
        self, seen: Interactions, persons: NDArray[np.int64], blocked: NDArray[np.bool_], slots: int
    ) -> list[list[tuple[int, int]]]:
        """Return, for each person, what goes with the last basket: pairs of a product and its reason.

        What is banned with anything of that basket is marked in `blocked` (persons × products).
        """
        out: list[list[tuple[int, int]]] = [[] for _ in persons]
        if not self.lists and not self.never:
            return out
        code = {str(product): place for place, product in enumerate(seen.products)}
        last = seen.basket[np.searchsorted(seen.person, persons, "right") - 1]
        for k, (person, basket) in enumerate(zip(persons, last, strict=True)):
            rows = slice(*np.searchsorted(seen.person, [person, person + 1]))
            held = dict.fromkeys(seen.product[rows][seen.basket[rows] == basket].tolist())
            named = {because: str(seen.products[because]) for because in held}
            for name in named.values():
                banned = [code[other] for other in self.never.get(name, ()) if other in code]
                blocked[k, banned] = True
            found: dict[int, int] = {}
            for because, name in named.items():
                for other in self.lists.get(name, ()):
                    if other in code and not blocked[k, code[other]]:
                        found.setdefault(code[other], because)
            out[k] = list(found.items())[:slots]
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: {k: list(v) for k, v in getattr(self, name).items()} for name in ("lists", "never")}
