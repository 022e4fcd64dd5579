"""pop3-handler: commands, states, arguments.  RFC 1939;
pop3-handler(8), Commands."""

import fcntl
import os
import time

from mailtest import (HOST, POP3, FdTransport, Pop3Peer, Process, TestCase,
                      b64, plain, tree)
from traced import Traced

ONE = b"Subject: one\n\nfirst\n.dot\n"
TWO = b"Subject: two\n\nsecond\n"


class Dialogue(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.put("cur/1600000001.one:2,S", ONE)
        self.put("new/1600000002.two", TWO)

    def test_whole_session(self):
        for via in ("pipe", "socketpair"):
            with self.subTest(via=via):
                self.whole_session(self.pop3(via=via))

    def whole_session(self, pop):
        pop.login()
        self.assertEqual(pop.stat(), (2, 53))
        self.assertEqual(pop.listing("LIST"), {1: "29", 2: "24"})
        self.assertEqual(pop.listing("UIDL"),
                         {1: "1600000001.one", 2: "1600000002.two"})
        self.assertEqual(pop.retr(1), (
            29, b"Subject: one\r\n\r\nfirst\r\n..dot\r\n"))
        self.assertEqual(pop.retr(2), (24, b"Subject: two\r\n\r\nsecond\r\n"))
        self.assertEqual(pop.multi("TOP 1 1")[1],
                         b"Subject: one\r\n\r\nfirst\r\n")
        pop.expect("NOOP", r"\+OK")
        pop.expect("RSET", r"\+OK")
        self.assertEqual(pop.stat(), (2, 53))
        pop.quit()
        self.assertEqual(pop.exit_status(), 0)

    def test_list_and_uidl_of_one(self):
        pop = self.pop3().login()
        self.assertRegex(pop.cmd("LIST 2"), r"^\+OK 2 24$")
        self.assertRegex(pop.cmd("UIDL 1"), r"^\+OK 1 1600000001\.one$")
        self.assertRegex(pop.cmd("LIST 002"), r"^\+OK 2 24$")
        pop.quit()

    def test_greeting(self):
        greeting = self.pop3().expect(None, r"\+OK ")
        # <...> would offer APOP
        self.assertNotIn("<", greeting)
        self.assertIn(HOST, greeting)

    def test_verbs_in_any_case(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        pop.expect("user joe", r"\+OK")
        pop.expect("pAsS x", r"\+OK")
        self.assertEqual(pop.cmd("stat"), "+OK 2 53")
        self.assertEqual(pop.multi("retr 2")[1],
                         b"Subject: two\r\n\r\nsecond\r\n")
        pop.expect("quit", r"\+OK")
        pop.expect_end()

    def test_pipelined(self):
        pop = self.pop3()
        pop.send("USER joe\r\nPASS x\r\nSTAT\r\nLIST\r\nRETR 2\r\n"
                 "XYZZY\r\nTOP 1 0\r\nQUIT\r\n")
        self.assertRegex(
            pop.rest(),
            rb"^\+OK [^\r]*\r\n"        # greeting
            rb"\+OK[^\r]*\r\n\+OK[^\r]*\r\n"
            rb"\+OK 2 53\r\n"
            rb"\+OK[^\r]*\r\n1 29\r\n2 24\r\n\.\r\n"
            rb"\+OK 24 octets[^\r]*\r\n"
            rb"Subject: two\r\n\r\nsecond\r\n\.\r\n"
            rb"-ERR[^\r]*\r\n"
            rb"\+OK[^\r]*\r\nSubject: one\r\n\r\n\.\r\n"
            rb"\+OK[^\r]*\r\n$")
        self.assertEqual(pop.exit_status(), 0)

    def test_one_byte_at_a_time(self):
        pop = self.pop3()
        for byte in b"USER joe\r\nPASS x\r\nSTAT\r\nQUIT\r\n":
            pop.send(bytes([byte]))
        self.assertRegex(
            pop.rest(), rb"^\+OK .*\r\n\+OK.*\r\n\+OK.*\r\n"
                        rb"\+OK 2 53\r\n\+OK.*\r\n$")

    def test_end_of_input_is_a_quiet_end(self):
        pop = self.pop3().login()
        pop.end_output()
        pop.expect_end()
        self.assertEqual(pop.exit_status(), 0)

    def test_capa_in_both_states(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        before = pop.multi("CAPA")[1].decode().split("\r\n")[:-1]
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS x", r"\+OK")
        after = pop.multi("CAPA")[1].decode().split("\r\n")[:-1]
        self.assertEqual(before, after)
        self.assertRegex(before.pop(), r"^IMPLEMENTATION \S+$")
        self.assertEqual(before, [
            "USER", "SASL PLAIN LOGIN", "TOP", "UIDL", "PIPELINING",
            "RESP-CODES", "AUTH-RESP-CODE", "UTF8 USER", "LANG",
            "EXPIRE NEVER"])
        pop.quit()

    def test_dele_is_refused(self):
        before = tree(self.mail)
        pop = self.pop3().login()
        pop.expect("DELE 1", "-ERR")
        self.assertEqual(pop.stat(), (2, 53))
        self.assertEqual(pop.listing("LIST"), {1: "29", 2: "24"})
        pop.retr(1)
        pop.quit()
        self.assertEqual(tree(self.mail), before)

    def test_empty_maildrop(self):
        empty = self.make_maildir(self.path("empty"))
        pop = self.pop3("--maildir", empty).login()
        self.assertEqual(pop.stat(), (0, 0))
        self.assertEqual(pop.multi("LIST")[1], b"")
        self.assertEqual(pop.multi("UIDL")[1], b"")
        for command in ("LIST 1", "UIDL 1", "RETR 1", "TOP 1 0"):
            pop.expect(command, "-ERR")
        pop.quit()


class States(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.put("cur/1600000001.one:2,S", ONE)

    def test_before_login(self):
        for command in ("STAT", "LIST", "LIST 1", "UIDL", "RETR 1",
                        "TOP 1 0", "DELE 1", "NOOP", "RSET"):
            with self.subTest(command=command):
                pop = self.pop3()
                pop.expect(None, r"\+OK")
                self.assertRegex(pop.cmd(command), r"^-ERR( |$)")
                # Refused, and in step
                pop.expect("USER joe", r"\+OK")
                self.assertRegex(pop.cmd(command), r"^-ERR( |$)")
                pop.expect("USER joe", r"\+OK")
                pop.expect("PASS x", r"\+OK")
                self.assertEqual(pop.stat(), (1, 29))

    def test_after_login(self):
        pop = self.pop3().login()
        for command in ("USER joe", "PASS x", "AUTH PLAIN", "STLS",
                        "APOP joe c4c9334bac560ecc979e58001b3e22fb"):
            with self.subTest(command=command):
                pop.expect(command, "-ERR")
                self.assertEqual(pop.stat(), (1, 29))

    def test_pass_first(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        pop.expect("PASS x", "-ERR")
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS x", r"\+OK")

    def test_pass_with_spaces(self):
        pop = self.pop3()
        pop.login(password="a pass  phrase ")
        self.assertEqual(pop.stat(), (1, 29))

    def test_quit_before_login(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        pop.quit()
        self.assertEqual(pop.exit_status(), 0)

    def test_no_stls_without_starttls_mode(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        pop.expect("STLS", "-ERR")
        pop.expect("USER joe", r"\+OK")


class Arguments(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.put("cur/1600000001.one:2,S", ONE)
        self.put("cur/1600000002.two:2,S", TWO)

    BAD_NUMBERS = ("0", "3", "-1", "+1", "1x", "x", "1 x", "1.0", "0x1", "1,",
                   "99999999999999999999", "18446744073709551617",
                   "4294967297")

    def test_bad_message_numbers(self):
        pop = self.pop3().login()
        for number in self.BAD_NUMBERS:
            for command in (f"RETR {number}", f"LIST {number}",
                            f"UIDL {number}", f"TOP {number} 0",
                            f"DELE {number}"):
                with self.subTest(command=command):
                    pop.expect(command, "-ERR")
        self.assertEqual(pop.stat(), (2, 53))

    def test_missing_and_superfluous(self):
        pop = self.pop3().login()
        for command in ("RETR", "RETR ", "RETR 1 2", "TOP", "TOP 1", "TOP 1 ",
                        "TOP 1 x", "TOP 1 -1", "TOP 1 1x", "TOP 1 1 1",
                        "LIST 1 2", "UIDL 1 2", "STAT 1", "NOOP 1", "RSET 1",
                        "DELE"):
            with self.subTest(command=command):
                pop.expect(command, "-ERR")
        self.assertEqual(pop.stat(), (2, 53))

    def test_leading_zeros(self):
        pop = self.pop3().login()
        self.assertEqual(pop.retr("001")[0], 29)
        self.assertEqual(pop.multi("TOP 0002 000")[1],
                         b"Subject: two\r\n\r\n")

    def test_user_and_pass_without_argument(self):
        for command in ("USER", "USER "):
            with self.subTest(command=command):
                pop = self.pop3()
                pop.expect(None, r"\+OK")
                pop.expect(command, "-ERR")
                pop.expect("PASS x", "-ERR")
                pop.expect("USER joe", r"\+OK")
                pop.expect("PASS x", r"\+OK")

    def test_empty_password_is_no_login(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS ", "-ERR")
        pop.expect("STAT", "-ERR")


class BadInput(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.put("cur/1600000001.one:2,S", ONE)

    def in_step(self, pop):
        """The next command gets the next reply."""
        self.assertEqual(pop.stat(), (1, 29))

    def test_unknown_commands(self):
        pop = self.pop3().login()
        for command in ("XYZZY", "STATS", "STA", "", " STAT", "FETCH 1"):
            with self.subTest(command=command):
                pop.expect(command, "-ERR")
                self.in_step(pop)

    def test_overlong_line(self):
        for size in (300, 3000, 1_000_000):
            with self.subTest(size=size):
                pop = self.pop3().login()
                pop.expect("NOOP " + "x" * size, "-ERR")
                self.in_step(pop)

    def test_overlong_line_holds_no_memory(self):
        pop = self.pop3().login()
        before = pop.process.peak_kib()
        pop.expect(b"x" * 10_000_000, "-ERR")
        self.in_step(pop)
        self.assertLess(pop.process.peak_kib(), before + 1024)

    def test_nul_in_command(self):
        pop = self.pop3().login()
        for command in (b"\0", b"STAT\0", b"RETR 1\0", b"RETR \x001",
                        b"NO\0OP"):
            with self.subTest(command=command):
                pop.expect(command, "-ERR")
                self.in_step(pop)

    def test_8_bit_and_control_bytes(self):
        pop = self.pop3().login()
        for command in (b"\xff\xfe\xfd", b"\x1b[2J", b"RETR \xc2\xb9",
                        b"\x80STAT"):
            with self.subTest(command=command):
                pop.expect(command, "-ERR")
                self.in_step(pop)

    def test_what_the_peer_says_is_not_echoed_raw(self):
        pop = self.pop3().login()
        reply = pop.cmd(b"\x1b]0;owned\x07")
        self.assertRegex(reply, r"^-ERR[ -~]*$")


class Logins(TestCase):
    def test_missing_maildrop(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS x", r"-ERR \[SYS/PERM\] ")
        pop.expect("STAT", "-ERR")
        self.assertFalse(self.mail.exists())
        pop.quit()
        self.assertIn(str(self.mail), pop.process.log())

    def test_remote_peer_without_tls(self):
        self.make_maildir()
        pop = self.pop3(env={"TCPREMOTEIP": "192.0.2.1"})
        pop.expect(None, r"\+OK")
        capa = pop.multi("CAPA")[1]
        self.assertNotIn(b"USER\r\n", capa)
        self.assertNotIn(b"SASL", capa)
        pop.expect("USER joe", "-ERR")
        pop.expect("PASS x", "-ERR")
        pop.expect("STAT", "-ERR")

    def test_names_in_the_pattern(self):
        for user, folder in (("joe", "joe"), ("Joe", "joe"),
                             ("a b", "a b")):
            with self.subTest(user=user):
                self.make_maildir(self.mail / folder)
                pop = self.pop3("--maildir", self.mail / "%u")
                pop.login(user)
                self.assertEqual(pop.stat(), (0, 0))

    def test_names_that_are_no_folder(self):
        self.make_maildir(self.mail / "joe")
        self.put("x", ONE, base=self.dir)
        for user in ("../mail/joe", ".", "..", ".joe", "joe/cur", "/etc",
                     b"j\x01oe", "x" * 256):
            with self.subTest(user=user):
                pop = self.pop3("--maildir", self.mail / "%u")
                pop.expect(None, r"\+OK")
                if isinstance(user, str):
                    user = user.encode()
                reply = pop.cmd(b"USER " + user)
                if reply.startswith("+OK"):
                    reply = pop.cmd("PASS x")
                self.assertRegex(reply, "^-ERR")
                pop.expect("STAT", "-ERR")

    def test_names_that_are_no_folder_are_failed_logins(self):
        """Logged as such, and answered after the wait for one."""
        pop = self.pop3("--maildir", self.mail / "%u")
        pop.expect(None, r"\+OK")
        pop.expect("USER ../x", r"\+OK")
        began = time.monotonic()
        pop.expect("PASS x", r"-ERR \[AUTH\] ")
        self.assertGreater(time.monotonic() - began, 0.9)
        log = pop.process.log()
        self.assertIn("login-failed: peer=local user=../x", log)
        self.assertNotIn(" login: ", log)

    def test_name_too_long_for_a_folder(self):
        self.mail.mkdir()
        pop = self.pop3("--maildir", self.mail / "%u.mail").login("x" * 252)
        self.assertEqual(pop.stat(), (0, 0))

    def test_missing_maildrop_of_a_pattern_is_empty(self):
        self.mail.mkdir()
        pop = self.pop3("--maildir", self.mail / "%u")
        pop.login("nobody")
        self.assertEqual(pop.stat(), (0, 0))
        pop.quit()
        self.assertFalse((self.mail / "nobody").exists())

    def test_nothing_to_make_it_in(self):
        pop = self.pop3("--maildir", self.mail / "box/%u")
        self.mail.mkdir()
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS x", r"-ERR \[SYS/PERM\] ")
        pop.quit()
        log = pop.process.log()
        self.assertIn(f"maildrop {self.mail}/box/joe is not there, nor is "
                      f"{self.mail}/box to make it in", log)


class Languages(TestCase):
    """RFC 6856."""

    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.put("cur/1600000001.one:2,S", ONE)

    def text(self, pop, line):
        """A reply that may have other than ASCII in it."""
        pop.send(line + "\r\n")
        return pop.line().decode("utf-8")

    def test_listing(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        listing = (b"i-default Default language\r\nen English\r\n"
                   b"de Deutsch\r\n")
        self.assertEqual(pop.multi("LANG")[1], listing)
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS x", r"\+OK")
        self.assertEqual(pop.multi("LANG")[1], listing)

    def test_change(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        self.assertEqual(pop.cmd("LANG xx"),
                         "-ERR No such language, LANG lists them")
        self.assertEqual(pop.cmd("LANG de"),
                         "+OK de Texte sind jetzt deutsch")
        self.assertEqual(pop.cmd("LANG xx"),
                         "-ERR Unbekannte Sprache, LANG nennt sie")
        pop.expect("USER joe", r"\+OK Bitte das Passwort$")
        self.assertEqual(pop.cmd("PASS x"), "+OK 1 Nachrichten (29 Oktette)")
        self.assertEqual(self.text(pop, "DELE 1"), "-ERR Nachrichten "
                         "k\u00f6nnen hier nicht gel\u00f6scht werden")
        # What programs read is the same
        self.assertEqual(pop.cmd("STAT"), "+OK 1 29")
        self.assertEqual(pop.cmd("LIST 1"), "+OK 1 29")
        self.assertEqual(pop.cmd("LANG *"),
                         "+OK i-default Texts are in English now")
        pop.expect("DELE 1", "-ERR Messages cannot be deleted here$")

    def test_ranges(self):
        """RFC 4647 section 3.4: the last subtags go until one is there."""
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        for asked, tag in (("DE", "de"), ("de-AT", "de"),
                           ("en-US-x-twain", "en"),
                           ("I-Default", "i-default")):
            self.assertEqual(pop.cmd(f"LANG {asked}").split()[:2],
                             ["+OK", tag])
        for asked in ("d", "deu", "-", "de_DE", "* de", "x" * 2000):
            pop.expect(f"LANG {asked}", "-ERR")

    def test_utf8(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        pop.expect("UTF8 x", "-ERR")
        pop.expect("UTF8", r"\+OK")
        pop.send("USER j\u00f6\r\nPASS gr\u00fc\u00df\r\n")
        pop.expect(None, r"\+OK")
        pop.expect(None, r"\+OK")
        # RFC 6856 section 2.1: only before the login
        pop.expect("UTF8", "-ERR")

    def test_names_are_utf8_without_asking(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        for bad in (b"USER j\xf6", b"USER \xc0\xaf", b"USER \xed\xa0\x80"):
            pop.expect(bad, r"-ERR \[UTF8\] ")
        pop.expect("PASS x", "-ERR USER comes first")
        pop.expect("AUTH PLAIN " + b64(b"\0j\xf6\0x"), r"-ERR \[UTF8\] ")
        pop.expect("AUTH PLAIN " + b64(b"\0joe\0\xff"), r"-ERR \[UTF8\] ")
        pop.send("USER j\u00f6\r\n")
        pop.expect(None, r"\+OK")
        pop.expect(b"PASS \xff", r"-ERR \[UTF8\] ")
        pop.expect("PASS x", r"\+OK")

    def test_utf8_headers_are_served_to_everybody(self):
        text = "Subject: \u20ac\n\nx\n".encode()
        self.put("cur/1600000002.two", text)
        pop = self.pop3().login()
        self.assertEqual(pop.retr(2)[1], text.replace(b"\n", b"\r\n"))


class Sasl(TestCase):
    """RFC 5034."""

    def setUp(self):
        super().setUp()
        self.make_maildir()

    def ready(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        return pop

    def test_plain(self):
        response = plain("joe", "x")
        self.ready().expect(f"AUTH PLAIN {response}", r"\+OK 0 messages")
        pop = self.ready()
        # A space behind the plus even where there is no challenge
        self.assertEqual(pop.cmd("auth plain"), "+ ")
        pop.expect(response, r"\+OK 0 messages")

    def test_login(self):
        pop = self.ready()
        self.assertEqual(pop.cmd("AUTH LOGIN"), "+ " + b64("Username:"))
        self.assertEqual(pop.cmd(b64("joe")), "+ " + b64("Password:"))
        pop.expect(b64("x"), r"\+OK 0 messages")
        pop = self.ready()
        self.assertEqual(pop.cmd(f"AUTH LOGIN {b64('joe')}"),
                         "+ " + b64("Password:"))
        pop.expect(b64("x"), r"\+OK 0 messages")

    def test_cancelled_and_malformed(self):
        pop = self.ready()
        for mechanism in ("PLAIN", "LOGIN"):
            for response in ("*", "!", "AA", "joe"):
                pop.expect(f"AUTH {mechanism}", r"\+ ")
                pop.expect(response, "-ERR")
        pop.expect("AUTH PLAIN *", "-ERR")
        pop.expect("AUTH PLAIN =", "-ERR")
        pop.expect("AUTH CRAM-MD5", "-ERR")
        pop.expect("AUTH PLAINX", "-ERR")
        pop.expect(f"AUTH PLAIN {plain('joe', 'x')}", r"\+OK")
        pop.expect(f"AUTH PLAIN {plain('joe', 'x')}", "-ERR")


class Waiting(TestCase):
    def test_time_out_is_silent(self):
        self.make_maildir()
        pop = self.pop3("--timeout", "1").login()
        pop.expect_end()    # not a word: RFC 1939 section 3
        self.assertEqual(pop.exit_status(), 0)

    def test_peer_that_reads_nothing(self):
        self.make_maildir()
        self.put("cur/big", b"x" * 99 + b"\n" + b"y" * 20_000_000)
        for via in ("pipe", "socketpair"):
            with self.subTest(via=via):
                pop = self.pop3("--timeout", "1", via=via).login()
                pop.send("RETR 1\r\n")
                self.assertEqual(pop.process.wait(), 0)
                self.assertNotIn(b"\r\n.\r\n", pop.rest())


class Flags(TestCase):
    def test_pipes_get_their_flags_back(self):
        """O_NONBLOCK belongs to the open file, which others share."""
        self.make_maildir()
        their_in, our_out = os.pipe()
        our_in, their_out = os.pipe()
        process = Process(
            self.argv(POP3, "--tls", "off", "--auth", "any", "--maildir",
                      self.mail),
            their_in, their_out, self.fresh_path("log"))
        self.addCleanup(process.stop)
        pop = Pop3Peer(FdTransport(our_in, our_out), process)
        pop.login()
        pop.expect("QUIT", r"\+OK")     # no end: we hold it open too
        process.wait()
        for fd in (their_in, their_out):
            self.assertFalse(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK)
            os.close(fd)
        pop.close()


class Flushing(Traced):
    """Output is flushed when the program is about to wait."""

    program = POP3
    SESSION = (b"USER joe\r\nPASS x\r\n" + b"NOOP\r\nSTAT\r\n" * 20
               + b"QUIT\r\n")

    def test_batch_costs_one_write(self):
        self.make_maildir()
        out = self.session("-e", "trace=write,writev,sendto,sendmsg")
        self.assertEqual(out.count(b"+OK"), 44)
        writes = [line for line in self.path("trace").read_text().splitlines()
                  if "+OK" in line]
        # The greeting, all before the login check, all after it
        self.assertLessEqual(len(writes), 3, writes)

    def test_retrieving_costs_four_calls_a_message(self):
        """Opened, looked at, read and closed; replies go out together."""
        self.make_maildir()
        for n in range(200):
            self.put(f"cur/{n:03}:2,S", b"Subject: x\n\nbody\n")
        commands = b"".join(b"RETR %d\r\n" % n for n in range(1, 201))
        session = b"USER joe\r\nPASS x\r\n" + commands + b"QUIT\r\n"
        calls = self.calls(session=session)
        self.assertEqual(self.undisturbed.count(b"\r\n.\r\n"), 200)
        login = next(i for i, call in enumerate(calls)
                     if "200 messages" in call.line)
        after = calls[login:]
        self.assertLess(len(after), 4 * 200 + 30)
        self.assertLess(len([call for call in after
                             if call.name == "write"]), 5)
