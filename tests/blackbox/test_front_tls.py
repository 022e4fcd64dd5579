"""STARTTLS and STLS, certificates by name, protocols, the handshake's limit,
close_notify.  The man pages, --tls; RFC 3207, RFC 2595."""

import os
import poplib
import re
import smtplib
import ssl
import subprocess

import model
from certs import Pair
from clock import Timed
from frontdoor import (BOTH, REMOTE, RIGHT, FrontDoor, capa, client_hello,
                       drip, hash_of, noop, offers, offers_login, start_tls,
                       taken, try_login, upgrade)
from mailtest import (DEADLINE, POP3, SMTP, SmtpPeer, plain,
                      smtp_wire, split_stored)


class Starttls(Timed):
    def tls_door(self, program, *options, auth="any", **kwargs):
        return self.door(program, "--tls", "starttls",
                         *self.certs.server.options(), "--auth", auth,
                         *options, **kwargs)


class Dialogue(Starttls):
    def test_smtp_offers(self):
        """Before and after, to a local peer and to another."""
        for env, before in (({}, True), (REMOTE, False)):
            with self.subTest(env=env):
                smtp = self.tls_door(SMTP, auth="any-remote", env=env)
                offered = smtp.hello()
                self.assertEqual(offered["STARTTLS"], "")
                self.assertIs("AUTH" in offered, before)
                self.assertIs("AUTH=PLAIN" in offered, before)
                start_tls(smtp, self.tls)
                offered = smtp.ehlo()
                self.assertNotIn("STARTTLS", offered)
                self.assertEqual(offered["AUTH"], "PLAIN LOGIN")
                smtp.login()
                smtp.quit()
                self.assert_ended_well(smtp)

    def test_pop3_offers(self):
        for env, before in (({}, True), (REMOTE, False)):
            with self.subTest(env=env):
                pop = self.tls_door(POP3, auth="any-remote", env=env)
                offered = offers(pop)
                self.assertIn("STLS", offered)
                self.assertEqual({"USER", "SASL"} <= offered, before)
                self.assertEqual(bool({"USER", "SASL"} & offered), before)
                start_tls(pop, self.tls)
                after = capa(pop)
                self.assertEqual(after, offered - {"STLS"} | {"USER", "SASL"})
                self.assertEqual(try_login(pop), RIGHT[POP3])
                self.assertEqual(capa(pop), after)
                pop.quit()
                self.assert_ended_well(pop)

    def test_stls_is_not_offered_after_the_login(self):
        pop = self.tls_door(POP3)
        pop.login()
        self.assertNotIn("STLS", capa(pop))
        pop.expect("STLS", "-ERR ")
        pop.quit()

    def test_exact_replies(self):
        """One line each, and nothing after it in clear."""
        smtp = self.tls_door(SMTP)
        smtp.hello()
        reply = smtp.expect("STARTTLS", "220 2.0.0")
        self.assertEqual(len(reply.raw), 1)
        self.assertTrue(smtp.quiet(0.05))
        upgrade(smtp, self.tls)
        self.assertTrue(smtp.quiet(0.05))   # no second greeting
        pop = self.tls_door(POP3)
        pop.expect(None, r"\+OK")
        pop.expect("STLS", r"\+OK")
        self.assertTrue(pop.quiet(0.05))
        upgrade(pop, self.tls)
        self.assertTrue(pop.quiet(0.05))    # RFC 2595 4: no greeting

    def test_any_case(self):
        for program, verbs in ((SMTP, ("starttls", "StartTLS", "STARTTLS ")),
                               (POP3, ("stls", "Stls"))):
            for verb in verbs:
                peer = self.tls_door(program)
                offers(peer)
                peer.send(f"{verb}\r\n")
                self.assertRegex(peer.line(), rb"^(220 2\.0\.0|\+OK) ")
                upgrade(peer, self.tls)
                noop(peer)

    def test_arguments(self):
        smtp = self.tls_door(SMTP)
        smtp.hello()
        for argument in ("x", "TLS", "1.3", "="):
            smtp.expect(f"STARTTLS {argument}", "501 5.5.4")
        smtp.expect("STARTTLSX", "500 5.5.1")
        start_tls(smtp, self.tls)
        smtp.ehlo()
        pop = self.tls_door(POP3)
        offers(pop)
        for argument in ("x", "TLS"):
            pop.expect(f"STLS {argument}", "-ERR ")
        start_tls(pop, self.tls)
        noop(pop)

    def test_twice(self):
        smtp = self.tls_door(SMTP)
        smtp.hello()
        start_tls(smtp, self.tls)
        smtp.ehlo()
        smtp.expect("STARTTLS", "503 5.5.1")
        smtp.expect("STARTTLS x", "50[13] 5.5.[14]")
        smtp.login()
        smtp.expect("STARTTLS", "503 5.5.1")
        self.assertRegex(str(smtp.message(b"x\n")), r"250 2\.[06]\.0")
        smtp.quit()
        pop = self.tls_door(POP3)
        offers(pop)
        start_tls(pop, self.tls)
        pop.expect("STLS", "-ERR ")
        self.assertEqual(try_login(pop), RIGHT[POP3])
        pop.expect("STLS", "-ERR ")
        pop.quit()

    def test_before_ehlo(self):
        smtp = self.tls_door(SMTP)
        smtp.expect(None, "220")
        smtp.expect("STARTTLS", "503 5.5.1")
        smtp.ehlo()
        start_tls(smtp, self.tls)

    def test_after_helo(self):
        smtp = self.tls_door(SMTP)
        smtp.expect(None, "220")
        smtp.expect("HELO c.test", "250")
        start_tls(smtp, self.tls)
        smtp.ehlo()

    def test_first_command_of_all(self):
        """POP3 has no EHLO to wait for."""
        pop = self.tls_door(POP3)
        pop.expect(None, r"\+OK")
        start_tls(pop, self.tls)
        self.assertEqual(try_login(pop), RIGHT[POP3])

    def test_other_modes_know_none(self):
        for mode in ("off", "outer", "implicit"):
            for program in BOTH:
                with self.subTest(mode=mode, program=program.name):
                    peer = self.door(
                        program, "--tls", mode, *self.certs.server.options(),
                        "--auth", "any-remote",
                        tls=self.tls if mode == "implicit" else None)
                    self.assertFalse({"STARTTLS", "STLS"} & offers(peer))
                    if program == SMTP:
                        peer.expect("STARTTLS", "50[23] 5.5.1")
                    else:
                        peer.expect("STLS", "-ERR ")
                    self.assertEqual(try_login(peer), RIGHT[program])

    def test_not_offered_where_it_cannot_work(self):
        """No greeting even, so that nobody is led to try."""
        for program in BOTH:
            for options, named in (
                    ([], "tls.crt"),
                    (["--tls-cert", self.path("gone"), "--tls-key",
                      self.certs.server.key], self.path("gone")),
                    (["--tls-cert", self.certs.server.crt, "--tls-key",
                      self.certs.stranger.key], self.certs.stranger.key)):
                self.assert_exit_78(program, "--tls", "starttls", "--auth",
                                    "any", "--maildir", self.mail, *options,
                                    named=[named])

    def test_whole_sessions(self):
        """Over a socket and pipes, TLS 1.2 and 1.3."""
        for via in ("socketpair", "pipe"):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(via=via, version=version):
                    tls = self.certs.client_context(version)
                    smtp = self.tls_door(SMTP, via=via)
                    smtp.hello("before.test")
                    start_tls(smtp, tls)
                    smtp.ehlo("after.test")
                    smtp.login()
                    smtp.message(b"Subject: x\n\nbody\n")
                    smtp.quit()
                    self.assert_ended_well(smtp)
                    path, content = self.the_message()
                    received = split_stored(content)[0][-1]
                    self.assertRegex(received, r"from after\.test .*"
                                               r"with ESMTPSA")
                    self.assertRegex(
                        received, r"\([^()]*TLSv1\."
                        + ("2" if version == ssl.TLSVersion.TLSv1_2 else "3"))
                    pop = self.tls_door(POP3, via=via)
                    pop.expect(None, r"\+OK")
                    start_tls(pop, tls)
                    self.assertEqual(try_login(pop), RIGHT[POP3])
                    octets, wire = pop.retr(1)
                    self.assertTrue(wire.endswith(b"\r\nbody\r\n"))
                    pop.quit()
                    self.assert_ended_well(pop)
                    path.unlink()


class InClear(Starttls):
    """A peer elsewhere, without TLS yet."""

    def test_smtp(self):
        users = self.users(f"joe:{hash_of('secret-pw')}")
        for mode in ("starttls", "off"):
            with self.subTest(mode=mode):
                smtp = self.tls_door(SMTP, "--tls", mode,
                                     auth=f"file:{users}", env=REMOTE)
                smtp.hello()
                for line in (f"AUTH PLAIN {plain('joe', 'secret-pw')}",
                             f"AUTH PLAIN {plain('joe', 'wrong')}",
                             "AUTH PLAIN", "AUTH LOGIN", "AUTH CRAM-MD5",
                             "AUTH"):
                    smtp.expect(line, "538 5.7.11")
                # Refused before anything is asked for or waited for
                smtp.expect("MAIL FROM:<joe@example.com>", "530 5.7.0")
                smtp.quit()
                self.assertNotIn("login", smtp.process.log())

    def test_pop3(self):
        users = self.users(f"joe:{hash_of('secret-pw')}")
        for mode in ("starttls", "off"):
            with self.subTest(mode=mode):
                pop = self.tls_door(POP3, "--tls", mode,
                                    auth=f"file:{users}", env=REMOTE)
                offers(pop)
                for line in ("USER joe", "PASS secret-pw", "AUTH",
                             "AUTH PLAIN", "AUTH LOGIN",
                             f"AUTH PLAIN {plain('joe', 'secret-pw')}"):
                    pop.expect(line, "-ERR ")
                pop.expect("STAT", "-ERR ")
                pop.quit()
                self.assertNotIn("login", pop.process.log())

    def test_then_with_tls(self):
        users = self.users(f"joe:{hash_of('secret-pw')}")
        for program in BOTH:
            peer = self.tls_door(program, auth=f"file:{users}", env=REMOTE)
            self.assertFalse(offers_login(peer))
            self.assertRegex(try_login(peer), r"^(538 5\.7\.11|-ERR)$")
            start_tls(peer, self.tls)
            if program == SMTP:
                peer.ehlo()
            self.assertEqual(try_login(peer), RIGHT[program])

    def test_mail_without_login_needs_no_tls(self):
        """As an MX."""
        smtp = self.tls_door(SMTP, "--no-auth-required", env=REMOTE)
        smtp.hello()
        self.assertRegex(str(smtp.message(b"x\n")), r"250 2\.[06]\.0")
        self.assertRegex(split_stored(self.the_message()[1])[0][-1],
                         r"with ESMTP ")


class Forgotten(Starttls):
    """RFC 3207 4.2: nothing said before the handshake counts after it."""

    def after(self, *lines, options=()):
        smtp = self.tls_door(SMTP, *options)
        smtp.hello("before.test")
        for line in lines:
            self.assertEqual(smtp.cmd(line).code // 100, 2, line)
        start_tls(smtp, self.tls)
        return smtp

    LOGIN = f"AUTH PLAIN {plain('joe', 'secret-pw')}"

    def test_the_greeting(self):
        smtp = self.after()
        for line in (self.LOGIN, "MAIL FROM:<joe@example.com>",
                     "RCPT TO:<ann@example.org>", "DATA"):
            smtp.expect(line, "503 5.5.1")

    def test_the_login(self):
        smtp = self.after(self.LOGIN)
        smtp.ehlo()
        smtp.expect("MAIL FROM:<joe@example.com>", "530 5.7.0")
        smtp.login("ann")
        smtp.message(b"x\n")
        smtp.quit()
        self.assertIn("user=ann", smtp.process.log())

    def test_the_transaction(self):
        smtp = self.after(self.LOGIN, "MAIL FROM:<joe@example.com>",
                          "RCPT TO:<mallory@example.org>")
        smtp.ehlo()
        smtp.expect("RCPT TO:<ann@example.org>", "503 5.5.1")
        smtp.expect("DATA", "503 5.5.1")
        smtp.login()
        smtp.message(b"x\n", "ann@example.com", "joe@example.org")
        content = self.the_message()[1]
        self.assertTrue(content.startswith(b"Return-Path: <ann@example.com>"))
        self.assertNotIn(b"mallory", content)
        self.assertNotIn(b"before.test", content)

    def test_the_name_before_stls(self):
        """RFC 2595 4: what was learnt before the handshake."""
        pop = self.tls_door(POP3)
        pop.expect(None, r"\+OK")
        pop.expect("USER mallory", r"\+OK")
        start_tls(pop, self.tls)
        pop.expect("PASS secret-pw", "-ERR ")
        self.assertEqual(try_login(pop, "ann"), RIGHT[POP3])
        pop.quit()
        self.assertNotIn("mallory", pop.process.log())

    def test_failed_logins_are_not_forgotten(self):
        """STARTTLS is no way to more than three tries."""
        users = self.users(f"joe:{hash_of('secret-pw')}")

        def tries(program):
            peer = self.tls_door(program, auth=f"file:{users}")
            offers(peer)
            peer.clock.go()
            try_login(peer, "joe", "wrong")
            start_tls(peer, self.tls)
            if program == SMTP:
                peer.ehlo()
            start = peer.clock.now()
            try_login(peer, "joe", "wrong")
            self.assertGreater(peer.clock.now() - start, 1.9)
            peer.close()
        self.together({program.name: lambda program=program: tries(program)
                       for program in BOTH})


class Injected(Starttls):
    """CVE-2011-0411: clear text behind the command, in its segment."""

    SMTP_LINES = (
        b"NOOP\r\n", b"EHLO evil.test\r\n", b"QUIT\r\n", b"RSET", b"\r\n",
        b"EHLO evil.test\r\nAUTH PLAIN AGpvZQB4\r\n"
        b"MAIL FROM:<mallory@evil.test>\r\n"
        b"RCPT TO:<ann@example.org>\r\nDATA\r\n",
        b"MAIL FROM:<mallory@evil.test>", b"x" * 5000 + b"\r\n",
        b"NOOP\r\n" * 1000, b"STARTTLS\r\n")
    POP3_LINES = (
        b"CAPA\r\n", b"USER mallory\r\n", b"USER mallory\r\nPASS x\r\n",
        b"QUIT\r\n", b"USER", b"\r\n", b"x" * 5000 + b"\r\n",
        b"CAPA\r\n" * 1000,
        b"STLS\r\n")

    def test_smtp(self):
        for injected in self.SMTP_LINES:
            for via in ("socketpair", "pipe"):
                with self.subTest(injected=injected[:40], via=via):
                    smtp = self.tls_door(SMTP, "--transcript", via=via)
                    smtp.hello()
                    smtp.send(b"STARTTLS\r\n" + injected)
                    smtp.expect(None, "220 2.0.0")
                    upgrade(smtp, self.tls)
                    # The first reply is to the first command in TLS
                    smtp.expect("RSET", "250 2.0.0|503 5.5.1")
                    smtp.ehlo("good.test")
                    smtp.login()
                    smtp.message(b"x\n")
                    smtp.quit()
                    path, content = self.the_message()
                    path.unlink()
                    self.assertNotIn(b"evil", content)
                    log = smtp.process.log()
                    self.assertNotIn("evil", log)
                    self.assertEqual(log.count("EHLO"), 2)

    def test_pop3(self):
        for injected in self.POP3_LINES:
            for via in ("socketpair", "pipe"):
                with self.subTest(injected=injected[:40], via=via):
                    pop = self.tls_door(POP3, "--transcript", via=via)
                    pop.expect(None, r"\+OK")
                    pop.send(b"STLS\r\n" + injected)
                    pop.expect(None, r"\+OK")
                    upgrade(pop, self.tls)
                    pop.expect("PASS x", "-ERR ")
                    self.assertEqual(try_login(pop, "ann"), RIGHT[POP3])
                    pop.quit()
                    self.assertNotIn("mallory", pop.process.log())

    def test_behind_a_pipelined_batch(self):
        """What came before the command is still answered, in clear."""
        smtp = self.tls_door(SMTP)
        smtp.expect(None, "220")
        smtp.send(b"EHLO c.test\r\nNOOP\r\nSTARTTLS\r\nNOOP\r\nNOOP\r\n")
        smtp.expect(None, "250")
        smtp.expect(None, "250 2.0.0")
        smtp.expect(None, "220 2.0.0")
        upgrade(smtp, self.tls)
        smtp.ehlo()

    def test_in_the_next_segment(self):
        """Then it is where the handshake should be: no session at all."""
        for program, verb in ((SMTP, b"STARTTLS\r\n"), (POP3, b"STLS\r\n")):
            peer = self.tls_door(program)
            offers(peer)
            peer.send(verb)
            self.assertRegex(peer.line(), rb"^(220 2\.0\.0|\+OK) ")
            peer.send(b"NOOP\r\nQUIT\r\n")
            # At most an alert in answer
            self.assertRegex(peer.rest(), rb"(?s)^(\x15\x03.*)?$")
            self.assert_ended_well(peer)
            self.assertRegex(peer.process.log(),
                             "tls-failed: peer=local reason=")

    def test_end_of_input_instead(self):
        for program, verb in ((SMTP, b"STARTTLS\r\n"), (POP3, b"STLS\r\n")):
            hello = client_hello(self.tls)
            for cut in (0, 1, 5, 60, len(hello)):
                with self.subTest(program=program.name, cut=cut):
                    peer = self.tls_door(program)
                    offers(peer)
                    peer.send(verb)
                    peer.line()
                    if cut:
                        peer.send(hello[:cut])
                    peer.end_output()
                    self.assertNotRegex(peer.rest(), rb"^(220|250|421|\+OK)")
                    self.assert_ended_well(peer)
                    self.assertIn("tls-failed: ", peer.process.log())

    def test_certificate_the_client_does_not_trust(self):
        for program in BOTH:
            peer = self.tls_door(program)
            offers(peer)
            with self.assertRaises(ssl.SSLCertVerificationError):
                start_tls(peer, ssl.create_default_context())
            self.assert_ended_well(peer)


class Names(FrontDoor):
    """Certificates by the name that the client asks for."""

    def setUp(self):
        super().setUp()
        self.pairs = []
        for name, names in (("one", "DNS:one.test,DNS:www.one.test"),
                            ("two", "DNS:two.test"),
                            ("wild", "DNS:*.wild.test")):
            pair = Pair(self.dir, name)
            # A CA file of its own beside the serial number that openssl
            # writes there
            ca = Pair(self.dir, "ca")
            if not ca.crt.exists():
                ca.crt.write_bytes(self.certs.ca.crt.read_bytes())
                ca.key.write_bytes(self.certs.ca.key.read_bytes())
            self.certs_for(pair, ca, names)
            self.pairs.append(pair)
        self.options = [option for pair in self.pairs
                        for option in pair.options()]

    def certs_for(self, pair, ca, names):
        maker = type(self.certs)(self.dir)
        maker.sign(pair, ca, names)

    CASES = (("one.test", "one"), ("www.one.test", "one"),
             ("two.test", "two"), ("TWO.test", "two"), ("a.wild.test", "wild"),
             ("b.wild.test", "wild"), ("wild.test", "one"),
             ("a.b.wild.test", "one"), ("unknown.test", "one"),
             ("one", "one"))

    def subject(self, port, *options):
        """Common name of what openssl s_client is shown."""
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}",
             "-CAfile", str(self.certs.ca.crt), "-verify_return_error",
             *options], input=b"QUIT\r\n", stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=DEADLINE)
        match = re.search(rb"^subject=CN ?= ?test (\w+)$", done.stdout, re.M)
        if not match:
            raise AssertionError(done)
        return match[1].decode()

    def test_implicit(self):
        for program in BOTH:
            server = self.serve(program, *self.options, "--auth", "any",
                                "--maildir", self.mail)
            for name, wanted in self.CASES:
                with self.subTest(program=program.name, name=name):
                    self.assertEqual(self.subject(
                        server.port, "-servername", name), wanted)
            self.assertEqual(self.subject(server.port, "-noservername"),
                             "one")

    def test_starttls(self):
        for program, protocol in ((SMTP, "smtp"), (POP3, "pop3")):
            server = self.serve(program, "--tls", "starttls", *self.options,
                                "--auth", "any", "--maildir", self.mail)
            for name, wanted in self.CASES[:6]:
                for version in ("-tls1_2", "-tls1_3"):
                    with self.subTest(program=program.name, name=name,
                                      version=version):
                        self.assertEqual(self.subject(
                            server.port, "-starttls", protocol, version,
                            "-servername", name), wanted)

    def test_sessions(self):
        """Verified by name by the client."""
        for program in BOTH:
            for name, _ in self.CASES[:6]:
                peer = self.door(program, *self.options, "--auth", "any",
                                 "--tls", "starttls")
                offers(peer)
                start_tls(peer, self.tls, name)
                if program == SMTP:
                    peer.ehlo()
                self.assertEqual(try_login(peer), RIGHT[program])

    def test_from_the_configuration_file(self):
        text = "".join(f"tls-cert = {pair.crt}\ntls-key = {pair.key}\n"
                       for pair in self.pairs)
        config = self.write("conf", f"auth = any\nmaildir = {self.mail}\n"
                            + text)
        server = self.serve(POP3, "--config", config)
        for name, wanted in self.CASES:
            self.assertEqual(self.subject(server.port, "-servername", name),
                             wanted)

    def test_from_the_credentials(self):
        """Relative names, several of them."""
        options = [option for pair in self.pairs for option in
                   ("--tls-cert", pair.crt.name, "--tls-key", pair.key.name)]
        for program in BOTH:
            server = self.serve(program, *options, "--auth", "any",
                                "--maildir", self.mail,
                                env={"CREDENTIALS_DIRECTORY": self.dir})
            for name, wanted in self.CASES[:5]:
                self.assertEqual(self.subject(
                    server.port, "-servername", name), wanted)

    def test_each_certificate_needs_its_key(self):
        one, two, _ = self.pairs
        for program in BOTH:
            for options in (
                    [*one.options(), "--tls-cert", two.crt],
                    [*one.options(), "--tls-key", two.key],
                    ["--tls-cert", one.crt, "--tls-cert", two.crt,
                     "--tls-key", one.key]):
                self.assert_exit_78(program, "--auth", "any", "--maildir",
                                    self.mail, *options,
                                    named=["--tls-cert", "--tls-key"])
            self.assert_exit_78(
                program, "--auth", "any", "--maildir", self.mail,
                *one.options(), "--tls-cert", two.crt, "--tls-key", one.key,
                named=[two.crt, one.key])
            self.assert_exit_78(
                program, "--auth", "any", "--maildir", self.mail,
                *one.options(), "--tls-cert", self.path("gone"), "--tls-key",
                two.key, named=[self.path("gone"), "No such file"])


class Protocols(FrontDoor):
    def versions(self, program, mode, *options):
        """Which a handler with these options speaks."""
        spoken = []
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            peer = self.door(program, "--tls", mode, "--auth", "any",
                             *self.certs.server.options(), *options)
            try:
                if mode == "starttls":
                    offers(peer)
                    start_tls(peer, self.certs.client_context(version))
                else:
                    upgrade(peer, self.certs.client_context(version))
                spoken.append(peer.transport.tls.version())
                peer.close()
            except ssl.SSLError:
                self.assertEqual(peer.exit_status(), 0)
                self.assertIn("tls-failed: ", peer.process.log())
            self.assertEqual(peer.process.wait(), 0)
        return spoken

    def test_lists(self):
        both = ["TLSv1.2", "TLSv1.3"]
        for text, wanted in (("secure", both), ("default", both),
                             ("tlsv1.2,tlsv1.3", both),
                             ("tlsv1.3", ["TLSv1.3"]),
                             ("tlsv1.2", ["TLSv1.2"]),
                             ("secure:!tlsv1.2", ["TLSv1.3"]),
                             ("secure,!tlsv1.3", ["TLSv1.2"]),
                             ("TLSv1.3", ["TLSv1.3"])):
            for mode in ("implicit", "starttls"):
                for program in BOTH:
                    with self.subTest(text=text, mode=mode,
                                      program=program.name):
                        self.assertEqual(self.versions(
                            program, mode, "--tls-protocols", text), wanted)

    def test_wrong(self):
        for text in ("tlsv9", "ssl", "secure,maybe", "tlsv1.2;tlsv1.3", ","):
            for program in BOTH:
                with self.subTest(text=text, program=program.name):
                    status, out, err = self.run_to_end(*self.argv(
                        program, *self.certs.server.options(), "--auth",
                        "any", "--maildir", self.mail, "--tls-protocols",
                        text))
                    self.assertIn(status, (64, 78))
                    self.assertEqual(out, "")
                    # The option, the value, and what there is
                    for part in ("--tls-protocols", f"'{text}'", "secure"):
                        self.assertIn(part, err)


class HandshakeLimit(Starttls):
    """As long as --timeout, and 30 s at most."""

    def test_in_time(self):
        hello = client_hello(self.tls)

        def stop(program, mode, start, tail, via):
            peer = self.door(program, "--tls", mode, "--auth", "any",
                             "--timeout", "1", *self.certs.server.options(),
                             via=via)
            if mode == "starttls":
                offers(peer)
                peer.send(b"STARTTLS\r\n" if program == SMTP else b"STLS\r\n")
                self.assertRegex(peer.line(), rb"^(220 2\.0\.0|\+OK) ")
            if start:
                peer.send(start)
            begin = peer.clock.go()
            self.assertTrue(drip(peer, tail, 0.1, DEADLINE))
            self.assertGreater(peer.clock.now() - begin, 0.9)
            # TLS records at most, none of a protocol
            self.assertRegex(bytes(peer.buffer),
                             rb"(?s)^([\x14-\x17]\x03.*)?$")
            self.assert_ended_well(peer)
            self.assertRegex(peer.process.log(),
                             r"tls-failed: peer=\S+ "
                             r"reason=\"[^\"]*took too long")
        scenarios = {}
        for program in BOTH:
            for mode in ("implicit", "starttls"):
                for name, start, tail, via in (
                        ("nothing", b"", b"", "socketpair"),
                        ("nothing", b"", b"", "pipe"),
                        ("half a hello", hello[:90], b"", "socketpair"),
                        ("a hello", hello, b"", "socketpair"),
                        ("a hello", hello, b"", "pipe"),
                        ("octets", b"", hello, "socketpair"),
                        ("a long record", b"\x16\x03\x01\x3f\xff\x01", b"\0",
                         "socketpair")):
                    scenarios[program.name, mode, name, via] = \
                        lambda p=program, m=mode, s=start, t=tail, v=via: \
                        stop(p, m, s, t, v)
        self.together(scenarios)

    def test_slow_is_not_stopped(self):
        """A handshake in small pieces within its time."""
        for program in BOTH:
            peer = self.door(program, "--auth", "any",
                             *self.certs.server.options())
            hello = client_hello(self.tls)
            for i in range(0, 300, 3):
                peer.send(hello[i:i + 3])
                taken(peer)
            self.assertTrue(peer.quiet(0))
            peer.close()
            self.assertEqual(peer.process.wait(), 0)


class CloseNotify(Starttls):
    """However an orderly end comes about, TLS is told of it: rest() raises
    where it is not (certs.py)."""

    def doors(self, program, *options):
        """A session of each version, implicit and started."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            tls = self.certs.client_context(version)
            peer = self.door(program, "--auth", "any", *options,
                             *self.certs.server.options(), tls=tls)
            yield peer
            peer = self.tls_door(program, *options)
            offers(peer)
            start_tls(peer, tls)
            yield peer

    def greet(self, peer):
        if peer.transport.__class__.__name__ == "BioTransport":
            if isinstance(peer, SmtpPeer):
                peer.ehlo()
        else:
            offers(peer)

    def test_killed_handlers_are_noticed(self):
        """Else the tests below could not fail."""
        for program in BOTH:
            for peer in self.doors(program):
                self.greet(peer)
                peer.process.process.kill()
                with self.assertRaises(OSError):
                    peer.rest()

    def test_quit(self):
        for program in BOTH:
            for peer in self.doors(program):
                self.greet(peer)
                peer.send("QUIT\r\n")
                self.assertRegex(peer.rest(), rb"^(221 2\.0\.0|\+OK) ")
                self.assert_ended_well(peer)

    def test_time_out(self):
        sessions = [peer for program in BOTH
                    for peer in self.doors(program, "--timeout", "1")]
        for peer in sessions:
            self.greet(peer)
        for peer in sessions:
            peer.clock.go()
            self.assertRegex(peer.rest(), rb"^421 4\.4\.2 .*\r\n$"
                             if isinstance(peer, SmtpPeer) else rb"^$")
            self.assert_ended_well(peer)

    def test_sigterm(self):
        for program in BOTH:
            for peer in self.doors(program):
                self.greet(peer)
                os.kill(peer.process.pid, 15)
                self.assertRegex(peer.rest(), rb"^421 4\.3\.2 .*\r\n$"
                                 if program == SMTP else rb"^$")
                self.assert_ended_well(peer)

    def test_too_many_bad_commands(self):
        for program, last in ((SMTP, rb"(500 .*\r\n){19}421 4\.7\.0 .*\r\n"),
                              (POP3, rb"(-ERR .*\r\n){20}")):
            for peer in self.doors(program):
                self.greet(peer)
                peer.send(b"XYZZY\r\n" * 30)
                self.assertRegex(peer.rest(), rb"^" + last + rb"$")
                self.assert_ended_well(peer)

    def test_smuggling(self):
        for peer in self.doors(SMTP):
            self.greet(peer)
            peer.login()
            peer.envelope()
            peer.expect("DATA", "354")
            peer.send(b"x\r\n.\nMAIL FROM:<mallory@evil.test>\r\n")
            self.assertRegex(peer.rest(), rb"^521 5\.5\.2 .*\r\n$")
            self.assert_ended_well(peer)
        self.assert_nothing_kept()

    def test_answered_when_the_peer_closes(self):
        """close_notify against close_notify, at any time."""
        for program in BOTH:
            for peer in self.doors(program):
                self.greet(peer)
                peer.end_output()
                self.assertEqual(peer.rest(), b"")
                self.assert_ended_well(peer)


class Clients(Starttls):
    """Real ones, over STARTTLS and STLS."""

    TEXT = (b"From: joe@example.com\nTo: ann@example.org\n"
            b"Subject: by starttls\nMessage-ID: <1@example.com>\n"
            b"Date: Fri, 21 Nov 2025 06:47:00 +0000\n\n.dot\nbody\n")

    def setUp(self):
        super().setUp()
        auth = f"file:{self.users('joe:' + hash_of('secret-pw'))}"
        options = ["--tls", "starttls", *self.certs.server.options(),
                   "--auth", auth, "--maildir", self.mail]
        # To these peers nothing but TLS will do
        self.smtp_server = self.serve(SMTP, *options, env=REMOTE)
        self.pop3_server = self.serve(POP3, *options, env=REMOTE)

    def run_client(self, *argv, text=b""):
        done = subprocess.run(
            [str(arg) for arg in argv], input=text, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=DEADLINE, cwd=self.dir,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.dir)})
        print(done.args, done.stderr.decode("utf-8", "replace"))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def assert_sent(self):
        path, content = self.the_message()
        fields, text = split_stored(content)
        self.assertEqual(text, self.TEXT)
        self.assertRegex(fields[-1], r"with (E|UTF8)SMTPSA.*TLSv1\.")
        self.assertEqual(set(self.smtp_server.wait_all()), {0})
        return content

    def assert_fetched(self, wire):
        self.assertEqual(wire, self.the_message()[1].replace(b"\n", b"\r\n"))
        self.assertEqual(set(self.pop3_server.wait_all()), {0})

    def test_curl(self):
        letter = self.write("letter", self.TEXT.replace(b"\n", b"\r\n"))
        common = ["curl", "--silent", "--show-error", "--ssl-reqd",
                  "--cacert", self.certs.ca.crt, "--user", "joe:secret-pw"]
        self.run_client(*common, "--url",
                        f"smtp://localhost:{self.smtp_server.port}/c.test",
                        "--mail-from", "joe@example.com", "--mail-rcpt",
                        "ann@example.org", "--upload-file", letter)
        self.assert_sent()
        self.assert_fetched(self.run_client(
            *common, f"pop3://localhost:{self.pop3_server.port}/1"))

    def test_python(self):
        with smtplib.SMTP("localhost", self.smtp_server.port,
                          timeout=DEADLINE) as smtp:
            smtp.starttls(context=self.tls)
            smtp.login("joe", "secret-pw")
            smtp.sendmail("joe@example.com", ["ann@example.org"],
                          self.TEXT.replace(b"\n", b"\r\n"))
        content = self.assert_sent()
        pop = poplib.POP3("localhost", self.pop3_server.port,
                          timeout=DEADLINE)
        self.assertIn("STLS", pop.capa())
        pop.stls(self.tls)
        self.assertNotIn("STLS", pop.capa())
        pop.user("joe")
        pop.pass_("secret-pw")
        self.assertEqual(pop.stat(), (1, model.octets(content)))
        wire = b"".join(line + b"\r\n" for line in pop.retr(1)[1])
        pop.quit()
        self.assert_fetched(wire)

    def test_swaks(self):
        self.write("letter", self.TEXT)
        self.run_client(
            "swaks", "--server", "localhost", "--port", self.smtp_server.port,
            "--tls", "--tls-verify", "--tls-ca-path", self.certs.ca.crt,
            "--auth", "LOGIN", "--auth-user", "joe", "--auth-password",
            "secret-pw", "--from", "joe@example.com", "--to",
            "ann@example.org", "--data", "@letter", "--suppress-data")
        _, content = self.the_message()
        self.assertIn(b"Subject: by starttls\n", content)
        self.assertRegex(split_stored(content)[0][-1], "with ESMTPSA")

    def test_msmtp(self):
        self.run_client(
            "msmtp", "--host=localhost", f"--port={self.smtp_server.port}",
            "--tls=on", "--tls-starttls=on", "--auth=plain", "--user=joe",
            "--passwordeval=echo secret-pw", f"--tls-trust-file="
            f"{self.certs.ca.crt}", "--from=joe@example.com", "--",
            "ann@example.org", text=self.TEXT)
        self.assert_sent()

    def test_mpop(self):
        self.put("new/1", self.TEXT)
        self.make_maildir(self.path("fetched"))
        self.run_client(
            "mpop", "--host=localhost", f"--port={self.pop3_server.port}",
            "--tls=on", "--tls-starttls=on", "--auth=user", "--user=joe",
            "--passwordeval=echo secret-pw", "--keep=on", "--received-header"
            "=off", f"--tls-trust-file={self.certs.ca.crt}",
            f"--delivery=maildir,{self.path('fetched')}")
        got, = [path.read_bytes()
                for path in (self.path("fetched") / "new").iterdir()]
        self.assertEqual(got, self.TEXT)

    def test_openssl(self):
        self.put("new/1", self.TEXT)
        out = self.run_client(
            "openssl", "s_client", "-connect",
            f"127.0.0.1:{self.pop3_server.port}", "-starttls", "pop3",
            "-CAfile", self.certs.ca.crt, "-verify_return_error", "-quiet",
            "-servername", "localhost",
            text=b"USER joe\r\nPASS secret-pw\r\nTOP 1 0\r\nQUIT\r\n")
        self.assertRegex(out, rb"\r\nSubject: by starttls\r\n(?s:.*)\r\n\r\n"
                              rb"\.\r\n\+OK.*\r\n$")
        letter = smtp_wire(self.TEXT)
        self.run_client(
            "openssl", "s_client", "-connect",
            f"127.0.0.1:{self.smtp_server.port}", "-starttls", "smtp",
            "-CAfile", self.certs.ca.crt, "-verify_return_error", "-quiet",
            "-servername", "localhost",
            text=b"EHLO c.test\r\nAUTH PLAIN "
            + plain("joe", "secret-pw").encode()
            + b"\r\nMAIL FROM:<joe@example.com>\r\nRCPT TO:<ann@example.org>"
            b"\r\nDATA\r\n" + letter + b"QUIT\r\n")
        texts = {split_stored(content)[1] for content
                 in self.stored().values()}
        self.assertEqual(texts, {self.TEXT})
        self.assertEqual(len(self.stored()), 2)
