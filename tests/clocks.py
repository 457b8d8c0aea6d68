"""A machine on which threads and messages of several ranks take turns in any order, with vector clocks.

Nothing is computed: a cell of memory (64 bytes) holds a label of all that its content was made from, so that two runs
with the same labels have the same bits. The clocks tell what happened before what, and an access that no flag or
message orders behind another one is a fault in every run, whatever the order was in this one. Messages are taken as
*causality* has them (a receiver's answer says that the data have left) or as *MPI's rules* do (a buffer is free when
its own request is seen to be done).
"""

import random

CELL = 64


class Fault(Exception):
    """What must not be: a race, a stale read, a request started twice, or nobody who goes on."""


class Pointer:
    """Memory behind an address; numbers of plans and counters can be read and written."""

    def __init__(self, array, shift=0):
        self.array, self.item, self.shift = array, array.itemsize, shift
        self.address = array.ctypes.data + shift * self.item
        self.items = array.ravel().tolist() if array.dtype.kind in "iu" else None

    def __getitem__(self, i):
        return self.items[i + self.shift]

    def __setitem__(self, i, value):
        if self.items is not None:
            self.items[i + self.shift] = int(value)
        self.array.reshape(-1)[i + self.shift] = value

    def cells(self, at, count):
        begin = self.address + at * self.item
        return range(begin // CELL, (begin + count * self.item - 1) // CELL + 1) if count > 0 else ()


class Request:
    """A persistent request, or one of a sum over all ranks."""

    def __init__(self, tid, cells, channel, sends):
        self.tid, self.cells, self.channel, self.sends = tid, cells, channel, sends
        self.active = self.complete = False
        self.clock = []


class Machine:
    """Threads, memory, flags and messages of one case. ``rules``: messages as MPI's rules have them."""

    def __init__(self, seed, rules):
        self.random, self.rules = random.Random(seed), rules
        self.tids, self.clocks, self.now = 0, {}, None
        self.written, self.read, self.labels = {}, {}, {}
        self.flags, self.stops, self.stopping = {}, {}, False
        self.requests, self.queues, self.wires, self.sums = {}, {}, [], {}
        self.progress = 0

    def tid(self):
        self.tids += 1
        return self.tids - 1

    # Memory

    def access(self, what, reads, writes, tid=None, clock=None):
        """Reads and then writes of cells by a thread; the label of what is written."""
        tid = self.now if tid is None else tid
        clock = self.clocks[tid] if clock is None else clock
        found = [hash(what)]
        for cell in reads:
            before = self.written.get(cell)
            if before and clock[before[0]] < before[1]:
                self.race(what, before, "read before it was known to be written by")
            self.read.setdefault(cell, {})[tid] = (clock[tid], what)
            found.append(self.labels.get(cell, 0))
        label = hash(tuple(found))
        for k, cell in enumerate(writes):
            before = self.written.get(cell)
            if before and clock[before[0]] < before[1]:
                self.race(what, before, "written before it was known to be written by")
            for other, (time, its) in self.read.pop(cell, {}).items():
                if clock[other] < time:
                    self.race(what, (other, time, its), "written before it was known to be read by")
            self.written[cell] = (tid, clock[tid], what)
            self.labels[cell] = hash((label, k))
        return label

    def race(self, what, before, how):
        if not self.stopping:  # what a run that was stopped has made is thrown away
            raise Fault(f"{what} of thread {self.now}: {how} {before[2]} of {before[0]}")

    def join(self, clock):
        self.clocks[self.now][:] = map(max, self.clocks[self.now], clock)

    def release(self):
        mine = self.clocks[self.now]
        given = list(mine)
        mine[self.now] += 1
        return given

    # Requests

    def start(self, address):
        request = self.requests[address]
        if request.active:
            raise Fault(f"a request was started that is still active: {request.channel}")
        request.active, request.complete = True, False
        self.progress += 1
        self.progress_of(request, self.release())

    def progress_of(self, request, clock):
        request.clock = list(map(max, request.clock, clock))
        request.clock[request.tid] += 1
        if request.sends:
            self.access("send", request.cells, (), request.tid, request.clock)
            request.complete = self.random.random() < 0.5  # MPI has copied the data
        elif self.rules:
            self.access("receive", (), request.cells, request.tid, request.clock)
        sent, received = self.queues.setdefault(request.channel, ([], []))
        if request.sends:  # with its data, as the request may be started again before they arrive
            sent.append((request, [self.labels.get(cell, 0) for cell in request.cells], list(request.clock)))
        else:
            received.append(request)
        while sent and received:
            sender, *data = sent.pop(0)
            self.wires.append((sender, received.pop(0), *data))

    def deliver(self):
        """One message arrives."""
        sender, receiver, labels, clock = self.wires.pop(self.random.randrange(len(self.wires)))
        if self.rules:
            clock[sender.tid] -= 1  # that its buffer has been read is not the receiver's to know
        receiver.clock = list(map(max, receiver.clock, clock))
        if not self.rules:
            self.access("receive", (), receiver.cells, receiver.tid, receiver.clock)
        if not self.stopping and len(sender.cells) != len(receiver.cells):
            raise Fault(f"a message of another length: {sender.channel}")
        self.labels.update(zip(receiver.cells, labels, strict=False))
        sender.complete = receiver.complete = True
        self.progress += 1

    def sum_over_ranks(self, address, cells):
        """A sum over all ranks: the number of the sum is that of the rank's earlier ones."""
        rank = next(rank for rank, threads in enumerate(self.ranks) if self.now in threads)
        number = self.counted[rank] = self.counted.get(rank, 0) + 1
        request = self.requests.get(address)
        if request is None:
            request = self.requests[address] = Request(self.spare.pop(), cells, "sum", False)
            request.clock = [0] * self.tids
        if request.active:
            raise Fault("a sum was started whose request is still active")
        request.active, request.complete, request.cells = True, False, cells
        request.clock = list(map(max, request.clock, self.release()))
        request.clock[request.tid] += 1
        self.access("sum", cells, cells, request.tid, request.clock)
        self.progress += 1
        group = self.sums.setdefault(number, [])
        group.append(request)
        if len(group) == len(self.ranks):
            labels = [
                hash(("sum", *found)) for found in zip(*([self.labels[c] for c in r.cells] for r in group), strict=True)
            ]
            whole = list(map(max, *(r.clock for r in group))) if len(group) > 1 else group[0].clock
            for each in group:
                self.labels.update(zip(each.cells, labels, strict=True))
                each.clock, each.complete = list(whole), True

    def done(self, address):
        request = self.requests.get(address)
        if request is None or not request.active:
            return True
        if self.wires and self.random.random() < 0.3:
            self.deliver()
        if not request.complete or self.random.random() < 0.2:
            return False
        request.active = False
        self.join(request.clock)
        self.progress += 1
        return True

    # Threads

    def run(self, loops, stop_after=None):
        """All loops, generators of each rank's threads, to their end. ``stop_after``: so many events, then a stop."""
        threads = {
            tid: loop
            for tids, each in zip(self.ranks, loops, strict=True)
            for tid, loop in zip(tids, each, strict=True)
        }
        joined = list(map(max, *self.clocks.values())) if len(self.clocks) > 1 else next(iter(self.clocks.values()))
        for tid in self.clocks:  # from a common start
            self.clocks[tid] = list(joined)
            self.clocks[tid][tid] += 1
        self.flags.clear()
        stay, alive, last, idle, events = self.random.choice((0, 0.5, 0.9, 0.99)), list(threads), None, 0, 0
        most = 150 * (len(alive) + 1)
        while alive:
            events += 1
            if stop_after is not None and events > stop_after and self.random.random() < 0.05:
                self.stopping = True
                self.stops[self.random.choice(list(self.stops))] = 1
            if self.wires and self.random.random() < 0.1:
                self.deliver()
            if last not in alive or self.random.random() >= stay:
                last = self.random.choice(alive)
            self.now, before = last, self.progress
            try:
                if next(threads[last]) == "spin":
                    last = None
            except StopIteration:
                alive.remove(last)
                self.progress += 1
            idle = 0 if self.progress > before else idle + 1
            if idle > most and not self.wires and (not self.stopping or all(self.stops.values())):
                raise Fault("nobody goes on: a deadlock")
        if not self.stopping:
            left = [each.channel for each in self.requests.values() if each.active]
            if left:
                raise Fault(f"requests are left active: {left}")
