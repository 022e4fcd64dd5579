#!/usr/bin/env python3
"""Every fuzzer in turn, until each has run for so many seconds of CPU time.

    tests/fuzz/campaign.py [-j JOBS] [--report] SECONDS [FUZZER...]

The fuzzers are those of "make fuzz", built already ("make fuzz-all" builds
them and runs this).  They take turns of a minute, the one that has had least
first, so that a campaign ended early is fair to all; seconds and executions
are added up in build/fuzz/campaign.json, over any number of runs.  SIGINT and
SIGTERM end it after the turns that are running.  Prints a table for README.md
at the end.  Exit 1 where something failed: the input is in build/fuzz/found,
what was printed beside it.  A fuzzer that failed has no more turns until it
is built anew."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build") / "fuzz"
RECORD = BUILD / "campaign.json"
FOUND = BUILD / "found"
TURN = 60       # seconds of one turn

# Inputs no longer than this: what is longer only repeats.
LONGEST = 1 << 16


def fuzzers():
    return sorted(path.stem.removeprefix("fuzz_") for path in
                  (ROOT / "tests/fuzz").glob("fuzz_*.c"))


class Campaign:
    def __init__(self, names, seconds):
        self.names, self.seconds = names, seconds
        self.record = (json.loads(RECORD.read_text()) if RECORD.exists()
                       else {})
        self.lock = threading.Lock()
        self.running = set()
        self.failed = {}    # name: when it had been built
        self.stopping = False

    def stop(self, *_):
        self.stopping = True

    @staticmethod
    def built(name):
        return (BUILD / f"fuzz_{name}").stat().st_mtime

    def of(self, name):
        return self.record.setdefault(name, {"seconds": 0.0, "runs": 0})

    def next(self):
        """The fuzzer that has had least, of those that wait; or None."""
        with self.lock:
            waiting = [name for name in self.names
                       if name not in self.running
                       and self.failed.get(name) != self.built(name)
                       and self.of(name)["seconds"] < self.seconds]
            if self.stopping or not waiting:
                return None
            name = min(waiting, key=lambda one: self.of(one)["seconds"])
            self.running.add(name)
            return name

    def turn(self, name):
        corpus = BUILD / "corpus" / name
        corpus.mkdir(parents=True, exist_ok=True)
        dictionary = ROOT / f"tests/fuzz/dict/{name}.dict"
        command = [BUILD / f"fuzz_{name}", f"-max_total_time={TURN}",
                   f"-max_len={LONGEST}", "-print_final_stats=1",
                   f"-artifact_prefix={FOUND}/{name}-",
                   *([f"-dict={dictionary}"] if dictionary.exists() else []),
                   corpus, ROOT / "tests/fuzz/corpus" / name]
        log = BUILD / f"campaign-{name}.log"
        built = self.built(name)
        with log.open("wb") as out:
            # In a session of its own: the terminal's ^C is for us alone.
            process = subprocess.Popen(command, stdout=out, stderr=out,
                                       stdin=subprocess.DEVNULL, cwd=BUILD,
                                       start_new_session=True)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        said = log.read_text(errors="replace")
        runs = re.search(r"number_of_executed_units:\s*(\d+)", said)
        with self.lock:
            one = self.of(name)
            one["seconds"] += usage.ru_utime + usage.ru_stime
            one["runs"] += int(runs.group(1)) if runs else 0
            self.running.discard(name)
            if process.returncode != 0:
                self.failed[name] = built
                log.rename(FOUND / f"{name}.log")
                print(f"{name}: FAILED, see {FOUND}/{name}.log", flush=True)
            RECORD.write_text(json.dumps(self.record, indent=1) + "\n")
            print(f"{name}: {one['seconds']:.0f} s, {one['runs']} runs",
                  flush=True)

    def work(self):
        while (name := self.next()) is not None:
            self.turn(name)

    def report(self):
        print("| fuzzer | CPU minutes | executions |\n| --- | --- | --- |")
        for name in self.names:
            one = self.of(name)
            print(f"| `{name}` | {one['seconds'] / 60:.0f} |"
                  f" {one['runs']:,} |")
        total = sum(self.of(name)["seconds"] for name in self.names)
        runs = sum(self.of(name)["runs"] for name in self.names)
        print(f"| all | {total / 60:.0f} | {runs:,} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-j", dest="jobs", type=int, default=os.cpu_count())
    parser.add_argument("--report", action="store_true",
                        help="only print the table")
    parser.add_argument("seconds", type=float, nargs="?", default=600)
    parser.add_argument("names", nargs="*", metavar="FUZZER")
    options = parser.parse_args()
    FOUND.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(options.names or fuzzers(), options.seconds)
    if not options.report:
        signal.signal(signal.SIGINT, campaign.stop)
        signal.signal(signal.SIGTERM, campaign.stop)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for future in [pool.submit(campaign.work)
                           for _ in range(options.jobs)]:
                future.result()
    campaign.report()
    return 1 if campaign.failed else 0


if __name__ == "__main__":
    sys.exit(main())
