"""smtp-handler against what other mail programs' users reported: each test
is named after the report that it comes from."""

import subprocess

from mailtest import DEADLINE, SMTP, TestCase, split_stored
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
