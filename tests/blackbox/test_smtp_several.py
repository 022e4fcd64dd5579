"""One message for several maildirs: killed at each system call, and each
system call failing in each way.  All of them have it, or none, but for a
crash between the links; never a 250 without it everywhere.
mail-handlers(7), Accepting a message."""

import collections
import re
import subprocess

import model
from certs import certificates
from mailtest import plain, smtp_wire, split_stored
from nexthop import ScriptedHop
from traced import ERRORS, TEXT, Traced

NAMES = ("ann@b.test", "bob@b.test", "cy@c.test")
ENVELOPE = "MAIL FROM:<joe@b.test>\r\n" + "".join(
    f"RCPT TO:<{name}>\r\n" for name in NAMES)


class Several(Traced):
    slow = True
    SESSION = (f"EHLO client.test\r\nAUTH PLAIN {plain('joe', 'x')}\r\n"
               f"{ENVELOPE}DATA\r\n").encode() + smtp_wire(TEXT) \
        + b"QUIT\r\n"
    extra = ()

    def setUp(self):
        super().setUp()
        self.base = self.path("base")
        self.mail = f"{self.base}/%u"

    def prepare(self, made=True):
        subprocess.run(["rm", "-rf", str(self.base)], check=True)
        self.base.mkdir()
        for name in NAMES if made else ():
            self.make_maildir(self.base / name)

    def deliver(self, *strace):
        return self.session(*strace, options=self.extra)

    def calls_of_the_delivery(self):
        calls = self.calls(options=self.extra)
        self.assertEqual(self.final_reply(self.undisturbed), 250)
        self.check(self.undisturbed, killed=False)
        first = next(i for i, call in enumerate(calls)
                     if str(self.base) in call.line and i > 0
                     and call.name != "execve")
        return calls[first:]

    def check(self, out, killed):
        """In how many maildirs the message is; whole, and as was said."""
        kept = 0
        for name in NAMES:
            stored = self.stored(self.base / name)
            self.assertLessEqual(len(stored), 1)
            for file, content in stored.items():
                fields, text = split_stored(content)
                self.assertEqual(fields[:2], [
                    "Return-Path: <joe@b.test>", f"Delivered-To: {name}"])
                self.assertEqual(text, TEXT)
                self.assertTrue(file.endswith(
                    f",S={len(content)},W={model.octets(content)}"), file)
                kept += 1
        reply = self.final_reply(out)
        if reply == 250:
            # A recipient that was refused for now is none
            self.assertEqual(kept, out.count(b"250 2.1.5 Ok"),
                             "250 without the message")
        elif reply is not None:
            self.assertIn(reply, (451, 452))
            self.assertEqual(kept, 0, f"kept, but answered {reply}")
        else:
            self.assertTrue(killed, "no reply and not killed")
        return kept


class Killed(Several):
    def kill_each(self, made):
        self.prepare(made)
        calls = self.calls_of_the_delivery()
        outcomes = collections.Counter()
        for call in calls:
            self.prepare(made)
            with self.subTest(call=call.line):
                out = self.deliver("-e", f"inject={call.name}:signal=KILL:"
                                   f"when={call.nth}")
                kept = self.check(out, killed=True)
                if self.status == -9:
                    outcomes[kept, self.final_reply(out)] += 1
        self.assertGreater(outcomes[0, None], 10, outcomes)
        self.assertGreater(outcomes[1, None], 0, outcomes)
        self.assertGreater(outcomes[2, None], 0, outcomes)
        self.assertGreater(outcomes[3, None], 0, outcomes)
        self.assertGreater(outcomes[3, 250], 0, outcomes)

    def test_at_each_system_call(self):
        self.kill_each(made=True)

    def test_at_each_system_call_of_making_them(self):
        self.extra = ("--create-maildirs",)
        self.kill_each(made=False)


class FailingEach(Several):
    def fail_each(self, made):
        self.prepare(made)
        replies = collections.Counter()
        for call in self.calls_of_the_delivery():
            if str(self.base) not in call.line \
                    or call.name.startswith(("exit", "exec")):
                continue
            for error in ERRORS.get(call.name, ("EIO",)):
                self.prepare(made)
                with self.subTest(call=call.line, error=error):
                    out = self.deliver("-e", f"inject={call.name}:error="
                                       f"{error}:when={call.nth}")
                    self.assertEqual(self.status, 0)
                    self.check(out, killed=False)
                    reply = self.final_reply(out)
                    replies[reply] += 1
                    if reply != 250:
                        self.assertEqual(reply, 452 if error in (
                            "ENOSPC", "EDQUOT") else 451)
                        if not call.name.startswith("unlink"):
                            self.assert_nothing_kept(self.base)
        self.assertGreater(replies[451], 10, replies)
        self.assertGreater(replies[452], 5, replies)

    def test_in_maildirs(self):
        self.fail_each(made=True)

    def test_making_them(self):
        self.extra = ("--create-maildirs",)
        self.fail_each(made=False)

    def test_no_hard_links(self):
        for error in ("EPERM", "EOPNOTSUPP", "ENOSYS"):
            self.prepare()
            with self.subTest(error=error):
                out = self.deliver("-e", f"inject=link,linkat:error={error}")
                self.assertEqual(self.check(out, killed=False), 3)
                for name in NAMES:
                    self.assertEqual(
                        list((self.base / name / "tmp").iterdir()), [])

    def test_no_hard_links_and_the_last_fails(self):
        """What was renamed is taken back too."""
        self.prepare()
        out = self.deliver("-e", "inject=link,linkat:error=EPERM", "-e",
                           "inject=renameat2:error=EIO:when=3")
        self.assertEqual(self.final_reply(out), 451)
        self.assert_nothing_kept(self.base)


class Order(Several):
    slow = False

    def test_of_system_calls(self):
        """Written and on disk everywhere before the next hop hears of it;
        its 250 before the first link; all links, all directories; the
        reply."""
        certs = certificates()
        hop = ScriptedHop(self, tls=certs.server.server_context())
        relay = self.write("relay", f"* smtps://localhost:{hop.port}"
                           f"?ca={certs.ca.crt} user secret\n")
        self.SESSION = self.SESSION.replace(
            b"DATA\r\n", b"RCPT TO:<out@side.test>\r\nDATA\r\n", 1)
        self.extra = ("--relay", relay)
        self.prepare()
        lines = [call.line for call in self.calls_of_the_delivery()]

        def all_of(pattern, n):
            found = [i for i, line in enumerate(lines)
                     if re.search(pattern, line)]
            self.assertEqual(len(found), n, (pattern, lines))
            return found

        synced = all_of(rf"fsync\(\d+<{self.base}/[^/>]*/tmp/", 3)
        linked = all_of(r"linkat\(.*[\"/]new[/>]", 3)
        settled = all_of(rf"fsync\(\d+<{self.base}/[^/>]*/new>", 3)
        said = all_of(r"\"250 2\.0\.0 hop has it|\"354.*250 2\.0\.0 hop", 1)
        to_hop = [i for i, line in enumerate(lines)
                  if re.search(r"sendto\(\d+<(TCP|socket)", line)]
        after_text = [i for i in to_hop if synced[-1] < i < linked[0]]
        self.assertTrue(after_text)
        self.assertLess(linked[-1], settled[0])
        self.assertLess(settled[-1], said[0])
