"""Secrets are in memory only while they are needed: the process is searched at
each stage of a session.  mail-handlers(7), Security.  For passwords that
clients send see test_front_logins.Secrets."""

import base64
import re
import subprocess

from frontdoor import (BOTH, RIGHT, WRONG, FrontDoor, find_in_memory, hash_of,
                       noop, offers, start_tls, try_login, upgrade)
from mailtest import SANITIZED, SMTP, wait_for

RELAY_SECRET = "r3lay-s3cret-of-ours"


class Memory(FrontDoor):
    def setUp(self):
        super().setUp()
        self.need_root("look into processes")
        if SANITIZED:
            self.skipTest("a sanitizer keeps what others have freed")
        hashes = [hash_of("secret-pw"), hash_of("another")]
        self.users_file = self.users(f"joe:{hashes[0]}", f"ann:{hashes[1]}",
                                     f"#old:{hash_of('old')}")
        text = self.certs.server.key.read_text()
        body = "".join(text.splitlines()[1:-1])
        self.needles = {
            **{one.split("$")[-1].encode(): "a hash" for one in re.findall(
                r"\$6\$\S+", self.users_file.read_text())},
            text.splitlines()[2].encode(): "the key's file",
            base64.b64decode(body)[10:40]: "the key's DER",
            RELAY_SECRET.encode(): "the relay's password"}
        accounts = self.write(
            "accounts", f"* smtps://localhost:1 relay-user {RELAY_SECRET}\n")
        self.relay = ("--relay", accounts)

    def number(self):
        """The private key's, as ASN.1 has it and as libcrypto does."""
        text = subprocess.run(
            ["openssl", "pkey", "-noout", "-text", "-in",
             self.certs.server.key], stdout=subprocess.PIPE, check=True,
            timeout=200).stdout.decode()
        octets = bytes.fromhex(re.sub(
            r"[\s:]", "", re.search(r"priv:\n((?:\s+[0-9a-f:]+\n)+)",
                                    text)[1]))
        return octets

    def found(self, peer):
        return {self.needles[needle] for needle in find_in_memory(
            peer.process.pid, set(self.needles))}

    def begin(self, program, *options):
        return self.door(program, *self.certs.server.options(), "--auth",
                         f"file:{self.users_file}",
                         *(self.relay if program == SMTP else ()), *options)

    def stages(self, program, peer, secure):
        """Each is searched after it."""
        yield "connected"
        secure()
        yield "TLS"
        self.assertEqual(try_login(peer, "joe", "wrong"), WRONG[program])
        yield "a failed login"
        self.assertEqual(try_login(peer, "nobody", "wrong"), WRONG[program])
        yield "an unknown name"
        self.assertTrue(try_login(peer).startswith(RIGHT[program]))
        yield "a login"
        noop(peer)
        yield "a command"

    def check(self, program, peer, secure):
        for stage in self.stages(program, peer, secure):
            with self.subTest(program=program.name, stage=stage):
                self.assertEqual(self.found(peer), set())

    def test_implicit(self):
        for program in BOTH:
            peer = self.begin(program)
            # It has sent nothing yet: wait until it waits for a handshake
            self.in_poll(peer)

            def secure(peer=peer):
                upgrade(peer, self.tls)
                offers(peer)
            self.check(program, peer, secure)

    def test_starttls(self):
        for program in BOTH:
            peer = self.begin(program, "--tls", "starttls")
            offers(peer)

            def secure(program=program, peer=peer):
                start_tls(peer, self.tls)
                if program == SMTP:
                    peer.ehlo()
            self.check(program, peer, secure)

    def in_poll(self, peer):
        """Until its log tells that it has a connection."""
        wait_for(lambda: " connect: " in peer.process.log(), "the connection")

    def test_the_search_finds_something(self):
        """Before a handshake libcrypto must have the key's number; what is
        left of it afterwards is libcrypto's own copy, for as long as the
        connection: libtls has no call to forget it."""
        peer = self.begin(SMTP)
        self.in_poll(peer)
        number = self.number()
        self.assertTrue(find_in_memory(peer.process.pid,
                                       {number, number[::-1]}))
        upgrade(peer, self.tls)
        offers(peer)
        self.assertEqual(find_in_memory(peer.process.pid, {number}), set())

    def test_a_password_that_was_changed(self):
        """Counts at once: the file is read for each login."""
        for program in BOTH:
            users = self.users(f"joe:{hash_of('before')}",
                               name=f"users.{program.name}")
            peer = self.door(program, "--tls", "off", "--auth",
                             f"file:{users}")
            offers(peer)
            users.write_text(f"joe:{hash_of('after')}\n")
            self.assertEqual(try_login(peer, "joe", "before"), WRONG[program])
            self.assertTrue(try_login(peer, "joe", "after").startswith(
                RIGHT[program]))
