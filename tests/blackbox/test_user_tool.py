"""mail-handlers-user: the users file, changed whole or not at all.
mail-handlers-user(8)."""

import os
import pty
import subprocess

from frontdoor import BOTH, RIGHT, WRONG, FrontDoor, offers, try_login
from mailtest import BUILD, DEADLINE, NOBODY

TOOL = BUILD / "units" / "mail-handlers-user"


class UserTool(FrontDoor):
    def setUp(self):
        super().setUp()
        self.file = self.path("etc") / "users"
        self.file.parent.mkdir(mode=0o700)

    def tool(self, *words, password=None, status=0):
        """Run it; what it says, which is the reason where it fails."""
        done = subprocess.run(
            ["sh", TOOL, *words], input=password, text=True,
            env={"PATH": os.environ["PATH"],
                 "MAIL_HANDLERS_USERS": str(self.file)},
            capture_output=True, timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, status, done)
        self.assertFalse(self.file.with_suffix(".new").exists())
        return done.stderr if status else done.stdout

    def may_log_in(self, user, password):
        """What both programs say."""
        verdicts = set()
        for program in BOTH:
            peer = self.door(program, "--tls", "off", "--auth",
                             f"file:{self.file}")
            offers(peer)
            reply = try_login(peer, user, password)
            self.assertIn(reply, (RIGHT[program], WRONG[program]))
            verdicts.add(reply == RIGHT[program])
            self.assert_ended_well(peer)
        self.assertEqual(len(verdicts), 1, verdicts)
        return verdicts.pop()

    def test_life_of_a_user(self):
        """Each change counts with the next login."""
        self.tool("add", "anna", password="first\n")
        self.assertTrue(self.may_log_in("anna", "first"))
        self.tool("password", "anna", password="second, ö\n")
        self.assertFalse(self.may_log_in("anna", "first"))
        self.assertTrue(self.may_log_in("anna", "second, ö"))
        self.tool("lock", "anna")
        self.tool("lock", "anna")
        self.assertEqual(self.tool("list"), "anna\tlocked\n")
        self.assertFalse(self.may_log_in("anna", "second, ö"))
        self.tool("unlock", "anna")
        self.tool("unlock", "anna")
        self.assertEqual(self.tool("list"), "anna\tactive\n")
        self.assertTrue(self.may_log_in("anna", "second, ö"))
        self.tool("remove", "anna")
        self.assertEqual(self.tool("list"), "")
        self.assertFalse(self.may_log_in("anna", "second, ö"))

    def test_what_else_is_there_stays(self):
        self.file.write_text("# staff\nbert m:$6$a$b:/var/mail/b:x\n\n"
                             "a.b*:*\n no colon\nzoe:!")
        self.file.chmod(0o640)
        if os.getuid() == 0:
            os.chown(self.file, 0, NOBODY)
        before = self.file.stat()
        self.tool("add", "carl", str(self.path("mail")), password="x\n")
        self.tool("lock", "bert m")
        lines = self.file.read_text().split("\n")
        self.assertEqual(lines[:6], [
            "# staff", "bert m:!$6$a$b:/var/mail/b:x", "", "a.b*:*",
            " no colon", "zoe:!"])
        self.assertRegex(lines[6], r"\Acarl:\$[^:]{20,}:/")
        self.assertEqual(lines[7:], [""])
        after = self.file.stat()
        self.assertEqual((after.st_mode, after.st_uid, after.st_gid),
                         (before.st_mode, before.st_uid, before.st_gid))
        self.tool("remove", "a.b*")
        self.assertNotIn("a.b*", self.file.read_text())
        self.assertIn("zoe", self.file.read_text())

    def test_new_file_is_its_owners_alone(self):
        self.tool("add", "anna", password="x\n")
        self.assertEqual(self.file.stat().st_mode & 0o7777, 0o600)

    def test_refused(self):
        """Nothing changes, and the words say what is wrong."""
        self.tool("add", "anna", password="x\n")
        before = self.file.read_bytes()
        for words, status, why in (
                (["add", "anna"], 1, "anna is there already, as anna"),
                (["add", "ANNA"], 1, "ANNA is there already, as anna"),
                (["add", "../x"], 64, "does not begin with a dot"),
                (["add", "a/b"], 64, "has no : and no /"),
                (["add", "a:b"], 64, "has no : and no /"),
                (["add", "#a"], 64, "is a comment"),
                (["add", " a"], 64, "begin or end with a blank"),
                (["add", "a\nb"], 64, "no control characters"),
                (["add", ""], 64, "the name is empty"),
                (["add", "x" * 256], 64, "at most 255 octets"),
                (["add", "b", "mail"], 64, "must be an absolute path"),
                (["password", "nobody"], 1, "there is no user nobody"),
                (["lock", "ann"], 1, "there is no user ann"),
                (["remove", "nna"], 1, "there is no user nna"),
                (["remove"], 64, "usage:"), (["list", "x"], 64, "usage:"),
                (["sing"], 64, "usage:"), ([], 64, "usage:")):
            with self.subTest(words=words):
                self.assertIn(why, self.tool(*words, password="y\n",
                                             status=status))
        self.assertIn("password is empty",
                      self.tool("add", "b", password="\n", status=1))
        self.assertIn("no password",
                      self.tool("password", "anna", password="", status=1))
        self.assertEqual(self.file.read_bytes(), before)
        self.file.write_bytes(before * 2)
        self.assertIn("more than once, on the lines 1 2",
                      self.tool("lock", "anna", status=1))

    def test_numbers(self):
        """Names of digits are not compared as numbers."""
        self.tool("add", "7", password="x\n")
        self.assertIn("there is no user 007",
                      self.tool("lock", "007", status=1))
        self.tool("add", "007", password="y\n")
        self.assertIn("there is no user 7e0",
                      self.tool("remove", "7e0", status=1))
        self.tool("remove", "7")
        self.assertEqual(self.tool("list"), "007\tactive\n")

    def test_two_at_once(self):
        """Whoever comes second is told so; a crash leaves the old file."""
        self.tool("add", "anna", password="x\n")
        lock = self.file.with_suffix(".new")
        lock.touch()
        done = subprocess.run(
            ["sh", TOOL, "lock", "anna"], capture_output=True, text=True,
            env={**os.environ, "MAIL_HANDLERS_USERS": str(self.file)},
            timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, 75)
        self.assertIn("somebody else is changing", done.stderr)
        self.assertTrue(lock.exists())
        lock.unlink()
        self.assertEqual(self.tool("list"), "anna\tactive\n")

    def test_at_a_terminal(self):
        """Asked twice, shown never."""
        for second, status in (("other", 1), ("sesame", 0)):
            mine, theirs = pty.openpty()
            process = subprocess.Popen(
                ["sh", TOOL, "add", "anna"], stdin=theirs, stderr=theirs,
                start_new_session=True,
                env={**os.environ, "MAIL_HANDLERS_USERS": str(self.file)})
            os.close(theirs)
            shown = b""
            for mark, answer in ((b"Password: ", "sesame"),
                                 (b"Again: ", second)):
                while not shown.endswith(mark):
                    shown += os.read(mine, 1024)
                os.write(mine, f"{answer}\n".encode())
            self.assertEqual(process.wait(60), status)
            os.close(mine)
            self.assertNotIn(b"sesame", shown)
        self.assertTrue(self.may_log_in("anna", "sesame"))
