#!/usr/bin/python3
"""pop3-handler beside Debian's Dovecot and Courier on one large maildir.

    tests/bench/scale.py [--record]

What it costs to log in and see STAT, LIST and UIDL: the first time, later
when nothing has changed, and later with ten new messages.  Each server is
started on pipes as its super-server would start it after the login
(pop3-handler: before it), so that of ours more is measured.  Wall clock, the
best of several rounds, in turn on the same files; nothing here is a test.

$BENCH_MESSAGES (100000) messages of about 4.5 KB, and fractions of that.
Results go to $BUILD/bench: a table and a plot, pop3-scale.md and .svg.
--record copies them to tests/bench, with date and machine.

Needs root: the unpacked Dovecot is put over /usr in a mount namespace of its
own.  Without it, or without a server, that server is left out, loudly.
"""

import argparse
import datetime
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = (ROOT / os.environ.get("BUILD", "build")).resolve()
TOOLS = ROOT / "build" / "tools"        # unpacked by tests/setup.sh
WORK = BUILD / "bench"
MAILDIR = WORK / "scale"
CACHE = WORK / "scale-cache"
MESSAGES = int(os.environ.get("BENCH_MESSAGES", "100000"))
NOBODY = 65534
ROUNDS = 2              # first times
LATER = 5               # later ones in each
NEW = 10
LIMIT = 120             # seconds, after which a session hangs


# The servers: what starts one, what makes it forget

class Server:
    def __init__(self, name, argv, color, env=None, logs_in=True,
                 greets=True, forget=()):
        self.name, self.argv, self.color = name, argv, color
        self.env, self.logs_in, self.greets = env or {}, logs_in, greets
        self.forgets = forget

    def forget(self):
        for pattern in self.forgets:
            for path in pattern.parent.glob(pattern.name):
                path.unlink()

    def session(self):
        """Seconds from the start to the last octet of UIDL, peak KiB."""
        # Pipes: on a socket Dovecot takes its caller for its master.
        start = time.perf_counter()
        with subprocess.Popen(
                ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
                 "--clear-groups", *map(str, self.argv)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, cwd=WORK,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                     "HOME": str(WORK), "USER": "nobody", **self.env},
                bufsize=0) as process:
            watch = threading.Timer(LIMIT, process.kill)
            watch.start()
            try:
                return self.talk(process, start)
            finally:
                watch.cancel()

    def talk(self, process, start):
        def say(line, end=b"\r\n"):
            process.stdin.write(line)
            return self.expect(process.stdout, end)

        if self.greets:
            say(b"")
        if self.logs_in:
            say(b"USER tester\r\nPASS secret\r\n", b"octets)\r\n")
        stat = say(b"STAT\r\n")
        size = len(say(b"LIST\r\n", b"\r\n.\r\n"))
        say(b"UIDL\r\n", b"\r\n.\r\n")
        seconds = time.perf_counter() - start
        count = int(stat.split()[1])
        if size < count * 4:
            raise RuntimeError(f"{self.name}: LIST of {size} octets")
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1])
        say(b"QUIT\r\n")
        return seconds, peak, count

    @staticmethod
    def expect(pipe, end):
        data = bytearray()
        while not data.endswith(end):
            piece = os.read(pipe.fileno(), 1 << 20)
            if not piece or data.startswith(b"-"):
                raise RuntimeError(f"ended with {bytes(data[-200:])!r}")
            data += piece
        return data


def servers():
    found = [Server(
        "pop3-handler",
        [BUILD / "pop3-handler", "--tls", "off", "--auth", "any", "--maildir",
         MAILDIR, "--cache-dir", CACHE, "--log-level", "error"],
        "#1f77b4", forget=[CACHE / "*"])]
    dovecot = pathlib.Path("/usr/lib/dovecot/pop3")
    if dovecot.exists():
        config = WORK / "dovecot.conf"
        config.write_text(
            f"base_dir = {WORK}/dovecot\nmail_location = maildir:{MAILDIR}\n"
            "protocols = pop3\nssl = no\nstats_writer_socket_path =\n")
        found.append(Server(
            "Dovecot", [dovecot, "-c", config], "#d62728", logs_in=False,
            greets=False, forget=[MAILDIR / "dovecot*"]))
    else:
        print("scale: no Dovecot (it needs root and "
              "tests/setup.sh bench)", file=sys.stderr)
    courier = TOOLS / "courier-pop/usr/lib/courier/courier/courierpop3d"
    if courier.exists():
        lib = TOOLS / "courier-pop/usr/lib"
        found.append(Server(
            "Courier", [courier, MAILDIR.name], "#2ca02c", logs_in=False,
            env={"LD_LIBRARY_PATH": f"{lib}:{lib}/x86_64-linux-gnu",
                 "AUTHENTICATED": "nobody", "AUTHADDR": "nobody",
                 "TCPREMOTEIP": "127.0.0.1"},
            forget=[MAILDIR / "courier*"]))
    else:
        print("scale: no Courier (tests/setup.sh bench)", file=sys.stderr)
    return found


# The maildir

def put(name, number):
    path = MAILDIR / name
    path.write_text(f"Subject: {number}\n\n" + "A line of text, a line of "
                    "text, a line of text, a line of text.\n" * 68)
    os.utime(path, (1700000000 + number, 1700000000 + number))
    os.chown(path, NOBODY, NOBODY)


def make_maildir():
    shutil.rmtree(MAILDIR, ignore_errors=True)
    shutil.rmtree(CACHE, ignore_errors=True)
    CACHE.mkdir(parents=True)
    for path in (MAILDIR / "cur", MAILDIR / "new", MAILDIR / "tmp"):
        path.mkdir(parents=True)
        os.chown(path, NOBODY, NOBODY)
    for path in MAILDIR, CACHE:
        os.chown(path, NOBODY, NOBODY)


def grow(have, want):
    for i in range(have, want):
        put(f"cur/{1700000000 + i}.M{i}P1.bench:2,S", i)


def age():
    """Until the directories' changes are old enough to be trusted."""
    newest = max((MAILDIR / name).stat().st_ctime
                 for name in ("", "cur", "new"))
    time.sleep(max(0, newest + 2.1 - time.time()))


def add_new(number):
    for i in range(NEW):
        put(f"new/{1800000000 + i}.M{i}P1.bench", number + i)


def remove_new():
    for folder in "new", "cur":
        for path in (MAILDIR / folder).glob("18000000*"):
            path.unlink()


# Measuring

KINDS = "first", "later", "new"


def measure(found, number):
    """{server: {kind: best seconds}}, and the peaks in KiB."""
    times = {server.name: {kind: [] for kind in KINDS} for server in found}
    peaks = {}
    for _ in range(ROUNDS):
        for server in found:
            for other in found:
                other.forget()
            age()
            seconds, peak, count = server.session()
            if count != number:
                raise RuntimeError(f"{server.name} sees {count} messages")
            times[server.name]["first"].append(seconds)
            peaks[server.name] = max(peaks.get(server.name, 0), peak)
            server.session()    # Dovecot and others settle
            age()
            server.session()
            for _ in range(LATER):
                times[server.name]["later"].append(server.session()[0])
            add_new(number)
            times[server.name]["new"].append(server.session()[0])
            remove_new()
    best = {name: {kind: min(values) for kind, values in kinds.items()}
            for name, kinds in times.items()}
    return best, peaks


# Telling

def table(results, peaks, found, number):
    """Markdown: seconds, and the ratios that section 8 wants."""
    lines = [f"| {number:,} messages | first | later | later, {NEW} new | "
             "peak RSS |", "| --- | ---: | ---: | ---: | ---: |"]
    best = results[number]
    for server in found:
        row = best[server.name]
        lines.append(
            f"| {server.name} | "
            + " | ".join(f"{row[kind]:.3f} s" for kind in KINDS)
            + f" | {peaks[number][server.name] / 1024:.0f} MiB |")
    others = [server.name for server in found[1:]]
    if others:
        ours = best[found[0].name]
        row = {kind: ours[kind] / min(best[name][kind] for name in others)
               for kind in KINDS}
        lines.append("| ratio to the fastest peer | "
                     + " | ".join(f"{row[kind]:.2f}" for kind in KINDS)
                     + " | |")
        lines.append("| target | at most 0.40 | at most 0.30 | | |")
    return "\n".join(lines)


def svg(results, found):
    """Cost against size, both logarithmic."""
    width, height, left, top, right, bottom = 720, 440, 70, 40, 190, 50
    sizes = sorted(results)
    every = [results[size][server.name][kind] for size in sizes
             for server in found for kind in ("first", "later")]
    x0, x1 = math.log10(sizes[0]), math.log10(sizes[-1])
    y0 = math.floor(math.log10(min(every)))
    y1 = math.ceil(math.log10(max(every)))

    def x(size):
        return left + (math.log10(size) - x0) / (x1 - x0 or 1) \
            * (width - left - right)

    def y(seconds):
        return height - bottom - (math.log10(seconds) - y0) / (y1 - y0) \
            * (height - top - bottom)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
           f'height="{height}" viewBox="0 0 {width} {height}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{left}" y="22" font-size="14">Login, STAT, LIST and '
           'UIDL: seconds against messages</text>']
    for exponent in range(y0, y1 + 1):
        at = y(10 ** exponent)
        out.append(f'<path d="M{left} {at:.1f}H{width - right}" '
                   'stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{at + 4:.1f}" '
                   f'text-anchor="end">{10 ** exponent:g} s</text>')
    for size in sizes:
        out.append(f'<path d="M{x(size):.1f} {top}V{height - bottom}" '
                   'stroke="#ddd"/>')
        out.append(f'<text x="{x(size):.1f}" y="{height - bottom + 18}" '
                   f'text-anchor="middle">{size:,}</text>')
    line = top + 10
    for server in found:
        for kind, dash in (("first", ""), ("later", "6 4")):
            points = " ".join(
                f"{x(size):.1f},{y(results[size][server.name][kind]):.1f}"
                for size in sizes)
            style = f'stroke="{server.color}" stroke-width="2" ' \
                    f'stroke-dasharray="{dash}" fill="none"'
            out.append(f'<polyline points="{points}" {style}/>')
            for point in points.split():
                cx, cy = point.split(",")
                out.append(f'<circle cx="{cx}" cy="{cy}" r="3" '
                           f'fill="{server.color}"/>')
            at = width - right + 20
            out.append(f'<path d="M{at} {line}h30" {style}/>')
            out.append(f'<text x="{at + 38}" y="{line + 4}">{server.name}, '
                       f'{kind}</text>')
            line += 20
    return "\n".join(out + ["</svg>", ""])


def machine():
    cpu = re.search(r"model name\s*: (.*)",
                    pathlib.Path("/proc/cpuinfo").read_text())
    system = re.search(r'PRETTY_NAME="(.*)"',
                       pathlib.Path("/etc/os-release").read_text())
    versions = [f"{os.cpu_count()} CPUs"]
    if cpu:
        versions.insert(0, cpu[1])
    if system:
        versions.append(system[1])
    versions.append(f"Linux {os.uname().release}")
    for package in "dovecot-pop3d", "courier-pop":
        done = subprocess.run(["apt-cache", "policy", package], text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        candidate = re.search(r"Candidate: (\S+)", done.stdout)
        if candidate:
            versions.append(f"{package} {candidate[1]}")
    return ", ".join(versions)


def under_dovecot():
    """Once more, in a mount namespace with the unpacked Dovecot in /usr."""
    usr = TOOLS / "dovecot-pop3d/usr"
    if os.environ.get("SCALE_MOUNTED") or os.geteuid() != 0 \
            or not usr.is_dir():
        return
    command = ["unshare", "-m", "sh", "-c",
               'mount -t overlay overlay -o "lowerdir=$1:/usr" /usr; shift; '
               'exec "$@"', "sh", usr, sys.executable, *sys.argv]
    os.execvpe(command[0], [str(word) for word in command],
               {**os.environ, "SCALE_MOUNTED": "yes"})


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true",
                        help="copy the results to tests/bench")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("scale: skipped, it needs root", file=sys.stderr)
        return
    under_dovecot()
    WORK.mkdir(exist_ok=True)
    found = servers()
    make_maildir()
    results, peaks, have = {}, {}, 0
    for number in sorted({max(MESSAGES // part, 10)
                          for part in (100, 10, 1)}):
        grow(have, number)
        have = number
        results[number], peaks[number] = measure(found, number)
        print(f"{number:>9,}  " + "  ".join(
            f"{name} " + "/".join(f"{row[kind]:.3f}" for kind in KINDS)
            for name, row in results[number].items()), flush=True)
    shutil.rmtree(MAILDIR)
    shutil.rmtree(CACHE)
    text = table(results, peaks, found, have)
    print(f"\n{text}\n")
    plot = svg(results, found)
    (WORK / "pop3-scale.svg").write_text(plot)
    (WORK / "pop3-scale.md").write_text(text + "\n")
    if options.record:
        here = pathlib.Path(__file__).parent
        (here / "pop3-scale.svg").write_text(plot)
        (here / "RESULTS.md").write_text(
            "# Large maildrops\n\n"
            "Login, STAT, LIST and UIDL, in seconds: the first time, later "
            f"with nothing\nchanged, and later with {NEW} new messages. "
            "Best of several rounds, in turn on the\nsame maildir of "
            "messages of about 4.5 KB, warm; `make bench` does it again.\n\n"
            f"{text}\n\n![cost against size](pop3-scale.svg)\n\n"
            f"{datetime.date.today()}, {machine()}.\n")


if __name__ == "__main__":
    main()
