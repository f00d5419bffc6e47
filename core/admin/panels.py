"""Panels below an object's page. An upper app hangs its own onto a lower app's page, so that imports point down
while an operator's eye follows a task up to its postings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import models
from django.utils.safestring import SafeString

SHOWN: Final = 50  # rows of a panel; its link leads to the whole list


@dataclass
class Panel:
    """A small table: a title, column names, rows of cells, and where the rest is.

    A column whose name begins with `#` is set to the right, as numbers are.
    """

    title: str
    columns: Sequence[str] = ()
    rows: list[Sequence[Any]] = field(default_factory=list)
    more: SafeString | str = ""
    note: SafeString | str = ""
    total: Sequence[Any] = ()

    @property
    def heads(self) -> list[tuple[str, bool]]:
        return [(name.removeprefix("#"), name.startswith("#")) for name in self.columns]

    @property
    def body(self) -> list[list[tuple[Any, bool]]]:
        return [self._line(row) for row in self.rows]

    @property
    def foot(self) -> list[tuple[Any, bool]]:
        return self._line(self.total)

    def _line(self, row: Sequence[Any]) -> list[tuple[Any, bool]]:
        return list(zip(row, (name.startswith("#") for name in self.columns), strict=False))


Maker = Callable[[Any], Panel | None]
_MAKERS: Final[dict[type[models.Model], list[tuple[bool, Maker]]]] = {}


def panel(model: type[models.Model], *, last: bool = False) -> Callable[[Maker], Maker]:
    """Hang a panel onto the pages of a model, below those that are there already; `last` stays below all."""

    def hang(maker: Maker) -> Maker:
        _MAKERS.setdefault(model, []).append((last, maker))
        return maker

    return hang


def panels_of(obj: models.Model) -> list[Panel]:
    """What hangs on this object's page, in the order of the apps."""
    makers = sorted(_MAKERS.get(type(obj), []), key=lambda hung: hung[0])
    made = (maker(obj) for _, maker in makers)
    return [one for one in made if one is not None]


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], **more: Any) -> Panel | None:
    """A panel, or nothing when there are no rows to show."""
    lines = list(rows)
    return Panel(title, columns, lines, **more) if lines else None
