"""Claims that nothing here tests, with their sources and numbers."""

from .claim import Claim

CLAIMS = (
    Claim(
        "ppll", "PPLL (pipeline-parallel local learning)",
        "Local learning is up to 1.25 times as fast as pipelined BP.",
        "needs the networks of that paper, on several accelerators", kind="",
    ),
    Claim(
        "multigrid", "layer-parallel multigrid-in-time training of residual nets",
        "Layer-parallel multigrid trains residual nets up to 10 times as fast as layer-serial BP.",
        "needs residual nets of hundreds of layers on as many processors", kind="",
    ),
    Claim(
        "mono-forward", "Mono-Forward",
        "Local losses use 41 % less energy and 34 % less time than BP on MLPs.",
        "needs a meter of energy; pcsim's joules are counts times a table", kind="",
    ),
    Claim(
        "petra", "PETRA (reversible stages)",
        "Reversible asynchronous stages train up to six times as fast as BP, with its accuracy.",
        "needs reversible residual nets", kind="",
    ),
    Claim(
        "optical-dfa", "optical feedback alignment",
        "Random feedback is projected by light at next to no cost.",
        "needs that optical device", kind="",
    ),
)  # fmt: skip
