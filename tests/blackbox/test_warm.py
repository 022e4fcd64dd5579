"""A parent that accepts connections and forks a child for each: --accept,
--listen.  "Accepting connections" in the man pages."""

import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest

from certs import certificates
from clock import Clock, until_process_waits
from frontdoor import preload
from mailtest import (DEADLINE, POP3, SANITIZED, SMTP, Pop3Peer, Process,
                      SmtpPeer, TestCase, clean_environment, kill_quietly,
                      wait_for)
from warm import Warm, cpu_seconds, status_of

TEXT = b"Subject: one\n\nbody\n"
# A minute is a second.
ALARM_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>

unsigned
alarm(unsigned seconds)
{
	unsigned (*real)(unsigned) = dlsym(RTLD_NEXT, "alarm");

	return real(seconds / 60);
}
"""


class WarmCase(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()

    def start(self, program, *options, **kwargs):
        return Warm(self, program, "--tls", "off", "--auth", "any",
                    "--maildir", self.mail, *options, **kwargs)

    def start_smtp(self, *options, **kwargs):
        return self.start(SMTP, "--no-auth-required", *options, **kwargs)

    def dial(self, warm, kind=SmtpPeer, host="127.0.0.1"):
        return self.connect(warm.port, kind, host=host)

    def submit(self, warm, **kwargs):
        peer = self.dial(warm, **kwargs)
        peer.hello()
        self.assertRegex(str(peer.message(TEXT)), r"250 2\.0\.0")
        peer.quit()

    def assert_one_a_second(self, warm, pattern, began):
        """Lines of the log, and not many at once."""
        count = warm.count(pattern)
        self.assertLessEqual(count, 2 + time.monotonic() - began)

    def listening(self, backlog=512):
        sock = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.addCleanup(sock.close)
        return sock


class Listen(WarmCase):
    def test_as_a_tester_types_it(self):
        port = self.path("port")
        options = ["--listen", "0", "--tls", "off", "--no-auth-required",
                   "--maildir", self.mail, "--port-file", port]
        warm = Warm(self, SMTP, *options, sock=self.listening(), ready=False)
        wait_for(port.exists, "the port's file")
        warm.port = int(port.read_text())
        self.submit(warm)
        self.submit(warm, host="::1")
        self.assertEqual(len(self.stored()), 2)
        self.assertRegex(warm.log(), r'listening: address="127\.0\.0\.1:'
                         rf'{warm.port} \[::1\]:{warm.port}"\n')
        warm.signal(signal.SIGTERM)
        self.assertEqual(warm.ends(), 0)
        self.assertFalse(port.exists())
        self.assertRegex(warm.log(), r"stopped: reason=SIGTERM sessions=2\n")

    def test_ports_of_several(self):
        port = self.path("port")
        warm = self.start_smtp("--listen", "127.0.0.1:0", "--listen",
                               "[::1]:0", "--port-file", port,
                               sock=self.listening(), ready=False)
        wait_for(port.exists, "the port's file")
        ports = [int(line) for line in port.read_text().splitlines()]
        self.assertEqual(len(ports), 2)
        for warm.port, host in zip(ports, ("127.0.0.1", "::1")):
            self.submit(warm, host=host)

    def test_tells_the_service_manager(self):
        path = self.path("notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(path))
            notify.settimeout(DEADLINE)
            warm = self.start_smtp(env={"NOTIFY_SOCKET": path})
            self.assertEqual(notify.recv(100), b"READY=1")
            peer = self.dial(warm)
            peer.hello()
            child, = warm.wait_children(1)
            peer.quit()
            warm.signal(signal.SIGTERM)
            self.assertEqual(notify.recv(100), b"STOPPING=1")
            self.assertEqual(warm.ends(), 0)

    def test_port_in_use(self):
        port = self.listening().getsockname()[1]
        status, out, err = self.run_to_end(
            *self.argv(SMTP, "--tls", "off", "--no-auth-required",
                       "--maildir", self.mail, "--listen", port))
        self.assertEqual((status, out), (78, ""))
        self.assertIn(f"port {port} at 127.0.0.1 is in use by another "
                      "program", err)

    def test_wrong_addresses(self):
        for where in ("x", "65536", "127.0.0.1", "::1:25", "[::1]", "mx:25"):
            with self.subTest(where=where):
                status, _, err = self.run_to_end(*self.argv(
                    SMTP, "--tls", "off", "--maildir", self.mail, "--listen",
                    where))
                self.assertEqual(status, 64)
                self.assertIn("--listen must be a port", err)
                self.assertIn("0.0.0.0:1025 for all", err)

    def test_exit_after_messages(self):
        warm = self.start_smtp("--exit-after", "2", "--idle-exit", "60")
        self.submit(warm)
        peer = self.dial(warm)
        peer.hello()
        peer.expect("MAIL FROM:<>", "250 2.1.0")
        peer.expect("RCPT TO:<bad", "501 5.1.3")
        peer.expect("RSET", "250 2.0.0")
        self.assertTrue(warm.process.running())
        self.assertRegex(str(peer.message(TEXT)), r"250 2\.0\.0")
        peer.quit()
        self.assertEqual(warm.ends(), 0)
        self.assertEqual(len(self.stored()), 2)
        self.assertRegex(warm.log(), "stopped: reason=--exit-after ")

    def test_exit_after_with_a_client_that_stays(self):
        warm = self.start_smtp("--exit-after", "1")
        peer = self.dial(warm)
        peer.hello()
        peer.message(TEXT)
        peer.expect(None, "421 4.3.2")
        self.assertEqual(warm.ends(), 0)

    def test_exit_after_sessions(self):
        warm = self.start(POP3, "--exit-after", "2")
        for _ in range(2):
            self.dial(warm, Pop3Peer).login().quit()
        self.assertEqual(warm.ends(), 0)

    def test_too_few(self):
        warm = self.start_smtp("--exit-after", "2", "--idle-exit", "1")
        self.submit(warm)
        self.assertEqual(warm.ends(), 1)
        self.assertIn('stopped: reason="--idle-exit before --exit-after"',
                      warm.log())

    def test_exit_after_alone(self):
        status, _, err = self.run_to_end(*self.argv(
            SMTP, "--tls", "off", "--no-auth-required", "--maildir",
            self.mail, "--exit-after", "1"))
        self.assertEqual(status, 78)
        self.assertIn("--exit-after is for --accept and --listen", err)

    def test_interrupt(self):
        """Ctrl-C reaches parent and children: the parent says what follows."""
        warm = self.start_smtp()
        peer = self.dial(warm)
        peer.hello()
        for pid in [*warm.wait_children(1), warm.pid]:
            os.kill(pid, signal.SIGINT)
        peer.expect(None, "421 4.3.2")
        self.assertEqual(warm.ends(), 0)

    def test_terminal_that_is_closed(self):
        """Nobody could stop it from there any more."""
        main, terminal = pty.openpty()
        port = self.path("port")
        process = Process(
            ["setsid", "--ctty", *self.argv(
                SMTP, "--tls", "off", "--no-auth-required", "--maildir",
                self.mail, "--listen", "0", "--port-file", port)],
            terminal, terminal, self.path("log"))
        self.addCleanup(process.stop)
        wait_for(port.exists, "the port's file")
        os.kill(process.pid, signal.SIGHUP)     # the terminal is there
        wait_for(lambda: process.log().count(" listening: ") == 2, "reload")
        os.close(terminal)
        os.close(main)
        self.assertEqual(process.wait(), 0)
        self.assertIn('stopped: reason="its terminal is gone"', process.log())

    def test_settings_file(self):
        config = self.write("smtp.conf", f"""
listen = 127.0.0.1:0
listen = [::1]:0
port-file = {self.path("port")}
max-connections = 3
max-per-source = 2
idle-exit = 100
exit-after = 1
no-auth-required = yes
tls = off
maildir = {self.mail}
""")
        warm = Warm(self, SMTP, "--config", config, sock=self.listening(),
                    ready=False)
        wait_for(self.path("port").exists, "the port's file")
        warm.port = int(self.path("port").read_text().split()[0])
        self.submit(warm)
        self.assertEqual(warm.ends(), 0)


class Accept(WarmCase):
    """Sockets of others."""

    def test_descriptors(self):
        for passed in (False, True):
            for program, kind in ((SMTP, SmtpPeer), (POP3, Pop3Peer)):
                with self.subTest(passed=passed, program=program.name):
                    warm = self.start(program, sock=self.listening(),
                                      passed=passed)
                    peer = self.dial(warm, kind)
                    peer.expect(None, r"220|\+OK")
                    peer.quit()
                    self.assertRegex(warm.log(), r"connect: peer=127\.0\.0\.1"
                                     r":\d+ local=yes")
                    warm.signal(signal.SIGTERM)
                    self.assertEqual(warm.ends(), 0)

    def test_unix_socket(self):
        path = str(self.path("socket"))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
            sock.listen()
            warm = self.start_smtp(sock=sock)
            for _ in range(20):     # nobody who could be counted
                client = socket.socket(socket.AF_UNIX)
                client.connect(path)
                peer = SmtpPeer(self.transport(client))
                self.addCleanup(peer.close)
                peer.hello()
            self.assertIn("connect: peer=local local=yes", warm.log())

    def test_refused(self):
        a, b = socket.socketpair()
        with a, b:
            status, _, err = self.run_to_end(*self.argv(
                SMTP, "--tls", "off", "--no-auth-required", "--maildir",
                self.mail, "--accept"), stdin=a)
            self.assertEqual(status, 78)
            self.assertIn("Accept=no", err)
            self.assertIn("leave --accept out", err)

    def test_idle_exit_and_next_start(self):
        """The socket stays its owner's, and whoever comes is served by the
        next process, as systemd and inetd start it."""
        sock = self.listening()
        warm = self.start_smtp("--idle-exit", "1", sock=sock)
        self.submit(warm)
        self.assertEqual(warm.ends(), 0)
        self.assertIn("stopped: reason=--idle-exit sessions=1", warm.log())
        peer = self.connect(sock.getsockname()[1], SmtpPeer)
        self.start_smtp(sock=sock)
        peer.hello()

    def test_idle_exit_waits_for_sessions(self):
        warm = self.start_smtp("--idle-exit", "1", sock=self.listening())
        peer = self.dial(warm)
        peer.hello()
        time.sleep(1.5)         # past the idle time, which must not count
        self.assertTrue(warm.process.running())
        peer.quit()
        self.assertEqual(warm.ends(), 0)

    def test_none_is_lost_at_idle_exit(self):
        """Connections that come just when the idle time is over, to a
        super-server that starts the program whenever one waits."""
        sock = self.listening()
        port = sock.getsockname()[1]
        ended = threading.Event()
        statuses = []

        def inetd():
            while not ended.is_set():
                if not self.readable(sock):
                    continue
                process = subprocess.Popen(
                    [str(arg) for arg in self.argv(
                        SMTP, "--tls", "off", "--no-auth-required",
                        "--maildir", self.mail, "--accept", "--idle-exit",
                        "1")], stdin=sock, env=clean_environment(),
                    stderr=subprocess.DEVNULL)
                statuses.append(process.wait())

        thread = threading.Thread(target=inetd)
        thread.start()
        try:
            for n in range(8):
                peer = self.connect(port, SmtpPeer)
                peer.hello()
                peer.quit()
                time.sleep(0.98 + n * 0.005)
        finally:
            ended.set()
            thread.join()
        self.assertEqual(set(statuses), {0})

    @staticmethod
    def readable(sock):
        import select
        return select.select([sock], [], [], 0.05)[0]

    def test_wrong_settings_turn_away(self):
        """Who would start it again for whoever waits has no reason to."""
        sock = self.listening()
        waiting = self.connect(sock.getsockname()[1])
        for options in (["--maildir", self.mail, "--tls-cert", "/none"],
                        ["--max-size", "x"]):
            status, _, err = self.run_to_end(*self.argv(
                SMTP, "--no-auth-required", "--accept", *options), stdin=sock)
            self.assertIn(status, (64, 78), err)
            self.assertFalse(self.readable(sock))
        waiting.expect_end()


class Reload(WarmCase):
    def test_sessions_go_on(self):
        config = self.write("conf", "hostname = one.test\n")
        warm = self.start_smtp("--config", config)
        port = warm.port
        before = self.dial(warm)
        before.hello()
        child, = warm.wait_children(1)
        # That of the command line would win.
        config.write_text("hostname = two.test\nmax-size = 12345\n")
        warm.signal(signal.SIGHUP)
        warm.wait_log(" listening: ", 2)
        self.assertEqual(int(warm.port_file.read_text()), port)
        self.assertEqual(warm.children(), [child])
        self.assertRegex(str(before.message(TEXT)), r"250 2\.0\.0")
        after = self.dial(warm)
        self.assertEqual(after.hello()["SIZE"], "12345")
        self.assertEqual(len(warm.wait_children(2)), 2)
        warm.signal(signal.SIGTERM)
        for peer in (before, after):
            peer.expect(None, "421 4.3.2")
        self.assertEqual(warm.ends(), 0)

    def test_wrong_settings_stay_out(self):
        config = self.write("conf", "max-size = 23456\n")
        warm = self.start_smtp("--config", config, sock=self.listening())
        config.write_text("max-size = much\n")
        warm.signal(signal.SIGHUP)
        warm.wait_log("SIGHUP: the settings are wrong")
        self.assertIn("conf:1: max-size must be a number", warm.log())
        self.assertEqual(self.dial(warm).hello()["SIZE"], "23456")
        self.assertEqual(warm.count(" listening: "), 1)

    def test_signalled_while_it_looks(self):
        """What was mended meanwhile is looked at, too."""
        program = self.path("program")
        script = self.path("script")
        begun, go = self.path("begun"), self.path("go")
        script.write_text(f"#!/bin/sh\n>'{begun}'\n"
                          f"until [ -e '{go}' ]; do sleep 0.05; done\n"
                          "exit 78\n")
        script.chmod(0o755)
        program.symlink_to(SMTP)
        warm = self.start(program, "--no-auth-required")
        program.unlink()
        program.symlink_to(script)
        warm.signal(signal.SIGHUP)
        wait_for(begun.exists, "the settings to be looked at")
        program.unlink()
        program.symlink_to(SMTP)
        warm.signal(signal.SIGHUP)
        # It has been heard: the parent takes it before connections.
        self.submit(warm)
        go.touch()
        warm.wait_log("SIGHUP: the settings are wrong")
        warm.wait_log(" listening: ", 2)
        self.submit(warm)

    def test_looking_hangs(self):
        """It is given up, and the next SIGHUP is heard."""
        program = self.path("program")
        script = self.path("script")
        script.write_text("#!/bin/sh\nexec sleep 1000\n")
        script.chmod(0o755)
        program.symlink_to(SMTP)
        warm = self.start(program, "--no-auth-required",
                          env=preload("alarm_shim", ALARM_SHIM))
        program.unlink()
        program.symlink_to(script)
        warm.signal(signal.SIGHUP)
        warm.wait_log("SIGHUP: looking at the settings took more than 60 "
                      "seconds, those from before stay")
        self.submit(warm)
        program.unlink()
        program.symlink_to(SMTP)
        warm.signal(signal.SIGHUP)
        warm.wait_log(" listening: ", 2)
        self.submit(warm)

    def test_ended_while_it_looks(self):
        """SIGTERM wins over a SIGHUP just before."""
        warm = self.start_smtp()
        peer = self.dial(warm)
        peer.hello()
        warm.signal(signal.SIGHUP)
        warm.signal(signal.SIGTERM)
        peer.expect(None, "421 4.3.2")
        self.assertEqual(warm.ends(), 0)

    def test_counts_go_on(self):
        warm = self.start_smtp("--exit-after", "2")
        self.submit(warm)
        warm.signal(signal.SIGHUP)
        warm.wait_log(" listening: ", 2)
        self.submit(warm)
        self.assertEqual(warm.ends(), 0)
        self.assertIn("sessions=2", warm.log())

    def test_limits_count_sessions_of_before(self):
        warm = self.start_smtp("--max-per-source", "2", sock=self.listening())
        peers = [self.dial(warm) for _ in range(2)]
        for peer in peers:
            peer.hello()
        warm.signal(signal.SIGHUP)
        warm.wait_log(" listening: ", 2)
        self.dial(warm).expect_end()
        peers[0].quit()
        warm.wait_children(1)
        self.dial(warm).hello()

    def test_none_is_lost(self):
        for how in ({}, {"sock": self.listening()},
                    {"sock": self.listening(), "passed": True}):
            with self.subTest(**how):
                warm = self.start_smtp("--log-level", "info", **how)
                for n in range(60):
                    if n % 20 == 0:
                        warm.signal(signal.SIGHUP)
                    peer = self.dial(warm)
                    peer.hello()
                    peer.quit()
                self.assertTrue(warm.process.running())


class Clean(WarmCase):
    """A child is as clean as a process that was executed."""

    def test_signals_and_descriptors(self):
        self.need_root("see a handler's descriptors")
        executed = self.smtp()
        executed.hello()
        warm = self.start(SMTP)
        peer = self.dial(warm)
        peer.hello()
        child, = warm.wait_children(1)
        # Both wait, and signals get in only then.
        ours, theirs = (wait_for(lambda: self.waiting(pid), "it to wait")
                        for pid in (child, executed.process.pid))
        for name in ("SigBlk", "SigPnd", "ShdPnd", "NoNewPrivs",
                     "CoreDumping"):
            self.assertEqual(ours[name], theirs[name], name)
        # Of the signals those to the parent alone are ignored, and the end of
        # a child is heeded already.
        extra = (1 << signal.SIGINT - 1) | (1 << signal.SIGHUP - 1)
        self.assertEqual(int(ours["SigIgn"], 16),
                         int(theirs["SigIgn"], 16) | extra)
        # Three standard ones, the connection, the way to the parent
        fds = sorted(os.listdir(f"/proc/{child}/fd"), key=int)
        self.assertEqual(len(fds), 5, [os.readlink(f"/proc/{child}/fd/{fd}")
                                       for fd in fds])
        self.assertEqual(os.readlink(f"/proc/{child}/fd/0"), "/dev/null")
        self.assertEqual(os.readlink(f"/proc/{child}/fd/1"), "/dev/null")

    @staticmethod
    def waiting(pid):
        status = status_of(pid)
        return int(status["SigBlk"], 16) == 0 and status

    def test_nothing_in_common(self):
        """No random octet, no session's name, no file's name twice."""
        certs = certificates()
        warm = Warm(self, SMTP, *certs.server.options(), "--auth", "any",
                    "--maildir", self.mail)
        randoms = set()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = certs.client_context(version)
            for _ in range(8):
                randoms.add(self.server_random(warm, context))
        self.assertEqual(len(randoms), 16)
        for first in randoms:
            for second in randoms - {first}:
                same = [a == b for a, b in zip(first, second)]
                self.assertLess(sum(same), 16)
        names = re.findall(r"\]: ([0-9A-F]{12}) connect:", warm.log())
        self.assertEqual(len(set(names)), 16)
        self.assertEqual(len(self.stored()), 16)
        unique = {re.match(r"\d+\.M\d+P(\d+)_([0-9a-f]+)", name).groups()
                  for name in self.stored()}
        self.assertEqual(len({pid for pid, _ in unique}), 16)
        self.assertEqual(len({word for _, word in unique}), 16)

    def server_random(self, warm, context):
        """32 octets of the ServerHello, seen on the wire; and a message."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing,
                               server_hostname="localhost")
        seen = bytearray()
        with socket.create_connection(("127.0.0.1", warm.port),
                                      DEADLINE) as sock:
            def step(function, *args):
                while True:
                    try:
                        result = function(*args)
                        sock.sendall(outgoing.read())
                        return result
                    except ssl.SSLWantReadError:
                        sock.sendall(outgoing.read())
                        data = sock.recv(65536)
                        seen.extend(data)
                        incoming.write(data)

            step(tls.do_handshake)
            for line in (None, b"EHLO client.test", b"AUTH PLAIN AGpvZQB4",
                         b"MAIL FROM:<a@b.example>", b"RCPT TO:<c@d.example>",
                         b"DATA", b"Subject: x\r\n\r\nx\r\n.", b"QUIT"):
                if line:
                    step(tls.write, line + b"\r\n")
                step(tls.read)
        # RFC 8446 4.1.3: record header, handshake header, version, random
        self.assertEqual(seen[5], 2)
        return bytes(seen[11:43])

    def test_password_that_changed(self):
        def users(password):
            digest = subprocess.run(
                ["openssl", "passwd", "-6", password], check=True,
                stdout=subprocess.PIPE, text=True).stdout
            return self.write("users", f"anna:{digest}")
        warm = Warm(self, POP3, "--tls", "off", "--maildir", self.mail,
                    "--auth", f"file:{users('first')}")
        self.dial(warm, Pop3Peer).login("anna", "first").quit()
        users("second")
        self.dial(warm, Pop3Peer).login("anna", "second").quit()


class Others(WarmCase):
    """What happens to one child is nobody else's trouble."""

    def test_killed_and_stopped(self):
        warm = self.start_smtp()
        peers = []
        for n in range(4):
            peers.append(self.dial(warm))
            peers[-1].hello()
            warm.wait_children(n + 1)
        pids = warm.children()
        for pid, number in zip(pids, (signal.SIGABRT, signal.SIGKILL,
                                      signal.SIGSTOP)):
            os.kill(pid, number)
        warm.wait_children(2)
        self.submit(warm)
        self.assertRegex(str(peers[3].message(TEXT)), r"250 2\.0\.0")
        warm.wait_log(r"trouble: .*ended by signal ", 2)
        self.assertEqual(warm.count(r"for 127\.0\.0\.1 ended by signal 6 "),
                         1)
        self.assertEqual(warm.count(r"for 127\.0\.0\.1 ended by signal 9 "),
                         1)
        # One that is stopped ends with the others.
        warm.signal(signal.SIGTERM)
        peers[3].expect(None, "421 4.3.2")
        self.assertEqual(warm.ends(), 0)

    def test_no_memory(self):
        """A limit of memory that one session exceeds."""
        warm = self.start_smtp()
        peer = self.dial(warm)
        peer.hello()
        child, = warm.wait_children(1)
        subprocess.run(["prlimit", f"--pid={child}", "--as=1000"], check=True)
        self.submit(warm)
        kill_quietly(child)
        self.submit(warm)


class Limits(WarmCase):
    def test_more_wait(self):
        warm = self.start_smtp("--max-connections", "2")
        peers = [self.dial(warm) for _ in range(2)]
        for peer in peers:
            peer.hello()
        third = self.dial(warm)
        self.assertTrue(third.quiet(0.3))
        self.assertEqual(len(warm.children()), 2)
        peers[0].quit()
        third.hello()

    def test_of_one_source(self):
        warm = self.start_smtp("--max-per-source", "3")
        peers = [self.dial(warm) for _ in range(3)]
        for peer in peers:
            peer.hello()
        began = time.monotonic()
        for _ in range(40):
            self.dial(warm).expect_end()
        self.assert_one_a_second(warm, " refused: ", began)
        self.assertRegex(warm.log(), r'refused: peer=127\.0\.0\.1 reason='
                         r'"more than 3 connections at once: closed')
        # Another source, and the same one when there is room again
        self.dial(warm, host="::1").hello()
        peers[0].quit()
        warm.wait_children(3)
        self.dial(warm).hello()

    def proxied(self, warm, address):
        peer = self.dial(warm)
        family = "TCP6" if ":" in address else "TCP4"
        local = "::1" if ":" in address else "127.0.0.1"
        peer.send(f"PROXY {family} {address} {local} 4711 25\r\n")
        return peer

    def test_of_a_source_that_a_proxy_tells(self):
        warm = self.start_smtp("--max-per-source", "2", "--proxy-protocol")
        for n, address in enumerate(("2001:db8:1:1::1", "2001:db8:1:1:f::2")):
            self.proxied(warm, address).hello()
            warm.wait_children(n + 1)
        peer = self.proxied(warm, "2001:db8:1:1:e::3")
        peer.rest()             # perhaps a greeting, and the end
        self.assertRegex(warm.log(), "refused: peer=2001:db8:1:1::/64 ")
        self.proxied(warm, "2001:db8:1:2::1").hello()
        # The proxy's own address is one source like others.
        for _ in range(2):
            self.proxied(warm, "127.0.0.1").hello()
        self.proxied(warm, "192.0.2.7").hello()

    def test_failed_logins_cost_more_each_time(self):
        users = self.write("users", "anna:*\n")
        clock = Clock(self)
        warm = Warm(self, POP3, "--tls", "outer", "--maildir", self.mail,
                    "--auth", f"file:{users}", "--proxy-protocol",
                    env=clock.env)

        # Least is what a source gets that has not failed yet.
        for n, (address, delay) in enumerate((
                ("192.0.2.1", 1), ("192.0.2.1", 2), ("192.0.2.1", 4),
                ("192.0.2.2", 1)), 1):
            peer = self.proxied_pop3(warm, address)
            peer.expect(None, r"\+OK")
            peer.expect("USER anna", r"\+OK")
            peer.send("PASS x\r\n")
            warm.wait_log(" login-failed: ", n)
            until_process_waits(*warm.children())
            clock.advance(delay - 0.1)
            self.assertTrue(peer.quiet(0.05))
            clock.advance(0.2)
            peer.expect(None, r"-ERR \[AUTH\]")
            peer.close()
            warm.wait_children(0)

    def proxied_pop3(self, warm, address):
        peer = self.dial(warm, Pop3Peer)
        peer.send(f"PROXY TCP4 {address} 127.0.0.1 4711 110\r\n")
        return peer


class Floods(WarmCase):
    """Bounded processes, memory, time and log; service at once after."""

    def assert_bounded(self, warm, lines):
        self.assertLessEqual(len(warm.children()), 64)
        self.assertLess(warm.log().count("\n"), lines)
        self.assert_small(warm)

    def assert_small(self, warm):
        if not SANITIZED:
            self.assertLess(warm.process.peak_kib(), 16384)

    def open_all(self, port, n, sources=None, send=b""):
        socks = []
        for i in range(n):
            sock = socket.socket()
            self.addCleanup(sock.close)
            sock.setblocking(False)
            if sources:
                sock.bind((sources(i), 0))
            try:
                sock.connect(("127.0.0.1", port))
            except BlockingIOError:
                pass
            socks.append(sock)
            if send:
                wait_for(lambda: self.try_send(sock, send), "a connection")
        return socks

    @staticmethod
    def try_send(sock, data):
        try:
            sock.send(data)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def close_all(self, socks, reset=False):
        for sock in socks:
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                b"\1\0\0\0\0\0\0\0")
            sock.close()

    def setUp(self):
        super().setUp()
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 4096:
            self.skipTest("too few descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE,
                        (soft, hard))

    def test_silent(self):
        warm = self.start_smtp()
        spare = os.open("/dev/null", os.O_RDONLY)   # below what select() takes
        socks = self.open_all(warm.port, 2000)
        wait_for(lambda: " refused: " in warm.log(), "the limit")
        self.assertLessEqual(len(warm.children()), 16)
        os.close(spare)
        self.dial(warm, host="::1").hello()
        self.close_all(socks)
        wait_for(lambda: len(warm.children()) <= 1, "their end")
        self.submit(warm)
        self.assert_bounded(warm, 200)

    def test_resets(self):
        warm = self.start_smtp()
        for _ in range(20):
            self.close_all(self.open_all(warm.port, 100), reset=True)
        self.submit(warm, host="::1")
        wait_for(lambda: not warm.children(), "their end")
        self.submit(warm)
        self.assert_small(warm)

    def test_many_addresses(self):
        """As many sources as connections: the number of all is the limit."""
        warm = self.start_smtp()
        socks = self.open_all(
            warm.port, 2000, lambda i: f"127.1.{i // 250}.{i % 250 + 1}")
        warm.wait_children(64)
        self.assert_bounded(warm, 200)
        self.close_all(socks)
        wait_for(lambda: len(warm.children()) < 64, "their end")
        self.submit(warm)

    def test_half_a_handshake(self):
        certs = certificates()
        warm = Warm(self, SMTP, *certs.server.options(), "--auth", "any",
                    "--maildir", self.mail)
        hello = ssl.MemoryBIO()
        tls = ssl.create_default_context().wrap_bio(
            ssl.MemoryBIO(), hello, server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        octets = hello.read()
        socks = self.open_all(
            warm.port, 300, lambda i: f"127.2.{i // 250}.{i % 250 + 1}",
            send=octets[:len(octets) // 2])
        warm.wait_children(64)
        self.close_all(socks)
        peer = self.connect(warm.port, SmtpPeer, certs.client_context())
        peer.hello()
        self.assert_bounded(warm, 1000)

    def test_no_descriptors(self):
        """EMFILE: the connection waits, and nothing spins."""
        warm = self.start_smtp()
        peer = self.dial(warm)
        peer.hello()
        subprocess.run(["prlimit", f"--pid={warm.pid}", "--nofile=3:4096"],
                       check=True)
        before = cpu_seconds(warm.pid)
        began = time.monotonic()
        waiting = self.dial(warm)
        warm.wait_log("a connection waits: Too many open files", 2)
        self.assertLess(cpu_seconds(warm.pid) - before, 0.3)
        self.assert_one_a_second(warm, "a connection waits", began)
        subprocess.run(["prlimit", f"--pid={warm.pid}", "--nofile=1024:4096"],
                       check=True)
        waiting.hello()
        peer.quit()

    def test_socket_that_listens_no_more(self):
        """By somebody who has it too: nothing spins, and it ends well."""
        sock = self.listening()
        warm = self.start_smtp(sock=sock)
        before = cpu_seconds(warm.pid)
        sock.shutdown(socket.SHUT_RDWR)
        warm.wait_log("nothing can be accepted: Invalid argument", 2)
        self.assertLess(cpu_seconds(warm.pid) - before, 0.3)
        os.kill(warm.pid, signal.SIGTERM)
        self.assertEqual(warm.process.wait(), 0)

    @unittest.skipIf(os.geteuid() != 0, "needs a user without processes")
    def test_no_process(self):
        """A fork that fails is a closed connection."""
        uid = 63211
        for name in ("", "new", "cur", "tmp"):
            os.chown(self.mail / name, uid, uid)
        warm = self.start_smtp(user=uid, sock=self.listening(),
                               wrap=("prlimit", "--nproc=2"))
        peer = self.dial(warm)
        peer.hello()
        began = time.monotonic()
        for _ in range(50):
            self.dial(warm).expect_end()
        self.assert_one_a_second(warm, "no process for a connection", began)
        peer.quit()
        warm.wait_children(0)
        self.submit(warm)


if __name__ == "__main__":
    unittest.main()
