"""smtp-handler --relay against what other mail programs' users reported:
each test is named after the report that it comes from.  Next hops are tried
over SMTP in the clear, under STARTTLS and TLS, and over LMTP."""

import socket
import threading

from frontdoor import start_tls
from mailtest import SMTP, SmtpPeer, smtp_wire
from nexthop import DROP, AfterReply, ScriptedHop
from relay import TEXT, Relay
from replies import QUEUED

USUAL = ("PIPELINING", "SIZE 50000000", "8BITMIME", "ENHANCEDSTATUSCODES")
LOGIN = "relay-user relay-secret"


class Ways(Relay):
    """A hop by each scheme, and an account for it."""

    schemes = ("smtp+plain", "smtp", "smtps", "lmtp", "lmtp+unix")

    def by_scheme(self, scheme, script=None, query="", login=LOGIN,
                  **kwargs):
        context = self.certs.server.server_context()
        path = self.fresh_path("socket") if "unix" in scheme else None
        hop = ScriptedHop(self, script, path=path,
                          tls=context if scheme == "smtps" else None,
                          starttls=context if scheme == "smtp" else None,
                          **kwargs)
        secure = scheme in ("smtp", "smtps")
        parts = [f"ca={self.certs.ca.crt}"] if secure else []
        parts += [query] if query else []
        where = path or f"//localhost:{hop.port}"
        query = f"?{'&'.join(parts)}" if parts else ""
        return hop, self.accounts(f"* {scheme}:{where}{query} {login}")


class Text(Ways):
    def test_mailkit_921_mailu_1767_chunking_in_front_of_the_hop(self):
        """A box that passes CHUNKING on, and does not know BDAT."""
        for scheme in self.schemes:
            with self.subTest(scheme=scheme):
                hop, accounts = self.by_scheme(
                    scheme, extensions=("CHUNKING", "BINARYMIME", *USUAL))
                smtp = self.relay(accounts)
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                self.assertEqual(hop.commands.count("DATA"), 1)
                self.assertEqual(self.split_relayed(hop.messages[0])[1],
                                 smtp_wire(TEXT))
                smtp.quit()


class SmtpUtf8(Ways):
    def test_gomail_exchange_said_with_all_mail(self):
        """Go's client says SMTPUTF8 wherever it is offered; Exchange knows
        it not: ASCII mail needs none."""
        for scheme in self.schemes:
            with self.subTest(scheme=scheme):
                hop, accounts = self.by_scheme(scheme)
                smtp = self.relay(accounts)
                for sender in ("joe@example.com", ""):
                    smtp.expect(f"MAIL FROM:<{sender}> BODY=8BITMIME "
                                "SMTPUTF8", "250 2.1.0")
                    smtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
                    self.assertRegex(str(smtp.text(smtp_wire(
                        b"Subject: x\n\n\xe2\x82\xac\n"))), QUEUED)
                    self.assertIn(f"MAIL FROM:<{sender}> BODY=8BITMIME",
                                  hop.commands)
                smtp.quit()

    def test_smtpproto_3_what_needs_it(self):
        """Addresses are refused at RCPT; a header at the end, when it is
        known, and then nothing of it has been sent."""
        for scheme in self.schemes:
            hop, accounts = self.by_scheme(
                scheme, extensions=(*USUAL, "DSN"))
            smtp = self.relay(accounts)
            for sender, recipient in (
                    ("j\u00f6@x.test", "a@b.test"),
                    ("joe@x.test", "\u00e4@b.test"),
                    ("joe@x.test", "a@\u00fc.test"),
                    ("joe@x.test", "a@b.test> ORCPT=utf-8;\u00e4@b.test")):
                with self.subTest(scheme=scheme, recipient=recipient):
                    smtp.expect(f"MAIL FROM:<{sender}> SMTPUTF8",
                                "250 2.1.0")
                    smtp.expect(f"RCPT TO:<{recipient}" +
                                ("" if ">" in recipient else ">"),
                                "550 5.6.7")
                    smtp.expect("RSET", "250 2.0.0")
            for text, wanted in (
                    ("Subject: \u20ac\n\nx\n", "550 5.6.7"),
                    ("Subject: x\nX-Folded: a\n b\n \u20ac\n\nx\n",
                     "550 5.6.7"),
                    ("Subject: x\n\nSubject: \u20ac\n", QUEUED)):
                with self.subTest(scheme=scheme, text=text):
                    smtp.expect("MAIL FROM:<joe@x.test> SMTPUTF8",
                                "250 2.1.0")
                    smtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
                    self.assertRegex(str(smtp.text(smtp_wire(
                        text.encode()))), wanted)
            smtp.quit()
            self.assertEqual(len(hop.messages), 1)
            self.assertNotIn("SMTPUTF8", str(hop.commands))

    def test_passed_on_where_it_is_offered(self):
        hop, accounts = self.by_scheme("smtp+plain",
                                       extensions=(*USUAL, "SMTPUTF8"))
        smtp = self.relay(accounts)
        smtp.expect("MAIL FROM:<j\u00f6@x.test> SMTPUTF8", "250 2.1.0")
        smtp.expect("RCPT TO:<\u00e4@b.test>", "250 2.1.5")
        self.assertRegex(str(smtp.text(smtp_wire(
            "Subject: \u20ac\n\n".encode()))), QUEUED)
        self.assertIn("MAIL FROM:<j\u00f6@x.test> BODY=8BITMIME SMTPUTF8",
                      hop.commands)


IDLE = b"421 4.4.2 idle too long, bye\r\n"
OK = b"250 2.1.5 recipient fine\r\n"


class Idle(Ways):
    """Postfix sends away after 300 s, Exchange after 60 s of silence; an
    upload may take longer."""

    def check(self, scheme, script, recipients, wanted, **kwargs):
        hop, accounts = self.by_scheme(scheme, script, **kwargs)
        smtp = self.relay(accounts)
        smtp.expect("MAIL FROM:<joe@example.com> BODY=8BITMIME", "250 2.1.0")
        for recipient, reply in recipients:
            smtp.expect(f"RCPT TO:<{recipient}>", reply)
        reply = smtp.text(smtp_wire(TEXT))
        self.assertRegex(str(reply), wanted)
        # Whatever became of it, the session goes on
        smtp.expect("NOOP", "250 2.0.0")
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        smtp.quit()
        self.assertEqual(smtp.exit_status(), 0)
        hop.wait_ended()
        return hop

    def test_left_during_the_upload(self):
        for scheme in self.schemes:
            for said in (AfterReply(OK), AfterReply(OK + IDLE), OK + IDLE):
                with self.subTest(scheme=scheme, said=said):
                    hop = self.check(
                        scheme, {"RCPT": [said, OK]},
                        [("a@b.test", "250 2.1.5")], QUEUED)
                    self.assertEqual(len(hop.connections), 2)
                    self.assertEqual(len(hop.messages), 2)
                    again = hop.connections[1].commands
                    self.assertIn(
                        "MAIL FROM:<joe@example.com> BODY=8BITMIME", again)
                    self.assertEqual(self.split_relayed(hop.messages[0])[1],
                                     smtp_wire(TEXT))

    def test_left_at_data(self):
        for said in (DROP, "421 4.4.2 idle", AfterReply("421 4.4.2 idle"),
                     AfterReply(b"35")):
            with self.subTest(said=said):
                hop = self.check("smtps", {"DATA": [said, "354 go on"]},
                                 [("a@b.test", "250 2.1.5")], QUEUED)
                self.assertEqual(len(hop.connections), 2)

    def test_left_and_refused(self):
        """That it was called again is no reason to send it again."""
        self.check("smtps", {"DATA": [DROP, "354 go on"],
                             "final": ["554 5.7.1 spam", "250 2.0.0 ok"]},
                   [("a@b.test", "250 2.1.5")], r"554 5\.7\.1")

    def test_left_between_recipients(self):
        """All that it had accepted, and nobody else, are told again."""
        hop = self.check("smtp", {
            "RCPT a@b.test": OK, "RCPT b@b.test": "550 5.1.1 no",
            "RCPT c@b.test": [AfterReply(OK), OK],
            "RCPT d@b.test": [DROP, AfterReply(OK), OK]},
            [("a@b.test", "250 2.1.5"), ("b@b.test", "550 5.1.1"),
             ("c@b.test", "250 2.1.5"), ("d@b.test", "250 2.1.5"),
             ("e@b.test", "250 2.1.5")], QUEUED)
        last = hop.connections[-1].commands
        self.assertEqual(
            [line for line in last if line.startswith("RCPT")][:4],
            [f"RCPT TO:<{name}@b.test>" for name in "acde"])

    def test_other_verdicts(self):
        """Whoever takes less than before does not get the text."""
        left = AfterReply(OK)
        for script in (
                {"RCPT": [left, "550 5.1.1 no", OK]},
                {"RCPT": [left, "450 4.2.1 grey", OK]},
                {"RCPT": [left, DROP, OK]},
                {"RCPT": [left, OK], "MAIL": [
                    "250 2.1.0 a", "550 5.7.1 no", "250 2.1.0 b"]},
                {"RCPT": [left, OK], "greeting": [
                    "220 a", "554 no", "220 b"]},
                {"RCPT": [left, OK], "AUTH": [
                    "235 2.7.0 a", "535 5.7.8 no", "235 2.7.0 b"]}):
            with self.subTest(script=script):
                hop = self.check("smtp+plain", script,
                                 [("a@b.test", "250 2.1.5")], "451 4.4.2")
                self.assertEqual(len(hop.messages), 1)

    def test_other_extensions(self):
        """It does not offer any more what the mail needs."""
        hop, accounts = self.by_scheme(
            "lmtp", {"RCPT": [AfterReply(OK), OK], "LHLO": [
                "250 x\nDSN\nAUTH PLAIN", "250 x\nAUTH PLAIN"]})
        smtp = self.relay(accounts)
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test> NOTIFY=SUCCESS", "250 2.1.5")
        self.assertEqual(str(smtp.text(smtp_wire(TEXT))), "451 4.4.2")
        self.assertEqual(hop.messages, [])

    def test_never_without_end(self):
        hop = self.check("smtp+plain", {"DATA": [DROP] * 4 + ["354 go on"]},
                         [("a@b.test", "250 2.1.5")], "451 4.4.2")
        self.assertEqual(len(hop.connections), 5)


class RequireTls(Ways):
    """RFC 8689."""

    offers = (*USUAL, "REQUIRETLS")

    def under_tls(self, accounts, tls="implicit"):
        """smtp-handler, its client under TLS and logged in."""
        server = self.serve(SMTP, "--tls", tls, *self.certs.server.options(),
                            "--auth", "any", "--relay", accounts)
        context = self.certs.client_context()
        smtp = self.connect(server.port, SmtpPeer,
                            context if tls == "implicit" else None)
        extensions = smtp.hello()
        if tls == "starttls":
            self.assertNotIn("REQUIRETLS", extensions)
            start_tls(smtp, context)
            extensions = smtp.ehlo()
        self.assertIn("REQUIRETLS", extensions)
        smtp.login()
        return smtp

    def test_passed_on(self):
        for scheme, tls in (("smtp", "implicit"), ("smtps", "starttls")):
            with self.subTest(scheme=scheme):
                hop, accounts = self.by_scheme(
                    scheme, extensions=(*USUAL, "REQUIRETLS"))
                smtp = self.under_tls(accounts, tls)
                smtp.expect("MAIL FROM:<joe@example.com> REQUIRETLS",
                            "250 2.1.0")
                smtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
                self.assertRegex(str(smtp.text(smtp_wire(TEXT))), QUEUED)
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                self.assertEqual(
                    [line for line in hop.commands if "MAIL" in line],
                    ["MAIL FROM:<joe@example.com> BODY=8BITMIME REQUIRETLS",
                     "MAIL FROM:<joe@example.com> BODY=8BITMIME"])

    def test_refused(self):
        """Where the hop does not offer it, offered it before STARTTLS only,
        or is not known by a certificate."""
        secret = (*USUAL, "REQUIRETLS")
        before = ["250 " + "\n".join(("x", "STARTTLS", "REQUIRETLS")),
                  "250 x\nAUTH PLAIN"]
        for scheme, query, extensions, script in (
                ("smtps", "", USUAL, {}), ("smtp", "", USUAL, {}),
                ("smtp", "", USUAL, {"EHLO": before}),
                ("smtps", "verify=no", secret, {}),
                ("smtp+plain", "", secret, {}), ("lmtp", "", secret, {}),
                ("lmtp+unix", "", secret, {})):
            with self.subTest(scheme=scheme, script=script):
                hop, accounts = self.by_scheme(scheme, script, query,
                                               extensions=extensions)
                smtp = self.under_tls(accounts)
                smtp.expect("MAIL FROM:<joe@example.com> REQUIRETLS",
                            "250 2.1.0")
                smtp.expect("RCPT TO:<a@b.test>", "550 5.7.30")
                smtp.expect("RSET", "250 2.0.0")
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                self.assertEqual(len(hop.messages), 1)

    def test_not_offered(self):
        """In the clear, and where nothing is sent on."""
        _, accounts = self.by_scheme("smtps")
        smtp = self.relay(accounts)
        self.assertNotIn("REQUIRETLS", smtp.ehlo())
        smtp.expect("MAIL FROM:<a@b.test> REQUIRETLS", "555 5.5.4")
        server = self.serve(SMTP, "--tls", "implicit", "--maildir",
                            self.mail, *self.certs.server.options(), "--auth",
                            "any")
        smtp = self.connect(server.port, SmtpPeer,
                            self.certs.client_context())
        self.assertNotIn("REQUIRETLS", smtp.hello())


TOKEN = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
EXPIRED = (b'{"status":"invalid_token","schemes":"bearer",'
           b'"scope":"https://mail.example.com/"}')


class Mechanisms(Ways):
    """AUTH, over each way to the hop; LMTP and SMTP alike."""

    def trouble(self, accounts, why, *options):
        """At RCPT, for every recipient at once; the log says why, and shows
        no secret."""
        smtp = self.relay(accounts, "--transcript", *options)
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<a@b.test>", "451 4.7.0")
        smtp.quit()
        self.assertEqual(smtp.exit_status(), 0)
        log = smtp.process.log()
        self.assertRegex(log, why)
        for secret in ("relay-secret", TOKEN, "cmVsYXktc2VjcmV0"):
            self.assertNotIn(secret, log)

    def test_cakephp_14639_plain_listed_and_login_works(self):
        for scheme in self.schemes:
            for refusal in ("504 5.5.4 no such mechanism",
                            "534 5.7.9 too weak"):
                with self.subTest(scheme=scheme, refusal=refusal):
                    hop, accounts = self.by_scheme(
                        scheme, {"AUTH PLAIN": refusal})
                    smtp = self.relay(accounts)
                    self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                    smtp.quit()
                    (connection,) = hop.connections
                    self.assertEqual(connection.logins,
                                     [("relay-user", "relay-secret")])

    def test_no_other_is_tried(self):
        """A wrong password is not said twice: that locks accounts."""
        for refusal in ("535 5.7.8 no", "454 4.7.0 later", "500 5.5.6 long",
                        "501 5.5.2 what?", "530 5.7.0 what?"):
            with self.subTest(refusal=refusal):
                hop, accounts = self.by_scheme("smtps",
                                               {"AUTH PLAIN": refusal})
                self.trouble(accounts, f"answered AUTH with {refusal[:9]} "
                             r"\(PLAIN\)")
                self.assertNotIn("AUTH LOGIN", hop.commands)

    def test_none_works(self):
        hop, accounts = self.by_scheme("smtp", {
            "AUTH PLAIN": "504 5.5.4 no", "AUTH LOGIN": "504 5.5.4 no"})
        self.trouble(accounts, r"answered AUTH with 504 5.5.4 \(LOGIN\)")
        _, accounts = self.by_scheme("smtp", auth="CRAM-MD5")
        self.trouble(accounts, "offers neither AUTH PLAIN nor LOGIN")
        _, accounts = self.by_scheme("smtp", auth="XOAUTH2 OAUTHBEARER")
        self.trouble(accounts, r"the URL needs \?auth=xoauth2")

    def test_chosen_by_the_account(self):
        for scheme in self.schemes:
            for chosen in ("plain", "login", "xoauth2", "oauthbearer"):
                with self.subTest(scheme=scheme, chosen=chosen):
                    hop, accounts = self.by_scheme(
                        scheme, query=f"auth={chosen}",
                        auth="PLAIN OAUTHBEARER LOGIN XOAUTH2")
                    smtp = self.relay(accounts)
                    self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                    smtp.quit()
                    self.assertIn(f"AUTH {chosen.upper()}",
                                  " ".join(hop.commands))
                    self.assertEqual(hop.connections[0].logins,
                                     [("relay-user", "relay-secret")])
        hop, accounts = self.by_scheme("smtps", query="auth=login",
                                       auth="PLAIN")
        self.trouble(accounts, "does not offer AUTH LOGIN")
        self.assertNotIn("AUTH", str(hop.commands))

    def test_net_smtp_69_roundcube_8623_long_password(self):
        """380 octets: the line would have 525."""
        for secret, commands in (("x" * 350, 1), ("x" * 380, 2),
                                 ("x" * 6144, 2)):
            with self.subTest(octets=len(secret)):
                hop, accounts = self.by_scheme(
                    "smtps", login=f"relay-user {secret}")
                smtp = self.relay(accounts)
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                smtp.quit()
                (connection,) = hop.connections
                self.assertEqual(connection.logins,
                                 [("relay-user", secret)])
                said = connection.commands[1:1 + commands]
                self.assertLessEqual(len(said[0]) + 2, 512)
                self.assertEqual(said[0] == "AUTH PLAIN", commands == 2)

    def test_go_smtp_301_long_token(self):
        token = TOKEN * 40
        for chosen in ("xoauth2", "oauthbearer"):
            with self.subTest(chosen=chosen):
                helper = self.helper(f"echo {token}")
                hop, accounts = self.by_scheme(
                    "smtp", query=f"auth={chosen}", auth=chosen.upper(),
                    login=f"joe@x.test exec:{helper}")
                smtp = self.relay(accounts)
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                smtp.quit()
                (connection,) = hop.connections
                self.assertEqual(connection.logins, [("joe@x.test", token)])
                self.assertIn(f"AUTH {chosen.upper()}", connection.commands)

    def helper(self, script):
        """A token helper, as oama or mutt_oauth2.py."""
        path = self.write(f"helper{len(script)}", f"#!/bin/sh\n{script}\n",
                          0o755)
        return path

    def test_token_helper(self):
        """Its first line, each time anew, and with no environment of ours."""
        count = self.fresh_path("count")
        helper = self.helper(f"echo x >>{count}; env >{count}.env; "
                             f"echo {TOKEN}$(wc -l <{count}); echo more")
        hop, accounts = self.by_scheme(
            "smtps", {"final": [DROP, "250 2.0.0 kept"]},
            query="auth=oauthbearer", auth="OAUTHBEARER",
            login=f"joe,=@x.test exec:{helper} 'an argument' for=joe")
        smtp = self.relay(accounts)
        self.assertEqual(str(smtp.message(TEXT)), "451 4.4.2")
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        smtp.quit()
        self.assertEqual(
            [connection.bearer for connection in hop.connections],
            [[f"n,a=joe=2C=3D@x.test,\1host=localhost\1port={hop.port}\1"
              f"auth=Bearer {TOKEN}{n}\1\1"] for n in (1, 2)])
        environment = count.with_suffix(count.suffix + ".env").read_text()
        self.assertNotIn("CREDENTIALS_DIRECTORY", environment)

    def test_token_helper_fails(self):
        for script, why in (
                ("echo it expired >&2; exit 3", "exit status 3: it expired"),
                ("", "the password is empty"), ("kill -9 $$", "signal 9"),
                ("echo; echo " + TOKEN, "the password is empty")):
            with self.subTest(script=script):
                hop, accounts = self.by_scheme(
                    "smtps", login=f"joe exec:{self.helper(script)}")
                self.trouble(accounts, f"relay:1: .*{why}")
                self.assertNotIn("AUTH", str(hop.commands))

    def test_rfc_7628_error_challenge(self):
        """Answered with nothing, and then the refusal comes; what the JSON
        says is worth a line in the log."""
        for chosen, answer in (("xoauth2", ""), ("oauthbearer", "\1")):
            for scheme in ("smtps", "smtp", "smtp+plain", "lmtp"):
                with self.subTest(chosen=chosen, scheme=scheme):
                    hop, accounts = self.by_scheme(
                        scheme, {"challenge": EXPIRED,
                                 "AUTH": "535 5.7.8 no"},
                        query=f"auth={chosen}", auth=chosen.upper())
                    self.trouble(accounts, "AUTH with 535 5.7.8 "
                                 rf"\({chosen.upper()}, status "
                                 r"invalid_token\)")
                    self.assertEqual(hop.connections[0].bearer[1:],
                                     [answer])

    def test_odd_challenges(self):
        """Whatever it says there, and however often."""
        for challenge in (b"", b"\xff\0", b'"status"', b'{"status":"',
                          b"x" * 3000):
            with self.subTest(challenge=challenge[:9]):
                _, accounts = self.by_scheme(
                    "smtp+plain", {"challenge": challenge,
                                   "AUTH": "535 5.7.8 no"},
                    query="auth=xoauth2", auth="XOAUTH2")
                self.trouble(accounts, r"AUTH with 535 5.7.8 \(XOAUTH2\)")
        _, accounts = self.by_scheme("smtp+plain", {"AUTH": "334 bW9yZQ=="})
        self.trouble(accounts, "asks for more than AUTH PLAIN has")


class Loops(Ways):
    """Stalwart #1377, OpenSMTPD #1190: 40 processes in 0.25 s at one RCPT."""

    TLS = {"smtp+plain": "off", "lmtp": "off", "smtp": "starttls",
           "smtps": "implicit"}

    def loop(self, scheme, host, port=None, listen="127.0.0.1", came_to=None,
             processes=1):
        """A server whose account names it, at its own port or at one that
        leads to it."""
        tls = self.TLS[scheme]
        accounts = self.path("relay")
        server = self.serve(
            SMTP, "--tls", tls, *self.certs.server.options(), "--auth", "any",
            "--relay", accounts, *(["--lmtp"] if scheme == "lmtp" else []),
            address=(listen, 0))
        port = port(server) if port else server.port
        query = f"?ca={self.certs.ca.crt}" if tls != "off" else ""
        self.accounts(f"x.test {scheme}://{host}:{port}{query}")
        smtp = self.connect(
            server.port, SmtpPeer, self.certs.client_context()
            if tls == "implicit" else None, host=came_to or listen)
        if scheme == "lmtp":
            smtp.expect(None, "220")
            smtp.expect("LHLO client.test", "250")
        else:
            smtp.hello()
        smtp.login()
        smtp.expect("MAIL FROM:<joe@x.test>", "250 2.1.0")
        for _ in range(3):
            smtp.expect("RCPT TO:<a@b.test>", "554 5.4.6")
        smtp.quit()
        server.wait_all()
        self.assertEqual(len(server.processes), processes)
        self.assertRegex(server.process().log(), "this server")

    def test_stalwart_1377_own_port(self):
        for host in ("127.0.0.1", "localhost", "LOCALHOST", "0.0.0.0",
                     "[::ffff:127.0.0.1]", "[::1]", "[::]", "127.1"):
            with self.subTest(host=host):
                self.loop("smtp+plain", host)
        for listen, came_to in (("::1", "::1"), ("0.0.0.0", "127.0.0.9"),
                                ("0.0.0.0", "127.0.0.1")):
            with self.subTest(listen=listen, came_to=came_to):
                self.loop("smtp+plain", f"[{came_to}]" if ":" in came_to
                          else came_to, listen=listen, came_to=came_to)
        for scheme in self.TLS:
            with self.subTest(scheme=scheme):
                self.loop(scheme, "localhost")

    def forwarded(self, server):
        """Another port of this machine that leads to the server."""
        front = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(front.close)

        def copy(source, target):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

        def forward():
            near, _ = front.accept()
            far = socket.create_connection((server.host, server.port))
            with near, far:
                back = threading.Thread(target=copy, args=(far, near))
                back.start()
                copy(near, far)
                back.join()

        threading.Thread(target=forward, daemon=True).start()
        return front.getsockname()[1]

    def test_opensmtpd_1190_port_that_leads_to_us(self):
        """Known by the greeting, of which one session more is needed."""
        for scheme in self.TLS:
            with self.subTest(scheme=scheme):
                self.loop(scheme, "localhost", self.forwarded, processes=2)
        with self.subTest("another address of ours"):
            self.loop("smtp+plain", "127.0.0.7", listen="0.0.0.0",
                      came_to="127.0.0.1", processes=2)

    def test_another_server_of_this_machine(self):
        """Under the same host name, even with a relay of its own: no loop."""
        hop, last = self.by_scheme("smtp+plain")
        others = self.write("others", last.read_text())
        for options in (("--maildir", self.mail), ("--relay", others)):
            with self.subTest(options=options):
                other = self.serve(SMTP, "--tls", "off", "--auth", "any",
                                   *options)
                smtp = self.relay(self.accounts(
                    f"* smtp+plain://127.0.0.1:{other.port} joe x"))
                self.assertRegex(str(smtp.message(TEXT)), QUEUED)
                smtp.quit()
        self.assertEqual(len(hop.messages), 1)


class Schemes(Ways):
    def test_said_before_anything_is_tried(self):
        for url, said in (("smtp://h.test:465", "that is smtps://"),
                          ("smtp+plain://h.test:465", "that is smtps://"),
                          ("smtps://h.test:587", "that is smtp://"),
                          ("smtps://h.test:25", "that is smtp://")):
            with self.subTest(url=url):
                accounts = self.accounts("#", f"* {url} joe x")
                for more in ((), ("--check-config",)):
                    status, out, err = self.run_to_end(
                        *self.argv(SMTP, "--tls", "off", "--auth", "any",
                                   "--relay", accounts, *more))
                    self.assertEqual(status, 78)
                    self.assertEqual(out, "")
                    self.assertIn(f"{accounts}:2: port", err)
                    self.assertIn(said, err)

    def test_said_at_other_ports(self):
        tls = ScriptedHop(self, {"connect": DROP},
                          tls=self.certs.server.server_context())
        clear = ScriptedHop(self)
        for hop, scheme, said in (
                (clear, "smtps", "where TLS begins with STARTTLS it is "
                                 "smtp://"),
                (tls, "smtp", "where TLS begins at once it is smtps://"),
                (tls, "smtp+plain", "where TLS begins at once it is "
                                    "smtps://")):
            with self.subTest(scheme=scheme, said=said):
                smtp = self.relay(self.accounts(
                    f"* {scheme}://localhost:{hop.port}"))
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                smtp.expect("RCPT TO:<a@b.test>", r"451 4\.4\.[12]")
                smtp.quit()
                self.assertEqual(smtp.exit_status(), 0)
                self.assertIn(said, smtp.process.log())

    def test_password_with_a_blank(self):
        status, _, err = self.run_to_end(*self.argv(
            SMTP, "--tls", "off", "--auth", "any", "--relay",
            self.accounts("* smtps://h.test joe my secret"),
            "--check-config"))
        self.assertEqual(status, 78)
        self.assertIn("a blank in one of them is written %20", err)
        self.assertNotIn("secret", err)


class Senders(Ways):
    def test_check_config_takes_what_mail_takes(self):
        """a_b.example was a sender of accounts and of no mail."""
        smtp = self.relay(self.by_scheme("smtp+plain")[1])
        for sender in ("x@a_b.example", "a..b@x.test", "a.@x.test",
                       "x@b.test.", "J\u00f6@b\u00fcro.test", '"a b"@x.test',
                       "x@[127.0.0.1]", "x@[IPv6:::1]", "x@[127.0.0.300]",
                       "x@-a.test", "x@a-.test", "x@a..test", "x@", "@x",
                       "a@b@c", "x@a/b", "x@[x]", "x@" + "a" * 256):
            with self.subTest(sender=sender):
                smtp.expect("RSET", "250 2.0.0")
                taken = smtp.cmd(f"MAIL FROM:<{sender}> SMTPUTF8").code == 250
                for line in (sender, sender.rpartition("@")[2]):
                    if " " in line or not line:
                        continue
                    status, _, err = self.run_to_end(*self.argv(
                        SMTP, "--tls", "off", "--auth", "any", "--relay",
                        self.accounts(f"{line} smtps://h.test"),
                        "--check-config"))
                    if line == sender or not taken:
                        self.assertEqual(
                            status == 0, taken or
                            (line != sender and line in ("x", "c")), err)

    def test_found_as_it_is_said(self):
        hop, _ = self.by_scheme("smtp+plain")
        for account, sender in (("a_b.example", "x@A_B.example"),
                                ("b.test.", "x@b.test"),
                                ("b.test", "x@b.test."),
                                ("x@b.test.", "x@b.test"),
                                ("a..b@x", "A..b@x")):
            with self.subTest(account=account, sender=sender):
                smtp = self.relay(self.accounts(
                    f"{account} smtp+plain://127.0.0.1:{hop.port}"))
                self.assertRegex(str(smtp.message(TEXT, sender)), QUEUED)
                smtp.quit()


del Relay, Ways
