"""--check-config with --relay: what is wrong, and at a terminal which mail
each account takes."""

import os
import pty
import subprocess

from mailtest import DEADLINE, SMTP, clean_environment
from relay import Relay


class CheckAccounts(Relay):
    ACCOUNTS = (
        "# sender  next hop",
        "joe@example.com smtps://smtp.example.com joe hush-secret for=joe",
        "example.org smtp://mail.example.org:2587?verify=no relay hush-secret",
        "* lmtp+unix:/run/dovecot/lmtp",
        "ann@example.net smtp+plain://[::1]:25",
        "* smtps://smtp.example.com?auth=xoauth2 me exec:true an argument")

    def options(self, accounts):
        return self.argv(SMTP, "--tls", "off", "--auth", "any", "--relay",
                         accounts, "--check-config")

    def at_terminal(self, accounts):
        """Exit status and what stands on the terminal."""
        ours, theirs = pty.openpty()
        with open(ours, "rb", buffering=0) as screen:
            done = subprocess.run(
                [str(word) for word in self.options(accounts)],
                stdin=subprocess.DEVNULL, stdout=theirs,
                stderr=subprocess.PIPE, timeout=DEADLINE,
                env=clean_environment())
            os.close(theirs)
            text = b""
            try:
                while more := screen.read(65536):
                    text += more
            except OSError:     # how the end of a terminal looks
                pass
        return done.returncode, text.decode().replace("\r\n", "\n")

    def test_at_a_terminal(self):
        accounts = self.accounts(*self.ACCOUNTS)
        status, text = self.at_terminal(accounts)
        self.assertEqual(status, 0)
        text = text.split("\n", 2)[2]      # who gets what
        self.assertEqual(text, "".join(f"{accounts}:{line}\n" for line in (
            "2: mail from <joe@example.com> by the login joe goes to "
            "smtps://smtp.example.com:465 as joe",
            "3: mail from any address at example.org by any login goes to "
            "smtp://mail.example.org:2587 as relay, whatever its certificate",
            "4: mail from any sender (and <>) by any login goes to "
            "lmtp+unix:/run/dovecot/lmtp, in the clear",
            "5: mail from <ann@example.net> by any login goes to "
            "smtp+plain://[::1]:25, in the clear; but never, for line 4 "
            "comes first",
            "6: mail from any sender (and <>) by any login goes to "
            "smtps://smtp.example.com:465 as me by XOAUTH2; but never, for "
            "line 4 comes first")))

    def test_what_comes_first(self):
        url = "smtp+plain://localhost"
        for first, second, hidden in (
                ("example.com", "joe@EXAMPLE.com", True),
                ("joe@example.com", "example.com", False),
                ("example.com", "joe@sub.example.com", False),
                ("*", "example.com", True),
                ("example.com", "*", False)):
            for owners, hides in ((("", ""), True),
                                  (("", " for=joe"), True),
                                  ((" for=joe", ""), False),
                                  ((" for=joe", " for=joe"), True),
                                  ((" for=joe", " for=ann"), False)):
                with self.subTest(first=first, second=second, owners=owners):
                    _, text = self.at_terminal(self.accounts(
                        f"{first} {url}{owners[0]}",
                        f"{second} {url}{owners[1]}"))
                    self.assertEqual("but never, for line 1" in text,
                                     hidden and hides)

    def test_elsewhere(self):
        status, out, err = self.run_to_end(
            *self.options(self.accounts(*self.ACCOUNTS)))
        self.assertEqual((status, out, err), (0, "", ""))

    def test_ca_files(self):
        self.write("junk", "no certificate")
        for name in ("gone", "junk"):
            for scheme in ("smtps", "smtp"):
                with self.subTest(name=name, scheme=scheme):
                    accounts = self.accounts(
                        "", f"* {scheme}://localhost?ca={self.path(name)}")
                    status, out, err = self.run_to_end(
                        *self.options(accounts))
                    self.assertEqual((status, out), (78, ""))
                    self.assertIn(f"{accounts}:2: ", err)
                    self.assertIn(f"CA file {self.path(name)}", err)
        status, _, err = self.run_to_end(*self.options(self.accounts(
            f"* smtp://localhost?ca={self.certs.ca.crt}")))
        self.assertEqual((status, err), (0, ""))

    def test_passwords(self):
        """Whether they can be had, without running a command."""
        empty = self.write("empty", "\n")
        public = self.write("public", "hush-secret\n", 0o644)
        ran = self.path("ran")
        for password, why in (
                (f"file:{empty}", "the password is empty"),
                (f"file:{self.path('gone')}", "No such file or directory"),
                (f"file:{public}", "anyone may read it; chmod o-r it"),
                ("exec:", "exec: no command"),
                ("exec:'x", "exec: a quote without its end"),
                ("exec:gone-helper", "exec: gone-helper: not found in PATH"),
                (f"exec:touch {ran}", None)):
            with self.subTest(password=password):
                accounts = self.accounts(
                    "", f"* smtps://h.test joe {password}")
                status, out, err = self.run_to_end(*self.options(accounts))
                self.assertEqual((status, out), (78 if why else 0, ""))
                self.assertRegex(err, f"{accounts}:2: .*{why}" if why
                                 else "^$")
                self.assertNotIn("hush-secret", err)
        self.assertFalse(ran.exists())

    def test_credential_that_the_unit_does_not_hand_in(self):
        folder = self.path("credentials")
        folder.mkdir()
        accounts = self.accounts("* smtps://h.test joe file:joe.pw")
        status, _, err = self.run_to_end(
            *self.options(accounts),
            env={"CREDENTIALS_DIRECTORY": str(folder)})
        self.assertEqual(status, 78)
        self.assertIn(f"{accounts}:1: {folder}/joe.pw: No such file or "
                      "directory: the unit has no LoadCredential=joe.pw:FILE",
                      err)
