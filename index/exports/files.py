"""Tables as CSV and XLSX. The same run gives the same bytes, whenever and wherever it is written."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font

from core.spreadsheets import safe_cell
from index.exports.tables import NOTICE, Cell, Table
from index.models import IndexRun
from index.regions import PROVINCES
from index.trees import ROOT

EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the first day that a ZIP file knows
_STAMPED: Final = re.compile(rb"(<dcterms:(created|modified)[^>]*>)[^<]*")
_MOMENT: Final = rb"\g<1>1980-01-01T00:00:00Z"
RED: Final = Font(bold=True, color="FFA52A24")
BOLD: Final = Font(bold=True)


def table_csv(table: Table, synthetic: bool) -> str:
    """A header, then a line per row; the last column of each says whether generated values are in the run."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*table.head, "synthetic"])
    mark = "yes" if synthetic else "no"
    writer.writerows([*map(_text, row), mark] for row in table.rows)
    return out.getvalue()


def _text(cell: Cell) -> str:
    return f"{cell:f}" if isinstance(cell, Decimal) else safe_cell(cell)


def workbook(tables: Iterable[Table], synthetic: bool) -> bytes:
    """XLSX, a sheet per table; a sheet's first line says it where values were generated. Texts are never formulas."""
    book = Workbook(write_only=True)
    for table in tables:
        sheet = book.create_sheet(table.name[:31])
        if synthetic:
            sheet.append([_cell(sheet, NOTICE, RED)])
        sheet.append([_cell(sheet, name, BOLD) for name in table.head])
        for row in table.rows:
            sheet.append([_cell(sheet, one) if isinstance(one, str) else one for one in row])
    out = io.BytesIO()
    book.save(out)
    return _timeless(out.getvalue())


def _cell(sheet: object, text: str, font: Font | None = None) -> WriteOnlyCell:
    """Text as text: what begins like a formula stays what it is."""
    cell = WriteOnlyCell(sheet, safe_cell(text))
    cell.data_type = "s"
    if font:
        cell.font = font
    return cell


def _timeless(content: bytes) -> bytes:
    """The archive without the moment at which it was written."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name in sorted(given.namelist()):
            part = given.read(name)
            if name == "docProps/core.xml":
                part = _STAMPED.sub(_MOMENT, part)
            made.writestr(zipfile.ZipInfo(name, EPOCH), part, zipfile.ZIP_DEFLATED)
    return out.getvalue()


SCORES: Final = (
    "region_code", "region", "node", "raw", "score", "contribution", "rank", "band_low", "band_high", "definition", "run", "digest",
    "synthetic",
)  # fmt: skip


def scores_csv(run: IndexRun) -> str:
    """A line per province and node."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(SCORES)
    result, bands = run.read("result"), run.read("analysis")["bands"]
    tail = [result["definition"], run.pk, run.digest, run.synthetic]
    for node, values in result["scores"].items():
        for region, score in values.items():
            rank = result["ranks"].get(region) if node == ROOT else None
            band = bands.get(region, {}) if node == ROOT else {}
            raw, part = result["raw"].get(node, {}).get(region), result["contributions"].get(region, {}).get(node)
            row: Sequence[object] = [
                region,
                PROVINCES[region].zh,
                node,
                raw,
                score,
                part,
                rank,
                band.get("low"),
                band.get("high"),
                *tail,
            ]
            writer.writerow(map(safe_cell, row))
    return out.getvalue()


def moment(value: datetime | None) -> str:
    return value.isoformat() if value else ""
