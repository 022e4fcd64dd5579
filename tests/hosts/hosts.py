#!/usr/bin/env python3
"""Three hosts with one maildir store, haproxy in front of them, and failures:
is every message that was accepted fetched exactly once?

    tests/hosts/hosts.py moosefs|glusterfs|plain [MESSAGES]

plain is a directory of this machine, which all hosts have: the yardstick.

The hosts are network and mount namespaces on this machine, joined by a bridge;
what they say to each other leaves none of them.  Needs root, and the packages
that "tests/setup.sh hosts" unpacks.  While clients submit and fetch, the part
of the store on one host is killed and comes back, then a whole host is."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in
                ("soak", "blackbox/support")]
import moosefs                                          # noqa: E402
from mailtest import (BUILD, TOOLS, enter_network,      # noqa: E402
                      wait_for)
from superservers import listening, tool_command        # noqa: E402
from traffic import LIMIT, RETRIES, USERS, Traffic      # noqa: E402

PASSWORD = "open-sesame"
SUBMITTERS, FETCHERS = 8, 3
LOCKED = 240    # seconds within which a dead host's locks must be gone


class Host:
    """A network and a mount namespace, held by a process that sleeps."""

    def __init__(self, folder, name, address=None):
        self.folder, self.name, self.address = folder, name, address
        self.holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount",
             "--uts", "sh", "-c",
             f"mount --make-rprivate / && hostname {name} && "
             "ip link set lo up && echo && exec sleep 86400"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        self.pid = self.holder.pid
        self.processes = []

    def inside(self, argv):
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-u",
                *map(str, argv)]

    def run(self, *argv, check=True):
        done = subprocess.run(self.inside(argv), capture_output=True,
                              text=True, check=False, timeout=120,
                              stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            sys.exit(f"{self.name}: {argv}: {done.stdout}{done.stderr}")
        return done

    def start(self, *argv):
        """Its output goes to a log of its own; what it is."""
        name = next(pathlib.Path(word).name for word in map(str, argv)
                    if "=" not in word and word != "env")
        with open(self.folder / f"{self.name}.{name}.log", "ab") as log:
            process = subprocess.Popen(
                self.inside(argv), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True)
        self.processes.append(process)
        return process

    def everything(self):
        """The processes of this host."""
        mine = os.readlink(f"/proc/{self.pid}/ns/net")
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(path / "ns/net") == mine:
                    yield int(path.name)

    def kill(self):
        """As if its power was cut: nothing runs, nothing answers."""
        if self.address:
            self.run("ip", "link", "set", "eth0", "down")
        for pid in list(self.everything()):
            if pid != self.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def stop(self):
        with contextlib.suppress(Exception):
            self.kill()
        self.holder.kill()
        self.holder.wait()
        for process in self.processes:
            process.wait()


class Network:
    """Hosts joined by a bridge, which is in a namespace of its own."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack
        self.switch = self.add("switch")
        self.switch.run("ip", "link", "add", "bridge", "type", "bridge")
        self.switch.run("ip", "link", "set", "bridge", "up")
        self.count = 0

    def add(self, name, address=None):
        host = Host(self.folder, name, address)
        self.stack.callback(host.stop)
        return host

    def host(self, name):
        self.count += 1
        host = self.add(name, f"10.77.0.{self.count}")
        port = f"port{self.count}"
        subprocess.run(["ip", "link", "add", port, "netns",
                        str(self.switch.pid), "type", "veth", "peer", "name",
                        "eth0", "netns", str(host.pid)], check=True)
        self.switch.run("ip", "link", "set", port, "master", "bridge", "up")
        host.run("ip", "addr", "add", f"{host.address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        return host


class Moosefs:
    """A master on a host of its own, a chunk server on each of the others;
    each message on two of them."""

    def __init__(self, network, hosts):
        self.hosts, self.folder = hosts, network.folder
        self.chunks = {}
        master = network.host("master")
        self.moosefs = moosefs.Moosefs(self.folder, master.address)
        master.start(*self.moosefs.start_master())
        wait_for(lambda: moosefs.master_listens(master.pid), "the master", 60)
        for host in hosts:
            disk = self.folder / f"disk.{host.name}"
            disk.mkdir()
            host.run("mount", "-t", "tmpfs", "-o", "size=1G", "tmpfs", disk)
            self.start_part(host)
        for host in hosts:
            self.mount(host)
        wait_for(lambda: self.gibibytes() > len(hosts) - 1,
                 "the chunk servers", 60)

    def gibibytes(self):
        """Of all chunk servers that have registered with the master."""
        found = self.hosts[0].run("stat", "-f", "-c", "%b %S",
                                  self.folder / "store").stdout
        blocks, size = map(int, found.split())
        return blocks * size / 2**30

    def start_part(self, host):
        self.chunks[host.name] = host.start(*self.moosefs.start_chunks(
            host.name, self.folder / f"disk.{host.name}"))

    def mount(self, host):
        where = self.folder / "store"
        where.mkdir(exist_ok=True)
        host.start(*self.moosefs.mount(where))
        wait_for(lambda: host.run("stat", "-f", "-c", "%T", where)
                 .stdout.startswith("fuse"), f"the mount on {host.name}", 60)

    def files(self, host):
        del host
        return self.folder / "store"

    def kill_part(self, host):
        os.killpg(self.chunks[host.name].pid, signal.SIGKILL)

    def has_healed(self, host):
        del host
        return True


class Glusterfs:
    """A brick on each host, every message on all three; two must agree."""

    def __init__(self, network, hosts):
        self.hosts = hosts
        base = TOOLS / "glusterfs-server"
        for host in hosts:
            for name in ("usr", "etc"):
                host.run("mount", "-t", "overlay", "-o",
                         f"lowerdir={base}/{name}:/{name}", "overlay",
                         f"/{name}")
            for name in ("/var/lib", "/var/log", "/run", "/srv"):
                host.run("mount", "-t", "tmpfs", "tmpfs", name)
            host.run("mkdir", "-p", "/var/lib/glusterd/groups",
                     "/var/log/glusterfs", "/run/gluster", "/srv/brick/mail",
                     network.folder / "store")
            host.start("/usr/sbin/glusterd", "-N")
        for host in hosts[1:]:
            self.gluster("peer", "probe", host.address)
        wait_for(lambda: self.gluster("peer", "status").stdout.count(
            "(Connected)") == len(hosts) - 1, "the peers", 60)
        self.gluster("volume", "create", "mail", "replica", len(hosts),
                     *(f"{host.address}:/srv/brick/mail" for host in hosts),
                     "force")
        self.gluster("volume", "set", "mail", "network.ping-timeout", 10)
        self.gluster("volume", "start", "mail")
        for host in hosts:
            host.run("/usr/sbin/glusterfs", f"--volfile-server={host.address}",
                     "--volfile-id=mail", network.folder / "store")

    def gluster(self, *words):
        """The command line fails while the daemon starts."""
        def tried():
            done = self.hosts[0].run("timeout", "60", "gluster",
                                     "--mode=script", *words, check=False)
            return done if done.returncode == 0 else None
        return wait_for(tried, f"gluster {words}", 600)

    def files(self, host):
        """On the brick: the mount may be what does not answer."""
        del host
        return "/srv/brick/mail"

    def kill_part(self, host):
        for pid in host.everything():
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{pid}/comm").read_text() == \
                        "glusterfsd\n":
                    os.kill(pid, signal.SIGKILL)

    def start_part(self, host):
        del host
        self.gluster("volume", "start", "mail", "force")

    def has_healed(self, host):
        del host
        return all(line == "Number of entries: 0" for line in self.gluster(
            "volume", "heal", "mail", "info").stdout.splitlines()
            if line.startswith("Number of entries"))


class Plain:
    """Nothing is distributed, and no part of it can be killed."""

    def __init__(self, network, hosts):
        del hosts
        self.folder = network.folder / "store"
        self.folder.mkdir()

    def files(self, host):
        del host
        return self.folder

    def kill_part(self, host):
        pass

    start_part = kill_part

    def has_healed(self, host):
        del host
        return True


STORES = {"moosefs": Moosefs, "glusterfs": Glusterfs, "plain": Plain}


class Mail:
    """Both programs on each host, haproxy and the clients on another."""

    def __init__(self, network, hosts):
        self.folder = network.folder
        self.make_files()
        hosts[0].run("mkdir", "-p", self.folder / "store/check/new")
        for host in hosts:
            for program, port, more in (
                    ("smtp-handler", 1465, ["--create-maildirs"]),
                    ("pop3-handler", 1995, ["--allow-delete", "--scan",
                                            "inbox"])):
                host.start(
                    BUILD / program, "--listen", f"{host.address}:{port}",
                    "--proxy-protocol", "--hostname", "mail.test",
                    "--auth", f"file:{self.folder}/users",
                    "--maildir", f"{self.folder}/store/%n",
                    "--tls-cert", self.folder / "tls.crt",
                    "--tls-key", self.folder / "tls.key", "--log", "stderr",
                    "--max-connections", "200", "--max-per-source", "200",
                    *more)
        self.front = network.host("front")
        text = (ROOT / "units/haproxy/several-hosts.cfg").read_text()
        for number, host in enumerate(hosts, 1):
            text = text.replace(f"192.0.2.{number}:", f"{host.address}:")
        # One machine is all clients here, so they are spread; and it is not
        # the time between two checks that is tried.
        text = (text.replace("balance source", "balance roundrobin")
                .replace("hash-type consistent", "")
                .replace("CHECK-PASSWORD", PASSWORD)
                .replace("AGNoZWNrAENIRUNLLVBBU1NXT1JE",
                         "AGNoZWNrAG9wZW4tc2VzYW1l")
                .replace("inter 5s", "inter 500"))
        settings = self.folder / "haproxy.cfg"
        settings.write_text(f"defaults\n\tretries 3\n{text}")
        self.front.start(*tool_command("haproxy", "haproxy", "-db", "-f",
                                       settings))
        for port in 465, 995:
            wait_for(lambda: listening(port, f"/proc/{self.front.pid}/net"),
                     "haproxy")

    def make_files(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
             "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-keyout", self.folder / "tls.key", "-out",
             self.folder / "tls.crt"], check=True, stderr=subprocess.DEVNULL)
        digest = subprocess.run(
            ["openssl", "passwd", "-5", "-stdin"], input=PASSWORD + "\n",
            text=True, stdout=subprocess.PIPE, check=True).stdout.strip()
        users = self.folder / "users"
        users.touch(0o600)
        users.write_text("".join(f"{name}:{digest}\n" for name in
                                 ("check", *(f"u{n}" for n in range(USERS)))))

    def logs(self):
        for path in sorted(self.folder.glob("*-handler.log")):
            yield path.name, path.read_text("utf-8", "replace")


class Run:
    def __init__(self, store, hosts, mail, messages):
        self.store, self.hosts, self.mail = store, hosts, mail
        self.messages = messages
        context = ssl.create_default_context(
            cafile=str(mail.folder / "tls.crt"))
        self.traffic = Traffic(465, 995, context, PASSWORD)
        self.failures = 0
        self.over = threading.Event()
        self.ends = []              # when submissions ended, well or not
        self.slowest = 0
        self.since = time.monotonic(), 0, 0
        self.unreachable = []

    def in_front(self, function, *args):
        """A thread in the network of the host where clients are."""
        def body():
            enter_network(self.mail.front.pid)
            function(*args)
        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        return thread

    def accepted(self):
        return len(self.traffic.accepted)

    def submit(self, seed):
        draw = random.Random(seed)
        while self.accepted() < self.messages:
            began = time.monotonic()
            try:
                self.traffic.submit(draw)
            except RETRIES:
                self.failures += 1
                time.sleep(0.2)
            self.ends.append(time.monotonic())
            self.slowest = max(self.slowest, self.ends[-1] - began)

    def fetch(self, seed):
        draw = random.Random(seed)
        while not self.over.is_set():
            try:
                self.traffic.fetch(draw.randrange(USERS))
            except RETRIES:
                self.failures += 1
                time.sleep(0.2)

    def hold(self, host):
        """Lets a session of that host have a mailbox."""
        def held():
            raw = socket.create_connection((host.address, 1995), LIMIT)
            raw.sendall(b"PROXY UNKNOWN\r\n")
            self.held = self.traffic.context.wrap_socket(
                raw, server_hostname="localhost")
            lines = self.held.makefile("rwb", 0)
            lines.write(b"USER u0\r\nPASS %s\r\n" % PASSWORD.encode())
            return [lines.readline()[:3] for _ in range(3)] == [b"+OK"] * 3
        wait_for(held, "the mailbox of u0", 60)
        print("one of its sessions has the mailbox of u0", flush=True)

    def drain(self, killed):
        """Each mailbox once more, when all is quiet.  Those that sessions of
        the killed host had are locked for a while."""
        for user in range(USERS):
            late = 0
            while not self.try_drain(user):
                late = time.monotonic() - killed
                if late > LOCKED:
                    self.unreachable.append(
                        f"the mailbox of u{user} cannot be fetched")
                    break
                time.sleep(0.2)
            if late:
                print(f"u{user} was locked for {late:.0f} s", flush=True)

    def try_drain(self, user):
        try:
            return self.traffic.fetch(user) is not None
        except RETRIES:
            return False

    def reach(self, share):
        wanted = int(self.messages * share)
        wait_for(lambda: self.accepted() >= wanted,
                 f"{wanted} messages, of which {self.accepted()} came", 300)

    def go(self):
        seed = random.randrange(1 << 30)
        print(f"seed {seed}", flush=True)
        submitters = [self.in_front(self.submit, seed + n)
                      for n in range(SUBMITTERS)]
        fetchers = [self.in_front(self.fetch, seed + 100 + n)
                    for n in range(FETCHERS)]
        self.reach(0.2)
        self.say("all is well")
        print(f"the store on {self.hosts[2].name} is killed", flush=True)
        self.store.kill_part(self.hosts[2])
        self.reach(0.45)
        self.say("without it")
        self.store.start_part(self.hosts[2])
        wait_for(lambda: self.store.has_healed(self.hosts[2]),
                 "the store to heal", 900)
        self.say("while it heals")
        self.reach(0.65)
        self.say("all is well")
        print(f"{self.hosts[1].name} is killed", flush=True)
        self.in_front(self.hold, self.hosts[1]).join()
        self.hosts[1].kill()
        killed = time.monotonic()
        for thread in submitters:
            thread.join()
        self.say("without it")
        self.over.set()
        for thread in fetchers:
            thread.join()
        self.in_front(self.drain, killed).join()
        print(f"{self.traffic}: the end", flush=True)
        return self.unreachable + self.traffic.wrong()

    def say(self, what):
        """What clients saw since this was called last."""
        began, accepted, failures = self.since
        now = time.monotonic()
        self.since = now, self.accepted(), self.failures
        times = [began, *(end for end in self.ends if end > began), now]
        pause = max(after - before for before, after
                    in zip(times, times[1:]))
        print(f"{what}: {self.accepted() - accepted} accepted, "
              f"{(self.accepted() - accepted) / (now - began):.0f} a second, "
              f"{self.failures - failures} sessions ended early, the longest "
              f"submission took {self.slowest:.1f} s, the longest time "
              f"without one {pause:.1f} s", flush=True)
        self.slowest = 0


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in STORES:
        sys.exit(__doc__)
    if os.getuid() != 0:
        sys.exit("needs root, for namespaces and file systems")
    messages = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hosts-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        network = Network(folder, stack)
        hosts = [network.host(name) for name in ("one", "two", "three")]
        began = time.monotonic()
        store = STORES[sys.argv[1]](network, hosts)
        mail = Mail(network, hosts)
        print(f"{sys.argv[1]}: up in {time.monotonic() - began:.0f} s",
              flush=True)
        run = Run(store, hosts, mail, messages)
        wrong = run.go()
        if wrong:
            print("--- what is in the store\n" + hosts[0].run(
                "timeout", "60", "find", store.files(hosts[0]), "-type", "f",
                check=False).stdout)
            for name, text in mail.logs():
                print(f"--- {name}\n{text}")
    for line in wrong:
        print("WRONG:", line)
    print("each was fetched exactly once" if not wrong else "failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
