"""An MPI program on several "hosts" of one machine, joined by a real TCP network with as much latency as is wanted.

    sudo .venv/bin/python benchmarks/hosts.py --hosts 2 --delay 0.5 -- pcsim bench --backend mpi ...

A host is a network namespace with a host name, a share of the cores and a /dev/shm of its own; its ranks reach those of
other hosts by TCP alone. ``--delay`` is in milliseconds, one way, and comes on top of what the network takes anyway;
the round trip is measured and printed before the run, and the ranks find the added seconds, one way, in
``PCSIM_DELAY``. Bandwidth is not limited, and no packet is lost on purpose. Linux, root, iproute2 and an ``mpiexec`` of
MPICH are needed.

The delay is made by the kernel (netem) where it can, otherwise by a process of high priority that forwards packets
between the hosts, each when its time has come. What that process takes itself (30 microseconds a packet on two virtual
cores) is measured and taken off the delay. No delay can be shorter, and where all cores are busy a rank lends the time.

Standard output and error are those of the ranks, which have no standard input. The exit code is mpiexec's; 2 for what
cannot be done. Whatever happens, no namespace, process or file is left, but by SIGKILL (``ip netns list`` tells).

It knows nothing of pcsim: ``with Hosts(2, 0.0005) as hosts: hosts.run(["any", "program"])``.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import gc
import math
import os
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from types import FrameType, TracebackType
from typing import NoReturn

PATIENCE = 30  # seconds for a command that sets something up: more only on a machine that hangs
GRACE = 10  # seconds for the ranks to end after a signal, before they are killed
MOST_HOSTS = 254  # addresses in the network
DEVICE = "eth0"
# Seconds of delay at which the forwarding process is timed: behind longer ones Python's ping-pong runs on cold caches
# (at 5 ms ranks were 35 microseconds early).
LONGEST_TRIAL = 5e-4
# What the forwarding process takes at most (in quiet times some 15 microseconds). On a busy machine more is measured,
# but those are waits for a core, and without them the delay would be too short.
MOST_LATE = 5e-5
# The largest there is: packets are few, and no message of usual size waits for a congestion window to open, so that
# what a message takes is one latency.
MTU = 65535
# The same for all machines: no pacing (with BBR, 64 KiB over 5 ms took 5.75 ms instead of 5.06), and no slow start
# after a pause.
TCP_SETTINGS = {"tcp_congestion_control": "reno", "tcp_slow_start_after_idle": "0"}
SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
# Whatever library moves the bytes: TCP, over this one network. Ranks of one host still share memory.
TCP_ONLY = {
    "UCX_TLS": "tcp,self",
    "UCX_NET_DEVICES": DEVICE,
    "FI_PROVIDER": "tcp",
    "FI_TCP_IFACE": DEVICE,
}


class HostsError(Exception):
    """What was asked for is not possible, or not on this machine; one line says why."""


class Hosts:
    """So many ``hosts`` with ``delay`` seconds added to the way from one to another; a context manager.

    ``round_trip`` is what was measured from host 0 to host 1 and back, ``undelayed`` the same before a delay was added,
    both in seconds; ``mechanism`` says what delays. Raises HostsError.
    """

    _numbers = count()  # of all hosts that this process makes: names are not used twice

    def __init__(self, hosts: int = 2, delay: float = 0.0) -> None:
        if not 2 <= hosts <= MOST_HOSTS:
            raise HostsError(f"there are 2 to {MOST_HOSTS} hosts, not {hosts}")
        if not 0 <= delay < math.inf:
            raise HostsError(f"a delay is 0 or more, not {delay * 1e3:g} ms")
        self.delay = delay
        self.path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"  # a venv need not be active
        self.mpiexec = self._needed()
        prefix = f"pcsim-{os.getpid()}"
        self.names = [f"{prefix}-{next(self._numbers)}" for _ in range(hosts)]
        self.addresses = [f"10.0.0.{host + 1}" for host in range(hosts)]  # nobody outside sees them
        self.switch = f"{self.names[0]}-net"
        self.mechanism = "no delay"
        self.round_trip = self.undelayed = math.nan
        self._made: list[str] = []  # namespaces
        self._forwarder: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Hosts:
        try:
            self._build()
            self.round_trip = self.undelayed = self._measure()
            if self.delay > 0:
                maker = "netem" if self._delayed_by_kernel() else self._forward()
                self.mechanism = f"{self.delay * 1e3:g} ms one way added by {maker}"
                self.round_trip = self._measure()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, command: Sequence[str], ranks_per_host: int = 1, timeout: float | None = None) -> int:
        """The exit code of mpiexec, with ``command`` on every rank; ranks of one host are neighbours.

        After ``timeout`` seconds, or when interrupted, the ranks are ended and the exception is raised.
        """
        assert self._folder is not None, "the hosts are there inside `with` only"
        launch = [
            *(self.mpiexec, "-launcher", "ssh", "-launcher-exec", f"{self._folder.name}/launch"),
            *("-localhost", self.addresses[0], "-hosts", ",".join(self.addresses)),
            *("-n", str(len(self.names) * ranks_per_host), "-ppn", str(ranks_per_host), *command),
        ]
        environment = {**os.environ, **TCP_ONLY, "PATH": self.path, "PCSIM_DELAY": repr(self.delay)}
        # In a session of its own: a terminal would send Ctrl-C to mpiexec too, which takes a second one for an order
        # to end at once.
        process = subprocess.Popen(
            [*self._enter(0), *launch], env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            code = process.wait(timeout)
        except BaseException as error:
            process.send_signal(signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            raise
        finally:
            process.kill()
            process.wait()
        return code if code >= 0 else 128 - code  # as a shell says that a signal ended it

    def close(self) -> None:
        """End what runs on the hosts and remove them; nothing happens where nothing is."""
        with _unbroken():
            for name in self._made:
                _end_all_in(name)
            if self._forwarder is not None:
                self._forwarder.kill()
                self._forwarder.communicate()
                self._forwarder = None
            while self._made:  # and with them their links
                subprocess.run(["ip", "netns", "delete", self._made.pop()], timeout=PATIENCE)
            if self._folder is not None:
                self._folder.cleanup()
                self._folder = None

    def _needed(self) -> str:
        """The path of mpiexec; HostsError if that or anything else is missing."""
        if sys.platform != "linux":
            raise HostsError("network namespaces are Linux's")
        if os.geteuid() != 0:
            raise HostsError("network namespaces need root: start this with sudo")
        for program, package in (("ip", "iproute2"), ("unshare", "util-linux"), ("taskset", "util-linux")):
            if not shutil.which(program):
                raise HostsError(f"`{program}` is missing: install {package}")
        mpiexec = shutil.which("mpiexec", path=self.path)
        if not mpiexec:
            raise HostsError("mpiexec is missing: pip install 'pcsim[mpi]'")
        if b"HYDRA" not in subprocess.run([mpiexec, "--version"], capture_output=True, timeout=PATIENCE).stdout:
            raise HostsError(f"{mpiexec} is not MPICH's: pip install 'pcsim[mpi]'")
        return mpiexec

    def _build(self) -> None:
        """Hosts, each with a cable to a switch."""
        with _unbroken():  # by signals, as what was made has to be known
            for name in (self.switch, *self.names):
                _ip("netns", "add", name)
                self._made.append(name)
            self._folder = tempfile.TemporaryDirectory(prefix=f"{self.switch}-")
        launch = Path(self._folder.name, "launch")
        launch.write_text(self._launcher())
        launch.chmod(0o700)
        _ip("-n", self.switch, "link", "add", "bridge", "mtu", str(MTU), "type", "bridge")
        _ip("-n", self.switch, "link", "set", "bridge", "up")
        for host, name in enumerate(self.names):
            port = f"port{host}"
            _ip("-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", DEVICE, "netns", name)
            _ip("-n", self.switch, "link", "set", port, "mtu", str(MTU), "master", "bridge", "up")
            with _inside(name):
                for setting, value in TCP_SETTINGS.items():
                    Path("/proc/sys/net/ipv4", setting).write_text(value)
            _ip("-n", name, "link", "set", "lo", "up")
            self._connect(host)

    def _connect(self, host: int) -> None:
        """Give the host's device its address."""
        _ip("-n", self.names[host], "address", "add", f"{self.addresses[host]}/24", "dev", DEVICE)
        _ip("-n", self.names[host], "link", "set", DEVICE, "mtu", str(MTU), "txqueuelen", "10000", "up")

    def _delayed_by_kernel(self) -> bool:
        """Delay what each host sends, if this kernel can."""
        try:
            for name in self.names:
                netem = ("netem", "delay", f"{self.delay * 1e6:.3f}us", "limit", "100000")
                _run("tc", "-n", name, "qdisc", "add", "dev", DEVICE, "root", *netem)
        except HostsError:
            return False
        return True

    def _forward(self) -> str:
        """Instead of its cable a device on each host whose packets a process of ours carries; what to call it."""
        trial = min(self.delay, LONGEST_TRIAL)
        devices = []
        try:
            for name in self.names:
                _ip("-n", name, "link", "delete", DEVICE)
                with _inside(name):
                    devices.append(_tunnel(DEVICE))
            # The signals held back stay so in that process: after Ctrl-C the ranks have last words to exchange.
            with _unbroken():
                self._forwarder = subprocess.Popen(
                    [sys.executable, "-IS", __file__, "--forward", repr(trial), *map(str, devices)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    pass_fds=devices,
                )
        finally:
            for device in devices:
                os.close(device)
        orders, said = self._forwarder.stdin, self._forwarder.stdout
        assert orders is not None and said is not None
        priority = said.readline().decode().strip() if select.select([said], [], [], PATIENCE)[0] else ""
        if not priority:
            raise HostsError("the process that forwards packets does not start")
        for host in range(len(self.names)):
            self._connect(host)
        late = (self._measure() - self.undelayed) / 2 - trial
        orders.write(struct.pack("d", max(0.0, self.delay - min(late, MOST_LATE))))
        orders.flush()
        return f"a forwarding process of {priority} priority (no netem here)"

    def _enter(self, host: int) -> list[str]:
        """What to put before a command to run it on a host."""
        cores = sorted(os.sched_getaffinity(0))
        share = len(cores) // len(self.names)
        if share:  # on real hosts, too, rank 0 of each may take its first core
            cores = cores[host * share : (host + 1) * share]
        name = self.names[host]
        # `ip netns exec` gives each command mounts of its own, so a host can have a /dev/shm of its own: ranks of MPICH
        # that are killed leave files there.
        prepare = 'mount -t tmpfs shm /dev/shm && echo "$0" > /proc/sys/kernel/hostname && exec "$@"'
        return [
            *("ip", "netns", "exec", name, "taskset", "-c", ",".join(map(str, cores))),
            *("unshare", "--uts", "--ipc", "sh", "-c", prepare, name),
        ]

    def _launcher(self) -> str:
        """A script that stands in for ssh: options, host, and a command for a shell there."""
        lines = ["#!/bin/sh", 'while [ "${1#-}" != "$1" ]; do shift; done', "address=$1", "shift", 'case "$address" in']
        for host, address in enumerate(self.addresses):
            lines.append(f'{address}) exec {shlex.join(self._enter(host))} sh -c "$*" ;;')
        return "\n".join([*lines, "esac", 'echo "no host $address" >&2', "exit 2", ""])

    def _measure(self, seconds: float = 0.3) -> float:
        """Median round trip of a small TCP message from host 0 to host 1 and back, in seconds.

        Both ends wait busily, as MPI does: on an idle core whatever wakes up takes tens of microseconds more.
        """
        sockets: list[socket.socket] = []
        answering = None
        try:
            for host in (0, 1):
                with _inside(self.names[host]):
                    sockets.append(socket.socket())
            here, listening = sockets
            for end in sockets:
                end.settimeout(PATIENCE)
            listening.bind((self.addresses[1], 0))
            listening.listen()
            here.connect(listening.getsockname())
            there = listening.accept()[0]
            sockets.append(there)
            for end in (here, there):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with _unbroken():
                command = [sys.executable, "-IS", __file__, "--answer", str(there.fileno())]
                answering = subprocess.Popen(command, pass_fds=[there.fileno()])
            took: list[float] = []
            stop = time.monotonic() + seconds
            while len(took) < 9 or time.monotonic() < stop:
                start = time.monotonic()
                here.send(b"ping")
                _receive(here)
                took.append(time.monotonic() - start)
        except OSError as error:
            raise HostsError(f"host 0 does not reach host 1: {error}") from None
        finally:
            for end in sockets:
                end.close()
            if answering is not None:
                answering.kill()
                answering.wait()
        return median(took[2:])  # the first one waits for the other process


def _run(*command: str) -> None:
    """Run a command that is silent if all is well; HostsError with its last words otherwise."""
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.CalledProcessError as error:
        words = (error.stderr or error.stdout).strip().splitlines() or [f"exit code {error.returncode}"]
        raise HostsError(f"`{shlex.join(command)}` failed: {words[-1]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostsError(f"`{shlex.join(command)}` failed: {error}") from None


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


@contextlib.contextmanager
def _unbroken() -> Iterator[None]:
    """Hold back the signals that end us."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _inside(name: str) -> Iterator[None]:
    """This thread in a network namespace; sockets and devices opened in it stay there."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{name}") as away:
        _set_namespace(away.fileno())
        try:
            yield
        finally:
            _set_namespace(home.fileno())


def _set_namespace(file: int) -> None:
    clone_newnet = 0x40000000
    if ctypes.CDLL(None, use_errno=True).setns(file, clone_newnet):  # os.setns is there from Python 3.12 on
        raise HostsError(f"the network namespace cannot be entered: {os.strerror(ctypes.get_errno())}")


def _tunnel(device: str) -> int:
    """A new network device in this thread's namespace, as a file of IP packets; it is there as long as the file is."""
    set_interface, tun, no_header = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
    try:
        file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(file, set_interface, struct.pack("16sH22x", device.encode(), tun | no_header))
    except OSError as error:
        raise HostsError(f"the kernel has neither netem nor /dev/net/tun: {error}") from None
    return file


def _receive(end: socket.socket) -> bytes:
    """A small message, waited for busily; nothing if the other end is gone."""
    stop = time.monotonic() + PATIENCE
    while time.monotonic() < stop:
        with contextlib.suppress(BlockingIOError):
            return end.recv(16, socket.MSG_DONTWAIT)
        os.sched_yield()  # where both ends have one core
    raise TimeoutError(f"no answer within {PATIENCE} s")


def answer(file: int) -> None:
    """Send back what comes over a socket, until it is closed."""
    with socket.socket(fileno=file) as end, contextlib.suppress(OSError):
        while message := _receive(end):
            end.send(message)


def _end_all_in(name: str) -> None:
    """Kill all processes in a network namespace, until there are none."""
    stop = time.monotonic() + PATIENCE
    while time.monotonic() < stop:
        listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, timeout=PATIENCE)
        if not listed.stdout.strip():
            return
        for pid in map(int, listed.stdout.split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def forward(delay: float, devices: Sequence[int]) -> None:
    """Carry packets between the hosts' devices, each ``delay`` seconds after it was sent, until standard input ends.

    Eight bytes on standard input are another delay.
    """
    hosts = {bytes([10, 0, 0, host + 1]): device for host, device in enumerate(devices)}
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))  # before any rank that waits busily
        priority = "real-time"
    except OSError:
        priority = "normal"
    gc.disable()  # nothing here is cyclic
    print(priority, flush=True)
    parent = sys.stdin.fileno()
    files = [*devices, parent]
    queue: deque[tuple[float, int, bytes]] = deque()  # in the order of time, as all wait equally long
    while True:
        wait = max(0.0, queue[0][0] - time.monotonic()) if queue else None
        ready = select.select(files, [], [], wait)[0]  # to the microsecond; epoll would be to the millisecond
        now = time.monotonic()
        for device in ready:
            if device == parent:
                order = os.read(parent, 8)
                if not order:
                    return
                (delay,) = struct.unpack("d", order)
                continue
            with contextlib.suppress(OSError):
                packet = os.read(device, 1 << 16)
                if target := hosts.get(packet[16:20]):  # of an IPv4 header; others (IPv6 looks for routers) are dropped
                    queue.append((now + delay, target, packet))
        while queue and queue[0][0] <= time.monotonic():
            _, target, packet = queue.popleft()
            with contextlib.suppress(OSError):  # a host that is going away
                os.write(target, packet)


class Parser(argparse.ArgumentParser):
    """Bad use gives one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"hosts: {message}\n")


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the script."""
    parser = Parser(
        prog="hosts", description="Run an MPI program on several hosts of one machine, with a latency between them."
    )
    parser.add_argument("--hosts", type=int, default=2, metavar="N", help="default: 2")
    parser.add_argument("--ranks-per-host", type=int, default=1, metavar="K", help="default: 1")
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS", help="added one way, in milliseconds")
    parser.add_argument("command", nargs="*", metavar="-- COMMAND", help="what each rank runs")
    asked = parser.parse_args(arguments)
    if not asked.command:
        parser.error("no command: put it behind --")
    if asked.ranks_per_host < 1:
        parser.error(f"there are 1 or more ranks on a host, not {asked.ranks_per_host}")
    try:
        with Hosts(asked.hosts, asked.delay / 1e3) as hosts:
            print(
                f"hosts: {asked.hosts} hosts, {hosts.mechanism}; median round trip {hosts.round_trip * 1e3:.3f} ms"
                + (f", without the delay {hosts.undelayed * 1e3:.3f} ms" if asked.delay else ""),
                file=sys.stderr,
                flush=True,
            )
            return hosts.run(asked.command, asked.ranks_per_host)
    except HostsError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    if sys.argv[1:2] == ["--forward"]:  # this script's own second process
        forward(float(sys.argv[2]), [int(device) for device in sys.argv[3:]])
    elif sys.argv[1:2] == ["--answer"]:
        answer(int(sys.argv[2]))
    else:
        for number in SIGNALS - {signal.SIGINT}:
            signal.signal(number, _end)
        sys.exit(main())
