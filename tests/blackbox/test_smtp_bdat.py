"""smtp-handler: BDAT (RFC 3030).  mail-handlers(7), Accepting a message."""

import random
import re

import model
from mailtest import TestCase, split_stored
from relay import Relay
from replies import QUEUED, SYNTAX

CHUNK = "250 2.0.0"


class Chunks(TestCase):
    def bdat(self, smtp, octets, last=False, wanted=CHUNK):
        smtp.send(b"BDAT %d%s\r\n" % (len(octets), b" LAST" * last) + octets)
        return smtp.expect(None, wanted)

    def kept(self):
        path, content = self.the_message()
        path.unlink()
        self.assertTrue(path.name.endswith(
            f",S={len(content)},W={model.octets(content)}"))
        return split_stored(content)[1]

    def test_offered(self):
        self.assertEqual(self.smtp().hello()["CHUNKING"], "")

    def test_texts_cut_anywhere(self):
        text = b"Subject: x\r\n\r\n.\r\n..\r\nQUIT\r\n.\r\n\0\xff\r\nend"
        wanted = text.replace(b"\r\n", b"\n") + b"\n"
        for cut in range(len(text) + 1):
            smtp = self.smtp().ready()
            smtp.envelope()
            self.bdat(smtp, text[:cut])
            self.bdat(smtp, text[cut:], last=True, wanted=QUEUED)
            self.assertEqual(self.kept(), wanted)
            smtp.quit()

    def test_many_chunks_in_one_write(self):
        chooser = random.Random(1)
        text = b"".join(b"%d " % n * chooser.randrange(40) + b"\r\n"
                        for n in range(3000))
        wire, at, n = b"", 0, 0
        while at < len(text):
            size = chooser.randrange(3000)
            chunk = text[at:at + size]
            at += size
            n += 1
            wire += b"BDAT %d\r\n" % len(chunk) + chunk
        smtp = self.smtp().ready()
        smtp.envelope()
        smtp.send(wire + b"BDAT 0 LAST\r\n")
        for _ in range(n):
            smtp.expect(None, CHUNK)
        smtp.expect(None, QUEUED)
        self.assertEqual(self.kept(), text.replace(b"\r\n", b"\n"))

    def test_whole_session_pipelined(self):
        smtp = self.smtp()
        smtp.send(b"EHLO x\r\nAUTH PLAIN AGpvZQB4\r\nMAIL FROM:<a@b.test>\r\n"
                  b"RCPT TO:<c@d.test>\r\nBDAT 3 LAST\r\nx\r\nQUIT\r\n")
        for wanted in ("220", "250", "235 2.7.0", "250 2.1.0", "250 2.1.5",
                       QUEUED, "221 2.0.0"):
            smtp.expect(None, wanted)
        smtp.expect_end()
        self.assertEqual(self.kept(), b"x\n")

    def test_before_anything(self):
        """The octets of a chunk are no commands, wherever it stands."""
        smtp = self.smtp()
        smtp.expect(None, "220")
        self.bdat(smtp, b"QUIT\r\n", wanted="503 5.5.1")
        smtp.ehlo()
        self.bdat(smtp, b"QUIT\r\n", last=True, wanted="503 5.5.1")
        smtp.login()
        self.bdat(smtp, b"QUIT\r\n", wanted="503 5.5.1")
        smtp.expect("MAIL FROM:<a@b.test>", "250 2.1.0")
        self.bdat(smtp, b"QUIT\r\n", wanted="503 5.5.1")
        # What the message has lost no recipient brings back
        smtp.expect("RCPT TO:<c@d.test>", "503 5.5.1")
        self.bdat(smtp, b"more\r\n", last=True, wanted="503 5.5.1")
        self.assert_nothing_kept()
        smtp.expect("RSET", "250 2.0.0")
        smtp.envelope("a@b.test", "c@d.test")
        self.bdat(smtp, b"fine\r\n", last=True, wanted=QUEUED)
        smtp.expect("DATA", "503 5.5.1")

    def test_failed_until_rset(self):
        smtp = self.smtp().ready()
        smtp.envelope()
        self.bdat(smtp, b"first\r\n")
        self.bdat(smtp, b"bare\nline\r\n", wanted="550 5.6.0")
        self.assert_nothing_kept()
        for _ in range(30):     # as many as a client has in its pipe
            self.bdat(smtp, b"RSET\r\n", wanted="503 5.5.1")
        self.bdat(smtp, b"RSET\r\n", last=True, wanted="503 5.5.1")
        for command in ("DATA", "MAIL FROM:<a@b.test>", "RCPT TO:<a@b.test>"):
            smtp.expect(command, "503 5.5.1")
        smtp.expect("RSET", "250 2.0.0")
        self.assertRegex(str(smtp.message(b"next\n")), QUEUED)
        self.assertEqual(self.kept(), b"next\n")

    def test_data_after_bdat(self):
        smtp = self.smtp().ready()
        smtp.envelope()
        self.bdat(smtp, b"abc")
        smtp.expect("DATA", "503 5.5.1")
        smtp.expect("RSET", "250 2.0.0")
        self.assert_nothing_kept()

    def test_bare_cr_and_lf(self):
        for octets in (b"a\rb", b"a\r", b"\r\r\n", b"\n", b"a\n\r\n"):
            smtp = self.smtp().ready()
            smtp.envelope()
            self.bdat(smtp, octets, last=True, wanted="550 5.6.0")
            smtp.expect("RSET", "250 2.0.0")
            self.assert_nothing_kept()

    def test_dots_and_bare_lf_normalized(self):
        smtp = self.smtp("--bare-lf", "normalize").ready()
        smtp.envelope()
        self.bdat(smtp, b"a\n.\n..\r\n.\r\nb", last=True, wanted=QUEUED)
        self.assertEqual(self.kept(), b"a\n.\n..\n.\nb\n")

    def test_sizes(self):
        smtp = self.smtp("--max-size", "2000").ready()
        for cuts, wanted in (((2000,), QUEUED), ((1500, 500), QUEUED),
                             ((2001,), "552 5.3.4"),
                             ((1500, 501), "552 5.3.4"),
                             ((1_000_000,), "552 5.3.4")):
            with self.subTest(cuts=cuts):
                smtp.envelope()
                for cut in cuts[:-1]:
                    self.bdat(smtp, b"x" * (cut - 2) + b"\r\n")
                self.bdat(smtp, b"x" * (cuts[-1] - 2) + b"\r\n", last=True,
                          wanted=wanted)
                if wanted == QUEUED:
                    self.kept()
                else:
                    self.assert_nothing_kept()
                smtp.expect("RSET", "250 2.0.0")

    def test_syntax(self):
        for argument in ("", " ", " x", " -1", " +1", " 0x1", " LAST",
                         " 5 LAST LAST", " 5 FIRST", " 5,LAST", " 5.0"):
            with self.subTest(argument=argument):
                smtp = self.smtp().ready()
                smtp.envelope()
                size = re.match(r" (\d+)", argument)
                smtp.send(f"BDAT{argument}\r\n".encode()
                          + b"x" * int(size[1] if size else 0))
                smtp.expect(None, SYNTAX)
                smtp.expect("RSET", "250 2.0.0")
                smtp.quit()

    def test_numbers_beyond_all(self):
        smtp = self.smtp().ready()
        smtp.envelope()
        smtp.send(b"BDAT 99999999999999999999999 LAST\r\nRSET\r\nMAIL "
                  b"FROM:<a@b.test>\r\n")
        smtp.expect(None, "521 5.5.4")
        smtp.expect_end()
        self.assertEqual(smtp.exit_status(), 0)

    def test_binarymime(self):
        smtp = self.smtp().ready()
        smtp.expect("MAIL FROM:<a@b.test> BODY=BINARYMIME", "555 5.5.4")

    def test_end_of_input_in_a_chunk(self):
        for wire in (b"BDAT 5\r\nabc", b"BDAT 5 LAST\r\nabc",
                     b"BDAT 3\r\nabc", b"BDAT 1000000 LAST\r\n"):
            smtp = self.smtp().ready()
            smtp.envelope()
            smtp.send(wire)
            smtp.end_output()
            self.assertNotIn(b"LAST", smtp.rest())
            self.assertEqual(smtp.exit_status(), 0)
            self.assert_nothing_kept()

    def test_time_out_in_a_chunk(self):
        smtp = self.smtp("--timeout", "1").ready()
        smtp.envelope()
        smtp.send(b"BDAT 10 LAST\r\nabc")
        smtp.expect(None, "421 4.4.2")
        smtp.expect_end()
        self.assert_nothing_kept()

    def test_octets_earn_time(self):
        """wire.text holds in chunks too: a line of 20 KiB that comes in more
        than --timeout is not cut off."""
        smtp = self.smtp("--timeout", "1").ready()
        smtp.envelope()
        smtp.send(b"BDAT 20482 LAST\r\n")
        for _ in range(10):
            smtp.send(b"x" * 2048)
            self.assertTrue(smtp.quiet(0.15))
        smtp.send(b"\r\n")
        smtp.expect(None, QUEUED)

    def test_no_maildir(self):
        """A chunk for which there is no place: consumed, then answered."""
        self.mail = self.path("no/such/mail")
        smtp = self.smtp().ready()
        smtp.envelope()
        self.bdat(smtp, b"QUIT\r\n" * 1000, last=True, wanted="451 4.3.0")
        smtp.expect("RSET", "250 2.0.0")

    def test_loop(self):
        smtp = self.smtp().ready()
        smtp.envelope()
        self.bdat(smtp, b"Received: by x\r\n" * 101, wanted="554 5.4.6")
        self.bdat(smtp, b"\r\nx\r\n", last=True, wanted="503 5.5.1")

    def test_50_megabytes(self):
        text = (b".3456789 " * 8 + b"\r\n") * 700_000
        smtp = self.smtp("--max-size", "100000000").ready()
        smtp.message(b"small\n")
        self.kept()
        before = smtp.process.peak_kib()
        smtp.envelope()
        half = len(text) // 2
        self.bdat(smtp, text[:half])
        self.bdat(smtp, text[half:], last=True, wanted=QUEUED)
        self.assertLess(smtp.process.peak_kib(), before + 1024)
        self.assertTrue(self.kept() == text.replace(b"\r\n", b"\n"))


class Relayed(Relay):
    def test_stuffed_on_the_way_on(self):
        hop = self.hop()
        smtp = self.relay(self.account(hop))
        smtp.envelope()
        smtp.send(b"BDAT 10\r\na\r\n.\r\n..b\rBDAT 2 LAST\r\n\nc")
        smtp.expect(None, CHUNK)
        smtp.expect(None, "250 2.0.0")
        smtp.quit()
        hop.wait_ended()
        (message,) = hop.messages
        self.assertEqual(self.split_relayed(message)[1],
                         b"a\r\n..\r\n...b\r\nc\r\n.\r\n")

    def test_failed_chunk_is_not_sent_on(self):
        hop = self.hop()
        smtp = self.relay(self.account(hop))
        smtp.envelope()
        smtp.send(b"BDAT 3 LAST\r\na\nb")
        smtp.expect(None, "550 5.6.0")
        smtp.expect("RSET", "250 2.0.0")
        self.assertRegex(str(smtp.message(b"next\n")), QUEUED)
        smtp.quit()
        hop.wait_ended()
        self.assertEqual(len(hop.messages), 1)
        self.assertEqual(hop.commands.count("RSET"), 1)
