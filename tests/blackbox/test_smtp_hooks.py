"""smtp-handler's hooks: --on-recipient, --on-message, --hook-timeout.
smtp-handler(8), HOOKS."""

import json
import os
import re
import shlex
import signal
import sys
import time

from certs import certificates
from frontdoor import alive
from mailtest import (HOST, SMTP, SmtpPeer, TestCase, smtp_wire, split_stored,
                      wait_for)
from nexthop import ScriptedHop

TEXT = b"Subject: x\n\n.dot\nbody\n"
# Tells in REPORT what it was given, as JSON, then does what it is told to.
WITNESS = r"""
import json, os, sys, time
report, *then = sys.argv[1:]
fds = {}
for name in os.listdir("/proc/self/fd"):
    try:
        fds[name] = os.readlink("/proc/self/fd/" + name)
    except FileNotFoundError:
        pass
flags = open("/proc/self/fdinfo/0").read()
said = {"environment": dict(os.environ), "fds": fds, "pid": os.getpid(),
        "flags": int(flags.split("flags:")[1].split()[0], 8) & 3,
        "offset": os.lseek(0, 0, os.SEEK_CUR) if os.path.isfile(
            "/proc/self/fd/0") else 0}
said["input"] = open(0, "rb", closefd=False).read().decode("latin-1")
said["recipients"] = open(3).read().splitlines()
with open(report, "a") as file:
    file.write(json.dumps(said) + "\n")
exec("\n".join(then))
"""



def without_to(stored):
    """What a hook is shown of a stored message: for whom it is is told
    apart from it."""
    return re.sub(rb"X-Envelope-To: [^\n]*\n", b"", stored)


class Hooks(TestCase):
    def hook(self, *then):
        """A command that reports; then Python statements."""
        script = self.path("witness.py")
        script.write_text(WITNESS)
        self.report = self.path("report")
        return shlex.join([sys.executable, str(script), str(self.report),
                           *then])

    def reports(self):
        if not self.report.exists():
            return []
        return [json.loads(line)
                for line in self.report.read_text().splitlines()]

    def shell(self, script):
        return shlex.join(["sh", "-c", script])

    def session(self, *options, **kwargs):
        return self.smtp(*options, **kwargs).ready()

    def send(self, *options, wanted, text=TEXT, **kwargs):
        smtp = self.session(*options, **kwargs)
        reply = smtp.message(text)
        self.assertRegex(str(reply) + " " + " ".join(reply.texts), wanted)
        smtp.expect("NOOP", "250 2.0.0")
        smtp.quit()
        smtp.process.wait()
        return smtp.process.log()


class Given(Hooks):
    """What a hook finds."""

    def test_message(self):
        smtp = self.session("--on-message", self.hook(), env={
            "CREDENTIALS_DIRECTORY": self.dir, "LISTEN_FDNAMES": "x",
            "NOTIFY_SOCKET": "/x", "JOURNAL_STREAM": "1:2", "SECRET": "s",
            "LC_TIME": "C", "TZ": "UTC", "TMPDIR": self.dir,
            "LANG": "C.UTF-8", "HOME": "/root"})
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        for name in ("ann@example.org", '"b ob,"@example.org'):
            smtp.expect(f"RCPT TO:<{name}>", "250 2.1.5")
        reply = smtp.text(smtp_wire(TEXT))
        self.assertEqual(str(reply), "250 2.0.0")
        self.assertRegex(reply.texts[0], "^Ok, kept as ")
        smtp.quit()
        (report,) = self.reports()
        path, stored = self.the_message()
        self.assertEqual(report["input"].encode(), without_to(stored))
        self.assertEqual((report["offset"], report["flags"]),
                         (0, os.O_RDONLY))
        fields, text = split_stored(stored)
        self.assertEqual(text, TEXT)
        self.assertRegex(fields[0], "^Return-Path: <joe@example.com>")
        recipients = ["ann@example.org", '"b ob,"@example.org']
        self.assertEqual(report["recipients"], recipients)
        environment = report["environment"]
        identification = environment.pop("MAIL_ID")
        self.assertIn(f"id {identification}", fields[-1])
        # What Python adds to the C locale
        environment.pop("LC_CTYPE", None)
        self.assertEqual(environment, {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "LC_TIME": "C",
            "LC_ALL": "C", "TZ": "UTC", "HOME": "/root",
            "TMPDIR": str(self.dir),
            "MAIL_EVENT": "message", "MAIL_PEER": "local",
            "MAIL_HELO": "client.test", "MAIL_USER": "joe", "MAIL_TLS": "",
            "MAIL_PROTOCOL": "ESMTPA", "MAIL_SENDER": "joe@example.com",
            "MAIL_RECIPIENTS": "\n".join(recipients),
            "MAIL_RECIPIENT_COUNT": "2",
            "MAIL_SIZE": str(len(smtp_wire(TEXT)) - len(".\r\n") - 1)})
        self.assert_four(report["fds"], report["pid"])

    def assert_four(self, fds, pid):
        """Descriptors 0 to 3, and the listing's own."""
        others = {fd: target for fd, target in fds.items()
                  if target != f"/proc/{pid}/fd"}
        self.assertEqual(sorted(others), ["0", "1", "2", "3"], fds)
        self.assertNotRegex(str(others), "socket:")

    def test_recipient(self):
        smtp = self.session("--on-recipient", self.hook(), tls=None)
        smtp.expect("MAIL FROM:<> SIZE=77", "250 2.1.0")
        for name in ("ann@example.org", "bob@example.org"):
            smtp.expect(f"RCPT TO:<{name}>", "250 2.1.5")
        first, second = self.reports()
        self.assertEqual(second["recipients"], ["bob@example.org"])
        self.assertEqual((first["input"], first["fds"]["0"]),
                         ("", "/dev/null"))
        environment = {name: value for name, value
                       in second["environment"].items()
                       if name.startswith("MAIL_")}
        environment.pop("MAIL_ID")
        self.assertEqual(environment, {
            "MAIL_EVENT": "recipient", "MAIL_PEER": "local",
            "MAIL_HELO": "client.test", "MAIL_USER": "joe", "MAIL_TLS": "",
            "MAIL_PROTOCOL": "ESMTPA", "MAIL_SENDER": "",
            "MAIL_RECIPIENT": "bob@example.org", "MAIL_RECIPIENT_COUNT": "1",
            "MAIL_SIZE": "77"})
        self.assert_four(first["fds"], first["pid"])

    def test_under_tls_and_without_login(self):
        certs = certificates()
        smtp = self.spawn(SMTP, *certs.server.options(), "--no-auth-required",
                          "--maildir", self.mail, "--on-message", self.hook(),
                          kind=SmtpPeer, tls=certs.client_context())
        smtp.hello("$(id);'x'")
        self.assertEqual(str(smtp.message(TEXT)), "250 2.0.0")
        environment = self.reports()[0]["environment"]
        self.assertRegex(environment["MAIL_TLS"], r"^TLSv1\.3 TLS_\w+$")
        self.assertEqual(environment["MAIL_PROTOCOL"], "ESMTPS")
        self.assertEqual(environment["MAIL_HELO"], "unknown")
        self.assertEqual(environment["MAIL_USER"], "")

    def test_a_thousand_recipients(self):
        """Of 254 octets each: no environment holds them, descriptor 3 does."""
        names = [f"{n:04}{'l' * 60}@{'d' * 63}.{'e' * 63}.{'f' * 57}.org"
                 for n in range(1000)]
        self.assertEqual({len(name) for name in names}, {254})
        smtp = self.session("--on-message", self.hook())
        smtp.expect("MAIL FROM:<>", "250 2.1.0")
        smtp.send("".join(f"RCPT TO:<{name}>\r\n" for name in names))
        for _ in names:
            smtp.expect(None, "250 2.1.5")
        self.assertEqual(str(smtp.text(smtp_wire(TEXT))), "250 2.0.0")
        (report,) = self.reports()
        self.assertEqual(report["recipients"], names)
        told = report["environment"]["MAIL_RECIPIENTS"]
        self.assertLessEqual(len(told), 65536)
        self.assertGreater(len(told), 65536 - 512)
        self.assertEqual(told.split("\n"), names[:len(told.split("\n"))])
        self.assertEqual(report["environment"]["MAIL_RECIPIENT_COUNT"],
                         "1000")

    def test_message_cannot_be_changed(self):
        """Not by the descriptor, and what one hook has read the next one
        reads from its beginning."""
        change = self.hook("try: os.write(0, b'evil')",
                           "except OSError: pass",
                           "else: sys.exit(77)")
        self.send("--on-message", change, "--on-message", change,
                  wanted="250 2.0.0")
        first, second = self.reports()
        self.assertEqual(first["input"], second["input"])
        self.assertEqual(without_to(self.the_message()[1]).decode(),
                         first["input"])


class Decides(Hooks):
    """Exit status and output."""

    STATUSES = {0: "250 2.0.0", 99: "250 2.0.0", 100: "550 5.7.1",
                77: "550 5.7.1", 65: "550 5.6.0", 67: "550 5.1.1",
                69: "550 5.3.0"}

    def test_every_status(self):
        """0 to 255, in one session each: by the status that the message
        asks for."""
        script = ('exit $(sed -n "s/^Subject: //p" | head -n 1)')
        smtp = self.session("--on-message", self.shell(script))
        for status in range(256):
            reply = smtp.message(b"Subject: %d\n\n" % status)
            self.assertEqual(str(reply),
                             self.STATUSES.get(status, "451 4.7.1"), status)
        smtp.quit()
        self.assertEqual(len(self.stored()), 1)

    def test_every_status_of_a_recipient(self):
        script = 'exit ${MAIL_RECIPIENT%@*}'
        smtp = self.session("--on-recipient", self.shell(script))
        smtp.expect("MAIL FROM:<>", "250 2.1.0")
        wanted = {**self.STATUSES, 0: "250 2.1.5", 99: "250 2.1.5"}
        for status in range(256):
            smtp.expect(f"RCPT TO:<{status}@example.org>",
                        wanted.get(status, "451 4.7.1").replace(".", r"\."))

    def test_every_signal(self):
        script = "ulimit -c 0; kill -${MAIL_RECIPIENT%@*} $$; exit 0"
        smtp = self.session("--on-recipient", self.shell(script))
        smtp.expect("MAIL FROM:<>", "250 2.1.0")
        ignored = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG,
                   signal.SIGWINCH}
        stops = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN,
                 signal.SIGTTOU}
        for number in range(1, 32):
            if number in stops:
                continue
            smtp.expect(f"RCPT TO:<{number}@example.org>",
                        "250 2.1.5" if number in ignored else "451 4.7.1")
        self.assertEqual(smtp.process.log().count("hook-failed"),
                         31 - len(ignored) - len(stops))

    def test_output(self):
        for output, status, wanted in (
                ("550 5.7.13 Not today", 77, "550 5.7.13 Not today$"),
                ("Not today", 77, "550 5.7.1 Not today$"),
                ("452 4.2.2 Full", 75, "452 4.2.2 Full$"),
                ("Queued as 4711", 0, "250 2.0.0 Queued as 4711$"),
                ("250 2.6.0 Fine", 99, "250 2.6.0 Fine$"),
                ("tab\\there \\303\\274\\033[0m", 77,
                 r"550 5\.7\.1 tab\?here \?\?\?\[0m$"),
                ("x" * 500, 77, f"550 5.7.1 {'x' * 400}$"),
                ("one\\ntwo", 77, "550 5.7.1 one$")):
            with self.subTest(output=output):
                script = f"printf '{output}\\n'; exit {status}"
                self.send("--on-message", self.shell(script), wanted=wanted)

    def test_output_of_another_class(self):
        for output, status, wanted in (
                ("250 2.0.0 Fine", 77, "550 5.7.1 Not permitted$"),
                ("550 5.0.0 No", 0, "250 2.0.0 Ok, kept as"),
                ("550 No", 75, "451 4.7.1 Try again later$")):
            with self.subTest(output=output):
                log = self.send("--on-message", self.shell(
                    f"echo '{output}'; exit {status}"), wanted=wanted)
                self.assertRegex(log, "hook-failed: .*ignored: " + output)

    def test_first_that_is_not_0_decides(self):
        ran = self.path("ran")

        def hook(name, status):
            return self.shell(f"echo {name} >>{ran}; echo {name}; "
                              f"exit {status}")
        self.send("--on-message", hook("one", 0), "--on-message",
                  hook("two", 65), "--on-message", hook("three", 0),
                  wanted="550 5.6.0 two")
        self.assertEqual(ran.read_text(), "one\ntwo\n")
        self.assert_nothing_kept()
        self.send("--on-message", hook("one", 0), "--on-message",
                  self.shell("exit 0"), wanted="250 2.0.0 one")

    def test_drop(self):
        log = self.send("--on-message", self.shell("exit 99"),
                        wanted="250 2.0.0 Ok")
        self.assert_nothing_kept()
        self.assertIn("accepted:", log)
        self.assertNotIn("delivered:", log)

    def test_recipients_that_are_dropped(self):
        """They get 250, and nothing; the others have the message."""
        (self.path("base")).mkdir()
        drop = self.shell('case $MAIL_RECIPIENT in bob@*) exit 99;; '
                          'eve@*) echo "552 5.2.2 No"; exit 77;; esac')
        smtp = self.spawn(
            SMTP, "--tls", "off", "--auth", "any", "--create-maildirs",
            "--maildir", f"{self.path('base')}/%u", "--on-recipient", drop,
            "--on-message", self.hook(), kind=SmtpPeer).ready()
        smtp.expect("MAIL FROM:<>", "250 2.1.0")
        for name, reply in (("bob", "250 2.1.5"), ("eve", "552 5.2.2"),
                            ("ann", "250 2.1.5"), ("bob", "250 2.1.5")):
            smtp.expect(f"RCPT TO:<{name}@example.org>", reply)
        self.assertEqual(str(smtp.text(smtp_wire(TEXT))), "250 2.0.0")
        self.assertEqual(os.listdir(self.path("base")), ["ann@example.org"])
        self.the_message(self.path("base") / "ann@example.org")
        (report,) = self.reports()
        self.assertEqual(report["recipients"], ["ann@example.org"])
        # All of them dropped: nobody gets it, and nothing is wrong.
        smtp.envelope("", "bob@example.org")
        self.assertEqual(str(smtp.text(smtp_wire(TEXT))), "250 2.0.0")
        self.assertEqual(len(os.listdir(self.path("base"))), 1)

    def test_lmtp(self):
        smtp = self.smtp("--lmtp", "--no-auth-required", "--on-message",
                         self.shell("echo no; exit 65"))
        smtp.expect(None, "220")
        smtp.expect("LHLO x", "250")
        smtp.envelope("", "a@example.org", "b@example.org")
        self.assertEqual(str(smtp.text(smtp_wire(TEXT))), "550 5.6.0")
        smtp.expect(None, "550 5.6.0")


class Places(Hooks):
    """Together with maildirs and next hops."""

    def test_only_destination(self):
        kept = self.path("kept")
        for status, wanted in ((0, "250 2.0.0"), (1, "451 4.7.1"),
                               (77, "550 5.7.1")):
            smtp = self.spawn(
                SMTP, "--tls", "off", "--auth", "any", "--on-message",
                self.shell(f"cat >>{kept}; exit {status}"), kind=SmtpPeer)
            smtp.ready()
            self.assertEqual(str(smtp.message(TEXT)), wanted)
            smtp.quit()
        self.assertEqual(kept.read_bytes().count(TEXT), 3)

    def test_nowhere_else_to_go(self):
        status, _, err = self.run_to_end(SMTP, "--tls", "off", "--auth",
                                         "any", "--log", "stderr")
        self.assertEqual(status, 78)
        self.assertIn("--on-message", err)

    def test_order(self):
        """On disk in every tmp when the hook runs; not yet in new, and not
        yet at the next hop; refused, it is nowhere."""
        hop = ScriptedHop(self)
        relay = self.write("relay", f"* smtp+plain://127.0.0.1:{hop.port}\n")
        for status in (0, 77):
            seen = self.path(f"seen.{status}")
            smtp = self.session("--relay", relay, "--on-message", self.shell(
                f"cat {self.mail}/tmp/* >{seen}; ls {self.mail}/new | wc -l "
                f">>{seen}; exit {status}"))
            reply = smtp.message(TEXT)
            self.assertEqual(reply.code, 550 if status else 250)
            smtp.quit()
            self.assertTrue(seen.read_bytes().endswith(
                TEXT + b"%d\n" % (1 if status else 0)), seen.read_bytes())
        messages = [message for connection in hop.connections
                    for message in connection.messages]
        self.assertEqual(len(messages), 1)
        self.assertTrue(messages[0].endswith(smtp_wire(TEXT)))
        self.assertNotIn(b"Return-Path", messages[0])
        self.assertEqual(len(self.stored()), 1)

    def test_same_text_with_and_without(self):
        """What is stored does not depend on there being a hook."""
        (self.path("base")).mkdir()
        texts = []
        for options in ((), ("--on-message", "true")):
            smtp = self.spawn(
                SMTP, "--tls", "off", "--auth", "any", "--create-maildirs",
                "--maildir", f"{self.path('base')}/%u", *options,
                kind=SmtpPeer).ready()
            smtp.envelope("joe@example.com", "ann@example.org",
                          "bob@example.org")
            self.assertEqual(str(smtp.text(smtp_wire(TEXT * 5000))),
                             "250 2.0.0")
            smtp.quit()
            texts.append([])
            for name in ("ann", "bob"):
                path, stored = self.the_message(
                    self.path("base") / f"{name}@example.org")
                fields, text = split_stored(stored)
                self.assertEqual(text, TEXT * 5000)
                self.assertIn(f",S={len(stored)},W="
                              f"{len(stored) + stored.count(b'%c' % 10)}",
                              path.name)
                texts[-1].append([field.partition(" id ")[0]
                                  for field in fields])
                path.unlink()
        self.assertEqual(*texts)

    def test_no_spool(self):
        smtp = self.session("--on-message", self.hook(), env={
            "TMPDIR": self.path("none")})
        smtp.envelope()
        smtp.expect("DATA", "451 4.3.0")
        self.assertEqual(self.reports(), [])


class Misbehaves(Hooks):
    def test_reads_nothing(self):
        self.send("--on-message", "true", wanted="250 2.0.0",
                  text=TEXT * 100000)

    def test_writes_without_end(self):
        log = self.send("--on-message", self.shell(
            "yes | head -c 10000000; yes | head -c 10000000 >&2; exit 65"),
            wanted="550 5.6.0 y$")
        self.assertEqual(len(re.findall(r"\bhook: .* line=y\n", log)), 20)

    def test_long_line_of_errors(self):
        log = self.send("--on-message", self.shell(
            "head -c 100000 /dev/zero | tr '\\0' x >&2"), wanted="250 2.0.0")
        self.assertRegex(log, r" line=x{500}\n")

    def test_closes_its_descriptors(self):
        self.send("--on-message", self.shell(
            "exec 0<&- 1>&- 2>&- 3<&-; exit 65"), wanted="550 5.6.0")

    def test_forks_away(self):
        """What it leaves running is not waited for, and lives on."""
        pids = self.path("pids")
        start = time.monotonic()
        self.send("--on-message", self.shell(
            f"sleep 600 & echo $! >{pids}; exit 0"), wanted="250 2.0.0")
        self.assertLess(time.monotonic() - start, 30)
        child = int(pids.read_text())
        self.assertTrue(alive(child))
        os.kill(child, signal.SIGKILL)

    def test_outlives_its_time(self):
        """All of it is ended, by SIGKILL where SIGTERM does not help."""
        for trap in (":", "trap '' TERM"):
            with self.subTest(trap=trap):
                pids = self.path("pids")
                start = time.monotonic()
                log = self.send("--hook-timeout", "1", "--on-message",
                                self.shell(
                                    f"{trap}; echo oh >&2; sleep 600 & "
                                    f"echo $! $$ >{pids}; wait; wait; "
                                    f"sleep 600"),
                                wanted="451 4.7.1 Try again later$")
                self.assertGreater(time.monotonic() - start, 1)
                for pid in map(int, pids.read_text().split()):
                    wait_for(lambda: not alive(pid), "its end")
                self.assertRegex(log, r'hook-failed: .*command=sh '
                                 r'reason="sh: took over 1 s: oh" '
                                 r'seconds=[1-9]')
        self.assert_nothing_kept()

    def test_missing_and_not_executable(self):
        plain = self.write("plain", "#!/bin/sh\nexit 0\n", 0o644)
        for command in (self.path("gone"), plain, self.dir,
                        "no-such-program-at-all"):
            with self.subTest(command=command):
                log = self.send("--on-message", str(command),
                                wanted="451 4.7.1 Try again later$")
                self.assertIn("hook-failed: ", log)
                self.assertIn("cannot be run", log)
        self.assert_nothing_kept()

    def test_check_config(self):
        for option in ("--on-message", "--on-recipient"):
            status, _, err = self.run_to_end(
                *self.argv(SMTP, "--tls", "off", "--auth", "any",
                           "--maildir", self.mail, option,
                           self.path("gone"), option, "true",
                           "--check-config"))
            self.assertEqual(status, 78)
            self.assertRegex(err, rf"{option}: .*/gone: No such file")
            status, _, err = self.run_to_end(
                *self.argv(SMTP, "--tls", "off", "--auth", "any",
                           "--maildir", self.mail, option, "x 'y"))
            self.assertEqual(status, 78)
            self.assertRegex(err, f"{option}: a quote without its end")

    def test_killed_while_it_runs(self):
        """kill -9 of the handler: no 250, and no message."""
        smtp = self.session("--on-message", self.hook("time.sleep(600)"))
        smtp.envelope()
        smtp.expect("DATA", "354")
        smtp.send(smtp_wire(TEXT))
        (report,) = wait_for(self.reports, "the hook")
        smtp.process.process.kill()
        smtp.expect_end()
        os.kill(report["pid"], signal.SIGKILL)
        self.assertEqual(self.stored(), {})

    def test_sigterm(self):
        """A message hook may finish, and its message is kept; a recipient
        hook is ended."""
        go = self.path("go")
        smtp = self.session("--on-message", self.hook(
            f"while not os.path.exists({str(go)!r}): time.sleep(0.01)"))
        smtp.envelope()
        smtp.expect("DATA", "354")
        smtp.send(smtp_wire(TEXT))
        wait_for(self.reports, "the hook")
        os.kill(smtp.process.pid, signal.SIGTERM)
        go.touch()
        smtp.expect(None, "250 2.0.0")
        smtp.expect(None, "421 4.3.2")
        self.assertEqual(smtp.process.wait(), 0)
        self.the_message()

        self.report.unlink()
        smtp = self.session("--on-recipient", self.hook("time.sleep(600)"))
        smtp.expect("MAIL FROM:<>", "250 2.1.0")
        smtp.send("RCPT TO:<a@example.org>\r\n")
        (report,) = wait_for(self.reports, "the hook")
        os.kill(smtp.process.pid, signal.SIGTERM)
        smtp.expect(None, "451 4.7.1")
        smtp.expect(None, "421 4.3.2")
        self.assertEqual(smtp.process.wait(), 0)
        self.assertFalse(alive(report["pid"]))
