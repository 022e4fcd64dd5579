"""smtp-handler against what other mail programs' users reported: each test
is named after the report that it comes from."""

import subprocess

from mailtest import DEADLINE, SMTP, TestCase

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
        self.assertIn('end: reason="This is a mail server, and that was no '
                      'mail command"', server.log())

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
