"""What a filter costs: the same one at smtp-handler and at Postfix."""

import contextlib
import os
import pathlib
import statistics
import subprocess

import peers
import report
import rig
from rig import SMTP, WORK

NUMBER = 200            # messages of a run, in one session
ONE_SESSION = "-d", "-s", "1"
KEPT = WORK / "milter-kept"
SOURCE = (pathlib.Path(rig.__file__).parent.parent / "blackbox" / "support" /
          "helpers" / "filter.c")

NOTE = f"""\
Messages of 4 KB, {NUMBER} in one session, by Postfix's smtp-source; with a
filter made with libmilter that wants to hear of every step and answers each
but changes nothing, and without. Milliseconds a message, until its 250:
ours when it is in the maildir, Postfix's when it is in its queue."""


@contextlib.contextmanager
def listening_filter():
    """Its port."""
    program, port = WORK / "filter", peers.free_port()
    subprocess.run(["cc", "-O2", "-o", program, SOURCE, "-lmilter",
                    "-pthread"], check=True)
    with peers.running([program, f"inet:{port}@127.0.0.1", "/dev/null"],
                       port, "filter"):
        yield port


def contestants(stack):
    """{name: port}"""
    enter = stack.enter_context
    rig.make_settled_maildir(KEPT)
    port = enter(listening_filter())
    ours = [SMTP, "--tls", "off", "--no-auth-required", "--maildir", KEPT,
            "--log-level", "error"]
    found = {
        "ours": enter(rig.SUPER_SERVER(ours)),
        "ours, filter": enter(rig.SUPER_SERVER(
            [*ours, "--milter", f"inet:{port}@127.0.0.1"])),
    }
    if os.geteuid() == 0:
        settings = {"in_flow_delay": "0", "mydestination": "example.com",
                    "local_recipient_maps": "",
                    "local_transport": "discard:"}
        found["Postfix"] = enter(peers.postfix(**settings)).port
        found["Postfix, filter"] = enter(peers.postfix(
            smtpd_milters=f"inet:127.0.0.1:{port}", **settings)).port
    return found


def milter(options):
    ms = {}
    with contextlib.ExitStack() as stack:
        found = contestants(stack)
        for nth in range(options.n + 1):
            for name, port in found.items():
                seconds = peers.smtp_source(port, NUMBER, *ONE_SESSION)
                if nth > 0:     # the first round is for warming up
                    ms.setdefault(name, []).append(1000 * seconds / NUMBER)
    ms = {name: statistics.median(values) for name, values in ms.items()}
    table = report.Comparison("A filter", "ms, median", note=NOTE)
    table.row("a message with a filter / Postfix", ms["ours, filter"],
              ms.get("Postfix, filter"))
    table.row("a message without / Postfix", ms["ours"], ms.get("Postfix"))
    # Differences of two medians: they may be less than the noise.
    table.row("what the filter adds here", ms["ours, filter"] - ms["ours"])
    if "Postfix" in ms:
        table.row("what it adds at Postfix",
                  ms["Postfix, filter"] - ms["Postfix"])
    return [table]
