"""units/haproxy/several-hosts.cfg: one haproxy, three hosts.  Its checks log
in, and who is on a host that answers no more hears of it."""

import csv
import os
import re
import signal
import socket

from frontdoor import FrontDoor, Haproxy, Network, hash_of
from mailtest import (POP3, ROOT, SMTP, Closed, Pop3Peer, SmtpPeer, b64,
                      wait_for)
from warm import Warm

HOSTS = "one", "two", "three"
PORTS = {"pop3s": 995, "submissions": 465}
PASSWORD = "open-sesame"


class Several(FrontDoor):
    time_limit = 180

    def setUp(self):
        super().setUp()
        self.network = Network(self, *(f"ip addr add 192.0.2.{n}/32 dev lo"
                                       for n in (2, 3)))
        users = self.users(f"check:{hash_of(PASSWORD)}",
                           f"joe:{hash_of('secret-pw')}")
        self.stores = [self.path(name) for name in HOSTS]
        self.warm = {}
        for number, store in enumerate(self.stores, 1):
            for user in ("check", "joe"):
                self.make_maildir(store / user)
            for listen, program, port, more in (
                    ("pop3s", POP3, 1995, ["--allow-delete"]),
                    ("submissions", SMTP, 1465, [])):
                with self.network.inside():
                    sock = socket.create_server((f"192.0.2.{number}", port))
                self.addCleanup(sock.close)
                self.warm[listen, HOSTS[number - 1]] = Warm(
                    self, program, "--proxy-protocol", "--auth",
                    f"file:{users}", "--maildir", store / "%n",
                    *self.certs.server.options(), *more, sock=sock,
                    wrap=self.network.enter([]))
        self.stats = self.path("stats")
        self.start(self.shipped())

    def shipped(self):
        """With what an operator writes into it, and one client's sessions go
        to all hosts in turn."""
        text = (ROOT / "units/haproxy/several-hosts.cfg").read_text()
        for old, new in (
                ("PASS\\ CHECK-PASSWORD", f"PASS\\ {PASSWORD}"),
                ("AGNoZWNrAENIRUNLLVBBU1NXT1JE",
                 b64(f"\0check\0{PASSWORD}")),
                # Soon, but a slow machine is not down
                ("inter 5s fall 2 rise 2", "inter 500 fall 6 rise 2"),
                ("balance source", "balance roundrobin"),
                ("hash-type consistent", "")):
            self.assertIn(old, text)
            text = text.replace(old, new)
        return text

    def start(self, text):
        class Watched(Haproxy):
            settings = f"\tstats socket {self.stats}\n"
        Watched(self, text, network=self.network, ports=PORTS.values())

    def rows(self):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.stats))
            sock.sendall(b"show stat\n")
            with sock.makefile(encoding="ascii") as answer:
                return list(csv.DictReader(answer))

    def states(self):
        """{(listen, host): (UP or DOWN, outcome of the last check)}"""
        return {(row["# pxname"], row["svname"]):
                (row["status"], row["check_status"].removeprefix("* "))
                for row in self.rows() if row["svname"] in HOSTS}

    def wait_states(self, wanted):
        """All are up, but for those that are wanted otherwise."""
        expected = {(listen, host): ("UP", "L7OK") for listen in PORTS
                    for host in HOSTS} | wanted

        def reached():
            self.found = self.states()
            return self.found == expected
        try:
            wait_for(reached, f"{wanted}, all others up", 60)
        finally:
            print(self.found)

    def wait_checks(self, listen):
        """Three more of each host's checks log in."""
        checks = [(self.warm[listen, host], "login: .* user=check")
                  for host in HOSTS]
        seen = [warm.count(pattern) for warm, pattern in checks]
        for n, (warm, pattern) in zip(seen, checks):
            wait_for(lambda: warm.count(pattern) >= n + 3, "checks", 60)

    def connect_front(self, listen, kind):
        sock = self.network.dial((Network.REMOTE, PORTS[listen]))
        self.port = sock.getsockname()[1]
        peer = kind(self.transport(sock, self.tls))
        self.addCleanup(peer.close)
        return peer

    def login(self):
        """As joe, at the port from which his client comes: {port: peer}"""
        pop = self.connect_front("pop3s", Pop3Peer).login()
        return {self.port: pop}

    def test_checks_log_in(self):
        self.wait_states({})
        for listen in PORTS:
            self.wait_checks(listen)
        for warm in self.warm.values():
            self.assertNotRegex(warm.log(), "tls-failed|login-failed")
        for _ in HOSTS:
            self.login().popitem()[1].quit()
        for host in HOSTS:
            self.warm["pop3s", host].wait_log(
                rf" login: peer={Network.REMOTE}:\d+ user=joe")
        self.connect_front("submissions", SmtpPeer).ready().quit()

    def test_host_without_its_store(self):
        self.wait_states({})
        self.stores[1].rename(self.path("elsewhere"))
        self.wait_states({("pop3s", "two"): ("DOWN", "L7RSP")})
        self.path("elsewhere").rename(self.stores[1])
        self.wait_states({})

    def test_mailbox_of_the_checks_is_in_use(self):
        """By another host's check, or by one of a host that died."""
        self.wait_states({})
        for store in self.stores:
            self.mail = store / "check"
            self.hold_mailbox()
        self.wait_checks("pop3s")
        for host in HOSTS:
            self.warm["pop3s", host].wait_log("another session has it")
        self.wait_states({})

    def hold_mailbox(self):
        def held():
            pop = self.pop3("--allow-delete")
            pop.expect(None, r"\+OK")
            pop.expect("USER check", r"\+OK")
            return pop.cmd("PASS x").startswith("+OK")
        wait_for(held, "a moment without a check")

    def test_host_answers_no_more(self):
        """Its sessions are ended, too: nobody waits."""
        self.wait_states({})
        peers = self.login() | self.login() | self.login()
        stopped = self.warm["pop3s", "three"]
        stopped.wait_log(" login: .* user=joe")
        port, = re.findall(r" login: peer=\S+:(\d+) user=joe", stopped.log())
        for pid in (*stopped.children(), stopped.pid):
            os.kill(pid, signal.SIGSTOP)
        self.wait_states({("pop3s", "three"): ("DOWN", "L6TOUT")})
        with self.assertRaises((OSError, Closed)):
            peers.pop(int(port)).line()
        for pop in peers.values():
            pop.quit()
