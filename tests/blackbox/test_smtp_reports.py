"""smtp-handler against what other mail programs' users reported: each test
is named after the report that it comes from."""

import base64
import ctypes
import ctypes.util
import json
import ssl
import subprocess
import warnings

from certs import certificates
from mailtest import (DEADLINE, POP3, SMTP, Pop3Peer, SmtpPeer, TestCase, b64,
                      plain, split_stored)
from replies import QUEUED

DIALOGUE = (b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
            b"DATA\r\nSubject: forged\r\n\r\nx\r\n.\r\nQUIT\r\n")


class OtherProtocols(TestCase):
    def test_opensmtpd_740_web_page(self):
        """A browser posts a dialogue to the port: nobody's mail."""
        server = self.serve(SMTP, "--tls", "off", "--no-auth-required",
                            "--maildir", self.mail)
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--http0.9",
             "--data-binary", "@-", f"http://127.0.0.1:{server.port}/"],
            input=DIALOGUE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=DEADLINE)
        print(done)
        server.wait_all()
        self.assert_nothing_kept()
        self.assertIn('reason="This is a mail server, and that was no mail '
                      'command"', server.log())

    def test_postfix_forbidden_commands(self):
        for first in ("GET / HTTP/1.1", "CONNECT x:25 HTTP/1.0", "Host: x",
                      "POST /"):
            with self.subTest(first=first):
                smtp = self.smtp("--no-auth-required")
                smtp.expect(None, "220")
                smtp.send(first.encode() + b"\r\n" + DIALOGUE)
                smtp.expect(None, "521 5.7.0")
                smtp.expect_end()
                self.assertEqual(smtp.exit_status(), 0)
        self.assert_nothing_kept()


class Hello(TestCase):
    def test_vmime_160_windows_name(self):
        """JavaMail on Windows says the machine's name in its own code page:
        taken, unknown in the header, escaped in the log."""
        for verb in (b"EHLO", b"HELO"):
            for name in (b"M\xfcller-PC", b"a b", b"x\0y\x01", b"<me>"):
                with self.subTest(verb=verb, name=name):
                    self.mail = self.fresh_path("mail")
                    smtp = self.smtp()
                    smtp.expect(None, "220")
                    smtp.send(verb + b" " + name + b"\r\n")
                    smtp.expect(None, "250")
                    smtp.login()
                    smtp.message(b"x\n")
                    smtp.quit()
                    trace, _ = split_stored(self.the_message()[1])
                    self.assertRegex(trace[-1], "^Received: from unknown ")
                    self.assertIn({b"M\xfcller-PC": 'helo="M\\xfcller-PC"',
                                   b"a b": 'helo="a b"',
                                   b"x\0y\x01": 'helo="x\\x00y\\x01"',
                                   b"<me>": "helo=<me>"}[name],
                                  smtp.process.log())

    def test_mailkit_1196_typos(self):
        smtp = self.smtp().ready()
        for _ in range(25):
            smtp.expect("XYZZY", "500 5.5.1")
            self.assertRegex(str(smtp.message(b"x\n")), QUEUED)
        smtp.quit()
        self.assertEqual(len(self.stored()), 25)


def has_old_tls():
    """Newer libtls take the names of TLS 1.0 and 1.1 for 1.2."""
    libtls = ctypes.CDLL(ctypes.util.find_library("tls"))
    masks = ctypes.c_uint32(), ctypes.c_uint32()
    for mask, name in zip(masks, (b"tlsv1.0", b"tlsv1.2")):
        libtls.tls_config_parse_protocols(ctypes.byref(mask), name)
    return masks[0].value != masks[1].value


class OldTls(TestCase):
    """OpenSMTPD #1244: printers and scanners speak TLS 1.0."""

    def options(self, *options):
        return (*certificates().server.options(), "--tls-protocols", "all",
                "--auth", "any", "--maildir", self.mail, *options)

    def old_client(self, version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(certificates().ca.crt)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        return context

    def test_opensmtpd_1244_works(self):
        old = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
        for version in (*(old if has_old_tls() else ()),
                        ssl.TLSVersion.TLSv1_2):
            with self.subTest(version=version):
                smtp = self.spawn(
                    SMTP, *self.options("--tls-ciphers",
                                        "DEFAULT@SECLEVEL=0"),
                    kind=SmtpPeer, tls=self.old_client(version))
                smtp.ready()
                smtp.quit()

    def test_opensmtpd_1244_or_says_why_not(self):
        if not has_old_tls():
            for name in ("tlsv1.0", "tlsv1.2,TLSv1.1"):
                status, _, err = self.run_to_end(*self.argv(
                    SMTP, *self.options("--tls-protocols", name),
                    "--check-config"))
                self.assertEqual(status, 78)
                self.assertIn(f"--tls-protocols '{name}': this libtls has no "
                              "TLS 1.0 and 1.1", err)
            return
        for options in ((), ("--tls-ciphers", "HIGH")):
            status, _, err = self.run_to_end(*self.argv(
                SMTP, *self.options(*options), "--check-config"))
            self.assertEqual(status, 78)
            self.assertIn("TLS 1.0 and 1.1 need --tls-ciphers "
                          "DEFAULT@SECLEVEL=0 with this OpenSSL", err)

    def test_ciphers(self):
        status, _, err = self.run_to_end(*self.argv(
            SMTP, *certificates().server.options(), "--auth", "any",
            "--maildir", self.mail, "--tls-ciphers", "x", "--check-config"))
        self.assertEqual(status, 78)
        self.assertIn("--tls-ciphers 'x': no ciphers for 'x'", err)
        context = self.old_client(ssl.TLSVersion.TLSv1_2)
        smtp = self.spawn(
            SMTP, *certificates().server.options(), "--auth", "any",
            "--maildir", self.mail, "--tls-ciphers",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "--tls-protocols", "tlsv1.2", kind=SmtpPeer, tls=context)
        smtp.ready()
        smtp.quit()
        self.assertEqual(smtp.transport.sock.cipher()[0],
                         "ECDHE-ECDSA-AES128-GCM-SHA256")


class Tokens(TestCase):
    """RFC 7628, and what Google and Microsoft have: clients that know nothing
    else have no other server to try."""

    def session(self, *options, mechanisms="oauthbearer,xoauth2"):
        smtp = self.smtp("--auth-mechanisms", mechanisms, *options)
        self.extensions = smtp.hello()
        return smtp

    def test_any_token_is_right(self):
        for line in ("OAUTHBEARER " + b64("n,a=joe@b.test,\x01host=x\x01"
                                          "auth=Bearer t0k-en\x01\x01"),
                     "XOAUTH2 " + b64("user=joe@b.test\x01auth=Bearer "
                                      + "t" * 4000 + "\x01\x01")):
            smtp = self.session()
            self.assertEqual(self.extensions["AUTH"], "OAUTHBEARER XOAUTH2")
            smtp.expect("AUTH PLAIN", "504 5.5.4")
            smtp.expect("AUTH " + line, "235 2.7.0")
            smtp.quit()
            self.assertIn(" user=joe@b.test", smtp.process.log())
            self.assertNotIn("t0k", smtp.process.log())

    def test_a_program_gets_the_token(self):
        script = self.write("check", """#!/bin/sh
exec 3<&3
IFS= read -r line <<END
$(tr '\\0' '|' <&3)
END
case "$MAIL_MECHANISM $line" in
"XOAUTH2 joe|right|"*|"OAUTHBEARER joe|right|"*) exit 0 ;;
esac
exit 1
""", 0o755)
        smtp = self.spawn(
            SMTP, "--tls", "off", "--auth", f"exec:{script}", "--maildir",
            self.mail, "--auth-mechanisms", "plain,oauthbearer,xoauth2",
            kind=SmtpPeer)
        smtp.hello()
        reply = smtp.expect("AUTH XOAUTH2 " + b64(
            "user=joe\x01auth=Bearer wrong\x01\x01"), "334")
        self.assertEqual(json.loads(base64.b64decode(reply.text)),
                         {"status": "401", "schemes": "bearer"})
        smtp.expect("", "535 5.7.8")
        reply = smtp.expect("AUTH OAUTHBEARER " + b64(
            "n,a=joe,\x01auth=Bearer wrong\x01\x01"), "334")
        self.assertEqual(json.loads(base64.b64decode(reply.text)),
                         {"status": "invalid_token", "schemes": "bearer"})
        smtp.expect(b64("\x01"), "535 5.7.8")
        smtp.expect("AUTH PLAIN " + plain("joe", "right"), "535 5.7.8")
        smtp.expect_end()

    def test_right_token_by_a_program(self):
        script = self.write("check", "#!/bin/sh\n"
                            "tr '\\0' '|' <&3 | grep -q '^joe|right|'\n",
                            0o755)
        for via in ("OAUTHBEARER " + b64("n,a=joe,\x01auth=Bearer right\x01"
                                         "\x01"),
                    "XOAUTH2 " + b64("user=joe\x01auth=Bearer right\x01"
                                     "\x01")):
            smtp = self.spawn(
                SMTP, "--tls", "off", "--auth", f"exec:{script}",
                "--maildir", self.mail, "--auth-mechanisms",
                "oauthbearer,xoauth2", kind=SmtpPeer)
            smtp.hello()
            smtp.expect("AUTH " + via, "235 2.7.0")

    def test_nobody_knows_now(self):
        """A client that hears of a bad token throws a good one away."""
        script = self.write("check", "#!/bin/sh\nexit 75\n", 0o755)
        options = ("--tls", "off", "--auth", f"exec:{script}", "--maildir",
                   self.mail, "--auth-mechanisms", "oauthbearer,xoauth2")
        self.make_maildir()
        for via in ("OAUTHBEARER " + b64("n,a=joe,\x01auth=Bearer t\x01"
                                         "\x01"),
                    "XOAUTH2 " + b64("user=joe\x01auth=Bearer t\x01\x01")):
            smtp = self.spawn(SMTP, *options, kind=SmtpPeer)
            smtp.hello()
            smtp.expect("AUTH " + via, "454 4.7.0")
            smtp.expect("NOOP", "250 2.0.0")
            pop = self.spawn(POP3, *options, kind=Pop3Peer)
            pop.expect(None, r"\+OK")
            pop.expect("AUTH " + via, r"-ERR \[SYS/TEMP\]")

    def test_pop3_two_lines(self):
        """Microsoft's form: the command, then the response."""
        pop = self.pop3("--auth-mechanisms", "xoauth2,oauthbearer")
        self.make_maildir()
        pop.expect(None, r"\+OK")
        self.assertIn(b"SASL OAUTHBEARER XOAUTH2", pop.multi("CAPA")[1])
        pop.expect("AUTH XOAUTH2", r"\+ ?$")
        pop.expect(b64("user=joe\x01auth=Bearer t\x01\x01"), r"\+OK")

    def test_not_with_a_file(self):
        users = self.write("users", "joe:*\n")
        for program in (SMTP, POP3):
            status, _, err = self.run_to_end(*self.argv(
                program, "--tls", "off", "--auth", f"file:{users}",
                "--maildir", self.mail, "--auth-mechanisms",
                "plain,xoauth2"))
            self.assertEqual(status, 78)
            self.assertIn("--auth-mechanisms oauthbearer and xoauth2 are for "
                          "--auth any and exec:COMMAND: with file: nobody "
                          "knows which tokens are right", err)

    def test_words(self):
        status, _, err = self.run_to_end(*self.argv(
            SMTP, "--auth", "any", "--maildir", self.mail,
            "--auth-mechanisms", "cram-md5"))
        self.assertEqual(status, 64)
        self.assertIn("must be some of plain, login, oauthbearer, xoauth2",
                      err)

    def test_response_too_long(self):
        """go-smtp #301: 500 5.5.6, by RFC 4954 4."""
        smtp = self.session(mechanisms="plain,login,xoauth2")
        smtp.expect("AUTH PLAIN " + plain("joe", "x" * 6000), "500 5.5.6")
        smtp.expect("AUTH LOGIN " + b64("x" * 6000), "500 5.5.6")
        smtp.expect("AUTH XOAUTH2 " + b64("user=x\x01auth=Bearer "
                                          + "t" * 8500 + "\x01\x01"),
                    "500 5.5.6")
        smtp.expect("AUTH PLAIN " + "A" * 13000, "500 5.5.6")
        smtp.expect("AUTH PLAIN " + plain("joe", "x"), "235 2.7.0")


class TokenClients(TestCase):
    """Debian's msmtp and mpop."""

    def run_client(self, *argv, text=b""):
        done = subprocess.run(
            [str(arg) for arg in argv], input=text, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=DEADLINE, cwd=self.dir,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.dir)})
        print(done)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_msmtp_and_mpop(self):
        certs = certificates()
        for n, how in enumerate(("oauthbearer", "xoauth2")):
            self.mail = self.path(how)
            options = (*certs.server.options(), "--auth", "any",
                       "--maildir", self.mail, "--auth-mechanisms", how)
            common = f"""
account default
host localhost
tls on
tls_starttls off
tls_trust_file {certs.ca.crt}
auth {how}
user joe
passwordeval echo ya29.token
"""
            server = self.serve(SMTP, *options)
            self.write("msmtprc", common + f"port {server.port}\n"
                       "from joe@example.com\ndomain client.test\n")
            self.run_client("msmtp", "-C", self.path("msmtprc"),
                            "ann@example.org", text=b"Subject: x\n\ny\n")
            server.wait_all()
            self.assertIn(" user=joe", server.log())
            server = self.serve(POP3, *options)
            fetched = self.make_maildir(self.path(f"fetched{n}"))
            self.write("mpoprc", common + f"""
port {server.port}
keep on
uidls_file {self.path("uidls")}
delivery maildir {fetched}
""")
            self.run_client("mpop", "-C", self.path("mpoprc"))
            server.wait_all()
            self.assertIn(" user=joe", server.log())
            self.assertEqual(len(self.stored(fetched)), 1)


class Alpn(TestCase):
    def context(self, *protocols):
        context = certificates().client_context()
        context.set_alpn_protocols(list(protocols))
        return context

    def test_pop3_has_its_protocol_and_smtp_none(self):
        for program, kind, chosen in ((POP3, Pop3Peer, "pop3"),
                                      (SMTP, SmtpPeer, None)):
            peer = self.spawn(
                program, *certificates().server.options(), "--auth", "any",
                "--maildir", self.mail, kind=kind,
                tls=self.context("pop3", "smtp"))
            peer.line()
            self.assertEqual(
                peer.transport.sock.selected_alpn_protocol(), chosen)
