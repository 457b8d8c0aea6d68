"""Hosts on one machine: the forwarder and bad use everywhere, real ranks where there are root and namespaces."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PATH = Path(__file__).parents[2] / "benchmarks" / "hosts.py"
SPEC = importlib.util.spec_from_file_location("hosts", PATH)
hosts = importlib.util.module_from_spec(SPEC)
sys.modules["hosts"] = hosts
SPEC.loader.exec_module(hosts)

PATIENCE = 300  # seconds: no test is to fail because the machine is busy

PING_PONG = """
import os, socket, sys, time
from mpi4py import MPI
world, message, times = MPI.COMM_WORLD, bytearray(256), []
for _ in range(50):
    start = time.perf_counter()
    if world.rank == 0:
        world.Send(message, 1)
        world.Recv(message, 1)
    else:
        world.Recv(message, 0)
        world.Send(message, 0)
    times.append((time.perf_counter() - start) / 2)
told = world.gather(socket.gethostname(), 0), os.environ["PCSIM_DELAY"]
if world.rank == 0:
    print(sorted(times)[25], told[1], *told[0], flush=True)
sys.exit(7 * world.rank)
"""

SLEEP = """
import socket, time
from mpi4py import MPI
if MPI.COMM_WORLD.rank == 0:
    print(socket.gethostname(), flush=True)
time.sleep(1000)
"""


@pytest.fixture
def real(tmp_path):
    """Skip where no hosts can be made."""
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    try:
        hosts.Hosts(2)
    except hosts.HostsError as error:
        pytest.skip(str(error))
    name = f"pcsim-test-{os.getpid()}"
    added = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, timeout=PATIENCE)
    if added.returncode:
        pytest.skip(f"no network namespaces: {added.stderr.strip()}")
    subprocess.run(["ip", "netns", "delete", name], check=True, timeout=PATIENCE)


def script(folder, text):
    (folder / "program.py").write_text(text)
    return [sys.executable, str(folder / "program.py")]


def left_of(host):
    """What is still there of the run that had a host of this name: namespaces, temporary files, the forwarder."""
    run = host.rsplit("-", 1)[0]
    listed = subprocess.run(
        ["ip", "netns", "list"], capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout
    return [line for line in listed.splitlines() if run in line] + [
        str(path) for path in Path(tempfile.gettempdir()).glob(f"{run}-*")
    ]


@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_ranks_are_a_delay_apart_and_their_exit_code_is_ours(real, tmp_path, delay):
    command = [sys.executable, str(PATH), "--delay", str(delay), "--", *script(tmp_path, PING_PONG)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 7, ended.stderr
    one_way, told, first, second = ended.stdout.split()
    assert float(told) == delay * 1e-3
    assert first != second
    assert f"hosts: 2 hosts, {f'{delay:g} ms one way' if delay else 'no delay'}" in ended.stderr
    if delay:
        assert float(one_way) >= 0.9e-3
    else:  # an acknowledgement that waits would take 40 ms
        assert float(one_way) < 10e-3
    assert left_of(first) == []


def test_the_delay_is_what_makes_the_difference(real, tmp_path, capfd):
    took = []
    for delay in (0.0, 1e-3):
        with hosts.Hosts(2, delay) as two:
            assert two.run(script(tmp_path, PING_PONG), timeout=PATIENCE) == 7
            assert two.round_trip >= 2 * 0.9 * delay
        took.append(float(capfd.readouterr().out.split()[0]))
        assert left_of(two.names[0]) == []
    assert took[1] - took[0] >= 0.9e-3


def test_nothing_is_left_when_a_failure_comes_in_the_middle(real, monkeypatch):
    """Without the kernel's own delay or with it, the second thing that is measured does not come to be."""
    measured = iter([1e-5])
    monkeypatch.setattr(hosts.Hosts, "_measure", lambda self: next(measured))
    two = hosts.Hosts(2, 1e-3)
    with pytest.raises(StopIteration):
        two.__enter__()
    assert left_of(two.names[0]) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_ranks_and_leaves_nothing(real, tmp_path, number):
    command = [sys.executable, str(PATH), "--delay", "1", "--", *script(tmp_path, SLEEP)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            host = process.stdout.readline().strip()
            process.send_signal(number)
            assert process.wait(PATIENCE) == 128 + number
        finally:
            process.kill()
    assert host.startswith(f"pcsim-{process.pid}")
    assert left_of(host) == []
    listed = subprocess.run(["ps", "-A", "-o", "args"], capture_output=True, text=True, timeout=PATIENCE).stdout
    assert str(tmp_path) not in listed


@pytest.mark.skipif(sys.platform != "linux", reason="hosts are for Linux")
def test_the_forwarder_delays_sorts_and_drops():
    """Sockets stand in for the devices; the headers have addresses alone."""

    def packet(host, text):
        return b"\x45" + bytes(11) + bytes([10, 0, 0, 9, 10, 0, 0, host]) + text

    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(3)]
    files = [theirs.fileno() for _, theirs in pairs]
    process = subprocess.Popen(
        [sys.executable, str(PATH), "--forward", "0.05", *map(str, files)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=files,
    )
    one, two, three = (ours for ours, _ in pairs)
    try:
        assert process.stdout.readline() in (b"real-time\n", b"normal\n")
        start = time.monotonic()
        for text in (b"first", b"second"):
            one.send(packet(2, text))
            one.send(packet(77, b"to nobody"))
            one.send(packet(3, text))
        for end in (two, three):
            end.settimeout(PATIENCE)
            assert [end.recv(100)[20:] for _ in range(2)] == [b"first", b"second"]
            assert time.monotonic() - start >= 0.05
        process.stdin.write(hosts.struct.pack("d", 0.2))
        process.stdin.flush()
        time.sleep(0.1)
        start = time.monotonic()
        three.send(packet(2, b"later"))
        assert two.recv(100)[20:] == b"later"
        assert time.monotonic() - start >= 0.2
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        for pair in pairs:
            for end in pair:
                end.close()


def said(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        hosts.main(arguments)
    assert ended.value.code == 2
    out, line = capsys.readouterr()
    assert out == ""
    assert line.count("\n") == 1
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no command"),
        (("--delay", "1", "--"), "no command"),
        (("--delay", "-1", "--", "true"), "0 or more, not -1 ms"),
        (("--delay", "nan", "--", "true"), "0 or more, not nan ms"),
        (("--delay", "soon", "--", "true"), "invalid float"),
        (("--hosts", "1", "--", "true"), "2 to 254 hosts, not 1"),
        (("--ranks-per-host", "0", "--", "true"), "1 or more ranks"),
        (("--speed", "1", "--", "true"), "--speed"),
    ],
)
def test_bad_use_is_one_line_and_code_2(capsys, arguments, words):
    assert words in said(capsys, *arguments)


@pytest.mark.parametrize("missing", ["ip", "unshare", "taskset", "mpiexec"])
def test_a_missing_program_is_named(capsys, monkeypatch, missing):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(hosts.shutil, "which", lambda name, path=None: None if name == missing else name)
    assert f"{missing}" in said(capsys, "--", "true")


def test_who_is_not_root_is_told(capsys, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "sudo" in said(capsys, "--", "true")


def test_other_systems_are_told(capsys, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux" in said(capsys, "--", "true")


def test_another_mpiexec_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(hosts.shutil, "which", lambda name, path=None: "/bin/echo")
    assert "MPICH" in said(capsys, "--", "true")
