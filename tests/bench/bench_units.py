"""What a connection costs under the units, in a systemd booted for it; and
what each setting of the sandbox costs."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import bench_small as small
import peers
import report
import rig
from rig import CLIENT, bare, median, pop3

UNITS = "etc/systemd/system"
# What stands in the unit below "it gets nothing else"
MOUNTS = ("PrivateMounts", "ProtectSystem", "ProtectHome", "PrivateTmp",
          "PrivateDevices", "ProtectKernelTunables", "ProtectKernelModules",
          "ProtectKernelLogs", "ProtectControlGroups", "ProtectClock",
          "ProtectProc", "ProcSubset")
NAMESPACES = "ProtectHostname", "PrivateIPC", "PrivateUsers"
CALLS = ("CapabilityBoundingSet", "NoNewPrivileges", "RestrictAddressFamilies",
         "SystemCallArchitectures", "SystemCallFilter",
         "SystemCallErrorNumber", "MemoryDenyWriteExecute", "LockPersonality",
         "RestrictRealtime", "RestrictSUIDSGID", "RestrictNamespaces",
         "RemoveIPC")
SMALL = "var/lib/mail-handlers/small"
SESSIONS = 12           # of one variant, one after the other


def without(unit, *names):
    return "".join(line for line in unit.splitlines(True)
                   if line.partition("=")[0] not in names)


def variants(unit):
    """{what: the unit}"""
    found = {
        "as shipped": unit,
        "and ProtectKernelTunables=": unit + "ProtectKernelTunables=yes\n",
        "none of the sandbox": without(unit, *MOUNTS, *NAMESPACES, *CALLS),
        "no mount namespace": without(unit, *MOUNTS),
        "no other namespaces": without(unit, *NAMESPACES),
        "no limits of system calls": without(unit, *CALLS),
        "no SystemCallFilter=": without(unit, "SystemCallFilter"),
        "no StateDirectory=, CacheDirectory=": without(
            unit, "StateDirectory", "StateDirectoryMode", "CacheDirectory",
            "CacheDirectoryMode"),
        "no Slice=": without(unit, "Slice"),
    }
    for name in (*MOUNTS, *NAMESPACES):
        if f"\n{name}=" in unit:
            found[f"no {name}="] = without(unit, name)
    return found


class Prices:
    """A socket and a template for each variant."""

    def __init__(self, machine):
        self.machine = machine
        unit = machine.path("usr/local/lib/systemd/system/"
                            "pop3-handler@.service").read_text()
        self.variants = list(variants(unit).items())
        for n, (_, text) in enumerate(self.variants):
            machine.path(f"{UNITS}/price{n}@.service").write_text(text)
            machine.path(f"{UNITS}/price{n}.socket").write_text(
                f"[Socket]\nListenStream=127.0.0.1:{self.port(n)}\n"
                "Accept=yes\nMaxConnections=200\nTriggerLimitIntervalSec=0\n"
                "MaxConnectionsPerSource=200\nNoDelay=yes\n")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", *(
            f"price{n}.socket" for n in range(len(self.variants))))

    @staticmethod
    def port(n):
        return 3000 + n

    def usage(self):
        """Milliseconds of CPU time, of all that runs in there."""
        text = self.machine.path("sys/fs/cgroup/cpu.stat").read_text()
        return int(re.search(r"usage_usec (\d+)", text)[1]) / 1000

    def price(self, n):
        before = self.usage()
        subprocess.run([CLIENT, str(SESSIONS), f"{self.port(n)}:quit"],
                       check=True, stdout=subprocess.DEVNULL)
        time.sleep(0.2)         # until the last one is cleared away
        return (self.usage() - before) / SESSIONS

    def exposure(self, n):
        text = self.machine.run("systemd-analyze", "security", "--no-pager",
                                f"price{n}@x.service")
        return re.search(r"Overall exposure level for \S+: ([\d.]+)",
                         text)[1]

    def table(self, rounds):
        numbers = list(range(len(self.variants)))
        least = {}
        for nth in range(rounds):
            for n in numbers if nth % 2 == 0 else reversed(numbers):
                least[n] = min(self.price(n), least.get(n, 1e9))
        table = report.Table(
            "The price of each setting of pop3-handler@.service",
            "ms of CPU time a connection", "in all", "more than as shipped",
            "exposure",
            note=f"Handshake, greeting, QUIT. The least of {rounds} times "
            f"{SESSIONS} connections, in systemd, the kernel and the program: "
            "what else the machine does matters little.")
        for n, (name, _) in enumerate(self.variants):
            table.add(name, f"{least[n]:.1f}", f"{least[n] - least[0]:+.1f}",
                      self.exposure(n))
        return table


def sessions(machine, number):
    """Units of both kinds beside the others, in one run."""
    rig.make_messages(rig.MAILDIR, 10)
    warm = machine.path("usr/local/lib/systemd/system/"
                        "pop3-handler-warm.service").read_text()
    machine.path(f"{UNITS}/warm.service").write_text(warm)
    machine.path(f"{UNITS}/warm.socket").write_text(
        "[Socket]\nListenStream=127.0.0.1:2995\nNoDelay=yes\n")
    for program in ("pop3-handler",):
        path = machine.path(f"etc/mail-handlers/{program}.conf")
        path.write_text(re.sub("(?m)^auth = .*", "auth = any",
                               path.read_text()).replace("/%u", ""))
    machine.run("install", "-d", "-o", "mail-handlers", *(
        f"/var/lib/mail-handlers/maildir{name}"
        for name in ("", "/cur", "/new", "/tmp")))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "warm.socket")
    contest = rig.Contest(number)
    contest.add("bare", bare(), "quit")
    contest.add("executed", pop3(), "stat")
    contest.add("units", 995, "stat")
    contest.add("warm units", 2995, "stat")
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        contest.add("bare, forking", enter(rig.bare_forking()), "quit")
        if peers.inside():
            theirs = rig.WORK / "dovecot-maildir"
            rig.make_messages(theirs, 10)
            for path in (theirs, *theirs.rglob("*")):
                os.chown(path, peers.NOBODY, peers.NOBODY)
            contest.add("dovecot", enter(peers.dovecot(theirs)).pop3s, "stat")
            contest.add("dovecot, fast", enter(peers.dovecot(
                theirs, more=peers.HIGH_PERFORMANCE)).pop3s, "stat")
        results = contest.run()

    def ms(name):
        return median(results, name, 1) / 1000

    table = report.Comparison(
        "A short session under the units, in a booted systemd", "ms, median",
        note=f"Login, STAT, QUIT, of {number} sessions each, in turn, from "
        "connect to the end of the connection. The bare program does a "
        f"handshake, a greeting and QUIT, under {rig.SUPER_SERVER.__name__}; "
        "forking, it has libtls ready, and a process and a handshake are what "
        "no warm program is without. Ours has lines of the journal to write, "
        "too: with --log-level error it takes 0.12 ms less; what of the "
        "sandbox is taken away makes no difference then.")
    warm_row = "warm units / "
    table.row("units, a program executed for each / bare program, executed",
              ms("units"), ms("bare"))
    table.row(f"{warm_row}bare program, executed", ms("warm units"),
              ms("bare"), report.at_most(0.35))
    table.row(f"{warm_row}bare program, forking", ms("warm units"),
              ms("bare, forking"))
    table.row(f"{warm_row}units", ms("warm units"), ms("units"))
    table.row(f"{warm_row}pop3-handler, executed", ms("warm units"),
              ms("executed"))
    if "dovecot" in results:
        table.row(f"{warm_row}Dovecot", ms("warm units"), ms("dovecot"))
        table.row(f"{warm_row}Dovecot, high-performance", ms("warm units"),
                  ms("dovecot, fast"), report.at_most(1))
    return table


def small_units(machine):
    """Sockets for units that keep mail of anybody.  {what: port}"""
    ports = {}
    for way, accept in ("smtp-handler@", "yes"), ("smtp-handler-warm", "no"):
        unit = machine.path(
            f"usr/local/lib/systemd/system/{way}.service").read_text()
        for protocol in "SMTP", "LMTP":
            number = len(ports)
            name = f"small{number}{'@' * (accept == 'yes')}.service"
            machine.path(f"{UNITS}/{name}").write_text(re.sub(
                r"(?m)^(ExecStart=\S+) --config \S+",
                r"\1 --tls off --no-auth-required --max-per-source 40 "
                f"--maildir /{SMALL}{' --lmtp' * (protocol == 'LMTP')}", unit))
            ports[f"{protocol}, {way}"] = port = 3500 + number
            machine.path(f"{UNITS}/small{number}.socket").write_text(
                f"[Socket]\nListenStream=127.0.0.1:{port}\nAccept={accept}\n"
                "TriggerLimitIntervalSec=0\nNoDelay=yes\n"
                + "MaxConnections=128\n" * (accept == "yes"))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", *(
        f"small{number}.socket" for number in range(len(ports))))
    return ports


def deliveries(machine, rounds):
    """Messages of 20 clients at once, where no disk is waited for."""
    kept = machine.path(SMALL)
    # No link on its way that somebody could turn
    memory = pathlib.Path(tempfile.mkdtemp(dir="/dev/shm"))
    owner = machine.path("var/lib/mail-handlers").stat().st_uid
    ports = small_units(machine)
    best = {}
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, memory)
        listen = [rig.SMTP, "--tls", "off", "--no-auth-required",
                  "--maildir", memory / "kept"]
        folders = {name: kept for name in ports}
        for protocol, more in ("SMTP", ()), ("LMTP", ("--lmtp",)):
            name = f"{protocol}, --listen"
            ports[name] = stack.enter_context(rig.warm([*listen, *more]))
            folders[name] = memory / "kept"
        for _ in range(rounds):
            for name, port in ports.items():
                rig.make_settled_maildir(
                    folders[name], owner if folders[name] == kept else None)
                seconds = peers.smtp_source(
                    port, small.NUMBER, "-s", str(small.AT_ONCE[0]),
                    *["-L"] * name.startswith("LMTP"))
                found = len(list((folders[name] / "new").iterdir()))
                if found != small.NUMBER:
                    raise RuntimeError(f"{name} kept {found} of "
                                       f"{small.NUMBER}")
                best[name] = max(best.get(name, 0), small.NUMBER / seconds)
    table = report.Comparison(
        f"Deliveries under the units, {small.AT_ONCE[0]} at once",
        "messages/s, best round",
        note="Messages of 4 KB without TLS or login, into a maildir in "
        "memory; each with its lines in the log, in the journal or, of "
        "--listen, in a file. Beside others: --listen, warm, above.")
    for protocol in "SMTP", "LMTP":
        listen = best[f"{protocol}, --listen"]
        table.row(f"{protocol}, units, executed / --listen",
                  best[f"{protocol}, smtp-handler@"], listen, None, 0)
        table.row(f"{protocol}, warm units / --listen",
                  best[f"{protocol}, smtp-handler-warm"], listen, None, 0)
    return table


def units(options):
    from booted import Systemd
    from mailtest import enter_network
    try:
        Systemd.setUpClass()
    except unittest.SkipTest as why:
        raise RuntimeError(why) from why
    try:
        # Clients and peers are there, too.
        enter_network(Systemd.machine.pid)
        prices = Prices(Systemd.machine).table(max(options.n // 2, 2))
        return [sessions(Systemd.machine, options.n * 20),
                deliveries(Systemd.machine, max(options.n // 2, 3)), prices]
    finally:
        Systemd.doClassCleanups()
