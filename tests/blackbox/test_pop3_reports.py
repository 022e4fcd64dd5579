"""pop3-handler: what other people's reports are about, tried here; each case
has the name of the report it comes from."""

from frontdoor import (BOTH, RIGHT, WRONG, FrontDoor, hash_of, login_reply,
                       offers, send_login, try_login)
from mailtest import POP3, SMTP, Pop3Peer, SmtpPeer

PASSWORD = "Tr0ub4dor-hush"
TEXT = b"Subject: x\n\nbody\n"


class Logins(FrontDoor):
    """docker-mailserver 174, hestiacp 2060: USER Anna for anna.  Thunderbird
    and others propose the whole address."""

    def setUp(self):
        super().setUp()
        self.hash = hash_of(PASSWORD)

    def logins(self, names, *options, users=("anna",), verdict=RIGHT):
        """Each of these names, at both programs."""
        file = self.users(*(f"anna:{self.hash}" if line == "anna" else line
                            for line in users))
        sessions = []
        for program in BOTH:
            for name in names:
                peer = self.door(program, "--tls", "off", "--auth",
                                 f"file:{file}", *options)
                offers(peer)
                send_login(peer, name, PASSWORD)
                sessions.append((program, name, peer))
        for program, name, peer in sessions:
            with self.subTest(program=program.name, name=name):
                self.assertEqual(login_reply(peer), verdict[program])
        return [peer for _, _, peer in sessions]

    def test_hestiacp_2060_docker_mailserver_174(self):
        self.logins(["anna", "Anna", "ANNA"])
        self.logins(["joe@EXAMPLE.com"], users=[f"Joe@Example.COM:{self.hash}"])
        self.logins(["ann", "annaa"], verdict=WRONG)

    def test_thunderbird_proposes_the_address(self):
        self.logins(["anna@mail.test", "Anna@Mail.Test"])
        self.logins(["anna@example.org", "anna@example.com"],
                    "--domain", "example.com", "--domain", "Example.ORG")
        self.logins(["anna@mail.test"], "--domain", "example.com",
                    verdict=WRONG)
        self.logins(["anna@example.com", "anna@", "@mail.test",
                     "anna@mail.test.", "anna@x@mail.test"], verdict=WRONG)

    def test_as_written_comes_first(self):
        """A user of that very name, and not one who is called almost so."""
        users = [f"joe:{hash_of('other')}", f"Joe:{hash_of('third')}",
                 f"JOE:{self.hash}", f"joe@mail.test:{self.hash}"]
        self.logins(["JOE", "joe@mail.test"], users=users)
        self.logins(["joe", "Joe", "jOe"], users=users, verdict=WRONG)

    def test_maildrop_is_the_users(self):
        """However the name was written, as mail for it is."""
        self.mail.joinpath("new").rmdir()
        users = self.users(f"anna:{self.hash}")
        options = ("--tls", "off", "--domain", "example.com", "--auth",
                   f"file:{users}", "--maildir", f"{self.mail}/%u")
        smtp = self.spawn(SMTP, *options, "--create-maildirs",
                          kind=SmtpPeer)
        smtp.hello()
        smtp.login("Anna@example.com", PASSWORD)
        smtp.message(TEXT, "", "ANNA@Example.com")
        for name in ("anna", "ANNA", "Anna@Example.com"):
            pop = self.spawn(POP3, *options, kind=Pop3Peer)
            pop.login(name, PASSWORD)
            self.assertEqual(pop.stat()[0], 1, name)
            pop.quit()
        self.assertEqual(len(self.stored(self.mail / "anna")), 1)

    def test_who_cannot_log_in(self):
        """But has mail."""
        self.logins(["off", "gone"], verdict=WRONG, users=[
            "off:*", f"gone:!{self.hash}", "anna"])
        self.logins(["off"], verdict=WRONG, users=["off:*"])

    def test_one_bad_line_locks_out_one(self):
        bad = ["typo", "half:", "clear:secret", "dir:" + self.hash + ":mail"]
        for peer in self.logins(["anna"], users=[*bad, "anna"]):
            peer.quit()
            for number, line in enumerate(bad, 1):
                self.assertRegex(peer.process.log(), rf"users:{number}: ")
            self.assertNotIn("secret", peer.process.log())
        self.logins(["half", "clear", "dir"], verdict=WRONG,
                    users=[*bad, "anna"])

    def check_config(self, users, *options):
        file = self.users(*users)
        for program in BOTH:
            yield self.run_to_end(program, *self.argv(
                program, "--tls", "off", "--auth", f"file:{file}",
                "--maildir", self.mail, *options, "--check-config")[1:])

    def test_check_config_tells_every_bad_line(self):
        users = ["typo", f"anna:{self.hash}", "clear:secret"]
        for status, _, err in self.check_config(users):
            self.assertEqual(status, 78)
            self.assertIn("users:1: a user is NAME:HASH[:MAILDIR]", err)
            self.assertIn("users:3: the hash is none that crypt(3) knows",
                          err)
            self.assertNotIn("users:2", err)
            self.assertNotIn("secret", err)

    def test_name_twice(self):
        """The first counts, and --check-config names both lines."""
        users = [f"anna:{self.hash}", "#", f"anna:{hash_of('second')}"]
        self.logins(["anna"], users=users)
        for status, _, err in self.check_config(users):
            self.assertEqual(status, 78)
            self.assertIn("users:3: the same name is on line 1, which "
                          "counts", err)

    def test_two_users_for_one_maildir(self):
        """Names in lower case are the same: the second does not get in."""
        users = [f"Anna:{self.hash}", f"anna:{self.hash}"]
        pattern = ("--maildir", f"{self.mail}/%u")
        for status, _, err in self.check_config(users, *pattern):
            self.assertEqual(status, 78)
            self.assertRegex(err, "users:2: .* line 1, which counts")
        self.make_maildir(self.mail / "anna")
        for name, verdict in (("Anna", "+OK"), ("ANNA", "+OK"),
                              ("anna", "-ERR [SYS/PERM]")):
            pop = self.spawn(POP3, "--tls", "off", *pattern, "--auth",
                             f"file:{self.path('users')}", kind=Pop3Peer)
            offers(pop)
            self.assertEqual(try_login(pop, name, PASSWORD), verdict, name)
        # Where each has one, or all have the same, that is as it should be
        users = [f"Anna:{self.hash}", f"anna:{self.hash}:{self.mail}"]
        for status, _, err in self.check_config(users, *pattern):
            self.assertEqual(status, 0, err)
        users = [f"Anna:{self.hash}", f"anna:{self.hash}"]
        for status, _, err in self.check_config(users):
            self.assertEqual(status, 0, err)
