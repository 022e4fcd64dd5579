"""pop3-handler --allow-delete: marks, and what QUIT makes of them.
mail-handlers(7), Removing."""

import os
import signal
import threading

from mailtest import NOBODY, POP3, TestCase
from traced import Traced

NAMES = ["1600000001.one", "1600000002.two", "1600000003.three"]


class Deleting(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.put("cur/1600000001.one:2,S", b"Subject: 1\n\na\n")
        self.put("new/1600000002.two", b"Subject: 2\n\nbb\n")
        self.put("new/1600000003.three", b"Subject: 3\n\nccc\n")

    def deleting(self, *options, **kwargs):
        return self.pop3("--allow-delete", *options, **kwargs)

    def left(self):
        return sorted(path.name.partition(":2,")[0]
                      for path in self.mail.rglob("*") if path.is_file())

    def number_of(self, pop, name):
        uids = pop.listing("UIDL")
        return next(n for n in uids if uids[n] == name)

    def test_marked_messages_are_out_of_sight(self):
        pop = self.deleting().login()
        self.assertEqual(pop.stat(), (3, 54))
        pop.expect("DELE 2", r"\+OK")
        self.assertEqual(pop.stat(), (2, 36))
        self.assertEqual(pop.multi("LIST")[1], b"1 17\r\n3 19\r\n")
        self.assertEqual(pop.multi("UIDL")[1],
                         b"1 1600000001.one\r\n3 1600000003.three\r\n")
        for command in ("RETR 2", "TOP 2 0", "LIST 2", "UIDL 2", "DELE 2"):
            pop.expect(command, "-ERR")
        self.assertEqual(self.left(), sorted(NAMES))
        pop.expect("RSET", r"\+OK")
        self.assertEqual(pop.stat(), (3, 54))
        self.assertEqual(pop.retr(2)[0], 18)
        pop.quit()
        self.assertEqual(self.left(), sorted(NAMES))

    def test_quit_removes(self):
        pop = self.deleting().login()
        pop.expect("DELE 1", r"\+OK")
        pop.expect("DELE 3", r"\+OK")
        pop.expect("QUIT", r"\+OK")
        # Courier's failure: +OK before the files are gone
        self.assertEqual(self.left(), ["1600000002.two"])
        pop.expect_end()
        self.assertEqual(pop.exit_status(), 0)
        self.assertIn("removed=2", pop.process.log())

    def test_capa_expire_is_truthful(self):
        pop = self.deleting().login()
        self.assertIn(b"EXPIRE NEVER\r\n", pop.multi("CAPA")[1])
        pop.retr(1)
        pop.quit()
        self.assertEqual(self.left(), sorted(NAMES))

    def test_anything_but_quit_removes_nothing(self):
        def drop(pop):
            pop.close()

        def end_input(pop):
            pop.end_output()
            pop.expect_end()

        def terminate(pop):
            os.kill(pop.process.pid, signal.SIGTERM)
            pop.expect_end()

        def time_out(pop):
            pop.expect_end()

        def cut_in_quit(pop):
            pop.send("QUIT")
            end_input(pop)

        def quit_with_argument(pop):
            pop.expect("QUIT now", "-ERR")
            drop(pop)

        for way in (drop, end_input, terminate, time_out, cut_in_quit,
                    quit_with_argument):
            with self.subTest(way=way.__name__):
                pop = self.deleting("--timeout", "1").login()
                for n in (1, 2, 3):
                    pop.expect(f"DELE {n}", r"\+OK")
                way(pop)
                self.assertEqual(pop.process.wait(), 0)
                self.assertEqual(self.left(), sorted(NAMES))

    def test_renamed_meanwhile(self):
        pop = self.deleting().login()
        for n in (1, 2):
            pop.expect(f"DELE {n}", r"\+OK")
        (self.mail / "cur/1600000001.one:2,S").rename(
            self.mail / "cur/1600000001.one:2,RS")
        (self.mail / "new/1600000002.two").rename(
            self.mail / "cur/1600000002.two:2,FS")
        pop.quit()
        self.assertEqual(self.left(), ["1600000003.three"])

    def test_gone_already_counts_as_removed(self):
        pop = self.deleting().login()
        for n in (1, 2, 3):
            pop.expect(f"DELE {n}", r"\+OK")
        (self.mail / "new/1600000002.two").unlink()
        pop.quit()
        self.assertEqual(self.left(), [])

    def test_only_the_marked_one_of_alike_names(self):
        for name in ("1600000002.two.", "1600000002.tw", "1600000002.two2"):
            self.put(f"cur/{name}:2,S", b"x\n")
        self.put("sub/cur/1600000002.two:2,S", b"x\n")
        pop = self.deleting().login()
        n = self.number_of(pop, NAMES[1])
        (self.mail / "new/1600000002.two").unlink()
        pop.expect(f"DELE {n}", r"\+OK")
        pop.quit()
        self.assertEqual(len(self.left()), 6)

    def test_in_new_and_in_cur(self):
        """One message, which must not come back as another."""
        self.put("cur/1600000002.two:2,S", b"Subject: 2\n\nbb\n")
        pop = self.deleting().login()
        self.assertEqual(pop.stat()[0], 3)
        pop.expect(f"DELE {self.number_of(pop, NAMES[1])}", r"\+OK")
        pop.quit()
        self.assertNotIn(NAMES[1], self.left())
        self.assertEqual(len(self.left()), 2)

    def test_another_message_of_the_same_name(self):
        """What nobody saw nobody can have marked."""
        self.put("cur/1600000002.two:2,S", b"Subject: other\n\nbb\n")
        self.put("cur/1600000003.three:2,S", b"Subject: 3\n\nCCC\n")
        pop = self.deleting().login()
        self.assertEqual(pop.stat()[0], 5)
        n = next(n for n in range(1, 6) if b"other" in pop.retr(n)[1])
        pop.expect(f"DELE {n}", r"\+OK")
        pop.quit()
        self.assertFalse((self.mail / "cur/1600000002.two:2,S").exists())
        self.assertEqual(len(self.left()), 4)
        # Made under other flags in mid-session
        pop = self.deleting().login()
        pop.expect("DELE 1", r"\+OK")
        self.put("cur/1600000001.one:2,RS", b"Subject: unseen\n\na\n")
        pop.quit()
        self.assertFalse((self.mail / "cur/1600000001.one:2,S").exists())
        self.assertTrue((self.mail / "cur/1600000001.one:2,RS").exists())

    def test_under_many_names(self):
        """Links and copies of one message: all of them go."""
        path = self.mail / "new/1600000002.two"
        (self.mail / "cur/1600000002.two:2,S").hardlink_to(path)
        self.put("cur/1600000002.two:2,RS", path.read_bytes())
        self.put("cur/1600000002.two:2,F", path.read_bytes())
        pop = self.deleting().login()
        self.assertEqual(pop.stat()[0], 3)
        pop.expect(f"DELE {self.number_of(pop, NAMES[1])}", r"\+OK")
        pop.quit()
        self.assertEqual(self.left(), [NAMES[0], NAMES[2]])

    def test_directory_replaced(self):
        """By one of the same name that has the same files."""
        pop = self.deleting().login()
        for n in (2, 3):
            pop.retr(n)
            pop.expect(f"DELE {n}", r"\+OK")
        self.replace_directory(self.mail / "new")
        pop.quit()
        self.assertEqual(self.left(), [NAMES[0]])

    def test_directory_became_something_else(self):
        outside = self.put("cur/0:2,", b"x\n", 10**9,
                           base=self.path("outside"))
        for n, make in enumerate((
                lambda path: path.write_bytes(b""),
                lambda path: path.symlink_to(self.path("outside")))):
            with self.subTest(n=n):
                path = self.put(f"sub{n}/cur/0:2,", b"x\n", 10**9)
                pop = self.deleting().login()
                pop.expect("DELE 1", r"\+OK")
                path.unlink()
                path.parent.rmdir()
                path.parent.parent.rmdir()
                make(path.parent.parent)
                pop.quit()
                self.assertTrue(outside.exists())

    def test_what_cannot_be_removed_is_told(self):
        self.need_root("become somebody else")
        for folder in ("cur", "new"):
            (self.mail / folder).chmod(0o755)
        (self.mail / "new").chmod(0o777)
        for path in self.mail.rglob("16*"):
            path.chmod(0o644)
        pop = self.deleting(user=NOBODY).login()
        for n in (1, 2, 3):
            pop.expect(f"DELE {n}", r"\+OK")
        pop.expect("QUIT", r"-ERR \[SYS/TEMP\] ")
        pop.expect_end()
        self.assertEqual(pop.exit_status(), 0)
        self.assertEqual(self.left(), [NAMES[0]])
        self.assertIn("1600000001.one", pop.process.log())

    def test_in_use(self):
        first = self.deleting().login()
        second = self.deleting()
        second.expect(None, r"\+OK")
        second.expect("USER joe", r"\+OK")
        second.expect("PASS x", r"-ERR \[IN-USE\] ")
        second.expect("STAT", "-ERR")
        # Who deletes nothing disturbs nobody
        self.assertEqual(self.pop3().login().stat()[0], 3)
        first.quit()
        # No wait in between: the lock went before the reply came
        second.expect("USER joe", r"\+OK")
        second.expect("PASS x", r"\+OK")
        self.assertEqual(sorted(path.name for path in self.mail.iterdir()),
                         ["cur", "new", "tmp"], "left a file")

    def test_lock_goes_with_the_process(self):
        first = self.deleting().login()
        first.process.process.kill()
        first.process.process.wait()
        self.assertEqual(self.deleting().login().stat()[0], 3)

    def test_many(self):
        """Other clients rename everything: still fast, and all go."""
        new = self.mail / "new"
        for n in range(3000):
            (new / f"17{n:08}").write_bytes(b"x\n")
        pop = self.deleting().login()
        for path in list(new.iterdir()):
            path.rename(self.mail / f"cur/{path.name}:2,S")
        pop.send("".join(f"DELE {n}\r\n" for n in range(1, 3004))
                 + "QUIT\r\n")
        self.assertEqual(pop.rest().count(b"+OK"), 3004)
        self.assertEqual(self.left(), [])

    def test_many_are_gone(self):
        new = self.mail / "new"
        for n in range(10_000):
            (new / f"17{n:08}").write_bytes(b"x\n")
        pop = self.deleting().login()
        for n in range(0, 10_000, 2):
            (new / f"17{n:08}").unlink()
        pop.send("".join(f"DELE {n}\r\n" for n in range(1, 10_004))
                 + "QUIT\r\n")
        self.assertEqual(pop.rest().count(b"+OK"), 10_004)
        self.assertEqual(self.left(), [])
        self.assertIn("removed=10003", pop.process.log())

    def test_many_renamed_are_retrieved(self):
        new = self.mail / "new"
        for n in range(3000):
            (new / f"17{n:08}").write_bytes(b"x\n")
        pop = self.deleting().login()
        for path in list(new.iterdir()):
            path.rename(self.mail / f"cur/{path.name}:2,S")
        pop.send("".join(f"RETR {n}\r\n" for n in range(1, 3004))
                 + "QUIT\r\n")
        self.assertEqual(pop.rest().count(b"\r\n.\r\n"), 3003)


class Racing(TestCase):
    def test_another_client_changes_flags_all_the_time(self):
        self.make_maildir()
        for n in range(200):
            self.put(f"cur/{n:03}:2,", b"x\n")
        stop = threading.Event()

        def change_flags():
            flags = "", "S", "FS", "RS"
            turn = 0
            while not stop.is_set():
                turn += 1
                for path in list((self.mail / "cur").iterdir()):
                    base = path.name.partition(":2,")[0]
                    try:
                        path.rename(path.with_name(
                            f"{base}:2,{flags[turn % 4]}"))
                    except FileNotFoundError:
                        pass

        thread = threading.Thread(target=change_flags)
        thread.start()
        try:
            pop = self.pop3("--allow-delete").login()
            count = pop.stat()[0]
            kept = pop.listing("UIDL")[1]
            for n in range(2, count + 1):
                pop.expect(f"DELE {n}", r"\+OK")
            reply = pop.cmd("QUIT")
        finally:
            stop.set()
            thread.join()
        left = [path.name.partition(":2,")[0]
                for path in (self.mail / "cur").iterdir()]
        self.assertIn(kept, left)
        if reply.startswith("+OK"):
            # What this session never saw may be left besides
            self.assertEqual(len(left), 200 - count + 1)


class Killed(Traced):
    """Killed at any system call: nothing goes that was not asked for."""

    program = POP3
    slow = True
    SESSION = (b"USER joe\r\nPASS x\r\nDELE 2\r\nDELE 3\r\nRSET\r\n"
               b"DELE 1\r\nDELE 4\r\nRETR 2\r\nQUIT\r\n")

    def prepare(self):
        self.make_maildir()
        for n in range(1, 5):
            self.put(f"cur/{n}:2,S", b"x\n", n * 10**9)

    def left(self):
        return sorted(path.name[0] for path in (self.mail / "cur").iterdir())

    def test_at_each_system_call(self):
        self.prepare()
        options = ["--allow-delete"]
        calls = self.of_the_delivery(options=options)
        self.assertEqual(self.left(), ["2", "3"])
        unlinks = [call for call in calls if call.name.startswith("unlink")]
        self.assertEqual(len(unlinks), 2)
        outcomes = set()
        for call in calls:
            self.prepare()
            with self.subTest(call=call.line):
                out = self.session(
                    "-e", f"inject={call.name}:signal=KILL:when={call.nth}",
                    options=options)
                left = self.left()
                self.assertLessEqual({"2", "3"}, set(left))
                if b"Bye" in out:
                    self.assertEqual(left, ["2", "3"])
                outcomes.add(tuple(left))
        self.assertIn(("1", "2", "3", "4"), outcomes)
        self.assertIn(("2", "3"), outcomes)

    def test_each_call_fails(self):
        """-ERR where a file stayed, +OK where all are gone."""
        self.prepare()
        options = ["--allow-delete"]
        for call in [call for call in self.of_the_delivery(options=options)
                     if str(self.mail) in call.line]:
            for error in ("EIO", "EMFILE"):
                self.prepare()
                with self.subTest(call=call.line, error=error):
                    out = self.session(
                        "-e", f"inject={call.name}:error={error}:"
                        f"when={call.nth}", options=options)
                    left = self.left()
                    self.assertLessEqual({"2", "3"}, set(left))
                    if b"Bye" in out and b"+OK 4 messages" in out:
                        self.assertEqual(left, ["2", "3"])
