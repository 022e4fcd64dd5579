"""Command line, configuration file, --check-config, exit statuses.
The man pages' options."""

import os
import re
import subprocess

from certs import certificates
from frontdoor import hash_of
from mailtest import (HOST, POP3, SMTP, Pop3Peer, SmtpPeer, TestCase,
                      clean_environment)

BOTH = (POP3, SMTP)


class CommandLine(TestCase):
    def test_help(self):
        for program, own in ((POP3, ["--scan"]),
                             (SMTP, ["--max-size", "--max-recipients",
                                     "--relay", "--bare-lf"])):
            with self.subTest(program=program.name):
                status, out, err = self.run_to_end(program, "--help")
                self.assertEqual((status, err), (0, ""))
                for option in ("--tls", "--tls-cert", "--tls-key", "--auth",
                               "--hostname", "--maildir", "--timeout",
                               "--log", "--log-level", "--transcript",
                               "--check-config", "--help", "--version", *own):
                    self.assertRegex(out, rf"(?m){option}\b")

    def test_version(self):
        for program in BOTH:
            status, out, err = self.run_to_end(program, "--version")
            self.assertEqual((status, err), (0, ""))
            self.assertRegex(out, rf"^{program.name} \S+\n")

    def test_wrong(self):
        for program in BOTH:
            for options in (["--no-such-option"], ["-Z"], ["--maildir"],
                            ["surplus"], ["--timeout", "x"],
                            ["--timeout", "-1"], ["--timeout", "1x"],
                            ["--timeout", "99999999999999999999"],
                            ["--timeout", ""], ["--tls", "maybe"],
                            ["--log", "nowhere"], ["--log-level", "loud"],
                            ["--auth", "everybody"], ["--transcript=maybe"]):
                with self.subTest(program=program.name, options=options):
                    status, out, err = self.run_to_end(program, *options)
                    self.assertEqual((status, out), (64, ""), err)
                    # It names what was wrong
                    self.assertIn(options[0].split("=")[0].lstrip("-"), err)

    def test_wrong_values_tell_what_is_allowed(self):
        for option, value, allowed in (
                ("--tls", "maybe", "implicit"),
                ("--log", "nowhere", "journal"),
                ("--log-level", "loud", "warning")):
            for program in BOTH:
                with self.subTest(program=program.name, option=option):
                    status, _, err = self.run_to_end(program, option, value)
                    self.assertEqual(status, 64)
                    self.assertIn(allowed, err)
                    self.assertIn(value, err)

    def test_smtp_numbers(self):
        for option in ("--max-size", "--max-recipients"):
            for value in ("x", "-1", "", "1x", "99999999999999999999"):
                with self.subTest(option=option, value=value):
                    status, _, err = self.run_to_end(SMTP, option, value)
                    self.assertEqual(status, 64)
                    self.assertIn(option.lstrip("-"), err)

    def test_no_abbreviations_of_wrong_things(self):
        """Something that is no option does not become one."""
        status, _, _ = self.run_to_end(POP3, "--max-size", "5")
        self.assertEqual(status, 64)


class NothingToServe(TestCase):
    """Exit 78, and a line that names the option to give."""

    def test_missing_options(self):
        certs = certificates().server.options()
        for program, options, named in (
                (POP3, ["--tls", "off", "--auth", "any"], "maildir"),
                (POP3, ["--tls", "off", "--maildir", self.dir], "auth"),
                (SMTP, ["--tls", "off", "--auth", "any"], "maildir"),
                (SMTP, ["--tls", "off", "--maildir", self.dir], "auth"),
                (POP3, [*certs, "--auth", "any"], "maildir"),
                (SMTP, [*certs, "--maildir", self.dir], "auth")):
            with self.subTest(program=program.name, options=options):
                status, out, err = self.run_to_end(
                    *self.argv(program, *options))
                self.assertEqual((status, out), (78, ""), err)
                self.assertIn(f"--{named}", err)

    def test_no_certificate(self):
        """The default, implicit TLS, without tls.crt here."""
        for program in BOTH:
            with self.subTest(program=program.name):
                status, out, err = self.run_to_end(
                    *self.argv(program, "--auth", "any", "--maildir",
                               self.dir), cwd=self.dir)
                self.assertEqual((status, out), (78, ""), err)
                self.assertIn("tls.crt", err)


class CheckConfig(TestCase):
    def check(self, program, *options, status=0, named=None, **kwargs):
        got, out, err = self.run_to_end(program, "--check-config", *options,
                                        **kwargs)
        self.assertEqual(got, status, out + err)
        if named:
            self.assertIn(str(named), out + err)
        return out + err

    def good(self):
        self.make_maildir()
        return [*certificates().server.options(), "--auth", "any",
                "--maildir", self.mail]

    def test_good(self):
        for program in BOTH:
            self.check(program, *self.good())
            self.check(program, "--tls", "off", "--auth", "any",
                       "--maildir", self.mail)

    def test_good_changes_nothing(self):
        before = sorted(os.listdir(self.dir))
        self.check(SMTP, "--tls", "off", "--auth", "any", "--maildir",
                   self.mail)
        self.assertEqual(sorted(os.listdir(self.dir)), before)

    def test_bad_certificates(self):
        certs = certificates()
        junk = self.write("junk", "junk\n")
        for program in BOTH:
            for crt, key, named in (
                    ("/gone.crt", certs.server.key, "/gone.crt"),
                    (certs.server.crt, "/gone.key", "/gone.key"),
                    (junk, certs.server.key, junk),
                    (certs.server.crt, junk, junk),
                    (certs.server.crt, certs.stranger.key,
                     certs.stranger.key)):
                with self.subTest(program=program.name, named=str(named)):
                    self.check(program, "--auth", "any", "--maildir",
                               self.dir, "--tls-cert", crt, "--tls-key", key,
                               status=78, named=named)

    def test_bad_maildir(self):
        certs = certificates().server.options()
        self.check(POP3, *certs, "--auth", "any", "--maildir",
                   self.path("gone"), status=78, named=self.path("gone"))
        self.write("file", "")
        for program in BOTH:
            self.check(program, *certs, "--auth", "any", "--maildir",
                       self.path("file"), status=78, named=self.path("file"))

    def test_maildirs_by_pattern(self):
        """What is below a percent sign of its own, and users' own."""
        (self.path("a%b")).mkdir()
        good = ["--tls", "off", "--auth", "any", "--maildir"]
        self.check(SMTP, *good, f"{self.dir}/a%%b/M")
        self.check(SMTP, *good, f"{self.dir}/a%%b/%u", "--create-maildirs")
        self.check(SMTP, *good, f"{self.dir}/c%%d/%u", "--create-maildirs",
                   status=78, named=self.path("c%d"))
        users = self.write("users",
                           f"joe:{hash_of('secret-pw')}:{self.path('own')}\n")
        by_file = ["--tls", "off", "--auth", f"file:{users}"]
        self.check(SMTP, *by_file, status=78, named=self.path("own"))
        self.check(SMTP, *by_file, "--create-maildirs")
        self.path("own").mkdir()
        self.check(SMTP, *by_file)

    def test_said_into_a_pipe(self):
        """2>&1 | less"""
        done = subprocess.run(
            [SMTP, "--check-config", "--auth", "any"], timeout=200,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=self.dir, text=True,
            env=clean_environment())
        self.assertEqual(done.returncode, 78)
        self.assertIn("--tls-cert tls.crt: No such file", done.stdout)

    def test_bad_cache(self):
        good = self.good()
        cache = self.path("cache")
        cache.mkdir()
        self.check(POP3, *good, "--cache-dir", cache)
        self.write("file", "")
        for bad in (self.path("gone"), self.path("file"),
                    self.mail, self.mail / "cur"):
            with self.subTest(bad=bad):
                self.check(POP3, *good, "--cache-dir", bad, status=78,
                           named=f"--cache-dir {bad}")
                self.check(POP3, *good, status=78, named=bad,
                           env={"CACHE_DIRECTORY": str(bad)})

    def test_missing(self):
        for program in BOTH:
            self.check(program, "--tls", "off", "--auth", "any", status=78,
                       named="--maildir")
            self.check(program, "--tls", "off", "--maildir", self.dir,
                       status=78, named="--auth")

    def test_relay(self):
        ca = certificates().ca.crt
        relay = self.write("relay", f"* smtps://localhost?ca={ca} joe pw\n")
        options = [*self.good(), "--relay", relay]
        self.check(SMTP, *options)
        relay.write_text("* smtps://localhost?ca=/gone joe hush-secret\n")
        said = self.check(SMTP, *options, status=78, named="/gone")
        self.assertNotIn("hush-secret", said)
        relay.unlink()
        self.check(SMTP, *options, status=78, named=relay)

    def test_wrong_command_line_is_64(self):
        for program in BOTH:
            self.check(program, "--no-such-option", status=64)


class ConfigurationFile(TestCase):
    def config(self, text):
        return self.write("handler.conf", text)

    def pop3_from(self, text, *options, **kwargs):
        return self.spawn(POP3, "--config", self.config(text), *options,
                          kind=Pop3Peer, **kwargs)

    def test_read(self):
        self.make_maildir()
        pop = self.pop3_from("# a comment\n\n  tls = off\nauth=any\n"
                             f"maildir\t=  {self.mail}  \n")
        pop.login()
        self.assertEqual(pop.stat(), (0, 0))
        pop.quit()

    def test_command_line_beats_file(self):
        self.make_maildir()
        smtp = self.spawn(
            SMTP, "--config",
            self.config(f"tls = off\nauth = any\nmaildir = {self.mail}\n"
                        "max-size = 1000\nmax-recipients = 1\n"),
            "--max-size", "2000", kind=SmtpPeer)
        self.assertEqual(smtp.hello()["SIZE"], "2000")
        smtp.login()
        smtp.envelope("a@b.test", "c@d.test")
        smtp.expect("RCPT TO:<e@f.test>", "452 4.5.3")

    def test_switches(self):
        self.make_maildir()
        text = f"tls = off\nauth = any\nmaildir = {self.mail}\n"
        for value, more, shown in (("yes", [], True), ("no", [], False),
                                   ("yes", ["--no-transcript"], False),
                                   ("no", ["--transcript"], True)):
            with self.subTest(value=value, more=more):
                pop = self.pop3_from(f"{text}transcript = {value}\n", *more)
                pop.login()
                pop.cmd("NOOP")
                pop.quit()
                pop.process.wait()
                self.assertEqual("NOOP" in pop.process.log(), shown)

    def test_errors_name_file_line_and_option(self):
        for line, named in (("no-such-option = 1", "no-such-option"),
                            ("tls = maybe", "tls"), ("tls", "tls"),
                            ("timeout = x", "timeout"),
                            ("transcript = maybe", "transcript"),
                            ("= 1", "="), ("help = yes", "help"),
                            ("--tls = off", "tls")):
            with self.subTest(line=line):
                config = self.config(f"# first\nauth = any\n{line}\n")
                status, out, err = self.run_to_end(
                    *self.argv(POP3, "--config", config))
                self.assertEqual((status, out), (78, ""), err)
                self.assertRegex(err, re.escape(str(config)) + r".*\b3\b")
                self.assertIn(named, err)

    def test_unreadable_file(self):
        for path in (self.path("gone"), self.dir):
            for program in BOTH:
                with self.subTest(program=program.name, path=path):
                    status, out, err = self.run_to_end(
                        program, "--config", path)
                    self.assertEqual((status, out), (78, ""), err)
                    self.assertIn(str(path), err)

    def test_file_without_a_last_line_end(self):
        self.make_maildir()
        pop = self.pop3_from(f"auth = any\nmaildir = {self.mail}\ntls = off")
        pop.login()

    def test_relative_names(self):
        """In $CREDENTIALS_DIRECTORY where that is set, else here."""
        self.make_maildir()
        config = self.config(f"tls = off\nauth = any\nmaildir = {self.mail}\n")
        for env, wrap in (({"CREDENTIALS_DIRECTORY": self.dir}, []),
                          ({}, ["env", "-C", self.dir])):
            with self.subTest(env=env):
                pop = self.spawn(POP3, "--config", config.name, env=env,
                                 wrap=wrap, kind=Pop3Peer)
                pop.login()

    def test_hostname(self):
        self.make_maildir()
        config = self.config("hostname = from-file.test\n")
        smtp = self.smtp("--config", config)
        self.assertEqual(smtp.expect(None, "220").text.split(" ")[0], HOST)
        self.argv = lambda program, *options: [program, *options]
        smtp = self.smtp("--config", config)
        self.assertEqual(smtp.expect(None, "220").text.split(" ")[0],
                         "from-file.test")
