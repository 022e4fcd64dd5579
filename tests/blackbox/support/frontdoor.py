"""What the tests of the front door share: one set of words for both programs,
hashes, TLS over anything, several sessions at a time, a network and files of
its own for those who are root, proxies in front."""

import array
import concurrent.futures
import contextlib
import ctypes
import fcntl
import functools
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import termios
import threading
import time

from certs import certificates
from mailtest import (CLONE_NEWNET, DEADLINE, HELPERS, POP3, SMTP, Pop3Peer,
                      SmtpPeer, TestCase, plain, shared_folder, wait_for)
from superservers import SuperServer, listening, tool, tool_environment

BOTH = (POP3, SMTP)
KIND = {POP3: Pop3Peer, SMTP: SmtpPeer}

# A login's verdict, as login_reply tells it
RIGHT = {POP3: "+OK", SMTP: "235 2.7.0"}
WRONG = {POP3: "-ERR [AUTH]", SMTP: "535 5.7.8"}
LATER = {POP3: "-ERR [SYS/TEMP]", SMTP: "454 4.7.0"}

# What a super-server says of a peer that is not on this machine
REMOTE = {"TCPREMOTEIP": "192.0.2.7", "TCPREMOTEPORT": "4711"}


# One set of words for both programs

def capa(peer):
    """Keywords of CAPA."""
    return {line.split(b" ")[0].decode()
            for line in peer.multi("CAPA")[1].split(b"\r\n")[:-1]}


def offers(peer):
    """Greeting, then what is offered: keywords of EHLO or CAPA."""
    if isinstance(peer, SmtpPeer):
        return set(peer.hello())
    peer.expect(None, r"\+OK")
    return capa(peer)


def offers_login(peer):
    """Greeting, then whether logins are offered."""
    return bool({"AUTH", "USER"} & offers(peer))


def send_login(peer, user="joe", password="secret-pw"):
    if isinstance(peer, SmtpPeer):
        peer.send(f"AUTH PLAIN {plain(user, password)}\r\n")
    else:
        peer.send(f"USER {user}\r\nPASS {password}\r\n")


def login_reply(peer):
    """One of RIGHT, WRONG, LATER, or what else it is."""
    if isinstance(peer, SmtpPeer):
        return str(peer.reply())
    peer.line()
    return re.match(r"(\+OK|-ERR(?: \[[A-Z/]+\])?)", peer.line().decode())[1]


def try_login(peer, user="joe", password="secret-pw"):
    send_login(peer, user, password)
    return login_reply(peer)


def noop(peer):
    """A command for any state of either program, and that it is answered
    right."""
    if isinstance(peer, SmtpPeer):
        peer.expect("NOOP", "250 2.0.0")
    else:
        peer.multi("CAPA")


def taken(peer):
    """Wait until the handler has read all that was sent."""
    transport = getattr(peer.transport, "under", peer.transport)
    sock = getattr(transport, "sock", None) or transport.owner

    def left():
        count = array.array("i", [0])
        fcntl.ioctl(sock.fileno() if sock else transport.writer,
                    termios.TIOCOUTQ if sock else termios.FIONREAD, count)
        return count[0]
    deadline = time.monotonic() + DEADLINE
    while left() > 0:
        if time.monotonic() > deadline:
            raise AssertionError("the handler does not read")
        time.sleep(0.0002)


# Hashes

@functools.cache
def crypt_library():
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = library.crypt_gensalt.restype = ctypes.c_char_p
    return library


# Cheap ones: the tests count hashes, they do not wait for them
METHODS = {"yescrypt": (b"$y$", 1), "bcrypt": (b"$2b$", 4),
           "sha512": (b"$6$", 1000), "sha256": (b"$5$", 1000)}


def hash_of(password, method="sha512"):
    """A new hash of the password by crypt(3)."""
    prefix, cost = METHODS[method]
    library = crypt_library()
    setting = library.crypt_gensalt(prefix, ctypes.c_ulong(cost), None, 0)
    made = library.crypt(password.encode(), setting)
    if made is None or not made.startswith(prefix):
        raise AssertionError(f"no {method} by crypt(3): {made!r}")
    return made.decode()


# TLS over any transport, begun at any time

class BioTransport:
    """TLS over another transport, which may have carried plain text before.
    prefix goes out with the ClientHello in one write."""

    def __init__(self, under, context, name="localhost", prefix=b""):
        self.under = under
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing,
                                    server_hostname=name)
        self.pending = bytearray(prefix)
        self.starved = True
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                if not under.wait(False, deadline)[0]:
                    raise AssertionError("no answer in the handshake")
                self.take_in()
        self.flush()

    def flush(self):
        """Send all there is."""
        self.pending += self.outgoing.read()
        deadline = time.monotonic() + DEADLINE
        while self.pending:
            if self.under.wait(True, deadline)[1]:
                del self.pending[:self.under.send(bytes(self.pending))]
            elif time.monotonic() > deadline:
                raise AssertionError("the handler does not read")

    def take_in(self):
        try:
            data = self.under.recv()
        except BlockingIOError:
            return
        self.starved = False
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def wait(self, sending, deadline):
        if self.tls.pending() or (self.incoming.pending and not self.starved):
            return True, False
        return self.under.wait(sending, deadline)

    def recv(self):
        """b"" after close_notify; SSLError for an end without."""
        for last in (False, True):
            try:
                return self.tls.read(262144)
            except ssl.SSLZeroReturnError:      # after end_output
                return b""
            except ssl.SSLWantReadError:
                self.starved = True
                if last:
                    return None
                self.take_in()

    def send(self, data):
        sent = self.tls.write(data[:65536])
        self.flush()
        return sent

    def end_output(self):
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self.flush()

    def close(self):
        self.under.close()


def upgrade(peer, context, name="localhost", prefix=b""):
    """TLS from here on; nothing may have been said that is not read yet."""
    if peer.buffer:
        raise AssertionError(f"clear text before TLS: {bytes(peer.buffer)!r}")
    if prefix:
        print("C:", prefix[:300])
    peer.transport = BioTransport(peer.transport, context, name, prefix)


def start_tls(peer, context, name="localhost"):
    """STARTTLS or STLS."""
    if isinstance(peer, SmtpPeer):
        peer.expect("STARTTLS", "220 2.0.0")
    else:
        peer.expect("STLS", r"\+OK")
    upgrade(peer, context, name)


def client_hello(context, name="localhost"):
    """The first octets of a TLS client."""
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def drip(peer, octets, period, seconds):
    """One octet each period (none where there are none) until the connection
    ends or so many seconds are over; whether it ended.  What came is in
    peer.buffer."""
    end = time.monotonic() + seconds
    position = 0
    while not peer.ended and time.monotonic() < end:
        pause = time.monotonic() + period
        while not peer.ended and (left := pause - time.monotonic()) > 0:
            if peer.transport.wait(False, time.monotonic() + left)[0]:
                try:
                    peer.fill(pause)
                except ConnectionResetError:
                    peer.ended = True
        if peer.ended or not octets:
            continue
        try:
            peer.transport.send(octets[position:position + 1])
        except (BrokenPipeError, ConnectionResetError):
            continue        # its last words are still to be read
        except BlockingIOError:
            continue        # it reads even more slowly
        position = (position + 1) % len(octets)
    return peer.ended


# Test cases

class FrontDoor(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.certs = certificates()
        self.tls = self.certs.client_context()
        self.lock = threading.Lock()

    def fresh_path(self, stem):
        with self.lock:
            return super().fresh_path(stem)

    def door(self, program, *options, **kwargs):
        """A handler on self.mail and a peer that speaks its protocol."""
        return self.spawn(program, "--maildir", self.mail, *options,
                          kind=KIND[program], **kwargs)

    def together(self, scenarios):
        """Run them all at once, for mostly they wait; {name: function}."""
        with concurrent.futures.ThreadPoolExecutor(len(scenarios)) as pool:
            futures = {name: pool.submit(scenario)
                       for name, scenario in scenarios.items()}
        for name, future in futures.items():
            with self.subTest(name):
                future.result()

    def users(self, *lines, name="users", mode=0o600):
        return self.write(name, "".join(f"{line}\n" for line in lines), mode)

    def assert_logged(self, server, pattern):
        """By one of an OwnServer's processes, which it may learn of later
        than their peers do."""
        wait_for(lambda: re.search(pattern, server.log()),
                 f"{pattern} in the log")

    def assert_ended_well(self, peer):
        """Exit 0; the peer's end is closed if it was not."""
        self.assertEqual(peer.exit_status(), 0, peer.process.log())

    def assert_exit_78(self, program, *options, named=(), **kwargs):
        """It does not even begin: nothing to the peer, one log line with all
        that is in named.  That line."""
        peer = self.spawn(program, *options, kind=KIND[program], **kwargs)
        peer.end_output()
        self.assertEqual(peer.process.wait(), 78, peer.process.log())
        self.assertEqual(peer.rest(), b"")
        log = peer.process.log()
        for text in named:
            self.assertIn(str(text), log)
        return log


# A network of its own

class Network:
    """A network namespace where 192.0.2.1 and 2001:db8::1 are addresses of
    this machine and every port is free, and mounts and processes of its own.
    Programs are started there with enter(), connections from there made with
    `with inside()`.  Nothing in it outlives it."""

    REMOTE = "192.0.2.1"
    REMOTE6 = "2001:db8::1"

    def __init__(self, test, *commands):
        """commands: shell commands that prepare it further."""
        test.need_root("make a network namespace")
        script = "\n".join((
            "set -e", "ip link set lo up",
            f"ip addr add {self.REMOTE}/32 dev lo",
            f"ip -6 addr add {self.REMOTE6}/128 dev lo nodad", *commands,
            "echo ready", "exec sleep 600"))
        self.process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private",
             "--pid", "--fork", "--kill-child", "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        test.addCleanup(self.stop)
        with self.process.stdout as stdout:
            test.assertEqual(stdout.readline(), b"ready\n")
        self.pid = int(pathlib.Path(
            f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            .read_text())

    def stop(self):
        self.process.kill()
        self.process.wait()

    def enter(self, argv):
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "--", *argv]

    def listening(self, port):
        return listening(port, f"/proc/{self.pid}/net")

    @contextlib.contextmanager
    def inside(self):
        """Sockets made meanwhile by this thread belong there."""
        libc = ctypes.CDLL(None, use_errno=True)

        def go(fd):
            if libc.setns(fd, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        with open("/proc/thread-self/ns/net", "rb") as home, \
                open(f"/proc/{self.pid}/ns/net", "rb") as there:
            go(there.fileno())
            try:
                yield
            finally:
                go(home.fileno())

    def dial(self, address, source=None):
        """A connection in there, from the source address."""
        with self.inside():
            return socket.create_connection(
                address, DEADLINE, (source, 0) if source else None)


# Proxies in front

class InNetwork(SuperServer):
    """A super-server or proxy in a Network, or outside where that is None.
    ports: where it will listen, if not on self.port."""

    def __init__(self, test, argv, env=None, network=None, ports=()):
        self.network, self.ports = network, ports
        super().__init__(test, argv, env)

    def wait_ready(self):
        check = self.network.listening if self.network else listening
        for port in self.ports or [self.port]:
            wait_for(lambda: check(port) or self.died(),
                     f"{type(self).__name__} to listen")

    def inner(self, argv):
        argv = [str(arg) for arg in argv]
        return self.network.enter(argv) if self.network else argv


class Haproxy(InNetwork):
    """argv is the text of the sections after global and defaults, with PORT
    for the port; settings is more for the global section."""

    settings = ""

    def command(self, text):
        config = self.test.fresh_path("haproxy.cfg")
        config.write_text(
            f"global\n\tlog stdout format raw local0\n{self.settings}"
            "defaults\n\tlog global\n\tmode tcp\n\ttimeout connect 60s\n"
            "\ttimeout client 90s\n\ttimeout server 90s\n"
            # Else a check has no longer than until the next one
            "\ttimeout check 60s\n"
            + text.replace("PORT", str(self.port)))
        return self.inner([tool("haproxy", "haproxy"), "-db", "-f", config])

    def environ(self, env):
        return tool_environment("haproxy", env)


class Stunnel(InNetwork):
    """argv is the text of the services, with PORT for the port; settings is
    more for the global options."""

    settings = ""

    def command(self, text):
        config = self.test.fresh_path("stunnel.conf")
        config.write_text("foreground = yes\npid =\nsyslog = no\n"
                          f"debug = notice\n{self.settings}"
                          + text.replace("PORT", str(self.port)))
        return self.inner([tool("stunnel4", "stunnel4"), config])

    def environ(self, env):
        return tool_environment("stunnel4", env)


# Counting hashes

CRYPT_SHIM = r"""
#define _GNU_SOURCE
#include <crypt.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
note(const char *setting)
{
	int fd = open(getenv("CRYPT_LOG"), O_WRONLY | O_APPEND | O_CREAT |
	    O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, setting, strlen(setting)) < 0 ||
	    write(fd, "\n", 1) < 0)
		abort();
	close(fd);
}

char *
crypt(const char *phrase, const char *setting)
{
	char *(*real)(const char *, const char *) =
	    dlsym(RTLD_NEXT, "crypt");

	note(setting);
	return real(phrase, setting);
}

char *
crypt_r(const char *phrase, const char *setting, struct crypt_data *data)
{
	char *(*real)(const char *, const char *, struct crypt_data *) =
	    dlsym(RTLD_NEXT, "crypt_r");

	note(setting);
	return real(phrase, setting, data);
}

char *
crypt_rn(const char *phrase, const char *setting, void *data, int size)
{
	char *(*real)(const char *, const char *, void *, int) =
	    dlsym(RTLD_NEXT, "crypt_rn");

	note(setting);
	return real(phrase, setting, data, size);
}

char *
crypt_ra(const char *phrase, const char *setting, void **data, int *size)
{
	char *(*real)(const char *, const char *, void **, int *) =
	    dlsym(RTLD_NEXT, "crypt_ra");

	note(setting);
	return real(phrase, setting, data, size);
}
"""


@functools.cache
def preload(name, text):
    """The environment that loads a library of this C text first."""
    folder = pathlib.Path(shared_folder())
    path = folder / f"{name}.so"
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            source = folder / f"{name}.c"
            source.write_text(text)
            made = folder / f"{name}.tmp"
            subprocess.run(["cc", "-shared", "-fPIC", "-o", made, source,
                            "-ldl"], check=True)
            made.rename(path)
    return preloaded(path)


def preloaded(*libraries):
    """The environment that loads these first."""
    # Sanitizers want to be the first library, but can do without
    return {"LD_PRELOAD": ":".join(map(str, libraries)),
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")
            + ":verify_asan_link_order=0"}


class HashCount:
    """Which hashes a handler makes that is started with env."""

    def __init__(self, test):
        self.file = test.fresh_path("hashes")
        self.env = {**preload("crypt_shim", CRYPT_SHIM),
                    "CRYPT_LOG": self.file}

    def take(self):
        """(method, cost) of each hash since the last take."""
        if not self.file.exists():
            return []
        made = self.file.read_text().splitlines()
        self.file.unlink()
        return [work_of(setting) for setting in made]


def work_of(setting):
    """What making the hash takes: all of it but salt and hash."""
    match = re.match(r"\$(?:y\$[^$]+|2b\$\d\d|[56](?:\$rounds=\d+)?)\$",
                     setting)
    return match[0] if match else setting[:2]


# Looking into a process

def find_in_memory(pid, needles):
    """Those of the needles that are anywhere in the process's memory."""
    found = set()
    with open(f"/proc/{pid}/maps") as maps, \
            open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for row in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r(w?)", row)
            if not match or row.rstrip().endswith(("[vvar]", "[vsyscall]",
                                                   "[vvar_vclock]")):
                continue
            start, end = int(match[1], 16), int(match[2], 16)
            if end - start > 1 << 25:   # a sanitizer's shadow
                continue
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except OSError:
                continue
            found.update(needle for needle in needles if needle in content)
    return found


# A checkpassword that tells what it saw

class Witness:
    """--auth exec: with helpers/witness.py, which reports and exits as it is
    told."""

    def __init__(self, test, end="0", *more):
        self.test = test
        self.file = test.fresh_path("witness")
        self.option = ["--auth", "exec:" + " ".join(
            [str(HELPERS / "witness.py"), str(self.file), end, *more])]

    def report(self):
        """What the only login so far showed it."""
        wait_for(self.file.exists, "the checkpassword program's report")
        return json.loads(self.file.read_text())

    def ran(self):
        return self.file.exists()


def alive(pid):
    """Whether the process runs (a zombie does not)."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"

