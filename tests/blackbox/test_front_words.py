"""What the programs say of settings that cannot be right: what is wrong, and
what to do next."""

import os
import shutil
import subprocess

from certs import certificates
from frontdoor import hash_of
from mailtest import DEADLINE, POP3, SMTP, TestCase


class Words(TestCase):
    def check(self, *options, program=SMTP):
        """Exit status of --check-config, and what it says."""
        status, out, err = self.run_to_end(*self.argv(
            program, *options, "--check-config"))
        self.assertEqual(out, "")
        return status, err

    def openssl(self, *words):
        subprocess.run(["openssl", *map(str, words)], check=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=DEADLINE)


class Certificates(Words):
    def setUp(self):
        super().setUp()
        pair = certificates().server
        self.crt, self.key = pair.crt, pair.key
        self.other = self.path("other.key")
        self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt",
                     "ec_paramgen_curve:P-256", "-out", self.other)

    def wrong(self, crt, key, words):
        for program in (SMTP, POP3):
            for option in ("--check-config", "--timeout=5"):
                status, _, err = self.run_to_end(*self.argv(
                    program, "--auth", "any", "--maildir", self.dir,
                    "--tls-cert", crt, "--tls-key", key, option))
                self.assertEqual(status, 78)
                self.assertIn(words, err)

    def test_key_of_another_certificate(self):
        self.wrong(self.crt, self.other,
                   f"--tls-key {self.other} is not the key of --tls-cert "
                   f"{self.crt}: each certificate needs the key that it was "
                   "made with")

    def test_key_with_a_passphrase(self):
        for name, words in (
                ("p8", ("pkcs8", "-topk8", "-in", self.other, "-passout",
                        "pass:x")),
                ("old", ("ec", "-in", self.other, "-aes128", "-passout",
                         "pass:x"))):
            self.openssl(*words, "-out", self.path(name))
            self.wrong(self.crt, self.path(name),
                       f"--tls-key {self.path(name)} has a passphrase, which "
                       "nobody is there to type: openssl pkey -in KEY -out "
                       "NEW-KEY makes one without")

    def test_exchanged(self):
        self.wrong(self.key, self.crt,
                   f"--tls-cert {self.key} is a private key: the certificate "
                   "belongs there, and the key to --tls-key")
        self.wrong(self.crt, self.crt,
                   f"--tls-key {self.crt} is a certificate: its private key "
                   "belongs there")

    def test_something_else(self):
        text = self.write("text", "hello\n")
        self.wrong(text, self.key, f"--tls-cert {text}: there is no "
                   "certificate in PEM form in it")
        self.wrong(self.crt, text, f"--tls-key {text}: there is no private "
                   "key in PEM form in it")

    def test_expired(self):
        """It is told, and not refused: who knows may go on."""
        expired = certificates().expired
        options = ("--auth", "any", "--maildir", self.dir, "--tls-cert",
                   expired.crt, "--tls-key", expired.key)
        status, err = self.check(*options)
        self.assertEqual(status, 78)
        self.assertIn(f"--tls-cert {expired.crt} has expired: clients refuse "
                      "it until there is a new one", err)
        status, _, err = self.run_to_end(*self.argv(SMTP, *options))
        self.assertEqual(status, 0)


class Values(Words):
    def test_comment_behind_a_value(self):
        """It was taken for a part of the value, and mail was delivered to
        "bert  # note"."""
        for line in ("maildir = m/%u  # note", "maildir = m\t# note",
                     "timeout = 5 # seconds", "auth = any #"):
            config = self.write("conf", f"tls = off\n{line}\n")
            status, err = self.check("--config", config)
            self.assertEqual(status, 78)
            self.assertIn(f"conf:2: {line.split()[0]}: a comment stands on a "
                          "line of its own", err)

    def test_number_sign_that_is_no_comment(self):
        config = self.write("conf", f"tls = off\nauth = any\nmaildir = "
                            f"{self.dir}/a#b\non-recipient = /bin/sh -c "
                            "'true # not a comment'\n")
        self.assertEqual(self.check("--config", config), (0, ""))

    def test_one_maildir_for_several_users(self):
        line = f"{hash_of('x')}\n"
        users = self.write("users", f"a:{line}b:{line}")
        options = ("--tls", "off", "--auth", f"file:{users}")
        status, err = self.check(*options, "--maildir", self.dir)
        self.assertEqual(status, 0)
        self.assertIn(f"--maildir {self.dir} is one maildir for all 2 users; "
                      "with %u in it each has their own", err)
        self.assertEqual(self.check(*options, "--maildir",
                                    f"{self.dir}/%u"), (0, ""))
        users = self.write("users", f"a:{line}")
        self.assertEqual(self.check(*options, "--maildir", self.dir),
                         (0, ""))

    def test_no_directory_for_maildirs(self):
        """Of a maildir for each user, what they have in common."""
        users = self.write("users", f"anna:{hash_of('x')}\n")
        missing = self.path("none")
        status, err = self.check(
            "--tls", "off", "--auth", f"file:{users}", "--maildir",
            f"{missing}/%u", program=POP3)
        self.assertEqual(status, 78)
        self.assertIn(f"the directory of --maildir {missing}: No such file "
                      "or directory", err)
        missing.mkdir()
        self.assertEqual(self.check(
            "--tls", "off", "--auth", f"file:{users}", "--maildir",
            f"{missing}/%u", program=POP3), (0, ""))

    def test_relay_with_the_other_scheme(self):
        for url, words in (
                ("smtp://host:465", "port 465 is TLS from the first octet: "
                 "that is smtps://"),
                ("smtps://host:587", "smtp://")):
            relay = self.write("relay", f"* {url} joe secret\n")
            status, err = self.check("--tls", "off", "--auth", "any",
                                     "--relay", relay)
            self.assertEqual(status, 78)
            self.assertIn(words, err)

    def test_relay_password_with_a_blank(self):
        relay = self.write("relay", "* smtps://host joe my secret\n")
        status, err = self.check("--tls", "off", "--auth", "any", "--relay",
                                 relay)
        self.assertEqual(status, 78)
        self.assertIn("a blank in one of them is written %20", err)


class CheckAs(Words):
    """Root reads everything: what the service's user cannot is found by
    --check-as."""

    USER = "nobody"

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("not root: cannot become another user")
        self.dir.chmod(0o755)
        self.box = self.make_maildir(self.path("box"))
        self.own(self.box)

    def own(self, folder):
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, self.USER)

    def options(self, *options):
        return ("--tls", "off", "--maildir", self.box, "--check-as",
                self.USER, *options)

    def test_all_well(self):
        users = self.write("users", f"a:{hash_of('x')}\n", 0o640)
        shutil.chown(users, self.USER)
        for program in (SMTP, POP3):
            self.assertEqual(self.check(*self.options(
                "--auth", f"file:{users}"), program=program), (0, ""))

    def test_files_that_only_root_can_read(self):
        users = self.write("users", f"a:{hash_of('x')}\n")
        pair = certificates().server
        key = self.write("key", pair.key.read_bytes())
        for program in (SMTP, POP3):
            status, err = self.check(
                *self.options("--auth", f"file:{users}", "--tls", "implicit",
                              "--tls-cert", pair.crt, "--tls-key", key),
                program=program)
            self.assertEqual(status, 78)
            for words in (f"--auth file: {users}", f"--tls-key {key}"):
                self.assertIn(f"{words}: Permission denied for the user of "
                              "--check-as, who must be able to read it; or "
                              "name it without a path, and its unit hands it "
                              "in by LoadCredential=", err)

    def test_handed_in(self):
        """Names without a path: systemd reads them, as root."""
        self.write("users", f"a:{hash_of('x')}\n")
        status, _, err = self.run_to_end(
            *self.argv(SMTP, *self.options("--auth", "file:users"),
                       "--check-config"), cwd=self.dir)
        self.assertEqual((status, err), (0, ""))

    def test_maildirs(self):
        shutil.chown(self.box, "root")
        self.box.chmod(0o700)
        for program in (SMTP, POP3):
            status, err = self.check(*self.options("--auth", "any"),
                                     program=program)
            self.assertEqual(status, 78)
            self.assertRegex(err, f"{self.box}.*: Permission denied")

    def test_wrong_users(self):
        status, err = self.check("--tls", "off", "--auth", "any", "--maildir",
                                 self.box, "--check-as", "no-such-user")
        self.assertEqual(status, 78)
        self.assertIn("--check-as no-such-user: there is no such user", err)
        status, _, err = self.run_to_end(
            *self.argv(SMTP, "--tls", "off", "--auth", "any", "--maildir",
                       self.box, "--check-as", "root", "--check-config"),
            user=65534)
        self.assertEqual(status, 78)
        self.assertIn("--check-as root: only root can look as another user",
                      err)
