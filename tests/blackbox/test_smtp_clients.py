"""Real clients that only send, and real mail systems that send on:
everything arrives octet for octet.  Those that also fetch are in
test_clients.py."""

import smtplib
import subprocess

from certs import certificates
from mailtest import (DEADLINE, SMTP, TOOLS, TestCase, split_stored,
                      wait_for)
from model import LETTER
from postfix import Postfix
from superservers import tool_libraries

PERL = r"""
use strict; use warnings; use Net::SMTP;
my ($port, $ca) = @ARGV;
my $text = do { local $/; <STDIN> };
my $smtp = Net::SMTP->new("localhost", Port => $port, SSL => 1,
    SSL_ca_file => $ca, Hello => "client.test", Timeout => 10) or die $@;
$smtp->auth("joe", "secret pw") or die $smtp->message;
$smtp->mail('joe@example.com', Bits => 8) or die $smtp->message;
$smtp->to('ann@example.org', 'bob@example.org') or die $smtp->message;
$smtp->data($text) or die $smtp->message;
$smtp->quit or die $smtp->message;
"""

NODE = r"""
const [port, ca, file] = process.argv.slice(1);
const fs = require('fs');
const transport = require('nodemailer').createTransport({
  host: 'localhost', port: +port, secure: true, name: 'client.test',
  tls: { ca: fs.readFileSync(ca) }, auth: { user: 'joe', pass: 'secret pw' },
});
transport.sendMail({
  envelope: { from: 'joe@example.com', to: ['ann@example.org'] },
  raw: fs.readFileSync(file),
}).then(info => { console.log(info.response); transport.close(); },
        error => { console.error(error); process.exit(1); });
"""


class Submit(TestCase):
    def setUp(self):
        super().setUp()
        self.certs = certificates()
        self.server = self.serve(SMTP, *self.certs.server.options(),
                                 "--auth", "any", "--maildir", self.mail)

    def run_client(self, *argv, text=b"", env=None):
        done = subprocess.run(
            [str(arg) for arg in argv], input=text, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=DEADLINE, cwd=self.dir,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.dir),
                 "LC_ALL": "C.UTF-8", **(env or {})})
        print(done.args, done.stderr.decode("utf-8", "replace"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def arrived(self):
        """The text that was kept."""
        path, content = self.the_message()
        path.unlink()
        fields, text = split_stored(content)
        self.assertEqual(fields[0], "Return-Path: <joe@example.com>")
        self.assertIn(" with ESMTPSA", fields[-1])
        self.assertEqual(set(self.server.wait_all()), {0})
        return text

    def test_net_smtp(self):
        self.run_client("perl", "-e", PERL, self.server.port,
                        self.certs.ca.crt, text=LETTER)
        self.assertEqual(self.arrived(), LETTER)

    def test_nodemailer(self):
        self.run_client(
            "node", "-e", NODE, "--", self.server.port, self.certs.ca.crt,
            self.write("letter", LETTER), env={"NODE_PATH": str(
                TOOLS / "node-nodemailer/usr/share/nodejs")})
        self.assertEqual(self.arrived(), LETTER)

    def mutt(self, program, body):
        self.write("muttrc", (
            f'set smtp_url="smtps://joe@localhost:{self.server.port}/"\n'
            'set smtp_pass="secret pw"\nset smtp_authenticators="plain"\n'
            f'set ssl_ca_certificates_file="{self.certs.ca.crt}"\n'
            'set ssl_usesystemcerts=no\nset from="joe@example.com"\n'
            'set envelope_from_address="joe@example.com"\n'
            'set use_envelope_from=yes\nset copy=no\nset record=""\n'
            'set hostname="client.test"\nset charset="utf-8"\n'
            'set allow_8bit=yes\nset send_charset="utf-8"\n'))
        self.run_client(program, "-n", "-F", self.path("muttrc"), "-s",
                        "from mutt", "ann@example.org", text=body)
        return self.arrived()

    def test_mutt_and_neomutt(self):
        body = b".\n..x\n\xc3\xbc and more\nend\n"
        for program in ("mutt", "neomutt"):
            with self.subTest(program=program):
                text = self.mutt(program, body)
                self.assertIn(b"\nSubject: from mutt\n", b"\n" + text)
                self.assertTrue(text.endswith(b"\n\n" + body), text)


class Swaks(TestCase):
    def test_lmtp(self):
        server = self.serve(SMTP, "--tls", "off", "--lmtp",
                            "--no-auth-required", "--maildir", self.mail)
        done = subprocess.run(
            ["swaks", "--protocol", "LMTP", "--server", "127.0.0.1",
             "--port", str(server.port), "--from", "a@b.test", "--to",
             "c@d.test", "--helo", "client.test", "--body", "by lmtp"],
            stdout=subprocess.PIPE, timeout=DEADLINE)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn(b"by lmtp\n", self.the_message()[1])
        self.assertEqual(server.wait_all(), [0])


class Many(TestCase):
    """Postfix's smtp-source with 100 sessions at once."""

    def source(self, server, *options):
        programs = TOOLS / "postfix" / "usr"
        self.path("main.cf").write_text("compatibility_level = 3.6\n")
        done = subprocess.run(
            [str(programs / "sbin" / "smtp-source"), "-s", "100", "-m",
             "500", "-l", "3000", "-f", "joe@example.com", "-t",
             "ann@example.org", *options, f"127.0.0.1:{server.port}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200,
            env={**tool_libraries("postfix", "postfix"),
                 "MAIL_CONFIG": str(self.dir)})
        self.assertEqual((done.returncode, done.stdout), (0, b""))

    def check(self, *options, source=(), recipients=1):
        server = self.serve(SMTP, "--tls", "off", "--no-auth-required",
                            "--maildir", self.mail, *options)
        self.source(server, *source)
        self.assertEqual(set(server.wait_all()), {0})
        stored = self.stored()
        self.assertEqual(len(stored), 500)
        for content in stored.values():
            self.assertGreater(len(split_stored(content)[1]), 2900)
        self.assertEqual(list((self.mail / "tmp").iterdir()), [])

    def test_smtp(self):
        self.check()

    def test_smtp_one_connection_for_many(self):
        self.check(source=["-d"])

    def test_lmtp(self):
        self.check("--lmtp", source=["-L", "-d", "-r", "3"])


class FromPostfix(TestCase):
    """Postfix as the client."""

    def hand_in(self, postfix, text, *recipients, options=()):
        with smtplib.SMTP("127.0.0.1", postfix.port) as client:
            client.ehlo("origin.test")
            client.sendmail("joe@example.com", recipients, text,
                            mail_options=options)

    def wait_stored(self, folder, n):
        wait_for(lambda: len(self.stored(folder)) == n, "the message", 30)

    def check(self, folder, protocol):
        self.wait_stored(folder, 1)
        _, content = self.the_message(folder)
        fields, text = split_stored(content)
        self.assertEqual(fields[0], "Return-Path: <joe@example.com>")
        self.assertIn(f" with {protocol} ", fields[-1] + " ")
        # Below Postfix's own line, what was handed in
        self.assertTrue(text.endswith(LETTER), text)

    def test_smtps(self):
        certs = certificates()
        server = self.serve(SMTP, *certs.server.options(), "--maildir",
                            self.mail, "--no-auth-required")
        postfix = Postfix(
            self, relayhost=f"[127.0.0.1]:{server.port}",
            smtp_tls_wrappermode="yes", smtp_tls_security_level="verify",
            smtp_tls_verify_cert_match="localhost",
            smtp_tls_CAfile=certs.ca.crt)
        self.hand_in(postfix, LETTER.replace(b"\n", b"\r\n"),
                     "ann@example.org", "bob@example.org",
                     options=["BODY=8BITMIME"])
        self.check(self.mail, "ESMTPS")

    def test_lmtp_to_a_maildir_each(self):
        base = self.path("base")
        base.mkdir()
        for name in ("ann@example.org", "bob@example.org"):
            self.make_maildir(base / name)
        server = self.serve(SMTP, "--tls", "off", "--lmtp", "--maildir",
                            f"{base}/%u", "--no-auth-required")
        postfix = Postfix(
            self, default_transport=f"lmtp:inet:127.0.0.1:{server.port}")
        # One of them unknown: Postfix must learn that of the right one
        self.hand_in(postfix, LETTER.replace(b"\n", b"\r\n"),
                     "ann@example.org", "eve@example.org",
                     "bob@example.org", options=["BODY=8BITMIME"])
        for name in ("ann@example.org", "bob@example.org"):
            self.check(base / name, "LMTP")
        # Two delivered, one not, and the notification, which comes here
        wait_for(lambda: postfix.log().count("status=") >= 3, "verdicts")
        log = postfix.log()
        for name, status in (("ann", "sent"), ("eve", "bounced"),
                             ("bob", "sent")):
            self.assertRegex(log, rf"to=<{name}@example\.org>.*"
                             rf"status={status}")
