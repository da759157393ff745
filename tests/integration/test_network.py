"""No command talks to anything but this machine, as the system calls of its processes show, native code included."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ruie_components.formats import write_examples
from ruie_components.starter import starter_examples

LINGER = float(os.environ.get("RUIE_LINGER", "0"))
"""Seconds that each process stays after its command, since some libraries report home after a while.

Where the variable is set, these tests are wanted: they fail where they can't run, instead of being skipped.
"""

COMMANDS = {
    "demo": ("demo", "--model", "baseline"),
    "index": ("index", "rows.jsonl", "--store", "pool"),
    "adapt": ("adapt", "--store", "pool", "--steps", "2"),
    "extract": ("extract", "Fly from Oslo to Lima.", "--store", "pool", "--model", "baseline"),
}
RUN = f"""
import time
from ruie_components.cli.app import main
try:
    main()
except SystemExit as end:
    if end.code:
        raise
time.sleep({LINGER})
"""
LOOKUP = (sys.executable, "-c", "import socket; socket.create_connection(('192.0.2.1', 9), timeout=0.1)")

ADDRESS = re.compile(r'(?:sin_port|sin6_port)=htons\((\d+)\).*?(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')
HARMLESS = re.compile(r"^(127\.|::1$|::ffff:127\.|0\.0\.0\.0$|::$)")


def works(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def run_watched(tmp_path_factory):
    """Runs a command; returns the addresses outside this machine that its process, or one that it started, used."""
    log = tmp_path_factory.mktemp("strace") / "calls.txt"
    if works("strace", "-o", str(log), "true"):

        def run(*command: str, **options):
            traced = ["strace", "-f", "-qq", "-e", "trace=network", "-o", str(log), *command]
            done = subprocess.run(traced, capture_output=True, text=True, **options)
            return done, outside(log.read_text("utf-8", "replace"))

        return run
    cause = "strace is not installed here, or may not trace"
    if "RUIE_LINGER" in os.environ:
        pytest.fail(f"RUIE_LINGER is set, and {cause}")
    pytest.skip(cause)


def outside(calls: str) -> list[str]:
    """The addresses in calls that send or connect, without loopback; a look-up of a name counts wherever it goes."""
    seen = []
    for line in calls.splitlines():
        if not re.search(r"\b(connect|sendto|sendmsg|sendmmsg)\(", line):
            continue
        used = ADDRESS.findall(line)
        seen += [f"{address}:{port}" for port, address in used if port == "53" or not HARMLESS.match(address)]
    return seen


def test_a_process_that_talks_to_somebody_is_noticed(run_watched):
    done, seen = run_watched(*LOOKUP)
    assert done.returncode != 0  # nobody has that address
    assert seen == ["192.0.2.1:9"]
    name = "import socket; socket.getaddrinfo('telemetry.example', 443)"
    if "nameserver" in Path("/etc/resolv.conf").read_text("utf-8"):
        assert any(address.endswith(":53") for address in run_watched(sys.executable, "-c", name)[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    write_examples(folder / "rows.jsonl", starter_examples("NER"))
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_asks_for_no_address_outside_this_machine(run_watched, folder, command):
    environment = {key: value for key, value in os.environ.items() if "PROXY" not in key.upper()}
    environment |= {"OLLAMA_HOST": "127.0.0.1:9", "OMP_NUM_THREADS": "1"}
    arguments = COMMANDS[command]
    done, seen = run_watched(sys.executable, "-c", RUN, *arguments, cwd=folder, env=environment, timeout=280 + LINGER)
    assert done.returncode == 0, done.stderr
    assert seen == []
