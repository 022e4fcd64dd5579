"""The units that stay warm, under a systemd that was booted for this
(support/booted.py): a service for many connections, which comes with the
first one and goes when nobody comes."""

import re
import smtplib
import ssl
import threading

from booted import SETTINGS, SOCKETS, Systemd
from certs import Pair
from mailtest import Pop3Peer, wait_for

PORTS = {"pop3-handler-warm": 995, "smtp-handler-warm": 465,
         "pop3-handler-stls-warm": 110, "smtp-handler-submission-warm": 587}


class Units(Systemd):
    sockets = tuple(f"{name}.socket" for name in PORTS)

    def set(self, program, line):
        """A line at the end of the settings, for this test."""
        path = self.machine.path(f"{SETTINGS}/{program}.conf")
        before = path.read_text()
        path.write_text(f"{before}{line}\n")
        self.addCleanup(path.write_text, before)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.machine.run, "systemctl", "stop",
                        *(f"{name}.service" for name in PORTS))

    def is_active(self, name):
        return self.machine.run("systemctl", "is-active", f"{name}.service",
                                check=False).strip()

    def wait_for_state(self, name, state):
        wait_for(lambda: self.is_active(name) == state, f"{name} {state}", 30)

    def main_pid(self, name):
        pid, = self.show("MainPID", f"{name}.service")
        return int(pid)

    def test_first_connection(self):
        """Nothing runs before it; then all ports are served, by children of
        one process each."""
        cursor = self.machine.cursor()
        for name in PORTS:
            self.assertEqual(self.is_active(name), "inactive")
        sender = "warm@example.com"
        accepted = self.submit(sender, "warm and well")
        self.assertEqual(accepted["_SYSTEMD_UNIT"],
                         "smtp-handler-warm.service")
        self.assertEqual(accepted["_SYSTEMD_SLICE"], "mail-handlers.slice")
        self.assertIn("\r\n\r\nwarm and well\r\n", self.fetch(sender))
        sender = "starttls@example.com"
        self.submit(sender, "upgraded", "smtp://localhost:587", "--ssl-reqd")
        self.assertIn("\r\n\r\nupgraded\r\n",
                      self.fetch(sender, "bert", "pop3://localhost",
                                 "--ssl-reqd"))
        self.assertNotEqual(int(accepted["_PID"]),
                            self.main_pid("smtp-handler-warm"))
        self.assert_healthy(cursor)
        events = self.machine.session(accepted["MAIL_SESSION"])
        self.assertLessEqual({"connect", "login", "accepted", "delivered",
                              "end"}, set(events))
        for name in PORTS:
            entries = self.machine.journal(
                "MAIL_EVENT=listening", f"_SYSTEMD_UNIT={name}.service",
                since=cursor)
            self.assertEqual(len(entries), 1, name)
            self.assertTrue(entries[0]["MAIL_ADDRESS"].endswith(
                f":{PORTS[name]}"), entries[0])

    def test_idle_exit_and_renewed_certificate(self):
        """What changed on disk counts for the next one that starts."""
        cursor = self.machine.cursor()
        self.set("pop3-handler", "idle-exit = 1")
        self.pop3().quit()
        first = self.main_pid("pop3-handler-warm")
        self.wait_for_state("pop3-handler-warm", "inactive")
        entry = self.machine.event("MAIL_EVENT=stopped", since=cursor)
        self.assertEqual(entry["MAIL_REASON"], "--idle-exit")
        shared = self.certs.server
        renewed = Pair(self.machine.folder, "renewed")
        self.certs.sign(renewed, self.certs.ca, "DNS:localhost")
        self.put_certificate(renewed)
        self.addCleanup(self.put_certificate, shared)
        pop = self.pop3()
        self.assertNotEqual(self.main_pid("pop3-handler-warm"), first)
        self.assertEqual(self.seen_certificate(pop), self.der(renewed))
        pop.quit()
        self.assert_healthy(cursor)

    @staticmethod
    def seen_certificate(peer):
        return peer.transport.sock.getpeercert(binary_form=True)

    @staticmethod
    def der(pair):
        text = pair.crt.read_text()
        end = "-----END CERTIFICATE-----"
        return ssl.PEM_cert_to_DER_cert(text[:text.index(end)] + end)

    def test_reload(self):
        """Settings anew; a session goes on."""
        cursor = self.machine.cursor()
        pop = self.pop3()
        before = self.main_pid("pop3-handler-warm")
        self.set("pop3-handler", "hostname = reloaded.test")
        self.machine.run("systemctl", "reload", "pop3-handler-warm.service")
        wait_for(lambda: len(self.machine.journal(
            "MAIL_EVENT=listening", since=cursor)) == 2, "the reload")
        self.assertEqual(self.main_pid("pop3-handler-warm"), before)
        other = self.dial(995, Pop3Peer)
        other.expect(None, r"\+OK.*reloaded\.test")
        pop.expect("NOOP", r"\+OK")
        pop.quit()
        other.close()
        self.assert_healthy(cursor)

    def test_restart_under_load(self):
        """Whoever comes while it restarts waits and is served; a session that
        has begun is told to come later.  The socket stays systemd's."""
        cursor = self.machine.cursor()
        ended, outcomes = threading.Event(), []

        def clients():
            while not ended.is_set():
                outcomes.append(self.machine.inside(self.one_session))

        self.machine.inside(self.one_session)
        threads = [threading.Thread(target=clients) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                self.machine.run("systemctl", "restart",
                                 "smtp-handler-submission-warm.service")
        finally:
            served = len(outcomes)
            wait_for(lambda: len(outcomes) > served + 8, "sessions after")
            ended.set()
            for thread in threads:
                thread.join()
        self.assertEqual(set(outcomes) - {"served", "later"}, set())
        self.assertIn("served", outcomes[-4:])
        self.assert_healthy(cursor)

    @staticmethod
    def one_session():
        """In the clear, up to EHLO."""
        try:
            with smtplib.SMTP("127.0.0.1", 587, timeout=60) as smtp:
                code, _ = smtp.ehlo()
                return "served" if code == 250 else \
                    "later" if code == 421 else code
        except smtplib.SMTPResponseException as error:
            return "later" if error.smtp_code == 421 else repr(error)
        except smtplib.SMTPServerDisconnected:
            return "later"
        except OSError as error:
            return repr(error)

    def closed(self, port):
        """Connections are closed while something is wrong; not one more
        start than there are of them."""
        for _ in range(3):
            sock = self.machine.dial(port)
            try:
                sock.sendall(b"\x16\x03\x01")
                self.assertEqual(sock.recv(100), b"")
            except ConnectionError:
                pass
            finally:
                sock.close()

    def test_wrong_settings(self):
        """They end the service; the socket lives on, and serves as soon as
        they are right."""
        cursor = self.machine.cursor()
        path = self.machine.path(f"{SETTINGS}/pop3-handler.conf")
        before = path.read_text()
        path.write_text(before + "scan = wrongly\n")
        try:
            self.closed(995)
        finally:
            path.write_text(before)
        self.wait_for_state("pop3-handler-warm", "failed")
        config = wait_for(lambda: self.machine.journal(
            "MAIL_EVENT=config", since=cursor), "what is wrong")
        self.assertIn(len(config), range(1, 5))
        self.assertIn("scan must be one of", config[0]["MAIL_REASON"])
        self.pop3().quit()

    def test_no_certificate(self):
        cursor = self.machine.cursor()
        path = self.machine.path(f"{SETTINGS}/tls.crt")
        path.rename(path.with_suffix(".away"))
        try:
            self.closed(995)
        finally:
            path.with_suffix(".away").rename(path)
        config = wait_for(lambda: self.machine.journal(
            "MAIL_EVENT=config", since=cursor), "what is wrong")
        self.assertIn(len(config), range(1, 5))
        self.assertIn("--tls-cert", config[0]["MAIL_REASON"])
        self.pop3().quit()

    def test_killed(self):
        """The parent dies: what it began goes with it, and the next
        connection is served."""
        self.pop3().quit()
        pid = self.main_pid("pop3-handler-warm")
        self.machine.run("kill", "-KILL", pid)
        self.pop3().quit()
        self.assertNotEqual(self.main_pid("pop3-handler-warm"), pid)

    def test_instead_of_the_others(self):
        """The same ports: one kind of socket stops the other."""
        others = [name.replace("-warm", "") for name in self.sockets]
        self.assertEqual(sorted(others), sorted(SOCKETS))
        self.addCleanup(self.machine.run, "systemctl", "start", *self.sockets)
        self.machine.run("systemctl", "start", *others)
        self.assertEqual(self.machine.run(
            "systemctl", "is-active", *self.sockets, check=False).split(),
            ["inactive"] * 4)
        pop = self.pop3()
        self.assertTrue(self.instance(pop, "pop3-handler"))
        pop.quit()
        self.machine.run("systemctl", "start", *self.sockets)
        self.assertEqual(self.machine.run(
            "systemctl", "is-active", *others, check=False).split(),
            ["inactive"] * 4)

    def test_sandbox(self):
        for name in PORTS:
            text = self.machine.run("systemd-analyze", "security",
                                    "--no-pager", f"{name}.service")
            match = re.search(r"Overall exposure level for \S+: ([\d.]+)",
                              text)
            self.assertTrue(match, text)
            self.assertLessEqual(float(match[1]),
                                 1.0 if "pop3" in name else 1.5,
                                 f"{name}\n{text}")
