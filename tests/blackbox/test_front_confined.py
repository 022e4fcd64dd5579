"""What a session that was taken over can still do.  A library that is loaded
into the program makes it hostile: on a line that begins with ATTACK it does
what the line says, with all that the process may do, and tells the outcome.
mail-handlers(7), Security."""

import os
import socket

from frontdoor import (BOTH, KIND, RIGHT, FrontDoor, hash_of, noop, offers,
                       preload, try_login)
from mailtest import HELPERS, POP3, SANITIZED, SMTP
from nexthop import ScriptedHop

SHIM = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int
attack(const char *what, const char *on)
{
	char octet;

	if (strcmp(what, "read") == 0) {
		int fd = open(on, O_RDONLY);
		return fd < 0 || read(fd, &octet, 1) < 0 ? -1 : 0;
	}
	if (strcmp(what, "list") == 0)
		return open(on, O_RDONLY | O_DIRECTORY);
	if (strcmp(what, "write") == 0)
		return open(on, O_WRONLY | O_CREAT, 0600);
	if (strcmp(what, "truncate") == 0)
		return truncate(on, 0);
	if (strcmp(what, "move") == 0)
		return rename(on, "/var/tmp/moved");
	if (strcmp(what, "remove") == 0)
		return unlink(on);
	if (strcmp(what, "chdir") == 0)
		return mkdir(on, 0700);
	if (strcmp(what, "execute") == 0) {
		char *const argv[] = { (char *)on, NULL };
		return execve(on, argv, NULL);
	}
	if (strcmp(what, "fork") == 0) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		return pid;
	}
	if (strcmp(what, "kill") == 0)
		return kill(atoi(on), 0);
	if (strcmp(what, "trace") == 0)
		return (int)ptrace(PTRACE_ATTACH, atoi(on), NULL, NULL);
	if (strcmp(what, "connect") == 0) {
		struct sockaddr_in in = {
			.sin_family = AF_INET,
			.sin_port = htons((unsigned short)atoi(on)),
			.sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) },
		};
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		return fd < 0 ? -1 : connect(fd, (void *)&in, sizeof(in));
	}
	errno = EINVAL;
	return -1;
}

ssize_t
recv(int fd, void *data, size_t size, int flags)
{
	ssize_t (*real)(int, void *, size_t, int) =
	    dlsym(RTLD_NEXT, "recv");
	ssize_t n = real(fd, data, size, flags);
	char line[4096], what[32], on[4000], said[64];

	if (n < 8 || n >= (ssize_t)sizeof(line) ||
	    memcmp(data, "ATTACK ", 7) != 0)
		return n;
	memcpy(line, data, (size_t)n);
	line[n] = '\0';
	if (sscanf(line, "ATTACK %31s %3999s", what, on) != 2)
		abort();
	int result = attack(what, on);
	int len = snprintf(said, sizeof(said), "%s\r\n",
	    result < 0 ? strerrorname_np(errno) : "done");
	send(fd, said, (size_t)len, 0);
	errno = EAGAIN;
	return -1;
}
"""

NO = ("EACCES", "EPERM", "EXDEV")


class Confined(FrontDoor):
    def setUp(self):
        super().setUp()
        if SANITIZED:
            self.skipTest("AddressSanitizer needs what a session gives up")
        for name in ("joe", "anna"):
            self.make_maildir(self.mail / name)
            (self.mail / name / "cur" / f"{name}:2,").write_text(
                "Subject: x\n\nx\n")
        self.users_file = self.users(f"joe:{hash_of('secret-pw')}",
                                     f"anna:{hash_of('another')}")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.port = self.listener.getsockname()[1]
        self.env = preload("attack_shim", SHIM)

    def begin(self, program, *options, auth=None):
        return self.spawn(program, "--tls", "off", "--auth",
                          auth or f"file:{self.users_file}", "--maildir",
                          self.mail / "%u", *options, env=self.env,
                          kind=KIND[program])

    def attack(self, peer, what, on):
        peer.send(f"ATTACK {what} {on}\r\n")
        return peer.line().decode().strip()

    def assert_cannot(self, peer, *attacks):
        for what, on in attacks:
            with self.subTest(attack=what, on=str(on)):
                self.assertIn(self.attack(peer, what, on), NO)

    def assert_can(self, peer, *attacks):
        for what, on in attacks:
            with self.subTest(attack=what, on=str(on)):
                self.assertEqual(self.attack(peer, what, on), "done")

    def calls(self):
        """What no session is to do, logged in or not."""
        return (("execute", "/bin/true"), ("fork", "0"),
                ("kill", os.getpid()), ("trace", os.getpid()),
                ("connect", self.port))

    def files(self):
        """What no session that has logged in is to do."""
        key = self.certs.server.key
        return (("read", key), ("read", self.users_file),
                ("read", "/etc/passwd"), ("list", "/"), ("list", self.dir),
                ("write", self.dir / "new"), ("truncate", key),
                ("remove", key), ("chdir", self.dir / "folder"))

    def test_before_a_login(self):
        """Files are open to it still: the login needs them."""
        for program in BOTH:
            peer = self.begin(program)
            offers(peer)
            self.assert_cannot(peer, *self.calls())
            self.assert_can(peer, ("read", self.certs.server.key))
            self.assertTrue(try_login(peer).startswith(RIGHT[program]))

    def logged_in(self, program, *options):
        peer = self.begin(program, *options)
        offers(peer)
        self.assertTrue(try_login(peer).startswith(RIGHT[program]))
        return peer

    def test_pop3(self):
        peer = self.logged_in(POP3)
        anna = self.mail / "anna"
        self.assert_cannot(
            peer, *self.calls(), *self.files(),
            ("list", anna), ("list", anna / "cur"),
            ("read", anna / "cur" / "anna:2,"),
            ("read", self.mail / "joe" / ".." / "anna" / "cur" / "anna:2,"),
            ("remove", anna / "cur" / "anna:2,"),
            ("write", anna / "new" / "forged"),
            ("remove", self.mail / "joe" / "cur" / "joe:2,"),
            ("write", self.mail / "joe" / "new" / "forged"))
        self.assert_can(peer, ("read", self.mail / "joe/cur/joe:2,"))
        noop(peer)
        self.assertIn(b"Subject: x", b"".join(
            part for part in peer.retr(1) if isinstance(part, bytes)))
        peer.quit()

    def test_pop3_with_deletion_and_cache(self):
        cache = self.path("cache")
        cache.mkdir()
        peer = self.logged_in(POP3, "--allow-delete", "--cache-dir", cache)
        anna = self.mail / "anna"
        self.assert_cannot(
            peer, *self.calls(), *self.files(),
            ("read", anna / "cur" / "anna:2,"),
            ("remove", anna / "cur" / "anna:2,"))
        self.assert_can(peer, ("write", self.mail / "joe/tmp/own"),
                        ("write", cache / "own"))
        peer.expect("DELE 1", r"\+OK")
        peer.quit()
        self.assert_ended_well(peer)
        self.assertEqual(list((self.mail / "joe" / "cur").iterdir()), [])

    def new(self, name):
        return list((self.mail / name / "new").iterdir())

    def assert_reads_no_mail(self, peer):
        """Not by a way round either: to where it may read."""
        for name in ("joe", "anna"):
            mail = self.mail / name / "cur" / f"{name}:2,"
            self.assert_cannot(peer, ("read", mail), ("move", mail))

    def test_smtp(self):
        """All maildirs may get mail, and none is read; what is in no maildir
        is closed."""
        peer = self.logged_in(SMTP)
        self.assert_cannot(peer, *self.calls(), *self.files())
        self.assert_reads_no_mail(peer)
        peer.message(b"Subject: x\n\nx\n", "joe@example.com",
                     "anna@mail.test")
        peer.message(b"Subject: x\n\ny\n", "joe@example.com",
                     "anna@mail.test", "joe@mail.test")
        for name, n in ("anna", 2), ("joe", 1):
            self.assertEqual(len(self.new(name)), n)
        self.assertTrue(self.new("joe")[0].read_bytes().endswith(b"\n\ny\n"))
        peer.quit()

    def test_smtp_without_a_login(self):
        """From the first accepted recipient on.  There may be a login yet,
        which reads the users."""
        peer = self.begin(SMTP, "--no-auth-required")
        peer.hello()
        peer.envelope("eve@example.com", "anna@mail.test")
        self.assert_cannot(peer, *self.calls(), *[
            one for one in self.files() if one[1] != self.users_file])
        peer.expect("RSET", "250 2.0.0")
        peer.login()
        peer.quit()

    def test_smtp_with_a_relay(self):
        """It makes connections; starting programs and the key stay shut."""
        hop = ScriptedHop(self)
        accounts = self.write(
            "accounts", f"* smtp+plain://127.0.0.1:{hop.port}\n")
        peer = self.logged_in(SMTP, "--relay", accounts)
        self.assert_cannot(
            peer, *[one for one in self.calls() if one[0] != "connect"],
            *self.files())
        self.assert_can(peer, ("connect", self.port))
        self.assert_reads_no_mail(peer)
        peer.message(b"Subject: x\n\nx\n", "joe@example.com",
                     "a@elsewhere.test", "anna@mail.test")
        self.assertEqual(len(hop.messages), 1)
        self.assertEqual(len(self.new("anna")), 1)
        peer.quit()

    def test_checkpassword(self):
        """It is run by another process, and not bound."""
        passwords = self.write("passwords", "joe secret-pw\n")
        for program in BOTH:
            peer = self.begin(
                program, auth=f"exec:{HELPERS / 'checkpassword.sh'} "
                f"{passwords} true")
            offers(peer)
            self.assert_cannot(peer, *self.calls())
            self.assertTrue(try_login(peer).startswith(RIGHT[program]))
            self.assert_cannot(peer, *self.calls(), *self.files())

    def test_hooks_are_not_bound(self):
        """Another process runs them; the session is confined all the same."""
        seen = self.path("seen")
        hook = self.write(
            "hook", f"#!/bin/sh\nhead -c 9 '{self.certs.server.key}' "
            f">>'{seen}' && cat >>'{seen}' && cat <&3 >>'{seen}'\n", 0o755)
        peer = self.logged_in(SMTP, "--on-message", str(hook),
                              "--on-recipient", str(hook))
        self.assert_cannot(peer, *self.calls(), *self.files())
        self.assert_reads_no_mail(peer)
        peer.message(b"Subject: x\n\nx\n", "joe@example.com",
                     "anna@mail.test")
        peer.quit()
        self.assertRegex(
            seen.read_text(), "(?s)^-----BEGIanna@mail.test\n"
            "-----BEGIReturn-Path: .*\nx\nanna@mail.test\n$")
        self.assertEqual(len(self.new("anna")), 1)
