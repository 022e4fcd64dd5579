"""How long a message is on its way to the next hop, beside Postfix."""

import contextlib
import statistics
import subprocess

import peers
import report
import rig
from rig import SMTP, WORK

LATENCY = rig.BUILD / "tests" / "bench" / "latency"
MESSAGES = 5            # in a session

NOTE = f"""\
Client and next hop are one program (latency.c) with one clock; one message
of 4 KB is under way at a time, in sessions of {MESSAGES}.
250: the client's final reply; arrived: the next hop has read the final dot.
The first message counts from connect, so that ours has the start of a
process under {rig.SUPER_SERVER.__name__} and the connection to the next
hop in it; later ones count from MAIL. Clients speak clear text; ours log
in, which relaying needs, Postfix's come from mynetworks.
smtp-handler's 250 comes when the next hop has said 250,
Postfix's when the message is in its queue and fsynced; its delivery comes
after that, from processes that are there already, by a connection for each
message. A kept copy adds an fsync before the next hop's 250 and one after
it: ours then keeps what Postfix's queue keeps. smtps: TLS to the next hop
from the start, certificate and name verified with the system's CAs, a
login."""


def relaying(name, url, *options):
    path = WORK / f"relay-{name}"
    path.touch(0o600)
    path.chmod(0o600)
    path.write_text(f"* {url}\n")
    return [SMTP, "--tls", "off", "--auth", "any", "--relay", path,
            "--log-level", "error", *options]


def postfix_to(host, port, **settings):
    return peers.postfix(
        relayhost=f"[{host}]:{port}", smtp_host_lookup="native",
        smtp_dns_support_level="disabled", **settings)


def contestants(stack, plain, secure):
    """{name: port}"""
    enter = stack.enter_context
    kept = rig.make_settled_maildir(WORK / "kept")
    url = f"smtp+plain://127.0.0.1:{plain}"
    ca = "" if peers.inside() else f"?ca={rig.CERT}"
    found = {
        "ours": enter(rig.SUPER_SERVER(relaying("plain", url))),
        "ours, kept": enter(rig.SUPER_SERVER(
            relaying("plain", url, "--maildir", kept))),
        "ours, smtps": enter(rig.SUPER_SERVER(relaying(
            "smtps", f"smtps://localhost:{secure}{ca} joe x"))),
    }
    if peers.inside():
        found["Postfix"] = enter(postfix_to("127.0.0.1", plain)).port
        found["Postfix, smtps"] = enter(postfix_to(
            "localhost", secure, smtp_tls_wrappermode="yes",
            smtp_tls_security_level="secure",
            smtp_tls_CApath=peers.SYSTEM_CERTS,
            smtp_sasl_auth_enable="yes",
            smtp_sasl_password_maps="static:joe:x",
            smtp_sasl_security_options="noanonymous")).port
    return found


def measure(rounds):
    """{(name, first or later, 250 or arrived): ms}"""
    times = {}
    plain, secure = peers.free_port(), peers.free_port()
    with contextlib.ExitStack() as stack:
        found = contestants(stack, plain, secure)
        done = subprocess.run(
            [LATENCY, rig.CERT, rig.KEY, str(plain), str(secure),
             str(rounds + 1), str(MESSAGES), *map(str, found.values())],
            check=True, stdout=subprocess.PIPE, text=True)
    names = list(found)
    for nth, line in enumerate(done.stdout.splitlines()):
        if nth < len(names) * MESSAGES:
            continue    # the first round is for warming up
        server, place, accepted, arrived = map(int, line.split())
        place = "later" if place else "first"
        for what, value in (("250", accepted), ("arrived", arrived)):
            times.setdefault((names[server], place, what), []) \
                .append(value / 1000)
    return {key: statistics.median(values) for key, values in times.items()}


def relay(options):
    ms = measure(options.n * 3)
    table = report.Comparison("A message on its way to the next hop",
                              "ms, median", note=NOTE)
    pairs = [("clear text", "ours", "Postfix"),
             ("clear text, a copy kept", "ours, kept", "Postfix"),
             ("smtps, login", "ours, smtps", "Postfix, smtps")]
    for what, ours, other in pairs:
        for place in "first", "later":
            for event in "250", "arrived":
                table.row(f"{what}: {place} message, {event} / Postfix",
                          ms[ours, place, event],
                          ms.get((other, place, event)))
    return [table]
