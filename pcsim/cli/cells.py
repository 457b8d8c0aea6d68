"""The cells of ``simulate`` and ``validate``: nets by depth and width or by name, and how their batches change."""

import argparse
from typing import Any

from ..algorithms import OPTIMIZERS
from .words import add_changing, add_nets, whole_number


def add_cells(parser: argparse.ArgumentParser, depths: str, widths: str, batches: str) -> None:
    """The flags, with these sizes as usual."""
    flags = (("depths", "L", depths), ("widths", "N", widths), ("batches", "B", batches))
    for name, letter, usual in flags:
        parser.add_argument(f"--{name}", type=whole_number, nargs="+", metavar=letter, help=f"default {usual}")
    parser.set_defaults(usual={name: [int(word) for word in usual.split()] for name, _, usual in flags})
    add_nets(parser)
    add_changing(parser)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="of the weights (default sgd)")


def cells_of(arguments: argparse.Namespace, dtype: str) -> list[Any]:
    """The cells that were asked for, as ``bench`` has them."""
    from ..bench.grid import grid

    usual = {} if arguments.nets and not (arguments.depths or arguments.widths) else arguments.usual
    depths, widths = (getattr(arguments, name) or usual.get(name) for name in ("depths", "widths"))
    batches = arguments.batches or arguments.usual["batches"]
    options = {"steps_per_batch": arguments.steps_per_batch, "starts": arguments.start, "dtype": dtype}
    return grid(depths, widths, batches, arguments.nets, **options)
