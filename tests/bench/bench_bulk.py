"""One huge message, there and back."""

import os
import shutil

import report
import rig
from rig import WORK, bare, pop3, smtp

BULK = 100_000_000      # octets
MEGABYTES = BULK // 1_000_000


def rates(results):
    """MB/s of the best round: bulk has one rate, and the rest is noise."""
    return {name: BULK / min(times[2] for times in rows)
            for name, rows in results.items()}


def retr(options):
    large = rig.make_large(WORK / "large", BULK)
    contest = rig.Contest(options.n)
    contest.add("bare", bare("send", BULK), f"drain:{BULK}")
    contest.add("ours", pop3(large), f"retr:{BULK}")
    rate = rates(contest.run())
    shutil.rmtree(large)
    table = report.Comparison(
        f"RETR of {MEGABYTES} MB under TLS", "MB/s, best round",
        note="The bare program sends the same 16 KB again and again. Ours "
        "reads a file, looks for the end of each line and puts a CR there: "
        "for these 80 octets a line that takes as long as it takes a "
        "processor with AVX-512 to encrypt them, and where encryption is "
        "slower the ratio is nearer to 1.")
    table.row("RETR / bare tls_write from memory", rate["ours"],
              rate["bare"], report.at_least(0.9), 0)
    return [table]


def data(options):
    kept, file = rig.make_maildir(WORK / "kept"), WORK / "received"
    command = smtp(kept) + ["--max-size", str(2 * BULK)]
    contest = rig.Contest(options.n)
    contest.add("bare", bare("receive", file), f"fill:{BULK}")
    contest.add("synced", bare("keep", file), f"fill:{BULK}")
    contest.add("DATA", command, f"data:{BULK}")
    contest.add("BDAT", command, f"bdat:{BULK}")

    def clear():
        """Nothing left to write for the next sessions to wait for."""
        rig.make_maildir(kept)
        file.unlink(missing_ok=True)
        os.sync()

    rate = rates(contest.run(clear))
    clear()
    shutil.rmtree(kept)
    table = report.Comparison(
        f"{MEGABYTES} MB into a maildir under TLS", "MB/s, best round",
        note="To the final reply, which comes after fsync; the bare program "
        "reads with tls_read and writes a file, without fsync, which is what "
        "the target is about, and with it.")
    for name in "DATA", "BDAT":
        table.row(f"{name} / bare tls_read, write", rate[name], rate["bare"],
                  report.at_least(0.8), 0)
        table.row(f"{name} / the same and fsync", rate[name], rate["synced"],
                  None, 0)
    return [table]
