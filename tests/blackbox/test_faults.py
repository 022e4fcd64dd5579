"""Crashes and faults: a handler killed at each system call of a delivery,
failing system calls, a full disk.  Accepting means keeping: never a 250
without the message, never half a message, never a message after an error.
mail-handlers(7), Accepting a message."""

import collections
import pathlib
import re
import subprocess

import model
from certs import certificates
from mailtest import (NOBODY, POP3, SANITIZED, SMTP, SmtpPeer, TestCase,
                      smtp_wire, split_stored)
from nexthop import ScriptedHop
from traced import ERRORS, TEXT, Traced


class Delivery(Traced):
    def check(self, out, killed):
        """Whether the message is there; it is whole, and as was said."""
        stored = self.stored()
        self.assertLessEqual(len(stored), 1)
        for name, content in stored.items():
            self.assertTrue(content.startswith(b"Return-Path: "))
            self.assertEqual(split_stored(content)[1], TEXT)
            self.assertTrue(name.endswith(
                f",S={len(content)},W={model.octets(content)}"), name)
        reply = self.final_reply(out)
        if reply == 250:
            self.assertEqual(len(stored), 1, "250 without the message")
        elif reply is not None:
            self.assertIn(reply, (451, 452))
            self.assertEqual(len(stored), 0, f"kept, but answered {reply}")
        elif not killed:
            self.assertRegex(out, rb"(?m)^220", "no reply and not killed")
        return bool(stored)

    def clean(self):
        subprocess.run(["rm", "-rf", str(self.mail)], check=True)


class Killed(Delivery):
    slow = True

    def test_at_each_system_call(self):
        for prepare in (lambda: None, self.make_maildir):
            self.clean()
            prepare()
            calls = self.of_the_delivery()
            self.assertEqual(self.final_reply(self.undisturbed), 250)
            outcomes, missed = collections.Counter(), 0
            for call in calls:
                self.clean()
                prepare()
                with self.subTest(call=call.line):
                    out = self.session(
                        "-e", f"inject={call.name}:signal=KILL:"
                        f"when={call.nth}")
                    kept = self.check(out, killed=True)
                    if self.status == -9:
                        outcomes[kept, self.final_reply(out)] += 1
                    else:
                        # This time there were not so many of that call
                        self.assertEqual(self.status, 0)
                        missed += 1
            # The kills were in the right places
            self.assertLess(missed, len(calls) / 10)
            self.assertGreater(outcomes[False, None], 3, outcomes)
            self.assertGreater(outcomes[True, None], 0, outcomes)
            self.assertGreater(outcomes[True, 250], 0, outcomes)

    def test_next_delivery_after_each_kill(self):
        """What a killed one left behind disturbs nobody."""
        self.make_maildir()
        calls = self.of_the_delivery()
        self.clean()
        kept = 0
        for call in calls[::3]:
            out = self.session(
                "-e", f"inject={call.name}:signal=KILL:when={call.nth}")
            kept = len(self.stored())
        out = self.session()
        self.assertEqual(self.final_reply(out), 250)
        self.assertEqual(len(self.stored()), kept + 1)


class Order(Delivery):
    def test_of_system_calls(self):
        """Written and fsynced in tmp, linked into new, new fsynced, said."""
        for prepare in (lambda: None, self.make_maildir):
            self.clean()
            prepare()
            lines = [call.line for call in self.calls()]
            tmp = re.escape(f"{self.mail}/tmp/")
            sync_file = self.find(lines, rf"f(data)?sync\(\d+<{tmp}")
            link = self.find(
                lines, r"(link|linkat|renameat2?)\(.*[\"/]new[/>]")
            sync_new = self.find(lines, r"fsync\(\d+<[^>]*/new>")
            said = self.find(lines, r"(write|writev|send\w+)\(.*\"250 2\.\d\.0"
                             r"[^\"]*(221 2\.0\.0[^\"]*)?\"",
                             after=link)
            last_write = max(i for i, line in enumerate(lines) if re.search(
                rf"p?write(v|64)?\(\d+<{tmp}", line))
            self.assertLess(last_write, sync_file, lines)
            self.assertLess(sync_file, link, lines)
            self.assertLess(link, sync_new, lines)
            self.assertLess(sync_new, said, lines)

    def find(self, lines, pattern, after=0):
        for i, line in enumerate(lines):
            if i >= after and re.search(pattern, line):
                return i
        self.fail(f"no {pattern} in\n" + "\n".join(lines[-60:]))

    def test_made_folders_are_synced(self):
        """A maildir that was made is there after a power cut: its own
        folder's entry and its parts' are on disk before the 250."""
        lines = [call.line for call in self.calls()]
        self.find(lines, rf"fsync\(\d+<{re.escape(str(self.mail))}>")
        self.find(lines, rf"fsync\(\d+<{re.escape(str(self.dir))}>")


class Failing(Delivery):
    """Each system call that touches the maildir fails once, in each way."""

    slow = True

    def fail_each(self, prepare):
        self.clean()
        prepare()
        calls = [call for call in self.of_the_delivery()
                 if str(self.mail) in call.line
                 and not call.name.startswith(("exit", "exec"))]
        replies = collections.Counter()
        for call in calls:
            for error in ERRORS.get(call.name, ("EIO",)):
                self.clean()
                prepare()
                with self.subTest(call=call.line, error=error):
                    out = self.session(
                        "-e", f"inject={call.name}:error={error}:"
                        f"when={call.nth}")
                    self.assertEqual(self.status, 0)
                    self.check(out, killed=False)
                    reply = self.final_reply(out)
                    self.assertIn(reply, (250, 451, 452))
                    replies[reply] += 1
                    if reply != 250:
                        self.assertEqual(
                            reply, 452 if error in ("ENOSPC", "EDQUOT")
                            else 451)
                        if "unlink" not in call.name:
                            self.assert_nothing_kept()
        self.assertGreater(replies[451], 3, replies)

    def test_in_a_maildir(self):
        self.fail_each(self.make_maildir)

    def test_without_a_maildir(self):
        self.fail_each(lambda: None)

    def test_no_hard_links(self):
        """A file system without link(2)."""
        self.make_maildir()
        links = {call.name for call in self.calls()
                 if call.name in ("link", "linkat")}
        self.assertTrue(links, "does not use link at all")
        for error in ("EPERM", "EOPNOTSUPP", "ENOSYS", "EMLINK"):
            self.clean()
            with self.subTest(error=error):
                out = self.session("-e", f"inject={','.join(links)}:"
                                         f"error={error}")
                if error == "EMLINK":
                    self.check(out, killed=False)
                    continue
                self.assertEqual(self.final_reply(out), 250)
                self.check(out, killed=False)
                self.assertEqual(list((self.mail / "tmp").iterdir()), [])

    def test_written_back_early(self):
        """The disk is set to work while a long text comes; what becomes of
        that is no matter, for fsync comes after it."""
        text = TEXT * 800
        session = self.SESSION.replace(smtp_wire(TEXT), smtp_wire(text))
        for inject in ((), ("-e", "inject=sync_file_range:error=EIO")):
            self.clean()
            self.make_maildir()
            with self.subTest(inject=inject):
                out = self.session("-e", "trace=sync_file_range,fsync",
                                   *inject, session=session)
                self.assertEqual(self.final_reply(out), 250)
                [(name, content)] = self.stored().items()
                self.assertEqual(split_stored(content)[1], text)
                trace = self.path("trace").read_text(errors="replace")
                unique = name.partition(",")[0]
                self.assertEqual(
                    re.findall(rf"(\w+)\(\d+<[^>]*{re.escape(unique)}",
                               trace),
                    len(content) // (4 << 20) * ["sync_file_range"]
                    + ["fsync"])

    def test_relayed_and_kept(self):
        """Whatever fails here, no 250 unless both have it."""
        certs = certificates()
        hop = ScriptedHop(self, tls=certs.server.server_context())
        relay = self.write("relay", f"* smtps://localhost:{hop.port}"
                           f"?ca={certs.ca.crt} user secret\n")
        options = ["--relay", relay]
        calls = [call for call in self.of_the_delivery(options=options)
                 if call.name in ("fsync", "link", "linkat", "renameat2")]
        self.assertTrue(calls)
        for call in calls:
            self.clean()
            with self.subTest(call=call.line):
                before = len(hop.messages)
                out = self.session("-e", f"inject={call.name}:error=EIO:"
                                   f"when={call.nth}", options=options)
                reply = self.final_reply(out)
                self.check(out, killed=False)
                if reply == 250:
                    self.assertEqual(len(hop.messages), before + 1)


class FullDisk(TestCase):
    """A small tmpfs of the handler's own, in its mount namespace."""

    def setUp(self):
        super().setUp()
        self.need_root("mount a file system")

    def on_tmpfs(self, options):
        """A command that starts another with a tmpfs on self.mail."""
        return ["unshare", "-m", "sh", "-c",
                f'mount -t tmpfs -o mode=700,{options} none "{self.mail}" '
                '&& exec "$@"', "sh"]

    def smtp_on(self, tmpfs_options):
        self.mail.mkdir()
        smtp = self.smtp(wrap=self.on_tmpfs(tmpfs_options)).ready()
        # The same folder as the handler sees it
        self.seen = pathlib.Path(f"/proc/{smtp.process.pid}/root"
                                 f"{self.mail}")
        return smtp

    def files(self):
        return [path for path in self.seen.rglob("*") if path.is_file()]

    def test_no_space(self):
        smtp = self.smtp_on("size=300k")
        self.assertRegex(str(smtp.message(b"x" * 70_000 + b"\n")),
                         r"250 2\.[06]\.0")
        big = b"Subject: x\n\n" + b"line\n" * 200_000
        for _ in range(3):
            self.assertEqual(str(smtp.message(big)), "452 4.3.1")
            self.assertEqual([path.parent.name for path in self.files()],
                             ["new"])
        # Small ones still find room, in the same session
        self.assertRegex(str(smtp.message(b"small\n")), r"250 2\.[06]\.0")
        self.assertEqual(len(self.files()), 2)
        smtp.quit()
        self.assertEqual(smtp.process.wait(), 0)
        self.assertRegex(smtp.process.log(), "(?i)no space|ENOSPC|4.3.1")

    def test_no_space_for_the_spool(self):
        """Only relayed: the message waits in $TMPDIR until it is whole."""
        certs = certificates()
        hop = ScriptedHop(self, tls=certs.server.server_context())
        relay = self.write("relay", f"* smtps://localhost:{hop.port}"
                           f"?ca={certs.ca.crt}\n")
        self.mail.mkdir()
        smtp = self.spawn(
            SMTP, "--tls", "off", "--auth", "any", "--relay", relay,
            kind=SmtpPeer, env={"TMPDIR": self.mail},
            wrap=self.on_tmpfs("size=300k")).ready()
        self.assertEqual(str(smtp.message(b"line\n" * 200_000)), "452 4.3.1")
        self.assertEqual(hop.messages, [])
        self.assertRegex(str(smtp.message(b"small\n")), r"250 2\.[06]\.0")
        self.assertEqual(len(hop.messages), 1)

    def test_no_inodes(self):
        smtp = self.smtp_on("nr_inodes=5")
        replies = [str(smtp.message(b"x\n")) for _ in range(6)]
        self.assertEqual(replies[-1], "452 4.3.1")
        self.assertEqual(len(self.files()),
                         sum(reply.startswith("250") for reply in replies))


class Forbidden(TestCase):
    def test_not_our_maildir(self):
        self.need_root("become somebody else")
        self.make_maildir()
        self.mail.chmod(0o755)
        smtp = self.smtp(user=NOBODY).ready()
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        reply = smtp.cmd("RCPT TO:<c@d.test>")
        if reply.code == 250:
            reply = smtp.cmd("DATA")
        if reply.code == 354:
            smtp.send(b"x\r\n.\r\n")
            reply = smtp.reply()
        self.assertEqual(str(reply), "451 4.3.0")
        self.assert_nothing_kept()
        self.assertIn(str(self.mail), smtp.process.log())


class Pop3Faults(Traced):
    """A fault must never look like less mail, or shorter mail."""

    program = POP3
    SESSION = b"USER joe\r\nPASS x\r\nSTAT\r\nRETR 1\r\nNOOP\r\nQUIT\r\n"

    def setUp(self):
        super().setUp()
        self.make_maildir()
        # A size that its name does not tell
        self.text = b"Subject: x\n\n" + b"0123456789\n" * 100_000
        self.put("new/1", self.text)

    def good_prefix(self):
        return rb"^\+OK [^\r]*\r\n\+OK[^\r]*\r\n"

    def test_each_call_on_the_maildrop_fails(self):
        if SANITIZED:
            self.skipTest("how often a sanitizer reads is not always the same")
        calls = [call for call in self.of_the_delivery()
                 if str(self.mail) in call.line and call.name in (
                     "openat", "open", "read", "pread64", "getdents64",
                     "fstat", "newfstatat", "statx", "lstat", "mmap")]
        self.assertTrue(calls)
        whole = self.undisturbed
        self.assertTrue(whole.count(b"\r\n.\r\n") == 1)
        wire = model.retr(self.text)
        for call in calls:
            with self.subTest(call=call.line):
                out = self.session("-e", f"inject={call.name}:error=EIO:"
                                   f"when={call.nth}")
                self.assertEqual(self.status, 0)
                if out == whole:
                    continue    # was not needed, or done again
                told = re.search(self.good_prefix() + rb"(\+OK|-ERR)[^\r]*",
                                 out)
                self.assertTrue(told, out[:300])
                if told[1] == b"-ERR":
                    self.assertRegex(told[0], rb"-ERR \[SYS/(TEMP|PERM)\] ")
                    continue
                stat, retr = re.search(
                    rb"\r\n(\+OK \d+ \d+)\r\n((?:\+OK|-ERR)[^\r]*)",
                    out).groups()
                self.assertTrue(stat.startswith(b"+OK 1 "), stat)
                if retr.startswith(b"-ERR"):
                    self.assertTrue(retr.startswith(b"-ERR [SYS/TEMP] "))
                elif b"\r\n.\r\n" in out:
                    self.assertIn(wire + b".\r\n", out, "a short message")
                else:
                    # In mid-message: closed without the final dot
                    self.assertFalse(out.endswith(b"\r\n+OK\r\n"))
                    body = out.partition(retr + b"\r\n")[2]
                    self.assertTrue(wire.startswith(body))


class Together(TestCase):
    def test_several_at_once_lose_nothing(self):
        """Many sessions deliver into one maildir that nobody made before."""
        peers = [self.spawn(SMTP, "--tls", "off", "--auth", "any",
                            "--maildir", self.mail, kind=SmtpPeer)
                 for _ in range(20)]
        for smtp in peers:
            smtp.ready()
            smtp.envelope()
            smtp.expect("DATA", "354")
        for n, smtp in enumerate(peers):
            smtp.send(b"Subject: %d\r\n.\r\n" % n)
        for smtp in peers:
            smtp.expect(None, r"250 2\.[06]\.0")
        self.assertEqual(
            {split_stored(text)[1] for text in self.stored().values()},
            {b"Subject: %d\n" % n for n in range(20)})
