"""Flags of algorithms, and the algorithms that a command line asks for."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from ..algorithms import ALGORITHMS, OPTIMIZERS, Algorithm, registry
from ..algorithms.asynchronous import WEIGHTS
from ..algorithms.local import LOCAL_LOSSES
from ..errors import InputError
from ..net.activations import ACTIVATIONS
from ..net.losses import LOSSES
from .words import PerStep, positive_number, whole_number


def add_algorithms(parser: argparse.ArgumentParser, *default: str, text: str | None = None) -> None:
    known = text or f"{', '.join(ALGORITHMS)}, or one of an installed package (default {' '.join(default)})"
    parser.add_argument(
        "--algorithms",
        type=algorithm_name,
        metavar="NAME",
        nargs="+",
        default=list(default),
        help=known,
    )


def add_algorithm_flags(parser: argparse.ArgumentParser, alpha: bool) -> None:
    if alpha:
        parser.add_argument("--alpha", type=positive_number, default=1e-4, help="rate of weight updates (default 1e-4)")
        add_optimizer_flags(parser)
        parser.add_argument(
            "--precision",
            type=positive_number,
            nargs="+",
            action=PerStep,
            default=1.0,
            help="weight of the output's error in PC and iPC, or one for each step of a batch, the last for all "
            "further ones (default 1)",
        )
    several: dict[str, Any] = {"nargs": "+", "action": PerStep} if alpha else {}
    parser.add_argument(
        "--gamma", type=positive_number, default=0.5, **several,
        help="rate of value updates" + (", or one for each step of a batch" if alpha else "") + " (default 0.5)",
    )  # fmt: skip
    parser.add_argument("--steps", type=whole_number, nargs="+", default=[8], help="T of PC, one or more (default 8)")
    parser.add_argument("--activation", choices=list(ACTIVATIONS), default="tanh", help="default tanh")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, data and batches (default 0)")


def add_optimizer_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="default sgd")
    parser.add_argument(
        "--momentum",
        type=float,
        default=0.9,
        help="of momentum, nesterov and muon; beta_1 of the others (default 0.9)",
    )
    parser.add_argument(
        "--weight-decay",
        type=float,
        default=0.0,
        help="decoupled in adamw, nadamw and muon, else an L2 penalty (default 0)",
    )


LATE = ("weights", "accumulate", "weight_prediction", "spike_compensation", "delay_rates")  # options of asynchronous BP


def add_late_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of asynchronous BP."""
    parser.add_argument(
        "--weights",
        choices=WEIGHTS,
        default="current",
        help="bp-async: what pulls errors back: the weights of the moment (default), those that predicted the batch, "
        "or those before the last update for both",
    )
    parser.add_argument(
        "--accumulate", type=whole_number, default=1, metavar="M", help="bp-async: batches of an update (default 1)"
    )
    parser.add_argument(
        "--weight-prediction", action="store_true", help="bp-async: predict with the weights expected at the update"
    )
    parser.add_argument(
        "--spike-compensation",
        action="store_true",
        help="bp-async with --optimizer momentum: a late gradient does at once what it would have done in the meantime",
    )
    parser.add_argument(
        "--delay-rates",
        type=whole_number,
        default=0,
        metavar="K",
        help="bp-async: for K updates the rate of a layer is divided by its delay, less and less (PipeMare)",
    )


def algorithm_name(text: str) -> str:
    """The name of an algorithm: pcsim's own, or that of an installed package."""
    try:
        registry.find(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


# Options of local losses and dual propagation: the field, and the flag's name.
RIVALS = {"loss": "local_loss", "head": "head", "beta": "beta", "a": "raised", "sweeps": "sweeps"} | {
    "incremental": "incremental"
}


def add_rival_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of local losses and dual propagation."""
    parser.add_argument(
        "--local-loss",
        choices=LOCAL_LOSSES,
        default="pred",
        help="local: what each layer descends on, the loss of its head (default), or, with a batch, 1 %% of that and "
        "99 %% of how unlike its samples' similarities are to those of their targets",
    )
    parser.add_argument("--head", choices=list(LOSSES), help="local: the loss of the heads (default: that of the net)")
    parser.add_argument(
        "--beta", type=positive_number, default=0.1, help="dual: how far the output is pulled (default 0.1)"
    )
    parser.add_argument(
        "--raised", type=float, default=0.5, metavar="A", help="dual: share of the raised value, 0 to 1 (default 0.5)"
    )
    add_sweep_flags(parser)


def add_sweep_flags(parser: argparse.ArgumentParser) -> None:
    """How often dual propagation sweeps."""
    parser.add_argument(
        "--sweeps", type=whole_number, default=4, metavar="K", help="dual: sweeps for each weight update (default 4)"
    )
    parser.add_argument(
        "--incremental", action="store_true", help="dual: one sweep for each weight update, on values that are kept"
    )


COMMON = ("alpha", "gamma", "optimizer", "momentum", "weight_decay", "precision", "value_momentum")

# Every option of an algorithm: its field, and the flag's name.
OPTIONS = {name: name for name in (*COMMON, *LATE)} | RIVALS | {"T": "steps"}


def algorithms_of(arguments: argparse.Namespace, names: Sequence[str] | None = None) -> list[Algorithm]:
    """The algorithms asked for (or ``names``), with the fields that have flags; those with a T once for each of
    ``--steps``. InputError for a flag that stands on the command line and changes none of them."""
    wanted = list(dict.fromkeys(arguments.algorithms if names is None else names))
    known = {name: _fields(registry.find(name)) for name in wanted}
    named = [field for field, flag in OPTIONS.items() if flag in getattr(arguments, "named", ())]
    for field in named:
        if not any(field in each for each in known.values()):
            others = [name for name, cls in ALGORITHMS.items() if field in _fields(cls)]
            raise InputError(
                f"{_flag(field)} does nothing for {', '.join(wanted)}: it is an option of {', '.join(others)}; leave "
                "it out, or name one of these in --algorithms"
            )
    given = {field: getattr(arguments, flag) for field, flag in OPTIONS.items() if hasattr(arguments, flag)}
    steps = given.pop("T")
    made: list[Algorithm] = []
    for name in wanted:
        cls: Callable[..., Algorithm] = registry.find(name)
        own = {field: value for field, value in given.items() if field in known[name]}
        made += [cls(**own, T=T) for T in steps] if "T" in known[name] else [cls(**own)]
    for field in named:
        reasons = [one.idle(field) for one in made if field in known[one.name]]
        if all(reasons):
            raise InputError(f"{_flag(field)} does nothing: {reasons[0]}; leave it out")
    return made


def check_dwelling(arguments: argparse.Namespace, made: Sequence[Algorithm]) -> None:
    """InputError for ``--steps-per-batch`` where nobody would stay on a batch."""
    if "steps_per_batch" in arguments.named and not any(one.calendar(1).endless for one in made):
        names = ", ".join(dict.fromkeys(one.name for one in made))
        raise InputError(
            f"--steps-per-batch does nothing for {names}, with a batch for each update: it is for ipc and incremental "
            "dual; leave it out, or name one of these in --algorithms"
        )


def _fields(cls: type[Algorithm]) -> set[str]:
    return {field.name for field in fields(cls) if field.init}


def _flag(field: str) -> str:
    return f"--{OPTIONS[field].replace('_', '-')}"
