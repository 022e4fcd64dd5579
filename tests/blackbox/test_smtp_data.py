"""smtp-handler: message text: line ends, dots, smuggling, sizes, what is
stored.  mail-handlers(7), Accepting a message."""

import datetime
import email.utils
import os
import re
import socket
import time

import model
from mailtest import (HOST, SMTP, SmtpPeer, TestCase, smtp_wire,
                      split_stored)
from replies import QUEUED


class Text(TestCase):
    def keep(self, wire):
        """What is stored of these octets, the final dot included."""
        smtp = self.smtp().ready()
        smtp.envelope()
        reply = smtp.text(wire)
        self.assertRegex(str(reply), QUEUED)
        smtp.quit()
        path, content = self.the_message()
        path.unlink()
        return split_stored(content)[1]

    def test_octets(self):
        for wire, kept in (
                (b".\r\n", b""),
                (b"\r\n.\r\n", b"\n"),
                (b"\r\n\r\n\r\n.\r\n", b"\n\n\n"),
                (b"no header\r\n.\r\n", b"no header\n"),
                (b"..\r\n.\r\n", b".\n"),
                (b"...\r\n.\r\n", b"..\n"),
                (b"..x\r\n..\r\n...y\r\n.\r\n", b".x\n.\n..y\n"),
                (b".x\r\n.\r\n", b"x\n"),     # RFC 5321 4.5.2
                (b"x.\r\nx..\r\n x.\r\n.\r\n", b"x.\nx..\n x.\n"),
                (b"\0\0\r\n\0.\r\n.\r\n", b"\0\0\n\0.\n"),
                (b"\xff\xfe\x80\r\n.\r\n", b"\xff\xfe\x80\n"),
                (b"tab\t \r\n \r\n.\r\n", b"tab\t \n \n"),
                (b"x" * 5000 + b"\r\n.\r\n", b"x" * 5000 + b"\n"),
                (b"From me\r\n.\r\n", b"From me\n")):
            with self.subTest(wire=wire[:20]):
                self.assertEqual(self.keep(wire), kept)

    def test_buffer_edges(self):
        """CR, LF and dots on both sides of any likely buffer's end."""
        for size in (1024, 2048, 4096, 8192, 16384, 32768, 65536):
            for less in range(8):
                body = b"x" * (size - less)
                text = body + b"\r\n..\r\n" + body + b"\r\n..y\r\n"
                kept = body + b"\n.\n" + body + b"\n.y\n"
                with self.subTest(size=size, less=less):
                    self.assertTrue(self.keep(text + b".\r\n") == kept)

    def test_commands_are_text(self):
        text = (b"QUIT\nRSET\nMAIL FROM:<x@example.com>\nDATA\nSTARTTLS\n"
                b"AUTH PLAIN AGEAYg==\nHELO x\n")
        self.assertEqual(self.keep(smtp_wire(text)), text)

    def test_headers_stay_as_they_are(self):
        text = (b"Received: by elsewhere;\n\tThu, 1 Jan 1970 00:00:00 +0000\n"
                b"subject:no space\nX-Folded: a\n  b\n\tc\nBcc: hidden\n"
                b"Return-Path: <forged@example.com>\n\nbody\n")
        smtp = self.smtp().ready()
        smtp.message(text)
        content = self.the_message()[1]
        self.assertTrue(content.endswith(b"\n" + text))

    def test_text_that_begins_with_a_blank(self):
        """It is no continuation of the line we put above it."""
        for text in (b" (forged by the client)\n\nbody\n", b"\t\n"):
            smtp = self.smtp().ready()
            smtp.message(text)
            path, content = self.the_message()
            self.assertRegex(content, rb" \+0000\n\n" + re.escape(text)
                             + b"$")
            path.unlink()

    def test_line_of_10_megabytes(self):
        text = b"Subject: x\n\n" + b"x." * 5_000_000 + b"\nend\n"
        smtp = self.smtp().ready()
        before = smtp.process.peak_kib()
        self.assertRegex(str(smtp.message(text)), QUEUED)
        self.assertLess(smtp.process.peak_kib(), before + 1024)
        self.assertTrue(split_stored(self.the_message()[1])[1] == text)

    def test_50_megabytes(self):
        line = b".3456789 " * 8 + b"\n"
        text = b"Subject: x\n\n" + line * (50_000_000 // len(line))
        smtp = self.smtp("--max-size", "100000000").ready()
        smtp.message(b"small\n")
        (self.mail / "new" / next(iter(self.stored()))).unlink()
        before = smtp.process.peak_kib()
        self.assertRegex(str(smtp.message(text)), QUEUED)
        self.assertLess(smtp.process.peak_kib(), before + 1024,
                        "memory grows with the message")
        path, content = self.the_message()
        self.assertTrue(split_stored(content)[1] == text)
        self.assertTrue(path.name.endswith(
            f",S={len(content)},W={model.octets(content)}"))


class LineEnds(TestCase):
    """--bare-lf reject, the default."""

    def refused(self, wire, wanted):
        smtp = self.smtp().ready()
        smtp.envelope()
        smtp.expect("DATA", "354")
        smtp.send(wire)
        smtp.expect(None, wanted)
        return smtp

    def test_bare_lf(self):
        for text in (b"a\nb\r\n", b"\n", b"a\n\r\n", b"\na\r\n",
                     b"a\r\n\nb\r\n",
                     b"a\n.b\r\n", b"a\n..\r\n", b"x" * 100_000 + b"\n\r\n"):
            with self.subTest(text=text[:20]):
                end = b".\r\n" if text.endswith(b"\r\n") else b"\r\n.\r\n"
                smtp = self.refused(text + end, "550 5.6.0")
                # In step, and the next message is fine
                smtp.expect("NOOP", "250 2.0.0")
                self.assert_nothing_kept()
                self.assertRegex(str(smtp.message(b"next\n")), QUEUED)
                self.the_message()[0].unlink()

    def test_bare_cr(self):
        for text in (b"a\rb", b"\r", b"a\r\r", b"\r\ra", b"a\r.\r",
                     b"a\r\n.\rb",
                     b"a\r\n.\r", b"x" * 100_000 + b"\rx", b"a\r\n.\r\r",
                     b"From: a\rBcc: b"):
            with self.subTest(text=text[:20]):
                smtp = self.refused(text + b"\r\n.\r\n", "550 5.6.0")
                smtp.expect("NOOP", "250 2.0.0")
                self.assert_nothing_kept()

    SMUGGLED = (b"MAIL FROM:<admin@example.com>\r\n"
                b"RCPT TO:<victim@example.org>\r\nDATA\r\nsmuggled\r\n")

    def test_smuggling(self):
        """A lone dot between line ends of which one is bare.  What follows it
        is neither text that is kept nor commands."""
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\n\n.\n", b"\n\n.\r\n"):
            with self.subTest(end=end):
                smtp = self.smtp().ready()
                smtp.envelope()
                smtp.expect("DATA", "354")
                smtp.send(b"Subject: x\r\n\r\ntext" + end + self.SMUGGLED
                          + b".\r\nQUIT\r\n")
                smtp.expect(None, "521 5.5.2")
                smtp.expect_end()
                self.assertEqual(smtp.exit_status(), 0)
                self.assert_nothing_kept()

    def test_smuggling_at_the_very_start(self):
        for start in (b".\n", b"\n.\r\n", b"\r\n.\n"):
            with self.subTest(start=start):
                smtp = self.refused(start + self.SMUGGLED + b".\r\n",
                                    "521 5.5.2")
                smtp.expect_end()
                self.assert_nothing_kept()

    def test_other_ends_do_not_end_it(self):
        """The forms that some servers take for the end of data."""
        for end in (b"\r.\r", b"\r.\r\n", b"\r\n.\r", b".\r\r\n",
                    b"\r\n.\r\r\n",
                    b"\r\n\0.\r\n", b"\r\n. \r\n", b"\r\n.\0\r\n"):
            with self.subTest(end=end):
                smtp = self.smtp().ready()
                smtp.envelope()
                smtp.expect("DATA", "354")
                smtp.send(b"text" + end + b"RSET\r\n.\r\n")
                reply = smtp.reply()
                self.assertEqual(str(reply) == "550 5.6.0",
                                 b"\r" in end.replace(b"\r\n", b""), reply)
                smtp.expect("NOOP", "250 2.0.0")    # one reply, no RSET
                for path in (self.mail / "new").glob("*"):
                    self.assertIn(b"\nRSET\n", path.read_bytes())
                    path.unlink()

    def test_smuggling_cut_everywhere(self):
        """However the octets are cut into reads."""
        wire = b"text\n.\r\n"
        for cut in range(1, len(wire)):
            with self.subTest(cut=cut):
                smtp = self.smtp().ready()
                smtp.envelope()
                smtp.expect("DATA", "354")
                smtp.send(wire[:cut])
                time.sleep(0.005)   # a chance to be read on its own
                smtp.send(wire[cut:])
                smtp.expect(None, "521 5.5.2")
                smtp.expect_end()


class Stored(TestCase):
    def deliver(self, *options, text=b"Subject: x\n\nbody\n",
                sender="joe@example.com", recipients=("ann@example.org",),
                **kwargs):
        smtp = self.smtp(*options, **kwargs).ready()
        self.reply = smtp.message(text, sender, *recipients)
        smtp.quit()
        self.assertEqual(smtp.exit_status(), 0)
        self.log = smtp.process.log()
        return self.the_message()

    def test_trace_fields(self):
        _, content = self.deliver()
        (return_path, to, received), text = split_stored(content)
        self.assertEqual(text, b"Subject: x\n\nbody\n")
        self.assertEqual(return_path, "Return-Path: <joe@example.com>")
        self.assertEqual(to, "X-Envelope-To: ann@example.org")
        self.check_received(received, "ESMTPA")

    def check_received(self, received, protocol):
        """RFC 5321 4.4; no address since the peer has none."""
        match = re.fullmatch(
            r"Received: from client\.test(?P<peer> \([^()]*\))? by "
            + re.escape(HOST) + r"( \([^()]*\))? with (?P<with>\w+)"
            r"( \([^()]*\))* id (?P<id>[^\s;()<>]+)"
            r"( for <(?P<for>[^>]*)>)?; (?P<date>.*)", received)
        self.assertTrue(match, received)
        self.assertEqual(match["with"], protocol)
        date = email.utils.parsedate_to_datetime(match["date"])
        now = datetime.datetime.now(datetime.timezone.utc)
        self.assertLess(abs((now - date).total_seconds()), 60)
        self.assertRegex(match["date"], r"^\w{3}, +\d{1,2} \w{3} \d{4} "
                         r"\d\d:\d\d:\d\d [+-]\d{4}( \(\w+\))?$")
        self.assertEqual(match["for"], "ann@example.org")
        # The id is the one the client and the log are told
        self.assertIn(match["id"], self.log)
        return match

    def test_line_lengths_of_trace_fields(self):
        _, content = self.deliver(sender="x" * 60 + "@" + "y" * 60 + ".test",
                                  recipients=["z" * 60 + "@example.org"])
        for line in content.split(b"\n"):
            self.assertLessEqual(len(line), 998)

    def test_helo_without_extensions(self):
        smtp = self.smtp()
        smtp.hello()
        smtp.login()
        smtp.expect("HELO old.test", "250")
        smtp.message(b"x\n")
        received = split_stored(self.the_message()[1])[0][-1]
        self.assertRegex(received, r"from old\.test .* with SMTP\b")

    def test_for_only_with_one_recipient(self):
        _, content = self.deliver(recipients=["a@b.test", "secret@b.test"])
        self.assertNotIn(" for ", split_stored(content)[0][-1])

    def test_one_maildir_for_all_names_each_recipient(self):
        """Who tests a program looks for its Bcc there."""
        _, content = self.deliver(recipients=["z@b.test", "secret@b.test",
                                              "z@b.test"])
        self.assertEqual(split_stored(content)[0][1:-1], [
            "X-Envelope-To: z@b.test", "X-Envelope-To: secret@b.test"])
        self.assertNotIn(b"Delivered-To:", content)

    def test_null_sender(self):
        _, content = self.deliver(sender="")
        self.assertTrue(content.startswith(b"Return-Path: <>\n"))

    def test_name_and_mode(self):
        before = time.time()
        path, content = self.deliver(text=b"Subject: x\n\n.dot\nend\n")
        match = re.fullmatch(r"(\d+)\.M(\d{1,6})P(\d+)_([0-9A-Za-z]+)\."
                             + re.escape(HOST) + r",S=(\d+),W=(\d+)",
                             path.name)
        self.assertTrue(match, path.name)
        self.assertLessEqual(int(before), int(match[1]))
        self.assertLessEqual(int(match[1]), time.time())
        self.assertEqual(int(match[5]), len(content))
        self.assertEqual(int(match[5]), path.stat().st_size)
        self.assertEqual(int(match[6]), model.octets(content))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(path.stat().st_nlink, 1)

    def test_host_names_that_are_no_file_names(self):
        for name in ("a:b.test", "a/b.test", "../x", "", "x,S=1"):
            with self.subTest(name=name):
                status, out, err = self.run_to_end(
                    *self.argv(SMTP, "--tls", "off", "--auth", "any",
                               "--maildir", self.mail, "--hostname", name))
                self.assertEqual((status, out), (64, ""), err)
                self.assertIn("hostname", err)

    def test_folders_are_made(self):
        self.deliver()
        for name in ("", "cur", "new", "tmp"):
            self.assertEqual((self.mail / name).stat().st_mode & 0o777, 0o700)
        self.assertEqual(list((self.mail / "tmp").iterdir()), [])
        self.assertEqual(list((self.mail / "cur").iterdir()), [])

    def test_umask_does_not_open_it(self):
        path, _ = self.deliver(wrap=["sh", "-c", 'umask 0; exec "$@"', "sh"])
        self.assertEqual(path.stat().st_mode & 0o077, 0)
        self.assertEqual(self.mail.stat().st_mode & 0o077, 0)

    def test_pop3_believes_its_size(self):
        path, content = self.deliver(text=b"Subject: x\n\n.dots\n\nend\n")
        pop = self.pop3().login()
        octets, wire = pop.retr(1)
        self.assertEqual(wire, model.retr(content))
        self.assertEqual(octets, model.octets(content))
        self.assertEqual(pop.stat(), (1, octets))
        self.assertEqual(pop.listing("UIDL"), {1: path.name}
                         if len(path.name) <= 70 else pop.listing("UIDL"))

    def test_8_bit_and_nul_survive_to_pop3(self):
        text = b"Subject: \xc3\xbc\n\n\0\xff.\n.\n\n"
        _, content = self.deliver(text=text)
        _, wire = self.pop3().login().retr(1)
        self.assertTrue(wire.endswith(model.retr(text)))

    def test_machine_name_is_the_default(self):
        """Without --hostname."""
        smtp = self.smtp_without_hostname()
        greeting = smtp.expect(None, "220")
        self.assertIn(greeting.text.split(" ")[0].lower(),
                      {socket.gethostname().lower(), socket.getfqdn().lower()})

    def smtp_without_hostname(self):
        self.argv = lambda program, *options: [program, "--log", "stderr",
                                               *options]
        return self.spawn(SMTP, "--tls", "off", "--auth", "any", "--maildir",
                          self.mail, kind=SmtpPeer)

    def test_missing_parts_are_made(self):
        for missing in ("new", "tmp", "cur"):
            with self.subTest(missing=missing):
                self.make_maildir()
                (self.mail / missing).rmdir()
                path, _ = self.deliver()
                self.assertTrue((self.mail / "new").is_dir())
                path.unlink()

    def test_old_leftovers_in_tmp(self):
        """What crashed deliveries left goes after 36 hours."""
        self.make_maildir()
        for name, hours in (("old", 37), ("young", 35), (".hidden", 99)):
            path = self.mail / "tmp" / name
            path.write_bytes(b"x")
            when = time.time() - hours * 3600
            os.utime(path, (when, when))
        (self.mail / "tmp" / "folder").mkdir()
        self.deliver()
        self.assertEqual(
            sorted(path.name for path in (self.mail / "tmp").iterdir()),
            [".hidden", "folder", "young"])

    def test_loop(self):
        """More than 100 Received lines."""
        smtp = self.smtp().ready()
        for count, wanted in ((100, QUEUED), (101, "554 5.4.6")):
            text = b"Received: by x\n\tid y\n" * count + b"\nbody\n"
            self.assertRegex(str(smtp.message(text)), wanted)
        text = b"Received : by x\nRECEIVED\t: by x\n" * 51 + b"\nbody\n"
        self.assertRegex(str(smtp.message(text)), "554 5.4.6")
        # In the body they mean nothing, and these are others
        text = b"Received-X: by x\nReceived by: x\nX: y\n" * 51 + b"\n"
        self.assertRegex(str(smtp.message(text)), QUEUED)
        text = b"Subject: x\n\n" + b"Received: by x\n" * 200
        self.assertRegex(str(smtp.message(text)), QUEUED)
        self.assertEqual(len(self.stored()), 3)


class NoMaildir(TestCase):
    """The maildir cannot be had: the client keeps its message."""

    def refused(self):
        smtp = self.smtp().ready()
        smtp.expect("MAIL FROM:<a@example.com>", "250 2.1.0|451 4.3.0")
        smtp.cmd("RCPT TO:<b@example.com>")
        reply = smtp.cmd("DATA")
        if reply.code == 354:
            smtp.send(b"x\r\n.\r\n")
            reply = smtp.reply()
            self.assertEqual(str(reply), "451 4.3.0")
        else:
            self.assertRegex(str(reply), r"451 4\.3\.0|503 5\.5\.1")
        smtp.expect("NOOP", "250 2.0.0")
        self.assertIn(str(self.mail), smtp.process.log())

    def test_missing_parent(self):
        self.mail = self.path("no/such/parent/mail")
        self.refused()
        self.assertFalse(self.path("no").exists())

    def test_maildir_is_a_file(self):
        self.write("mail", "not a folder")
        self.refused()
        self.assertEqual(self.mail.read_text(), "not a folder")

    def test_part_of_it_is_a_file(self):
        self.make_maildir()
        for name in ("new", "tmp"):
            with self.subTest(name=name):
                (self.mail / name).rmdir()
                (self.mail / name).write_text("not a folder")
                self.refused()
                self.assertEqual([str(path) for path in self.mail.rglob("*")
                                  if path.is_file()],
                                 [str(self.mail / name)])
                (self.mail / name).unlink()
                (self.mail / name).mkdir()
