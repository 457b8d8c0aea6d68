"""What the compiled loops are given, each group of arguments under one name.

All loops take the same groups in the same order: who runs, the arrays, where layers begin in them, options, data, and
then what is theirs. Arrays come from Python as they are; ``steps.layers`` turns them into pointers.
"""

from collections import namedtuple

# One worker. below, above: its neighbours, -1 for none (``workers`` and ``workers + 1`` are those on other ranks);
# place: its place among the workers of all ranks; lo, hi: its layers ``W[lo] … W[hi-1]``.
Who = namedtuple("Who", "worker workers below above place lo hi")

# Flat arrays, shared by all workers of a process but for ``scratch`` and ``panel``. errors and drives hold two steps,
# odd and even (of row-split BP, drives holds each worker's shares of the errors); top: values of the layer above each
# block. velocity: of values with momentum, and in a second half of ``top``; else empty. choices: where the pools of
# convolutions found their largest, beside the values; None without any.
Arrays = namedtuple(
    "Arrays",
    "parameters values activated slopes scratch mean square errors drives top velocity panel choices",
    defaults=(None,),
)

# For each layer: units, units with padding, where its weights, biases and values begin; scale, skip, code of its
# activation. value_count: elements of one half of errors and drives. forms: of convolutions, see
# ``kernels.layers.convolution``; None without any.
Offsets = namedtuple(
    "Offsets", "sizes padded weight_at bias_at value_at scale skip activations value_count forms", defaults=(None,)
)

# rule: of the weight updates, see ``kernels.layers.weights``; numbers: its own, in float64 for any net.
# own: whether products of a batch are own kernels, or those of BLAS. gemm, gemv, ger: addresses of BLAS functions, 0
# where a batch of one takes the fused pass; one: 1 in the net's dtype. softmax: whether the
# loss is the cross-entropy.
Options = namedtuple("Options", "batch has_bias rule numbers own gemm gemv ger one softmax")

# rows: the rows of x and y that make each batch, (batches, B); the last serves all further ones.
Data = namedtuple("Data", "x y rows")

# In place of ``Data.x`` where images are changed as they are copied: how, for each of ``Data.rows`` (see
# ``net.augment.parts``), their shape, and the zeros around one that is cropped.
Images = namedtuple("Images", "x changes height width channels padding")

# Rates in the net's dtype, arrays of which the last entry serves all further turns (read them with ``steps.rate_at``):
# alpha of each weight update of this run; gamma and precision of each step of a batch. value_momentum: a number.
# number: weight updates made before this run (Adam counts them).
Rates = namedtuple("Rates", "alpha gamma precision value_momentum number")

# The calendar of predictive coding. products: for each stage and layer, bits of ``kernels.layers.dense``; moves: for
# each stage, whether values move; completed: weight updates complete before it, and after the last. cycle: steps from
# one forward start to the next, 0 for no other; first: the step of the cycle with which this run begins; given: whether
# the first start is given; steps: of this run; energy_step: the first that updates weights.
Steps = namedtuple("Steps", "products moves completed stages cycle first given steps energy_step wave fused")

# Pipelined starts, see ``loops.starts``. on: are there any; opening: does this run begin with the very first step;
# lead: steps before a batch at which its start begins; batch: number of the run's first; values: of the starts, for
# each layer from ``at`` on in so many ``places``; x, a, d: of a worker, for one layer; nowhere: zeros.
Starts = namedtuple("Starts", "on opening lead batch values at places x a d nowhere")

# Flags of ``kernels.machine.sync``.
Signals = namedtuple("Signals", "progress started ready stop")

# Filled: parts of the energy before the first update, events (see ``steps.note``), begin and end of each worker, and
# for each worker the first weight update before which its part of the output's error was not finite (-1: none).
# entropy: for each worker the cross-entropy of its part of the output, where that is the loss.
Notes = namedtuple("Notes", "energy trace times diverged entropy")

# How BP shares its work. first_row, rows: for each worker and layer its units; at, first, samples: for each part of the
# batch where its values begin, its first sample and how many.
Shares = namedtuple("Shares", "first_row rows at first samples")

# A worker's team, and its part of a batch. first, end: the workers of the team; below … first - 1 and end … above - 1
# those of the teams below and above (none: first and end); order: the layers of every team in the order in which their
# products are made; position: of each layer its turn, from 1 on; begin, samples: of the batch; at: where they begin.
TeamOf = namedtuple("TeamOf", "first end below above order position begin samples at")

# Other ranks, seen from one. below, above: is there one? often: poll after every layer; clocked: keep account in
# ``spent``; batches: how many begin in this run; first_start: the first of them with a forward pass; functions:
# addresses of MPI's; scratch, requests, state: memory of ``edges`` or ``dual_edges``.
Ranks = namedtuple("Ranks", "below above often clocked batches first_start functions scratch requests state spent")

# Requests of row-split BP, see ``backprop_ranks.intra_layer``.
RowMessages = namedtuple("RowMessages", "gathers sums out inbox part functions scratch")

# Requests of row-split predictive coding, see ``rows_ranks``, by group of layers (of starts by layer), to receive and
# to send, and rank. group: of each layer; begins: of each group, and the end; at: where parts lie in ``out`` and
# ``inbox``.
ShareMessages = namedtuple("ShareMessages", "shares values starts group begins at out inbox functions scratch")

# Arguments of MPI_Iallreduce for gradients that are summed over ranks, and where each layer's lies in
# ``Arrays.scratch``. opened: of each layer, with which one its sum began; least: numbers from which on a sum is worth
# its beginning.
GradientSums = namedtuple(
    "GradientSums",
    "in_place kind operation communicator base item pending gradient_at opened least functions scratch",
)

# The edges of a rank in asynchronous BP, see ``asynchronous_ranks``. below, above: is there another rank? often: poll
# after every layer; lo, hi: the rank's layers; requests: at the lower edge of each place of the values, then of both
# places of errors; then the same at the upper edge; state: memory.
Crossings = namedtuple("Crossings", "below above often lo hi functions scratch requests state")

# Requests of each micro-batch of a pipeline: values from below, to above; errors from above, to below (0 for none).
PartMessages = namedtuple("PartMessages", "requests functions scratch")
