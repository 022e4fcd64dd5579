"""Real clients: submit over TLS to smtp-handler, fetch over TLS from
pop3-handler, compare byte for byte."""

import email.message
import poplib
import smtplib
import subprocess

import model
from certs import certificates
from mailtest import DEADLINE, POP3, SMTP, TestCase, split_stored
from model import LETTER


class Clients(TestCase):
    USER, PASSWORD = "joe", "secret pw"

    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.certs = certificates()
        options = [*self.certs.server.options(), "--auth", "any",
                   "--maildir", self.mail]
        self.smtp_server = self.serve(SMTP, *options)
        self.pop3_server = self.serve(POP3, *options)

    def run_client(self, *argv, text=b"", status=0):
        done = subprocess.run(
            [str(arg) for arg in argv], input=text, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=DEADLINE, cwd=self.dir,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.dir),
                 "LC_ALL": "C.UTF-8"})
        print(done.args, done.stderr.decode("utf-8", "replace"))
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout

    def stored_text(self):
        """What smtp-handler kept, and what of it the client sent."""
        _, content = self.the_message()
        fields, text = split_stored(content)
        self.assertRegex(fields[0], "^Return-Path: <joe@example.com>$")
        # A newer msmtp says SMTPUTF8 whenever it is offered
        self.assertRegex(fields[-1], " with (E|UTF8)SMTPSA ")
        return content, text

    def assert_sessions_fine(self):
        for server in (self.smtp_server, self.pop3_server):
            self.assertEqual(set(server.wait_all()) - {0}, set())

    def put_text(self):
        self.put("new/1600000000.one", LETTER)
        return LETTER

    # Submission and retrieval by the same client

    def test_curl(self):
        letter = self.write("letter", LETTER.replace(b"\n", b"\r\n"))
        common = ["--silent", "--show-error", "--cacert", self.certs.ca.crt,
                  "--user", f"{self.USER}:{self.PASSWORD}"]
        self.run_client("curl", *common, "--url",
                        f"smtps://localhost:{self.smtp_server.port}/c.test",
                        "--mail-from", "joe@example.com",
                        "--mail-rcpt", "ann@example.org",
                        "--upload-file", letter)
        content, text = self.stored_text()
        self.assertEqual(text, LETTER)
        url = f"pop3s://localhost:{self.pop3_server.port}/"
        self.assertEqual(self.run_client("curl", *common, url).decode(),
                         f"1 {model.octets(content)}\r\n")
        self.assertEqual(self.run_client("curl", *common, url + "1"),
                         content.replace(b"\n", b"\r\n"))
        self.assert_sessions_fine()

    def test_python(self):
        tls = self.certs.client_context()
        with smtplib.SMTP_SSL("localhost", self.smtp_server.port,
                              context=tls, timeout=DEADLINE) as smtp:
            smtp.login(self.USER, self.PASSWORD)
            smtp.sendmail("joe@example.com", ["ann@example.org"],
                          LETTER.replace(b"\n", b"\r\n"), ["BODY=8BITMIME"])
        content, text = self.stored_text()
        self.assertEqual(text, LETTER)
        pop = poplib.POP3_SSL("localhost", self.pop3_server.port, context=tls,
                              timeout=DEADLINE)
        self.assertIn("TOP", pop.capa())
        pop.user(self.USER)
        pop.pass_(self.PASSWORD)
        self.assertEqual(pop.stat(), (1, model.octets(content)))
        _, lines, octets = pop.retr(1)
        self.assertEqual(b"".join(line + b"\n" for line in lines), content)
        self.assertEqual(octets, model.octets(content))
        _, lines, _ = pop.top(1, 0)
        self.assertEqual(b"".join(line + b"\n" for line in lines),
                         content.partition(b"\n\n")[0] + b"\n\n")
        self.assertEqual(len(pop.uidl()[1]), 1)
        with self.assertRaises(poplib.error_proto):
            pop.dele(1)
        self.assertTrue(pop.quit().startswith(b"+OK"))
        self.assert_sessions_fine()

    def test_python_send_message(self):
        message = email.message.EmailMessage()
        message["From"], message["To"] = "joe@example.com", "ann@example.org"
        message["Subject"] = "\u00fc"
        message.set_content(".\n..\nbody\n")
        with smtplib.SMTP_SSL("localhost", self.smtp_server.port,
                              context=self.certs.client_context(),
                              timeout=DEADLINE) as smtp:
            smtp.login(self.USER, self.PASSWORD)
            self.assertEqual(smtp.send_message(message), {})
        self.assertEqual(self.stored_text()[1], bytes(message))

    def test_msmtp_and_mpop(self):
        """msmtp submits, mpop delivers into a maildir of its own."""
        self.write("msmtprc", f"""
account default
host localhost
port {self.smtp_server.port}
tls on
tls_starttls off
tls_trust_file {self.certs.ca.crt}
auth on
user {self.USER}
password "{self.PASSWORD}"
from joe@example.com
domain client.test
""")
        self.run_client("msmtp", "-C", self.path("msmtprc"),
                        "ann@example.org", text=LETTER)
        content, text = self.stored_text()
        self.assertEqual(text, LETTER)
        fetched = self.make_maildir(self.path("fetched"))
        self.write("mpoprc", f"""
account default
host localhost
port {self.pop3_server.port}
tls on
tls_starttls off
tls_trust_file {self.certs.ca.crt}
auth user
user {self.USER}
password "{self.PASSWORD}"
keep on
received_header off
uidls_file {self.path("uidls")}
delivery maildir {fetched}
""")
        self.run_client("mpop", "-C", self.path("mpoprc"))
        (got,) = self.stored(fetched).values()
        self.assertEqual(got, content)
        # It knows the message by its UIDL
        self.run_client("mpop", "-C", self.path("mpoprc"))
        self.assertEqual(len(self.stored(fetched)), 1)
        self.assert_sessions_fine()

    # Those that can only submit

    def test_swaks(self):
        letter = self.write("letter", LETTER)
        for mechanism in ("PLAIN", "LOGIN"):
            with self.subTest(mechanism=mechanism):
                out = self.run_client(
                    "swaks", "--server", "localhost", "--port",
                    self.smtp_server.port, "--tls-on-connect",
                    "--tls-verify", "--tls-ca-path", self.certs.ca.crt,
                    "--auth", mechanism, "--auth-user", self.USER,
                    "--auth-password", self.PASSWORD, "--helo", "client.test",
                    "--from", "joe@example.com", "--to",
                    "ann@example.org,bob@example.org", "--data",
                    f"@{letter}")
                self.assertIn(b"221 2.0.0", out)
                path, content = self.the_message()
                # swaks adds a line end of its own
                self.assertEqual(split_stored(content)[1].rstrip(b"\n"),
                                 LETTER.rstrip(b"\n"))
                path.unlink()
        self.assert_sessions_fine()

    def test_swaks_pipelined(self):
        self.run_client(
            "swaks", "--server", "localhost", "--port", self.smtp_server.port,
            "--tls-on-connect", "--pipeline", "--auth", "PLAIN",
            "--auth-user", self.USER, "--auth-password", self.PASSWORD,
            "--from", "joe@example.com", "--to", "ann@example.org",
            "--helo", "client.test", "--body", "body")
        self.stored_text()

    # One that can only fetch

    def test_curl_commands(self):
        text = self.put_text()
        common = ["curl", "--silent", "--show-error", "--cacert",
                  self.certs.ca.crt, "--user", f"{self.USER}:x"]
        url = f"pop3s://localhost:{self.pop3_server.port}/"
        self.assertEqual(self.run_client(*common, "-X", "UIDL", url),
                         b"1 1600000000.one\r\n")
        self.assertEqual(
            self.run_client(*common, "-X", "TOP 1 0", url),
            text.partition(b"\n\n")[0].replace(b"\n", b"\r\n")
            + b"\r\n\r\n")
        # curl: 8 is a weird server reply, 56 -ERR while receiving
        done = subprocess.run(
            [str(arg) for arg in (*common, url + "2")],
            stdout=subprocess.PIPE, timeout=DEADLINE)
        self.assertIn(done.returncode, (8, 56))
        self.assertEqual(done.stdout, b"")
