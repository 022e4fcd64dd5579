"""smtp-handler --relay: each way to a next hop, and what keeps it safe.
smtp-handler(8), Relaying."""

from frontdoor import hash_of
from mailtest import SMTP, SmtpPeer, plain, smtp_wire
from nexthop import DROP, AfterReply, ScriptedHop
from relay import TEXT, Relay
from replies import QUEUED, TROUBLE

LOGIN = "relay-user relay-secret"


class Schemes(Relay):
    def clear_hop(self, script=None, **kwargs):
        return ScriptedHop(self, script, **kwargs)

    def starttls_hop(self, script=None, pair=None, **kwargs):
        pair = pair or self.certs.server
        return ScriptedHop(self, script, starttls=pair.server_context(),
                           **kwargs)

    def starttls_account(self, hop, query=None):
        query = f"?ca={self.certs.ca.crt}" if query is None else query
        return self.accounts(
            f"* smtp://localhost:{hop.port}{query} {LOGIN}")

    def refused(self, smtp, trouble=TROUBLE):
        """At RCPT; the session goes on."""
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test>", trouble)
        smtp.expect("DATA", "503 5.5.1")
        smtp.expect("RSET", "250 2.0.0")


class StartTls(Schemes):
    def test_everything_after_it_is_under_tls(self):
        hop = self.starttls_hop()
        smtp = self.relay(self.starttls_account(hop))
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        smtp.quit()
        hop.wait_ended()
        (connection,) = hop.connections
        verbs = [line.split(" ")[0] for line in connection.commands]
        self.assertEqual(verbs[:2], ["EHLO", "STARTTLS"])
        self.assertEqual(connection.secure_from, 2)
        self.assertEqual(verbs[2:], ["EHLO", "AUTH", "MAIL", "RCPT", "DATA",
                                     "QUIT"])
        self.assertEqual(connection.logins, [("relay-user", "relay-secret")])
        self.assertEqual(self.split_relayed(hop.messages[0])[1],
                         smtp_wire(TEXT))

    def test_one_connection_for_several_messages(self):
        hop = self.starttls_hop()
        smtp = self.relay(self.starttls_account(hop))
        for _ in range(3):
            self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        self.assertEqual(len(hop.connections), 1)
        self.assertEqual(hop.commands.count("STARTTLS"), 1)

    def test_stripped_or_refused(self):
        """No login, no mail, without TLS."""
        for script in (
                {"EHLO": "250 hop.test\nAUTH PLAIN LOGIN\nXSTARTTLS"},
                {"EHLO": "250 hop.test\nAUTH PLAIN LOGIN\nXXXXXXXA"},
                {"EHLO": "250 hop.test"},
                {"EHLO": "502 5.5.1 what?"},
                {"EHLO": "502 5.5.1 what?", "HELO": "502 5.5.1 what?"},
                {"STARTTLS": "454 4.7.0 TLS not available"},
                {"STARTTLS": "500 5.5.1 what?"},
                {"STARTTLS": "250 2.0.0 fine"},
                {"STARTTLS": "421 4.3.2 going down"},
                {"STARTTLS": b"nonsense\r\n"},
                {"STARTTLS": AfterReply("220 2.0.0 go on")},
                {"STARTTLS": DROP}):
            with self.subTest(script=script):
                hop = self.starttls_hop(script)
                smtp = self.relay(self.starttls_account(hop))
                self.refused(smtp)
                smtp.quit()
                hop.wait_ended()
                for line in hop.commands:
                    self.assertRegex(line, "^(EHLO|HELO|STARTTLS|QUIT)")

    def test_said_before_its_turn(self):
        """CVE-2011-0411, from the other side: what somebody puts in before
        TLS is no reply to what is said under it, and nothing that we meant
        for before is said there."""
        more = (b"250-evil.test\r\n250 AUTH PLAIN\r\n235 2.7.0 in\r\n"
                b"550 5.1.1 no\r\n")
        for script in (
                {"STARTTLS": b"220 go on\r\n" + more},
                {"STARTTLS": b"220 go on\r\n250 ev"},
                {"EHLO": b"250-hop.test\r\n250 STARTTLS\r\n220 x\r\n"
                         + more},
                {"greeting": b"220 x\r\n250-x\r\n250 STARTTLS\r\n220 x\r\n"
                             + more}):
            with self.subTest(script=script):
                hop = self.starttls_hop(script)
                smtp = self.relay(self.starttls_account(hop))
                self.refused(smtp, "451 4.4.2")
                smtp.quit()
                hop.wait_ended()
                self.assertIn("before its turn", smtp.process.log())
                for line in hop.commands:
                    self.assertRegex(line, "^(EHLO|STARTTLS)")

    def test_extensions_are_those_under_tls(self):
        """What was offered in the clear counts for nothing."""
        for second in ("250 hop.test\nAUTH LOGIN", "502 5.5.1 what?"):
            with self.subTest(second=second):
                hop = self.starttls_hop({"EHLO": [
                    "250 hop.test\nSTARTTLS\n8BITMIME\nSIZE\nAUTH PLAIN",
                    second]})
                smtp = self.relay(self.starttls_account(hop))
                smtp.expect("MAIL FROM:<a@b.test> SIZE=10 BODY=8BITMIME",
                            "250 2.1.0")
                if second.startswith("502"):
                    smtp.expect("RCPT TO:<a@b.test>", "451 4.7.0")
                    continue
                smtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
                self.assertIn("AUTH LOGIN", hop.commands)
                self.assertIn("MAIL FROM:<a@b.test>", hop.commands)

    def test_certificates(self):
        for name in ("expired", "wrong_name", "stranger"):
            with self.subTest(certificate=name):
                hop = self.starttls_hop(pair=getattr(self.certs, name))
                smtp = self.relay(self.starttls_account(hop))
                self.refused(smtp)
                smtp.quit()
                hop.wait_ended()
                self.assertEqual(hop.commands[1:], ["STARTTLS"])

    def test_private_ca_unknown_to_the_system(self):
        hop = self.starttls_hop()
        self.refused(self.relay(self.starttls_account(hop, "")))

    def test_verification_switched_off(self):
        for name in ("expired", "wrong_name", "stranger"):
            with self.subTest(certificate=name):
                hop = self.starttls_hop(pair=getattr(self.certs, name))
                smtp = self.relay(self.starttls_account(hop, "?verify=no"))
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)

    def test_ca_file_among_the_credentials(self):
        hop = self.starttls_hop()
        accounts = self.starttls_account(hop, "?ca=ca.crt")
        smtp = self.relay(accounts, env={
            "CREDENTIALS_DIRECTORY": str(self.certs.folder)})
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)


class Clear(Schemes):
    def test_without_login(self):
        hop = self.clear_hop()
        smtp = self.relay(self.accounts(
            f"* smtp+plain://localhost:{hop.port}"))
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        self.assertEqual(hop.connections[0].logins, [])

    def test_login_on_this_machine(self):
        hop = self.clear_hop()
        for host in ("localhost", "127.0.0.1"):
            with self.subTest(host=host):
                smtp = self.relay(self.accounts(
                    f"* smtp+plain://{host}:{hop.port} {LOGIN}"))
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                self.assertEqual(hop.connections[-1].logins,
                                 [("relay-user", "relay-secret")])

    def test_no_starttls_where_it_is_offered(self):
        """The URL says what happens."""
        hop = self.starttls_hop()
        smtp = self.relay(self.accounts(
            f"* smtp+plain://localhost:{hop.port}"))
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        self.assertNotIn("STARTTLS", hop.commands)

    def test_password_for_another_machine(self):
        """A mistake in the file, told before anything is served."""
        for url in ("smtp+plain://mail.example.org",
                    "smtp+plain://192.0.2.1:25", "lmtp://mail.example.org",
                    "smtp+plain://[2001:db8::1]"):
            for options in ((), ("--check-config",)):
                with self.subTest(url=url, options=options):
                    accounts = self.accounts("", f"* {url} {LOGIN}")
                    status, out, err = self.run_to_end(*self.argv(
                        SMTP, "--tls", "off", "--auth", "any", "--relay",
                        accounts, *options))
                    self.assertEqual((status, out), (78, ""))
                    self.assertIn(f"{accounts}:2: a password leaves", err)
                    self.assertNotIn("relay-secret", err)

    def test_early_lines(self):
        """Replies to what was not said yet: nobody believes them."""
        hop = self.clear_hop({"EHLO": b"250 hop.test\r\n250 2.1.0 ok\r\n"
                                      b"250 2.1.5 ok\r\n",
                              "MAIL": "550 5.7.1 no"})
        smtp = self.relay(self.accounts(
            f"* smtp+plain://localhost:{hop.port}"))
        self.refused(smtp)
        self.assertEqual(hop.messages, [])


class Lmtp(Schemes):
    """RFC 2033: LHLO, and a reply for each recipient, so one at a time."""

    def setUp(self):
        super().setUp()
        self.kinds = 0

    def lmtp(self, kind, script=None, **kwargs):
        """A hop and the account for it."""
        if kind == "unix":
            self.kinds += 1
            path = self.path(f"lmtp {self.kinds}")
            hop = self.clear_hop(script, path=path, auth="", **kwargs)
            url = "lmtp+unix:" + str(path).replace(" ", "%20")
        else:
            hop = self.clear_hop(script, auth="", **kwargs)
            url = f"lmtp://localhost:{hop.port}"
        return hop, self.accounts(f"* {url}")

    def each(self, script=None, **kwargs):
        for kind in ("tcp", "unix"):
            with self.subTest(kind=kind):
                hop, accounts = self.lmtp(kind, script, **kwargs)
                yield hop, self.relay(accounts)

    def test_dialogue(self):
        for hop, smtp in self.each():
            self.assertRegex(str(smtp.message(TEXT)), QUEUED)
            smtp.quit()
            hop.wait_ended()
            self.assertEqual([line.split(" ")[0] for line in hop.commands],
                             ["LHLO", "MAIL", "RCPT", "DATA", "QUIT"])
            self.assertEqual(self.split_relayed(hop.messages[0])[1],
                             smtp_wire(TEXT))

    def test_one_recipient_a_transaction(self):
        for hop, smtp in self.each({"RCPT bad@b.test": "550 5.1.1 nobody",
                                    "final": ["250 2.0.0 one", "250 2.0.0 "
                                              "two"]}):
            smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
            self.assertEqual(smtp.cmd("RCPT TO:<bad@b.test>").raw,
                             [b"550 5.1.1 nobody"])
            smtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
            smtp.expect("RCPT TO:<c@b.test>", "452 4.5.3")
            smtp.expect("RCPT TO:<bad@b.test>", "452 4.5.3")
            self.assertEqual(smtp.text(b"x\r\n.\r\n").raw,
                             [b"250 2.0.0 one"])
            smtp.envelope("joe@example.com", "c@b.test")
            self.assertEqual(smtp.text(b"y\r\n.\r\n").raw,
                             [b"250 2.0.0 two"])
            rcpts = [line for line in hop.commands
                     if line.startswith("RCPT")]
            self.assertEqual(rcpts, [
                "RCPT TO:<bad@b.test>", "RCPT TO:<a@b.test>",
                "RCPT TO:<c@b.test>"])
            self.assertEqual(len(hop.messages), 2)

    def test_reply_after_the_text(self):
        for reply in ("550 5.2.0 no", "452 4.2.2 quota"):
            for hop, smtp in self.each({"final": reply}):
                self.assertEqual(smtp.message(TEXT).raw, [reply.encode()])
                smtp.expect("NOOP", "250 2.0.0")

    def test_no_helo(self):
        """LMTP has none: a server without LHLO is none."""
        for hop, smtp in self.each({"LHLO": "500 5.5.1 what?"}):
            self.refused(smtp)
            self.assertNotIn("HELO hop", " ".join(hop.commands))
            self.assertEqual([line.split(" ")[0] for line in hop.commands],
                             ["LHLO"])

    def test_nobody_there(self):
        self.write("no-socket", "")
        for url in (f"lmtp+unix:{self.path('none')}",
                    f"lmtp+unix:{self.path('no-socket')}",
                    f"lmtp+unix:{self.dir}"):
            with self.subTest(url=url):
                smtp = self.relay(self.accounts(f"* {url}"))
                self.refused(smtp, "451 4.4.1")
                smtp.quit()
                self.assertIn(url.partition(":")[2], smtp.process.log())

    def test_some_are_at_home(self):
        """Who has a maildir is none of the next hop's."""
        hop, accounts = self.lmtp("tcp")
        self.make_maildir(self.mail / "ann@example.org")
        smtp = self.spawn(SMTP, "--tls", "off", "--auth", "any", "--relay",
                          accounts, "--maildir", f"{self.mail}/%u",
                          kind=SmtpPeer).ready()
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<ann@example.org>", "250 2.1.5")
        smtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
        smtp.expect("RCPT TO:<c@b.test>", "452 4.5.3")
        self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
        self.the_message(self.mail / "ann@example.org")
        self.assertEqual(len(hop.messages), 1)

    def test_lmtp_in_and_out(self):
        """--lmtp: a reply for each recipient it took."""
        hop, accounts = self.lmtp("tcp", {"final": "250 2.0.0 kept"})
        lmtp = self.spawn(SMTP, "--tls", "off", "--auth", "any", "--relay",
                          accounts, "--lmtp", kind=SmtpPeer)
        lmtp.expect(None, "220")
        lmtp.expect("LHLO client.test", "250")
        lmtp.expect(f"AUTH PLAIN {plain('joe', 'x')}", "235 2.7.0")
        lmtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        lmtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
        lmtp.expect("RCPT TO:<c@b.test>", "452 4.5.3")
        self.assertEqual(lmtp.text(b"x\r\n.\r\n").raw, [b"250 2.0.0 kept"])
        lmtp.expect("NOOP", "250 2.0.0")


class Owners(Schemes):
    """for=NAME: that login, and no other."""

    def test_for(self):
        joes, anyones = self.clear_hop(), self.clear_hop()
        accounts = self.accounts(
            f"joe@example.com smtp+plain://localhost:{joes.port} {LOGIN} "
            "for=joe",
            f"example.com smtp+plain://localhost:{anyones.port} for=ann")
        for user, sender, hop in (
                ("joe", "joe@example.com", joes),
                ("ann", "joe@example.com", anyones),
                ("ann", "ann@example.com", anyones),
                ("joe", "ann@example.com", None),
                ("JOE", "joe@example.com", None),
                ("eve", "joe@example.com", None)):
            with self.subTest(user=user, sender=sender):
                before = len(joes.messages), len(anyones.messages)
                smtp = self.spawn(SMTP, "--tls", "off", "--auth", "any",
                                  "--relay", accounts, kind=SmtpPeer)
                smtp.hello()
                smtp.login(user)
                smtp.expect(f"MAIL FROM:<{sender}>", "250 2.1.0")
                smtp.expect("RCPT TO:<a@b.test>",
                            "250 2.1.5" if hop else "550 5.7.1")
                if hop:
                    self.assertRegex(str(smtp.text(b"x\r\n.\r\n")), QUEUED)
                self.assertEqual(
                    (len(joes.messages), len(anyones.messages)),
                    (before[0] + (hop is joes), before[1] + (hop is anyones)))

    def test_for_however_the_name_was_typed(self):
        """The account is that user's of the users file."""
        hop = self.clear_hop()
        accounts = self.accounts(
            f"* smtp+plain://localhost:{hop.port} {LOGIN} for=joe")
        users = self.write("users", f"joe:{hash_of('secret-pw')}\n")
        for n, user in enumerate(("joe", "JOE", "Joe@mail.test"), 1):
            smtp = self.spawn(SMTP, "--tls", "off", "--auth", f"file:{users}",
                              "--relay", accounts, kind=SmtpPeer)
            smtp.hello()
            smtp.login(user)
            smtp.expect("MAIL FROM:<joe@side.test>", "250 2.1.0")
            smtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
            self.assertRegex(str(smtp.text(b"x\r\n.\r\n")), QUEUED)
            self.assertEqual(len(hop.messages), n)

    def test_secret_is_the_accounts_own(self):
        """Two accounts at one hop: each message under its own login."""
        hop = self.clear_hop()
        url = f"smtp+plain://localhost:{hop.port}"
        smtp = self.relay(self.accounts(
            f"a.test {url} login-a pw-a", f"b.test {url} login-b pw-b"))
        for sender in ("x@a.test", "x@b.test", "y@b.test", "x@a.test"):
            self.assertRegex(str(smtp.message(TEXT, sender)), QUEUED)
        self.assertEqual([connection.logins[0][0]
                          for connection in hop.connections],
                         ["login-a", "login-b", "login-a"])
        self.assertEqual([len(connection.messages)
                          for connection in hop.connections], [1, 2, 1])
