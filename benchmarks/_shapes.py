"""Which graph networks a script of the graph predictor trains: ``--shape``."""

from __future__ import annotations

import argparse

from hwnas.latency.gcn_network import Shape

SHAPES = {"default": Shape(), "fast": Shape.fast(), "published": Shape(4, 600, directed=False)}
"""The last one is BRP-NAS's."""


def shape_option(options: argparse.ArgumentParser) -> None:
    """Add ``--shape``."""
    options.add_argument("--shape", choices=SHAPES, default="default", help="of the graph networks (%(default)s)")
