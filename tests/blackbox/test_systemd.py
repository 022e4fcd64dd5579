"""The units as `make install` puts them in place, under a systemd that was
booted for this (support/booted.py).
The units' comments; DIAGNOSTICS of the man pages."""

import http.server
import os
import re
import shlex
import socket
import ssl
import struct
import threading

from booted import PASSWORD, SETTINGS, SOCKETS, UNIT_FAILED, Systemd
from frontdoor import start_tls
from mailtest import (DEADLINE, HOST, ROOT, Pop3Peer, SmtpPeer, b64, plain,
                      wait_for)

# What the catalog has: MESSAGE_ID and subject
EVENTS = {
    "connect": ("37818043fe564534a59843d602ac92d1", "A peer connected"),
    "tls": ("9e6a19e60e51402aa30f8ef19bc91b0b", "A TLS handshake succeeded"),
    "login": ("a259e2c1531e4282a320f4c7b81adf56", "A user logged in"),
    "login-failed": ("f2b3f99cbfd64f61a8ea40aa19ca40aa", "A login failed"),
    "accepted": ("f16c69864b344e19a3fd55e7c340a138",
                 "A message was accepted"),
    "delivered": ("1dc2a8343b2649d291d1d4421f727597",
                  "A message was delivered"),
    "maildrop": ("80fd50c4605445f393e37b8b283fcb23", "A maildrop was opened"),
    "end": ("fa784256f9ce4141b2eeecf97e7c0508", "A session ended"),
}


class Units(Systemd):
    def test_round_trip(self):
        """curl submits and fetches over implicit TLS."""
        cursor = self.machine.cursor()
        sender, body = "round@example.com", "There and back again.\n.\n..dot"
        self.submit(sender, body)
        text = self.fetch(sender)
        head, _, tail = text.partition("\r\n\r\n")
        self.assertEqual(tail, body.replace("\n", "\r\n") + "\r\n")
        self.assertTrue(head.startswith(f"Return-Path: <{sender}>\r\n"), head)
        self.assertRegex(head, r"\r\nReceived: from client\.test "
                         r"[^\0]*\[127\.0\.0\.1\][^\0]*\bwith ESMTPSA\b")
        self.wait_idle()
        self.assert_healthy(cursor)
        # The mail is its user's alone.
        top = self.machine.path("var/lib/mail-handlers")
        owner = int(self.machine.run("id", "-u", "mail-handlers"))
        for path in (top, *top.rglob("*")):
            status = path.stat()
            self.assertEqual((status.st_uid, status.st_mode & 0o077),
                             (owner, 0), path)

    def test_own_maildirs(self):
        """With a maildir for each user, nobody sees another's mail."""
        if not self.setting("smtp-handler", "maildir", "%"):
            # As shipped, all share one, and pop3-handler serves it to all.
            sender = "shared@example.com"
            self.submit(sender, "for everybody")
            self.assertEqual(self.fetch(sender, "anna"),
                             self.fetch(sender, "bert"))
            return
        self.submit("own@example.com", "for anna",
                    recipient=f"anna@{HOST}")
        before = self.count("anna")
        sender = "others@example.com"
        self.submit(sender, "for bert")
        self.fetch(sender, "bert")
        self.assertEqual(self.count("anna"), before)

    def count(self, user):
        pop = self.pop3(user)
        counted = pop.stat()
        pop.quit()
        return counted

    def test_delete(self):
        """DELE does what the sample says."""
        sender = "delete@example.com"
        self.submit(sender, "short-lived")
        pop = self.pop3()
        number = pop.stat()[0]
        self.assertIn(f"Subject: {sender}".encode(), pop.retr(number)[1])
        allowed = self.setting("pop3-handler", "allow-delete", "yes")
        pop.expect(f"DELE {number}", r"\+OK" if allowed else "-ERR")
        pop.quit()
        pop = self.pop3()
        self.assertEqual(pop.stat()[0], number - allowed)
        pop.quit()

    def test_large_maildrop(self):
        """Enough messages of unknown size that threads share the counting:
        the sandbox lets them."""
        cursor = self.machine.cursor()
        self.submit("large@example.com", "makes the maildir")
        (maildir,) = self.machine.path("var/lib/mail-handlers").rglob("bert*")
        owner = maildir.stat()
        count, octets = self.count("bert")
        files = [maildir / "cur" / f"{number}.foreign.name:2,S"
                 for number in range(1, 2001)]
        for file in files:
            file.write_bytes(b"From: x\n\n" + b"y\n" * 10)
            os.chown(file, owner.st_uid, owner.st_gid)
            self.addCleanup(file.unlink)
        self.assertEqual(self.count("bert"),
                         (count + 2000, octets + 2000 * (11 + 10 * 3)))
        self.assert_healthy(cursor)

    def test_starttls_ports(self):
        """curl upgrades on ports 587 and 110."""
        cursor = self.machine.cursor()
        sender = "starttls@example.com"
        accepted = self.submit(sender, "upgraded", "smtp://localhost:587",
                               "--ssl-reqd")
        self.assertRegex(accepted["_SYSTEMD_UNIT"],
                         r"^smtp-handler-submission@.*:587-.*\.service$")
        text = self.fetch(sender, "bert", "pop3://localhost", "--ssl-reqd")
        self.assertIn("\r\n\r\nupgraded\r\n", text)
        self.assertRegex(text, r"\bwith ESMTPSA\b")
        entries = self.machine.journal("MAIL_EVENT=maildrop", since=cursor)
        self.assertTrue(entries)
        for entry in entries:
            self.assertRegex(entry["_SYSTEMD_UNIT"],
                             r"^pop3-handler-stls@.*:110-.*\.service$")
        self.wait_idle()
        self.assert_healthy(cursor)

    # The journal

    def check_entry(self, entry, program, event, peer):
        self.assertEqual(entry["MAIL_EVENT"], event)
        self.assertEqual(entry["MESSAGE_ID"], EVENTS[event][0])
        self.assertEqual(entry["MAIL_PEER"], f"127.0.0.1:{peer.local_port}")
        self.assertEqual(entry["SYSLOG_IDENTIFIER"], program)
        self.assertEqual(entry["_TRANSPORT"], "journal")
        self.assertEqual(entry["_UID"],
                         self.machine.run("id", "-u", "mail-handlers").strip())
        self.assertTrue(entry["_SYSTEMD_UNIT"].startswith(f"{program}@"))
        self.assertEqual(entry["_SYSTEMD_SLICE"], "mail-handlers.slice")
        self.assertTrue(entry["MESSAGE"].startswith(
            f"{entry['MAIL_SESSION']} {event}:"), entry["MESSAGE"])

    def explained(self, entry, *matches):
        """What journalctl -x says of it: all it names is filled in."""
        text = self.machine.run(
            "journalctl", "-q", "-x", "--no-pager",
            f"MAIL_SESSION={entry['MAIL_SESSION']}", *matches)
        return " ".join(re.sub("(?m)^(--|\N{LIGHT SHADE}\N{LIGHT SHADE})",
                               "", text).split())

    def check_catalog(self, events):
        """Every event of a session is explained, with its own values."""
        for event, entries in events.items():
            if event in ("transcript", "maildrop"):
                continue
            text = self.explained(entries[0], f"MAIL_EVENT={event}")
            self.assertIn(f"Subject: {EVENTS[event][1]}", text)
            # A field that the entry has not is left as its name.
            self.assertNotRegex(text, r"MAIL_[A-Z_]+\b(?!=)")

    def test_mail_from_other_servers(self):
        """Port 25, executed or forked for each connection: for our users, in
        the clear and under TLS, without a login; nothing for others, and the
        file of next hops' passwords is not at hand."""
        for name in ("smtp-handler-mx", "smtp-handler-mx-warm"):
            with self.subTest(unit=name):
                self.machine.run("systemctl", "start", f"{name}.socket")
                self.addCleanup(self.machine.run, "systemctl", "stop",
                                f"{name}.socket", f"{name}@*.service",
                                f"{name}.service", check=False)
                for secure in (False, True):
                    smtp = SmtpPeer(self.transport(self.machine.dial(25)))
                    self.addCleanup(smtp.close)
                    self.assertEqual(
                        {"STARTTLS", "AUTH"} & set(smtp.hello()),
                        {"STARTTLS"})
                    if secure:
                        start_tls(smtp, self.certs.client_context())
                        self.assertNotIn("AUTH", smtp.ehlo())
                    smtp.expect("AUTH PLAIN AGFubmEAeA==", r"50\d 5\.5\.\d")
                    sender = f"{name}-{secure}@elsewhere.example"
                    smtp.expect(f"MAIL FROM:<{sender}>", "250 2.1.0")
                    smtp.expect("RCPT TO:<eve@example.com>", "550 5.*")
                    smtp.expect(f"RCPT TO:<nobody@{HOST}>", "550 5.1.1")
                    smtp.expect(f"RCPT TO:<bert@{HOST}>", "250 2.1.5")
                    self.assertEqual(smtp.text(
                        f"Subject: {sender}\r\n\r\nfar\r\n.\r\n"
                        .encode()).code, 250)
                    smtp.quit()
                    self.assertIn("\r\n\r\nfar\r\n", self.fetch(sender))

    def test_journal_smtp(self):
        sender = "fields@example.com"
        wire = b"Subject: fields\r\n\r\n.three\r\n"
        smtp = self.smtp()
        smtp.login("anna", PASSWORD)
        recipients = [self.recipient(), self.recipient().replace("bert",
                                                                 "anna")]
        smtp.envelope(sender, *recipients)
        self.assertEqual(smtp.text(b"Subject: fields\r\n\r\n..three\r\n"
                                   b".\r\n").code, 250)
        smtp.quit()
        accepted = self.machine.event("MAIL_EVENT=accepted",
                                      f"MAIL_SENDER={sender}")
        events = self.machine.session(accepted["MAIL_SESSION"])
        self.assertLessEqual({"connect", "login", "accepted", "delivered",
                              "end"}, set(events))
        for event, entries in events.items():
            for entry in entries:
                self.check_entry(entry, "smtp-handler", event, smtp)
        self.assertEqual(
            [events["login"][0]["MAIL_USER"], accepted["MAIL_USER"],
             accepted["MAIL_SENDER"], accepted["MAIL_RECIPIENTS"],
             accepted["MAIL_SIZE"], accepted["PRIORITY"]],
            ["anna", "anna", sender, ",".join(recipients), str(len(wire)),
             "6"])
        self.assertEqual(accepted["MAIL_RECIPIENT"], recipients)
        self.assertTrue(accepted["MAIL_ID"].startswith(
            accepted["MAIL_SESSION"]))
        self.check_readme_queries(accepted, recipients)
        self.check_catalog(events)
        self.assertIn(f"The message {accepted['MAIL_ID']} of {sender} is "
                      "wherever it must go",
                      self.explained(accepted, "MAIL_EVENT=accepted"))

    def check_readme_queries(self, accepted, recipients):
        """Each query of README's, with what is looked for in its place."""
        readme = (ROOT / "README.md").read_text()
        queries = re.findall(r"^    journalctl (.*)$", readme.partition(
            "\n## Logs\n")[2].partition("\n## ")[0], re.M)
        self.assertGreaterEqual(len(queries), 6)
        for query in queries:
            words = shlex.split(query.partition("#")[0])
            for example, real in (
                    ("3C87A1CBBD8B", accepted["MAIL_SESSION"]),
                    ("anna@example.com", recipients[1])):
                words = [word.replace(example, real) for word in words]
            text = self.machine.run("journalctl", "-q", "--no-pager", "-n",
                                    "1000", *words)
            if "login-failed" in query or "refused" in query:
                continue        # other tests' events, if there were some
            self.assertIn(accepted["MAIL_SESSION"], text, query)

    def test_journal_pop3(self):
        cursor = self.machine.cursor()
        pop = self.pop3()
        pop.quit()
        maildrop = self.machine.event("MAIL_EVENT=maildrop", since=cursor)
        events = self.machine.session(maildrop["MAIL_SESSION"])
        self.assertLessEqual({"connect", "login", "maildrop", "end"},
                             set(events))
        for event, entries in events.items():
            for entry in entries:
                self.check_entry(entry, "pop3-handler", event, pop)
        self.assertEqual(events["login"][0]["MAIL_USER"], "bert")
        self.check_catalog(events)
        self.assertRegex(maildrop["MAIL_MESSAGES"], r"^\d+$")
        self.assertRegex(maildrop["MAIL_SIZE"], r"^\d+$")

    def test_journal_maildrop(self):
        """Whose maildrop: the explanation of the event says it."""
        cursor = self.machine.cursor()
        self.pop3().quit()
        maildrop = self.machine.event("MAIL_EVENT=maildrop", since=cursor)
        self.assertRegex(
            self.explained(maildrop, "MAIL_EVENT=maildrop"),
            r"The maildrop of bert has \d+ messages of \d+ octets together")
        self.assertEqual(maildrop.get("MAIL_USER"), "bert")

    def test_journal_refused(self):
        """Why a message was refused: the explanation says it."""
        sender = "refused@example.com"
        smtp = self.smtp()
        smtp.login("anna", PASSWORD)
        smtp.envelope(sender, self.recipient())
        reply = smtp.text(b"a\nb\r\n.\r\n")
        self.assertEqual(str(reply), "550 5.6.0")
        smtp.quit()
        refused = self.machine.event("MAIL_EVENT=refused",
                                     f"MAIL_SENDER={sender}")
        self.assertEqual(refused["PRIORITY"], "5")
        self.assertEqual(refused["MAIL_REPLY"], f"{reply} {reply.text}")
        text = self.explained(refused, "MAIL_EVENT=refused")
        self.assertIn("Subject: Mail was refused", text)
        self.assertNotRegex(text, r"MAIL_[A-Z_]+\b(?!=)")

    def test_journal_ipv6(self):
        """Also on IPv6, with the address as it is."""
        if not os.path.exists("/proc/net/if_inet6"):
            self.skipTest("this kernel has no IPv6")
        smtp = self.smtp("::1")
        smtp.login("anna", PASSWORD)
        smtp.message(b"x\n", "six@example.com", self.recipient())
        smtp.quit()
        self.assertEqual(self.machine.event(
            "MAIL_SENDER=six@example.com",
            "MAIL_EVENT=accepted")["MAIL_PEER"], f"[::1]:{smtp.local_port}")

    def test_journal_secrets(self):
        """A wrong login and right ones at the highest level: TLS is told,
        secrets and text are not."""
        names = [f"{SETTINGS}/{program}.conf"
                 for program in ("pop3-handler", "smtp-handler")]
        for name in names:
            path = self.machine.path(name)
            shipped = path.read_text()
            self.addCleanup(path.write_text, shipped)
            path.write_text(shipped + "\nlog-level = debug\n"
                            "transcript = yes\n")
        cursor = self.machine.cursor()
        wrong, text = "Wr0ng-but-near", "nobodys-business-but-theirs"
        smtp = self.smtp()
        smtp.expect(f"AUTH PLAIN {plain('anna', wrong)}", r"535 5\.7\.8")
        smtp.login("anna", PASSWORD)
        smtp.message(f"Subject: {text}\n\n{text}\n", "loud@example.com",
                     self.recipient())
        smtp.quit()
        pop = self.pop3()
        pop.retr(pop.stat()[0])
        pop.quit()

        accepted = self.machine.event("MAIL_EVENT=accepted", since=cursor)
        smtp_events = self.machine.session(accepted["MAIL_SESSION"])
        maildrop = self.machine.event("MAIL_EVENT=maildrop", since=cursor)
        pop3_events = self.machine.session(maildrop["MAIL_SESSION"])
        for events in (smtp_events, pop3_events):
            self.assertRegex(events["tls"][0]["MAIL_TLS"],
                             r"^TLSv1\.3 TLS_[A-Z0-9_]+$")
            self.assertEqual(events["tls"][0]["MESSAGE_ID"],
                             EVENTS["tls"][0])
            self.assertIn("transcript", events)
        failed = smtp_events["login-failed"][0]
        self.assertEqual(failed["PRIORITY"], "5")
        self.assertEqual(failed["MAIL_USER"], "anna")
        self.check_catalog(smtp_events)
        self.assertIn(f"{failed['MAIL_PEER']} could not log in as anna: "
                      "wrong name or password",
                      self.explained(failed, "MAIL_EVENT=login-failed"))

        # The whole journal since the boot, every field of it
        everything = self.machine.run("journalctl", "-q", "--no-pager",
                                      "--all", "-o", "json")
        self.assertIn(accepted["MAIL_SESSION"], everything)
        secrets = {PASSWORD, wrong, text}
        for word in (PASSWORD, wrong):
            secrets.add(b64(word))
            secrets.add(plain("anna", word))
            for shift in range(3):
                secrets.add(b64("x" * shift + word)[4:-4])
        users = self.machine.path(f"{SETTINGS}/users").read_text()
        secrets.update(line.rpartition("$")[2] for line in users.split())
        for secret in secrets:
            self.assertNotIn(secret, everything)

    # Robustness

    def scan(self, port, connections):
        """A port scanner: noise, resets, silence."""
        for number in range(connections):
            with socket.create_connection(("127.0.0.1", port),
                                          DEADLINE) as sock:
                if number % 3 == 0:
                    sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                elif number % 3 == 1:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                    struct.pack("ii", 1, 0))

    def test_office(self):
        """16 mail clients behind one address, again and again: systemd counts
        a connection until its process is cleared away."""
        cursor = self.machine.cursor()
        outcomes = []

        def client():
            for _ in range(4):
                outcomes.append(self.machine.inside(self.greeting))

        threads = [threading.Thread(target=client) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(set(outcomes), {b"220"})
        self.wait_idle()
        self.assert_healthy(cursor)

    @staticmethod
    def greeting():
        with socket.create_connection(("127.0.0.1", 587), DEADLINE) as sock:
            reply = sock.recv(3, socket.MSG_WAITALL)
            sock.sendall(b"QUIT\r\n")
            while sock.recv(1000):
                pass
            return reply

    # Hooks

    def with_settings(self, *lines):
        """More of them for smtp-handler, for this test."""
        path = self.machine.path(f"{SETTINGS}/smtp-handler.conf")
        before = path.read_text()
        self.addCleanup(path.write_text, before)
        path.write_text("\n".join([before.rstrip("\n"), *lines, ""]))

    def script(self, name, text):
        """A program of the machine; its path there."""
        path = self.machine.path(f"usr/local/sbin/{name}")
        path.write_text(text)
        path.chmod(0o755)
        self.addCleanup(path.unlink)
        return f"/usr/local/sbin/{name}"

    def test_hooks(self):
        """A shell script, a Python program and curl, in the sandbox of the
        unit as it is."""
        posted = []

        class Webhook(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                posted.append(self.rfile.read(
                    int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"250 2.0.0 Ticket 4711\n")

        server = self.machine.inside(lambda: http.server.HTTPServer(
            ("127.0.0.1", 0), Webhook))
        self.addCleanup(server.server_close)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(server.shutdown)
        shell = self.script("shell-hook", "#!/bin/sh\n"
                            "grep -q '^Subject: sh ' || exit 0\n"
                            "echo '554 5.7.1 by sh'; exit 77\n")
        python = self.script("python-hook", "#!/usr/bin/python3\n"
                             "import email, sys\n"
                             "subject = email.message_from_binary_file("
                             "sys.stdin.buffer)['Subject']\n"
                             "print('by Python')\n"
                             "print(subject, file=sys.stderr)\n"
                             "sys.exit(65 if subject[:2] == 'py' else 0)\n")
        recipients = self.script("recipient-hook", "#!/bin/sh\n"
                                 "case $MAIL_RECIPIENT in nobody@*) exit 67;;"
                                 " esac\n")
        self.with_settings(
            f"on-recipient = {recipients}", f"on-message = {shell}",
            f"on-message = {python}",
            "on-message = curl -fsS --data-binary @- "
            f"http://127.0.0.1:{server.server_port}/mail",
            "hook-timeout = 20")
        self.machine.run("/usr/local/sbin/smtp-handler", "--config",
                         f"/{SETTINGS}/smtp-handler.conf", "--check-config",
                         check=False)
        cursor = self.machine.cursor()
        smtp = self.smtp()
        smtp.login("anna", PASSWORD)
        smtp.expect("MAIL FROM:<hooked@example.com>", "250 2.1.0")
        smtp.expect(f"RCPT TO:<nobody@{HOST}>", "550 5.1.1")
        smtp.expect("RSET", "250 2.0.0")
        for subject, reply, text in (
                ("sh no", "554 5.7.1", "by sh"),
                ("py no", "550 5.6.0", "by Python"),
                ("web", "250 2.0.0", "Ticket 4711")):
            said = smtp.message(f"Subject: {subject} x\n\n",
                                "hooked@example.com", self.recipient())
            self.assertEqual((str(said), said.texts[-1]), (reply, text))
        smtp.quit()
        (message,) = posted
        self.assertTrue(message.startswith(b"Return-Path: <hooked@example."))
        self.assertTrue(message.endswith(b"\nSubject: web x\n\n"))
        entry = self.machine.event("MAIL_EVENT=hook", "MAIL_LINE=web x",
                                   since=cursor)
        self.assertEqual(entry["MAIL_COMMAND"], python)
        self.assertEqual(self.machine.journal("MAIL_EVENT=hook-failed",
                                              since=cursor), [])
        # The server is gone: for now, and the journal says what to do.
        server.shutdown()
        server.server_close()
        smtp = self.smtp()
        smtp.login("anna", PASSWORD)
        said = smtp.message("Subject: web\n\n", "hooked@example.com",
                            self.recipient())
        self.assertEqual(str(said), "451 4.7.1")
        failed = self.machine.event("MAIL_EVENT=hook-failed", since=cursor)
        self.assertRegex(failed["MAIL_REASON"],
                         r"^exit status 7: curl: \(7\) Failed to connect")
        self.assertIn("A hook failed", self.machine.run(
            "journalctl", "-q", "-x", "--no-pager",
            "MAIL_EVENT=hook-failed"))

    def test_scan(self):
        """300 connections as fast as they go leave sockets and units
        alive."""
        cursor = self.machine.cursor()
        for unit, port in (("pop3-handler.socket", 995),
                           ("pop3-handler-stls.socket", 110)):
            def seen():
                return sum(map(int, self.show("NAccepted", unit)
                               + self.show("NRefused", unit)))
            before = seen()
            self.machine.inside(lambda: self.scan(port, 300))
            wait_for(lambda: seen() >= before + 100, f"{unit} accepting")
            print(f"{unit}: {seen() - before} connections seen")
        self.wait_idle()
        self.assert_healthy(cursor)
        self.submit("scanned@example.com", "still there")
        self.fetch("scanned@example.com")
        self.fetch("scanned@example.com", "bert", "pop3://localhost",
                   "--ssl-reqd")

    def test_renewed_certificate(self):
        """The next connection has it; nothing is restarted or reloaded."""
        def certificate(peer):
            return peer.transport.sock.getpeercert(True)

        def entered():
            return self.show("ActiveEnterTimestampMonotonic", *SOCKETS)

        def der(pair):
            return ssl.PEM_cert_to_DER_cert(
                re.search("-----BEGIN[^\0]*?END CERTIFICATE-----\n",
                          pair.crt.read_text())[0])

        old = self.certs.server
        before = entered()
        running = self.smtp()
        self.assertEqual(certificate(running), der(old))
        renewed = type(old)(self.machine.folder, "renewed")
        self.certs.sign(renewed, self.certs.ca,
                        "DNS:localhost,IP:127.0.0.1,IP:::1")
        self.addCleanup(self.put_certificate, old)
        self.put_certificate(renewed)
        for fresh in (self.smtp(), self.dial(995, Pop3Peer)):
            self.assertEqual(certificate(fresh), der(renewed))
        running.login("anna", PASSWORD)
        running.quit()
        self.assertEqual(entered(), before)

    def test_missing_key(self):
        """Every connection fails, the sockets live, no unit stays; it is
        well again with the key."""
        cursor = self.machine.cursor()
        key = self.machine.path(f"{SETTINGS}/tls.key")
        away = key.with_suffix(".away")
        key.rename(away)
        try:
            sock = self.machine.dial(995)
            self.addCleanup(sock.close)
            sock.sendall(b"\x16\x03\x01")
            try:
                self.assertEqual(sock.recv(1000), b"")
            except ConnectionResetError:
                pass
            failed = self.machine.event(f"MESSAGE_ID={UNIT_FAILED}",
                                        since=cursor)
            self.assertRegex(failed["UNIT"], r"^pop3-handler@.*:995-")
            self.wait_idle()
        finally:
            away.rename(key)
        self.assert_healthy(self.machine.cursor())
        self.pop3().quit()

    def test_stop_smtp(self):
        """421 between commands and in message text, of which nothing is
        kept."""
        cursor = self.machine.cursor()
        for sender in (None, "stopped@example.com"):
            smtp = self.smtp()
            smtp.login("anna", PASSWORD)
            if sender:
                smtp.envelope(sender, self.recipient())
                smtp.expect("DATA", "354")
                smtp.send(b"Subject: half\r\n\r\nnot all of")
            self.stop(smtp, "smtp-handler")
            smtp.expect(None, r"421 4\.3\.2")
            smtp.expect_end()
            smtp.close()
        self.wait_idle()
        self.assertEqual(self.machine.journal(
            "MAIL_EVENT=accepted", f"MAIL_SENDER={sender}"), [])
        top = self.machine.path("var/lib/mail-handlers")
        self.assertEqual([path for path in top.rglob("tmp/*")], [])
        self.assert_healthy(cursor)

    def test_stop_pop3(self):
        """An orderly end of the connection, nothing said."""
        cursor = self.machine.cursor()
        pop = self.pop3()
        self.stop(pop, "pop3-handler")
        pop.expect_end()
        pop.close()
        self.wait_idle()
        self.assert_healthy(cursor)

    # The sandbox

    def test_sandbox(self):
        """What the kernel says of the processes of running sessions."""
        for port, kind, program in ((465, SmtpPeer, "smtp-handler"),
                                    (995, Pop3Peer, "pop3-handler")):
            peer = self.dial(port, kind)
            unit = self.instance(peer, program)
            peer.expect(None, r"220|\+OK")
            pid, = self.show("MainPID", unit)
            status = dict(re.findall(
                r"(?m)^(\w+):\s*(.*)$",
                self.machine.run("cat", f"/proc/{pid}/status")))
            self.assertEqual(
                {name: status[name] for name in
                 ("NoNewPrivs", "Seccomp", "CapEff", "CapPrm", "CapBnd",
                  "CapAmb", "Umask")},
                {"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0" * 16,
                 "CapPrm": "0" * 16, "CapBnd": "0" * 16,
                 "CapAmb": "0" * 16, "Umask": "0077"})
            owner = self.machine.run("id", "-u", "mail-handlers").strip()
            self.assertEqual(set(status["Uid"].split()), {owner})
            # Standard error is not the connection.
            links = [self.machine.run(
                "readlink", f"/proc/{pid}/fd/{fd}", check=False)
                for fd in range(3)]
            self.assertTrue(links[2].startswith("socket:"), links)
            self.assertNotIn(links[2], links[:2])
            peer.close()

    def test_exposure(self):
        """The score of systemd itself, units as loaded."""
        for socket_unit in SOCKETS:
            program = socket_unit.removesuffix(".socket")
            text = self.machine.run("systemd-analyze", "security",
                                    "--no-pager", f"{program}@x.service")
            match = re.search(r"Overall exposure level for \S+: ([\d.]+)",
                              text)
            self.assertTrue(match, text)
            self.assertLessEqual(
                float(match[1]), 1.0 if "pop3" in program else 1.5,
                f"{program}\n{text}")
