"""Options as both programs share them: the configuration file, lists,
switches, relative names, --check-config, and what errors say.
The man pages, options."""

import os

from frontdoor import (BOTH, HELPERS, KIND, RIGHT, FrontDoor, hash_of,
                       offers, try_login, upgrade)
from mailtest import POP3, SMTP

PLAIN = ("--tls", "off")


class Options(FrontDoor):
    def config(self, text, name="handler.conf"):
        return self.write(name, text, 0o644)

    def configured(self, program, text, *options, **kwargs):
        """A handler that is told everything by a file."""
        return self.spawn(program, "--config", self.config(text), *options,
                          kind=KIND[program], **kwargs)

    @property
    def basis(self):
        return f"tls = off\nauth = any\nmaildir = {self.mail}\n"

    def refused(self, program, *options, status=78, **kwargs):
        """What it says of these options, with and without --check-config."""
        said = []
        for more in ([], ["--check-config"]):
            got, out, err = self.run_to_end(
                *self.argv(program, *options, *more), **kwargs)
            self.assertEqual((got, out), (status, ""), err)
            said.append(err)
        return said

    def assert_refused(self, program, options, *named, status=78, **kwargs):
        for err in self.refused(program, *options, status=status, **kwargs):
            for text in named:
                self.assertIn(str(text), err)
            self.assertEqual(len(err.splitlines()), 1, err)


class File(Options):
    def test_form(self):
        """Blanks, comments, line ends, signs in values."""
        witness = self.write("users", f"j#e:{hash_of('a = b')}\n")
        for text in (f"tls=off\nauth=file:{witness}\nmaildir={self.mail}",
                     f"  tls\t =  off  \n\tauth = file:{witness}\t\n"
                     f"maildir = {self.mail}   \n\n\n",
                     f"# comment\r\ntls = off\r\nauth = file:{witness}\r\n"
                     f"  # another = one\r\nmaildir = {self.mail}\r\n\r\n"):
            for program in BOTH:
                peer = self.configured(program, text)
                offers(peer)
                self.assertEqual(try_login(peer, "j#e", "a = b"),
                                 RIGHT[program])

    def test_hash_and_equals_sign_in_a_value(self):
        """A comment is a line of its own; the first = parts."""
        mail = self.make_maildir(self.path("a = b#c"))
        self.put("new/1", b"Subject: here\n\n", base=mail)
        pop = self.configured(POP3,
                              f"tls = off\nauth = any\nmaildir = {mail}\n")
        pop.login()
        self.assertEqual(pop.retr(1)[1], b"Subject: here\r\n\r\n")

    def test_order_of_sources(self):
        """Command line, file, default; wherever --config stands."""
        for before, after, wanted in (
                ((), (), "2000"), (("--max-size", "3000"), (), "3000"),
                ((), ("--max-size", "3000"), "3000"),
                (("--max-size", "3000"), ("--max-size", "4000"), "4000")):
            smtp = self.spawn(
                SMTP, *before, "--config",
                self.config(self.basis + "max-size = 2000\n"), *after,
                kind=KIND[SMTP])
            self.assertEqual(smtp.hello()["SIZE"], wanted)
        smtp = self.configured(SMTP, self.basis)
        self.assertEqual(smtp.hello()["SIZE"], "35882577")

    def test_switches(self):
        """yes and no in a file, --NAME and --no-NAME on the command line,
        the last one wins there."""
        header = b"PROXY TCP4 127.0.0.5 127.0.0.1 4711 995\r\n"
        for value, options, wanted in (
                ("yes", (), True), ("no", (), False),
                ("yes", ("--no-proxy-protocol",), False),
                ("no", ("--proxy-protocol",), True),
                ("no", ("--no-proxy-protocol", "--proxy-protocol"), True),
                ("yes", ("--proxy-protocol", "--no-proxy-protocol"), False)):
            for program in BOTH:
                with self.subTest(program=program.name, value=value,
                                  options=options):
                    peer = self.configured(
                        program, f"{self.basis}proxy-protocol = {value}\n",
                        *options)
                    if wanted:
                        peer.send(header)
                    offers(peer)
                    self.assertIs("peer=127.0.0.5:" in peer.process.log(),
                                  wanted)

    def test_switch_that_begins_with_no(self):
        """Its name is the same in both places; there is no --no-no-."""
        for value, options, wanted in (
                ("yes", (), "250 2.1.0"), ("no", (), "530 5.7.0"),
                ("no", ("--no-auth-required",), "250 2.1.0")):
            smtp = self.configured(
                SMTP, f"{self.basis}no-auth-required = {value}\n", *options)
            smtp.hello()
            smtp.expect("MAIL FROM:<a@b.test>", wanted)
        for option in ("--no-no-auth-required", "--auth-required"):
            self.assert_refused(SMTP, [*PLAIN, option], option, status=64)

    def test_no_of_what_is_no_switch(self):
        for program in BOTH:
            for option in ("--no-tls", "--no-timeout", "--no-config",
                           "--no-maildir", "--no-help"):
                self.assert_refused(program, [option], option, status=64)
            for option in ("--transcript=yes", "--no-transcript=no"):
                self.assert_refused(program, [option], "transcript",
                                    status=64)

    def test_switches_on_the_command_line_of_a_check(self):
        """--check-config can be taken back like any other."""
        for program in BOTH:
            peer = self.spawn(program, "--check-config", "--config",
                              self.config(self.basis), "--no-check-config",
                              kind=KIND[program])
            offers(peer)


class Lists(Options):
    def pair(self, name):
        pair = getattr(self.certs, name)
        return f"tls-cert = {pair.crt}\ntls-key = {pair.key}\n"

    def subject(self, peer, name=None):
        """What certificate is shown to somebody who asks for the name."""
        context = self.certs.client_context()
        context.check_hostname = False
        upgrade(peer, context, name)
        return dict(pair for row in
                    peer.transport.tls.getpeercert()["subject"]
                    for pair in row)["commonName"]

    def test_of_a_file_and_replaced(self):
        """Those given on the command line are all there are."""
        text = (f"auth = any\nmaildir = {self.mail}\n" + self.pair("server")
                + self.pair("wrong_name"))
        own = self.certs.wrong_name.options()
        for program in BOTH:
            for options, name, wanted in (
                    ([], None, "test server"),
                    ([], "other.test", "test wrong_name"),
                    (own, None, "test wrong_name"),
                    (own, "localhost", "test wrong_name"),
                    (own * 2, "localhost", "test wrong_name")):
                with self.subTest(program=program.name, name=name,
                                  options=options):
                    peer = self.configured(program, text, *options)
                    self.assertEqual(self.subject(peer, name), wanted)
            # Only half of it
            for options in (own[:2], own[2:]):
                self.assert_refused(
                    program, ["--config", self.config(text), *options],
                    "--tls-cert", "--tls-key")

    def test_too_long(self):
        options = self.certs.server.options() * 1000
        for program in BOTH:
            for err in self.refused(program, "--auth", "any", "--maildir",
                                    self.mail, *options, status=64):
                self.assertRegex(err, r"--tls-cert is there too often, at "
                                      r"most \d+ times")


class Names(Options):
    """Of files: relative ones are credentials where there are any."""

    def setUp(self):
        super().setUp()
        self.here = self.path("here")
        self.credentials = self.path("credentials")
        for folder, pair, password in (
                (self.here, self.certs.wrong_name, "from here"),
                (self.credentials, self.certs.server, "from credentials")):
            folder.mkdir()
            (folder / "site.crt").write_bytes(pair.crt.read_bytes())
            (folder / "site.key").write_bytes(pair.key.read_bytes())
            users = folder / "users"
            users.write_text(f"joe:{hash_of(password)}\n")
            users.chmod(0o600)
            (folder / "relay").write_text("* smtps://127.0.0.1 joe pw\n")
            (folder / "relay").chmod(0o600)
            (folder / "handler.conf").write_text(
                f"auth = file:users\nmaildir = {self.mail}\n"
                "tls-cert = site.crt\ntls-key = site.key\n"
                f"hostname = {folder.name}.test\n")

    def test_all_of_them(self):
        """--config, and in it certificate, key and users."""
        self.argv = lambda program, *options: [program, "--log", "stderr",
                                               *options]
        for env, folder, certificate in (
                ({}, self.here, "other.test"),
                ({"CREDENTIALS_DIRECTORY": self.credentials},
                 self.credentials, "localhost"),
                ({"CREDENTIALS_DIRECTORY": ""}, self.here, "other.test")):
            for program in BOTH:
                with self.subTest(program=program.name, env=env):
                    peer = self.spawn(
                        program, "--config", "handler.conf",
                        kind=KIND[program], env=env,
                        wrap=["env", "-C", self.here])
                    # Verified: it is that certificate
                    upgrade(peer, self.tls, certificate)
                    self.assertRegex(peer.line(), rb"^(220|\+OK) "
                                     + folder.name.encode() + rb"\.test ")
                    if program == SMTP:
                        peer.ehlo()
                    self.assertEqual(
                        try_login(peer, "joe", f"from {folder.name}"),
                        RIGHT[program])

    def test_absolute_names_are_left_alone(self):
        for program in BOTH:
            peer = self.door(
                program, "--config", self.here / "handler.conf",
                "--auth", f"file:{self.here / 'users'}",
                *self.certs.server.options(),
                env={"CREDENTIALS_DIRECTORY": "/nonexistent"})
            upgrade(peer, self.tls)
            offers(peer)
            self.assertEqual(try_login(peer, "joe", "from here"),
                             RIGHT[program])

    def test_missing_credential(self):
        """Its whole name is told; what lies here is no substitute."""
        for program in BOTH:
            for gone in ("handler.conf", "site.crt", "site.key", "users"):
                with self.subTest(program=program.name, gone=gone):
                    hidden = self.credentials / gone
                    hidden.rename(self.credentials / "hidden")
                    self.assert_refused(
                        program, ["--config", "handler.conf"], hidden,
                        "No such file", cwd=self.here,
                        env={"CREDENTIALS_DIRECTORY": self.credentials})
                    (self.credentials / "hidden").rename(hidden)
        (self.credentials / "relay").unlink()
        self.assert_refused(
            SMTP, ["--config", "handler.conf", "--relay", "relay"],
            self.credentials / "relay", cwd=self.here,
            env={"CREDENTIALS_DIRECTORY": self.credentials})

    def test_check_config_finds_them_too(self):
        for program in BOTH:
            options = ["--config", "handler.conf", "--check-config"]
            if program == SMTP:
                options += ["--relay", "relay"]
            for env, cwd in (({"CREDENTIALS_DIRECTORY": self.credentials},
                              "/"), ({}, self.here)):
                status, out, err = self.run_to_end(program, *options, env=env,
                                                   cwd=cwd)
                self.assertEqual((status, out), (0, ""), err)


class Errors(Options):
    """Which file, which line, which option, what is allowed."""

    NUMBER = r"must be a number from \d+ to \d+"
    WRONG = (
        ("tls = maybe", "must be one of: implicit, starttls, off, outer"),
        ("tls = OFF", "must be one of: implicit"),
        ("tls =", "must be one of: implicit"),
        ("log = nowhere", "must be one of: auto, journal, syslog, stderr"),
        ("log-level = loud",
         "must be one of: error, warning, notice, info, debug"),
        ("timeout = 0", NUMBER), ("timeout = x", NUMBER),
        ("timeout = -1", NUMBER), ("timeout = 1.5", NUMBER),
        ("timeout = 1s", NUMBER), ("timeout =", NUMBER),
        ("timeout = 99999999999999999999999", NUMBER),
        ("transcript = maybe", "must be yes or no"),
        ("transcript = true", "must be yes or no"),
        ("transcript = 1", "must be yes or no"),
        ("transcript = YES", "must be yes or no"),
        ("transcript =", "must be yes or no"),
        ("proxy-protocol = on", "must be yes or no"),
        ("maildir =", "must not be empty"), ("auth =", "must not be empty"),
        ("tls-cert =", "must not be empty"),
        ("hostname =", "must not be empty"),
        ("auth = everybody", "any, any-remote, file:PATH, exec:COMMAND"),
        ("auth = file:", "any, any-remote, file:PATH, exec:COMMAND"),
        ("auth = exec:'x", "quote"),
        ("hostname = a b", "host name"), ("hostname = a/b", "host name"),
        ("tls-protocols = tlsv9", "secure"),
        ("no-such-option = 1", "unknown option 'no-such-option'"),
        ("Tls = off", "unknown option 'Tls'"),
        ("--tls = off", "unknown option '--tls'"),
        ("no-transcript = yes", "unknown option 'no-transcript'"),
        ("transcript", "name = value"), ("yes", "name = value"),
        ("= off", "unknown option ''"),
        ("config = other.conf", "cannot name another"),
        ("help = yes", "command line only"),
        ("version = yes", "command line only"))
    OWN = {
        POP3: (("scan = some", "must be one of: all, inbox"),
               ("max-size = 1000", "unknown option 'max-size'")),
        SMTP: (("max-size = 1", NUMBER), ("max-recipients = 0", NUMBER),
               ("bare-lf = eat", "must be one of: reject"),
               ("no-auth-required = maybe", "must be yes or no"),
               ("scan = all", "unknown option 'scan'"))}

    def test_in_a_file(self):
        for program in BOTH:
            for line, allowed in self.WRONG + self.OWN[program]:
                with self.subTest(program=program.name, line=line):
                    name = line.partition("=")[0].strip()
                    base = "".join(
                        row for row in self.basis.splitlines(True)
                        if row.partition("=")[0].strip() != name)
                    config = self.config("# first\n" + base + line + "\n")
                    number = 2 + base.count("\n")
                    options = ["--config", config]
                    if name == "tls-protocols":     # not looked at without
                        options += ["--tls", "starttls",
                                    *self.certs.server.options()]
                    # A value of the command line would hide the file's
                    self.argv = lambda program, *options: [program, *options]
                    for err in self.refused(program, *options):
                        self.assertIn(f"{config}:{number}: ", err)
                        if name and " = " in line:
                            self.assertIn(name, err)
                        self.assertRegex(err, allowed)
                        self.assertEqual(len(err.splitlines()), 1, err)

    def test_on_the_command_line(self):
        """The same words, with the option as it was written; exit 64."""
        for program in BOTH:
            for line, allowed in self.WRONG + self.OWN[program]:
                name, sign, value = line.partition(" =")
                if not sign or "unknown" in allowed or name in (
                        "config", "help", "version", "transcript",
                        "proxy-protocol", "no-auth-required", "--tls"):
                    continue
                with self.subTest(program=program.name, line=line):
                    options = ["--auth", "any", "--maildir", self.mail,
                               "--tls", "off"]
                    if name == "tls-protocols":
                        options += ["--tls", "starttls",
                                    *self.certs.server.options()]
                    options += [f"--{name}", value.strip()]
                    for err in self.refused(program, *options, status=64):
                        self.assertIn(f"--{name}", err)
                        self.assertRegex(err, allowed)
                        self.assertEqual(len(err.splitlines()), 1, err)

    def test_first_wrong_line(self):
        for program in BOTH:
            config = self.config(self.basis + "timeout = x\ntls = maybe\n")
            self.assert_refused(program, ["--config", config],
                                f"{config}:4: ", "timeout")

    def test_wrong_in_the_file_though_overruled(self):
        """A file that is wrong is wrong; or else the option that replaces it
        is enough: either, but the same every time."""
        config = self.config(self.basis + "timeout = x\n")
        statuses = {
            self.run_to_end(*self.argv(program, "--config", config,
                                       "--timeout", "5", *more))[0]
            for program in BOTH for more in ((), ("--check-config",))}
        self.assertEqual(len(statuses), 1, statuses)

    def test_unreadable(self):
        os.mkfifo(self.path("pipe"))
        big = self.config("# " + "x" * 2_000_000 + "\n", "big")
        nul = self.write("nul", b"tls = off\n\0\n", 0o644)
        for program in BOTH:
            for path, why in ((self.path("gone"), "No such file"),
                              (self.dir, "regular file"),
                              (self.path("pipe"), "regular file"),
                              ("/dev/null", "regular file"),
                              (big, "larger than"), (nul, "NUL")):
                with self.subTest(program=program.name, path=path):
                    self.assert_refused(program, ["--config", path], path,
                                        why)

    def test_unknown_ones_are_told_as_written(self):
        for program in BOTH:
            for option in ("-tls", "-c", "--log_level", "--TLS", "--t",
                           "--config-file"):
                with self.subTest(program=program.name, option=option):
                    self.assert_refused(program, [option, "off"], option,
                                        status=64)

    def test_secrets_in_errors(self):
        """A command line may hold some, an error tells none of another
        option's value."""
        for program in BOTH:
            err = self.refused(program, "--auth", "exec:check --key hush",
                               "--timeout", "x", status=64)
            self.assertNotIn("hush", "".join(err))


class CheckConfig(Options):
    """Everything that can be checked is, and nothing is done."""

    def good(self):
        users = self.users(f"joe:{hash_of('x')}")
        return {"auth": f"file:{users}", "maildir": self.mail,
                "tls-cert": self.certs.server.crt,
                "tls-key": self.certs.server.key}

    def options(self, **changes):
        settings = {**self.good(), **{key.replace("_", "-"): value for
                                      key, value in changes.items()}}
        return [text for key, value in settings.items()
                if value is not None for text in (f"--{key}", value)]

    def test_good(self):
        for program in BOTH:
            for changes in ({}, {"tls": "starttls"}, {"tls": "off"},
                            {"tls": "outer"}, {"auth": "any"},
                            {"auth": "any-remote"}, {"auth": "exec:true x"},
                            {"auth": f"exec:{HELPERS / 'witness.py'} x 0"},
                            {"tls_protocols": "tlsv1.3"}):
                with self.subTest(program=program.name, changes=changes):
                    status, out, err = self.run_to_end(
                        program, *self.options(**changes), "--check-config")
                    self.assertEqual((status, out), (0, ""), err)

    def test_it_only_looks(self):
        """No session, even where there is a connection; no program run."""
        report = self.path("report")
        for program in BOTH:
            peer = self.spawn(
                program, "--check-config", *self.options(
                    auth=f"exec:{HELPERS / 'witness.py'} {report} 0"),
                via="pipe")
            peer.offer("NOOP\r\n")
            self.assertEqual(peer.process.wait(), 0)
            peer.expect_end()
            self.assertFalse(report.exists())

    def test_wrong(self):
        open_users = self.users(f"joe:{hash_of('x')}", name="open",
                                mode=0o644)
        bad_users = self.users("joe", name="bad")
        script = self.write("script", "#!/bin/sh\n", 0o644)
        junk = self.write("junk", "junk\n")
        for program in BOTH:
            for changes, named in (
                    ({"auth": f"file:{self.path('gone')}"},
                     [self.path("gone"), "No such file"]),
                    ({"auth": f"file:{open_users}"}, [open_users]),
                    ({"auth": f"file:{bad_users}"}, [f"{bad_users}:1: "]),
                    ({"auth": f"exec:{self.path('gone')} x"},
                     [self.path("gone"), "No such file"]),
                    ({"auth": f"exec:{script}"},
                     [script, "Permission denied"]),
                    ({"auth": "exec:no-such-program-at-all x"},
                     ["no-such-program-at-all", "PATH"]),
                    ({"auth": f"exec:{self.mail}"}, [self.mail]),
                    ({"auth": None}, ["--auth"]),
                    ({"maildir": None}, ["--maildir"]),
                    ({"tls_cert": self.path("gone")},
                     ["--tls-cert", self.path("gone"), "No such file"]),
                    ({"tls_key": self.path("gone")},
                     ["--tls-key", self.path("gone"), "No such file"]),
                    ({"tls_cert": junk}, ["--tls-cert", junk]),
                    ({"tls_key": junk}, ["--tls-key", junk]),
                    ({"tls_key": self.certs.stranger.key},
                     ["--tls-key", self.certs.stranger.key]),
                    ({"tls": "starttls", "tls_key": junk},
                     ["--tls-key", junk]),
                    ({"tls_cert": None, "tls_key": None},
                     ["tls.crt", "No such file"])):
                with self.subTest(program=program.name, changes=changes):
                    status, out, err = self.run_to_end(
                        program, *self.options(**changes), "--check-config",
                        cwd="/")
                    self.assertEqual((status, out), (78, ""), err)
                    for text in named:
                        self.assertIn(str(text), err)

    def test_wrong_pattern(self):
        """A bad value: of the command line (64) or of a file (78)."""
        for program in BOTH:
            for pattern in ("/%x", "/x%", "/%U", "/%"):
                with self.subTest(program=program.name, pattern=pattern):
                    self.assert_refused(program, self.options(
                        maildir=pattern), "--maildir", pattern, status=64)
                    config = self.config("auth = any\ntls = off\n"
                                         f"maildir = {pattern}\n")
                    self.assert_refused(program, ["--config", config],
                                        f"{config}:3: ", "maildir", pattern)

    def test_what_is_not_needed_is_not_looked_at(self):
        for program in BOTH:
            for mode in ("off", "outer"):
                status, out, err = self.run_to_end(
                    program, *self.options(tls=mode, tls_cert="/gone",
                                           tls_key="/gone"), "--check-config")
                self.assertEqual((status, out), (0, ""), err)

    def test_everything_wrong_is_told_at_once(self):
        for program in BOTH:
            status, _, err = self.run_to_end(
                program, *self.options(
                    auth=f"file:{self.path('no-users')}",
                    tls_cert=self.path("no-cert"), maildir=None),
                "--check-config")
            self.assertEqual(status, 78)
            for text in ("no-users", "no-cert", "--maildir"):
                self.assertIn(text, err)

    def test_from_a_file(self):
        text = "".join(f"{key} = {value}\n"
                       for key, value in self.good().items())
        for program in BOTH:
            for more, options, wanted in (
                    ("", ["--check-config"], 0),
                    ("check-config = yes\n", [], 0),
                    ("timeout = x\n", ["--check-config"], 78)):
                status, out, err = self.run_to_end(
                    program, "--config", self.config(text + more), *options)
                self.assertEqual((status, out), (wanted, ""), err)
