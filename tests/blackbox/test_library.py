"""libmailhandlers: what the library of TheFox/smtpd can do and ours can, each
of its points a test.  mailhandlers(3)."""

import contextlib
import ctypes
import poplib
import select
import smtplib
import socket

import mailhandlers as m
from embedded import EXAMPLES, EmbeddedCase, build
from mailtest import DEADLINE, wait_for

TEXT = "Subject: x\r\n\r\n.hello\r\n"


def send(port, *recipients, text=TEXT, login=None, client=smtplib.SMTP):
    """What smtplib says of the recipients that were refused."""
    with client("127.0.0.1", port, timeout=DEADLINE) as smtp:
        if login:
            smtp.login(*login)
        return smtp.sendmail("a@b.example", recipients, text)


class AgainstTheSeed(EmbeddedCase):
    def setUp(self):
        super().setUp()
        self.seen = []

    def server(self, handler=None):
        return m.Server(self, handler or (lambda mh, event: True))

    # new Server(...), loop()

    def test_new_server_and_loop(self):
        source = EXAMPLES / "server.c"
        self.assertLessEqual(len(source.read_text().splitlines()), 35)
        server = self.serve_example(build(source))
        self.assertEqual(send(server.ports[0], "c@d.example",
                              "nobody@d.example"),
                         {"nobody@d.example":
                          (550, b"5.1.1 No such mailbox here")})
        self.assertEqual(server.text(), TEXT.replace("\r\n", "\n"))

    # run() in one's own loop, usleep(10000)

    def test_run_in_ones_own_loop_without_sleep(self):
        """The descriptor says when there is work, and is silent without."""
        server = self.server(self.note)
        port = server.listen(timeout=1)
        fd = server.mh.server_fd(server.server)

        def readable(seconds=0):
            return bool(select.select([fd], [], [], seconds)[0])

        def quiet():
            while server.turn() is not None:
                pass
            return not readable()
        self.assertTrue(quiet())
        client = socket.create_connection(("127.0.0.1", port))
        self.addCleanup(client.close)
        self.assertTrue(readable(DEADLINE))
        wait_for(lambda: quiet() and m.CONNECT in self.seen, "CONNECT")
        self.assertEqual(client.recv(100), b"220 mail.example ESMTP ready\r\n")
        # A question is open: silent, until it is answered
        client.sendall(b"EHLO x\r\nMAIL FROM:<a@b>\r\n")
        self.later = []
        wait_for(lambda: quiet() and self.later, "MAIL")
        self.assertFalse(readable())
        server.mh.accept(self.later.pop())
        self.assertTrue(readable())
        # One event is not all
        self.assertEqual(quiet(), True)
        # A deadline is work, too
        self.assertTrue(readable(DEADLINE))
        wait_for(lambda: quiet() and m.CLOSED in self.seen, "the time-out")
        self.assertTrue(client.recv(1000).endswith(
            b"421 4.4.2 Took too long, closing\r\n"))

    def note(self, mh, event):
        self.seen.append(event.type)
        if event.type == m.SENDER:
            self.later.append(event.session)
            return False
        return True

    # TRIGGER_NEW_MAIL (from, rcpts, mail); its answer is ignored

    def test_new_mail_and_its_answer_decides(self):
        def handler(mh, event):
            if event.type != m.MESSAGE:
                return True
            self.seen.append((bytes(mh.get(event.session, m.REVERSE_PATH)),
                              mh.recipients_of(event.session),
                              bytes(event.text)))
            if b"bad" in bytes(event.text):
                mh.reply(event.session, 554, b"5.6.0", b"Not\nthis")
                return False
            return True
        server = self.server(handler)
        port = server.listen()
        server.run(send, port, "c@d", "e@f")
        with self.assertRaises(smtplib.SMTPDataError) as caught:
            server.run(send, port, "c@d", "x@y", "z@z")
            server.run(lambda: send(port, "c@d", text="bad\r\n"))
        self.assertEqual(caught.exception.args,
                         (554, b"5.6.0 Not\n5.6.0 this"))
        self.assertEqual(self.seen[0], (b"a@b.example", [b"c@d", b"e@f"],
                                        b"Subject: x\n\n.hello\n"))
        self.assertEqual(self.seen[1][1], [b"c@d", b"x@y", b"z@z"])
        self.assertEqual(len(self.seen), 3)

    # new recipient, whose answer decides

    def test_new_recipient_whose_answer_decides(self):
        def handler(mh, event):
            if event.type == m.RECIPIENT and bytes(event.address) == b"no@x":
                mh.refuse(event.session, m.FORBIDDEN, b"Not for you")
                return False
            if event.type == m.MESSAGE:
                self.seen.append(mh.recipients_of(event.session))
            return True
        server = self.server(handler)
        self.assertEqual(server.run(send, server.listen(), "no@x", "yes@x"),
                         {"no@x": (550, b"5.7.1 Not for you")})
        self.assertEqual(self.seen, [[b"yes@x"]])

    # TRIGGER_AUTH_ATTEMPT (type, credentials)

    def test_auth_attempt_with_type_and_credentials(self):
        def handler(mh, event):
            if event.type != m.LOGIN:
                return True
            self.seen.append((bytes(mh.get(event.session, m.MECHANISM)),
                              bytes(event.user), bytes(event.password)))
            if bytes(event.password) == b"secret":
                return True
            mh.refuse(event.session, m.WRONG, None)
            return False
        server = self.server(handler)
        port = server.listen(flags=m.OFFER_CLEAR_LOGIN | m.REQUIRE_LOGIN)

        def client(mechanism, password):
            with smtplib.SMTP("127.0.0.1", port, timeout=DEADLINE) as smtp:
                smtp.ehlo()
                self.assertEqual(smtp.mail("a@b")[0], 530)
                smtp.user, smtp.password = "joe", password
                smtp.auth(mechanism, getattr(
                    smtp, f"auth_{mechanism.lower()}"))
                return smtp.mail("a@b")[0]
        for mechanism in "PLAIN", "LOGIN":
            self.assertEqual(server.run(client, mechanism, "secret"), 250)
            with self.assertRaises(smtplib.SMTPAuthenticationError) as caught:
                server.run(client, mechanism, "wrong")
            self.assertEqual(caught.exception.args[0], 535)
        self.assertEqual(self.seen, [
            (b"PLAIN", b"joe", b"secret"), (b"PLAIN", b"joe", b"wrong"),
            (b"LOGIN", b"joe", b"secret"), (b"LOGIN", b"joe", b"wrong")])

    # host name option, any number of listeners

    def test_host_name_and_any_number_of_listeners(self):
        server = self.server()
        names = [b"mx%d.example" % i for i in range(20)]
        ports = [server.listen(hostname=name) for name in names]

        def client():
            for name, port in zip(names, ports):
                with socket.create_connection(("127.0.0.1", port)) as sock:
                    self.assertEqual(sock.recv(100),
                                     b"220 %s ESMTP ready\r\n" % name)
        server.run(client)

    # What is not there at all

    def test_connect(self):
        def handler(mh, event):
            if event.type != m.CONNECT:
                return True
            self.seen.append(bytes(mh.get(event.session, m.PEER)))
            if len(self.seen) == 1:
                return True
            if len(self.seen) == 2:
                mh.drop(event.session)
            else:
                mh.refuse(event.session,
                          m.FORBIDDEN if len(self.seen) == 3 else m.BUSY,
                          None)
            return False
        server = self.server(handler)
        ports = [server.listen(), server.listen(m.POP3)]

        def hear(port):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.shutdown(socket.SHUT_WR)
                with sock.makefile("rb") as lines:
                    return lines.read()
        wanted = [b"220 mail.example ESMTP ready\r\n", b"",
                  b"554 5.7.1 No service for this host\r\n",
                  b"421 4.3.2 Too busy, try again later\r\n"]
        for said in wanted:
            self.assertEqual(server.run(hear, ports[0]), said)
        self.assertEqual(server.run(hear, ports[1]),
                         b"-ERR [SYS/TEMP] Too busy, try again later\r\n")
        self.assertEqual(set(self.seen), {b"127.0.0.1"})

    def test_sender(self):
        def handler(mh, event):
            if event.type != m.SENDER:
                return True
            self.seen.append(bytes(event.address))
            mh.refuse(event.session, m.FORBIDDEN, None)
            return False
        server = self.server(handler)
        with self.assertRaises(smtplib.SMTPSenderRefused) as caught:
            server.run(send, server.listen(), "c@d")
        self.assertEqual(caught.exception.args[:2],
                         (550, b"5.7.1 Not allowed"))
        self.assertEqual(self.seen, [b"a@b.example"])

    def test_streaming(self):
        pieces = []

        def handler(mh, event):
            self.seen.append(event.type)
            if event.type == m.DATA:
                pieces.append(bytes(event.text))
            if event.type == m.MESSAGE:
                self.assertEqual(bytes(event.text), b"")
            return True
        server = self.server(handler)
        text = "Subject: x\r\n\r\n" + ".line\r\n" * 100000
        server.run(lambda port: send(port, "c@d", text=text),
                   server.listen(flags=m.STREAM))
        self.assertEqual(b"".join(pieces),
                         text.replace("\r\n", "\n").encode())
        self.assertGreater(len(pieces), 10)
        self.assertEqual(self.seen.count(m.BEGIN), 1)

    def test_lmtp(self):
        def handler(mh, event):
            if event.type != m.MESSAGE:
                return True
            self.seen.append((event.index, bytes(event.address)))
            if event.index == 1:
                mh.refuse(event.session, m.FULL, None)
                return False
            return True
        server = self.server(handler)

        # smtplib takes the first reply for all of them: by hand, then
        port = server.listen(m.LMTP)

        def by_hand():
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(b"LHLO x\r\nMAIL FROM:<a@b>\r\n"
                             b"RCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n"
                             b"RCPT TO:<g@h>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
                with sock.makefile("rb") as lines:
                    return lines.read().splitlines()[-4:]
        self.assertEqual(server.run(by_hand), [
            b"250 2.0.0 Ok, kept", b"452 4.2.2 Mailbox full",
            b"250 2.0.0 Ok, kept", b"221 2.0.0 Bye"])
        self.assertEqual(self.seen, [(0, b"c@d"), (1, b"e@f"), (2, b"g@h")])

    def test_pop3(self):
        mails = [b"Subject: 1\n\n.one\n", b"Subject: 2\n\n" + b"x\n" * 99999]
        octets = (ctypes.c_uint64 * 2)()
        sent = [0]

        def handler(mh, event):
            session = event.session
            if event.type == m.LOGIN:
                for i, mail in enumerate(mails):
                    octets[i] = mh.measure(mail, len(mail))
                self.assertEqual(mh.maildrop(session, octets, 2), 0)
            elif event.type == m.UIDL:
                mh.uidl(session, b"id%d" % event.index)
            elif event.type == m.RETRIEVE:
                mail = mails[event.index]
                sent[0] += mh.send(session, mail[sent[0]:],
                                   len(mail) - sent[0])
                if sent[0] == len(mail):
                    sent[0] = 0
                    mh.sent(session, True)
            elif event.type == m.UPDATE:
                self.seen = [mh.is_deleted(session, i) for i in range(2)]
                return True
            else:
                return True
            return False
        server = self.server(handler)

        def client(port):
            pop3 = poplib.POP3("127.0.0.1", port, timeout=DEADLINE)
            pop3.user("joe")
            pop3.pass_("secret")
            self.assertEqual(pop3.stat(), (2, 20 + 14 + 3 * 99999))
            self.assertEqual(pop3.uidl()[1], [b"1 id0", b"2 id1"])
            for i, mail in enumerate(mails, 1):
                self.assertEqual(pop3.retr(i)[1], mail.splitlines())
            pop3.dele(1)
            pop3.quit()
        server.run(client, server.listen(
            m.POP3, m.OFFER_CLEAR_LOGIN | m.OFFER_DELETE))
        self.assertEqual(self.seen, [True, False])

    def test_answers_later(self):
        """An open question makes only its session wait; and a peer that
        leaves meanwhile takes nothing along."""
        waiting = []

        def handler(mh, event):
            if event.type == m.MESSAGE and b"slow" in bytes(event.text):
                waiting.append(event.session)
                return False
            self.seen.append(event.type)
            return True
        server = self.server(handler)
        port = server.listen()
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(
                socket.create_connection(("127.0.0.1", port)))
            sock.sendall(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
                         b"DATA\r\nslow\r\n.\r\nMAIL FROM:<e@f>\r\n")
            wait_for(lambda: server.turn(20) is None and waiting, "MESSAGE")
            for _ in range(20):
                server.run(send, port, "c@d")
        # It is gone, and the question is still open
        while server.turn(20) is not None:
            pass
        before = list(self.seen)
        server.mh.accept(waiting.pop())
        wait_for(lambda: server.turn(20) is None and self.seen != before,
                 "its end")
        self.assertEqual(self.seen[-1], m.CLOSED)


if __name__ == "__main__":
    import unittest
    unittest.main()
