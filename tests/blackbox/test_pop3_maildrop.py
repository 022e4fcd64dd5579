"""pop3-handler: what is a message, its number, size, UIDL and octets.
mail-handlers(7), Serving a maildrop; held against model.py."""

import os

import model
from mailtest import NOBODY, TestCase, tree

GOLDEN = {
    "lf": b"Subject: lf\n\nbody\nmore\n",
    "crlf": b"Subject: crlf\r\n\r\nbody\r\nmore\r\n",
    "mixed": b"Subject: mixed\r\n\nbody\r\nmore\n\r\nend\n",
    "lone-cr": b"Subject: cr\n\none\rtwo\r\rthree\r\n",
    "cr-cr-lf": b"Subject: x\n\na\r\r\nb\n\r\nc\n",
    "cr-at-the-end": b"Subject: x\n\nbody\r",
    "only-cr": b"\r",
    "only-lf": b"\n",
    "only-dot": b".",
    "no-last-end": b"Subject: x\n\nno end",
    "trailing-blank-lines": b"Subject: x\n\nbody\n\n\n\n",
    "dots": b".first\n.\n..\n...x\nSubject: x\n\n.\n.\n\n..\n. .\nx.\n.",
    "dot-after-cr": b"Subject: x\n\na\r.b\r..\r\n.c",
    "nuls": b"Subject: x\n\n\0\0.\0\n.\0\n\0",
    "8-bit": "Subject: gr\u00fc\u00df\n\n\u20ac\n".encode()
             + bytes(range(128, 256)) + b"\n",
    "all-bytes": b"Subject: x\n\n" + bytes(range(256)) * 9,
    "empty": b"",
    "long-line": b"Subject: x\n\n" + b"x" * 3_000_000 + b"\nend\n",
    "long-dots": b"Subject: x\n\n" + b"." * 200_000 + b"\n" + b".\n" * 70_000,
    "header-only": b"Subject: x\nFrom: y\n",
    "body-only": b"\nno header\n.x\n",
    # Around the sizes of likely buffers: an end cut from its line
    **{f"edge-{size}": b"x" * size + b"\r\n.y\r\n"
       for size in (4094, 4095, 4096, 8191, 8192, 16383, 16384, 32767, 32768,
                    65535, 65536, 131071, 131072)},
}


class Octets(TestCase):
    def setUp(self):
        super().setUp()
        self.make_maildir()
        for i, (name, data) in enumerate(GOLDEN.items()):
            self.put(f"{'new' if i % 2 else 'cur'}/{name}", data)

    def test_sizes_agree_and_are_true(self):
        pop = self.pop3().login()
        told = pop.listing("LIST")
        self.assertEqual(pop.stat(), (len(GOLDEN),
                                      sum(map(int, told.values()))))
        self.assertEqual(list(pop.listing("UIDL").values()), list(GOLDEN))
        for n, (name, data) in enumerate(GOLDEN.items(), 1):
            with self.subTest(name=name):
                octets, wire = pop.retr(n)
                self.assertTrue(wire == model.retr(data), wire[:200])
                self.assertEqual(octets, model.octets(data))
                self.assertEqual(int(told[n]), octets)
                self.assertEqual(pop.cmd(f"LIST {n}"), f"+OK {n} {octets}")

    def test_top(self):
        pop = self.pop3().login()
        for n, (name, data) in enumerate(GOLDEN.items(), 1):
            for count in (0, 1, 2, 1000, 2**31, 2**32):
                with self.subTest(name=name, lines=count):
                    wire = pop.multi(f"TOP {n} {count}")[1]
                    self.assertTrue(wire == model.top(data, count),
                                    wire[:200])

    def test_100_megabytes(self):
        line = b"." + b"0123456789" * 7 + b"\n"
        data = b"Subject: big\n\n" + line * (100_000_000 // len(line))
        big = self.path("big")
        self.put("cur/big", data, base=big)
        pop = self.pop3("--maildir", big).login()
        small = pop.process.peak_kib()
        wanted = (b"Subject: big\r\n\r\n"
                  + (b"." + line[:-1] + b"\r\n") * (len(data) // len(line)))
        octets, wire = pop.retr(1)
        self.assertEqual(octets, model.octets(data))
        self.assertEqual(pop.stat(), (1, octets))
        self.assertEqual(pop.listing("LIST"), {1: str(octets)})
        self.assertTrue(wire == wanted, "not the octets of the file")
        self.assertLess(pop.process.peak_kib(), small + 1024,
                        "memory grows with the message")

    def test_nothing_in_the_maildrop_changes(self):
        before = tree(self.mail)
        pop = self.pop3().login()
        for n in range(1, len(GOLDEN) + 1):
            pop.multi(f"RETR {n}")
            pop.expect(f"DELE {n}", "-ERR")
        pop.quit()
        pop.exit_status()
        self.assertEqual(tree(self.mail), before)


class Sizes(TestCase):
    """Where a size could come from the file's name."""

    TEXT = b"Subject: x\n\nbody\n"       # 17 bytes, 20 octets

    def size_of(self, name, data):
        self.put(f"cur/{name}", data)
        pop = self.pop3().login()
        size = int(pop.listing("LIST")[1])
        self.assertEqual(pop.retr(1)[0], size)
        return size

    def test_own_form_is_fine(self):
        self.assertEqual(self.size_of(
            "1600000000.M123456P77_ab12.mail.test,S=17,W=20:2,S", self.TEXT),
            20)

    def test_own_form_with_another_size(self):
        self.assertEqual(self.size_of(
            "1600000000.M123456P77_ab12.mail.test,S=16,W=99:2,S", self.TEXT),
            20)

    def test_dovecots_count_is_not_believed(self):
        # Dovecot's W= does not count a missing last line end
        self.assertEqual(self.size_of(
            "1600000000.M123456P77.mail.test,S=16,W=18:2,S", self.TEXT[:-1]),
            20)

    def test_wrong_count_in_a_name(self):
        """The message comes whole, and the log tells."""
        name = "1600000000.M123456P77_ab12.mail.test,S=17,W=25:2,S"
        self.put(f"cur/{name}", self.TEXT)
        for _ in range(2):
            pop = self.pop3().login()
            self.assertEqual(pop.retr(1)[1], model.retr(self.TEXT))
            self.assertEqual(pop.listing("LIST"), {1: "20"})
            pop.quit()
            pop.exit_status()
            self.assertIn("20 octets", pop.process.log())


class Order(TestCase):
    def order(self):
        return list(self.pop3().login().listing("UIDL").values())

    def test_oldest_first_then_by_name(self):
        at = 1_600_000_000 * 10**9
        self.put("cur/c", b"x\n", at)
        self.put("cur/z", b"x\n", at - 10**9)
        self.put("new/b", b"x\n", at)
        self.put("cur/a", b"x\n", at)
        self.put("new/0", b"x\n", at + 10**9)
        self.assertEqual(self.order(), ["z", "a", "b", "c", "0"])

    def test_within_one_second(self):
        at = 1_600_000_000 * 10**9
        for name, nanoseconds in (("a", 3), ("b", 1), ("c", 2)):
            self.put(f"cur/{name}", b"x\n", at + nanoseconds * 1000)
        self.assertEqual(self.order(), ["b", "c", "a"])

    def test_before_1970_and_far_away(self):
        self.put("cur/now", b"x\n")
        self.put("cur/old", b"x\n", -5 * 10**9)
        self.put("cur/far", b"x\n", 2**33 * 10**9)
        # In nanoseconds more than 63 bits
        farther = self.put("cur/farther", b"x\n", 15_000_000_000 * 10**9)
        if farther.stat().st_mtime < 2**33:
            farther.unlink()    # a file system without such times
            self.assertEqual(self.order(), ["old", "now", "far"])
        else:
            self.assertEqual(self.order(), ["old", "now", "far", "farther"])

    def test_many_with_the_same_time(self):
        names = [f"{n * 7919 % 1000:03}" for n in range(1000)]
        for name in names:
            self.put(f"cur/{name}", b"x\n", 1_600_000_000 * 10**9)
        self.assertEqual(self.order(), sorted(names))
        self.assertEqual(self.order(), sorted(names))


class Scan(TestCase):
    def uids(self):
        return sorted(self.pop3().login().listing("UIDL").values())

    def put_all(self, *names):
        for name in names:
            self.put(name, b"Subject: x\n\nbody\n")

    def test_new_and_cur_of_every_folder(self):
        self.put_all("new/1", "cur/2:2,S", "top.eml", "sub/3",
                     ".Sent/cur/4:2,RS", ".Sent/new/5", "sub/deep/cur/6",
                     "cur/dovecot.is-a-message", "new/courier",
                     "cur/maildirsize", ".Drafts/x/7")
        self.assertEqual(self.uids(), sorted([
            "1", "2", "4/.Sent", "5/.Sent", "6/sub/deep",
            "dovecot.is-a-message", "courier", "maildirsize"]))

    def test_plain_folder(self):
        """Without new and cur, and none above: every file is a message."""
        self.put_all("top.eml", "sub/3", ".Drafts/x/7", "tmp/8", "dovecotx",
                     "box/cur/9", "box/10", "box/sub/11")
        self.assertEqual(self.uids(), sorted([
            "top.eml", "3/sub", "7/.Drafts/x", "8/tmp", "9/box"]))

    def test_what_is_left_out(self):
        self.put_all("new/1", "tmp/x", "cur/.hidden", "new/.nfs123", ".hidden",
                     "dovecot-uidlist", "dovecot.index.log", "courierimapuiddb",
                     "maildirsize", "maildirfolder", "subscriptions",
                     "courierimapkeywords/x", "dovecot.folder/cur/x",
                     ".Sent/maildirfolder", ".Sent/dovecot-uidlist",
                     ".Sent/tmp/x", ".Sent/cur/2")
        self.assertEqual(self.uids(), ["1", "2/.Sent"])

    def test_tmp_counts_where_it_is_no_maildirs(self):
        self.put_all("new/1", "plain/tmp/new/2", "tmp/new/3")
        self.assertEqual(self.uids(), ["1", "2/plain/tmp"])

    def test_tmp_beside_new_alone_or_cur_alone(self):
        self.put_all("a/new/1", "a/tmp/x", "b/cur/2", "b/tmp/x")
        self.assertEqual(self.uids(), ["1/a", "2/b"])

    def test_too_deep(self):
        """32 levels are served, and what is not is told."""
        self.put("/".join(["d"] * 32) + "/1", b"x\n")
        pop = self.pop3().login()
        self.assertEqual(pop.stat()[0], 1)
        self.assertNotIn("notice", pop.process.log())
        self.put("/".join(["d"] * 33) + "/2", b"x\n")
        pop = self.pop3().login()
        self.assertEqual(pop.stat()[0], 1)
        self.assertIn("32 levels", pop.process.log())

    def test_links_are_not_followed(self):
        outside = self.path("outside")
        self.put("secret", b"x\n", base=outside)
        self.put("cur/secret", b"x\n", base=outside)
        self.put_all("new/1")
        (self.mail / "cur").mkdir()
        (self.mail / "cur/link").symlink_to(outside / "secret")
        (self.mail / ".Linked").symlink_to(outside)
        (self.mail / "dangling").symlink_to("nowhere")
        (self.mail / "loop").symlink_to(".")
        self.assertEqual(self.uids(), ["1"])

    def test_maildrop_is_no_link(self):
        """Whoever owns the folder it is in could turn it."""
        self.put("new/1", b"x\n", base=self.path("real"))
        self.mail.symlink_to("real")
        pop = self.pop3()
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS x", r"-ERR \[SYS/PERM\] ")
        self.assertIn("symbolic link", pop.process.log())

    def test_other_kinds_of_file(self):
        self.put_all("new/1")
        os.mkfifo(self.mail / "new/fifo")
        (self.mail / "new/folder").mkdir()
        self.assertEqual(self.uids(), ["1"])

    def test_session_sees_its_snapshot(self):
        self.put_all("new/1")
        pop = self.pop3().login()
        self.put_all("new/2")
        self.assertEqual(pop.stat()[0], 1)
        pop.expect("RSET", r"\+OK")
        self.assertEqual(pop.stat()[0], 1)
        self.assertEqual(self.uids(), ["1", "2"])

    def test_10000_messages(self):
        new = self.make_maildir() / "new"
        for n in range(10_000):
            (new / f"{n:05}").write_bytes(b"Subject: x\n\n" + b"y" * (n % 50))
        pop = self.pop3().login()
        sizes = {i + 1: str(14 + (n % 50 + 2 if n % 50 else 0))
                 for i, n in enumerate(range(10_000))}
        listed = pop.listing("LIST")
        self.assertEqual(sorted(listed.values()), sorted(sizes.values()))
        self.assertEqual(pop.stat(), (10_000, sum(map(int, sizes.values()))))
        self.assertEqual(len(set(pop.listing("UIDL").values())), 10_000)


class Uidl(TestCase):
    HASH = r"^/[0-9a-f]{32}$"   # no name begins with a slash

    def uid(self):
        uids = self.pop3().login().listing("UIDL")
        self.assertEqual(len(uids), 1)
        return uids[1]

    def uid_of(self, name):
        path = self.put(name, b"x\n")
        try:
            return self.uid()
        finally:
            path.unlink()

    def test_70_characters_are_kept(self):
        name = "x" * 70
        self.assertEqual(self.uid_of(f"cur/{name}:2,S"), name)
        name = "y" * 64 + "/.Sent"
        self.assertEqual(self.uid_of(f".Sent/cur/{name[:64]}:2,S"), name)

    def test_more_are_hashed(self):
        long = self.uid_of("cur/" + "x" * 71)
        self.assertRegex(long, self.HASH)
        self.assertNotIn("xxxx", long)
        self.assertNotEqual(long, self.uid_of("cur/" + "x" * 72))
        self.assertRegex(self.uid_of(".Sent/cur/" + "y" * 65), self.HASH)

    def test_bytes_outside_the_allowed_are_hashed(self):
        for name in ("with space", "\u00fcmlaut", "tab\there", "del\x7f"):
            with self.subTest(name=name):
                uid = self.uid_of(f"cur/{name}:2,S")
                self.assertRegex(uid, self.HASH)
                self.assertNotEqual(uid, self.uid_of(f"cur/{name}x:2,S"))

    def test_empty_name_is_hashed(self):
        self.assertRegex(self.uid_of("cur/:2,S"), self.HASH)

    def test_hash_is_stable(self):
        name = "with space " + "x" * 80
        path = self.put(f"new/{name}", b"x\n")
        first = self.uid()
        self.assertEqual(self.uid(), first)
        (self.mail / "cur").mkdir()
        for flags in ("", "S", "FRS"):
            path = path.rename(self.mail / f"cur/{name}:2,{flags}")
            self.assertEqual(self.uid(), first)
        self.put("cur/before", b"x\n", 0)
        self.assertIn(first,
                      self.pop3().login().listing("UIDL").values())

    def test_flags_do_not_count(self):
        path = self.put("new/123.x.host", b"x\n")
        self.assertEqual(self.uid(), "123.x.host")
        (self.mail / "cur").mkdir()
        path = path.rename(self.mail / "cur/123.x.host:2,FS")
        self.assertEqual(self.uid(), "123.x.host")
        path.rename(self.mail / "cur/123.x.host:2,")
        self.assertEqual(self.uid(), "123.x.host")

    def test_same_base_in_new_and_cur_is_one_message(self):
        self.put("new/123.x", b"body\n")
        self.put("cur/123.x:2,S", b"body\n")
        self.put("cur/124.y:2,S", b"other\n")
        pop = self.pop3().login()
        self.assertEqual(sorted(pop.listing("UIDL").values()),
                         ["123.x", "124.y"])
        self.assertEqual(pop.stat(), (2, 13))

    def test_same_base_with_other_contents_is_another(self):
        self.put("new/123.x", b"AAAA\n")
        self.put("cur/123.x:2,S", b"BBBB\n")
        self.put("cur/123.x:2,RS", b"CCCCCC\n")
        for rename in (None, ("cur/123.x:2,RS", "cur/123.x:2,FRS"),
                       ("new/123.x", "cur/123.x:2,")):
            if rename:
                (self.mail / rename[0]).rename(self.mail / rename[1])
            pop = self.pop3().login()
            uids = pop.listing("UIDL")
            seen = {uids[n]: pop.retr(n)[1] for n in uids}
            pop.quit()
            if not rename:
                before = seen
            self.assertEqual(sorted(seen.values()),
                             [b"AAAA\r\n", b"BBBB\r\n", b"CCCCCC\r\n"])
            self.assertEqual(seen, before)
            for uid in seen:
                self.assertRegex(uid, self.HASH)

    def test_same_base_in_two_folders_is_two(self):
        self.put("new/123.x", b"a\n")
        self.put(".Sent/new/123.x", b"bb\n")
        self.assertEqual(
            sorted(self.pop3().login().listing("UIDL").values()),
            ["123.x", "123.x/.Sent"])


class Moving(TestCase):
    """What other clients do while a session has its snapshot."""

    TEXT = b"Subject: x\n\nbody\n"

    def setUp(self):
        super().setUp()
        self.make_maildir()
        self.message = self.put("new/123.x", self.TEXT)
        self.put("new/124.y", b"Subject: other\n\nother\n")
        self.pop = self.pop3().login()

    def test_renamed(self):
        for name in ("cur/123.x:2,", "cur/123.x:2,S", "cur/123.x:2,FRS"):
            with self.subTest(name=name):
                self.message = self.message.rename(self.mail / name)
                self.assertEqual(self.pop.retr(1),
                                 (20, model.retr(self.TEXT)))
                self.assertEqual(self.pop.multi("TOP 1 0")[1],
                                 b"Subject: x\r\n\r\n")

    def test_vanished(self):
        self.message.unlink()
        for command in ("RETR 1", "TOP 1 0"):
            self.pop.expect(command, r"-ERR \[SYS/TEMP\] ")
        self.assertEqual(self.pop.retr(2)[0], 25)
        self.pop.quit()

    def test_folder_vanished(self):
        for path in (self.mail / "new").iterdir():
            path.unlink()
        (self.mail / "new").rmdir()
        self.pop.expect("RETR 1", r"-ERR \[SYS/TEMP\] ")
        self.pop.expect("NOOP", r"\+OK")

    def test_directory_replaced(self):
        """Another one of the same name with the same files."""
        self.assertEqual(self.pop.retr(1)[0], 20)
        self.replace_directory(self.mail / "new")
        self.assertEqual(self.pop.retr(1)[0], 20)
        self.assertEqual(self.pop.retr(2)[0], 25)

    def test_became_something_else(self):
        self.message.unlink()
        self.message.mkdir()
        self.pop.expect("RETR 1", r"-ERR \[SYS/TEMP\] ")
        self.message.rmdir()
        self.message.symlink_to("124.y")
        self.pop.expect("RETR 1", r"-ERR \[SYS/TEMP\] ")
        self.message.unlink()
        os.mkfifo(self.message)
        self.pop.expect("RETR 1", r"-ERR \[SYS/TEMP\] ")

    def test_changed(self):
        for text in (b"longer than before\n\n" * 9, b"short\n"):
            self.message.write_bytes(text)
            self.assertEqual(self.pop.retr(1),
                             (model.octets(text), model.retr(text)))


class Changing(TestCase):
    """A message that changes while it is sent: what was told is what comes,
    or the connection ends without the final dot."""

    SIZE = 20_000_000

    def begin(self):
        self.make_maildir()
        self.message = self.put("new/1", b"x" * 99 + b"\n"
                                + b"y" * (self.SIZE - 101) + b"\n")
        self.pop = self.pop3().login()
        self.pop.send("RETR 1\r\n")
        self.assertEqual(self.pop.line(), b"+OK %d octets" % (self.SIZE + 2))

    def finish(self):
        self.pop.send("QUIT\r\n")
        rest = self.pop.rest()
        body, dot, _ = rest.partition(b"\r\n.\r\n")
        if dot:
            self.assertEqual(len(body) + 2, self.SIZE + 2)
        self.assertEqual(self.pop.process.wait(), 0)

    def test_shrinks(self):
        self.begin()
        os.truncate(self.message, self.SIZE // 2)
        self.finish()

    def test_grows(self):
        self.begin()
        with open(self.message, "ab") as file:
            file.write(b"more\n" * 1000)
        self.finish()

    def test_vanishes(self):
        """Open is open."""
        self.begin()
        self.message.unlink()
        self.finish()


class Unreadable(TestCase):
    """As another user, since nothing is unreadable for root."""

    def setUp(self):
        super().setUp()
        self.need_root("become somebody else")
        self.make_maildir()

    def test_message(self):
        self.put("new/1", b"Subject: x\n\nfine\n")
        self.put("new/2", b"secret\n").chmod(0)
        self.put("new/3", b"Subject: y\n\nfine\n")
        pop = self.pop3(user=NOBODY).login()
        for command in ("RETR 2", "TOP 2 0"):
            pop.expect(command, r"-ERR \[SYS/TEMP\] ")
        self.assertEqual(pop.retr(1)[0], 20)
        self.assertEqual(pop.retr(3)[0], 20)
        pop.quit()
        self.assertIn("2", pop.process.log())

    def test_maildrop(self):
        self.put("new/1", b"x\n")
        self.mail.chmod(0)
        pop = self.pop3(user=NOBODY)
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        # RFC 3206 section 4: it will not pass by itself
        pop.expect("PASS x", r"-ERR \[SYS/PERM\] ")
        self.assertIn(str(self.mail), pop.process.log())

    def test_folder_is_no_empty_one(self):
        """Mail that cannot be seen must not look like mail that is gone:
        clients delete their copies."""
        self.put("new/1", b"x\n")
        (self.mail / "new").chmod(0)
        pop = self.pop3(user=NOBODY)
        pop.expect(None, r"\+OK")
        pop.expect("USER joe", r"\+OK")
        pop.expect("PASS x", r"-ERR \[SYS/(PERM|TEMP)\] ")


class ScanInbox(TestCase):
    def test_new_and_cur_only(self):
        for name in ("new/1", "cur/2:2,S", "top", ".Sent/cur/3", "sub/4",
                     "cur/deep/5"):
            self.put(name, b"x\n")
        pop = self.pop3("--scan", "inbox").login()
        self.assertEqual(sorted(pop.listing("UIDL").values()), ["1", "2"])
