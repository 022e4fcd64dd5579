"""What other POP3 servers got wrong, each a case named after what it guards.
Those about SMTP are in test_smtp_peers.py."""

import os
import socket
import time

from certs import certificates
from mailtest import POP3, Pop3Peer, TestCase

ODD = (b"...first line\n.\n..\nSubject: not a header\n\n\nbody\n.dot\n"
       b"no end, and blank lines before it\n\n\n\nlast")
ODD_WIRE = (b"....first line\r\n..\r\n...\r\nSubject: not a header\r\n\r\n"
            b"\r\nbody\r\n..dot\r\nno end, and blank lines before it\r\n"
            b"\r\n\r\n\r\nlast\r\n")
ODD_OCTETS = len(ODD_WIRE) - 4     # without the added dots


class Peers(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()

    def numbered(self, count):
        for n in range(1, count + 1):
            self.put(f"new/16000{n:05}.x", b"Subject: %d\n\n%s" % (
                n, b"line\n" * n))

    def uids(self, pop):
        return [row.split(b" ") for row
                in pop.multi("UIDL")[1].split(b"\r\n")[:-1]]


class MailServerInPhp(Peers):
    """The first seed."""

    def test_sizes_are_those_that_retr_sends(self):
        self.put("cur/1.x", ODD)
        pop = self.pop3().login()
        self.assertEqual(pop.stat(), (1, ODD_OCTETS))
        self.assertEqual(pop.listing("LIST"), {1: str(ODD_OCTETS)})
        self.assertEqual(pop.retr(1), (ODD_OCTETS, ODD_WIRE))

    def test_trailing_blank_lines_are_not_trimmed(self):
        self.put("cur/1.x", b"a: b\n\nc\n\n\n\n")
        self.assertEqual(self.pop3().login().retr(1)[1],
                         b"a: b\r\n\r\nc\r\n\r\n\r\n\r\n")

    def test_top_0_has_the_blank_line(self):
        self.put("cur/1.x", b"a: b\n\nc\n")
        self.assertEqual(self.pop3().login().multi("TOP 1 0")[1],
                         b"a: b\r\n\r\n")

    def test_unreadable_file_is_no_empty_message(self):
        self.put("cur/1.x", b"a: b\n\nc\n")
        pop = self.pop3().login()
        (self.mail / "cur/1.x").unlink()
        (self.mail / "cur/1.x").mkdir()
        pop.expect("RETR 1", r"-ERR \[SYS/TEMP\]")
        pop.expect("TOP 1 0", r"-ERR \[SYS/TEMP\]")

    def test_stat_before_login(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        for command in ("STAT", "LIST", "UIDL", "RETR 1"):
            pop.expect(command, "-ERR")

    def test_1x_is_no_number(self):
        self.numbered(2)
        pop = self.pop3().login()
        for command in ("RETR 1x", "LIST 1x", "UIDL 1x", "TOP 1x 0",
                        "TOP 1 0x", "RETR 1.0", "RETR +1", "RETR 0x1"):
            pop.expect(command, "-ERR")

    def test_bad_handshake_ends_nobody_elses_session(self):
        """Nor does one client wait for another."""
        self.numbered(1)
        certs = certificates()
        server = self.serve(POP3, *certs.server.options(), "--auth", "any",
                            "--maildir", self.mail)
        first = self.connect(server.port, Pop3Peer, certs.client_context())
        first.login()
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            second = self.connect(server.port, Pop3Peer,
                                  certs.client_context())
            second.login()
            self.assertEqual(second.stat(), first.stat())
        second.quit()
        self.assertEqual(first.retr(1)[0], 20)
        first.quit()


class Mailpit(Peers):
    def test_top_n_stuffs_dots_and_ends_after_n_lines(self):
        self.put("cur/1.x", b"a: b\n\n.one\n.two\nthree\n")
        pop = self.pop3().login()
        self.assertEqual(pop.multi("TOP 1 1")[1], b"a: b\r\n\r\n..one\r\n")
        self.assertEqual(pop.multi("TOP 1 2")[1],
                         b"a: b\r\n\r\n..one\r\n..two\r\n")

    def test_stat_and_list_know_of_dele(self):
        self.numbered(3)
        pop = self.pop3("--allow-delete").login()
        count, octets = pop.stat()
        size = int(pop.cmd("LIST 2").split(" ")[2])
        pop.expect("DELE 2", r"\+OK")
        self.assertEqual(pop.stat(), (count - 1, octets - size))
        self.assertEqual([row.split(b" ")[0] for row in
                          pop.multi("LIST")[1].split(b"\r\n")[:-1]],
                         [b"1", b"3"])

    def test_more_than_the_newest_100(self):
        self.numbered(230)
        pop = self.pop3().login()
        self.assertEqual(pop.stat()[0], 230)
        self.assertIn(b"Subject: 1\r\n", pop.retr(1)[1])
        self.assertEqual(len(pop.listing("UIDL")), 230)

    def test_first_lines_dot_is_stuffed(self):
        """Stalwart's failure, too."""
        self.put("cur/1.x", b".\n")
        pop = self.pop3().login()
        self.assertEqual(pop.retr(1), (3, b"..\r\n"))
        self.assertEqual(pop.multi("TOP 1 0")[1], b"..\r\n")


class Smtp4dev(Peers):
    def test_top_is_there_where_capa_says_so(self):
        self.numbered(1)
        pop = self.pop3().login()
        self.assertIn(b"TOP\r\n", pop.multi("CAPA")[1])
        pop.multi("TOP 1 0")

    def test_dele_is_no_deletion_and_renumbers_nothing(self):
        """A release of Courier's renumbered, too."""
        self.numbered(3)
        pop = self.pop3("--allow-delete").login()
        wanted = self.uids(pop)
        pop.expect("DELE 1", r"\+OK")
        self.assertEqual(self.uids(pop), wanted[1:])
        self.assertEqual(len(list((self.mail / "new").iterdir())), 3)
        self.assertIn(b"Subject: 3\r\n", pop.retr(3)[1])
        pop.expect("RSET", r"\+OK")
        self.assertEqual(self.uids(pop), wanted)


class Greenmail(Peers):
    def test_capa_lists_top(self):
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        self.assertIn(b"TOP\r\n", pop.multi("CAPA")[1])

    def test_sizes_are_those_of_now(self):
        self.put("cur/1.x", b"a: b\n\nshort\n")
        pop = self.pop3().login()
        before = pop.stat()[1]
        self.put("cur/1.x", b"a: b\n\nnot so short any more\n")
        self.assertEqual(pop.retr(1)[0], len(pop.retr(1)[1]))
        self.assertGreater(pop.retr(1)[0], before)
        pop.quit()
        pop = self.pop3().login()
        self.assertEqual(pop.stat()[1], pop.retr(1)[0])


class Inbucket(Peers):
    def test_line_of_64_kilobytes(self):
        for n, octets in enumerate((65534, 65535, 65536, 65537, 200_000), 1):
            self.put(f"cur/{n}.x", b"a: b\n\n" + b"z" * octets + b"\n.\n")
        pop = self.pop3().login()
        for n, octets in enumerate((65534, 65535, 65536, 65537, 200_000), 1):
            self.assertEqual(
                pop.retr(n)[1],
                b"a: b\r\n\r\n" + b"z" * octets + b"\r\n..\r\n")

    def test_failed_stls_is_the_end_of_one_session_only(self):
        self.numbered(1)
        certs = certificates()
        server = self.serve(POP3, "--tls", "starttls", "--auth", "any",
                            *certs.server.options(), "--maildir", self.mail)
        peer = self.connect(server.port, Pop3Peer)
        peer.expect(None, r"\+OK")
        peer.expect("STLS", r"\+OK")
        peer.send(b"QUIT\r\n")
        # Nothing, or as LibreSSL's libtls does it: an alert (RFC 8446 6).
        self.assertRegex(peer.rest(), rb"(?s)\A(\x15\x03.\0\x02..)?\Z")
        self.assertEqual(server.process().wait(), 0)
        pop = self.connect(server.port, Pop3Peer).login()
        self.assertEqual(pop.stat()[0], 1)


class Mailfront(Peers):
    def test_rset_does_not_scan_again(self):
        self.numbered(2)
        pop = self.pop3().login()
        wanted = self.uids(pop)
        self.put("new/0.older", b"Subject: older\n\n")
        os.utime(self.mail / "new/0.older", (1, 1))
        pop.expect("RSET", r"\+OK")
        self.assertEqual(self.uids(pop), wanted)

    def test_no_blank_line_is_added(self):
        self.put("cur/1.x", b"a: b\n\nc")
        self.assertEqual(self.pop3().login().retr(1)[1],
                         b"a: b\r\n\r\nc\r\n")

    def test_long_names_do_not_collide(self):
        for end in "abc":
            self.put(f"cur/{'x' * 90}{end}", b"a: b\n\n")
        uids = [uid for _, uid in self.uids(self.pop3().login())]
        self.assertEqual(len(set(uids)), 3)
        self.assertTrue(all(len(uid) <= 70 for uid in uids), uids)

    def test_session_has_a_deadline(self):
        pop = self.pop3("--timeout", "1").login()
        pop.expect_end()
        self.assertEqual(pop.exit_status(), 0)


class QmailPop3d(Peers):
    def test_lf_counts_as_crlf(self):
        self.put("cur/1.x", b"a\nb\n")
        self.assertEqual(self.pop3().login().stat(), (1, 6))

    def test_mail_of_this_second_is_there(self):
        self.put("new/1.x", b"a: b\n\n")
        os.utime(self.mail / "new/1.x")
        pop = self.pop3().login()
        self.assertLess(time.time() - (self.mail / "new/1.x").stat().st_mtime,
                        60)
        self.assertEqual(pop.stat()[0], 1)

    def test_one_reply_to_quit(self):
        """And a true one: Courier says +OK before it looks."""
        self.numbered(2)
        pop = self.pop3("--allow-delete").login()
        pop.expect("DELE 1", r"\+OK")
        # It cannot be removed: a directory has its name, and is not empty
        path = self.mail / "new/1600000001.x"
        path.unlink()
        path.mkdir()
        (path / "file").write_bytes(b"")
        pop.expect("QUIT", r"-ERR \[SYS/TEMP\]")
        self.assertEqual(pop.rest(), b"")


class Stalwart(Peers):
    def test_list_uidl_and_retr_know_of_dele(self):
        self.numbered(2)
        pop = self.pop3("--allow-delete").login()
        pop.expect("DELE 1", r"\+OK")
        self.assertEqual([n for n, _ in self.uids(pop)], [b"2"])
        for command in ("LIST 1", "UIDL 1", "RETR 1", "TOP 1 0", "DELE 1"):
            pop.expect(command, "-ERR")

    def test_reply_to_quit_comes_through_tls(self):
        self.numbered(1)
        certs = certificates()
        server = self.serve(POP3, *certs.server.options(), "--auth", "any",
                            "--maildir", self.mail, "--allow-delete")
        pop = self.connect(server.port, Pop3Peer, certs.client_context())
        pop.login()
        pop.expect("DELE 1", r"\+OK")
        pop.quit()      # which looks for close_notify as well
