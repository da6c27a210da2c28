"""Latency tables: measured blocks with their provenance; the only code that reads and writes `luts/`."""

from hwnas.luts.build import build_table
from hwnas.luts.table import LatencyTable, Provenance, Row

__all__ = ["LatencyTable", "Provenance", "Row", "build_table"]
