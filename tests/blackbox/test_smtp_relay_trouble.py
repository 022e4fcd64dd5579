"""smtp-handler --relay: trouble with the next hop that takes its time, and
what the log tells of it.  smtp-handler(8), Relaying."""

import os
import signal
import socket
import subprocess
import time

from mailtest import (DEADLINE, SMTP, clean_environment, plain, smtp_wire,
                      wait_for)
from nexthop import (STALL, AfterReply, Early, Late, ScriptedHop, Silent,
                     busy_socket)
from relay import TEXT, Relay
from replies import QUEUED, TROUBLE


class Trouble(Relay):
    """A hop in the clear: what is tried here is the same under TLS."""

    def clear_hop(self, script=None, **kwargs):
        return ScriptedHop(self, script, **kwargs)

    def clear(self, hop, *options, **kwargs):
        return self.relay(self.accounts(
            f"* smtp+plain://127.0.0.1:{hop.port}"), *options, **kwargs)

    def fields(self, log, event):
        """The lines of an event."""
        return [line for line in log.splitlines() if f" {event}: " in line]


class Hops(Trouble):
    def test_ipv6_by_address(self):
        hop = self.clear_hop(address="::1")
        smtp = self.relay(self.accounts(f"* smtp+plain://[::1]:{hop.port}"))
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)

    def test_loopback_where_only_the_other_family_has_addresses(self):
        """In a network of its own, where nobody listens at ::1: but that is
        what is said, and not that there is no such address."""
        self.need_root("make a network namespace")
        script = ("ip link set lo up; ip address add 192.0.2.9/32 dev lo; "
                  'exec "$@"')
        accounts = self.accounts("* smtp+plain://[::1]:2525")
        said = (f"EHLO x\r\nAUTH PLAIN {plain('joe', 'x')}\r\n"
                "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nQUIT\r\n")
        done = subprocess.run(
            ["unshare", "--net", "sh", "-c", script, "sh",
             *map(str, self.argv(SMTP, "--tls", "off", "--auth", "any",
                                 "--relay", accounts))],
            input=said.encode(), capture_output=True, timeout=DEADLINE,
            env=clean_environment(), check=False)
        self.assertIn(b"451 4.4.1", done.stdout)
        self.assertIn(b"port 2525: connect: ", done.stderr)

    def test_unix_socket_with_many_waiting(self):
        """It is up, and busy: the kernel says so at once, and we wait."""
        path = str(self.path("lmtp"))
        listener, waiting = busy_socket(self, path)
        smtp = self.relay(self.accounts(f"* lmtp+unix:{path}"))
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        smtp.send("RCPT TO:<a@b.test>\r\n")
        smtp.quiet(0.5)
        for _ in waiting[:-1]:
            listener.accept()[0].close()
        listener.settimeout(DEADLINE)
        listener.accept()[0].close()
        smtp.expect(None, "451 4.4.2")


class Reset(Trouble):
    def test_nobody_waits_for_it(self):
        """The hop forgets the transaction when it likes: the client hears
        of it at its next recipient, if there is one."""
        for command in ("RSET", "EHLO client.test"):
            with self.subTest(command=command):
                hop = self.clear_hop({"RSET": STALL})
                smtp = self.clear(hop)
                smtp.envelope()
                smtp.expect(command, "250.*")
                smtp.quit()
                self.assertEqual(smtp.exit_status(), 0)

    def test_nor_after_a_text_that_cannot_be_sent(self):
        hop = self.clear_hop({"RSET": STALL}, extensions=())
        smtp = self.clear(hop)
        self.assertEqual(str(smtp.message("\u20ac\n".encode())), "554 5.6.3")

    def test_stray_reply_is_not_its_own(self):
        """Else each later reply would be taken for that of the command after
        its own, and the refused recipient for accepted."""
        hop = self.clear_hop({
            "RCPT": [b"250 2.1.5 a\r\n250 2.1.5 stray\r\n", "550 5.1.1 no"]})
        smtp = self.clear(hop)
        smtp.envelope("joe@example.com", "a@b.test")
        smtp.expect("RSET", "250 2.0.0")
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        smtp.expect("RCPT TO:<c@b.test>", "550 5.1.1")


class Transaction(Trouble):
    def test_one_login_for_all_recipients(self):
        """A wrong one for each would lock the account."""
        hop = self.hop({"AUTH": ["535 5.7.8 no", "235 2.7.0 in"]})
        smtp = self.relay(self.account(hop))
        smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
        for n in range(5):
            smtp.expect(f"RCPT TO:<a{n}@b.test>", "451 4.7.0")
        smtp.expect("RSET", "250 2.0.0")
        self.assertEqual(len(hop.connections), 1)
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        self.assertEqual(len(hop.connections), 2)

    def test_another_hop_is_not_waited_for(self):
        first = self.clear_hop(
            {"final": "550 5.7.1 no", "RSET": STALL})
        second = self.clear_hop()
        smtp = self.relay(self.accounts(
            f"first.test smtp+plain://127.0.0.1:{first.port}",
            f"* smtp+plain://127.0.0.1:{second.port}"))
        self.assertEqual(smtp.message(TEXT, "a@first.test").raw,
                         [b"550 5.7.1 no"])
        self.assertRegex(str(smtp.message(TEXT)), QUEUED)
        first.released.set()

    def test_seven_bits_that_are_eight(self):
        hop = self.clear_hop()
        smtp = self.clear(hop)
        smtp.expect("MAIL FROM:<a@b.test> BODY=7BIT", "250 2.1.0")
        smtp.expect("RCPT TO:<c@d.test>", "250 2.1.5")
        self.assertEqual(str(smtp.text("\u00e4\r\n.\r\n".encode())),
                         "554 5.6.3")
        self.assertEqual(hop.messages, [])
        self.assertIn("MAIL FROM:<a@b.test>", hop.commands)


class EarlyVerdict(Trouble):
    def test_in_what_is_sent_last(self):
        """The hop refuses and reads no more, when all that is left is on its
        way or in our buffer: heard, whatever is left."""
        for kib in (100, *range(200, 280, 10), 400):
            with self.subTest(kib=kib):
                path = self.fresh_path("lmtp")
                hop = self.clear_hop(
                    {"text": Early(1, "552 5.3.4 too big", "stall", 0.3)},
                    path=path, auth="")
                smtp = self.relay(self.accounts(f"* lmtp+unix:{path}"))
                text = (b"x" * 98 + b"\n") * (kib * 1024 // 100)
                self.assertEqual(smtp.message(text).raw,
                                 [b"552 5.3.4 too big"])
                hop.released.set()


class Stop(Trouble):
    def test_sigterm(self):
        """It is we who leave, and the client hears so."""
        for step in ("greeting", "EHLO", "MAIL", "RCPT", "DATA"):
            with self.subTest(step=step):
                hop = self.clear_hop({step: STALL})
                smtp = self.clear(hop, maildir=True)
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                if step == "DATA":
                    smtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
                    smtp.expect("DATA", "354")
                    smtp.send(smtp_wire(TEXT))
                else:
                    smtp.send("RCPT TO:<a@b.test>\r\n")
                hop.stalled.wait(DEADLINE)
                os.kill(smtp.process.pid, signal.SIGTERM)
                smtp.expect(None, "421 4.3.2")
                smtp.expect_end()
                self.assertEqual(smtp.exit_status(), 0)
                self.assert_nothing_kept()


    def stop(self, smtp, wanted="421 4.3.2"):
        os.kill(smtp.process.pid, signal.SIGTERM)
        smtp.expect(None, wanted)
        smtp.rest()
        self.assertEqual(smtp.exit_status(), 0)
        self.assert_nothing_kept()

    def test_while_the_hop_is_opened(self):
        """In the handshake, at the login, while a helper gets its token, and
        when a hop that left is opened again."""
        context = self.certs.server.server_context()
        sleeps = self.write("sleeps", "#!/bin/sh\nexec sleep 60\n", 0o755)
        left = AfterReply("250 2.1.5 ok")
        for step, script, password, tls in (
                ("handshake", {"connect": Silent()}, "x", "smtps"),
                ("STARTTLS", {"STARTTLS": Silent()}, "x", "smtp"),
                ("handshake", {"STARTTLS": Silent(b"220 go on\r\n")}, "x",
                 "smtp"),
                ("AUTH", {"AUTH": Silent()}, "x", "smtps"),
                ("helper", {}, f"exec:{sleeps}", "smtps"),
                ("again", {"RCPT": [left, Silent()]}, "x", "smtps")):
            with self.subTest(step=step, scheme=tls):
                hop = ScriptedHop(self, script,
                                  tls=context if tls == "smtps" else None,
                                  starttls=context if tls == "smtp" else None)
                smtp = self.relay(self.accounts(
                    f"* {tls}://localhost:{hop.port}?ca={self.certs.ca.crt} "
                    f"joe {password}"), maildir=True)
                smtp.expect("MAIL FROM:<joe@example.com>", "250 2.1.0")
                if step == "again":
                    smtp.expect("RCPT TO:<a@b.test>", "250 2.1.5")
                smtp.send("RCPT TO:<b@b.test>\r\n")
                wait_for(lambda: len(hop.connections) ==
                         (2 if step == "again" else 1), "the connection")
                smtp.quiet(0.3)
                self.stop(smtp)

    def test_while_a_name_server_is_silent(self):
        """In a network of its own, whose only one hears and says nothing."""
        self.need_root("have a network of its own")
        silent = self.write("resolv.conf", "nameserver 127.0.0.1\n"
                            "options timeout:30 attempts:5\n", 0o644)
        start = self.write("start.py", """\
import os, socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
server.set_inheritable(True)
os.execv(sys.argv[1], sys.argv[1:])
""")
        script = (f"ip link set lo up; mount --bind {silent} "
                  f"/etc/resolv.conf; exec python3 {start} \"$@\"")
        with subprocess.Popen(
                ["unshare", "--net", "--mount", "sh", "-c", script, "sh",
                 *map(str, self.argv(
                     SMTP, "--tls", "off", "--auth", "any", "--relay",
                     self.accounts("* smtp://mail.example.org")))],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, env=clean_environment()) as process:
            self.addCleanup(process.kill)
            process.stdin.write(
                f"EHLO x\r\nAUTH PLAIN {plain('joe', 'x')}\r\nMAIL FROM:"
                "<a@b.test>\r\nRCPT TO:<c@d.test>\r\n".encode())
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith(b"250 2.1.0"):
                    break
            wait_for(lambda: len(os.listdir(f"/proc/{process.pid}/task")) > 1,
                     "the question")
            process.send_signal(signal.SIGTERM)
            self.assertTrue(process.stdout.readline().startswith(
                b"421 4.3.2 "))
            self.assertEqual(process.wait(DEADLINE), 0)
            self.assertIn(b"no answer from a name server",
                          process.stderr.read())

    def test_in_the_text(self):
        """The hop reads no more of it: it is dropped, here and there."""
        hop = self.clear_hop({"text": Early(1, b"", "stall")})
        smtp = self.clear(hop, maildir=True)
        smtp.envelope()
        smtp.expect("DATA", "354")
        smtp.send(smtp_wire((b"x" * 98 + b"\n") * 200_000))
        smtp.quiet(0.5)
        self.stop(smtp)
        hop.released.set()
        self.assertEqual(hop.messages, [])

    def test_after_the_dot(self):
        """The message may be the hop's already: its word is waited for."""
        hop = self.clear_hop({"final": Late(1, "250 2.0.0 hop has it")})
        smtp = self.clear(hop, maildir=True)
        smtp.envelope()
        smtp.expect("DATA", "354")
        smtp.send(smtp_wire(TEXT))
        wait_for(lambda: hop.messages, "the text")
        os.kill(smtp.process.pid, signal.SIGTERM)
        self.assertRegex(str(smtp.reply()), QUEUED)
        smtp.expect(None, "421 4.3.2")
        self.assertEqual(smtp.exit_status(), 0)
        self.the_message()


class Log(Trouble):
    def test_relayed_and_then_not_kept(self):
        """The hop has it: who looks for it later finds that."""
        hop = self.clear_hop({"final": "250 2.0.0 queued as QID77"})
        smtp = self.clear(hop, maildir=True)
        self.mail.mkdir()
        (self.mail / "new").write_text("")
        smtp.envelope()
        smtp.expect("DATA", "354")
        smtp.send(b"x\r\n.\r\n")
        smtp.expect(None, r"45\d 4\.3\.\d")
        smtp.quit()
        self.assertEqual(smtp.exit_status(), 0)
        (line,) = self.fields(smtp.process.log(), "relayed")
        self.assertIn("QID77", line)
        self.assertEqual(len(self.fields(smtp.process.log(), "refused")), 1)

    def test_relayed(self):
        for final, relayed in (("250 2.0.0 queued as QID78", 1),
                               ("550 5.6.0 no", 0)):
            with self.subTest(final=final):
                hop = self.clear_hop({"final": final})
                smtp = self.clear(hop)
                self.assertEqual(smtp.message(TEXT).raw, [final.encode()])
                smtp.quit()
                self.assertEqual(smtp.exit_status(), 0)
                log = smtp.process.log()
                self.assertEqual(len(self.fields(log, "relayed")),
                                 relayed)
                self.assertIn(final[10:], log)

    def test_perhaps_taken(self):
        """RFC 1047: what the client may send twice, the operator may find
        twice."""
        for final in (AfterReply(b""), AfterReply(b"250 2.0"),
                      AfterReply(b"what?\r\n")):
            with self.subTest(final=final.reply):
                hop = self.clear_hop({"final": final})
                smtp = self.clear(hop)
                reply = smtp.message(TEXT)
                self.assertEqual(str(reply), "451 4.4.2")
                self.assertIn("may have taken it", reply.text)
                smtp.quit()
                self.assertEqual(smtp.exit_status(), 0)
                log = smtp.process.log()
                self.assertRegex(
                    self.fields(log, "refused")[0], "reason=.*127.0.0.1.*"
                    "it had the whole message, and may have taken it")
                self.assertEqual(self.fields(log, "relayed"), [])

    def test_last_words(self):
        """Why it left is often what it said."""
        said = b"250 2.1.5 ok\r\n421 4.4.2 idle too long, bye\r\n"
        for reply in (said, AfterReply(said)):
            with self.subTest(reply=reply):
                hop = self.clear_hop({"MAIL": ["250 2.1.0 ok", reply],
                                      "RCPT": [reply, "550 5.1.1 no"]})
                smtp = self.clear(hop)
                smtp.envelope("joe@example.com", "a@b.test")
                time.sleep(0.2)
                smtp.expect("RCPT TO:<b@b.test>", TROUBLE)
                smtp.quit()
                self.assertEqual(smtp.exit_status(), 0)
                self.assertIn("421 4.4.2 idle too long, bye",
                              smtp.process.log())

    def test_transcript(self):
        """The dialogue with the hop too, each line in its place."""
        hop = self.hop({"AUTH": "235 2.7.0 relay-secret",
                        "RCPT b@b.test": "550-5.1.1 no\n5.1.1 such"})
        smtp = self.relay(self.account(hop), "--transcript")
        smtp.envelope("joe@example.com", "a@b.test")
        smtp.expect("RCPT TO:<b@b.test>", "550 5.1.1")
        self.assertRegex(str(smtp.text(b"secret text\r\n.\r\n")), QUEUED)
        smtp.quit()
        self.assertEqual(smtp.exit_status(), 0)
        log = smtp.process.log()
        lines = [line.partition("line=")[2].strip('"')
                 for line in self.fields(log, "transcript")]
        rcpt = lines.index("> RCPT TO:<a@b.test>")
        self.assertEqual(lines[rcpt + 1:rcpt + 12], [
            "hop> 220 hop.test ESMTP", f"hop< {hop.commands[0]}",
            "hop> 250-hop.test", "hop> 250-PIPELINING",
            "hop> 250-SIZE 50000000", "hop> 250-8BITMIME",
            "hop> 250-ENHANCEDSTATUSCODES", "hop> 250 AUTH PLAIN LOGIN",
            "hop< AUTH PLAIN (SASL response)", "hop> 235 (not shown)",
            "hop< MAIL FROM:<joe@example.com> BODY=8BITMIME"])
        rcpt = lines.index("> RCPT TO:<b@b.test>")
        self.assertEqual(lines[rcpt + 1:rcpt + 6], [
            "hop< RCPT TO:<b@b.test>", "hop> 550-5.1.1 no",
            "hop> 550 5.1.1 such", "< 550-5.1.1 no", "< 550 5.1.1 such"])
        self.assertIn("hop< DATA", lines)
        self.assertIn("hop> 250 2.0.0 hop has it", lines)
        for secret in ("relay-secret", "secret text", plain(
                "relay-user", "relay-secret")):
            self.assertNotIn(secret, log)


class Spool(Trouble):
    def test_check_config(self):
        """It must be there unless all mail is for one maildir, and nobody
        else."""
        relay = ("--relay", self.accounts("* smtp+plain://localhost"))
        one, each = ("--maildir", self.mail), ("--maildir", f"{self.mail}/%u")
        self.mail.mkdir()
        for options, needed in ((relay, True), (relay + one, True),
                                (relay + each, True), (each, True),
                                (one, False)):
            with self.subTest(options=options):
                done = subprocess.run(
                    [str(word) for word in self.argv(
                        SMTP, "--tls", "off", "--auth", "any", *options,
                        "--check-config")],
                    env=clean_environment({"TMPDIR": str(self.path("gone"))}),
                    stdin=subprocess.DEVNULL, capture_output=True,
                    timeout=DEADLINE, check=False)
                self.assertEqual(done.returncode, 78 if needed else 0)
                self.assertEqual(b"spool in" in done.stderr, needed)


del Relay, Trouble
