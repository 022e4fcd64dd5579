"""What a short session costs, of a program that is executed for it, and of one
that stays warm and forks."""

import contextlib
import os

import peers
import report
import rig
from rig import MAILDIR, bare, median, percentile, pop3, smtp


def session(options):
    number = options.n * 30
    rig.make_messages(MAILDIR, 10)
    kept = rig.make_maildir(rig.WORK / "kept")
    contest = rig.Contest(number)
    contest.add("bare", bare(), "quit")
    contest.add("greeting", pop3(), "quit")
    contest.add("login", pop3(), "stat")
    contest.add("submit", smtp(kept), "data:4000")
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        contest.add("warm", enter(rig.warm(pop3())), "stat")
        contest.add("bare, forking", enter(rig.bare_forking()), "quit")
        if peers.inside():
            theirs = rig.WORK / "dovecot-maildir"
            rig.make_messages(theirs, 10)
            for path in (theirs, *theirs.rglob("*")):
                os.chown(path, peers.NOBODY, peers.NOBODY)
            contest.add("dovecot", enter(peers.dovecot(theirs)).pop3s, "stat")
            contest.add("dovecot, fast", enter(peers.dovecot(
                theirs, more=peers.HIGH_PERFORMANCE)).pop3s, "stat")
        return tables(contest.run(), number)


def tables(results, number):
    def ms(name, column):
        return median(results, name, column) / 1000

    def tenth(name):
        return percentile([row[1] / 1000 for row in results[name]], 90)

    table = report.Comparison(
        "A short session under TLS, ECDSA P-256", "ms, median",
        note=f"Of {number} sessions each, in turn, from connect to the end of "
        f"the connection; ours and the bare program under "
        f"{rig.SUPER_SERVER.__name__}. The bare program does the least that "
        "libtls allows: handshake, greeting, an answer to one line. Dovecot "
        "with its default settings starts a pop3-login and a pop3 for each "
        "connection; in its high-performance mode pop3-login stays. Warm is "
        "pop3-handler with --listen; the forking bare program has libtls "
        "ready, too: what is left to it is a process and a handshake, and "
        "where these alone take more than 0.35 of the executed one's time, "
        "so does ours.")
    table.row("connect to greeting / bare program",
              ms("greeting", 0), ms("bare", 0))
    table.row("greeting, QUIT / bare program",
              ms("greeting", 1), ms("bare", 1))
    table.row("login, STAT, QUIT / bare program",
              ms("login", 1), ms("bare", 1), report.at_most(1.15))
    table.row("warm: login, STAT, QUIT / bare program, executed",
              ms("warm", 1), ms("bare", 1), report.at_most(0.35))
    table.row("warm: login, STAT, QUIT / bare program, forking",
              ms("warm", 1), ms("bare, forking", 1))
    if "dovecot" in results:
        table.row("login, STAT, QUIT / Dovecot's", ms("login", 1),
                  ms("dovecot", 1), report.at_most(1))
        table.row("warm: login, STAT, QUIT / Dovecot's, high-performance",
                  ms("warm", 1), ms("dovecot, fast", 1), report.at_most(1))
    no_stall = report.Target("under 40 ms more",
                             lambda ours, other: ours - other < 40)
    for name, what in (("login", "no stall: 90 % of them end within"),
                       ("submit", "the same, SMTP with 4 KB kept")):
        table.row(f"{what} / bare program", tenth(name), tenth("bare"),
                  no_stall)
    return [table]
