"""Logins: --auth file: and exec:, delays, secrets.  The man pages, --auth."""

import os
import pathlib
import re
import shlex
import subprocess
import time

from clock import Clock, Timed, until_it_waits
from frontdoor import (BOTH, HELPERS, KIND, LATER, METHODS, REMOTE, RIGHT,
                       WRONG, FrontDoor, HashCount, Witness, alive,
                       find_in_memory, hash_of, login_reply, noop, offers,
                       send_login, start_tls, try_login)
from mailtest import (DEADLINE, NOBODY, POP3, SANITIZED, SMTP, SmtpPeer, b64,
                      plain, wait_for)

PASSWORD = "Tr0ub4dor-hush"
PLAIN = ("--tls", "off")


def ignored_here():
    """The signals that this process ignores, as a mask."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"(?m)^SigIgn:\s*([0-9a-f]+)", status)[1], 16)


class File(FrontDoor):
    def setUp(self):
        super().setUp()
        self.file = self.users(*(f"{method}:{hash_of(PASSWORD, method)}"
                                 for method in METHODS))

    def file_door(self, program, *options, file=None, **kwargs):
        return self.door(program, *PLAIN, "--auth",
                         f"file:{file or self.file}", *options, **kwargs)

    def verdicts(self, tries, **kwargs):
        """Each (user, password, one of RIGHT, WRONG, ...), at both programs,
        all at once."""
        sessions = []
        for program in BOTH:
            for user, password, verdict in tries:
                peer = self.file_door(program, **kwargs)
                offers(peer)
                send_login(peer, user, password)
                sessions.append((peer, user, verdict[program]))
        for peer, user, verdict in sessions:
            with self.subTest(program=type(peer).__name__, user=user):
                self.assertEqual(login_reply(peer), verdict)
                self.assert_ended_well(peer)

    def test_every_method(self):
        self.verdicts([(method, PASSWORD, RIGHT) for method in METHODS]
                      + [(method, PASSWORD + "x", WRONG)
                         for method in METHODS]
                      + [("nobody", PASSWORD, WRONG),
                         ("sha51", PASSWORD, WRONG),
                         ("sha5122", PASSWORD, WRONG),
                         ("sha512", PASSWORD[:-1], WRONG)])

    def test_hashes_of_the_usual_tools(self):
        """openssl passwd -6, mkpasswd of each method at its own cost."""
        lines = []
        for user, argv in (
                ("openssl", ["openssl", "passwd", "-6", "-stdin"]),
                ("yescrypt", ["mkpasswd", "-m", "yescrypt", "-s"]),
                ("bcrypt", ["mkpasswd", "-m", "bcrypt", "-s"]),
                ("sha512", ["mkpasswd", "-m", "sha512crypt", "-s"])):
            made = subprocess.run(argv, input=PASSWORD, check=True, text=True,
                                  stdout=subprocess.PIPE).stdout
            lines.append(f"{user}:{made.strip()}")
        self.verdicts([(line.partition(":")[0], PASSWORD, RIGHT)
                       for line in lines],
                      file=self.users(*lines, name="made"))

    def test_names_and_passwords(self):
        """What may stand in them, and that nothing is trimmed or folded."""
        known = {"joe@example.com": "p:w", "Joe": "upper", "joe": "lower",
                 "JOE": "all", "j\u00f6rg": "\u20ac uro", "a b": " two  words ",
                 "x": "x" * 200, "%u": "y", "-": "#!"}
        self.file = self.users(*(f"{user}:{hash_of(password)}"
                                 for user, password in known.items()))
        self.verdicts([*((*pair, RIGHT) for pair in known.items()),
                       ("Joe", "lower", WRONG), ("joe", "upper", WRONG),
                       ("a b", "two  words", WRONG),
                       ("a b", " two  words", WRONG)])

    def test_longer_than_crypt_takes(self):
        """A password that is nobody's, not trouble of ours."""
        self.verdicts([("sha512", "x" * 600, WRONG),
                       ("nobody", "x" * 600, WRONG)])

    def test_what_a_file_may_look_like(self):
        right = f"joe:{hash_of(PASSWORD)}"
        for text in (f"# comment\n\n{right}\n", right, f"{right}\r\n",
                     f"{right}\njoe:{hash_of('second line')}\n"
                     f"\n\n#x:{hash_of('y')}\n#\n\n"):
            file = self.write(f"users.{len(text)}", text, 0o640)
            self.verdicts([("joe", PASSWORD, RIGHT)], file=file)
        self.verdicts([("joe", PASSWORD, RIGHT), ("#x", "y", WRONG),
                       ("joe", "second line", WRONG)], file=file)

    def test_nobody_in_it(self):
        file = self.write("empty", "# no users file\n")
        self.verdicts([("joe", PASSWORD, WRONG)], file=file)

    def test_maildir_of_a_user(self):
        """The third field instead of --maildir."""
        own = self.make_maildir(self.path("own"))
        self.put("new/1", b"Subject: own\n\n", base=own)
        self.put("new/1", b"Subject: shared\n\n")
        hashed = hash_of(PASSWORD)
        self.file = self.users(f"joe:{hashed}:{own}", f"ann:{hashed}",
                               f"gone:{hashed}:{self.path('gone')}",
                               f"lost:{hashed}:{self.path('gone/lost')}")
        for user, text in (("joe", b"own"), ("ann", b"shared")):
            with self.subTest(user=user):
                pop = self.file_door(POP3)
                pop.login(user, PASSWORD)
                self.assertEqual(pop.retr(1)[1],
                                 b"Subject: " + text + b"\r\n\r\n")
                pop.quit()
        pop = self.file_door(POP3)
        offers(pop)
        self.assertEqual(try_login(pop, "lost", PASSWORD), "-ERR [SYS/PERM]")
        # That is to come with the first message
        self.assertEqual(try_login(pop, "gone", PASSWORD), "+OK")
        self.assertEqual(pop.stat(), (0, 0))

    def test_file_among_the_credentials(self):
        """A relative name; an absolute one is left alone."""
        for name in (self.file.name, self.file):
            for program in BOTH:
                with self.subTest(name=name, program=program.name):
                    peer = self.file_door(
                        program, file=name, wrap=["env", "-C", "/"],
                        env={"CREDENTIALS_DIRECTORY": self.dir})
                    offers(peer)
                    self.assertEqual(try_login(peer, "sha512", PASSWORD),
                                     RIGHT[program])

    def test_unknown_and_wrong_sound_the_same(self):
        sessions = []
        for program in BOTH:
            for user in ("sha512", "nobody"):
                peer = self.file_door(program)
                offers(peer)
                send_login(peer, user, "wrong")
                sessions.append((program, peer))
        said = {program: set() for program in BOTH}
        for program, peer in sessions:
            peer.end_output()
            said[program].add(peer.rest())
        self.assertEqual([len(replies) for replies in said.values()], [1, 1])


class Trouble(FrontDoor):
    """Ours, not the user's: to be tried later."""

    def assert_later(self, *options, **kwargs):
        sessions = []
        for program in BOTH:
            peer = self.door(program, *PLAIN, *options, **kwargs)
            offers(peer)
            send_login(peer, "joe", PASSWORD)
            sessions.append((program, peer))
        for program, peer in sessions:
            with self.subTest(program=program.name):
                self.assertEqual(login_reply(peer), LATER[program])
                noop(peer)
                self.assertRegex(peer.process.log(),
                                 r"trouble: peer=local user=joe reason=")
                self.assert_ended_well(peer)

    def test_no_memory_for_a_hash(self):
        """This one takes 64 MiB."""
        if SANITIZED:
            self.skipTest("a sanitizer needs more address space than that")
        made = subprocess.run(
            ["mkpasswd", "-m", "yescrypt", "-R", "7", "-s"], input=PASSWORD,
            check=True, text=True, stdout=subprocess.PIPE).stdout
        users = self.users(f"joe:{made.strip()}")
        self.assert_later("--auth", f"file:{users}",
                          wrap=["prlimit", "--as=67108864", "--"])

    def test_no_more_processes(self):
        self.need_root("become somebody else")
        os.chmod(self.mail, 0o777)
        # Of a user with no other process, or the limit would be anybody's;
        # a look for leaks is a process, too
        self.assert_later(
            "--auth", "exec:true", env={"ASAN_OPTIONS": "detect_leaks=0"},
            wrap=[
                "setpriv", "--reuid=64003", "--regid=64003",
                "--clear-groups", "prlimit", "--nproc=1", "--"])


class Work(FrontDoor):
    """Hashes are counted, for seconds tell nothing on a busy machine."""

    def hashes(self, program, lines, user, password):
        """Which ones one login costs."""
        count = HashCount(self)
        # Each of its own: the file is read anew for each password
        file = self.fresh_path("users").name
        peer = self.door(program, *PLAIN, "--auth",
                         f"file:{self.users(*lines, name=file)}",
                         env=count.env)
        offers(peer)
        self.assertEqual(count.take(), [])
        send_login(peer, user, password)
        return peer, count

    def assert_work(self, tries):
        """Each is (lines of the file, user, password, works of which one is
        right); all at once, for each waits a second."""
        sessions = [
            (program, user, password, works,
             *self.hashes(program, lines, user, password))
            for program in BOTH for lines, user, password, works in tries]
        for program, user, password, works, peer, count in sessions:
            with self.subTest(program=program.name, user=user,
                              password=password[:20], works=works):
                self.assertEqual(login_reply(peer), WRONG[program])
                self.assertIn(count.take(), works)

    WORKS = {"sha512": ["$6$rounds=1000$"], "bcrypt": ["$2b$04$"],
             "yescrypt": ["$y$j75$"]}

    def test_unknown_name_costs_what_a_wrong_password_costs(self):
        tries = []
        for method, work in self.WORKS.items():
            lines = [f"{user}:{hash_of(PASSWORD, method)}"
                     for user in ("joe", "ann", "eve")]
            tries += [(lines, *pair, [work]) for pair in (
                ("joe", "wrong"), ("eve", "wrong"), ("nobody", "wrong"),
                ("nobody", PASSWORD), ("jo", "x"), ("joe2", PASSWORD),
                ("JOE", "x"), ("n" * 200, "x" * 200))]
        self.assert_work(tries)

    def test_mixed_methods(self):
        """An unknown name costs what some user's does, and always the
        same."""
        lines = [f"{method}:{hash_of(PASSWORD, method)}"
                 for method in self.WORKS]
        self.assert_work([(lines, f"nobody{n}", "wrong",
                           list(self.WORKS.values())) for n in range(6)])
        sessions = [self.hashes(SMTP, lines, "nobody0", "wrong")
                    for _ in range(3)]
        for peer, _ in sessions:
            login_reply(peer)
        seen = [count.take() for _, count in sessions]
        self.assertEqual(seen, [seen[0]] * 3)

    def test_right_password_costs_one(self):
        for program in BOTH:
            peer, count = self.hashes(
                program, [f"joe:{hash_of(PASSWORD)}"], "joe", PASSWORD)
            self.assertEqual(login_reply(peer), RIGHT[program])
            self.assertEqual(count.take(), ["$6$rounds=1000$"])

    def test_what_is_no_password_costs_the_same(self):
        """Empty and over-long passwords: whatever that costs, a user and
        nobody cost the same."""
        lines = [f"joe:{hash_of(PASSWORD)}"]
        sessions = []
        for password in ("x" * 512, "x" * 600, "x" * 1100):
            sessions += [(password, *self.hashes(SMTP, lines, user, password))
                         for user in ("joe", "nobody")]
        costs = {}
        for password, peer, count in sessions:
            self.assertRegex(login_reply(peer),
                             r"^(535 5\.7\.8|50[01] 5\.5\.\d)$")
            costs.setdefault(password, []).append(count.take())
        for both in costs.values():
            self.assertEqual(both[0], both[1])


class BadFile(FrontDoor):
    """A configuration error before a word is said."""

    def assert_bad_line(self, file, *named):
        """It is told, and locks out nobody else."""
        for program in BOTH:
            with self.subTest(program=program.name):
                options = [*PLAIN, "--maildir", self.mail, "--auth",
                           f"file:{file}"]
                status, out, err = self.run_to_end(
                    *self.argv(program, *options, "--check-config"))
                self.assertEqual((status, out), (78, ""), err)
                peer = self.spawn(program, *options, kind=KIND[program])
                offers(peer)
                self.assertEqual(try_login(peer, "ann", PASSWORD),
                                 RIGHT[program])
                self.assert_ended_well(peer)
                for log in (err, peer.process.log()):
                    told = [line for line in log.splitlines()
                            if "config:" in line]
                    self.assertEqual(len(told), 1, log)
                    for text in named:
                        self.assertIn(str(text), told[0])
                    # A password in the place of a hash is not told
                    self.assertNotIn("hush", told[0])

    def assert_bad(self, file, *named):
        for program in BOTH:
            with self.subTest(program=program.name):
                options = [*PLAIN, "--maildir", self.mail, "--auth",
                           f"file:{file}"]
                logs = [self.assert_exit_78(program, *options, named=named)]
                status, out, err = self.run_to_end(
                    *self.argv(program, *options, "--check-config"))
                self.assertEqual((status, out), (78, ""), err)
                logs.append(err)
                for log in logs:
                    for text in named:
                        self.assertIn(str(text), log)
                    self.assertEqual(len(log.splitlines()), 1, log)
                    # A password in the place of a hash is not told
                    self.assertNotIn("hush", log)

    def test_lines(self):
        right = f"ann:{hash_of(PASSWORD)}\n"
        for line in ("joe-hush", ":" + hash_of(PASSWORD), "joe:",
                     f"joe:{PASSWORD}", "joe:$9$unknown$hush", "joe:**",
                     f"joe\t:{hash_of(PASSWORD)}",
                     f"{'j' * 256}:{hash_of(PASSWORD)}",
                     f"joe:{hash_of(PASSWORD)}:relative/maildir",
                     f"joe:{hash_of(PASSWORD)}:", "joe:$6$salt",
                     "joe:$y$j9T$salt"):
            with self.subTest(line=line[:40]):
                file = self.write("users", f"# first\n{right}{line}\n")
                self.assert_bad_line(file, f"{file}:3: ")

    def test_anyone_may_read_it(self):
        for mode in (0o604, 0o644, 0o666):
            file = self.users(f"joe:{hash_of(PASSWORD)}", mode=mode)
            self.assert_bad(file, file, "read")

    def test_not_a_file(self):
        self.assert_bad(self.path("gone"), self.path("gone"))
        self.assert_bad(self.mail, self.mail)
        self.assert_bad("/dev/null", "/dev/null")
        os.mkfifo(self.path("pipe"), 0o600)
        self.assert_bad(self.path("pipe"), self.path("pipe"))

    def test_nul(self):
        file = self.write("users", f"joe:{hash_of('x')}\n\0\n")
        self.assert_bad(file, file)

    def test_unreadable(self):
        self.need_root("become somebody else")
        file = self.users(f"joe:{hash_of(PASSWORD)}")
        for program in BOTH:
            self.assert_exit_78(
                program, *PLAIN, "--maildir", self.mail, "--auth",
                f"file:{file}", named=[file, "Permission denied"],
                user=NOBODY)


class Exec(FrontDoor):
    """--auth exec:, the checkpassword interface."""

    def exec_door(self, program, command, *options, **kwargs):
        return self.door(program, *PLAIN, "--auth", f"exec:{command}",
                         *options, **kwargs)

    def test_real_checkpasswords(self):
        known = {"joe": PASSWORD, "joe@example.com": "with  blanks ",
                 "j\u00f6rg": "\u20ac$(date)`id`'\"\\"}
        passwords = self.write("passwords", "".join(
            f"{user} {password}\n" for user, password in known.items()))
        sessions = []
        for helper in ("checkpassword.sh", "checkpassword.py"):
            for program in BOTH:
                for user, password, verdict in (
                        *((*pair, RIGHT) for pair in known.items()),
                        ("joe", PASSWORD + "x", WRONG),
                        ("joe", PASSWORD[:-1], WRONG),
                        ("nobody", PASSWORD, WRONG)):
                    peer = self.exec_door(
                        program, f"{HELPERS / helper} {passwords} true")
                    offers(peer)
                    send_login(peer, user, password)
                    sessions.append((helper, program, user, peer, verdict))
                peer = self.exec_door(
                    program, f"{HELPERS / helper} {self.path('gone')} true")
                offers(peer)
                send_login(peer)
                sessions.append((helper, program, "?", peer, LATER))
        for helper, program, user, peer, verdict in sessions:
            with self.subTest(helper=helper, program=program.name, user=user):
                self.assertEqual(login_reply(peer), verdict[program])
                self.assert_ended_well(peer)

    def test_login_is_a_session(self):
        """One whole session; the maildir comes from --maildir."""
        passwords = self.write("passwords", f"joe {PASSWORD}\n")
        command = f"{HELPERS / 'checkpassword.sh'} {passwords} true"
        smtp = self.exec_door(SMTP, command)
        smtp.hello()
        smtp.login("joe", PASSWORD)
        self.assertRegex(str(smtp.message(b"Subject: x\n\n")),
                         r"250 2\.[06]\.0")
        smtp.quit()
        pop = self.exec_door(POP3, command)
        pop.login("joe", PASSWORD)
        self.assertTrue(pop.retr(1)[1].endswith(b"Subject: x\r\n\r\n"))
        pop.quit()

    def test_how_it_ends(self):
        """0 is right, 1 is wrong, all else is for later."""
        sessions = []
        for program in BOTH:
            for end, verdict in (("0", RIGHT), ("1", WRONG), ("2", LATER),
                                 ("99", LATER), ("100", LATER),
                                 ("111", LATER), ("127", LATER),
                                 ("255", LATER), ("'signal 9'", LATER),
                                 ("'signal 15'", LATER), ("deaf", RIGHT),
                                 ("orphan", RIGHT)):
                witness = Witness(self, end)
                peer = self.door(program, *PLAIN, *witness.option)
                offers(peer)
                send_login(peer)
                sessions.append((program, end, verdict, peer, witness))
            for command in (self.path("gone"), "no-such-program-at-all",
                            self.mail, self.write("file", "", 0o644)):
                peer = self.exec_door(program, command)
                offers(peer)
                send_login(peer)
                sessions.append((program, command, LATER, peer, None))
        for program, end, verdict, peer, witness in sessions:
            with self.subTest(program=program.name, end=end):
                self.assertEqual(login_reply(peer), verdict[program])
                noop(peer)
                if witness:
                    self.assertEqual(witness.report()["argv"], [])
                if end == "orphan":
                    os.kill(witness.report()["child"], 9)
                self.assert_ended_well(peer)
                if verdict is LATER:
                    self.assertIn("trouble: ", peer.process.log())

    def test_too_slow(self):
        """Its time is --timeout, then all of it is dead."""
        def late(program):
            witness = Witness(self, "sleep")
            clock = Clock(self)
            peer = self.door(program, *PLAIN, "--timeout", "1",
                             *witness.option, env=clock.env)
            offers(peer)
            send_login(peer)
            report = witness.report()
            self.assertTrue(alive(report["child"]))
            start = clock.go()
            self.assertEqual(login_reply(peer), LATER[program])
            # One second it had, and a failed login waits one
            self.assertGreater(clock.now() - start, 1.95)
            clock.hold()
            for pid in (report["pid"], report["child"]):
                wait_for(lambda: not alive(pid), "the program's end")
            noop(peer)
            self.assert_ended_well(peer)
        self.together({program.name: lambda program=program: late(program)
                       for program in BOTH})

    def test_what_it_is_given(self):
        """On descriptor 3, and nothing else from the peer."""
        for program in BOTH:
            with self.subTest(program=program.name):
                witness = Witness(self)
                peer = self.door(program, *PLAIN, *witness.option)
                offers(peer)
                self.assertEqual(try_login(peer, "jo e", f" {PASSWORD} "),
                                 RIGHT[program])
                report = witness.report()
                name, password, when, rest = report["input"].split("\0")
                self.assertEqual((name, password, rest),
                                 ("jo e", f" {PASSWORD} ", ""))
                self.assertRegex(when, r"^\d+$")
                self.assertLess(abs(int(when) - report["time"]), 60)
                self.assertNotIn(PASSWORD, report["command_line"])
                self.assertNotIn(PASSWORD, str(report["environment"]))
                # Nothing blocked or ignored that it would miss, beyond what
                # we were started with; SIGPIPE is Python's own, 32 and 33
                # are glibc's, which posix_spawn leaves so
                self.assertEqual(report["blocked"], 0)
                self.assertEqual(report["ignored"] & ~ignored_here() &
                                 ~(1 << 12 | 1 << 24 | 3 << 31), 0)
                # An environment made anew, and what of the login is told
                environment = report["environment"]
                mechanism = "PLAIN" if program == SMTP else "USER"
                told = {name: value for name, value in environment.items()
                        if name.startswith("MAIL_")}
                self.assertEqual(told, {
                    "MAIL_EVENT": "login", "MAIL_PEER": "local",
                    "MAIL_TLS": "", "MAIL_MECHANISM": mechanism})
                self.assertLessEqual(
                    {name for name in environment if name not in told
                     and not name.startswith("LC_")},
                    {"PATH", "LANG", "TZ", "HOME", "TMPDIR"})

    def test_long_names_and_passwords(self):
        """The longest there can be come whole, or are refused as no login
        before anything runs."""
        for user, password in (("u" * 255, "p" * 512), ("u", "p" * 1024),
                               ("u" * 1024, "p" * 1024)):
            witness = Witness(self)
            smtp = self.door(SMTP, *PLAIN, *witness.option)
            offers(smtp)
            verdict = try_login(smtp, user, password)
            with self.subTest(lengths=(len(user), len(password))):
                if verdict == RIGHT[SMTP]:
                    self.assertEqual(
                        witness.report()["input"].split("\0")[:2],
                        [user, password])
                else:
                    self.assertRegex(verdict,
                                     r"^(535 5\.7\.8|50[01] 5\.5\.[26])$")
                    self.assertFalse(witness.ran())

    def assert_hygienic(self, report):
        """Descriptors 0 to 3 and no other, none of them the connection."""
        fds = report["fds"]
        listing = [fd for fd, target in fds.items()
                   if target == f"/proc/{report['pid']}/fd"]
        self.assertEqual(sorted(set(fds) - set(listing)),
                         ["0", "1", "2", "3"], fds)
        self.assertEqual((fds["0"], fds["1"]), ("/dev/null", "/dev/null"))
        self.assertRegex(fds["3"], r"^pipe:")
        self.assertNotRegex(fds["2"], r"^(socket|pipe):")

    def test_descriptors(self):
        for program in BOTH:
            for via in ("socketpair", "pipe"):
                for tls in (False, True):
                    with self.subTest(program=program.name, via=via, tls=tls):
                        witness = Witness(self)
                        peer = self.door(
                            program, "--tls", "starttls",
                            *self.certs.server.options(), *witness.option,
                            via=via)
                        offers(peer)
                        if tls:
                            start_tls(peer, self.tls)
                            if program == SMTP:
                                peer.ehlo()
                        self.assertEqual(try_login(peer), RIGHT[program])
                        self.assert_hygienic(witness.report())

    def test_descriptors_under_inetd_and_systemd(self):
        """fd 2 is the connection; the connection is fd 3."""
        for program in BOTH:
            witness = Witness(self)
            server = self.serve(program, *PLAIN, "--maildir", self.mail,
                                *witness.option, inetd=True)
            peer = self.connect(server.port, type(self.door(
                program, *PLAIN, "--auth", "any")))
            offers(peer)
            self.assertEqual(try_login(peer), RIGHT[program])
            report = witness.report()
            self.assertEqual(report["fds"]["2"], "/dev/null")
            self.assert_hygienic(report)

            witness = Witness(self)
            peer = self.door(program, *PLAIN, *witness.option, wrap=[
                "sh", "-c", 'exec 3<&0 </dev/null >/dev/null; '
                'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh"])
            offers(peer)
            self.assertEqual(try_login(peer), RIGHT[program])
            self.assert_hygienic(witness.report())

    def test_what_it_says_reaches_nobody(self):
        for program in BOTH:
            witness = Witness(self, "loud")
            peer = self.door(program, *PLAIN, *witness.option)
            offers(peer)
            self.assertEqual(try_login(peer), RIGHT[program])
            witness.report()
            peer.send("QUIT\r\n")
            self.assertRegex(peer.rest(),
                             rb"^(\+OK|221 2\.0\.0) [^\r\n]*\r\n$")

    def test_words(self):
        """Split as a shell would, and never by one: nothing is expanded, run
        or redirected."""
        for text in (
                r"""a 'b c' "d e" f\ g""", r"""'' "" x""",
                r"""'it'"'"'s' "x\"y" a'b'c"d"e""",
                r"""'\' '\\' "\\" \\ '"' "'" """,
                r"""  lots   of	tabs  """,
                r"""-- - --x=y -z""", r"""'a\b' "a\b" a\b \'\" """,
                r"""'a
b' """, "\u00fc'\u20ac'"):
            with self.subTest(text=text):
                self.assertEqual(self.words(text), shlex.split(text))
        for text in (r"$HOME ${HOME} $(id) `id` ~ * ? [a-z] {a,b}",
                     r"a;b a|b a&b a&&b !x #x x#y a>b <a 2>&1 (x) a=b"):
            with self.subTest(text=text):
                self.assertEqual(self.words(text), text.split(" "))

    def words(self, text):
        witness = Witness(self, "0", text)
        pop = self.door(POP3, *PLAIN, *witness.option)
        offers(pop)
        self.assertEqual(try_login(pop), RIGHT[POP3])
        return witness.report()["argv"]

    def test_dollars_and_backquotes_in_double_quotes(self):
        """POSIX shell, 2.2.3: there a backslash protects these, too."""
        self.assertEqual(self.words(r'''"\$HOME" "\`id\`" "\a"'''),
                         ["$HOME", "`id`", r"\a"])

    def test_program_is_looked_for_in_path(self):
        folder = self.path("bin")
        folder.mkdir()
        (folder / "check-me").symlink_to(HELPERS / "checkpassword.sh")
        passwords = self.write("passwords", f"joe {PASSWORD}\n")
        for program in BOTH:
            peer = self.exec_door(
                program, f"check-me {passwords} true",
                env={"PATH": f"{folder}:{os.environ['PATH']}"})
            offers(peer)
            self.assertEqual(try_login(peer, "joe", PASSWORD), RIGHT[program])

    def test_no_command(self):
        for command in ("", " ", "'no end", '"no end', "x 'y"):
            for program in BOTH:
                with self.subTest(program=program.name, command=command):
                    status, out, err = self.run_to_end(*self.argv(
                        program, *PLAIN, "--maildir", self.mail,
                        "--auth", f"exec:{command}"))
                    self.assertIn(status, (64, 78), err)
                    self.assertEqual(out, "")
                    self.assertRegex(err, "--auth|exec:")

    def test_nothing_runs_for_those_who_may_not_ask(self):
        """Without TLS a remote peer's password is not even looked at."""
        for program in BOTH:
            witness = Witness(self)
            peer = self.door(program, *PLAIN, *witness.option, env=REMOTE)
            offers(peer)
            self.assertRegex(try_login(peer), r"^(538 5\.7\.11|-ERR)$")
            peer.send("QUIT\r\n")
            peer.rest()
            self.assert_ended_well(peer)
            self.assertFalse(witness.ran())


class Delays(Timed):
    """1, 2, then 4 s, and the third closes."""

    slow = True

    def wrong_logins(self, program, n):
        """So many pipelined, and a command after them."""
        if program == SMTP:
            line = f"AUTH PLAIN {plain('joe', 'wrong')}\r\n"
            return line * n + "NOOP\r\n"
        return "USER joe\r\nPASS wrong\r\n" * n + "CAPA\r\n"

    def assert_wrong(self, peer, delay):
        """So it is called, after so many seconds and no sooner."""
        verdict = (b"535 5.7.8" if isinstance(peer, SmtpPeer)
                   else b"-ERR [AUTH]")
        failed = {1: 1, 2: 2, 4: 3}[delay]
        wait_for(lambda: peer.process.log().count("login-failed:") == failed,
                 "the check's end")
        until_it_waits(peer)
        peer.clock.advance(delay - 0.1)
        while peer.transport.wait(False, time.monotonic() + 0.05)[0]:
            peer.fill(time.monotonic() + DEADLINE)
        self.assertNotIn(verdict, peer.buffer)
        peer.clock.advance(0.2)
        peer.until(verdict)
        peer.line()

    def three_wrong(self, program, auth):
        peer = self.door(program, *PLAIN, "--auth", auth)
        offers(peer)
        self.wrong_three_times(program, peer)

    def three_wrong_in_tls(self, program, auth):
        """With close_notify at the end, or expect_end raises."""
        peer = self.door(program, *self.certs.server.options(), "--auth",
                         auth, tls=self.tls)
        offers(peer)
        self.wrong_three_times(program, peer)

    def wrong_three_times(self, program, peer):
        peer.send(self.wrong_logins(program, 4))
        for delay in (1, 2, 4):
            self.assert_wrong(peer, delay)
        # The fourth and the command are not answered any more
        peer.expect_end()
        self.assert_ended_well(peer)
        self.assertEqual(peer.process.log().count("login-failed:"), 3)

    def right_after_two(self, program, auth):
        """At once; and a delay is no time-out."""
        peer = self.door(program, *PLAIN, "--auth", auth, "--timeout", "1")
        offers(peer)
        for delay in (1, 2):
            send_login(peer, "joe", "wrong")
            self.assert_wrong(peer, delay)
        self.assertEqual(try_login(peer, "joe", PASSWORD), RIGHT[program])
        noop(peer)
        self.assert_ended_well(peer)

    def by_sasl_login(self, program, auth):
        """No way round by another mechanism."""
        peer = self.door(program, *PLAIN, "--auth", auth)
        offers(peer)
        peer.send(f"AUTH LOGIN\r\n{b64('joe')}\r\n{b64('wrong')}\r\n")
        self.assert_wrong(peer, 1)
        send_login(peer, "joe", "wrong")
        self.assert_wrong(peer, 2)

    def after_the_checks_own_time(self, program, auth):
        """A program that ends before we get to wait for it earns nobody a
        quick answer: here each wait4 comes 0.3 s late, by the kernel's
        clock, which strace goes by."""
        peer = self.door(program, *PLAIN, "--auth", auth, wrap=[
            "strace", "-o", self.fresh_path("strace"), "-e", "trace=wait4",
            "-e", "inject=wait4:delay_enter=300000"], env={
                "ASAN_OPTIONS": "detect_leaks=0", "LD_PRELOAD": None})
        offers(peer)
        start = time.monotonic()
        self.assertEqual(try_login(peer, "joe", "wrong"), WRONG[program])
        self.assertGreater(time.monotonic() - start, 0.9)

    def peer_that_does_not_wait(self, program, auth):
        peer = self.door(program, *PLAIN, "--auth", auth)
        offers(peer)
        peer.send(self.wrong_logins(program, 3))
        peer.close()
        peer.clock.go()
        self.assertEqual(peer.process.wait(), 0)

    def test_all_of_it(self):
        passwords = self.write("passwords", f"joe {PASSWORD}\n")
        by_file = "file:" + str(self.users(f"joe:{hash_of(PASSWORD)}"))
        by_exec = f"exec:{HELPERS / 'checkpassword.sh'} {passwords} true"
        scenarios = {}
        for program in BOTH:
            for scenario, auths in (
                    (self.three_wrong, (by_file, by_exec)),
                    (self.three_wrong_in_tls, (by_file,)),
                    (self.right_after_two, (by_file, by_exec)),
                    (self.by_sasl_login, (by_file,)),
                    (self.after_the_checks_own_time, (by_exec,)),
                    (self.peer_that_does_not_wait, (by_file,))):
                for auth in auths:
                    scenarios[program.name, scenario.__name__, auth[:4]] = \
                        lambda s=scenario, p=program, a=auth: s(p, a)
        self.together(scenarios)


class Secrets(FrontDoor):
    """Not in memory after use, not in any log, not for any other process."""

    LOUD = ("--log-level", "debug", "--transcript")

    def forms(self, user="joe", password=PASSWORD):
        """The password, and every form of it that may come over the wire."""
        forms = {password, b64(password), plain(user, password)}
        for shift in range(3):
            forms.add(b64("x" * shift + password)[4:-4])
        return {form.encode() for form in forms}

    def assert_wiped(self, peer):
        self.assertEqual(find_in_memory(peer.process.pid, self.forms()),
                         set())

    def ways(self):
        """Kinds of --auth where PASSWORD is joe's."""
        passwords = self.write("passwords", f"joe {PASSWORD}\n")
        yescrypt = self.users(f"joe:{hash_of(PASSWORD, 'yescrypt')}",
                              name="yescrypt")
        return (["--auth", "any"],
                ["--auth", f"file:{self.users(f'joe:{hash_of(PASSWORD)}')}"],
                ["--auth", f"file:{yescrypt}"],
                ["--auth", f"exec:{HELPERS / 'checkpassword.sh'} {passwords}"
                 " true"])

    def logins(self, program):
        """Dialogues that end in a login, as pieces that are sent one after
        the other's answer."""
        whole = plain("joe", PASSWORD)
        by_login = ["AUTH LOGIN", b64("joe"), b64(PASSWORD)]
        if program == SMTP:
            return ([f"AUTH PLAIN {whole}"], ["AUTH PLAIN", whole], by_login,
                    [f"AUTH LOGIN {b64('joe')}", b64(PASSWORD)])
        return (["USER joe", f"PASS {PASSWORD}"], [f"AUTH PLAIN {whole}"],
                ["AUTH PLAIN", whole], by_login)

    def test_the_search_finds_something(self):
        """Else the tests below could not fail."""
        self.need_root("look into processes")
        peer = self.door(POP3, *PLAIN, "--auth", "any")
        offers(peer)
        peer.expect(f"USER {PASSWORD}", r"\+OK")
        self.assertEqual(find_in_memory(peer.process.pid, self.forms()),
                         {PASSWORD.encode()})

    def test_memory_after_every_kind_of_login(self):
        self.need_root("look into processes")
        for program in BOTH:
            for auth in self.ways():
                for lines in self.logins(program):
                    for options in ((), self.LOUD)[:2 if auth[1] == "any"
                                                   else 1]:
                        with self.subTest(program=program.name, auth=auth[1],
                                          lines=lines, options=options):
                            peer = self.door(program, *PLAIN, *auth, *options)
                            offers(peer)
                            for line in lines:
                                peer.send(line + "\r\n")
                                got = peer.line()
                            self.assertRegex(got, rb"^(\+OK|235 2\.7\.0)")
                            self.assert_wiped(peer)
                            peer.close()

    def test_memory_however_it_came(self):
        """Pipelined behind and before other commands, cut anywhere: what was
        moved about in a buffer leaves no copy."""
        self.need_root("look into processes")
        for program in BOTH:
            for lines in self.logins(program):
                login = "".join(f"{line}\r\n" for line in lines)
                for before in ("", "NOOP\r\n" * 9 if program == SMTP
                               else "CAPA\r\n" * 9):
                    for cut in (2, 4, 9, len(login) // 2):
                        with self.subTest(program=program.name, lines=lines,
                                          before=len(before), cut=cut):
                            self.assert_wiped(self.cut_login(
                                program, before + login, cut))

    def cut_login(self, program, text, cut):
        """In two writes, the second of so many octets."""
        peer = self.door(program, *PLAIN, "--auth", "any")
        offers(peer)
        peer.send(text[:-cut])
        time.sleep(0.02)    # whatever it is, it is right; mostly two reads
        peer.send(text[-cut:])
        peer.until(b"235 2.7.0" if program == SMTP else b"messages (")
        peer.line()
        return peer

    def test_memory_after_a_failed_login(self):
        self.need_root("look into processes")
        hashed = self.users(f"joe:{hash_of('other')}")
        passwords = self.write("passwords", "joe other\n")
        sessions = []
        for program in BOTH:
            for auth in (f"file:{hashed}", f"exec:"
                         f"{HELPERS / 'checkpassword.sh'} {passwords} true"):
                peer = self.door(program, *PLAIN, "--auth", auth)
                offers(peer)
                send_login(peer, "joe", PASSWORD)
                sessions.append((program, auth, peer))
        for program, auth, peer in sessions:
            with self.subTest(program=program.name, auth=auth):
                self.assertEqual(login_reply(peer), WRONG[program])
                self.assert_wiped(peer)

    def test_memory_after_a_login_that_was_none(self):
        """What clients send by mistake is a password all the same."""
        self.need_root("look into processes")
        whole = plain("joe", PASSWORD)
        for program, env, lines in (
                (POP3, {}, [f"PASS {PASSWORD}"]),
                (POP3, {}, ["AUTH PLAIN", whole + "!"]),
                (POP3, {}, [f"AUTH PLAIN {whole} x"]),
                (POP3, {}, [f"AUTH CRAM-MD5 {whole}"]),
                (POP3, REMOTE, ["USER joe", f"PASS {PASSWORD}"]),
                (POP3, REMOTE, [f"AUTH PLAIN {whole}"]),
                (SMTP, {}, ["AUTH PLAIN", whole + "!"]),
                (SMTP, {}, [f"AUTH PLAIN {whole} x"]),
                (SMTP, {}, [f"AUTH CRAM-MD5 {whole}"]),
                (SMTP, {}, ["AUTH LOGIN", b64("joe"), b64(PASSWORD) + "="]),
                (SMTP, REMOTE, [f"AUTH PLAIN {whole}"])):
            with self.subTest(program=program.name, env=env, lines=lines):
                peer = self.door(program, *PLAIN, "--auth", "any", env=env)
                offers(peer)
                for line in lines:
                    peer.send(line + "\r\n")
                    got = peer.line()
                self.assertRegex(got, rb"^(-ERR|5\d\d )")
                self.assert_wiped(peer)

    def test_memory_under_tls(self):
        """OpenSSL keeps the last record; it is overwritten by the next."""
        self.need_root("look into processes")
        for program in BOTH:
            for tls in ("implicit", "starttls"):
                with self.subTest(program=program.name, tls=tls):
                    peer = self.door(
                        program, "--tls", tls, *self.certs.server.options(),
                        *self.ways()[1],
                        tls=self.tls if tls == "implicit" else None)
                    offers(peer)
                    if tls == "starttls":
                        start_tls(peer, self.tls)
                        if program == SMTP:
                            peer.ehlo()
                    self.assertEqual(try_login(peer, "joe", PASSWORD),
                                     RIGHT[program])
                    peer.send("NOOP" + " " * 400 + "\r\n")
                    self.assertRegex(peer.line(), rb"^(\+OK|250 )")
                    self.assert_wiped(peer)

    def test_logs(self):
        """At their loudest, right and wrong, of both kinds of file."""
        sessions = []
        for program in BOTH:
            for auth in self.ways()[1:]:
                for password in (PASSWORD, PASSWORD + "-wrong"):
                    for lines in self.logins(program):
                        peer = self.door(program, *PLAIN, *auth, *self.LOUD)
                        offers(peer)
                        peer.send("".join(
                            line.replace(PASSWORD, password) + "\r\n"
                            for line in lines) + "QUIT\r\n")
                        sessions.append(peer)
        for peer in sessions:
            peer.rest()
            self.assert_ended_well(peer)
            log = peer.process.log().encode()
            self.assertIn(b"login", log)
            for form in self.forms() | self.forms(
                    password=PASSWORD + "-wrong"):
                self.assertNotIn(form, log)

    def test_log_of_a_check_that_fails(self):
        """Neither does what a checkpassword does wrong tell."""
        for end in ("111", "'signal 6'"):
            witness = Witness(self, end)
            peer = self.door(SMTP, *PLAIN, *self.LOUD, *witness.option)
            offers(peer)
            self.assertEqual(try_login(peer, "joe", PASSWORD), LATER[SMTP])
            self.assert_ended_well(peer)
            for form in self.forms():
                self.assertNotIn(form, peer.process.log().encode())

    def test_no_other_process_looks_in(self):
        """Not one of the same user either: not dumpable, so no core, no
        ptrace, no /proc/PID/mem."""
        self.need_root("look into processes")
        own = subprocess.Popen(["sleep", "60"], user=NOBODY, group=NOBODY,
                               extra_groups=[])
        self.addCleanup(own.wait)
        self.addCleanup(own.kill)

        def look(pid):
            return subprocess.run(
                ["cat", f"/proc/{pid}/environ"], user=NOBODY, group=NOBODY,
                extra_groups=[], stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT)
        wait_for(lambda: look(own.pid).returncode == 0,
                 "a process of one's own to be open to oneself")
        os.chmod(self.mail, 0o777)
        for program in BOTH:
            for auth in ("any", "exec:true"):
                with self.subTest(program=program.name, auth=auth):
                    peer = self.door(program, *PLAIN, "--auth", auth,
                                     user=NOBODY)
                    offers(peer)
                    self.assertEqual(try_login(peer), RIGHT[program])
                    seen = look(peer.process.pid)
                    self.assertIn(b"Permission denied", seen.stdout)
