"""Latency tables that other projects published, read as tables of ours; the only code that knows their formats."""

from hwnas.luts.published.formats import FORMATS
from hwnas.luts.published.table import import_table

__all__ = ["FORMATS", "import_table"]
