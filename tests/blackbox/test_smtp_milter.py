"""smtp-handler's filters: --milter, --milter-default.  smtp-handler(8),
FILTERS."""

import os
import re
import signal
import socket
import struct
import threading
import time

from certs import certificates
from clock import Clock
from filters import Milter, filter_program
from mailtest import (DEADLINE, HOST, SMTP, SmtpPeer, free_port, smtp_wire,
                      wait_for)
from nexthop import ScriptedHop, busy_socket

TEXT = (b"Subject: x\nX-Twice: a\n b\nX-Other:c\nX-twice: d\n\n.dot\nbody\n")


class Libmilter(Milter):
    """Every action and reply, by libmilter itself."""

    def message(self, smtp, sender, *recipients):
        smtp.expect(f"MAIL FROM:<{sender}@x.org>", "250 2.1.0")
        for recipient in recipients or ["ann@example.org"]:
            smtp.expect(f"RCPT TO:<{recipient}>", "250 2.1.5")
        return smtp.text(smtp_wire(TEXT))

    def test_what_it_is_told(self):
        address = self.filter()
        smtp = self.session(address)
        self.assertEqual(str(self.message(
            smtp, "joe", "ann@example.org", "bob@example.org")), "250 2.0.0")
        self.assertEqual(str(self.message(smtp, "jim")), "250 2.0.0")
        smtp.quit()
        wait_for(lambda: "close " in self.told(), "the session's end")
        told = self.told()
        identification = [line.split()[-1] for line in told
                          if line.startswith("macro i ")]
        self.assertEqual(len(set(identification)), 2)
        self.assertEqual(told[:5], [
            "connect localhost", "address none", f"macro j {HOST}",
            "macro _ localhost", "helo client.test"])
        self.assertEqual(
            [line for line in told[5:] if not line.startswith("macro i")], [
                "mail <joe@x.org>", "macro {auth_type} PLAIN",
                "macro {auth_authen} joe", "macro {mail_addr} joe@x.org",
                "rcpt <ann@example.org>", "macro {rcpt_addr} ann@example.org",
                "rcpt <bob@example.org>", "macro {rcpt_addr} bob@example.org",
                "data ", "Subject x", "X-Twice a\\n b", "X-Other c",
                "X-twice d", "eoh ", r"body .dot\r\nbody\r\n", "eom ",
                "mail <jim@x.org>", "macro {auth_type} PLAIN",
                "macro {auth_authen} joe", "macro {mail_addr} jim@x.org",
                "rcpt <ann@example.org>", "macro {rcpt_addr} ann@example.org",
                "data ", "Subject x", "X-Twice a\\n b", "X-Other c",
                "X-twice d", "eoh ", r"body .dot\r\nbody\r\n", "eom ",
                "close "])

    def test_peer_and_tls(self):
        certs = certificates()
        address = self.filter()
        server = self.serve(SMTP, *certs.server.options(),
                            "--no-auth-required", "--maildir", self.mail,
                            "--milter", address)
        smtp = self.connect(server.port, SmtpPeer, certs.client_context())
        smtp.hello()
        self.assertEqual(str(smtp.message(TEXT)), "250 2.0.0")
        told = self.told()
        self.assertEqual(told[:2], ["connect [127.0.0.1]", "address ipv4"])
        self.assertIn("macro _ [127.0.0.1]", told)
        self.assertIn("macro {client_addr} 127.0.0.1", told)
        self.assertIn("macro {tls_version} TLSv1.3", told)
        self.assertRegex("\n".join(told), r"macro \{cipher\} TLS_\w+")
        self.assertNotIn("{auth_", "\n".join(told))

    def test_over_the_network(self):
        """By port, with a login and without."""
        port = free_port()
        self.report = self.fresh_path("report")
        self.start([filter_program(), f"inet:{port}@127.0.0.1", self.report],
                   port=port)
        for host in ("127.0.0.1", "localhost"):
            smtp = self.session(f"inet:{port}@{host}")
            self.assertEqual(str(self.message(smtp, "eom-add")), "250 2.0.0")
            self.assertIn("X-Added: one", self.header()[0])
            self.the_message()[0].unlink()
        smtp = self.smtp("--no-auth-required", "--milter",
                         f"inet:{port}@127.0.0.1")
        smtp.hello()
        self.assertEqual(str(self.message(smtp, "eom-reject")), "550 5.7.1")
        self.assert_nothing_kept()

    ANSWERS = {"reject": "550 5.7.1", "tempfail": "451 4.7.1",
               "reply": "554 5.7.13", "multi": "451 4.7.9"}

    def test_refusals(self):
        """At every step; then the next message of the session is fine."""
        smtp = self.session(self.filter())
        for step in ("mail", "rcpt", "data", "header", "eoh", "body", "eom"):
            for action, wanted in self.ANSWERS.items():
                wanted = wanted.replace(".", r"\.")
                line = f"MAIL FROM:<{step}-{action}@x.org>"
                if step == "mail":
                    reply = smtp.expect(line, wanted)
                else:
                    smtp.expect(line, "250 2.1.0")
                    smtp.expect("RCPT TO:<fine@x.org>", "250 2.1.5")
                    if step == "rcpt":
                        reply = smtp.expect("RCPT TO:<ann@x.org>", wanted)
                        smtp.expect("RSET", "250 2.0.0")
                    else:
                        reply = smtp.text(smtp_wire(TEXT))
                        self.assertRegex(str(reply), wanted)
                if action == "reply":
                    self.assertEqual(reply.texts, ["At 100% no"])
                if action == "multi":
                    self.assertEqual(reply.texts, ["one", "two"])
        self.assert_nothing_kept()
        self.assertEqual(str(self.message(smtp, "joe")), "250 2.0.0")
        self.the_message()
        self.assertEqual(self.told().count("connect localhost"), 1)

    def test_accept_and_discard(self):
        smtp = self.session(self.filter())
        for step in ("mail", "rcpt", "data", "header", "eoh", "body", "eom"):
            for action, kept in (("accept", 1), ("discard", 0)):
                before = len(self.stored())
                self.report.write_text("")
                self.assertEqual(str(self.message(
                    smtp, f"{step}-{action}")), "250 2.0.0", (step, action))
                self.assertEqual(len(self.stored()) - before, kept)
                if step != "eom":
                    self.assertNotIn("eom ", self.told())
        self.assertEqual(str(self.message(smtp, "body-skip")), "250 2.0.0")

    def test_client_is_refused_or_accepted(self):
        for step in ("connect", "helo"):
            for action, wanted in self.ANSWERS.items():
                smtp = self.session(self.filter(f"{step}-{action}"))
                for _ in range(2):
                    smtp.expect("MAIL FROM:<joe@x.org>",
                                wanted.replace(".", r"\."))
                smtp.quit()
            smtp = self.session(self.filter(f"{step}-accept"))
            for _ in range(2):
                self.assertEqual(str(self.message(smtp, "joe")), "250 2.0.0")
            self.assertNotIn("eom ", self.told())

    def test_changes(self):
        address = self.filter()
        usual = ["Subject: x", "X-Twice: a", " b", "X-Other:c", "X-twice: d"]
        for action, wanted in (
                ("add", [*usual, "X-Added: one", "\ttwo"]),
                ("insert", ["X-Second: 2", *usual]),
                ("change", [*usual[:4], "x-twice: changed"]),
                ("delete", ["Subject: x", "X-Other:c", "X-twice: d"]),
                ("many", ["X-First: 3", "Subject: new", *usual[1:4],
                          "X-Many: 2"]),
                ("progress", usual)):
            with self.subTest(action=action):
                smtp = self.session(address)
                self.assertEqual(str(self.message(smtp, f"eom-{action}")),
                                 "250 2.0.0")
                path, content = self.the_message()
                lines, body = self.header()
                self.assertEqual(body, b".dot\nbody\n")
                self.assertRegex(lines[0], "^Return-Path: <eom-")
                ours = next(i for i, line in enumerate(lines)
                            if line.startswith("Received: "))
                if action == "insert":
                    self.assertEqual(lines[ours - 1], "X-Top: 0")
                end = max(i for i, line in enumerate(lines)
                          if line.endswith(" +0000"))
                self.assertEqual(lines[end + 1:], wanted)
                self.assertIn(f",S={len(content)},W="
                              f"{len(content) + content.count(b'%c' % 10)}",
                              path.name)
                path.unlink()

    def test_what_was_not_offered(self):
        """libmilter does not let it be asked for in the negotiation, and
        refuses to run then."""
        smtp = self.session(self.filter(env={"FILTER_ALL": "1"}))
        smtp.expect("MAIL FROM:<joe@x.org>", "451 4.7.1")
        smtp.quit()
        smtp.process.wait()
        self.assertIn("milter-failed:", smtp.process.log())

    def test_kept_and_relayed_alike(self):
        hop = ScriptedHop(self)
        relay = self.write("relay", f"* smtp+plain://127.0.0.1:{hop.port}\n")
        smtp = self.session(self.filter(), options=("--relay", relay))
        self.assertEqual(str(self.message(smtp, "eom-many")), "250 2.0.0")
        (sent,) = [message for connection in hop.connections
                   for message in connection.messages]
        _, content = self.the_message()
        stored = content[content.index(b"X-First"):]
        self.assertTrue(smtp_wire(stored) in sent, sent)
        self.assertEqual(len(hop.connections[0].messages), 1)

    def test_two_filters(self):
        """In their order; the second sees what the first has changed."""
        first = self.filter()
        second = self.filter()
        smtp = self.session(first, second)
        self.assertEqual(str(self.message(smtp, "eom-add")), "250 2.0.0")
        self.assertIn("X-Added one\\n\ttwo", self.told())
        lines, _ = self.header()
        self.assertEqual(lines.count("X-Added: one"), 2)

    def test_hook_sees_the_changes(self):
        seen = self.path("seen")
        smtp = self.session(self.filter(), options=(
            "--on-message", f"sh -c 'cat >{seen}'"))
        self.assertEqual(str(self.message(smtp, "eom-many")), "250 2.0.0")
        # For whom it is stands in the maildir's copy alone.
        self.assertEqual(seen.read_bytes(), re.sub(
            rb"X-Envelope-To: [^\n]*\n", b"", self.the_message()[1]))

    def test_large(self):
        """A header of many fields, a body of some megabytes."""
        head = "".join(f"X-{n}: {'v' * 900}\n" for n in range(500))
        text = head.encode() + b"\n" + b"y" * 99 + b"\n" + b"z\n" * 1500000
        smtp = self.session(self.filter())
        smtp.envelope("eom-add@x.org", "ann@example.org")
        self.assertEqual(str(smtp.text(smtp_wire(text))), "250 2.0.0")
        _, content = self.the_message()
        self.assertTrue(content.endswith(
            head.encode() + b"X-Added: one\n\ttwo\n\n" + b"y" * 99 + b"\n" +
            b"z\n" * 1500000))
        head = "".join(f"X-{n}: {'v' * 900}\n" for n in range(1300))
        smtp.envelope("joe@x.org", "ann@example.org")
        self.assertEqual(str(smtp.text(smtp_wire(head.encode()))),
                         "552 5.3.4")


class Scripted(Milter):
    """Filters that do not what they should."""

    def serve_filter(self, behave):
        """behave(connection, receive, send) for each connection."""
        path = self.fresh_path("s")
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen(8)
        self.addCleanup(sock.close)

        def serve():
            while True:
                try:
                    connection, _ = sock.accept()
                except OSError:
                    return
                threading.Thread(target=self.talk, daemon=True,
                                 args=(connection, behave)).start()
        threading.Thread(target=serve, daemon=True).start()
        return f"unix:{path}"

    @staticmethod
    def talk(connection, behave):
        stream = connection.makefile("rb")

        def receive():
            size = stream.read(4)
            if len(size) < 4:
                raise EOFError
            return stream.read(struct.unpack(">I", size)[0])

        def send(packet):
            connection.sendall(struct.pack(">I", len(packet)) + packet)
        try:
            behave(connection, receive, send)
        except (EOFError, OSError):
            pass
        finally:
            stream.close()
            connection.close()

    @staticmethod
    def negotiation(protocol=0, actions=0x11, version=6):
        return b"O" + struct.pack(">III", version, actions, protocol)

    def answering(self, answers, protocol=0, actions=0x1ff):
        """Answers each command, of which answers says otherwise: a packet, a
        list of them, or a function."""
        def behave(connection, receive, send):
            while True:
                packet = receive()
                command = packet[:1].decode()
                if command == "O":
                    answer = answers.get("O", self.negotiation(protocol,
                                                               actions))
                elif command in "DAQ":
                    continue
                else:
                    answer = answers.get(command, b"c")
                if callable(answer):
                    answer(connection, send)
                    continue
                for one in answer if isinstance(answer, list) else [answer]:
                    send(one)
        return self.serve_filter(behave)

    def outcome(self, address, *options, env=None):
        """The first reply that is no success, or that of the message."""
        smtp = self.session(address, options=options, env=env)
        for line in ("MAIL FROM:<joe@x.org>", "RCPT TO:<ann@example.org>",
                     "DATA"):
            reply = smtp.cmd(line)
            if reply.code >= 400:
                smtp.expect("NOOP", "250 2.0.0")
                return str(reply)
        smtp.send(smtp_wire(TEXT))
        reply = smtp.reply()
        smtp.expect("NOOP", "250 2.0.0")
        smtp.quit()
        smtp.process.wait()
        self.log = smtp.process.log()
        return str(reply)

    def test_dies_at_each_step(self):
        def die(connection, send):
            connection.shutdown(socket.SHUT_RDWR)
        for command in "OCHMRTLNBE":
            address = self.answering({command: die})
            with self.subTest(command=command):
                self.assertEqual(self.outcome(address), "451 4.7.1")
                self.assert_nothing_kept()
                self.assertEqual(self.outcome(
                    address, "--milter-default", "accept"), "250 2.0.0")
                self.the_message()[0].unlink()
                self.assertIn("milter-failed:", self.log)

    def test_half_packets(self):
        """A packet that is cut off, one octet at a time, and none."""
        def half(connection, send):
            connection.sendall(b"\0\0\0\x10h")
            connection.shutdown(socket.SHUT_RDWR)

        def slowly(connection, send):
            for octet in b"\0\0\0\x05hA\0b\0\0\0\0\x01c":
                connection.sendall(bytes([octet]))
                time.sleep(0.005)
        self.assertEqual(self.outcome(self.answering({"E": half})),
                         "451 4.7.1")
        self.assertEqual(self.outcome(self.answering({"E": slowly})),
                         "250 2.0.0")
        self.assertIn("A: b", self.header()[0])

    def test_nonsense(self):
        for command, answer in (
                ("O", b"c"), ("O", self.negotiation(version=7)),
                ("O", self.negotiation(0x800)),
                ("O", self.negotiation(0x80000000)), ("O", b"O\0"),
                ("M", b"z"), ("M", b"hA\0b\0"), ("C", b"d"),
                ("E", b"s"), ("E", b"hA\0b"), ("E", b"hA:\0b\0"),
                ("E", b"y250 fine\0"), ("E", b"i\0\0")):
            with self.subTest(command=command, answer=answer):
                self.assertEqual(self.outcome(self.answering(
                    {command: answer})), "451 4.7.1")
                self.assert_nothing_kept()

    def test_too_long_a_packet(self):
        def long(connection, send):
            connection.sendall(b"\x7f\xff\xff\xffh")
        self.assertEqual(self.outcome(self.answering({"E": long})),
                         "451 4.7.1")

    def test_what_was_not_offered(self):
        """Tolerated in the negotiation, as rspamd needs it, and quarantine
        is offered, as clamav-milter needs it; when it comes, 451, and also
        where the default is to accept."""
        for answer, what in ((b"qsuspect\0", "quarantine"),
                             (b"bnew body\r\n", "another body"),
                             (b"+<eve@x.org>\0", "another recipient"),
                             (b"-<ann@example.org>\0", "a recipient less"),
                             (b"e<eve@x.org>\0", "another sender")):
            with self.subTest(what=what):
                self.assertEqual(self.outcome(
                    self.answering({"E": [answer, b"a"]}),
                    "--milter-default", "accept"), "451 4.7.1")
                self.assertIn(f"it wants {what}, which is not done",
                              self.log)
                self.assert_nothing_kept()

    def test_breaks_amidst_its_changes(self):
        """None of them counts, and those of the filter before do."""
        def die(connection, send):
            send(b"hX-Half\0done\0")
            send(struct.pack(">cI", b"m", 1) + b"X-One\0\0")
            send(struct.pack(">cI", b"i", 0) + b"X-First\0half\0")
            connection.shutdown(socket.SHUT_RDWR)

        def too_much(connection, send):
            for _ in range(30):
                send(b"hX-A\0" + b"v" * 60000 + b"\0")
        one = self.answering({"E": [b"hX-One\0whole\0", b"c"]})
        last = self.answering({"E": [b"hX-Last\0whole\0", b"c"]})
        for behave in (die, too_much):
            self.assertEqual(self.outcome(
                one, "--milter", self.answering({"E": behave}), "--milter",
                last, "--milter-default", "accept"), "250 2.0.0")
            path, content = self.the_message()
            path.unlink()
            head, _, body = content.partition(b"\n\n")
            self.assertEqual(head.split(b"\n")[-2:],
                             [b"X-One: whole", b"X-Last: whole"])
            self.assertNotIn(b"X-First", head)
            self.assertNotIn(b"X-Half", head)
            self.assertEqual(body, b".dot\nbody\n")

    def test_no_value_makes_more_of_the_header(self):
        self.assertEqual(self.outcome(self.answering({"E": [
            b"hX-A\0one\nEvil: 2\n\nbody\0", b"a"]})), "250 2.0.0")
        lines, body = self.header()
        self.assertEqual(lines[-4:], ["X-A: one", "\tEvil: 2", "\t",
                                      "\tbody"])
        self.assertEqual(body, b".dot\nbody\n")

    def test_leading_blank(self):
        """As opendkim has it: values with what stands behind the colon."""
        seen = []

        def behave(connection, receive, send):
            while True:
                packet = receive()
                if packet[:1] == b"O":
                    send(self.negotiation(0x1ff080))
                elif packet[:1] == b"L":
                    seen.append(packet[1:])
                elif packet[:1] == b"E":
                    send(b"hX-A\0  two blanks\0")
                    send(b"c")
        self.assertEqual(self.outcome(self.serve_filter(behave)),
                         "250 2.0.0")
        self.assertEqual(seen, [b"Subject\0 x\0", b"X-Twice\0 a\n b\0",
                                b"X-Other\0c\0", b"X-twice\0 d\0"])
        self.assertEqual(self.header()[0][-1], "X-A:  two blanks")

    def test_steps_that_are_not_wanted(self):
        """Not one of them comes."""
        seen = []

        def behave(connection, receive, send):
            while True:
                packet = receive()
                seen.append(packet[:1].decode())
                if packet[:1] == b"O":
                    send(self.negotiation(0x27f))
                elif packet[:1] == b"E":
                    send(b"c")
        self.assertEqual(self.outcome(self.serve_filter(behave)),
                         "250 2.0.0")
        wait_for(lambda: seen[-1] == "Q", "the session's end")
        self.assertEqual([one for one in seen if one != "D"],
                         ["O", "E", "Q"])

    def test_many_recipients_without_an_answer(self):
        """It is told all of them, though it says nothing to any."""
        seen = []

        def behave(connection, receive, send):
            while True:
                packet = receive()
                if packet[:1] == b"O":
                    send(self.negotiation(0x8000))
                elif packet[:1] in (b"R", b"D"):
                    seen.append(packet)
                elif packet[:1] not in (b"A", b"Q"):
                    send(b"c")
        smtp = self.session(self.serve_filter(behave))
        smtp.expect("MAIL FROM:<joe@x.org>", "250 2.1.0")
        wanted = [f"<{'x' * 60}{n}@example.org>" for n in range(900)]
        for path in wanted:
            smtp.expect(f"RCPT TO:{path}", "250 2.1.5")
        self.assertEqual(str(smtp.text(smtp_wire(TEXT))), "250 2.0.0")
        self.assertEqual(
            [packet[1:-1].decode() for packet in seen
             if packet[:1] == b"R"], wanted)
        self.assertEqual(
            [packet for packet in seen if packet[:2] == b"DR"],
            [b"DR{rcpt_addr}\0" + path[1:-1].encode() + b"\0"
             for path in wanted])

    def test_abort(self):
        """RSET, a lost client, and a refused sender are told."""
        seen = []

        def behave(connection, receive, send):
            while True:
                packet = receive()
                seen.append(packet[:1].decode())
                if packet[:1] == b"O":
                    send(self.negotiation())
                elif packet[:1] not in (b"D", b"A", b"Q"):
                    send(b"c")
        smtp = self.session(self.serve_filter(behave))
        smtp.expect("MAIL FROM:<joe@x.org>", "250 2.1.0")
        smtp.expect("RSET", "250 2.0.0")
        smtp.expect("MAIL FROM:<joe@x.org>", "250 2.1.0")
        smtp.expect("RCPT TO:<ann@x.org>", "250 2.1.5")
        smtp.end_output()
        wait_for(lambda: seen[-1] == "Q", "the session's end")
        self.assertEqual([one for one in seen if one != "D"],
                         list("OCHMAMRAQ"))

    def test_is_slow(self):
        """Its time is 30 seconds a step."""
        clock = Clock(self)
        for seconds, reply in ((29, "250 2.0.0"), (31, "451 4.7.1")):
            def sleep(connection, send, seconds=seconds):
                clock.advance(seconds)
                if seconds < 30:
                    send(b"c")
                else:
                    clock.go()
                    connection.recv(1)      # until it is given up
            self.assertEqual(self.outcome(
                self.answering({"R": sleep}), env=clock.env), reply)

    def test_never_comes_to_an_end(self):
        """It makes progress, or changes, for as long as it likes."""
        clock = Clock(self)

        def progress(connection, send):
            while True:
                clock.advance(10)
                send(b"p")
                time.sleep(0.02)

        def change(connection, send):
            while True:
                send(b"hX-A\0" + b"v" * 60000 + b"\0")
        for behave, reason in ((progress, "no answer in time at the end of "
                                          "the message"),
                               (change, "it changes more of the header")):
            with self.subTest(reason=reason):
                self.assertEqual(self.outcome(
                    self.answering({"E": behave}), env=clock.env),
                    "451 4.7.1")
                self.assertIn(reason, self.log)
                self.assert_nothing_kept()

    def test_all_have_one_end(self):
        """A client waits for ten minutes, for however many filters."""
        clock = Clock(self)

        def answer(connection, send):
            clock.advance(250)
            send(b"c")

        def be_late(connection, send):
            clock.advance(261)
            clock.go()
            connection.recv(1)      # until it is given up
        for second, reply in ((answer, "250 2.0.0"), (be_late, "451 4.7.1")):
            self.assertEqual(self.outcome(
                self.answering({"E": answer}), "--milter",
                self.answering({"E": second}), env=clock.env), reply)

    def test_nobody_there(self):
        gone = self.path("gone")
        for address in (f"unix:{gone}", f"inet:{free_port()}@127.0.0.1",
                        f"inet:{free_port()}@[::1]",
                        f"inet:{free_port()}@localhost"):
            with self.subTest(address=address):
                self.assertEqual(self.outcome(address), "451 4.7.1")
                self.assertEqual(self.outcome(
                    address, "--milter-default", "accept"), "250 2.0.0")
                self.assertIn("milter-failed:", self.log)

    def test_stopped_while_it_is_busy(self):
        """As many wait to be accepted as may: SIGTERM ends our wait."""
        path = self.fresh_path("s")
        busy_socket(self, path)
        asked = threading.Event()

        def ask(connection, send):
            send(b"c")
            asked.set()
        smtp = self.session(self.answering({"M": ask}), f"unix:{path}")
        smtp.send("MAIL FROM:<joe@x.org>\r\n")
        self.assertTrue(asked.wait(DEADLINE))
        smtp.quiet(0.2)     # usually it is there then
        os.kill(smtp.process.pid, signal.SIGTERM)
        smtp.expect(None, "451 4.7.1")
        smtp.expect(None, "421 4.3.2")
        smtp.rest()
        self.assertEqual(smtp.exit_status(), 0)
        self.assertRegex(smtp.process.log(),
                         'reason="(connect: stopped|stopped at MAIL)"')

    def test_comes_back(self):
        """Broken in one message, asked again in the next."""
        state = {"die": True}

        def maybe(connection, send):
            if state["die"]:
                state["die"] = False
                connection.shutdown(socket.SHUT_RDWR)
            else:
                send(b"c")
        smtp = self.session(self.answering({"M": maybe}))
        smtp.expect("MAIL FROM:<joe@x.org>", "451 4.7.1")
        self.assertEqual(str(smtp.message(TEXT)), "250 2.0.0")

    def test_settings(self):
        for address in ("/path", "unix:path", "inet:25", "inet:0@127.0.0.1",
                        "inet:25@192.0.2.1", "inet:25@example.org",
                        "inet:x@127.0.0.1", "unix:/" + "x" * 200):
            status, _, err = self.run_to_end(*self.argv(
                SMTP, "--tls", "off", "--auth", "any", "--maildir",
                self.mail, "--milter", address))
            self.assertEqual(status, 78)
            self.assertRegex(err, "--milter must be unix:/PATH or inet:")
