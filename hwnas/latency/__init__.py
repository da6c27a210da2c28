"""Latency models: predict the latency of architectures from a device's measured table."""

from hwnas.latency.lut import CorrectedTable, TableSum

__all__ = ["CorrectedTable", "TableSum"]
